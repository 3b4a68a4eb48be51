"""What QMIX costs beside its gradients: a team trained in one process, on one thread, in team steps a second.

    loop        the whole: 32 games played side by side (`Rollout`, with recorder), whole episodes into replay, one
                gradient step on 32 of 5,000 episodes for each one collected, the new weights to the policy that plays
    bare        those gradient steps alone: episodes drawn from the same replay, and `QMIXLearner.gradient_step`. As one
                is owed for an episode, its team steps are those of the episodes that `loop` collected meanwhile
    arithmetic  the matrix products of a gradient step, and how fast this machine makes one of 2496 x 64 x 192

Networks are those of everybody: a GRU of 64, and a mixer of 32 made by networks of 64. The replay is filled beforehand,
over and over, with what untrained play made. Rows take turns, round after round, so that a slow minute of the machine
falls on all; medians of the rounds. `clock` is by the clock, `cpu` by processor time of this process: on a busy machine
that is the one to trust. `of_arithmetic` is the share of the bare loop's processor time that its matrix products would
take at the speed of `arithmetic`.

    python experiments/benchmarks/marl.py [--task GAME ...] [--seconds 1.5] [--rounds 9] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

# One core is measured: other threads would only disturb it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import torch

import games
from agents.episodes import Seating, episodes
from agents.qmix import QMIXLearner
from agents.qmix_config import QMIXConfig
from arena.backend import Apprentice, Cast
from arena.process import settle
from arena.rollout import Order, Rollout
from arena.store import Frozen
from games import GameSpec
from games.names import UserError
from leagues.core import Match

LEARNER = "team"
ROWS = 32
TASKS = (
    "simple_spread",
    "pettingzoo/mpe2.simple_spread_v3",
    "foraging?size=8&players=2&food=3",
    "teams/lbforaging.Foraging-8x8-2p-3f-v3",
)
PRODUCT = (2496, 64, 192)  # what a GRU of 64 makes of the 26 rows of 32 episodes of 3 members


def nobody(player: str) -> Frozen:
    raise LookupError(f"{player} is not at play here.")


def now() -> np.ndarray[Any, Any]:
    """Seconds by the clock, and of processor time of this process."""
    return np.array([time.perf_counter(), time.process_time()])


class Loop:
    """Training as a run has it, in this process: play, learn, publish."""

    def __init__(self, task: str) -> None:
        game = games.make(task)
        spec = game.spec
        if len(set(spec.teams)) > 1:
            raise UserError(f"{task} has {len(set(spec.teams))} teams; this is about one that learns alone.")
        # As many decisions as a table of full-length games, so that about one episode a row comes back.
        self.config = QMIXConfig(batch=ROWS * spec.longest * spec.seats)
        self.cast = Cast(spec, {LEARNER: self.config}, nobody)
        self.apprentice = Apprentice.make(LEARNER, 0, spec, self.config, seed=1, device="cpu")
        learner = self.apprentice.learner
        assert isinstance(learner, QMIXLearner)
        self.learner, self.spec = learner, spec
        self.cast.publish(LEARNER, learner.weights(), 0)
        self.rollout = Rollout(game, self.cast, ROWS, piece=max(1024, spec.longest))
        self.order = Order((Match(1, (LEARNER,), "train", seed=1),), self.config.batch, (LEARNER,))
        self._fill()
        self.inside = {"sample": 0.0, "gradient": 0.0}  # seconds of processor time within updates
        learner.replay.sample = self._timed("sample", learner.replay.sample)  # type: ignore[method-assign]
        learner.gradient_step = self._timed("gradient", learner.gradient_step)  # type: ignore[method-assign]

    def _fill(self) -> None:
        played = self.rollout.run(self.order).trajectories[LEARNER]
        new = episodes(played, self.spec, Seating.of(self.spec), self.config.team_reward)
        while len(self.learner.replay) < self.config.replay:
            self.learner.replay.add(new)

    def _timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.process_time()
            done = work(*arguments)
            self.inside[part] += time.process_time() - began
            return done

        return timed

    def __call__(self, seconds: float) -> dict[str, Any]:
        """Train for so long: gradient steps a second [2], team steps to each, parts of its processor time."""
        learner, began = self.learner, (self.learner.steps, self.learner.gradient_steps)
        self.inside |= dict.fromkeys(self.inside, 0.0)
        total, play, learn = np.zeros(2), 0.0, 0.0
        while total[0] < seconds:
            start = now()
            played = self.rollout.run(self.order).trajectories
            over = now()
            _, weights = self.apprentice.update([played])
            learned = now()
            self.cast.publish(LEARNER, weights, self.apprentice.updates)
            total += now() - start
            play, learn = play + over[1] - start[1], learn + learned[1] - over[1]
        steps, gradients = learner.steps - began[0], learner.gradient_steps - began[1]
        parts = {
            "play": play,
            "keep": learn - sum(self.inside.values()),
            **self.inside,
            "publish": total[1] - play - learn,
        }
        return {
            "gradients": gradients / total,
            "length": steps / gradients,
            "parts": {part: worked / total[1] for part, worked in parts.items()},
        }


class Bare:
    """Gradient steps of a learner of its own, on episodes of the loop's replay."""

    def __init__(self, loop: Loop) -> None:
        self.learner = QMIXLearner(loop.spec, loop.config, seed=1)
        self._replay, self._rng = loop.learner.replay, np.random.default_rng(1)

    def __call__(self, seconds: float) -> dict[str, Any]:
        """Learn for so long: gradient steps a second [2], and the steps of time of their batches, on average."""
        start, made, longest = now(), 0, 0
        while (passed := now() - start)[0] < seconds:
            batch = self._replay.sample(self._rng, self.learner.config.episodes)
            self.learner.gradient_step(batch)
            made, longest = made + 1, longest + len(batch.active)
        return {"gradients": made / passed, "longest": longest / made}


