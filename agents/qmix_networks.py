"""QMIX's networks: what each member of a team values its actions at, and what makes one value of them (see
`agents.qmix`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from agents.episodes import Seating
from agents.networks import RunningNorm
from agents.qmix_config import QMIXConfig
from agents.recurrent import GRU
from games import GameSpec


class TeamNet(nn.Module):
    """What each member's actions are worth to it: observation, last action and seat to Q_i, by way of its memory."""

    def __init__(self, spec: GameSpec, config: QMIXConfig) -> None:
        super().__init__()
        self.seen, self.actions, self.seats = int(np.prod(spec.observation)), spec.actions, spec.seats
        # Without a bias: what the seat's own input brings is one already.
        self.first = nn.Linear(self.seen + self.actions + self.seats, config.width, bias=False)
        self.normalise = RunningNorm((self.seen,)) if config.normalise_observations else None
        self.memory = GRU(config.width)
        self.value = nn.Linear(config.width, self.actions)

    def inputs(self, observation: Tensor, last: Tensor, seat: Tensor) -> Tensor:
        """Observations [..., *O], last actions [...] (-1 for none) and seats [...] as what the network is given."""
        n = last.numel()
        x = torch.zeros(n, self.seen + self.actions + self.seats, device=observation.device)
        seen = observation.reshape(n, -1)
        x[:, : self.seen] = seen if self.normalise is None else self.normalise(seen)
        row, last = torch.arange(n, device=x.device), last.reshape(-1)
        x[row, self.seen + last.clamp(min=0)] = (last >= 0).float()
        x[row, self.seen + self.actions + seat.reshape(-1)] = 1
        return x

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step: inputs [n, inputs] and memory [n, width] to Q_i [n, A] and the new memory."""
        h = self.memory.step(torch.relu(self.first(x)), h)
        return self.value(h), h

    def forward(self, x: Tensor, active: Tensor) -> Tensor:
        """Inputs [T, N, inputs] of whole episodes to Q_i [T, N, A]."""
        q: Tensor = self.value(self.memory(torch.relu(self.first(x)), active))
        return q


class Monotonic(nn.Module):
    """QMIX's mixer."""

    def __init__(self, members: int, state: int, config: QMIXConfig) -> None:
        super().__init__()
        self.members, self.embedding, hyper = members, config.embedding, config.hyper
        # The first layers of all four networks of the state, as one: W1's, w2's, V's, and b1, which has no other.
        self.sizes = (hyper, hyper, self.embedding, self.embedding)
        self.first = nn.Linear(state, sum(self.sizes))
        self.inner = nn.Linear(hyper, members * self.embedding)  # W1
        self.outer = nn.Linear(hyper, self.embedding)  # w2
        self.level = nn.Linear(self.embedding, 1)  # V

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        """Chosen Q_i [R, n], 0 of whoever does not act, and states [R, state] to Q_tot [R, 1]."""
        to_inner, to_outer, to_level, bias = self.first(state).split(self.sizes, dim=1)
        inner = self.inner(torch.relu(to_inner)).abs().view(-1, self.members, self.embedding)
        hidden = _elu((q[:, :, None] * inner).sum(1) + bias)
        outer = self.outer(torch.relu(to_outer)).abs()
        mixed: Tensor = (hidden * outer).sum(1, keepdim=True) + self.level(torch.relu(to_level))
        return mixed


def _elu(x: Tensor) -> Tensor:
    """As torch's, but with `exp`, which on a CPU is many times faster than its `expm1`."""
    return torch.relu(x) + torch.exp(x.clamp(max=0)) - 1


class Sum(nn.Module):
    """VDN's mixer."""

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return q.sum(1, keepdim=True)


class Apart(nn.Module):
    """Independent learners': a value for each member."""

    def forward(self, q: Tensor, state: Tensor) -> Tensor:
        return q


def make_mixer(spec: GameSpec, config: QMIXConfig) -> nn.Module:
    """The mixer: chosen Q_i [R, n] and states [R, state] to values [R, 1], or [R, n] where members learn alone."""
    if config.mixer == "qmix":
        return Monotonic(Seating.of(spec).members, state_size(spec, config), config)
    return Sum() if config.mixer == "vdn" else Apart()


def uses_state(spec: GameSpec, config: QMIXConfig) -> bool:
    return spec.global_state is not None and config.state != "observations"


def state_size(spec: GameSpec, config: QMIXConfig) -> int:
    """Numbers that the mixer sees: with more than one team also which one it is."""
    seating = Seating.of(spec)
    own = seating.members * int(np.prod(spec.observation))
    shown = int(np.prod(spec.global_state)) if uses_state(spec, config) and spec.global_state is not None else own
    return shown + (seating.teams if seating.teams > 1 else 0)


class Networks(nn.Module):
    """What is learned."""

    def __init__(self, spec: GameSpec, config: QMIXConfig) -> None:
        super().__init__()
        self.net, self.mixer = TeamNet(spec, config), make_mixer(spec, config)
        self.normalise = RunningNorm((state_size(spec, config),)) if config.normalise_observations else None
