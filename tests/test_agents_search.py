"""Tree search against its definition in `agents.rules`: nodes as objects, one board, one simulation after another."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_agents_mcts import random_table

import games
from agents.forest import NONE, Forest, finite
from agents.roots import add_dirichlet, add_gumbel, decide, totals
from agents.rules import GUMBEL, PUCT, Rule, halving
from agents.search import Leaves, Search
from agents.walk import begin
from games import Game, GameSpec, Lifted
from games.keys import NATURE, SEARCH, mix, uniform

Network = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
SPREAD, MEAN = 0.75, 0.05  # from what a network says to returns


def oracle(spec: GameSpec) -> Network:
    """Logits and values that belong to what is seen, and mean nothing."""

    def network(observation: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seen = [zlib.crc32(row.tobytes()) for row in np.ascontiguousarray(observation)]
        key = np.array(seen, np.uint64)[:, None]
        logits = 4 * uniform(mix(key, 1, np.arange(spec.actions))) - 2
        value = 1.6 * uniform(mix(key, 2, np.arange(spec.seats))) - 0.8
        return logits.astype(np.float32), value.astype(np.float32)

    return network


class Maze:
    """A game made of hashes of what was played: who moves, what is legal, what is earned, and when it ends."""

    def __init__(self, spec: GameSpec, pays: bool, path: int) -> None:
        self.spec, self.pays, self.path = spec, pays, path
        self.steps, self.chance, self.over = 0, 0, False

    def _hash(self, *numbers: int) -> int:
        return int(mix(self.path, *numbers))

    @property
    def seats(self) -> Sequence[int]:
        return (self._hash(1) % self.spec.seats,)

    def legal(self, seat: int) -> Sequence[int]:
        count = self.spec.actions
        return [a for a in range(count) if self._hash(2, a) % 3 or a == self._hash(3) % count]

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = self.path % 2**20, (self.path >> 20) % 2**20, (self.path >> 40) % 2**20

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.chance = int(rng.integers(3)) if self.spec.stochastic else 0
        self.path = self._hash(4, actions[0], self.chance)
        self.steps += 1
        self.over = self.steps > 2 and self._hash(5) % 6 == 0
        paid = [self._hash(6, seat) % 2001 / 1000 - 1 for seat in range(self.spec.seats)]
        return paid if self.over else [reward * 0.2 * self.pays for reward in paid]

    def copy(self) -> Maze:
        twin = Maze(self.spec, self.pays, self.path)
        twin.steps, twin.chance, twin.over = self.steps, self.chance, self.over
        return twin


def maze(seats: int = 2, *, pays: bool = False, stochastic: bool = False, bounds: float = 2.0) -> Game:
    """Whoever moves, moves twice in a row as often as not."""
    spec = GameSpec(
        f"maze{seats}{pays}{stochastic}{bounds}",
        seats,
        5,
        (3,),
        longest=14,
        stochastic=stochastic,
        payoff="general_sum",
        bounds=(-bounds, bounds),
        searchable=True,
    )
    return Lifted(spec, lambda rng: Maze(spec, pays, int(rng.integers(2**62))))


# ---- the definition ------------------------------------------------------------------------------------------------


@dataclass
class Node:
    mover: int
    raw: float
    prior: dict[int, float]  # by action, in ascending order; empty where the game is over
    earned: list[float]
    n: dict[int, int] = field(default_factory=dict)
    w: dict[int, float] = field(default_factory=dict)
    children: dict[tuple[int, int], Node] = field(default_factory=dict)  # by (action, chance)

    def __post_init__(self) -> None:
        self.n, self.w = dict.fromkeys(self.prior, 0), dict.fromkeys(self.prior, 0.0)

    @property
    def tries(self) -> int:
        return 1 + sum(self.n.values())

    @property
    def size(self) -> int:
        return 1 + sum(child.size for child in self.children.values())


@dataclass
class Plain:
    """One tree, by the word of the definition."""

    game: Game
    rule: Rule
    network: Network
    determinise: bool = False
    scale: list[float] = field(default_factory=list)  # the returns that it is made of
    views: dict[Any, list[Node]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if finite(self.game.spec):
            self.scale = list(self.game.spec.bounds)

    def q(self, returned: float) -> float:
        if len(set(self.scale)) < 2:
            return 0.0
        low, high = min(self.scale), max(self.scale)
        return (returned - (low + high) / 2) / ((high - low) / 2)

    def node(self, board: Any, earned: Sequence[float]) -> tuple[Node, list[float]]:
        """A new node where `board` stands, and what every seat returns as the network says."""
        decisions = self.game.decisions(board)
        mover, seats = int(decisions.seat[0, 0]), self.game.spec.seats
        logits, value = self.network(decisions.observation[:, 0])
        returns = list(earned)
        for k in range(seats):
            returns[(mover + k) % seats] += float(value[0, k]) * SPREAD + MEAN
        legal = np.flatnonzero(decisions.legal[0, 0]).tolist()
        likely = np.exp(logits[0, legal].astype(np.float64))
        prior = (likely / likely.sum()).astype(np.float32).tolist()
        return Node(mover, returns[mover], dict(zip(legal, prior, strict=True)), list(earned)), returns

    def search(self, root: Node, board: Any, key: np.uint64, simulations: int, noise: NDArray[np.float64]) -> Found:
        """`noise` of the root's actions, in ascending order."""
        before = dict(root.n)
        drawn = dict(zip(root.prior, noise.tolist(), strict=False))
        schedule = halving(min(len(root.prior), CONSIDERED), simulations).tolist()
        for simulation in range(simulations):
            self._simulate(root, board, mix(key, SEARCH), simulation, before, drawn, schedule[simulation])
        return self._found(root, before, drawn)

    def _simulate(self, root: Node, board: Any, search: Any, number: int, before: Any, noise: Any, tried: int) -> None:
        game, row = self.game, np.zeros(1, np.int64)
        if self.determinise:
            seat = np.array([root.mover])
            board = game.resample(board, row, seat, mix(search, NATURE, number)[None])  # type: ignore[attr-defined]
        else:
            board = game.copy(board, row)
        path: list[tuple[Node, int]] = []
        node, earned = root, list(root.earned)
        while True:
            if self.rule.kind == PUCT:
                action = self._puct(node, noise if node is root else None)
            elif node is root:
                action = self._gumbel_root(root, before, noise, tried)
            else:
                action = self._gumbel_inside(node)
            nature = mix(search, number, len(path), NATURE)[None]
            path.append((node, action))
            outcome = game.step(board, np.array([[action]]), nature)
            earned = [sum(pair) for pair in zip(earned, outcome.reward[0].astype(np.float64).tolist(), strict=True)]
            decisions = game.decisions(board)
            chance = int(outcome.chance[0])
            if not decisions.active[0, 0]:
                if not game.spec.stochastic:  # such games keep the boards of their nodes, these too
                    node.children.setdefault((action, 0), Node(-1, 0.0, {}, earned))
                return self._back_up(path, earned)
            child = node.children.get((action, chance))
            if self.determinise:
                view = int(decisions.seat[0, 0]), decisions.observation.tobytes(), decisions.legal.tobytes()
                same = self.views.setdefault(view, [])
                child = next((known for known in same if all(known is not passed for passed, _ in path)), None)
            if child is None:
                child, returns = self.node(board, earned)
                if self.determinise:
                    same.append(child)
                else:
                    node.children[action, chance] = child
                return self._back_up(path, returns)
            node = child

    def _back_up(self, path: list[tuple[Node, int]], returns: list[float]) -> None:
        for node, action in path:
            node.n[action] += 1
            node.w[action] += returns[node.mover]
        if not finite(self.game.spec):
            self.scale += returns

    def _puct(self, node: Node, noise: dict[int, float] | None) -> int:
        rule, tried = self.rule, [a for a in node.prior if node.n[a]]
        first_play = self.q((node.raw + sum(node.w[a] for a in tried)) / node.tries)
        if noise is None:
            first_play -= rule.fpu * math.sqrt(sum(node.prior[a] for a in tried))
        c = math.log((1 + node.tries + rule.c_base) / rule.c_base) + rule.c_init
        score = {}
        for a, prior in node.prior.items():
            q = self.q(node.w[a] / node.n[a]) if node.n[a] else first_play
            likely = prior if noise is None else (1 - rule.noise) * prior + rule.noise * noise[a]
            score[a] = q + c * likely * math.sqrt(node.tries) / (1 + node.n[a])
        return max(score, key=lambda a: score[a])  # the first of several

    def _sigma(self, node: Node) -> dict[int, float]:
        rule, tried = self.rule, [a for a in node.prior if node.n[a]]
        q = {a: self.q(node.w[a] / node.n[a]) for a in tried}
        v_mix = self.q(node.raw)
        if tried:
            weighted = sum(node.prior[a] * q[a] for a in tried) / sum(node.prior[a] for a in tried)
            v_mix = (v_mix + (node.tries - 1) * weighted) / node.tries
        q = {a: q.get(a, v_mix) for a in node.prior}
        if rule.rescale:
            low, high = min(q.values()), max(q.values())
            q = {a: (value - low) / max(high - low, 1e-8) for a, value in q.items()}
        most = max(node.n.values())
        return {a: (rule.c_visit + most) * rule.c_scale * value for a, value in q.items()}

    def _improved(self, node: Node) -> dict[int, float]:
        score = {a: math.log(node.prior[a]) + sigma for a, sigma in self._sigma(node).items()}
        likely = {a: math.exp(value - max(score.values())) for a, value in score.items()}
        return {a: value / sum(likely.values()) for a, value in likely.items()}

    def _gumbel_inside(self, node: Node) -> int:
        score = {a: pi - node.n[a] / node.tries for a, pi in self._improved(node).items()}
        return max(score, key=lambda a: score[a])

    def _gumbel_root(self, root: Node, before: dict[int, int], noise: dict[int, float], tried: int) -> int:
        sigma = self._sigma(root)
        score = {a: noise[a] + math.log(root.prior[a]) + sigma[a] for a in root.prior}
        return max((a for a in score if root.n[a] - before[a] == tried), key=lambda a: score[a])

    def _found(self, root: Node, before: dict[int, int], noise: dict[int, float]) -> Found:
        value = (root.raw + sum(root.w.values())) / root.tries - root.earned[root.mover]
        if self.rule.kind == GUMBEL:
            target = self._improved(root)
            most = max(root.n[a] - before[a] for a in root.n)
            return Found(dict(root.n), target, value, self._gumbel_root(root, before, noise, most))
        target = {a: n / (root.tries - 1) for a, n in root.n.items()}
        return Found(dict(root.n), target, value, max(root.n, key=lambda a: root.n[a]))


