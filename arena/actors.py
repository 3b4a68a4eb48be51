"""What runs in processes of their own: rollouts, learners, and central inference.

Each is an ordinary object whose methods are called from elsewhere. They know references (to weights, or another actor)
only as something to hand to `fetch` or `ask`: `arena.cluster`, which starts them, alone knows Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import games
from agents.alphazero import Network
from agents.core import Weights
from agents.kinds import AgentConfig
from arena.backend import Apprentice, Cast
from arena.files import Arrays
from arena.process import settle
from arena.rollout import Batch, Order, Rollout
from arena.serving import Answer, Floats, InferenceLost, Networks, Remote, Server
from leagues.core import Player

Fetch = Callable[[Any], Any]
"""What a reference refers to."""


class RolloutActor:
    """A `Rollout`; its AlphaZero players are evaluated here, or by an inference actor where it is told of one."""

    def __init__(
        self,
        game: str,
        known: Mapping[str, Any],
        configs: Mapping[str, AgentConfig],
        rows: int,
        piece: int,
        most: float,
        fetch: Fetch,
        ask: Callable[[Any, int, str, int, Floats], Answer],
    ) -> None:
        """`ask` (inference actor, its number, player, version, observations) raises InferenceLost where it died."""
        _settle(known)
        self._refs: dict[str, Any] = {}
        self._inference: tuple[Any, int] | None = None
        self._ask = ask
        made = games.make(game)
        self._spec = made.spec
        self._cast = Cast(made.spec, configs, lambda player: fetch(self._refs[player]), rows, network=self._remote)
        self._new_rollout = partial(Rollout, made, self._cast, rows, piece=piece, most_failed=most)
        self._rollout = self._new_rollout()
        self._idle_since = perf_counter()

    def serve(self, inference: Any, number: int) -> None:
        """Ask this inference actor from now on."""
        self._inference = (inference, number)

    def enter(self, player: Player, frozen: Sequence[Any]) -> None:
        """`frozen` holds a reference, in a list so that Ray does not fetch it before it is needed."""
        if frozen:
            self._refs[player.id] = frozen[0]
        self._cast.enter(player)

    def publish(self, learner: str, weights: Any, version: int) -> None:
        self._cast.publish(learner, weights, version)

    def run(self, order: Order) -> tuple[tuple[Batch, dict[str, int]] | InferenceLost, Any]:
        """Its batch, with the decisions recorded, and the trajectories; or why there is nothing of it."""
        waited = perf_counter() - self._idle_since
        try:
            batch = self._rollout.run(order)
        except InferenceLost as lost:
            self._rollout = self._new_rollout()  # its games stopped in the middle of a step
            return lost, {}
        batch.seconds["waited"] = waited
        trajectories, batch.trajectories = batch.trajectories, {}
        recorded = {name: part.decisions for name, part in trajectories.items()}
        self._idle_since = perf_counter()
        return (batch, recorded), trajectories

    def _remote(self, player: str, version: int, config: AgentConfig, weights: Weights) -> Network | None:
        if self._inference is None or config.kind != "alphazero":
            return None
        return Remote(self._spec, weights, partial(self._evaluate, player, version))

    def _evaluate(self, player: str, version: int, observation: Floats) -> Answer:
        assert self._inference is not None
        return self._ask(*self._inference, player, version, observation)


class InferenceActor:
    """A `Server`, on a GPU where it was given one."""

    def __init__(
        self,
        game: str,
        known: Mapping[str, Any],
        configs: Mapping[str, AgentConfig],
        rows: int,
        device: str,
        fetch: Fetch,
    ) -> None:
        _settle(known)
        self._refs: dict[str, Any] = {}
        spec = games.make(game).spec
        networks = Networks(spec, configs, lambda player: fetch(self._refs[player]), rows=rows, device=device)
        self._server = Server(networks)

    async def enter(self, player: str, frozen: Sequence[Any]) -> None:
        self._refs[player] = frozen[0]
        self._server.enter(player)

    async def publish(self, learner: str, weights: Any, version: int) -> None:
        self._server.publish(learner, weights, version)

    async def evaluate(self, player: str, version: int, observation: Floats) -> Answer:
        return await self._server.evaluate(player, version, observation)


class LearnerActor:
    """An `Apprentice`, on a GPU where it was given one."""

    def __init__(
        self, game: str, known: Mapping[str, Any], name: str, number: int, config: AgentConfig, seed: int, device: str
    ) -> None:
        _settle(known)
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


def _settle(known: Mapping[str, Any]) -> None:
    """Make a new process like the driver: settled, and with the games that were registered there."""
    settle()
    for name, factory in known.items():
        if name not in games.names():
            games.register(name, factory)
