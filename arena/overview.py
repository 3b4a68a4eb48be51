"""What a run is doing, as plain values: made from its directory alone, while it goes on and afterwards.

    watcher = Watcher(Path("runs/connect_four"))
    overview = watcher.refresh()  # all of it
    watcher.refresh()  # None until something new was written

A `Watcher` keeps what it has read, and reads on from there: results from the ledger's sequence number, metrics from a
byte of their file. It writes nothing, and knows nothing of pages or pictures.
"""

from __future__ import annotations

import fcntl
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.config import RunConfig
from arena.elo import Floats
from arena.ladder import Ladder, Row, TeamRow, ladder, with_thinking
from arena.report import Counters
from arena.run import RunError, make_game, read_config
from games.core import GameSpec
from leagues.core import Match, Player, Purpose, Result
from leagues.gate import Gate
from leagues.ledger import Ledger
from leagues.payoff import Comparisons, Payoff

RATED: tuple[Purpose, ...] = ("rate", "human")
"""The games that the ladder is made of: that of `arena.standings`, people included."""
SHOWN = 500
"""Points of a series at most."""

_READ: tuple[Purpose, ...] = (*RATED, "gate", "casual")  # those that are rated, judged or kept to be replayed
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen copy of a learner."""

    id: str
    learner: str  # whose copy it is
    kind: str  # what plays it
    decisions: int  # its learner's when it was frozen
    row: Row | None  # its place on the ladder; None without rating games
    best: bool  # by gate matches
    verdict: str  # what came of its challenge; empty where there was none


@dataclass(frozen=True, slots=True, eq=False)
class Payoffs:
    """Who beats whom in rating games, in the ladder's order."""

    players: tuple[str, ...]  # [N]
    scores: Floats  # [N, N] of row against column in [0, 1]
    low: Floats  # [N, N] 95% interval of `scores`
    high: Floats  # [N, N]
    games: NDArray[np.int64]  # [N, N] 0 where two have not met


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A run at one moment."""

    name: str
    game: str
    facts: tuple[tuple[str, str], ...]  # of its settings: what, how
    kinds: Mapping[str, str]  # player -> what plays it, learners included
    learners: tuple[str, ...]
    running: bool
    stopped_by: str  # why it ended, as far as it said so
    counters: Counters
    ladder: Ladder
    payoffs: Payoffs
    snapshots: tuple[Snapshot, ...]  # oldest first
    stored: Mapping[tuple[str, ...], int]  # games that can be replayed, by who played, those who met last first
    metrics: Mapping[str, Mapping[str, Series]]  # learner -> name -> over its decisions
    scores: Mapping[str, Mapping[str, Series]]  # learner -> opponent -> score in training, over its decisions
    rate: Series  # decisions a second of all learners, over seconds of training
    rollout: Mapping[str, Series]  # what training orders spent their seconds on, over seconds of training

    @property
    def rate_now(self) -> float:
        """Decisions a second lately; of the whole run where it is over or has only begun."""
        return float(self.rate.y[-1]) if self.running and len(self.rate.y) else self.counters.rate

    def climbs(self) -> dict[str, list[tuple[int, Row]]]:
        """For each learner (decisions, row) of its rated snapshots, oldest first."""
        found: dict[str, list[tuple[int, Row]]] = {}
        for snapshot in self.snapshots:
            if snapshot.row is not None:
                found.setdefault(snapshot.learner, []).append((snapshot.decisions, snapshot.row))
        return found

    def levels(self) -> list[Row]:
        """The rated players who do not learn: scripted ones and people."""
        climbing = {snapshot.id for snapshot in self.snapshots}
        return [row for row in self.ladder.rows if row.id not in climbing]


def overview(folder: Path) -> Overview:
    """The run in `folder` as it stands. Raises RunError or LedgerError where there is none that can be read."""
    found = Watcher(folder).refresh()
    assert found is not None, "the first look finds everything new"
    return found


def is_running(folder: Path) -> bool:
    """Whether a process holds the run's lock."""
    # A shared lock is held for a moment, so that two who ask do not take each other for the run.
    try:
        with (folder / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class Watcher:
    """Follows one run. Not to be used by two threads at once; which one it is may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state: tuple[Any, ...] | None = None  # what the last overview was made of
        self._config: _Config | None = None
        self._games: _Games | None = None
        self._metrics = _Metrics(folder / "metrics" / "metrics.jsonl", ())

    def refresh(self) -> Overview | None:
        """The run as it is now; None where nothing is new since the last call.

        Raises RunError or LedgerError where the run cannot be read; another call tries again.
        """
        running = is_running(self.folder)
        config = self._settings()
        ledger_path = self.folder / "ledger.sqlite"
        with Ledger.open(ledger_path, read_only=True, game=config.spec.name) as ledger:
            file = _identity(ledger_path)
            if self._games is None or self._games.file != file:
                self._games = _Games(file, config.spec, config.run)
            games = self._games
            games.read(ledger)
            metrics = self._metrics
            metrics.read()
            state = (running, config.stamp, file, games.upto, metrics.generation, metrics.offset)
            if state == self._state:
                return None
            standing, payoffs = games.standing(ledger, config.run)
        made = Overview(
            name=self.folder.resolve().name,
            game=config.run.game,
            facts=config.facts,
            kinds=games.kinds,
            learners=tuple(config.run.league.learners),
            running=running,
            stopped_by="" if running else metrics.stopped_by,
            counters=metrics.counters(),
            ladder=standing,
            payoffs=payoffs,
            snapshots=games.snapshots(standing),
            stored=dict(reversed(games.stored.items())),
            metrics=metrics.of_learners(),
            scores=metrics.scores(),
            rate=metrics.rate(),
            rollout=metrics.rollout(),
        )
        self._state = state
        return made

    def _settings(self) -> _Config:
        """The run's settings, read again where a resumed run wrote others."""
        path = self.folder / "config.yaml"
        if self._config is None or not path.is_file() or self._config.stamp != _identity(path):
            config, stamp = read_config(self.folder), _identity(path)
            spec = make_game(config.game, str(path)).spec
            self._config = _Config(config, spec, _facts(config, self.folder), stamp)
            self._games, self._state = None, None
            self._metrics = _Metrics(self._metrics.path, tuple(config.league.learners))
        return self._config


@dataclass(frozen=True, slots=True)
class _Config:
    run: RunConfig
    spec: GameSpec
    facts: tuple[tuple[str, str], ...]
    stamp: tuple[int, ...]  # of the file that it was read from


def _facts(config: RunConfig, folder: Path) -> tuple[tuple[str, str], ...]:
    """What a reader of the run wants to know of its settings, in words."""
    stop = config.stop
    limits = [
        f"{stop.minutes:g} minutes" if stop.minutes is not None else "",
        f"{stop.decisions:,} decisions" if stop.decisions is not None else "",
        f"{stop.rating:g} Elo" if stop.rating is not None else "",
    ]
    workers = config.rollout.workers
    facts = [
        ("learners", ", ".join(f"{name} ({one.agent.kind})" for name, one in config.league.learners.items())),
        ("opponents", ", ".join(config.league.fixed)),
        ("stops after", " or ".join(filter(None, limits))),
        ("rollouts", "in one process" if workers == 0 else f"{workers} actor{'s' if workers > 1 else ''}"),
        ("seed", str(config.seed)),
    ]
    with (folder / "config.yaml").open() as lines:
        commits = [line.split()[2].partition("-") for line in lines if line.startswith("# commit: ")]
    facts += [("commit", commit[:12] + dash + changed) for commit, dash, changed in commits]
    return tuple((what, how) for what, how in facts if how)


def _identity(path: Path) -> tuple[int, ...]:
    """What tells a file from another, or a small one that is written whole from what it was. Raises RunError."""
    try:
        found = path.stat()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from None
    written = found.st_mtime_ns if path.suffix == ".yaml" else 0
    return found.st_dev, found.st_ino, written


class _Games:
    """What the ledger told so far of rating, gate and stored games."""

    def __init__(self, file: tuple[int, ...], spec: GameSpec, config: RunConfig) -> None:
        self.file, self.spec = file, spec
        self.upto = 0  # sequence number read to
        self.stored: dict[tuple[str, ...], int] = {}  # those who met last come last
        self._by_side = spec.roles and spec.competitive
        self._comparisons = Comparisons(spec.teams, self._by_side)
        self._rows: list[TeamRow] = []
        self._known: dict[TeamRow, TeamRow] = {}  # so that equal rows are one in memory
        self._payoff = Payoff(spec.teams, decay=1.0, roles=spec.roles)
        self._gate = Gate(spec.teams, config.best.rule(), spec.roles) if len(set(spec.teams)) == 2 else None
        self._players: dict[str, Player] = {}  # members of the league
        self.kinds: dict[str, str] = {}  # of everybody, visitors included
        self._made: tuple[Ladder, Payoffs] | None = None  # until the next rating game

    def read(self, ledger: Ledger) -> None:
        """Take in what is new."""
        upto = ledger.sequence
        if upto == self.upto:
            return
        self._players = ledger.players(upto)
        self.kinds = {player.id: player.kind for player in ledger.players(upto, visitors=True).values()}
        gated: list[tuple[Match, Result]] = []
        for _, match, result in ledger.results(_READ, after=self.upto, upto=upto):
            if match.purpose in RATED:
                self._rate(match, result)
            elif match.purpose == "gate":
                gated.append((match, result))
            if result.moves is not None:
                for pair in self._pairs(match):
                    self.stored[pair] = self.stored.pop(pair, 0) + 1
        if self._gate is not None:
            for player in self._players.values():
                self._gate.enter(player)
            self._gate.record_all(gated)
        self.upto = upto

    def _rate(self, match: Match, result: Result) -> None:
        self._made = None
        self._payoff.record(match, result)
        for names, returns in self._comparisons.rows(match, result):
            row = (tuple(names), tuple(returns))
            self._rows.append(self._known.setdefault(row, row))

    @staticmethod
    def _pairs(match: Match) -> list[tuple[str, ...]]:
        """Who met in a match, by two; one alone where nobody else was there."""
        names = sorted(set(match.players))
        return list(combinations(names, 2)) or [tuple(names)]

    def standing(self, ledger: Ledger, config: RunConfig) -> tuple[Ladder, Payoffs]:
        """The ladder, as `arena.standings.standings` makes it with people, and the payoffs in its order."""
        if self._made is None:
            spec, anchor = self.spec, config.rating.anchor
            present = list(dict.fromkeys(name for names, _ in self._rows for name in names))
            ranked = ladder(
                present,
                self._rows,
                anchor if anchor in present else None,
                spec.competitive,
                by_side=self._by_side,
                seats=1 if len(set(spec.teams)) > 1 else spec.seats,
            )
            self._made = ranked, self._payoffs([row.id for row in ranked.rows])
        ranked, payoffs = self._made
        gate = self._gate
        best = gate.best if gate is not None and (config.best.enabled or gate.verdicts) else None
        return replace(with_thinking(ranked, ledger.thinking()), best=best), payoffs

    def _payoffs(self, names: Sequence[str]) -> Payoffs:
        scores, games = self._payoff.matrix(names)
        low, high = np.zeros_like(scores), np.ones_like(scores)
        for i, j in np.argwhere(np.triu(games)).tolist():
            low[i, j], high[i, j] = self._payoff.interval(names[i], names[j])
            low[j, i], high[j, i] = 1 - high[i, j], 1 - low[i, j]
        return Payoffs(tuple(names), scores, low, high, games)

    def snapshots(self, standing: Ladder) -> tuple[Snapshot, ...]:
        rows = {row.id: row for row in standing.rows}
        verdicts = {one.challenger: one for one in self._gate.verdicts} if self._gate is not None else {}
        live = {player.id for player in self._players.values() if player.live}
        found = []
        for player in self._players.values():
            if player.live or player.parent not in live:
                continue
            said = ""
            if (one := verdicts.get(player.id)) is not None:
                outcome = "beat" if one.moved else "did not beat"
                said = f"{outcome} {one.best}: scored {one.score:.1%} in {one.games} games"
            row, best = rows.get(player.id), player.id == standing.best
            found.append(Snapshot(player.id, player.parent, player.kind, player.step, row, best, said))
        return tuple(found)


class _Metrics:
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
