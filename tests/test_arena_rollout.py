"""The rollout, against games played one at a time by a loop that knows nothing of batches, tables or recorders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_arena_recorder import Story, games_of

import arena.rollout
from agents.core import Choice, Context, Policy
from arena.rollout import Batch, Order, Rollout
from games import NO_ACTION, Decisions, GameSpec, Keys, lift
from games.keys import CHOICE, NATURE, OPENING, generator, mix
from leagues.core import Match, Result

# ---- games ---------------------------------------------------------------------------------------------------------


class Trek:
    """Three seats in turn, of which some die; every step pays everybody something, by luck; over or cut at random.

    `tag` is the game's own number, which every observation shows.
    """

    spec = GameSpec(
        name="trek",
        seats=3,
        actions=5,
        observation=(4,),
        longest=12,
        global_state=(2,),
        stochastic=True,
        payoff="general_sum",
        bounds=(-np.inf, np.inf),
    )
    dies, ends, cut, breaks = 0.1, 0.1, 0.05, 0.0

    def __init__(self, rng: np.random.Generator) -> None:
        self.tag = int(rng.integers(2**20))
        self.alive = list(range(self.spec.seats))
        self.played = self.turn = 0
        self.over = self.truncated = False
        if rng.random() < self.breaks:
            raise RuntimeError("no board today")

    @property
    def seats(self) -> Sequence[int]:
        return (self.alive[self.turn % len(self.alive)],)

    def legal(self, seat: int) -> Sequence[int]:
        return [action for action in range(5) if action == 0 or (self.tag + self.played + seat + action) % 3]

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = (self.tag, self.played, seat, seat in self.alive)

    def state(self, out: NDArray[np.float32]) -> None:
        out[:] = (self.tag, len(self.alive) + 10 * self.played)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.turn += 1 + actions[0] % 2
        self.played += 1
        if rng.random() < self.breaks:
            raise RuntimeError("the wheel came off")
        if len(self.alive) > 1 and rng.random() < self.dies:
            self.alive.pop(int(rng.integers(len(self.alive))))
        self.over = bool(rng.random() < self.ends)
        self.truncated = not self.over and bool(rng.random() < self.cut)
        return (rng.integers(-3, 4, self.spec.seats) + sum(actions)).tolist()


class Crowd(Trek):
    """The same, where all who live act at once."""

    spec = replace(Trek.spec, name="crowd", simultaneous=True)

    @property
    def seats(self) -> Sequence[int]:
        return tuple(self.alive)


class Duel(Trek):
    """Two seats, no global state, nobody dies."""

    spec = replace(Trek.spec, name="duel", seats=2, teams=(), global_state=None)
    dies = 0.0


class Wreck(Duel):
    """It breaks now and then, at the start and under way."""

    spec = replace(Duel.spec, name="wreck")
    breaks = 0.08


class March(Duel):
    """Always 40 steps."""

    spec = replace(Duel.spec, name="march", longest=40)
    ends = cut = 0.0


# ---- players -------------------------------------------------------------------------------------------------------


@dataclass
class Dicer:
    """Throws its key for a legal action, each player with a die of its own."""

    salt: int
    memory: tuple[int, ...] | None = None
    calls: int = 0

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        self.calls += 1
        action = np.full(decisions.active.shape, NO_ACTION, np.int64)
        for row, slot in np.argwhere(decisions.active).tolist():
            action[row, slot] = throw(int(mix(keys[row, slot], self.salt)), np.flatnonzero(decisions.legal[row, slot]))
        return Choice(action, {"double": 2 * action})


@dataclass
class Counting(Dicer):
    """Remembers how many decisions it has made in this game, for this seat."""

    memory: tuple[int, ...] | None = (2,)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        choice = super().act(decisions, context, keys)
        assert context.memory is not None
        assert context.memory.shape == (*decisions.active.shape, 2)
        choice.memory = context.memory + np.float32(1)
        choice.extras["count"] = context.memory[..., 0]
        return choice


def throw(key: int, legal: NDArray[np.int64]) -> int:
    return int(legal[(key >> 32) * len(legal) >> 32])


@dataclass
class Players:
    """A roster of dicers."""

    policies: dict[str, Dicer] = field(default_factory=dict)

    @classmethod
    def of(cls, *names: str, kind: Callable[[int], Dicer] = Dicer) -> Players:
        return cls({name: kind(salt) for salt, name in enumerate(names)})

    def policy(self, player: str) -> Policy:
        return self.policies[player]

    def version(self, player: str) -> int:
        return 100 + self.policies[player].salt


# ---- one game at a time --------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A game as the loop below saw it."""

    result: Result | None  # None where it broke
    stories: dict[str, Story]  # of each player


