"""Proximal policy optimisation for any number of seats, turn-based and simultaneous.

One network plays every seat of its player. An update, from finished games:

    1. values of what cut games would still bring; advantages along each seat's own decisions (`agents.credit`)
    2. a few epochs of minibatches: clipped policy loss, value loss, entropy bonus
    3. stop early where the policy has moved too far; skip and count any step that is not finite

Schulman et al. 2017 (arXiv 1707.06347); the details are those of Huang et al. 2022 ("The 37 implementation details of
PPO") that matter for games; value normalisation keeps outputs as in PopArt (van Hasselt et al. 2016, arXiv 1602.07714).
Illegal actions get no probability when acting and when learning, by the same mask. Not here: recurrent networks,
continuous actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from torch import Tensor

from agents.core import Analysis, Choice, Context, Option, Trajectories, Weights
from agents.credit import advantages
from agents.networks import (
    NetworkConfig,
    PolicyValueNet,
    RunningNorm,
    flattened,
    load_arrays,
    part_of,
    popart,
    to_arrays,
)
from agents.sampling import probabilities, sample
from agents.schedules import Schedule, Scheduled
from games import Decisions, GameSpec, Keys

Share = Annotated[float, Field(ge=0, le=1)]


class PPOConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ppo"] = "ppo"
    network: NetworkConfig = NetworkConfig()
    batch: PositiveInt = 8192  # decisions to an update, at least: whole games are taken
    minibatch: PositiveInt = 512  # decisions to a gradient step
    epochs: PositiveInt = 4  # passes over the batch
    learning_rate: Scheduled = Schedule(start=1e-3, end=1e-3, over=1)
    entropy: Scheduled = Schedule(start=0.01, end=0.01, over=1)  # weight of the bonus
    gamma: Share = 0.99  # discount for each own decision
    lam: Share = 0.95  # of generalised advantage estimation
    clip: PositiveFloat = 0.2  # how far the probability ratio may move with profit
    value_weight: PositiveFloat = 0.5
    max_grad_norm: PositiveFloat = 0.5
    target_kl: PositiveFloat | None = 0.03  # an update ends early past this mean KL divergence; null never
    normalise_values: bool = True
    normalise_observations: bool = False  # for observations that are not already about one
    temperature: float = Field(default=1.0, ge=0)  # of its snapshots' play; training is at 1
    most_skipped: PositiveInt = 100  # steps in a row that are not finite before the learner gives up


def supports(spec: GameSpec) -> str | None:
    """Why PPO cannot play this game; None where it can."""
    return None


class PPOPolicy:
    """The network as a player: samples at a temperature, the most likely action at 0."""

    memory: tuple[int, ...] | None = None

    def __init__(self, spec: GameSpec, config: PPOConfig, weights: Weights, temperature: float | None = None) -> None:
        self.net = PolicyValueNet(spec, config.network, config.normalise_observations).requires_grad_(False)
        self.temperature = config.temperature if temperature is None else temperature
        self.value_norm = RunningNorm(())
        self.load(weights)

    def load(self, weights: Weights) -> None:
        load_arrays(self.net, part_of(weights, "net."))
        load_arrays(self.value_norm, part_of(weights, "value_norm."))
        self._scale = float(torch.sqrt(self.value_norm.variance + 1e-6)), float(self.value_norm.mean)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        shape = decisions.active.shape
        logits, value = self._evaluate(decisions.observation.reshape(-1, *decisions.observation.shape[2:]))
        legal = decisions.legal.reshape(-1, decisions.legal.shape[2])
        action, log_prob = sample(logits, legal, keys.reshape(-1), self.temperature)
        return Choice(action.reshape(shape), {"log_prob": log_prob.reshape(shape), "value": value.reshape(shape)})

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis:
        """What it holds of the decision in a batch of one game with one slot: probabilities as it learned them, at
        temperature 1, and the value. It looks at no action further, so none has a value of its own."""
        legal = decisions.legal[0]  # [1, A]
        logits, value = self._evaluate(decisions.observation[0])
        prior = probabilities(logits, legal, 1.0)[0]
        best_first = sorted(np.flatnonzero(legal[0]).tolist(), key=lambda action: -prior[action])
        options = (Option(action, prior=float(prior[action]), line=(action,)) for action in best_first)
        return Analysis(float(value[0]), tuple(options))

    def probabilities(self, observation: NDArray[np.float32], legal: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How likely `act` is to choose each action [n, A], seeing observation [n, *O] and allowed legal [n, A]."""
        logits, _ = self._evaluate(observation)
        return probabilities(logits, legal, self.temperature)

    def _evaluate(self, observation: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits [n, A], and values [n] in the game's own units."""
        with torch.inference_mode():
            logits, value = self.net(torch.from_numpy(observation))
        scale, mean = self._scale
        return logits.numpy(), value.numpy() * np.float32(scale) + np.float32(mean)


class PPOLearner:
    """Improves one network from the decisions of every seat that its player held."""

    def __init__(self, spec: GameSpec, config: PPOConfig, seed: int, device: str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = PolicyValueNet(spec, config.network, config.normalise_observations)
            self.net.initialise()
        self.net.to(self.device)
        self.value_norm = RunningNorm(()).to(self.device)
        self._flat, self._gradient = flattened(self.net)
        self.optimiser = torch.optim.Adam([self._flat], lr=config.learning_rate.start, eps=1e-5, fused=True)
        self.decisions = 0  # learned from so far
        self.updates = 0
        self.skipped_in_a_row = 0

    def update(self, trajectories: Trajectories, rng: np.random.Generator) -> dict[str, float]:
        config, t = self.config, trajectories
        advantage = advantages(t, t.extras["value"], self._cut_values(t), gamma=config.gamma, lam=config.lam)
        target = advantage + t.extras["value"]
        batch = {
            "observation": t.observation,
            "legal": t.legal,
            "action": t.action,
            "log_prob": t.extras["log_prob"],
            "advantage": advantage,
            "target": target,
        }
        on_device = {name: torch.from_numpy(array).to(self.device) for name, array in batch.items()}
        if config.normalise_values:
            self._learn_value_scale(on_device["target"])
        on_device["target"] = self._normalised(on_device["target"])
        learning_rate = config.learning_rate.at(self.decisions)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        sums = self._epochs(on_device, config.entropy.at(self.decisions), rng)
        if self.net.normalise is not None:
            self.net.normalise.learn(on_device["observation"])
        self.decisions += t.decisions
        self.updates += 1
        variance = float(np.var(target))
        explained = 1 - float(np.var(target - t.extras["value"])) / variance if variance > 0 else 0.0
        return sums | {"explained_variance": explained, "learning_rate": learning_rate}

    def weights(self) -> dict[str, NDArray[Any]]:
        named = {f"net.{name}": array for name, array in to_arrays(self.net).items()}
        return named | {f"value_norm.{name}": array for name, array in to_arrays(self.value_norm).items()}

    def load(self, weights: Weights) -> None:
        load_arrays(self.net, part_of(weights, "net."))
        load_arrays(self.value_norm, part_of(weights, "value_norm."))
        self.optimiser.state.clear()

    def state(self) -> dict[str, NDArray[Any]]:
        arrays = {f"weights.{name}": array for name, array in self.weights().items()}
        for name, tensor in self.optimiser.state.get(self._flat, {}).items():
            arrays[f"adam.{name}"] = tensor.detach().cpu().numpy().copy()
        arrays["counters"] = np.array([self.decisions, self.updates, self.skipped_in_a_row])
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        moments = part_of(state, "adam.")
        shapes = {name: array.shape for name, array in moments.items()}
        vector = tuple(self._flat.shape)
        if shapes and shapes != {"step": (), "exp_avg": vector, "exp_avg_sq": vector}:
            raise ValueError(f"This state is of another network: Adam's are {shapes}, but {vector[0]} is needed.")
        if "counters" not in state:
            raise ValueError("This is not the state of a PPO learner: 'counters' is missing from it.")
        self.load(part_of(state, "weights."))
        if moments:
            self.optimiser.state[self._flat] = {k: torch.tensor(v).to(self.device) for k, v in moments.items()}
        self.decisions, self.updates, self.skipped_in_a_row = (int(n) for n in state["counters"])

    def _epochs(self, batch: dict[str, Tensor], entropy_weight: float, rng: np.random.Generator) -> dict[str, float]:
        """All gradient steps of one update; mean losses, and how many steps were skipped."""
        config, total = self.config, len(batch["action"])
        batch = batch | {"illegal": ~batch["legal"]}
        sums: dict[str, float] = dict.fromkeys(
            ("policy_loss", "value_loss", "entropy", "kl", "clipped", "grad_norm"), 0
        )
        steps = skipped = epochs = 0
        for _ in range(config.epochs):
            epoch_kl = 0.0
            chunks = np.array_split(rng.permutation(total), max(1, round(total / config.minibatch)))
            for rows in chunks:
                index = torch.from_numpy(rows).to(self.device)
                part = {name: tensor.index_select(0, index) for name, tensor in batch.items()}
                metrics = self._gradient_step(part, entropy_weight)
                if metrics is None:
                    skipped += 1
                    continue
                steps += 1
                epoch_kl += metrics["kl"] / len(chunks)
                for name, value in metrics.items():
                    sums[name] += value
            epochs += 1
            if config.target_kl is not None and epoch_kl > config.target_kl:
                break
        means = {name: value / max(steps, 1) for name, value in sums.items()}
        return means | {"skipped_steps": float(skipped), "epochs": float(epochs)}

    def _gradient_step(self, part: dict[str, Tensor], entropy_weight: float) -> dict[str, float] | None:
        """One minibatch; None where loss or gradient is not finite, and then nothing is changed."""
        config = self.config
        logits, value = self.net(part["observation"])
        # Softmax is far faster along the first axis, of decisions side by side, than along a few actions.
        masked = logits.masked_fill(part["illegal"], -1e8).t().contiguous()  # [A, n]
        log_probs = torch.log_softmax(masked, dim=0)
        log_prob = log_probs.gather(0, part["action"][None]).squeeze(0)
        log_ratio = log_prob - part["log_prob"]
        ratio = log_ratio.exp()
        advantage = part["advantage"]
        if len(advantage) > 1:
            std, mean = torch.std_mean(advantage)
            advantage = (advantage - mean) / (std + 1e-8)
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
        value_loss = (value - part["target"]).square().mean()
        entropy = -(log_probs.exp() * log_probs).sum(0).mean()
        loss = policy_loss + config.value_weight * value_loss - entropy_weight * entropy
        self._gradient.zero_()
        loss.backward()
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient *= (config.max_grad_norm / (norm + 1e-6)).clamp(max=1)
        with torch.no_grad():
            kl = (ratio - 1 - log_ratio).mean()  # Schulman's low-variance estimate (joschu.net/blog/kl-approx)
            outside = (ratio != clipped).float().mean()
            numbers = torch.stack([policy_loss, value_loss, entropy, kl, outside, norm, loss]).tolist()
        if not np.isfinite(numbers).all():
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= config.most_skipped:
                raise FloatingPointError(
                    f"{self.skipped_in_a_row} gradient steps in a row were not finite (loss {numbers[-1]}, gradient"
                    f" norm {numbers[-2]}). Lower learning_rate, or look for huge rewards or observations in the game."
                )
            return None
        self.skipped_in_a_row = 0
        self.optimiser.step()
        names = ("policy_loss", "value_loss", "entropy", "kl", "clipped", "grad_norm")
        return dict(zip(names, numbers, strict=False))

    def _cut_values(self, t: Trajectories) -> NDArray[np.float32]:
        """What every seat of the cut games is worth [C, P]."""
        if not len(t.cut_game):
            return np.zeros((0, t.reward.shape[1]), np.float32)
        flat = t.cut_observation.reshape(-1, *t.cut_observation.shape[2:])
        with torch.no_grad():
            _, value = self.net(torch.from_numpy(flat).to(self.device))
            value = value * torch.sqrt(self.value_norm.variance + 1e-6) + self.value_norm.mean
        worth: NDArray[np.float32] = value.cpu().numpy().reshape(len(t.cut_game), -1)
        return worth

    def _normalised(self, target: Tensor) -> Tensor:
        return (target - self.value_norm.mean) * torch.rsqrt(self.value_norm.variance + 1e-6)

    def _learn_value_scale(self, target: Tensor) -> None:
        """Take in new targets, and change the value head so that its de-normalised output stays the same (PopArt)."""
        ratio, shift = popart(self.value_norm, target)
        with torch.no_grad():
            self.net.value.weight *= ratio
            self.net.value.bias.mul_(ratio).add_(shift)
