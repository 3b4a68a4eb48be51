"""What is due and what is under way: the pile of each learner, and what the raters owe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.core import Trajectories
from arena.backend import Handle
from arena.files import Arrays
from arena.rollout import Order
from leagues.core import Purpose
from leagues.gate import Gate


@dataclass(slots=True)
class Pile:
    """What waits for one learner, and how it stands."""

    batch: int  # decisions to an update
    parts: list[Handle] = field(default_factory=list)
    recorded: int = 0  # decisions in `parts`
    ordered: int = 0  # decisions in orders under way
    busy: bool = False  # an update is under way
    version: int = 0  # updates made
    decisions: int = 0  # learned from

    @property
    def ahead(self) -> float:
        """How many updates' worth of decisions is recorded or under way."""
        return (self.recorded + self.ordered) / self.batch

    def take(self) -> list[Handle]:
        """All that waits, for an update."""
        parts, self.parts, self.recorded, self.busy = self.parts, [], 0, True
        return parts

    def restore(self, name: str, record: Mapping[str, int], arrays: Arrays | None) -> None:
        """How learner `name` stood, with the trajectories that waited for it, where they were kept."""
        self.version, self.decisions = record["version"], record["decisions"]
        if arrays is not None:
            kept = Trajectories.of(arrays)
            self.parts, self.recorded = [{name: kept}], kept.decisions


@dataclass(slots=True)
class Raters:
    """Rating matches and gate matches that are due, and those under way.

    Both come due together, so a challenge takes no more of the raters' orders than the ladder does. One gate match is
    played at a time: what the next should be depends on it.
    """

    gate: Gate | None  # None where the run asks for no best
    rating_debt: int = 0  # rating orders that are due but had no room yet
    gate_debt: int = 0  # gate matches that are due while somebody challenges the best
    out: int = 0  # orders under way
    gate_out: bool = False  # whether one of them is a gate match

    def due(self) -> None:
        """It is time for another of each; raters who are behind are not asked for ever more."""
        self.rating_debt, self.gate_debt = min(self.rating_debt + 1, 2), min(self.gate_debt + 1, 2)

    def settle(self, final: int) -> None:
        """The end: so many rating matches, and two challenges: one that is open, and that of the newest snapshot."""
        self.rating_debt = final
        self.gate_debt = 2 * self.gate.rule.matches if self.gate else 0

    def next(self) -> Purpose | None:
        """What to play next, in turn: a rating order, or a gate match; None where nothing is due."""
        if self.gate_debt >= max(1, self.rating_debt) and not self.gate_out and self._challenged:
            self.gate_debt -= 1
            return "gate"
        if not self.rating_debt:
            return None
        self.rating_debt -= 1
        return "rate"

    def sent(self, order: Order) -> None:
        self.out += 1
        self.gate_out = self.gate_out or order.matches[0].purpose == "gate"

    def over(self, order: Order) -> None:
        """It was played, or lost."""
        self.out -= 1
        self.gate_out = self.gate_out and order.matches[0].purpose != "gate"

    @property
    def settled(self) -> bool:
        """Whether nothing is due or under way."""
        return not (self.rating_debt or self.out or (self.gate_debt and self._challenged))

    @property
    def _challenged(self) -> bool:
        return self.gate is not None and self.gate.challenge() is not None

    def state(self) -> dict[str, Any]:
        return {"rating_debt": self.rating_debt, "gate_debt": self.gate_debt}

    def restore(self, record: Mapping[str, Any]) -> None:
        self.rating_debt, self.gate_debt = record["rating_debt"], record.get("gate_debt", 0)  # older ones lack it
