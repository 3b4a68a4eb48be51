"""Boards, cards, dice and tables as `games.scene` draws them: empty boards, the pieces to put on them, whole scenes.

No rules and no game states here: a game says what stands where. What is the same in every scene of a game (an empty
board and its places) is made once and kept.
"""

from __future__ import annotations

import string
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from games.scene import (
    COLOURS,
    Box,
    Disc,
    Drawing,
    Label,
    Line,
    Place,
    Polygon,
    Scene,
    Shape,
    grid,
    hexagon,
    place,
    seat_colour,
)

Moves = Mapping[int, tuple[int, ...]]

GO_LETTERS = string.ascii_lowercase.replace("i", "")

_SIDE, _RIM = 0.6, 0.15  # room for coordinates, at the left and below; room elsewhere
_CROSS = "M2 2 L18 18 M18 2 L2 18"
_RING = "M10 2 A8 8 0 1 0 10 18 A8 8 0 1 0 10 2"
_PIPS = {  # where a die of that many shows them, in thirds of its side
    1: "11", 2: "00 22", 3: "00 11 22", 4: "00 02 20 22", 5: "00 02 11 20 22", 6: "00 01 02 20 21 22"
}  # fmt: skip
_GLYPHS = dict(zip("KQRBNPkqrbnp", "♔♕♖♗♘♙♚♛♜♝♞♟", strict=True))
_HEIGHT = 3**0.5 / 2  # from one row of hexagons to the next, where they are 1 wide


