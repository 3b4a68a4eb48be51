"""Pictures of environments that can draw themselves, made on the side and only once somebody looks.

The environment that plays is left alone: a `Reel` notes its seed and its steps, and where a picture is asked for, a
second environment, made to be drawn, plays the same from there. That holds where a seed and the steps settle a game,
which `arena check` sees to. A position is drawn once, whoever looks; a scene made of a picture has no places.

Nothing opens a window: pygame is told to do without a screen, unless SDL_VIDEODRIVER is set.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.core import GameError
from games.scene import Image, Scene

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

LONGEST_SIDE = 640  # pixels
CELLS = 8.0  # how long the longer side of a picture is on the board

MODE = "rgb_array"


def paints(env: Any) -> bool:
    """Whether an environment says of itself that its `render()` can give pixels."""
    return MODE in (getattr(env, "metadata", None) or {}).get("render_modes", ())


class Reel:
    """The seed and the steps of one game, and the environment that plays them again to be drawn.

    `make_env` makes one whose `reset(seed=…)`, `step(…)` and `render()` are used; None where nothing can be drawn.
    """

    __slots__ = ("_env", "_make", "_played", "_scene", "seed", "steps")

    def __init__(self, make_env: Callable[[], Any] | None) -> None:
        self._make = make_env
        self._env: Any = None
        self.begin(0)

    def begin(self, seed: int) -> None:
        self.seed = seed
        self.steps: list[Any] = []  # what `step` of the environment was given
        self._played = -1  # of them by the second environment; -1: it is still to be reset
        self._scene: Scene | None = None  # after `_played` steps, once drawn

    def scene(self) -> Scene | None:
        """The picture of the position that the steps lead to; None where it cannot be drawn."""
        if self._make is None:
            return None
        try:
            if self._played != len(self.steps):
                self._catch_up()
            if self._scene is None:
                self._scene = as_scene(self._env.render())
        except Exception as error:  # drivers, fonts and screens fail in ways of their own, and text is left to play by
            warnings.warn(f"No pictures of this game: {type(error).__name__}: {error}", stacklevel=2)
            self._make = self._env = None
        return self._scene

    def _catch_up(self) -> None:
        self._scene = None
        if self._env is None:
            assert self._make is not None
            self._env = self._make()
        if self._played < 0:
            self._env.reset(seed=self.seed)
            self._played = 0
        for step in self.steps[self._played :]:
            self._env.step(step)
        self._played = len(self.steps)


def as_scene(pixels: Any) -> Scene:
    """A scene that is one picture, `pixels` [rows, columns, 3 or more] RGB. Raises GameError for anything else."""
    array = np.asarray(pixels)
    if array.ndim != 3 or array.shape[2] < 3 or not array.size:
        raise GameError(
            f"A picture is an array [rows, columns, 3], not {type(pixels).__name__} of shape {array.shape}."
        )
    shown = fit(array[:, :, :3].astype(np.uint8, copy=False))
    rows, columns = shown.shape[:2]
    scale = CELLS / max(rows, columns)
    return Scene(columns * scale, rows * scale, (Image(0.0, 0.0, columns * scale, rows * scale, shown),))


def fit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels [rows, columns, 3], averaged over squares until neither side is longer than `LONGEST_SIDE`.

    A copy: environments draw the next picture into the same memory.
    """
    rows, columns = pixels.shape[:2]
    side = -(-max(rows, columns) // LONGEST_SIDE)
    if side == 1:
        return pixels.copy()
    down, across = np.arange(0, rows, side), np.arange(0, columns, side)
    total = np.add.reduceat(np.add.reduceat(pixels, down, axis=0, dtype=np.uint32), across, axis=1)
    # Squares at the lower and the right edge may be cut.
    count = np.outer(np.minimum(side, rows - down), np.minimum(side, columns - across))[:, :, None]
    averaged: NDArray[np.uint8] = ((total + count // 2) // count).astype(np.uint8)
    return averaged
