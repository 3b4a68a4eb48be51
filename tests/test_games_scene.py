import re

import numpy as np
import pytest

import games
from games.keys import mix
from games.scene import COLOURS, EVERYTHING, Place, Scene, grid, hexagon, place, scene_of, seat_colour


def test_a_place_is_marked_in_its_middle_and_knows_its_box():
    e4 = place("e4", 4, 4, 2, 1)
    assert e4.outline == ((4, 4), (6, 4), (6, 5), (4, 5))
    assert e4.mark == (5, 4.5, 0.5)
    assert e4.box == (4, 4, 2, 1)


def test_a_hexagon_stands_on_a_corner():
    cell = hexagon("a1", 2, 3, 1)
    assert cell.outline[0] == pytest.approx((2, 2))  # the top
    assert cell.outline[3] == pytest.approx((2, 4))
    x, y, width, height = cell.box
    assert (x, y, width, height) == pytest.approx((2 - 3**0.5 / 2, 2, 3**0.5, 2))


def test_a_grid_goes_row_by_row_from_the_top():
    cells = grid(2, 3, "abcdef", left=1, top=10)
    assert [cell.name for cell in cells] == list("abcdef")
    assert [cell.mark[:2] for cell in cells] == [(x, y) for y in (10.5, 11.5) for x in (1.5, 2.5, 3.5)]


def test_every_role_has_a_colour_on_light_and_dark_pages():
    for pair in COLOURS.values():
        assert len(pair) == 2
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in pair)


def test_seats_have_colours_of_their_own_as_far_as_there_are_six():
    assert [seat_colour(seat) for seat in (0, 5, 6)] == ["seat0", "seat5", "seat0"]
    assert all(seat_colour(seat) in COLOURS for seat in range(12))


def test_scenes_of_the_same_things_are_equal():
    one, other = (Scene(1, 1, (), (Place("a", ((0, 0),), (0, 0, 1)),), {0: (0,)}) for _ in range(2))
    assert one == other
    assert one != Scene(1, 1, (), one.places, {})


def test_any_game_is_asked_for_its_scene_and_one_that_draws_nothing_gives_none():
    class Plain(games.make("tic_tac_toe")._new):
        scene = None

    drawn, plain = games.make("tic_tac_toe"), games.lift(Plain)
    keys = mix(1, np.arange(1))
    assert scene_of(drawn, drawn.start(keys), 0, 0).width == 3
    assert scene_of(plain, plain.start(keys), 0, 0) is None
    hearts = games.make("openspiel/hearts")
    assert scene_of(hearts, hearts.start(keys), 0, 0) is None


def test_a_board_that_broke_has_no_scene():
    game = games.make("tic_tac_toe")
    states = game.start(mix(1, np.arange(1)))
    for _ in range(2):
        game.step(states, np.array([[4]]), np.zeros(1, np.uint64))  # the second is illegal and voids the game
    assert scene_of(game, states, 0, EVERYTHING) is None
