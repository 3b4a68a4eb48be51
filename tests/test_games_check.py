"""The conformance kit against games that are broken on purpose: each must fail its own check, and no other."""

from __future__ import annotations

import copy
import pickle
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from games import Decisions, Game, GameSpec, Keys, Lifted, Outcome, Symmetry, lift
from games import check as kit
from games.check import Check, Report
from games.check_play import Broken, Play, choose, compare
from games.scene import EVERYTHING, Box, Disc, Image, Label, Polygon, Scene, grid, place
from games.tic_tac_toe import TicTacToe

GAMES = 24

Views = NDArray[np.float32]


class Nim:
    """Seats take 1 to 3 from a heap of 9 in turn; who takes the last wins. Sound: what follows breaks it."""

    spec = GameSpec("nim", seats=2, actions=3, observation=(2,), longest=9, searchable=True)

    def __init__(self, rng: np.random.Generator) -> None:
        self.heap, self.mover = [9], 0

    @property
    def over(self) -> bool:
        return self.heap[0] <= 0

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (self.mover,)

    def legal(self, seat: int) -> Sequence[int]:
        return range(min(3, self.heap[0]))

    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.heap[0], self.mover == seat

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        if actions[0] >= self.heap[0]:
            raise ValueError(f"{actions[0] + 1} cannot be taken from {self.heap[0]}")
        self.heap[0] -= actions[0] + 1
        mover, self.mover = self.mover, 1 - self.mover
        return ((1, -1), (-1, 1))[mover] if self.over else (0, 0)

    def copy(self) -> Nim:
        return copy.deepcopy(self)


class Deal:
    """Each seat is dealt one of three cards and says 0 or 1, then a coin falls. Seats see their card and the coin."""

    spec = GameSpec(
        "deal", seats=2, actions=2, observation=(8,), longest=4, perfect_information=False, stochastic=True,
        searchable=True, resamples=True,
    )  # fmt: skip

    def __init__(self, rng: np.random.Generator) -> None:
        self.cards = rng.permutation(3)[:2].tolist()
        self.said: list[int] = []
        self.chance = 0

    @property
    def over(self) -> bool:
        return len(self.said) == 4

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (len(self.said) % 2,)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1)

    def observe(self, seat: int, out: Views) -> None:
        out[self.cards[seat]] = 1
        out[3] = self.chance
        out[4 : 4 + len(self.said)] = [1 + word for word in self.said]

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.said.append(actions[0])
        self.chance = 1 + int(rng.integers(2))
        higher = self.cards[0] > self.cards[1]
        return ((-1, 1), (1, -1))[higher] if self.over else (0, 0)

    def copy(self) -> Deal:
        return copy.deepcopy(self)

    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        twin = self.copy()
        twin.cards[1 - seat] = int(rng.choice([card for card in range(3) if card != self.cards[seat]]))
        return twin


class Duel:
    """Two rounds in which both seats choose at once; the higher choice wins the second."""

    spec = GameSpec("duel", seats=2, actions=3, observation=(2,), longest=2, simultaneous=True, searchable=True)

    def __init__(self, rng: np.random.Generator) -> None:
        self.rounds, self.last = 0, (0, 0)

    @property
    def over(self) -> bool:
        return self.rounds == 2

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (0, 1)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 2)

    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.last[seat], self.last[1 - seat]

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.rounds, self.last = self.rounds + 1, (actions[0], actions[1])
        won = float(np.sign(actions[0] - actions[1])) if self.over else 0.0
        return (won, -won)

    def copy(self) -> Duel:
        return copy.deepcopy(self)


# ---------------------------------------------------------------- boards with one fault each


class NanObservation(Nim):
    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.heap[0] if self.heap[0] > 5 else np.nan, self.mover == seat


class NanForTheOther(Nim):
    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.heap[0] if seat == self.mover or self.heap[0] == 9 else np.nan, 0


class WrongShape(Nim):
    def observe(self, seat: int, out: Views) -> None:
        out[:] = np.zeros(7)


class NanReward(Nim):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        return [np.nan * r if r else r for r in super().step(actions, rng)]


class Wide(Nim):
    def legal(self, seat: int) -> Sequence[int]:
        return (*super().legal(seat), 3)


class Empty(Nim):
    def legal(self, seat: int) -> Sequence[int]:
        return super().legal(seat) if self.heap[0] > 3 else ()


class Generous(Nim):
    """Its mask allows more than can be taken."""

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 2)


class Lax(Nim):
    """Plays what its mask forbids, as any move."""

    def legal(self, seat: int) -> Sequence[int]:
        return range(min(2, self.heap[0]))


class RaisesAtStart(Nim):
    def __init__(self, rng: np.random.Generator) -> None:
        raise OSError("no display")