def solo(game: type[Trek], players: Players, match: Match, number: int) -> Told:
    """Game `number` of `match`, by hand: nature, openings and choices from the game's key alone."""
    spec = game.spec
    key, lineup = match.key(number), match.lineup(number, spec.teams)
    stories = {name: Story() for name in match.players}
    made = Counter[tuple[str, int]]()
    returns, moves = np.zeros(spec.seats), []
    try:
        single = game(generator(key))
        while not single.over and not single.truncated and len(moves) < spec.longest:
            step, state = len(moves), np.zeros(2, np.float32)
            single.state(state)
            actions = []
            for seat in single.seats:
                name, legal = lineup[seat], np.array(single.legal(seat))
                slot = seat if spec.simultaneous else 0
                if step < match.opening:
                    actions.append(throw(int(mix(mix(key, OPENING, step, slot), CHOICE)), legal))
                    continue
                own = mix(mix(key, CHOICE), step, seat)
                actions.append(throw(int(mix(own, players.policies[name].salt)), legal))
                extras: dict[str, Any] = {"double": 2 * actions[-1]}
                if isinstance(players.policies[name], Counting):
                    extras = {"count": made[name, seat]} | extras
                made[name, seat] += 1
                seen = np.zeros(spec.observation, np.float32)
                single.observe(seat, seen)
                allowed = np.isin(np.arange(spec.actions), legal).tolist()
                decision = (step, seat, actions[-1], seen.tolist(), allowed, players.version(name), extras)
                stories[name].decisions.append(decision)
            row = np.full(spec.slots, NO_ACTION, np.int16)
            row[list(single.seats) if spec.simultaneous else [0]] = actions
            moves.append(row)
            earned = single.step(actions, generator(int(mix(key, NATURE, step))))
            returns += earned
            for story in stories.values():
                story.rewards.append(tuple(earned))
                if spec.global_state is not None:
                    story.states.append(state.tolist())
    except RuntimeError:
        return Told(None, stories)
    for story in stories.values():
        story.terminated = single.over
        if not single.over:
            views = np.zeros((spec.seats, *spec.observation), np.float32)
            for seat in range(spec.seats):
                single.observe(seat, views[seat])
            story.cut = views.tolist()
            if spec.global_state is not None:
                last = np.zeros(2, np.float32)
                single.state(last)
                story.cut_state = last.tolist()
    played = np.array(moves) if match.purpose != "train" else None
    return Told(Result(match.id, number, tuple(returns.tolist()), len(moves), not single.over, played), stories)


def same(got: Result, wanted: Result) -> bool:
    facts = (got.match, got.game, got.returns, got.length, got.truncated)
    moves_same = np.array_equal(got.moves, wanted.moves) if got.moves is not None else wanted.moves is None
    return facts == (wanted.match, wanted.game, wanted.returns, wanted.length, wanted.truncated) and moves_same


class Checked:
    """A rollout whose every batch is compared with games played alone."""

    def __init__(self, game: type[Trek], players: Players, rows: int, **settings: Any) -> None:
        self.game, self.players = game, players
        self.rollout = Rollout(lift(game), players, rows, **settings)
        self.matches: dict[int, Match] = {}
        self.seen = Counter[tuple[int, int]]()

    def run(self, order: Order) -> Batch:
        self.matches |= {match.id: match for match in order.matches}
        batch = self.rollout.run(order)
        expected: dict[str, list[Story]] = {name: [] for name in order.learners}
        for result in batch.results:
            told = solo(self.game, self.players, self.matches[result.match], result.game)
            assert told.result is not None
            assert same(result, told.result)
            for name in order.learners:
                if name in told.stories and told.stories[name].decisions:
                    expected[name].append(told.stories[name])
        for match, number, reason in batch.voids:
            assert solo(self.game, self.players, self.matches[match], number).result is None
            assert "RuntimeError" in reason
        assert set(batch.trajectories) == {name for name, stories in expected.items() if stories}
        for name, trajectories in batch.trajectories.items():
            found = games_of(trajectories)
            assert sorted(found, key=_tag) == sorted(expected[name], key=_tag)
        self.seen.update((result.match, result.game) for result in batch.results)
        self.seen.update((match, number) for match, number, _ in batch.voids)
        assert set(self.seen.values()) <= {1}
        return batch


def _tag(story: Story) -> tuple[float, int]:
    return story.decisions[0][3][0], story.decisions[0][0]


def matches_of(game: type[Trek], count: int, first: int = 0, **settings: Any) -> tuple[Match, ...]:
    """Matches of `ann`, with herself and with others."""
    others = (("ann", "ann"), ("bob", "cat"), ("ann", "bob"), ("cat", "bob"))
    teams = game.spec.seats
    return tuple(
        Match(first + i, ("ann", *others[i % 4][: teams - 1]), "train", seed=1000 + first + i, **settings)
        for i in range(count)
    )


