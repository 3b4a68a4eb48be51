"""Charts of the league page, as options of ECharts: ratings, learning curves, throughput.

They are drawn as SVG, so that colours may be the theme's CSS variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from arena.curves import Series
from arena.ladder import Ladder, Row, extent
from arena.overview import Overview
from arena.web_tables import COLOURS, colours, rating

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
"""What of a chart's ECharts options goes with the run: its series, room for their names, and its axis of ratings."""

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif'
_COMPACT = 'v => Intl.NumberFormat("en", {notation: "compact", maximumSignificantDigits: 3}).format(v)'
_LABEL = {"color": "var(--faint)", "fontFamily": _FONT, "hideOverlap": True, ":formatter": _COMPACT}
_VALUES = """points => {
  const text = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const rows = points.filter((p) => p.value[1] !== null).sort((a, b) => b.value[1] - a.value[1]).map((p) =>
    `<span>${text(p.seriesName)}</span><b style="text-align:right">${+p.value[1].toPrecision(4)}</b>`);
  const columns = `repeat(${2 * Math.ceil(rows.length / 10)},auto)`;
  return Intl.NumberFormat("en").format(points[0].value[0]) +
    `<div style="display:grid;gap:0 .75em;grid-template-columns:${columns}">${rows.join("")}</div>`;
}"""
"""The lines that have a point there, highest first."""


def options(shown: Shown, by_point: bool = False) -> dict[str, Any]:
    """All of a new chart's options; a tooltip is about one point or about all lines."""
    return _frame(by_point) | shown


def _frame(by_point: bool) -> dict[str, Any]:
    """What is the same in all charts, and stays when the series change."""
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
            "axisLabel": {**_LABEL, "showMaxLabel": False},
        },
        "yAxis": _upwards(),
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


def _upwards() -> dict[str, Any]:
    return {
        "type": "value",
        "scale": True,
        "splitNumber": 4,
        "splitLine": {"lineStyle": {"color": "var(--rule)"}},
        "axisLine": {"show": False},
        "axisTick": {"show": False},
        "axisLabel": dict(_LABEL),
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
    """Ratings: learners over their decisions, with the intervals of `arena.pictures.draw`; the others as levels."""
    climbs, levels = overview.climbs(), overview.levels()
    last = max([at for points in climbs.values() for at, _ in points], default=0) or 1
    series: list[dict[str, Any]] = []
    for row in levels:
        ends = [_point(0, row, overview), _point(last, row, overview)]
        dashes = {"color": "var(--faint)", "width": 1, "type": [4, 3]}
        series.append(_line(row.id, "var(--faint)", ends, lineStyle=dashes, symbolSize=8))
    for name, colour in colours(overview).items():
        points = climbs.get(name, [])
        if points:
            series += _band(name, colour, [(at, row) for at, row in points if math.isfinite(row.spread)])
            data = [_point(at, row, overview) for at, row in points]
            series.append(_line(name, colour, data, showSymbol=True, symbol="circle", symbolSize=7))
    shown = _shown(series, [*climbs, *(row.id for row in levels)])
    return shown | {"yAxis": _of_ratings(overview.ladder)} if series else shown


def _of_ratings(standing: Ladder) -> dict[str, Any]:
    """Their axis: from where to where the picture of the ladder goes, so that wide intervals do not stretch it."""
    axis = _upwards()
    axis["min"], axis["max"] = extent(standing)
    axis["axisLabel"] |= {"showMinLabel": False, "showMaxLabel": False}  # which are no round numbers
    axis["splitLine"] |= {"showMinLine": False, "showMaxLine": False}
    return axis


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
    told = f"{row.id}: {rating(row, overview)}, {row.games:,} games"
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
    of_learner = colours(overview)
    if metric.startswith(SCORES):
        found = overview.scores.get(metric.removeprefix(SCORES), {})
        lines = {other: (one, of_learner.get(other.partition("@")[0], "var(--faint)")) for other, one in found.items()}
    else:
        of = {learner: told[metric] for learner, told in overview.metrics.items() if metric in told}
        lines = {learner: (one, of_learner[learner]) for learner, one in of.items()}
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
    """Decisions a second over minutes in training."""
    return _lines({"decisions a second": (_in_minutes(overview.rate), COLOURS[0])}, named=False)


def rollout(overview: Overview) -> Shown:
    """What training orders spent their seconds on, over minutes in training."""
    special = {"total": "var(--ink)", "network": COLOURS[0]}
    found = overview.rollout.items()
    return _lines({what: (_in_minutes(one), special.get(what, "var(--faint)")) for what, one in found})


def _in_minutes(series: Series) -> Series:
    return replace(series, x=series.x / 60)
