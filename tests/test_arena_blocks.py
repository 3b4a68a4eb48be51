"""Boards in characters: shapes where they belong, text at its place, and characters that lead back to their places."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from arena.blocks import Blocks, blocks, can_show
from arena.canvas import TINTS, Marks
from games.boards import connect_four_scene
from games.scene import COLOURS, Box, Disc, Drawing, Image, Label, Line, Place, Scene, grid, hexagon

Rgb = tuple[int, int, int]


def rgb(colour: str) -> Rgb:
    """A role on a dark ground, or #rrggbb."""
    shown = COLOURS[colour][1] if colour in COLOURS else colour
    return int(shown[1:3], 16), int(shown[3:5], 16), int(shown[5:7], 16)


def character(text: Text, row: int, column: int) -> tuple[str, Rgb, Rgb]:
    """What stands there, its colour and that of its ground."""
    line = text.split("\n")[row]
    style = next(span.style for span in reversed(line.spans) if span.start <= column < span.end)
    assert not isinstance(style, str)
    assert style.color is not None
    assert style.bgcolor is not None
    assert style.color.triplet is not None
    assert style.bgcolor.triplet is not None
    return line.plain[column], tuple(style.color.triplet), tuple(style.bgcolor.triplet)


def pixels(drawn: Blocks) -> list[list[Rgb]]:
    """[2 * rows][columns] of a board without text: the colour of each half of each character."""
    halves: list[list[Rgb]] = []
    for row in range(drawn.rows):
        shown = [character(drawn.text, row, column) for column in range(drawn.columns)]
        halves.append([ink if letter == "▀" else ground for letter, ink, ground in shown])
        halves.append([ground for _, _, ground in shown])
    return halves


def draw(scene: Scene, columns: int = 80, rows: int = 24, marks: Marks | None = None) -> Blocks:
    drawn = blocks(scene, columns, rows, marks=marks or Marks())
    assert drawn is not None
    lines = drawn.text.plain.split("\n")
    assert [cell_len(line) for line in lines] == [drawn.columns] * drawn.rows
    return drawn


def board(rows: int, columns: int, *shapes: object, left: float = 0.0, top: float = 0.0) -> Scene:
    places = grid(rows, columns, [f"p{i}" for i in range(rows * columns)], left, top)
    return Scene(columns + left, rows + top, tuple(shapes), places)  # type: ignore[arg-type]


def test_a_disc_is_round() -> None:
    shown = pixels(draw(board(1, 1, Disc(0.5, 0.5, 0.45, "seat0")), 12, 6))
    assert (len(shown), len(shown[0])) == (12, 12)
    assert shown == shown[::-1]
    assert shown == [row[::-1] for row in shown]
    assert shown == [list(column) for column in zip(*shown, strict=True)]
    assert shown[6][6] == rgb("seat0")
    assert shown[0][0] == rgb("paper")


def test_a_disc_covers_its_area() -> None:
    seen = np.array(pixels(draw(board(1, 1, Box(0, 0, 1, 1, "#000000"), Disc(0.5, 0.5, 0.4, "#ffffff")), 12, 6)))
    assert seen.mean() / 255 == pytest.approx(np.pi * 0.4**2, abs=0.01)


def test_a_box_fills_whole_characters_and_nothing_else() -> None:
    shown = pixels(draw(board(2, 2, Box(1, 0, 1, 1, "blue")), 8, 4))
    assert all(
        shown[row][column] == rgb("blue" if row < 4 <= column else "paper") for row in range(8) for column in range(8)
    )


def test_a_connect_four_cell_is_four_by_two_where_there_is_that_room() -> None:
    drawn = draw(connect_four_scene(np.zeros((6, 7), np.float32)), 30, 14)
    assert (drawn.columns, drawn.rows) == (28, 13)
    assert drawn.text.plain.split("\n")[12].split() == ["1", "2", "3", "4", "5", "6", "7"]


def test_go_fits_eighty_columns_and_a_terminal_that_is_too_small_gets_nothing() -> None:
    wide, narrow = draw(board(19, 19), 80, 21), draw(board(19, 19), 50, 21)
    assert (wide.columns, wide.rows, narrow.columns) == (57, 19, 38)
    assert blocks(board(19, 19), 18, 21) is None
    assert blocks(board(19, 19), 80, 18) is None


def test_every_place_leads_back_to_itself_at_every_size() -> None:
    scenes = [
        board(8, 8, left=0.6, top=0.15),
        connect_four_scene(np.eye(6, 7, dtype=np.float32)),
        Scene(
            8,
            5,
            (),
            tuple(hexagon(f"{r}{c}", 1 + c + r / 2, 0.6 + r * 0.866, 0.577) for r in range(4) for c in range(5)),
        ),
    ]
    seen = 0
    for scene in scenes:
        for columns, rows in ((12, 8), (20, 9), (40, 21), (80, 24), (120, 40), (200, 60)):
            drawn = blocks(scene, columns, rows)
            if drawn is None:
                continue
            seen += 1
            assert drawn.columns <= columns
            assert drawn.rows <= rows
            for index, (row, column) in enumerate(drawn.cells):
                assert drawn.place_at(column, row) == index
    assert seen >= 15


def test_every_character_of_a_chequered_board_is_the_square_under_it() -> None:
    drawn = draw(board(8, 8), 40, 16)
    for row in range(16):
        for column in range(32):
            assert drawn.place_at(column, row) == row // 2 * 8 + column // 4
    assert drawn.place_at(32, 0) is None
    assert drawn.place_at(0, -1) is None


