"""Symmetries of boards: the groups that they must be, and that random games of OpenSpiel keep each of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import games
from games import Lifted
from games.check_play import Broken
from games.check_probe import Trial, mirrors
from games.keys import mix
from games.symmetries import half_turn, left_right, rectangle, relabelling


@pytest.mark.parametrize(("rows", "columns", "count"), [(3, 3, 7), (4, 4, 7), (2, 3, 3), (1, 1, 7)])
def test_the_symmetries_of_a_rectangle_are_a_group(rows: int, columns: int, count: int) -> None:
    found = rectangle(rows, columns)
    assert len(found) == count
    if rows * columns == 1:
        return
    every = {tuple(range(rows * columns)), *(tuple(cells.tolist()) for cells in found)}
    assert len(every) == count + 1
    assert all(tuple(np.array(a)[np.array(b)].tolist()) in every for a in every for b in every)
    for cells in found:  # neighbours stay neighbours
        where = np.argsort(cells)
        for cell in range(rows * columns - 1):
            if (cell + 1) % columns:
                here, there = divmod(int(where[cell]), columns), divmod(int(where[cell + 1]), columns)
                assert abs(here[0] - there[0]) + abs(here[1] - there[1]) == 1


def test_turns_and_mirrors_of_a_small_board() -> None:
    assert half_turn(6).tolist() == [5, 4, 3, 2, 1, 0]
    assert left_right(2, 3).tolist() == [2, 1, 0, 5, 4, 3]
    assert {tuple(cells.tolist()) for cells in rectangle(2, 3)} == {
        (2, 1, 0, 5, 4, 3),
        (3, 4, 5, 0, 1, 2),
        (5, 4, 3, 2, 1, 0),
    }


def test_a_relabelling_moves_every_plane_and_leaves_the_pass_alone() -> None:
    mirror = relabelling(left_right(1, 3), planes=2, actions=4)
    assert mirror.observation.tolist() == [2, 1, 0, 5, 4, 3]
    assert mirror.action.tolist() == [2, 1, 0, 3]
    assert relabelling(left_right(1, 3), planes=[1, 0], actions=3).observation.tolist() == [5, 4, 3, 2, 1, 0]


SYMMETRIC = [
    ("tic_tac_toe", 7),
    ("openspiel/tic_tac_toe", 7),
    ("openspiel/mnk?m=4&n=3&k=3", 3),
    ("openspiel/mnk?m=4&n=4&k=3", 7),
    ("openspiel/go?board_size=5", 7),
    ("openspiel/othello", 3),
    ("openspiel/hex?board_size=4", 1),
    ("openspiel/hex?num_rows=3&num_cols=5", 1),
    ("openspiel/hex?board_size=4&plain_obs_tensor=true", 1),
    ("openspiel/breakthrough?rows=6&columns=5", 1),
    ("openspiel/y?board_size=5", 5),
    ("openspiel/havannah?board_size=3", 11),
    ("openspiel/connect_four", 1),
    ("openspiel/connect_four?rows=5&columns=6&x_in_row=3", 1),
    ("openspiel/connect_four?egocentric_obs_tensor=true", 1),
]


@pytest.mark.parametrize(("name", "count"), SYMMETRIC)
def test_every_declared_symmetry_keeps_random_games(name: str, count: int) -> None:
    game = games.make(name)
    assert mirrors(Trial(game, mix(3, np.arange(8)), 10.0)) == ""
    spec = game.spec
    tables = {(tuple(s.observation.tolist()), tuple(s.action.tolist())) for s in spec.symmetries}
    identity = (tuple(range(math.prod(spec.observation))), tuple(range(spec.actions)))
    assert len(tables) == len(spec.symmetries) == count
    assert identity not in tables


def test_the_pass_stays_and_a_turned_board_is_what_it_looks_like() -> None:
    go = games.make("openspiel/go?board_size=5").spec
    assert all(symmetry.action[25] == 25 for symmetry in go.symmetries)
    corners = {tuple(symmetry.action[[0, 4, 20, 24]].tolist()) for symmetry in go.symmetries}
    assert (24, 20, 4, 0) in corners
    breakthrough = games.make("openspiel/breakthrough?rows=6&columns=5")
    states = breakthrough.start(np.zeros(1, np.uint64))
    (mirror,) = breakthrough.spec.symmetries
    legal = np.flatnonzero(breakthrough.decisions(states).legal[0, 0])
    names = {breakthrough.action_name(states, 0, 0, int(action)) for action in legal}
    shown = {
        breakthrough.action_name(states, 0, 0, int(action)): breakthrough.action_name(
            states, 0, 0, int(mirror.action[action])
        )
        for action in legal
    }
    assert shown["a5b4"] == "e5d4"
    assert shown["c5b4"] == "c5d4"
    assert set(shown.values()) == names


@pytest.mark.parametrize(
    ("name", "planes", "count"),
    [("openspiel/othello", 3, 3), ("openspiel/hex?board_size=4&plain_obs_tensor=true", 3, 1)],
)
def test_of_the_symmetries_of_a_square_no_more_hold_than_are_declared(name: str, planes: int, count: int) -> None:
    game = games.make(name)
    spec = game.spec
    kept = set()
    for cells in rectangle(*spec.observation[1:]):
        symmetry = relabelling(cells, planes, spec.actions)
        bent = Lifted(replace(spec, symmetries=(symmetry,)), game._new)  # type: ignore[attr-defined]
        try:
            mirrors(Trial(bent, mix(3, np.arange(8)), 10.0))
        except Broken:
            continue
        kept.add(tuple(symmetry.action.tolist()))
    assert kept == {tuple(symmetry.action.tolist()) for symmetry in spec.symmetries}
    assert len(kept) == count


@pytest.mark.parametrize(
    "name",
    ["hex?board_size=4&swap=true", "havannah?board_size=3&swap=true", "go?handicap=2", "pig", "amazons", "hearts"],
)
def test_nothing_is_claimed_of_boards_that_are_not_known_to_be_symmetric(name: str) -> None:
    assert games.make(f"openspiel/{name}").spec.symmetries == ()
