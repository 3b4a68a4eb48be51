import sys
from collections import Counter

import numpy as np
import pytest

import games
from games import NO_ACTION, boards
from games.boards import (
    Table,
    card,
    chess_piece,
    connect_four_scene,
    die,
    go_ground,
    hexes,
    lined,
    squares,
    table_scene,
)
from games.keys import CHOICE, NATURE, mix, uniform
from games.scene import COLOURS, EVERYTHING, Box, Disc, Drawing, Label, Polygon, scene_of

NATIVE = [
    "tic_tac_toe",
    "connect_four",
    "rock_paper_scissors?rounds=3",
    "two_step",
    "climbing?rounds=3",
    "foraging?players=3&food=2",
    "foraging?players=2&food=2&sight=2",
    "simple_spread",
]


def fill_at(scene, name, kinds=(Disc,)):
    """The colour of what lies on the place called `name`, None where there is nothing."""
    x, y, _ = next(place.mark for place in scene.places if place.name == name)
    found = [
        shape.fill for shape in scene.shapes if isinstance(shape, kinds) and (shape.x, shape.y) == pytest.approx((x, y))
    ]
    return found[-1] if found else None


def sound(scene):
    """Names are of their own, ways lead to places, everything is on the board and in a colour that there is."""
    assert len({place.name for place in scene.places}) == len(scene.places)
    assert all(0 <= place < len(scene.places) for way in scene.moves.values() for place in way)
    for cell in scene.places:
        x, y, _ = cell.mark
        left, top, width, height = cell.box
        assert left <= x <= left + width
        assert top <= y <= top + height
        assert left >= -1e-6
        assert top >= -1e-6
        assert left + width <= scene.width + 1e-6
        assert top + height <= scene.height + 1e-6
    for shape in scene.shapes:
        for role in ("fill", "edge", "colour"):
            assert getattr(shape, role, "") in ("", *COLOURS)
        if isinstance(shape, Box):
            assert min(shape.x, shape.y) >= 0
            assert shape.x + shape.width <= scene.width + 1e-6
            assert shape.y + shape.height <= scene.height + 1e-6
        elif not isinstance(shape, Polygon) and hasattr(shape, "x"):
            assert 0 <= shape.x <= scene.width
            assert 0 <= shape.y <= scene.height


@pytest.mark.parametrize("name", NATIVE)
def test_every_position_of_random_games_can_be_drawn_for_all_who_look(name):
    game = games.make(name)
    keys = mix(3, np.arange(3))
    states = game.start(keys)
    called = {}
    for step in range(12):
        decisions = game.decisions(states)
        for row in range(len(keys)):
            acting = dict(zip(decisions.seat[row].tolist(), decisions.legal[row], strict=True))
            acting = {seat: legal for seat, legal in acting.items() if decisions.active[row].any() and legal.any()}
            for seat in (*range(game.spec.seats), EVERYTHING):
                scene = scene_of(game, states, row, seat)
                sound(scene)
                names = [place.name for place in scene.places]
                assert called.setdefault(seat, names) == names
                assert set(scene.moves) <= set(np.flatnonzero(acting[seat])) if seat in acting else not scene.moves
        tickets = uniform(mix(keys[:, None, None], CHOICE, step, np.arange(decisions.legal[0].size)))
        tickets = tickets.reshape(decisions.legal.shape)
        best = np.where(decisions.legal, tickets, -1).argmax(axis=2)
        game.step(states, np.where(decisions.active, best, NO_ACTION), mix(keys, NATURE, step))


def test_discs_of_connect_four_lie_where_they_fell_and_signs_go_where_the_next_lands():
    cells = np.zeros((6, 7), np.float32)
    cells[5, 3], cells[4, 3] = 1, -1
    scene = connect_four_scene(cells)
    assert [place.name for place in scene.places] == list("1234567")
    discs = {(disc.x, disc.y): disc.fill for disc in scene.shapes if isinstance(disc, Disc)}
    assert discs[3.5, 5.5] == "seat0"
    assert discs[3.5, 4.5] == "seat1"
    assert Counter(discs.values())["paper"] == 40
    assert scene.places[3].mark[:2] == (3.5, 3.5)
    assert scene.places[0].mark[:2] == (0.5, 5.5)
    assert scene.moves == {column: (column,) for column in range(7)}


