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

from itertools import count

import numpy as np
from numpy.typing import NDArray

from agents.core import Choice, Context
from agents.mcts_kernels import Forest, arrive, back_up, bytes_a_decision, choose, finite
from agents.scripted import one_of, refuse, why_not_searched
from games import NO_ACTION, Decisions, Game, GameSpec, Keys, Rows, States
from games.keys import CHOICE, SEARCH, mix

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
        together = max(1, MEMORY // bytes_a_decision(spec, self.simulations))
        for first in range(0, len(rows), together):
            part = rows[first : first + together]
            visits[part, 0] = search(game, context.states, context.rows[part], keys[part, 0], self.simulations)
        return visits


def search(game: Game, states: States, rows: Rows, keys: Keys, simulations: int) -> NDArray[np.int32]:
    """Root visits [n, A] of a search from each of `rows` [n] of `states`, none of them over, by `keys` [n]."""
    spec, batch = game.spec, len(rows)
    forest = Forest.plant(spec, batch, simulations)
    decisions = Decisions.empty(spec, batch)
    legal, seat, active = decisions.legal, decisions.seat, decisions.active
    actions = np.full((batch, 1), NO_ACTION, np.int64)
    nature = np.zeros(batch, np.uint64)
    search_keys = mix(keys, SEARCH)
    running = not finite(spec)
    for simulation in range(simulations):
        boards = game.copy(states, rows)
        game.decisions(boards, decisions)
        for depth in count():
            if not choose(forest, legal, seat, active, search_keys, simulation, depth, actions, nature):
                break
            outcome = game.step(boards, actions, nature)
            game.decisions(boards, decisions)
            arrive(forest, actions, outcome.reward, outcome.chance, active)
        back_up(forest, running)
    return forest.visits[:, 0]
