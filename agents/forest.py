"""Search trees of many games at once, as a struct of arrays, and the kernels that change them.

Axes: `B` trees, one for each game; `N` nodes of a tree, 0 its root, parents before children; `E` edges of a tree, those
of a node side by side, one for each legal action in ascending order; `P` seats; `W` edges of a node at most.

A node's children are keyed by action and chance: an edge knows the child met last, the others follow by `sibling`. What
seats return is counted from the first root of the game, in its own units, so that trees can be moved on to later roots
(`reroot`) without a change of numbers; what actions are compared by does not depend on where counting begins.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from games import GameSpec
from games.kernels import kernel, walker

NONE = -1  # as a child, sibling or parent: there is none


class Forest(NamedTuple):
    """The trees, and the simulation that is under way in each."""

    # edges [B, E]
    action: NDArray[np.int32]
    prior: NDArray[np.float32]  # of a node's edges they sum to 1
    visits: NDArray[np.int32]  # simulations that chose it here
    total: NDArray[np.float64]  # sum of what the node's mover returned in them
    child: NDArray[np.int32]  # the child met last
    # nodes [B, N]
    first: NDArray[np.int32]  # its first edge
    width: NDArray[np.int32]  # how many edges; 0 where the game is over
    mover: NDArray[np.int16]  # the seat that moves here
    parent: NDArray[np.int32]
    sibling: NDArray[np.int32]  # another child of the same edge, after another throw of nature
    chance: NDArray[np.int64]  # what nature did on the way into this node, or what it is known by (`agents.search`)
    raw: NDArray[np.float64]  # what the mover returns, as evaluated when the node was made
    earned: NDArray[np.float64]  # [B, N, P] on the way here
    slot: NDArray[np.int32]  # which of the tree's places for boards is its own
    # trees [B]
    nodes: NDArray[np.int32]  # made so far
    edges: NDArray[np.int32]
    lowest: NDArray[np.float64]  # the return that counts as -1
    highest: NDArray[np.float64]  # the return that counts as 1
    budget: NDArray[np.int32]  # simulations to make in this search
    done: NDArray[np.int32]  # simulations made in this search
    # the simulation under way
    at: NDArray[np.int32]  # [B] the node where it is
    length: NDArray[np.int32]  # [B] of its path
    path_node: NDArray[np.int32]  # [B, N] the nodes that it came through
    path_edge: NDArray[np.int32]  # [B, N] and what was chosen there
    walked: NDArray[np.float64]  # [B, P] earned on its way
    # the root in this search
    noise: NDArray[np.float64]  # [B, W] of its edges: Gumbel noise, or (PUCT) what is mixed into their priors
    before: NDArray[np.int32]  # [B, W] visits that its edges had before this search
    considered: NDArray[np.int32]  # [B, n] by simulation: how often what is tried now was tried before

    @classmethod
    def plant(cls, spec: GameSpec, trees: int, nodes: int, edges: int, simulations: int) -> Forest:
        """Room for `trees` of `nodes` and `edges` each, and searches of up to `simulations`."""

        def room(shape: tuple[int, ...], dtype: type, fill: float = 0) -> NDArray[Any]:
            return np.full((trees, *shape), fill, dtype) if fill else np.zeros((trees, *shape), dtype)

        low, high = spec.bounds if finite(spec) else (math.inf, -math.inf)
        return cls(
            action=room((edges,), np.int32),
            prior=room((edges,), np.float32),
            visits=room((edges,), np.int32),
            total=room((edges,), np.float64),
            child=room((edges,), np.int32),
            first=room((nodes,), np.int32),
            width=room((nodes,), np.int32),
            mover=room((nodes,), np.int16),
            parent=room((nodes,), np.int32),
            sibling=room((nodes,), np.int32),
            chance=room((nodes,), np.int64),
            raw=room((nodes,), np.float64),
            earned=room((nodes, spec.seats), np.float64),
            slot=np.broadcast_to(np.arange(nodes, dtype=np.int32), (trees, nodes)).copy(),
            nodes=room((), np.int32),
            edges=room((), np.int32),
            lowest=room((), np.float64, low),
            highest=room((), np.float64, high),
            budget=room((), np.int32),
            done=room((), np.int32),
            at=room((), np.int32),
            length=room((), np.int32),
            path_node=room((nodes,), np.int32),
            path_edge=room((nodes,), np.int32),
            walked=room((spec.seats,), np.float64),
            noise=room((spec.actions,), np.float64),
            before=room((spec.actions,), np.int32),
            considered=room((max(simulations, 1),), np.int32),
        )

    def grown(self, edges: int) -> Forest:
        """The same trees with room for `edges`."""
        shape = (self.action.shape[0], edges - self.action.shape[1])
        wider = {
            name: np.concatenate([array, np.zeros(shape, array.dtype)], axis=1)
            for name in ("action", "prior", "visits", "total", "child")
            for array in (getattr(self, name),)
        }
        return self._replace(**wider)


def finite(spec: GameSpec) -> bool:
    """Whether the returns of a game are bounded on both sides."""
    return math.isfinite(spec.bounds[0]) and math.isfinite(spec.bounds[1])


def bytes_a_tree(spec: GameSpec, nodes: int, edges: int) -> int:
    """Memory that one tree takes, without the boards in it."""
    forest = Forest.plant(spec, 1, nodes, edges, 1)
    return sum(array.nbytes for array in forest)


@walker
def new_node(forest: Forest, tree: int, parent: int, edge: int, chance: int) -> int:
    """A child of `parent` by `edge`, as yet without edges."""
    node = int(forest.nodes[tree])
    forest.nodes[tree] += 1
    forest.parent[tree, node] = parent
    forest.chance[tree, node] = chance
    forest.sibling[tree, node] = NONE
    forest.width[tree, node] = 0
    forest.first[tree, node] = forest.edges[tree]
    if parent != NONE:
        forest.sibling[tree, node] = forest.child[tree, edge]
        forest.child[tree, edge] = node
    return node


@walker
def add_edges(
    forest: Forest, tree: int, node: int, mover: int, legal: NDArray[np.bool_], logits: NDArray[np.float32], row: int
) -> None:
    """Give `node` an edge for each action of legal [A]: priors by row `row` of logits [n, A], or even by [0, A]."""
    first = forest.edges[tree]
    edge = first
    highest = -math.inf
    for action in range(len(legal)):
        if legal[action]:
            forest.action[tree, edge] = action
            forest.visits[tree, edge] = 0
            forest.total[tree, edge] = 0.0
            forest.child[tree, edge] = NONE
            if len(logits):
                highest = max(highest, logits[row, action])
            edge += 1
    forest.mover[tree, node] = mover
    forest.first[tree, node] = first
    forest.width[tree, node] = edge - first
    forest.edges[tree] = edge
    if len(logits) == 0:
        for e in range(first, edge):
            forest.prior[tree, e] = np.float32(1.0 / (edge - first))
        return
    weight = 0.0
    for e in range(first, edge):
        likely = math.exp(np.float32(logits[row, forest.action[tree, e]] - highest))
        forest.prior[tree, e] = likely
        weight += likely
    for e in range(first, edge):
        forest.prior[tree, e] = forest.prior[tree, e] / weight


@walker
def find_child(forest: Forest, tree: int, edge: int, chance: int) -> int:
    """The child of `edge` after nature did `chance`, or NONE."""
    node = int(forest.child[tree, edge])
    while node != NONE and forest.chance[tree, node] != chance:
        node = int(forest.sibling[tree, node])
    return node


@walker
def find_view(forest: Forest, tree: int, chance: int) -> int:
    """The node, but for the root, that is known by `chance`, wherever it is; or NONE.

    Not one that the simulation under way came through: who sees the same again stands elsewhere, and paths stay short.
    """
    for node in range(1, forest.nodes[tree]):
        if forest.chance[tree, node] == chance:
            passed = False
            for i in range(forest.length[tree]):
                passed = passed or forest.path_node[tree, i] == node
            if not passed:
                return node
    return NONE


@walker
def back_up(forest: Forest, tree: int, returns: NDArray[np.float64], running: bool) -> None:
    """End the simulation under way: add what every seat returned [P] to the edges of its path.

    `running`: the scale is the range of the returns seen so far.
    """
    for i in range(forest.length[tree]):
        edge = forest.path_edge[tree, i]
        forest.visits[tree, edge] += 1
        forest.total[tree, edge] += returns[forest.mover[tree, forest.path_node[tree, i]]]
    forest.done[tree] += 1
    if running:
        for seat in range(len(returns)):
            forest.lowest[tree] = min(forest.lowest[tree], returns[seat])
            forest.highest[tree] = max(forest.highest[tree], returns[seat])


@kernel
def advance(
    forest: Forest,
    trees: NDArray[np.int64],
    since: NDArray[np.int64],
    steps: NDArray[np.int64],
    moves: NDArray[np.int16],
    chance: NDArray[np.int64],
    spare: int,
) -> None:
    """Move the roots of `trees` [n] along what was played: steps since[i] to steps[i] of row i of moves [n, T, 1].

    Where that was never looked at, or fewer than `spare` nodes would be left, the tree is cleared (no nodes).
    """
    place = np.empty(forest.first.shape[1], np.int32)
    for i in range(len(trees)):
        tree = trees[i]
        node = 0 if forest.nodes[tree] > 0 else NONE
        for step in range(since[i], steps[i]):
            if node == NONE:
                break
            first, node_before = forest.first[tree, node], node
            node = NONE
            for edge in range(first, first + forest.width[tree, node_before]):
                if forest.action[tree, edge] == moves[i, step, 0]:
                    node = find_child(forest, tree, edge, chance[i, step])
        if node == NONE or forest.width[tree, node] == 0:
            forest.nodes[tree] = 0
        elif node != 0:
            _reroot(forest, tree, node, place)
        if forest.nodes[tree] + spare > forest.first.shape[1]:
            forest.nodes[tree] = 0


@kernel
def _reroot(forest: Forest, tree: int, root: int, place: NDArray[np.int32]) -> None:
    """Keep only what lies below `root`. Nodes and edges move to the front in their order; boards stay where they are.

    `place` [N] is working memory.
    """
    nodes = forest.nodes[tree]
    kept = 0
    for old in range(nodes):
        stays = old == root or (old > root and place[forest.parent[tree, old]] != NONE)
        place[old] = kept if stays else NONE
        kept += stays
    # Slots of the kept nodes to the front, in order; the others, free now, behind them.
    freed = 0
    for old in range(nodes):
        if place[old] == NONE:
            forest.path_node[tree, freed] = forest.slot[tree, old]
            freed += 1
        else:
            forest.slot[tree, place[old]] = forest.slot[tree, old]
    for i in range(freed):
        forest.slot[tree, kept + i] = forest.path_node[tree, i]
    edges = 0
    for old in range(root, nodes):
        new = place[old]
        if new == NONE:
            continue
        first, width = forest.first[tree, old], forest.width[tree, old]
        for e in range(width):
            forest.action[tree, edges + e] = forest.action[tree, first + e]
            forest.prior[tree, edges + e] = forest.prior[tree, first + e]
            forest.visits[tree, edges + e] = forest.visits[tree, first + e]
            forest.total[tree, edges + e] = forest.total[tree, first + e]
            child = forest.child[tree, first + e]
            forest.child[tree, edges + e] = NONE if child == NONE else place[child]
        parent, sibling = forest.parent[tree, old], forest.sibling[tree, old]
        forest.first[tree, new], forest.width[tree, new] = edges, width
        forest.mover[tree, new] = forest.mover[tree, old]
        forest.parent[tree, new] = NONE if new == 0 else place[parent]
        forest.sibling[tree, new] = NONE if new == 0 or sibling == NONE else place[sibling]
        forest.chance[tree, new] = forest.chance[tree, old]
        forest.raw[tree, new] = forest.raw[tree, old]
        for seat in range(forest.earned.shape[2]):
            forest.earned[tree, new, seat] = forest.earned[tree, old, seat]
        edges += width
    forest.nodes[tree], forest.edges[tree] = kept, edges
