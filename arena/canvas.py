"""Paper for boards in characters: shapes as half blocks of two pixels each, with text and thin lines on top.

A character is taken to be twice as high as wide, so a pixel (▀ in one colour on another) is square. Shapes are sampled
finer than that and averaged. What is thinner than a pixel is a character instead: box-drawing lines, ● for a disc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.text import Text

from games.scene import COLOURS, Box, Disc, Drawing, Image, Label, Line, Place, Point, Polygon, Shape

FINE = 4  # samples along each side of a pixel
THIN = 1.3  # pixels; a disc of a smaller radius is a character
TINTS = {"chosen": "#3b82f6", "hint": "#22c55e", "last": "#eab308", "heat": "#f97316"}
STROKES = " ╵╶└╷│┌├╴┘─┴┐┤┬┼"  # by which of north (1), east (2), south (4) and west (8) a line goes to

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Area:
    """Part of a scene: the box it lies in, and which points of it belong: x [1, n] and y [m, 1] in cells -> [m, n]."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    inside: Callable[[Floats, Floats], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Marks:
    """Signs on places, by their indices in `Scene.places`."""

    last: tuple[tuple[float, float, float], ...] = ()
    """Where the last move was: `Place.mark` as it was then, for a place may have moved on with what was played."""
    chosen: int | None = None  # the first place of a move of two
    cursor: int | None = None
    hint: tuple[int, ...] = ()
    heat: Mapping[int, float] = field(default_factory=dict)  # share of a policy, 0 to 1


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a scene lies on the screen: characters for one cell, and the shift that puts cells on whole characters."""

    wide: float  # characters
    high: float
    left: float
    top: float
    columns: int
    rows: int

    def column(self, x: float) -> int:
        """The character that x falls into; the left one on a border."""
        return min(max(math.ceil(x * self.wide + self.left - 1e-6) - 1, 0), self.columns - 1)

    def row(self, y: float) -> int:
        return min(max(math.ceil(y * self.high + self.top - 1e-6) - 1, 0), self.rows - 1)

    def xs(self, columns: NDArray[np.floating]) -> Floats:
        """Positions in characters as cells."""
        return ((columns - self.left) / self.wide).astype(np.float32)

    def ys(self, rows: NDArray[np.floating]) -> Floats:
        return ((rows - self.top) / self.high).astype(np.float32)


class Canvas:
    """Paper to paint on: samples for the shapes, and a layer of characters over them."""

    def __init__(self, grid: Grid, dark: bool) -> None:
        self.grid, self.dark = grid, dark
        size = (grid.rows, grid.columns)
        self.fine = np.empty((grid.rows * 2 * FINE, grid.columns * FINE, 3), np.float32)
        self.fine[:] = self.rgb("paper")
        self.xs = grid.xs((np.arange(self.fine.shape[1]) + 0.5) / FINE)
        self.ys = grid.ys((np.arange(self.fine.shape[0]) + 0.5) / (2 * FINE))
        self.glyphs = np.full(size, "", dtype=object)
        self.ink = np.zeros((*size, 3), np.float32)
        self.bold = np.zeros(size, np.bool_)
        self.strokes = np.zeros(size, np.uint8)
        self.stroke_ink = np.zeros((*size, 3), np.float32)

    def rgb(self, colour: str) -> Floats:
        """A role of `COLOURS`, or #rrggbb, as numbers from 0 to 255."""
        shown = COLOURS[colour][self.dark] if colour in COLOURS else colour
        return np.array([int(shown[i : i + 2], 16) for i in (1, 3, 5)], np.float32)

    def draw(self, shape: Shape) -> None:
        match shape:
            case Box(x, y, width, height, fill, corner):
                self.fill(_box(x, y, width, height, corner), fill)
            case Disc(x, y, radius, fill, edge):
                self._disc(x, y, radius, fill, edge)
            case Line(x1, y1, x2, y2, colour, width):
                self._line((x1, y1), (x2, y2), colour, width)
            case Polygon(points, fill, edge):
                self.fill(within(points), fill)
                if edge:
                    for a, b in zip(points, (*points[1:], points[0]), strict=True):
                        self.fill(_near(a, b, self.pixel * 0.35, self.ratio), edge)
            case Label(x, y, text, _, colour):
                self.write(x, y, text, colour)
            case Drawing(x, y, _, _, _, text, colour):
                self.write(x, y, text, colour, bold=True)
            case Image():
                self._image(shape)

    @property
    def pixel(self) -> float:
        """Its width in cells."""
        return 1 / self.grid.wide

    @property
    def ratio(self) -> float:
        """How much wider a cell is than high, in pixels."""
        return self.grid.wide / (2 * self.grid.high)

    def fill(self, area: Area, colour: str, strength: float = 1.0) -> None:
        """Paint `area`; what is painted at full strength hides the characters under it."""
        rows, columns = window(area, self.xs, self.ys)
        covered = area.inside(self.xs[None, columns], self.ys[rows, None])
        part = self.fine[rows, columns]
        part[covered] += (self.rgb(colour) - part[covered]) * strength
        if strength == 1:  # a character is hidden with its middle
            down, across = np.nonzero(covered)
            down, across = down + rows.start, across + columns.start
            middle = (down % (2 * FINE) == FINE) & (across % FINE == FINE // 2)
            hidden = down[middle] // (2 * FINE), across[middle] // FINE
            self.glyphs[hidden], self.strokes[hidden] = "", 0

    def write(self, x: float, y: float, text: str, colour: str, *, bold: bool = False) -> None:
        """One line of text around (x, y), cut at the edges."""
        row = self.grid.row(y)
        column = self.grid.column(x - (cell_len(text) - 1) / 2 / self.grid.wide)
        column = max(min(column, self.grid.columns - cell_len(text)), 0)
        for letter in text:
            wide = cell_len(letter)
            if wide == 0 or column + wide > self.grid.columns:
                continue
            self.glyphs[row, column : column + wide] = [letter, ""][:wide]
            self.ink[row, column : column + wide] = self.rgb(colour)
            self.bold[row, column : column + wide] = bold
            self.strokes[row, column : column + wide] = 0
            column += wide

    def sign(self, places: tuple[Place, ...], cells: tuple[tuple[int, int], ...], marks: Marks) -> None:
        """Draw `marks` over the board."""
        for index, share in marks.heat.items():
            self._tint(places[index], "heat", 0.85 * math.sqrt(share))
            if self.grid.wide >= 4 and self.grid.high >= 2 and share >= 0.005 and not self.glyphs[cells[index]]:
                x, y, _ = places[index].mark
                self.write(x, y, f"{min(share, 0.99):.0%}"[:-1], "white")
        for index in marks.hint:
            self._tint(places[index], "hint", 0.6)
        if marks.chosen is not None:
            self._tint(places[marks.chosen], "chosen", 0.6)
        for x, y, radius in marks.last:
            cell = self.grid.row(y), self.grid.column(x)
            if self.glyphs[cell] == "●":
                self.glyphs[cell] = "◉"
            elif self.glyphs[cell]:
                self.fill(_box(x - radius, y - radius, 2 * radius, 2 * radius), TINTS["last"], 0.45)
            else:
                self._contrast(cell, "•")
        if marks.cursor is not None:
            self._cursor(cells[marks.cursor])

    def text(self) -> Text:
        """All of it, with neighbours of one style in one piece."""
        high, wide = self.grid.rows * 2, self.grid.columns
        pixels = _hex(self.fine.reshape(high, FINE, wide, FINE, 3).mean(axis=(1, 3)))
        mixed = _hex(self.fine.reshape(high // 2, 2 * FINE, wide, FINE, 3).mean(axis=(1, 3)))
        upper, lower, ink, stroke_ink = pixels[::2], pixels[1::2], _hex(self.ink), _hex(self.stroke_ink)
        lines = []
        for row in range(self.grid.rows):
            line, pending, style = Text(no_wrap=True, end=""), "", Style.null()
            for column in range(wide):
                at = row, column
                if self.glyphs[at]:
                    letter, new = self.glyphs[at], _style(int(ink[at]), int(mixed[at]), bool(self.bold[at]))
                elif column > 0 and cell_len(self.glyphs[row, column - 1]) == 2:
                    continue
                elif upper[at] != lower[at]:
                    letter, new = "▀", _style(int(upper[at]), int(lower[at]))
                else:
                    letter, new = STROKES[self.strokes[at]], _style(int(stroke_ink[at]), int(upper[at]))
                if new is not style:
                    line.append(pending, style)
                    pending, style = "", new
                pending += letter
            line.append(pending, style)
            lines.append(line)
        return Text("\n", no_wrap=True).join(lines)

    def _disc(self, x: float, y: float, radius: float, fill: str, edge: str) -> None:
        size = radius * min(self.grid.wide, 2 * self.grid.high)  # in pixels
        if size < THIN:
            self.write(x, y, "●" if size >= 0.5 else "•", fill)
            return
        if edge and size >= 3:
            self.fill(_round(x, y, radius), edge)
            radius -= self.pixel * 0.7
        self.fill(_round(x, y, radius), fill)

    def _line(self, a: Point, b: Point, colour: str, width: float) -> None:
        straight = a[0] == b[0] or a[1] == b[1]
        if not straight or width * self.grid.wide >= 1:
            self.fill(_near(a, b, max(width, self.pixel * 0.8) / 2, self.ratio), colour)
            return
        # Characters that the line enters: on a border between cells it keeps to the right and to below.
        columns = sorted(math.floor(x * self.grid.wide + self.grid.left + 1e-6) for x in (a[0], b[0]))
        rows = sorted(math.floor(y * self.grid.high + self.grid.top + 1e-6) for y in (a[1], b[1]))
        along = (columns, rows)[a[0] == b[0]]
        before, after = (8, 2) if a[1] == b[1] else (1, 4)
        for at in range(along[0], along[1] + 1):
            row, column = (rows[0], at) if a[1] == b[1] else (at, columns[0])
            row, column = min(row, self.grid.rows - 1), min(column, self.grid.columns - 1)
            self.strokes[row, column] |= (before if at > along[0] else 0) | (after if at < along[1] else 0)
            self.stroke_ink[row, column] = self.rgb(colour)
            self.glyphs[row, column] = ""

    def _image(self, image: Image) -> None:
        high, wide = image.pixels.shape[:2]
        across = np.floor((self.xs - image.x) / image.width * wide).astype(np.int64)
        down = np.floor((self.ys - image.y) / image.height * high).astype(np.int64)
        columns, rows = (across >= 0) & (across < wide), (down >= 0) & (down < high)
        self.fine[np.ix_(rows, columns)] = image.pixels[np.ix_(down[rows], across[columns])]

    def _tint(self, place: Place, sign: str, strength: float) -> None:
        x, y, radius = place.mark
        if (
            radius * min(self.grid.wide, 2 * self.grid.high) < 1.25 * THIN
            or self.glyphs[self.grid.row(y), self.grid.column(x)]
        ):
            self.fill(_box(x - radius, y - radius, 2 * radius, 2 * radius), TINTS[sign], strength)
        else:
            self.fill(_round(x, y, radius * 0.8), TINTS[sign], strength)

    def _contrast(self, cell: tuple[int, int], letter: str) -> None:
        """Write `letter` so that it stands out from what is painted there."""
        row, column = cell
        ground = self.fine[2 * FINE * row : 2 * FINE * (row + 1), FINE * column : FINE * (column + 1)].mean()
        self.glyphs[cell], self.bold[cell], self.strokes[cell] = letter, True, 0
        self.ink[cell] = self.rgb("white" if ground < 110 else "black")

    def _cursor(self, cell: tuple[int, int]) -> None:
        """Brackets around a place, or its one character on another ground."""
        row, column = cell
        reach = int(self.grid.wide) // 2
        left, right = column - reach + (int(self.grid.wide) % 2 == 0), column + reach
        if reach == 0 or left < 0 or right >= self.grid.columns or left == column:
            self.glyphs[cell] = self.glyphs[cell] or " "
            self.fine[2 * FINE * row : 2 * FINE * (row + 1), FINE * column : FINE * (column + 1)] = self.rgb(
                TINTS["chosen"]
            )
            return
        self._contrast((row, left), "[")
        self._contrast((row, right), "]")


def _hex(colours: Floats) -> NDArray[np.int32]:
    """[..., 3] numbers from 0 to 255 as one, 0xrrggbb."""
    return np.asarray(colours.round().astype(np.int32) @ np.array([65536, 256, 1], np.int32))


@lru_cache(4096)
def _style(ink: int, paper: int, bold: bool = False) -> Style:
    """Colours as 0xrrggbb."""
    of_ink, of_paper = (Color.from_rgb(colour >> 16, colour >> 8 & 255, colour & 255) for colour in (ink, paper))
    return Style(color=of_ink, bgcolor=of_paper, bold=bold or None)


def _box(x: float, y: float, width: float, height: float, corner: float = 0.0) -> Area:
    def inside(xs: Floats, ys: Floats) -> NDArray[np.bool_]:
        across = np.abs(xs - x - width / 2) - width / 2 + corner  # how far beyond where the rounding begins
        down = np.abs(ys - y - height / 2) - height / 2 + corner
        if corner == 0:
            return np.asarray((across <= 0) & (down <= 0))
        return np.asarray(np.maximum(across, 0) ** 2 + np.maximum(down, 0) ** 2 <= corner**2)

    return Area((x, y, x + width, y + height), inside)


def _round(x: float, y: float, radius: float) -> Area:
    box = (x - radius, y - radius, x + radius, y + radius)
    return Area(box, lambda xs, ys: np.asarray((xs - x) ** 2 + (ys - y) ** 2 <= radius**2))


def within(points: tuple[Point, ...]) -> Area:
    """Inside a polygon, by how many of its sides lie to the right."""

    def inside(xs: Floats, ys: Floats) -> NDArray[np.bool_]:
        odd = np.zeros(np.broadcast_shapes(xs.shape, ys.shape), np.bool_)
        for (x1, y1), (x2, y2) in zip(points, (*points[1:], points[0]), strict=True):
            if y1 != y2:
                odd ^= ((ys < y1) != (ys < y2)) & (xs < x1 + (ys - y1) * (x2 - x1) / (y2 - y1))
        return odd

    return Area(_around(points, 0.0), inside)


def _near(a: Point, b: Point, half: float, ratio: float) -> Area:
    """Within `half` a line's width, in cells across, of the way from `a` to `b`; pixels may be `ratio` off square."""

    def inside(xs: Floats, ys: Floats) -> NDArray[np.bool_]:
        along, up = b[0] - a[0], (b[1] - a[1]) / ratio
        dx, dy = xs - a[0], (ys - a[1]) / ratio
        t = np.clip((dx * along + dy * up) / max(along**2 + up**2, 1e-12), 0, 1)
        return np.asarray((dx - t * along) ** 2 + (dy - t * up) ** 2 <= half**2)

    return Area(_around((a, b), half * max(ratio, 1.0)), inside)


def _around(points: Sequence[Point], margin: float) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin


def window(area: Area, xs: Floats, ys: Floats) -> tuple[slice, slice]:
    """The part of a raster at columns `xs` and rows `ys` that may belong to `area`."""
    left, top, right, bottom = area.box
    columns, rows = np.searchsorted(xs, (left, right)), np.searchsorted(ys, (top, bottom))
    return slice(max(int(rows[0]) - 1, 0), int(rows[1]) + 1), slice(max(int(columns[0]) - 1, 0), int(columns[1]) + 1)