def test_a_column_is_hit_from_top_to_bottom() -> None:
    drawn = draw(connect_four_scene(np.zeros((6, 7), np.float32)), 28, 13)
    assert {drawn.place_at(9, row) for row in range(12)} == {2}
    assert drawn.place_at(9, 12) is None


def test_text_stands_at_its_place_in_its_colour() -> None:
    scene = board(3, 3, Box(1, 1, 1, 1, "light"), Drawing(1.5, 1.5, 0.9, "", 45, "♞", "black"), Label(0.5, 2.5, "abc"))
    drawn = draw(scene, 21, 9)
    row, column = drawn.cells[4]
    assert (row, column) == (4, 10)  # the middle of 7 by 3 characters
    assert character(drawn.text, row, column) == ("♞", rgb("black"), rgb("light"))
    assert drawn.text.plain.split("\n")[7][2:5] == "abc"


def test_text_is_cut_at_the_edge_and_hidden_by_what_lies_on_it() -> None:
    long = draw(Scene(4, 1, (Label(2, 0.5, "x" * 50),)), 8, 2)
    assert long.text.plain.count("x") == 8
    hidden = draw(board(1, 1, Label(0.5, 0.5, "x"), Box(0, 0, 1, 1, "felt")))
    assert "x" not in hidden.text.plain


def test_thin_lines_are_box_drawing_and_end_where_they_end() -> None:
    shapes = [Line(0.5, at + 0.5, 2.5, at + 0.5) for at in range(3)] + [
        Line(at + 0.5, 0.5, at + 0.5, 2.5) for at in range(3)
    ]
    assert draw(board(3, 3, *shapes), 9, 3).text.plain == " ┌──┬──┐ \n ├──┼──┤ \n └──┴──┘ "


def test_stones_too_small_for_pixels_are_characters() -> None:
    drawn = draw(board(3, 3, Line(0.5, 1.5, 2.5, 1.5), Disc(1.5, 1.5, 0.46, "white")), 9, 3)
    assert character(drawn.text, *drawn.cells[4])[:2] == ("●", rgb("white"))
    last = draw(board(3, 3, Disc(1.5, 1.5, 0.46, "white")), 9, 3, Marks(last=((1.5, 1.5, 0.5),)))
    assert character(last.text, *last.cells[4])[0] == "◉"


def test_marks_are_seen() -> None:
    scene = board(2, 2, Box(0, 0, 2, 2, "board"), Label(0.5, 1.5, "k"))
    plain = pixels(draw(board(2, 2, Box(0, 0, 2, 2, "board")), 10, 4))
    drawn = draw(scene, 14, 6, Marks(last=((0.5, 0.5, 0.5),), cursor=3, heat={1: 0.25, 3: 0.001}, chosen=2))
    text = drawn.text
    assert character(text, *drawn.cells[0])[0] == "•"
    assert text.plain.split("\n")[drawn.cells[1][0]][9:12].strip() == "25"
    warm = character(text, *drawn.cells[1])[2]
    assert warm[0] > plain[0][0][0] + 50  # towards orange
    assert character(text, *drawn.cells[2])[2][2] > plain[0][0][2] + 50  # towards blue
    row, column = drawn.cells[3]
    assert text.plain.split("\n")[row][column - 3 : column + 4] == "[     ]"


def test_a_cursor_without_room_for_brackets_is_another_ground() -> None:
    drawn = draw(board(4, 4, Box(0, 0, 4, 4, "board")), 8, 4, Marks(cursor=5))
    assert character(drawn.text, *drawn.cells[5])[2] == rgb(TINTS["chosen"])
    assert character(drawn.text, *drawn.cells[6])[2] == rgb("board")


def test_an_image_is_scaled_onto_pixels() -> None:
    quarters = np.zeros((64, 64, 3), np.uint8)
    quarters[:32, :32], quarters[:32, 32:], quarters[32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    drawn = draw(Scene(5, 5, (Image(0, 0, 5, 5, quarters),)), 100, 8)
    shown = pixels(drawn)
    assert (drawn.columns, drawn.rows) == (16, 8)
    corners = [shown[row][column] for row, column in ((0, 0), (7, 8), (8, 7), (15, 15))]
    assert corners == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]


def test_a_scene_without_places_is_shrunk_as_far_as_it_must() -> None:
    drawn = draw(Scene(300, 100, (Box(0, 0, 300, 100, "felt"),)), 60, 24)
    assert (drawn.columns, drawn.rows) == (60, 10)


def test_a_light_page_has_other_colours() -> None:
    light = blocks(board(1, 1, Disc(0.5, 0.5, 0.4, "ink")), 12, 6, dark=False)
    assert light is not None
    assert character(light.text, 0, 0)[2] == (255, 255, 255)


def test_places_on_one_point_are_not_drawn_as_if_they_could_be_told_apart() -> None:
    twins = tuple(Place(name, ((0, 0), (1, 0), (1, 1), (0, 1)), (0.5, 0.5, 0.5)) for name in "ab")
    assert blocks(Scene(1, 1, (), twins), 80, 24) is None


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_a_dumb_terminal_and_a_tiny_one_are_for_the_prompt() -> None:
    def console(terminal: bool = True, width: int = 80, kind: str = "xterm") -> Console:
        return Console(file=io.StringIO(), force_terminal=terminal, width=width, height=24, _environ={"TERM": kind})

    assert can_show(console(), Keyboard())
    assert not can_show(console(), io.StringIO())
    assert not can_show(console(terminal=False), Keyboard())
    assert not can_show(console(width=40), Keyboard())
    assert not can_show(console(kind="dumb"), Keyboard())
