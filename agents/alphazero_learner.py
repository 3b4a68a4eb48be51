"""AlphaZero's learning: a network towards what its own search found (Silver et al. 2018, doi 10.1126/science.aar6404).

An update, from the decisions of finished games:

    1. value targets: for each decision, what every seat still earned in its game, whoever moved; a cut game adds what
       the network gives each seat on its own last view
    2. the decisions enter the replay (`agents.replay`), and a sample is drawn from it
    3. gradient steps: cross-entropy of the policy with the search's, and squared error of the values of all seats;
       any step that is not finite is skipped and counted

What plays is an exponential moving average of the weights over gradient steps, corrected like Adam's moments for where
it began. Value targets of games with finite bounds are brought to [-1, 1] by these (what is left of a game that pays on
its way can lie outside); elsewhere by a running mean and variance, with PopArt (van Hasselt et al. 2016, arXiv
1602.07714). Not here: auxiliary targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.alphazero_config import AlphaZeroConfig
from agents.core import Trajectories, Weights
from agents.networks import PolicyValueNet, RunningNorm, flattened, load_arrays, part_of, popart, to_arrays
from agents.replay import Batch, Replay
from games import GameSpec
from games.kernels import kernel

_COUNTERS = ("updates", "samples", "averaged", "skipped_in_a_row")


def returns_to_go(t: Trajectories, cut_values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What every seat earned from each decision's step to the end [D, P], the mover's first, then the next seat's.

    `cut_values` [C, P] is what each seat of the cut games is still worth.
    """
    earned = np.zeros((t.games, t.reward.shape[1]), np.float64)
    earned[t.cut_game] = cut_values
    return _returns_to_go(t.reward, t.step_game, t.seat, t.step, earned)


