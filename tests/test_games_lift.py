"""Lifted games: what the adapter asks of an author's class, and that a board that breaks takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from games import NO_ACTION, Decisions, GameSpec, Lifted, Outcome, lift
from games.keys import generator, mix
from games.lift import Board


class Turns:
    """Two seats take turns; an action pays its mover. Over after four."""

    spec = GameSpec("turns", 2, 3, (2,), longest=6, global_state=(1,), payoff="general_sum", searchable=True)

    def __init__(self, rng: np.random.Generator) -> None:
        self.turn = 0

    @property
    def seats(self) -> Sequence[int]:
        return (self.turn % 2,)

    @property
    def over(self) -> bool:
        return self.turn == 4

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 2) if seat else (0, 1, 2)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = (seat, self.turn + 1)

    def state(self, out: NDArray[np.float32]) -> None:
        out[0] = 10 + self.turn

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        rewards = [0.0, 0.0]
        rewards[self.turn % 2] = actions[0]
        self.turn += 1
        return rewards

    def copy(self) -> Turns:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def board_of(states: list[Board], row: int) -> Any:
    return states[row].single


def keys(count: int, of: int = 1) -> NDArray[np.uint64]:
    return mix(of, np.arange(count))


def actions(*chosen: int) -> NDArray[np.int64]:
    return np.array(chosen, np.int64)[:, None]


def rows(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def play(game: Lifted, states: list[Board], chosen: Sequence[int]) -> tuple[Decisions, Outcome]:
    """One step, asked and answered."""
    decisions = game.decisions(states)
    return decisions, game.step(states, actions(*chosen), keys(len(states)))


# ---- what a batch is -------------------------------------------------------------------------------------------------


def test_decisions_are_what_the_acting_seat_says() -> None:
    game = lift(Turns)
    states = game.start(keys(3))
    play(game, states, [1, NO_ACTION, 2])
    seen = game.decisions(states)
    assert seen.global_state is not None
    assert seen.seat[:, 0].tolist() == [1, 0, 1]
    assert seen.active.all()
    assert seen.observation[:, 0].tolist() == [[1, 2], [0, 1], [1, 2]]
    assert seen.legal[:, 0].tolist() == [[True, False, True], [True, True, True], [True, False, True]]
    assert seen.global_state.tolist() == [[11], [10], [11]]


def test_decisions_overwrite_all_of_what_they_are_given() -> None:
    game = lift(Turns)
    states = game.start(keys(2))
    for _ in range(3):
        play(game, states, [1, NO_ACTION])
    play(game, states, [2, NO_ACTION])
    stale = Decisions.empty(Turns.spec, 2)
    assert stale.global_state is not None
    stale.observation[:], stale.legal[:], stale.active[:], stale.global_state[:] = 99, True, True, 99
    given = game.decisions(states, stale)
    assert given is stale
    assert given.active[:, 0].tolist() == [False, True]
    assert given.legal[:, 0].tolist() == [[False] * 3, [True] * 3]
    assert given.observation[:, 0].tolist() == [[0, 0], [0, 1]]
    assert stale.global_state.tolist() == [[0], [10]]


def test_rewards_and_the_end_come_with_the_step() -> None:
    game = lift(Turns)
    states = game.start(keys(1))
    outcomes = [play(game, states, [action])[1] for action in (1, 2, 0, 2)]
    assert [outcome.reward[0].tolist() for outcome in outcomes] == [[1, 0], [0, 2], [0, 0], [0, 2]]
    assert [bool(outcome.terminated[0]) for outcome in outcomes] == [False, False, False, True]
    assert not any(outcome.truncated[0] or outcome.failed for outcome in outcomes)


def test_finished_and_idle_rows_stay_as_they_are() -> None:
    game = lift(Turns)
    states = game.start(keys(2))
    for _ in range(4):
        play(game, states, [1, NO_ACTION])
    _, outcome = play(game, states, [1, NO_ACTION])
    assert (board_of(states, 0).turn, board_of(states, 1).turn) == (4, 0)
    assert not any(map(np.any, (outcome.reward, outcome.terminated, outcome.truncated)))
    assert outcome.failed == {}


class Endless(Turns):
    over = False


class Cuts(Endless):
    @property
    def truncated(self) -> bool:
        return self.turn == 2


class EndsAtLast(Turns):
    @property
    def over(self) -> bool:
        return self.turn == 6


@pytest.mark.parametrize(
    ("single", "steps", "terminated"), [(Endless, 6, False), (Cuts, 2, False), (EndsAtLast, 6, True)]
)
def test_games_are_cut_where_they_say_and_at_their_longest(single: type[Turns], steps: int, terminated: bool) -> None:
    game = lift(single)
    states = game.start(keys(1))
    outcomes = [play(game, states, [0])[1] for _ in range(steps)]
    assert [bool(o.terminated[0] or o.truncated[0]) for o in outcomes] == [False] * (steps - 1) + [True]
    assert (bool(outcomes[-1].terminated[0]), bool(outcomes[-1].truncated[0])) == (terminated, not terminated)
    last = game.decisions(states)
    assert last.global_state is not None
    assert not last.active.any()
    assert last.global_state[0, 0] == (0 if terminated else 10 + steps)  # to bootstrap from


def test_any_seat_can_look_also_when_the_game_is_over() -> None:
    game = lift(Turns)
    states = game.start(keys(2))
    for _ in range(4):
        play(game, states, [0, NO_ACTION])
    seen = np.full((3, 2), 7, np.float32)
    game.observe(states, rows(0, 0, 1), rows(0, 1, 1), seen)
    assert seen.tolist() == [[0, 5], [1, 5], [1, 1]]


class AtOnce(Turns):
    """Of three seats, those whose number does not divide the turn act, last seat first; each is paid its action."""

    spec = replace(Turns.spec, seats=3, teams=(0, 1, 2), simultaneous=True, global_state=None)

    @property
    def seats(self) -> Sequence[int]:
        return (2, 0) if self.turn % 2 else (2, 1, 0)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        rewards = [0.0] * 3
        for seat, action in zip(self.seats, actions, strict=True):
            rewards[seat] = action
        self.turn += 1
        return rewards


def test_in_a_simultaneous_game_slot_is_seat_and_actions_come_in_the_order_asked() -> None:
    game = lift(AtOnce)
    states = game.start(keys(1))
    first = game.decisions(states)
    assert first.active.tolist() == [[True, True, True]]
    assert first.observation[0, :, 0].tolist() == [0, 1, 2]
    assert first.legal.sum(axis=2).tolist() == [[3, 2, 2]]
    assert game.step(states, np.array([[0, 2, 1]]), keys(1)).reward.tolist() == [[0, 2, 1]]
    second = game.decisions(states)
    assert second.active.tolist() == [[True, False, True]]
    assert second.seat.tolist() == [[0, 1, 2]]
    assert not second.legal[0, 1].any()
    assert game.step(states, np.array([[1, NO_ACTION, 2]]), keys(1)).reward.tolist() == [[1, 0, 2]]


# ---- randomness ------------------------------------------------------------------------------------------------------


class Dice(Turns):
    spec = replace(Turns.spec, stochastic=True)

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.seen = [rng.random(), rng.random()]
        self.chance = 0

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.chance = int(rng.integers(1, 1000))
        self.seen.append(rng.random())
        return super().step(actions, rng)


def test_nature_follows_the_keys_alone() -> None:
    """The n-th number drawn is that of the key's own generator, whatever the batch; chance is told."""
    game = lift(Dice)
    states = game.start(keys(3))
    game.decisions(states)
    outcome = game.step(states, actions(0, 0, 0), keys(3, of=2))
    for row in range(3):
        start, step = generator(keys(3)[row]), generator(keys(3, of=2)[row])
        assert outcome.chance[row] == step.integers(1, 1000)
        assert board_of(states, row).seen == [start.random(), start.random(), step.random()]
    alone = game.start(keys(3)[1:2])
    game.decisions(alone)
    game.step(alone, actions(0), keys(3, of=2)[1:2])
    assert board_of(alone, 0).seen == board_of(states, 1).seen


