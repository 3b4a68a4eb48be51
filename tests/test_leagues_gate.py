"""The best by a sequential test: its ratio beside published and brute-force ones, its errors, who challenges whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leagues import Gate, GateRule, Ledger, Match, Player, Result
from leagues.gate import PAIR_SCORES, expected_score, llr

MAIN = Player("main", "ppo", live=True)
RIVAL = Player("rival", "ppo", live=True)
RANDOM = Player("random", "random")
RULE = GateRule(elo1=60, games=20, most=60)


def ratio(counts: Sequence[int], elo0: float, elo1: float) -> float:
    return float(llr(np.array(counts), elo0, elo1))


# ---- the ratio -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "elo0", "elo1", "published"),
    [
        ((223, 9863, 20279 + 1000, 10037, 246), 0.5, 2.5, -3.07),
        ((871, 26175, 55003 + 980, 26678, 821), 0.0, 2.0, -4.98),
    ],
)
def test_it_is_the_one_that_chess_engine_testing_publishes(
    counts: Sequence[int], elo0: float, elo1: float, published: float
) -> None:
    """The logistic pentanomial cases of the tests of fastchess (app/tests/sprt_test.cpp)."""
    assert ratio(counts, elo0, elo1) == pytest.approx(published, abs=0.01)


def likeliest(counts: NDArray[np.float64], mean: float) -> float:
    """The log-likelihood of `counts` under the likeliest distribution of pair scores with this mean, by bisection.

    It is p / (1 + x (score - mean)), Lagrange's condition for the empirical p, with the x that gives the mean.
    """
    p, gap = counts / counts.sum(), PAIR_SCORES - mean
    low, high = -1 / gap[-1] + 1e-12, -1 / gap[0] - 1e-12
    for _ in range(200):
        x = (low + high) / 2
        low, high = (x, high) if (p * gap / (1 + x * gap)).sum() > 0 else (low, x)
    return float((counts * np.log(p / (1 + x * gap))).sum())


@pytest.mark.parametrize(
    "counts", [(30, 40, 260, 60, 45), (3, 50, 300, 52, 3), (200, 10, 40, 10, 240), (5, 9, 70, 30, 6)]
)
def test_it_is_near_the_ratio_of_the_likeliest_distributions(counts: Sequence[int]) -> None:
    """Where it decides, that is; further off it is the normal distribution's, and larger."""
    near = 0
    for elo0, elo1 in ((0, 10), (0, 35), (-20, 5)):
        exact = likeliest(np.array(counts, float), expected_score(elo1))
        exact -= likeliest(np.array(counts, float), expected_score(elo0))
        found = ratio(counts, elo0, elo1)
        assert found * exact > 0
        if abs(exact) < 4:
            assert found == pytest.approx(exact, rel=0.1)
            near += 1
        else:
            assert abs(exact) < abs(found) < 1.25 * abs(exact)
    assert near


def test_what_was_all_alike_decides_but_not_at_once() -> None:
    low, high = GateRule().bounds
    assert (low, high) == pytest.approx((-2.944, 2.944), abs=1e-3)
    won, even = (
        [ratio(pairs, 0, 35) for pairs in table]
        for table in (
            [(0, 0, 0, 0, n) for n in range(51)],
            [(0, 0, n, 0, 0) for n in range(51)],
        )
    )
    assert won[0] == even[0] == 0
    assert 0 < won[1] < high, "one pair says little"
    assert next(n for n in range(51) if won[n] >= high) <= 10
    assert won[50] > 10 * high, "100 to 0"
    assert low < even[5] < 0
    assert next(n for n in range(51) if even[n] <= low) <= 40
    assert ratio((50, 0, 0, 0, 0), 0, 35) < 10 * low


# ---- its errors ----------------------------------------------------------------------------------------------------


