"""How simulations go down the trees of a forest, as numba kernels for `agents.search`.

Two ways. Where nature has no say every node keeps its board: `descend` walks a whole simulation at once, and only the
new leaf's move is played (`sprout`). Else a board of each tree's own is played along from the root, step by step:
`choose`, the step, `arrive`. In both, new leaves are evaluated together, and `fill` ends their simulations.

`n` trees take part, of which a simulation reaches up to n leaves; arrays of leaves and boards are in their order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.forest import NONE, Forest, add_edges, back_up, find_child, find_view, new_node
from agents.rules import PUCT, UCT, Rule, select
from games import NO_ACTION
from games.kernels import mix_one, walker
from games.keys import CHOICE, NATURE

OUTSIDE = -1  # as the node where a simulation is: it has come to its end


@walker
def step_key(search: np.uint64, simulation: int, depth: int) -> np.uint64:
    """The key of one step of one simulation, by the key of its search."""
    return mix_one(mix_one(search, np.uint64(simulation)), np.uint64(depth))


@walker
def set_roots(
    forest: Forest,
    rule: Rule,
    trees: NDArray[np.int64],
    seat: NDArray[np.int16],
    legal: NDArray[np.bool_],
    logits: NDArray[np.float32],
    returns: NDArray[np.float64],
) -> None:
    """New trees for the decisions of seat [n], legal [n, A], as they were evaluated: logits [n, A], returns [n, P]."""
    for i in range(len(trees)):
        tree = trees[i]
        if rule.running:
            forest.lowest[tree], forest.highest[tree] = math.inf, -math.inf
        forest.nodes[tree], forest.edges[tree] = 0, 0
        node = new_node(forest, tree, NONE, NONE, 0)
        for p in range(returns.shape[1]):
            forest.earned[tree, node, p] = 0.0
        forest.raw[tree, node] = returns[i, seat[i]]
        add_edges(forest, tree, node, seat[i], legal[i], logits, i)


@walker
def begin(forest: Forest, rule: Rule, trees: NDArray[np.int64], budget: NDArray[np.int64]) -> None:
    """A search of budget [n] simulations in `trees` [n]: what their roots' edges saw before does not count as made."""
    for i in range(len(trees)):
        tree = trees[i]
        forest.budget[tree], forest.done[tree], forest.length[tree] = budget[i], 0, 0
        first = forest.first[tree, 0]
        for e in range(forest.width[tree, 0]):
            forest.before[tree, e] = forest.visits[tree, first + e]
            forest.noise[tree, e] = forest.prior[tree, first + e] if rule.kind == PUCT else 0.0


@walker
def _take(forest: Forest, rule: Rule, tree: int, node: int, search: np.uint64, work: NDArray[np.float64]) -> int:
    """Select an edge of `node`, and add it to the path."""
    key = np.uint64(0)
    if rule.kind == UCT:
        key = mix_one(step_key(search, forest.done[tree], forest.length[tree]), np.uint64(CHOICE))
    edge = select(forest, rule, tree, node, key, work)
    forest.path_node[tree, forest.length[tree]] = node
    forest.path_edge[tree, forest.length[tree]] = edge
    forest.length[tree] += 1
    return edge


@walker
def descend(
    forest: Forest,
    rule: Rule,
    trees: NDArray[np.int64],
    search: NDArray[np.uint64],
    leaf: NDArray[np.int64],
    board: NDArray[np.int64],
    actions: NDArray[np.int64],
    work: NDArray[np.float64],
) -> int:
    """Start a simulation in each of `trees` [n] that has some left, and walk it to an edge that nobody took before.

    Simulations that end in a game that is over are finished on the way, and the next one is started. Writes, of each
    leaf, which tree of the forest it is in, the place of the board before it, and its last action; returns how many.
    """
    leaves = 0
    for i in range(len(trees)):
        tree = trees[i]
        while forest.done[tree] < forest.budget[tree]:
            node, edge = 0, NONE
            forest.length[tree] = 0
            while node != NONE and forest.width[tree, node] > 0:
                edge = _take(forest, rule, tree, node, search[i], work)
                board[leaves] = tree * forest.slot.shape[1] + forest.slot[tree, node]
                node = forest.child[tree, edge]
            if node == NONE:
                leaf[leaves] = tree
                actions[leaves, 0] = forest.action[tree, edge]
                leaves += 1
                break
            back_up(forest, tree, forest.earned[tree, node], rule.running)
    return leaves


