"""Who beats whom: a running tally for each pair of players, a pure function of the results in their order.

As in AlphaStar's league (Vinyals et al. 2019, the released pseudocode): wins, draws and losses of a pair are multiplied
by `decay` each time the pair meets, and an unplayed pair scores 1/2. Here a pair decays only where one of the two is
live: two frozen players are a fixed coin, and every game of theirs counts in full.

What is compared is said in one place, `Comparisons`, for win rates, ratings and the gate alike. More than two returns
are read pairwise: of two the higher won.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leagues.core import Match, Purpose, Result
from leagues.ledger import Ledger

TRAINING: tuple[Purpose, ...] = ("train",)
_Z = 1.959964  # the normal distribution's 97.5% point

Row = tuple[list[str], list[float]]
"""Players, and the return of each: as many as there are teams, to be compared with one another."""

MOST_WAITING = 2**16
"""Round trips that wait for a game at once: more than are ever under way, so the oldest of so many waits in vain."""


class Comparisons:
    """Turns results, told in the ledger's order, into rows of returns that may be compared.

    A team's return is the mean over its seats. Where the sides are alike, a game is a row: each team's player and
    return, in the order of teams.

    Where sides have `roles` (see `GameSpec`), who returned more in a game says nothing of skill: hunters catch. There
    each side of a round trip is a row, as in duplicate bridge: what each player returned on that side, in the order of
    the games. The rows of a round trip come with the last of its games; if one was void, there are none. In a paired
    match its games share luck; in others, as in training, they do not, and the comparison is as fair but noisier.
    """

    def __init__(self, teams: Sequence[int], roles: bool = False) -> None:
        self._count, self._seats = len(teams), seats_of_teams(teams)
        self._roles = roles
        self._waiting: dict[tuple[int, int], dict[int, Row]] = {}  # match and round trip -> its games told so far

    def rows(self, match: Match, result: Result) -> list[Row]:
        """What can be compared now that `result` is told. Raises ValueError where it has not one return for each seat.

        A truncated game counts by its returns so far.
        """
        players, returns, teams = match.players, result.returns, len(self._seats)
        if len(returns) != self._count:
            raise ValueError(
                f"Game {result.game} of match {result.match} has {len(returns)} returns, but the game has {self._count}"
                " seats: was it played with another game's rules?"
            )
        game = (
            [players[(team + result.game) % teams] for team in range(teams)],
            [sum([returns[seat] for seat in seats]) / len(seats) for seats in self._seats],
        )
        return self._round_trip(match.id, result.game, game) if self._roles else [game]

    def _round_trip(self, match: int, number: int, game: Row) -> list[Row]:
        teams = len(self._seats)
        trip = match, number // teams
        told = self._waiting.setdefault(trip, {})
        told[number % teams] = game
        if len(told) < teams:
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            return []
        del self._waiting[trip]
        games = [told[place] for place in range(teams)]
        return [([names[side] for names, _ in games], [returns[side] for _, returns in games]) for side in range(teams)]


class Tally(NamedTuple):
    """One side's games against one opponent; weights where they are decayed, counts where not."""

    wins: float
    draws: float
    losses: float

    @property
    def games(self) -> float:
        return self.wins + self.draws + self.losses


@dataclass(slots=True)
class _Pair:
    """Seen from the side of the first of the pair, in alphabetical order."""

    decay: float
    wins: float = 0.0
    draws: float = 0.0
    losses: float = 0.0
    squares: float = 0.0  # sum of the squared weights of the games
    raw_wins: int = 0
    raw_draws: int = 0
    raw_losses: int = 0


