"""The rules against mctx in random games (`golden/record_mctx.py`) and against minimax; the noise at the root."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.record_mctx import Tables, roots, tables
from numpy.typing import NDArray
from test_agents_alphazero import ask, blank, player
from test_agents_mcts import table
from test_agents_search import Network

import games
from agents.alphazero import AlphaZeroPolicy
from agents.core import Context
from agents.forest import Forest
from agents.roots import add_dirichlet, add_gumbel, decide, draw, totals
from agents.rules import GUMBEL, PUCT, Rule, halving
from agents.search import Leaves, Search
from agents.search_report import root_visits
from agents.walk import begin
from games import GameSpec, Lifted
from games.keys import mix, uniform
from games.tic_tac_toe import LINES

GOLDEN = Path(__file__).parent / "golden"


def recorded(name: str) -> list[Any]:
    cases: list[Any] = json.loads((GOLDEN / f"mctx_{name}.json").read_text(encoding="utf-8"))
    return cases


class Wander:
    """The game that mctx searched: two seats take turns in leading from state to state."""

    def __init__(self, game: Tables, state: int, illegal: NDArray[np.bool_]) -> None:
        self.game, self.state, self.illegal, self.plies = game, state, illegal, 0

    @property
    def seats(self) -> Sequence[int]:
        return (self.plies % 2,)

    @property
    def over(self) -> bool:
        return bool(self.game.over[self.state])

    def legal(self, seat: int) -> Sequence[int]:
        masked = self.illegal if self.plies == 0 else np.zeros_like(self.illegal)
        return [int(action) for action in np.flatnonzero(~masked)]

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = self.state

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.state = int(self.game.follows[self.state, actions[0]])
        reward = float(self.game.reward[self.state])
        self.plies += 1
        return (reward, -reward) if self.plies % 2 else (-reward, reward)

    def copy(self) -> Wander:
        twin = Wander(self.game, self.state, self.illegal)
        twin.plies = self.plies
        return twin


def searched(case: dict[str, Any], rule: Rule) -> tuple[Search, Tables]:
    """The trees of our search of the roots of a case, with the noise that mctx drew."""
    tables_of = tables(case["seed"], case["actions"], case["ends"])
    start, illegal = roots(case["seed"], tables_of)
    n, simulations = len(start), case["simulations"]
    spec = GameSpec("wander", 2, case["actions"], (1,), longest=10_000, searchable=True)
    made = iter(range(n))

    def new(rng: np.random.Generator) -> Wander:
        row = next(made)
        return Wander(tables_of, int(start[row]), illegal[row])

    def evaluate(leaves: Leaves) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        state = leaves.observation[:, 0].astype(np.int64)
        value = tables_of.value[state]
        both = np.stack([value, -value], axis=1)
        return tables_of.logits[state], totals(leaves.forest, leaves.trees, leaves.seat, both, 1.0, 0.0)

    game = Lifted(spec, new)
    states, trees = game.start(np.arange(n, dtype=np.uint64)), np.arange(n)
    search = Search(game, n, simulations + 1, rule, evaluate)
    value = tables_of.value[start].astype(np.float64)
    seat = np.zeros(n, np.int16)
    search.set_roots(trees, states, trees, seat, ~illegal, tables_of.logits[start], np.stack([value, -value], axis=1))
    begin(search.forest, rule, trees, np.full(n, simulations))
    if rule.kind == GUMBEL:
        for tree in range(n):
            legal = np.flatnonzero(~illegal[tree])
            search.forest.noise[tree, : len(legal)] = np.array(case["gumbel"])[tree, legal]
            search.forest.considered[tree, :simulations] = halving(min(len(legal), case["considered"]), simulations)
    search.run(trees, np.arange(n, dtype=np.uint64), states, trees)
    return search, tables_of


def compare(case: dict[str, Any], rule: Rule) -> None:
    search, _ = searched(case, rule)
    forest, actions = search.forest, case["actions"]
    n = len(forest.nodes)
    assert root_visits(forest, np.arange(n), actions).tolist() == case["visits"]
    target, value = np.zeros((n, actions), np.float32), np.zeros(n, np.float32)
    surprise, action = np.zeros(n, np.float32), np.zeros(n, np.int64)
    decide(forest, rule, np.arange(n), np.zeros(actions), target, value, surprise, action)
    np.testing.assert_allclose(target, case["weights"], atol=1e-5)
    np.testing.assert_allclose(value, case["value"], atol=1e-5)
    if "action" in case:
        assert action.tolist() == case["action"]
    if "parent" in case:  # the whole trees: without ends, every simulation makes a node
        for tree in range(n):
            for node in range(1, forest.nodes[tree]):
                parent = case["parent"][tree][node]
                assert forest.parent[tree, node] == parent
                by = np.flatnonzero(forest.child[tree] == node)
                first = forest.first[tree, parent]
                by = by[(by >= first) & (by < first + forest.width[tree, parent])]
                assert forest.action[tree, by].tolist() == [case["by"][tree][node]]


@pytest.mark.parametrize("number", range(12))
def test_gumbel_as_mctx(number: int) -> None:
    case = recorded("gumbel")[number]
    compare(case, Rule(GUMBEL, running=False, c_scale=case["scale"], rescale=case["rescale"]))


@pytest.mark.parametrize("number", range(5))
def test_puct_as_mctx(number: int) -> None:
    compare(recorded("puct")[number], Rule(PUCT, running=False, fpu=0.0))


def test_golden_cases_are_all_compared() -> None:
    assert (len(recorded("gumbel")), len(recorded("puct")), len(recorded("halving"))) == (12, 5, 36)


def test_halving_as_mctx() -> None:
    for considered, simulations, sequence in recorded("halving"):
        assert halving(considered, simulations).tolist() == sequence


def test_halving_by_hand() -> None:
    # Four actions and 16 simulations: two phases of 8; two visits to each of four, then four to each of two.
    assert halving(4, 16).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert halving(1, 3).tolist() == [0, 1, 2]
    assert halving(16, 3).tolist() == [0, 0, 0]


# ---- noise ---------------------------------------------------------------------------------------------------------


def bare(trees: int, width: int) -> Forest:
    """Roots with `width` edges, all alike."""
    forest = Forest.plant(GameSpec("bare", 2, width, (1,), longest=1), trees, 1, width, 1)
    forest.width[:, 0], forest.nodes[:], forest.prior[:] = width, 1, 1 / width
    return forest


def test_gumbel_noise_has_its_moments() -> None:
    forest, n = bare(20_000, 10), 20_000
    add_gumbel(forest, np.arange(n), mix(1, np.arange(n)))
    drawn = forest.noise[:, :10]
    variance = math.pi**2 / 6
    assert abs(drawn.mean() - np.euler_gamma) < 4 * math.sqrt(variance / drawn.size)
    spread = math.sqrt((5.4 - 1) * variance**2 / drawn.size)  # of the sample's variance: kurtosis is 5.4
    assert abs(drawn.var() - variance) < 4 * spread
    correlations = np.corrcoef(drawn, rowvar=False)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(n)
    for point in (-1.0, 0.0, 1.0, 3.0):
        share = math.exp(-math.exp(-point))
        assert abs((drawn <= point).mean() - share) < 4 * math.sqrt(share * (1 - share) / drawn.size)


@pytest.mark.parametrize(("width", "n"), [(7, 20_000), (362, 1_500), (2, 20_000)])
def test_dirichlet_noise_has_its_moments(width: int, n: int) -> None:
    total = 10.83
    forest = bare(n, width)
    add_dirichlet(forest, np.arange(n), mix(2, np.arange(n)), total)
    drawn = forest.noise[:, :width]
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0, atol=1e-12)
    assert drawn.min() >= 0
    mean, variance = 1 / width, (1 / width) * (1 - 1 / width) / (total + 1)
    assert np.abs(drawn.mean(axis=0) - mean).max() < 4.5 * math.sqrt(variance / n)
    fourth = ((drawn - mean) ** 4).mean()
    spread = math.sqrt((fourth - variance**2) / drawn.size)
    assert abs(((drawn - mean) ** 2).mean() - variance) < 4 * spread
    # The skewness of Beta(alpha, total - alpha), which tells a gamma from other shapes with its variance.
    alpha = total / width
    rest = total - alpha
    skewness = 2 * (rest - alpha) * math.sqrt(total + 1) / ((total + 2) * math.sqrt(alpha * rest))
    cubes = ((drawn - mean) / math.sqrt(variance)) ** 3
    assert abs(cubes.mean() - skewness) < 4.5 * cubes.std() / math.sqrt(cubes.size)


def test_noise_belongs_to_its_key() -> None:
    for add in (add_gumbel, lambda forest, trees, keys: add_dirichlet(forest, trees, keys, 10.83)):
        forest, again = bare(8, 5), bare(8, 5)
        keys = mix(3, np.arange(8))
        add(forest, np.arange(8), keys)
        back = np.arange(8)[::-1].copy()
        add(again, back, keys[back])
        assert (forest.noise == again.noise).all()
        assert len(np.unique(forest.noise)) == forest.noise.size


def test_draws_follow_the_target_at_their_temperature() -> None:
    n, target = 40_000, np.array([0.5, 0.0, 0.3, 0.2], np.float32)
    for temperature in (1.0, 0.5, 2.0):
        action = np.zeros(n, np.int64)
        draw(np.tile(target, (n, 1)), np.full(n, temperature), uniform(mix(4, np.arange(n))), action)
        share = target.astype(np.float64) ** (1 / temperature)
        share /= share.sum()
        counts = np.bincount(action, minlength=4)
        assert counts[1] == 0
        assert (np.abs(counts / n - share) <= 4 * np.sqrt(share * (1 - share) / n)).all()
    action = np.full(n, 1)
    draw(np.tile(target, (n, 1)), np.zeros(n), uniform(mix(4, np.arange(n))), action)
    assert (action == 1).all()


# ---- against minimax -----------------------------------------------------------------------------------------------

Cells = tuple[int, ...]


@cache
def solved(cells: Cells) -> int:
    """What tic-tac-toe is worth to who moves."""
    mover = cells.count(0) - cells.count(1)
    if any(all(cells[c] == 1 - mover for c in line) for line in LINES):
        return -1
    return max((-solved(after) for after in afters(cells).values()), default=0)


def afters(cells: Cells) -> dict[int, Cells]:
    mover = cells.count(0) - cells.count(1)
    return {i: (*cells[:i], mover, *cells[i + 1 :]) for i in range(9) if cells[i] < 0}


def best(cells: Cells) -> set[int]:
    return {i for i, after in afters(cells).items() if -solved(after) == solved(cells)}


@cache
def every_position() -> dict[Cells, list[int]]:
    """Each that is reachable and not over, and moves that lead there."""
    reached: dict[Cells, list[int]] = {(-1,) * 9: []}
    for cells in (front := list(reached)):
        for move, after in afters(cells).items():
            over = -1 not in after or any(after[a] == after[b] == after[c] >= 0 for a, b, c in LINES)
            if after not in reached and not over:
                reached[after] = [*reached[cells], move]
                front.append(after)
    return reached


def unlike(positions: dict[Cells, list[int]]) -> dict[Cells, list[int]]:
    """One of those that are turned or mirrored into one another."""
    kept: dict[Any, Cells] = {}
    for cells in positions:
        board = np.array(cells).reshape(3, 3)
        turned = [np.rot90(side, k).tobytes() for side in (board, board.T) for k in range(4)]
        kept.setdefault(min(turned), cells)
    return {cells: positions[cells] for cells in kept.values()}


def seen(cells: Cells) -> bytes:
    mover, planes = cells.count(0) - cells.count(1), np.zeros((2, 9), np.float32)
    for cell, owner in enumerate(cells):
        if owner >= 0:
            planes[int(owner != mover), cell] = 1
    return planes.tobytes()


def solver(leaning: float) -> Network:
    """The value of every position, and logits that favour the best moves by `leaning`."""
    known = {seen(cells): (solved(cells), sorted(best(cells))) for cells in every_position()}

    def network(observation: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found = [known[row.tobytes()] for row in observation]
        value, logits = np.array([worth for worth, _ in found], np.float32), np.zeros((len(found), 9), np.float32)
        for row, (_, moves) in enumerate(found):
            logits[row, moves] = leaning
        return logits, np.stack([value, -value], axis=1)

    return network


def blunders(policy: AlphaZeroPolicy, positions: dict[Cells, list[int]]) -> int:
    action = ask(policy, table(games.make("tic_tac_toe"), list(positions.values())), 1).action[:, 0]
    return sum(int(action[row]) not in best(cells) for row, cells in enumerate(positions))


def test_positions() -> None:
    assert (len(every_position()), len(unlike(every_position()))) == (4520, 627)
    assert solved((-1,) * 9) == 0


@pytest.mark.parametrize(("rule", "simulations", "leaning"), [("puct", 64, 0.0), ("gumbel", 16, 2.0)])
def test_never_throws_away_what_its_network_knows(rule: str, simulations: int, leaning: float) -> None:
    policy = player(games.make("tic_tac_toe"), solver(leaning), rule=rule, simulations=simulations)
    assert blunders(policy, every_position()) == 0


@pytest.mark.parametrize(("rule", "simulations"), [("puct", 1600), ("gumbel", 1000)])
def test_finds_the_best_moves_by_itself(rule: str, simulations: int) -> None:
    game = games.make("tic_tac_toe")
    assert blunders(player(game, blank(game.spec), rule=rule, simulations=simulations), unlike(every_position())) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "allowed"), [("puct", 0), ("gumbel", 5)])
def test_finds_the_best_moves_everywhere(rule: str, allowed: int) -> None:
    """Gumbel's rule inside the tree may shun a reply for good (with even priors, after bad news from the others)."""
    game = games.make("tic_tac_toe")
    assert blunders(player(game, blank(game.spec), rule=rule, simulations=2000), every_position()) <= allowed


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
def test_takes_a_win_at_once(rule: str) -> None:
    """As many simulations as moves are enough: the end of a game counts exactly."""
    game = games.make("connect_four")
    position = table(game, [[0, 6, 0, 6, 0, 6], [0, 6, 1, 6, 2, 5], [3, 2, 3, 2, 3, 1], [0, 1, 6, 2, 6, 3, 5, 0]])
    policy = player(game, blank(game.spec), rule=rule, simulations=7 if rule == "gumbel" else 20)
    choice = ask(policy, position, 4)
    assert choice.action[:3, 0].tolist() == [0, 3, 3]
    value = policy.analyse(
        position.pending().take(np.array([0]), np.array([0])),
        Context(game, position.states, np.array([0])),
        np.zeros((1, 1), np.uint64),
    ).options[0]
    assert value.value == 1.0
    assert value.action == 0
