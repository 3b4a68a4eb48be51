"""The conformance kit: does a game keep the promises that agents, tables and leagues rely on?

Whole games are played at random and watched at every step (`games.check_watch`), each a second time beside the first to
hold them to bit-exact replay; then come probes with games of their own (`games.check_probe`, `games.check_search`,
`games.check_scene`). One fault stops nothing but what cannot be judged after it. PettingZoo's own tests pass games
with NaN observations, with randomness from the second step on and without an end; these do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from games import make
from games.check_play import Broken, Play, choose
from games.check_probe import PROBES, Trial
from games.check_scene import SCENES
from games.check_search import SEARCHES
from games.check_watch import WATCHES, global_dice, replays
from games.core import Decisions, Game, GameError, GameSpec, Keys
from games.keys import NATURE, mix
from games.lift import Lifted

SECONDS = 1.0  # how long speed is measured
STOP = {"arrays", "plays", "turns", "ends"}  # after a fault in one of these the games cannot be played on

SPEC = "The spec makes sense."
ARRAYS = "Shapes and dtypes are the spec's, and every number is finite."
RANDOMNESS = "Nobody draws from global generators."
REPLAY = "Keys and moves replay whole games bit for bit."
NAMES = ("spec", "arrays", *WATCHES, "randomness", "replay", *PROBES, *SEARCHES, *SCENES)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and whether it was kept."""

    name: str
    passed: bool
    message: str  # a sentence: what holds, or a note; where it failed, what was found and where


