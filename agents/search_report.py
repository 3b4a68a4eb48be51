"""What a search found, read from its trees."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from agents.core import Analysis, Option
from agents.forest import NONE, Forest
from games.kernels import kernel


@kernel
def root_visits(forest: Forest, trees: NDArray[np.int64], actions: int) -> NDArray[np.int32]:
    """How many simulations chose each action at the root of `trees` [n]: [n, A]."""
    visits = np.zeros((len(trees), actions), np.int32)
    for i in range(len(trees)):
        tree = trees[i]
        first = forest.first[tree, 0]
        for edge in range(first, first + forest.width[tree, 0]):
            visits[i, forest.action[tree, edge]] = forest.visits[tree, edge]
    return visits


def analysis(forest: Forest, tree: int) -> Analysis:
    """The root of one tree, its actions by visits, then value, then prior."""
    mover = int(forest.mover[tree, 0])
    base = float(forest.earned[tree, 0, mover])
    options = []
    for edge in _edges(forest, tree, 0):
        visits = int(forest.visits[tree, edge])
        options.append(
            Option(
                action=int(forest.action[tree, edge]),
                prior=float(forest.prior[tree, edge]),
                visits=visits,
                value=float(forest.total[tree, edge]) / visits - base if visits else None,
                line=_line(forest, tree, edge),
            )
        )
    options.sort(
        key=lambda option: (-option.visits, -(option.value if option.value is not None else -inf), -option.prior)
    )
    visited = [(option.visits, option.value) for option in options if option.value is not None]
    total, weight = float(forest.raw[tree, 0]) - base, 1
    for visits, value in visited:
        total, weight = total + visits * value, weight + visits
    return Analysis(total / weight, tuple(options))


def _line(forest: Forest, tree: int, edge: int) -> tuple[int, ...]:
    """The most visited way on from an edge of the root."""
    line = [int(forest.action[tree, edge])]
    while forest.visits[tree, edge] and (node := _busiest(forest, tree, edge)) != NONE:
        edges = [e for e in _edges(forest, tree, node) if forest.visits[tree, e]]
        if not edges:
            break
        edge = max(edges, key=lambda e: int(forest.visits[tree, e]))
        line.append(int(forest.action[tree, edge]))
    return tuple(line)


def _busiest(forest: Forest, tree: int, edge: int) -> int:
    """The child of `edge` that was met most often; NONE where there is none."""
    best, most = NONE, -1
    node = int(forest.child[tree, edge])
    while node != NONE:
        visits = sum(int(forest.visits[tree, e]) for e in _edges(forest, tree, node))
        if visits > most:
            best, most = node, visits
        node = int(forest.sibling[tree, node])
    return best


def _edges(forest: Forest, tree: int, node: int) -> range:
    first = int(forest.first[tree, node])
    return range(first, first + int(forest.width[tree, node]))
