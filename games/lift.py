"""Write one board, get a batch: the author's class for a game, and the adapter that lifts it to `games.core.Game`.

A new game is a small class (`games/tic_tac_toe.py` is the one to copy) with

    spec                            a GameSpec
    __init__(rng)                   a new board; `rng` is nature's, seeded by the game's key
    seats                           the seats that act now, () when the game is over
    legal(seat) -> action numbers   what an acting seat may do
    observe(seat, out)              write what `seat` sees into out [*O], zeroed beforehand; for any seat at any time
    step(actions, rng) -> rewards   one action for each of `seats`, in their order; a reward for every seat
    over                            whether the game has ended by its rules

and, where it applies, `truncated` (it was cut), `copy()` (needed for search), `chance` (a number for what nature did in
the last step), `state(out)` (the global state), `text(seat)`, `action_name(seat, action)`, `scene(seat)` (the board as
a drawing, see `games.scene`), `restart(rng)` (reuse this
object for the next game where making one is costly), and `resample(seat, rng)` (a new board that `seat` cannot tell
from this one, its hidden part drawn anew; this board stays as it is).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from games.core import Decisions, GameSpec, Keys, Outcome, Rows
from games.scene import Scene


class Single(Protocol):
    """One board: the least that an author writes."""

    @property
    def seats(self) -> Sequence[int]: ...
    @property
    def over(self) -> bool: ...
    def legal(self, seat: int) -> Sequence[int]: ...
    def observe(self, seat: int, out: NDArray[np.float32]) -> None: ...
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]: ...


class Board:
    """One row of a lifted batch: the author's object and what the adapter knows about it."""

    __slots__ = ("failure", "over", "seats", "single", "steps")

    def __init__(
        self,
        single: Any,
        seats: tuple[int, ...] = (),
        steps: int = 0,
        over: bool = False,
        failure: str | None = None,
    ) -> None:
        self.single = single  # None once it broke
        self.seats = seats  # who was asked to act, as of the last `decisions`
        self.steps = steps
        self.over = over
        self.failure = failure  # why the environment broke, until reported by the next `step`


_NOBODY = Board(None)