def product(seconds: float) -> float:
    """GFLOP a second of processor time of one matrix product of the size that matters, over and over for so long."""
    rows, inner, columns = PRODUCT
    a, b, out = torch.rand(rows, inner), torch.rand(inner, columns), torch.empty(rows, columns)
    start, made = now(), 0
    while (passed := now() - start)[0] < seconds:
        torch.mm(a, b, out=out)
        made += 1
    return 2e-9 * made * rows * inner * columns / float(passed[1])


def gflop(spec: GameSpec, config: QMIXConfig, steps: float) -> float:
    """Of the matrix products in one gradient step on episodes of `steps` rows, the last one included.

    A product goes forward once in either network, and in the one that learns twice back: to its weights and, but for
    the first layers, to its inputs. The target's mixer values last rows too.
    """
    seating = Seating.of(spec)
    n, width = seating.members, config.width
    seen, hidden = int(np.prod(spec.observation)) + spec.actions + spec.seats, config.hyper
    shown = n * int(np.prod(spec.observation)) if spec.global_state is None else int(np.prod(spec.global_state))
    first, later = seen * width, 6 * width * width + width * spec.actions
    rows = steps * config.episodes * n
    members = rows * (3 * first + 4 * later)
    entry = shown * 2 * (hidden + config.embedding)
    weights = hidden * n * config.embedding + hidden * config.embedding + config.embedding
    target, learned = steps * config.episodes, (steps - 1) * config.episodes
    mixer = target * (entry + weights) + learned * (2 * entry + 3 * weights)
    return 2e-9 * (members + mixer)


def measure(task: str, seconds: float, rounds: int) -> dict[str, Any]:
    """All three rows of one task, in turns. Raises UserError where the game is not to be had or not one team's."""
    loop = Loop(task)
    bare = Bare(loop)
    whole: list[dict[str, Any]] = []
    least: list[dict[str, Any]] = []
    products: list[float] = []
    for repeat in range(-1, rounds):
        found = loop(seconds), bare(seconds), product(seconds / 5)
        if repeat < 0:
            continue  # to warm up: kernels were compiled
        whole.append(found[0])
        least.append(found[1])
        products.append(found[2])
    share = np.array([w["gradients"] / b["gradients"] for w, b in zip(whole, least, strict=True)])  # [rounds, 2]
    return {
        "loop": rates(whole, whole),
        "bare": rates(least, whole),
        "ratio": {
            clock: {"median": float(np.median(share[:, i])), "low": share[:, i].min(), "high": share[:, i].max()}
            for i, clock in enumerate(("clock", "cpu"))
        },
        "parts": {part: statistics.median(each["parts"][part] for each in whole) for part in whole[0]["parts"]},
        "team_steps_an_episode": statistics.median(each["length"] for each in whole),
        "arithmetic": arithmetic(loop, least, statistics.median(products)),
    }


def rates(found: list[dict[str, Any]], lengths: list[dict[str, Any]]) -> dict[str, float]:
    """Team steps a second, at so many to each gradient step."""
    steps = np.median([each["gradients"] * loop["length"] for each, loop in zip(found, lengths, strict=True)], axis=0)
    return {"clock": float(steps[0]), "cpu": float(steps[1])}


def arithmetic(loop: Loop, least: list[dict[str, Any]], speed: float) -> dict[str, float]:
    work = gflop(loop.spec, loop.config, statistics.median(each["longest"] for each in least))
    rate = statistics.median(float(each["gradients"][1]) for each in least)
    return {
        "gflop": work,
        "gflop_per_s": speed,
        "least_ms": 1000 * work / speed,
        "bare_ms": 1000 / rate,
        "of_arithmetic": work * rate / speed,
    }


def main() -> None:
    settle()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=TASKS, metavar="GAME", help=", ".join(TASKS))
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    try:
        measured = {task: measure(task, arguments.seconds, arguments.rounds) for task in arguments.task}
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if arguments.json:
        about = {"unit": "team steps a second", "seconds": arguments.seconds, "rounds": arguments.rounds}
        print(json.dumps(about | {"machine": platform.processor() or platform.machine(), "tasks": measured}))
        return
    for task, found in measured.items():
        print(f"{task}, {found['team_steps_an_episode']:.1f} team steps an episode")
        for row in ("loop", "bare"):
            cpu, clock = found[row]["cpu"], found[row]["clock"]
            print(f"  {row:10} {cpu:9,.0f} a second of processor time, {clock:9,.0f} by the clock")
        for clock, share in found["ratio"].items():
            print(f"  ratio      {share['median']:9.3f}  ({share['low']:.3f} to {share['high']:.3f}), {clock}")
        print("  of loop   ", ", ".join(f"{part} {share:.1%}" for part, share in found["parts"].items()))
        told = found["arithmetic"]
        print(
            f"  arithmetic {told['gflop']:9.3f} GFLOP a gradient step, {told['least_ms']:.2f} of"
            f" {told['bare_ms']:.2f} ms at {told['gflop_per_s']:.0f} GFLOP/s: {told['of_arithmetic']:.3f}"
        )


if __name__ == "__main__":
    main()
