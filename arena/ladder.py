"""The ladder of a run: who stands where, as a table, as a record and as a picture.

It is made from rows (players, and a return of each), wherever they come from; `team_rows` reads them off the ledger's
results. Where players meet, the ladder is one of Elo ratings; where there is no opponent, one of mean returns, and it
says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arena.elo import Floats, Tally, fit, mean_returns, sums, tally
from games.names import did_you_mean
from leagues.core import Match, Result
from leagues.payoff import Comparisons

if TYPE_CHECKING:
    from rich.table import Table

TeamRow = tuple[Sequence[str], Sequence[float]]
"""What is compared: players, and the return of each. A game of alike sides, or one side of a round trip."""

_INK, _FAINT, _SCRIPTED = "#22252b", "#d9dce1", "#8a8f98"
_COLOURS = ("#2563a8", "#d1603d", "#2f8f6b", "#8b5fbf", "#b8860b", "#c2417c", "#4a7d8c", "#6b6b2f")


@dataclass(frozen=True, slots=True)
class Row:
    """One player of a ladder."""

    id: str
    rating: float  # Elo, or the mean return in the game's own units
    low: float  # 95% interval of `rating`; infinite where a mean return has one game only
    high: float
    spread: float  # half the 95% interval to compare players by (see `arena.elo`)
    games: int
    score: float | None  # points per game in [0, 1]; None without games or without opponents
    superiority: float | None  # the likelihood of being better than the next; None for the last
    thinking: float | None = None  # milliseconds a move, as played in batches of games; None where it is not known


@dataclass(frozen=True, slots=True)
class Ladder:
    """Players in rank order."""

    rows: tuple[Row, ...]
    competitive: bool  # Elo ratings if so, else mean returns
    anchor: str | None = None  # who is at 0 Elo; None for the mean of those with games
    advantage: tuple[float, float, float] | None = None  # of the earlier seat, in Elo, and its 95% interval
    draws: float | None = None  # share of draws between equals
    best: str | None = None  # the snapshot that the gate matches hold for the best; None where there are none
    seats: int = 1  # of the one team whose mean return a seat is rated


def team_rows(results: Iterable[tuple[Match, Result]], teams: Sequence[int], roles: bool = False) -> Iterator[TeamRow]:
    """The rows of `results`, in the ledger's order, of a game with `teams` [P]; see `leagues.payoff.Comparisons`."""
    comparisons = Comparisons(teams, roles)
    for match, result in results:
        yield from comparisons.rows(match, result)


def ladder(
    players: Iterable[str],
    rows: Iterable[TeamRow],
    anchor: str | None,
    competitive: bool,
    *,
    by_side: bool = False,
    seats: int = 1,
) -> Ladder:
    """Rank `players` by the games in `rows`: by Elo relative to `anchor` if `competitive`, else by mean return.

    `by_side` says that a row is one side of a round trip, `seats` how many a team has that is ranked by mean return.
    Players without games are rated with the wide interval they deserve; they have no mean return, so that ladder leaves
    them out. Raises ValueError where a row or `anchor` names somebody else, or a row is odd (see `arena.elo.tally`).
    """
    known = tuple(players)
    if anchor is not None and anchor not in known:
        raise ValueError(f"The anchor {anchor!r} is not among the players.{did_you_mean(anchor, known)}")
    found = _rated(known, rows, anchor, by_side) if competitive else _averaged(rows, seats)
    if strangers := {row.id for row in found.rows} - set(known):
        raise ValueError(f"There are results of {min(strangers)!r}, who is not among the players.")
    return found


def with_thinking(ladder: Ladder, thinking: Mapping[str, tuple[int, float]]) -> Ladder:
    """The ladder with milliseconds a move, from each player's (decisions, seconds)."""
    rows = (replace(row, thinking=_per_move(*thinking.get(row.id, (0, 0.0)))) for row in ladder.rows)
    return replace(ladder, rows=tuple(rows))


