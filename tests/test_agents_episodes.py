"""Episodes against their definition, written out in dicts and loops, on games really played; and their replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from agents.core import Choice, Context, Policy, Trajectories
from agents.episodes import EpisodeReplay, Episodes, Seating, episodes
from agents.scripted import Random
from arena.rollout import Order, Rollout
from games import Decisions, GameSpec, Keys
from leagues.core import Match

Pay = Literal["mean", "sum"]


class Patrol:
    """Two teams at once, of two members and of three, who die at different times while all go on being paid.

    Ends by the rules when all are dead or by luck, or is cut after seven steps.
    """

    spec = GameSpec(
        "patrol", 5, 4, (2, 3), longest=7, global_state=(3,), teams=(7, 4, 4, 7, 4), simultaneous=True,
        stochastic=True, payoff="general_sum",
    )  # fmt: skip

    def __init__(self, rng: np.random.Generator) -> None:
        self.number = float(rng.integers(100))
        self.alive = set(range(5))
        self.turn = 0
        self.ended = False

    @property
    def over(self) -> bool:
        return self.ended or not self.alive

    @property
    def seats(self) -> Sequence[int]:
        return sorted(self.alive)

    def legal(self, seat: int) -> Sequence[int]:
        return [a for a in range(4) if (a + seat + self.turn + int(self.number)) % 3] or [0]

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = np.sin(self.number + 7 * self.turn + 10 * seat + np.arange(6)).reshape(2, 3)

    def state(self, out: NDArray[np.float32]) -> None:
        out[:] = np.cos(self.number + self.turn), len(self.alive) / 5, self.turn / 7

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.turn += 1
        self.alive -= {seat for seat in self.alive if rng.random() < 0.2}
        self.ended = bool(rng.random() < 0.05)
        return (rng.integers(-8, 9, size=5) / 4 + sum(actions)).tolist()


class Relay:
    """Teams of two seats each, one seat at a time and any after any; every step pays all. Long games are cut."""

    spec = GameSpec("relay", 4, 3, (4,), longest=10, teams=(0, 1, 0, 1), stochastic=True, payoff="general_sum")

    def __init__(self, rng: np.random.Generator) -> None:
        self.number = float(rng.integers(100))
        self.turn, self.seat = 0, int(rng.integers(4))
        self.over = False

    @property
    def seats(self) -> Sequence[int]:
        return (self.seat,)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 2) if self.turn % 3 else (0, 1, 2)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = np.sin(self.number + 3 * self.turn + 11 * seat + np.arange(4))

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.turn += 1
        self.seat = int(rng.integers(4))
        self.over = bool(rng.random() < 0.12)
        return (rng.integers(-8, 9, size=4) / 4 + actions[0]).tolist()


class Wanderer:
    """Plays at random and remembers what it did last."""

    memory = (1,)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        assert context.memory is not None
        action = Random().act(decisions, context, keys).action
        last = context.memory[:, :, 0].astype(np.int16) - 1
        return Choice(action, {"last": last}, (action + 1).astype(np.float32)[:, :, None])


class Stage:
    """Everybody plays the same policy, or their own."""

    def __init__(self, policy: Policy, **others: Policy) -> None:
        self.everybody, self.others = policy, others

    def policy(self, player: str) -> Policy:
        return self.others.get(player, self.everybody)

    def version(self, player: str) -> int:
        return 0


def play(game: Any, players: Sequence[str], count: int = 40, seed: int = 0, rows: int = 7) -> dict[str, Trajectories]:
    """What each of `players` did in `count` games between them, several at a time."""
    order = Order((Match(1, tuple(players), "train", seed, count),), learners=tuple(dict.fromkeys(players)))
    return Rollout(games.lift(game), Stage(Wanderer()), rows).run(order).trajectories


# ---- the definition --------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One row of an episode: of each seat of the team that acts, what it saw and did."""

    observation: dict[int, NDArray[np.float32]]
    legal: dict[int, NDArray[np.bool_]]
    last: dict[int, int]
    action: dict[int, int]
    state: NDArray[np.float32] | None
    reward: float = 0.0
    decision: dict[int, int] | None = None  # which of the trajectories'; None in the last row


@dataclass
class Story:
    """One episode."""

    seats: list[int]  # its team's, in order
    team: int  # counted from 0
    rows: list[Row]


