"""Credit against its definition, written out seat by seat as sums, on hand-made games and on generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import games
from agents.core import Policy, Trajectories
from agents.credit import advantages
from agents.scripted import Random
from arena.rollout import Order, Rollout
from leagues.core import Match


def trajectories(
    seats: int,
    steps: Sequence[tuple[int, Sequence[int], Sequence[float]]],
    cut: Sequence[int] = (),
    games_: int | None = None,
) -> Trajectories:
    """From steps as (game, seats that decide, reward of every seat), and the games that were cut."""
    count = games_ or 1 + max(game for game, _, _ in steps)
    acting = [(r, seat) for r, (_, deciders, _) in enumerate(steps) for seat in deciders]
    d = len(acting)
    return Trajectories(
        reward=np.array([earned for _, _, earned in steps], np.float32).reshape(-1, seats),
        step_game=np.array([game for game, _, _ in steps], np.int64),
        observation=np.zeros((d, 1), np.float32),
        legal=np.ones((d, 2), np.bool_),
        action=np.zeros(d, np.int64),
        seat=np.array([seat for _, seat in acting], np.int16),
        step=np.array([r for r, _ in acting], np.int64),
        version=np.zeros(d, np.int64),
        extras={},
        terminated=np.array([game not in cut for game in range(count)]),
        cut_game=np.array(cut, np.int64),
        cut_observation=np.zeros((len(cut), seats, 1), np.float32),
    )


def by_definition(
    t: Trajectories, values: NDArray[np.float32], cut_values: NDArray[np.float32], gamma: float, lam: float
) -> NDArray[np.float64]:
    """Every seat's own decisions, what it earned from each up to the next, and explicit sums of discounted deltas."""
    found = np.full(t.decisions, np.nan)
    for game in range(t.games):
        for seat in range(t.reward.shape[1]):
            own = [d for d in range(t.decisions) if t.step_game[t.step[d]] == game and t.seat[d] == seat]
            bounds = [*(int(t.step[d]) for d in own), t.steps]
            earned = [
                sum(float(t.reward[r, seat]) for r in range(first, last) if t.step_game[r] == game)
                for first, last in pairwise(bounds)
            ]
            after = 0.0 if t.terminated[game] else float(cut_values[t.cut_game.tolist().index(game), seat])
            value = [*(float(values[d]) for d in own), after]
            delta = [r + gamma * later - now for r, (now, later) in zip(earned, pairwise(value), strict=True)]
            for k, d in enumerate(own):
                found[d] = sum((gamma * lam) ** (i - k) * delta[i] for i in range(k, len(own)))
    return found


def returns_to_go(t: Trajectories, cut_values: NDArray[np.float32] | None = None) -> list[float]:
    """What is left with no discount, no values and lambda 1: all that the decision's seat earns from there on."""
    cuts = np.zeros((len(t.cut_game), t.reward.shape[1]), np.float32) if cut_values is None else cut_values
    return [float(a) for a in advantages(t, np.zeros(t.decisions, np.float32), cuts, gamma=1.0, lam=1.0)]


@st.composite
def played(draw: st.DrawFn) -> tuple[Trajectories, NDArray[np.float32], NDArray[np.float32]]:
    """Several interleaved games: any seats decide at any step, also none (others played), and some are cut."""
    seats, count = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    number = st.integers(-8, 8).map(lambda n: n / 4)
    order = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=24))
    steps = [
        (
            game,
            sorted(draw(st.sets(st.integers(0, seats - 1)))),
            draw(st.lists(number, min_size=seats, max_size=seats)),
        )
        for game in order
    ]
    cut = draw(st.permutations(range(count)))[: draw(st.integers(0, count))]
    t = trajectories(seats, steps, cut, count)
    values = draw(st.lists(number, min_size=t.decisions, max_size=t.decisions))
    cut_values = draw(st.lists(number, min_size=len(cut) * seats, max_size=len(cut) * seats))
    return t, np.array(values, np.float32), np.array(cut_values, np.float32).reshape(len(cut), seats)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(played(), st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.sampled_from([0.0, 0.7, 0.95, 1.0]))
def test_credit_is_its_definition(
    case: tuple[Trajectories, NDArray[np.float32], NDArray[np.float32]], gamma: float, lam: float
) -> None:
    t, values, cut_values = case
    found = advantages(t, values, cut_values, gamma=gamma, lam=lam)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(t, values, cut_values, gamma, lam), rtol=1e-5, atol=1e-5)


