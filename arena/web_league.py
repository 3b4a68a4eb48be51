"""The league page: a run as a web page, live while it goes on and afterwards from its directory alone.

What there is to say comes from `arena.overview`; here it becomes tables (HTML) and charts (ECharts, drawn as SVG, so
that the colours are the theme's CSS variables). New numbers are put into what is there, so that a reader's zoom, focus
and selection stay.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from itertools import cycle, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from weakref import WeakValueDictionary

from arena.ladder import Row
from arena.overview import Overview, Series, Snapshot, Watcher
from arena.progress import duration
from games.names import UserError

EVERY = 2.5  # seconds between two looks at a run that goes on
SELDOM = 15.0  # at one that does not: it may be resumed
FRESH = 1.0  # that what was read for one page is good for another
PREFERRED = (
    "policy_loss", "loss", "value_loss", "entropy", "target_entropy", "explained_variance", "team_return", "q_tot",
    "grad_norm", "kl",
)  # fmt: skip
"""The curves shown first, as far as they are there."""
FIRST = 6  # curves, at most
CROWDED = 6  # lines in a chart, above which they are thin and not all named
SCORES = "scores of "
"""Before a learner's name: the curve of its scores against each opponent."""

Shown = dict[str, Any]
"""What of a chart's ECharts options goes with the run: its series, and room for the names on their right."""
_COLOURS = ("var(--accent)", "var(--second)", "var(--third)", "var(--fourth)", "var(--fifth)", "var(--sixth)")

CSS = """
:root { --second: light-dark(#b0522a, #e59f78); --third: light-dark(#2c7a5b, #76c3a0);
  --fourth: light-dark(#7a52a8, #bd9ce6); --fifth: light-dark(#8a6a10, #d6b65c); --sixth: light-dark(#a33a68, #e58fb3);
  --won: light-dark(#5b94d3, #3c78bd); --lost: light-dark(#dc7a66, #b4523f); --even: light-dark(#f4f4f2, #3d434d);
  --unmet: light-dark(#dfe2e6, #1f2227); }
.league-status { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; align-items: baseline;
  font-variant-numeric: tabular-nums; }
.league-status b { font-weight: 600; }
.league-state::before { content: ""; display: inline-block; width: .55em; height: .55em; border-radius: 50%;
  margin-right: .45em; background: var(--faint); }
.league-state.running::before { background: var(--good); }
.league section, .league-charts > div { min-width: 0; }
.league { display: flex; flex-direction: column; gap: 2.25rem; }
.league section { display: flex; flex-direction: column; gap: .5rem; }
.league-charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1.5rem; }
.league-charts h3 { font: 500 .875rem/1.4 var(--sans); margin: 0; }
.league-charts h3 small { color: var(--faint); font-weight: 400; font-size: .8125rem; }
.league .table td { white-space: nowrap; }
.league-payoff { border-collapse: separate; border-spacing: 1px; font-variant-numeric: tabular-nums; }
.league-payoff th { font-weight: 400; font-size: .8125rem; color: var(--faint); white-space: nowrap; text-align: right;
  padding: 0 .5rem 0 0; }
.league-payoff thead th { vertical-align: bottom; padding: 0 0 .25rem; text-align: left; }
.league-payoff thead th > span { writing-mode: vertical-rl; transform: rotate(180deg); }
.league-payoff tbody th { position: sticky; left: 0; background: var(--paper); z-index: 1; }
.league-payoff td { padding: 0; min-width: 2.25rem; height: 2.25rem; background: var(--unmet); text-align: center;
  font-size: .8125rem; }
.league-payoff.many td { min-width: 1.6rem; height: 1.6rem; font-size: .6875rem; }
.league-payoff td.self { background: none; }
.league-payoff td a { display: flex; align-items: center; justify-content: center; width: 100%; height: 100%;
  color: var(--ink); text-decoration: none; }
.league-payoff td a:hover { outline: 2px solid var(--ink); outline-offset: -2px; }
.league-lines { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem;
  align-items: center; }
.league-line { position: relative; height: 2.75rem; margin: 0 1.25rem; }
.league-line::before { content: ""; position: absolute; inset: 1rem 0 auto; border-top: 2px solid var(--rule); }
@media (max-width: 760px) { .league-lines { grid-template-columns: minmax(0, 1fr); } }
.league-line a { position: absolute; top: .25rem; transform: translateX(-50%); text-align: center; width: 1.5rem;
  text-decoration: none; color: var(--faint); font-size: .75rem; line-height: 1.2; }
.league-line a::before { content: ""; display: block; width: .6rem; height: .6rem; margin: .42rem auto .3rem;
  border-radius: 50%; background: var(--colour); border: 2px solid var(--paper); box-sizing: content-box; }
.league-line a.best { color: var(--ink); font-weight: 600; }
.league-line a.best::before { box-shadow: 0 0 0 2px var(--colour); }
.league-pairs { columns: 20rem; padding-left: 1.25rem; margin: .5rem 0 0; }
.league summary { cursor: pointer; color: var(--accent); }
"""

