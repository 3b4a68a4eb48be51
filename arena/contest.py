"""A match between two players, outside any league: how `a` fares against `b`, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.core import Policy
from arena.elo import pair_score_interval, score_interval
from arena.players import Loaded
from arena.rollout import Order, Rollout
from games.names import UserError
from leagues.core import Match, Result


@dataclass(frozen=True, slots=True)
class Contest:
    """The result from a's side. A draw is half a point; `low` and `high` are the 95% interval of the score."""

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

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Guests:
    """The policies of a match, by name."""

    policies: Mapping[str, Policy]

    def policy(self, player: str) -> Policy:
        return self.policies[player]

    def version(self, player: str) -> int:
        return 0


def contest(a: Loaded, b: Loaded, games: int, *, opening: int, seed: int, rows: int = 256) -> Contest:
    """Play `games` games of a against b, which change seats within each pair and share its opening and nature's luck.

    With more than two teams b plays all the others, and a's return is compared with their mean. In a game of one team
    each plays alone, and their returns are compared game by game, from the same keys. Raises UserError where the games
    are not whole round trips.
    """
    spec = a.game.spec
    teams = len(set(spec.teams))
    turn = max(teams, 1)
    if games < 1 or games % turn:
        raise UserError(
            f"{games} games cannot be shared evenly among {turn} teams, who change places: take a multiple."
        )
    rollout = Rollout(a.game, Guests({"a": a.policy, "b": b.policy}), min(rows, games))
    matches = [Match(0, ("a", *("b",) * (teams - 1)), "audit", seed, games, opening, paired=True)]
    if teams == 1:
        matches.append(Match(1, ("b",), "audit", seed, games, opening, paired=True))
    batch = rollout.run(Order(tuple(matches)))
    gaps = _gaps_alone(batch.results) if teams == 1 else _gaps(matches[0], batch.results, spec.teams)
    if not gaps:
        raise UserError(f"No game of {spec.name} could be finished: {batch.voids[-1][2] if batch.voids else ''}")
    points = {game: 0.5 + 0.5 * float(np.sign(gap)) for game, gap in gaps.items()}
    wins, losses = sum(p == 1 for p in points.values()), sum(p == 0 for p in points.values())
    draws = len(points) - wins - losses
    pairs = [[points[g] for g in range(first, first + turn) if g in points] for first in range(0, games, turn)]
    whole = [sum(pair) / turn for pair in pairs if len(pair) == turn]
    paired = turn > 1 and len(whole) > 1
    interval = pair_score_interval(whole) if paired else score_interval(wins, draws, losses)
    score = (wins + draws / 2) / len(points)
    times = _ms_per_move(batch.thinking, "a"), _ms_per_move(batch.thinking, "b")
    return Contest(len(points), wins, draws, losses, score, interval.low, interval.high, len(batch.voids), times)


def _ms_per_move(thinking: Mapping[str, tuple[int, float]], player: str) -> float | None:
    """Of `thinking`, player -> decisions and seconds."""
    decisions, seconds = thinking.get(player, (0, 0.0))
    return 1000 * seconds / decisions if decisions else None


def _gaps(match: Match, results: list[Result], teams: tuple[int, ...]) -> dict[int, float]:
    """Game -> a's mean return over its seats, less that of everybody else."""
    gaps = {}
    for result in results:
        mine = np.array([player == "a" for player in match.lineup(result.game, teams)])
        returns = np.array(result.returns)
        gaps[result.game] = float(returns[mine].mean() - returns[~mine].mean())
    return gaps


def _gaps_alone(results: list[Result]) -> dict[int, float]:
    """Game -> a's mean return less b's, where both played that game."""
    means = {(result.match, result.game): float(np.mean(result.returns)) for result in results}
    return {game: mean - means[1, game] for (match, game), mean in means.items() if match == 0 and (1, game) in means}