def by_definition(t: Trajectories, spec: GameSpec, pay: Pay, *, cut_goes_on: bool = True) -> list[Story]:
    found = []
    for game in range(t.games):
        for number, team in enumerate(sorted(set(spec.teams))):
            seats = [seat for seat in range(spec.seats) if spec.teams[seat] == team]
            own = [d for d in range(t.decisions) if t.step_game[t.step[d]] == game and t.seat[d] in seats]
            if own:
                found.append(Story(seats, number, _rows(t, game, seats, own, pay, cut_goes_on)))
    return found


def _rows(t: Trajectories, game: int, seats: list[int], own: list[int], pay: Pay, cut_goes_on: bool) -> list[Row]:
    steps = sorted({int(t.step[d]) for d in own})
    rows = []
    for step, following in zip(steps, [*steps[1:], t.steps], strict=True):
        made = {int(t.seat[d]): d for d in own if t.step[d] == step}
        earned = [float(t.reward[r, seat]) for r in range(step, following) if t.step_game[r] == game for seat in seats]
        rows.append(
            Row(
                observation={seat: t.observation[d] for seat, d in made.items()},
                legal={seat: t.legal[d] for seat, d in made.items()},
                last={seat: int(t.extras["last"][d]) for seat, d in made.items()},
                action={seat: int(t.action[d]) for seat, d in made.items()},
                state=None if t.global_state is None else t.global_state[step],
                reward=sum(earned) / (len(seats) if pay == "mean" else 1),
                decision=made,
            )
        )
    if t.terminated[game] or not cut_goes_on:
        return [*rows, Row({}, {}, {}, {}, None if t.global_state is None else np.zeros_like(t.global_state[0]))]
    cut = t.cut_game.tolist().index(game)
    before = rows[-1]
    rows.append(
        Row(
            observation={seat: t.cut_observation[cut, seat] for seat in before.action},
            legal=before.legal,
            last=before.action,
            action={},
            state=None if t.cut_global_state is None else t.cut_global_state[cut],
        )
    )
    return rows


def as_arrays(stories: Sequence[Story], spec: GameSpec) -> Episodes:
    """Stories laid out as `Episodes`, row by row."""
    n = max(spec.teams.count(team) for team in spec.teams)
    total = sum(len(story.rows) for story in stories)
    stateful = stories[0].rows[0].state is not None
    e = Episodes(
        observation=np.zeros((total, n, *spec.observation), np.float32),
        legal=np.zeros((total, n, spec.actions), np.bool_),
        active=np.zeros((total, n), np.bool_),
        action=np.zeros((total, n), np.int16),
        last=np.full((total, n), -1, np.int16),
        reward=np.zeros(total, np.float32),
        state=np.zeros((total, *(spec.global_state or ())), np.float32) if stateful else None,
        length=np.array([len(story.rows) for story in stories]),
        team=np.array([story.team for story in stories]),
    )
    u = 0
    for story in stories:
        for row in story.rows:
            e.reward[u] = row.reward
            if e.state is not None:
                e.state[u] = row.state
            for seat, seen in row.observation.items():
                member = story.seats.index(seat)
                e.observation[u, member], e.legal[u, member], e.active[u, member] = seen, row.legal[seat], True
                e.action[u, member], e.last[u, member] = row.action.get(seat, 0), row.last[seat]
            u += 1
    return e


def assert_same(one: Episodes, other: Episodes) -> None:
    """Equal to the bit, but for rewards, whose sums are taken in another order, and what nobody did last."""
    for f in fields(Episodes):
        mine, theirs = getattr(one, f.name), getattr(other, f.name)
        if mine is None or theirs is None:
            assert mine is theirs, f.name
        elif f.name == "reward":
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
        elif f.name == "last":
            assert np.array_equal(mine[one.active], theirs[other.active])
        else:
            assert np.array_equal(mine, theirs), f.name
            assert mine.dtype == theirs.dtype, f.name


# ---- whole games -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pay", ["mean", "sum"])
@pytest.mark.parametrize("players", [("a", "a"), ("a", "b")])
@pytest.mark.parametrize("game", [Patrol, Relay])
def test_episodes_are_their_definition(game: Any, players: tuple[str, str], pay: Pay) -> None:
    """A learner that holds both teams has an episode of each; one that changes teams, of whichever it had."""
    played = play(game, players)
    assert set(played) == set(players)
    for t in played.values():
        stories = by_definition(t, game.spec, pay)
        found = episodes(t, game.spec, Seating.of(game.spec), pay)
        assert_same(found, as_arrays(stories, game.spec))
        assert set(found.team.tolist()) == {0, 1}
        assert 0 < len(t.cut_game) < t.games
        assert len(found.length) == (2 * t.games if players == ("a", "a") and game is Patrol else len(stories))
        assert len(stories) > t.games if players == ("a", "a") else len(stories) <= t.games


