from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from agents.core import Context
from agents.scripted import Greedy, Random, one_of
from arena.match import Table
from games import Game, GameError, GameSpec
from games.kernels import below
from games.keys import mix


class Bank:
    """Two seats in turn; action a pays the mover a // 2 coins at once, and the other seat far more."""

    spec = GameSpec("bank", 2, 6, (1,), longest=4, payoff="general_sum", bounds=(0, 400), searchable=True)

    def __init__(self, rng: np.random.Generator) -> None:
        self.turn = 0

    @property
    def seats(self) -> Sequence[int]:
        return (self.turn % 2,)

    @property
    def over(self) -> bool:
        return self.turn == 4

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 2, 3) if seat == 0 else (1, 4, 5)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = self.turn

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        seat = self.turn % 2
        self.turn += 1
        rewards = [100.0, 100.0]
        rewards[seat] = actions[0] // 2
        return rewards

    def copy(self) -> Bank:
        twin = object.__new__(Bank)
        twin.turn = self.turn
        return twin


def positions(game: Game, lines: Sequence[Sequence[int]]) -> Table:
    table = Table(game, mix(7, np.arange(len(lines))))
    longest = max(map(len, lines))
    moves = np.array([[*line, *[-1] * (longest - len(line))] for line in lines], np.int16)
    table.replay(moves.reshape(len(lines), longest, 1), np.array([len(line) for line in lines]))
    return table


def test_one_of_agrees_with_the_kernel_and_is_even() -> None:
    options = np.array([1, 0, 1, 1, 0], np.bool_)
    keys = mix(1, np.arange(30_000))
    chosen = one_of(np.broadcast_to(options, (30_000, 5)), keys)
    marked = np.flatnonzero(options)
    assert chosen[:200].tolist() == [marked[below(key, 3)] for key in keys[:200]]
    assert np.abs(np.bincount(chosen, minlength=5) / 30_000 - options / 3).max() < 0.012  # 4 standard errors
    assert one_of(np.zeros((2, 5), np.bool_), keys[:2]).tolist() == [-1, -1]


def test_random_plays_any_legal_action_and_only_where_it_acts() -> None:
    table = positions(games.make("tic_tac_toe"), [[0, 3, 1, 4, 2], [0, 1, 2, 3, 4, 6], [0, 1, 2, 3, 4, 6]])
    context = Context(table.game, table.states, np.arange(3))
    seen = {
        tuple(Random().act(table.pending(), context, mix(key, np.arange(3))[:, None]).action[:, 0].tolist())
        for key in range(200)
    }
    assert seen == {(-1, a, b) for a in (5, 7, 8) for b in (5, 7, 8)}


def test_random_plays_every_seat_of_a_simultaneous_game() -> None:
    table = Table(games.make("rock_paper_scissors"), mix(1, np.arange(500)))
    context = Context(table.game, table.states, np.arange(500))
    keys = mix(2, np.arange(500)[:, None], np.arange(table.game.spec.seats))
    choice = Random().act(table.pending(), context, keys)
    assert choice.action.shape == keys.shape
    assert np.bincount(3 * choice.action[:, 0] + choice.action[:, 1], minlength=9).min() > 30  # 55 expected
    again = Random().act(table.pending(), context, keys)
    assert (again.action == choice.action).all()


def test_greedy_wins_at_once_and_does_not_look_further() -> None:
    game = games.make("tic_tac_toe")
    table = positions(game, [[0, 3, 1, 4], [8, 3, 1, 4, 6], [0, 3, 1, 4, 2], [0, 4, 1]])
    rows = np.array([3, 0, 2, 1])  # the policy is asked about a subset, in another order than the table's
    mine = table.pending().take(rows, np.zeros(4, np.int64))
    context = Context(game, table.states, rows)
    before = [game.text(table.states, row, 0) for row in range(4)]
    actions = np.array([Greedy().act(mine, context, mix(k, np.arange(4))[:, None]).action[:, 0] for k in range(100)])
    assert set(actions[:, 0].tolist()) == {2, 3, 5, 6, 7, 8}  # a threat to block is beyond its sight
    assert set(actions[:, 1].tolist()) == {2}
    assert set(actions[:, 2].tolist()) == {-1}
    assert set(actions[:, 3].tolist()) == {5}
    assert [game.text(table.states, row, 0) for row in range(4)] == before


def test_greedy_counts_only_its_own_seat() -> None:
    table = positions(games.lift(Bank), [[], [2]])
    context = Context(table.game, table.states, np.arange(2))
    seen = {
        tuple(Greedy().act(table.pending(), context, mix(k, np.arange(2))[:, None]).action[:, 0].tolist())
        for k in range(50)
    }
    assert seen == {(2, 4), (2, 5), (3, 4), (3, 5)}


def test_says_what_it_cannot_play() -> None:
    game = games.make("rock_paper_scissors")
    assert Random.supports(game.spec) is None
    assert Greedy.supports(games.make("tic_tac_toe").spec) is None
    table = Table(game, mix(1, np.arange(2)))
    with pytest.raises(GameError, match="greedy cannot play here"):
        Greedy().act(table.pending(), Context(game, table.states, np.arange(2)), np.zeros((2, 2), np.uint64))
    for spec, reason in (
        (GameSpec("rps", 2, 3, (1,), 1, simultaneous=True, searchable=True), "act at once"),
        (GameSpec("poker", 2, 3, (1,), 9, perfect_information=False, searchable=True), "may not see"),
        (GameSpec("atari", 2, 3, (1,), 9), "cannot be copied"),
    ):
        assert reason in str(Greedy.supports(spec))