class Lifted:
    """A `Game` made of a batch of single boards.

    An exception in the author's code, or a value that is not finite, voids that game alone: it is reported in the next
    `Outcome.failed` and the board stays over until it is restarted.
    """

    def __init__(self, spec: GameSpec, new: Callable[[np.random.Generator], Any]) -> None:
        self.spec = spec
        self._new = new
        self._nature = np.random.Philox(key=0)
        self._rng = np.random.Generator(self._nature)
        self._fresh_state = self._nature.state

    def start(self, keys: Keys) -> list[Board]:
        return [self._make(None, key) for key in keys.tolist()]

    def restart(self, states: list[Board], rows: Rows, keys: Keys) -> None:
        for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
            states[row] = self._make(states[row], key)

    def decisions(self, states: list[Board], out: Decisions | None = None) -> Decisions:
        if out is None:
            out = Decisions.empty(self.spec, len(states))
        observation, state, sighted = out.observation, None if out.blind else out.global_state, not out.blind
        if sighted:
            observation[:] = 0
        out.legal[:] = False
        out.active[:] = False
        if state is not None:
            state[:] = 0
        simultaneous = self.spec.simultaneous
        # Of every seat that acts: its row, its number and its legal actions. Written at once, which is far faster than
        # row by row; as three lists, which give the garbage collector less to do than one of tuples.
        rows: list[int] = []
        acting: list[int] = []
        allowed: list[list[int]] = []
        for row, board in enumerate(states):
            if board.over or board.failure is not None:
                if state is not None and board.over and board.single is not None and not board.single.over:
                    board.single.state(state[row])  # it was cut: learners bootstrap from here
                continue
            single = board.single
            try:
                seats = board.seats = tuple(single.seats)
                if not seats:
                    raise ValueError("nobody acts, though the game is not over")
                for seat in seats if simultaneous else seats[:1]:
                    if sighted:
                        single.observe(seat, observation[row, seat if simultaneous else 0])
                    actions = single.legal(seat)
                    allowed.append(actions if type(actions) is list else list(actions))
                    acting.append(seat)
                    rows.append(row)
                if state is not None:
                    single.state(state[row])
            except Exception as error:
                board.failure = self._describe(error, "was asked who acts")
        if rows:
            self._mark(states, out, rows, acting, allowed)
        for seen, what in ((observation, "an observation"), (state, "a global state")):
            if seen is not None and sighted and not np.isfinite(np.add.reduce(seen, axis=None)):
                self._void_unfinite(states, seen, what)
        for row in [row for row, board in enumerate(states) if board.failure is not None]:
            observation[row] = 0
            out.legal[row] = False
            out.active[row] = False
            if state is not None:
                state[row] = 0
        return out

    def observe(self, states: list[Board], rows: Rows, seats: Rows, out: NDArray[np.float32]) -> None:
        out[:] = 0
        for i, (row, seat) in enumerate(zip(rows.tolist(), seats.tolist(), strict=True)):
            if states[row].single is not None:
                states[row].single.observe(seat, out[i])

    def step(self, states: list[Board], actions: NDArray[np.int64], keys: Keys) -> Outcome:
        outcome = Outcome.empty(self.spec, len(states))
        reward, longest, stochastic = outcome.reward, self.spec.longest, self.spec.stochastic
        simultaneous, seats = self.spec.simultaneous, self.spec.seats
        step_keys = keys.tolist() if stochastic else None
        idle: NDArray[np.bool_] = np.all(actions < 0, axis=1)
        for row, (board, chosen, rests) in enumerate(zip(states, actions.tolist(), idle.tolist(), strict=True)):
            if board.failure is not None:
                outcome.failed[row], board.failure = board.failure, None
                continue
            if rests or board.over:
                continue
            single = board.single
            if step_keys is not None:
                self._seed(step_keys[row])
            try:
                earned = single.step([chosen[s] for s in board.seats] if simultaneous else chosen, self._rng)
                if len(earned) != seats:
                    raise ValueError(f"{len(earned)} rewards for {seats} seats")
                if any(earned):
                    reward[row] = earned
                board.steps += 1
                if single.over:
                    board.over = outcome.terminated[row] = True
                elif getattr(single, "truncated", False) or board.steps >= longest:
                    board.over = outcome.truncated[row] = True
                if stochastic:
                    outcome.chance[row] = getattr(single, "chance", 0)
            except Exception as error:
                outcome.failed[row] = self._describe(error, f"played {chosen} at step {board.steps}")
        if not np.isfinite(np.add.reduce(reward, axis=None)):
            for row in np.flatnonzero(~np.isfinite(reward).all(axis=1)).tolist():
                outcome.failed[row] = f"{self.spec.name} gave a reward that is not finite: {reward[row].tolist()}."
        for row in outcome.failed:
            states[row].over, states[row].single = True, None
            reward[row] = 0
            outcome.terminated[row] = outcome.truncated[row] = False
        return outcome

    def copy(self, states: list[Board], rows: Rows) -> list[Board]:
        originals = [states[row] for row in rows.tolist()]
        return [
            Board(None if o.single is None else o.single.copy(), o.seats, o.steps, o.over, o.failure) for o in originals
        ]

    def room(self, count: int) -> list[Board]:
        return [Board(None, over=True)] * count

    def put(self, states: list[Board], rows: Rows, other: list[Board]) -> None:
        for row, board in zip(rows.tolist(), other, strict=True):
            states[row] = board

    def resample(self, states: list[Board], rows: Rows, seats: Rows, keys: Keys) -> list[Board]:
        """As `Game` describes it, for authors who write `resample`: the worlds of `rows` [n], as a new batch."""
        worlds = []
        for row, seat, key in zip(rows.tolist(), seats.tolist(), keys.tolist(), strict=True):
            board = states[row]
            world = Board(None, board.seats, board.steps, board.over, board.failure)
            if board.single is not None:
                self._seed(key)
                try:
                    world.single = board.single.resample(seat, self._rng)
                    world.seats = tuple(world.single.seats)
                except Exception as error:
                    world.failure = self._describe(error, f"was drawn anew for seat {seat} at step {board.steps}")
            worlds.append(world)
        return worlds

    def text(self, states: list[Board], row: int, seat: int) -> str:
        single = states[row].single
        return str(single.text(seat)) if hasattr(single, "text") else repr(single)

    def action_name(self, states: list[Board], row: int, seat: int, action: int) -> str:
        single = states[row].single
        return str(single.action_name(seat, action)) if hasattr(single, "action_name") else str(action)

    def scene(self, states: list[Board], row: int, seat: int) -> Scene | None:
        """As `games.scene` describes it; None where the author draws nothing, or the board broke."""
        draw = getattr(states[row].single, "scene", None)
        found: Scene | None = draw(seat) if draw is not None else None
        return found

    def _make(self, old: Board | None, key: int) -> Board:
        self._seed(key)
        board = Board(None)
        try:
            reuse = None if old is None else old.single
            if reuse is not None and hasattr(reuse, "restart"):
                reuse.restart(self._rng)
                board.single = reuse
            else:
                board.single = self._new(self._rng)
        except Exception as error:
            board.failure = self._describe(error, "was started")
        return board

    def _seed(self, key: int) -> None:
        """Point nature's generator at `key`: a fresh Philox stream, without building a new object."""
        state = self._fresh_state
        state["state"]["key"][0] = key
        self._nature.state = state

    def _mark(
        self, states: list[Board], out: Decisions, rows: list[int], acting: list[int], allowed: list[list[int]]
    ) -> None:
        """Write who acts and what each may do. Boards that ask for what there is not are blamed and left out."""
        spec = self.spec
        try:
            seats, actions = np.array(acting, np.int64), _end_to_end(allowed, spec.actions)
            counts = np.fromiter(map(len, allowed), np.int64, len(allowed))
            sound = counts.min() > 0 and _within(seats, spec.seats) and _within(actions, spec.actions)
        except (TypeError, ValueError, OverflowError):
            sound = False
        if sound:
            place: NDArray[np.int64] = np.array(rows) * spec.slots
            if spec.simultaneous:
                place += seats
            np.put(out.active, place, True)
            np.put(out.seat, place, seats)
            np.put(out.legal, np.repeat(place * spec.actions, counts) + actions, True)
            return
        kept = []
        for i, row in enumerate(rows):
            fault = self._fault(states[row], acting[i], allowed[i])
            if fault is None:
                kept.append(i)
            states[row].failure = states[row].failure or fault
        if kept:
            self._mark(states, out, [rows[i] for i in kept], [acting[i] for i in kept], [allowed[i] for i in kept])

    def _fault(self, board: Board, seat: int, actions: list[int]) -> str | None:
        """What is wrong with a seat that was asked to act, or with its actions; None where nothing is."""
        spec, when = self.spec, f"at step {board.steps}"
        try:
            array("q", [seat, *actions])
        except (TypeError, ValueError, OverflowError) as error:
            return self._describe(error, "was asked who acts")
        if not 0 <= seat < spec.seats:
            return f"{spec.name} asks seat {seat} to act {when}; there are {spec.seats}."
        if not actions:
            return f"{spec.name} leaves seat {seat} no legal action {when}."
        wrong = [action for action in actions if not 0 <= action < spec.actions]
        return f"{spec.name} allows action {wrong[0]} {when}; there are {spec.actions}." if wrong else None

    def _void_unfinite(self, states: list[Board], seen: NDArray[np.float32], what: str) -> None:
        bad = ~np.isfinite(seen.reshape(len(states), -1)).all(axis=1)
        for row in np.flatnonzero(bad).tolist():
            board = states[row]
            if not board.over:
                board.failure = f"{self.spec.name} gave {what} that is not finite at step {board.steps}."

    def _describe(self, error: Exception, when: str) -> str:
        return f"{self.spec.name} raised {type(error).__name__} when it {when}: {error}"


def _end_to_end(lists: Sequence[list[int]], limit: int) -> NDArray[Any]:
    """Lists of numbers below `limit` as one array. Raises TypeError, ValueError or OverflowError for other things."""
    if limit <= 256:  # as single bytes, several times faster
        return np.frombuffer(b"".join(map(bytearray, lists)), np.uint8)
    joined = array("q")
    for numbers in lists:
        joined.fromlist(numbers)
    return np.frombuffer(joined, np.int64)


def _within(numbers: NDArray[Any], limit: int) -> bool:
    return bool(numbers.min() >= 0 and numbers.max() < limit)


def lift(single: Any) -> Lifted:
    """Lift a `Single` class (with a `spec` attribute) to a batch game."""
    return Lifted(single.spec, single)