@dataclass
class Found:
    n: dict[int, int]
    target: dict[int, float]
    value: float
    action: int


# ---- comparison ----------------------------------------------------------------------------------------------------

CONSIDERED = 4
RULES = {
    "puct": Rule(PUCT, running=False, noise=0.25),
    "greedy puct": Rule(PUCT, running=False, c_init=0.5, c_base=100.0, fpu=0.0),
    "gumbel": Rule(GUMBEL, running=False),
    "rescaled gumbel": Rule(GUMBEL, running=False, c_scale=0.1, rescale=True),
}
GAMES: dict[str, Callable[[], Game]] = {
    "connect_four": lambda: games.make("connect_four"),
    "tic_tac_toe": lambda: games.make("tic_tac_toe"),
    "two": maze,
    "three that are paid": lambda: maze(3, pays=True),
    "unbounded": lambda: maze(pays=True, bounds=math.inf),
    "dice": lambda: maze(3, stochastic=True),
    "unbounded dice": lambda: maze(pays=True, stochastic=True, bounds=math.inf),
    "pig": lambda: games.make("openspiel/pig?winscore=15"),
}
BUDGETS = (200, 1, 50, 2, 16, 16, 3, 2)


def evaluate(network: Network) -> Callable[[Leaves], Any]:
    def answer(leaves: Leaves) -> Any:
        logits, value = network(leaves.observation)
        return logits, totals(leaves.forest, leaves.trees, leaves.seat, value, SPREAD, MEAN)

    return answer


