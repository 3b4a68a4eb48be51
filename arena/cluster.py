"""The Ray backend: rollouts and learners in actors of their own, on this machine or on a cluster.

Actors never restart themselves. A rollout actor that dies, or does not answer in time, is replaced here: the new one is
told the league and the present weights before its first order, and what the old one was doing is reported as `Lost`. So
no result is counted twice, and none that was reported is lost. Trajectories are returned, not put, so they outlive the
actor that made them. A learner that dies ends the run, which goes on from its checkpoint with --resume: only the loop
knows what else to turn back.

With `rollout.inference: gpu` one more actor evaluates for the tree searches of all rollout actors (`arena.serving`).
Where it dies the orders that asked it are lost, and a new one takes its place. A rollout actor waits while it is
answered: more rollout actors than cores (`cluster.rollout.cpus` below 1) keep the cores, and the GPU, at work.

Whoever can reach Ray's ports with this user's token can run code here, by design. They are open on all interfaces (Ray
2.60 does so whatever address it is given), so the token is always asked for, and kept private.

This is the only module that imports Ray.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from time import monotonic, sleep
from typing import Any

# Ray reads these when it is imported. Tasks hang under `uv run` without the first.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if "ray" not in sys.modules:  # where it is, `ray.init` still turns tokens on, but not if this says so too late
    os.environ.setdefault("RAY_AUTH_MODE", "token")
else:  # the first came too late: what Ray made of it has no public setting
    sys.modules["ray._private.ray_constants"].RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # type: ignore[attr-defined]

import ray
import torch

import games
from arena.actors import InferenceActor, LearnerActor, RolloutActor
from arena.backend import Event, Handle, Learned, Lost, Played, Pool
from arena.config import RunConfig
from arena.files import Arrays
from arena.rollout import Order
from arena.serving import Answer, Floats, InferenceLost, doubts, gpu_shares, serves
from arena.store import Frozen
from games.names import UserError
from leagues.core import Player

IN_FLIGHT: dict[Pool, int] = {"train": 2, "rate": 1}
"""Orders that an actor holds: a second one waits while it plays the first, so it never waits for us."""

STARTS = 120.0
"""Seconds that a new actor may take, on a busy machine, before its first order is expected to be under way."""


class ClusterError(UserError):
    """The actors cannot be started. The message says what to do."""


class ActorLost(ClusterError):
    """An actor died that cannot be replaced, or died again and again."""

    exit_code = 1


@dataclass(slots=True)
class Worker:
    """A rollout actor and the orders it holds."""

    pool: Pool
    actor: Any = None  # None until it is first needed
    orders: dict[Any, tuple[Order, Any, float]] = field(default_factory=dict)  # report ref -> order, rest, deadline
    proven: bool = False  # this actor has carried out an order
    deaths: int = 0  # of actors in this place, since one carried out an order
    ready_at: float = 0.0  # a replacement takes no orders before


@dataclass(slots=True)
class Inference:
    """The inference actor of a run that has one."""

    actor: Any
    number: int = 0  # of those before it
    deaths: int = 0  # since an order was carried out with one


class RayBackend:
    """Rollout actors in two pools, an actor for each learner, and perhaps one that evaluates."""

    def __init__(self, config: RunConfig, device: str, warn: Callable[[str], None]) -> None:
        self._config, self._warn = config, warn
        self._configs = {name: settings.agent for name, settings in config.league.learners.items()}
        self._entered: dict[str, tuple[Player, list[Any]]] = {}
        self._published: dict[str, tuple[Handle, int]] = {}
        self._updates: dict[Any, tuple[str, Any]] = {}  # report ref -> learner, weights ref
        self._device, room = device, config.cluster
        gpus, self._inference_gpus = gpu_shares(config, device, torch.cuda.device_count())
        for sentence in doubts(config, device):
            warn(sentence)
        with ExitStack() as stack:
            stack.callback(ray.shutdown)
            connect(config, gpus * len(self._configs) + self._inference_gpus)
            self._rollout_actor = ray.remote(num_cpus=room.rollout.cpus, max_restarts=0)(RolloutActor)
            learner_actor = ray.remote(num_cpus=room.learner.cpus, num_gpus=gpus, max_restarts=0)(LearnerActor)
            self._inference = Inference(self._start_inference()) if serves(config) else None
            self._learners = {
                name: learner_actor.remote(config.game, games.registered(), name, number, agent, config.seed, device)
                for number, (name, agent) in enumerate(self._configs.items())
            }
            self._workers = [Worker("train", self._start("train")) for _ in range(config.rollout.workers)]
            # Raters start with the first rating match: the cores have enough to do until then.
            self._workers += [Worker("rate") for _ in range(max(1, config.rating.workers))]
            for name, learner in self._learners.items():
                self.publish(name, learner.weights.remote(), 0)
            stack.pop_all()  # from here on `close` shuts down

    def enter(self, player: Player, frozen: Frozen | None) -> None:
        self._entered[player.id] = (player, [] if frozen is None else [ray.put(frozen)])
        if self._inference and frozen is not None:
            self._inference.actor.enter.remote(player.id, self._entered[player.id][1])
        for actor in self._actors():
            actor.enter.remote(*self._entered[player.id])

    def publish(self, learner: str, weights: Handle, version: int) -> None:
        self._published[learner] = (weights, version)
        if self._inference:
            self._inference.actor.publish.remote(learner, weights, version)
        for actor in self._actors():
            actor.publish.remote(learner, weights, version)

    def room(self, pool: Pool) -> int:
        return sum(IN_FLIGHT[pool] - len(worker.orders) for worker in self._ready_workers(pool))

    def submit(self, pool: Pool, order: Order) -> None:
        worker = min(self._ready_workers(pool), key=lambda worker: len(worker.orders))
        if worker.actor is None:
            worker.actor = self._start(pool)
        report, rest = worker.actor.run.options(num_returns=2).remote(order)
        patience = self._config.rollout.patience * (1 + len(worker.orders))
        worker.orders[report] = (order, rest, monotonic() + patience + (0.0 if worker.proven else STARTS))

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
        events: list[Event] = [self._learned(ref) for ref in list(self._updates) if ref in done]
        for worker in self._workers:
            events += self._played(worker, done)
        return events

    def weights(self, learner: str) -> Handle:
        return self._published[learner][0]

    def fetch(self, handle: Handle) -> Any:
        return _from_learner(handle)

    def state(self) -> dict[str, Arrays]:
        return {f"learner.{name}": _from_learner(learner.state.remote()) for name, learner in self._learners.items()}

    def restore(self, state: Mapping[str, Arrays]) -> None:
        for name, learner in self._learners.items():
            updates = _from_learner(learner.restore.remote(state[f"learner.{name}"]))
            self.publish(name, learner.weights.remote(), updates)

    def close(self) -> None:
        ray.shutdown()

    def _actors(self) -> list[Any]:
        """The rollout actors that there are."""
        return [worker.actor for worker in self._workers if worker.actor is not None]

    def _ready_workers(self, pool: Pool) -> list[Worker]:
        now = monotonic()
        return [worker for worker in self._workers if worker.pool == pool and worker.ready_at <= now]

    def _start(self, pool: Pool) -> Any:
        """A new rollout actor, which knows of the league and has the present weights before its first order."""
        config = self._config
        rows = config.rollout.rows if pool == "train" else config.rating.rows
        actor = self._rollout_actor.remote(
            config.game, games.registered(), self._configs, rows, config.rollout.piece, config.most_failed, ray.get, ask
        )
        if self._inference:
            actor.serve.remote(self._inference.actor, self._inference.number)
        for player, frozen in self._entered.values():
            actor.enter.remote(player, frozen)
        for learner, (weights, version) in self._published.items():
            actor.publish.remote(learner, weights, version)
        return actor

    def _start_inference(self) -> Any:
        """A new inference actor, which knows of the league and has, or is about to have, the present weights."""
        config, room = self._config, self._config.cluster.inference
        made = ray.remote(num_cpus=room.cpus, num_gpus=self._inference_gpus, max_restarts=0)(InferenceActor)
        rows = config.rollout.rows * config.rollout.workers
        actor = made.remote(config.game, games.registered(), self._configs, rows, self._device, ray.get)
        for player, frozen in self._entered.values():
            if frozen:
                actor.enter.remote(player.id, frozen)
        for learner, (weights, version) in self._published.items():
            actor.publish.remote(learner, weights, version)
        return actor

    def _learned(self, ref: Any) -> Learned:
        learner, weights = self._updates.pop(ref)
        metrics, version = _from_learner(ref)
        return Learned(learner, weights, version, metrics)

    def _played(self, worker: Worker, done: set[Any]) -> list[Event]:
        """What `worker` brought; its orders as `Lost` where its actor has died, or is past a deadline."""
        events: list[Event] = []
        for ref in [ref for ref in worker.orders if ref in done]:
            try:
                brought = ray.get(ref)
            except ray.exceptions.RayActorError as error:
                if error.actor_init_failed:
                    raise ActorLost(_not_started("rollout actor", error)) from None
                return events + self._replace(worker, _end_of(error))
            except ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            order, rest, _ = worker.orders.pop(ref)
            if isinstance(brought, InferenceLost):
                self._replace_inference(brought)
                events.append(Lost(worker.pool, order, "the inference actor died"))
                continue
            batch, recorded = brought
            worker.proven, worker.deaths = True, 0
            if self._inference and batch.evaluated:
                self._inference.deaths = 0
            events.append(Played(worker.pool, order, batch, rest, recorded))
        if any(deadline < monotonic() for _, _, deadline in worker.orders.values()):
            return events + self._replace(worker, f"no answer within {self._config.rollout.patience:g} seconds")
        return events

    def _replace(self, worker: Worker, reason: str) -> list[Event]:
        """A new actor for a dead or silent one, later each time in a row; its orders are lost."""
        ray.kill(worker.actor)  # it may be alive where the network, or a game, keeps it from answering
        worker.deaths += 1
        game, most = self._config.game, self._config.rollout.restarts
        if worker.deaths > most:
            raise ActorLost(
                f"A rollout actor playing {game} died {worker.deaths} times in a row, more than rollout.restarts"
                f" ({most}) allows. The last time: {reason}. Try `arena check {game}`, or rollout.workers=0 to see what"
                " happens in this process."
            )
        lost: list[Event] = [Lost(worker.pool, order, reason) for order, _, _ in worker.orders.values()]
        self._warn(f"A rollout actor died ({reason}); a new one takes over.")
        delay = 0.0 if worker.deaths == 1 else min(0.5 * 2 ** (worker.deaths - 2), 30.0)
        worker.actor, worker.proven, worker.ready_at = self._start(worker.pool), False, monotonic() + delay
        worker.orders.clear()
        return lost

    def _replace_inference(self, lost: InferenceLost) -> None:
        """A new inference actor for the one that died, unless it has been replaced by now."""
        inference, most = self._inference, self._config.rollout.restarts
        if inference is None or lost.number < inference.number:
            return
        if not lost.begun:
            raise ActorLost(lost.reason)
        inference.deaths += 1
        if inference.deaths > most:
            raise ActorLost(
                f"The inference actor died {inference.deaths} times in a row, more than rollout.restarts ({most})"
                f" allows. The last time: {lost.reason}. Launch the run again with --resume rollout.inference=local, to"
                " go on from its last checkpoint without one."
            )
        self._warn(f"The inference actor died ({lost.reason}); a new one takes over.")
        inference.actor, inference.number = self._start_inference(), inference.number + 1
        for actor in self._actors():
            actor.serve.remote(inference.actor, inference.number)

    def _wait_for_replacements(self, timeout: float) -> None:
        """Nobody holds an order: all that can come is the end of a replacement's delay."""
        soonest = min(worker.ready_at for worker in self._workers) - monotonic()
        if soonest > 0:
            sleep(min(soonest, timeout))


