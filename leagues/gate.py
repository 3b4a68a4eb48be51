"""Which snapshot is the best, by a sequential test: the newest challenges the best until it is plain who stays.

A challenge is a series of paired matches (same opening and luck, seats swapped), so its sample is the score of a pair,
0 to 2 points, and games that depend on their opening are no more certain than they should be (the pentanomial of
chess-engine testing). Where sides have roles, the points are those of its two comparisons by side. The test is Wald's
sequential probability ratio test (1945) of `elo1` against `elo0` in its generalised form, with the variance taken from
the sample (GSPRT; Van den Bergh for Stockfish's fishtest, after Li, Liu and Ying 2014), which is

    LLR = N (s1 - s0) (2 s - s0 - s1) / (2 var),    s0, s1: the scores that elo0 and elo1 promise

of N pairs whose scores, as shares of 2 points, have the mean s and the variance var. It is looked at after each match:
at log((1 - beta) / alpha) the challenger is the best from then on; at log(beta / (1 - alpha)), or after `most` games,
the best stays. A player of `elo0` gets through at most about once in 1 / alpha challenges; one of `elo1` is turned away
about once in 1 / beta, and where `most` ends it first.

A pure function of the ledger, as the league is, and nothing that learns asks for it. A match of the ledger says who was
the best when it was drawn, so what was decided stays decided where a resumed run asks for another test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite, log

import numpy as np
from numpy.typing import NDArray

from leagues.core import Match, Player, Result
from leagues.ledger import Ledger
from leagues.payoff import Comparisons

PAIR_SCORES = np.arange(5) / 4
"""The scores of a pair as shares of its 2 points: two losses first, two wins last."""


@dataclass(frozen=True, slots=True)
class GateRule:
    """The two hypotheses, how often each may be taken wrongly, and how long to ask."""

    elo0: float = 0.0  # of the challenger above the best: no better than this, and it is turned away
    elo1: float = 35.0  # so much better, and it is the best
    alpha: float = 0.05  # the chance that a challenger of elo0 gets through
    beta: float = 0.05  # the chance that one of elo1 does not
    games: int = 40  # of one match; the test is looked at between matches
    most: int = 400  # games of one challenge, after which the best stays

    def __post_init__(self) -> None:
        if not (isfinite(self.elo0) and isfinite(self.elo1) and self.elo0 < self.elo1):
            raise ValueError(f"`elo0` must be below `elo1`, and both finite, not {self.elo0} and {self.elo1}.")
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < value < 0.5:
                raise ValueError(f"`{name}` is the chance of an error, above 0 and below 0.5, not {value}.")
        if self.games < 2 or self.games % 2:
            raise ValueError(f"`games` of a match come in pairs: give an even number of at least 2, not {self.games}.")
        if self.most < self.games:
            raise ValueError(f"`most` ({self.most}) must be at least the `games` of one match ({self.games}).")

    @property
    def bounds(self) -> tuple[float, float]:
        """The log-likelihood ratios at which elo0 and elo1 are taken."""
        return log(self.beta / (1 - self.alpha)), log((1 - self.beta) / self.alpha)

    @property
    def matches(self) -> int:
        """The most matches that one challenge takes."""
        return -(-self.most // self.games)


def llr(counts: NDArray[np.int64], elo0: float, elo1: float) -> NDArray[np.float64]:
    """How much likelier `elo1` is than `elo0`, as a logarithm, [...], from pairs counted by their score [..., 5].

    The counts are those of `PAIR_SCORES`. One virtual pair, half its points off the mean, is part of the variance, so
    that pairs that were all alike do not look certain at once; that 100 to 0 ends a challenge it does not prevent.
    """
    pairs = counts.sum(axis=-1)
    mean = counts @ PAIR_SCORES / np.maximum(pairs, 1)
    squares = (counts * (PAIR_SCORES - mean[..., None]) ** 2).sum(axis=-1)
    variance = (squares + 0.25) / (pairs + 1)
    low, high = expected_score(elo0), expected_score(elo1)
    ratio: NDArray[np.float64] = pairs * (high - low) * (2 * mean - low - high) / (2 * variance)
    return ratio


def expected_score(elo: float) -> float:
    """The share of points that `elo` more than the opponent promises."""
    return float(1 / (1 + 10 ** (-elo / 400)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a challenge ended."""

    challenger: str
    best: str  # who was the best before
    moved: bool  # whether the challenger is now
    games: int
    score: float  # the challenger's share of the points
    llr: float


