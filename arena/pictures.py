"""Pictures of a ladder and of a payoff, as PNG files. What their numbers say is told by `arena.ladder`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.ladder import Ladder, Row, extent, legend, number

_INK, _FAINT, _SCRIPTED = "#22252b", "#d9dce1", "#8a8f98"
_COLOURS = ("#2563a8", "#d1603d", "#2f8f6b", "#8b5fbf", "#b8860b", "#c2417c", "#4a7d8c", "#6b6b2f")


def draw(ladder: Ladder, path: Path, steps: Mapping[str, int] | None = None) -> None:
    """Write the ladder as a picture, `ladder.png`.

    With `steps` (of training, by player) the snapshots of a learner, who share what stands before the `@`, are a line
    over them, and players without steps are horizontal lines. Otherwise there is a line of text for each player. Thick
    bars and bands are `Row.spread`, thin ones the interval of the number.
    """
    from matplotlib.figure import Figure

    curves = _curves(ladder, steps or {})
    rows = len(ladder.rows)
    size = (9.0, 5.2) if curves else (8.0, 1.3 + rows * (0.34 if rows <= 30 else 0.25))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=_INK, length=0)
    axes.set_axisbelow(True)
    if curves:
        _draw_curves(axes, ladder, curves, steps or {})
    else:
        _draw_list(axes, ladder)
    bars = "Thin: the 95% interval of the number; thick: to compare players.\n" if ladder.competitive else ""
    figure.suptitle(bars + legend(ladder), x=0.01, ha="left", fontsize=8.5, color=_SCRIPTED)
    figure.savefig(path, dpi=130)


def heatmap(scores: NDArray[np.float64], games: NDArray[np.int64], names: Sequence[str], path: Path) -> None:
    """Write the payoff as a picture: scores [N, N] in [0, 1] of row against column, after so many `games` [N, N].

    Pairs that did not meet are grey. Numbers are written into the cells up to 24 players.
    """
    from matplotlib.figure import Figure

    n = len(names)
    if scores.shape != (n, n) or games.shape != (n, n):
        raise ValueError(f"{n} players need scores and games of shape {(n, n)}, not {scores.shape} and {games.shape}.")
    cell = 0.62 if n <= 24 else 0.22
    side = max(3.0, n * cell)
    figure = Figure(figsize=(side + 2.6, side + 1.4), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_where((games == 0) | ~np.isfinite(scores), scores)
    axes.set_facecolor("#e4e6ea")
    picture = axes.imshow(shown, cmap="RdBu", vmin=0, vmax=1)
    axes.set_xticks(range(n), names, rotation=90 if n > 6 else 0)
    axes.set_yticks(range(n), names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9 if n <= 24 else 7, colors=_INK)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(1, n) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, n) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if n <= 24 else 0.5)
    axes.tick_params(which="minor", length=0)
    if n <= 24:
        for i, j in zip(*np.nonzero(~np.ma.getmaskarray(shown)), strict=True):
            ink = "white" if abs(scores[i, j] - 0.5) > 0.3 else _INK
            axes.text(j, i - 0.1, f"{100 * scores[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=10)
            axes.text(j, i + 0.26, f"{games[i, j]:,}", ha="center", va="center", color=ink, fontsize=6.5, alpha=0.8)
    bar = figure.colorbar(picture, ax=axes, shrink=min(1.0, 4 / side), aspect=18, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=_INK, labelsize=8)
    bar.ax.set_yticklabels(["0%", "25%", "50%", "75%", "100%"])
    met = games[games > 0]
    counted = f"{met.min():,} to {met.max():,} games a pair" if met.size else "no games yet"
    axes.set_xlabel(f"score of the row against the column; {counted}", fontsize=9, color=_SCRIPTED, labelpad=10)
    figure.savefig(path, dpi=130)


def _draw_list(axes: Any, ladder: Ladder) -> None:
    """A line for each player, the best on top."""
    low, high = extent(ladder)
    learners = dict.fromkeys(_learner(row.id) for row in ladder.rows if "@" in row.id)
    colours = dict(zip(learners, cycle(_COLOURS), strict=False))
    for place, row in enumerate(ladder.rows):
        colour = colours.get(_learner(row.id), _SCRIPTED)
        axes.hlines(place, max(row.low, low), min(row.high, high), color=colour, linewidth=1.2, alpha=0.6)
        left, right = max(row.rating - row.spread, low), min(row.rating + row.spread, high)
        axes.hlines(place, left, right, color=colour, linewidth=5, alpha=0.4)
        axes.plot(row.rating, place, "o", color=colour, markersize=6.5, markeredgecolor="white")
        _name(axes, place, number(row.rating, ladder), _INK)
    axes.set_yticks(range(len(ladder.rows)), [row.id for row in ladder.rows], fontsize=9)
    axes.set_ylim(len(ladder.rows) - 0.4, -0.6)
    axes.set_xlim(low, high)
    axes.grid(axis="x", color=_FAINT, linewidth=0.8)


def _draw_curves(axes: Any, ladder: Ladder, curves: Mapping[str, list[Row]], steps: Mapping[str, int]) -> None:
    """Learners as lines over training steps, the others as horizontal lines; names on the right."""
    low, high = extent(ladder)
    names: list[tuple[float, str, str]] = []  # height, name, colour
    for (learner, rows), colour in zip(curves.items(), cycle(_COLOURS), strict=False):
        at = [steps[row.id] for row in rows]
        value, spread = np.array([row.rating for row in rows]), np.array([row.spread for row in rows])
        axes.vlines(at, [row.low for row in rows], [row.high for row in rows], color=colour, linewidth=1, alpha=0.35)
        axes.fill_between(at, value - spread, value + spread, color=colour, alpha=0.18, linewidth=0)
        axes.plot(at, value, "o-", color=colour, linewidth=2, markersize=5.5, markeredgecolor="white")
        names.append((float(value[-1]), learner, colour))
    for row in ladder.rows:
        if row.id not in steps:
            axes.axhline(row.rating, color=_SCRIPTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
            axes.axhspan(row.rating - row.spread, row.rating + row.spread, color=_SCRIPTED, alpha=0.09, linewidth=0)
            names.append((row.rating, row.id, _SCRIPTED))
    axes.set_ylim(low, high)
    for height, (_, name, colour) in zip(_apart([name[0] for name in names], 0.05 * (high - low)), names, strict=True):
        _name(axes, height, name, colour)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_ylabel("Elo" if ladder.competitive else "mean return", color=_INK)
    axes.set_xlabel("training steps", color=_INK)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _name(axes: Any, height: float, name: str, colour: str) -> None:
    """Write `name` to the right of the axes, at a height in the axes' units."""
    where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(name, (1.0, height), xytext=(7, 0), fontsize=9, color=colour, annotation_clip=False, **where)


def _curves(ladder: Ladder, steps: Mapping[str, int]) -> dict[str, list[Row]]:
    """The snapshots of each learner in the order of training; the learner of the best one first."""
    curves: dict[str, list[Row]] = {}
    for row in sorted((row for row in ladder.rows if row.id in steps), key=lambda row: steps[row.id]):
        curves.setdefault(_learner(row.id), []).append(row)
    return dict(sorted(curves.items(), key=lambda item: -max(row.rating for row in item[1])))


def _learner(player: str) -> str:
    return player.partition("@")[0]


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights of labels moved up where they would cover one another, in the order given."""
    moved = list(heights)
    floor = -math.inf
    for i in sorted(range(len(moved)), key=lambda i: moved[i]):
        moved[i] = floor = max(moved[i], floor + gap)
    return moved