def test_a_full_column_of_connect_four_is_no_move_and_who_does_not_act_has_none():
    cells = np.zeros((6, 7), np.float32)
    cells[:, 0] = 1
    assert 0 not in connect_four_scene(cells).moves
    assert connect_four_scene(cells, acts=False).moves == {}


def test_tic_tac_toe_draws_its_marks_and_offers_the_free_cells_to_who_is_to_move():
    game = games.make("tic_tac_toe")
    states = game.start(mix(1, np.arange(1)))
    for cell in (4, 0):
        game.step(states, np.array([[cell]]), np.zeros(1, np.uint64))
    scene = scene_of(game, states, 0, 0)
    marks = {shape.text: (shape.x, shape.y) for shape in scene.shapes if isinstance(shape, Drawing)}
    assert marks == {"x": (1.5, 1.5), "o": (0.5, 0.5)}
    assert scene.moves == {cell: (cell,) for cell in (1, 2, 3, 5, 6, 7, 8)}
    assert scene_of(game, states, 0, 1).moves == {}
    assert scene_of(game, states, 0, EVERYTHING).shapes == scene.shapes


def test_a_chequered_board_has_a_dark_square_at_the_lower_left_of_both_sides():
    white = squares(tuple("abcdefgh"), tuple("87654321"))
    black = squares(tuple("hgfedcba"), tuple("12345678"))
    for ground, corner in ((white, "a1"), (black, "h8")):
        x, y, _ = ground.places[ground.index[corner]].mark
        assert x == min(place.mark[0] for place in ground.places)
        assert y == max(place.mark[1] for place in ground.places)
        boxes = [shape for shape in ground.shapes if isinstance(shape, Box) and shape.fill == "dark"]
        assert len(boxes) == 32
        assert any((box.x, box.y) == pytest.approx((x - 0.5, y - 0.5)) for box in boxes)


@pytest.mark.parametrize(
    ("size", "stars"),
    [(5, ""), (9, "c3 c7 g3 g7 e5"), (13, "d4 k4 g7 d10 k10"), (19, "d4 k4 q4 d10 k10 q10 d16 k16 q16")],
)
def test_star_points_of_go_are_where_players_have_them(size, stars):
    ground = go_ground(size)
    dots = [(round(shape.x, 6), round(shape.y, 6)) for shape in ground.shapes if isinstance(shape, Disc)]
    wanted = [tuple(round(at, 6) for at in ground.places[ground.index[name]].mark[:2]) for name in stars.split()]
    assert sorted(dots) == sorted(wanted)
    assert ("i1" in ground.index, "j1" in ground.index) == (False, size >= 9)


def test_hexagons_of_one_board_share_their_edges():
    ground = hexes(((0, "abc"), (0.5, "abc")), (), owned=True)
    corners = Counter((round(x, 6), round(y, 6)) for place in ground.places for x, y in place.outline)
    assert corners.most_common(1)[0][1] == 3
    assert len(corners) == 22  # of 36, the rest shared
    rims = Counter(shape.fill for shape in ground.shapes if isinstance(shape, Polygon) and shape.fill != "board")
    assert rims == {"seat0": 6, "seat1": 4}


def test_a_card_that_lies_face_down_shows_nothing():
    assert card(0, 0, "K", "♥")[-1].text == "♥"
    assert not [shape for shape in card(0, 0, None, "♥") if isinstance(shape, Label)]


def test_a_die_shows_as_many_pips_as_it_says_and_a_covered_one_none():
    for face in range(1, 7):
        assert sum(isinstance(shape, Disc) for shape in die(0, 0, face)) == face
    assert [shape.text for shape in die(0, 0, 12) if isinstance(shape, Label)] == ["12"]
    assert not [shape for shape in die(0, 0, None) if isinstance(shape, Disc)]


def test_chess_pieces_are_pictures_and_letters_where_python_chess_is_missing(monkeypatch):
    assert "white-king" in chess_piece("K", 1, 1).svg
    monkeypatch.setitem(sys.modules, "chess", None)
    boards._chess_pictures.cache_clear()
    try:
        assert chess_piece("K", 1, 1) == Label(1, 1, "♔", 0.8, "black")
        assert chess_piece("q", 1, 1).text == "♛"
    finally:
        boards._chess_pictures.cache_clear()


