"""AlphaZero as a player: a network, and tree search with it (Silver et al. 2018, doi 10.1126/science.aar6404).

A decision:

    1. the trees of games that went on as expected are kept from the last decision; the other roots are evaluated
    2. in training: noise at the root, and for some decisions only a cheap search (playout-cap randomisation, KataGo)
    3. simulations (`agents.search`) by Gumbel's rule or PUCT (`agents.rules`), leaves evaluated by the network
    4. the action: what the search holds best, or drawn at a temperature; for the learner, the search's policy

Any game that can be copied and is turn-based, with two or more seats, chance, or one seat. Games of imperfect
information only where the config says `determinise`. Its learner is `agents.alphazero_learner`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.alphazero_config import AlphaZeroConfig, SearchConfig
from agents.core import Analysis, Choice, Context, History, Weights
from agents.forest import advance, bytes_a_tree, finite
from agents.inference import Evaluator, resolve
from agents.roots import add_dirichlet, add_gumbel, decide, draw, totals
from agents.rules import GUMBEL, PUCT, Rule, halving
from agents.sampling import sample
from agents.scripted import refuse, why_not_searched
from agents.search import Leaves, Search
from agents.search_report import analysis
from agents.walk import begin
from games import NO_ACTION, Decisions, Game, GameSpec, Keys, Rows, States
from games.keys import CHOICE, mix, uniform

Network = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Observations [n, *O] to logits [n, A] and values [n, P], the mover's first."""

MEMORY = 512 * 2**20  # bytes that trees take which are not kept: of more decisions, one lot after another is searched
USUAL_WIDTH = 40  # legal actions for which a tree has room at first, where a game has more


def supports(spec: GameSpec, config: AlphaZeroConfig | None = None) -> str | None:
    """Why AlphaZero cannot play this game; None where it can, perhaps only with `determinise`."""
    reason = why_not_searched(spec)
    if reason is None or spec.perfect_information or not spec.searchable or spec.simultaneous:
        return reason
    if not spec.resamples:
        return f"{reason} It offers no other worlds that the seat could not tell apart, to search in instead."
    if config is not None and not config.search.determinise:
        return f"{reason} Set agent.search.determinise to search in sampled worlds that it cannot tell apart."
    return None


@dataclass(frozen=True, slots=True)
class _Found:
    """What n decisions came to."""

    action: NDArray[np.int64]  # [n]
    target: NDArray[np.float32]  # [n, A] the policy that the search would teach
    value: NDArray[np.float32]  # [n] what the mover returns from here, in the game's own units
    surprise: NDArray[np.float32]  # [n] KL(target || prior) in nats
    full: NDArray[np.bool_]  # [n] False: only a cheap search


@dataclass(slots=True)
class _Kept:
    """Trees from one decision to the next, one for each row of the states."""

    search: Search
    keys: NDArray[np.uint64]  # [B] of which game
    steps: NDArray[np.int64]  # [B] where its root stands


