"""Networks: what turns an observation into a policy and a value.

The kind follows from the observation's shape, `(planes, rows, columns)` to a residual convolution network and anything
else to a multilayer perceptron, unless the config says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from agents.core import Weights
from games import GameSpec


class NetworkConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["auto", "mlp", "conv"] = "auto"  # auto: by the observation's shape
    width: PositiveInt = 128  # of a hidden layer of an mlp
    layers: PositiveInt = 2  # hidden layers of an mlp
    channels: PositiveInt = 64  # of a convolution
    blocks: PositiveInt = 4  # residual blocks of two convolutions


class RunningNorm(nn.Module):
    """Shifts and scales to zero mean and unit variance, by statistics that only `learn` changes."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) * torch.rsqrt(self.variance + 1e-6)).clamp(-10, 10)

    def learn(self, x: Tensor, slowest: float = 0.0) -> None:
        """Take in a batch [n, *shape]. Its share is its size's, but at least `slowest`, so that old data fades.

        A batch with a value that is not finite is left out.
        """
        if not bool(torch.isfinite(x).all()):
            return
        batch_mean, batch_variance = x.mean(0), x.var(0, unbiased=False)
        share = max(len(x) / (float(self.count) + len(x)), slowest)
        shift = batch_mean - self.mean
        self.mean += share * shift
        self.variance += share * (batch_variance - self.variance + (1 - share) * shift * shift)
        self.count += len(x)


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class PolicyValueNet(nn.Module):
    """Observations [n, *O] to logits [n, A] and values, on one trunk: [n], or [n, values] where it is told how many."""

    def __init__(
        self, spec: GameSpec, config: NetworkConfig, normalise: bool = False, values: int | None = None
    ) -> None:
        super().__init__()
        kind = config.kind
        if kind == "auto":
            kind = "conv" if len(spec.observation) == 3 and min(spec.observation[1:]) >= 3 else "mlp"
        if kind == "conv" and len(spec.observation) != 3:
            raise ValueError(
                f"network.kind conv needs observations of (planes, rows, columns); {spec.name} gives"
                f" {spec.observation}. Use mlp."
            )
        self.normalise = RunningNorm(spec.observation) if normalise else None
        trunk, width = _conv(spec, config) if kind == "conv" else _mlp(spec, config)
        self.trunk = nn.Sequential(*trunk)
        self.policy = nn.Linear(width, spec.actions)
        self.value = nn.Linear(width, 1 if values is None else values)
        self._one_value = values is None

    def initialise(self) -> None:
        """Orthogonal weights from torch's generator, with heads that begin nearly even and near zero."""
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                gain = 0.01 if layer is self.policy else 1.0 if layer is self.value else 2**0.5
                nn.init.orthogonal_(layer.weight, gain)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        if self.normalise is not None:
            observation = self.normalise(observation)
        features = self.trunk(observation)
        value = self.value(features)
        return self.policy(features), value.squeeze(-1) if self._one_value else value


def _mlp(spec: GameSpec, config: NetworkConfig) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = [nn.Flatten()]
    size = int(np.prod(spec.observation))
    for _ in range(config.layers):
        layers += [nn.Linear(size, config.width), nn.ReLU()]
        size = config.width
    return layers, size


def _conv(spec: GameSpec, config: NetworkConfig) -> tuple[list[nn.Module], int]:
    planes, rows, columns = spec.observation
    layers: list[nn.Module] = [nn.Conv2d(planes, config.channels, 3, padding=1), nn.ReLU()]
    layers += [Residual(config.channels) for _ in range(config.blocks)]
    layers += [nn.Conv2d(config.channels, 8, 1), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(8 * rows * columns, config.width), nn.ReLU()]
    return layers, config.width


def to_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of a module's parameters and buffers, by name."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, weights: Weights) -> None:
    """Load what `to_arrays` gave. Raises ValueError naming the first thing that does not fit."""
    own: Mapping[str, Tensor] = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            where = "missing from" if name not in weights else "not expected in"
            raise ValueError(f"These weights are of another network: {name!r} is {where} them.")
        if tuple(own[name].shape) != weights[name].shape:
            raise ValueError(
                f"These weights are of another network: {name!r} has shape {weights[name].shape}, but"
                f" {tuple(own[name].shape)} is needed."
            )
    module.load_state_dict({name: torch.tensor(np.asarray(weights[name])) for name in own})


def part_of(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def flattened(module: nn.Module) -> tuple[nn.Parameter, Tensor]:
    """One vector that all parameters of `module` are parts of from now on, and its gradient, of which theirs are.

    With small networks, clipping and an optimiser would else spend their time on going from one parameter to the next.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(parameters_to_vector(parameters).detach())
    vector_to_parameters(flat.data, parameters)
    flat.grad = gradient = torch.zeros_like(flat)
    parts = torch.split(gradient, [parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return flat, gradient


def popart(norm: RunningNorm, target: Tensor) -> tuple[Tensor, Tensor]:
    """Take targets [n] into `norm`, old ones fading slowly. Returns what keeps a head's output in own units the same:
    what to multiply its weight and bias by, and what then to add to the bias."""
    old_mean, old_scale = norm.mean.clone(), torch.sqrt(norm.variance + 1e-6)
    norm.learn(target, slowest=0.02)
    scale = torch.sqrt(norm.variance + 1e-6)
    return old_scale / scale, (old_mean - norm.mean) / scale