@pytest.mark.parametrize("game", [Patrol, Relay])
def test_cut_games_can_be_taken_as_ended(game: Any) -> None:
    t = play(game, ("a", "a"))["a"]
    stories = by_definition(t, game.spec, "sum", cut_goes_on=False)
    found = episodes(t, game.spec, Seating.of(game.spec), "sum", cut_goes_on=False)
    assert_same(found, as_arrays(stories, game.spec))
    assert not found.active[np.cumsum(found.length) - 1].any()


def test_the_games_put_episodes_to_the_test() -> None:
    """Or the comparison would say little: deaths at different times, teams that outlive others, games side by side."""
    t = play(Patrol, ("a", "a"))["a"]
    assert (np.diff(t.step_game) < 0).any()
    stories = by_definition(t, Patrol.spec, "sum")
    shapes = [[len(row.action) for row in story.rows[:-1]] for story in stories]
    assert any(len(set(shape)) > 1 for shape in shapes)
    ended = {len(shape) for shape in shapes}
    assert min(ended) == 1
    assert max(ended) == Patrol.spec.longest
    cut = [story for story in stories if story.rows[-1].observation]
    assert any(len(story.rows) - 1 < Patrol.spec.longest for story in cut)  # dead before the game was cut
    assert len(cut) < len(stories)


def test_joined_trajectories_give_the_episodes_of_each() -> None:
    seating = Seating.of(Patrol.spec)
    parts = [play(Patrol, ("a", "a"), count=9, seed=seed)["a"] for seed in range(3)]
    joined = episodes(Trajectories.concatenate(parts), Patrol.spec, seating, "mean")
    stories = [story for part in parts for story in by_definition(part, Patrol.spec, "mean")]
    assert_same(joined, as_arrays(stories, Patrol.spec))


def test_seats_are_members_of_their_team_in_order() -> None:
    seating = Seating.of(Patrol.spec)  # teams 4 and 7 are numbered 0 and 1
    assert seating.team.tolist() == [1, 0, 0, 1, 0]
    assert seating.member.tolist() == [0, 0, 1, 1, 2]
    assert seating.seat.tolist() == [[1, 2, 4], [0, 3, -1]]
    assert (seating.teams, seating.members) == (2, 3)
    alone = Seating.of(GameSpec("alone", 3, 2, (1,), longest=1))
    assert alone.seat.tolist() == [[0], [1], [2]]


def by_hand(
    spec: GameSpec, steps: Sequence[tuple[int, Mapping[int, int], Sequence[float]]], cut: Sequence[int] = ()
) -> Trajectories:
    """From steps as (game, action of each seat that acts, reward of every seat), and the games that were cut.

    What a seat sees is 10 times the step and its seat; where a game was cut, 1000 and its seat.
    """
    acting = [(r, seat, action) for r, (_, actions, _) in enumerate(steps) for seat, action in actions.items()]
    count = 1 + max(game for game, _, _ in steps)
    last: dict[tuple[int, int], int] = {}
    before = []
    for r, seat, action in acting:
        before.append(last.get((steps[r][0], seat), -1))
        last[steps[r][0], seat] = action
    return Trajectories(
        reward=np.array([earned for _, _, earned in steps], np.float32),
        step_game=np.array([game for game, _, _ in steps]),
        observation=np.array([[10.0 * r + seat] for r, seat, _ in acting], np.float32),
        legal=np.ones((len(acting), spec.actions), np.bool_),
        action=np.array([action for _, _, action in acting]),
        seat=np.array([seat for _, seat, _ in acting], np.int16),
        step=np.array([r for r, _, _ in acting]),
        version=np.zeros(len(acting), np.int64),
        extras={"last": np.array(before, np.int16)},
        terminated=np.array([game not in cut for game in range(count)]),
        cut_game=np.array(cut, np.int64),
        cut_observation=np.array([[[1000.0 + seat] for seat in range(spec.seats)] for _ in cut], np.float32).reshape(
            len(cut), spec.seats, 1
        ),
    )


TWO_AND_ONE = GameSpec("two_and_one", 3, 4, (1,), longest=9, teams=(0, 1, 0), payoff="general_sum")