class Payoff:
    """The tally of every pair that has met. `live` are the players who still learn.

    What it counts as a game is a comparison: where sides have `roles`, one for each side of a whole round trip.
    """

    def __init__(
        self, teams: Sequence[int], live: Collection[str] = (), decay: float = 0.99, roles: bool = False
    ) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"A payoff's decay is above 0 and at most 1, not {decay}.")
        self._comparisons = Comparisons(teams, roles)
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self.decay = decay
        self.live = set(live)

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        upto: int | None = None,
        purposes: Collection[Purpose] | None = TRAINING,
        decay: float = 0.99,
        roles: bool = False,
    ) -> Payoff:
        """The payoff after all results of these purposes (None: of any), up to sequence number `upto`."""
        live = [player.id for player in ledger.players(upto).values() if player.live]
        payoff = cls(ledger.teams, live, decay, roles)
        payoff.record_all((match, result) for _, match, result in ledger.results(purposes, upto=upto))
        return payoff

    def record(self, match: Match, result: Result) -> None:
        """Count one game. A player who met itself learns nothing about anyone."""
        for names, returns in self._comparisons.rows(match, result):
            for (first, earned), (second, other) in combinations(zip(names, returns, strict=True), 2):
                if first < second:
                    self._count(first, second, earned, other)
                elif first > second:
                    self._count(second, first, other, earned)

    def record_all(self, results: Iterable[tuple[Match, Result]]) -> None:
        for match, result in results:
            self.record(match, result)

    def tally(self, player: str, opponent: str) -> Tally:
        """Decayed wins, draws and losses of `player` against `opponent`."""
        return self._seen_by(player, opponent, lambda pair: Tally(pair.wins, pair.draws, pair.losses))

    def counts(self, player: str, opponent: str) -> Tally:
        """Wins, draws and losses of `player` against `opponent`, every game counted in full."""
        return self._seen_by(player, opponent, lambda pair: Tally(pair.raw_wins, pair.raw_draws, pair.raw_losses))

    def _seen_by(self, player: str, opponent: str, read: Callable[[_Pair], Tally]) -> Tally:
        """What `read` finds of the two, from the side of `player`."""
        first, second = sorted((player, opponent))
        pair = self._pairs.get((first, second))
        if pair is None:
            return Tally(0, 0, 0)
        tally = read(pair)
        return tally if player == first else Tally(*reversed(tally))

    def games(self, player: str, opponent: str) -> int:
        """How often the two have met, every game counted in full."""
        return int(self.counts(player, opponent).games)

    def score(self, player: str, opponent: str) -> float:
        """The chance that `player` beats `opponent`, a draw counting half; 1/2 where they never met."""
        wins, draws, losses = self.tally(player, opponent)
        games = wins + draws + losses
        return (wins + draws / 2) / games if games else 0.5

    def interval(self, player: str, opponent: str) -> tuple[float, float]:
        """95% interval of `score`; (0, 1) where they never met.

        Wilson's score interval (1927) on Kish's effective number of games, (sum of weights)^2 / (sum of squares). Draws
        make a score vary less than a coin, so with draws it is wider than need be. Comparisons are taken for
        independent, which those of one round trip, by side, need not be (see `arena.elo.tally`).
        """
        pair = self._pairs.get((player, opponent) if player < opponent else (opponent, player))
        if pair is None:
            return 0.0, 1.0
        games = (pair.wins + pair.draws + pair.losses) ** 2 / pair.squares
        score = self.score(player, opponent)
        middle = score + _Z**2 / (2 * games)
        half = _Z * sqrt(score * (1 - score) / games + _Z**2 / (4 * games**2))
        scale = 1 + _Z**2 / games
        return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

    def matrix(self, ids: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(scores, games), each [N, N], of row against column.

        Scores are 1/2 on the diagonal and where two never met, so that scores - 1/2 is antisymmetric; games, counted
        in full, tells the two apart from an even score.
        """
        scores = np.full((len(ids), len(ids)), 0.5)
        games = np.zeros((len(ids), len(ids)), np.int64)
        for i, j in combinations(range(len(ids)), 2):
            games[i, j] = games[j, i] = self.games(ids[i], ids[j])
            scores[i, j] = self.score(ids[i], ids[j])
            scores[j, i] = 1 - scores[i, j]
        return scores, games

    def _count(self, first: str, second: str, earned: float, other: float) -> None:
        pair = self._pairs.get((first, second))
        if pair is None:
            moving = first in self.live or second in self.live
            pair = self._pairs[first, second] = _Pair(self.decay if moving else 1.0)
        decay = pair.decay
        if decay != 1:
            pair.wins *= decay
            pair.draws *= decay
            pair.losses *= decay
            pair.squares *= decay * decay
        pair.squares += 1
        if earned > other:
            pair.wins += 1
            pair.raw_wins += 1
        elif earned < other:
            pair.losses += 1
            pair.raw_losses += 1
        else:
            pair.draws += 1
            pair.raw_draws += 1


def seats_of_teams(teams: Sequence[int]) -> list[list[int]]:
    """The seats of each team. Raises ValueError unless the teams are numbered 0, 1, … without a gap."""
    numbers = sorted(set(teams))
    if not numbers or numbers != list(range(len(numbers))):
        raise ValueError(f"Teams must be numbered 0, 1, … without a gap, not {list(teams)}.")
    return [[seat for seat, team in enumerate(teams) if team == number] for number in numbers]