def independent(score: float, draws: float = 0.0) -> NDArray[np.float64]:
    """How often each pair score comes, of two independent games with this score."""
    game = np.array([1 - score - draws / 2, draws, score - draws / 2])
    pair: NDArray[np.float64] = np.convolve(game, game)
    return pair


def swapped(score: float) -> NDArray[np.float64]:
    """Half of the openings win for whoever sits first, the pair is even; the others carry the difference."""
    chances: NDArray[np.float64] = 0.5 * independent(2 * score - 0.5) + 0.5 * np.eye(5)[2]
    return chances


def shared(score: float) -> NDArray[np.float64]:
    """Each opening suits one of the players, who wins both games."""
    return np.array([1 - score, 0.0, 0.0, 0.0, score])


WORLDS = {"decisive": independent, "drawn": lambda score: independent(score, 0.6), "swapped": swapped, "shared": shared}


def challenges(chances: NDArray[np.float64], rule: GateRule, weight: int = 1, n: int = 3000) -> tuple[float, float]:
    """The share of `n` challenges in which the challenger gets through, and that in which it is turned away.

    `weight` counts each pair so many times.
    """
    rng = np.random.default_rng(1)
    counts = np.zeros((n, 5), np.int64)
    state = np.zeros(n, np.int64)
    for _ in range(rule.matches):
        going = state == 0
        counts[going] += weight * rng.multinomial(rule.games // 2, chances, size=going.sum())
        ratios, (low, high) = llr(counts, rule.elo0, rule.elo1), rule.bounds
        state[going & (ratios >= high)] = 1
        state[going & (ratios <= low)] = -1
    return float((state == 1).mean()), float((state == -1).mean())


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("games", [10, 40])
def test_errors_are_as_rare_as_it_says(world: str, games: int) -> None:
    margin = 3 * np.sqrt(0.05 * 0.95 / 3000)
    rule = GateRule(games=games, most=8000)
    through, away = challenges(WORLDS[world](expected_score(rule.elo0)), rule)
    assert through <= rule.alpha + margin
    assert through + away == 1, "they all end"
    through, away = challenges(WORLDS[world](expected_score(rule.elo1)), rule)
    assert away <= rule.beta + margin
    far, _ = challenges(WORLDS[world](expected_score(100)), rule)
    assert far > 0.99
    strict, _ = challenges(WORLDS[world](expected_score(rule.elo0)), GateRule(games=games, most=8000, alpha=0.01))
    assert strict <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / 3000)


def test_games_that_share_an_opening_are_not_two_samples() -> None:
    """Taken for two, as by a test that knows wins, draws and losses only, errors are far more frequent than allowed."""
    rule = GateRule(games=10, most=8000)
    taken_for_two, _ = challenges(shared(0.5), rule, weight=2)
    assert taken_for_two > 0.1


def test_the_limit_keeps_the_best() -> None:
    through, away = challenges(independent(expected_score(20)), GateRule(most=80))
    assert through + away < 0.5


# ---- who challenges whom -------------------------------------------------------------------------------------------


def snapshot(number: int, of: str = "main") -> Player:
    return Player(f"{of}@{number}", "ppo", content="c", parent=of, step=number)


def gate_of(*players: Player, rule: GateRule = RULE, teams: Sequence[int] = (0, 1)) -> Gate:
    gate = Gate(teams, rule)
    for player in players:
        gate.enter(player)
    return gate


class Book:
    """Matches in the order in which they are played."""

    def __init__(self) -> None:
        self.next = 0

    def play(self, pair: Sequence[str], points: Sequence[float], purpose: str = "gate") -> list[tuple[Match, Result]]:
        """A match in which the first of the pair scores `points` in each game."""
        match = Match(self.next, tuple(pair), purpose, 1, len(points), paired=True)  # type: ignore[arg-type]
        self.next += 1
        signs = [2 * p - 1 for p in points]
        return [(match, Result(match.id, g, (s, -s) if g % 2 == 0 else (-s, s), 5)) for g, s in enumerate(signs)]