SCRIPT = """<script>
// Makes what is shown like new HTML, and touches only what differs; what has a data-key stays itself.
window.arenaPatch = (shown, html) => {
  const patch = (old, next) => {
    if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) return old.replaceWith(next.cloneNode(true));
    if (old.nodeType === Node.TEXT_NODE) { if (old.data !== next.data) old.data = next.data; return; }
    for (const { name } of [...old.attributes])
      if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    children(old, next);
  };
  const children = (old, next) => {
    const keyed = new Map([...old.children].map((node) => [node.dataset.key, node]));
    [...next.childNodes].forEach((node, i) => {
      const at = old.childNodes[i] ?? null, key = node.dataset?.key, mine = key ? keyed.get(key) : at;
      if (!mine) return old.insertBefore(node.cloneNode(true), at);
      if (mine !== at) old.insertBefore(mine, at);
      patch(mine, node);
    });
    while (old.childNodes.length > next.childNodes.length) old.lastChild.remove();
  };
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  if (shown) children(shown, fresh.content);
};
</script>"""


def league_page(folder: Path) -> None:
    """Build the page of the run in `folder` into the current page, inside `arena.web_theme.frame`.

    What is wrong with the run is told on the page, which tries again.
    """
    from nicegui import ui

    ui.add_css(CSS)
    ui.add_head_html(SCRIPT)
    _Page(folder)


# ---- what all pages of one run share -------------------------------------------------------------------------------


class _Shared:
    """One run as all open pages see it, read once for all of them."""

    def __init__(self, folder: Path) -> None:
        self._watcher = Watcher(folder)
        self._lock = threading.Lock()
        self._overview: Overview | None = None
        self._at = -math.inf

    def look(self) -> Overview:
        """The run as it is now, or was less than a second ago: the same object while nothing is new."""
        with self._lock:
            if self._overview is None or time.monotonic() - self._at >= FRESH:
                self._overview = self._watcher.refresh() or self._overview
                self._at = time.monotonic()
            assert self._overview is not None, "the first look finds everything new"
            return self._overview


_runs: WeakValueDictionary[Path, _Shared] = WeakValueDictionary()


def _shared(folder: Path) -> _Shared:
    """Forgotten when the last page of the run is."""
    key = folder.resolve()
    found = _runs.get(key)
    if found is None:
        found = _runs[key] = _Shared(folder)
    return found


# ---- one page ------------------------------------------------------------------------------------------------------


class _Html:
    """A piece of HTML in which only what differs is touched."""

    def __init__(self, html: str) -> None:
        from nicegui import ui

        self.element = ui.html(html, sanitize=False)

    def show(self, html: str) -> None:
        from nicegui import ui

        if html != self.element.content:
            with self.element.props.suspend_updates():  # it would be drawn anew
                self.element.content = html
            ui.run_javascript(f"arenaPatch(getHtmlElement({self.element.id}), {json.dumps(html)})")


class _Chart:
    """A chart whose series are replaced while its zoom stays."""

    def __init__(self, title: str, note: str, shown: Shown, height: str = "13rem", by_point: bool = False) -> None:
        from nicegui import ui

        self.shown = shown
        with ui.element("div"):
            ui.html(f"<h3>{escape(title)} <small>{escape(note)}</small></h3>", sanitize=False)
            self.element = ui.echart({**_frame(by_point), **shown}, renderer="svg", on_point_click=_play)
        self.element.style(f"width: 100%; height: {height}").props["aria-label"] = f"{title} {note}"
        self.element.props["role"] = "img"

    def show(self, shown: Shown) -> None:
        if shown != self.shown:
            self.shown = shown
            self.element.run_chart_method("setOption", shown, {"replaceMerge": ["series"]})

    def whole(self) -> None:
        """Undo the reader's zoom."""
        self.element.run_chart_method("dispatchAction", {"type": "dataZoom", "start": 0, "end": 100})


