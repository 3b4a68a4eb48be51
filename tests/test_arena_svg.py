"""A scene as SVG: known answers, text that stays text, marks where they belong, images as they were."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image as Pillow

import games
from arena.match import Table
from arena.svg import Marks, layer, picture
from games.scene import Box, Disc, Drawing, Image, Label, Line, Place, Polygon, Scene, grid, scene_of

SVG = "{http://www.w3.org/2000/svg}"
SCENE = Scene(3, 1, (Disc(0.5, 0.5, 0.4, "seat0"),), grid(1, 3, ("a", "b", "c")), {7: (0,), 8: (2,), 9: (0, 1)})


def drawn(scene: Scene, marks: Marks | None = None, title: str = "board") -> ElementTree.Element:
    return ElementTree.fromstring(picture(scene, marks or Marks(), title))


def circles(root: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    return [
        (float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter(f"{SVG}circle") if c.get("class") == kind
    ]


def test_a_disc_is_drawn_in_the_colour_of_its_role() -> None:
    assert picture(Scene(1, 1, (Disc(0.5, 0.5, 0.25, "seat1", "ink"),)), Marks(), "one") == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-0.12 -0.12 1.24 1.24" class="board-picture" role="img"'
        ' aria-label="one"><circle cx="0.5" cy="0.5" r="0.25" fill="var(--scene-seat1)"'
        ' stroke="var(--scene-ink)" stroke-width="0.04"/></svg>'
    )


def test_every_shape_becomes_its_element_in_the_order_of_the_scene() -> None:
    shapes = (
        Box(0, 0, 2, 1, "#102030", 0.1), Line(0, 0, 2, 1), Polygon(((0, 0), (1, 0), (0, 1)), "board"),
        Label(1, 0.5, "x"), Drawing(1, 0.5, 1, '<path d="M0 0"/>', 45, "x"),
    )  # fmt: skip
    root = drawn(Scene(2, 1, shapes))
    assert [child.tag.removeprefix(SVG) for child in root] == ["rect", "line", "polygon", "text", "svg"]
    assert (root[0].get("fill"), root[0].get("rx")) == ("#102030", "0.1")
    assert root[2].get("points") == "0,0 1,0 0,1"
    assert (root[4].get("x"), root[4].get("viewBox")) == ("0.5", "0 0 45 45")


def test_text_of_a_game_is_never_read_as_markup() -> None:
    nasty = "<script>\"'&"
    place = Place(nasty, ((0, 0), (1, 0), (1, 1)), (0.5, 0.5, 0.4))
    scene = Scene(1, 1, (Label(0.5, 0.5, f"{nasty}\n2"),), (place,))
    root = drawn(scene, title=nasty)
    assert root.get("aria-label") == nasty
    assert [span.text for span in root.iter(f"{SVG}tspan")] == [nasty, "2"]
    clicked = ElementTree.fromstring(layer(scene, nasty))
    assert (clicked.get("aria-label"), clicked[0].get("aria-label"), clicked[0][0].text) == (nasty, nasty, nasty)
    assert "<script" not in picture(scene, Marks(), nasty) + layer(scene, nasty)


def test_lines_of_text_stand_around_their_middle() -> None:
    one, two = (drawn(Scene(4, 4, (Label(2, 2, text, 0.5),))) for text in ("a", "a\nb"))
    assert [float(span.get("y", "")) for span in one.iter(f"{SVG}tspan")] == [2.175]
    assert [float(span.get("y", "")) for span in two.iter(f"{SVG}tspan")] == [1.875, 2.475]


def test_places_are_clicked_by_number_and_one_is_reached_by_tab() -> None:
    places = list(ElementTree.fromstring(layer(SCENE, "the board")))
    assert [place.get("data-place") for place in places] == ["0", "1", "2"]
    assert [place.get("tabindex") for place in places] == ["0", "-1", "-1"]
    assert [(place.get("data-x"), place.get("data-y")) for place in places] == [
        ("0.5", "0.5"),
        ("1.5", "0.5"),
        ("2.5", "0.5"),
    ]


def test_marks_lie_on_their_places() -> None:
    last = Place("gone", ((0, 0),), (0.25, 0.75, 0.5))
    root = drawn(SCENE, Marks(last=[last], chosen=(0,), targets=(1, 2), hint=9))
    assert circles(root, "mark-last") == [(0.25, 0.75)]
    assert circles(root, "mark-chosen") == [(0.5, 0.5)]
    assert circles(root, "mark-target") == [(1.5, 0.5), (2.5, 0.5)]
    assert circles(root, "mark-hint") == [(0.5, 0.5), (1.5, 0.5)]


def test_heat_says_its_share_and_an_arrow_leads_to_a_second_place() -> None:
    root = drawn(SCENE, Marks(heat={8: 0.25, 9: 0.75, 7: 0.001, 55: 1.0}))
    assert circles(root, "heat") == [(2.5, 0.5), (1.5, 0.5)]  # the likeliest on top; neither specks nor other moves
    assert [text[0].text for text in root.iter(f"{SVG}text") if text.get("class") == "heat-share"] == ["25", "75"]
    ways = [line for line in root.iter(f"{SVG}line") if line.get("class") == "heat-way"]
    assert [(way.get("x1"), way.get("x2")) for way in ways] == [("0.5", "1.5")]


def test_a_hint_that_has_no_place_marks_nothing() -> None:
    assert circles(drawn(SCENE, Marks(hint=55)), "mark-hint") == []


def test_an_image_comes_through_pixel_by_pixel() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    root = drawn(Scene(7, 5, (Image(0, 0, 7, 5, pixels[:, ::-1]),)))
    kind, _, packed = root[0].get("href", "").partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(base64.b64decode(packed)))), pixels[:, ::-1])


def test_boards_of_real_games_are_well_formed() -> None:
    for name in ("connect_four", "foraging", "rock_paper_scissors", "openspiel/chess", "openspiel/leduc_poker"):
        table = Table(games.make(name), np.array([5], np.uint64))
        scene = scene_of(table.game, table.states, 0, 0)
        assert scene is not None
        assert len(list(ElementTree.fromstring(layer(scene, name)))) == len(scene.places)
        assert len(list(drawn(scene))) == len(scene.shapes)
