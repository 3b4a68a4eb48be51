"""The matrix games of one team, against their published tables written out by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import games
from games import NO_ACTION, Decisions, Game, GameError
from games.check import check
from games.keys import mix

CLIMBING = {
    (0, 0): 11, (0, 1): -30, (0, 2): 0,
    (1, 0): -30, (1, 1): 7, (1, 2): 0,
    (2, 0): 0, (2, 1): 6, (2, 2): 5,
}  # fmt: skip
PENALTY = {(0, 0): -100, (0, 2): 10, (1, 1): 2, (2, 0): 10, (2, 2): -100}  # and nothing elsewhere


def play(game: Game, moves: Any) -> tuple[Any, Any, list[Any]]:
    """Games in which `moves` [T, B, 2] are played: the states, the returns [B, 2], and each step's outcome."""
    moves = np.asarray(moves)
    keys = mix(0, np.arange(moves.shape[1]))
    states = game.start(keys)
    outcomes = [game.step(states, actions, keys) for actions in moves]
    return states, sum(outcome.reward for outcome in outcomes), outcomes


def test_two_step_in_all_its_sixteen_ways() -> None:
    game = games.make("two_step")
    ways = list(product(range(2), repeat=4))
    moves = np.array(ways).reshape(16, 2, 2).transpose(1, 0, 2)
    _, returns, (first, second) = play(game, moves)
    paid = [8 * (c and d) + 1 * (c != d) if a else 7 for a, _, c, d in ways]  # only the first seat's first move counts
    assert returns.tolist() == [[value, value] for value in paid]
    assert sorted(set(paid)) == [0, 1, 7, 8]
    assert not first.reward.any()
    assert not first.terminated.any()
    assert second.terminated.all()
    assert not second.truncated.any()


def test_two_step_shows_both_seats_and_the_state_where_they_are() -> None:
    game = games.make("two_step")
    states = game.start(mix(0, np.arange(3)))
    decisions = game.decisions(states)
    assert decisions.observation.tolist() == [[[1, 0, 0]] * 2] * 3
    game.step(states, np.array([[0, 1], [1, 0], [NO_ACTION, NO_ACTION]]), mix(0, np.arange(3)))
    decisions = game.decisions(states, Decisions.empty(game.spec, 3))
    assert decisions.global_state is not None
    assert decisions.global_state.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert decisions.observation.tolist() == [[row] * 2 for row in decisions.global_state.tolist()]
    assert decisions.legal.all()
    seen = np.empty((2, 3), np.float32)
    game.observe(states, np.array([1, 0]), np.array([0, 1]), seen)
    assert seen.tolist() == [[0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(("name", "table"), [("climbing", CLIMBING), ("penalty", PENALTY)])
def test_a_repeated_game_pays_its_table_to_both_in_every_round(name: str, table: dict[Any, int]) -> None:
    game = games.make(name)
    pairs = list(product(range(3), repeat=2))
    states, returns, outcomes = play(game, np.tile(np.array(pairs), (25, 1, 1)))
    assert returns.tolist() == [[25 * table.get(pair, 0)] * 2 for pair in pairs]
    assert [outcome.terminated.all() for outcome in outcomes] == [False] * 24 + [True]
    assert game.spec.bounds == (returns.min(), returns.max())
    assert not game.decisions(states).active.any()
    fresh = game.decisions(game.start(mix(0, np.arange(2))))
    assert fresh.observation.tolist() == [[[1], [1]]] * 2
    assert fresh.global_state is None


def test_the_returns_that_papers_report() -> None:
    """Papoudakis et al. 2021: 175 is the safe equilibrium of climbing, 275 its best; 50 and 250 in penalty."""
    for name, action, value in (("climbing", 1, 175), ("climbing", 0, 275), ("penalty", 1, 50)):
        _, returns, _ = play(games.make(name), np.full((25, 1, 2), action))
        assert returns.tolist() == [[value, value]]
    _, returns, _ = play(games.make("penalty"), np.tile([0, 2], (25, 1, 1)))
    assert returns.tolist() == [[250, 250]]


def test_parameters_change_the_table_and_the_length() -> None:
    game = games.make("penalty?k=-25&rounds=3")
    _, returns, outcomes = play(game, np.tile([[0, 0], [1, 1]], (3, 1, 1)))
    assert returns.tolist() == [[-75, -75], [6, 6]]
    assert outcomes[-1].terminated.all()
    assert (game.spec.longest, game.spec.bounds) == (3, (-75, 30))
    assert games.make("penalty", k=0).spec.bounds == (0, 250)
    assert games.make("climbing", rounds=1).spec.bounds == (-30, 11)


@pytest.mark.parametrize("name", ["two_step", "climbing", "penalty"])
def test_traits_and_promises(name: str) -> None:
    spec = games.make(name).spec
    assert (spec.name, spec.seats, spec.teams, spec.payoff) == (name, 2, (0, 0), "cooperative")
    assert (spec.simultaneous, spec.searchable, spec.perfect_information, spec.stochastic) == (True, True, True, False)
    assert not spec.competitive
    report = check(name, games=20)
    assert report.passed, report.failures
    assert not report.skipped


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("climbing?rounds=0", "climbing: rounds must be a whole number from 1, not 0"),
        ("penalty?rounds=2.5", "penalty: rounds must be a whole number from 1, not 2.5"),
        ("climbing?rounds=true", "not True"),
        ("penalty?k=5", "penalty: k must be a number that is 0 or less, such as -100, not 5"),
        ("penalty?k=low", "not 'low'"),
        ("penalty?k=-1e999", "not -inf"),
        ("two_step?rounds=3", "two_step cannot be made with {'rounds': 3}"),
        ("climbing?k=-3", "climbing cannot be made with {'k': -3}"),
    ],
)
def test_bad_parameters_are_refused(name: str, says: str) -> None:
    with pytest.raises(GameError, match=says):
        games.make(name)


