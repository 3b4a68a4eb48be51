"""How many Connect Four positions a second each inference backend evaluates, by network and batch, on one thread.

All of it counts: the call, copies, and the answers as arrays. For one network and batch the backends take turns, so
that a slow moment of the machine falls on all of them; medians of the turns. Seconds are of the process's processor
time: on an idle machine the same as by the clock, since one thread does it all. `build` is the time from weights to a
backend, `choose` the time to find the fastest, both of which training spends now and then.

    python experiments/benchmarks/inference.py [--networks mlp_2x128 conv_4x64] [--batches 64 512] [--repeats 9]
        [--json]
"""

from __future__ import annotations

import argparse
import json
import math
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

import games
from agents.inference import Evaluator, available, choose
from agents.networks import NetworkConfig, PolicyValueNet, to_arrays

NETWORKS = {
    "mlp_2x128": NetworkConfig(kind="mlp", width=128, layers=2),
    "mlp_2x256": NetworkConfig(kind="mlp", width=256, layers=2),
    "conv_4x64": NetworkConfig(kind="conv", channels=64, blocks=4),
    "conv_2x32": NetworkConfig(kind="conv", channels=32, blocks=2),
}
BATCHES = (1, 16, 64, 256, 512, 1024)
TURN = 0.02  # seconds of one turn, at least


def measure(network: NetworkConfig, batches: list[int], repeats: int) -> dict[str, Any]:
    """Of one network: `build_ms` by backend; evaluations a second, which backend was chosen and how long that took."""
    spec = games.spec_of("connect_four")
    torch.manual_seed(1)
    weights = to_arrays(PolicyValueNet(spec, network, values=spec.seats))
    build: dict[str, float] = {}
    evaluators: dict[str, Evaluator] = {}
    for name in available():
        seconds = []
        for _ in range(5):
            began = time.process_time()
            evaluators[name] = Evaluator(spec, network, weights, backend=name)
            seconds.append(time.process_time() - began)
        build[name] = 1000 * statistics.median(seconds)
    rows = []
    for batch in batches:
        began = time.process_time()
        chosen = choose(spec, network, batch)
        took = time.process_time() - began
        rates = rates_of(evaluators, batch, repeats)
        rows.append({"batch": batch, "evaluations_per_s": rates, "chosen": chosen, "choose_s": took})
    return {"build_ms": build, "rows": rows}


def rates_of(evaluators: dict[str, Evaluator], batch: int, repeats: int) -> dict[str, float]:
    spec = games.spec_of("connect_four")
    boards = np.random.default_rng(batch).random((batch, *spec.observation)) < 0.3
    observation = boards.astype(np.float32)
    calls = {}
    for name, evaluator in evaluators.items():
        evaluator(observation)  # prepares
        calls[name] = math.ceil(TURN / seconds_of(evaluator, observation, 2))
    seen: dict[str, list[float]] = {name: [] for name in evaluators}
    for _ in range(repeats):
        for name, evaluator in evaluators.items():
            seen[name].append(batch / seconds_of(evaluator, observation, calls[name]))
    return {name: statistics.median(rates) for name, rates in seen.items()}


def seconds_of(evaluator: Evaluator, observation: np.ndarray[Any, Any], calls: int) -> float:
    """Of one call, in the mean of `calls`."""
    began = time.process_time()
    for _ in range(calls):
        evaluator(observation)
    return (time.process_time() - began) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured = {name: measure(NETWORKS[name], arguments.batches, arguments.repeats) for name in arguments.networks}
    if arguments.json:
        machine = platform.processor() or platform.machine()
        print(json.dumps({"networks": measured, "repeats": arguments.repeats, "machine": machine}))
        return
    for name, network in measured.items():
        print(f"\n{name}, thousands of evaluations a second at batch")
        print(f"{'':14}" + "".join(f"{batch:>9}" for batch in arguments.batches) + f"{'build ms':>11}")
        for backend, milliseconds in network["build_ms"].items():
            rates = (row["evaluations_per_s"][backend] / 1000 for row in network["rows"])
            print(f"{backend:14}" + "".join(f"{rate:9.1f}" for rate in rates) + f"{milliseconds:11.1f}")
        print("chosen:        " + ", ".join(f"{row['chosen']} in {row['choose_s']:.2f} s" for row in network["rows"]))


if __name__ == "__main__":
    main()
