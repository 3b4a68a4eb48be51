"""When a snapshot is due."""

import pytest

from leagues import Match, Payoff, Result, SnapshotRule


def against(records: dict[str, tuple[int, int]]) -> Payoff:
    """A payoff where `main` has (won, played) against each name."""
    payoff = Payoff((0, 1))
    for number, (name, (won, played)) in enumerate(records.items()):
        for i in range(played):
            value = 1.0 if i < won else -1.0
            payoff.record(Match(number, ("main", name), "train", 1), Result(number, 2 * i, (value, -value), 3))
    return payoff


def test_every_so_many_decisions() -> None:
    rule = SnapshotRule(every=1000)
    assert rule.due("main", 999, ["main@0"], against({})) is None
    assert rule.due("main", 1000, ["main@0"], against({})) == "1000 decisions since the last snapshot"
    assert rule.due("main", 1000, [], against({})) is not None


ALPHASTAR = SnapshotRule(every=4000, win_rate=0.7, least=2000, games=20)


@pytest.mark.parametrize(
    ("since", "records", "due"),
    [
        (2000, {"a": (15, 20), "b": (18, 20)}, True),
        (1999, {"a": (15, 20), "b": (18, 20)}, False),  # too early
        (2000, {"a": (14, 20), "b": (18, 20)}, False),  # 0.7 is not above 0.7
        (2000, {"a": (15, 19), "b": (18, 20)}, False),  # too few games
        (2000, {"a": (20, 20)}, False),  # has not met b
        (3999, {"a": (0, 20), "b": (18, 20)}, False),
        (4000, {"a": (0, 20), "b": (18, 20)}, True),  # time is up
    ],
)
def test_alphastars_rule(since: int, records: dict[str, tuple[int, int]], due: bool) -> None:
    assert (ALPHASTAR.due("main", since, ["a", "b"], against(records)) is not None) == due


def test_by_win_rate_alone() -> None:
    rule = SnapshotRule(every=None, win_rate=0.6, games=10)
    reason = rule.due("main", 10**9, ["a"], against({"a": (8, 10)}))
    assert reason == "scores at least 0.80 against each of 1 snapshots"
    assert rule.due("main", 10**9, ["a"], against({"a": (5, 10)})) is None
    assert rule.due("main", 10**9, [], against({})) is None


def test_bad_rules() -> None:
    with pytest.raises(ValueError, match="with neither none would be taken"):
        SnapshotRule(every=None)
    with pytest.raises(ValueError, match="every 0 decisions"):
        SnapshotRule(every=0)
    with pytest.raises(ValueError, match=r"below 1, not 70"):
        SnapshotRule(every=10, win_rate=70)
    with pytest.raises(ValueError, match=r"`least` \(20\) must be"):
        SnapshotRule(every=10, least=20)
    with pytest.raises(ValueError, match="`games` must be at least 1, not 0"):
        SnapshotRule(every=10, games=0)
