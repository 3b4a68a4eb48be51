"""Which edge a simulation takes: UCT, PUCT and Gumbel on one forest, as numba kernels.

A return G counts as q = (G - middle) / half, on the scale of the lowest and highest return of the tree; 0 where half
is 0. Of a node with mover m: n(a), W(a) visits and sum of returns of its edges, P(a) their priors, V what it was
evaluated as, N = 1 + sum of n(a).

*UCT* (Kocsis and Szepesvári 2006): see `agents.mcts`, which pins it.

*PUCT* (Silver et al. 2018, doi 10.1126/science.aar6404): the highest q(a) + C P(a) sqrt(N) / (1 + n(a)), with
C = log((1 + N + c_base) / c_base) + c_init; q(a) = W(a) / n(a), and for an untried action the node's mean
(V + sum of W(a)) / N less fpu * sqrt(sum of P over the tried), not less at the root (first-play urgency, KataGo). At
the root P is mixed with noise.

*Gumbel* (Danihelka et al. 2022, "Policy improvement by planning with Gumbel"): inside the tree the highest
pi(a) - n(a) / N, with pi = softmax(log P + sigma), sigma(a) = (c_visit + max n) c_scale q(a), and where a was not
tried, q(a) is v_mix = (V + (N - 1) sum_tried(P q) / sum_tried(P)) / N. At the root, sequential halving over the
`considered` actions with the highest g(a) + log P(a) + sigma(a), where g is Gumbel noise: of those that were tried as
often in this search as the schedule says, the highest. With `rescale`, q is first moved to [0, 1] within the node, as
in mctx.

Of exact ties the first action is taken; in UCT one by key.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.forest import Forest
from games.kernels import below, walker

UCT, PUCT, GUMBEL = range(3)
TINY = 1e-37  # no prior counts as less
EXPLORATION = math.sqrt(2.0)  # of UCT


class Rule(NamedTuple):
    """What a search selects by. `running`: the scale is the range of the returns that a tree has seen so far."""

    kind: int
    running: bool
    c_init: float = 1.25
    c_base: float = 19652.0
    fpu: float = 0.2
    noise: float = 0.0  # share of the root's noise in its priors
    c_visit: float = 50.0
    c_scale: float = 1.0
    rescale: bool = False


@walker
def select(forest: Forest, rule: Rule, tree: int, node: int, key: np.uint64, work: NDArray[np.float64]) -> int:
    """The edge that the simulation under way in `tree` takes from `node`. `work` [W] is working memory."""
    if rule.kind == GUMBEL:
        if node == 0:
            return gumbel_root(forest, rule, tree, forest.considered[tree, forest.done[tree]], work)
        return _gumbel_inside(forest, rule, tree, node, work)
    if rule.kind == PUCT:
        return _puct(forest, rule, tree, node)
    return _uct(forest, tree, node, key)


@walker
def scale(forest: Forest, tree: int) -> tuple[float, float]:
    """`middle`, and 1 / `half` (0 where half is 0)."""
    low, high = forest.lowest[tree], forest.highest[tree]
    if not high > low:
        return (0.0 if math.isinf(low) else low), 0.0
    return (low + high) / 2.0, 2.0 / (high - low)


@walker
def _puct(forest: Forest, rule: Rule, tree: int, node: int) -> int:
    first = forest.first[tree, node]
    end = first + forest.width[tree, node]
    middle, stretch = scale(forest, tree)
    tries, total, tried = 1, forest.raw[tree, node], 0.0
    for e in range(first, end):
        n = forest.visits[tree, e]
        if n > 0:
            tries += n
            total += forest.total[tree, e]
            tried += forest.prior[tree, e]
    untried_q = (total / tries - middle) * stretch
    if node != 0:
        untried_q -= rule.fpu * math.sqrt(tried)
    factor = (math.log((1.0 + tries + rule.c_base) / rule.c_base) + rule.c_init) * math.sqrt(tries)
    best, best_score = first, -math.inf
    for e in range(first, end):
        n = forest.visits[tree, e]
        q = (forest.total[tree, e] / n - middle) * stretch if n > 0 else untried_q
        likely = forest.prior[tree, e]
        if node == 0:
            likely = (1.0 - rule.noise) * likely + rule.noise * forest.noise[tree, e - first]
        score = q + factor * likely / (1 + n)
        if score > best_score:
            best, best_score = e, score
    return int(best)


@walker
def completed(forest: Forest, rule: Rule, tree: int, node: int, work: NDArray[np.float64]) -> int:
    """Write sigma(completed q) of the node's edges into work[:width]; returns N, its visits and itself."""
    first, width = forest.first[tree, node], forest.width[tree, node]
    middle, stretch = scale(forest, tree)
    tries, most, mass, weighted = 1, 0, 0.0, 0.0
    for i in range(width):
        n = forest.visits[tree, first + i]
        if n > 0:
            tries += n
            most = max(most, n)
            q = (forest.total[tree, first + i] / n - middle) * stretch
            likely = max(forest.prior[tree, first + i], TINY)
            mass += likely
            weighted += likely * q
            work[i] = q
    raw = (forest.raw[tree, node] - middle) * stretch
    mixed = raw if tries == 1 else (raw + (tries - 1) * weighted / mass) / tries
    low, high = math.inf, -math.inf
    for i in range(width):
        if forest.visits[tree, first + i] == 0:
            work[i] = mixed
        low, high = min(low, work[i]), max(high, work[i])
    factor = (rule.c_visit + most) * rule.c_scale
    if rule.rescale:
        factor /= max(high - low, 1e-8)
        for i in range(width):
            work[i] = (work[i] - low) * factor
    else:
        for i in range(width):
            work[i] *= factor
    return int(tries)


