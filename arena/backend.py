"""Where rollouts and learners run. This is the in-process backend: no Ray, nothing at the same time, deterministic.

The train loop knows a backend only as `Backend`: it submits orders and updates, and takes what is ready. What is large
(weights, trajectories) it sees as handles, which stay where they are until somebody needs them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np

from agents.alphazero import Network
from agents.core import Learner, Policy, Trajectories, Weights
from agents.kinds import PLAY_SETTINGS, AgentConfig, make_learner, make_policy, scripted
from arena.config import RunConfig
from arena.files import Arrays
from arena.rollout import Batch, Order, Rollout
from arena.store import Frozen
from games import Game, GameSpec
from games.keys import LEARN, generator, mix
from leagues.core import Player

Pool = Literal["train", "rate"]
Handle = Any
"""Something large, where the backend keeps it: the thing itself in-process, a reference with Ray."""


@dataclass(frozen=True, slots=True)
class Played:
    """An order was carried out."""

    pool: Pool
    order: Order
    batch: Batch  # without its trajectories
    trajectories: Handle  # of a dict[learner, Trajectories]
    recorded: Mapping[str, int]  # decisions of each learner in them


@dataclass(frozen=True, slots=True)
class Lost:
    """An order was not: its actor died. Its games are gone; none of them was recorded."""

    pool: Pool
    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class Learned:
    """A learner made an update."""

    learner: str
    weights: Handle
    version: int
    metrics: Mapping[str, float]


Event = Played | Lost | Learned


class Backend(Protocol):
    def enter(self, player: Player, frozen: Frozen | None) -> None:
        """A new frozen member of the league, with what it plays with unless it is scripted."""
        ...

    def publish(self, learner: str, weights: Handle, version: int) -> None:
        """What `learner` plays with from the next order on."""
        ...

    def room(self, pool: Pool) -> int:
        """How many more orders it would take now."""
        ...

    def submit(self, pool: Pool, order: Order) -> None: ...

    def learn(self, learner: str, trajectories: Sequence[Handle]) -> None:
        """One update from what was played; one at a time for each learner."""
        ...

    def ready(self, timeout: float) -> list[Event]:
        """What has come to an end, in order; waits up to `timeout` seconds for the first."""
        ...

    def weights(self, learner: str) -> Handle:
        """What `learner` plays with, as last published."""
        ...

    def fetch(self, handle: Handle) -> Any:
        """The thing itself, here."""
        ...

    def state(self) -> dict[str, Arrays]:
        """Everything an exact resume needs, as named groups of arrays; learners under `learner.<name>`."""
        ...

    def restore(self, state: Mapping[str, Arrays]) -> None: ...

    def close(self) -> None: ...


class Cast:
    """The policies that play in one process: live ones as last published, frozen ones fetched when first needed.

    `network` says what evaluates for a player, of this version, config and weights; None: a network made here.
    """

    def __init__(
        self,
        spec: GameSpec,
        configs: Mapping[str, AgentConfig],
        fetch: Callable[[str], Frozen],
        rows: int = 256,
        most: int = 16,
        network: Callable[[str, int, AgentConfig, Weights], Network | None] = lambda *player: None,
    ) -> None:
        self._spec, self._configs, self._fetch, self._rows, self._most = spec, configs, fetch, rows, most
        self._network = network
        self._players: dict[str, Player] = {}
        self._live: dict[str, Policy] = {}
        self._versions: dict[str, int] = {}
        self._frozen: OrderedDict[str, Policy] = OrderedDict()  # by id, least recently used first

    def enter(self, player: Player) -> None:
        self._players[player.id] = player

    def publish(self, learner: str, weights: Weights, version: int) -> None:
        config = self._configs[learner]
        network = self._network(learner, version, config, weights)
        self._live[learner] = make_policy(self._spec, config, weights, explore=True, rows=self._rows, network=network)
        self._versions[learner] = version

    def version(self, player: str) -> int:
        return self._versions.get(player, 0)

    def policy(self, player: str) -> Policy:
        if player in self._live:
            return self._live[player]
        if player not in self._frozen:
            self._frozen[player] = self._make(self._players[player])
            while len(self._frozen) > self._most:
                self._frozen.popitem(last=False)
        self._frozen.move_to_end(player)
        return self._frozen[player]

    def _make(self, player: Player) -> Policy:
        if not player.content:
            return scripted(player.id)
        frozen = self._fetch(player.id)
        settings = {
            name: player.settings[name] for name in PLAY_SETTINGS[frozen.config.kind] if name in player.settings
        }
        network = self._network(player.id, 0, frozen.config, frozen.weights)
        return make_policy(self._spec, frozen.config, frozen.weights, settings, rows=self._rows, network=network)


@dataclass(slots=True)
class Apprentice:
    """A learner with its name and its own randomness."""

    name: str
    learner: Learner
    seed: int
    updates: int = 0
    idle_since: float = field(default_factory=perf_counter)

    @classmethod
    def make(cls, name: str, number: int, spec: GameSpec, config: AgentConfig, seed: int, device: str) -> Apprentice:
        own = int(mix(seed, LEARN, number))
        return cls(name, make_learner(spec, config, own % 2**63, device), own)

    def update(self, played: Sequence[Mapping[str, Trajectories]]) -> tuple[dict[str, float], Weights]:
        """One update from its part of what was `played`: metrics, and the weights to play with."""
        began = perf_counter()
        trajectories = Trajectories.concatenate([part[self.name] for part in played])
        staleness = self.updates - trajectories.version
        metrics = self.learner.update(trajectories, generator(int(mix(self.seed, self.updates))))
        self.updates += 1
        ended = perf_counter()
        metrics |= {
            "decisions": float(trajectories.decisions),
            "staleness": float(staleness.mean()),
            "most_stale": float(staleness.max(initial=0)),
            "time/update": ended - began,
            "time/learner_waited": began - self.idle_since,
        }
        self.idle_since = perf_counter()
        return metrics, self.learner.weights()

    def state(self) -> Arrays:
        return self.learner.state() | {"apprentice.updates": np.array([self.updates])}

    def restore(self, state: Arrays) -> None:
        self.learner.restore({name: array for name, array in state.items() if name != "apprentice.updates"})
        self.updates = int(state["apprentice.updates"][0])


class InProcess:
    """Everything here and now: an order or an update is carried out when it is submitted."""

    def __init__(self, config: RunConfig, game: Game, device: str, load: Callable[[str], Frozen]) -> None:
        learners = config.league.learners
        self.cast = Cast(game.spec, {name: s.agent for name, s in learners.items()}, load, config.rollout.rows)
        self._apprentices = {
            name: Apprentice.make(name, number, game.spec, settings.agent, config.seed, device)
            for number, (name, settings) in enumerate(learners.items())
        }
        room = config.rollout
        self._rollouts: dict[Pool, Rollout] = {
            "train": Rollout(game, self.cast, room.rows, piece=room.piece, most_failed=config.most_failed),
            "rate": Rollout(game, self.cast, config.rating.rows, most_failed=config.most_failed),
        }
        self._done: deque[Event] = deque()
        self._published: dict[str, Weights] = {}
        for name, apprentice in self._apprentices.items():
            self.publish(name, apprentice.learner.weights(), 0)

    def enter(self, player: Player, frozen: Frozen | None) -> None:
        self.cast.enter(player)

    def publish(self, learner: str, weights: Handle, version: int) -> None:
        self._published[learner] = weights
        self.cast.publish(learner, weights, version)

    def room(self, pool: Pool) -> int:
        return 0 if self._done else 1

    def submit(self, pool: Pool, order: Order) -> None:
        batch = self._rollouts[pool].run(order)
        trajectories, batch.trajectories = batch.trajectories, {}
        recorded = {name: part.decisions for name, part in trajectories.items()}
        self._done.append(Played(pool, order, batch, trajectories, recorded))

    def learn(self, learner: str, trajectories: Sequence[Handle]) -> None:
        apprentice = self._apprentices[learner]
        metrics, weights = apprentice.update(trajectories)
        self._done.append(Learned(learner, weights, apprentice.updates, metrics))

    def ready(self, timeout: float) -> list[Event]:
        done = list(self._done)
        self._done.clear()
        return done

    def weights(self, learner: str) -> Handle:
        return self._published[learner]

    def fetch(self, handle: Handle) -> Any:
        return handle

    def state(self) -> dict[str, Arrays]:
        learners = {f"learner.{name}": apprentice.state() for name, apprentice in self._apprentices.items()}
        return learners | {"rollout": self._rollouts["train"].state()}

    def restore(self, state: Mapping[str, Arrays]) -> None:
        for name, apprentice in self._apprentices.items():
            apprentice.restore(state[f"learner.{name}"])
            self.publish(name, apprentice.learner.weights(), apprentice.updates)
        if "rollout" in state:
            self._rollouts["train"].restore(state["rollout"])

    def close(self) -> None:
        """Nothing runs, so nothing needs to end."""
