"""The train loop: orders go out, results and updates come back, until a stop rule says so.

    1. keep rollout actors busy with matches of the learner that has least to learn from
    2. results go to the ledger and the league; trajectories wait for their learner
    3. a learner with enough makes an update; its new weights go to the actors
    4. now and then: a snapshot enters the league, snapshots play rating matches, the newest challenges the best, a
       checkpoint is written

With the in-process backend each of these happens at once and in order, so a run is a function of its config, and a
resumed one continues bit for bit. With Ray they overlap; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from agents.core import Trajectories
from agents.kinds import play_settings, record_of
from arena import checkpoints
from arena.backend import Backend, InProcess, Learned, Lost, Played, Pool
from arena.files import Arrays
from arena.interrupts import Interrupts
from arena.ladder import Ladder
from arena.orders import Pile, Raters
from arena.progress import Progress
from arena.report import Counters, Report, too_many_broken
from arena.rollout import Order
from arena.run import Run, RunError
from arena.store import Frozen
from arena.tracking import Tracker
from leagues.core import Player, Thinking
from leagues.gate import Gate
from leagues.league import League

MOST_AHEAD = 2.0
"""Updates' worth of decisions that may wait for a learner: more would only be staler."""


class Training:
    """A run in progress."""

    def __init__(
        self, run: Run, backend: Backend, tracker: Tracker, progress: Progress, interrupts: Interrupts
    ) -> None:
        self.run, self.backend, self.tracker = run, backend, tracker
        self.progress, self.interrupts = progress, interrupts
        config, spec = run.config, run.game.spec
        learners = config.league.learners
        self.league = League(
            spec.teams,
            config.seed,
            {name: settings.mix() for name, settings in learners.items()},
            {name: settings.snapshot.rule() for name, settings in learners.items()},
            decay=config.league.decay,
            roles=spec.roles,
        )
        self.gate = Gate(spec.teams, config.best.rule(), roles=spec.roles) if config.best.enabled else None
        self.piles = {name: Pile(settings.agent.batch) for name, settings in learners.items()}
        self.raters = Raters(self.gate)
        self.updates = 0  # of all learners
        self.games = 0
        self.voids = 0
        self.lost = 0
        self.ending = False  # no further updates begin
        self.save_due = False
        self.elapsed_before = 0.0  # seconds, of the run before it was resumed
        self.began = self.saved_at = monotonic()
        self.ended: float | None = None  # when training was over, and the settling of the ladder began
        self.report = Report(run, self.league, tracker, progress)

    # ---- the loop --------------------------------------------------------------------------------------------------

    def loop(self) -> str:
        """Train until a stop rule, or a signal, says so, and finish the updates under way; returns why."""
        self.began = self.saved_at = monotonic()
        while not (reason := self.stop_reason()):
            self.send_orders()
            self.take_ready()
        self.ending = True
        while any(pile.busy for pile in self.piles.values()):
            self.take_ready()
        self.ended = monotonic()
        return reason

    def take_ready(self) -> None:
        """Take what has come to an end, and show how the run stands."""
        for event in self.backend.ready(timeout=1.0):
            match event:
                case Played():
                    self.take_played(event)
                case Learned():
                    self.take_learned(event)
                case Lost():
                    self.take_lost(event)
        if self.save_due:  # only now: several learners may have made their updates by the same moment
            self.save()
        self.report.show(self.counters)

    def send_orders(self) -> None:
        """Rating orders that are due; training orders while there is room and no learner is far ahead of its learning.

        Rating comes first: in-process both share one room, which training always fills.
        """
        self.send_rating()
        while self.backend.room("train"):
            name, pile = min(self.piles.items(), key=lambda item: item[1].ahead)
            if pile.ahead >= MOST_AHEAD:
                break
            workers = max(1, self.run.config.rollout.workers)
            decisions = -(-pile.batch // workers)
            matches = self.league.propose(name, self.run.config.rollout.matches)
            self.submit("train", Order(tuple(matches), decisions, tuple(self.piles)))
            pile.ordered += decisions

    def send_rating(self) -> None:
        """Rating and gate matches that are due, while the raters have room."""
        while self.backend.room("rate") and (purpose := self.raters.next()):
            if purpose == "gate":
                self.submit_gate()
            else:
                self.submit_rating(1 if self.ending else self.run.config.rating.matches)

    def take_played(self, event: Played) -> None:
        """Results to the ledger, then to the league; trajectories to the piles."""
        order, batch = event.order, event.batch
        ledger, matches = self.run.ledger, {match.id: match for match in order.matches}
        rated = event.pool == "rate"
        thinking = [Thinking(order.matches[0].id, who, *spent) for who, spent in batch.thinking.items() if rated]
        ledger.append(batch.results, thinking)
        ledger.add_voids(batch.voids)
        told = [(matches.get(result.match) or ledger.match(result.match), result) for result in batch.results]
        self.league.record_all(told)
        self.games += len(batch.results)
        self.voids += len(batch.voids)
        self.refuse_broken(batch.voids)
        if rated:
            self.raters.over(order)
            self.report.rated()
            for verdict in self.gate.record_all(told) if self.gate else ():
                self.report.judged(verdict, self.league.players[verdict.challenger].step, self.decisions)
            return
        self.pile_of(order).ordered -= order.decisions or 0
        for name, recorded in event.recorded.items():
            self.piles[name].parts.append(event.trajectories)
            self.piles[name].recorded += recorded
        self.report.trained(batch)
        for name, pile in self.piles.items():
            self.maybe_learn(name, pile)

    def maybe_learn(self, name: str, pile: Pile) -> None:
        if not self.ending and not pile.busy and pile.recorded >= pile.batch:
            self.backend.learn(name, pile.take())

    def take_learned(self, event: Learned) -> None:
        """New weights to everybody; metrics to the trackers; then whatever is due."""
        pile = self.piles[event.learner]
        pile.busy, pile.version = False, event.version
        pile.decisions += int(event.metrics["decisions"])
        self.updates += 1
        self.backend.publish(event.learner, event.weights, event.version)
        self.report.updated(event, pile.decisions, self.counters)
        due = self.league.snapshot_due(event.learner, pile.decisions)
        if due:
            self.snapshot(event.learner)
        if self.updates % self.run.config.rating.every == 0:
            self.raters.due()
        self.maybe_learn(event.learner, pile)
        if due or monotonic() - self.saved_at > 60 * self.run.config.checkpoint:
            self.save_due = True

    def take_lost(self, event: Lost) -> None:
        """An actor died with this order: its games are gone, and were never counted."""
        self.lost += 1
        if event.pool == "rate":
            self.raters.over(event.order)
        else:
            self.pile_of(event.order).ordered -= event.order.decisions or 0

    def stop_reason(self) -> str:
        """Which stop rule holds; empty while none does."""
        stop = self.run.config.stop
        if self.interrupts.signal:
            return self.interrupts.signal
        if stop.decisions is not None and self.decisions >= stop.decisions:
            return f"{self.decisions} decisions"
        if stop.minutes is not None and self.elapsed >= 60 * stop.minutes:
            return f"{self.elapsed / 60:.1f} minutes"
        if stop.rating is not None:
            newest = {self.league.snapshots(name)[-1].id for name in self.piles}
            for row in self.ladder().rows:
                if row.id in newest and row.low > stop.rating:
                    return f"{row.id} at {row.rating:.0f} Elo"
        return ""

    # ---- what is due now and then ----------------------------------------------------------------------------------

    def snapshot(self, learner: str) -> None:
        """Freeze a learner as it is: to disk, to the ledger, to the league, to the actors."""
        pile, settings = self.piles[learner], self.run.config.league.learners[learner]
        frozen = Frozen(settings.agent, self.backend.fetch(self.backend.weights(learner)))
        player_id = f"{learner}@{len(self.league.snapshots(learner)) + 1}"
        player = Player(
            id=player_id,
            kind=settings.agent.kind,
            content=self.run.store.save(player_id, frozen),
            settings=play_settings(settings.agent),
            parent=learner,
            step=pile.decisions,
            role=learner,
        )
        self.enter(player, frozen)

    def submit(self, pool: Pool, order: Order) -> None:
        self.run.ledger.add_matches(order.matches)
        self.backend.submit(pool, order)
        if pool == "rate":
            self.raters.sent(order)

    def submit_rating(self, matches: int) -> None:
        rating = self.run.config.rating
        opening = rating.opening_of(self.run.game.spec)
        drawn = self.league.rating_matches(matches, rating.games, opening, rating.anchor)
        if drawn:
            self.submit("rate", Order(tuple(drawn)))

    def submit_gate(self) -> None:
        """The next match of the challenge."""
        config, pair = self.run.config, self.gate.challenge() if self.gate else None
        if pair:
            opening = config.rating.opening_of(self.run.game.spec)
            self.submit("rate", Order((self.league.gate_match(*pair, config.best.games, opening),)))

    def save(self) -> None:
        """A checkpoint: what the ledger does not hold, and how far it and the metrics had come.

        Raises RunError where the disk does not take it.
        """
        record = {
            "sequence": self.run.ledger.told,
            "offset": self.tracker.offset,
            "next_match": self.league.next_match,
            "updates": self.updates,
            "games": self.games,
            "voids": self.voids,
            "elapsed": self.elapsed,
            "exact": self.exactly(),
            "learners": {
                name: {"version": pile.version, "decisions": pile.decisions} for name, pile in self.piles.items()
            },
        } | self.raters.state()
        try:
            checkpoints.save(self.run.resume_folder, record, self.backend.state() | self.piled())
        except OSError as error:
            raise RunError(
                f"A checkpoint could not be written to {self.run.resume_folder}: {error.strerror}. The one before it is"
                f" kept: make room, then go on with --resume."
            ) from error
        self.saved_at, self.save_due = monotonic(), False

    def exactly(self) -> dict[str, Any] | None:
        """The settings with which an in-process run continues bit for bit; None where games under way are lost."""
        if not isinstance(self.backend, InProcess):
            return None
        gated = {"best"} if self.gate else set[str]()  # a run without is the same with or without these settings
        return self.run.config.model_dump(mode="json", include={"rollout", "rating"} | gated)

    def piled(self) -> dict[str, Arrays]:
        """Trajectories that wait for their learner; in-process only, as they are gone with Ray's actors."""
        if not isinstance(self.backend, InProcess):
            return {}
        return {
            f"pile.{name}": Trajectories.concatenate([part[name] for part in pile.parts]).arrays()
            for name, pile in self.piles.items()
            if pile.parts
        }

    # ---- beginning and end -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new league: the learners, the fixed members, and a snapshot of each learner as it was born."""
        config = self.run.config
        for name, settings in config.league.learners.items():
            self.enter(Player(name, settings.agent.kind, role=name, live=True))
        for name in config.league.fixed:
            self.enter(Player(name, name.partition(":")[0], settings=record_of(name), role="fixed"))
        for name in self.piles:
            self.snapshot(name)
        self.save()

    def enter(self, player: Player, frozen: Frozen | None = None) -> None:
        """A new member; `frozen` is what it plays with unless it is scripted or live."""
        self.run.ledger.add_player(player)
        self.introduce(player, frozen)

    def introduce(self, player: Player, frozen: Frozen | None) -> None:
        """Tell everybody of a member that the ledger knows."""
        self.league.enter(player)
        if self.gate:
            self.gate.enter(player)
        if not player.live:
            self.backend.enter(player, frozen)

    def resume(self, record: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> None:
        """Go on from a checkpoint. Raises RunError where it is not this run's."""
        exact = record["exact"] is not None and record["exact"] == self.exactly()
        ledger = self.run.ledger
        upto = record["sequence"] if exact else None
        ledger.told = record["sequence"] if exact else ledger.sequence
        for player in ledger.players(upto).values():
            self.introduce(player, self.run.store.load(player.id) if player.content else None)
        self.league.record_all((match, result) for _, match, result in ledger.results(upto=upto))
        if self.gate:
            self.gate.record_all((match, result) for _, match, result in ledger.results({"gate"}, upto=upto))
        self.league.next_match = record["next_match"] if exact else ledger.next_match()
        self.updates, self.games, self.voids = record["updates"], record["games"], record["voids"]
        self.elapsed_before = record["elapsed"]
        self.raters.restore(record)
        try:
            self.backend.restore(arrays if exact else {name: a for name, a in arrays.items() if name != "rollout"})
        except (KeyError, ValueError) as error:
            raise RunError(f"The checkpoint in {self.run.resume_folder} is not this run's: {error}") from None
        for name, pile in self.piles.items():
            pile.restore(name, record["learners"][name], arrays.get(f"pile.{name}"))
        if not exact:
            self.progress.message("Games that were under way when the run stopped are gone; matches get new numbers.")

    def finish(self) -> Ladder:
        """The last snapshots, the games that settle the ladder and the best (not when told to stop), the pictures."""
        for name, pile in self.piles.items():
            if self.league.snapshots(name)[-1].step < pile.decisions:
                self.snapshot(name)
        self.save()
        self.raters.settle(self.run.config.rating.final)
        while not (self.interrupts.signal or self.raters.settled):
            self.send_rating()
            self.take_ready()
        self.raters.rating_debt = self.raters.gate_debt = 0
        self.save()
        return self.report.final(self.decisions)

    # ---- how it stands ---------------------------------------------------------------------------------------------

    @property
    def decisions(self) -> int:
        return sum(pile.decisions for pile in self.piles.values())

    @property
    def elapsed(self) -> float:
        """Seconds of training, over all resumes."""
        return self.elapsed_before + (self.ended or monotonic()) - self.began

    @property
    def counters(self) -> Counters:
        return Counters(self.elapsed, self.decisions, self.updates, self.games, self.voids, self.lost)

    def pile_of(self, order: Order) -> Pile:
        """Of the learner for whom `order` was made: it plays in each of the matches."""
        return self.piles[order.matches[0].players[0]]

    def ladder(self) -> Ladder:
        return self.report.ladder()

    def refuse_broken(self, voids: list[tuple[int, int, str]]) -> None:
        """Tell of games whose environment broke; raises RunError where it was more than the stated share."""
        self.report.broken(voids)
        error = too_many_broken(self.run, self.voids, self.games, voids[-1][2]) if voids else None
        if error:
            self.save()
            raise error