def grow(
    game: Game, states: Any, rows: NDArray[np.int64], rule: Rule, budget: NDArray[np.int64], **options: Any
) -> tuple[Search, NDArray[np.uint64]]:
    """The trees of a search from `rows` of `states`, with noise, and its keys."""
    spec, n, network = game.spec, len(rows), oracle(game.spec)
    decisions, trees = game.decisions(states), np.arange(n)
    seat, keys = decisions.seat[rows, 0], mix(77, rows)
    search = Search(game, n, int(budget.max()) + 1, rule, evaluate(network), **options)
    logits, value = network(decisions.observation[rows, 0])
    returns = totals(search.forest, trees, seat, value, SPREAD, MEAN)
    search.set_roots(trees, states, rows, seat, decisions.legal[rows, 0], logits, returns)
    begin(search.forest, rule, trees, budget)
    for tree in range(n):
        considered = min(int(search.forest.width[tree, 0]), CONSIDERED)
        search.forest.considered[tree, : budget[tree]] = halving(considered, int(budget[tree]))
    if rule.kind == GUMBEL:
        add_gumbel(search.forest, trees, mix(78, rows))
    elif rule.noise:
        add_dirichlet(search.forest, trees, mix(78, rows), 10.83)
    search.run(trees, keys, states, rows)
    assert (search.forest.done == budget).all()
    assert spec.stochastic or (search.forest.nodes <= budget + 1).all()
    return search, keys


