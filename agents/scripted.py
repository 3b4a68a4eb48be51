"""Agents without a network that need no tree either: `Random`, and `Greedy`, which looks one move ahead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.core import Choice, Context
from games import NO_ACTION, Decisions, GameError, GameSpec, Keys
from games.keys import CHOICE, SEARCH, mix


def one_of(options: NDArray[np.bool_], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """One of the marked `options` [..., A], each as likely, by `keys` [...]; `NO_ACTION` where none is marked.

    Of n marked options in ascending order it is number `games.kernels.below(key, n)`.
    """
    rank = options.cumsum(axis=-1)
    count = rank[..., -1].astype(np.uint64)
    drawn = ((keys >> np.uint64(32)) * count >> np.uint64(32)).astype(np.int64)
    chosen: NDArray[np.int64] = np.where(count > 0, (rank > drawn[..., None]).argmax(axis=-1), NO_ACTION)
    return chosen


class Random:
    """Plays any legal action, each as likely."""

    memory: tuple[int, ...] | None = None

    @staticmethod
    def supports(spec: GameSpec) -> str | None:
        """Why it cannot play such a game; None, as it plays them all."""
        return None

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        return Choice(one_of(decisions.legal & decisions.active[..., None], mix(keys, CHOICE)))


class Greedy:
    """Plays the action that earns its seat the most at once, any of them where several do.

    Every legal action is tried once on a copy of the game. Where chance has a say it is a throw of the agent's own,
    not the one that nature holds ready.
    """

    memory: tuple[int, ...] | None = None

    @staticmethod
    def supports(spec: GameSpec) -> str | None:
        """Why it cannot play such a game, as a sentence; None where it can."""
        return why_not_searched(spec)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        """Choose for every active slot. Raises GameError where the game is not one that it `supports`."""
        game = context.game
        refuse("greedy", self.supports(game.spec))
        legal = decisions.legal & decisions.active[..., None]
        row, slot, action = legal.nonzero()  # every (game, slot, legal action), tried in one flat batch
        tried = game.copy(context.states, context.rows[row])
        outcome = game.step(tried, action[:, None], mix(keys[row, slot], SEARCH, action))
        earned = np.full(legal.shape, -np.inf)
        earned[row, slot, action] = outcome.reward[np.arange(len(row)), decisions.seat[row, slot]]
        best = legal & (earned == earned.max(axis=-1, keepdims=True))
        return Choice(one_of(best, mix(keys, CHOICE)))


def why_not_searched(spec: GameSpec) -> str | None:
    """Why no agent can look ahead in such a game on copies of it, as a sentence; None where one can."""
    if not spec.searchable:
        return f"{spec.name} cannot be looked ahead in: its states cannot be copied."
    if spec.simultaneous:
        return f"{spec.name} cannot be looked ahead in: its seats act at once, and this looks ahead one move at a time."
    if not spec.perfect_information:
        return f"{spec.name} cannot be looked ahead in: a copy of it holds what the seat to move may not see."
    return None


def refuse(agent: str, reason: str | None) -> None:
    """Raise GameError where there is a `reason` for which `agent` cannot play."""
    if reason is not None:
        raise GameError(f"{agent} cannot play here. {reason} Agents that learn, and random, can play it.")