class Gate:
    """The best snapshot of a league, and who challenges it."""

    def __init__(self, teams: Sequence[int], rule: GateRule, roles: bool = False) -> None:
        if len(set(teams)) != 2:
            raise ValueError(f"A challenge needs two teams, but the seats are on {len(set(teams))}: {list(teams)}.")
        self.rule = rule
        self.best: str | None = None  # the first snapshot, until another beats it; None before there is one
        self.verdicts: list[Verdict] = []
        self._comparisons = Comparisons(teams, roles)
        self._live: set[str] = set()
        self._entered: dict[str, int] = {}  # snapshot -> its place in the order of entry
        self._pair: tuple[str, ...] = ()  # of the last challenge: challenger, best
        self._open = False  # whether it goes on
        self._last = 0  # the place of the last challenger
        self._counts = np.zeros(5, np.int64)  # its pairs by score
        self._games = 0

    @classmethod
    def of(cls, ledger: Ledger, rule: GateRule, upto: int | None = None, roles: bool = False) -> Gate:
        """The gate after all gate matches of `ledger`, up to sequence number `upto`."""
        gate = cls(ledger.teams, rule, roles)
        for player in ledger.players(upto).values():
            gate.enter(player)
        gate.record_all((match, result) for _, match, result in ledger.results({"gate"}, upto=upto))
        return gate

    def enter(self, player: Player) -> None:
        """A new member of the league, in its order; snapshots of its learners are the candidates."""
        if player.live:
            self._live.add(player.id)
        elif player.parent in self._live:
            self._entered.setdefault(player.id, len(self._entered))
            self.best = self.best or player.id

    def challenge(self) -> tuple[str, str] | None:
        """Who should meet whom in the next match, (challenger, best); None where nobody challenges.

        A challenge goes on until it is decided; then comes the newest snapshot, unless it has had its turn.
        """
        if self._open:
            return self._pair[0], self._pair[1]
        newest = next(reversed(self._entered), None)
        if self.best is None or newest is None or self._entered[newest] <= self._last:
            return None
        return newest, self.best

    def record_all(self, results: Iterable[tuple[Match, Result]]) -> list[Verdict]:
        """Learn from whole matches, in the ledger's order; others than gate matches change nothing. What they decided.

        A match is one run of results here: its games are only judged together, as the short ones end first.
        """
        before = len(self.verdicts)
        ours = (
            (match, result)
            for match, result in results
            if match.purpose == "gate" and match.paired and all(name in self._entered for name in match.players)
        )
        for _, group in groupby(ours, key=lambda told: told[0].id):
            told = list(group)
            self._take(told[0][0], [result for _, result in told])
        return self.verdicts[before:]

    def _take(self, match: Match, results: list[Result]) -> None:
        challenger, best = match.players
        if match.players != self._pair:
            self._pair, self._counts, self._games = match.players, np.zeros(5, np.int64), 0
            self._last = max(self._last, self._entered[challenger])
        self.best, self._open = best, True
        self._games += len(results)
        self._counts += self._pairs(match, results)
        ratio = float(llr(self._counts, self.rule.elo0, self.rule.elo1))
        low, high = self.rule.bounds
        if low < ratio < high and self._games < self.rule.most:
            return
        self._open, moved = False, ratio >= high
        self.best = challenger if moved else best
        score = float(self._counts @ PAIR_SCORES) / max(int(self._counts.sum()), 1)
        self.verdicts.append(Verdict(challenger, best, moved, self._games, score, ratio))

    def _pairs(self, match: Match, results: list[Result]) -> NDArray[np.int64]:
        """Pairs of games by the challenger's score [5]; a game whose other half broke is left out."""
        challenger, points = match.players[0], dict[int, list[int]]()
        for result in results:
            for (first, _), (earned, other) in self._comparisons.rows(match, result):
                lead = (earned > other) - (earned < other)
                points.setdefault(result.game // 2, []).append(1 + (lead if first == challenger else -lead))
        return np.bincount([sum(pair) for pair in points.values() if len(pair) == 2], minlength=5)
