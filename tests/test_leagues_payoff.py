"""The payoff: known answers by hand, and the same by brute force."""

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from leagues import Ledger, Match, Payoff, Player, Result, Tally


def games(match: Match, returns: list[tuple[float, ...]], first: int = 0) -> list[tuple[Match, Result]]:
    return [(match, Result(match.id, first + i, earned, 5)) for i, earned in enumerate(returns)]


def test_two_players_change_seats_and_the_wins_follow_them() -> None:
    payoff = Payoff((0, 1))
    match = Match(0, ("a", "b"), "train", 1)
    # `a` sits first in even games: it wins games 0 and 1, loses 2, draws 3.
    payoff.record_all(games(match, [(1, -1), (-1, 1), (-1, 1), (0, 0)]))
    assert payoff.tally("a", "b") == Tally(2, 1, 1)
    assert payoff.tally("b", "a") == Tally(1, 1, 2)
    assert payoff.score("a", "b") == 2.5 / 4
    assert payoff.score("b", "a") == 1.5 / 4
    assert payoff.games("a", "b") == payoff.games("b", "a") == 4


def test_strangers_and_oneself_are_even() -> None:
    payoff = Payoff((0, 1))
    payoff.record_all(games(Match(0, ("a", "a"), "train", 1), [(1, -1)] * 5))
    assert payoff.score("a", "a") == payoff.score("a", "z") == 0.5
    assert payoff.games("a", "a") == 0
    assert payoff.interval("a", "z") == (0.0, 1.0)
    assert payoff.tally("a", "z") == payoff.counts("a", "z") == Tally(0, 0, 0)


def test_a_pair_with_a_live_player_decays_by_hand() -> None:
    payoff = Payoff((0, 1), live=["a"], decay=0.5)
    match = Match(0, ("a", "b"), "train", 1)
    payoff.record_all(games(match, [(1, -1), (-1, 1), (-1, 1)]))  # a wins, wins, loses
    assert payoff.tally("a", "b") == Tally(0.25 + 0.5, 0, 1)
    assert payoff.score("a", "b") == 0.75 / 1.75
    assert payoff.counts("b", "a") == Tally(1, 0, 2)
    assert payoff.games("a", "b") == 3


def test_two_frozen_players_do_not_decay() -> None:
    payoff = Payoff((0, 1), live=["main"], decay=0.5)
    payoff.record_all(games(Match(0, ("a", "b"), "rate", 1), [(1, -1), (1, -1), (0, 0), (1, -1)]))
    assert payoff.tally("a", "b") == payoff.counts("a", "b") == Tally(1, 1, 2)


def test_decay_against_brute_force_over_many_pairs() -> None:
    rng = np.random.default_rng(3)
    names, decay = ["main", "rival", "main@0", "main@1", "random"], 0.97
    payoff = Payoff((0, 1), live=["main", "rival"], decay=decay)
    weights: dict[tuple[str, str], list[float]] = {}
    for number in range(600):
        one, other = (names[i] for i in rng.choice(5, 2, replace=False))
        game = int(rng.integers(4))
        result = float(rng.integers(-1, 2))
        payoff.record(Match(number, (one, other), "train", 1), Result(number, game, (result, -result), 3))
        gain = (result if game % 2 == 0 else -result) / 2 + 0.5
        weights.setdefault((one, other), []).append(gain)
        weights.setdefault((other, one), []).append(1 - gain)
    for pair in permutations(names, 2):
        gains = np.array(weights[pair])
        slow = decay if {"main", "rival"} & set(pair) else 1.0
        aged = slow ** np.arange(len(gains))[::-1]
        assert payoff.games(*pair) == len(gains)
        assert payoff.tally(*pair).games == pytest.approx(aged.sum())
        assert payoff.score(*pair) == pytest.approx((aged * gains).sum() / aged.sum())


def test_teams_of_two_meet_by_their_mean_return() -> None:
    payoff = Payoff((0, 1, 0, 1))
    match = Match(0, ("a", "b"), "train", 1)
    payoff.record(match, Result(0, 0, (5, 1, -3, 2), 9))  # 1 against 1.5: b
    payoff.record(match, Result(0, 1, (5, 1, -3, 0), 9))  # b holds team 0 now: 1 against 0.5: b
    assert payoff.tally("b", "a") == Tally(2, 0, 0)


def test_uneven_teams_meet_by_mean_not_by_sum() -> None:
    payoff = Payoff((0, 1, 1, 1))
    payoff.record(Match(0, ("a", "b"), "train", 1), Result(0, 0, (2, 1, 1, 1), 9))
    assert payoff.tally("a", "b") == Tally(1, 0, 0)