def test_the_first_seat_clicks_rows_of_a_table_and_the_second_columns():
    table = Table(("up", "down"), ("left", "middle", "right"), (("1", "2", "3"), ("4", "5", "6")))
    first, second = (table_scene(table, None, seat, True) for seat in (0, 1))
    assert [place.name for place in first.places] == ["up", "down"]
    assert [place.name for place in second.places] == ["left", "middle", "right"]
    assert first.moves == {0: (0,), 1: (1,)}
    assert table_scene(table, None, 0, False).moves == {}
    onlooker = table_scene(table, (1, 2), EVERYTHING, False)
    assert onlooker.places == ()
    (chosen,) = [shape for shape in onlooker.shapes if isinstance(shape, Box) and shape.fill == "seat1"]
    (paid,) = [shape for shape in onlooker.shapes if isinstance(shape, Label) and shape.text == "6"]
    assert chosen.x < paid.x < chosen.x + chosen.width
    assert chosen.y < paid.y < chosen.y + chosen.height


def test_a_long_title_is_broken_so_that_the_table_keeps_its_width():
    table = Table(("a", "b"), ("a", "b"), (("1", "2"), ("3", "4")), "the first seat picks a matrix and nobody is paid")
    plain = Table(table.rows, table.columns, table.paid)
    assert table_scene(table, None, 0, True).width == table_scene(plain, None, 0, True).width


def test_rock_paper_scissors_shows_the_round_before_not_the_one_that_is_chosen():
    game = games.make("rock_paper_scissors?rounds=2")
    states = game.start(mix(1, np.arange(1)))
    game.decisions(states)
    assert not [shape for shape in scene_of(game, states, 0, 0).shapes if getattr(shape, "fill", "") == "seat1"]
    game.step(states, np.array([[0, 1]]), np.zeros(1, np.uint64))
    shown = [shape for shape in scene_of(game, states, 0, 1).shapes if getattr(shape, "fill", "") == "seat1"]
    assert len(shown) == 1


def test_one_walks_in_foraging_by_clicking_on_the_cell_beside():
    game = games.make("foraging?size=5&players=2&food=1")
    states = game.start(mix(4, np.arange(1)))
    states["players"][0] = [[0, 2, 1], [3, 3, 2]]  # at the upper edge; inside
    ways = [
        {game.action_name(states, 0, seat, action): scene.places[way[0]].name for action, way in scene.moves.items()}
        for seat, scene in ((seat, scene_of(game, states, 0, seat)) for seat in (0, 1))
    ]
    assert ways[0] == {"none": "0,2", "south": "1,2", "west": "0,1", "east": "0,3"}
    assert ways[1] == {"none": "3,3", "north": "2,3", "south": "4,3", "west": "3,2", "east": "3,4"}
    scene = scene_of(game, states, 0, 1)
    assert fill_at(scene, "0,2") == "seat0"
    assert fill_at(scene, "3,3") == "seat1"


def test_what_a_short_sighted_forager_does_not_see_is_not_drawn_for_it():
    game = games.make("foraging?size=8&players=2&food=1&sight=1")
    states = game.start(mix(4, np.arange(1)))
    other = states.copy()
    states["players"][0], other["players"][0] = [[2, 2, 1], [6, 6, 2]], [[2, 2, 1], [7, 7, 3]]
    states["food"][0], other["food"][0] = [[5, 5, 2]], [[5, 6, 1]]
    assert scene_of(game, states, 0, 0) == scene_of(game, other, 0, 0)
    assert scene_of(game, states, 0, EVERYTHING) != scene_of(game, other, 0, EVERYTHING)


def test_nobody_sees_how_fast_another_agent_moves_in_simple_spread():
    game = games.make("simple_spread")
    states = game.start(mix(4, np.arange(1)))
    other = states.copy()
    other["velocity"][0, 1] = 0.7, -0.2
    assert scene_of(game, states, 0, 0) == scene_of(game, other, 0, 0)
    assert scene_of(game, states, 0, 1) != scene_of(game, other, 0, 1)


def test_an_agent_that_left_the_square_of_simple_spread_is_still_on_the_picture():
    game = games.make("simple_spread")
    states = game.start(mix(4, np.arange(1)))
    states["position"][0, 2] = 3.0, -2.0
    sound(scene_of(game, states, 0, 2))
    assert scene_of(game, states, 0, 2).width == scene_of(game, game.start(mix(4, np.arange(1))), 0, 2).width


def test_an_empty_lined_board_is_made_once():
    assert lined(3, 3) is lined(3, 3)