class RaisesInLegal(Nim):
    def legal(self, seat: int) -> Sequence[int]:
        return [9 // (self.heap[0] - 4) and 0]


class RaisesInStep(Nim):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        raise KeyError("agent_1")


class RaisesInObserve(Nim):
    def observe(self, seat: int, out: Views) -> None:
        raise RuntimeError("nothing to see")


class RaisesForTheOther(Nim):
    """Only who acts can be shown anything, as in environments that forget everybody else."""

    def observe(self, seat: int, out: Views) -> None:
        if seat != self.mover:
            raise KeyError(f"player_{seat}")
        super().observe(seat, out)


class NoSuchSeat(Nim):
    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (self.mover if self.heap[0] > 5 else 2,)


class Undead(Nim):
    @property
    def seats(self) -> Sequence[int]:
        return (self.mover,)


class BothActInTurns(Nim):
    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (self.mover, 1 - self.mover)


class Endless(Nim):
    @property
    def over(self) -> bool:
        return False

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 2)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.mover = 1 - self.mover
        return (0, 0)


class WinnerOnly(Nim):
    """The seat that did not move last never hears that it lost."""

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        return [max(0.0, r) for r in super().step(actions, rng)]


class BeyondBounds(Nim):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        return [3.0 * r for r in super().step(actions, rng)]


class Teammates(Nim):
    spec = replace(Nim.spec, payoff="cooperative", teams=(0, 0))


class GlobalNumpy(Nim):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        np.random.random()  # noqa: NPY002
        return super().step(actions, rng)


class GlobalRandom(Nim):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.mover = random.randrange(2)


class OwnDice(Nim):
    """Random from its third step on, from a generator that no key feeds."""

    dice = np.random.default_rng(0)

    def observe(self, seat: int, out: Views) -> None:
        super().observe(seat, out)
        if self.heap[0] < 6:
            out[1] = self.noise

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.noise = self.dice.random()
        return super().step(actions, rng)


class SharedByAll(Nim):
    """Boards of one batch write into one list, kept on the class."""

    played: list[int] = []  # noqa: RUF012

    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.heap[0], len(self.played)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.played.append(actions[0])
        return super().step(actions, rng)


class Undeclared(Nim):
    """Says that it has no luck, but nature picks who begins."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.mover = int(rng.integers(2))


class SilentChance(Deal):
    """A coin falls, but `chance` does not say how."""

    def observe(self, seat: int, out: Views) -> None:
        super().observe(seat, out)
        out[3] = getattr(self, "coin", 0)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        rewards = super().step(actions, rng)
        self.coin, self.chance = self.chance, 0
        return rewards


class ForgetsToReset(Nim):
    def restart(self, rng: np.random.Generator) -> None:
        self.heap = [9]


class Shallow(Nim):
    def copy(self) -> Nim:
        return copy.copy(self)


class ForgetfulCopy(Nim):
    def copy(self) -> Nim:
        twin = copy.deepcopy(self)
        twin.mover = 0
        return twin


class Fuse(Nim):
    """Copies share a fuse that nobody sees until it has burnt down."""

    burnt = 10

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.fuse: list[int] = []

    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.heap[0], len(self.fuse) < self.burnt

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.fuse.append(1)
        return super().step(actions, rng)

    def copy(self) -> Nim:
        twin = copy.copy(self)
        twin.heap = self.heap.copy()
        return twin


class LosesFuse(Fuse):
    """Copies forget what nobody sees, and so play on by other rules."""

    burnt = 3

    def copy(self) -> Nim:
        twin = copy.deepcopy(self)
        twin.fuse = []
        return twin


class DelayedFuse(Fuse):
    """Only by its own next step does a board notice what its copies have burnt."""

    late = False

    def observe(self, seat: int, out: Views) -> None:
        out[:] = self.heap[0], self.late

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.late = len(self.fuse) > self.burnt
        return super().step(actions, rng)


class LazyCopy(Nim):
    """A copy borrows the heap until its own first step; nobody tells the original."""

    borrowed = False

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        if self.borrowed:
            self.heap, self.borrowed = self.heap.copy(), False
        return super().step(actions, rng)

    def copy(self) -> Nim:
        twin = copy.copy(self)
        twin.borrowed = True
        return twin


class Biased(Nim):
    """One choice, seen by nobody, decides."""

    spec = replace(Nim.spec, actions=2, longest=1, symmetries=(Symmetry(np.arange(2), np.array([1, 0])),))
    played = False

    @property
    def over(self) -> bool:
        return self.played

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.played = True
        return ((1, -1), (-1, 1))[actions[0]]


class CannotCopy(Nim):
    def copy(self) -> Nim:
        raise TypeError("cannot pickle a socket")


class DealsAnew(Deal):
    """A world in which the seat itself may hold another card."""

    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        twin = self.copy()
        twin.cards = rng.permutation(3)[:2].tolist()
        return twin


class DrawsNothing(Deal):
    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        return self.copy()


class DrawsUnasked(Deal):
    """Worlds from a generator that no key feeds."""

    dice = np.random.default_rng(0)

    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        return super().resample(seat, self.dice)


class DrawsInPlace(Deal):
    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        self.cards = super().resample(seat, rng).cards
        return self.copy()


class DrawsADeadEnd(Deal):
    """Worlds that look right and cannot be played."""

    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        twin = super().resample(seat, rng)
        twin.cards = tuple(twin.cards[:1])  # type: ignore[assignment]
        return twin

    def observe(self, seat: int, out: Views) -> None:
        if len(self.cards) == 2 or seat == 0:
            super().observe(seat, out)


class ForgetsTurns(Deal):
    """Worlds in which the other seat is to act."""

    def resample(self, seat: int, rng: np.random.Generator) -> Deal:
        twin = super().resample(seat, rng)
        twin.turned = True
        return twin

    turned = False

    @property
    def seats(self) -> Sequence[int]:
        return tuple(1 - seat if self.turned else seat for seat in super().seats)


class Leaks(Deal):
    """Seat 1 is shown the card of seat 0, after the first word was said."""

    def observe(self, seat: int, out: Views) -> None:
        super().observe(seat, out)
        if seat == 1 and self.said:
            out[3] = 10 * self.cards[0] + self.chance


class NeverTheSameCard(Deal):
    """No view comes up twice, so nothing can be said about what it tells."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.luck = rng.random(2)

    def observe(self, seat: int, out: Views) -> None:
        super().observe(seat, out)
        out[self.cards[seat]] = self.luck[seat]