def to_dict(ladder: Ladder, times: bool = True) -> dict[str, Any]:
    """The ladder for a JSON file: no infinities, the rating called `elo` or `mean`.

    Without `times` it is made of what follows from the games alone, and so the same for the same games.
    """
    name = "elo" if ladder.competitive else "mean"
    players = [
        {
            "id": row.id,
            name: _finite(row.rating),
            "low": _finite(row.low),
            "high": _finite(row.high),
            "spread": _finite(row.spread),
            "games": row.games,
            "score": row.score,
            "superiority": row.superiority,
        }
        | ({} if ladder.competitive else {"sum": _sum(row, ladder.seats)})
        | ({"ms_per_move": row.thinking} if times else {})
        for row in ladder.rows
    ]
    advantage = None if ladder.advantage is None else dict(zip((name, "low", "high"), ladder.advantage, strict=True))
    return {
        "kind": name,
        "players": players,
        "anchor": ladder.anchor,
        "advantage": advantage,
        "draws": ladder.draws,
        "best": ladder.best,
    }


def text(ladder: Ladder) -> Table:
    """The ladder for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=_legend(ladder) + _notes(ladder), caption_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("player", overflow="fold")
    summed = f"sum of\n{ladder.seats} seats"
    headings = ["Elo", "95% interval", "± in pool", "games", "score", "ms/move", "better\nthan next"]
    if not ladder.competitive:
        headings = ["mean return", "95% interval", summed, "games", "ms/move", "better\nthan next"]
    if ladder.seats == 1:
        headings = [heading for heading in headings if heading != summed]
    if not _timed(ladder):
        headings.remove("ms/move")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for rank, row in enumerate(ladder.rows, 1):
        cells = {
            headings[0]: _number(row.rating, ladder),
            "95% interval": f"{_number(row.low, ladder)} … {_number(row.high, ladder)}",
            summed: _number(row.rating * ladder.seats, ladder),
            "± in pool": _number(row.spread, ladder),
            "games": f"{row.games:,}",
            "score": _percent(row.score),
            "ms/move": "" if row.thinking is None else f"{row.thinking:.3g}",
            "better\nthan next": _percent(row.superiority),
        }
        table.add_row(
            str(rank), Text(row.id + (" *" if row.id == ladder.best else "")), *(cells[heading] for heading in headings)
        )
    return table


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
    figure.suptitle(bars + _legend(ladder), x=0.01, ha="left", fontsize=8.5, color=_SCRIPTED)
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


def _rated(players: Sequence[str], rows: Iterable[TeamRow], anchor: str | None, by_side: bool) -> Ladder:
    counts = tally(rows, players, by_side=by_side)
    r = fit(counts, anchor=anchor)
    ranked = _ranked(r.players, (r.elo, r.low, r.high, r.spread), r.games, _scores(counts), r.superiority)
    return Ladder(ranked, True, anchor, None if by_side else r.advantage, r.draw / (2 + r.draw))


def _averaged(rows: Iterable[TeamRow], seats: int) -> Ladder:
    m = mean_returns(rows)
    values = (m.mean, m.low, m.high, m.high - m.mean)
    return Ladder(_ranked(m.players, values, m.games, [None] * len(m.players), m.superiority), False, seats=seats)


def _ranked(
    players: Sequence[str],
    values: tuple[Floats, Floats, Floats, Floats],  # [N] rating, low, high, spread
    games: NDArray[np.int64],
    scores: Sequence[float | None],
    superiority: Callable[[str, str], float],
) -> tuple[Row, ...]:
    order = sorted(range(len(players)), key=lambda i: (-values[0][i], players[i]))
    names = [players[i] for i in order]
    better = [superiority(one, other) for one, other in pairwise(names)]
    rows = []
    for i, likelihood in zip_longest(order, better):
        rating, low, high, spread = (float(column[i]) for column in values)
        rows.append(Row(players[i], rating, low, high, spread, int(games[i]), scores[i], likelihood))
    return tuple(rows)


def _scores(counts: Tally) -> list[float | None]:
    """Points per game of each player [N]."""
    n, first, second = len(counts.players), counts.first, counts.second
    played = counts.wins + counts.draws + counts.losses
    points = sums(first, counts.wins + counts.draws / 2, n) + sums(second, counts.losses + counts.draws / 2, n)
    games = sums(first, played, n) + sums(second, played, n)
    return [float(p / g) if g else None for p, g in zip(points, games, strict=True)]


def _legend(ladder: Ladder) -> str:
    """What the numbers mean, in a line."""
    if not ladder.competitive:
        of = " of a seat" if ladder.seats > 1 else ""
        return f"Mean return{of} with its 95% interval: this game has no opponent."
    zero = f"Elo above {ladder.anchor}" if ladder.anchor is not None else "Elo above the mean"
    said = [f"{zero} with its 95% interval"]
    if ladder.advantage is not None:
        value, low, high = ladder.advantage
        said.append(f"earlier seat {value:+.0f} ({low:+.0f} to {high:+.0f})")
    if ladder.draws is not None:
        said.append(f"equals draw {ladder.draws:.0%}")
    return "; ".join(said) + "."


def _notes(ladder: Ladder) -> str:
    """What else a table shows."""
    timed = " ms/move: time to choose a move, shared among the games of a batch." if _timed(ladder) else ""
    starred = " *: the best by gate matches." if any(row.id == ladder.best for row in ladder.rows) else ""
    return timed + starred


def _timed(ladder: Ladder) -> bool:
    return any(row.thinking is not None for row in ladder.rows)


def _per_move(decisions: int, seconds: float) -> float | None:
    return 1000 * seconds / decisions if decisions else None


def _draw_list(axes: Any, ladder: Ladder) -> None:
    """A line for each player, the best on top."""
    low, high = _range(ladder)
    learners = dict.fromkeys(_learner(row.id) for row in ladder.rows if "@" in row.id)
    colours = dict(zip(learners, cycle(_COLOURS), strict=False))
    for place, row in enumerate(ladder.rows):
        colour = colours.get(_learner(row.id), _SCRIPTED)
        axes.hlines(place, max(row.low, low), min(row.high, high), color=colour, linewidth=1.2, alpha=0.6)
        left, right = max(row.rating - row.spread, low), min(row.rating + row.spread, high)
        axes.hlines(place, left, right, color=colour, linewidth=5, alpha=0.4)
        axes.plot(row.rating, place, "o", color=colour, markersize=6.5, markeredgecolor="white")
        _name(axes, place, _number(row.rating, ladder), _INK)
    axes.set_yticks(range(len(ladder.rows)), [row.id for row in ladder.rows], fontsize=9)
    axes.set_ylim(len(ladder.rows) - 0.4, -0.6)
    axes.set_xlim(low, high)
    axes.grid(axis="x", color=_FAINT, linewidth=0.8)


def _draw_curves(axes: Any, ladder: Ladder, curves: Mapping[str, list[Row]], steps: Mapping[str, int]) -> None:
    """Learners as lines over training steps, the others as horizontal lines; names on the right."""
    low, high = _range(ladder)
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


def _range(ladder: Ladder) -> tuple[float, float]:
    """Where to draw: all ratings, and their intervals as far as those do not dwarf them."""
    ratings = [row.rating for row in ladder.rows] or [0.0]
    bottom, top = min(ratings), max(ratings)
    most = max(0.5 * (top - bottom), 200.0 if ladder.competitive else 1e-3 + 0.1 * abs(top))
    low = min([min(row.low, row.rating - row.spread) for row in ladder.rows] or [bottom])
    high = max([max(row.high, row.rating + row.spread) for row in ladder.rows] or [top])
    margin = 0.03 * (top - bottom + most)
    return max(low, bottom - most) - margin, min(high, top + most) + margin


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights of labels moved up where they would cover one another, in the order given."""
    moved = list(heights)
    floor = -math.inf
    for i in sorted(range(len(moved)), key=lambda i: moved[i]):
        moved[i] = floor = max(moved[i], floor + gap)
    return moved


def _number(value: float, ladder: Ladder) -> str:
    if not math.isfinite(value):
        return "?"
    if ladder.competitive:
        return f"{value:.0f}"
    largest = max(abs(row.rating) for row in ladder.rows)
    return f"{value:.{max(0, 2 - math.floor(math.log10(largest or 1)))}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _sum(row: Row, seats: int) -> dict[str, float | None]:
    """The mean return of a team as the sum over its seats, as it is often published."""
    ends = {"mean": row.rating, "low": row.low, "high": row.high}
    return {name: _finite(seats * value) for name, value in ends.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
