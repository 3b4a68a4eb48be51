"""What a run is doing, as plain values: made from its directory alone, while it goes on and afterwards.

    watcher = Watcher(Path("runs/connect_four"))
    overview = watcher.refresh()  # all of it
    watcher.refresh()  # None until something new was written

A `Watcher` keeps what it has read, and reads on from there: results from the ledger's sequence number, metrics from a
byte of their file. It writes nothing, and knows nothing of pages or pictures.
"""

from __future__ import annotations

import fcntl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.config import RunConfig
from arena.curves import Metrics, Series
from arena.elo import Floats
from arena.ladder import Ladder, Row, TeamRow, with_thinking
from arena.report import Counters
from arena.run import RunError, make_game, read_config
from arena.standings import best_of, by_side, purposes, ranked
from games.core import GameSpec
from leagues.core import Match, Player, Purpose, Result
from leagues.gate import Gate
from leagues.ledger import Ledger
from leagues.payoff import Comparisons, Payoff

_RATED = purposes(people=True)
_READ: tuple[Purpose, ...] = (*_RATED, "gate", "casual")  # those that are rated, judged or kept to be replayed


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
        self._metrics = Metrics(folder / "metrics" / "metrics.jsonl", ())

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
            self._metrics = Metrics(self._metrics.path, tuple(config.league.learners))
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
        self._comparisons = Comparisons(spec.teams, by_side(spec))
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
            if match.purpose in _RATED:
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
            standing = ranked(self._rows, self.spec, config.rating.anchor)
            self._made = standing, self._payoffs([row.id for row in standing.rows])
        standing, payoffs = self._made
        best = best_of(self._gate, config.best) if self._gate is not None else None
        return replace(with_thinking(standing, ledger.thinking()), best=best), payoffs

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