# ---- what is played and recorded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [Duel, Trek, Crowd, Wreck], ids=lambda game: game.spec.name)
@pytest.mark.parametrize("opening", [0, 2])
def test_orders_bring_the_games_that_are_played_alone(game: type[Trek], opening: int) -> None:
    checked = Checked(game, Players.of("ann", "bob", "cat"), rows=7, most_failed=1.0)
    games = 0
    for number in range(6):
        matches = matches_of(game, 4, 4 * number, opening=opening)
        batch = checked.run(Order(matches, decisions=60, learners=("ann",)))
        games += len(batch.results)
        assert batch.decisions > 60
    assert games > 30
    assert len({match for match, _ in checked.seen}) > 15


def test_two_learners_get_their_own_decisions() -> None:
    checked = Checked(Trek, Players.of("ann", "bob", "cat"), rows=5)
    for number in range(5):
        batch = checked.run(Order(matches_of(Trek, 4, 4 * number), decisions=80, learners=("ann", "bob")))
        assert set(batch.trajectories) == {"ann", "bob"}


def test_pure_self_play_is_asked_once_a_step() -> None:
    players = Players.of("ann")
    checked = Checked(Crowd, players, rows=6)
    batch = checked.run(Order((Match(0, ("ann",) * 3, "train", seed=5),), decisions=200, learners=("ann",)))
    assert batch.trajectories["ann"].decisions == sum(
        len(solo(Crowd, players, checked.matches[0], result.game).stories["ann"].decisions) for result in batch.results
    )
    assert 200 / (6 * 3) <= players.policies["ann"].calls <= 200


def test_memory_starts_anew_with_each_game_and_stays_where_nobody_acts() -> None:
    players = Players.of("ann", "bob", "cat", kind=Counting)
    for game in (Trek, Crowd):
        checked = Checked(game, players, rows=5)
        for number in range(4):
            checked.run(Order(matches_of(game, 4, 4 * number, opening=1), decisions=70, learners=("ann", "cat")))


def test_long_games_come_in_pieces() -> None:
    players = Players.of("ann", "bob", kind=Counting)
    rollout = Rollout(lift(March), players, 3, piece=7)
    match = Match(0, ("ann", "bob"), "train", seed=8)
    told = [solo(March, players, match, number).stories["ann"] for number in range(60)]
    whole = {_tag(story)[0]: story for story in told}
    pieces: dict[float, list[Story]] = {}
    finished = 0
    while finished < 9:
        batch = rollout.run(Order((match,), decisions=12, learners=("ann",)))
        finished += len(batch.results)
        for piece in games_of(batch.trajectories["ann"]) if batch.trajectories else []:
            pieces.setdefault(piece.decisions[0][3][0], []).append(piece)
    complete = {tag: parts for tag, parts in pieces.items() if sum(len(p.rewards) for p in parts) >= 38}
    assert len(complete) >= 9
    for tag, parts in complete.items():
        assert len(parts) > 2
        rewards = [reward for part in parts for reward in part.rewards]
        assert rewards == whole[tag].rewards[: len(rewards)], "all, but for an end in which ann decides nothing"
        assert [d[1:] for part in parts for d in part.decisions] == [d[1:] for d in whole[tag].decisions]
        steps = 0
        for part in parts:  # each was cut where the next one begins, and shows what every seat saw there
            steps += len(part.rewards)
            assert not part.terminated
            assert part.cut == [[tag, steps, seat, 1.0] for seat in (0, 1)]


# ---- who plays what ------------------------------------------------------------------------------------------------


def test_finite_matches_play_exactly_their_games() -> None:
    checked = Checked(Trek, Players.of("ann", "bob", "cat"), rows=5)
    matches = (
        Match(0, ("ann", "bob", "cat"), "rate", seed=1, games=9, opening=1, paired=True),
        Match(1, ("bob", "bob", "ann"), "rate", seed=2, games=1),
        Match(2, ("cat", "ann", "bob"), "rate", seed=3, games=6, paired=True),
    )
    batch = checked.run(Order(matches))
    assert sorted(checked.seen) == [(m.id, number) for m in matches for number in range(m.games or 0)]
    assert not batch.trajectories
    assert checked.rollout.run(Order(())).results == []


