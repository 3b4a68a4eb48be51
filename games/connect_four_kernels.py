"""The moving parts of Connect Four, compiled: bitboards in, caller's arrays out, nothing allocated.

A column takes seven bits, six cells and an empty one on top, so shifted boards never wrap around into a neighbour:
cell (row, column), row 0 at the bottom, is bit 7 * column + row. A position is `mine`, the discs of the seat to move,
and `all`, every disc; adding a column's lowest bit to `all` carries up to its first empty cell (the representation of
J. Tromp's Fhourstones).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.connect_four import COLUMNS, ROWS
from games.kernels import kernel

_ONE = np.uint64(1)


@kernel
def _cell(row: int, column: int) -> np.uint64:
    return _ONE << np.uint64(7 * column + row)


@kernel
def _four(discs: np.uint64) -> bool:
    """Whether four of `discs` stand in a line: up, level, and the two diagonals."""
    for shift in (np.uint64(1), np.uint64(7), np.uint64(6), np.uint64(8)):
        pairs = discs & (discs >> shift)
        if pairs & (pairs >> (shift + shift)):
            return True
    return False


@kernel
def _see(state: Any, seat: int, out: NDArray[np.float32]) -> None:
    """Write the planes of `seat` into out [2, 6, 7]: its discs, the other's."""
    mine = state.mine if seat == state.plies & 1 else state.mine ^ state.all
    theirs = mine ^ state.all
    for row in range(ROWS):  # no branches: boards differ from step to step, and wrong guesses cost thrice the work
        for column in range(COLUMNS):
            cell = np.uint64(7 * column + row)
            out[0, row, column] = (mine >> cell) & _ONE
            out[1, row, column] = (theirs >> cell) & _ONE


@kernel
def take(states: NDArray[np.void], rows: NDArray[np.int64], out: NDArray[np.void]) -> None:
    """Copy `rows` [n] of `states` into out [n]: several times faster than indexing a structured array."""
    for i in range(len(rows)):
        out[i] = states[rows[i]]


@kernel
def put(states: NDArray[np.void], rows: NDArray[np.int64], other: NDArray[np.void]) -> None:
    """Copy other [n] into `rows` [n] of `states`."""
    for i in range(len(rows)):
        states[rows[i]] = other[i]


@kernel
def decisions(
    states: NDArray[np.void],
    observation: NDArray[np.float32],
    legal: NDArray[np.bool_],
    seat: NDArray[np.int16],
    active: NDArray[np.bool_],
    blind: bool,
) -> None:
    """`Game.decisions` into the fields of a `Decisions`, [B, 1, ...] each."""
    for b in range(len(states)):
        state = states[b]
        going = not state.over
        mover = state.plies & 1
        seat[b, 0] = mover
        active[b, 0] = going
        for column in range(COLUMNS):
            legal[b, 0, column] = going and not state.all & _cell(ROWS - 1, column)
        if not blind:
            _see(state, mover, observation[b, 0])


@kernel
def observe(
    states: NDArray[np.void], rows: NDArray[np.int64], seats: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """`Game.observe` into out [n, 2, 6, 7]."""
    for i in range(len(rows)):
        _see(states[rows[i]], seats[i], out[i])


@kernel
def step(
    states: NDArray[np.void],
    actions: NDArray[np.int64],
    reward: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    illegal: NDArray[np.bool_],
) -> None:
    """Drop a disc in column `actions[b, 0]` of every game that goes on; games given none (negative) stay as they are.

    The outputs come in as zeros: reward [B, 2], terminated [B], illegal [B] where the move cannot be made (nothing is).
    """
    for b in range(len(states)):
        state, column = states[b], actions[b, 0]
        if column < 0 or state.over:
            continue
        if column >= COLUMNS or state.all & _cell(ROWS - 1, column):
            illegal[b] = True
            continue
        mover, before = state.plies & 1, state.all
        state.all = before | (before + _cell(0, column))
        moved = state.mine | (before ^ state.all)
        state.mine = moved ^ state.all
        state.plies += 1
        if _four(moved):
            reward[b, mover], reward[b, 1 - mover] = 1, -1
            state.over = terminated[b] = True
        elif state.plies == ROWS * COLUMNS:
            state.over = terminated[b] = True