@walker
def improved(forest: Forest, rule: Rule, tree: int, node: int, work: NDArray[np.float64]) -> int:
    """Write pi = softmax(log P + sigma) of the node's edges into work[:width]; returns N."""
    tries = completed(forest, rule, tree, node, work)
    first, width = forest.first[tree, node], forest.width[tree, node]
    highest = -math.inf
    for i in range(width):
        highest = max(highest, work[i])
    weight = 0.0
    for i in range(width):
        work[i] = max(forest.prior[tree, first + i], TINY) * math.exp(work[i] - highest)
        weight += work[i]
    for i in range(width):
        work[i] /= weight
    return int(tries)


@walker
def _gumbel_inside(forest: Forest, rule: Rule, tree: int, node: int, work: NDArray[np.float64]) -> int:
    """The edge with the highest pi(a) - n(a) / N.

    `completed` and `improved` in one, where most of a search's time goes: all untried edges share one value, so one
    exponential does for them, and the first of the most likely ones stands for all.
    """
    first, width = forest.first[tree, node], forest.width[tree, node]
    middle, stretch = scale(forest, tree)
    tries, most, mass, rest, weighted = 1, 0, 0.0, 0.0, 0.0
    low, high, likeliest, untried = math.inf, -math.inf, 0.0, -1
    for i in range(width):
        n = forest.visits[tree, first + i]
        likely = max(forest.prior[tree, first + i], TINY)
        if n > 0:
            tries += n
            most = max(most, n)
            q = (forest.total[tree, first + i] / n - middle) * stretch
            mass += likely
            weighted += likely * q
            low, high = min(low, q), max(high, q)
            work[i] = q
        else:
            rest += likely
            if likely > likeliest:
                untried, likeliest = i, likely
    if tries == 1:
        return int(first + untried)  # pi is the prior, and nothing was tried
    mixed = ((forest.raw[tree, node] - middle) * stretch + (tries - 1) * weighted / mass) / tries
    if untried >= 0:
        low, high = min(low, mixed), max(high, mixed)
    factor = (rule.c_visit + most) * rule.c_scale
    if rule.rescale:
        factor /= max(high - low, 1e-8)
    shared = math.exp((mixed - high) * factor) if untried >= 0 else 0.0
    weight = rest * shared
    for i in range(width):
        if forest.visits[tree, first + i] > 0:
            work[i] = max(forest.prior[tree, first + i], TINY) * math.exp((work[i] - high) * factor)
            weight += work[i]
    best, best_score = untried, likeliest * shared if untried >= 0 else -math.inf
    for i in range(width):
        n = forest.visits[tree, first + i]
        if n > 0:
            score = work[i] - n * weight / tries
            if score > best_score or (score == best_score and i < best):
                best, best_score = i, score
    return int(first + best)


