"""Every kind of agent by its name: what it supports, how it is made.

A kind that learns is a module with a config, a policy and a learner; a scripted kind is a policy whose name says it all
(`random`, `greedy`, `mcts:200`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from agents.alphazero import AlphaZeroPolicy, Network
from agents.alphazero import supports as alphazero_supports
from agents.alphazero_config import AlphaZeroConfig
from agents.alphazero_learner import AlphaZeroLearner
from agents.core import Learner, Policy, Weights
from agents.mcts import MCTS
from agents.mcts import MOST as MOST_SIMULATIONS
from agents.mcts import VERSION as MCTS_VERSION
from agents.ppo import PPOConfig, PPOLearner, PPOPolicy
from agents.ppo import supports as ppo_supports
from agents.qmix import QMIXLearner, QMIXPolicy
from agents.qmix import remark as qmix_remark
from agents.qmix import supports as qmix_supports
from agents.qmix_config import QMIXConfig
from agents.scripted import Greedy, Random
from games import GameSpec
from games.names import did_you_mean

AgentConfig = Annotated[PPOConfig | AlphaZeroConfig | QMIXConfig, Field(discriminator="kind")]
"""The settings of any agent that learns; `kind` tells them apart."""

SUPPORTS: dict[str, Callable[[GameSpec], str | None]] = {
    "random": Random.supports,
    "greedy": Greedy.supports,
    "mcts": MCTS.supports,
    "ppo": ppo_supports,
    "alphazero": alphazero_supports,
    "qmix": qmix_supports,
}
"""Why a kind cannot play a game, as a sentence; None where it can."""

SCRIPTED = ("random", "greedy", "mcts")

PLAY_SETTINGS = {"ppo": ("temperature",), "alphazero": ("simulations", "temperature"), "qmix": ("epsilon",)}
"""What can be set of a learned player without learning anew, as in `runs/x:main?simulations=50`."""


def refusal(spec: GameSpec, config: AgentConfig) -> str | None:
    """Why an agent of this config cannot play a game, as a sentence; None where it can."""
    match config:
        case AlphaZeroConfig():
            return alphazero_supports(spec, config)
        case QMIXConfig():
            return qmix_supports(spec, config)
        case PPOConfig():
            return ppo_supports(spec)


def remark(spec: GameSpec, config: AgentConfig) -> str:
    """What a learner of this config made of the game where there was a choice, as a sentence; empty where none was."""
    return qmix_remark(spec, config) if isinstance(config, QMIXConfig) else ""


def play_settings(config: AgentConfig) -> dict[str, float]:
    """The play settings that a snapshot of this config's learner has in its record."""
    return {"epsilon": config.play_epsilon} if config.kind == "qmix" else {"temperature": config.temperature}


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
    spec: GameSpec,
    config: AgentConfig,
    weights: Weights,
    settings: Mapping[str, Any] | None = None,
    *,
    explore: bool = False,
    rows: int = 256,
    network: Network | None = None,
) -> Policy:
    """A learned player; `explore`: as it plays in training.

    `settings` are its play settings (`PLAY_SETTINGS`); raises ValueError for one that is unknown or impossible. `rows`
    is how many decisions it will mostly be asked for at once. `network` may answer in place of one made of the weights.
    """
    settings = settings or {}
    for name in settings:
        known = PLAY_SETTINGS[config.kind]
        if name not in known:
            raise ValueError(f"{config.kind} has no play setting {name!r}.{did_you_mean(name, known)}")
    temperature, simulations, epsilon = (settings.get(name) for name in ("temperature", "simulations", "epsilon"))
    if temperature is not None and not (isinstance(temperature, (int, float)) and temperature >= 0):
        raise ValueError(f"temperature must be a number of at least 0, not {temperature!r}.")
    if simulations is not None and not (isinstance(simulations, int) and 0 <= simulations <= MOST_SIMULATIONS):
        raise ValueError(f"simulations must be a whole number from 0 to {MOST_SIMULATIONS:,}, not {simulations!r}.")
    if epsilon is not None and not (isinstance(epsilon, (int, float)) and 0 <= epsilon <= 1):
        raise ValueError(f"epsilon must be a number from 0 to 1, not {epsilon!r}.")
    if config.kind == "qmix":
        return QMIXPolicy(spec, config, weights, epsilon, explore=explore)
    if config.kind == "ppo":
        return PPOPolicy(spec, config, weights, 1.0 if explore else temperature)
    return AlphaZeroPolicy(
        spec,
        config,
        weights,
        simulations=simulations,
        temperature=temperature,
        explore=explore,
        rows=rows,
        network=network,
    )


def make_learner(spec: GameSpec, config: AgentConfig, seed: int, device: str = "cpu") -> Learner:
    """A learner with fresh weights, drawn from `seed`."""
    if config.kind == "ppo":
        return PPOLearner(spec, config, seed, device)
    if config.kind == "qmix":
        return QMIXLearner(spec, config, seed, device)
    return AlphaZeroLearner(spec, config, seed, device)
