"""What people see of a run: metrics for the trackers, a status for whoever watches, the ladder, and what is wrong.

The train loop tells it what happened; nothing it keeps here decides what happens next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from arena.backend import Learned
from arena.ladder import Ladder
from arena.progress import Progress, Status, time_left
from arena.rollout import Batch
from arena.run import Run, RunError
from arena.standings import standings, track, write_pictures
from arena.tracking import Tracker
from leagues.gate import Verdict
from leagues.league import League

WATCHED = ("entropy", "explained_variance", "kl", "staleness", "time/learner_waited", "rollout/network_share")
"""The metrics shown while a run goes on; all of them are tracked."""


@dataclass(frozen=True, slots=True)
class Counters:
    """How far a run has come, over all resumes."""

    elapsed: float  # seconds of training
    decisions: int  # learned from, of all learners
    updates: int
    games: int
    voids: int  # games whose environment broke
    lost: int  # orders whose actor died

    @property
    def rate(self) -> float:
        """Decisions a second."""
        return self.decisions / max(self.elapsed, 1e-9)


@dataclass(slots=True)
class Report:
    """The trackers and the progress of one run."""

    run: Run
    league: League
    tracker: Tracker
    progress: Progress
    recent: dict[str, float] = field(default_factory=dict)  # of the last update's metrics, what a person watches
    rollout: dict[str, float] = field(default_factory=dict)  # what the last training order spent its seconds on
    _ladder: Ladder | None = None  # until the next rating game

    def ladder(self) -> Ladder:
        if self._ladder is None:
            self._ladder = standings(self.run)
        return self._ladder

    def rated(self) -> None:
        """Rating games were played: the ladder is another."""
        self._ladder = None

    def trained(self, batch: Batch) -> None:
        """A training order was carried out: how fast, and what took its seconds."""
        speed = batch.decisions / max(batch.seconds["total"], 1e-9)  # of everyone, not only of learners
        self.rollout = batch.seconds | {"decisions_per_second": speed}
        if batch.forwards:
            self.rollout["network_share"] = batch.seconds["network"] / max(batch.seconds["total"], 1e-9)
            self.rollout["network_batch"] = batch.evaluated / batch.forwards  # positions to a forward pass

    def updated(self, event: Learned, decisions: int, counters: Counters) -> None:
        """An update's metrics, the learner's win rates and the loop's own figures, to the trackers.

        `decisions` are those that this learner has learned from.
        """
        name = event.learner
        told = {**event.metrics} | {f"rollout/{what}": value for what, value in self.rollout.items()}
        self.recent = {key: told[key] for key in WATCHED if key in told}
        metrics = {f"{name}/{key}": value for key, value in event.metrics.items()}
        metrics |= {f"{name}/score/{other}": score for other, (score, _) in self.scores(name).items()}
        metrics |= {
            f"{name}/decisions": float(decisions),
            "run/games": float(counters.games),
            "run/void_games": float(counters.voids),
            "run/lost_orders": float(counters.lost),
            "run/updates": float(counters.updates),
            "time/elapsed": counters.elapsed,
            "time/decisions_per_second": counters.rate,
        }
        metrics |= {f"time/rollout/{what}": value for what, value in self.rollout.items()}
        self.tracker.log(counters.decisions, metrics)

    def scores(self, learner: str) -> dict[str, tuple[float, int]]:
        """How `learner` fares against those it met in training: score and games."""
        payoff = self.league.payoff
        others = [other for other in self.league.players if other != learner and payoff.games(learner, other)]
        return {other: (payoff.score(learner, other), payoff.games(learner, other)) for other in others}

    def show(self, counters: Counters) -> None:
        """How the run stands, for a person who watches it."""
        stop, rate, ladder = self.run.config.stop, counters.rate, self.ladder()
        limits = [
            (counters.elapsed, 60 * (stop.minutes or inf), 1.0),
            (counters.decisions, stop.decisions or inf, rate),
        ]
        status = Status(
            elapsed=counters.elapsed,
            decisions=counters.decisions,
            total=stop.decisions,
            rate=rate,
            left=time_left(limits),
            wins=self.scores(next(iter(self.run.config.league.learners))),
            ladder=[(row.id, row.rating, row.low, row.high) for row in ladder.rows],
            thinking={row.id: row.thinking for row in ladder.rows if row.thinking is not None},
            best=ladder.best,
            metrics=self.recent,
        )
        self.progress.update(status)

    def judged(self, verdict: Verdict, step: int, decisions: int) -> None:
        """A challenge is decided; `step` are the decisions after which the challenger was frozen."""
        scored = f"scored {verdict.score:.1%} in {verdict.games} games"
        if verdict.moved:
            self.progress.message(f"{verdict.challenger} is the best now: it {scored} against {verdict.best}.")
        else:
            self.progress.message(f"{verdict.best} stays the best: {verdict.challenger} {scored} against it.")
        if verdict.moved:
            self.tracker.log(decisions, {"run/best": float(step)})

    def broken(self, voids: Sequence[tuple[int, int, str]]) -> None:
        """Tell of games whose environment broke."""
        if voids:
            self.progress.message(f"{len(voids)} games are void: {voids[-1][2]}")

    def final(self, decisions: int) -> Ladder:
        """The ladder as it stands at the end: drawn, and told to the trackers."""
        standing = self.ladder()
        track(self.tracker, standing, write_pictures(self.run, standing), decisions)
        return standing


def too_many_broken(run: Run, voids: int, games: int, last: str) -> RunError | None:
    """What ends a run in which `voids` games broke beside `games` that did not; None where that is few enough."""
    most = run.config.most_failed
    if voids < 20 or voids <= most * (voids + games):
        return None
    return RunError(
        f"{voids} of {voids + games} games broke, more than most_failed ({most:g}) allows. The last: {last} Try"
        f" `arena check {run.config.game}`."
    )
