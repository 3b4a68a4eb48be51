"""Contests, against games played one at a time and counted by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from test_arena_rollout import Dicer, Duel, Players, Trek, Wreck, solo

from agents.core import Choice, Context
from arena.contest import Contest, contest, details
from arena.elo import mean_interval, pair_score_interval, score_interval
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


class Hunt(Trek):
    """Two hunters and their prey, which always returns less; now and then it breaks, after a move that was played."""

    spec = replace(Trek.spec, name="hunt", teams=(0, 0, 1), roles=True)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        one, two, prey = super().step(actions, rng)
        if actions[0] == 4 and rng.random() < 0.1:
            raise RuntimeError("a gun went off")
        return (one, two, prey - 1000)


class Race(Trek):
    """Three sides with roles."""

    spec = replace(Trek.spec, name="race", roles=True)


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
    counted = ["games", "wins", "draws", "losses", "score", "low", "high", "void", "ms_per_move"]
    assert list(told) == [*counted, "chance", "sides", "returns"]
    assert Contest(**{name: told[name] for name in counted}) == replace(got, sides=())
    for side, record in zip(got.sides, told["sides"], strict=True):
        assert record["better"] == side.better._asdict()
        assert record["difference"] == {name: getattr(side.difference, name) for name in ("mean", "low", "high")}
        assert (record["seats"], record["points"], record["a"], record["b"]) == (1, side.points, side.a, side.b)
    assert told["returns"] == {}
    one = contest(*loaded(Duel, "a", "b"), 2, opening=0, seed=1).to_dict()
    assert (one["sides"][0]["difference"]["low"], one["sides"][0]["difference"]["high"]) == (None, None)
    alone = json.loads(json.dumps(contest(*loaded(Crew, "a", "b"), 5, opening=0, seed=1).to_dict(), allow_nan=False))
    assert alone["sides"] == []
    assert alone["returns"]["a"]["sum"]["mean"] == pytest.approx(3 * alone["returns"]["a"]["seat"]["mean"])
    assert list(alone["returns"]) == ["a", "b", "difference"]


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


# ---- sides ---------------------------------------------------------------------------------------------------------


def team_return(returns: tuple[float, ...], teams: tuple[int, ...], side: int) -> float:
    own = [earned for earned, team in zip(returns, teams, strict=True) if team == side]
    return sum(own) / len(own)


def on_each_side(game: type[Trek], returns: dict[int, tuple[float, ...]]) -> list[list[tuple[float, float]]]:
    """For each of two sides, what a and b returned there in each whole round trip."""
    teams, trips = game.spec.teams, [n for n in returns if n % 2 == 0 and n + 1 in returns]
    first = [(team_return(returns[n], teams, 0), team_return(returns[n + 1], teams, 0)) for n in trips]
    second = [(team_return(returns[n + 1], teams, 1), team_return(returns[n], teams, 1)) for n in trips]
    return [first, second]


def test_sides_with_roles_are_compared_with_the_same_side() -> None:
    returns = played(Hunt, Match(0, ("a", "b"), "audit", 5, 60, 0, paired=True))
    sides = on_each_side(Hunt, returns)
    got = contest(*loaded(Hunt, "a", "b"), 60, opening=0, seed=5)
    points = [0.5 + np.sign(a - b) / 2 for side in sides for a, b in side]
    assert (got.games, got.void) == (len(returns), 60 - len(returns))
    assert len(points) < got.games, "some round trips are not whole"
    assert (got.wins, got.draws, got.losses) == tuple(points.count(p) for p in (1, 0.5, 0))
    assert 0 < got.wins < len(points), "each is better now and then, though the hunters return more in every game"
    trips = np.mean(np.reshape(points, (2, -1)), axis=0).tolist()
    assert got.score == pytest.approx(np.mean(trips))
    interval = pair_score_interval(trips)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))
    assert contest(*loaded(Hunt, "a", "b"), 60, opening=0, seed=5, rows=7) == got


@pytest.mark.parametrize("game", [Hunt, Convoy, Duel, Wreck])
def test_each_side_has_its_own_line(game: type[Trek]) -> None:
    returns = played(game, Match(0, ("a", "b"), "audit", 6, 40, 0, paired=True))
    got = contest(*loaded(game, "a", "b"), 40, opening=0, seed=6)
    for number, (side, pairs) in enumerate(zip(got.sides, on_each_side(game, returns), strict=True)):
        gaps = [a - b for a, b in pairs]
        assert side.seats == game.spec.teams.count(number)
        assert (side.a, side.b) == pytest.approx(tuple(np.mean(pairs, axis=0)))
        assert side.difference == pytest.approx(mean_interval(gaps))
        wins, losses = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
        assert side.better == score_interval(wins, len(gaps) - wins - losses, losses)
        here = [r for n, r in returns.items() if n % 2 == number]  # a sits on side 0 in even games
        won = [
            np.sign(team_return(r, game.spec.teams, number) - team_return(r, game.spec.teams, 1 - number)) for r in here
        ]
        assert side.points == (None if game.spec.roles else pytest.approx(0.5 + np.mean(won) / 2))


def test_three_sides_with_roles() -> None:
    """Player a sits on side -n % 3 in game n: what it returns there is compared with both b's of the round trip."""
    returns = played(Race, Match(0, ("a", "b", "b"), "audit", 3, 30, 0, paired=True))
    gaps: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for first in range(0, 30, 3):
        for game in range(first, first + 3):
            others = [returns[n][-game % 3] for n in range(first, first + 3) if n != game]
            gaps[-game % 3].append(returns[game][-game % 3] - sum(others) / 2)
    got = contest(*loaded(Race, "a", "b"), 30, opening=0, seed=3)
    flat = [gap for side in gaps.values() for gap in side]
    assert (got.games, got.wins, got.losses) == (30, sum(g > 0 for g in flat), sum(g < 0 for g in flat))
    for side, own in zip(got.sides, gaps.values(), strict=True):
        assert side.difference == pytest.approx(mean_interval(own))
        assert side.a - side.b == pytest.approx(np.mean(own))


