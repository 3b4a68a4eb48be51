"""Whom a learner meets next: pure functions of the payoff and a key.

A `Mix` gives each rule its share of the games. The rules:

    self_play   the learner itself, as it is now
    latest      its own newest snapshot
    uniform     any snapshot of the league, all alike: fictitious self-play (Heinrich, Lanctot and Silver 2015)
    pfsp        any snapshot, weighted by how it fares: prioritised fictitious self-play (Vinyals et al. 2019)
    fixed       any scripted or imported member, all alike
    live        any other learner, as it is now

A rule that has nobody to offer (no snapshot yet, no scripted member) gives way to self_play, so every share is played
from the first game on. In a game with more than two teams each other team's player is drawn independently; in a game
with one team there is nobody to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from games.keys import OPENING, mix, uniform
from games.names import did_you_mean
from leagues.payoff import Payoff

Chances = NDArray[np.float64]

# AlphaStar's f, of x = P(the learner beats them).
WEIGHTINGS: dict[str, Callable[[Chances], Chances]] = {
    "squared": lambda x: (1 - x) ** 2,  # the hardest: f_hard with p = 2
    "variance": lambda x: x * (1 - x),  # those of its own strength
    "linear": lambda x: 1 - x,
    "linear_capped": lambda x: np.minimum(0.5, 1 - x),  # the harder half all alike
}


def pfsp(scores: Chances, weighting: str = "squared") -> Chances:
    """How often to meet each opponent [N], from the learner's chances to beat it [N]; sums to 1.

    Uniform where the weights vanish (all beaten), as in AlphaStar's pseudocode: less than 1e-10 in all.
    """
    weights = WEIGHTINGS[weighting](np.clip(np.asarray(scores, np.float64), 0, 1))
    total = weights.sum()
    return _even(len(weights)) if total < 1e-10 else weights / total


@dataclass(frozen=True, slots=True)
class Pool:
    """Whom one learner could meet."""

    learner: str
    payoff: Payoff
    snapshots: Sequence[str] = ()  # frozen learners, of the whole league, oldest first
    own: Sequence[str] = ()  # those of them that are this learner's
    fixed: Sequence[str] = ()  # frozen, but never a learner here: scripted or imported
    live: Sequence[str] = ()  # the other learners


def _even(count: int) -> Chances:
    return np.full(count, 1 / max(count, 1))


def _alike(names: Sequence[str]) -> tuple[Sequence[str], Chances]:
    return names, _even(len(names))


def _prioritised(pool: Pool, weighting: str) -> tuple[Sequence[str], Chances]:
    return pool.snapshots, pfsp(np.array([pool.payoff.score(pool.learner, name) for name in pool.snapshots]), weighting)


# A rule says who may be met, and how often: names [N] and chances [N].
RULES: dict[str, Callable[[Pool, str], tuple[Sequence[str], Chances]]] = {
    "self_play": lambda pool, weighting: _alike([pool.learner]),
    "latest": lambda pool, weighting: _alike(pool.own[-1:]),
    "uniform": lambda pool, weighting: _alike(pool.snapshots),
    "pfsp": _prioritised,
    "fixed": lambda pool, weighting: _alike(pool.fixed),
    "live": lambda pool, weighting: _alike(pool.live),
}


@dataclass(frozen=True, slots=True)
class Mix:
    """How a learner's games are shared out among the rules; shares need not sum to 1."""

    shares: Mapping[str, float]
    weighting: str = "squared"  # of pfsp
    opening: int = 0  # its games begin with random plies, evenly from none to so many: positions it would not reach

    def __post_init__(self) -> None:
        for rule, share in self.shares.items():
            if rule not in RULES:
                raise ValueError(f"There is no matchmaking rule {rule!r}.{did_you_mean(rule, RULES)}")
            if not (isfinite(share) and share >= 0):
                raise ValueError(f"The share of {rule} must be a number of at least 0, not {share}.")
        if not sum(self.shares.values()) > 0:
            raise ValueError(f"The shares {dict(self.shares)} sum to nothing: give at least one rule a share above 0.")
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"There is no weighting {self.weighting!r}.{did_you_mean(self.weighting, WEIGHTINGS)}")
        if self.opening < 0:
            raise ValueError(f"An opening has at least 0 plies, not {self.opening}.")

    def draw(self, pool: Pool, key: int) -> str:
        """One opponent: a rule by its share, then a player by the rule."""
        rules = list(RULES)  # in an order of ours: that of a config file means nothing
        rule = rules[pick(np.array([self.shares.get(rule, 0.0) for rule in rules]), int(mix(key, 0)))]
        names, chances = RULES[rule](pool, self.weighting)
        return names[pick(chances, int(mix(key, 1)))] if names else pool.learner

    def plies(self, key: int) -> int:
        """How many random plies a game begins with."""
        return int(mix(key, OPENING) % np.uint64(self.opening + 1))

    def opponents(self, pool: Pool, count: int, key: int) -> tuple[str, ...]:
        """The players of the `count` other teams, drawn independently."""
        return tuple(self.draw(pool, int(mix(key, team))) for team in range(count))


def pick(weights: Chances, key: int) -> int:
    """An index, as often as its share of weights [N]; never one whose weight is 0."""
    edges = np.cumsum(weights)
    point = float(uniform(np.asarray(key, np.uint64))) * edges[-1]
    return int(np.searchsorted(edges, point, side="right"))
