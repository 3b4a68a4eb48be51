"""When a learner is frozen into a snapshot.

AlphaStar's rule (Vinyals et al. 2019, the released pseudocode): at least 2e9 steps since the last one, and then as soon
as the learner beats every past player with probability above 0.7, or after 4e9 steps in any case. Here
`SnapshotRule(every=4e9, win_rate=0.7, least=2e9)`, scaled down, with a minimum of games so that luck is no reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leagues.payoff import Payoff


@dataclass(frozen=True, slots=True)
class SnapshotRule:
    """Give `every`, `win_rate` or both. Decisions are the learner's own, counted since its last snapshot."""

    every: int | None  # decisions after which one is due in any case
    win_rate: float | None = None  # due when the score against every past snapshot is above this
    least: int = 0  # decisions that must have passed before the win rate counts
    games: int = 20  # … and games against each of them

    def __post_init__(self) -> None:
        if self.every is None and self.win_rate is None:
            raise ValueError("A snapshot rule needs `every`, `win_rate` or both; with neither none would be taken.")
        if self.every is not None and self.every < 1:
            raise ValueError(f"Snapshots every {self.every} decisions: give at least 1.")
        if self.win_rate is not None and not 0 <= self.win_rate < 1:
            raise ValueError(f"A snapshot's win rate is at least 0 and below 1, not {self.win_rate}.")
        if self.least < 0 or (self.every is not None and self.least > self.every):
            raise ValueError(f"`least` ({self.least}) must be at least 0 and at most `every` ({self.every}).")
        if self.games < 1:
            raise ValueError(f"`games` must be at least 1, not {self.games}.")

    def due(self, learner: str, since: int, snapshots: Sequence[str], payoff: Payoff) -> str | None:
        """Why a snapshot of `learner` is due, `since` decisions after its last; None where it is not."""
        if self.every is not None and since >= self.every:
            return f"{since} decisions since the last snapshot"
        if self.win_rate is None or since < self.least or not snapshots:
            return None
        if any(payoff.games(learner, snapshot) < self.games for snapshot in snapshots):
            return None
        lowest = min(payoff.score(learner, snapshot) for snapshot in snapshots)
        if lowest <= self.win_rate:
            return None
        return f"scores at least {lowest:.2f} against each of {len(snapshots)} snapshots"