WINS, EVEN, DRAWS = [1.0] * 20, [1.0, 0.0] * 10, [0.5] * 20


def test_the_first_snapshot_is_the_best_until_another_beats_it() -> None:
    gate, book = gate_of(RANDOM, MAIN), Book()
    assert gate_of(RANDOM, MAIN).best is None
    assert gate.challenge() is None
    gate.enter(snapshot(1))
    assert gate.best == "main@1"
    assert gate.challenge() is None
    gate.enter(snapshot(2))
    pair = gate.challenge()
    assert pair == ("main@2", "main@1")
    (verdict,) = gate.record_all(book.play(pair, WINS))
    assert (verdict.challenger, verdict.best, verdict.moved) == ("main@2", "main@1", True)
    assert (verdict.games, verdict.score) == (20, 1.0)
    assert verdict.llr > RULE.bounds[1]
    assert gate.best == "main@2"
    assert gate.challenge() is None


def test_a_challenge_goes_on_until_it_is_decided_then_comes_the_newest() -> None:
    gate, book = gate_of(MAIN, snapshot(1), snapshot(2)), Book()
    mixed = [1.0] * 11 + [0.0] * 9
    assert gate.record_all(book.play(("main@2", "main@1"), mixed)) == []
    for number in (3, 4):
        gate.enter(snapshot(number))
    assert gate.challenge() == ("main@2", "main@1"), "it is open"
    assert gate.record_all(book.play(("main@2", "main@1"), mixed)) == []
    (verdict,) = gate.record_all(book.play(("main@2", "main@1"), mixed))
    assert (verdict.moved, verdict.games) == (False, 60), "that was the limit"
    assert verdict.score == pytest.approx(33 / 60)
    assert RULE.bounds[0] < verdict.llr < RULE.bounds[1]
    assert gate.challenge() == ("main@4", "main@1"), "main@3 has been overtaken"
    (verdict,) = gate.record_all(book.play(("main@4", "main@1"), [0.0] * 20))
    assert not verdict.moved
    assert gate.best == "main@1"
    assert gate.challenge() is None, "nobody challenges twice"
    gate.enter(snapshot(5))
    gate.record_all(book.play(("main@5", "main@1"), WINS))
    assert gate.best == "main@5"
    assert len(gate.verdicts) == 3


def test_even_pairs_turn_a_challenger_away_though_seats_win() -> None:
    gate = gate_of(MAIN, snapshot(1), snapshot(2), rule=GateRule(games=60, most=600))
    (verdict,) = gate.record_all(Book().play(("main@2", "main@1"), EVEN * 3))
    assert (verdict.moved, verdict.score) == (False, 0.5)
    assert verdict.llr < GateRule().bounds[0]


def test_there_is_one_best_of_all_learners() -> None:
    gate, book = gate_of(MAIN, RIVAL, RANDOM, snapshot(1), snapshot(1, "rival")), Book()
    assert gate.challenge() == ("rival@1", "main@1")
    gate.record_all(book.play(("rival@1", "main@1"), WINS))
    gate.enter(snapshot(2))
    assert gate.challenge() == ("main@2", "rival@1")


def test_only_gate_matches_of_snapshots_count() -> None:
    brought = Player("old@3", "ppo", parent="runs/other:old")
    gate, book = gate_of(MAIN, RANDOM, brought, snapshot(1), snapshot(2)), Book()
    for purpose in ("train", "rate", "audit", "human"):
        assert gate.record_all(book.play(("main@2", "main@1"), WINS, purpose)) == []
    for pair in (("main", "main@1"), ("random", "main@1"), ("old@3", "main@1")):
        assert gate.record_all(book.play(pair, WINS)) == []
    assert (gate.best, gate.challenge()) == ("main@1", ("main@2", "main@1"))