# ---- restart and copy ------------------------------------------------------------------------------------------------


class Costly(Dice):
    made = 0

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        Costly.made += 1

    def restart(self, rng: np.random.Generator) -> None:
        self.turn, self.seen = 0, [rng.random(), rng.random()]
        if self.seen[0] < 0.1:
            raise OSError("lost its display")


def test_a_board_that_can_be_restarted_is_used_again() -> None:
    game = lift(Costly)
    Costly.made = 0
    states = game.start(keys(3))
    kept = [board_of(states, row) for row in range(3)]
    play(game, states, [0, 0, 0])
    fresh = next(key for key in keys(50, of=3) if generator(key).random() > 0.1)
    game.restart(states, rows(1), np.array([fresh]))
    assert [board_of(states, row) for row in range(3)] == kept
    assert Costly.made == 3
    assert [board_of(states, row).turn for row in range(3)] == [1, 0, 1]
    expected = generator(fresh)
    assert kept[1].seen == [expected.random(), expected.random()]
    assert game.decisions(states).active.all()


def test_a_board_that_failed_is_made_anew() -> None:
    game = lift(Costly)
    Costly.made = 0
    states = game.start(keys(2))
    lost = board_of(states, 0)
    breaks = next(key for key in keys(200, of=3) if generator(key).random() < 0.1)
    game.restart(states, rows(0), np.array([breaks]))
    _, outcome = play(game, states, [NO_ACTION, 0])
    assert outcome.failed == {0: "turns raised OSError when it was started: lost its display"}
    game.restart(states, rows(0), np.array([breaks]))  # the constructor does not mind this key
    assert board_of(states, 0) is not lost
    assert Costly.made == 3
    assert game.decisions(states).active.all()


