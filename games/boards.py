"""Boards as `games.scene` draws them, from arrays of who is where: one function for each family of games."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from games.scene import Box, Disc, Label, Place, Scene, seat_colour


def connect_four_scene(cells: NDArray[np.float32], acts: bool = True) -> Scene:
    """A frame of discs: `cells` [rows, columns], the top row first, 1 for seat 0, -1 for seat 1, 0 for none.

    An action is a column; the whole column is clicked, and signs go where the disc would land. No moves unless the seat
    that looks `acts`.
    """
    rows, columns = cells.shape
    shapes: list[Box | Disc | Label] = [Box(0, 0, columns, rows, "blue", round=0.3)]
    for row in range(rows):
        for column in range(columns):
            owner = cells[row, column]
            fill = seat_colour(0) if owner > 0 else seat_colour(1) if owner < 0 else "paper"
            shapes.append(Disc(column + 0.5, row + 0.5, 0.4, fill))
    shapes += [Label(column + 0.5, rows + 0.3, str(column + 1), 0.32, "faint") for column in range(columns)]
    free = (cells == 0).sum(axis=0)  # [columns] empty cells, all above the discs
    places = tuple(
        Place(
            str(column + 1),
            ((column, 0.0), (column + 1.0, 0.0), (column + 1.0, float(rows)), (column, float(rows))),
            (column + 0.5, max(int(free[column]) - 0.5, 0.5), 0.4),
        )
        for column in range(columns)
    )
    moves = {column: (column,) for column in range(columns) if acts and free[column]}
    return Scene(columns, rows + 0.6, tuple(shapes), places, moves)
