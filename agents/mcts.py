"""Plain Monte Carlo tree search, pinned for good: `mcts:200` is the yardstick that anchors ladders for years.

It is UCT (Kocsis and Szepesvári 2006, doi 10.1007/11871842_29) for turn-based games of perfect information with any
number of seats, with or without chance. It has no network, no prior, no tree reuse and no heuristics, and nothing here
may change what it plays: another definition would need another `VERSION`. The definition, complete:

A decision has a key `k`. Its search is `simulations` simulations, numbered from 0, and what it plays is the root action
chosen by most of them; of several, number `below(mix(k, CHOICE), several)` in ascending order of action.

A simulation copies the game at the root and plays it to its end, step by step; `d` counts the steps from 0. Step `d` of
simulation `i` has the key `s = mix(k, SEARCH, i, d)`. Its actor's choice is made with `mix(s, CHOICE)`, and nature is
given `mix(s, NATURE)`: fresh chance at every visit, which knows nothing of what nature holds ready in the real game.

1. *In the tree*, which begins as the root alone, each legal action a of a node has n(a), how many simulations chose it
   there, and W(a), the sum of what these returned to the seat that moves there. While any n(a) is 0, one of those
   untried actions is chosen uniformly: number `below(choice, untried)` in ascending order. Otherwise it is the action
   with the highest

       Q(a) + sqrt(2) sqrt(ln N / n(a)),    N = sum of all n(a),    Q(a) = (W(a) / n(a) - middle) / half

   and of exact ties number `below(choice, ties)` in ascending order. Children are keyed by (action, `Outcome.chance`),
   so one action may have many; its n and W are summed over them.
2. The first step that leads to a child which is not there, and does not end the game, makes that node. The simulation
   leaves the tree there, and so makes at most one node. From then on every step is one of the legal actions, uniformly:
   number `below(choice, legal)` in ascending order (a *rollout*).
3. When the game is over (by its rules, cut, or broken), what each seat earned since the root is added to W, and 1 to n,
   of every action that was chosen in the tree, for the seat that chose it. Seats of one team are paid alike, so each
   seeks its own return.

Q is on the scale of the bounds [lowest, highest] of the game's returns: middle = (lowest + highest) / 2 and half =
(highest - lowest) / 2. Where either bound is infinite, they are the lowest and highest return of any seat in the
simulations of this decision that are over. Q is 0 where half is 0. Returns are summed in float64, from the float32
rewards of each step in the order of play; `mix` and `below` are those of `games.keys` and `games.kernels`.

All games of a batch search in lockstep, one step of each at a time, but each on its own keys: a decision gets the same
move alone and among thousands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.core import Analysis, Choice, Context
from agents.forest import Forest, bytes_a_tree, finite
from agents.rules import UCT, Rule
from agents.scripted import one_of, refuse, why_not_searched
from agents.search import Leaves, Search
from agents.search_report import analysis, root_visits
from agents.walk import begin, step_key
from games import NO_ACTION, Decisions, Game, GameSpec, Keys, Rows, States
from games.kernels import below, kernel, mix_one
from games.keys import CHOICE, NATURE, SEARCH, mix

VERSION = 1  # of the definition above; belongs into the record of every player of this kind
MEMORY = 256 * 2**20  # bytes that the trees searched side by side may take
MOST = 1_000_000  # simulations: a tree of one game must fit into memory too


class MCTS:
    """UCT with `simulations` rollouts a move. Raises ValueError where `simulations` is not from 1 to `MOST`."""

    memory: tuple[int, ...] | None = None

    def __init__(self, simulations: int) -> None:
        if simulations < 1:
            raise ValueError(f"mcts needs at least 1 simulation a move, not {simulations}; mcts:100 is a fair start.")
        if simulations > MOST:
            raise ValueError(f"mcts can make at most {MOST:,} simulations a move, not {simulations:,}.")
        self.simulations = simulations

    @staticmethod
    def supports(spec: GameSpec) -> str | None:
        """Why it cannot play such a game, as a sentence; None where it can."""
        return why_not_searched(spec)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        """Choose for every active slot. Raises GameError where the game is not one that it `supports`."""
        visits = self.visits(decisions, context, keys)
        most = visits.max(axis=-1, keepdims=True)
        return Choice(one_of((visits == most) & (most > 0), mix(keys, CHOICE)))

    def visits(self, decisions: Decisions, context: Context, keys: Keys) -> NDArray[np.int32]:
        """How many simulations chose each action at the root, [B, S, A]; 0 where a slot is not active."""
        game, spec = context.game, context.game.spec
        refuse("mcts", self.supports(spec))
        visits = np.zeros((*decisions.active.shape, spec.actions), np.int32)
        rows = decisions.active[:, 0].nonzero()[0]
        nodes = self.simulations + 1
        together = max(1, MEMORY // bytes_a_tree(spec, nodes, spec.actions * nodes))
        for first in range(0, len(rows), together):
            part = rows[first : first + together]
            forest = search(game, context.states, context.rows[part], keys[part, 0], self.simulations)
            visits[part, 0] = root_visits(forest, np.arange(len(part)), spec.actions)
        return visits

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis:
        """What a search of the one decision in `decisions` found."""
        refuse("mcts", self.supports(context.game.spec))
        return analysis(search(context.game, context.states, context.rows, keys[:, 0], self.simulations), 0)


def search(game: Game, states: States, rows: Rows, keys: Keys, simulations: int) -> Forest:
    """The trees of a search from each of `rows` [n] of `states`, none of them over, by `keys` [n]."""
    spec, n = game.spec, len(rows)
    trees = Search(game, n, simulations + 1, Rule(UCT, running=not finite(spec)), play_on, blind=True)
    roots = game.decisions(game.copy(states, rows), Decisions.empty(spec, n, blind=True))
    nothing = np.empty((0, spec.actions), np.float32), np.zeros((n, spec.seats))
    trees.set_roots(np.arange(n), states, rows, roots.seat[:, 0], roots.legal[:, 0], *nothing)
    begin(trees.forest, trees.rule, np.arange(n), np.full(n, simulations))
    trees.run(np.arange(n), keys, states, rows)
    return trees.forest


def play_on(leaves: Leaves) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Evaluate by a rollout: what each seat earned, from the root to the end, in random play from the leaf on."""
    game, forest = leaves.game, leaves.forest
    boards = game.copy(leaves.boards, leaves.rows)
    earned = forest.earned[leaves.trees, forest.at[leaves.trees]]
    decisions = Decisions.empty(game.spec, len(earned), blind=True)
    actions, nature = np.zeros((len(earned), 1), np.int64), np.zeros(len(earned), np.uint64)
    search_keys = mix(leaves.keys, SEARCH)
    step = 0
    game.decisions(boards, decisions)
    while _roll(forest, leaves.trees, search_keys, step, decisions.legal, decisions.active, actions, nature):
        outcome = game.step(boards, actions, nature)
        earned += outcome.reward
        game.decisions(boards, decisions)
        step += 1
    return np.empty((0, game.spec.actions), np.float32), earned


@kernel
def _roll(
    forest: Forest,
    trees: NDArray[np.int64],
    search: NDArray[np.uint64],
    step: int,
    legal: NDArray[np.bool_],
    active: NDArray[np.bool_],
    actions: NDArray[np.int64],
    nature: NDArray[np.uint64],
) -> int:
    """A random action [n, 1] and nature's key [n] for step `step` after the leaf, where a game goes on; how many do."""
    going = 0
    for i in range(len(trees)):
        actions[i, 0] = NO_ACTION
        if not active[i, 0]:
            continue
        going += 1
        tree = trees[i]
        key = step_key(search[i], forest.done[tree], forest.length[tree] + step)
        nature[i] = mix_one(key, np.uint64(NATURE))
        count = 0
        for action in range(legal.shape[2]):
            count += legal[i, 0, action]
        left = below(mix_one(key, np.uint64(CHOICE)), count)
        for action in range(legal.shape[2]):
            if legal[i, 0, action]:
                if left == 0:
                    actions[i, 0] = action
                    break
                left -= 1
    return going
