"""Matchmaking: AlphaStar's weights by hand, and draws that follow them."""

from collections import Counter

import numpy as np
import pytest

from games.keys import uniform
from leagues import Match, Mix, Payoff, Pool, Result, pfsp
from leagues.matchmaking import RULES, WEIGHTINGS, pick


def beaten(scores: dict[str, float], learner: str = "main") -> Payoff:
    """A payoff where the learner's score against each name is as given, in twentieths."""
    payoff = Payoff((0, 1))
    for number, (name, score) in enumerate(scores.items()):
        match = Match(number, (learner, name), "train", 1)
        for i in range(20):
            won = 1.0 if i < round(20 * score) else -1.0
            payoff.record(match, Result(number, 2 * i, (won, -won), 3))
    return payoff


def frequencies(mix: Mix, pool: Pool, draws: int = 20_000) -> dict[str, float]:
    drawn = Counter(mix.draw(pool, key) for key in range(draws))
    return {name: count / draws for name, count in drawn.items()}


def assert_near(found: dict[str, float], expected: dict[str, float], draws: int = 20_000) -> None:
    """Every frequency within four standard errors; names of chance 0 never drawn."""
    assert set(found) <= {name for name, chance in expected.items() if chance > 0}
    for name, chance in expected.items():
        assert found.get(name, 0) == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / draws) + 1e-12)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        # x = 0.9, 0.5, 0.2
        ("squared", [0.01 / 0.90, 0.25 / 0.90, 0.64 / 0.90]),
        ("variance", [0.09 / 0.50, 0.25 / 0.50, 0.16 / 0.50]),
        ("linear", [0.1 / 1.4, 0.5 / 1.4, 0.8 / 1.4]),
        ("linear_capped", [0.1 / 1.1, 0.5 / 1.1, 0.5 / 1.1]),
    ],
)
def test_weightings_by_hand(weighting: str, expected: list[float]) -> None:
    np.testing.assert_allclose(pfsp(np.array([0.9, 0.5, 0.2]), weighting), expected)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_all_beaten_and_none_beaten_are_uniform_not_nan(weighting: str) -> None:
    for scores in (np.zeros(4), np.ones(4), np.full(4, 0.5), np.full(4, 1 - 1e-12), np.array([1 + 1e-15] * 4)):
        np.testing.assert_allclose(pfsp(scores, weighting), 0.25)
    assert len(pfsp(np.zeros(0), weighting)) == 0


def test_pfsp_draws_as_often_as_its_weights_say() -> None:
    scores = {"main@0": 0.9, "main@1": 0.5, "main@2": 0.2, "main@3": 1.0}
    pool = Pool("main", beaten(scores), snapshots=list(scores))
    found = frequencies(Mix({"pfsp": 1}, "squared"), pool)
    assert_near(found, {"main@0": 0.01 / 0.9, "main@1": 0.25 / 0.9, "main@2": 0.64 / 0.9, "main@3": 0})


def test_a_strategy_that_loses_to_one_meets_only_that_one() -> None:
    """Rock, paper, scissors: rock meets paper only, and scissors as often as itself by strength."""
    payoff = beaten({"paper": 0.0, "scissors": 1.0}, learner="rock")
    pool = Pool("rock", payoff, snapshots=["paper", "scissors"])
    assert frequencies(Mix({"pfsp": 1}, "squared"), pool, 500) == {"paper": 1.0}
    assert_near(frequencies(Mix({"pfsp": 1}, "variance"), pool), {"paper": 0.5, "scissors": 0.5})


def test_shares_are_kept_and_need_not_sum_to_one() -> None:
    pool = Pool(
        "main",
        beaten({"main@0": 0.5, "rival@0": 0.5}),
        snapshots=["main@0", "rival@0"],
        own=["main@0"],
        fixed=["random", "greedy"],
        live=["rival"],
    )
    shares = {"self_play": 3.0, "uniform": 2.0, "pfsp": 1.0, "fixed": 2.0, "live": 1.0, "latest": 1.0}
    expected = {"main": 0.3, "main@0": 0.25, "rival@0": 0.15, "random": 0.1, "greedy": 0.1, "rival": 0.1}
    assert_near(frequencies(Mix(shares), pool), expected)


