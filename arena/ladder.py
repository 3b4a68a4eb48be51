"""The ladder of a run: who stands where, as a table and as a record; pictures of it are `arena.pictures`.

It is made from rows (players, and a return of each), wherever they come from; `team_rows` reads them off the ledger's
results. Where players meet, the ladder is one of Elo ratings; where there is no opponent, one of mean returns, and it
says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
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

    shown = columns(ladder)
    table = Table(caption=legend(ladder) + _notes(ladder), caption_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("player", overflow="fold")
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for rank, row in enumerate(ladder.rows, 1):
        name = Text(row.id + (" *" if row.id == ladder.best else ""))
        table.add_row(str(rank), name, *(cell(row) for cell in shown.values()))
    return table


def columns(ladder: Ladder) -> dict[str, Callable[[Row], str]]:
    """What a table says of each player: headings, some of two lines, and what stands below for a row."""
    found: dict[str, Callable[[Row], str]] = {
        "Elo" if ladder.competitive else "mean return": lambda row: number(row.rating, ladder),
        "95% interval": lambda row: f"{number(row.low, ladder)} … {number(row.high, ladder)}",
    }
    if ladder.competitive:
        found["± in pool"] = lambda row: number(row.spread, ladder)
    elif ladder.seats > 1:
        found[f"sum of\n{ladder.seats} seats"] = lambda row: number(row.rating * ladder.seats, ladder)
    found["games"] = lambda row: f"{row.games:,}"
    if ladder.competitive:
        found["score"] = lambda row: _percent(row.score)
    if _timed(ladder):
        found["ms/move"] = lambda row: "" if row.thinking is None else f"{row.thinking:.3g}"
    found["better\nthan next"] = lambda row: _percent(row.superiority)
    return found


def legend(ladder: Ladder) -> str:
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


def number(value: float, ladder: Ladder) -> str:
    """A rating as it is written: Elo as a whole number, a mean return with three figures of the largest."""
    if not math.isfinite(value):
        return "?"
    if ladder.competitive:
        return f"{value:z.0f}"
    largest = max(abs(row.rating) for row in ladder.rows)
    return f"{value:z.{max(0, 2 - math.floor(math.log10(largest or 1)))}f}"


def extent(ladder: Ladder) -> tuple[float, float]:
    """From where to where to draw: all ratings, and their intervals as far as those do not dwarf them."""
    ratings = [row.rating for row in ladder.rows] or [0.0]
    bottom, top = min(ratings), max(ratings)
    most = max(0.5 * (top - bottom), 200.0 if ladder.competitive else 1e-3 + 0.1 * abs(top))
    low = min([min(row.low, row.rating - row.spread) for row in ladder.rows] or [bottom])
    high = max([max(row.high, row.rating + row.spread) for row in ladder.rows] or [top])
    margin = 0.03 * (top - bottom + most)
    return max(low, bottom - most) - margin, min(high, top + most) + margin


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


def _notes(ladder: Ladder) -> str:
    """What else a table shows."""
    timed = " ms/move: time to choose a move, shared among the games of a batch." if _timed(ladder) else ""
    starred = " *: the best by gate matches." if any(row.id == ladder.best for row in ladder.rows) else ""
    return timed + starred


def _timed(ladder: Ladder) -> bool:
    return any(row.thinking is not None for row in ladder.rows)


def _per_move(decisions: int, seconds: float) -> float | None:
    return 1000 * seconds / decisions if decisions else None


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _sum(row: Row, seats: int) -> dict[str, float | None]:
    """The mean return of a team as the sum over its seats, as it is often published."""
    ends = {"mean": row.rating, "low": row.low, "high": row.high}
    return {name: _finite(seats * value) for name, value in ends.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
