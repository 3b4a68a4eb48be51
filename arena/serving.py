"""Central inference: one process evaluates for the tree searches of many (as in SEED RL, Espeholt et al. 2020, arXiv
1910.06591).

    1. a search asks for a batch of observations, by a player's network and the version that the search plays with
    2. while a forward pass is under way, requests wait; the next is for the player of the oldest of them, and takes all
       that wait for that player, up to `MOST_ROWS`
    3. each gets its own rows, in its own order

What is promised of the weights: a frozen player's answers are by its own, always. A learner's are by the version that
was asked for or a newer one: the newest that had arrived when the forward pass began. A request for a version that has
not arrived waits for it. So a search may end by other weights than it began with, and the version in its trajectories
is the oldest that can have been used. Values travel in the game's own units, since versions may count in others.
Rounding depends on who shares a forward pass, so games are not repeated bit for bit.

Nothing here needs Ray: `arena.actors` has the processes, `arena.cluster` starts them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from agents.alphazero import Network
from agents.core import Weights
from agents.inference import Evaluator, resolve
from agents.kinds import AgentConfig
from arena.config import RunConfig
from arena.store import Frozen
from games import GameSpec

Floats = NDArray[np.float32]
Answer = tuple[Floats, int]
"""Logits and values [n, A + P], values in the game's own units; and how many rows the forward pass had."""

MOST_ROWS = 8192
"""Of one forward pass, beyond which a GPU gains nothing and needs more memory; one request may have more."""


class InferenceLost(Exception):
    """The inference actor `number` has died; `begun` is False where it could not even be started, as `reason` says."""

    def __init__(self, number: int, reason: str, begun: bool) -> None:
        super().__init__(number, reason, begun)
        self.number, self.reason, self.begun = number, reason, begun


class Remote:
    """A player's network that is evaluated elsewhere, with the same figures as `agents.inference.Evaluator`."""

    seconds: float
    """Waited for answers so far, by the clock."""

    def __init__(self, spec: GameSpec, weights: Weights, ask: Callable[[Floats], Answer]) -> None:
        """`weights` are what the search plays with; `ask` is given observations [n, *O], n at least 1."""
        self._actions, self._seats, self._ask = spec.actions, spec.seats, ask
        self._spread, self._mean = scale(weights)
        self.seconds, self.asked, self.found, self.batches = 0.0, 0, 0, 0.0

    def __call__(self, observation: Floats) -> tuple[Floats, Floats]:
        """Observations [n, *O] to logits [n, A] and values [n, P], the caller's to keep."""
        n = len(observation)
        if n == 0:
            return np.zeros((0, self._actions), np.float32), np.zeros((0, self._seats), np.float32)
        began = perf_counter()
        both, rows = self._ask(np.ascontiguousarray(observation, np.float32))
        self.seconds += perf_counter() - began
        self.asked += n
        self.batches += n / rows
        return both[:, : self._actions].copy(), (both[:, self._actions :] - self._mean) / self._spread


def scale(weights: Weights) -> tuple[np.float32, np.float32]:
    """What brings an AlphaZero network's values to the game's own units: times the first, plus the second."""
    return np.float32(np.sqrt(weights["value_norm.variance"] + 1e-6)), np.float32(weights["value_norm.mean"])


# ---- the side that evaluates -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Loaded:
    weights: Weights
    network: Network
    spread: np.float32
    mean: np.float32


class Networks:
    """AlphaZero networks by player: learners' as last published, frozen ones fetched when first asked for."""

    def __init__(
        self,
        spec: GameSpec,
        configs: Mapping[str, AgentConfig],
        fetch: Callable[[str], Frozen],
        *,
        rows: int = 256,
        device: str = "cpu",
        most: int = 8,
    ) -> None:
        """`rows` is how many observations a forward pass mostly has; `most` frozen players are kept, the last asked."""
        self._spec, self._configs, self._fetch = spec, configs, fetch
        self._rows, self._device, self._most = rows, device, most
        self._entered: set[str] = set()
        self._published: dict[str, tuple[Weights, int]] = {}
        self._live: dict[str, _Loaded] = {}
        self._frozen: OrderedDict[str, _Loaded] = OrderedDict()  # least recently asked for first

    def enter(self, player: str) -> None:
        """A frozen player that `fetch` knows."""
        self._entered.add(player)

    def publish(self, learner: str, weights: Weights, version: int) -> None:
        """What `learner` plays with from now on, unless something newer came before it."""
        if version >= self._published.get(learner, (weights, 0))[1]:
            self._published[learner] = weights, version

    def has(self, player: str, version: int) -> bool:
        """Whether `player` can be answered for: a frozen one whatever the version, a learner by it or a newer one."""
        return player in self._entered or (player in self._published and self._published[player][1] >= version)

    def evaluate(self, player: str, observation: Floats) -> Floats:
        """Logits and values [n, A + P] of observations [n, *O], values in the game's own units."""
        loaded = self._learners(player) if player in self._published else self._frozen_one(player)
        logits, value = loaded.network(observation)
        return np.concatenate([logits, value * loaded.spread + loaded.mean], axis=1)

    def _learners(self, learner: str) -> _Loaded:
        weights, _ = self._published[learner]
        if learner not in self._live or self._live[learner].weights is not weights:
            self._live[learner] = self._load(self._configs[learner], weights)
        return self._live[learner]

    def _frozen_one(self, player: str) -> _Loaded:
        if player not in self._frozen:
            frozen = self._fetch(player)
            self._frozen[player] = self._load(frozen.config, frozen.weights)
            while len(self._frozen) > self._most:
                self._frozen.popitem(last=False)
        self._frozen.move_to_end(player)
        return self._frozen[player]

    def _load(self, config: AgentConfig, weights: Weights) -> _Loaded:
        assert config.kind == "alphazero"
        network = Evaluator(
            self._spec,
            config.network,
            {name.removeprefix("net."): array for name, array in weights.items() if name.startswith("net.")},
            backend=resolve(config.inference, fallback=True)[0],
            rows=self._rows,
            normalise=config.normalise_observations,
            cache=config.cache,
            device=self._device,
        )
        return _Loaded(weights, network, *scale(weights))


