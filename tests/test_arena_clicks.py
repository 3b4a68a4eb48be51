"""Clicks become moves: one place, two places, a choice by name."""

from __future__ import annotations

from arena.clicks import Clicked, follow, targets, ways_of, why_not
from games.scene import Scene, grid

SCENE = Scene(3, 1, (), grid(1, 3, ("a", "b", "c")), {7: (0,), 8: (2,), 9: (0, 1)})


def test_clicks_are_followed_place_by_place() -> None:
    ways = {7: (1, 2), 8: (1, 3), 9: (1, 3), 5: (4,)}
    assert follow(ways, (), 1) == Clicked((1,), (7, 8, 9))
    assert follow(ways, (1,), 2) == Clicked((), (7,))
    assert follow(ways, (1,), 3) == Clicked((), (8, 9))  # as promotions do
    assert follow(ways, (1,), 1) == Clicked((), ())
    assert follow(ways, (1,), 4) == Clicked((), (5,))
    assert follow(ways, (), 2) is None
    assert follow(ways, (1,), 9) is None
    assert follow({1: (6,), 2: (6, 7)}, (), 6) == Clicked((6,), (1, 2))
    assert follow({1: (6,), 2: (6, 7)}, (6,), 6) == Clicked((), (1,))


def test_only_legal_moves_have_ways() -> None:
    assert ways_of(SCENE, [8, 9, 11]) == {8: (2,), 9: (0, 1)}
    assert ways_of(None, [8]) == {}


def test_where_the_next_click_may_go() -> None:
    ways = {1: (0, 1), 2: (0, 2), 3: (1, 2), 4: (0,)}
    assert targets(ways, ()) == []
    assert targets(ways, (0,)) == [1, 2]
    assert targets(ways, (2,)) == []


def test_why_a_click_is_no_move() -> None:
    assert why_not(SCENE, (), 1) == "b is not a legal move here."
    assert why_not(SCENE, (0,), 2) == "No move goes to c."
    assert why_not(SCENE, (), 3) == why_not(SCENE, (), -1) == "There is no such place on the board."