def test_a_game_in_full() -> None:
    """Seats 0 and 2 are a team, seat 1 another that moves between; seat 0 dies; the game ends, or is cut."""
    steps: list[tuple[int, Mapping[int, int], Sequence[float]]] = [
        (0, {0: 1, 2: 3}, (1, 0, 3)),
        (0, {1: 2}, (10, 100, 30)),
        (0, {2: 2}, (0, 200, 8)),
        (0, {1: 1}, (0, 400, 0)),
    ]
    for cut in ((), (0,)):
        e = episodes(by_hand(TWO_AND_ONE, steps, cut), TWO_AND_ONE, Seating.of(TWO_AND_ONE), "mean")
        assert e.length.tolist() == [3, 3]
        assert e.team.tolist() == [0, 1]
        assert e.reward.tolist() == [22, 4, 0, 300, 400, 0]  # of seat 1, what comes before its first step is nobody's
        end = [False, bool(cut)]
        assert e.active.tolist() == [[True, True], [False, True], end, [True, False], [True, False], end[::-1]]
        assert e.observation[:, :, 0].tolist() == [
            [0, 2], [0, 22], [0, 1002 if cut else 0], [11, 0], [31, 0], [1001 if cut else 0, 0],
        ]  # fmt: skip
        assert e.action.tolist() == [[1, 3], [0, 2], [0, 0], [2, 0], [1, 0], [0, 0]]
        assert e.last[e.active].tolist() == ([-1, -1, 3, 2, -1, 2, 1] if cut else [-1, -1, 3, -1, 2])
        assert e.state is None


