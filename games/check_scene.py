"""What the conformance kit asks of drawings: sound scenes, and the same for all that a seat cannot tell apart.

A probe, as in `games.check_probe`. Games that draw nothing are played by words alone, of which the same is asked.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from games.check_play import Broken, Play, compare
from games.check_probe import Probe, Trial
from games.core import Rows
from games.keys import SEARCH, mix
from games.lift import Lifted
from games.scene import COLOURS, EVERYTHING, Image, Scene, scene_of

GAMES = 2  # that are drawn
POSITIONS = 16  # of a game that are drawn, about: a picture takes far longer than a step
WORLDS = 4  # drawn for one seat in one position
HEX = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


def scenes(trial: Trial) -> str:
    """Scenes for every seat and for who watches, all along some games, beside games that nobody draws."""
    spec = trial.game.spec
    play, peace = Play(trial.game, trial.few[:GAMES]), Play(trial.game, trial.few[:GAMES])
    stride = max(1, int(trial.length) // POSITIONS)
    drawn = 0
    for step in range(spec.longest + 1):
        if step % stride == 0 or play.done:
            before = play.look()
            drawn += sum(
                _draws(play, row, seat) for row in range(len(play.keys)) for seat in (EVERYTHING, *_seats(play))
            )
            compare(before, play.look(), "Changed by being drawn")
            if spec.resamples:
                _compare_worlds(play)
        if play.done or not (drawn or spec.resamples):
            break
        play.advance()
        peace.advance()
        compare(peace.look(), play.look(), "Unlike a game that was never drawn")
    return "" if drawn else "Nothing is drawn."


def _seats(play: Play) -> range:
    return range(play.game.spec.seats)


def _draws(play: Play, row: int, seat: int) -> bool:
    """Whether there is a scene for `seat`. Raises Broken where it is not sound, or another when asked for again."""
    scene = scene_of(play.game, play.states, row, seat)
    where = f"{_whose(seat)}: {play.where(row)}"
    if scene is not None:
        if not isinstance(scene, Scene):
            raise Broken(f"A scene is a {type(scene).__name__}, for {where}.")
        _inspect(scene, where)
        _inspect_moves(scene, _legal(play, row, seat), where)
    if plain(scene) != plain(scene_of(play.game, play.states, row, seat)):
        raise Broken(f"A scene is another when it is asked for again, for {where}.")
    return scene is not None


def _inspect(scene: Scene, where: str) -> None:
    """Raise Broken for numbers that are not finite, colours that there are not, and names that are given twice."""
    if not (scene.width > 0 and scene.height > 0):
        raise Broken(f"A scene is {scene.width} wide and {scene.height} high, for {where}.")
    for part in (scene, *scene.shapes, *scene.places):
        what = type(part).__name__
        if isinstance(part, Image) and not _is_picture(part.pixels):
            raise Broken(f"The pixels of an Image are no array [rows, columns, 3] of uint8, for {where}.")
        for name, value in _values(part):
            if not all(math.isfinite(number) for number in _numbers(value)):
                raise Broken(f"In a {what}, {name} is {value}, for {where}.")
            if name in ("fill", "edge", "colour") and not (value in COLOURS or HEX.fullmatch(value) or value == ""):
                raise Broken(f"In a {what}, {name} is {value!r}, which is no colour, for {where}.")
    for name, count in Counter(place.name for place in scene.places).items():
        if count > 1:
            raise Broken(f"{count} places are called {name!r}, for {where}.")


def _inspect_moves(scene: Scene, legal: set[int], where: str) -> None:
    for action, way in scene.moves.items():
        if action not in legal:
            raise Broken(f"Action {action} is among the moves of a scene, but it is not legal there, for {where}.")
        if not way or not all(0 <= place < len(scene.places) for place in way):
            raise Broken(f"Action {action} is played on places {way}; there are {len(scene.places)}, for {where}.")


def _legal(play: Play, row: int, seat: int) -> set[int]:
    """What `seat` may do now: nothing where it does not act."""
    decisions = play.decisions
    slots = np.flatnonzero(decisions.active[row] & (decisions.seat[row] == seat))
    return set(np.flatnonzero(decisions.legal[row, slots].any(axis=0)).tolist())


def _compare_worlds(play: Play) -> None:
    """Raise Broken where what a seat is shown, as a scene or as text, tells its world from others drawn for it."""
    game: Any = play.game
    rows, slots = (np.repeat(index, WORLDS) for index in np.nonzero(play.decisions.active))
    seats: Rows = play.decisions.seat[rows, slots].astype(np.int64)
    worlds = game.resample(play.states, rows, seats, mix(play.keys[rows], SEARCH, play.clock, np.arange(len(rows))))
    game.decisions(worlds)
    for world, (row, seat) in enumerate(zip(rows.tolist(), seats.tolist(), strict=True)):
        where = f"{_whose(seat)}: {play.where(row)}"
        if plain(scene_of(game, play.states, row, seat)) != plain(scene_of(game, worlds, world, seat)):
            raise Broken(f"A scene tells worlds apart that are the same to the seat, for {where}.")
        if _speaks(play, row) and game.text(play.states, row, seat) != game.text(worlds, world, seat):
            raise Broken(f"The text tells worlds apart that are the same to the seat, for {where}.")


def _speaks(play: Play, row: int) -> bool:
    """Whether the author wrote a `text`: what Python says of an object differs with every object."""
    return not isinstance(play.game, Lifted) or hasattr(play.states[row].single, "text")


def plain(scene: Scene | None) -> object:
    """What can be compared with ==: pixels by value."""
    return None if scene is None else [_comparable(part) for part in (scene, *scene.shapes, *scene.places)]


def _comparable(part: Any) -> object:
    pixels = (part.pixels.shape, part.pixels.tobytes()) if isinstance(part, Image) else ()
    return type(part), [value for _, value in _values(part)], pixels


def _values(part: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a scene or of a part of it, but parts within it and pixels."""
    for each in fields(part):
        if each.name not in ("shapes", "places", "pixels"):
            yield each.name, getattr(part, each.name)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float | np.number):
        yield float(value)


def _is_picture(pixels: Any) -> bool:
    sound = isinstance(pixels, np.ndarray) and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    return sound and pixels.dtype == np.uint8


def _whose(seat: int) -> str:
    return "who watches" if seat == EVERYTHING else f"seat {seat}"


# As `games.check_probe.PROBES`.
SCENES: dict[str, tuple[str, Probe, tuple[str, ...]]] = {
    "scene": ("Scenes are sound, and show no seat what it may not see.", scenes, ("observe", "replay", "resample")),
}