def test_the_games_of_a_match_are_judged_together() -> None:
    """The won games end first: looked at one by one they would have decided it."""
    told = Book().play(("main@2", "main@1"), [0.0, 0.0] * 5 + [1.0, 1.0] * 5)
    gate = gate_of(MAIN, snapshot(1), snapshot(2), rule=GateRule(elo1=60, games=20, most=400))
    assert gate.record_all(told[::-1]) == []
    assert gate.record_all([(Match(9, ("main", "main"), "train", 1), Result(9, 0, (1.0, -1.0), 3))]) == []
    assert gate.challenge() == ("main@2", "main@1")


def test_a_game_whose_other_half_broke_is_left_out() -> None:
    gate = gate_of(MAIN, snapshot(1), snapshot(2), rule=GateRule(games=20, most=20))
    told = Book().play(("main@2", "main@1"), [0.0] * 20 + DRAWS)
    (verdict,) = gate.record_all(row for row in told if row[1].game % 2 == 0 or row[1].game >= 20)
    assert (verdict.score, verdict.games) == (0.5, 30)


def test_a_team_of_several_seats_has_their_mean() -> None:
    gate = gate_of(MAIN, snapshot(1), snapshot(2), teams=(0, 1, 1, 0))
    match = Match(0, ("main@2", "main@1"), "gate", 1, 20, paired=True)
    returns = [(3.0, 0.0, 1.0, -1.0), (0.0, 5.0, -4.0, 0.0)] * 10  # 1 against 0.5, then 0.5 against 0
    (verdict,) = gate.record_all((match, Result(0, game, earned, 3)) for game, earned in enumerate(returns))
    assert (verdict.moved, verdict.score) == (True, 1.0)


def test_a_gate_is_that_of_its_ledger_at_any_moment(tmp_path: Path) -> None:
    rng, book = np.random.default_rng(3), Book()
    living = Gate((0, 1), RULE)
    moments: list[tuple[int, str | None, object, int]] = []
    with Ledger.create(tmp_path / "l.sqlite", "g", (0, 1)) as ledger:
        for number, player in enumerate([RANDOM, MAIN, RIVAL, *map(snapshot, range(1, 9))]):
            ledger.add_player(player)
            living.enter(player)
            for _ in range(3):
                pair = living.challenge()
                purpose = "gate" if pair and rng.random() < 0.7 else "rate"
                if number < 4 and purpose == "rate":
                    continue
                points = (rng.random(20) < 0.5 + 0.04 * number).astype(float).tolist()
                told = book.play(pair or ("main@1", "random"), points, purpose)
                ledger.add_matches([told[0][0]])
                ledger.append(result for _, result in told)
                living.record_all(told)
                moments.append((ledger.sequence, living.best, living.challenge(), len(living.verdicts)))
        assert {verdict.moved for verdict in living.verdicts} == {True, False}
        for upto, best, challenge, verdicts in moments:
            again = Gate.of(ledger, RULE, upto)
            assert (again.best, again.challenge(), len(again.verdicts)) == (best, challenge, verdicts)
        assert Gate.of(ledger, RULE).verdicts == living.verdicts


