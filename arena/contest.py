"""A match between two players, outside any league: how `a` fares against `b`, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.core import Policy
from arena.elo import Mean, Score, mean_interval, pair_score_interval, score_interval
from arena.players import Loaded
from arena.rollout import Order, Rollout
from games import GameSpec
from games.names import UserError
from leagues.core import Match, Result
from leagues.payoff import Comparisons

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Side:
    """How the two fared on one team of the game, in whole round trips: each held it once, with the same luck.

    Returns are a team's, the mean over its seats; where there are several b's on a side in turn, theirs is their mean.
    """

    seats: int  # of the team
    points: float | None  # a's score in its games here; None where sides have roles, as a game then has no winner
    a: float  # mean return
    b: float
    better: Score  # share of round trips in which a returned more than b, a draw being half
    difference: Mean  # of a's return to b's


@dataclass(frozen=True, slots=True)
class Return:
    """Mean returns in a game of one team."""

    seat: Mean  # a seat's
    sum: Mean  # that of all seats together


@dataclass(frozen=True, slots=True)
class Contest:
    """The result from a's side. A draw is half a point; `low` and `high` are the 95% interval of the score.

    What is won, drawn or lost is a game; where sides have roles, it is a side of a round trip: who returned more there.
    """

    games: int
    wins: int
    draws: int
    losses: int
    score: float
    low: float
    high: float
    void: int  # games whose environment broke: not counted above
    # Milliseconds a move of a and of b, as played in batches of games; None for one that never had to choose.
    ms_per_move: tuple[float | None, float | None] = field(default=(None, None), compare=False)
    chance: float = 0.5  # what a place drawn by lot scored in these games: not always a half where there are over two
    sides: tuple[Side, ...] = ()  # [teams]; none in a game of one team, and where no round trip was finished
    returns: tuple[Return, ...] = ()  # a's, b's and their difference game by game; none where there are several teams

    def to_dict(self) -> dict[str, Any]:
        """For JSON: an interval without end has None for it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        told["sides"] = [
            asdict(side) | {"better": side.better._asdict(), "difference": _record(side.difference)}
            for side in self.sides
        ]
        told["returns"] = {
            name: {"seat": _record(each.seat), "sum": _record(each.sum)}
            for name, each in zip(("a", "b", "difference"), self.returns, strict=False)
        }
        return told


@dataclass(frozen=True, slots=True)
class Guests:
    """The policies of a match, by name."""

    policies: Mapping[str, Policy]

    def policy(self, player: str) -> Policy:
        return self.policies[player]

    def version(self, player: str) -> int:
        return 0


class Compared(NamedTuple):
    """What a returned, and what each b did, in one game or on one side of a round trip."""

    trip: int  # which round trip
    side: int  # a's
    mine: float
    others: Sequence[float]

    @property
    def theirs(self) -> float:
        """The mean of the others."""
        return sum(self.others) / len(self.others)

    @property
    def lead(self) -> float:
        return self.mine - self.theirs

    @property
    def points(self) -> float:
        return 0.5 + ((self.lead > 0) - (self.lead < 0)) / 2

    @property
    def chance(self) -> float:
        """The points of a place drawn by lot."""
        everyone = [self.mine, *self.others]
        lots = [self._replace(mine=own, others=everyone[:i] + everyone[i + 1 :]) for i, own in enumerate(everyone)]
        return sum(lot.points for lot in lots) / len(lots)


def contest(a: Loaded, b: Loaded, games: int, *, opening: int, seed: int, rows: int = 256) -> Contest:
    """Play `games` games of a against b, which change seats within each pair and share its opening and nature's luck.

    With more than two teams b plays all the others, and a's return is compared with their mean. Where sides have roles,
    a's return on a side is compared with b's there in the same round trip. In a game of one team each plays alone, and
    their returns are compared game by game, from the same keys. Raises UserError where the games are not whole round
    trips.
    """
    spec = a.game.spec
    teams = len(set(spec.teams))
    if games < 1 or games % teams:
        raise UserError(
            f"{games} games cannot be shared evenly among {teams} teams, who change places: take a multiple."
        )
    rollout = Rollout(a.game, Guests({"a": a.policy, "b": b.policy}), min(rows, games))
    matches = [Match(0, ("a", *("b",) * (teams - 1)), "audit", seed, games, opening, paired=True)]
    if teams == 1:
        matches.append(Match(1, ("b",), "audit", seed, games, opening, paired=True))
    batch = rollout.run(Order(tuple(matches)))
    results = batch.results
    compared = _alone(results) if teams == 1 else _together(matches[0], results, spec, spec.roles)
    if not compared:
        what = "round trip" if spec.roles else "game"
        raise UserError(f"No {what} of {spec.name} could be finished: {batch.voids[-1][2] if batch.voids else ''}")
    points = [each.points for each in compared]
    wins, losses = points.count(1), points.count(0)
    draws = len(points) - wins - losses
    score, low, high = _score(compared, teams, spec.roles)
    return Contest(
        games=len(compared) if teams == 1 else len(results),
        wins=wins,
        draws=draws,
        losses=losses,
        score=score,
        low=low,
        high=high,
        void=len(batch.voids),
        ms_per_move=(_ms_per_move(batch.thinking, "a"), _ms_per_move(batch.thinking, "b")),
        chance=sum(each.chance for each in compared) / len(compared),
        sides=() if teams == 1 else _sides(matches[0], results, spec),
        returns=_returns(compared, spec.seats) if teams == 1 else (),
    )