def test_a_team_that_never_acts_has_no_episode() -> None:
    t = by_hand(TWO_AND_ONE, [(0, {1: 0}, (5, 1, 5)), (1, {0: 0}, (2, 9, 4)), (1, {1: 0}, (2, 3, 4))])
    e = episodes(t, TWO_AND_ONE, Seating.of(TWO_AND_ONE), "sum")
    assert e.team.tolist() == [1, 0, 1]
    assert e.reward.tolist() == [1, 0, 12, 0, 3, 0]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_stays_in_its_game_and_team(odd: float) -> None:
    t = by_hand(TWO_AND_ONE, [(game, {0: 0, 1: 0}, (1.0, 2.0, 3.0)) for game in (0, 1, 2, 0, 1, 2)])
    t.reward[1, 0] = odd
    e = episodes(t, TWO_AND_ONE, Seating.of(TWO_AND_ONE), "sum")
    assert (np.flatnonzero(~np.isfinite(e.reward)) // 3).tolist() == [2]  # the first team's episode of game 1
    assert e.reward[np.isfinite(e.reward)].sum() == 12 + (4 + 4) + 12


# ---- the replay ------------------------------------------------------------------------------------------------------


def made_up(lengths: Sequence[int], first: int = 0, state: bool = True, seed: int = 0) -> Episodes:
    """Episodes at random, numbered from `first` on in their rewards."""
    rng = np.random.default_rng([seed, first])
    rows = sum(lengths)
    active = rng.random((rows, 2)) < 0.7
    return Episodes(
        observation=rng.normal(size=(rows, 2, 3)).astype(np.float32),
        legal=rng.random((rows, 2, 4)) < 0.6,
        active=active,
        action=rng.integers(4, size=(rows, 2)).astype(np.int16),
        last=rng.integers(-1, 4, size=(rows, 2)).astype(np.int16),
        reward=np.repeat(first + np.arange(len(lengths)), lengths).astype(np.float32),
        state=rng.normal(size=(rows, 5)).astype(np.float32) if state else None,
        length=np.array(lengths),
        team=rng.integers(2, size=len(lengths)),
    )


def apart(e: Episodes) -> list[Episodes]:
    """Its episodes one by one."""
    ends = np.cumsum(e.length).tolist()
    parts = []
    for i, end in enumerate(ends):
        rows = slice(end - int(e.length[i]), end)
        columns = {f.name: getattr(e, f.name) for f in fields(Episodes)}
        cut = {name: c if c is None else c[rows] for name, c in columns.items() if name not in ("length", "team")}
        parts.append(Episodes(**cut, length=e.length[i : i + 1], team=e.team[i : i + 1]))
    return parts


def holds(r: EpisodeReplay, chosen: NDArray[np.int64], expected: Sequence[Episodes]) -> None:
    """That the batch of `chosen` is these episodes, side by side and padded."""
    batch = r.batch(chosen)
    longest = max(int(e.length[0]) for e in expected)
    assert batch.active.shape == (longest, len(expected), 2)
    for b, e in enumerate(expected):
        length = int(e.length[0])
        for name in ("observation", "legal", "active", "action", "last", "reward", "state"):
            column, own = getattr(batch, name), getattr(e, name)
            assert (column is None) == (own is None), name
            if own is not None:
                assert np.array_equal(column[:length, b], own), name
                assert column.dtype == own.dtype, name
        assert batch.playing[:, b].tolist() == [t < length - 1 for t in range(longest)]
        assert not batch.active[length:, b].any()
        assert np.isfinite(batch.observation[length:, b]).all()
        assert batch.team[b] == e.team[0]


def kept(r: EpisodeReplay) -> list[int]:
    """Which episodes are kept, oldest first."""
    return [int(number) for number in r.batch(np.arange(len(r))).reward[0]]


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("most", [1, 7, 60])
def test_the_newest_are_kept_row_by_row(most: int, state: bool) -> None:
    rng = np.random.default_rng(most)
    r, everything = EpisodeReplay(most), []
    rows = 0
    for _ in range(150):
        lengths = rng.integers(2, 20, size=int(rng.integers(1, 12))).tolist()
        new = made_up(lengths, len(everything), state)
        rows += len(new.reward)
        r.add(new)
        everything += apart(new)
        assert len(r) == min(most, len(everything))
        chosen = rng.integers(len(r), size=5)
        holds(r, chosen, [everything[-len(r) :][i] for i in chosen.tolist()])
    assert kept(r) == list(range(len(everything) - len(r), len(everything)))
    assert len(r._columns["reward"]) < rows / 2  # it moved, many times, and did not grow for ever


def test_what_was_kept_is_not_what_was_given() -> None:
    r, new = EpisodeReplay(5), made_up([4, 6])
    before = [replace(e, observation=e.observation.copy()) for e in apart(new)]
    r.add(new)
    new.observation[:] = 99
    holds(r, np.array([0, 1]), before)
    batch = r.batch(np.array([1]))
    batch.observation[:] = 77
    batch.active[:] = True
    holds(r, np.array([0, 1]), before)


def test_drawing_takes_different_episodes_all_as_likely() -> None:
    r, rng = EpisodeReplay(20), np.random.default_rng(3)
    r.add(made_up([3] * 50))
    times, pairs, draws = np.zeros(50), 0, 3000
    for _ in range(draws):
        numbers = r.sample(rng, 6).reward[0].astype(int)
        assert len(set(numbers.tolist())) == 6
        times[numbers] += 1
        pairs += {48, 49} <= set(numbers.tolist())
    assert not times[:30].any()
    expected = draws * 6 / 20
    assert np.abs(times[30:] - expected).max() < 4 * np.sqrt(expected * (1 - 6 / 20))
    together = 6 * 5 / (20 * 19)
    assert abs(pairs - draws * together) < 4 * np.sqrt(draws * together)
    assert sorted(r.sample(rng, 20).reward[0].tolist()) == list(range(30, 50))
    with pytest.raises(ValueError, match="larger sample"):
        r.sample(rng, 21)


@pytest.mark.parametrize("state", [True, False])
def test_a_restored_replay_goes_on_as_the_first(state: bool) -> None:
    def grown(r: EpisodeReplay, firsts: range) -> None:
        for first in firsts:
            r.add(made_up([2 + (first + i) % 9 for i in range(10)], 10 * first, state))

    one, two = EpisodeReplay(35), EpisodeReplay(35)
    grown(one, range(30))
    taken = one.state()
    before = {name: array.copy() for name, array in taken.items()}
    grown(two, range(3))  # of which nothing may stay
    two.restore(taken)
    assert kept(two) == kept(one) == list(range(265, 300))
    for r in (one, two):
        grown(r, range(30, 60))
    assert all(np.array_equal(array, before[name]) for name, array in taken.items())
    assert one.state().keys() == two.state().keys()
    assert all(np.array_equal(array, two.state()[name]) for name, array in one.state().items())
    a, b = (r.sample(np.random.default_rng(5), 8) for r in (one, two))
    for f in fields(a):
        assert np.array_equal(getattr(a, f.name), getattr(b, f.name)), f.name


def test_an_empty_replay_can_be_restored() -> None:
    r = EpisodeReplay(9)
    r.add(made_up([3, 4]))
    r.restore(EpisodeReplay(9).state())
    assert len(r) == 0
    r.add(made_up([5], 8, state=False))
    assert kept(r) == [8]


def test_a_state_with_a_part_missing_is_refused() -> None:
    r = EpisodeReplay(9)
    r.add(made_up([3, 4]))
    for name in ("length", "team"):
        with pytest.raises(ValueError, match=f"'{name}' is missing"):
            EpisodeReplay(9).restore({key: array for key, array in r.state().items() if key != name})
