"""Shapes of schedules against values worked out by hand, and how a schedule may be written."""

from __future__ import annotations

import math

import pytest
from pydantic import BaseModel, ValidationError

from agents.schedules import Schedule, Scheduled


class Settings(BaseModel):
    rate: Scheduled


@pytest.mark.parametrize(
    ("shape", "end", "expected"),
    [
        ("linear", 0.1, [0.5, 0.4, 0.3, 0.2, 0.1, 0.1]),
        ("cosine", 0.1, [0.5, 0.3 + 0.2 * math.sqrt(0.5), 0.3, 0.3 - 0.2 * math.sqrt(0.5), 0.1, 0.1]),
        ("steps", 0.0, [0.5, 0.5, 0.05, 0.005, 0.0005, 0.0005]),
        ("steps", 0.02, [0.5, 0.5, 0.05, 0.02, 0.02, 0.02]),
    ],
)
def test_a_schedule_goes_from_start_to_end(shape: str, end: float, expected: list[float]) -> None:
    schedule = Schedule.model_validate({"start": 0.5, "end": end, "over": 1200, "shape": shape})
    assert [schedule.at(d) for d in (0, 300, 600, 900, 1200, 99_999)] == pytest.approx(expected)


@pytest.mark.parametrize("written", [0.01, "1e-2", {"start": 0.01, "end": 0.01, "over": 5}])
def test_a_plain_number_never_moves(written: object) -> None:
    schedule = Settings.model_validate({"rate": written}).rate
    assert [schedule.at(d) for d in (0, 3, 10**9)] == pytest.approx([0.01] * 3)


@pytest.mark.parametrize("written", [-1, "fast", {"start": 1, "end": 0, "over": 0}, {"start": 1, "end": 0}])
def test_what_is_no_schedule_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"rate": written})
