"""Elo ratings by maximum likelihood, with errors that can be believed.

The model of one game between `first`, who sits on the earlier team, and `second`, with d = r_first - r_second + a:

    P(first wins) : P(draw) : P(second wins)  =  exp(d / 2) : nu : exp(-d / 2)

Strengths r, the earlier seat's advantage a and log nu are fitted together. It is Bradley and Terry's model with draws
after Davidson (1970, JASA 65:317) and the order effect of Davidson and Beaver (1977, Biometrics 33:693); Elo is
400 / ln 10 times r. The likelihood is log-concave, so Newton's method finds its one maximum, and the inverse of the
Hessian there is the covariance.

The prior is made of virtual games, half won and half lost: `prior` of them for each player, against those it really met
and as often (as in Coulom's BayesElo), and a fiftieth of that against one stranger whom all have in common; the
stranger has won, drawn and lost half a game with its equal, which holds a and nu. So 100-0, only draws, pools that
never met and players without games all have finite ratings with wide errors. Games against a common anchor alone, as in
KataGo's `elo.py`, or a Gaussian would do that too, but they pull a long chain of snapshots together from its ends
until its intervals miss the truth (`experiments/benchmarks/ratings.py` shows what these cover).

Ratings are differences. What is shown is the difference to the anchor, or to the mean of the pool where there is none,
and `low` to `high` is the 95% interval **of the number shown**: the anchor's own has no width, and where the anchor is
badly known all others are wide together. `spread` is what compares players: half the interval of a player's place
relative to the pool's mean, in which the anchor's uncertainty plays no part. The level of the pool, which only the
prior knows, drops out of both.

Where the sides of a game have roles, what is compared is not two teams of a game but two players on one side (see
`leagues.payoff.Comparisons`): there is no earlier seat, and `tally(rows, by_side=True)` holds a at 0.

Left out on purpose: ratings that drift in time, and anything a single number cannot say (cycles; see the payoff).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.names import did_you_mean

ELO = 400 / math.log(10)
"""Elo points in one unit of r."""
Z = 1.959963984540054
"""Standard errors on each side of a 95% interval."""
STRANGER = 0.02
"""Virtual games against the common stranger, for each against those really met."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Who met whom and how it ended: one of `M` rows for each (first, second) that met, `first` on the earlier team."""

    players: tuple[str, ...]  # [N] sorted
    first: NDArray[np.int64]  # [M] index of a player
    second: NDArray[np.int64]  # [M]
    wins: Floats  # [M] first's, weighted as `tally` says, so these need not be whole
    draws: Floats  # [M]
    losses: Floats  # [M]
    games: NDArray[np.int64]  # [N] in which the player met another


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """Elo relative to the anchor, or to the mean of those with games where there is none; 95% intervals of that."""

    players: tuple[str, ...]  # [N]
    elo: Floats  # [N]
    low: Floats  # [N]
    high: Floats  # [N]
    spread: Floats  # [N] half the 95% interval of the place in the pool, whoever is the anchor
    covariance: Floats  # [N, N] of `elo`, in Elo²
    games: NDArray[np.int64]  # [N]
    advantage: tuple[float, float, float]  # of the earlier seat, in Elo, and its interval
    draw: float  # nu: equals draw nu / (2 + nu) of their games
    anchor: str | None

    def difference(self, a: str, b: str) -> tuple[float, float, float]:
        """How many Elo `a` is above `b`, and the 95% interval of that."""
        gap, error = self._gap(a, b)
        return gap, gap - Z * error, gap + Z * error

    def superiority(self, a: str, b: str) -> float:
        """The likelihood that `a` is stronger than `b`."""
        return normal_cdf(*self._gap(a, b))

    def expected_score(self, a: str, b: str) -> float:
        """Points that `a` makes in a game with `b` on average, in [0, 1], each sitting first as often."""
        gap, seat = self._gap(a, b)[0] / ELO, self.advantage[0] / ELO
        win, draw, _ = _odds(np.array([gap + seat, gap - seat]), math.log(self.draw))
        return float((win + draw / 2).mean())

    def _gap(self, a: str, b: str) -> tuple[float, float]:
        i, j = _find(self.players, a), _find(self.players, b)
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        return float(self.elo[i] - self.elo[j]), math.sqrt(max(variance, 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Mean returns, where there is no opponent. With one game an interval is infinite."""

    players: tuple[str, ...]  # [N] sorted
    mean: Floats  # [N] in the game's own units
    low: Floats  # [N]
    high: Floats  # [N]
    error: Floats  # [N] standard error of `mean`
    games: NDArray[np.int64]  # [N]

    def superiority(self, a: str, b: str) -> float:
        """The likelihood that the mean return of `a` is higher than that of `b`."""
        i, j = _find(self.players, a), _find(self.players, b)
        return normal_cdf(float(self.mean[i] - self.mean[j]), math.hypot(self.error[i], self.error[j]))


def tally(
    rows: Iterable[tuple[Sequence[str], Sequence[float]]], players: Iterable[str] = (), *, by_side: bool = False
) -> Tally:
    """Count games. A row is the player of each team and the return of each team; `players` adds some without games.

    Returns are read pairwise: more, equal, less. The k (k - 1) / 2 pairs of one game are not independent: between
    equals in random order, player scores vary (k + 1) / 3 times as much as if they were, so each pair counts the
    inverse of that. Pairs of a player with itself are skipped. Each row counts: that no game is told twice is the
    ledger's promise. Raises ValueError where a row does not fit or holds something other than finite numbers.

    With `by_side` a row is what k players returned on one side of a round trip. Its order means nothing, so each pair
    counts half in either order, which leaves no advantage. Nor are the k rows of a round trip independent: what one
    player gains in a game on its side, the others lose on theirs. Two rows of a zero-sum game correlate by about
    1 / (k - 1)², so each counts (k - 1) / k: with two players both say the same. Less dependent ones get wider
    intervals than need be.
    """
    index: dict[str, int] = {player: i for i, player in enumerate(dict.fromkeys(players))}
    first, second, outcome, weight, present = array("q"), array("q"), array("q"), array("d"), array("q")
    for names, returns in rows:
        _refuse_odd(names, returns)
        k, met = len(names), set()
        share = 3 / (k + 1) * ((k - 1) / k / 2 if by_side else 1)
        for (a, mine), (b, theirs) in combinations(zip(names, returns, strict=True), 2):
            if a != b:
                i, j = index.setdefault(a, len(index)), index.setdefault(b, len(index))
                first.append(i)
                second.append(j)
                outcome.append(0 if mine > theirs else 1 if mine == theirs else 2)
                weight.append(share)
                if by_side:
                    first.append(j)
                    second.append(i)
                    outcome.append(2 - outcome[-1])
                    weight.append(share)
                met |= {i, j}
        present.extend(met)
    if odd := [player for player in index if not isinstance(player, str) or not player]:
        raise ValueError(f"{odd[0]!r} is no player: players are named by text that is not empty.")
    n, ordered = len(index), tuple(sorted(index))
    place = np.empty(n, np.int64)
    place[[index[player] for player in ordered]] = np.arange(n)
    codes = place[np.asarray(first)] * n + place[np.asarray(second)]
    pairs, row = np.unique(codes, return_inverse=True)
    cells = row * 3 + np.asarray(outcome)
    counts = sums(cells, np.asarray(weight), 3 * len(pairs)).reshape(-1, 3)  # [M, 3]
    games = np.bincount(place[np.asarray(present)], minlength=n)
    return Tally(ordered, pairs // max(n, 1), pairs % max(n, 1), counts[:, 0], counts[:, 1], counts[:, 2], games)


def fit(tally: Tally, *, anchor: str | None = None, prior: float = 1.0) -> Ratings:
    """The most likely ratings. `anchor` is the player at 0; without one the mean of those with games is.

    `prior` is the number of virtual games of each player. Raises ValueError where nobody is called `anchor`, with the
    nearest name, or `prior` is not positive.
    """
    if not prior > 0:
        raise ValueError(f"prior is {prior}, but ratings need some virtual games: it must be above 0.")
    n = len(tally.players)
    theta, hessian = _maximise(tally, prior)
    inverse: Floats = ELO**2 * np.linalg.inv(hessian).astype(np.float64, copy=False)
    known = (tally.games > 0) | ~tally.games.any()
    pool: Floats = known / np.float64(max(known.sum(), 1))
    reference: Floats = pool if anchor is None else np.eye(n)[_find(tally.players, anchor)]
    elo = ELO * (theta[:n] - reference @ theta[:n])
    covariance = _relative(inverse[:n, :n], reference)
    error = Z * _root(np.diag(covariance))
    advantage, seat_error = ELO * float(theta[n]), Z * math.sqrt(inverse[n, n])
    return Ratings(
        players=tally.players,
        elo=elo,
        low=elo - error,
        high=elo + error,
        spread=Z * _root(np.diag(_relative(inverse[:n, :n], pool))),
        covariance=covariance,
        games=tally.games,
        advantage=(advantage, advantage - seat_error, advantage + seat_error),
        draw=math.exp(theta[n + 1]),
        anchor=anchor,
    )


def mean_returns(rows: Iterable[tuple[Sequence[str], Sequence[float]]]) -> Means:
    """Mean return of every player, with Student's 95% interval, from rows as in `tally`.

    A player with several places in a game has one sample of it, their mean. Equal returns in all games give an interval
    without width: nothing here knows the bounds of the game. Raises ValueError as `tally` does.
    """
    samples: dict[str, list[float]] = {}
    for names, returns in rows:
        _refuse_odd(names, returns)
        for name in set(names):
            own = [value for player, value in zip(names, returns, strict=True) if player == name]
            samples.setdefault(name, []).append(sum(own) / len(own))
    players = tuple(sorted(samples))
    games = np.array([len(samples[player]) for player in players], np.int64)
    found = [mean_interval(samples[player]) for player in players]
    mean, low, high, error = np.array(found, np.float64).reshape(-1, 4).T
    return Means(players, mean, low, high, error, games)


class Mean(NamedTuple):
    """A mean with its 95% interval and its standard error; infinite ones where there is one sample."""

    mean: float
    low: float
    high: float
    error: float


def mean_interval(samples: Sequence[float]) -> Mean:
    """The mean of `samples`, at least one, with Student's 95% interval."""
    n, mean = len(samples), float(np.mean(samples))
    error = float(np.std(samples, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    spread = _student(max(n - 1, 1)) * error
    return Mean(mean, mean - spread, mean + spread, error)


class Score(NamedTuple):
    """A score in [0, 1] and its 95% interval."""

    score: float
    low: float
    high: float


def score_interval(wins: float, draws: float, losses: float) -> Score:
    """The score of one match, a draw being half a point, with its 95% interval.

    The score is (1 + delta) / 2 for delta, the difference of two proportions of one trinomial, and the interval is
    Tango's (1998, Statistics in Medicine 17:891), who inverts the score test. Without draws it is Wilson's (1927).
    Raises ValueError where a count is negative or not finite.
    """
    for count, what in ((wins, "wins"), (draws, "draws"), (losses, "losses")):
        if not (count >= 0 and math.isfinite(count)):
            raise ValueError(f"{what} is {count}, but games are counted from 0 up.")
    games = wins + draws + losses
    if games == 0:
        return Score(0.5, 0.0, 1.0)
    delta = (wins - losses) / games
    low, high = (_tango(wins, losses, games, delta, bound) for bound in (-1.0, 1.0))
    return Score((1 + delta) / 2, (1 + low) / 2, (1 + high) / 2)


def pair_score_interval(scores: Sequence[float]) -> Score:
    """The score of a match played in pairs with seats swapped, from the pairs' own in [0, 1], and its 95% interval.

    Games of a pair share opening and luck, so the pair is the sample (the pentanomial of chess-engine testing). This is
    Wilson's interval with its variance scaled by what the pairs show of s (1 - s), one virtual pair at odds included so
    that 100% or all even never look certain. Raises ValueError where a score is outside [0, 1].
    """
    for score in scores:
        if not 0 <= score <= 1:
            raise ValueError(f"The score of a pair lies between 0 and 1, but {score} was given.")
    if not scores:
        return Score(0.5, 0.0, 1.0)
    n, mean = len(scores), sum(scores) / len(scores)
    ratio = (sum((score - mean) ** 2 for score in scores) + 0.25) / (n * mean * (1 - mean) + 0.25)
    k = Z**2 * ratio / n
    centre, spread = (mean + k / 2) / (1 + k), math.sqrt(k * (mean * (1 - mean) + k / 4)) / (1 + k)
    return Score(mean, max(0.0, centre - spread), min(1.0, centre + spread))


def elo_of_score(score: float) -> float:
    """Elo above the opponent that a score in [0, 1] speaks of; infinite at the ends. 0.76 is about +200."""
    if not 0 <= score <= 1:
        raise ValueError(f"A score lies between 0 and 1, but {score} was given.")
    if score in (0, 1):
        return math.copysign(math.inf, score - 0.5)
    return ELO * math.log(score / (1 - score))


def normal_cdf(gap: float, error: float) -> float:
    """The likelihood that a quantity estimated as `gap` ± `error` (one standard error) is above 0."""
    if error == 0:
        return (1 + math.copysign(1, gap)) / 2 if gap else 0.5
    return (1 + math.erf(gap / (error * math.sqrt(2)))) / 2


def _maximise(tally: Tally, prior: float) -> tuple[Floats, Floats]:
    """The maximum theta [N + 2] of the penalised likelihood (r, then a and log nu), and its negative Hessian there."""
    theta = np.zeros(len(tally.players) + 2)
    value, gradient, hessian = penalised(theta, tally, prior)
    for _ in range(100):
        step = np.linalg.solve(hessian, gradient)
        gain = float(step @ gradient)  # twice what the quadratic model promises
        if gain < 1e-12:
            break
        scale = 1.0
        while (trial := penalised(theta + scale * step, tally, prior))[0] < value + 1e-4 * scale * gain:
            scale /= 2
            if scale < 1e-6:  # no better number can be told from this one
                return theta, hessian
        theta = theta + scale * step
        value, gradient, hessian = trial
    return theta, hessian


def penalised(theta: Floats, tally: Tally, prior: float) -> tuple[float, Floats, Floats]:
    """Log-likelihood with the prior's games at theta [N + 2] = (r, a, log nu): value, gradient, negative Hessian."""
    n, first, second = len(tally.players), tally.first, tally.second
    strength, seat, tie = theta[:n], float(theta[n]), float(theta[n + 1])
    # The stranger's game against its equal comes last: it says something about a and nu only.
    wins, draws, losses = (np.append(column, 0.5) for column in (tally.wins, tally.draws, tally.losses))
    games = wins + draws + losses
    gap = np.append(strength[first] - strength[second], 0.0) + seat
    win, draw, normaliser = _odds(gap, tie)
    loss = 1 - win - draw
    lean = (win - loss) / 2
    value = float(((wins - losses) / 2 * gap + draws * tie - games * normaliser).sum())
    by_gap = (wins - losses) / 2 - games * lean
    curve = games * ((win + loss) / 4 - lean**2)
    cross = -games * draw * lean

    # Virtual games know neither seats nor draws, so that they leave a and nu alone.
    friends, stranger = virtual_games(tally, prior), prior * STRANGER
    value -= float(friends @ _even(gap[:-1] - seat) + stranger * _even(strength).sum())
    tilt, bend = np.tanh((gap[:-1] - seat) / 2) / 2, np.tanh(strength / 2) / 2
    pull, weight = by_gap[:-1] - friends * tilt, curve[:-1] + friends * (0.25 - tilt**2)

    gradient = np.append(_net(pull, first, second, n) - stranger * bend, [by_gap.sum(), (draws - games * draw).sum()])
    hessian = np.zeros((n + 2, n + 2))
    between = sums(first * n + second, weight, n * n).reshape(n, n)
    hessian[:n, :n] = -between - between.T
    own = between.sum(axis=0) + between.sum(axis=1) + stranger * (0.25 - bend**2)
    hessian[range(n), range(n)] = own
    hessian[:n, n] = hessian[n, :n] = _net(curve[:-1], first, second, n)
    hessian[:n, n + 1] = hessian[n + 1, :n] = _net(cross[:-1], first, second, n)
    hessian[n, n] = curve.sum()
    hessian[n, n + 1] = hessian[n + 1, n] = cross.sum()
    hessian[n + 1, n + 1] = (games * draw * (1 - draw)).sum()
    return value, gradient, hessian


def virtual_games(tally: Tally, prior: float) -> Floats:
    """How many even games the prior adds to each pair [M]: `prior` a player, spread as its real games are."""
    games = tally.wins + tally.draws + tally.losses
    n = len(tally.players)
    played = sums(tally.first, games, n) + sums(tally.second, games, n)
    return prior / 2 * games * (1 / played[tally.first] + 1 / played[tally.second])


def sums(index: NDArray[np.int64], values: Floats, n: int) -> Floats:
    """The sum of `values` [M] at each place in 0 to n - 1 of `index` [M]."""
    return np.bincount(index, values, n).astype(np.float64, copy=False)


def _even(gap: Floats) -> Floats:
    """Minus the log-likelihood of half a win and half a loss, up to a constant, at strength differences `gap`."""
    return np.logaddexp(gap / 2, -gap / 2)


def _odds(gap: Floats, tie: float) -> tuple[Floats, Floats, Floats]:
    """Probabilities of a win and a draw, and the log of the normaliser, for gaps d [M] and log nu."""
    normaliser = np.logaddexp(np.logaddexp(gap / 2, -gap / 2), tie)
    return np.exp(gap / 2 - normaliser), np.exp(tie - normaliser), normaliser


def _net(values: Floats, first: NDArray[np.int64], second: NDArray[np.int64], n: int) -> Floats:
    """The sum of values [M] over each player's games, added where it sat first and subtracted where second, [n]."""
    return sums(first, values, n) - sums(second, values, n)


def _tango(wins: float, losses: float, games: float, delta: float, bound: float) -> float:
    """The end of Tango's interval between the estimate `delta` and `bound`, by bisection."""
    inside, outside = delta, bound
    for _ in range(60):
        middle = (inside + outside) / 2
        # Probability of a loss, most likely given that wins are more likely than losses by `middle`.
        b = -wins - losses + (2 * games - wins + losses) * middle
        c = -losses * middle * (1 - middle)
        loss = (math.sqrt(max(b * b - 8 * games * c, 0.0)) - b) / (4 * games)
        variance = games * (2 * loss + middle * (1 - middle))
        if (wins - losses - games * middle) ** 2 <= Z**2 * variance:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def _student(freedom: int) -> float:
    """The 97.5% point of Student's t: Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5), exact up to 2."""
    if freedom <= 2:
        return (12.706204736432095, 4.302652729911275)[freedom - 1]
    z, f = Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * f**4)
    )


def _refuse_odd(names: Sequence[str], returns: Sequence[float]) -> None:
    if len(names) != len(returns):
        raise ValueError(f"{len(returns)} returns are given for {len(names)} players: {returns!r}, {names!r}.")
    try:
        finite = math.isfinite(sum(returns))
    except TypeError:
        finite = False
    if not finite:
        raise ValueError(f"The returns of {names!r} must be finite numbers, not {returns!r}.")


def _relative(covariance: Floats, reference: Floats) -> Floats:
    """The covariance [N, N] of strengths less their mean under the weights `reference` [N]."""
    shared = covariance @ reference
    relative: Floats = covariance - shared - shared[:, None] + reference @ shared
    return relative


def _root(variance: Floats) -> Floats:
    return np.sqrt(np.maximum(variance, 0))  # the anchor's own is 0 up to rounding


def _find(players: Sequence[str], player: str) -> int:
    try:
        return players.index(player)
    except ValueError:
        raise ValueError(f"No player called {player!r} is rated.{did_you_mean(player, players)}") from None
