"""What the conformance kit watches while random games are played: promises that show at every step.

A watch looks at a play after each step, and once at the start; it raises `Broken` where a promise is not kept, and
returns a note for the report, mostly an empty one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.check_play import RUNNING, TERMINATED, TRUNCATED, Broken, Play, compare, views
from games.core import Decisions, Game, Keys

Watch = Callable[[Play], str]

STRIKES = 3  # broken games after which no more are played


def plays(play: Play) -> str:
    broken = len(play.failures)
    if broken >= STRIKES or (broken and play.done):
        raise Broken(f"{broken} of {len(play.keys)} games broke. The first, {play.failures[0]}")
    return ""


def turns(play: Play) -> str:
    spec, decisions = play.game.spec, play.decisions
    if play.clock:
        stuck = (play.ended == RUNNING) & (play.actions < 0).all(axis=1)
        for row in np.flatnonzero(stuck)[:1].tolist():
            raise Broken(f"The game is not over, yet no seat acts: {play.where(row)}.")
    outside = decisions.active & ((decisions.seat < 0) | (decisions.seat >= spec.seats))
    if spec.simultaneous:
        outside |= decisions.active & (decisions.seat != np.arange(spec.slots))
    for row, slot in np.argwhere(outside)[:1].tolist():
        raise Broken(f"Slot {slot} cannot belong to seat {decisions.seat[row, slot]}: {play.where(row)}.")
    choices = decisions.legal.sum(axis=2)
    for row, slot in np.argwhere(decisions.active & (choices == 0))[:1].tolist():
        raise Broken(f"Seat {decisions.seat[row, slot]} acts but has no legal action: {play.where(row)}.")
    running = (play.ended == RUNNING)[:, None]
    for row, slot in np.argwhere(running & ~decisions.active & (choices > 0))[:1].tolist():
        allowed = np.flatnonzero(decisions.legal[row, slot]).tolist()
        raise Broken(f"Slot {slot} does not act, yet actions {allowed} are legal in it: {play.where(row)}.")
    return ""


def ends(play: Play) -> str:
    spec, outcome = play.game.spec, play.outcome
    for row in np.flatnonzero(outcome.terminated & outcome.truncated)[:1].tolist():
        raise Broken(f"The game is both terminated and truncated: {play.where(row)}.")
    for row in np.flatnonzero((play.ended == RUNNING) & (play.steps >= spec.longest))[:1].tolist():
        raise Broken(f"The game goes on past the longest that its spec allows, {spec.longest}: {play.where(row)}.")
    if play.done and (play.ended == TRUNCATED).all():
        return f"No game ended by its rules: all {len(play.keys)} were cut, at {int(play.steps.max())} steps at most."
    return ""


def finished(play: Play) -> str:
    """Games that were over before this step, and got no action in it."""
    outcome, over = play.outcome, play.before != RUNNING
    for row in np.flatnonzero(over & outcome.reward.any(axis=1))[:1].tolist():
        seat = int(np.flatnonzero(outcome.reward[row])[0])
        raise Broken(f"Seat {seat} was given {outcome.reward[row, seat]} after the end: {play.where(row)}.")
    flagged = outcome.terminated | outcome.truncated | (outcome.chance != 0)
    flagged[list(outcome.failed)] = True
    for row in np.flatnonzero(over & flagged)[:1].tolist():
        raise Broken(f"A finished game ended, failed or drew chance again: {play.where(row)}.")
    revived = (play.ended != RUNNING)[:, None] & (play.decisions.active | play.decisions.legal.any(axis=2))
    for row, slot in np.argwhere(revived)[:1].tolist():
        seat = int(play.decisions.seat[row, slot])
        raise Broken(f"Seat {seat} acts, or has legal actions, after the end: {play.where(row)}.")
    return ""


def payoff(play: Play) -> str:
    spec, reward = play.game.spec, np.where((play.before == RUNNING)[:, None], play.outcome.reward, 0)
    tolerance = 1e-5 * max(1.0, float(np.abs(play.returns).max(initial=0)), float(np.abs(reward).max(initial=0)))
    teams, leader, team = np.unique(spec.teams, return_index=True, return_inverse=True)
    apart = np.abs(reward - reward[:, leader][:, team]) > tolerance
    if spec.payoff == "general_sum":
        apart[:] = False  # a seat may also be paid for its own part; its team's return is the mean
    for row, seat in np.argwhere(apart)[:1].tolist():
        mate = int(leader[team[seat]])
        raise Broken(
            f"Seats {mate} and {seat} are on one team, but were given {reward[row, mate]} and {reward[row, seat]}:"
            f" {play.where(row)}."
        )
    if spec.payoff == "zero_sum":
        total = reward[:, leader].sum(axis=1, dtype=np.float64)
        for row in np.flatnonzero(np.abs(total) > tolerance * len(teams))[:1].tolist():
            earned = reward[row].tolist()
            raise Broken(f"Declared zero_sum, but rewards {earned} add up to {total[row]:g}: {play.where(row)}.")
    low, high = spec.bounds
    over = ((play.ended == TERMINATED) | (play.ended == TRUNCATED))[:, None]
    outside = over & ((play.returns < low - tolerance) | (play.returns > high + tolerance))
    for row, seat in np.argwhere(outside)[:1].tolist():
        raise Broken(
            f"The return of seat {seat}, {play.returns[row, seat]:g}, is outside the declared bounds {spec.bounds}:"
            f" {play.where(row)}."
        )
    return ""


def observes(play: Play) -> str:
    """`observe` for every seat at any time, and what it says of the seats that act."""
    rows = play.sound(play.decisions)
    if not len(rows):
        return ""
    seen = views(play.game, play.states, rows)
    for i, seat, *cell in np.argwhere(~np.isfinite(seen))[:1].tolist():
        value = seen[(i, seat, *cell)]
        raise Broken(f"observe shows seat {seat} {value} in cell {tuple(cell)}: {play.where(int(rows[i]))}.")
    decisions = play.decisions
    for slot in range(play.game.spec.slots):
        act = decisions.active[rows, slot] & (play.ended[rows] == RUNNING)
        seats = np.where(act, decisions.seat[rows, slot], 0)
        differs = (seen[np.arange(len(rows)), seats] != decisions.observation[rows, slot]).reshape(len(rows), -1)
        for i in np.flatnonzero(act & differs.any(axis=1))[:1].tolist():
            cell = int(np.flatnonzero(differs[i])[0])
            given = decisions.observation[rows[i], slot].ravel()[cell]
            raise Broken(
                f"decisions gives seat {seats[i]} {given} in cell {cell} of its flat observation, observe gives it"
                f" {seen[i, seats[i]].ravel()[cell]}: {play.where(int(rows[i]))}."
            )
    return ""


def in_place(play: Play) -> str:
    """Decisions written into memory that is dirty, as the caller's is from the step before."""
    fresh, spec = play.decisions, play.game.spec
    out = Decisions.empty(spec, len(play.keys))
    out.observation[:], out.legal[:], out.active[:], out.seat[:] = 7, True, True, 0
    if out.global_state is not None:
        out.global_state[:] = 7
    memory = [getattr(out, f.name) for f in fields(out)]
    given = play.game.decisions(play.states, out)
    if given is not out or any(getattr(out, f.name) is not m for f, m in zip(fields(out), memory, strict=True)):
        raise Broken(f"decisions(states, out) at step {play.clock} gives other memory than that of out.")
    active, acting = fresh.active, fresh.active.any(axis=1)
    pairs = [*_who_and_what(fresh, out), ("observation", fresh.observation[active], out.observation[active])]
    if fresh.global_state is not None and out.global_state is not None:
        pairs.append(("global_state", fresh.global_state[acting], out.global_state[acting]))
    _same(pairs, "Written into out", f"without out, at step {play.clock}")
    return ""