def test_a_round_trip_shares_key_and_opening_and_changes_seats() -> None:
    class Still(Duel):
        """Nature is the same for the same key, whatever is played; only the moves tell games apart."""

        spec = replace(Duel.spec, name="still", longest=30)
        ends = cut = 0.0

    match = Match(0, ("ann", "bob"), "rate", seed=77, games=8, opening=3, paired=True)
    batch = Rollout(lift(Still), Players.of("ann", "bob"), 4).run(Order((match,)))
    by_game = {result.game: result for result in batch.results}
    for first in range(0, 8, 2):
        one, other = by_game[first].moves, by_game[first + 1].moves
        assert one is not None
        assert other is not None
        assert match.key(first) == match.key(first + 1)
        assert match.lineup(first, (0, 1)) == match.lineup(first + 1, (0, 1))[::-1]
        assert np.array_equal(one[:3], other[:3]), "the opening is shared"
        assert not np.array_equal(one[3:], other[3:]), "the players are not on the same seats"
    openings = {tuple(result.moves[:3, 0].tolist()) for result in batch.results if result.moves is not None}
    assert len(openings) > 1, "each round trip has its own"


def test_open_matches_share_the_rows_evenly() -> None:
    checked = Checked(Duel, Players.of("ann", "bob", "cat"), rows=8)
    for number in range(3):
        checked.run(Order(matches_of(Duel, 5, 5 * number), decisions=400, learners=("ann",)))
    for number in range(3):
        begun = [1 + max((n for m, n in checked.seen if m == 5 * number + i), default=-1) for i in range(5)]
        assert max(begun) - min(begun) <= 8, "a game of each in turn, but for those still on the table"
        assert min(begun) > 10


def test_the_moves_of_a_game_do_not_depend_on_its_company() -> None:
    match = Match(3, ("ann", "bob", "cat"), "rate", seed=4, games=30)
    by_rows = []
    for rows in (1, 4, 30):
        batch = Rollout(lift(Crowd), Players.of("ann", "bob", "cat"), rows).run(Order((match,)))
        by_rows.append(sorted(batch.results, key=lambda result: result.game))
    for alone, few, many in zip(*by_rows, strict=True):
        assert same(alone, few)
        assert same(alone, many)


def test_thinking_is_timed_for_each_player_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a clock that moves only while somebody chooses: `ann` takes 1 second a call, `bob` 3, at first 100 more."""
    now = [0.0]

    @dataclass
    class Slow(Counting):
        made: list[int] = field(default_factory=list)  # decisions of each call

        def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
            now[0] += 1.0 + 2.0 * self.salt + (0 if self.made else 100)
            self.made.append(int(decisions.active.sum()))
            return super().act(decisions, context, keys)

    monkeypatch.setattr(arena.rollout, "perf_counter", lambda: now[0])
    for game in (Duel, Crowd):
        players = Players.of("ann", "bob", kind=Slow)
        checked = Checked(game, players, rows=4)
        told = dict.fromkeys(players.policies, 0)
        for number in range(2):
            lineup = ("ann", "bob", "bob")[: game.spec.seats]
            match = Match(number, lineup, "rate", seed=6 + number, games=10, opening=1, paired=True)
            batch = checked.run(Order((match,)))
            stories = [solo(game, players, match, result.game).stories for result in batch.results]
            assert set(batch.thinking) == {"ann", "bob"}
            for name, seconds in (("ann", 1.0), ("bob", 3.0)):
                policy = players.policies[name]
                assert isinstance(policy, Slow)
                made, told[name] = policy.made[told[name] :], len(policy.made)
                assert sum(made) == sum(len(of[name].decisions) for of in stories)
                timed = made if number else made[1:]  # the first call of all is its warm-up
                assert batch.thinking[name] == (sum(timed), len(timed) * seconds)


def test_thinking_counts_the_seats_that_are_asked_in_one_call() -> None:
    rollout, match = Rollout(lift(Crowd), Players.of("ann"), 3), Match(0, ("ann",) * 3, "rate", seed=5, games=9)
    rollout.run(Order((match,)))
    again = Match(1, ("ann",) * 3, "rate", seed=7, games=9)
    stories = [solo(Crowd, Players.of("ann"), again, number).stories["ann"] for number in range(9)]
    assert rollout.run(Order((again,))).thinking["ann"][0] == sum(len(story.decisions) for story in stories)


# ---- broken environments -------------------------------------------------------------------------------------------


def test_an_order_ends_where_most_games_break() -> None:
    class Ruin(Wreck):
        spec = replace(Wreck.spec, name="ruin")
        breaks = 0.6

    batch = Rollout(lift(Ruin), Players.of("ann"), 4, most_failed=0.5).run(
        Order((Match(0, ("ann", "ann"), "rate", seed=1, games=10_000),))
    )
    assert 20 <= len(batch.voids) <= 24
    assert len(batch.voids) > len(batch.results)