def same_tree(forest: Forest, tree: int, at: int, node: Node) -> None:
    """All that is below node number `at` of a tree is what is below `node`."""
    edges = range(forest.first[tree, at], forest.first[tree, at] + forest.width[tree, at])
    assert [forest.action[tree, e] for e in edges] == list(node.prior)
    assert [forest.visits[tree, e] for e in edges] == list(node.n.values())
    np.testing.assert_allclose([forest.prior[tree, e] for e in edges], list(node.prior.values()), rtol=1e-6)
    np.testing.assert_allclose([forest.total[tree, e] for e in edges], list(node.w.values()), atol=1e-9)
    np.testing.assert_allclose(forest.earned[tree, at], node.earned, atol=1e-9)
    if node.prior:
        assert forest.mover[tree, at] == node.mover
        assert math.isclose(forest.raw[tree, at], node.raw)
    children = {}
    for e in edges:
        child = forest.child[tree, e]
        while child != NONE:
            assert forest.parent[tree, child] == at
            children[forest.action[tree, e], forest.chance[tree, child]] = child
            child = forest.sibling[tree, child]
    assert children.keys() == node.children.keys()
    for way, child in children.items():
        same_tree(forest, tree, child, node.children[way])


def compare(game: Game, rule: Rule, *, seed: int, determinise: bool = False, edges: int = 0) -> None:
    position = random_table(game, len(BUDGETS), seed)
    rows = np.flatnonzero(~position.over)
    assert len(rows) > 2
    rule = rule._replace(running=not finite(game.spec))
    budget = np.array(BUDGETS)[rows]
    search, keys = grow(game, position.states, rows, rule, budget, determinise=determinise, edges=edges)
    forest, n, actions = search.forest, len(rows), game.spec.actions
    target, value, surprise = (np.zeros(shape, np.float32) for shape in ((n, actions), n, n))
    action = np.zeros(n, np.int64)
    decide(forest, rule, np.arange(n), np.zeros(actions), target, value, surprise, action)
    for i, row in enumerate(rows.tolist()):
        plain = Plain(game, rule, oracle(game.spec), determinise)
        board = game.copy(position.states, rows[i : i + 1])
        root, _ = plain.node(board, [0.0] * game.spec.seats)
        found = plain.search(root, board, keys[i], BUDGETS[row], forest.noise[i])
        first, width = forest.first[i, 0], forest.width[i, 0]
        visits = forest.visits[i, first : first + width].tolist()
        assert visits == list(found.n.values()), f"row {row}"
        assert action[i] == found.action
        assert math.isclose(value[i], found.value, abs_tol=1e-5)
        expected = np.zeros(actions)
        expected[list(found.target)] = list(found.target.values())
        np.testing.assert_allclose(target[i], expected, atol=1e-6)
        moved = [share * math.log(share / root.prior[a]) for a, share in found.target.items() if share > 0]
        assert math.isclose(surprise[i], sum(moved), rel_tol=1e-4, abs_tol=1e-5)
        if not determinise:
            same_tree(forest, i, 0, root)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", GAMES)
def test_as_defined(name: str, rule: str) -> None:
    compare(GAMES[name](), RULES[rule], seed=5)


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
def test_determinised_as_defined(name: str, rule: str) -> None:
    compare(games.make(f"openspiel/{name}"), RULES[rule], seed=7, determinise=True)


class Fog(Maze):
    """Nobody sees anything, and it goes on for long: whoever moves stands where they stood before."""

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = 1

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 4)

    def resample(self, seat: int, rng: np.random.Generator) -> Fog:
        while True:  # another world, in which the same seat moves
            world = Fog(self.spec, self.pays, int(rng.integers(2**62)))
            if world.seats[0] == seat:
                return world

    def copy(self) -> Fog:
        twin = Fog(self.spec, self.pays, self.path)
        twin.steps, twin.chance, twin.over = self.steps, self.chance, self.over
        return twin


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
def test_who_sees_the_same_again_stands_elsewhere(rule: str) -> None:
    """A path of views that repeat is no longer than a tree has nodes."""
    spec = GameSpec(
        "fog", 2, 5, (3,), longest=200, perfect_information=False, searchable=True, resamples=True,
        payoff="general_sum",
    )  # fmt: skip
    game = Lifted(spec, lambda rng: Fog(spec, True, int(rng.integers(2**62))))
    compare(game, RULES[rule], seed=9, determinise=True)