def _play(event: Any) -> None:
    """A point of a chart was clicked: play whom it stands for."""
    from nicegui import ui

    player = event.data.get("player") if isinstance(event.data, dict) else None
    if isinstance(player, str):
        ui.navigate.to(play_address(player))


@contextmanager
def _section(title: str, note: str = "") -> Iterator[None]:
    from nicegui import ui

    with ui.element("section"):
        ui.html(f"<h2>{escape(title)}</h2>" + (f'<p class="quiet">{escape(note)}</p>' if note else ""), sanitize=False)
        yield


class _Page:
    """What one reader sees, and chose."""

    def __init__(self, folder: Path) -> None:
        from nicegui import ui

        self._shared = _shared(folder)
        self._seen: Overview | None = None
        self._wrong = False  # whether the status says what is wrong
        self._html: dict[str, _Html] = {}
        self._charts: dict[str, _Chart] = {}  # by what `_charted` calls them
        self._curves: dict[str, _Chart] = {}  # those of the chosen metrics
        with ui.element("div").classes("league"):
            with ui.element("div").classes("stack"):
                ui.html(f"<h1>{escape(folder.resolve().name)}</h1>", sanitize=False)
                self._html["status"] = _Html(f'<p class="quiet">Reading {escape(str(folder))} …</p>')
            self._body = ui.element("div").classes("league")
        self._timer = ui.timer(EVERY, self.refresh)

    async def refresh(self) -> None:
        """Show what is new. What is wrong with the run is told, and what was shown before stays."""
        from nicegui import run

        try:
            found = await run.io_bound(self._shared.look)
        except (UserError, OSError) as error:  # the run is being made, moved or removed
            self._html["status"].show(f'<p class="bad" role="alert">{escape(str(error))}</p>')
            self._wrong = True
            return
        if found is None or (found is self._seen and not self._wrong):  # None: the server is stopping
            return
        self._wrong = False
        self._seen, self._timer.interval = found, EVERY if found.running else SELDOM
        if not self._charts:
            with self._body:
                self._build(found)
        self._offer(found)
        for name, write in _WRITTEN.items():
            if name in self._html:
                self._html[name].show(write(found))
        for name, chart in self._charts.items():
            chart.show(_CHARTED[name](found))
        for name, chart in self._curves.items():
            chart.show(curve(found, name))

    def _build(self, overview: Overview) -> None:
        from nicegui import ui

        unit = "Elo" if overview.ladder.competitive else "Mean return"
        with _section(unit, "of each learner's snapshots over its decisions. Lines: 95% interval; band: to compare."):
            self._charts["elo"] = _Chart("", "", elo(overview), "24rem", by_point=True)
        for name, title in (("ladder", "Ladder"), ("payoff", "Who beats whom"), ("lineage", "Snapshots")):
            if name != "payoff" or overview.ladder.competitive:
                with _section(title):
                    self._html[name] = _Html("")
        with _section("Learning curves", "over the decisions of each learner"):
            with ui.element("div").classes("row"):
                self._choice = ui.select([], value=[], multiple=True, label="Metrics", on_change=self._draw)
                self._choice.props("dense outlined use-chips").style("min-width: min(100%, 20rem)")
                ui.button("Whole run", on_click=self._whole).props("flat dense no-caps")
            ui.html('<p class="quiet">Shift and wheel, or pinch, to zoom; drag to move.</p>', sanitize=False)
            self._grid = ui.element("div").classes("league-charts")
        with _section("Throughput", "over minutes in training"), ui.element("div").classes("league-charts"):
            self._charts["rate"] = _Chart("Decisions a second", "of all learners", rate(overview))
            self._charts["rollout"] = _Chart("Seconds of a training order", "by what they went into", rollout(overview))
        with _section("Games to replay"):
            self._html["stored"] = _Html("")

    def _offer(self, overview: Overview) -> None:
        """Let the reader choose among the metrics there are; the first ones that there are choose themselves."""
        names = metric_names(overview)
        if names != self._choice.options:
            self._choice.set_options(names, value=self._choice.value if self._choice.options else shown_first(names))

    def _draw(self) -> None:
        """The curves that are chosen: those that were there stay as they are."""
        assert self._seen is not None, "it is drawn first"
        chosen = [name for name in self._choice.value or [] if name in self._choice.options]
        for name in self._curves.keys() - set(chosen):
            chart = self._curves.pop(name)
            assert chart.element.parent_slot is not None
            chart.element.parent_slot.parent.delete()
        with self._grid:
            for name in chosen:
                if name not in self._curves:
                    self._curves[name] = _Chart(*title_of(name), curve(self._seen, name))

    def _whole(self) -> None:
        for chart in (*self._charts.values(), *self._curves.values()):
            chart.whole()


