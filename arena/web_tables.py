"""Tables of the league page, as HTML: the run's status, its ladder, payoffs, snapshots and stored games.

What the charts of `arena.web_charts` say in words comes from here too: addresses, numbers, and whose colour is which.
Every name in them is escaped: none becomes a part of the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from itertools import cycle, repeat
from urllib.parse import urlencode

from arena.ladder import Row, columns, legend, number
from arena.overview import Overview, Snapshot
from arena.progress import duration

COLOURS = ("var(--accent)", "var(--second)", "var(--third)", "var(--fourth)", "var(--fifth)", "var(--sixth)")
"""Of learners, in their order; the seventh has the first one's again."""

_WIDE = '<div class="scroll-x" tabindex="0">'
"""Around what may be wider than a phone; the keyboard can move it."""


def play_address(player: str) -> str:
    """Where one plays against `player`."""
    return "/play?" + urlencode({"against": player})


def games_address(players: Sequence[str]) -> str:
    """Where the stored games of a pair are shown, or of one alone."""
    return "/games?" + urlencode(list(zip("ab", players, strict=False)))


def colours(overview: Overview) -> dict[str, str]:
    """Of each learner."""
    return dict(zip(overview.learners, cycle(COLOURS), strict=False))


def rating(row: Row, overview: Overview) -> str:
    """A rating with its interval: `12 (−3 to 27)`."""
    value, low, high = (number(each, overview.ladder) for each in (row.rating, row.low, row.high))
    return _minus(f"{value} ({low} to {high})")


def _minus(text: str) -> str:
    """A hyphen before a number is a minus, as wide as a plus."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def status(overview: Overview) -> str:
    """How the run stands, in a line; what it is, in another."""
    c = overview.counters
    state = "running" if overview.running else "finished" if overview.stopped_by else "not running"
    ended = f", stopped by {overview.stopped_by}" if overview.stopped_by else ""
    said = [
        f'<span class="league-state {"running" if overview.running else ""}"><b>{state}</b>{escape(ended)}</span>',
        f"<span><b>{c.decisions:,}</b> decisions</span>",
        f"<span><b>{overview.rate_now:,.0f}</b> a second{'' if overview.running else ' on average'}</span>",
        f"<span><b>{duration(c.elapsed)}</b> in training</span>",
        f"<span><b>{c.games:,}</b> games</span>",
        f"<span><b>{c.updates:,}</b> updates</span>",
    ]
    wrong = ((c.voids, "void games"), (c.lost, "lost orders"))
    said += [f'<span class="bad"><b>{count:,}</b> {what}</span>' for count, what in wrong if count]
    facts = [f"{escape(what)} {escape(how)}" for what, how in (("game", overview.game), *overview.facts)]
    return f'<p class="league-status">{"".join(said)}</p><p class="quiet">{" · ".join(facts)}</p>'


def ladder(overview: Overview) -> str:
    """The ladder, with the columns of `arena.ladder.text`."""
    standing = overview.ladder
    if not standing.rows:
        return '<p class="quiet">No rating games yet.</p>'
    shown = columns(standing)
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in shown)
    rows = []
    for rank, row in enumerate(standing.rows, 1):
        best = ' <span title="the best by gate matches">★</span>' if row.id == standing.best else ""
        cells = "".join(f'<td class="number">{_minus(cell(row))}</td>' for cell in shown.values())
        key = escape(row.id)
        rows.append(
            f'<tr data-key="{key}"><td class="number">{rank}</td><td>{_link(row.id, overview)}{best}</td>{cells}</tr>'
        )
    meaning = escape(_minus(legend(standing))) + (" ★ the best by gate matches." if standing.best else "")
    return (
        f'{_WIDE}<table class="table"><thead><tr><th class="number">#</th><th scope="col">player</th>{head}'
        f'</tr></thead><tbody>{"".join(rows)}</tbody></table></div><p class="quiet">{meaning}</p>'
    )


def payoff(overview: Overview) -> str:
    """Scores of row against column as a map: blue where the row wins, red where it loses, grey where it has not met."""
    p = overview.payoffs
    if len(p.players) < 2:
        return '<p class="quiet">No two players have met in rating games yet.</p>'
    heads = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in p.players)
    rows = []
    for i, name in enumerate(p.players):
        cells = "".join(_cell(overview, i, j) for j in range(len(p.players)))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    many = " many" if len(p.players) > 24 else ""
    met = p.games[p.games > 0]
    least, most = int(met.min(initial=0 if not met.size else met.max())), int(met.max(initial=0))
    counted = f"{least:,} to {most:,} games a pair" if least < most else f"{most:,} games a pair"
    return (
        f'<p class="quiet">Score of the row against the column in percent; {counted}. A cell leads to its games.</p>'
        f'{_WIDE}<table class="league-payoff{many}"><thead><tr><td class="self"></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(overview: Overview, i: int, j: int) -> str:
    p = overview.payoffs
    if i == j or not p.games[i, j]:
        return '<td class="self"></td>' if i == j else "<td></td>"
    score, games, pair = float(p.scores[i, j]), int(p.games[i, j]), (p.players[i], p.players[j])
    told = f"{pair[0]} against {pair[1]}: {score:.3f} ({p.low[i, j]:.3f} to {p.high[i, j]:.3f}), {games:,} games"
    side, share = ("won" if score > 0.5 else "lost"), round(200 * abs(score - 0.5))
    colour = f"background:color-mix(in oklab,var(--{side}) {share}%,var(--even))"
    # Reached by the list below with the keyboard: a thousand stops on the way there would help nobody.
    link = f'<a href="{escape(games_address(pair))}" tabindex="-1" title="{escape(told)}">{100 * score:.0f}</a>'
    return f'<td style="{colour}">{link}</td>'


def lineage(overview: Overview) -> str:
    """A line for each learner, with its snapshots where they were frozen."""
    most = max([snapshot.decisions for snapshot in overview.snapshots], default=0) or 1
    lines = []
    for name, colour in colours(overview).items():
        own = [snapshot for snapshot in overview.snapshots if snapshot.learner == name]
        places = [100 * snapshot.decisions / most for snapshot in own]
        marks = "".join(map(_mark, own, repeat(overview), places, _apart(places)))
        kind = escape(overview.kinds.get(name, ""))
        lines.append(
            f'<span>{_link(name, overview)} <span class="quiet">{kind}</span></span><div class="scroll-x">'
            f'<div class="league-line" style="--colour:{colour};min-width:{1.7 * len(own):.1f}rem">{marks}</div></div>'
        )
    best = " Ringed: the best by gate matches." if overview.ladder.best else ""
    return (
        f'<div class="league-lines">{"".join(lines)}</div><p class="quiet">From 0 to {most:,} decisions. A snapshot is'
        f" a copy of its learner at that moment.{best}</p>"
    )


def _apart(places: Sequence[float]) -> list[bool]:
    """Which of the `places`, in percent, get their number: the last, and those whose would not cover another's."""
    gap, shown, next_one = min(60 / max(len(places), 1), 6.0), [], math.inf
    for place in reversed(places):
        shown.append(next_one - place >= gap)
        next_one = place if shown[-1] else next_one
    return shown[::-1]


