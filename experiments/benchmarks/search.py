"""How many simulations a second tree search makes.

    selfplay        Connect Four self-play as shipped: a `Rollout` with recorder, 64 simulations a move by Gumbel's
                    rule, noise, trees kept from move to move, targets written; MLP 2 x 128
    selfplay_puct   the same by PUCT, with Dirichlet noise and visits drawn at temperature 1
    no_network      trees alone, PUCT, nothing evaluated
    residual        self-play with 4 blocks of 64 channels; `residual_forward` is the bare forward pass at the same
                    batch, backend and precision, in turns with it
    openspiel/…     wrapped games from their start position, PUCT, nothing evaluated

Rows that say `2_cores` are two processes of one thread each, pinned, at the same time; all others are one such process.
Rows take turns, round after round; medians of the rounds, by the clock. With `--peer COMMAND` each round also runs
COMMAND, which prints one JSON object with `sims_per_s` (experiments/benchmarks/peers/pgx_mctx.py).

    python experiments/benchmarks/search.py [--seconds 5] [--rounds 5] [--rows 512] [--only ROW ...] [--peer COMMAND]
        [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

# One core is measured: other threads would only disturb it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

import games
from games.keys import mix

SIMULATIONS = 64
OPENSPIEL = ("openspiel/go?board_size=9", "openspiel/othello", "openspiel/hex?board_size=9")
Measure = Callable[[float], dict[str, float]]
"""Work for so many seconds: what was measured, by name."""


class SelfPlay:
    """A `Rollout` of an untrained AlphaZero against itself, going on from where the last measurement stopped."""

    def __init__(self, network: dict[str, Any], rows: int, rule: str = "gumbel") -> None:
        from agents.alphazero_config import AlphaZeroConfig
        from agents.inference import Evaluator
        from agents.kinds import make_learner, make_policy
        from arena.rollout import Order, Rollout
        from leagues.core import Match

        game = games.make("connect_four")
        config = AlphaZeroConfig.model_validate(
            {"network": network, "search": {"rule": rule, "simulations": SIMULATIONS, "sampled_moves": 42}}
        )
        weights = make_learner(game.spec, config, 1).weights()
        policy = make_policy(game.spec, config, weights, explore=True, rows=rows)
        self._rollout = Rollout(game, _Alone(policy), rows)
        self._order = Order((Match(1, ("main", "main"), "train", 1),), decisions=8 * rows, learners=("main",))
        self._evaluator = policy.network
        assert isinstance(self._evaluator, Evaluator)
        self.backend = self._evaluator.backend
        self._seen = np.random.default_rng(0).random((rows, *game.spec.observation)).round().astype(np.float32)
        self(0.5)

    def __call__(self, seconds: float) -> dict[str, float]:
        decisions, began, network = 0, time.perf_counter(), self._evaluator.seconds
        while (passed := time.perf_counter() - began) < seconds:
            decisions += self._rollout.run(self._order).decisions
        share = (self._evaluator.seconds - network) / passed
        return {"sims_per_s": decisions * SIMULATIONS / passed, "network_share": share}

    def forward(self, seconds: float) -> dict[str, float]:
        calls, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            self._evaluator(self._seen)
            calls += 1
        return {"sims_per_s": calls * len(self._seen) / passed}


class _Alone:
    """A roster of one."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def policy(self, player: str) -> Any:
        return self._policy

    def version(self, player: str) -> int:
        return 0


class Trees:
    """Searches without evaluation, from positions a few random moves into the game."""

    def __init__(self, name: str, rows: int) -> None:
        from agents.forest import finite
        from agents.rules import PUCT, Rule
        from agents.search import Search, even

        self._game = game = games.make(name)
        keys = mix(7, np.arange(rows))
        self._states, self._rows = game.start(keys), np.arange(rows)
        self._decisions = game.decisions(self._states)
        nodes = SIMULATIONS + 1
        rule = Rule(PUCT, running=not finite(game.spec))
        edges = nodes * int(self._decisions.legal.sum(axis=-1).max())
        self._search = Search(game, rows, nodes, rule, even, blind=True, edges=edges)
        self._number = 0
        self(0.5)

    def __call__(self, seconds: float) -> dict[str, float]:
        from agents.walk import begin

        search, n, spec = self._search, len(self._rows), self._game.spec
        nothing = np.empty((0, spec.actions), np.float32), np.zeros((n, spec.seats))
        made, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            self._number += 1
            seat, legal = self._decisions.seat[:, 0], self._decisions.legal[:, 0]
            search.set_roots(self._rows, self._states, self._rows, seat, legal, *nothing)
            begin(search.forest, search.rule, self._rows, np.full(n, SIMULATIONS))
            search.run(self._rows, mix(self._number, self._rows), self._states, self._rows)
            made += n * SIMULATIONS
        return {"sims_per_s": made / passed}


