"""The Ray backend: rollouts and learners in actors of their own, on this machine or on a cluster.

Actors never restart themselves. An actor that dies, or does not answer in time, is replaced here: the new one is told
the league and the present weights before its first order, and what the old one was doing is reported as `Lost`. So no
result is counted twice, and none that was reported is lost. Trajectories are returned, not put, so they outlive the
actor that made them.

This is the only module that imports Ray.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter, sleep
from typing import Any

# Both must be set before Ray is imported: tasks hang under `uv run` otherwise, and without the token of this user
# anybody who reaches the machine could run code in the actors.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

import games
from agents.kinds import AgentConfig
from arena.backend import Apprentice, Cast, Event, Handle, Learned, Lost, Played, Pool
from arena.config import RunConfig
from arena.files import Arrays
from arena.rollout import Batch, Order, Rollout
from arena.store import Frozen
from games.names import UserError
from leagues.core import Player

IN_FLIGHT: dict[Pool, int] = {"train": 2, "rate": 1}
"""Orders that an actor holds: a second one waits while it plays the first, so it never waits for us."""


class ClusterError(UserError):
    """The actors cannot be started, or die again and again. The message says what to do."""


class RolloutActor:
    """A `Rollout` in a process of its own."""

    def __init__(
        self,
        game: str,
        known: Mapping[str, Any],
        configs: Mapping[str, AgentConfig],
        rows: int,
        piece: int,
        most: float,
    ) -> None:
        import torch

        torch.set_num_threads(1)
        for name, factory in known.items():
            if name not in games.names():
                games.register(name, factory)
        self._refs: dict[str, Any] = {}
        made = games.make(game)
        self._cast = Cast(made.spec, configs, lambda player: ray.get(self._refs[player]))
        self._rollout = Rollout(made, self._cast, rows, piece=piece, most_failed=most)
        self._idle_since = perf_counter()

    def enter(self, player: Player, frozen: Sequence[Any]) -> None:
        """`frozen` holds a reference, in a list so that Ray does not fetch it before it is needed."""
        if frozen:
            self._refs[player.id] = frozen[0]
        self._cast.enter(player)

    def publish(self, learner: str, weights: Any, version: int) -> None:
        self._cast.publish(learner, weights, version)

    def run(self, order: Order) -> tuple[tuple[Batch, dict[str, int]], Any]:
        waited = perf_counter() - self._idle_since
        batch = self._rollout.run(order)
        batch.seconds["waited"] = waited
        trajectories, batch.trajectories = batch.trajectories, {}
        recorded = {name: part.decisions for name, part in trajectories.items()}
        self._idle_since = perf_counter()
        return (batch, recorded), trajectories


class LearnerActor:
    """An `Apprentice` in a process of its own, on a GPU where it was given one."""

    def __init__(
        self, game: str, known: Mapping[str, Any], name: str, number: int, config: AgentConfig, seed: int, device: str
    ) -> None:
        import torch

        torch.set_num_threads(1)
        for other, factory in known.items():
            if other not in games.names():
                games.register(other, factory)
        self._apprentice = Apprentice.make(name, number, games.make(game).spec, config, seed, device)

    def update(self, *played: Any) -> tuple[tuple[dict[str, float], int], Any]:
        metrics, weights = self._apprentice.update(played)
        return (metrics, self._apprentice.updates), weights

    def weights(self) -> Any:
        return self._apprentice.learner.weights()

    def state(self) -> Arrays:
        return self._apprentice.state()

    def restore(self, state: Arrays) -> int:
        self._apprentice.restore(state)
        return self._apprentice.updates


@dataclass(slots=True)
class Worker:
    """A rollout actor and the orders it holds."""

    pool: Pool
    actor: Any
    orders: dict[Any, tuple[Order, Any, float]] = field(default_factory=dict)  # report ref -> order, rest, deadline
    ready_at: float = 0.0  # a replacement takes no orders before


class RayBackend:
    """Rollout actors in two pools, and an actor for each learner."""

    def __init__(self, config: RunConfig, device: str, warn: Callable[[str], None]) -> None:
        self._config, self._device, self._warn = config, device, warn
        self._configs = {name: settings.agent for name, settings in config.league.learners.items()}
        self._deaths = 0  # of rollout actors, since one last carried out an order
        self._entered: dict[str, tuple[Player, list[Any]]] = {}
        self._published: dict[str, tuple[Handle, int]] = {}
        self._updates: dict[Any, tuple[str, Any]] = {}  # report ref -> learner, weights ref
        gpus = config.cluster.learner.gpus or (1.0 if device == "cuda" else 0.0)
        self._connect(gpus)
        self._rollout_actor = ray.remote(num_cpus=config.cluster.rollout.cpus, max_restarts=0)(RolloutActor)
        learner_actor = ray.remote(num_cpus=config.cluster.learner.cpus, num_gpus=gpus, max_restarts=0)(LearnerActor)
        self._learners = {
            name: learner_actor.remote(config.game, games.registered(), name, number, agent, config.seed, device)
            for number, (name, agent) in enumerate(self._configs.items())
        }
        sizes: dict[Pool, int] = {"train": config.rollout.workers, "rate": max(1, config.rating.workers)}
        self._workers = [Worker(pool, self._start(pool)) for pool, size in sizes.items() for _ in range(size)]
        for name, learner in self._learners.items():
            self.publish(name, learner.weights.remote(), 0)

    def enter(self, player: Player, frozen: Frozen | None) -> None:
        self._entered[player.id] = (player, [] if frozen is None else [ray.put(frozen)])
        for worker in self._workers:
            worker.actor.enter.remote(*self._entered[player.id])

    def publish(self, learner: str, weights: Handle, version: int) -> None:
        self._published[learner] = (weights, version)
        for worker in self._workers:
            worker.actor.publish.remote(learner, weights, version)

    def room(self, pool: Pool) -> int:
        now = monotonic()
        return sum(IN_FLIGHT[pool] - len(w.orders) for w in self._workers if w.pool == pool and w.ready_at <= now)

    def submit(self, pool: Pool, order: Order) -> None:
        now = monotonic()
        free = [worker for worker in self._workers if worker.pool == pool and worker.ready_at <= now]
        worker = min(free, key=lambda worker: len(worker.orders))
        report, rest = worker.actor.run.options(num_returns=2).remote(order)
        patience = self._config.rollout.patience * (1 + len(worker.orders))
        worker.orders[report] = (order, rest, now + patience)

    def learn(self, learner: str, trajectories: Sequence[Handle]) -> None:
        report, weights = self._learners[learner].update.options(num_returns=2).remote(*trajectories)
        self._updates[report] = (learner, weights)

    def ready(self, timeout: float) -> list[Event]:
        waiting = [*self._updates, *(ref for worker in self._workers for ref in worker.orders)]
        if not waiting:
            self._wait_for_replacements(timeout)
            return []
        ray.wait(waiting, timeout=timeout)
        done = set(ray.wait(waiting, num_returns=len(waiting), timeout=0)[0])
        events: list[Event] = []
        for ref in [ref for ref in self._updates if ref in done]:
            events.append(self._learned(ref))
        for worker in self._workers:
            events += self._played(worker, done)
        return events

    def weights(self, learner: str) -> Handle:
        return self._published[learner][0]

    def fetch(self, handle: Handle) -> Any:
        return ray.get(handle)

    def state(self) -> dict[str, Arrays]:
        return {f"learner.{name}": ray.get(learner.state.remote()) for name, learner in self._learners.items()}

    def restore(self, state: Mapping[str, Arrays]) -> None:
        for name, learner in self._learners.items():
            updates = ray.get(learner.restore.remote(state[f"learner.{name}"]))
            self.publish(name, learner.weights.remote(), updates)

    def close(self) -> None:
        ray.shutdown()

    def _connect(self, gpus: float) -> None:
        config, cluster = self._config, self._config.cluster
        workers = config.rollout.workers + max(1, config.rating.workers)
        cpus = workers * cluster.rollout.cpus + len(self._configs) * cluster.learner.cpus
        if os.environ.get("RAY_AUTH_MODE") != "token":
            raise ClusterError("RAY_AUTH_MODE must be 'token': without it anybody on the network could run code here.")
        if cluster.address is None:
            # Actors here share the cores as processes do: more of them than cores is allowed, as is one core.
            ray.init(
                num_cpus=max(round(cpus + 0.5), os.cpu_count() or 1), include_dashboard=False, log_to_driver=False,
                logging_level="ERROR", configure_logging=True,
            )  # fmt: skip
            return
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        there = ray.cluster_resources()
        for what, needed in (("CPU", cpus), ("GPU", gpus * len(self._configs))):
            if there.get(what, 0) < needed:
                raise ClusterError(
                    f"The cluster at {cluster.address} has {there.get(what, 0):g} {what}s, but this run needs"
                    f" {needed:g}: lower rollout.workers or rating.workers, or cluster.*.{what.lower()}s."
                )

    def _start(self, pool: Pool) -> Any:
        config = self._config
        rows = config.rollout.rows if pool == "train" else config.rating.rows
        actor = self._rollout_actor.remote(
            config.game, games.registered(), self._configs, rows, config.rollout.piece, config.most_failed
        )
        for player, frozen in self._entered.values():
            actor.enter.remote(player, frozen)
        for learner, (weights, version) in self._published.items():
            actor.publish.remote(learner, weights, version)
        return actor

    def _learned(self, ref: Any) -> Learned:
        learner, weights = self._updates.pop(ref)
        try:
            metrics, version = ray.get(ref)
        except ray.exceptions.RayActorError as error:
            raise ClusterError(
                f"The process of learner {learner} died: {_first_line(error)} Run the same command with --resume to go"
                " on from the last checkpoint."
            ) from error
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        return Learned(learner, weights, version, metrics)

    def _played(self, worker: Worker, done: set[Any]) -> list[Event]:
        events: list[Event] = []
        for ref in [ref for ref in worker.orders if ref in done]:
            if ref not in worker.orders:  # its actor was replaced meanwhile
                continue
            order, rest, _ = worker.orders[ref]
            try:
                batch, recorded = ray.get(ref)
            except ray.exceptions.RayActorError as error:
                events += self._replace(worker, _first_line(error))
                break
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            del worker.orders[ref]
            self._deaths = 0
            events.append(Played(worker.pool, order, batch, rest, recorded))
        if any(deadline < monotonic() for _, _, deadline in worker.orders.values()):
            ray.kill(worker.actor)
            events += self._replace(worker, f"no answer within {self._config.rollout.patience:g} seconds")
        return events

    def _replace(self, worker: Worker, reason: str) -> list[Event]:
        """A new actor for a dead one, later each time in a row; its orders are lost."""
        self._deaths += 1
        game, most = self._config.game, self._config.rollout.restarts
        if self._deaths > most:
            raise ClusterError(
                f"Rollout actors playing {game} died {self._deaths} times in a row, the last with: {reason} Try"
                f" `arena check {game}`, or rollout.workers=0 to see the error in this process."
            )
        lost: list[Event] = [Lost(worker.pool, order, reason) for order, _, _ in worker.orders.values()]
        worker.orders.clear()
        delay = 0.0 if self._deaths == 1 else min(0.5 * 2 ** (self._deaths - 2), 30.0)
        self._warn(f"A rollout actor died ({reason}); a new one takes over.")
        worker.actor = self._start(worker.pool)
        worker.ready_at = monotonic() + delay
        return lost

    def _wait_for_replacements(self, timeout: float) -> None:
        """Nobody holds an order: all that can come is the end of a replacement's delay."""
        soonest = min(worker.ready_at for worker in self._workers) - monotonic()
        if soonest > 0:
            sleep(min(soonest, timeout))


def _first_line(error: Exception) -> str:
    """Ray's messages run over many lines; the first says what happened."""
    return str(error).strip().splitlines()[0]
