"""Every kind of agent by its name: what it supports, how it is made.

A kind that learns is a module with a config, a policy and a learner; a scripted kind is a policy whose name says it all
(`random`, `greedy`, `mcts:200`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.core import Learner, Policy, Weights
from agents.mcts import MCTS
from agents.mcts import VERSION as MCTS_VERSION
from agents.ppo import PPOConfig, PPOLearner, PPOPolicy
from agents.ppo import supports as ppo_supports
from agents.scripted import Greedy, Random
from games import GameSpec
from games.names import did_you_mean

AgentConfig = PPOConfig
"""The settings of any agent that learns; `kind` tells them apart."""

SUPPORTS: dict[str, Callable[[GameSpec], str | None]] = {
    "random": Random.supports,
    "greedy": Greedy.supports,
    "mcts": MCTS.supports,
    "ppo": ppo_supports,
}
"""Why a kind cannot play a game, as a sentence; None where it can."""

SCRIPTED = ("random", "greedy", "mcts")


def scripted(name: str) -> Policy:
    """The policy of a scripted player, `random`, `greedy` or `mcts:<simulations>`.

    Raises ValueError, with the nearest name, where there is none such.
    """
    kind, colon, argument = name.partition(":")
    if kind == "mcts":
        if not argument.isdigit():
            raise ValueError(f"{name!r} needs its number of simulations, as in 'mcts:100'.")
        return MCTS(int(argument))
    if kind not in SCRIPTED:
        raise ValueError(f"There is no scripted player {name!r}.{did_you_mean(kind, ['random', 'greedy', 'mcts:100'])}")
    if colon:
        raise ValueError(f"{kind} takes nothing after a colon; {name!r} was given.")
    return Random() if kind == "random" else Greedy()


def record_of(name: str) -> dict[str, Any]:
    """What pins a scripted player's play besides its name, for its record."""
    return {"version": MCTS_VERSION} if name.startswith("mcts:") else {}


def make_policy(
    spec: GameSpec, config: AgentConfig, weights: Weights, settings: Mapping[str, Any] | None = None
) -> Policy:
    """A learned player. `settings` are its play settings (`temperature`); raises ValueError for an unknown one."""
    known = {"temperature"}
    for name in settings or {}:
        if name not in known:
            raise ValueError(f"{config.kind} has no play setting {name!r}.{did_you_mean(name, known)}")
    temperature = None if settings is None else settings.get("temperature")
    if temperature is not None and not (isinstance(temperature, (int, float)) and temperature >= 0):
        raise ValueError(f"temperature must be a number of at least 0, not {temperature!r}.")
    return PPOPolicy(spec, config, weights, temperature)


def make_learner(spec: GameSpec, config: AgentConfig, seed: int, device: str = "cpu") -> Learner:
    """A learner with fresh weights, drawn from `seed`."""
    return PPOLearner(spec, config, seed, device)