# ---- addresses and numbers -----------------------------------------------------------------------------------------


def play_address(player: str) -> str:
    return "/play?" + urlencode({"against": player})


def games_address(players: Sequence[str]) -> str:
    """Where the stored games of a pair are shown, or of one alone."""
    return "/games?" + urlencode(list(zip("ab", players, strict=False)))


def _link(player: str, overview: Overview) -> str:
    """A player's name, as a link to play it; people are not to be had."""
    if overview.kinds.get(player) == "human":
        return escape(player)
    return f'<a href="{escape(play_address(player))}" title="Play against {escape(player)}">{escape(player)}</a>'


def _rating(value: float, overview: Overview) -> str:
    """Elo as a whole number; a mean return with three figures of the largest."""
    if not math.isfinite(value):
        return "?"
    if overview.ladder.competitive:
        return f"{value:z.0f}".replace("-", "−")
    largest = max(abs(row.rating) for row in overview.ladder.rows) or 1
    return f"{value:z.{max(0, 2 - math.floor(math.log10(largest)))}f}".replace("-", "−")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _interval(row: Row, overview: Overview) -> str:
    return f"{_rating(row.low, overview)} to {_rating(row.high, overview)}"


_WIDE = '<div class="scroll-x" tabindex="0">'
"""Around what may be wider than a phone; the keyboard can move it."""


# ---- tables --------------------------------------------------------------------------------------------------------


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
    of: dict[str, Callable[[Row], str]] = {
        "Elo" if standing.competitive else "mean return": lambda row: _rating(row.rating, overview),
        "95% interval": lambda row: _interval(row, overview),
    }
    if standing.competitive:
        of["± in pool"] = lambda row: _rating(row.spread, overview)
    elif standing.seats > 1:
        of[f"sum of {standing.seats} seats"] = lambda row: _rating(row.rating * standing.seats, overview)
    of["games"] = lambda row: f"{row.games:,}"
    if standing.competitive:
        of["score"] = lambda row: _percent(row.score)
    if any(row.thinking is not None for row in standing.rows):
        of["ms/move"] = lambda row: "" if row.thinking is None else f"{row.thinking:.3g}"
    of["better than next"] = lambda row: _percent(row.superiority)
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in of)
    rows = []
    for rank, row in enumerate(standing.rows, 1):
        best = ' <span title="the best by gate matches">★</span>' if row.id == standing.best else ""
        cells = "".join(f'<td class="number">{cell(row)}</td>' for cell in of.values())
        key = escape(row.id)
        rows.append(
            f'<tr data-key="{key}"><td class="number">{rank}</td><td>{_link(row.id, overview)}{best}</td>{cells}</tr>'
        )
    return (
        f'{_WIDE}<table class="table"><thead><tr><th class="number">#</th><th scope="col">player</th>{head}'
        f'</tr></thead><tbody>{"".join(rows)}</tbody></table></div><p class="quiet">{_legend(overview)}</p>'
    )


def _legend(overview: Overview) -> str:
    """What the ladder's numbers mean."""
    standing = overview.ladder
    if not standing.competitive:
        return f"Mean return{' of a seat' if standing.seats > 1 else ''}: this game has no opponent."
    said = [f"Elo above {escape(standing.anchor) if standing.anchor is not None else 'the mean'}"]
    if standing.advantage is not None:
        value, low, high = standing.advantage
        said.append(f"earlier seat {value:+.0f} ({low:+.0f} to {high:+.0f})".replace("-", "−"))
    if standing.draws is not None:
        said.append(f"equals draw {standing.draws:.0%}")
    return "; ".join(said) + "." + (" ★ the best by gate matches." if standing.best else "")


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
    for name, colour in zip(overview.learners, cycle(_COLOURS)):
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
        told.append(f"{unit} {_rating(snapshot.row.rating, overview)} ({_interval(snapshot.row, overview)})")
    told += [snapshot.verdict] if snapshot.verdict else []
    number = snapshot.id.rpartition("@")[2] if numbered else ""
    said, kind = escape("; ".join(told)), "best" if snapshot.best else ""
    address = escape(play_address(snapshot.id))
    where = f'href="{address}" style="left:{at:.2f}%" class="{kind}"'
    return f'<a {where} title="{said}" aria-label="{said}">{escape(number)}</a>'


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