def test_a_board_that_cannot_be_restarted_is_replaced() -> None:
    game = lift(Turns)
    states = game.start(keys(2))
    old = board_of(states, 0)
    play(game, states, [0, 0])
    game.restart(states, rows(0), keys(1))
    assert board_of(states, 0) is not old
    assert [board.steps for board in states] == [0, 1]


def test_copies_go_their_own_way_and_keep_the_clock() -> None:
    game = lift(Endless)
    states = game.start(keys(2))
    for _ in range(4):
        play(game, states, [1, NO_ACTION])
    twins = game.copy(states, rows(0, 0, 1))
    assert game.decisions(twins).observation[:, 0, 1].tolist() == [5, 5, 1]
    play(game, twins, [1, NO_ACTION, 1])
    _, outcome = play(game, twins, [1, NO_ACTION, 1])
    assert outcome.truncated.tolist() == [True, False, False]  # after six steps, counted from the start
    assert [board_of(twins, row).turn for row in range(3)] == [6, 4, 2]
    assert [board_of(states, row).turn for row in range(2)] == [4, 0]


# ---- what tree search asks for ---------------------------------------------------------------------------------------


def test_nobody_is_asked_to_show_what_nobody_looks_at() -> None:
    class Unseen(Turns):
        def observe(self, seat: int, out: NDArray[np.float32]) -> None:
            raise AssertionError("was looked at")

        def state(self, out: NDArray[np.float32]) -> None:
            raise AssertionError("was looked at")

    game, open_game = lift(Unseen), lift(Turns)
    states, sound = game.start(keys(3)), open_game.start(keys(3))
    for _ in range(4):
        out = Decisions.empty(Turns.spec, 3, blind=True)
        out.legal[:], out.active[:], out.seat[:] = True, True, 7
        blind, seen = game.decisions(states, out), open_game.decisions(sound)
        assert blind is out
        assert blind.active.tolist() == seen.active.tolist()
        assert blind.legal.tolist() == seen.legal.tolist()
        assert blind.seat.tolist() == seen.seat.tolist()
        outcome = game.step(states, actions(0, 2, NO_ACTION), keys(3))
        assert outcome.failed == {}
        open_game.step(sound, actions(0, 2, NO_ACTION), keys(3))