def test_what_there_is_not_voids_its_game_only() -> None:
    game = games.make("climbing")
    keys = mix(0, np.arange(4))
    states = game.start(keys)
    outcome = game.step(states, np.array([[0, 3], [2, NO_ACTION], [2, 2], [NO_ACTION, NO_ACTION]]), keys)
    assert outcome.failed == {
        0: "climbing: actions [0, 3] were played, but each seat has 0 to 2.",
        1: "climbing: actions [2, -1] were played, but each seat has 0 to 2.",
    }
    assert outcome.reward.tolist() == [[0, 0], [0, 0], [5, 5], [0, 0]]
    assert game.decisions(states).active.tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    assert states["played"].tolist() == [0, 0, 1, 0]
    again = game.step(states, np.array([[1, 1], [1, 1], [NO_ACTION] * 2, [NO_ACTION] * 2]), keys)
    assert not again.failed
    assert not again.reward.any()


def test_copies_and_restarts_leave_other_rows_alone() -> None:
    game = games.make("two_step")
    keys = mix(0, np.arange(2))
    states = game.start(keys)
    game.step(states, np.array([[1, 0], [0, 0]]), keys)
    twins = game.copy(states, np.array([0, 0, 1]))
    outcome = game.step(twins, np.array([[1, 1], [0, 1], [NO_ACTION] * 2]), mix(0, np.arange(3)))
    assert outcome.reward[:, 0].tolist() == [8, 1, 0]
    assert states["played"].tolist() == [1, 1]
    room = game.room(2)
    game.put(room, np.array([1]), game.copy(states, np.array([0])))
    assert room["place"].tolist() == [0, 2]
    game.restart(states, np.array([0]), keys[:1])
    assert states["place"].tolist() == [0, 1]


def test_words_for_a_terminal() -> None:
    two_step, penalty = games.make("two_step"), games.make("penalty?rounds=2")
    states, _, _ = play(two_step, [[[1, 0]]])
    assert two_step.text(states, 0, 1).splitlines() == ["Round 2 of 2: matrix B.", "   A B", " A 0 1", " B 1 8"]
    assert two_step.text(two_step.start(mix(0, [0])), 0, 0).startswith(
        "Round 1 of 2: the first seat picks matrix A or B"
    )
    assert [two_step.action_name(states, 0, seat, 1) for seat in range(2)] == ["B", "B"]
    states, _, _ = play(penalty, [[[1, 0]]])
    assert penalty.text(states, 0, 0).splitlines() == [
        "Round 2 of 2: both seats are paid.",
        "        b0   b1   b2",
        "   a0 -100    0   10",
        "   a1    0    2    0",
        "   a2   10    0 -100",
    ]
    assert [penalty.action_name(states, 0, seat, 2) for seat in range(2)] == ["a2", "b2"]
    penalty.step(states, np.array([[1, 0]]), mix(0, [0]))
    assert penalty.text(states, 0, 0).startswith("The game is over.")