def _mark(snapshot: Snapshot, overview: Overview, at: float, numbered: bool) -> str:
    told = [f"{snapshot.id}, frozen after {snapshot.decisions:,} decisions"]
    if snapshot.row is not None:
        unit = "Elo" if overview.ladder.competitive else "mean return"
        told.append(f"{unit} {rating(snapshot.row, overview)}")
    told += [snapshot.verdict] if snapshot.verdict else []
    label = snapshot.id.rpartition("@")[2] if numbered else ""
    said, kind = escape("; ".join(told)), "best" if snapshot.best else ""
    address = escape(play_address(snapshot.id))
    where = f'href="{address}" style="left:{at:.2f}%" class="{kind}"'
    return f'<a {where} title="{said}" aria-label="{said}">{escape(label)}</a>'


def stored(overview: Overview) -> str:
    """The pairs whose games are kept, as a list of links."""
    if not overview.stored:
        return '<p class="quiet">No games are stored yet: rating games and those of people are.</p>'
    items = []
    for pair, games in overview.stored.items():
        address, names = escape(games_address(pair)), escape(" – ".join(pair))
        link = f'<a href="{address}">{names}</a>'
        items.append(f'<li data-key="{address}">{link} <span class="quiet numbers">{games:,} games</span></li>')
    total, what = sum(overview.stored.values()), "players" if all(len(p) == 1 for p in overview.stored) else "pairs"
    return (
        f"<details><summary>{total:,} games of {len(overview.stored):,} {what}, those who played last first</summary>"
        f'<ul class="league-pairs">{"".join(items)}</ul></details>'
    )


def _link(player: str, overview: Overview) -> str:
    """A player's name, as a link to play it; people are not to be had."""
    if overview.kinds.get(player) == "human":
        return escape(player)
    return f'<a href="{escape(play_address(player))}" title="Play against {escape(player)}">{escape(player)}</a>'