def ask(inference: Any, number: int, player: str, version: int, observation: Floats) -> Answer:
    """What the inference actor, the one of this `number`, answers. Raises InferenceLost where it has died."""
    try:
        answer: Answer = ray.get(inference.evaluate.remote(player, version, observation))
    except ray.exceptions.RayActorError as error:
        begun = not error.actor_init_failed
        reason = _end_of(error) if begun else _not_started("inference actor", error)
        raise InferenceLost(number, reason, begun) from None
    return answer


def connect(config: RunConfig, gpus: float) -> None:
    """Start Ray on this machine, or reach the cluster that `config` names; all actors together ask for `gpus`.

    Raises ClusterError where there is no such cluster, it has too little room, or it would be open to everybody.
    """
    cluster, learners = config.cluster, len(config.league.learners)
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        raise ClusterError(
            f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']!r}: anybody on the network could run code in the actors."
            " Unset it, or set it to 'token'."
        )
    cpus = (config.rollout.workers + max(1, config.rating.workers)) * cluster.rollout.cpus
    cpus += learners * cluster.learner.cpus + serves(config) * cluster.inference.cpus
    _keep_token_private()
    ours = signal.getsignal(signal.SIGTERM)
    if cluster.address is None:
        # As many cores as the actors ask for, whatever this machine has: here they share it as processes do. More
        # would have Ray start as many idle processes.
        ray.init(
            address="local", num_cpus=max(1, ceil(cpus)), include_dashboard=False, log_to_driver=False,
            logging_level="ERROR",
        )  # fmt: skip
    else:
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise ClusterError(
                f"cluster.address: the cluster at {cluster.address} cannot be reached: {_first_line(error)} Start one"
                " with `RAY_AUTH_MODE=token ray start --head`, or leave cluster.address out to run on this machine."
            ) from error
    if threading.current_thread() is threading.main_thread() and ours is not None:
        signal.signal(signal.SIGTERM, ours)  # ray.init has put its own there, which ends the run without saving
    _require({"CPU": cpus, "GPU": gpus}, cluster.address)


