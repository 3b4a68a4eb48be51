"""The table: what it lets through, what it remembers, and that moves taken back or replayed give the same game."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from arena.match import Table, choice_keys
from games import NO_ACTION, Decisions, Game, GameError, GameSpec
from games.keys import CHOICE, NATURE, generator, mix


def keys(count: int, first: int = 0) -> NDArray[np.uint64]:
    return np.arange(first, first + count, dtype=np.uint64)


def moves(*actions: int) -> NDArray[np.int64]:
    """One action for each game of a turn-based batch."""
    return np.array(actions, np.int64)[:, None]


class Walk:
    """One or two seats; each step adds the actions and a die of nature's; over where the sum says so, or cut."""

    spec = GameSpec(
        name="walk",
        seats=2,
        actions=4,
        observation=(2,),
        longest=150,
        stochastic=True,
        payoff="general_sum",
        bounds=(-np.inf, np.inf),
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.sum = int(rng.integers(1000))
        self.played = 0

    @property
    def over(self) -> bool:
        return self.sum % 97 == 0 and self.played > 0

    @property
    def seats(self) -> Sequence[int]:
        return (self.played % 2,)

    def legal(self, seat: int) -> Sequence[int]:
        return [action for action in range(4) if (self.sum + action) % 3]

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = (self.sum, self.played)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.played += 1
        self.sum += sum(actions) + int(rng.integers(1, 7))
        return (self.sum % 5, -(self.sum % 7))


class Together(Walk):
    """The same, where both act in even steps and seat 1 alone in odd ones."""

    spec = replace(Walk.spec, name="together", simultaneous=True)

    @property
    def seats(self) -> Sequence[int]:
        return (1,) if self.played % 2 else (0, 1)


def random_actions(decisions: Decisions, rng: np.random.Generator) -> NDArray[np.int64]:
    """A legal action for every active slot."""
    drawn = np.where(decisions.legal, rng.random(decisions.legal.shape), -1.0)
    return np.where(decisions.active, drawn.argmax(axis=2), NO_ACTION)


def play_out(table: Table, rng: np.random.Generator, most: int = 10_000) -> None:
    for _ in range(most):
        if table.over.all():
            return
        table.play(random_actions(table.pending(), rng))


GAMES = ["tic_tac_toe", "rock_paper_scissors?rounds=3", "connect_four", "walk", "together"]


def make(name: str) -> Game:
    return games.lift({"walk": Walk, "together": Together}[name]) if name in ("walk", "together") else games.make(name)


def test_one_game_is_counted_and_remembered() -> None:
    table = Table(games.make("tic_tac_toe"), keys(1))
    for cell in (4, 0, 2, 1, 6):
        assert not table.over[0]
        table.play(moves(cell))
    assert table.over.tolist() == [True]
    assert table.steps.tolist() == [5]
    assert table.returns.tolist() == [[1.0, -1.0]]
    assert table.played(0).tolist() == [[4], [0], [2], [1], [6]]
    assert table.played(0).dtype == np.int16
    assert not table.pending().active.any()


@pytest.mark.parametrize("action", [4, 9, 200, -2, -200])
def test_an_illegal_action_is_refused_before_anything_is_played(action: int) -> None:
    table = Table(games.make("tic_tac_toe"), keys(2))
    table.play(moves(4, 4))
    with pytest.raises(
        GameError, match=rf"seat 1 may not play action {action} at step 1 of game 1; legal there: \[0, 1"
    ):
        table.play(moves(0, action))
    assert table.steps.tolist() == [1, 1]
    assert table.played(0).tolist() == table.played(1).tolist() == [[4]]
    table.play(moves(0, 1))
    assert table.steps.tolist() == [2, 2]


def test_a_finished_game_takes_no_more_moves() -> None:
    table = Table(games.make("rock_paper_scissors"), keys(1))
    table.play(np.array([[0, 1]]))
    with pytest.raises(GameError, match=r"legal there: \[\]"):
        table.play(np.array([[0, 1]]))


def test_all_seats_that_act_at_once_must_be_given_an_action_or_none() -> None:
    table = Table(games.make("rock_paper_scissors?rounds=2"), keys(2))
    with pytest.raises(GameError, match="seat 1 may not play action -1 at step 0 of game 1"):
        table.play(np.array([[0, 1], [2, NO_ACTION]]))
    table.play(np.array([[NO_ACTION, NO_ACTION], [2, 0]]))
    assert table.steps.tolist() == [0, 1]


def test_a_seat_that_does_not_act_may_not_be_given_an_action() -> None:
    table = Table(games.lift(Together), keys(1))
    decisions = table.pending()
    table.play(random_actions(decisions, generator(1)))
    both = np.array([[0, int(table.pending().legal[0, 1].argmax())]])
    with pytest.raises(GameError, match="seat 0 may not play action 0 at step 1"):
        table.play(both)
    both[0, 0] = NO_ACTION
    table.play(both)
    assert table.played(0)[1].tolist() == both[0].tolist()


@pytest.mark.parametrize("name", GAMES)
def test_a_game_that_sits_out_stays_as_it_is(name: str) -> None:
    """Each game of a batch played by turns goes as it goes alone."""
    rng, batch = generator(5), 4
    table = Table(make(name), keys(batch, 40))
    while not table.over.all():
        actions = random_actions(table.pending(), rng)
        actions[rng.random(batch) < 0.6] = NO_ACTION
        before, steps = table.returns.copy(), table.steps.copy()
        table.play(actions)
        idle = (actions == NO_ACTION).all(axis=1)
        assert (table.returns[idle] == before[idle]).all()
        assert (table.steps - steps == ~idle).all()
    for row in range(batch):
        alone = Table(make(name), keys(1, 40 + row))
        for actions in table.played(row).astype(np.int64):
            alone.play(actions[None])
        assert alone.over[0]
        assert alone.returns[0].tolist() == table.returns[row].tolist()


@pytest.mark.parametrize("name", GAMES)
def test_key_and_moves_replay_the_game(name: str) -> None:
    table, rng = Table(make(name), keys(8, 3)), generator(2)
    play_out(table, rng)
    again = Table(make(name), keys(8, 3))
    again.replay(table.moves, table.steps)
    assert again.over.all()
    assert again.returns.tolist() == table.returns.tolist()
    assert [again.played(row).tolist() for row in range(8)] == [table.played(row).tolist() for row in range(8)]


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("back", [1, 2, 1000])
def test_undo_is_the_position_as_it_was(name: str, back: int) -> None:
    batch, rng = 6, generator(8)
    table = Table(make(name), keys(batch, 20))
    history: list[list[Any]] = [[] for _ in range(batch)]  # of each game, before every step
    for _ in range(7):
        decisions = table.pending()
        actions = random_actions(decisions, rng)
        actions[rng.random(batch) < 0.3] = NO_ACTION
        for row in np.flatnonzero((actions >= 0).any(axis=1)).tolist():
            history[row].append(
                (decisions.observation[row].copy(), decisions.legal[row].copy(), table.returns[row].copy())
            )
        table.play(actions)
    expected_steps = np.maximum(table.steps - back, 0)
    played = [table.played(row) for row in range(batch)]
    took = table.steps > 0
    table.undo(back)
    assert table.steps.tolist() == expected_steps.tolist()
    assert took.any()
    decisions = table.pending()
    for row in np.flatnonzero(took).tolist():
        step = int(table.steps[row])
        observation, legal, returns = history[row][step]
        assert not table.over[row]
        assert (decisions.observation[row] == observation).all()
        assert (decisions.legal[row] == legal).all()
        assert (table.returns[row] == returns).all()
        assert (table.played(row) == played[row][:step]).all()


def test_the_line_after_an_undo_is_the_one_remembered() -> None:
    table = Table(games.make("tic_tac_toe"), keys(1))
    for cell in (4, 0, 2, 1):
        table.play(moves(cell))
    table.undo(2)
    table.play(moves(8))
    assert table.played(0).tolist() == [[4], [0], [8]]
    table.undo()
    assert table.played(0).tolist() == [[4], [0]]


def test_restart_begins_some_games_anew_and_leaves_the_others() -> None:
    table, rng = Table(games.lift(Walk), keys(3)), generator(4)
    play_out(table, rng, 5)
    kept = table.played(1).tolist(), table.returns[1].tolist(), int(table.steps[1])
    assert (table.pending().observation[[0, 2], 0, 1] == 5).all()
    table.restart(np.array([0, 2]), np.array([77, 78], np.uint64))
    assert table.keys.tolist() == [77, 1, 78]
    assert table.steps.tolist() == [0, kept[2], 0]
    assert table.returns[[0, 2]].tolist() == [[0, 0], [0, 0]]
    assert table.played(0).shape == (0, 1)
    assert (table.played(1).tolist(), table.returns[1].tolist()) == kept[:2]
    fresh = Table(games.lift(Walk), np.array([77, 78], np.uint64))
    assert (table.pending().observation[[0, 2]] == fresh.pending().observation).all(), "asked anew after the restart"
    play_out(table, rng)
    fresh.replay(table.moves[[0, 2]], table.steps[[0, 2]])
    assert fresh.returns.tolist() == table.returns[[0, 2]].tolist()


def test_restart_of_a_finished_game_opens_it_again() -> None:
    table = Table(games.make("rock_paper_scissors"), keys(2))
    table.play(np.array([[0, 1], [0, 1]]))
    table.restart(np.array([1]), keys(1, 9))
    assert table.over.tolist() == [True, False]
    table.play(np.array([[NO_ACTION, NO_ACTION], [2, 1]]))
    assert table.returns.tolist() == [[-1, 1], [1, -1]]
    assert table.played(0).tolist() == [[0, 1]]
    assert table.played(1).tolist() == [[2, 1]]


def test_long_games_make_room_for_their_moves() -> None:
    table, rng = Table(games.lift(Walk), keys(5, 100)), generator(6)
    seen: list[list[list[int]]] = [[] for _ in range(5)]
    while not table.over.all():
        actions = random_actions(table.pending(), rng)
        for row in np.flatnonzero(actions[:, 0] >= 0).tolist():
            seen[row].append(actions[row].tolist())
        table.play(actions)
    assert table.steps.max() > 128, "these keys give no long game; choose others"
    assert table.moves.shape[1] >= table.steps.max()
    assert [table.played(row).tolist() for row in range(5)] == seen


def test_a_game_at_its_longest_is_cut() -> None:
    class Endless(Walk):
        over = False

    table = Table(games.lift(Endless), keys(2))
    rng = generator(3)
    for _ in range(149):
        table.play(random_actions(table.pending(), rng))
    assert not table.over.any()
    outcome = table.play(random_actions(table.pending(), rng))
    assert outcome.truncated.all()
    assert table.over.all()
    assert table.steps.tolist() == [150, 150]


class Fragile(Walk):
    """Breaks when it is made (its sum is divisible by 20), asked who acts (by 11) or played (by 13)."""

    spec = replace(Walk.spec, name="fragile", longest=30)

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        if self.sum % 20 == 0:
            raise RuntimeError("made")

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        if self.played and self.sum % 11 == 0:
            raise RuntimeError("asked")
        super().observe(seat, out)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        rewards = super().step(actions, rng)
        if self.sum % 13 == 0:
            raise RuntimeError("played")
        return rewards


def test_a_game_that_breaks_is_over_and_the_others_go_on() -> None:
    batch = 60
    table, rng = Table(games.lift(Fragile), keys(batch)), generator(1)
    why: dict[int, str] = {}
    for _ in range(31):
        outcome = table.play(random_actions(table.pending(), rng))
        assert not set(why) & set(outcome.failed), "a failure is reported once"
        why |= outcome.failed
        assert table.over[list(why)].all()
    assert table.over.all()
    for stage in ("made", "asked", "played"):
        assert any(reason.endswith(stage) for reason in why.values()), f"no game broke when it was {stage}"
    assert 0 < len(why) < batch
    table.restart(np.arange(batch), keys(batch))
    assert not table.over.any()
    assert table.steps.sum() == 0


def test_decisions_are_made_once_a_step_and_into_the_callers_memory() -> None:
    asked = 0

    class Counted(games.Lifted):
        def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
            nonlocal asked
            asked += 1
            return super().decisions(states, out)

    table = Table(Counted(Walk.spec, Walk), keys(2))
    out = Decisions.empty(Walk.spec, 2)
    assert table.pending(out) is out
    assert table.pending() is out
    table.play(random_actions(out, generator(1)))
    assert asked == 1
    assert table.pending() is not out
    assert asked == 2


def test_nature_is_keyed_by_game_and_step() -> None:
    given: list[list[int]] = []

    class Overheard(games.Lifted):
        def step(self, states: Any, actions: NDArray[np.int64], keys: NDArray[np.uint64]) -> Any:
            given.append(keys.tolist())
            return super().step(states, actions, keys)

    table, rng = Table(Overheard(Walk.spec, Walk), np.array([5, 2**64 - 1], np.uint64)), generator(1)
    for _ in range(3):
        table.play(random_actions(table.pending(), rng))
    assert given == [mix(np.array([5, 2**64 - 1], np.uint64), NATURE, step).tolist() for step in range(3)]


def test_more_actions_than_moves_can_name_are_refused() -> None:
    class Huge(Walk):
        spec = replace(Walk.spec, name="huge", actions=2**15 + 1)

    with pytest.raises(GameError, match="huge has 32769 actions"):
        Table(games.lift(Huge), keys(1))
    Huge.spec = replace(Walk.spec, name="huge", actions=2**15)
    table = Table(games.lift(Huge), keys(1))
    assert table.pending().legal.shape == (1, 1, 2**15)


def test_players_choose_with_keys_of_game_step_and_seat() -> None:
    given, steps = np.array([5, 2**64 - 1], np.uint64), np.array([0, 7])
    seats = np.array([[0, 1, 2], [2, 0, 1]], np.int16)
    found = choice_keys(given, steps, seats)
    assert found.shape == (2, 3)
    assert found.dtype == np.uint64
    for row in range(2):
        for slot in range(3):
            alone = mix(mix(given[row], CHOICE), steps[row], seats[row, slot])
            assert found[row, slot] == alone
    assert len(np.unique(found)) == 6
