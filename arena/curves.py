"""A run's metrics as curves: its metrics file, read on as it grows.

    metrics = Metrics(folder / "metrics" / "metrics.jsonl", learners=("main",))
    metrics.read()  # what is new
    metrics.of_learners()["main"]["entropy"]  # over the decisions of main

A curve has at most `SHOWN` points, however long the run; what is told in seconds is told in bins of time.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from arena.elo import Floats
from arena.report import Counters
from arena.run import RunError

SHOWN = 500
"""Points of a series at most."""

_TAIL = 256  # bytes before the place read to, by which a file that was cut and written anew is told
_BINS = 120  # of the throughput at most
_ROLLOUT = "time/rollout/"
_NO_SECONDS = ("decisions_per_second", "network_batch", "network_share")  # what is told there besides
_WIDTHS = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 43200, 86400)  # of a bin, seconds


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A number over time, at most `SHOWN` points of it, the extremes among them."""

    x: Floats  # [n] decisions of its learner, or seconds of training
    y: Floats  # [n] finite
    points: int  # told so far, of which these were kept
    odd: int = 0  # values that were no finite numbers, left out


class Metrics:
    """What the metrics file told so far."""

    def __init__(self, path: Path, learners: tuple[str, ...]) -> None:
        self.path, self.learners = path, learners
        self.generation = 0  # how often the file was found to be another one
        self._forget()

    def _forget(self) -> None:
        self.offset, self._tail = 0, b""  # bytes read, and the last of them
        self.stopped_by = ""
        self._last: dict[str, float] = {}  # of the loop's own figures, the newest
        self._told: dict[str, _Told] = {}  # by the metric's whole name
        self._time = _Told()  # decisions of all learners over seconds of training

    def read(self) -> None:
        """Take in whole lines that are new; all of them again where the file was cut, as a resumed run does.

        Raises RunError where a line is not JSON.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:
                    self._forget()
                    self.generation += 1
                file.seek(self.offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is still being written
                    self._take(json.loads(line))
                    self.offset += len(line)
                    self._tail = line[-_TAIL:]
        except FileNotFoundError:
            return
        except ValueError:
            self._forget()
            raise RunError(f"{self.path} holds a line that is not JSON: it was damaged, or cut while read.") from None

    def _take(self, line: dict[str, Any]) -> None:
        if "summary" in line:
            self.stopped_by = str(line["summary"].get("stopped_by", ""))
        if "time/elapsed" not in line:
            return  # the ladder, pictures, a moved best: said by the ledger too
        self.stopped_by = ""
        step, elapsed = float(line["step"]), float(line["time/elapsed"])
        self._time.add(elapsed, step)
        self._last = {"step": step, "elapsed": elapsed}
        for name, value in line.items():
            owner, _, what = name.partition("/")
            if owner in self.learners:
                self._of(name).add(float(line.get(f"{owner}/decisions", step)), float(value))
            elif owner == "run":
                self._last[what] = float(value)
            elif name.startswith(_ROLLOUT) and name.removeprefix(_ROLLOUT) not in _NO_SECONDS:
                self._of(name).add(elapsed, float(value))

    def _of(self, name: str) -> _Told:
        found = self._told.get(name)
        if found is None:
            found = self._told[name] = _Told()
        return found

    def counters(self) -> Counters:
        of = self._last
        counts = (int(of.get(name, 0)) for name in ("step", "updates", "games", "void_games", "lost_orders"))
        return Counters(of.get("elapsed", 0.0), *counts)

    def of_learners(self) -> dict[str, dict[str, Series]]:
        """All metrics of each learner but its scores."""
        return {learner: self._below(f"{learner}/", but=("score/", "decisions")) for learner in self.learners}

    def scores(self) -> dict[str, dict[str, Series]]:
        return {learner: self._below(f"{learner}/score/") for learner in self.learners}

    def _below(self, prefix: str, but: tuple[str, ...] = ()) -> dict[str, Series]:
        names = {name: name.removeprefix(prefix) for name in self._told if name.startswith(prefix)}
        return {short: self._told[name].series() for name, short in names.items() if not short.startswith(but or "\0")}

    def rate(self) -> Series:
        """Decisions a second, as means over the bins of `_edges`."""
        elapsed, steps = (np.concatenate([[0.0], column]) for column in self._time.columns())
        edges = self._edges(elapsed)
        rates = np.diff(np.interp(edges, elapsed, steps)) / np.diff(edges)
        return Series(edges[1:], rates, len(rates))

    def rollout(self) -> dict[str, Series]:
        """Seconds of a training order, as means over the same bins."""
        names = [name for name in self._told if name.startswith(_ROLLOUT)]
        return {name.removeprefix(_ROLLOUT): self._means(self._told[name]) for name in names}

    def _means(self, told: _Told) -> Series:
        x, y = told.columns()
        edges = self._edges(np.concatenate([[0.0], self._time.columns()[0]]))
        count, sums = np.histogram(x, edges)[0], np.histogram(x, edges, weights=y)[0]
        return Series(edges[1:][count > 0], sums[count > 0] / count[count > 0], len(y))

    @staticmethod
    def _edges(elapsed: Floats) -> Floats:
        """Of bins of seconds from 0 on, alike and long enough to hold some of the updates at `elapsed` [n]."""
        if len(elapsed) < 3:
            return elapsed[:1]
        least = max(elapsed[-1] / _BINS, 3 * float(np.median(np.diff(elapsed))))
        width = next((width for width in _WIDTHS if width >= least), _WIDTHS[-1])
        edges = np.arange(0.0, elapsed[-1] + 1e-9, width)
        if elapsed[-1] - edges[-1] > width / 2:  # the last bin is not full yet
            edges = np.append(edges, elapsed[-1])
        return edges


@dataclass(slots=True)
class _Told:
    """Points of one metric as they came; NumPy sees the arrays' memory as it is."""

    x: array[float] = field(default_factory=lambda: array("d"))
    y: array[float] = field(default_factory=lambda: array("d"))
    _made: Series | None = None  # until the next point

    def add(self, x: float, y: float) -> None:
        self.x.append(x)
        self.y.append(y)
        self._made = None

    def columns(self) -> tuple[Floats, Floats]:
        return np.array(self.x), np.array(self.y)

    def series(self) -> Series:
        if self._made is None:
            x, y = self.columns()
            good = np.isfinite(x) & np.isfinite(y)
            self._made = Series(*thinned(x[good], y[good]), len(y), int(len(y) - good.sum()))
        return self._made


def thinned(x: Floats, y: Floats, most: int = SHOWN) -> tuple[Floats, Floats]:
    """At most `most` of the points [n]: the first, the last, and of stretches alike in number the lowest and highest.

    So a spike is seen, however long the run.
    """
    n = len(y)
    if n <= most:
        return x, y
    size = -(-n // ((most - 2) // 2))
    stretches = np.pad(y, (0, -n % size), mode="edge").reshape(-1, size)
    starts = np.arange(len(stretches)) * size
    ends = np.concatenate([[0, n - 1], starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)])
    kept = np.unique(np.minimum(ends, n - 1))
    return x[kept], y[kept]
