"""The tree walk of `agents.mcts`: a forest as a struct of arrays, and the kernels that go down it and back up.

Axes: `B` games, each with a tree of its own; `N` nodes of a tree, 0 its root; `A` actions; `P` seats.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from games import NO_ACTION, GameSpec
from games.kernels import below, kernel, mix_one
from games.keys import CHOICE, NATURE

EXPLORATION = math.sqrt(2.0)
NONE = 0  # as a child or sibling: there is none (the root is nobody's child)
OUTSIDE = -1  # as the node where a simulation is: it has left the tree


class Forest(NamedTuple):
    """The trees of `B` decisions, and where the simulation under way is in each."""

    visits: NDArray[np.int32]  # [B, N, A] simulations that chose this action in this node
    total: NDArray[np.float64]  # [B, N, A] sum of what the node's mover returned in them, in the game's own units
    child: NDArray[np.int32]  # [B, N, A] the child met last; the others follow by `sibling`
    sibling: NDArray[np.int32]  # [B, N] another child of the same action, after another throw of nature
    chance: NDArray[np.int64]  # [B, N] what nature did on the way into this node
    mover: NDArray[np.int16]  # [B, N] the seat that moves here
    nodes: NDArray[np.int32]  # [B] made so far
    lowest: NDArray[np.float64]  # [B] the return that counts as -1
    highest: NDArray[np.float64]  # [B] the return that counts as 1
    at: NDArray[np.int32]  # [B] the node where the simulation is
    path_node: NDArray[np.int32]  # [B, N] the nodes it came through
    path_action: NDArray[np.int32]  # [B, N] and what was chosen there
    length: NDArray[np.int32]  # [B] of the path
    earned: NDArray[np.float64]  # [B, P] from the root on

    @classmethod
    def plant(cls, spec: GameSpec, batch: int, simulations: int) -> Forest:
        """Roots for `batch` decisions, with room for one node a simulation."""
        nodes = simulations + 1
        low, high = spec.bounds if finite(spec) else (math.inf, -math.inf)
        return cls(
            visits=np.zeros((batch, nodes, spec.actions), np.int32),
            total=np.zeros((batch, nodes, spec.actions), np.float64),
            child=np.zeros((batch, nodes, spec.actions), np.int32),
            sibling=np.zeros((batch, nodes), np.int32),
            chance=np.zeros((batch, nodes), np.int64),
            mover=np.zeros((batch, nodes), np.int16),
            nodes=np.ones(batch, np.int32),
            lowest=np.full(batch, low),
            highest=np.full(batch, high),
            at=np.zeros(batch, np.int32),
            path_node=np.zeros((batch, nodes), np.int32),
            path_action=np.zeros((batch, nodes), np.int32),
            length=np.zeros(batch, np.int32),
            earned=np.zeros((batch, spec.seats), np.float64),
        )


def finite(spec: GameSpec) -> bool:
    """Whether the returns of a game are bounded on both sides."""
    return math.isfinite(spec.bounds[0]) and math.isfinite(spec.bounds[1])


def bytes_a_decision(spec: GameSpec, simulations: int) -> int:
    """Memory that the tree of one decision takes, all but a few dozen bytes."""
    return (simulations + 1) * (16 * spec.actions + 22)


@kernel
def choose(
    forest: Forest,
    legal: NDArray[np.bool_],
    seat: NDArray[np.int16],
    active: NDArray[np.bool_],
    search: NDArray[np.uint64],
    simulation: int,
    depth: int,
    actions: NDArray[np.int64],
    nature: NDArray[np.uint64],
) -> int:
    """Choose an action [B, 1] and nature's key [B] wherever a game goes on; how many do.

    `legal` [B, 1, A], `seat` and `active` [B, 1] are those of the games as they stand; `search` [B] are the keys of
    the searches.
    """
    going = 0
    for row in range(len(search)):
        actions[row, 0] = NO_ACTION
        if not active[row, 0]:
            continue
        going += 1
        key = mix_one(mix_one(search[row], np.uint64(simulation)), np.uint64(depth))
        nature[row] = mix_one(key, np.uint64(NATURE))
        choice = mix_one(key, np.uint64(CHOICE))
        node = forest.at[row]
        if node == OUTSIDE:
            actions[row, 0] = _any_legal(legal[row, 0], choice)
            continue
        action = _select(forest, row, node, legal[row, 0], choice)
        actions[row, 0] = action
        forest.mover[row, node] = seat[row, 0]
        forest.path_node[row, forest.length[row]] = node
        forest.path_action[row, forest.length[row]] = action
        forest.length[row] += 1
    return going


@kernel
def arrive(
    forest: Forest,
    actions: NDArray[np.int64],
    reward: NDArray[np.float32],
    chance: NDArray[np.int64],
    active: NDArray[np.bool_],
) -> None:
    """Take in what a step brought: rewards [B, P], and the child that it led to, made where it is new.

    A game that is over has no node: nothing will ever be chosen there.
    """
    for row in range(len(actions)):
        action = actions[row, 0]
        if action == NO_ACTION:
            continue
        for seat in range(reward.shape[1]):
            forest.earned[row, seat] += reward[row, seat]
        parent = forest.at[row]
        if parent == OUTSIDE:
            continue
        node = forest.child[row, parent, action]
        while node != NONE and forest.chance[row, node] != chance[row]:
            node = forest.sibling[row, node]
        if node == NONE and active[row, 0]:
            new = forest.nodes[row]
            forest.nodes[row] += 1
            forest.chance[row, new] = chance[row]
            forest.sibling[row, new] = forest.child[row, parent, action]
            forest.child[row, parent, action] = new
        forest.at[row] = OUTSIDE if node == NONE else node


@kernel
def back_up(forest: Forest, running: bool) -> None:
    """Add what every seat earned to the path of each tree, and stand at the root again.

    `running`: the scale is the range of the returns seen so far.
    """
    for row in range(len(forest.at)):
        for i in range(forest.length[row]):
            node, action = forest.path_node[row, i], forest.path_action[row, i]
            forest.visits[row, node, action] += 1
            forest.total[row, node, action] += forest.earned[row, forest.mover[row, node]]
        for seat in range(forest.earned.shape[1]):
            if running:
                forest.lowest[row] = min(forest.lowest[row], forest.earned[row, seat])
                forest.highest[row] = max(forest.highest[row], forest.earned[row, seat])
            forest.earned[row, seat] = 0.0
        forest.at[row] = 0
        forest.length[row] = 0


@kernel
def _any_legal(legal: NDArray[np.bool_], key: np.uint64) -> int:
    """One of the legal actions, by key."""
    count = 0
    for action in range(len(legal)):
        count += legal[action]
    left = below(key, count)
    for action in range(len(legal)):
        if legal[action]:
            if left == 0:
                return action
            left -= 1
    return NO_ACTION


@kernel
def _select(forest: Forest, row: int, node: int, legal: NDArray[np.bool_], key: np.uint64) -> int:
    """An untried action, by key; where there is none, the one with the highest upper confidence bound, ties by key."""
    visits, total = forest.visits[row, node], forest.total[row, node]
    untried = 0
    tries = 0
    for action in range(len(legal)):
        if legal[action]:
            untried += visits[action] == 0
            tries += visits[action]
    if untried > 0:
        left = below(key, untried)
        for action in range(len(legal)):
            if legal[action] and visits[action] == 0:
                if left == 0:
                    return action
                left -= 1
    middle = (forest.lowest[row] + forest.highest[row]) / 2.0
    half = (forest.highest[row] - forest.lowest[row]) / 2.0
    log_tries = math.log(tries)
    best, best_score, ties = NO_ACTION, -math.inf, 0
    for action in range(len(legal)):
        if legal[action]:
            score = _score(total[action], visits[action], middle, half, log_tries)
            if score > best_score:
                best, best_score, ties = action, score, 1
            elif score == best_score:
                ties += 1
    if ties == 1:
        return best
    left = below(key, ties)
    for action in range(best, len(legal)):
        if legal[action] and _score(total[action], visits[action], middle, half, log_tries) == best_score:
            if left == 0:
                return action
            left -= 1
    return best


@kernel
def _score(total: float, visits: int, middle: float, half: float, log_tries: float) -> float:
    """The upper confidence bound of an action."""
    scaled = (total / visits - middle) / half if half > 0.0 else 0.0
    return scaled + EXPLORATION * math.sqrt(log_tries / visits)