@dataclass(slots=True)
class _Request:
    player: str
    version: int
    observation: Floats
    answer: asyncio.Future[Answer]


class Server:
    """Evaluates requests of one event loop, in a thread beside it, which alone loads and runs the networks."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[_Request] = []
        self._work: asyncio.Task[None] | None = None

    def enter(self, player: str) -> None:
        self._networks.enter(player)
        self._go_on()

    def publish(self, learner: str, weights: Weights, version: int) -> None:
        self._networks.publish(learner, weights, version)
        self._go_on()

    async def evaluate(self, player: str, version: int, observation: Floats) -> Answer:
        """The answer for observations [n, *O], n at least 1. Raises what the network raised, for its whole batch."""
        request = _Request(player, version, observation, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._go_on()
        return await request.answer

    def _go_on(self) -> None:
        if self._waiting and (self._work is None or self._work.done()):
            self._work = asyncio.get_running_loop().create_task(self._evaluate_waiting())

    async def _evaluate_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                answers = await loop.run_in_executor(self._thread, self._evaluate, batch)
            except Exception as error:
                for request in batch:
                    if not request.answer.done():  # nobody may wait for it any more
                        request.answer.set_exception(error)
                continue
            for request, answer in zip(batch, answers, strict=True):
                if not request.answer.done():
                    request.answer.set_result(answer)

    def _next_batch(self) -> list[_Request]:
        """The oldest request that can be answered, and the others for its player; none where there is none."""
        batch: list[_Request] = []
        others, rows = [], 0
        for request in self._waiting:
            mine = not batch or (request.player == batch[0].player and rows + len(request.observation) <= MOST_ROWS)
            if mine and self._networks.has(request.player, request.version):
                batch.append(request)
                rows += len(request.observation)
            else:
                others.append(request)
        self._waiting = others
        return batch

    def _evaluate(self, batch: Sequence[_Request]) -> list[Answer]:
        parts = [request.observation for request in batch]
        both = self._networks.evaluate(batch[0].player, parts[0] if len(parts) == 1 else np.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts])
        return [(part, len(both)) for part in np.split(both, ends[:-1])]


def gpu_shares(config: RunConfig, device: str, there: int) -> tuple[float, float]:
    """What of a GPU each learner asks for, and the inference actor, where this machine has `there` of them.

    Where they are fewer than who needs one, all share them evenly, unless the config says otherwise.
    """
    room, central = config.cluster, serves(config)
    share = 1.0 if device == "cuda" else 0.0
    if central and share:
        share = 1 / ceil((len(config.league.learners) + 1) / max(there, 1))
    return room.learner.gpus or share, (room.inference.gpus or share) if central else 0.0


def serves(config: RunConfig) -> bool:
    """Whether an inference actor has anything to do in this run."""
    learners = config.league.learners.values()
    return config.rollout.inference == "gpu" and any(settings.agent.kind == "alphazero" for settings in learners)


def doubts(config: RunConfig, device: str) -> list[str]:
    """What may not have been meant about `rollout.inference`, as sentences."""
    if config.rollout.inference == "local":
        return []
    if not serves(config):
        return ["rollout.inference: gpu changes nothing here: it is for AlphaZero, and no learner of this run is one."]
    if device == "cpu":
        return [
            "rollout.inference: gpu, but the run is on the CPU: one actor evaluates for all, on one core, which is"
            " slower than rollout.inference=local."
        ]
    return []