def test_without_a_whole_round_trip_sides_with_roles_cannot_be_compared() -> None:
    halves = (seed for seed in range(99) if len(played(Hunt, Match(0, ("a", "b"), "audit", seed, 2, paired=True))) == 1)
    with pytest.raises(UserError, match="No round trip of hunt could be finished: hunt raised RuntimeError"):
        contest(*loaded(Hunt, "a", "b"), 2, opening=0, seed=next(halves))


def test_a_place_by_lot_wins_one_game_in_three_where_the_winner_takes_all() -> None:
    class Lottery(Trek):
        spec = replace(Trek.spec, name="lottery")

        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            super().step(actions, rng)
            self.over, self.truncated = True, False
            return [float(seat == self.tag % 3) for seat in range(3)]

    assert contest(*loaded(Lottery, "a", "b"), 30, opening=0, seed=1).chance == pytest.approx(1 / 3)
    assert contest(*loaded(Duel, "a", "b"), 30, opening=0, seed=1).chance == 0.5


def test_returns_of_one_team() -> None:
    alone = [played(Crew, Match(i, (name,), "audit", 13, 25, 1, paired=True)) for i, name in enumerate("ab")]
    a, b = ([float(np.mean(own[n])) for n in range(25)] for own in alone)
    got = contest(*loaded(Crew, "a", "b"), 25, opening=1, seed=13)
    for found, samples in zip(got.returns, (a, b, np.subtract(a, b).tolist()), strict=True):
        assert found.seat == pytest.approx(mean_interval(samples))
        assert found.sum == pytest.approx(mean_interval([3 * sample for sample in samples]))
    assert got.sides == ()


def shown(game: type[Trek], games: int = 30) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(details(contest(*loaded(game, "a", "b"), games, opening=0, seed=6), game.spec))
    return capture.get()


def test_a_terminal_shows_what_the_score_does_not_say() -> None:
    lines = shown(Hunt).splitlines()
    assert lines[0].split("  ")[1] == "mean return"
    assert lines[1].strip().startswith("side 0 (2 seats)")
    assert lines[2].strip().startswith("side 1 (1 seat)")
    side = contest(*loaded(Hunt, "a", "b"), 30, opening=0, seed=6).sides[1]
    assert {f"{side.a:.0f}", f"{side.b:.0f}", f"{side.better.score:.2f}"} <= set(lines[2].split())
    assert "sum of 3 seats" in shown(Crew)
    assert "…" not in shown(Hunt) + shown(Crew)
    assert "?" in shown(Hunt, games=2), "one sample has no interval"


def test_a_zero_sum_game_shows_the_score_from_each_seat_alone() -> None:
    class Even(Duel):
        spec = replace(Duel.spec, name="even", payoff="zero_sum")

        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            one, other = super().step(actions, rng)
            return (one - other, other - one)

    first, second = contest(*loaded(Even, "a", "b"), 30, opening=0, seed=6).sides
    assert shown(Even) == f"  from seat 0: {first.points:.3f}, from seat 1: {second.points:.3f}\n"
