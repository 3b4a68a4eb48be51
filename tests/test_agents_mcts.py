"""MCTS against its definition (a tree of dictionaries, one board), against recorded moves, and at play."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from agents import mcts
from agents.core import Choice, Context, Policy
from agents.mcts import MCTS, VERSION, search
from agents.scripted import Random
from agents.search_report import root_visits
from arena.match import Table
from games import Game, GameError, GameSpec
from games.keys import CHOICE, MATCH, NATURE, SEARCH, mix

GOLDEN = Path(__file__).parent / "golden" / "mcts_v1.json"


class Race:
    """Three seats in turn add 1 or 2, and nature up to 2 more; every step is paid, who reaches 12 is paid most."""

    spec = GameSpec(
        name="race",
        seats=3,
        actions=3,
        observation=(1,),
        longest=9,
        stochastic=True,
        payoff="general_sum",
        bounds=(-math.inf, math.inf),
        searchable=True,
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.total, self.turn, self.chance = 0, 0, 0

    @property
    def seats(self) -> Sequence[int]:
        return (self.turn % 3,)

    @property
    def over(self) -> bool:
        return self.total >= 12

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 2)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = self.total

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        seat = self.turn % 3
        self.chance = int(rng.integers(3))
        gain = 1 + actions[0] // 2
        self.total += gain + self.chance
        self.turn += 1
        rewards = [-0.3 * self.chance] * 3
        rewards[seat] += gain * 0.1 + (3 if self.over else 0)
        return rewards

    def copy(self) -> Race:
        twin = object.__new__(Race)
        twin.total, twin.turn, twin.chance = self.total, self.turn, self.chance
        return twin


def table(game: Game, lines: Sequence[Sequence[int]], key: int = 7) -> Table:
    """One game for each line of moves, after those moves."""
    longest = max(map(len, lines))
    moves = np.array([[*line, *[-1] * (longest - len(line))] for line in lines], np.int16).reshape(len(lines), -1, 1)
    position = Table(game, mix(key, MATCH, np.arange(len(lines))))
    position.replay(moves, np.array([len(line) for line in lines]))
    return position


def random_table(game: Game, batch: int, key: int) -> Table:
    """Games of which number i was played at random for i steps."""
    position = Table(game, mix(key, np.arange(batch)))
    for step in range(batch):
        choice = ask(Random(), position, key + 1 + step)
        choice.action[: step + 1] = -1
        position.play(choice.action)
    return position


def ask(policy: Policy, position: Table, key: int) -> Choice:
    rows = np.arange(len(position.over))
    keys = mix(key, CHOICE, rows[:, None])
    return policy.act(position.pending(), Context(position.game, position.states, rows), keys)


def play(game: Game, seats: Sequence[Policy], batch: int, key: int) -> NDArray[np.float64]:
    """Returns [B, P] of games between policies, one on each seat of a game whose seats move in turn."""
    position = Table(game, mix(key, np.arange(batch)))
    for step in count():
        if position.over.all():
            return position.returns
        actions = np.full((batch, 1), -1, np.int64)
        decisions = position.pending()
        for seat, policy in enumerate(seats):
            rows = np.flatnonzero(decisions.active[:, 0] & (decisions.seat[:, 0] == seat))
            mine = decisions.take(rows, np.zeros_like(rows))
            keys = mix(key, seat, step, rows)[:, None]
            actions[rows] = policy.act(mine, Context(game, position.states, rows), keys).action
        position.play(actions)
    raise AssertionError


def number(key: Any, bound: int) -> int:
    return (int(key) >> 32) * bound >> 32


def reference(game: Game, states: Any, row: int, key: np.uint64, simulations: int) -> list[int]:
    """Root visits by the definition in `agents.mcts`, as plainly as can be: nodes are named by their history."""
    spec = game.spec
    n: dict[tuple[Any, ...], dict[int, int]] = {(): defaultdict(int)}
    w: dict[tuple[Any, ...], dict[int, float]] = {(): defaultdict(float)}
    seen: list[float] = [] if not all(map(math.isfinite, spec.bounds)) else list(spec.bounds)
    running = not seen
    for simulation in range(simulations):
        board = game.copy(states, np.array([row]))
        node: tuple[Any, ...] | None = ()
        path, returns = [], [0.0] * spec.seats
        for depth in count():
            decisions = game.decisions(board)
            if not decisions.active[0, 0]:
                break
            legal = np.flatnonzero(decisions.legal[0, 0]).tolist()
            step_key = mix(key, SEARCH, simulation, depth)
            options = legal
            if node is not None:
                options = [a for a in legal if n[node][a] == 0]
                if not options:
                    middle, half = (min(seen) + max(seen)) / 2, (max(seen) - min(seen)) / 2
                    log = math.log(sum(n[node].values()))
                    score = {
                        a: ((w[node][a] / n[node][a] - middle) / half if half > 0 else 0.0)
                        + math.sqrt(2) * math.sqrt(log / n[node][a])
                        for a in legal
                    }
                    options = [a for a in legal if score[a] == max(score.values())]
            action = options[number(mix(step_key, CHOICE), len(options))]
            if node is not None:
                path.append((node, action, int(decisions.seat[0, 0])))
            outcome = game.step(board, np.array([[action]]), mix(step_key, NATURE)[None])
            returns = [r + float(e) for r, e in zip(returns, outcome.reward[0], strict=True)]
            if node is not None:
                child = (*node, (action, int(outcome.chance[0])))
                node = child if child in n else None
                if node is None and not (outcome.terminated[0] or outcome.truncated[0] or outcome.failed):
                    n[child], w[child] = defaultdict(int), defaultdict(float)
        for node, action, seat in path:
            n[node][action] += 1
            w[node][action] += returns[seat]
        if running:
            seen += returns
    return [n[()][a] for a in range(spec.actions)]


class Fragile(Race):
    """A race that breaks on the way."""

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        rewards = super().step(actions, rng)
        if self.total in (7, 8):
            raise RuntimeError("a wheel came off")
        return rewards

    def copy(self) -> Fragile:
        twin = object.__new__(Fragile)
        twin.total, twin.turn, twin.chance = self.total, self.turn, self.chance
        return twin


LIFTED = {"race": Race, "fragile": Fragile}


@pytest.mark.parametrize(
    ("name", "batch", "simulations"),
    [
        ("tic_tac_toe", 9, 150),
        ("connect_four", 30, 60),
        ("race", 5, 150),
        ("fragile", 4, 100),
        ("openspiel/pig?winscore=15", 8, 80),
    ],
)
def test_searches_as_defined(name: str, batch: int, simulations: int) -> None:
    game = games.lift(LIFTED[name]) if name in LIFTED else games.make(name)
    position = random_table(game, batch, key=3)
    rows = np.flatnonzero(position.pending().active[:, 0])
    assert len(rows) >= 2
    for key in range(3):
        keys = mix(key, rows)
        forest = search(game, position.states, rows, keys, simulations)
        visits = root_visits(forest, np.arange(len(rows)), game.spec.actions)
        for i, row in enumerate(rows.tolist()):
            assert visits[i].tolist() == reference(game, position.states, row, keys[i], simulations)
            assert visits[i].sum() == simulations


def record(name: str, key: int, moves: Sequence[int], simulations: int) -> dict[str, Any]:
    """What is played after `moves` of the game that has `key`, by that same key, and the visits that led to it."""
    game = games.make(name)
    position = Table(game, np.array([key], np.uint64))
    position.replay(np.array(moves, np.int16).reshape(1, -1, 1), np.array([len(moves)]))
    agent, keys = MCTS(simulations), np.array([[key]], np.uint64)
    context = Context(game, position.states, np.arange(1))
    return {
        "game": name,
        "key": key,
        "moves": list(moves),
        "simulations": simulations,
        "action": int(agent.act(position.pending(), context, keys).action[0, 0]),
        "visits": agent.visits(position.pending(), context, keys)[0, 0].tolist(),
    }


def test_golden_moves() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["version"] == VERSION
    assert len({case["game"] for case in golden["cases"]}) == 3
    for case in golden["cases"]:
        assert record(case["game"], case["key"], case["moves"], case["simulations"]) == case


def test_same_move_alone_and_in_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    game = games.lift(Race)
    position = table(game, [[], [0], [2, 2], [0, 2], [2, 0, 0]])
    keys = mix(11, np.arange(256))
    rows = np.arange(256) % 5
    together = root_visits(search(game, position.states, rows, keys, 30), rows * 0 + np.arange(256), 3)
    for i in (0, 4, 100, 255):
        alone = root_visits(search(game, position.states, rows[i : i + 1], keys[i : i + 1], 30), np.arange(1), 3)
        assert alone[0].tolist() == together[i].tolist()
    agent, context = MCTS(30), Context(game, position.states, np.arange(5))
    whole = agent.visits(position.pending(), context, keys[:5, None])
    monkeypatch.setattr(mcts, "MEMORY", 1)
    assert (agent.visits(position.pending(), context, keys[:5, None]) == whole).all()
    assert (whole[:, 0] == together[:5]).all()


def test_context_rows_and_inactive_slots() -> None:
    game = games.make("tic_tac_toe")
    position = table(game, [[0, 3, 1, 4], [0, 3, 1, 4, 2], [8, 0, 7, 1, 4]])
    before = [position.game.text(position.states, row, 0) for row in range(3)]
    rows = np.array([2, 1, 0])
    mine = position.pending().take(rows, np.zeros(3, np.int64))
    choice = MCTS(100).act(mine, Context(game, position.states, rows), mix(5, np.arange(3))[:, None])
    assert choice.action[:, 0].tolist() == [2, -1, 2]  # o completes 0 1 2; over; x completes 0 1 2
    assert [position.game.text(position.states, row, 0) for row in range(3)] == before


@pytest.mark.parametrize(
    ("name", "lines", "moves"),
    [
        ("tic_tac_toe", [[0, 3, 1, 4], [0, 1, 4, 2], [0, 4, 1], [4, 0, 8, 1]], [2, 8, 2, 2]),
        ("connect_four", [[0, 6, 0, 6, 0, 6], [0, 6, 1, 6, 2, 5], [0, 6, 0, 6, 0], [0, 6, 1, 6, 2]], [0, 3, 0, 3]),
    ],
)
def test_takes_a_win_and_blocks_a_loss(name: str, lines: list[list[int]], moves: list[int]) -> None:
    position = table(games.make(name), lines)
    for key in range(10):
        assert ask(MCTS(200), position, key).action[:, 0].tolist() == moves


def test_never_peeks_at_nature() -> None:
    """A guess at nature's next throw earns 1 or -1, and who saw nature's key would always be right."""

    class Guess(Race):
        spec = GameSpec("guess", 1, 2, (1,), longest=1, stochastic=True, payoff="cooperative", searchable=True)

        def __init__(self, rng: np.random.Generator) -> None:
            self.total, self.turn, self.chance = 0, 0, 0

        @property
        def seats(self) -> Sequence[int]:
            return (0,)

        def legal(self, seat: int) -> Sequence[int]:
            return (0, 1)

        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            self.chance, self.total = int(rng.integers(2)), 12
            return [1 if self.chance == actions[0] else -1]

        def copy(self) -> Guess:
            twin = object.__new__(Guess)
            twin.total, twin.turn, twin.chance = self.total, self.turn, self.chance
            return twin

    earned = play(games.lift(Guess), [MCTS(20)], 400, key=1)
    assert abs(earned.mean()) < 0.2  # four standard errors


def test_strong_against_random_on_both_seats() -> None:
    game = games.make("tic_tac_toe")
    first = play(game, [MCTS(200), Random()], 60, key=1)[:, 0]
    second = play(game, [Random(), MCTS(200)], 60, key=2)[:, 1]
    assert (first < 0).sum() <= 1
    assert (second < 0).sum() <= 2
    assert first.mean() > 0.85
    assert second.mean() > 0.6


def test_larger_search_beats_smaller() -> None:
    game = games.make("connect_four")
    first = play(game, [MCTS(100), MCTS(10)], 50, key=3)[:, 0]
    second = play(game, [MCTS(10), MCTS(100)], 50, key=4)[:, 1]
    assert first.mean() > 0.6
    assert second.mean() > 0.6


def test_refuses_what_it_cannot_play() -> None:
    with pytest.raises(ValueError, match="at least 1 simulation a move, not 0"):
        MCTS(0)
    assert MCTS.supports(games.make("tic_tac_toe").spec) is None
    assert "act at once" in str(MCTS.supports(GameSpec("rps", 2, 3, (1,), 1, simultaneous=True, searchable=True)))
    assert "may not see" in str(
        MCTS.supports(GameSpec("poker", 2, 3, (1,), 9, perfect_information=False, searchable=True))
    )
    assert "cannot be copied" in str(MCTS.supports(GameSpec("atari", 2, 3, (1,), 9)))
    game = games.make("rock_paper_scissors")
    position = Table(game, mix(1, np.arange(2)))
    with pytest.raises(GameError, match="mcts cannot play here"):
        MCTS(10).act(position.pending(), Context(game, position.states, np.arange(2)), np.zeros((2, 2), np.uint64))


if __name__ == "__main__":  # how the golden moves were recorded; a version is recorded once
    cases = [
        record(name, key, moves, simulations)
        for name, lines in {
            "tic_tac_toe": [[], [4], [0, 4], [4, 0, 8], [4, 1, 0, 8], [0, 1, 3]],
            "connect_four": [
                [],
                [3],
                [3, 3, 2],
                [0, 6, 0, 6, 0],
                [3, 2, 3, 2, 3],
                [3, 3, 3, 3, 3, 3, 2, 4],
                [1, 5] * 3,
            ],
            "openspiel/pig?winscore=20": [[], [0], [0, 0], [0, 1, 0], [0, 1, 0, 1, 0, 1]],
        }.items()
        for key, moves in enumerate(lines, start=2**63 + 1)
        for simulations in (1, 20, 200)
    ]
    lines = ",\n".join(json.dumps(case) for case in cases)
    with GOLDEN.open("x", encoding="utf-8") as file:
        file.write(f'{{"version": {VERSION}, "cases": [\n{lines}\n]}}\n')