def details(contest: Contest, spec: GameSpec) -> Table | str | None:
    """Where the score comes from, for a terminal: by seat where returns say no more than that, else by side."""
    if contest.returns:
        return _table_of_returns(contest.returns, spec.seats)
    if not contest.sides:
        return None
    if spec.payoff == "zero_sum" and not spec.roles:
        word = "side" if any(side.seats > 1 for side in contest.sides) else "seat"
        return "  " + ", ".join(f"from {word} {i}: {side.points:.3f}" for i, side in enumerate(contest.sides))
    return _table_of_sides(contest.sides)


def _ms_per_move(thinking: Mapping[str, tuple[int, float]], player: str) -> float | None:
    """Of `thinking`, player -> decisions and seconds."""
    decisions, seconds = thinking.get(player, (0, 0.0))
    return 1000 * seconds / decisions if decisions else None


def _together(match: Match, results: Iterable[Result], spec: GameSpec, by_side: bool) -> list[Compared]:
    """Everything in which a and b can be compared: games, or sides of round trips."""
    comparisons, found = Comparisons(spec.teams, by_side), []
    for result in results:
        for side, (names, returns) in enumerate(comparisons.rows(match, result)):
            at = names.index("a")
            trip = result.game // len(match.players)
            found.append(Compared(trip, side if by_side else at, returns[at], returns[:at] + returns[at + 1 :]))
    return found


def _alone(results: Iterable[Result]) -> list[Compared]:
    """Each game that both have played, in a game of one team."""
    means = {(result.match, result.game): sum(result.returns) / len(result.returns) for result in results}
    games = [game for match, game in means if match == 0 and (1, game) in means]
    return [Compared(game, 0, means[0, game], [means[1, game]]) for game in games]


def _score(compared: Sequence[Compared], teams: int, roles: bool) -> Score:
    """Of a, with its interval; a whole round trip is the sample where there are enough."""
    points: dict[int, list[float]] = {}
    for each in compared:
        points.setdefault(each.trip, []).append(each.points)
    whole = [sum(trip) / teams for _, trip in sorted(points.items()) if len(trip) == teams]
    flat = [each.points for each in compared]
    wins, losses = flat.count(1), flat.count(0)
    found = score_interval(wins, len(flat) - wins - losses, losses)
    if teams > 1 and len(whole) > (0 if roles else 1):
        found = pair_score_interval(whole)._replace(score=found.score)
    return found


def _sides(match: Match, results: Sequence[Result], spec: GameSpec) -> tuple[Side, ...]:
    by_side = _together(match, results, spec, by_side=True)
    games = [] if spec.roles else _together(match, results, spec, by_side=False)
    if not by_side:
        return ()
    sides = []
    for side in range(len(match.players)):
        here = [each for each in by_side if each.side == side]
        points, leads = [each.points for each in here], [each.lead for each in here]
        won = [each.points for each in games if each.side == side]
        wins, losses = points.count(1), points.count(0)
        sides.append(
            Side(
                seats=spec.teams.count(side),
                points=None if spec.roles else sum(won) / len(won),
                a=sum(each.mine for each in here) / len(here),
                b=sum(each.theirs for each in here) / len(here),
                better=score_interval(wins, len(points) - wins - losses, losses),
                difference=mean_interval(leads),
            )
        )
    return tuple(sides)


def _returns(compared: Sequence[Compared], seats: int) -> tuple[Return, ...]:
    samples = [each.mine for each in compared], [each.others[0] for each in compared], [each.lead for each in compared]
    return tuple(Return(mean, Mean(*(seats * value for value in mean))) for mean in map(mean_interval, samples))


def _record(mean: Mean) -> dict[str, float | None]:
    told = mean._asdict()
    return {name: told[name] if math.isfinite(told[name]) else None for name in ("mean", "low", "high")}


def _table_of_sides(sides: Sequence[Side]) -> Table:
    table = _table("mean return", "A", "B", "A > B", "95% interval", "A - B", "95% interval")
    decimals = _decimals([value for side in sides for value in (side.a, side.b)])
    for i, side in enumerate(sides):
        table.add_row(
            f"  side {i} ({side.seats} {'seat' if side.seats == 1 else 'seats'})",
            f"{side.a:.{decimals}f}",
            f"{side.b:.{decimals}f}",
            f"{side.better.score:.2f}",
            f"{side.better.low:.2f} to {side.better.high:.2f}",
            *_cells(side.difference, decimals),
        )
    return table


def _table_of_returns(returns: Sequence[Return], seats: int) -> Table:
    """A line for a, for b and for their difference; with several seats also their sum, as it is often published."""
    sums = [f"sum of {seats} seats", "95% interval"] if seats > 1 else []
    table = _table("mean return", "a seat" if sums else "", "95% interval", *sums)
    decimals = _decimals([each.seat.mean for each in returns[:2]])
    for name, each in zip(("A", "B", "A - B"), returns, strict=True):
        table.add_row(f"  {name}", *_cells(each.seat, decimals), *(_cells(each.sum, decimals) if sums else ()))
    return table


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for i, heading in enumerate(headings):
        table.add_column(heading if i else f"  {heading}", justify="right" if i else "left", no_wrap=True)
    return table


def _cells(mean: Mean, decimals: int) -> tuple[str, str]:
    """A mean and its interval."""
    ends = (f"{end:.{decimals}f}" if math.isfinite(end) else "?" for end in (mean.low, mean.high))
    return f"{mean.mean:.{decimals}f}", " to ".join(ends)


def _decimals(values: Sequence[float]) -> int:
    """As many as show three digits of the largest."""
    return max(0, 2 - math.floor(math.log10(max(map(abs, values)) or 1)))
