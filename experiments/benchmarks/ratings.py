"""Ratings, measured: how often 95% intervals cover the truth, and how long a million results take.

    python -m experiments.benchmarks.ratings [--tournaments 1000] [--json ratings.json]

Players of known strength play tournaments by the model of `arena.elo`, with draws and a seat advantage drawn anew for
each. Coverage is counted three ways: of the place in the pool (no anchor), of the difference to an anchor, and by
`spread`, which must agree with the first. The schedules are a dense round robin, a sparse one, and chains in which only
neighbours meet, as snapshots of a long run do: where a prior's pull towards one common point would show.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arena.elo import ELO, Tally, fit, tally
from games.keys import generator, mix

# name: (players, games of each ordered pair, how far apart those who meet may stand, Elo between neighbours or None for
# strengths drawn with a standard deviation of 200)
SCHEDULES: dict[str, tuple[int, int, int, float | None]] = {
    "round robin, 12 players, 10 games": (12, 10, 12, None),
    "round robin, 12 players, 2 games": (12, 2, 12, None),
    "chain of 12, 100 Elo apart, 20 games": (12, 20, 1, 100.0),
    "chain of 60, 50 Elo apart, 10 games with 3 neighbours": (60, 10, 3, 50.0),
}


def results(gap: NDArray[np.float64], nu: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """One result (0 win, 1 draw, 2 loss) for each strength difference d [M] of the model in `arena.elo`."""
    odds = np.stack([np.exp(gap / 2), np.full_like(gap, nu), np.exp(-gap / 2)])
    steps = np.cumsum(odds / odds.sum(axis=0), axis=0)
    outcome: NDArray[np.int64] = (rng.random(len(gap)) > steps[:2]).sum(axis=0)
    return outcome


def tournament(name: str, rng: np.random.Generator) -> tuple[NDArray[np.float64], float, Tally]:
    """True strengths [N] and seat advantage, in Elo, and what was played."""
    n, games, reach, apart = SCHEDULES[name]
    truth = rng.normal(0, 200, n) if apart is None else np.arange(n, dtype=np.float64) * np.float64(apart)
    advantage, nu = rng.normal(0, 60), float(np.exp(rng.normal(-0.5, 0.7)))
    first, second = np.array([(i, j) for i in range(n) for j in range(n) if 0 < abs(i - j) <= reach]).T
    outcome = results(np.repeat((truth[first] - truth[second] + advantage) / ELO, games), nu, rng).reshape(-1, games)
    wins, draws, losses = ((outcome == kind).sum(axis=1).astype(np.float64) for kind in range(3))
    played = games * (np.bincount(first, minlength=n) + np.bincount(second, minlength=n))
    return truth, advantage, Tally(tuple(f"p{i:03}" for i in range(n)), first, second, wins, draws, losses, played)


def coverage(name: str, tournaments: int, seed: int) -> dict[str, float]:
    """Shares of 95% intervals that hold the truth, and their mean half widths in Elo."""
    hits: dict[str, list[float]] = {key: [] for key in ("pool", "anchor", "spread", "advantage")}
    width: dict[str, list[float]] = {"pool_width": [], "anchor_width": []}
    for number in range(tournaments):
        truth, advantage, played = tournament(name, generator(mix(seed, number).item()))
        pooled, anchored = fit(played), fit(played, anchor=played.players[0])
        place, above = truth - truth.mean(), (truth - truth[0])[1:]
        hits["pool"].append(((pooled.low <= place) & (place <= pooled.high)).mean())
        hits["anchor"].append(((anchored.low[1:] <= above) & (above <= anchored.high[1:])).mean())
        hits["spread"].append((abs(anchored.elo - anchored.elo.mean() - place) <= anchored.spread).mean())
        hits["advantage"].append(anchored.advantage[1] <= advantage <= anchored.advantage[2])
        width["pool_width"].append(float(pooled.spread.mean()))
        width["anchor_width"].append(float((anchored.high - anchored.elo)[1:].mean()))
    return {key: float(np.mean(values)) for key, values in (hits | width).items()}


def million(players: int, games: int, seed: int) -> dict[str, float]:
    """Seconds to count and to fit `games` results of `players` players, each game between two drawn at random."""
    rng = generator(seed)
    truth = rng.normal(0, 300, players)
    first = rng.integers(players, size=games)
    second = (first + rng.integers(1, players, size=games)) % players
    outcome = results((truth[first] - truth[second] + 30) / ELO, 0.6, rng)
    names = [f"p{i:04}" for i in range(players)]

    def rows() -> Iterator[tuple[tuple[str, str], tuple[float, float]]]:
        for i, j, kind in zip(first.tolist(), second.tolist(), outcome.tolist(), strict=True):
            yield (names[i], names[j]), (1.0 - kind, kind - 1.0)

    start = time.perf_counter()
    counts = tally(rows())
    counted = time.perf_counter()
    ratings = fit(counts)
    fitted = time.perf_counter()
    place = truth - truth.mean()
    return {
        "players": players,
        "games": games,
        "tally_s": counted - start,
        "fit_s": fitted - counted,
        "coverage": float(((ratings.low <= place) & (place <= ratings.high)).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tournaments", type=int, default=1000, help="simulated of each schedule")
    parser.add_argument("--players", type=int, default=1000, help="in the timed fit")
    parser.add_argument("--games", type=int, default=1_000_000, help="in the timed fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()

    measured: dict[str, dict[str, float]] = {}
    for name in SCHEDULES:
        found = measured[name] = coverage(name, args.tournaments, args.seed)
        print(
            f"{name}: pool {found['pool']:.1%} (±{found['pool_width']:.0f}), anchor {found['anchor']:.1%}"
            f" (±{found['anchor_width']:.0f}), spread {found['spread']:.1%}, seat advantage {found['advantage']:.1%}",
            flush=True,
        )
    speed = measured["speed"] = million(args.players, args.games, args.seed)
    print(
        f"{args.games:,} results of {args.players:,} players: counted in {speed['tally_s']:.2f} s,"
        f" fitted in {speed['fit_s']:.2f} s; intervals cover {speed['coverage']:.1%}"
    )
    if args.json:
        args.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