@dataclass(frozen=True, slots=True)
class Ground:
    """An empty board: what lies under the pieces, and its places."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    places: tuple[Place, ...]
    index: Mapping[str, int]  # of each place, by its name

    def scene(self, pieces: Iterable[Shape], moves: Moves) -> Scene:
        return Scene(self.width, self.height, (*self.shapes, *pieces), self.places, moves)


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


@cache
def lined(rows: int, columns: int, fill: str = "board", line: str = "rule") -> tuple[Shape, ...]:
    """A board of cells with lines between them."""
    across = [Line(0.08, row, columns - 0.08, row, line, 0.04) for row in range(1, rows)]
    down = [Line(column, 0.08, column, rows - 0.08, line, 0.04) for column in range(1, columns)]
    return (Box(0, 0, columns, rows, fill, 0.12), *across, *down)


def mark(seat: int, where: Place) -> Drawing:
    """The cross of seat 0 or the ring of seat 1."""
    x, y, radius = where.mark
    role, path = seat_colour(seat), (_CROSS, _RING)[seat]
    svg = f'<path d="{path}" fill="none" stroke="{COLOURS[role][0]}" stroke-width="3.4" stroke-linecap="round"/>'
    return Drawing(x, y, 1.15 * radius, svg, 20, "xo"[seat], role)


def man(where: Place, colour: str, text: str = "") -> list[Shape]:
    """A round piece, with a sign on it where it is no common man."""
    x, y, radius = where.mark
    disc = Disc(x, y, 0.76 * radius, colour, "black")
    return [disc, Label(x, y, text, 0.9 * radius, "black")] if text else [disc]


@cache
def squares(columns: tuple[str, ...], rows: tuple[str, ...], felt: bool = False) -> Ground:
    """A board of squares, chequered with the lower left one dark, or lined felt.

    `columns` from the left and `rows` from the top are the names at its edges; a square is called by both, as in e4.
    """
    wide, high = len(columns), len(rows)
    shapes: list[Shape] = [Box(_SIDE - 0.06, _RIM - 0.06, wide + 0.12, high + 0.12, "black", 0.08)]
    if felt:
        shapes.append(Box(_SIDE, _RIM, wide, high, "felt"))
        shapes += [Line(_SIDE, _RIM + row, _SIDE + wide, _RIM + row, "black") for row in range(1, high)]
        shapes += [Line(_SIDE + column, _RIM, _SIDE + column, _RIM + high, "black") for column in range(1, wide)]
    else:
        shapes.append(Box(_SIDE, _RIM, wide, high, "light"))
        shapes += [
            Box(_SIDE + column, _RIM + row, 1, 1, "dark")
            for row in range(high)
            for column in range(wide)
            if (high - 1 - row + column) % 2 == 0
        ]
    names = [column + row for row in rows for column in columns]
    return _grounded(shapes, columns, rows, grid(high, wide, names, _SIDE, _RIM))


@cache
def go_ground(size: int) -> Ground:
    """Lines on wood, with star points: stones stand where lines cross; a1 is at the lower left, i is left out."""
    columns, rows = tuple(GO_LETTERS[:size]), tuple(str(row) for row in range(size, 0, -1))
    first, last = 0.5, size - 0.5
    shapes: list[Shape] = [Box(_SIDE, _RIM, size, size, "wood", 0.15)]
    for at in range(size):
        width = 0.06 if at in (0, size - 1) else 0.03
        shapes.append(Line(_SIDE + first, _RIM + at + 0.5, _SIDE + last, _RIM + at + 0.5, "black", width))
        shapes.append(Line(_SIDE + at + 0.5, _RIM + first, _SIDE + at + 0.5, _RIM + last, "black", width))
    shapes += [Disc(_SIDE + x + 0.5, _RIM + y + 0.5, 0.1, "black") for x, y in _stars(size)]
    names = [column + row for row in rows for column in columns]
    return _grounded(shapes, columns, rows, grid(size, size, names, _SIDE, _RIM))


def stone(where: Place, colour: str) -> Disc:
    x, y, radius = where.mark
    return Disc(x, y, 0.94 * radius, colour, "black")


def _stars(size: int) -> list[tuple[int, int]]:
    """The points that players of Go mark, on boards on which it is usual."""
    if size < 7:
        return []
    edge = 3 if size >= 13 else 2
    lines = [edge, size // 2, size - 1 - edge] if size % 2 else [edge, size - 1 - edge]
    sides = size > 13  # their middles too
    return [(x, y) for x in lines for y in lines if sides or (x == size // 2) == (y == size // 2)]


def _grounded(shapes: list[Shape], columns: Sequence[str], rows: Sequence[str], places: tuple[Place, ...]) -> Ground:
    """A board of cells of size 1 with its coordinates at the left and below."""
    wide, high = len(columns), len(rows)
    shapes += [Label(_SIDE / 2, _RIM + i + 0.5, name, 0.32, "faint") for i, name in enumerate(rows)]
    shapes += [Label(_SIDE + i + 0.5, _RIM + high + _SIDE / 2, name, 0.32, "faint") for i, name in enumerate(columns)]
    index = {place.name: i for i, place in enumerate(places)}
    return Ground(_SIDE + wide + _RIM, _RIM + high + _SIDE, tuple(shapes), places, index)


@cache
def hexes(rows: tuple[tuple[float, str], ...], ends: tuple[tuple[float, float, str], ...], owned: bool) -> Ground:
    """A board of pointed hexagons, 1 wide.

    Of each of `rows`, from the top: the x of its first cell, and the letters of its cells, which are called by letter
    and row. `ends` are the letters at the heads of columns: x and row of the cell that would follow, and the letter.
    The rims of an `owned` board, a rhombus, are coloured: seat 0's above and below, seat 1's at the sides.
    """
    radius = 1 / 3**0.5
    left = 1.1 - min(offset for offset, _ in rows)
    top = 1.1

    def centre(x: float, row: float) -> tuple[float, float]:
        return left + x, top + row * _HEIGHT

    places = tuple(
        hexagon(f"{letter}{row + 1}", *centre(offset + i, row), radius)
        for row, (offset, letters) in enumerate(rows)
        for i, letter in enumerate(letters)
    )
    shapes: list[Shape] = list(_rims(places, len(rows), len(rows[0][1])) if owned else ())
    shapes += [Polygon(place.outline, "board", "rule") for place in places]
    shapes += [Label(*centre(x, row), letter, 0.34, "faint") for x, row, letter in ends]
    shapes += [Label(*centre(offset - 0.85, row), str(row + 1), 0.34, "faint") for row, (offset, _) in enumerate(rows)]
    width = max(offset + len(letters) for offset, letters in rows) + left
    height = 2 * top + (len(rows) - 1) * _HEIGHT - 0.4
    return Ground(width, height, tuple(shapes), places, {place.name: i for i, place in enumerate(places)})


def _rims(places: Sequence[Place], rows: int, columns: int) -> list[Polygon]:
    """The coloured edges of a rhombus. A hexagon's corners go clockwise from the top one."""
    sides = (  # cells, the corners between which their edges run, owner; the last drawn wins where two meet
        (range(0, rows * columns, columns), (3, 4, 5), 1),
        (range(columns - 1, rows * columns, columns), (0, 1, 2), 1),
        (range(columns), (5, 0, 1), 0),
        (range((rows - 1) * columns, rows * columns), (2, 3, 4), 0),
    )
    rims = []
    for cells, corners, owner in sides:
        for cell in cells:
            x, y, _ = places[cell].mark
            edge = [places[cell].outline[corner] for corner in corners]
            beyond = [(x + 1.25 * (right - x), y + 1.25 * (down - y)) for right, down in reversed(edge)]
            rims.append(Polygon((*edge, *beyond), seat_colour(owner)))
    return rims