def _require(needed: Mapping[str, float], address: str | None) -> None:
    """Raises ClusterError where Ray does not have as much of something: actors would wait for it for ever."""
    there = ray.cluster_resources()
    for what, amount in needed.items():
        if there.get(what, 0) < amount:
            raise ClusterError(
                f"{'This machine' if address is None else f'The cluster at {address}'} has {there.get(what, 0):g}"
                f" {what}s for actors, but this run asks for {amount:g}: lower rollout.workers or rating.workers, or"
                f" cluster.rollout.{what.lower()}s or cluster.learner.{what.lower()}s, of which a fraction will do."
            )


def _keep_token_private() -> None:
    """Ray would make the file of its token readable for everybody on this machine; into one that is there it writes."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return  # kept elsewhere, by the user
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)


def _from_learner(ref: Any) -> Any:
    """What a learner's actor returned. Raises ActorLost where it has died, and whatever it raised itself."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayActorError as error:
        if error.actor_init_failed:
            raise ActorLost(_not_started("learner", error)) from None
        raise ActorLost(
            f"The process of a learner ended: {_end_of(error)}. Launch the run again with --resume, to go on from its"
            " last checkpoint."
        ) from None
    except ray.exceptions.RayTaskError as error:
        raise _cause(error) from None


def _cause(error: Any) -> BaseException:
    """What an actor raised: as it is where its message says all, with the actor's traceback where it does not."""
    raised: BaseException = error.cause if isinstance(error.cause, UserError) else error
    return raised


def _not_started(what: str, error: Exception) -> str:
    """The actor's own traceback, without Ray's line above it."""
    return f"A {what} could not be started.\n{str(error).partition(chr(10))[2]}"


def _end_of(error: Exception) -> str:
    """What of Ray's many lines says how an actor ended."""
    said = str(error).partition("Worker exit detail: ")[2].partition(" Some common causes")[0].splitlines()
    if not said or "connection error code 2" in said[0]:
        return "it crashed, was killed, or had no memory left"
    return said[0].rstrip(".")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
