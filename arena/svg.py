"""A scene as SVG: the picture with its marks, and over it the invisible layer that is clicked.

They are two drawings of the same size, because the layer stays as it is while the picture changes: so the keyboard's
focus stays on its place. Colours by role are CSS variables (`--scene-board`), so a board follows the page's theme.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from games.scene import COLOURS, Box, Disc, Drawing, Image, Label, Line, Place, Polygon, Scene, Shape

_MARGIN = 0.12  # around the scene, for outlines
_FAINTEST = 0.01  # shares below it are not drawn


@dataclass(frozen=True, slots=True)
class Marks:
    """What is said on top of a board."""

    last: Sequence[Place] = ()  # of the last move, as the scene before it had them: a disc lies where it was to land
    chosen: Sequence[int] = ()  # places clicked so far, of a move that takes more
    targets: Sequence[int] = ()  # where the next click may go
    heat: Mapping[int, float] = field(default_factory=dict)  # action -> how likely it is played, in [0, 1]
    hint: int | None = None  # action


def picture(scene: Scene, marks: Marks, title: str) -> str:
    """The board and its marks; `title` is what it is called for those who cannot see it."""
    parts = [_shape(shape) for shape in scene.shapes]
    parts += [_ring(place, kind, 0.8) for place in marks.last for kind in ("mark-halo", "mark-last")]
    parts += [_ring(scene.places[place], "mark-chosen") for place in marks.chosen]
    parts += [_dot(scene.places[place]) for place in marks.targets]
    for action, share in sorted(marks.heat.items(), key=lambda pair: pair[1]):
        if action in scene.moves and share >= _FAINTEST:
            parts.append(_heat(scene, scene.moves[action], share))
    if marks.hint is not None and marks.hint in scene.moves:
        parts += [_ring(scene.places[place], "mark-hint") for place in scene.moves[marks.hint]]
    return _svg(scene, parts, f'class="board-picture" role="img" aria-label="{escape(title)}"')


def layer(scene: Scene, label: str) -> str:
    """What is clicked: each place as `data-place`, its index; one of them at a time is reached by the Tab key."""
    parts = [
        f'<polygon points="{_points(place.outline)}" data-place="{index}" data-x="{place.mark[0]:g}"'
        f' data-y="{place.mark[1]:g}" tabindex="{0 if index == 0 else -1}" role="button"'
        f' aria-label="{escape(place.name)}"><title>{escape(place.name)}</title></polygon>'
        for index, place in enumerate(scene.places)
    ]
    return _svg(scene, parts, f'class="board-layer" role="group" aria-label="{escape(label)}"')


def _svg(scene: Scene, parts: Sequence[str], attributes: str) -> str:
    box = f"{-_MARGIN:g} {-_MARGIN:g} {scene.width + 2 * _MARGIN:g} {scene.height + 2 * _MARGIN:g}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {attributes}>{"".join(parts)}</svg>'


def _shape(shape: Shape) -> str:
    match shape:
        case Box():
            rounded = f' rx="{shape.round:g}"' if shape.round else ""
            return (
                f'<rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}"'
                f'{rounded} fill="{_colour(shape.fill)}"/>'
            )
        case Disc():
            place = f'cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}"'
            return f'<circle {place} fill="{_colour(shape.fill)}"{_edge(shape.edge)}/>'
        case Line():
            ends = f'x1="{shape.x1:g}" y1="{shape.y1:g}" x2="{shape.x2:g}" y2="{shape.y2:g}"'
            return f'<line {ends} stroke="{_colour(shape.colour)}" stroke-width="{shape.width:g}"/>'
        case Polygon():
            return f'<polygon points="{_points(shape.points)}" fill="{_colour(shape.fill)}"{_edge(shape.edge)}/>'
        case Label():
            return _text(shape.x, shape.y, shape.text, shape.size, f'fill="{_colour(shape.colour)}"')
        case Drawing():
            half = shape.size / 2
            return (
                f'<svg x="{shape.x - half:g}" y="{shape.y - half:g}" width="{shape.size:g}" height="{shape.size:g}"'
                f' viewBox="0 0 {shape.extent:g} {shape.extent:g}">{shape.svg}</svg>'
            )
        case Image():
            place = f'x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}"'
            return f'<image {place} href="{_png(shape.pixels)}"/>'


def _ring(place: Place, kind: str, share: float = 0.92) -> str:
    x, y, radius = place.mark
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius * share:g}"/>'


def _dot(place: Place) -> str:
    x, y, radius = place.mark
    return f'<circle class="mark-target" cx="{x:g}" cy="{y:g}" r="{radius * 0.3:g}"/>'


def _heat(scene: Scene, way: Sequence[int], share: float) -> str:
    """A disc on the place of a move, the stronger the likelier, and for a move of two places an arrow to it."""
    x, y, radius = scene.places[way[-1]].mark
    strength = 0.15 + 0.75 * share
    parts = []
    if len(way) > 1:
        from_x, from_y, _ = scene.places[way[0]].mark
        parts.append(
            f'<line class="heat-way" x1="{from_x:g}" y1="{from_y:g}" x2="{x:g}" y2="{y:g}"'
            f' stroke-width="{0.06 + 0.16 * share:g}" opacity="{strength:.2f}"/>'
        )
    parts.append(f'<circle class="heat" cx="{x:g}" cy="{y:g}" r="{radius * 0.75:g}" opacity="{strength:.2f}"/>')
    parts.append(_text(x, y, f"{100 * share:.0f}", radius * 0.62, 'class="heat-share"'))
    return "".join(parts)


def _text(x: float, y: float, text: str, size: float, attributes: str) -> str:
    lines = text.split("\n")
    first = y + 0.35 * size - (len(lines) - 1) * 0.6 * size
    spans = "".join(
        f'<tspan x="{x:g}" y="{first + number * 1.2 * size:g}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return f'<text font-size="{size:g}" text-anchor="middle" {attributes}>{spans}</text>'


def _edge(colour: str) -> str:
    return f' stroke="{_colour(colour)}" stroke-width="0.04"' if colour else ""


def _colour(role: str) -> str:
    return f"var(--scene-{role})" if role in COLOURS else role


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _png(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image as Pillow

    packed = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(packed, "png")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"