@walker
def gumbel_root(forest: Forest, rule: Rule, tree: int, tried: int, work: NDArray[np.float64]) -> int:
    """The highest g + log P + sigma among the root's edges that this search tried so often.

    Where it tried none so often (the schedule follows a search without earlier visits), among all of them.
    """
    completed(forest, rule, tree, 0, work)
    first = forest.first[tree, 0]
    best, best_score, fits = 0, -math.inf, False
    for i in range(forest.width[tree, 0]):
        now = forest.visits[tree, first + i] - forest.before[tree, i] == tried
        if fits and not now:
            continue
        score = forest.noise[tree, i] + math.log(max(forest.prior[tree, first + i], TINY)) + work[i]
        if score > best_score or (now and not fits):
            best, best_score = i, score
        fits = fits or now
    return int(first + best)


@walker
def _uct(forest: Forest, tree: int, node: int, key: np.uint64) -> int:
    """An untried action, by key; where there is none, the one with the highest upper confidence bound, ties by key."""
    first = forest.first[tree, node]
    end = first + forest.width[tree, node]
    untried, tries = 0, 0
    for e in range(first, end):
        untried += forest.visits[tree, e] == 0
        tries += forest.visits[tree, e]
    if untried > 0:
        left = below(key, untried)
        for e in range(first, end):
            if forest.visits[tree, e] == 0:
                if left == 0:
                    return e
                left -= 1
    middle = (forest.lowest[tree] + forest.highest[tree]) / 2.0
    half = (forest.highest[tree] - forest.lowest[tree]) / 2.0
    log_tries = math.log(tries)
    best, best_score, ties = first, -math.inf, 0
    for e in range(first, end):
        score = _bound(forest.total[tree, e], forest.visits[tree, e], middle, half, log_tries)
        if score > best_score:
            best, best_score, ties = e, score, 1
        elif score == best_score:
            ties += 1
    left = below(key, ties) if ties > 1 else 0
    for e in range(best, end):
        if _bound(forest.total[tree, e], forest.visits[tree, e], middle, half, log_tries) == best_score:
            if left == 0:
                return e
            left -= 1
    return int(best)


@walker
def _bound(total: float, visits: int, middle: float, half: float, log_tries: float) -> float:
    """The upper confidence bound of an action."""
    scaled = (total / visits - middle) / half if half > 0.0 else 0.0
    return scaled + EXPLORATION * math.sqrt(log_tries / visits)


def halving(considered: int, simulations: int) -> NDArray[np.int32]:
    """Sequential halving (Karnin et al. 2013) as in mctx: how often the action to try next was tried before, [n].

    ceil(log2 m) phases over m = `considered` actions; in each, every action that is left gets an equal share of the
    simulations, at least one, and then half of them go, down to two.
    """
    if considered <= 1:
        return np.arange(simulations, dtype=np.int32)
    phases = math.ceil(math.log2(considered))
    tried, left = np.zeros(considered, np.int32), considered
    sequence: list[int] = []
    while len(sequence) < simulations:
        for _ in range(max(1, simulations // (phases * left))):
            sequence.extend(tried[:left].tolist())
            tried[:left] += 1
        left = max(2, left // 2)
    return np.array(sequence[:simulations], np.int32)
