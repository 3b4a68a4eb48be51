"""Random games to check a game by: played from keys alone, so that two runs can be laid side by side, bit for bit.

A player's choice is a function of the game's key, the step and the legal actions. Two plays from the same keys are
therefore the same game for as long as the game itself is the same.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from games.core import NO_ACTION, Decisions, Game, GameSpec, Keys, Outcome, Rows, States
from games.keys import CHOICE, NATURE, mix, uniform

RUNNING, TERMINATED, TRUNCATED, VOID = range(4)

Picture = dict[str, NDArray[Any]]
"""All that can be seen of a batch of games, by name. First axis: games. What nobody may look at is zero."""


class Broken(Exception):
    """A promise that a game did not keep. The message names seat, step, field and value."""


class Play:
    """A batch of games between players who choose at random by key."""

    def __init__(self, game: Game, keys: Keys, states: States = None) -> None:
        batch, spec = len(keys), game.spec
        self.game = game
        self.keys = keys.copy()  # [B] nature's
        self.choices = keys.copy()  # [B] the players'
        self.states = game.start(keys) if states is None else states
        self.steps = np.zeros(batch, np.int64)  # [B] played so far
        self.returns = np.zeros((batch, spec.seats), np.float64)  # [B, P]
        self.ended = np.full(batch, RUNNING, np.int8)  # [B] how
        self.before = self.ended.copy()  # [B] `ended` before the last step
        self.actions = np.full((batch, spec.slots), NO_ACTION, np.int64)  # [B, S] of the last step
        self.outcome = Outcome.empty(spec, batch)  # of the last step
        self.failures: list[str] = []
        self.clock = 0  # steps of the whole batch
        self.decisions = self._ask()

    @property
    def done(self) -> bool:
        return bool(self.ended.all())

    def sound(self, decisions: Decisions) -> Rows:
        """Games in which somebody acts, or that ended properly: where looking is safe."""
        ended = (self.ended == TERMINATED) | (self.ended == TRUNCATED)
        return np.flatnonzero(decisions.active.any(axis=1) | ended)

    def advance(self) -> None:
        """One step of every game that goes on. Raises Broken where the game hands back arrays of another kind."""
        self.clock += 1
        self.before = self.ended.copy()
        self.actions = choose(self.decisions, self.choices, self.steps)
        self.actions[self.ended != RUNNING] = NO_ACTION
        outcome = self.game.step(self.states, self.actions, mix(self.keys, NATURE, self.steps))
        verify_outcome(self.game.spec, outcome, len(self.keys), int(self.steps.max()))
        for row, why in outcome.failed.items():
            self.failures.append(f"{self.where(row)}: {why}")
        self.outcome = deepcopy(outcome)  # the game may use its memory again
        self.steps += (self.actions >= 0).any(axis=1)
        self.returns[self.before == RUNNING] += outcome.reward[self.before == RUNNING]
        self.ended[outcome.truncated] = TRUNCATED
        self.ended[outcome.terminated] = TERMINATED
        self.ended[list(outcome.failed)] = VOID
        self.decisions = self._ask()

    def restart(self, rows: Rows, keys: Keys) -> None:
        self.game.restart(self.states, rows, keys)
        self.keys[rows] = self.choices[rows] = keys
        self.steps[rows] = self.returns[rows] = self.ended[rows] = self.outcome.chance[rows] = 0
        self.decisions = self._ask()

    def put(self, rows: Rows, other: Play) -> None:
        """The games of `other` [n] into `rows` [n]; it may not be used again."""
        self.game.put(self.states, rows, other.states)
        for field in ("keys", "choices", "steps", "returns", "ended"):
            getattr(self, field)[rows] = getattr(other, field)
        self.outcome.chance[rows] = other.outcome.chance
        self.decisions = self._ask()

    def fork(self, rows: Rows) -> Play:
        """A play of its own, that begins with copies of `rows`."""
        return self.of(rows, self.game.copy(self.states, rows))

    def of(self, rows: Rows, states: States) -> Play:
        """A play of its own, that begins with `states` [n], which are as far on as `rows` [n] are here."""
        twin = Play(self.game, self.keys[rows], states)
        twin.steps, twin.returns, twin.ended = self.steps[rows], self.returns[rows], self.ended[rows]
        twin.choices = self.choices[rows]
        twin.outcome.chance = self.outcome.chance[rows]
        return twin

    def look(self) -> Picture:
        """What can be seen now: asked of the game, not remembered."""
        decisions, spec = self._ask(), self.game.spec
        active, rows = decisions.active, self.sound(decisions)
        seen = np.zeros((len(self.keys), spec.seats, *spec.observation), np.float32)
        seen[rows] = views(self.game, self.states, rows)
        picture: Picture = {
            "key": self.keys.copy(),
            "step": self.steps.copy(),
            "ended": self.ended.copy(),
            "returns": self.returns.copy(),
            "chance": self.outcome.chance.copy(),
            "active": active,
            "seat": np.where(active, decisions.seat, 0),
            "legal": decisions.legal,
            "observation": decisions.observation,
            "view": seen,
        }
        picture["observation"][~active] = 0
        if decisions.global_state is not None:
            picture["global_state"] = decisions.global_state
            picture["global_state"][~active.any(axis=1)] = 0
        return picture

    def where(self, row: int) -> str:
        return f"game {row} (key {self.keys[row]}), step {self.steps[row]}"

    def _ask(self) -> Decisions:
        decisions = self.game.decisions(self.states)
        verify_decisions(self.game.spec, decisions, len(self.keys), int(self.steps.max()))
        return decisions


def choose(decisions: Decisions, keys: Keys, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Actions [B, S], uniform among the legal; `NO_ACTION` where there is none. `keys` and `steps` [B] settle them."""
    batch, slots, actions = decisions.legal.shape
    drawn = uniform(mix(keys[:, None], CHOICE, steps[:, None], np.arange(slots)))
    count = decisions.legal.sum(axis=2).ravel()
    # The legal actions of all slots as one list: cheaper than drawing a number for each of many thousand actions.
    listed = np.nonzero(decisions.legal.reshape(-1, actions))[1]
    place = np.cumsum(count) - count + (drawn.ravel() * count).astype(np.int64)
    chosen = np.full(batch * slots, NO_ACTION, np.int64)
    chosen[count > 0] = listed[place[count > 0]]
    return chosen.reshape(batch, slots)


