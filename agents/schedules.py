"""Values that change while a learner learns: learning rates, weights of losses."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt


class Schedule(BaseModel):
    """A value that moves from `start` to `end` over so many of the learner's decisions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float = Field(ge=0)
    end: float = Field(ge=0)
    over: PositiveInt
    shape: Literal["linear", "cosine", "steps"] = "linear"  # steps: ten times less at each third, never below `end`

    def at(self, decisions: int) -> float:
        done = min(decisions / self.over, 1.0)
        if self.shape == "steps":
            return max(self.start * 0.1 ** math.floor(3 * done), self.end)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done


def _constant(value: Any) -> Any:
    """A plain number is a schedule that never moves. PyYAML reads `1e-3` as a string."""
    if isinstance(value, (int, float, str)):
        return {"start": value, "end": value, "over": 1}
    return value


Scheduled = Annotated[Schedule, BeforeValidator(_constant)]
