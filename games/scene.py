"""What a board looks like: shapes, and where on it its actions are. Pages, terminals and pictures are drawn from this.

A game that can be drawn has one method more than `games.core.Game` asks for (a `games.lift.Single`: `scene(seat)`):

    scene(states, row, seat) -> Scene | None

the board as `seat` may see it, or, for seat `EVERYTHING`, as somebody who watches and may see it all; None where there
is nothing to draw. Actions that have no place on the board are offered by name, so a scene without places, or no scene
at all, can be played too. `scene_of` asks any game.

Lengths are in cells of the board: x to the right, y down. What is drawn later lies on top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from games.core import Game, States

EVERYTHING = -1
"""In place of a seat: one who watches, from whom nothing is hidden."""

Point = tuple[float, float]

COLOURS: dict[str, tuple[str, str]] = {  # by role, on a light page and on a dark one
    "paper": ("#ffffff", "#1b1d22"),  # what the board lies on
    "ink": ("#22252b", "#e8eaee"),
    "faint": ("#8a8f98", "#8a8f98"),
    "rule": ("#c6cad1", "#454a54"),  # lines between cells
    "board": ("#eceef2", "#2a2d34"),
    "light": ("#efe3cb", "#cdb892"),  # squares of chequered boards
    "dark": ("#b98b5e", "#8a6542"),
    "wood": ("#e3bd78", "#c19a58"),
    "felt": ("#3a8a63", "#2e6f50"),
    "blue": ("#2f6db5", "#2b5d99"),
    "seat0": ("#d1493d", "#e0695d"),
    "seat1": ("#e8b52c", "#ecc04e"),
    "seat2": ("#2f8f6b", "#4fb38d"),
    "seat3": ("#8b5fbf", "#a985d6"),
    "seat4": ("#2563a8", "#5b93d4"),
    "seat5": ("#c2417c", "#dc6fa0"),
    "black": ("#22252b", "#0b0c0e"),  # stones and pieces that are called so
    "white": ("#fdfdfb", "#f4f3ee"),
}


def seat_colour(seat: int) -> str:
    return f"seat{seat % 6}"


@dataclass(frozen=True, slots=True)
class Box:
    x: float  # of its upper left corner
    y: float
    width: float
    height: float
    fill: str  # a role of `COLOURS`, or #rrggbb
    round: float = 0.0  # radius of its corners


@dataclass(frozen=True, slots=True)
class Disc:
    x: float  # of its centre
    y: float
    radius: float
    fill: str
    edge: str = ""  # colour of its outline; none where empty


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = "rule"
    width: float = 0.03


@dataclass(frozen=True, slots=True)
class Polygon:
    points: tuple[Point, ...]
    fill: str
    edge: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """Text around its middle. In a terminal it takes one line, whatever its size."""

    x: float
    y: float
    text: str
    size: float = 0.4  # height of its letters
    colour: str = "ink"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture in SVG, trusted as it is, and what stands for it where there is only text."""

    x: float  # of its centre
    y: float
    size: float  # width and height
    svg: str  # what goes inside an <svg> whose viewBox is 0 0 `extent` `extent`
    extent: float
    text: str
    colour: str = "ink"  # of the text


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    x: float
    y: float
    width: float
    height: float
    pixels: NDArray[np.uint8]  # [rows, columns, 3] RGB


Shape = Box | Disc | Line | Polygon | Label | Drawing | Image


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere one can click."""

    name: str  # for a person, as in e4; of its own in a scene, and the same in each scene of a game
    outline: tuple[Point, ...]  # what can be hit
    mark: tuple[float, float, float]  # where signs go (last move, heat, choice): x and y of the centre, and a radius

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The x, y, width and height that its outline fits in."""
        xs, ys = [x for x, _ in self.outline], [y for _, y in self.outline]
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


@dataclass(frozen=True, slots=True)
class Scene:
    """A board at one moment, for one pair of eyes."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    places: tuple[Place, ...] = ()
    moves: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Legal action of the seat that looks -> which `places` are clicked for it, in their order: one to drop a disc, two
    to move a piece. Several actions may share a way (promotions): they are told apart by name. Empty for a seat that
    does not act."""
    sides: tuple[str, ...] = ()
    """[P] the colour (a role) that people call each seat by, as black and white in chess; nothing where they do not."""


def place(name: str, x: float, y: float, width: float = 1.0, height: float = 1.0) -> Place:
    """A rectangle to click, marked in its middle."""
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Place(name, corners, (x + width / 2, y + height / 2, min(width, height) / 2))


def hexagon(name: str, x: float, y: float, radius: float) -> Place:
    """A hexagon to click, a corner on top, around (x, y)."""
    angles = [math.pi / 3 * corner - math.pi / 2 for corner in range(6)]
    return Place(
        name,
        tuple((x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles),
        (x, y, radius * 0.8),
    )


def grid(rows: int, columns: int, names: Sequence[str], left: float = 0.0, top: float = 0.0) -> tuple[Place, ...]:
    """Cells of size 1, row by row from the top; `names` [rows * columns]."""
    return tuple(place(name, left + i % columns, top + i // columns) for i, name in enumerate(names[: rows * columns]))


def scene_of(game: Game, states: States, row: int, seat: int) -> Scene | None:
    """The board in `row` as `seat` (or `EVERYTHING`) sees it; None where the game cannot be drawn."""
    draw = getattr(game, "scene", None)
    found: Scene | None = draw(states, row, seat) if draw is not None else None
    return found