def test_decisions_may_be_written_into_a_part_of_larger_memory() -> None:
    game = lift(AtOnce)
    states = game.start(keys(2))
    memory = np.ones((2, 3, 2, 3), np.bool_)
    out = replace(Decisions.empty(AtOnce.spec, 2), legal=memory[:, :, 1])
    assert not out.legal.flags.c_contiguous
    game.decisions(states, out)
    assert memory[:, :, 1].tolist() == game.decisions(states).legal.tolist()
    assert memory[:, :, 0].all()


@pytest.mark.parametrize("count", [256, 257, 5_000])
@pytest.mark.parametrize(
    "kind",
    [list, tuple, iter, np.array, lambda actions: np.array(actions, np.uint16), lambda actions: dict.fromkeys(actions)],
)
def test_legal_actions_come_in_any_kind_of_list(count: int, kind: Callable[[list[int]], Any]) -> None:
    allowed = [0, 7, 255, count - 1]

    class Wide(Turns):
        spec = replace(Turns.spec, actions=count)

        def legal(self, seat: int) -> Sequence[int]:
            legal: Sequence[int] = kind(allowed[: 4 - seat])
            return legal

    game = lift(Wide)
    states = game.start(keys(2))
    play(game, states, [0, NO_ACTION])
    seen = game.decisions(states)
    assert np.flatnonzero(seen.legal[0]).tolist() == sorted({*allowed[:3]})
    assert np.flatnonzero(seen.legal[1]).tolist() == sorted({*allowed})


@pytest.mark.parametrize("wrong", [2, 255, 256, 10**6, -1, 2**70])
@pytest.mark.parametrize("blind", [False, True])
def test_an_action_that_there_is_not_voids_its_game_alone(wrong: int, blind: bool) -> None:
    class Beyond(Turns):
        spec = replace(Turns.spec, actions=2)

        def __init__(self, rng: np.random.Generator) -> None:
            super().__init__(rng)
            self.lost = rng.random() < 0.5

        def legal(self, seat: int) -> Sequence[int]:
            return [0, wrong] if self.lost else [0, 1]

    game = lift(Beyond)
    states = game.start(keys(8))
    lost = [row for row in range(8) if board_of(states, row).lost]
    assert 0 < len(lost) < 8
    seen = game.decisions(states, Decisions.empty(Beyond.spec, 8, blind=blind))
    assert np.flatnonzero(~seen.active[:, 0]).tolist() == lost
    assert seen.legal.sum(axis=(1, 2)).tolist() == [0 if row in lost else 2 for row in range(8)]
    failed = game.step(states, np.zeros((8, 1), np.int64), keys(8)).failed
    assert sorted(failed) == lost
    expected = f"turns allows action {wrong} at step 0; there are 2." if wrong < 2**63 else "turns raised OverflowError"
    assert all(message.startswith(expected) for message in failed.values())


@pytest.mark.parametrize("stranger", [3, -1])
def test_a_seat_that_there_is_not_takes_no_turn_from_another_game(stranger: int) -> None:
    class Crowded(AtOnce):
        def __init__(self, rng: np.random.Generator) -> None:
            super().__init__(rng)
            self.crowded = rng.random() < 0.5

        @property
        def seats(self) -> Sequence[int]:
            return (0, stranger) if self.crowded else (1,)

    game = lift(Crowded)
    states = game.start(keys(8))
    crowded = [row for row in range(8) if board_of(states, row).crowded]
    seen = game.decisions(states, Decisions.empty(AtOnce.spec, 8, blind=True))
    assert 0 < len(crowded) < 8
    assert seen.active.tolist() == [[False, row not in crowded, False] for row in range(8)]
    assert seen.seat.tolist() == [[0, 1, 2]] * 8
    failed = game.step(states, np.zeros((8, 3), np.int64), keys(8)).failed
    assert set(failed.values()) == {f"turns asks seat {stranger} to act at step 0; there are 3."}
    assert sorted(failed) == crowded


