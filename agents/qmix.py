"""QMIX: a team that learns together from what it is paid together, each member acting on what it alone sees.

Every member has the same recurrent network, told its seat and its last action, that values its own actions (Q_i). A
mixer that sees the global state makes of the chosen ones the value of what the team did (Q_tot), rising in each Q_i, so
the member's own best action is the team's:

    Q_tot = w2(s)^T elu(W1(s)^T q + b1(s)) + V(s)      W1, w2 = |hypernetworks of s|

One gradient step, on whole episodes from replay:

    1. both networks, the one that learns and the target, over all steps of all members at once
    2. the target of each team step: TD(lambda) returns of the target's Q_tot, each member's next action being the legal
       one that the learning network holds best
    3. squared error of Q_tot over the team steps that were played

Rashid et al. 2018 (arXiv 1803.11485). VDN (Sunehag et al. 2017, arXiv 1706.05296) is the same with a sum for a mixer,
independent Q-learning (Tan 1993) with none. Whoever does not act adds nothing to Q_tot, and remembers what it knew; its
last action is still credited with what its team earns later. Not here: prioritised replay, continuous actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.core import Choice, Context, Trajectories, Weights
from agents.episodes import Batch, EpisodeReplay, Episodes, Seating, episodes
from agents.networks import RunningNorm, flattened, load_arrays, part_of, to_arrays
from agents.qmix_config import QMIXConfig
from agents.qmix_networks import Networks, TeamNet, state_size, uses_state
from games import Decisions, GameSpec, Keys
from games.kernels import kernel, mix_one


def supports(spec: GameSpec, config: QMIXConfig | None = None) -> str | None:
    """Why QMIX cannot play this game (with this config); None where it can."""
    if config is not None and config.state == "game" and spec.global_state is None:
        return f"{spec.name} has no global state; take state: auto, or observations: those of the team side by side."
    return None


def remark(spec: GameSpec, config: QMIXConfig) -> str:
    """What the mixer sees and what the team is paid, as a sentence: results depend on both."""
    size = state_size(spec, config)
    seen = "the game's own global state" if uses_state(spec, config) else "the observations of the team side by side"
    kind = {"qmix": f"QMIX mixes with {seen} ({size} numbers)", "vdn": "VDN sums", "iql": "each member learns alone"}
    return f"{kind[config.mixer]}; a team is paid the {config.team_reward} of its seats' rewards."


class QMIXPolicy:
    """The members as players: the action each values most, and at random with probability epsilon."""

    def __init__(
        self,
        spec: GameSpec,
        config: QMIXConfig,
        weights: Weights,
        epsilon: float | None = None,
        *,
        explore: bool = False,
    ) -> None:
        self.net = TeamNet(spec, config).requires_grad_(False)
        load_arrays(self.net, part_of(weights, "net."))
        self.epsilon = float(weights["epsilon"]) if explore else config.play_epsilon if epsilon is None else epsilon
        self.memory: tuple[int, ...] | None = (
            config.width + 1,
        )  # what it remembers, then its last action + 1: 0 at the start of a game

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        shape = decisions.active.shape
        n = decisions.active.size
        assert context.memory is not None
        memory = torch.from_numpy(context.memory.reshape(n, -1))
        last = memory[:, -1].long() - 1
        with torch.inference_mode():
            seat = torch.from_numpy(decisions.seat.reshape(n).astype(np.int64))
            x = self.net.inputs(torch.from_numpy(decisions.observation), last, seat)
            q, h = self.net.step(x, memory[:, :-1])
        action = _choose(q.numpy(), decisions.legal.reshape(n, -1), keys.reshape(n), self.epsilon)
        kept = np.concatenate([h.numpy(), action[:, None].astype(np.float32) + 1], axis=1)
        extras = {"last": last.numpy().astype(np.int16).reshape(shape)}
        return Choice(action.reshape(shape), extras, kept.reshape(*shape, -1))


@kernel
def _choose(
    q: NDArray[np.float32], legal: NDArray[np.bool_], keys: NDArray[np.uint64], epsilon: float
) -> NDArray[np.int64]:
    """The best legal action of each row [n], or any by chance; -1 where nothing is legal."""
    n, actions = legal.shape
    chosen = np.full(n, -1, np.int64)
    for i in range(n):
        count = 0
        for a in range(actions):
            if legal[i, a]:
                count += 1
                if chosen[i] < 0 or q[i, a] > q[i, chosen[i]]:
                    chosen[i] = a
        if count and float(mix_one(keys[i], np.uint64(0)) >> np.uint64(11)) * 2.0**-53 < epsilon:
            skip = int(float(mix_one(keys[i], np.uint64(1)) >> np.uint64(11)) * 2.0**-53 * count)
            for a in range(actions):
                if legal[i, a]:
                    if skip == 0:
                        chosen[i] = a
                        break
                    skip -= 1
    return chosen


class QMIXLearner:
    """Improves one network for all members, from episodes of the teams that its player held."""

    def __init__(self, spec: GameSpec, config: QMIXConfig, seed: int, device: str = "cpu") -> None:
        self.spec, self.config, self.device = spec, config, torch.device(device)
        self.seating = Seating.of(spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.learned = Networks(spec, config).to(self.device)
        self.target = deepcopy(self.learned).requires_grad_(False)
        self._flat, self._gradient = flattened(self.learned)
        self._target_flat = flattened(self.target)[0].requires_grad_(False)
        self.optimiser = torch.optim.Adam([self._flat], lr=config.learning_rate.start, eps=1e-5, fused=True)
        self.replay = EpisodeReplay(config.replay)
        self.seats = torch.from_numpy(self.seating.seat.clip(min=0)).to(self.device)  # [teams, n]
        self.decisions = 0  # learned from so far
        self.steps = 0  # team steps seen
        self.episodes = 0  # collected
        self.gradient_steps = 0
        self.owed = 0.0  # gradient steps
        self.skipped_in_a_row = 0
        self.paid = RunningNorm(()).double()  # of team rewards

    def update(self, trajectories: Trajectories, rng: np.random.Generator) -> dict[str, float]:
        """Keep the new episodes, and make as many gradient steps as they are worth, once there are enough."""
        config = self.config
        goes_on = config.time_limit == "bootstrap"
        new = episodes(trajectories, self.spec, self.seating, config.team_reward, cut_goes_on=goes_on)
        self.replay.add(new)
        played = np.ones(len(new.reward), np.bool_)
        played[np.cumsum(new.length) - 1] = False
        self.paid.learn(torch.from_numpy(new.reward[played]).double())
        self._note_observations(new, played)
        self.decisions += trajectories.decisions
        self.steps += int(played.sum())
        self.episodes += len(new.length)
        self.owed += config.updates * len(new.length)
        sums, steps, skipped = dict.fromkeys(("loss", "q_tot", "target", "grad_norm"), 0.0), 0, 0
        if len(self.replay) < config.episodes:
            self.owed = 0.0  # as PyMARL: nothing is made up for later
        while self.owed >= 1:
            self.owed -= 1
            metrics = self.gradient_step(self.replay.sample(rng, config.episodes))
            if metrics is None:
                skipped += 1
                continue
            steps += 1
            for name in sums:
                sums[name] += metrics[name]
        return {name: total / max(steps, 1) for name, total in sums.items()} | {
            "team_return": float(new.reward.sum() / len(new.length)),
            "epsilon": config.epsilon.at(self.steps),
            "learning_rate": config.learning_rate.at(self.steps),
            "team_steps": float(self.steps),
            "episodes": float(self.episodes),
            "gradient_steps": float(self.gradient_steps),
            "skipped_steps": float(skipped),
        }

    def gradient_step(self, batch: Batch) -> dict[str, float] | None:
        """One step on a batch of episodes; None where loss or gradient is not finite, and then nothing is changed."""
        config = self.config
        steps, count, n = batch.active.shape
        active = self._tensor(batch.active)
        seats = self.seats[self._tensor(batch.team)].expand(steps, count, n)
        x = self.learned.net.inputs(self._tensor(batch.observation), self._tensor(batch.last).long(), seats)
        x, acting = x.view(steps, count * n, -1), active.view(steps, count * n)
        state = self._states(batch, np.broadcast_to(batch.team, batch.reward.shape).copy())
        if self.learned.normalise is not None:
            state = self.learned.normalise(state)
        q = self.learned.net(x, acting).view(steps, count, n, -1)
        action = self._tensor(batch.action).long()
        chosen = q[:-1].gather(3, action[:-1, :, :, None]).squeeze(3) * active[:-1]
        value = self.learned.mixer(chosen.reshape(-1, n), state[:-1].reshape((steps - 1) * count, -1))
        with torch.no_grad():
            target, weight = self._targets(batch, q.detach(), x, acting, state)
        value = value.view(target.shape)
        loss = ((value - target).square() * weight).sum() / weight.sum()
        self._gradient.zero_()
        loss.backward()
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient *= (config.max_grad_norm / (norm + 1e-6)).clamp(max=1)
        with torch.no_grad():
            share = weight / weight.sum()
            numbers = torch.stack([loss, (value * share).sum(), (target * share).sum(), norm]).tolist()
        if not np.isfinite(numbers).all():
            self._skip(numbers)
            return None
        self.skipped_in_a_row = 0
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate.at(self.steps)
        self.optimiser.step()
        self.gradient_steps += 1
        self._renew_target()
        return dict(zip(("loss", "q_tot", "target", "grad_norm"), numbers, strict=True))

    def _targets(self, batch: Batch, q: Tensor, x: Tensor, acting: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """What Q_tot should be at each team step, and whether it counts, both [T - 1, b, 1], or [T - 1, b, n] of
        members apart."""
        steps, count, n = batch.active.shape
        illegal = ~self._tensor(batch.legal)
        theirs = self.target.net(x, acting).view(q.shape)
        judge = q if self.config.double else theirs
        best = judge.masked_fill(illegal, -torch.inf).argmax(3, keepdim=True)
        next_q = theirs.gather(3, best).squeeze(3) * acting.view(steps, count, n)
        value = self.target.mixer(next_q.view(-1, n), state.reshape(steps * count, -1)).view(steps, count, -1)
        apart = self.config.mixer == "iql"
        alive: NDArray[np.bool_] = batch.active if apart else np.any(batch.active, axis=2, keepdims=True)
        reward = batch.reward
        if self.config.standardise_rewards:
            reward = (
                ((torch.from_numpy(reward) - self.paid.mean) * torch.rsqrt(self.paid.variance + 1e-6)).float().numpy()
            )
        returns = value.cpu().numpy().copy()
        _lambda_returns(returns, alive, reward, batch.playing, self.config.gamma, self.config.lam)
        return self._tensor(returns[:-1]), self._tensor((alive & batch.playing[:, :, None])[:-1].astype(np.float32))

    def _states(self, rows: Batch | Episodes, team: NDArray[np.int64]) -> Tensor:
        """What the mixer sees in each of `rows` [..., state], each of a team [...]."""
        shown = rows.state if uses_state(self.spec, self.config) else rows.observation
        assert shown is not None
        state = self._tensor(shown).reshape(*rows.reward.shape, -1)
        if self.seating.teams == 1:
            return state
        return torch.cat([state, nn.functional.one_hot(self._tensor(team), self.seating.teams).float()], dim=-1)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _renew_target(self) -> None:
        with torch.no_grad():
            if self.config.tau is not None:
                self._target_flat.lerp_(self._flat, self.config.tau)
            elif self.config.target_every and self.gradient_steps % self.config.target_every == 0:
                self._target_flat.copy_(self._flat)

    def _note_observations(self, new: Episodes, played: NDArray[np.bool_]) -> None:
        """Take in what members saw when they acted, and what the mixer sees of each team step."""
        if self.learned.net.normalise is None or self.learned.normalise is None:
            return
        self.learned.net.normalise.learn(self._tensor(new.observation[played][new.active[played]]).flatten(1))
        self.learned.normalise.learn(self._states(new, np.repeat(new.team, new.length))[self._tensor(played)])

    def _skip(self, numbers: list[float]) -> None:
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= self.config.most_skipped:
            raise FloatingPointError(
                f"{self.skipped_in_a_row} gradient steps in a row were not finite (loss {numbers[0]}, gradient norm"
                f" {numbers[-1]}). Lower learning_rate, or look for huge rewards or observations in the game."
            )

    def weights(self) -> dict[str, NDArray[Any]]:
        return to_arrays(self.learned) | {"epsilon": np.array(self.config.epsilon.at(self.steps))}

    def load(self, weights: Weights) -> None:
        load_arrays(self.learned, {name: array for name, array in weights.items() if name != "epsilon"})
        self._target_flat.copy_(self._flat.data)
        self.optimiser.state.clear()

    def state(self) -> dict[str, NDArray[Any]]:
        arrays = {f"weights.{name}": array for name, array in self.weights().items()}
        for name, tensor in self.optimiser.state.get(self._flat, {}).items():
            arrays[f"adam.{name}"] = tensor.detach().cpu().numpy().copy()
        arrays |= {f"replay.{name}": array for name, array in self.replay.state().items()}
        arrays["target"] = self._target_flat.cpu().numpy().copy()
        arrays |= {f"paid.{name}": array for name, array in to_arrays(self.paid).items()}
        arrays["owed"] = np.array(self.owed)
        counts = (self.decisions, self.steps, self.episodes, self.gradient_steps, self.skipped_in_a_row)
        arrays["counters"] = np.array(counts)
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name in ("counters", "target", "paid.mean", "owed"):
            if name not in state:
                raise ValueError(f"This is not the state of a QMIX learner: {name!r} is missing from it.")
        self.load(part_of(state, "weights."))
        moments, vector = part_of(state, "adam."), tuple(self._flat.shape)
        shapes = {"target": state["target"].shape} | {name: array.shape for name, array in moments.items()}
        needed = {"target": vector} | ({"step": (), "exp_avg": vector, "exp_avg_sq": vector} if moments else {})
        if shapes != needed:
            raise ValueError(f"This state is of another network: it has {shapes}, but {needed} is needed.")
        self._target_flat.copy_(torch.tensor(state["target"]))
        if moments:
            self.optimiser.state[self._flat] = {k: torch.tensor(v).to(self.device) for k, v in moments.items()}
        self.replay.restore(part_of(state, "replay."))
        load_arrays(self.paid, part_of(state, "paid."))
        self.owed = float(state["owed"])
        counts = (int(number) for number in state["counters"])
        self.decisions, self.steps, self.episodes, self.gradient_steps, self.skipped_in_a_row = counts


@kernel
def _lambda_returns(
    value: NDArray[np.float32],  # [T, b, m] of acting on; in its place come the returns
    alive: NDArray[np.bool_],  # [T, b, m] whether there is a value there
    reward: NDArray[np.float32],  # [T, b]
    playing: NDArray[np.bool_],  # [T, b]
    gamma: float,
    lam: float,
) -> None:
    """TD(lambda) returns, backwards: reward + gamma ((1 - lambda) V' + lambda G') where there is a V', else
    reward + gamma G'. So a member that never acts again is credited with all that its team still earns."""
    steps, count, members = value.shape
    for b in range(count):
        for i in range(members):
            later = 0.0  # return from the next step on, mixed with its value
            for t in range(steps - 1, -1, -1):
                own = float(value[t, b, i]) if alive[t, b, i] else 0.0
                total = reward[t, b] + gamma * later if playing[t, b] else own
                value[t, b, i] = total
                later = (1.0 - lam) * own + lam * total if alive[t, b, i] else total