class AlphaZeroPolicy:
    """The network with its search. `explore`: as in training, with noise and cheap searches.

    `simulations` 0 plays the network alone. `network` answers in place of one made here from the weights.
    """

    memory: tuple[int, ...] | None = None

    def __init__(
        self,
        spec: GameSpec,
        config: AlphaZeroConfig,
        weights: Weights,
        *,
        simulations: int | None = None,
        temperature: float | None = None,
        explore: bool = False,
        rows: int = 256,
        network: Network | None = None,
    ) -> None:
        self.spec, self.explore = spec, explore
        search = config.search
        if simulations is not None:
            search = search.model_copy(update={"simulations": simulations})
        self.config: SearchConfig = search
        self.temperature = config.temperature if temperature is None else temperature
        self.network: Network = network or Evaluator(
            spec,
            config.network,
            {name.removeprefix("net."): array for name, array in weights.items() if name.startswith("net.")},
            backend=resolve(config.inference, fallback=True)[0],
            rows=rows,
            normalise=config.normalise_observations,
            cache=config.cache,
        )
        self._spread = float(np.sqrt(weights["value_norm.variance"] + 1e-6))
        self._mean = float(weights["value_norm.mean"])
        self._reuse = search.reuse and spec.perfect_information
        self.rule = rule_of(search, spec, explore=explore)
        self._cheap = min(search.cheap_simulations, search.simulations)  # trees have no room for more
        self._refusal = supports(spec, config)
        budgets = {search.simulations, self._cheap} if explore else {search.simulations}
        self._halving = {budget: schedules(search.considered, budget) for budget in budgets}

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        """Choose for every active slot. Raises GameError where the game is not one that can be searched."""
        refuse("alphazero", self._refusal)
        rows = decisions.active[:, 0].nonzero()[0]
        n, actions = len(rows), self.spec.actions
        found = _Found(
            action=np.full(n, NO_ACTION, np.int64),
            target=np.zeros((n, actions), np.float32),
            value=np.zeros(n, np.float32),
            surprise=np.zeros(n, np.float32),
            full=np.ones(n, np.bool_),
        )
        if self.config.simulations == 0:
            self._at_first_sight(decisions, rows, keys[rows, 0], found)
        else:
            self._search(decisions, context, rows, keys[rows, 0], found)
        action = np.full(decisions.active.shape, NO_ACTION, np.int64)
        action[rows, 0] = found.action
        if not self.explore:
            return Choice(action)
        extras: dict[str, NDArray[Any]] = {}
        for name in ("target", "value", "surprise", "full"):
            part = getattr(found, name)
            extras[name] = np.zeros((len(action), 1, *part.shape[1:]), part.dtype)
            extras[name][rows, 0] = part
        return Choice(action, extras)

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis:
        """What it thinks of the one decision in `decisions`."""
        refuse("alphazero", self._refusal)
        search = self._new(context.game, 1)
        trees = np.zeros(1, np.int64)
        self._set_roots(search, trees, decisions, trees, context.states, context.rows)
        self._begin(search, trees, np.full(1, self.config.simulations), keys[:, 0], np.zeros(1, np.bool_))
        search.run(trees, keys[:, 0], context.states, context.rows)
        return analysis(search.forest, 0)

    # ---- a decision ------------------------------------------------------------------------------------------------

    def _search(self, decisions: Decisions, context: Context, rows: Rows, keys: Keys, found: _Found) -> None:
        kept, history = None, context.history
        if context.scratch is not None and history is not None and self._reuse:
            kept = context.scratch.get("trees")
            if kept is None:
                count = len(history.keys)
                search = self._new(context.game, count, 2 * self.config.simulations)
                kept = _Kept(search, history.keys.copy(), np.zeros(count, np.int64))
                context.scratch["trees"] = kept
        if kept is not None and history is not None:
            self._go_on(kept, history, context.rows[rows])
            self._lot(kept.search, context.rows[rows], decisions, context, rows, keys, found, slice(0, len(rows)))
            return
        nodes = self.config.simulations + 1
        together = max(1, MEMORY // bytes_a_tree(self.spec, nodes, nodes * min(self.spec.actions, USUAL_WIDTH)))
        for first in range(0, len(rows), together):
            lot = slice(first, min(first + together, len(rows)))
            trees = np.arange(lot.stop - lot.start)
            self._lot(self._new(context.game, len(trees)), trees, decisions, context, rows[lot], keys[lot], found, lot)

    def _go_on(self, kept: _Kept, history: History, trees: NDArray[np.int64]) -> None:
        """Move the trees of games that went on since to where they are now; clear the others."""
        forest = kept.search.forest
        other = (kept.keys[trees] != history.keys[trees]) | (kept.steps[trees] > history.steps[trees])
        forest.nodes[trees[other]] = 0
        since, steps = kept.steps[trees], history.steps[trees]
        moves, chance = history.moves[trees], history.chance[trees]
        advance(forest, trees, since, steps, moves, chance, self.config.simulations)
        kept.keys[trees], kept.steps[trees] = history.keys[trees], steps

    def _lot(
        self,
        search: Search,
        trees: NDArray[np.int64],
        decisions: Decisions,
        context: Context,
        rows: Rows,
        keys: Keys,
        found: _Found,
        lot: slice,
    ) -> None:
        """Search the decisions in `rows` in `trees`, and write what was found into the part `lot` of `found`."""
        fresh = search.forest.nodes[trees] == 0
        if fresh.any():
            new = rows[fresh]
            self._set_roots(search, trees[fresh], decisions, new, context.states, context.rows[new])
        budget = np.full(len(trees), self.config.simulations)
        if self.explore and self.config.cheap > 0:
            found.full[lot] = uniform(mix(keys, CHOICE, 1)) >= self.config.cheap
            budget[~found.full[lot]] = self._cheap
        early = self._early(context, rows)
        self._begin(search, trees, budget, keys, early)
        search.run(trees, keys, context.states, context.rows[rows])
        part = found.target[lot], found.value[lot], found.surprise[lot], found.action[lot]
        decide(search.forest, self.rule, trees, np.zeros(self.spec.actions), *part)
        draw(found.target[lot], self._temperatures(early), uniform(mix(keys, CHOICE)), found.action[lot])

    def _set_roots(
        self, search: Search, trees: NDArray[np.int64], decisions: Decisions, rows: Rows, states: States, at: Rows
    ) -> None:
        seat, forest = decisions.seat[rows, 0], search.forest
        logits, value = self.network(decisions.observation[rows, 0])
        forest.at[trees] = 0
        forest.earned[trees, 0] = 0.0
        returns = totals(forest, trees, seat, value, self._spread, self._mean)
        search.set_roots(trees, states, at, seat, decisions.legal[rows, 0], logits, returns)

    def _begin(
        self,
        search: Search,
        trees: NDArray[np.int64],
        budget: NDArray[np.int64],
        keys: Keys,
        early: NDArray[np.bool_],
    ) -> None:
        """Budgets, schedules and noise of the searches that follow; Gumbel noise for `early` ones."""
        forest, config = search.forest, self.config
        begin(forest, self.rule, trees, budget)
        if config.rule == "gumbel":
            considered = np.minimum(forest.width[trees, 0], config.considered)
            for simulations in np.unique(budget).tolist():
                mine = budget == simulations
                forest.considered[trees[mine], :simulations] = self._halving[simulations][considered[mine]]
        if not self.explore:
            return
        noise = mix(keys, CHOICE, 2)
        if config.rule == "gumbel":
            add_gumbel(forest, trees[early], noise[early])
        else:
            full = budget == config.simulations
            add_dirichlet(forest, trees[full], noise[full], config.noise_total)

    def _temperatures(self, early: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not self.explore:
            return np.full(len(early), self.temperature)
        if self.config.rule == "gumbel":
            return np.zeros(len(early))  # its noise has varied the choice
        return np.where(early, 1.0, 0.0)

    def _early(self, context: Context, rows: Rows) -> NDArray[np.bool_]:
        """Which decisions are among the first of a game in training, where choices are to vary."""
        if context.history is None:
            return np.ones(len(rows), np.bool_)
        early: NDArray[np.bool_] = context.history.steps[context.rows[rows]] < self.config.sampled_moves
        return early

    def _at_first_sight(self, decisions: Decisions, rows: Rows, keys: Keys, found: _Found) -> None:
        logits, value = self.network(decisions.observation[rows, 0])
        found.action[:], _ = sample(logits, decisions.legal[rows, 0], mix(keys, CHOICE), self.temperature)
        found.value[:] = value[:, 0] * self._spread + self._mean

    def _evaluate(self, leaves: Leaves) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        logits, value = self.network(leaves.observation)
        return logits, totals(leaves.forest, leaves.trees, leaves.seat, value, self._spread, self._mean)

    def _new(self, game: Game, trees: int, kept: int = 0) -> Search:
        """Room for `trees`, each of one search and of `kept` nodes from earlier ones."""
        nodes = self.config.simulations + kept + 1
        hidden = not self.spec.perfect_information
        edges = nodes * min(self.spec.actions, USUAL_WIDTH)
        return Search(game, trees, nodes, self.rule, self._evaluate, determinise=hidden, edges=edges)


def rule_of(config: SearchConfig, spec: GameSpec, *, explore: bool) -> Rule:
    """What a search by `config` selects by; in training, `explore`, with noise."""
    return Rule(
        kind=GUMBEL if config.rule == "gumbel" else PUCT,
        running=not finite(spec),
        c_init=config.c_init,
        c_base=config.c_base,
        fpu=config.fpu,
        noise=config.noise if explore else 0.0,
        c_visit=config.c_visit,
        c_scale=config.c_scale,
        rescale=config.rescale,
    )


def schedules(considered: int, simulations: int) -> NDArray[np.int32]:
    """`halving` for every number of actions up to `considered`: [considered + 1, simulations]."""
    return np.stack([halving(actions, simulations) for actions in range(considered + 1)])
