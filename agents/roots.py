"""The root's part of a search with a network, as numba kernels: noise before, the decision and what it teaches after.

`n` decisions, each at the root of one of `trees` [n]; `A` actions, `P` seats.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.forest import Forest
from agents.rules import GUMBEL, Rule, gumbel_root, improved
from games.kernels import kernel, mix_one


@kernel
def totals(
    forest: Forest,
    trees: NDArray[np.int64],
    seat: NDArray[np.int16],
    value: NDArray[np.float32],
    spread: float,
    mean: float,
) -> NDArray[np.float64]:
    """What every seat returns [n, P] where the trees stand: what it earned, and value [n, P] * spread + mean.

    Of a network's values the first is the mover's, the next that of the seat after it, and so on around the table.
    """
    n, seats = value.shape
    returns = np.empty((n, seats), np.float64)
    for i in range(n):
        tree, node = trees[i], forest.at[trees[i]]
        for k in range(seats):
            who = (seat[i] + k) % seats
            returns[i, who] = forest.earned[tree, node, who] + value[i, k] * spread + mean
    return returns


@kernel
def add_gumbel(forest: Forest, trees: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
    """Standard Gumbel noise for the root's edges, by keys [n]."""
    for i in range(len(trees)):
        for e in range(forest.width[trees[i], 0]):
            forest.noise[trees[i], e] = -math.log(-math.log(_unit(keys[i], e)))


@kernel
def add_dirichlet(forest: Forest, trees: NDArray[np.int64], keys: NDArray[np.uint64], total: float) -> None:
    """Dirichlet noise for the root's edges, alpha = `total` / edges, by keys [n]."""
    for i in range(len(trees)):
        width = forest.width[trees[i], 0]
        weight = 0.0
        for e in range(width):
            drawn = _gamma(total / width, mix_one(keys[i], np.uint64(e)))
            forest.noise[trees[i], e] = drawn
            weight += drawn
        for e in range(width):
            forest.noise[trees[i], e] = forest.noise[trees[i], e] / weight if weight > 0.0 else 1.0 / width


@kernel
def _unit(key: np.uint64, number: int) -> float:
    """A number in (0, 1) that belongs to `key` and `number`."""
    return (float(mix_one(key, np.uint64(number)) >> np.uint64(11)) + 0.5) * 2.0**-53


@kernel
def _gamma(alpha: float, key: np.uint64) -> float:
    """A draw from Gamma(alpha, 1) by Marsaglia and Tsang 2000 (doi 10.1145/358407.358414), by `key`."""
    boost = 1.0
    if alpha < 1.0:
        boost = _unit(key, 0) ** (1.0 / alpha)
        alpha += 1.0
    d = alpha - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    number = 1
    while True:
        x = math.sqrt(-2.0 * math.log(_unit(key, number))) * math.cos(2.0 * math.pi * _unit(key, number + 1))
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(_unit(key, number + 2)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return d * v * boost
        number += 3


@kernel
def decide(
    forest: Forest,
    rule: Rule,
    trees: NDArray[np.int64],
    work: NDArray[np.float64],
    target: NDArray[np.float32],
    value: NDArray[np.float32],
    surprise: NDArray[np.float32],
    action: NDArray[np.int64],
) -> None:
    """What each search found: the policy it would teach, target [n, A] (zeros before), and its best action [n].

    Also value [n], the mean of what its mover returns from here, and surprise [n] = KL(target || prior) in nats. The
    target is the improved policy under Gumbel, else the share of visits; where nothing was visited, the prior.
    """
    for i in range(len(trees)):
        tree = trees[i]
        first, width, mover = forest.first[tree, 0], forest.width[tree, 0], forest.mover[tree, 0]
        tries, total, most_now = 1, forest.raw[tree, 0], 0
        best, best_visits = 0, -1
        for e in range(width):
            n = forest.visits[tree, first + e]
            tries += n
            total += forest.total[tree, first + e]
            most_now = max(most_now, n - forest.before[tree, e])
            if n > best_visits:
                best, best_visits = e, n
        value[i] = total / tries - forest.earned[tree, 0, mover]
        if rule.kind == GUMBEL:
            improved(forest, rule, tree, 0, work)
            for e in range(width):
                target[i, forest.action[tree, first + e]] = work[e]
            best = gumbel_root(forest, rule, tree, most_now, work) - first
        else:
            for e in range(width):
                share = forest.visits[tree, first + e] / (tries - 1) if tries > 1 else forest.prior[tree, first + e]
                target[i, forest.action[tree, first + e]] = share
        divergence = 0.0
        for e in range(width):
            share = target[i, forest.action[tree, first + e]]
            if share > 0.0:
                divergence += share * math.log(share / max(forest.prior[tree, first + e], 1e-37))
        surprise[i] = max(divergence, 0.0)
        action[i] = forest.action[tree, first + best]


@kernel
def draw(
    target: NDArray[np.float32], temperature: NDArray[np.float64], at: NDArray[np.float64], action: NDArray[np.int64]
) -> None:
    """Replace action [n] by one drawn from target [n, A] to the power 1 / temperature [n], by at [n] in [0, 1).

    Where the temperature is 0 it stays.
    """
    for i in range(len(action)):
        if temperature[i] == 0.0:
            continue
        highest = target[i].max()
        weight = 0.0
        for a in range(target.shape[1]):
            weight += (target[i, a] / highest) ** (1.0 / temperature[i])
        left = at[i] * weight
        for a in range(target.shape[1]):
            if target[i, a] > 0.0:
                action[i] = a
                left -= (target[i, a] / highest) ** (1.0 / temperature[i])
                if left < 0.0:
                    break
