"""Contests, against games played one at a time and counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_arena_rollout import Dicer, Duel, Players, Trek, Wreck, solo

from agents.core import Choice, Context
from arena.contest import Contest, contest
from arena.elo import pair_score_interval, score_interval
from arena.players import Loaded
from games import Decisions, Keys, lift
from games.names import UserError
from leagues.core import Match


class Crew(Trek):
    """The three seats of a trek as one team."""

    spec = replace(Trek.spec, name="crew", teams=(0, 0, 0), payoff="cooperative")


class Convoy(Trek):
    """Two against one."""

    spec = replace(Trek.spec, name="convoy", teams=(0, 1, 0))


def loaded(game: type[Trek], *names: str) -> list[Loaded]:
    return [Loaded(name, lift(game), Dicer(salt)) for salt, name in enumerate(names)]


def played(game: type[Trek], match: Match) -> dict[int, tuple[float, ...]]:
    """Game -> everybody's returns, of those that did not break."""
    told = {number: solo(game, Players.of("a", "b"), match, number).result for number in range(match.games or 0)}
    return {number: result.returns for number, result in told.items() if result is not None}


def check_counts(got: Contest, gaps: dict[int, float]) -> None:
    wins, losses = sum(gap > 0 for gap in gaps.values()), sum(gap < 0 for gap in gaps.values())
    assert (got.games, got.wins, got.losses, got.draws) == (len(gaps), wins, losses, len(gaps) - wins - losses)
    assert got.score == (wins + (len(gaps) - wins - losses) / 2) / len(gaps)
    assert 0 <= got.low < got.score < got.high <= 1


def test_two_seats() -> None:
    match = Match(0, ("a", "b"), "audit", 7, 60, 2, paired=True)
    returns = played(Duel, match)
    gaps = {n: (earned[0] - earned[1]) * (1 if n % 2 == 0 else -1) for n, earned in returns.items()}
    got = contest(*loaded(Duel, "a", "b"), 60, opening=2, seed=7)
    check_counts(got, gaps)
    assert (got.games, got.void) == (60, 0)
    points = {n: 0.5 + np.sign(gap) / 2 for n, gap in gaps.items()}
    interval = pair_score_interval([(points[n] + points[n + 1]) / 2 for n in range(0, 60, 2)])
    assert (got.low, got.high) == (interval.low, interval.high)
    assert contest(*loaded(Duel, "a", "b"), 60, opening=2, seed=7, rows=5) == got, "however many are played at once"
    assert contest(*loaded(Duel, "a", "b"), 60, opening=2, seed=8) != got


def test_a_player_against_itself_is_even_in_every_pair() -> None:
    a = loaded(Duel, "a")[0]
    got = contest(a, a, 40, opening=0, seed=3)
    assert got.wins == got.losses
    assert got.score == 0.5
    assert got.low <= 0.5 <= got.high


def test_three_seats() -> None:
    match = Match(0, ("a", "b", "b"), "audit", 11, 30, 0, paired=True)
    gaps = {}
    for n, returns in played(Trek, match).items():
        seat = [seat for seat, name in enumerate(match.lineup(n, Trek.spec.teams)) if name == "a"]
        assert seat == [-n % 3]
        others = [returns[s] for s in range(3) if s != seat[0]]
        gaps[n] = returns[seat[0]] - sum(others) / 2
    check_counts(contest(*loaded(Trek, "a", "b"), 30, opening=0, seed=11), gaps)


def test_two_against_one() -> None:
    match = Match(0, ("a", "b"), "audit", 5, 30, 0, paired=True)
    returns = played(Convoy, match)
    gaps = {n: ((r[0] + r[2]) / 2 - r[1]) * (1 if n % 2 == 0 else -1) for n, r in returns.items()}
    check_counts(contest(*loaded(Convoy, "a", "b"), 30, opening=0, seed=5), gaps)


def test_one_team_is_compared_game_by_game() -> None:
    alone = [played(Crew, Match(i, (name,), "audit", 13, 25, 1, paired=True)) for i, name in enumerate("ab")]
    gaps = {n: float(np.mean(alone[0][n]) - np.mean(alone[1][n])) for n in range(25)}
    got = contest(*loaded(Crew, "a", "b"), 25, opening=1, seed=13)
    check_counts(got, gaps)
    interval = score_interval(got.wins, got.draws, got.losses)
    assert (got.low, got.high) == (interval.low, interval.high)


def test_broken_games_do_not_count() -> None:
    match = Match(0, ("a", "b"), "audit", 2, 20, 0, paired=True)
    returns = played(Wreck, match)
    gaps = {n: (earned[0] - earned[1]) * (1 if n % 2 == 0 else -1) for n, earned in returns.items()}
    got = contest(*loaded(Wreck, "a", "b"), 20, opening=0, seed=2)
    check_counts(got, gaps)
    assert got.void == 20 - len(returns) > 0


def test_a_contest_without_a_finished_game_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wreck, "breaks", 1.0)
    with pytest.raises(UserError, match="No game of wreck could be finished: wreck raised RuntimeError"):
        contest(*loaded(Wreck, "a", "b"), 20, opening=0, seed=2)


@pytest.mark.parametrize(
    ("game", "games", "teams"), [(Duel, 3, 2), (Duel, 0, 2), (Duel, -2, 2), (Trek, 4, 3), (Trek, 2, 3), (Crew, 0, 1)]
)
def test_games_that_cannot_be_shared_are_refused(game: type[Trek], games: int, teams: int) -> None:
    with pytest.raises(UserError, match=f"{games} games cannot be shared evenly among {teams} teams"):
        contest(*loaded(game, "a", "b"), games, opening=0, seed=1)


def test_the_numbers_as_json() -> None:
    got = contest(*loaded(Duel, "a", "b"), 10, opening=0, seed=1)
    told = json.loads(json.dumps(got.to_dict()))
    assert list(told) == ["games", "wins", "draws", "losses", "score", "low", "high", "void", "ms_per_move"]
    assert Contest(**told) == got


def test_milliseconds_a_move_are_those_of_each_player(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a's choices move on by 6 ms and b's by 2 ms for each decision; random openings cost nothing."""
    clock = {"now": 0.0}
    monkeypatch.setattr("arena.rollout.perf_counter", lambda: clock["now"])

    class Slow(Dicer):
        def __init__(self, salt: int, each: float) -> None:
            super().__init__(salt)
            self.each = each

        def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
            clock["now"] += self.each * int(decisions.active.sum())
            return super().act(decisions, context, keys)

    a, b = (Loaded(name, lift(Duel), Slow(0, each)) for name, each in (("a", 0.006), ("b", 0.002)))
    assert contest(a, b, 20, opening=2, seed=7).ms_per_move == pytest.approx((6, 2))


def test_a_player_that_never_chooses_has_no_time() -> None:
    got = contest(*loaded(Duel, "a", "b"), 4, opening=Duel.spec.longest, seed=7)
    assert got.ms_per_move == (None, None)
