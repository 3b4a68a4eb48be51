"""A scene in characters: half blocks of two pixels each, with text and thin lines on top.

`blocks` draws a `games.scene.Scene` for a terminal, and says which place lies under each character and which character
stands for each place; `arena.canvas` paints. It knows nothing of games, keys and mice: `arena.screen` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from arena.canvas import Canvas, Grid, Marks, window, within
from games.scene import Drawing, Image, Label, Place, Scene

TALLEST = 6  # rows of characters of one cell: a bigger board is no clearer; half of it where cells hold text


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """A board in characters."""

    text: Text  # `rows` lines of `columns` characters
    columns: int
    rows: int
    under: NDArray[np.int16]  # [rows, columns] the place under each character, -1 for none
    cells: tuple[tuple[int, int], ...]  # of each place: row and column of the character that stands for it

    def place_at(self, column: int, row: int) -> int | None:
        """The place under a character, counted from the upper left; None where there is none."""
        if not (0 <= column < self.columns and 0 <= row < self.rows) or self.under[row, column] < 0:
            return None
        return int(self.under[row, column])


NO_MARKS = Marks()


def can_show(console: Console, keyboard: TextIO) -> bool:
    """Whether a text interface can be shown: not in a pipe, nor on a terminal that is dumb or too small for one."""
    wide, high = console.size
    return console.is_terminal and not console.is_dumb_terminal and keyboard.isatty() and wide >= 60 and high >= 16


def blocks(scene: Scene, columns: int, rows: int, *, dark: bool = True, marks: Marks = NO_MARKS) -> Blocks | None:
    """`scene` as large as fits into `columns` by `rows` characters; None where its places could not be told apart."""
    for grid in _grids(scene, columns, rows):
        cells = tuple((grid.row(place.mark[1]), grid.column(place.mark[0])) for place in scene.places)
        if len(set(cells)) < len(cells):
            continue
        canvas = Canvas(grid, dark)
        for shape in scene.shapes:
            canvas.draw(shape)
        canvas.sign(scene.places, cells, marks)
        under = _under(scene.places, grid)
        for index, (row, column) in enumerate(cells):
            under[row, column] = index
        return Blocks(canvas.text(), grid.columns, grid.rows, under, cells)
    return None


def _grids(scene: Scene, columns: int, rows: int) -> list[Grid]:
    """The ways to lay `scene` out in that room, best first."""
    loose = not scene.places
    free = [_loose_grid(scene, columns, rows)] if loose and columns > 0 < rows else []
    if loose and any(isinstance(shape, Image) for shape in scene.shapes):
        return free
    step_x, step_y = (_step([place.mark[axis] for place in scene.places]) for axis in (0, 1))
    centred = _centred(scene)
    sizes = [(1, 1), (2, 1), (3, 1)]
    for lines in range(2, (TALLEST // 2 if centred else TALLEST) + 1):
        sizes += [(2 * lines, lines), (2 * lines + 1, lines)][: 2 if centred else 1]
    found = []
    for many, few in reversed(sizes):
        # Half a step is what lies between rows of hexagons: the steps' ratio keeps them in shape.
        wide: float = max(round(many * step_x), 1) / step_x
        high: float = max(round(few * step_y), 1) / step_y
        left, top = _shift(scene, 0, wide, step_x), _shift(scene, 1, high, step_y)
        lowest = max((text.y for text in _texts(scene)), default=0.0) * high + top
        size = math.ceil(scene.width * wide + left - 0.5), math.ceil(max(scene.height * high + top - 0.5, lowest))
        if size[0] <= columns and size[1] <= rows:
            found.append(Grid(wide, high, left, top, max(size[0], 1), max(size[1], 1)))
    if free and found and free[0].rows * free[0].columns > 1.5 * found[0].rows * found[0].columns:
        return free  # whole characters are not worth that much room
    return found + free


def _loose_grid(scene: Scene, columns: int, rows: int) -> Grid:
    high = min(rows / scene.height, columns / scene.width / 2)
    return Grid(
        2 * high, high, 0.0, 0.0, max(int(2 * high * scene.width + 1e-6), 1), max(int(high * scene.height + 1e-6), 1)
    )


def _step(marks: list[float]) -> float:
    """How far neighbouring places lie apart along an axis, in cells: a whole number of characters is made of it."""
    known = sorted({round(mark, 4) for mark in marks})
    gap = min((b - a for a, b in pairwise(known)), default=1.0)
    return gap / math.ceil(gap - 1e-3) if gap >= 0.4 else 1.0  # closer ones lie in no order


def _shift(scene: Scene, axis: int, scale: float, step: float) -> float:
    """What moves the first place's edge to the border of a character: a rim may be cut, text on it not."""
    if not scene.places:
        return 0.0
    edge = scene.places[0].mark[axis] - step / 2
    text = any((text.x, text.y)[axis] < edge for text in _texts(scene))
    return (math.ceil(edge * scale - 1e-6) if text else round(edge * scale)) - edge * scale


def _centred(scene: Scene) -> bool:
    """Whether places hold text, which has a middle only in an odd number of characters."""
    middles = {(round(place.mark[0], 2), round(place.mark[1], 2)) for place in scene.places}
    return any((round(text.x, 2), round(text.y, 2)) in middles for text in _texts(scene))


def _texts(scene: Scene) -> list[Label | Drawing]:
    return [shape for shape in scene.shapes if isinstance(shape, Label | Drawing)]


def _under(places: tuple[Place, ...], grid: Grid) -> NDArray[np.int16]:
    """[rows, columns]: the place that holds the middle of each character, the last of several; -1 for none."""
    under = np.full((grid.rows, grid.columns), -1, np.int16)
    xs, ys = grid.xs(np.arange(grid.columns) + 0.5)[None, :], grid.ys(np.arange(grid.rows) + 0.5)[:, None]
    for index, place in enumerate(places):
        area = within(place.outline)
        rows, columns = window(area, xs[0], ys[:, 0])
        under[rows, columns][area.inside(xs[:, columns], ys[rows])] = index
    return under