def test_games_are_put_back_with_their_clock_and_their_turn() -> None:
    game = lift(Endless)
    states = game.start(keys(3))
    for _ in range(3):
        play(game, states, [1, NO_ACTION, NO_ACTION])
    twins = game.copy(states, rows(0, 0))
    play(game, twins, [1, NO_ACTION])
    game.put(states, rows(2, 1), twins)
    assert [board.steps for board in states] == [3, 3, 4]
    assert game.decisions(states).seat[:, 0].tolist() == [1, 1, 0]
    ended = [game.step(states, actions(1, 1, 1), keys(3)).truncated.tolist() for _ in range(3)]
    assert ended == [[False, False, False], [False, False, True], [True, True, False]]


def test_room_is_filled_by_put() -> None:
    game = lift(Turns)
    states = game.start(keys(2))
    play(game, states, [1, NO_ACTION])
    room, other = game.room(3), game.room(3)
    game.put(room, rows(2, 0), game.copy(states, rows(0, 1)))
    seen = game.decisions(room)
    assert seen.active[:, 0].tolist() == [True, False, True]
    assert seen.seat[[0, 2], 0].tolist() == [0, 1]
    assert not game.decisions(other).active.any()
    play(game, room, [1, NO_ACTION, 2])
    assert [board.steps for board in states] == [1, 0]


class Hidden(Turns):
    """Each seat holds a number from 0 to 9 that only it sees."""

    spec = replace(Turns.spec, perfect_information=False, stochastic=True, resamples=True, global_state=None)

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.held = rng.integers(10, size=2).tolist()

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = self.held[seat], self.turn

    def resample(self, seat: int, rng: np.random.Generator) -> Hidden:
        if self.held[seat] == 13:
            raise RuntimeError("unlucky")
        twin = type(self)(rng)
        twin.turn, twin.held[seat] = self.turn, self.held[seat]
        return twin


def test_worlds_are_drawn_by_their_keys_and_keep_the_clock() -> None:
    game = lift(Hidden)
    states = game.start(keys(2))
    for _ in range(2):
        play(game, states, [1, NO_ACTION])
    held = [list(board_of(states, row).held) for row in (0, 1)]
    drawn = keys(40, of=9)
    worlds = game.resample(states, np.arange(40) % 2, np.arange(40) // 2 % 2, drawn)
    for i, world in enumerate(worlds):
        row, seat = i % 2, i // 2 % 2
        assert world.single.held[seat] == held[row][seat]
        assert world.single.held[1 - seat] == generator(drawn[i]).integers(10, size=2)[1 - seat]
        assert (world.steps, world.seats, world.over) == (2 * (1 - row), (0,), False)
    assert [board_of(states, row).held for row in (0, 1)] == held
    play(game, worlds, [1] * 40)
    assert [board.steps for board in states] == [2, 0]


def test_a_world_that_cannot_be_drawn_voids_itself_alone() -> None:
    game = lift(Hidden)
    states = game.start(keys(2))
    board_of(states, 0).held[1] = 13
    worlds = game.resample(states, rows(0, 0, 1), rows(0, 1, 1), keys(3))
    seen, outcome = play(game, worlds, [0, 0, 0])
    assert seen.active[:, 0].tolist() == [True, False, True]
    assert outcome.failed == {1: "turns raised RuntimeError when it was drawn anew for seat 1 at step 0: unlucky"}
    assert game.decisions(states).active.all()


def test_games_that_broke_are_copied_as_broken() -> None:
    game = mixed(RaisesInStep, lambda number: number == 0)
    states = game.start(keys(2))
    for _ in range(2):
        play(game, states, [0, 0])
    twins = game.copy(states, rows(0, 1))
    seen, outcome = play(game, twins, [NO_ACTION, 0])
    assert seen.active[:, 0].tolist() == [False, True]
    assert outcome.failed == {}
    assert [board.steps for board in twins] == [1, 3]


# ---- boards that break -----------------------------------------------------------------------------------------------


def boom(*_: Any) -> Any:
    raise RuntimeError("boom")


class RaisesAtStart(Turns):
    def __init__(self, rng: np.random.Generator) -> None:
        boom()


class RaisesInSeats(Turns):
    @property
    def seats(self) -> Sequence[int]:
        return boom() if self.turn else (0,)


class RaisesInLegal(Turns):
    def legal(self, seat: int) -> Sequence[int]:
        return boom() if self.turn else (0, 1)


class RaisesInObserve(Turns):
    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = 5
        if self.turn:
            boom()


class RaisesInState(Turns):
    def state(self, out: NDArray[np.float32]) -> None:
        if self.turn:
            boom()


class RaisesInStep(Turns):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        return boom() if self.turn else super().step(actions, rng)


class RaisesInOver(Turns):
    @property
    def over(self) -> bool:
        return bool(boom()) if self.turn > 1 else False


class NobodyActs(Turns):
    @property
    def seats(self) -> Sequence[int]:
        return () if self.turn else (0,)


class NothingLegal(Turns):
    def legal(self, seat: int) -> Sequence[int]:
        return () if self.turn else (0, 1)


class NoSuchSeat(Turns):
    @property
    def seats(self) -> Sequence[int]:
        return (2 if self.turn else 0,)


class NatureActs(Turns):
    @property
    def seats(self) -> Sequence[int]:
        return (-1 if self.turn else 0,)


class NoSuchAction(Turns):
    def legal(self, seat: int) -> Sequence[int]:
        return (0, 3) if self.turn else (0, 1)


class NegativeAction(Turns):
    def legal(self, seat: int) -> Sequence[int]:
        return (-1, 0) if self.turn else (0, 1)


class HalfAnAction(Turns):
    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1.5) if self.turn else (0, 1)  # type: ignore[return-value]


