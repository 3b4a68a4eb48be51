"""What PPO self-play costs beside its gradients: Connect Four, both seats learning, an MLP of 2 x 128, on one thread.

The whole loop is a rollout of `--batch` decisions, the update (`--epochs` passes in minibatches of `--minibatch`), and
the new weights to the policy that plays. The bare loop is the least that any PPO does with the same data: pick the rows
of a minibatch, forward, loss, backward, Adam; no metrics, no clipping of gradients, no guards. The two take turns, each
bare loop on the data that the whole loop before it made, so that a slow minute of the machine falls on both; medians
count. A step is one decision learned from. Early stopping by KL divergence is off, so that both do the same epochs.
All is one thread's work, so on an idle machine `cpu_share`, of processor time, is the share by the clock; on a busy one
it is what the share would be.

    python experiments/benchmarks/ppo.py [--batch 8192] [--epochs 4] [--minibatch 512] [--repeats 41] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from typing import Any

# One core is measured: other threads would only disturb it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

import games
from agents.core import Trajectories
from agents.credit import advantages
from agents.networks import NetworkConfig, PolicyValueNet
from agents.ppo import PPOConfig
from arena.backend import Apprentice, Cast
from arena.rollout import Order, Rollout
from arena.store import Frozen
from leagues.core import Match

LEARNER = "main"


def nobody(player: str) -> Frozen:
    raise LookupError(f"{player} is not at play here.")


class Whole:
    """The loop as a run has it, in this process: play, learn, publish."""

    def __init__(self, config: PPOConfig, rows: int) -> None:
        game = games.make("connect_four")
        self.config = config
        self.cast = Cast(game.spec, {LEARNER: config}, nobody)
        self.apprentice = Apprentice.make(LEARNER, 0, game.spec, config, seed=1, device="cpu")
        self.cast.publish(LEARNER, self.apprentice.learner.weights(), 0)
        self.rollout = Rollout(game, self.cast, rows)
        self.order = Order((Match(1, (LEARNER, LEARNER), "train", seed=1),), config.batch, (LEARNER,))

    def turn(self) -> tuple[Trajectories, dict[str, float]]:
        """One round: what was learned from, and the seconds of its parts."""
        began = time.perf_counter()
        worked = time.process_time()
        trajectories = self.rollout.run(self.order).trajectories
        played = time.perf_counter()
        _, weights = self.apprentice.update([trajectories])
        learned = time.perf_counter()
        self.cast.publish(LEARNER, weights, self.apprentice.updates)
        ended = time.perf_counter()
        seconds = {"play": played - began, "learn": learned - played, "publish": ended - learned}
        return trajectories[LEARNER], seconds | {"whole": ended - began, "cpu": time.process_time() - worked}


class Bare:
    """Forward and backward on given data, written out by hand."""

    def __init__(self, config: PPOConfig) -> None:
        torch.manual_seed(1)
        self.config = config
        self.net = PolicyValueNet(games.spec_of("connect_four"), config.network)
        self.net.initialise()
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate.start, eps=1e-5, fused=True)
        self.rng = np.random.default_rng(1)

    def turn(self, t: Trajectories, advantage: NDArray[np.float32], target: NDArray[np.float32]) -> dict[str, float]:
        """All epochs on `t`; the seconds they took, by the clock and of processor time."""
        began, worked = time.perf_counter(), time.process_time()
        arrays = (t.observation, t.legal, t.action, t.extras["log_prob"], advantage, target)
        tensors = [torch.from_numpy(array) for array in arrays]
        minibatches = max(1, round(t.decisions / self.config.minibatch))
        for _ in range(self.config.epochs):
            for rows in np.array_split(self.rng.permutation(t.decisions), minibatches):
                index = torch.from_numpy(rows)
                self.step(*(tensor.index_select(0, index) for tensor in tensors))
        return {"bare": time.perf_counter() - began, "cpu": time.process_time() - worked}

    def step(
        self,
        observation: torch.Tensor,
        legal: torch.Tensor,
        action: torch.Tensor,
        old_log_prob: torch.Tensor,
        advantage: torch.Tensor,
        target: torch.Tensor,
    ) -> None:
        config = self.config
        logits, value = self.net(observation)
        log_probs = torch.log_softmax(logits.masked_fill(~legal, -1e8), dim=-1)
        ratio = (log_probs.gather(1, action[:, None]).squeeze(1) - old_log_prob).exp()
        gain = torch.min(ratio * advantage, ratio.clamp(1 - config.clip, 1 + config.clip) * advantage).mean()
        entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
        value_loss = (value - target).square().mean()
        loss = config.value_weight * value_loss - gain - config.entropy.start * entropy
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def measure(config: PPOConfig, rows: int, repeats: int) -> dict[str, Any]:
    """Both loops in turns: medians of their rates, of their ratio within a turn, and of the parts of the whole."""
    torch.set_num_threads(1)
    whole, bare = Whole(config, rows), Bare(config)
    rates: dict[str, list[float]] = {"whole": [], "bare": []}
    shares: dict[str, list[float]] = {"clock": [], "cpu": []}
    parts: dict[str, list[float]] = {"play": [], "learn": [], "publish": []}
    for repeat in range(-2, repeats):  # two to warm up: kernels compiled, boards of every age
        t, seconds = whole.turn()
        no_cuts = np.zeros((0, 2), np.float32)
        advantage = advantages(t, t.extras["value"], no_cuts, gamma=config.gamma, lam=config.lam)
        target = advantage + t.extras["value"]
        normalised = (advantage - advantage.mean()) / (advantage.std() + np.float32(1e-8))
        least = bare.turn(t, normalised, target)
        if repeat < 0:
            continue
        rates["whole"].append(t.decisions / seconds["whole"])
        rates["bare"].append(t.decisions / least["bare"])
        shares["clock"].append(least["bare"] / seconds["whole"])
        shares["cpu"].append(least["cpu"] / seconds["cpu"])
        for name, seen in parts.items():
            seen.append(seconds[name] / seconds["whole"])
    return {
        "steps_per_s": statistics.median(rates["whole"]),
        "bare_steps_per_s": statistics.median(rates["bare"]),
        "share_of_bare_loop": statistics.median(shares["clock"]),
        "low": min(shares["clock"]),
        "high": max(shares["clock"]),
        "cpu_share": statistics.median(shares["cpu"]),
        "parts": {name: statistics.median(seen) for name, seen in parts.items()},
        "unit": "decisions learned from a second",
        "batch": config.batch,
        "minibatch": config.minibatch,
        "epochs": config.epochs,
        "rows": rows,
        "repeats": repeats,
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8192, help="decisions to an update, at least")
    parser.add_argument("--minibatch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=256, help="games side by side")
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a few lines")
    arguments = parser.parse_args()
    config = PPOConfig(
        network=NetworkConfig(kind="mlp", width=128, layers=2),
        batch=arguments.batch,
        minibatch=arguments.minibatch,
        epochs=arguments.epochs,
        target_kl=None,
    )
    measured = measure(config, arguments.rows, arguments.repeats)
    if arguments.json:
        print(json.dumps(measured))
        return
    print(f"whole loop {measured['steps_per_s']:10,.0f} decisions learned from a second")
    print(f"bare loop  {measured['bare_steps_per_s']:10,.0f}")
    print(f"share      {measured['share_of_bare_loop']:10.3f}  ({measured['low']:.3f} to {measured['high']:.3f})")
    print(f"cpu share  {measured['cpu_share']:10.3f}")
    print("of the whole loop:", ", ".join(f"{name} {share:.1%}" for name, share in measured["parts"].items()))


if __name__ == "__main__":
    main()
