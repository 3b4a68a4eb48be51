"""The payoff: known answers by hand, and the same by brute force."""

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from leagues import Ledger, Match, Payoff, Player, Result, Tally
from leagues.payoff import Comparisons


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


# ---- sides with roles ----------------------------------------------------------------------------------------------


HUNT = (0, 0, 0, 1)  # three hunters against their prey, who always returns less
BETTER = [
    (6.0, 7.0, 8.0, -20.0),
    (4.0, 5.0, 3.0, -15.0),
]  # the first player hunts for 7 not 4, and flees for -15 not -20


def test_alike_sides_are_compared_game_by_game() -> None:
    comparisons, match = Comparisons((0, 1, 0)), Match(3, ("a", "b"), "rate", 1, paired=True)
    assert comparisons.rows(match, Result(3, 0, (1.0, 5.0, 2.0), 4)) == [(["a", "b"], [1.5, 5.0])]
    assert comparisons.rows(match, Result(3, 7, (1.0, 5.0, 2.0), 4)) == [(["b", "a"], [1.5, 5.0])]


def test_a_side_of_a_round_trip_is_compared_once_both_games_are_told() -> None:
    comparisons = Comparisons(HUNT, roles=True)
    one, other = (Match(number, ("a", "b"), "rate", 1, paired=True) for number in (3, 4))
    assert comparisons.rows(one, Result(3, 1, BETTER[1], 9)) == []
    assert comparisons.rows(other, Result(4, 0, BETTER[0], 9)) == [], "that is another match"
    assert comparisons.rows(one, Result(3, 2, BETTER[0], 9)) == [], "that is another round trip"
    sides = [(["a", "b"], [7.0, 4.0]), (["b", "a"], [-20.0, -15.0])]
    assert comparisons.rows(one, Result(3, 0, BETTER[0], 9)) == sides
    assert comparisons.rows(other, Result(4, 1, BETTER[1], 9)) == sides
    assert comparisons.rows(other, Result(4, 3, BETTER[1], 9)) == [], "its other half may be void"


def test_three_sides_are_compared_once_all_three_games_are_told() -> None:
    comparisons, match = Comparisons((0, 1, 2), roles=True), Match(0, ("a", "b", "c"), "rate", 1, paired=True)
    assert comparisons.rows(match, Result(0, 4, (40.0, 41.0, 42.0), 1)) == []
    assert comparisons.rows(match, Result(0, 3, (30.0, 31.0, 32.0), 1)) == []
    assert comparisons.rows(match, Result(0, 5, (50.0, 51.0, 52.0), 1)) == [
        (["a", "b", "c"], [30.0, 40.0, 50.0]),
        (["b", "c", "a"], [31.0, 41.0, 51.0]),
        (["c", "a", "b"], [32.0, 42.0, 52.0]),
    ]


def test_the_better_on_both_sides_wins_though_one_side_always_returns_less() -> None:
    told = games(Match(0, ("a", "b"), "rate", 1, paired=True), BETTER * 10)
    alike, by_side = Payoff(HUNT), Payoff(HUNT, roles=True)
    alike.record_all(told)
    by_side.record_all(told)
    assert alike.tally("a", "b") == Tally(10, 0, 10), "hunters win"
    assert by_side.tally("a", "b") == Tally(20, 0, 0)
    assert by_side.tally("b", "a") == Tally(0, 0, 20)


def test_each_side_is_a_comparison_of_its_own() -> None:
    payoff = Payoff((0, 1), roles=True)
    payoff.record_all(
        games(Match(0, ("a", "b"), "rate", 1, paired=True), [(9, 1), (8, 2)])
    )  # a: 9 over 8, and 2 over 1
    payoff.record_all(games(Match(1, ("a", "b"), "rate", 1, paired=True), [(9, 1), (8, 1)]))  # 9 over 8, 1 and 1
    payoff.record_all(games(Match(2, ("a", "b"), "rate", 1, paired=True), [(9, 2), (8, 1)]))  # 9 over 8, 1 under 2
    assert payoff.tally("a", "b") == Tally(4, 1, 1)


def test_the_order_of_results_and_void_halves_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    matches = [Match(number, ("a", "b"), "rate", 1, paired=True) for number in range(4)]
    told = [row for match in matches for row in games(match, [tuple(r) for r in rng.integers(0, 4, (20, 2)).tolist()])]
    whole, shuffled, lacking = (Payoff((0, 1), roles=True) for _ in range(3))
    whole.record_all(told)
    shuffled.record_all(told[i] for i in rng.permutation(len(told)))
    assert shuffled.tally("a", "b") == whole.tally("a", "b")
    assert whole.games("a", "b") == len(told)
    void = {(match, game) for match, game in rng.integers(0, (4, 20), (15, 2)).tolist()}
    lacking.record_all((match, result) for match, result in told if (match.id, result.game) not in void)
    trips = {(match, game // 2) for match, game in void}
    expected = Payoff((0, 1), roles=True)
    expected.record_all((match, result) for match, result in told if (match.id, result.game // 2) not in trips)
    assert lacking.tally("a", "b") == expected.tally("a", "b")
    assert lacking.games("a", "b") == len(told) - 2 * len(trips)


def test_games_that_share_no_luck_are_compared_too() -> None:
    payoff = Payoff(HUNT, live=["a"], decay=0.5, roles=True)
    payoff.record_all(games(Match(0, ("a", "b"), "train", 1), BETTER))
    assert payoff.counts("a", "b") == Tally(2, 0, 0)
    assert payoff.tally("a", "b") == Tally(1.5, 0, 0), "each comparison is a game to the decay"


def test_what_waits_in_vain_is_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leagues.payoff.MOST_WAITING", 3)
    comparisons, match = Comparisons((0, 1), roles=True), Match(0, ("a", "b"), "train", 1)
    for game in (0, 2, 4, 6):
        assert comparisons.rows(match, Result(0, game, (1.0, 0.0), 1)) == []
    assert comparisons.rows(match, Result(0, 1, (1.0, 0.0), 1)) == [], (
        "the oldest of four is forgotten; 3 takes its place"
    )
    assert comparisons.rows(match, Result(0, 5, (1.0, 0.0), 1)) != []
    assert comparisons.rows(match, Result(0, 7, (1.0, 0.0), 1)) != []


def test_results_of_another_game_are_refused() -> None:
    with pytest.raises(ValueError, match="Game 2 of match 7 has 3 returns, but the game has 2 seats"):
        Payoff((0, 1)).record(Match(7, ("a", "b"), "train", 1), Result(7, 2, (1.0, 0.0, 0.0), 5))


def test_the_payoff_of_a_ledger_of_roles_is_the_same_however_it_was_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    with Ledger.create(tmp_path / "l.sqlite", "g", (0, 1)) as ledger:
        for name in ("a", "b", "c"):
            ledger.add_player(Player(name, "random"))
        matches = [Match(0, ("a", "b"), "rate", 1), Match(1, ("c", "a"), "rate", 1), Match(2, ("b", "c"), "rate", 1)]
        ledger.add_matches(matches)
        told = [row for match in matches for row in games(match, [tuple(r) for r in rng.normal(size=(20, 2)).tolist()])]
        told = [told[i] for i in rng.permutation(len(told))]
        living = Payoff((0, 1), roles=True)
        for match, result in told:
            ledger.append([result])
            living.record(match, result)
            again = Payoff.of(ledger, purposes=["rate"], roles=True)
            for pair in permutations("abc", 2):
                assert again.tally(*pair) == living.tally(*pair)
        assert living.games("a", "b") == 20