class SeesNothing(Turns):
    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = (np.nan if self.turn else 0, 1)


class SeesBothInfinities(Turns):
    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = (np.inf, -np.inf) if self.turn else (0, 1)


class StateIsLost(Turns):
    def state(self, out: NDArray[np.float32]) -> None:
        out[0] = -np.inf if self.turn else 0


class PaysNothing(Turns):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        paid = super().step(actions, rng)
        return (0, np.nan) if self.turn > 1 else paid


class PaysThree(Turns):
    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        return [*super().step(actions, rng), 0.0] if self.turn else super().step(actions, rng)


ASKED, PLAYED = "RuntimeError when it was asked who acts: boom", "RuntimeError when it played [0] at step 1: boom"
FAULTS: list[tuple[type[Turns], str]] = [
    (RaisesInSeats, f"turns raised {ASKED}"),
    (RaisesInLegal, f"turns raised {ASKED}"),
    (RaisesInObserve, f"turns raised {ASKED}"),
    (RaisesInState, f"turns raised {ASKED}"),
    (RaisesInStep, f"turns raised {PLAYED}"),
    (RaisesInOver, "turns raised RuntimeError when it played [0] at step 2: boom"),
    (NobodyActs, "turns raised ValueError when it was asked who acts: nobody acts, though the game is not over"),
    (NothingLegal, "turns leaves seat 1 no legal action at step 1."),
    (NoSuchSeat, "turns asks seat 2 to act at step 1; there are 2."),
    (NatureActs, "turns asks seat -1 to act at step 1; there are 2."),
    (NoSuchAction, "turns allows action 3 at step 1; there are 3."),
    (NegativeAction, "turns allows action -1 at step 1; there are 3."),
    (HalfAnAction, "turns raised TypeError when it was asked who acts"),
    (SeesNothing, "turns gave an observation that is not finite at step 1."),
    (SeesBothInfinities, "turns gave an observation that is not finite at step 1."),
    (StateIsLost, "turns gave a global state that is not finite at step 1."),
    (PaysNothing, "turns gave a reward that is not finite: [0.0, nan]."),
    (PaysThree, "turns raised ValueError when it played [0] at step 1: 3 rewards for 2 seats"),
]


