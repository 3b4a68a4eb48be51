"""Connect Four, a batch at a time: the flagship game, written for speed (see `games/tic_tac_toe.py` for the easy way).

A batch is one structured array of bitboards; the kernels in `games.connect_four_kernels` do the work. They are loaded
when a game is made, so that reading `ConnectFour.spec` costs nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from games.boards import connect_four_scene
from games.core import Decisions, GameSpec, Keys, Outcome, Rows, Symmetry
from games.scene import Scene

ROWS, COLUMNS = 6, 7

STATE = np.dtype([("mine", np.uint64), ("all", np.uint64), ("plies", np.int64), ("over", np.bool_)], align=True)
"""One board: discs of the seat to move, discs of both (bit 7 * column + row), moves made, whether it has ended."""

_CELLS = np.arange(2 * ROWS * COLUMNS).reshape(2, ROWS, COLUMNS)
_MIRROR = Symmetry(observation=_CELLS[:, :, ::-1].ravel(), action=np.arange(COLUMNS)[::-1].copy())


class ConnectFour:
    """Seats 0 (x) and 1 (o) take turns. An observation is two planes, my discs and the other's, row 0 at the bottom."""

    spec = GameSpec(
        name="connect_four",
        seats=2,
        actions=COLUMNS,
        observation=(2, ROWS, COLUMNS),
        longest=ROWS * COLUMNS,
        searchable=True,
        symmetries=(_MIRROR,),
    )

    def __init__(self) -> None:
        from games import connect_four_kernels

        self._kernels = connect_four_kernels

    def start(self, keys: Keys) -> NDArray[np.void]:
        return np.zeros(len(keys), STATE)

    def restart(self, states: NDArray[np.void], rows: Rows, keys: Keys) -> None:
        states[rows] = np.zeros((), STATE)

    def decisions(self, states: NDArray[np.void], out: Decisions | None = None) -> Decisions:
        if out is None:
            out = Decisions.empty(self.spec, len(states))
        self._kernels.decisions(states, out.observation, out.legal, out.seat, out.active, out.blind)
        return out

    def observe(self, states: NDArray[np.void], rows: Rows, seats: Rows, out: NDArray[np.float32]) -> None:
        self._kernels.observe(states, rows, seats, out)

    def step(self, states: NDArray[np.void], actions: NDArray[np.int64], keys: Keys) -> Outcome:
        """As `Game.step`. A move in a full column, or outside the board, voids its game (`Outcome.failed`)."""
        outcome = Outcome.empty(self.spec, len(states))
        illegal = np.zeros(len(states), np.bool_)
        self._kernels.step(states, actions, outcome.reward, outcome.terminated, illegal)
        for row in np.flatnonzero(illegal).tolist():
            states["over"][row] = True
            outcome.failed[row] = f"connect_four: column {int(actions[row, 0]) + 1} is full or is not on the board."
        return outcome

    def copy(self, states: NDArray[np.void], rows: Rows) -> NDArray[np.void]:
        copies = np.empty(len(rows), STATE)
        self._kernels.take(states, rows, copies)
        return copies

    def room(self, count: int) -> NDArray[np.void]:
        return np.zeros(count, STATE)

    def put(self, states: NDArray[np.void], rows: Rows, other: NDArray[np.void]) -> None:
        self._kernels.put(states, rows, other)

    def text(self, states: NDArray[np.void], row: int, seat: int) -> str:
        planes = np.zeros((1, *self.spec.observation), np.float32)
        self.observe(states, np.array([row]), np.array([0]), planes)
        marks = np.where(planes[0, 0] > 0, "x", np.where(planes[0, 1] > 0, "o", "."))
        columns = " ".join(str(column + 1) for column in range(COLUMNS))
        return "\n".join([" ".join(line) for line in marks[::-1]] + [columns])

    def scene(self, states: NDArray[np.void], row: int, seat: int) -> Scene:
        planes = np.zeros((1, *self.spec.observation), np.float32)
        self.observe(states, np.array([row]), np.array([0]), planes)
        acts = not states["over"][row] and seat == states["plies"][row] % 2
        return connect_four_scene(planes[0, 0, ::-1] - planes[0, 1, ::-1], bool(acts))

    def action_name(self, states: NDArray[np.void], row: int, seat: int, action: int) -> str:
        """The column's number, from 1 at the left."""
        return str(action + 1)
