"""Boards of the robotic warehouse and of level-based foraging, drawn from what their environments hold.

Their own pictures need OpenGL, and show what lies beyond a seat's sight. Here a seat sees the cells that it observes:
those at most `sight` (`sensor_range`) rows and columns away from it.
"""

from __future__ import annotations

from typing import Any

from games.scene import EVERYTHING, Box, Disc, Label, Line, Scene, Shape, seat_colour

_AHEAD = {"UP": (0, -1), "DOWN": (0, 1), "LEFT": (-1, 0), "RIGHT": (1, 0)}  # of robots, as x and y


def foraging(env: Any, seat: int) -> Scene:
    """Food and foragers of lbforaging with their levels; a forager's disc has the colour of its seat."""
    rows, columns = env.field.shape
    places = [(int(player.position[1]), int(player.position[0])) for player in env.players]
    seen = _seen(places, seat, env.sight, columns, rows)
    shapes = _floor(seen, columns, rows)
    for x, y in sorted(seen):
        if env.field[y, x]:
            shapes += [_tile(x, y, "seat2", 0.15), Label(x + 0.5, y + 0.5, str(env.field[y, x]), colour="white")]
    for other, (x, y) in enumerate(places):
        if (x, y) in seen:
            shapes.append(Disc(x + 0.5, y + 0.5, 0.38, seat_colour(_apart(other)), _edge(other, seat)))
            if other == seat or seat == EVERYTHING or env._observe_agent_levels:
                shapes.append(Label(x + 0.5, y + 0.5, str(env.players[other].level), colour="white"))
    return Scene(columns, rows, tuple(shapes))


def warehouse(env: Any, seat: int) -> Scene:
    """Shelves of rware (requested ones are green), goals, and robots with their heading, red where loaded.

    A seat sees where robots are and where they head, but not which they are and whether they are loaded.
    """
    rows, columns = env.grid_size
    robots = env.agents
    places = [(int(robot.x), int(robot.y)) for robot in robots]
    seen = _seen(places, seat, env.sensor_range, columns, rows)
    shapes = _floor(seen, columns, rows)
    for x, y in env.goals:
        shapes += [_tile(x, y, "faint", 0.02), Label(x + 0.5, y + 0.5, "G", colour="white")]
    shapes += [
        _tile(int(shelf.x), int(shelf.y), "seat2" if shelf in env.request_queue else "blue", 0.08)
        for shelf in env.shelfs
        if (shelf.x, shelf.y) in seen
    ]
    for other, (x, y) in enumerate(places):
        if (x, y) in seen:
            known = seat in (other, EVERYTHING)
            fill = ("seat0" if robots[other].carrying_shelf else "seat1") if known else "faint"
            right, down = _AHEAD[robots[other].dir.name]
            shapes += [
                Disc(x + 0.5, y + 0.5, 0.33, fill, _edge(other, seat)),
                Line(
                    x + 0.5 + right * 0.2,
                    y + 0.5 + down * 0.2,
                    x + 0.5 + right * 0.45,
                    y + 0.5 + down * 0.45,
                    "ink",
                    0.1,
                ),
            ]
            if seat == EVERYTHING:
                shapes.append(Label(x + 0.5, y + 0.5, str(other), colour="black"))
    return Scene(columns, rows, tuple(shapes))


def _seen(places: list[tuple[int, int]], seat: int, sight: int, columns: int, rows: int) -> set[tuple[int, int]]:
    """The cells (x, y) that a seat sees from its place."""
    if seat == EVERYTHING:
        return {(x, y) for x in range(columns) for y in range(rows)}
    left, top = places[seat]
    across = range(max(0, left - sight), min(columns, left + sight + 1))
    return {(x, y) for x in across for y in range(max(0, top - sight), min(rows, top + sight + 1))}


def _floor(seen: set[tuple[int, int]], columns: int, rows: int) -> list[Shape]:
    """Cells that are seen on ground that is not."""
    ground = Box(0.0, 0.0, columns, rows, "rule")
    return [ground, *(_tile(x, y, "board", 0.02) for x, y in sorted(seen))]


def _tile(x: int, y: int, fill: str, gap: float) -> Box:
    return Box(x + gap, y + gap, 1 - 2 * gap, 1 - 2 * gap, fill, gap)


def _edge(other: int, seat: int) -> str:
    """Your own piece is outlined."""
    return "ink" if other == seat else ""


def _apart(seat: int) -> int:
    """Food has the colour of seat 2."""
    return seat + 1 if seat >= 2 else seat
