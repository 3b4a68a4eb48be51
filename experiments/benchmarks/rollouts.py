"""How many decisions a second the games make under random play, on one core: no network, no search.

A decision is one active slot: asked for, answered with a random legal action, and played; games that end are restarted.
Games take turns, repeat after repeat, so that a slow minute of the machine falls on all of them; the median counts.

    python experiments/benchmarks/rollouts.py [--games NAME ...] [--batch 256] [--seconds 0.5] [--repeats 7] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from typing import Any

# One core is measured: NumPy's and numba's threads would only disturb it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

import games
from games import NO_ACTION, Decisions, Game
from games.keys import NATURE, mix

GAMES = (
    "connect_four",
    "tic_tac_toe",
    "rock_paper_scissors",
    "openspiel/connect_four",
    "openspiel/tic_tac_toe",
    "openspiel/go?board_size=9",
    "openspiel/kuhn_poker?players=3",
    "openspiel/leduc_poker",
    "openspiel/backgammon",
    "openspiel/goofspiel",
    "openspiel/hanabi",
)


class Play:
    """Random games of one kind, going on from where the last measurement stopped."""

    def __init__(self, game: Game, batch: int) -> None:
        self.game = game
        self.rng = np.random.default_rng(0)
        self.keys = np.arange(batch, dtype=np.uint64)
        self.states = game.start(self.keys)
        self.out = Decisions.empty(game.spec, batch)
        self.tickets = np.empty(self.out.legal.shape, np.float32)

    def step(self) -> int:
        """One step of every game; returns the decisions made."""
        decisions = self.game.decisions(self.states, self.out)
        self.rng.random(out=self.tickets, dtype=np.float32)
        self.tickets += decisions.legal
        actions = np.where(decisions.active, self.tickets.argmax(axis=2), NO_ACTION)
        outcome = self.game.step(self.states, actions, self.keys)
        self.keys = mix(self.keys, NATURE)
        if outcome.failed:
            raise RuntimeError(f"A game broke: {outcome.failed}")
        ended = np.flatnonzero(outcome.terminated | outcome.truncated)
        if len(ended):
            self.game.restart(self.states, ended, self.keys[ended])
        return int(decisions.active.sum())

    def rate(self, seconds: float) -> float:
        """Decisions a second, over at least `seconds`."""
        made, begun = 0, time.perf_counter()
        while (passed := time.perf_counter() - begun) < seconds:
            made += self.step()
        return made / passed


def measure(names: list[str], batch: int, seconds: float, repeats: int) -> dict[str, Any]:
    """Every game's median rate and its lowest and highest, decisions a second."""
    plays = {name: Play(games.make(name), batch) for name in names}
    for play in plays.values():
        play.rate(seconds / 5)  # kernels compiled, boards of every age
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, play in plays.items():
            rates[name].append(play.rate(seconds))
    return {
        "unit": "decisions a second",
        "batch": batch,
        "seconds": seconds,
        "repeats": repeats,
        "machine": platform.processor() or platform.machine(),
        "games": {
            name: {"median": statistics.median(seen), "low": min(seen), "high": max(seen)}
            for name, seen in rates.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), metavar="NAME", help="as in games.make")
    parser.add_argument("--batch", type=int, default=256, help="games side by side")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    measured = measure(arguments.games, arguments.batch, arguments.seconds, arguments.repeats)
    if arguments.json:
        print(json.dumps(measured))
        return
    print(f"{'decisions a second':34} {'median':>12} {'low':>12} {'high':>12}")
    for name, rate in measured["games"].items():
        print(f"{name:34} {rate['median']:12,.0f} {rate['low']:12,.0f} {rate['high']:12,.0f}")


if __name__ == "__main__":
    main()