def card(x: float, y: float, rank: str | None, suit: str = "") -> list[Shape]:
    """A playing card, 1.4 × 2 from its upper left corner: its face, or its back where `rank` is None."""
    if rank is None:
        return [Box(x, y, 1.4, 2, "white", 0.14), Box(x + 0.1, y + 0.1, 1.2, 1.8, "blue", 0.1)]
    colour = "seat0" if suit in ("♥", "♦") else "black"
    face: list[Shape] = [Box(x, y, 1.4, 2, "white", 0.14)]
    face.append(Label(x + 0.7, y + (0.75 if suit else 1), rank, 0.8, colour))
    return [*face, Label(x + 0.7, y + 1.5, suit, 0.5, colour)] if suit else face


def die(x: float, y: float, face: int | None) -> list[Shape]:
    """A die of side 1 from its upper left corner, or one that is covered where `face` is None."""
    if face is None:
        return [Box(x, y, 1, 1, "blue", 0.18), Label(x + 0.5, y + 0.5, "?", 0.6, "white")]
    shapes: list[Shape] = [Box(x, y, 1, 1, "white", 0.18)]
    if face not in _PIPS:
        return [*shapes, Label(x + 0.5, y + 0.5, str(face), 0.6, "black")]
    return shapes + [
        Disc(x + 0.22 + 0.28 * int(spot[0]), y + 0.22 + 0.28 * int(spot[1]), 0.1, "black")
        for spot in _PIPS[face].split()
    ]


def chess_piece(letter: str, x: float, y: float) -> Shape:
    """A piece by its letter in FEN, drawn as python-chess draws it where that is installed."""
    picture = _chess_pictures().get(letter)
    if picture is None:
        return Label(x, y, _GLYPHS[letter], 0.8, "black")
    return Drawing(x, y, 0.96, picture, 45, _GLYPHS[letter], "black")


@cache
def _chess_pictures() -> Mapping[str, str]:
    try:
        from chess import svg
    except ImportError:
        return {}
    return svg.PIECES


@dataclass(frozen=True, slots=True)
class Table:
    """A matrix game: what is chosen by two seats at once, and what that pays."""

    rows: tuple[str, ...]  # actions of the first seat
    columns: tuple[str, ...]  # actions of the second seat
    paid: tuple[tuple[str, ...], ...]  # [rows][columns]
    title: str = ""


def table_scene(table: Table, chosen: tuple[int, int] | None, seat: int, acts: bool) -> Scene:
    """`table` with what both seats have `chosen`. Seat 0 clicks one of its rows, seat 1 one of its columns."""
    high, wide = len(table.rows), len(table.columns)
    side = max(1.2, 0.3 + 0.22 * max(map(len, table.rows)))  # room for names
    across = max(1.2, *(0.3 + 0.22 * len(text) for line in (table.columns, *table.paid) for text in line))
    width = side + wide * across
    title = textwrap.wrap(table.title, int(width / 0.2))
    top = 1 + 0.45 * len(title)
    shapes: list[Shape] = [Box(side, top, wide * across, high, "board", 0.12)]
    if chosen is not None:
        row, column = chosen
        shapes.append(Box(side, top + row, wide * across, 1, "rule"))
        shapes.append(Box(side + column * across, top, across, high, "rule"))
        shapes.append(Box(side + column * across, top + row, across, 1, "seat1", 0.1))
    shapes += [Line(side, top + row, width, top + row) for row in range(1, high)]
    shapes += [Line(side + i * across, top, side + i * across, top + high) for i in range(1, wide)]
    shapes += [Label(width / 2, 0.3 + 0.45 * i, line, 0.36) for i, line in enumerate(title)]
    heads = [
        [(side / 2, top + i + 0.5) for i in range(high)],
        [(side + (i + 0.5) * across, top - 0.5) for i in range(wide)],
    ]
    for owner, names in enumerate((table.rows, table.columns)):
        colour = "faint" if seat == 1 - owner else "ink"
        shapes += [Label(*head, name, 0.36, colour) for head, name in zip(heads[owner], names, strict=True)]
    shapes += [
        Label(side + (j + 0.5) * across, top + i + 0.5, text, 0.36, "black" if (i, j) == chosen else "ink")
        for i, line in enumerate(table.paid)
        for j, text in enumerate(line)
    ]
    bands = [place(name, 0, top + i, width, 1) for i, name in enumerate(table.rows)] if seat == 0 else []
    if seat == 1:
        bands = [place(name, side + i * across, top - 1, across, high + 1) for i, name in enumerate(table.columns)]
    places = tuple(Place(band.name, band.outline, (*heads[seat][i], 0.45)) for i, band in enumerate(bands))
    moves = {action: (action,) for action in range(len(places))} if acts else {}
    return Scene(width + 0.1, top + high + 0.1, tuple(shapes), places, moves)
