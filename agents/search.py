"""Tree search over many games at once: simulations in step, their leaves evaluated together.

    1. every tree's simulation goes down by the rule (`agents.rules`) to an edge that was not taken before
    2. its move is played, in all trees at once; games that are over end their simulation there, exactly
    3. the other leaves are evaluated in one call: by a network, by random play (`agents.mcts`), or not at all
    4. what every seat returns is added to the path

Two or more seats, in any order of moves: each node compares actions by what they return to the seat that moves there.
Where nature has a say, a simulation plays along with a board of its own from the root, nature is drawn anew at each
visit, by keys of the search's own, and children are keyed by action and chance. With `determinise` every simulation
starts in another world that the root's seat cannot tell from the real one (`Game.resample`), and nodes are keyed by
what their mover sees: information-set Monte Carlo tree search (Cowling, Powley and Whitehouse 2012, doi
10.1109/TCIAIG.2012.2200894), a tree for each mover's view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents import walk
from agents.forest import NONE, Forest
from agents.rules import Rule
from games import Decisions, Game, Keys, Rows, States
from games.kernels import kernel, mix_one
from games.keys import NATURE, SEARCH, mix


@dataclass(slots=True)
class Leaves:
    """The m positions to be evaluated; somebody acts in each. Each stands at `forest.at[tree]`."""

    game: Game
    boards: States  # not to be changed
    rows: Rows  # [m] of `boards`
    observation: NDArray[np.float32]  # [m, *O] the mover's, unless evaluation is blind
    seat: NDArray[np.int16]  # [m] the mover
    forest: Forest
    trees: NDArray[np.int64]  # [m]
    keys: Keys  # [m] of their searches


Evaluate = Callable[[Leaves], tuple[NDArray[np.float32], NDArray[np.float64]]]
"""Logits [m, A] (or [0, A]: all actions alike) and what every seat returns [m, P], counted as `Forest.earned` is."""


def even(leaves: Leaves) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Knows nothing: all actions alike, and nobody earns any more."""
    at = leaves.forest.at[leaves.trees]
    return np.empty((0, leaves.game.spec.actions), np.float32), leaves.forest.earned[leaves.trees, at]


