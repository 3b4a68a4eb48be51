"""The symmetries of some of OpenSpiel's board games, built from a board's shape.

Each was held against random games by the conformance kit (`games.check_probe`), from the start on: what does not keep
the starting position is no symmetry here. So othello has four of the square's eight, as a quarter-turn swaps the
colours of its first four discs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from games.core import Symmetry
from games.symmetries import Cells, half_turn, left_right, rectangle, relabelling


def symmetries(game: Any, shape: tuple[int, ...]) -> tuple[Symmetry, ...]:
    """Those of OpenSpiel's `game`, observed in `shape`, but for the identity; none where none are known."""
    kind = game.get_type()
    if kind.short_name not in _KNOWN:  # these have one kind of tensor only
        return ()
    params = kind.parameter_specification | game.get_parameters()
    if params.get("swap") or params.get("handicap"):  # moves and stones that are not symmetric
        return ()
    return tuple(_KNOWN[kind.short_name](game, shape))


def _on_cells(game: Any, cells: Iterable[Cells], planes: int | list[int]) -> list[Symmetry]:
    return [relabelling(board, planes, game.num_distinct_actions()) for board in cells]


def _square(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """All of a square's or rectangle's."""
    return _on_cells(game, rectangle(shape[1], shape[2]), shape[0])


def _othello(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """The half-turn and the two diagonals."""
    grid = np.arange(shape[1] * shape[2]).reshape(shape[1:])
    half = grid[::-1, ::-1]
    return _on_cells(game, (half.ravel(), grid.T.ravel(), half.T.ravel()), shape[0])


def _hex(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """The half-turn. Its planes tell stones joined to one edge from those joined to the other: these trade places."""
    edges = [0, 2, 1, 3, 4, 5, 7, 6, 8]
    return _on_cells(game, [half_turn(shape[1] * shape[2])], edges if shape[0] == 9 else shape[0])


def _y(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """Those of a triangle, the cells (row, column) with row + column < side of a square array."""
    side = shape[1]

    def turned(row: int, column: int) -> tuple[int, int]:
        return column, side - 1 - row - column

    return _on_cells(game, _hexagonal(side, turned, lambda row, column: row + column < side), shape[0])


def _havannah(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """Those of a hexagon, the cells less than half the array's width off its main diagonal."""
    side = shape[1]
    centre = side // 2

    def turned(row: int, column: int) -> tuple[int, int]:
        return centre + row - column, row

    return _on_cells(game, _hexagonal(side, turned, lambda row, column: abs(row - column) <= centre), shape[0])


def _hexagonal(
    side: int, turned: Callable[[int, int], tuple[int, int]], on_board: Callable[[int, int], bool]
) -> list[Cells]:
    """All that come of a rotation and of swapping rows and columns; cells of the array off the board stay."""
    inside = [(row, column) for row in range(side) for column in range(side) if on_board(row, column)]
    found: list[Cells] = []
    images = inside
    while True:
        for image in (images, [(column, row) for row, column in images]):
            cells = np.arange(side * side)
            cells[[row * side + column for row, column in inside]] = [row * side + column for row, column in image]
            found.append(cells)
        images = [turned(row, column) for row, column in images]
        if images == inside:
            return found[1:]


def _connect_four(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """The mirror. An action is a column."""
    mirror = left_right(shape[1], shape[2])
    planes = np.arange(shape[0])[:, None] * len(mirror)
    return [Symmetry(observation=(planes + mirror).ravel(), action=np.arange(shape[2])[::-1].copy())]


def _breakthrough(game: Any, shape: tuple[int, ...]) -> list[Symmetry]:
    """The mirror. An action is (row, column, direction, captures): three directions, left to right, for each seat."""
    mirror = left_right(shape[1], shape[2])
    planes = np.arange(shape[0])[:, None] * len(mirror)
    moves = np.arange(len(mirror) * 12).reshape(shape[1], shape[2], 2, 3, 2)
    return [Symmetry(observation=(planes + mirror).ravel(), action=moves[:, ::-1, :, ::-1].ravel())]


_KNOWN: dict[str, Callable[[Any, tuple[int, ...]], list[Symmetry]]] = {
    "breakthrough": _breakthrough,
    "connect_four": _connect_four,
    "go": _square,
    "havannah": _havannah,
    "hex": _hex,
    "mnk": _square,
    "othello": _othello,
    "tic_tac_toe": _square,
    "y": _y,
}