class AlphaZeroLearner:
    """Improves one network from what the search found in the decisions of every seat that its player held.

    For each decision `Trajectories.extras` must hold

        target    [D, A] float32  the search's policy: 0 on illegal actions, sums to 1
        full      [D] bool        False of a cheap search, which teaches no policy
        surprise  [D] float32     KL(target || the network's prior), in nats
        value     [D] float32     the search's value for the mover, in the game's own units (for metrics)
    """

    def __init__(self, spec: GameSpec, config: AlphaZeroConfig, seed: int, device: str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = PolicyValueNet(spec, config.network, config.normalise_observations, values=spec.seats)
            self.net.initialise()
        self.net.to(self.device)
        self.value_norm = RunningNorm(())
        self._zero_sum = spec.payoff == "zero_sum" and spec.seats == 2
        self.bounded = all(map(math.isfinite, spec.bounds))
        if self.bounded:
            low, high = spec.bounds
            self.value_norm.mean.fill_((low + high) / 2)
            self.value_norm.variance.fill_(((high - low) / 2 or 1.0) ** 2 - 1e-6)
        self.value_norm.to(self.device)
        self._flat, self._gradient = flattened(self.net)
        self._sizes = [parameter.numel() for parameter in self.net.parameters()]
        self._average = torch.zeros_like(self._flat.data)  # not yet corrected for having begun at zero
        self.optimiser = _optimiser(self._flat, config)
        self.replay = Replay(spec, config.replay, symmetry=config.symmetry)
        self.updates = 0
        self.samples = 0  # decisions learned from, each use counted
        self.averaged = 0  # gradient steps in the average
        self.skipped_in_a_row = 0

    def update(self, trajectories: Trajectories, rng: np.random.Generator) -> dict[str, float]:
        config, t = self.config, trajectories
        value = returns_to_go(t, self._cut_values(t))
        outcome = value[:, 0].copy()
        self._blend(value, t.extras["value"])
        self._learn_scales(t.observation, value)
        learning_rate = config.learning_rate.at(self.replay.added)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        surprise, full = t.extras["surprise"], t.extras["full"]
        self.replay.add(t.observation, t.legal, t.extras["target"], value, full, surprise)
        steps = round(t.decisions * config.replay.uses / config.minibatch)
        means = self._steps(self.replay.draw(rng, max(steps, 1) * config.minibatch), rng)
        self.updates += 1
        variance = float(np.var(outcome))
        return means | {
            "explained_variance": 1 - float(np.var(outcome - t.extras["value"])) / variance if variance > 0 else 0.0,
            "surprise": float(surprise[full].mean()) if full.any() else 0.0,
            "window": float(len(self.replay)),
            "samples": float(self.samples),
            "uses": self.samples / max(self.replay.added, 1),
            "learning_rate": learning_rate,
        }

    def _blend(self, value: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        """Move values [D, P] towards what the search found for the mover [D], which varies less than how games end.

        Of the other seats it is known only where there is one and the game is zero-sum.
        """
        share = np.float32(self.config.search_value)
        value[:, 0] += share * (found - value[:, 0])
        if self._zero_sum:
            value[:, 1] += share * (-found - value[:, 1])

    def weights(self) -> dict[str, NDArray[Any]]:
        """What plays: `net.*`, and `value_norm.*`, which brings values to own units."""
        net = to_arrays(self.net)
        if self.config.ema and self.averaged:
            average = self._average / (1 - self.config.ema**self.averaged)
            for name, part in self._named(average).items():
                net[name] = _copied(part.view(net[name].shape))
        named = {f"net.{name}": array for name, array in net.items()}
        return named | {f"value_norm.{name}": array for name, array in to_arrays(self.value_norm).items()}

    def load(self, weights: Weights) -> None:
        load_arrays(self.net, part_of(weights, "net."))
        load_arrays(self.value_norm, part_of(weights, "value_norm."))
        self.optimiser.state.clear()
        self._average.zero_()
        self.averaged = 0

    def state(self) -> dict[str, NDArray[Any]]:
        arrays = {f"weights.{name}": array for name, array in self.weights().items()}
        arrays |= {"raw.parameters": _copied(self._flat), "raw.average": _copied(self._average)}
        for name, tensor in self.optimiser.state.get(self._flat, {}).items():
            arrays[f"optimiser.{name}"] = _copied(tensor)
        arrays |= {f"replay.{name}": array for name, array in self.replay.state().items()}
        arrays["counters"] = np.array([getattr(self, name) for name in _COUNTERS])
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name in ("raw.parameters", "raw.average", "counters"):
            if name not in state:
                raise ValueError(f"This is not the state of an AlphaZero learner: {name!r} is missing from it.")
        vector = tuple(self._flat.shape)
        needed = {"raw.parameters": vector, "raw.average": vector, "counters": (len(_COUNTERS),)}
        moments = part_of(state, "optimiser.")
        if moments:
            names = ("exp_avg", "exp_avg_sq", "step") if self.config.optimiser == "adamw" else ("momentum_buffer",)
            if moments.keys() != set(names):
                raise ValueError(
                    f"This state is of another optimiser: it holds {', '.join(sorted(moments))}, but"
                    f" {self.config.optimiser} needs {', '.join(names)}."
                )
            needed |= {f"optimiser.{name}": () if name == "step" else vector for name in names}
        for name, shape in needed.items():
            if state[name].shape != shape:
                raise ValueError(
                    f"This state is of another network: {name!r} has shape {state[name].shape}, but {shape} is needed."
                )
        self.replay.restore(part_of(state, "replay."))
        self.load(part_of(state, "weights."))
        self._flat.data.copy_(torch.tensor(state["raw.parameters"]))
        self._average.copy_(torch.tensor(state["raw.average"]))
        if moments:
            self.optimiser.state[self._flat] = {k: torch.tensor(v).to(self.device) for k, v in moments.items()}
        for name, number in zip(_COUNTERS, state["counters"], strict=True):
            setattr(self, name, int(number))

    def _steps(self, rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, float]:
        """Gradient steps over the drawn `rows`; mean losses, and how many steps were skipped."""
        names = ("policy_loss", "target_entropy", "value_loss", "grad_norm")
        sums = np.zeros(len(names))
        steps = skipped = 0
        for start in range(0, len(rows), self.config.minibatch):
            numbers = self._gradient_step(self.replay.batch(rng, rows[start : start + self.config.minibatch]))
            if numbers is None:
                skipped += 1
                continue
            steps += 1
            sums += numbers
        self.samples += len(rows)
        means = dict(zip(names, (sums / max(steps, 1)).tolist(), strict=True))
        kl = means["policy_loss"] - means["target_entropy"]
        return means | {"kl": kl, "gradient_steps": float(steps), "skipped_steps": float(skipped)}

    def _gradient_step(self, batch: Batch) -> list[float] | None:
        """One minibatch; None where loss or gradient is not finite, and then nothing is changed."""
        config = self.config
        observation, legal, goal, value_goal, full = (
            torch.from_numpy(array).to(self.device)
            for array in (batch.observation, batch.legal, batch.target, batch.value, batch.full)
        )
        if isinstance(self.net.trunk[0], nn.Conv2d):
            observation = observation.contiguous(memory_format=torch.channels_last)  # faster, a third on a CPU
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits, value = self.net(observation)
        # Softmax is far faster along the first axis, of decisions side by side, than along a few actions.
        goal = goal.t().contiguous()  # [A, n]
        log_probs = torch.log_softmax(logits.float().masked_fill(~legal, -1e8).t().contiguous(), dim=0)
        teaches = full / full.sum().clamp(min=1)  # a mean over the decisions that teach the policy
        policy_loss = -((goal * log_probs).sum(0) * teaches).sum()
        value_loss = (value.float() - self._normalised(value_goal)).square().mean()
        loss = policy_loss + config.value_weight * value_loss
        self._gradient.zero_()
        loss.backward()
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient *= (config.max_grad_norm / (norm + 1e-6)).clamp(max=1)
        with torch.no_grad():
            entropy = -(torch.xlogy(goal, goal).sum(0) * teaches).sum()
            numbers: list[float] = torch.stack([policy_loss, entropy, value_loss, norm]).tolist()
        if not np.isfinite(numbers).all():
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= config.most_skipped:
                raise FloatingPointError(
                    f"{self.skipped_in_a_row} gradient steps in a row were not finite (policy loss {numbers[0]}, value"
                    f" loss {numbers[2]}, gradient norm {numbers[3]}). Lower learning_rate, or look for huge rewards or"
                    " observations in the game."
                )
            return None
        self.skipped_in_a_row = 0
        self.optimiser.step()
        if config.ema:
            self._average.lerp_(self._flat.data, 1 - config.ema)
            self.averaged += 1
        return numbers

    def _cut_values(self, t: Trajectories) -> NDArray[np.float32]:
        """What every seat of the cut games is worth [C, P], each by its own view, in the game's own units."""
        if not len(t.cut_game):
            return np.zeros((0, t.reward.shape[1]), np.float32)
        flat = t.cut_observation.reshape(-1, *t.cut_observation.shape[2:])
        with torch.no_grad():
            _, value = self.net(torch.from_numpy(flat).to(self.device))
            value = value[:, 0] * torch.sqrt(self.value_norm.variance + 1e-6) + self.value_norm.mean
        worth: NDArray[np.float32] = value.cpu().numpy().reshape(len(t.cut_game), -1)
        return worth

    def _normalised(self, value: Tensor) -> Tensor:
        return (value - self.value_norm.mean) * torch.rsqrt(self.value_norm.variance + 1e-6)

    def _learn_scales(self, observation: NDArray[np.float32], value: NDArray[np.float32]) -> None:
        """Take in what is new, so that neither play nor the value head's output in own units jumps (PopArt)."""
        if self.net.normalise is not None:
            self.net.normalise.learn(torch.from_numpy(observation).to(self.device))
        if self.bounded:
            return
        ratio, shift = popart(self.value_norm, torch.from_numpy(value).to(self.device).flatten())
        begun = 1 - self.config.ema**self.averaged  # how much of a constant the uncorrected average holds
        for vector, share in ((self._flat.data, 1.0), (self._average, begun)):
            parts = self._named(vector)
            parts["value.weight"].mul_(ratio)
            parts["value.bias"].mul_(ratio).add_(share * shift)

    def _named(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a vector of all parameters, by parameter."""
        names = (name for name, _ in self.net.named_parameters())
        return dict(zip(names, torch.split(vector, self._sizes), strict=True))


def _optimiser(parameter: nn.Parameter, config: AlphaZeroConfig) -> torch.optim.Optimizer:
    rate, decay = config.learning_rate.start, config.weight_decay
    if config.optimiser == "sgd":
        return torch.optim.SGD([parameter], lr=rate, momentum=0.9, weight_decay=decay, fused=True)
    return torch.optim.AdamW([parameter], lr=rate, weight_decay=decay, fused=True)


def _copied(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy().copy()


@kernel
def _returns_to_go(
    reward: NDArray[np.float32],
    step_game: NDArray[np.int64],
    seat: NDArray[np.int16],
    step: NDArray[np.int64],
    earned: NDArray[np.float64],
) -> NDArray[np.float32]:
    """One pass from the last step to the first; each game keeps what its seats have earned [G, P], looking back."""
    seats = reward.shape[1]
    out = np.empty((len(seat), seats), np.float32)
    d = len(seat) - 1
    for r in range(len(reward) - 1, -1, -1):
        g = step_game[r]
        for p in range(seats):
            earned[g, p] += reward[r, p]
        while d >= 0 and step[d] == r:
            for i in range(seats):
                out[d, i] = earned[g, (seat[d] + i) % seats]
            d -= 1
    return out