# ---- charts --------------------------------------------------------------------------------------------------------

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif'
_COMPACT = 'v => Intl.NumberFormat("en", {notation: "compact", maximumSignificantDigits: 3}).format(v)'


_VALUES = """points => {
  const text = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const rows = points.filter((p) => p.value[1] !== null).sort((a, b) => b.value[1] - a.value[1]).map((p) =>
    `<span>${text(p.seriesName)}</span><b style="text-align:right">${+p.value[1].toPrecision(4)}</b>`);
  const columns = `repeat(${2 * Math.ceil(rows.length / 10)},auto)`;
  return Intl.NumberFormat("en").format(points[0].value[0]) +
    `<div style="display:grid;gap:0 .75em;grid-template-columns:${columns}">${rows.join("")}</div>`;
}"""
"""The lines that have a point there, highest first."""


def _frame(by_point: bool) -> dict[str, Any]:
    """What is the same in all charts, and stays when the series change; a tooltip is about one point or about all."""
    label = {"color": "var(--faint)", "fontFamily": _FONT, "hideOverlap": True, ":formatter": _COMPACT}
    return {
        "animation": False,
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": "dataMax",
            "splitNumber": 4,
            "splitLine": {"show": False},
            "axisLine": {"lineStyle": {"color": "var(--rule)"}},
            "axisTick": {"show": False},
            "axisLabel": {**label, "showMaxLabel": False},
        },
        "yAxis": {
            "type": "value",
            "scale": True,
            "splitNumber": 4,
            "splitLine": {"lineStyle": {"color": "var(--rule)"}},
            "axisLine": {"show": False},
            "axisTick": {"show": False},
            "axisLabel": label,
        },
        "tooltip": {
            "confine": True,
            "backgroundColor": "var(--surface)",
            "borderColor": "var(--rule)",
            "textStyle": {"color": "var(--ink)", "fontFamily": _FONT, "fontSize": 13},
            "axisPointer": {"lineStyle": {"color": "var(--faint)", "type": "solid"}},
            **({"formatter": "{b}"} if by_point else {"trigger": "axis", ":formatter": _VALUES}),
        },
        "dataZoom": [
            {
                "type": "inside",
                "filterMode": "none",
                "zoomOnMouseWheel": "shift",
                "moveOnMouseWheel": False,
                "preventDefaultMouseMove": False,
            }
        ],
    }


def _shown(series: list[dict[str, Any]], names: Iterable[str]) -> Shown:
    """Series, with room on the right for the names that are written there."""
    longest = max(map(len, names), default=0)
    right = 12 + min(7 * longest, 130)
    return {"series": series, "grid": {"left": 4, "right": right, "top": 12, "bottom": 4, "containLabel": True}}


def _line(name: str, colour: str, data: list[Any], *, named: bool = True, **more: Any) -> dict[str, Any]:
    """A line with its name at its end."""
    label = {
        "show": named,
        "formatter": "{a}",
        "color": colour,
        "fontFamily": _FONT,
        "fontSize": 12,
        "distance": 6,
        "lineHeight": 15,
    }
    return {
        "type": "line",
        "name": name,
        "data": data,
        "showSymbol": False,
        "lineStyle": {"color": colour, "width": 1.75},
        "itemStyle": {"color": colour},
        "endLabel": label | {"width": 128, "overflow": "truncate"},
        "labelLayout": {"moveOverlap": "shiftY"},
        "emphasis": {"disabled": True},
    } | more


def elo(overview: Overview) -> Shown:
    """Ratings: learners over their decisions, with the intervals of `arena.ladder.draw`; the others as levels."""
    climbs, levels = overview.climbs(), overview.levels()
    last = max([at for points in climbs.values() for at, _ in points], default=0) or 1
    series: list[dict[str, Any]] = []
    for row in levels:
        ends = [_point(0, row, overview), _point(last, row, overview)]
        dashes = {"color": "var(--faint)", "width": 1, "type": [4, 3]}
        series.append(_line(row.id, "var(--faint)", ends, lineStyle=dashes, symbolSize=8))
    for name, colour in zip(overview.learners, cycle(_COLOURS)):
        points = climbs.get(name, [])
        if points:
            series += _band(name, colour, [(at, row) for at, row in points if math.isfinite(row.spread)])
            data = [_point(at, row, overview) for at, row in points]
            series.append(_line(name, colour, data, showSymbol=True, symbol="circle", symbolSize=7))
    return _shown(series, [*climbs, *(row.id for row in levels)])