def test_latest_is_the_learners_own_newest() -> None:
    pool = Pool("main", Payoff((0, 1)), snapshots=["main@0", "main@1", "rival@0"], own=["main@0", "main@1"])
    assert frequencies(Mix({"latest": 1}), pool, 100) == {"main@1": 1.0}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_with_nobody_to_offer_is_self_play(rule: str) -> None:
    assert frequencies(Mix({rule: 1}), Pool("main", Payoff((0, 1))), 50) == {"main": 1.0}


def test_the_order_of_the_shares_means_nothing() -> None:
    pool = Pool("main", Payoff((0, 1)), snapshots=["a", "b"], fixed=["random"])
    one, other = Mix({"uniform": 0.5, "fixed": 0.2, "self_play": 0.3}), Mix({"self_play": 3, "uniform": 5, "fixed": 2})
    assert [one.draw(pool, key) for key in range(200)] == [other.draw(pool, key) for key in range(200)]


def test_a_rule_of_share_zero_is_never_drawn() -> None:
    pool = Pool("main", Payoff((0, 1)), fixed=["random"])
    assert frequencies(Mix({"fixed": 0, "self_play": 1, "live": 0}), pool, 2000) == {"main": 1.0}


def test_other_teams_are_drawn_independently() -> None:
    names = ["a", "b", "c"]
    pool = Pool("main", Payoff((0, 1, 2)), snapshots=names)
    drawn = Counter(Mix({"uniform": 1}).opponents(pool, 2, key) for key in range(9000))
    assert_near(
        {one + other: count / 9000 for (one, other), count in drawn.items()},
        {one + other: 1 / 9 for one in names for other in names},
        draws=9000,
    )
    assert Mix({"uniform": 1}).opponents(pool, 0, 5) == ()


def test_pick_by_its_definition_and_never_a_weight_of_zero() -> None:
    weights = np.array([0.0, 2.0, 0.0, 1.0, 1.0, 0.0])
    for key in np.random.default_rng(0).integers(0, 2**64, 2000, dtype=np.uint64).tolist():
        point = float(uniform(np.uint64(key))) * 4  # type: ignore[arg-type]
        assert pick(weights, key) == (1 if point < 2 else 3 if point < 3 else 4)
    assert pick(weights, 0) == 1  # the lowest point there is
    assert pick(weights, 2**64 - 1) == 4  # and the highest


@pytest.mark.parametrize(
    ("shares", "weighting", "message"),
    [
        ({"self_paly": 1}, "squared", "There is no matchmaking rule 'self_paly'. Did you mean 'self_play'?"),
        ({"pfsp": 1}, "sqared", "There is no weighting 'sqared'. Did you mean 'squared'?"),
        ({"pfsp": -0.1, "fixed": 1}, "squared", "The share of pfsp must be a number of at least 0, not -0.1."),
        ({"pfsp": float("nan")}, "squared", "The share of pfsp must be a number of at least 0, not nan."),
        ({"pfsp": float("inf")}, "squared", "The share of pfsp must be a number of at least 0, not inf."),
        ({"pfsp": 0}, "squared", "sum to nothing"),
        ({}, "squared", "sum to nothing"),
    ],
)
def test_bad_mixes(shares: dict[str, float], weighting: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is compared as it is, not as a pattern)
        Mix(shares, weighting)
    assert message in str(caught.value)


def test_openings_are_spread_evenly_from_none_to_the_most() -> None:
    mixed = Mix({"self_play": 1}, opening=3)
    plies = [mixed.plies(key) for key in range(4000)]
    assert set(plies) == {0, 1, 2, 3}
    assert all(abs(plies.count(n) - 1000) < 110 for n in range(4))  # four standard errors
    assert {Mix({"self_play": 1}).plies(key) for key in range(100)} == {0}
    with pytest.raises(ValueError, match="at least 0 plies, not -1"):
        Mix({"self_play": 1}, opening=-1)