MLP = {"kind": "mlp", "width": 128, "layers": 2}
CONV = {"kind": "conv", "blocks": 4, "channels": 64}


def makers(rows: int) -> dict[str, Callable[[], Measure]]:
    """How each row is set up, in the process that measures it."""
    return {
        "selfplay": lambda: SelfPlay(MLP, rows),
        "selfplay_puct": lambda: SelfPlay(MLP, rows, "puct"),
        "no_network": lambda: Trees("connect_four", rows),
        "residual": lambda: SelfPlay(CONV, min(rows, 128)),  # enough for its network, and a move is soon made
    } | {name: (lambda name=name: Trees(name, 256)) for name in OPENSPIEL}


TWO_CORES = ("selfplay", "selfplay_puct", "residual")


def work(name: str, rows: int, core: int, pipe: Any) -> None:
    """A process of one thread on one core: measures `name` for as long as it is told, until it is told nothing."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    import torch

    torch.set_num_threads(1)
    measure = makers(rows)[name]()
    pipe.send({"backend": measure.backend} if isinstance(measure, SelfPlay) else {})
    while (asked := pipe.recv()) is not None:
        what, seconds = asked
        pipe.send((measure.forward if what == "forward" else measure)(seconds))


def measure(names: list[str], rows: int, seconds: float, rounds: int, peer: str | None) -> dict[str, Any]:
    """Every row's median over the rounds."""
    context = multiprocessing.get_context("spawn")
    pipes, processes, about = {}, [], {}
    for name in names:
        for core in (0, 1) if name in TWO_CORES and len(os.sched_getaffinity(0)) > 1 else (0,):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(name, rows, core, theirs), daemon=True)
            process.start()
            processes.append(process)
            pipes[name, core] = ours
            about[name] = ours.recv()
    seen: dict[str, list[dict[str, float]]] = {}

    def ask(row: str, name: str, what: str, cores: tuple[int, ...]) -> None:
        for core in cores:
            pipes[name, core].send((what, seconds))
        answers = [pipes[name, core].recv() for core in cores]
        together = {key: statistics.mean(answer[key] for answer in answers) for key in answers[0]}
        together["sims_per_s"] = sum(answer["sims_per_s"] for answer in answers)
        seen.setdefault(row, []).append(together)

    for _ in range(rounds):
        for name in names:
            ask(name, name, "search", (0,))
            if name == "residual":
                ask("residual_forward", name, "forward", (0,))
            if (name, 1) in pipes:
                ask(f"{name}_2_cores", name, "search", (0, 1))
        if peer:
            told = subprocess.run(shlex.split(peer), capture_output=True, text=True, check=True)
            rate = json.loads(told.stdout.strip().splitlines()[-1])["sims_per_s"]
            seen.setdefault("peer", []).append({"sims_per_s": rate})
    for pipe in pipes.values():
        pipe.send(None)
    for process in processes:
        process.join()
    medians = {
        row: {key: statistics.median(answer[key] for answer in answers) for key in answers[0]}
        for row, answers in seen.items()
    }
    if "residual" in medians:
        pairs = zip(seen["residual"], seen["residual_forward"], strict=True)
        ratio = statistics.median(search["sims_per_s"] / bare["sims_per_s"] for search, bare in pairs)
        medians["residual"]["of_bare_forward"] = ratio
    for name, facts in about.items():
        medians[name] |= facts
    return {
        "unit": "simulations a second",
        "simulations": SIMULATIONS,
        "rows": rows,
        "seconds": seconds,
        "rounds": rounds,
        "machine": platform.processor() or platform.machine(),
        "sims_per_s": {row: round(found["sims_per_s"]) for row, found in medians.items()},
        "details": medians,
        "memory_1024_games_800_simulations_bytes": memory(1024, 800),
    }


def memory(trees: int, simulations: int) -> int:
    """Bytes that a search over so many games of Connect Four takes, trees kept from move to move, boards included."""
    from agents.forest import bytes_a_tree
    from games.connect_four import STATE

    spec = games.spec_of("connect_four")
    nodes = 3 * simulations + 1
    return trees * (bytes_a_tree(spec, nodes, nodes * spec.actions) + nodes * STATE.itemsize)


def main() -> None:
    names = list(makers(1))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--rows", type=int, default=512, help="games side by side")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", help="a command that prints one JSON object with sims_per_s")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    measured = measure(arguments.only, arguments.rows, arguments.seconds, arguments.rounds, arguments.peer)
    if arguments.json:
        print(json.dumps(measured))
        return
    for row, found in measured["details"].items():
        rest = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in found.items()
            if key != "sims_per_s"
        )
        print(f"{row:28} {found['sims_per_s']:12,.0f}  {rest}")
    gigabytes = measured["memory_1024_games_800_simulations_bytes"] / 1e9
    print(f"1,024 games of 800 simulations take {gigabytes:.2f} GB.")


if __name__ == "__main__":
    main()
