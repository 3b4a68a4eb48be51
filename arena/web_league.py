"""The league page: a run as a web page, live while it goes on and afterwards from its directory alone.

What there is to say comes from `arena.overview`; `arena.web_tables` and `arena.web_charts` put it into HTML and into
options of ECharts. Here new numbers are put into what is there, so that a reader's zoom, focus and selection stay.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from arena.overview import Overview, Watcher
from arena.web_charts import Shown, curve, elo, metric_names, options, rate, rollout, shown_first, title_of
from arena.web_tables import ladder, lineage, payoff, play_address, status, stored
from arena.web_theme import ASSETS
from games.names import UserError

EVERY = 2.5  # seconds between two looks at a run that goes on
SELDOM = 15.0  # at one that does not: it may be resumed
FRESH = 1.0  # that what was read for one page is good for another

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

    ui.add_css(ASSETS / "league.css")
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

    def __init__(
        self, title: str, note: str, shown: Shown, height: str = "13rem", headed: bool = True, by_point: bool = False
    ) -> None:
        from nicegui import ui

        self.shown = shown
        with ui.element("div"):
            if headed:
                ui.html(f"<h3>{escape(title)} <small>{escape(note)}</small></h3>", sanitize=False)
            self.element = ui.echart(options(shown, by_point), renderer="svg", on_point_click=_play)
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
        if found is None:  # cancelled, as the server stops: the timer itself would not notice and go on
            self._timer.cancel()
            return
        if found is self._seen and not self._wrong:
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
            self._charts["elo"] = _Chart(unit, "of snapshots", elo(overview), "24rem", headed=False, by_point=True)
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


_WRITTEN: dict[str, Callable[[Overview], str]] = {
    "status": status, "ladder": ladder, "payoff": payoff, "lineage": lineage, "stored": stored,
}  # fmt: skip
_CHARTED: dict[str, Callable[[Overview], Shown]] = {"elo": elo, "rate": rate, "rollout": rollout}