def test_what_was_decided_stays_decided_under_another_rule() -> None:
    book = Book()
    told = book.play(("main@2", "main@1"), [1.0] * 14 + [0.0] * 6) + book.play(("main@3", "main@2"), DRAWS)
    players = (MAIN, snapshot(1), snapshot(2), snapshot(3))
    quick = gate_of(*players, rule=GateRule(elo1=100, alpha=0.4, beta=0.4, games=20, most=40))
    quick.record_all(told[:20])
    assert quick.best == "main@2"
    slow = gate_of(*players, rule=GateRule(elo1=10, alpha=0.001, games=20, most=4000))
    assert slow.record_all(told[:20]) == []
    assert slow.challenge() == ("main@2", "main@1")
    slow.record_all(told[20:])
    assert slow.best == "main@2", "it was, when main@3 met it"
    assert slow.challenge() == ("main@3", "main@2")
    short = gate_of(*players[:3], rule=GateRule(games=20, most=20))
    even = [row for _ in range(2) for row in book.play(("main@2", "main@1"), EVEN)]
    assert [verdict.games for verdict in short.record_all(even)] == [20, 40], "one challenge, judged again"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"elo0": 5, "elo1": 5}, "`elo0` must be below `elo1`, and both finite, not 5 and 5"),
        ({"elo1": float("inf")}, "both finite, not 0.0 and inf"),
        ({"alpha": 0}, "`alpha` is the chance of an error, above 0 and below 0.5, not 0"),
        ({"beta": 0.5}, "`beta` is the chance of an error, above 0 and below 0.5, not 0.5"),
        ({"games": 7}, "an even number of at least 2, not 7"),
        ({"games": 0}, "an even number of at least 2, not 0"),
        ({"most": 30}, r"`most` \(30\) must be at least the `games` of one match \(40\)"),
    ],
)
def test_impossible_rules_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GateRule(**settings)  # type: ignore[arg-type]


def test_a_game_of_three_teams_is_refused() -> None:
    with pytest.raises(ValueError, match="A challenge needs two teams, but the seats are on 3"):
        Gate((0, 1, 2), RULE)


# ---- sides with roles ----------------------------------------------------------------------------------------------


HUNTS = [(7.0, -20.0), (4.0, -15.0)]
"""A round trip in which the challenger hunts for 7 where the best does for 4, and loses 15 where that loses 20."""


def hunt(gate: Gate, trips: Sequence[Sequence[tuple[float, float]]], void: Sequence[int] = ()) -> None:
    match = Match(0, ("main@2", "main@1"), "gate", 1, 2 * len(trips), paired=True)
    games = enumerate(returns for trip in trips for returns in trip)
    told = [(match, Result(0, number, returns, 9)) for number, returns in games if number not in void]
    gate.record_all(told[::-1])


def test_where_sides_have_roles_it_is_better_on_a_side_not_in_a_game() -> None:
    rule = GateRule(elo1=60, games=20, most=20)
    by_side, alike = (Gate((0, 1), rule, roles=roles) for roles in (True, False))
    for gate in (by_side, alike):
        for player in (MAIN, snapshot(1), snapshot(2)):
            gate.enter(player)
        hunt(gate, [HUNTS] * 10)
    assert (by_side.best, by_side.verdicts[0].score, by_side.verdicts[0].games) == ("main@2", 1.0, 20)
    assert (alike.best, alike.verdicts[0].score) == ("main@1", 0.5), "the hunter wins every game"


def test_a_side_each_is_even_and_a_void_half_is_left_out() -> None:
    gate = Gate((0, 1), GateRule(games=20, most=20), roles=True)
    for player in (MAIN, snapshot(1), snapshot(2)):
        gate.enter(player)
    split = [(7.0, -15.0), (4.0, -20.0)]  # the challenger hunts better, and flees worse
    hunt(gate, [split] * 10 + [HUNTS] * 4, void=[20, 23, 24, 27])
    assert gate.verdicts[0].score == 0.5
    assert gate.verdicts[0].games == 24


def test_a_gate_of_roles_is_that_of_its_ledger(tmp_path: Path) -> None:
    rule = GateRule(elo1=60, games=20, most=20)
    with Ledger.create(tmp_path / "l.sqlite", "g", (0, 1)) as ledger:
        for player in (MAIN, snapshot(1), snapshot(2)):
            ledger.add_player(player)
        ledger.add_matches([Match(0, ("main@2", "main@1"), "gate", 1, 20, paired=True)])
        ledger.append(Result(0, number, returns, 9) for number, returns in enumerate(HUNTS * 10))
        assert Gate.of(ledger, rule, roles=True).best == "main@2"
        assert Gate.of(ledger, rule).best == "main@1"