def views(game: Game, states: States, rows: Rows) -> NDArray[np.float32]:
    """What every seat sees in each of `rows` [n]: [n, P, *O]. The memory is dirty before, as a caller's may be."""
    spec = game.spec
    seen = np.full((len(rows) * spec.seats, *spec.observation), 7, np.float32)
    game.observe(states, np.repeat(rows, spec.seats), np.tile(np.arange(spec.seats), len(rows)), seen)
    return seen.reshape(len(rows), spec.seats, *spec.observation)


def pick(picture: Picture, rows: Rows) -> Picture:
    """The part of a picture that shows `rows`."""
    return {field: array[rows] for field, array in picture.items()}


def compare(expected: Picture, found: Picture, claim: str) -> None:
    """Raise Broken, naming the first value that differs in any bit, where two pictures are not the same."""
    for field, left in expected.items():
        right = found[field]
        differs = _bits(left) != _bits(right)
        if differs.any():
            index = tuple(np.argwhere(differs)[0].tolist())
            row, place = index[0], _place(field, index, expected)
            step, key = expected["step"][row], expected["key"][row]
            raise Broken(
                f"{claim}: {field}{place} is {right[index]} and should be {left[index]}, at step {step} of game {row}"
                f" (key {key})."
            )


def _place(field: str, index: tuple[int, ...], picture: Picture) -> str:
    """` of seat 1, cell (0, 2)`: the words for an index into a field."""
    if len(index) == 1:
        return ""
    if field == "global_state":
        return f", cell {index[1:]},"
    if field in ("active", "seat"):
        return f" of slot {index[1]}"
    seat = index[1] if field in ("view", "returns") else int(picture["seat"][index[:2]])
    if field == "legal":
        return f" of seat {seat}, action {index[2]},"
    return f" of seat {seat}" + (f", cell {index[2:]}," if len(index) > 2 else "")


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "f" else array


def verify_decisions(spec: GameSpec, decisions: Decisions, batch: int, step: int) -> None:
    """Raise Broken where an array of `decisions` has another shape or dtype than promised, or is not finite."""
    slots = (batch, spec.slots)
    where = f"decisions at step {step}"
    verify(decisions.observation, (*slots, *spec.observation), np.float32, f"observation of {where}")
    verify(decisions.legal, (*slots, spec.actions), np.bool_, f"legal of {where}")
    verify(decisions.seat, slots, np.int16, f"seat of {where}")
    verify(decisions.active, slots, np.bool_, f"active of {where}")
    if spec.global_state is not None:
        verify(decisions.global_state, (batch, *spec.global_state), np.float32, f"global_state of {where}")
    elif decisions.global_state is not None:
        raise Broken(f"There is a global_state in {where}, but the spec declares none.")


def verify_outcome(spec: GameSpec, outcome: Outcome, batch: int, step: int) -> None:
    """Raise Broken where an array of `outcome` has another shape or dtype than promised, or is not finite."""
    where = f"the outcome of step {step}"
    verify(outcome.reward, (batch, spec.seats), np.float32, f"reward of {where}")
    verify(outcome.terminated, (batch,), np.bool_, f"terminated of {where}")
    verify(outcome.truncated, (batch,), np.bool_, f"truncated of {where}")
    verify(outcome.chance, (batch,), np.int64, f"chance of {where}")
    for row in outcome.failed:
        if not 0 <= row < batch:
            raise Broken(f"failed of {where} names row {row} in a batch of {batch}.")


def verify(array: object, shape: tuple[int, ...], dtype: type, what: str) -> None:
    """Raise Broken unless `array` is a finite array of this shape and dtype."""
    if not isinstance(array, np.ndarray):
        raise Broken(f"The {what} is a {type(array).__name__}, not an array.")
    if array.shape != shape:
        raise Broken(f"The {what} has shape {array.shape}, not {shape}.")
    if array.dtype != dtype:
        raise Broken(f"The {what} is of type {array.dtype}, not {np.dtype(dtype)}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        unfinite(array, what)


def unfinite(array: NDArray[Any], what: str) -> NoReturn:
    """Raise Broken for an array that is not finite, naming the first such value."""
    index = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
    raise Broken(f"The {what} is {array[index]} in game {index[0]}, at {index[1:]}.")