def test_the_loser_learns_of_its_loss_though_it_did_not_move_last() -> None:
    t = trajectories(2, [(0, [0], (0, 0)), (0, [1], (0, 0)), (0, [0], (1, -1))])
    assert returns_to_go(t) == [1, -1, 1]
    discounted = advantages(t, np.zeros(3, np.float32), np.zeros((0, 2), np.float32), gamma=0.5, lam=1.0)
    assert discounted.tolist() == [0.5, -1, 1]  # by own decisions: the loser's last is not discounted at all


def test_what_is_earned_while_others_move_belongs_to_the_decision_before() -> None:
    t = trajectories(3, [(0, [0], (1, 0, 0)), (0, [1], (10, 0, 0)), (0, [2], (100, 0, 0)), (0, [0], (1000, 0, 0))])
    one_step = advantages(t, np.zeros(4, np.float32), np.zeros((0, 3), np.float32), gamma=1.0, lam=0.0)
    assert one_step.tolist() == [111, 0, 0, 1000]


def test_what_is_earned_before_a_seats_first_decision_is_nobodys_credit() -> None:
    assert returns_to_go(trajectories(2, [(0, [0], (0, 5)), (0, [1], (0, 2))])) == [0, 2]


def test_a_double_move_is_two_decisions_of_one_seat() -> None:
    t = trajectories(2, [(0, [0], (1, 0)), (0, [0], (2, 0)), (0, [1], (4, 8)), (0, [1], (16, 32))])
    values = np.array([3, 5, 7, 11], np.float32)
    one_step = advantages(t, values, np.zeros((0, 2), np.float32), gamma=0.5, lam=0.0)
    assert one_step.tolist() == [1 + 0.5 * 5 - 3, 22 - 5, 8 + 0.5 * 11 - 7, 32 - 11]


def test_a_dead_member_shares_in_what_its_team_earns_later() -> None:
    """Seat 1 dies after the first step, and both are paid at the end."""
    assert returns_to_go(trajectories(2, [(0, [0, 1], (0, 0)), (0, [0], (0, 0)), (0, [0], (3, 3))])) == [3, 3, 3, 3]


def test_only_a_cut_game_bootstraps_and_every_seat_from_its_own_view() -> None:
    steps = [(0, [0], (0.0, 0.0)), (1, [0], (0, 0)), (0, [1], (0, 0)), (1, [1], (0, 0))]
    t = trajectories(2, steps, cut=[1])
    assert returns_to_go(t, np.array([[5, -7]], np.float32)) == [0, 5, 0, -7]


@pytest.mark.parametrize("parts", [1, 3])
def test_joining_trajectories_changes_no_credit(parts: int) -> None:
    rng = np.random.default_rng(parts)
    pieces = [
        trajectories(
            2,
            [(int(rng.integers(3)), [int(rng.integers(2))], tuple(rng.normal(size=2))) for _ in range(20)],
            cut=[part % 3],
            games_=3,
        )
        for part in range(parts)
    ]
    values = [rng.normal(size=t.decisions).astype(np.float32) for t in pieces]
    cuts = [rng.normal(size=(1, 2)).astype(np.float32) for _ in pieces]
    alone = [advantages(t, v, c, gamma=0.9, lam=0.8) for t, v, c in zip(pieces, values, cuts, strict=True)]
    joined = Trajectories.concatenate(pieces)
    together = advantages(joined, np.concatenate(values), np.concatenate(cuts), gamma=0.9, lam=0.8)
    assert together.tolist() == np.concatenate(alone).tolist()


class Solo:
    """Everybody plays at random."""

    def policy(self, player: str) -> Policy:
        return Random()

    def version(self, player: str) -> int:
        return 0


def test_both_seats_of_tic_tac_toe_get_their_terminal_reward() -> None:
    order = Order((Match(1, ("me", "me"), "train", seed=3, games=60),), learners=("me",))
    batch = Rollout(games.make("tic_tac_toe"), Solo(), rows=8).run(order)
    t = batch.trajectories["me"]
    to_go = np.array(returns_to_go(t))
    game = t.step_game[t.step]
    found = sorted(tuple(to_go[(game == g) & (t.seat == seat)].tolist()) for g in range(t.games) for seat in range(2))
    expected = sorted(
        (result.returns[seat],) * ((result.length + 1 - seat) // 2) for result in batch.results for seat in range(2)
    )
    assert found == expected
    assert {value for line in found for value in line} == {-1.0, 0.0, 1.0}