def mixed(fault: type[Turns], bad: Callable[[int], bool]) -> Lifted:
    """Healthy boards, but for those that are made when `bad` of their number."""
    made = iter(range(10**6))
    return Lifted(Turns.spec, lambda rng: (fault if bad(next(made)) else Turns)(rng))


@pytest.mark.filterwarnings("ignore:invalid value")  # of NumPy, when infinities are added up
@pytest.mark.parametrize(
    ("fault", "message"), [(RaisesAtStart, "turns raised RuntimeError when it was started: boom"), *FAULTS]
)
def test_a_board_that_breaks_voids_its_own_game_only(fault: type[Turns], message: str) -> None:
    game, healthy = mixed(fault, lambda number: number == 1), lift(Turns)
    states, sound = game.start(keys(3)), healthy.start(keys(3))
    told: list[str] = []
    for _ in range(4):
        seen, outcome = play(game, states, [0, 0, 0])
        expected, normal = play(healthy, sound, [0, 0, 0])
        for name in ("observation", "legal", "seat", "active", "global_state"):
            assert getattr(seen, name)[[0, 2]].tolist() == getattr(expected, name)[[0, 2]].tolist(), name
        assert outcome.reward[[0, 2]].tolist() == normal.reward[[0, 2]].tolist()
        assert outcome.terminated[[0, 2]].tolist() == normal.terminated[[0, 2]].tolist()
        assert np.isfinite(seen.observation).all()
        assert seen.global_state is not None
        assert np.isfinite(seen.global_state).all()
        assert set(outcome.failed) <= {1}
        if told:
            assert not seen.active[1].any()
        if outcome.failed:
            assert not any(map(np.any, (outcome.reward[1], outcome.terminated[1], outcome.truncated[1])))
        told += outcome.failed.values()
    assert len(told) == 1, told  # once, and then it is quiet
    assert told[0].startswith(message)
    seen_by = np.ones((1, 2), np.float32)
    game.observe(states, rows(1), rows(0), seen_by)
    assert seen_by.tolist() == [[0, 0]]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("fault", [RaisesAtStart, *(fault for fault, _ in FAULTS)])
def test_a_row_that_broke_can_be_used_again(fault: type[Turns]) -> None:
    game = mixed(fault, lambda number: number == 0)
    states = game.start(keys(1))
    while not play(game, states, [0])[1].failed:
        pass
    game.restart(states, rows(0), keys(1))
    outcomes = [play(game, states, [0])[1] for _ in range(4)]
    assert bool(outcomes[-1].terminated[0])
    assert not any(outcome.failed for outcome in outcomes)


def test_every_board_may_break_at_once() -> None:
    game = lift(NothingLegal)
    states = game.start(keys(4))
    play(game, states, [0] * 4)
    seen, outcome = play(game, states, [NO_ACTION] * 4)
    assert not seen.active.any()
    assert sorted(outcome.failed) == [0, 1, 2, 3]


def test_large_but_finite_views_and_rewards_are_no_fault() -> None:
    class Huge(Turns):
        def observe(self, seat: int, out: NDArray[np.float32]) -> None:
            out[:] = 3e38

        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            super().step(actions, rng)
            return (3e38, 3e38)

    game = lift(Huge)
    states = game.start(keys(4))
    with np.errstate(over="ignore"):
        seen, outcome = play(game, states, [0] * 4)
    assert seen.active.all()
    assert outcome.failed == {}
    assert (outcome.reward == np.float32(3e38)).all()


# ---- words -----------------------------------------------------------------------------------------------------------


def test_words_are_the_authors_where_there_are_any() -> None:
    plain, worded = lift(Turns), games.make("tic_tac_toe")
    states = plain.start(keys(1))
    assert plain.text(states, 0, 0) == repr(board_of(states, 0))
    assert plain.action_name(states, 0, 0, 2) == "2"
    assert worded.text(worded.start(keys(1)), 0, 0) == "0 1 2\n3 4 5\n6 7 8"
