"""Symmetries of boards: permutations of cells, and what they do to planes and actions (see `games.core.Symmetry`).

A permutation `cells` [n] says, for each cell of the transformed board, which original cell it is; cells are numbered
row by row. The identity is never among those given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from games.core import Symmetry

Cells = NDArray[np.int64]


def rectangle(rows: int, columns: int) -> list[Cells]:
    """Seven of a square board: its mirrors and quarter-turns. Three of another: two mirrors and the half-turn."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    turned = [np.rot90(grid, quarters) for quarters in range(4)]
    boards = [board for turn in turned for board in (turn, turn[:, ::-1]) if board.shape == grid.shape]
    return [board.ravel() for board in boards[1:]]


def half_turn(size: int) -> Cells:
    """A board of `size` cells turned upside down."""
    return np.arange(size)[::-1].copy()


def left_right(rows: int, columns: int) -> Cells:
    """A board mirrored, left to right."""
    return np.arange(rows * columns).reshape(rows, columns)[:, ::-1].ravel()


def relabelling(cells: Cells, planes: int | Sequence[int], actions: int) -> Symmetry:
    """What `cells` [n] does to a game in which action c is to play on cell c, and actions from n on (a pass) stay.

    An observation is so many planes [n], one after the other; or a list says which plane each becomes.
    """
    order = np.arange(planes) if isinstance(planes, int) else np.array(planes)
    return Symmetry(
        observation=(order[:, None] * len(cells) + cells).ravel(),
        action=np.concatenate([cells, np.arange(len(cells), actions)]),
    )
