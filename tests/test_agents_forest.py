"""Trees as they are moved on, grow, and stay within their room."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_agents_mcts import random_table
from test_agents_search import GAMES, RULES, grow, maze

import games
from agents.forest import NONE, Forest, advance, bytes_a_tree
from agents.rules import Rule
from agents.search import Search, even
from agents.walk import begin
from games import Game
from games.keys import mix

NODE = ("mover", "raw", "width")


def tale(search: Search, tree: int, at: int = 0) -> dict[str, Any]:
    """All there is below node `at`, without any numbers of places: with the board of each node where it has one."""
    forest, game = search.forest, search.game
    edges = slice(forest.first[tree, at], forest.first[tree, at] + forest.width[tree, at])
    told: dict[str, Any] = {"earned": forest.earned[tree, at].tolist()}
    if forest.width[tree, at]:
        told |= {name: getattr(forest, name)[tree, at].item() for name in NODE}
    for name in ("action", "prior", "visits", "total"):
        told[name] = getattr(forest, name)[tree, edges].tolist()
    if not search.along:
        place = np.array([tree * forest.slot.shape[1] + forest.slot[tree, at]])
        decisions = game.decisions(game.copy(search._boards, place))
        told["board"] = decisions.observation.tolist(), decisions.legal.tolist(), decisions.seat.tolist()
    told["children"] = {}
    for edge in range(edges.start, edges.stop):
        child = int(forest.child[tree, edge])
        while child != NONE:
            way = int(forest.action[tree, edge]), int(forest.chance[tree, child])
            assert way not in told["children"]
            told["children"][way] = tale(search, tree, child)
            child = int(forest.sibling[tree, child])
    return told


def size(told: dict[str, Any]) -> int:
    return 1 + sum(size(child) for child in told["children"].values())


def searched(game: Game, simulations: int, *, seed: int = 3, rule: str = "puct", edges: int = 0) -> Search:
    """Trees of a few games, after none to some random moves."""
    position = random_table(game, 6, seed)
    rows = np.flatnonzero(~position.over)
    running = not math.isfinite(game.spec.bounds[0])
    budget = np.full(len(rows), simulations)
    return grow(game, position.states, rows, RULES[rule]._replace(running=running), budget, edges=edges)[0]


def busiest(told: dict[str, Any]) -> tuple[int, int]:
    """The way to the largest child that goes on."""
    open_ways = {way: child for way, child in told["children"].items() if child["action"]}
    return max(open_ways, key=lambda way: size(open_ways[way]))


def move(search: Search, tree: int, ways: list[tuple[int, int]], spare: int = 0) -> None:
    moves = np.full((1, 8, 1), -1, np.int16)
    chance = np.zeros((1, 8), np.int64)
    for step, (action, came) in enumerate(ways, start=2):
        moves[0, step, 0], chance[0, step] = action, came
    steps = np.array([2]), np.array([2 + len(ways)])
    advance(search.forest, np.array([tree]), *steps, moves, chance, spare)


@pytest.mark.parametrize("name", ["connect_four", "three that are paid", "unbounded", "unbounded dice"])
def test_moving_on_keeps_the_subtree_and_nothing_else(name: str) -> None:
    search = searched(GAMES[name](), 150)
    forest, capacity = search.forest, search.forest.first.shape[1]
    before = [tale(search, tree) for tree in range(len(forest.nodes))]
    scale = forest.lowest.copy(), forest.highest.copy()
    for tree, told in enumerate(before):
        first = busiest(told)
        second = busiest(told["children"][first])
        ways = [first, second] if tree % 2 else [first]
        expected = told["children"][first]["children"][second] if tree % 2 else told["children"][first]
        move(search, tree, ways)
        assert tale(search, tree) == expected
        assert forest.nodes[tree] == size(expected)
        assert forest.edges[tree] == sum(forest.width[tree, : forest.nodes[tree]])
        assert sorted(forest.slot[tree].tolist()) == list(range(capacity))
        assert forest.parent[tree, 0] == NONE
        assert (forest.parent[tree, 1 : forest.nodes[tree]] < np.arange(1, forest.nodes[tree])).all()
        for other in range(tree + 1, len(before)):  # nobody else moved
            assert tale(search, other) == before[other]
    assert (forest.lowest == scale[0]).all()
    assert (forest.highest == scale[1]).all()


def test_not_moving_changes_nothing() -> None:
    search = searched(games.make("connect_four"), 60)
    before = [tale(search, tree) for tree in range(len(search.forest.nodes))]
    move(search, 0, [])
    assert [tale(search, tree) for tree in range(len(search.forest.nodes))] == before


def test_what_was_never_looked_at_clears_the_tree() -> None:
    search = searched(games.make("connect_four"), 40)
    told, forest = tale(search, 0), search.forest
    line = [busiest(told)]
    deep = told["children"][line[0]]
    while deep["children"]:
        line.append(max(deep["children"], key=lambda way: size(deep["children"][way])))
        deep = deep["children"][line[-1]]
    untried = next(a for a, n in zip(deep["action"], deep["visits"], strict=True) if n == 0)
    move(search, 0, [*line, (untried, 0)])
    assert forest.nodes[0] == 0
    assert (forest.nodes[1:] > 0).all()
    move(search, 0, line[:1])  # and it stays so
    assert forest.nodes[0] == 0
    move(search, 1, [(7, 0)])  # no such action
    assert forest.nodes[1] == 0


def test_a_throw_that_never_came_clears_the_tree() -> None:
    search = searched(GAMES["dice"](), 40)
    action, _ = busiest(tale(search, 0))
    move(search, 0, [(action, 17)])
    assert search.forest.nodes[0] == 0
    move(search, 1, [busiest(tale(search, 1))])
    assert search.forest.nodes[1] > 0


def test_an_end_clears_the_tree() -> None:
    search = searched(games.make("tic_tac_toe"), 100, seed=12)
    for tree in range(len(search.forest.nodes)):
        told = tale(search, tree)
        ends = [way for way, child in told["children"].items() if not child["action"]]
        if ends:
            move(search, tree, ends[:1])
            assert search.forest.nodes[tree] == 0
            return
    raise AssertionError("no tree came to an end")


def test_too_little_room_left_clears_the_tree() -> None:
    search = searched(games.make("connect_four"), 60)
    forest, capacity = search.forest, search.forest.first.shape[1]
    for tree, short in ((0, 0), (1, 1)):
        way = busiest(tale(search, tree))
        kept = size(tale(search, tree)["children"][way])
        move(search, tree, [way], spare=capacity - kept + short)
        assert forest.nodes[tree] == (0 if short else kept)


@pytest.mark.parametrize("name", ["connect_four", "unbounded dice"])
def test_growth_of_edges_changes_nothing(name: str) -> None:
    game = GAMES[name]()
    narrow, wide = searched(game, 120, rule="gumbel"), searched(game, 120, rule="gumbel", edges=5000)
    room = narrow.forest.action.shape[1]
    assert 2 * game.spec.actions < room < wide.forest.action.shape[1]  # it did grow
    for name_of, array in zip(Forest._fields, narrow.forest, strict=True):
        other = getattr(wide.forest, name_of)
        if array.ndim > 1 and array.shape[1] == room:
            for tree in range(len(array)):
                used = narrow.forest.edges[tree]
                assert (array[tree, :used] == other[tree, :used]).all(), name_of
        else:
            assert (array == other).all(), name_of


@pytest.mark.parametrize("name", ["connect_four", "dice"])
def test_no_tree_writes_into_the_next(name: str) -> None:
    """Tree 1 lies right behind tree 0, which is filled to its last node, and before tree 2."""
    game = GAMES[name]()
    position = random_table(game, 3, 8)
    both = np.array([0, 2])
    search = Search(game, 3, 51, RULES["puct"], even, edges=400)
    for array in search.forest:
        array[1] = 99
    decisions = position.pending()
    seat, legal = decisions.seat[both, 0], decisions.legal[both, 0]
    nothing = np.empty((0, game.spec.actions), np.float32), np.zeros((2, game.spec.seats))
    search.set_roots(both, position.states, both, seat, legal, *nothing)
    begin(search.forest, search.rule, both, np.array([50, 50]))
    search.run(both, mix(1, both), position.states, both)
    assert (search.forest.done[both] == 50).all()
    assert search.forest.nodes[both].max() > 40
    assert (search.forest.nodes[both] <= 51).all()
    for name_of, array in zip(Forest._fields, search.forest, strict=True):
        assert (array[1] == 99).all(), name_of


@pytest.mark.parametrize("name", ["tic_tac_toe", "unbounded dice"])
@pytest.mark.parametrize("rule", ["puct", "gumbel"])
def test_order_in_the_batch_does_not_matter(name: str, rule: str) -> None:
    game = GAMES[name]()
    position = random_table(game, 6, 3)
    rows = np.flatnonzero(~position.over)
    law: Rule = RULES[rule]._replace(running=not math.isfinite(game.spec.bounds[0]))
    budget = np.array([40, 3, 17, 40, 1, 9])[: len(rows)]
    there = grow(game, position.states, rows, law, budget)[0]
    back = grow(game, position.states, rows[::-1].copy(), law, budget[::-1].copy())[0]
    alone = grow(game, position.states, rows[1:2], law, budget[1:2])[0]
    last = len(rows) - 1
    for tree in range(len(rows)):
        assert tale(there, tree) == tale(back, last - tree)
    assert tale(there, 1) == tale(alone, 0)


def test_bytes_of_a_tree() -> None:
    spec = maze(3).spec
    forest = Forest.plant(spec, 5, 20, 60, 1)
    assert 5 * bytes_a_tree(spec, 20, 60) == sum(array.nbytes for array in forest)