def test_three_players_are_read_pairwise_and_twins_do_not_meet() -> None:
    payoff = Payoff((0, 1, 2))
    payoff.record(Match(0, ("a", "b", "c"), "train", 1), Result(0, 0, (3, 1, 1), 9))
    assert payoff.tally("a", "b") == payoff.tally("a", "c") == Tally(1, 0, 0)
    assert payoff.tally("b", "c") == Tally(0, 1, 0)
    # In game 1 everyone moves on by one: seats hold b, c, a.
    payoff.record(Match(0, ("a", "b", "c"), "train", 1), Result(0, 1, (3, 2, 1), 9))
    assert payoff.counts("a", "b") == Tally(1, 0, 1)
    assert payoff.counts("b", "c") == Tally(1, 1, 0)
    payoff.record(Match(1, ("x", "x", "y"), "train", 1), Result(1, 0, (3, 1, 2), 9))
    assert payoff.tally("x", "y") == Tally(1, 0, 1)
    assert payoff.games("x", "x") == 0


def test_the_lineup_is_that_of_the_match() -> None:
    for teams in ((0, 1), (1, 0), (0, 1, 2), (0, 1, 0, 1)):
        names = tuple("abc"[: len(set(teams))])
        match = Match(0, names, "train", 1)
        for game in range(6):
            seats = match.lineup(game, teams)
            payoff = Payoff(teams)
            payoff.record(match, Result(0, game, tuple(float(name == "b") for name in seats), 3))
            assert payoff.tally("b", "a") == Tally(1, 0, 0)


def test_a_game_of_one_team_has_no_pairs() -> None:
    payoff = Payoff((0, 0))
    payoff.record(Match(0, ("a",), "train", 1), Result(0, 0, (3, 3), 9))
    assert payoff.games("a", "a") == 0


def test_matrix_of_rock_paper_scissors() -> None:
    payoff = Payoff((0, 1))
    for number, pair in enumerate([("paper", "rock"), ("scissors", "paper"), ("rock", "scissors")]):
        payoff.record_all(games(Match(number, pair, "rate", 1), [(1, -1), (-1, 1)]))
    scores, met = payoff.matrix(["rock", "paper", "scissors", "lizard"])
    np.testing.assert_array_equal(scores, [[0.5, 0, 1, 0.5], [1, 0.5, 0, 0.5], [0, 1, 0.5, 0.5], [0.5] * 4])
    np.testing.assert_array_equal(met, [[0, 2, 2, 0], [2, 0, 2, 0], [2, 2, 0, 0], [0, 0, 0, 0]])


def test_wilson_intervals_of_known_value() -> None:
    payoff = Payoff((0, 1))
    payoff.record_all(games(Match(0, ("a", "b"), "rate", 1), [(1, -1) if i % 2 == 0 else (-1, 1) for i in range(10)]))
    low, high = payoff.interval("a", "b")  # 10 of 10: Wilson's lower end is n / (n + z^2)
    assert low == pytest.approx(10 / (10 + 1.959964**2))
    assert high == pytest.approx(1.0)
    payoff.record_all(games(Match(1, ("c", "d"), "rate", 1), [(1, -1)] * 20))
    assert payoff.interval("c", "d") == pytest.approx((0.2993, 0.7007), abs=1e-4)  # 10 of 20, as in any table
    assert payoff.interval("b", "a") == pytest.approx((1 - high, 1 - low))


def test_a_decayed_interval_never_claims_more_than_its_memory() -> None:
    payoff = Payoff((0, 1), live=["a"], decay=0.99)
    payoff.record_all(games(Match(0, ("a", "b"), "train", 1), [(1, -1)] * 20_000))
    low, high = payoff.interval("a", "b")
    effective = (1 + 0.99) / (1 - 0.99)  # Kish's size of an endless geometric series
    z = 1.959964
    half = z / (1 + z**2 / effective) * math.sqrt(0.25 / effective + z**2 / (4 * effective**2))
    assert high - low == pytest.approx(2 * half, rel=1e-3)


def test_the_payoff_of_a_ledger_is_that_of_its_results(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    with Ledger.create(tmp_path / "l.sqlite", "g", (0, 1)) as ledger:
        ledger.add_player(Player("main", "ppo", live=True))
        ledger.add_player(Player("main@0", "ppo", parent="main"))
        training, rating = Match(0, ("main", "main@0"), "train", 1), Match(1, ("main@0", "main"), "rate", 1)
        for match in (training, rating):
            ledger.add_matches([match])
        told = []
        for match in (training, rating):
            for game, value in enumerate(rng.integers(-1, 2, 50).tolist()):
                told.append((match, Result(match.id, game, (value, -value), 4)))
        ledger.append(result for _, result in told)
        expected = Payoff((0, 1), live=["main"])
        expected.record_all(told[:30])
        upto = ledger.sequence - 70
        assert Payoff.of(ledger, upto).tally("main", "main@0") == expected.tally("main", "main@0")
        expected.record_all(told[30:50])
        assert Payoff.of(ledger).tally("main", "main@0") == expected.tally("main", "main@0")
        expected.record_all(told[50:])
        assert Payoff.of(ledger, purposes=None).tally("main", "main@0") == expected.tally("main", "main@0")
        assert Payoff.of(ledger, purposes=["rate"]).games("main", "main@0") == 50


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="decay is above 0 and at most 1, not 0"):
        Payoff((0, 1), decay=0)
    with pytest.raises(ValueError, match=r"without a gap, not \[0, 2\]"):
        Payoff((0, 2))
