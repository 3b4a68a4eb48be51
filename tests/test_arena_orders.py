"""What the raters owe: rating orders and gate matches in turn, one gate match at a time, and no more than is due."""

from __future__ import annotations

from arena.orders import Raters
from arena.rollout import Order
from leagues.core import Match, Player, Result
from leagues.gate import Gate, GateRule

RULE = GateRule(games=4, most=12)


def order(purpose: str) -> Order:
    return Order((Match(0, ("main@2", "main@1"), purpose, 1, 4, paired=True),))  # type: ignore[arg-type]


def gate(snapshots: int) -> Gate:
    made = Gate((0, 1), RULE)
    for player in (
        Player("main", "ppo", live=True),
        *(Player(f"main@{n + 1}", "ppo", parent="main") for n in range(snapshots)),
    ):
        made.enter(player)
    return made


def drawn(raters: Raters, most: int = 20) -> list[str]:
    """What is played next, each at once over."""
    found = []
    while (purpose := raters.next()) and len(found) < most:
        raters.sent(order(purpose))
        raters.over(order(purpose))
        found.append(purpose)
    return found


def test_both_come_due_together_and_take_turns() -> None:
    raters = Raters(gate(2))
    assert drawn(raters) == []
    raters.due()
    assert drawn(raters) == ["gate", "rate"]
    for _ in range(5):
        raters.due()
    assert drawn(raters) == ["gate", "rate"] * 2, "raters who are behind are not asked for ever more"
    assert raters.settled


def test_without_a_challenge_there_are_rating_orders_only() -> None:
    for raters in (Raters(None), Raters(gate(1))):
        raters.due()
        assert drawn(raters) == ["rate"]
        assert raters.settled


def test_one_gate_match_is_under_way_at_a_time() -> None:
    raters = Raters(gate(2), rating_debt=2, gate_debt=2)
    assert raters.next() == "gate"
    raters.sent(order("gate"))
    assert [raters.next(), raters.next(), raters.next()] == ["rate", "rate", None]
    raters.sent(order("rate"))
    raters.over(order("rate"))
    assert raters.next() is None, "the gate match is still out"
    assert not raters.settled
    raters.over(order("gate"))
    assert raters.next() == "gate"


def test_the_end_settles_two_challenges_at_most() -> None:
    raters = Raters(gate(2))
    raters.settle(2)
    assert sorted(drawn(raters)) == ["gate"] * 2 * RULE.matches + ["rate"] * 2, "though the challenge goes on"
    assert raters.settled
    decided = Raters(gate(2))
    decided.settle(1)
    assert decided.gate is not None
    assert decided.next() == "gate"
    match = Match(0, ("main@2", "main@1"), "gate", 1, 4, paired=True)
    for number in range(3):
        told = [(match, Result(0, 4 * number + g, (0.0, 0.0), 3)) for g in range(4)]
        decided.gate.record_all(told)
    assert decided.gate.challenge() is None
    assert drawn(decided) == ["rate"]
    assert decided.settled


def test_what_is_owed_is_kept_and_older_checkpoints_owe_no_gate_match() -> None:
    raters = Raters(gate(2), rating_debt=1, gate_debt=2, out=1, gate_out=True)
    again = Raters(gate(2))
    again.restore(raters.state())
    assert (again.rating_debt, again.gate_debt, again.out, again.gate_out) == (1, 2, 0, False)
    again.restore({"rating_debt": 2})
    assert (again.rating_debt, again.gate_debt) == (2, 0)