class Search:
    """Trees for up to `trees` games side by side, of up to `nodes` each."""

    def __init__(
        self,
        game: Game,
        trees: int,
        nodes: int,
        rule: Rule,
        evaluate: Evaluate,
        *,
        blind: bool = False,
        determinise: bool = False,
        edges: int = 0,
    ) -> None:
        spec = game.spec
        self.game, self.rule, self.evaluate, self.determinise = game, rule, evaluate, determinise
        self.along = spec.stochastic or determinise  # boards are played along, else nodes keep theirs
        self.forest = Forest.plant(spec, trees, nodes, max(edges, spec.actions) + spec.actions, nodes)
        self._boards = game.room(0 if self.along else trees * nodes)
        self._decisions = Decisions.empty(spec, trees, blind=blind and not determinise)
        self._actions = np.zeros((trees, 1), np.int64)
        self._nature = np.zeros(trees, np.uint64)
        self._leaf, self._place, self._open = (np.zeros(trees, np.int64) for _ in range(3))
        self._work = np.zeros(spec.actions, np.float64)

    def set_roots(
        self,
        trees: NDArray[np.int64],
        states: States,
        rows: Rows,
        seat: NDArray[np.int16],
        legal: NDArray[np.bool_],
        logits: NDArray[np.float32],
        returns: NDArray[np.float64],
    ) -> None:
        """Start `trees` [n] anew at `rows` [n] of `states`, as evaluated: logits [n, A] or [0, A], returns [n, P]."""
        forest = self.forest
        walk.set_roots(forest, self.rule, trees, seat, legal, logits, returns)
        if not self.along:
            places = trees * forest.slot.shape[1] + forest.slot[trees, 0]
            self.game.put(self._boards, places, self.game.copy(states, rows))

    def run(self, trees: NDArray[np.int64], keys: Keys, states: States, rows: Rows) -> None:
        """Make the simulations that `trees` [n] have left, by `keys` [n]; their roots are `rows` [n] of `states`."""
        search = mix(keys, SEARCH)
        if self.along:
            self._run_along(trees, search, keys, states, rows)
        else:
            self._run_stored(trees, search, keys)

    def _run_stored(self, trees: NDArray[np.int64], search: Keys, keys: Keys) -> None:
        game, rule, boards = self.game, self.rule, self._boards
        of_tree = np.zeros(len(self.forest.at), np.uint64)
        of_tree[trees] = keys
        while True:
            n = walk.descend(self.forest, rule, trees, search, self._leaf, self._place, self._actions, self._work)
            if n == 0:
                return
            leaf = self._leaf[:n]
            played = game.copy(boards, self._place[:n])
            outcome = game.step(played, self._actions[:n], self._nature[:n])
            decisions = game.decisions(played, self._decisions.first(n))
            m = walk.sprout(self.forest, rule, leaf, outcome.reward, decisions.active, self._place, self._open)
            if m > 0:
                self._evaluate(played, decisions, leaf, self._open[:m], of_tree)
            game.put(boards, self._place[:n], played)

    def _run_along(self, trees: NDArray[np.int64], search: Keys, keys: Keys, states: States, rows: Rows) -> None:
        game, rule, n = self.game, self.rule, len(trees)
        of_tree = np.zeros(len(self.forest.at), np.uint64)
        of_tree[trees] = keys
        seats = self.forest.mover[trees, 0] if self.determinise else None
        actions, nature, decisions = self._actions[:n], self._nature[:n], self._decisions.first(n)
        simulation = 0
        while walk.stand(self.forest, trees):
            if seats is None:
                played = game.copy(states, rows)
            else:
                worlds = mix(search, NATURE, simulation)
                played = game.resample(states, rows, seats, worlds)  # type: ignore[attr-defined]
            game.decisions(played, decisions)
            leaf_node = np.full(n, NONE, np.int64)
            while walk.choose(self.forest, rule, trees, search, actions, nature, self._work):
                outcome = game.step(played, actions, nature)
                game.decisions(played, decisions)
                came = (
                    outcome.chance
                    if seats is None
                    else view_keys(decisions.observation, decisions.seat, decisions.legal)
                )
                walk.arrive(
                    self.forest,
                    rule,
                    trees,
                    actions,
                    outcome.reward,
                    came,
                    decisions.active,
                    leaf_node,
                    self.determinise,
                )
            m = walk.gather(self.forest, trees, leaf_node, self._open)
            if m > 0:
                self._evaluate(played, decisions, trees, self._open[:m], of_tree)
            simulation += 1

    def _evaluate(self, boards: States, decisions: Decisions, leaf: NDArray[np.int64], rows: Rows, keys: Keys) -> None:
        every = len(rows) == len(leaf)
        trees = leaf if every else leaf[rows]
        seen = decisions.observation[:, 0] if every else decisions.observation[rows, 0]
        seat = decisions.seat[:, 0] if every else decisions.seat[rows, 0]
        leaves = Leaves(self.game, boards, rows, seen, seat, self.forest, trees, keys[trees])
        logits, returns = self.evaluate(leaves)
        most = walk.fill(self.forest, self.rule, leaf, rows, decisions.seat, decisions.legal, logits, returns)
        room = self.forest.action.shape[1]
        if most + self.game.spec.actions > room:
            self.forest = self.forest.grown(2 * room)


@kernel
def view_keys(observation: NDArray[np.float32], seat: NDArray[np.int16], legal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What each mover sees, observation [n, 1, *O], and may do, legal [n, 1, A], as a number: [n]."""
    n = len(observation)
    flat = observation.reshape(n, -1).view(np.uint32)
    keys = np.empty(n, np.int64)
    for i in range(n):
        key = np.uint64(seat[i, 0])
        for j in range(flat.shape[1]):
            if flat[i, j] != 0:
                key = mix_one(key ^ np.uint64(flat[i, j]), np.uint64(j))
        for a in range(legal.shape[2]):
            if legal[i, 0, a]:
                key = mix_one(key, np.uint64(a))
        keys[i] = np.int64(key >> np.uint64(1))
    return keys