class Speechless(Nim):
    def text(self, seat: int) -> str:
        return f"{self.heap[1]} are left"


class Nameless(Nim):
    def action_name(self, seat: int, action: int) -> str:
        return "" if action else "one"


# ---------------------------------------------------------------- batch games with one fault each


class Bent(Lifted):
    """A sound game, the batch protocol of which a subclass breaks in one place."""

    def __init__(self, single: Any = Nim, **changes: Any) -> None:
        super().__init__(replace(single.spec, **changes), single)


class DoubleObservation(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        given.observation = given.observation.astype(np.float64)
        return given


class FlatObservation(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        given.observation = given.observation[:, 0]
        return given


class InfiniteReward(Bent):
    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        outcome = super().step(states, actions, keys)
        outcome.reward[outcome.terminated, 1] = np.inf
        return outcome


class NoState(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        given.global_state = None
        return given


class Warped(Bent):
    """One field of what decisions, or step, gives is changed."""

    def __init__(self, field: str, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.field, self.change = field, change

    def _warp(self, given: Any) -> Any:
        if hasattr(given, self.field):
            setattr(given, self.field, self.change(getattr(given, self.field)))
        return given

    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        warped: Decisions = self._warp(super().decisions(states, out))
        return warped

    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        warped: Outcome = self._warp(super().step(states, actions, keys))
        return warped


class Raises(Bent):
    def start(self, keys: Keys) -> Any:
        raise MemoryError("8 GiB")


class Stuck(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        for row, board in enumerate(states):
            if board.steps == 2:
                given.active[row] = given.legal[row] = False
        return given


class LegalWhileIdle(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        for row, board in enumerate(states):
            if board.steps == 1:
                given.active[row, 1] = False
        return given


class NeverEnds(Bent):
    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        outcome = super().step(states, actions, keys)
        for row in np.flatnonzero(outcome.truncated):
            states[row].over = outcome.truncated[row] = False
        return outcome


class EndsTwice(Bent):
    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        outcome = super().step(states, actions, keys)
        outcome.truncated |= outcome.terminated
        return outcome


class PaysOn(Bent):
    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        over = [board.over for board in states]
        outcome = super().step(states, actions, keys)
        outcome.reward[over] = 1, -1
        return outcome


class EndsAgain(Bent):
    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        over = [board.over for board in states]
        outcome = super().step(states, actions, keys)
        outcome.terminated[over] = True
        return outcome


class Revived(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        over = [board.over for board in states]
        given.active[over, 0] = given.legal[over, 0, 0] = True
        return given


class TwoViews(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        given = super().decisions(states, out)
        given.observation[:, :, 0] *= 2
        return given


class OwnMemory(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        return super().decisions(states, out if out is not None and out.blind else None)


class LeavesMasks(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        before = False if out is None or out.blind else out.legal & out.active[:, :, None]
        given = super().decisions(states, out)
        given.legal |= before
        return given


class LeavesSeats(Bent):
    """Says who acts only where the memory is its own, as one may whose seats never change."""

    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        before = None if out is None or out.blind else out.seat.copy()
        given = super().decisions(states, out)
        if before is not None:
            given.seat[:] = before
        return given


class LazyWhenBlind(Bent):
    def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
        return out if out is not None and out.blind else super().decisions(states, out)


class PutsBackwards(Bent):
    def put(self, states: Any, rows: NDArray[np.int64], other: Any) -> None:
        super().put(states, rows[::-1], other)


class PutsBeside(Bent):
    """Also the neighbour of a game that is put gives up its turn, where it is not new."""

    def put(self, states: Any, rows: NDArray[np.int64], other: Any) -> None:
        aged = [board for board in states if board.steps and board not in other]
        if len(aged) == len(states):
            states[rows[0] - 1].single.mover ^= 1
        super().put(states, rows, other)


class PutsTimeBack(Bent):
    def put(self, states: Any, rows: NDArray[np.int64], other: Any) -> None:
        for board in other:
            board.steps = 0
        super().put(states, rows, other)


class CannotRestart(Bent):
    def restart(self, states: Any, rows: NDArray[np.int64], keys: Keys) -> None:
        raise ConnectionError("the server is gone")


class ByRow(Bent):
    """Who begins depends on the row."""

    def start(self, keys: Keys) -> Any:
        states = super().start(keys)
        for row, board in enumerate(states):
            board.single.mover = row % 2
        return states


class Ticks(Bent):
    """A step without an action passes the turn."""

    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        outcome = super().step(states, actions, keys)
        for board in (states[row] for row in np.flatnonzero((actions < 0).all(axis=1))):
            board.single.mover = 1 - board.single.mover
        return outcome


class PaysForNothing(Bent):
    def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        rests = (actions < 0).all(axis=1) & ~np.array([board.over for board in states])
        outcome = super().step(states, actions, keys)
        outcome.reward[rests] = 1, -1
        return outcome


class TextIsNumber(Bent):
    def text(self, states: Any, row: int, seat: int) -> str:
        return 9  # type: ignore[return-value]


class Drawn(Deal):
    """The sound drawing that those below break: a card, and a place to click for each thing to say."""

    def scene(self, seat: int) -> Scene | None:
        card = "?" if seat == EVERYTHING else str(self.cards[seat])
        moves = {0: (0,), 1: (1,)} if seat in self.seats else {}
        picture = Image(0, 0, 1, 1, np.full((2, 2, 3), len(self.said), np.uint8))
        return Scene(2, 1, (Label(1, 0.5, card), Box(0, 0, 1, 1, "#f0A010"), picture), grid(1, 2, ("no", "yes")), moves)


class DrawsWrongly(Drawn):
    """Its scene with some fields replaced."""

    wrong: dict[str, Any]

    def scene(self, seat: int) -> Scene | None:
        sound = super().scene(seat)
        assert sound is not None
        return replace(sound, **self.wrong)


def wrongly(**wrong: Any) -> Callable[[], Lifted]:
    return lambda: lift(type("DrawsWrongly", (DrawsWrongly,), {"wrong": wrong}))


class DrawsNoScene(Drawn):
    def scene(self, seat: int) -> Any:
        return "a card"


class DrawsEverySeatAsActing(Drawn):
    def scene(self, seat: int) -> Scene | None:
        sound = super().scene(seat)
        assert sound is not None
        return replace(sound, moves={0: (0,), 1: (1,)})


class DrawsTheOthersCard(Drawn):
    def scene(self, seat: int) -> Scene | None:
        return super().scene(1 - seat if seat >= 0 else seat)


class ShowsAPictureOfAll(Drawn):
    """Nothing tells but the pixels."""

    def scene(self, seat: int) -> Scene | None:
        return Scene(1, 1, (Image(0, 0, 1, 1, np.array([[self.cards] * 3], np.uint8).reshape(1, 2, 3)),))


class TellsTheOthersCard(Deal):
    def text(self, seat: int) -> str:
        return f"They hold {self.cards[1 - seat]}"


class DealsWhenDrawn(Drawn):
    def scene(self, seat: int) -> Scene | None:
        self.cards[1 - max(seat, 0)] = 2
        return Scene(1, 1, ())


class WearsWhenDrawn(Drawn):
    """Drawing shows only later."""

    looks = 0

    def scene(self, seat: int) -> Scene | None:
        self.looks += 1
        return Scene(1, 1, ())

    def observe(self, seat: int, out: Views) -> None:
        super().observe(seat, out)
        out[7] = self.looks > 0 and len(self.said) > 2


class DrawsWhatItDrew(Drawn):
    looks = 0

    def scene(self, seat: int) -> Scene | None:
        self.looks += 1
        return Scene(1, 1, (Label(0, 0, str(self.looks)),))


class RestartsRowOne(Bent):
    def restart(self, states: Any, rows: NDArray[np.int64], keys: Keys) -> None:
        super().restart(states, rows, keys)
        super().restart(states, np.array([1]), keys[:1])


def mirrored(cells: Sequence[int]) -> Lifted:
    """Tic-tac-toe with a symmetry that moves its cells like this, on both planes."""
    moved = np.array(cells)
    symmetry = Symmetry(np.concatenate([moved, moved + 9]), moved)
    return Lifted(replace(TicTacToe.spec, symmetries=(symmetry,)), TicTacToe)


KEY = r"\(key \d+\)"

# What is broken, the one check that must fail, and what its message must tell.
BROKEN: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: Lifted(replace(Nim.spec, bounds=(1, -1)), Nim), "spec", r"bounds of a return, \(1, -1\)"),
    (lambda: Lifted(replace(Nim.spec, bounds=(1, 2)), Nim), "spec", r"zero_sum .* bounds around 0, .*\(1, 2\)"),
    (lambda: Lifted(replace(Nim.spec, teams=(0, 2)), Nim), "spec", r"from 0 without gaps, .*\(0, 2\)"),
    (lambda: Lifted(replace(Nim.spec, teams=(0, 0)), Nim), "spec", "zero_sum game needs two teams"),
    (lambda: Lifted(replace(Nim.spec, observation=(0,)), Nim), "spec", r"observation of shape \(0,\) holds nothing"),
    (lambda: mirrored([0, 0, 2, 3, 4, 5, 6, 7, 8]), "spec", "Symmetry 0 does not map the 18 cells one to one"),
    (DoubleObservation, "arrays", "observation of decisions at step 0 is of type float64, not float32"),
    (FlatObservation, "arrays", r"observation of decisions at step 0 has shape \(24, 2\), not \(24, 1, 2\)"),
    (lambda: NoState(global_state=(3,)), "arrays", "global_state of decisions at step 0 is a NoneType"),
    (InfiniteReward, "arrays", r"reward of the outcome of step \d is inf in game \d+, at \(1,\)"),
    (lambda: Warped("legal", np.int8), "arrays", "legal of decisions at step 0 is of type int8, not bool"),
    (lambda: Warped("seat", np.int64), "arrays", "seat of decisions at step 0 is of type int64, not int16"),
    (lambda: Warped("active", np.ravel), "arrays", r"active of decisions at step 0 has shape \(24,\), not \(24, 1\)"),
    (lambda: Warped("global_state", lambda _: 0), "arrays", "a global_state in decisions at step 0, but the spec"),
    (lambda: Warped("reward", np.float64), "arrays", "reward of the outcome of step 0 is of type float64, not float32"),
    (lambda: Warped("terminated", list), "arrays", "terminated of the outcome of step 0 is a list, not an array"),
    (lambda: Warped("truncated", np.int8), "arrays", "truncated of the outcome of step 0 is of type int8, not bool"),
    (lambda: Warped("chance", np.int32), "arrays", "chance of the outcome of step 0 is of type int32, not int64"),
    (lambda: Warped("failed", lambda _: {99: "!"}), "arrays", "the outcome of step 0 names row 99 in a batch of 24"),
    (lambda: lift(NanObservation), "plays", rf"game \d+ {KEY}, step \d: nim gave an observation that is not finite"),
    (lambda: lift(WrongShape), "plays", "24 of 24 games broke.*step 0: nim raised ValueError.*shape"),
    (lambda: lift(NanReward), "plays", rf"game \d+ {KEY}, step \d: nim gave a reward that is not finite: .nan, nan"),
    (lambda: lift(Wide), "plays", "24 of 24 games broke.*nim allows action 3 at step 0"),
    (lambda: lift(Generous), "plays", r"nim raised ValueError when it played \[\d\] at step \d: \d cannot be taken"),
    (lambda: lift(RaisesAtStart), "plays", "nim raised OSError when it was started: no display"),
    (lambda: lift(RaisesInLegal), "plays", r"step \d: nim raised ZeroDivisionError when it was asked who acts"),
    (lambda: lift(RaisesInStep), "plays", r"nim raised KeyError when it played \[\d\] at step 0: 'agent_1'"),
    (lambda: lift(RaisesInObserve), "plays", "RuntimeError when it was asked who acts: nothing to see"),
    (Raises, "plays", "MemoryError was raised: 8 GiB"),
    (lambda: lift(Empty), "plays", rf"game \d+ {KEY}, step \d: nim leaves seat [01] no legal action"),
    (lambda: lift(NoSuchSeat), "plays", rf"game \d+ {KEY}, step \d: nim asks seat 2 to act at step \d; there are 2"),
    (Stuck, "turns", rf"not over, yet no seat acts: game 0 {KEY}, step 2"),
    (lambda: LegalWhileIdle(Duel), "turns", r"Slot 1 does not act, yet actions \[0, 1, 2\] are legal in it: game 0"),
    (lambda: NeverEnds(longest=4), "ends", rf"past the longest that its spec allows, 4: game \d+ {KEY}, step 4"),
    (EndsTwice, "ends", rf"both terminated and truncated: game \d+ {KEY}, step \d"),
    (EndsAgain, "finished", rf"A finished game ended, failed or drew chance again: game \d+ {KEY}"),
    (PaysOn, "finished", rf"Seat 0 was given 1.0 after the end: game \d+ {KEY}"),
    (Revived, "finished", rf"Seat [01] acts, or has legal actions, after the end: game \d+ {KEY}"),
    (lambda: lift(WinnerOnly), "payoff", r"zero_sum, but rewards \[.*\] add up to 1: game \d+"),
    (lambda: lift(BeyondBounds), "payoff", r"return of seat 0, -?3, is outside the declared bounds \(-1.0, 1.0\)"),
    (lambda: lift(Teammates), "payoff", r"Seats 0 and 1 are on one team, but were given -?1.0 and -?1.0: game \d+"),
    (lambda: lift(RaisesForTheOther), "observe", "KeyError was raised: 'player_1'"),
    (lambda: lift(NanForTheOther), "observe", rf"observe shows seat \d nan in cell \(0,\): game 0 {KEY}, step 1"),
    (TwoViews, "observe", rf"decisions gives seat 0 18.0 in cell 0 .* observe gives it 9.0: game 0 {KEY}, step 0"),
    (OwnMemory, "in place", r"decisions\(states, out\) at step 0 gives other memory"),
    (LeavesSeats, "in place", r"Written into out, seat\[\d+, 0\] is 0, but 1 when"),
    (LeavesMasks, "in place", r"Written into out, legal\[\d+, 0, \d\] is True, but False when"),
    (lambda: lift(GlobalNumpy), "randomness", "the state of np.random changed by step 1"),
    (lambda: lift(GlobalRandom), "randomness", "the state of random changed by step 0"),
    (lambda: lift(OwnDice), "replay", rf"observation of seat [01], cell \(1,\), is .*, at step \d of game \d+ {KEY}"),
    (lambda: lift(SharedByAll), "replay", r"observation of seat 1, cell \(1,\), is 48.0 and should be 24.0, at step 1"),
    (lambda: lift(Undead), "author", rf"board is over, yet seats \[[01]\] act: game \d {KEY}"),
    (lambda: lift(BothActInTurns), "author", r"Seats \[0, 1\] act at once, simultaneous is False: game 0"),
    (lambda: lift(Undeclared), "chance", "Not declared stochastic, but under another key: seat of slot 0 is [01]"),
    (lambda: lift(SilentChance), "chance", r"same chance: observation of seat 1, cell \(3,\), is [12].0 and should"),
    (ByRow, "company", "In row 1 of a batch of 8, unlike alone: seat of slot 0 is 1 and should be 0, at step 0"),
    (Ticks, "sits out", "a step that gave the game no action: seat of slot 0 is 1 and should be 0, at step 0"),
    (PaysForNothing, "sits out", r"Given no action, a game had reward \[1.0, -1.0\]: game 0"),
    (lambda: lift(ForgetsToReset), "restart", "Restarted .*, unlike a new game from that key: seat of"),
    (CannotRestart, "restart", "ConnectionError was raised: the server is gone"),
    (RestartsRowOne, "restart", "Disturbed by the restart of another row: .* at step 2"),
    (lambda: lift(Shallow), "copies", "Changed by steps of a copy: active of slot 0 is False and should be True"),
    (lambda: lift(ForgetfulCopy), "copies", "A copy is not like its original: seat of slot 0 is 0 and should be 1"),
    (lambda: lift(Fuse), "copies", r"observation of seat \d, cell \(1,\), is 0.0 and should be 1.0, at step \d"),
    (lambda: lift(LosesFuse), "copies", "A copy, given the same actions and keys: observation of seat [01], cell"),
    (lambda: lift(DelayedFuse), "copies", r"Unlike a game that was never copied: observation of seat \d, cell \(1,\)"),
    (lambda: lift(LazyCopy), "copies", "A copy, changed by a step of its original: observation of seat 0"),
    (lambda: lift(CannotCopy), "copies", "TypeError was raised: cannot pickle a socket"),
    (LazyWhenBlind, "blind", r"Asked for blind, seat\[0, 0\] is 0, but 1 when .* with observations, at step 1"),
    (PutsBackwards, "put", "Put into fresh room, unlike its original: "),
    (PutsBeside, "put", "Disturbed by a game put into another row: seat of slot 0 is"),
    (lambda: PutsTimeBack(Endless, longest=4), "put", "Put into fresh room, unlike its original: .* at step 4"),
    (lambda: lift(DealsAnew), "resample", rf"world drawn for seat 0, its view is not the same: game \d {KEY}, step 0"),
    (lambda: lift(ForgetsTurns), "resample", rf"world drawn for seat 0, who acts is not the same: game 0 {KEY}"),
    (lambda: lift(DrawsNothing), "resample", r"In \d{3} worlds no other seat ever saw anything else"),
    (lambda: lift(DrawsUnasked), "resample", r"Drawn again from the same key: view of seat \d, cell \(\d,\), is"),
    (lambda: lift(DrawsInPlace), "resample", r"Changed by worlds that were drawn from it, and played: view of seat"),
    (lambda: lift(DrawsADeadEnd), "resample", r"A world that was drawn broke: game \d+ .* deal raised IndexError"),
    (lambda: lift(Lax), "refuses", rf"seat \d may not play action 2, yet step plays it: game \d {KEY}, step \d"),
    (lambda: lift(Leaks), "secrets", r"At step 1 what seat 1 sees settles what only seat 0 should know, in all \d+"),
    (lambda: lift(Speechless), "words", "IndexError was raised: list index out of range"),
    (TextIsNumber, "words", "text for seat 0 is a int: game 0"),
    (lambda: lift(Nameless), "words", "The name of action 1 of seat 0 is '': game 0"),
    (lambda: lift(DrawsNoScene), "scene", rf"A scene is a str, for who watches: game 0 {KEY}, step 0"),
    (wrongly(width=0), "scene", "A scene is 0 wide and 1 high, for who watches: game 0"),
    (wrongly(height=np.inf), "scene", "In a Scene, height is inf, for who watches"),
    (wrongly(shapes=(Polygon(((0, 0), (1, np.nan)), "seat0"),)), "scene", r"In a Polygon, points is .*nan\)\), for"),
    (wrongly(shapes=(Disc(0, 0, 1, "blu"),)), "scene", "In a Disc, fill is 'blu', which is no colour, for who watches"),
    (wrongly(shapes=(Image(0, 0, 1, 1, np.zeros((2, 2, 4), np.uint8)),)), "scene", "pixels of an Image are no array"),
    (wrongly(places=(place("a", 0, np.inf), place("b", 0, 0))), "scene", "In a Place, outline is .*inf"),
    (wrongly(places=(place("a", 0, 0), place("a", 1, 0))), "scene", "2 places are called 'a', for who watches"),
    (wrongly(moves={2: (0,)}), "scene", "Action 2 is among the moves of a scene, but it is not legal there, for who"),
    (lambda: lift(DrawsEverySeatAsActing), "scene", "Action 0 is among the moves .* not legal there, for who watches"),
    (wrongly(places=(place("a", 0, 0),)), "scene", r"Action 1 is played on places \(1,\); there are 1, for seat 0"),
    (lambda: lift(DrawsTheOthersCard), "scene", r"Action 0 is among .* not legal there, for seat 1: game 0"),
    (lambda: lift(ShowsAPictureOfAll), "scene", rf"A scene tells worlds apart that are .*, for seat 0: .*{KEY}"),
    (lambda: lift(TellsTheOthersCard), "scene", "The text tells worlds apart that are the same to the seat, for"),
    (lambda: lift(DealsWhenDrawn), "scene", r"Changed by being drawn: observation of seat 0, cell \(\d,\)"),
    (lambda: lift(WearsWhenDrawn), "scene", r"Unlike a game that was never drawn: .* cell \(7,\), .* at step 3 of"),
    (lambda: lift(DrawsWhatItDrew), "scene", "A scene is another when it is asked for again, for who watches: game 0"),
    (lambda: mirrored([1, 0, 2, 3, 4, 5, 6, 7, 8]), "symmetries", r"Relabelled by symmetry 0: view of seat 0, cell \("),
    (lambda: lift(Biased), "symmetries", "Relabelled by symmetry 0, other rewards are paid: game 0"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit, "SECONDS", 0.01)


def failures(game: Game | str, count: int = GAMES) -> dict[str, str]:
    return {check.name: check.message for check in kit.check(game, games=count).failures}


@pytest.mark.parametrize(("make", "name", "message"), BROKEN, ids=[f"{i}-{b[1]}" for i, b in enumerate(BROKEN)])
def test_a_broken_game_fails_its_check_and_no_other(make: Callable[[], Any], name: str, message: str) -> None:
    failed = failures(make())
    assert list(failed) == [name], failed
    assert re.search(message, failed[name], re.DOTALL), failed[name]


def test_no_check_is_without_a_broken_game() -> None:
    assert {name for _, name, _ in BROKEN} == set(kit.NAMES)


@pytest.mark.parametrize("board", [Nim, Deal, Duel, Drawn])
def test_what_was_broken_was_sound(board: Any) -> None:
    report = kit.check(lift(board), games=GAMES)
    assert report.passed, kit.text(report)
    assert not report.skipped


@pytest.mark.parametrize("name", ["tic_tac_toe", "rock_paper_scissors", "rock_paper_scissors?rounds=3", "connect_four"])
def test_the_games_here_keep_every_promise(name: str) -> None:
    report = kit.check(name)
    assert report.passed, kit.text(report)
    assert [check.name for check in report.checks] == list(kit.NAMES)
    assert report.games == 100
    assert 0 < report.mean_length <= games.make(name).spec.longest
    assert 0 < report.steps_per_s <= report.decisions_per_s


@pytest.mark.parametrize("name", ["bargaining", "blackjack", "kuhn_poker?players=3", "leduc_poker", "universal_poker"])
def test_worlds_of_openspiel_are_what_a_seat_cannot_tell_apart(name: str) -> None:
    report = kit.check(f"openspiel/{name}", games=GAMES)
    assert report.passed, kit.text(report)
    (worlds,) = (check for check in report.checks if check.name == "resample")
    assert worlds.message.startswith(
        "Not tested that anything is drawn: no other seat" if name == "blackjack" else "A w"
    )


def test_what_is_drawn_and_what_is_not_are_told_apart() -> None:
    for board, message in (
        (Drawn, "Scenes are sound, and show no seat what it may not see."),
        (Nim, "Nothing is drawn."),
    ):
        (scene,) = (check for check in kit.check(lift(board), games=2).checks if check.name == "scene")
        assert scene.message == message


def test_too_few_worlds_to_judge_are_noted() -> None:
    report = kit.check(lift(DrawsNothing), games=1)  # one game, four positions, six worlds of each
    (worlds,) = (check for check in report.checks if check.name == "resample")
    assert worlds == Check("resample", True, "Not tested that anything is drawn: 24 worlds are too few.")


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker", "liars_dice"])
def test_hidden_cards_in_openspiel_stay_hidden(name: str) -> None:
    report = kit.check(f"openspiel/{name}", games=GAMES)
    assert report.passed, kit.text(report)
    (secrets,) = (check for check in report.checks if check.name == "secrets")
    assert secrets.message == "No view tells what another seat alone may know."  # judged, not given up


def test_nothing_global_is_touched_by_the_kit_itself() -> None:
    def dice() -> tuple[object, bytes]:
        return random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002

    before = dice()
    kit.check("tic_tac_toe", games=4)
    assert dice() == before


def test_an_endless_board_is_cut_and_noted() -> None:
    report = kit.check(lift(Endless), games=GAMES)
    assert report.passed, kit.text(report)
    notes = {check.name: check.message for check in report.checks}
    assert notes["ends"] == "No game ended by its rules: all 24 were cut, at 9 steps at most."


def test_secrets_that_cannot_be_judged_are_noted() -> None:
    report = kit.check(lift(NeverTheSameCard), games=GAMES)
    assert report.passed, kit.text(report)
    notes = {check.name: check.message for check in report.checks}
    assert notes["secrets"].startswith("Not testable: in 400 deals no private cell varied")


def test_one_game_is_enough_to_run_every_check() -> None:
    report = kit.check("tic_tac_toe", games=1)
    assert report.passed, kit.text(report)
    assert report.games == 1
    assert not report.skipped


def test_a_fault_while_speed_is_measured_is_a_failed_check() -> None:
    class WearsOut(Lifted):
        """Breaks after more games than the checks play."""

        def step(self, states: Any, actions: NDArray[np.int64], keys: Keys) -> Outcome:
            if len(states) == 64:
                raise OverflowError("too many files are open")
            return super().step(states, actions, keys)

    failed = failures(WearsOut(Nim.spec, Nim))
    assert failed == {"plays": "While its speed was measured, OverflowError was raised: too many files are open"}


def test_an_array_game_that_plays_illegal_actions_is_noted() -> None:
    class Unlifted:
        """Hides that there is an adapter: an array game, for all the kit can tell."""

        def __init__(self) -> None:
            self._game = lift(Lax)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._game, name)

    report = kit.check(Unlifted(), games=GAMES)
    assert report.passed, kit.text(report)
    notes = {check.name: check.message for check in report.checks}
    assert "may not play action 2, yet step plays it" in notes["refuses"]


def test_one_fault_does_not_hide_another() -> None:
    class TwoFaults(Shallow, WinnerOnly):
        pass

    assert list(failures(lift(TwoFaults))) == ["payoff", "copies"]


def test_what_cannot_be_judged_is_named() -> None:
    report = kit.check(lift(OwnDice), games=GAMES)
    skipped = ("chance", "company", "restart", "symmetries", "copies", "put", "resample", "scene")
    assert report.skipped == skipped
    assert f"Not judged, because of what failed: {', '.join(skipped)}." in kit.text(report)
    skipped = kit.check(lift(RaisesInStep), games=GAMES).skipped
    assert skipped == tuple(name for name in kit.NAMES if name not in ("spec", "plays"))


def test_a_game_that_does_not_exist_is_a_failed_check() -> None:
    failed = failures("tic_tac_to")
    assert failed == {"spec": "There is no game called 'tic_tac_to'. Did you mean 'tic_tac_toe'?"}


def test_three_strikes_end_the_games() -> None:
    class Rare(Nim):
        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            if self.heap[0] == 1:
                raise RuntimeError("the last one sticks")
            return super().step(actions, rng)

    assert re.match(r"([3-9]|1\d) of 24 games broke", failures(lift(Rare))["plays"])


def test_reports_read_well_and_travel_as_json() -> None:
    report = Report("g", (Check("spec", True, "Fine."), Check("replay", False, "Differs.")), 10, 4.25, 2000.0, 4000.0)
    assert kit.text(report).splitlines() == [
        "g: 1 of 2 promises broken",
        "  ok    spec       Fine.",
        "  FAIL  replay     Differs.",
        "  Not judged, because of what failed: " + ", ".join(n for n in kit.NAMES if n not in ("spec", "replay")) + ".",
        "  10 random games, 4.2 steps long on average.",
        "  Random play: 2,000 steps/s, 4,000 decisions/s.",
    ]
    assert kit.to_dict(report) == {"game": "g", "passed": False, "failures": ["replay: Differs."]}
    assert not report.passed


def test_random_players_choose_uniformly_and_only_what_is_legal() -> None:
    decisions = Decisions.empty(replace(Nim.spec, actions=5), 30_000)
    decisions.legal[:, 0, [1, 3, 4]] = True
    decisions.legal[::10] = False
    keys = np.arange(30_000, dtype=np.uint64)
    chosen = choose(decisions, keys, np.zeros(30_000, np.int64))[:, 0]
    assert (chosen[::10] == -1).all()
    counts = np.bincount(chosen[chosen >= 0], minlength=5)
    assert counts[[0, 2]].sum() == 0
    assert np.abs(counts[[1, 3, 4]] / 9000 - 1).max() < 0.04  # 4 standard deviations are 0.034


def test_pictures_are_compared_bit_for_bit() -> None:
    play = Play(lift(Nim), np.arange(3, dtype=np.uint64))
    left, right = play.look(), play.look()
    compare(left, right, "Same")
    right["view"][1, 0, 1] = np.nextafter(right["view"][1, 0, 1], np.float32(2))
    with pytest.raises(Broken, match=r"^Other: view of seat 0, cell \(1,\), is 1.0000001.* 1.0, at step 0 of game 1"):
        compare(left, right, "Other")