def blind(play: Play) -> str:
    """Decisions of which nobody looks at the observations, into memory that is dirty."""
    fresh = play.decisions
    out = Decisions.empty(play.game.spec, len(play.keys), blind=True)
    out.legal[:], out.active[:], out.seat[:] = True, True, 0
    play.game.decisions(play.states, out)
    _same(_who_and_what(fresh, out), "Asked for blind", f"with observations, at step {play.clock}")
    return ""


def _who_and_what(fresh: Decisions, out: Decisions) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Who acts and what is legal, as (field, expected, found)."""
    active = fresh.active
    return [
        ("active", active, out.active),
        ("legal", fresh.legal, out.legal),
        ("seat", np.where(active, fresh.seat, 0), np.where(active, out.seat, 0)),
    ]


def _same(pairs: list[tuple[str, NDArray[Any], NDArray[Any]]], how: str, otherwise: str) -> None:
    """Raise Broken for the first value that differs among `pairs` of (field, expected, found)."""
    for field, expected, found in pairs:
        differs = expected != found
        if differs.any():
            index = tuple(np.argwhere(differs)[0].tolist())
            raise Broken(
                f"{how}, {field}{list(index)} is {found[index]}, but {expected[index]} when decisions are asked for"
                f" {otherwise}."
            )


def replays(game: Game, keys: Keys) -> Watch:
    """A watch that plays the same games a second time, each step right after that of the play it watches."""
    twin: Play | None = None

    def watch(play: Play) -> str:
        nonlocal twin
        seen = play.look()  # before the twin moves: what boards wrongly share must show
        if twin is None:
            twin = Play(game, keys)
        else:
            twin.advance()
        compare(seen, twin.look(), "Played again from its key and moves")
        return ""

    return watch


def global_dice() -> Watch:
    """A watch that sees whether anybody used, since it was made, Python's or NumPy's global generator."""
    before = _dice()

    def watch(play: Play) -> str:
        for name, was, now in zip(("random", "np.random"), before, _dice(), strict=True):
            if was != now:
                raise Broken(
                    f"The game uses global randomness: the state of {name} changed by step {play.clock}."
                    " Draw from the rng, or the keys, that the game is given."
                )
        return ""

    return watch


def _dice() -> tuple[object, object]:
    kind, words, *rest = np.random.get_state()  # noqa: NPY002 (the legacy generator is what must stay untouched)
    return random.getstate(), (kind, np.asarray(words).tobytes(), *rest)


# Each promise: its name, what holds where it is kept, and how to see that it is not.
WATCHES: dict[str, tuple[str, Watch]] = {
    "plays": ("Every legal action works, and nothing raises.", plays),
    "turns": ("Until the end somebody acts, and only who acts has legal actions.", turns),
    "ends": ("Every game ends, at the latest at the spec's longest.", ends),
    "finished": ("A finished game stays finished and pays nothing.", finished),
    "payoff": ("Rewards add up as declared, within bounds, the same for a team.", payoff),
    "observe": ("Every seat can be asked for its view; who acts is shown just that.", observes),
    "in place": ("Decisions are written wholly into the memory given.", in_place),
    "blind": ("Who acts and what is legal is the same when nobody looks at observations.", blind),
}