def _band(name: str, colour: str, points: Sequence[tuple[int, Row]]) -> list[dict[str, Any]]:
    """Behind a learner's line: a band to compare players by, and for each snapshot the interval of its number."""
    quiet: dict[str, Any] = {"named": False, "silent": True, "symbol": "none", "tooltip": {"show": False}}
    stack: dict[str, Any] = {"stack": name, "stackStrategy": "all", "lineStyle": {"width": 0}}
    floor = [[at, row.rating - row.spread] for at, row in points]
    wide = [[at, 2 * row.spread] for at, row in points]
    bars = [end for at, row in points for end in ([at, row.low], [at, row.high], [at, None])]
    thin = {"color": colour, "width": 1, "opacity": 0.45}
    return [
        _line(f"{name} low", colour, floor, **quiet, **stack),
        _line(f"{name} band", colour, wide, areaStyle={"color": colour, "opacity": 0.15}, **quiet, **stack),
        _line(f"{name} interval", colour, bars, lineStyle=thin, **quiet),
    ]


def _point(at: int, row: Row, overview: Overview) -> dict[str, Any]:
    told = f"{row.id}: {_rating(row.rating, overview)} ({_interval(row, overview)}), {row.games:,} games"
    human = overview.kinds.get(row.id) == "human"
    return {"value": [at, row.rating], "name": told, "player": None if human else row.id}


def metric_names(overview: Overview) -> list[str]:
    """The curves there are: what learners tell, and one of each learner's scores."""
    told = sorted({name for of in overview.metrics.values() for name in of})
    return told + [f"{SCORES}{learner}" for learner, of in overview.scores.items() if of]


def shown_first(names: Sequence[str]) -> list[str]:
    """What a reader sees who has chosen nothing: the preferred curves, and the first learner's scores."""
    preferred, scores = [one for one in PREFERRED if one in names], [one for one in names if one.startswith(SCORES)]
    return [*preferred[: FIRST - 1], *scores[:1]] or list(names[:FIRST])


def title_of(metric: str) -> tuple[str, str]:
    """A curve's title and note."""
    return metric, "in training, against each opponent" if metric.startswith(SCORES) else ""


def curve(overview: Overview, metric: str) -> Shown:
    """One metric of all learners that tell it; or a learner's scores against each opponent."""
    colours = dict(zip(overview.learners, cycle(_COLOURS)))
    if metric.startswith(SCORES):
        found = overview.scores.get(metric.removeprefix(SCORES), {})
        lines = {other: (one, colours.get(other.partition("@")[0], "var(--faint)")) for other, one in found.items()}
    else:
        of = {learner: told[metric] for learner, told in overview.metrics.items() if metric in told}
        lines = {learner: (one, colours[learner]) for learner, one in of.items()}
    return _lines(lines, named=len(overview.learners) > 1 or metric.startswith(SCORES))


def _lines(lines: Mapping[str, tuple[Series, str]], named: bool = True) -> Shown:
    more: dict[str, Any] = {"named": named}
    if len(lines) > CROWDED:  # a name is left out where another is: the tooltip has them all
        more["labelLayout"] = {"hideOverlap": True}
    series = []
    for name, (one, colour) in lines.items():
        points = [[x, y] for x, y in zip(one.x.tolist(), one.y.tolist(), strict=True)]
        look = (
            {"color": colour, "width": 1, "opacity": 0.7} if len(lines) > CROWDED else {"color": colour, "width": 1.75}
        )
        series.append(_line(name, colour, points, lineStyle=look, **more))
    return _shown(series, lines if named else ())


def rate(overview: Overview) -> Shown:
    return _lines({"decisions a second": (_in_minutes(overview.rate), _COLOURS[0])}, named=False)


def rollout(overview: Overview) -> Shown:
    colours = {"total": "var(--ink)", "network": _COLOURS[0]}
    found = overview.rollout.items()
    return _lines({what: (_in_minutes(one), colours.get(what, "var(--faint)")) for what, one in found})


def _in_minutes(series: Series) -> Series:
    return replace(series, x=series.x / 60)


_WRITTEN: dict[str, Callable[[Overview], str]] = {
    "status": status, "ladder": ladder, "payoff": payoff, "lineage": lineage, "stored": stored,
}  # fmt: skip
_CHARTED: dict[str, Callable[[Overview], Shown]] = {"elo": elo, "rate": rate, "rollout": rollout}
