"""How many simulations a second pgx and mctx make in self-play on Connect Four: JAX's own Gumbel AlphaZero.

An environment of its own, as JAX is no dependency of ours:

    uv run --no-project --with "mctx>=0.0.5" --with pgx --with "jax[cpu]" \
        python experiments/benchmarks/peers/pgx_mctx.py --seconds 20

A move of all games is a forward pass at the roots, `mctx.gumbel_muzero_policy` with 64 simulations in pgx's rules, and
a step that restarts games that are over; 8 moves are one compiled program (`lax.scan`), which also writes what a
learner needs: observations, policy targets, rewards, ends. The network is an MLP of 2 × 128 with a policy and a value
head in float32, with random weights.

Measured are one process on one core, one on two, and two on one each at the same time, each bound to its cores before
JAX counts them; `sims_per_s` is the best of all rows. Batch sizes take turns, chunk after chunk, so that a slow minute
of the machine falls on all of them; the median of a batch size's chunks counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SIMULATIONS = 64
WIDTH = 128
MOVES = 8  # of every game, in one compiled program


def self_play(batch: int) -> Callable[[], int]:
    """A function that plays on in `batch` games of self-play, `MOVES` in each, and returns the simulations made."""
    import jax
    import jax.numpy as jnp
    import mctx
    import pgx
    from pgx.experimental.wrappers import auto_reset

    rules = pgx.make("connect_four")
    init, step = jax.vmap(rules.init), jax.vmap(rules.step)
    step_on = jax.vmap(auto_reset(rules.step, rules.init))

    def forward(weights: Any, observation: Any) -> tuple[Any, Any]:
        """Logits [B, A] and values [B] of observations [B, 6, 7, 2]."""
        hidden = observation.reshape(len(observation), -1).astype(jnp.float32)
        for weight, bias in weights[:2]:
            hidden = jax.nn.relu(hidden @ weight + bias)
        (policy, policy_bias), (value, value_bias) = weights[2:]
        return hidden @ policy + policy_bias, jnp.tanh(hidden @ value + value_bias)[:, 0]

    def expand(weights: Any, key: Any, action: Any, before: Any) -> tuple[Any, Any]:
        state = step(before, action)
        logits, value = forward(weights, state.observation)
        reward = jnp.take_along_axis(state.rewards, before.current_player[:, None], axis=1)[:, 0]
        output = mctx.RecurrentFnOutput(
            reward=reward,
            discount=jnp.where(state.terminated, 0.0, -1.0),  # the next value is the other seat's
            prior_logits=jnp.where(state.legal_action_mask, logits, jnp.finfo(logits.dtype).min),
            value=jnp.where(state.terminated, 0.0, value),
        )
        return output, state

    def move(weights: Any, state: Any, key: Any) -> tuple[Any, Any]:
        search_key, step_key = jax.random.split(key)
        logits, value = forward(weights, state.observation)
        found = mctx.gumbel_muzero_policy(
            params=weights,
            rng_key=search_key,
            root=mctx.RootFnOutput(prior_logits=logits, value=value, embedding=state),
            recurrent_fn=expand,
            num_simulations=SIMULATIONS,
            invalid_actions=~state.legal_action_mask,
        )
        after = step_on(state, found.action, jax.random.split(step_key, batch))
        return after, (state.observation, found.action_weights, state.current_player, after.rewards, after.terminated)

    @jax.jit
    def chunk(weights: Any, state: Any, key: Any) -> tuple[Any, Any]:
        return jax.lax.scan(lambda s, k: move(weights, s, k), state, jax.random.split(key, MOVES))

    shapes = ((84, WIDTH), (WIDTH, WIDTH), (WIDTH, 7), (WIDTH, 1))
    keys = jax.random.split(jax.random.PRNGKey(0), len(shapes))
    weights = [
        (jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5, jnp.zeros(shape[1]))
        for key, shape in zip(keys, shapes, strict=True)
    ]
    now = {"key": jax.random.PRNGKey(1), "state": init(jax.random.split(jax.random.PRNGKey(2), batch))}

    def play() -> int:
        now["key"], key = jax.random.split(now["key"])
        now["state"], _written = jax.block_until_ready(chunk(weights, now["state"], key))
        return batch * SIMULATIONS * MOVES

    return play


def measure(batches: list[int], seconds: float, cores: list[int]) -> list[dict[str, Any]]:
    """Simulations a second of every batch size on the given cores, from about `seconds` of self-play each.

    Compiles first, then says so and waits for a line, so that several such processes can run side by side.
    """
    os.sched_setaffinity(0, cores)
    plays = {batch: self_play(batch) for batch in batches}
    for play in plays.values():
        play()  # compile
        play()  # and spread the games over all stages
    print("ready", flush=True)
    sys.stdin.readline()
    rates: dict[int, list[float]] = {batch: [] for batch in batches}
    spent, cpu = dict.fromkeys(batches, 0.0), dict.fromkeys(batches, 0.0)
    while min(spent.values()) < seconds:
        for batch, play in plays.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            simulations = play()
            passed = time.perf_counter() - began
            spent[batch] += passed
            cpu[batch] += time.process_time() - cpu_began
            rates[batch].append(simulations / passed)
    return [
        {
            "batch": batch,
            "sims_per_s": statistics.median(seen),
            "low": min(seen),
            "high": max(seen),
            "cores_busy": cpu[batch] / spent[batch],
        }
        for batch, seen in rates.items()
    ]


def measure_apart(batches: list[int], seconds: float, bound: list[list[int]]) -> list[dict[str, Any]]:
    """`measure` in processes of their own at the same time, each on its `bound` cores; their rates are summed."""
    own = [sys.executable, __file__, "--seconds", str(seconds), "--batch", *map(str, batches), "--on"]
    started = [
        subprocess.Popen([*own, *map(str, cores)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for cores in bound
    ]
    pipes = [(process.stdin, process.stdout) for process in started]
    if any(answers is None or answers.readline() != "ready\n" for _, answers in pipes):
        raise SystemExit("A process of the measurement ended before it began; it says why above.")
    for orders, _ in pipes:
        print("go", file=orders, flush=True)
    answers = [json.loads(process.communicate()[0]) for process in started]
    summed = ("sims_per_s", "low", "high", "cores_busy")
    return [
        {"processes": len(bound), "cores_each": len(bound[0]), "batch": rows[0]["batch"]}
        | {name: sum(row[name] for row in rows) for name in summed}
        for rows in zip(*answers, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of self-play, for each row")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 256, 512, 1024], help="games side by side")
    parser.add_argument("--on", type=int, nargs="+", help=argparse.SUPPRESS)  # in this process, on these cores
    args = parser.parse_args()
    if args.on:
        print(json.dumps(measure(args.batch, args.seconds, args.on)))
        return
    from importlib.metadata import version

    first, *others = sorted(os.sched_getaffinity(0))[:2]
    layouts = [[[first]]]
    if others:
        layouts += [[[first, *others]], [[first], others]]
    rows = [row for bound in layouts for row in measure_apart(args.batch, args.seconds, bound)]
    found = {
        "peer": "pgx + mctx, Gumbel",
        "versions": {name: version(name) for name in ("pgx", "mctx", "jax")},
        "game": "connect_four",
        "network": f"MLP 2x{WIDTH}, float32",
        "simulations": SIMULATIONS,
        "sims_per_s": max(row["sims_per_s"] for row in rows),
        "rows": rows,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
