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
the last step), `state(out)` (the global state), `text(seat)`, `action_name(seat, action)`, and `restart(rng)` (reuse
this object for the next game where making one is costly).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from games.core import Decisions, GameSpec, Keys, Outcome, Rows


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

    def __init__(self, single: Any) -> None:
        self.single = single
        self.seats: tuple[int, ...] = ()  # who was asked to act, as of the last `decisions`
        self.steps = 0
        self.over = False
        self.failure: str | None = None  # why the environment broke, until reported by the next `step`


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
        asked: list[tuple[int, int]] = []  # row and slot of every seat that acts
        allowed = array("q")  # their legal actions, end to end: one write for the batch is far faster than one a row
        begins: list[int] = []  # where the actions of each begin
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
                for acting in seats if simultaneous else seats[:1]:
                    slot = acting if simultaneous else 0
                    if sighted:
                        single.observe(acting, observation[row, slot])
                    out.seat[row, slot] = acting
                    asked.append((row, slot))
                    begins.append(len(allowed))
                    allowed.fromlist(list(single.legal(acting)))
                if state is not None:
                    single.state(state[row])
            except Exception as error:
                board.failure = self._describe(error, "was asked who acts")
        if asked:
            self._mark(states, out, np.array(asked), np.diff([*begins, len(allowed)]), np.frombuffer(allowed, np.int64))
        for seen, what in ((observation, "an observation"), (state, "a global state")):
            if seen is not None and sighted and not np.isfinite(np.add.reduce(seen, axis=None)):
                self._void_unfinite(states, seen, what)
        for row, board in enumerate(states):
            if board.failure is not None:
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
        for row, (board, chosen) in enumerate(zip(states, actions.tolist(), strict=True)):
            if board.failure is not None:
                outcome.failed[row], board.failure = board.failure, None
                continue
            if board.over or max(chosen) < 0:
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
        copies = []
        for row in rows.tolist():
            board = states[row]
            twin = Board(board.single.copy())
            twin.seats, twin.steps, twin.over, twin.failure = board.seats, board.steps, board.over, board.failure
            copies.append(twin)
        return copies

    def put(self, states: list[Board], rows: Rows, other: list[Board]) -> None:
        for row, board in zip(rows.tolist(), other, strict=True):
            states[row] = board

    def text(self, states: list[Board], row: int, seat: int) -> str:
        single = states[row].single
        return str(single.text(seat)) if hasattr(single, "text") else repr(single)

    def action_name(self, states: list[Board], row: int, seat: int, action: int) -> str:
        single = states[row].single
        return str(single.action_name(seat, action)) if hasattr(single, "action_name") else str(action)

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
        self,
        states: list[Board],
        out: Decisions,
        asked: NDArray[np.int64],
        counts: NDArray[np.int64],
        allowed: NDArray[np.int64],
    ) -> None:
        """Write who acts, `asked` [n, 2] as (row, slot), and what each may do: the next `counts` [n] of `allowed`."""
        rows, slots = asked.T
        out.active[rows, slots] = True
        seats = out.seat[rows, slots]
        for i in np.flatnonzero((seats < 0) | (seats >= self.spec.seats) | (counts == 0)).tolist():
            board = states[rows[i]]
            board.failure = board.failure or (
                f"{self.spec.name} leaves seat {seats[i]} no legal action at step {board.steps}."
                if 0 <= seats[i] < self.spec.seats
                else f"{self.spec.name} asks seat {seats[i]} to act at step {board.steps}; there are {self.spec.seats}."
            )
        whose = np.repeat(np.arange(len(asked)), counts)
        wrong = (allowed < 0) | (allowed >= self.spec.actions)
        for i in np.flatnonzero(wrong).tolist():
            board = states[rows[whose[i]]]
            board.failure = (
                f"{self.spec.name} allows action {allowed[i]} at step {board.steps}; there are {self.spec.actions}."
            )
        whose, allowed = whose[~wrong], allowed[~wrong]
        out.legal[rows[whose], slots[whose], allowed] = True

    def _void_unfinite(self, states: list[Board], seen: NDArray[np.float32], what: str) -> None:
        bad = ~np.isfinite(seen.reshape(len(states), -1)).all(axis=1)
        for row in np.flatnonzero(bad).tolist():
            board = states[row]
            if not board.over:
                board.failure = f"{self.spec.name} gave {what} that is not finite at step {board.steps}."

    def _describe(self, error: Exception, when: str) -> str:
        return f"{self.spec.name} raised {type(error).__name__} when it {when}: {error}"


def lift(single: Any) -> Lifted:
    """Lift a `Single` class (with a `spec` attribute) to a batch game."""
    return Lifted(single.spec, single)