@walker
def sprout(
    forest: Forest,
    rule: Rule,
    leaf: NDArray[np.int64],
    reward: NDArray[np.float32],
    active: NDArray[np.bool_],
    board: NDArray[np.int64],
    open_leaves: NDArray[np.int64],
) -> int:
    """Make the nodes that `descend` came to, after the step with reward [n, P]; active [n, 1] says who goes on.

    Finished games end their simulation. Writes the place of each new node's board, and which leaves are to be
    evaluated; returns how many.
    """
    count = 0
    for i in range(len(leaf)):
        tree = leaf[i]
        parent, edge = forest.path_node[tree, forest.length[tree] - 1], forest.path_edge[tree, forest.length[tree] - 1]
        node = new_node(forest, tree, parent, edge, 0)
        board[i] = tree * forest.slot.shape[1] + forest.slot[tree, node]
        forest.at[tree] = node
        for seat in range(reward.shape[1]):
            forest.earned[tree, node, seat] = forest.earned[tree, parent, seat] + reward[i, seat]
        if active[i, 0]:
            open_leaves[count] = i
            count += 1
        else:
            back_up(forest, tree, forest.earned[tree, node], rule.running)
    return count


@walker
def fill(
    forest: Forest,
    rule: Rule,
    leaf: NDArray[np.int64],
    open_leaves: NDArray[np.int64],
    seat: NDArray[np.int16],
    legal: NDArray[np.bool_],
    logits: NDArray[np.float32],
    returns: NDArray[np.float64],
) -> int:
    """Give the evaluated leaves their edges, and end their simulations; returns the most edges any of the trees has.

    seat [n, 1] and legal [n, 1, A] are those of all leaves, logits [m, A] (or [0, A]: even) and returns [m, P], counted
    from where the tree counts, of the m open ones.
    """
    most = 0
    for j in range(len(open_leaves)):
        i = open_leaves[j]
        tree = leaf[i]
        node, mover = forest.at[tree], seat[i, 0]
        forest.raw[tree, node] = returns[j, mover]
        add_edges(forest, tree, node, mover, legal[i, 0], logits, j)
        most = max(most, forest.edges[tree])
        back_up(forest, tree, returns[j], rule.running)
    return most


# ---- along with boards that are played from the root ---------------------------------------------------------------


@walker
def stand(forest: Forest, trees: NDArray[np.int64]) -> int:
    """Start a simulation at the root of each of `trees` that has some left; returns how many do."""
    going = 0
    for i in range(len(trees)):
        tree = trees[i]
        goes = forest.done[tree] < forest.budget[tree]
        forest.at[tree] = 0 if goes else OUTSIDE
        forest.length[tree] = 0
        going += goes
        for seat in range(forest.walked.shape[1]):
            forest.walked[tree, seat] = forest.earned[tree, 0, seat]
    return going


@walker
def choose(
    forest: Forest,
    rule: Rule,
    trees: NDArray[np.int64],
    search: NDArray[np.uint64],
    actions: NDArray[np.int64],
    nature: NDArray[np.uint64],
    work: NDArray[np.float64],
) -> int:
    """Choose an action [n, 1] and nature's key [n] where a simulation is still in its tree; how many are."""
    going = 0
    for i in range(len(trees)):
        tree = trees[i]
        actions[i, 0] = NO_ACTION
        if forest.at[tree] == OUTSIDE:
            continue
        going += 1
        nature[i] = mix_one(step_key(search[i], forest.done[tree], forest.length[tree]), np.uint64(NATURE))
        edge = _take(forest, rule, tree, forest.at[tree], search[i], work)
        actions[i, 0] = forest.action[tree, edge]
    return going


@walker
def arrive(
    forest: Forest,
    rule: Rule,
    trees: NDArray[np.int64],
    actions: NDArray[np.int64],
    reward: NDArray[np.float32],
    chance: NDArray[np.int64],
    active: NDArray[np.bool_],
    leaf_node: NDArray[np.int64],
    by_view: bool,
) -> None:
    """Follow what was played: into a child that is known, a new leaf (`leaf_node` [n], else NONE), or to the end.

    `by_view`: `chance` is what the mover there sees, and a node is known by that alone.
    """
    for i in range(len(trees)):
        if actions[i, 0] == NO_ACTION:
            continue
        tree = trees[i]
        for seat in range(reward.shape[1]):
            forest.walked[tree, seat] += reward[i, seat]
        if not active[i, 0]:
            back_up(forest, tree, forest.walked[tree], rule.running)
            forest.at[tree] = OUTSIDE
            continue
        parent, edge = forest.path_node[tree, forest.length[tree] - 1], forest.path_edge[tree, forest.length[tree] - 1]
        node = find_view(forest, tree, chance[i]) if by_view else find_child(forest, tree, edge, chance[i])
        if node != NONE:
            forest.at[tree] = node
            continue
        node = new_node(forest, tree, parent, edge, chance[i])
        for seat in range(reward.shape[1]):
            forest.earned[tree, node, seat] = forest.walked[tree, seat]
        leaf_node[i] = node
        forest.at[tree] = OUTSIDE


@walker
def gather(
    forest: Forest, trees: NDArray[np.int64], leaf_node: NDArray[np.int64], open_leaves: NDArray[np.int64]
) -> int:
    """Stand at the new leaves and list them; returns how many."""
    count = 0
    for i in range(len(trees)):
        if leaf_node[i] != NONE:
            forest.at[trees[i]] = leaf_node[i]
            open_leaves[count] = i
            count += 1
    return count