@dataclass(frozen=True, slots=True)
class Report:
    """What the check of one game found."""

    game: str
    checks: tuple[Check, ...]
    games: int = 0  # played at random, whole
    mean_length: float = 0.0  # steps of a game
    steps_per_s: float = 0.0  # of random play in one process; 0 where there was a fault
    decisions_per_s: float = 0.0

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Promises that could not be judged, because of the faults that were found."""
        return tuple(name for name in NAMES if name not in {check.name for check in self.checks})


def check(game_or_name: Game | str, *, games: int = 100, seed: int = 0) -> Report:
    """Hold a game, or the game of that name, to its promises in `games` random games (at least one).

    A fault of the game is in the report, whatever it is: nothing that the game raises gets out.
    """
    try:
        game = make(game_or_name) if isinstance(game_or_name, str) else game_or_name
        inspect_spec(game.spec)
    except Exception as error:
        name = game_or_name if isinstance(game_or_name, str) else type(game_or_name).__name__
        return Report(name, (Check("spec", False, _sentence(error)),))
    keys = mix(seed, np.arange(max(1, games)))
    found, length = _watch(game, keys)
    found["spec"] = Check("spec", True, SPEC)
    speed = (0.0, 0.0)
    if _can_go_on(found):
        trial = Trial(game, keys, length)
        for name, (holds, probe, needs) in (PROBES | SEARCHES | SCENES).items():
            if all(need in found and found[need].passed for need in needs):
                found[name] = _judge(name, holds, partial(probe, trial))
    if all(check.passed for check in found.values()):
        try:
            speed = measure(game, mix(seed, np.arange(64 if isinstance(game, Lifted) else 256)))
        except Exception as error:
            found["plays"] = Check("plays", False, f"While its speed was measured, {_sentence(error)}")
    checks = tuple(found[name] for name in NAMES if name in found)
    return Report(game.spec.name, checks, len(keys), length, *speed)


def text(report: Report) -> str:
    """The report as lines for a terminal."""
    failed = len(report.failures)
    verdict = f"{failed} of {len(report.checks)} promises broken" if failed else f"keeps {len(report.checks)} promises"
    lines = [f"{report.game}: {verdict}"]
    lines += [f"  {'ok  ' if check.passed else 'FAIL'}  {check.name:<11}{check.message}" for check in report.checks]
    if report.skipped:
        lines.append(f"  Not judged, because of what failed: {', '.join(report.skipped)}.")
    if report.games:
        lines.append(f"  {report.games} random games, {report.mean_length:.1f} steps long on average.")
    if report.steps_per_s:
        lines.append(f"  Random play: {report.steps_per_s:,.0f} steps/s, {report.decisions_per_s:,.0f} decisions/s.")
    return "\n".join(lines)


def to_dict(report: Report) -> dict[str, Any]:
    """The report for JSON: the game, whether it passed, and a sentence for each failure."""
    return {
        "game": report.game,
        "passed": report.passed,
        "failures": [f"{check.name}: {check.message}" for check in report.failures],
    }


def inspect_spec(spec: GameSpec) -> None:
    """Raise Broken where a spec contradicts itself."""
    low, high = spec.bounds
    if math.isnan(low) or math.isnan(high) or low > high:
        raise Broken(f"The bounds of a return, {spec.bounds}, are not a lowest and a highest value.")
    teams = sorted(set(spec.teams))
    if teams != list(range(len(teams))):
        raise Broken(f"Teams are numbered from 0 without gaps, but these are {spec.teams}.")
    if spec.payoff == "zero_sum" and (len(teams) < 2 or not low <= 0 <= high):
        raise Broken(f"A zero_sum game needs two teams and bounds around 0, not {len(teams)} and {spec.bounds}.")
    for shape, what in ((spec.observation, "observation"), (spec.global_state or (1,), "global_state")):
        if any(side < 1 for side in shape):
            raise Broken(f"The {what} of shape {shape} holds nothing.")
    for number, symmetry in enumerate(spec.symmetries):
        for table, size, what in (
            (symmetry.observation, math.prod(spec.observation), "cells"),
            (symmetry.action, spec.actions, "actions"),
        ):
            if sorted(table.tolist()) != list(range(size)):
                raise Broken(f"Symmetry {number} does not map the {size} {what} one to one.")


def measure(game: Game, keys: Keys) -> tuple[float, float]:
    """Steps and decisions a second of random play in a batch of `keys` [B], restarts and choosing included."""
    states, out = game.start(keys), Decisions.empty(game.spec, len(keys))
    played = np.zeros(len(keys), np.int64)
    steps = decisions = 0
    begun = perf_counter()
    while (taken := perf_counter() - begun) < SECONDS:
        game.decisions(states, out)
        outcome = game.step(states, choose(out, keys, played), mix(keys, NATURE, played))
        played += 1
        steps += len(keys)
        decisions += int(out.active.sum())
        ended = outcome.terminated | outcome.truncated
        ended[list(outcome.failed)] = True
        over = np.flatnonzero(ended)
        if len(over):
            keys = keys.copy()
            keys[over] = mix(keys[over], 1)
            played[over] = 0
            game.restart(states, over, keys[over])
    return steps / taken, decisions / taken


def _watch(game: Game, keys: Keys) -> tuple[dict[str, Check], float]:
    """Play every game to its end, a second time beside the first; what the watches say, and the mean length."""
    found: dict[str, Check] = {}
    length = 0.0
    dice = global_dice()
    try:
        play = Play(game, keys)
        watches = WATCHES | {"randomness": (RANDOMNESS, dice), "replay": (REPLAY, replays(game, keys))}
        while True:
            for name, (holds, watch) in watches.items():
                if name not in found or found[name].passed:
                    found[name] = _judge(name, holds, partial(watch, play))
                if name in STOP and not found[name].passed:
                    break
            length = float(play.steps.mean())
            if play.done or not _can_go_on(found):
                break
            play.advance()
    except Broken as fault:
        found["arrays"] = Check("arrays", False, str(fault))
    except Exception as error:
        found["plays"] = Check("plays", False, _sentence(error))
    if not _can_go_on(found):  # then the others have not seen whole games
        return {name: check for name, check in found.items() if not check.passed}, length
    if not (found["randomness"].passed and found["observe"].passed):  # then two plays differ, or cannot be looked at
        del found["replay"]
    found["arrays"] = Check("arrays", True, ARRAYS)
    return found, length


def _can_go_on(found: dict[str, Check]) -> bool:
    return all(found[name].passed for name in STOP if name in found)


def _judge(name: str, holds: str, test: Callable[[], str]) -> Check:
    try:
        return Check(name, True, test() or holds)
    except Exception as error:
        return Check(name, False, _sentence(error))


def _sentence(error: Exception) -> str:
    if isinstance(error, Broken | GameError):
        return str(error)
    return f"{type(error).__name__} was raised: {error}"
