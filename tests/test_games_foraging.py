"""Level-based foraging against lbforaging, whose games it must equal."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import gymnasium
import lbforaging  # noqa: F401 (registers its environments)
import numpy as np
import pytest
from numpy.typing import NDArray

import games
from games import NO_ACTION, Decisions, GameError
from games.check import check
from games.foraging import Foraging
from games.keys import mix

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)

SAME = {
    "foraging?size=8&players=2&food=2&coop=true": "Foraging-8x8-2p-2f-coop-v3",
    "foraging?size=8&players=2&food=3": "Foraging-8x8-2p-3f-v3",
    "foraging?size=10&players=3&food=3": "Foraging-10x10-3p-3f-v3",
    "foraging?size=8&players=2&food=2&coop=true&sight=2": "Foraging-2s-8x8-2p-2f-coop-v3",
    "foraging?size=6&players=4&food=2&sight=2": "Foraging-2s-6x6-4p-2f-v3",
}


def original(name: str) -> Any:
    return gymnasium.make(name, disable_env_checker=True).unwrapped


def restarted(env: Any, seed: int) -> Any:
    """A new game of `env`, as if it were the first: it keeps players off cells where others stood last."""
    for player in env.players:
        player.position = None
    return env.reset(seed=seed)[0]


def copied(game: Foraging, envs: list[Any]) -> NDArray[np.void]:
    """The positions of `envs`, at their start, as states of ours."""
    states = game.room(len(envs))
    for row, env in enumerate(envs):
        for seat, player in enumerate(env.players):
            states["players"][row, seat] = (*player.position, player.level)
        for at, (y, x) in enumerate(np.argwhere(env.field)):
            states["food"][row, at] = (y, x, env.field[y, x])
        states["spawned"][row] = env.field.sum()
    return states


def placed(game: Foraging, players: list[tuple[int, int, int]], food: list[tuple[int, int, int]]) -> NDArray[np.void]:
    """One game with these players and food, (row, column, level) each."""
    states = game.room(1)
    states["players"][0], states["food"][0] = players, food
    states["spawned"] = sum(level for _, _, level in food)
    return states


def towards_food(env: Any, wisdom: float, rng: np.random.Generator) -> list[int]:
    """Walks all players to one food and loads it there, so that they meet and eat; or else plays anything."""
    target = np.argwhere(env.field)[0]
    actions = []
    for player in env.players:
        down, right = target - player.position
        wise = LOAD if abs(down) + abs(right) == 1 else None
        if wise is None:
            upright = SOUTH if down > 0 else NORTH
            level = EAST if right > 0 else WEST
            wise = upright if abs(down) > abs(right) or (abs(down) == abs(right) and rng.random() < 0.5) else level
        actions.append(int(wise if rng.random() < wisdom else rng.integers(6)))
    return actions


@dataclass
class Seen:
    """What happened in the games that were compared, so that nothing that matters was missing."""

    steps: int = 0
    eaten: int = 0
    helped: int = 0  # food that several lifted
    failed: int = 0  # loads beside food that brought nothing
    held: int = 0  # a free cell was aimed for, and not reached
    shared: int = 0  # two players stood on one cell
    terminated: int = 0
    truncated: int = 0


def compare(name: str, episodes: int, seed: int) -> Seen:
    """Whole games beside the original's: everything that every seat sees and is paid, and how they end."""
    game, seen, rng = games.make(name), Seen(), np.random.default_rng(seed)
    assert isinstance(game, Foraging)
    envs = [original(SAME[name]) for _ in range(episodes)]
    views = np.array([restarted(env, seed + row) for row, env in enumerate(envs)])
    states, going = copied(game, envs), np.ones(episodes, np.bool_)
    for _ in range(game.spec.longest):
        decisions = game.decisions(states)
        assert (decisions.active == going[:, None]).all()
        assert (decisions.legal == going[:, None, None]).all()
        assert (decisions.observation[going] == views[going]).all()
        actions = np.full((episodes, game.spec.seats), NO_ACTION)
        rewards, done = np.zeros(actions.shape), np.zeros(episodes, np.bool_)
        empty = np.zeros(episodes, np.bool_)
        for row in np.flatnonzero(going).tolist():
            env = envs[row]
            actions[row] = chosen = towards_food(env, (0.1, 0.5, 0.7, 0.9)[row % 4], rng)
            valid = [is_valid(env, player, action) for player, action in zip(env.players, chosen, strict=True)]
            before = [player.position for player in env.players]
            food = np.count_nonzero(env.field)
            views[row], rewards[row], done[row], _, _ = env.step(chosen)
            empty[row] = not env.field.any()
            note(seen, env, chosen, valid, before, food, rewards[row])
        outcome = game.step(states, actions, np.zeros(episodes, np.uint64))
        assert not outcome.failed
        assert (outcome.reward == rewards.astype(np.float32)).all()
        assert (outcome.terminated == empty).all()
        assert (outcome.truncated == (done & ~empty)).all()
        seen.terminated += int(outcome.terminated.sum())
        seen.truncated += int(outcome.truncated.sum())
        going &= ~done
    assert not going.any()
    rows = np.repeat(np.arange(episodes), game.spec.seats)
    last = np.zeros((len(rows), *game.spec.observation), np.float32)
    game.observe(states, rows, np.tile(np.arange(game.spec.seats), episodes), last)
    assert (last == views.reshape(last.shape)).all()
    return seen


def is_valid(env: Any, player: Any, action: int) -> bool:
    return action in [each.value for each in env._valid_actions[player]]


def note(
    seen: Seen, env: Any, actions: list[int], valid: list[bool], before: list[Any], food: int, rewards: Any
) -> None:
    after = [player.position for player in env.players]
    eaten = food - np.count_nonzero(env.field)
    moves = [right and NORTH <= action <= EAST for action, right in zip(actions, valid, strict=True)]
    loads = [right and action == LOAD for action, right in zip(actions, valid, strict=True)]
    seen.steps += 1
    seen.eaten += eaten
    seen.helped += eaten == 1 and np.count_nonzero(rewards) > 1
    seen.failed += any(load and not reward for load, reward in zip(loads, rewards, strict=True))
    seen.held += any(move and old == new for move, old, new in zip(moves, before, after, strict=True))
    seen.shared += len(set(after)) < len(after)


@pytest.mark.parametrize("episodes", [60, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SAME)
def test_whole_games_equal_the_originals(name: str, episodes: int) -> None:
    seen = compare(name, episodes, seed=1000)
    assert seen.steps > 10 * episodes
    assert seen.eaten > episodes
    assert min(seen.helped, seen.failed, seen.held) > episodes / 4
    assert (seen.shared > 0) == ("players=2" not in name)  # that takes three
    assert min(seen.terminated, seen.truncated) > episodes / 20
    assert seen.terminated + seen.truncated == episodes


# ---- rules -----------------------------------------------------------------------------------------------------------


def played(game: Foraging, states: NDArray[np.void], *actions: int) -> Any:
    return game.step(states, np.array([actions]), np.zeros(1, np.uint64))


def test_each_is_paid_by_its_level_for_its_part_of_all_food() -> None:
    game = Foraging(food=2)
    states = placed(game, [(2, 3, 1), (3, 2, 2)], [(3, 3, 3), (6, 6, 1)])
    assert not played(game, states, LOAD, NONE).reward.any()  # too heavy for one
    outcome = played(game, states, LOAD, LOAD)
    assert outcome.reward[0].tolist() == [np.float32(1 / 4), np.float32(2 / 4)]
    assert not outcome.terminated[0]
    states["players"][0, 0, :2] = 6, 7
    outcome = played(game, states, LOAD, LOAD)
    assert outcome.reward[0].tolist() == [np.float32(1 / 4), 0]
    assert outcome.terminated[0]
    assert not game.decisions(states).active.any()


def test_players_swap_places_but_do_not_enter_one_cell() -> None:
    game = Foraging(food=1)
    states = placed(game, [(0, 0, 1), (0, 1, 1)], [(5, 5, 1)])
    played(game, states, EAST, WEST)
    assert states["players"][0, :, :2].tolist() == [[0, 1], [0, 0]]
    played(game, states, EAST, NONE)
    played(game, states, WEST, EAST)  # for (0, 1) both
    assert states["players"][0, :, :2].tolist() == [[0, 2], [0, 0]]
    played(game, states, NORTH, WEST)  # off the field
    assert states["players"][0, :, :2].tolist() == [[0, 2], [0, 0]]


def test_who_is_held_back_may_be_run_into() -> None:
    """The third makes for the cell that the second leaves, which is then held back by the first."""
    game = Foraging(players=3, food=1)
    states = placed(game, [(0, 0, 1), (0, 2, 1), (0, 3, 1)], [(5, 5, 1)])
    played(game, states, EAST, WEST, WEST)
    assert states["players"][0, :, :2].tolist() == [[0, 0], [0, 2], [0, 2]]


def test_what_is_out_of_sight_is_not_observed() -> None:
    game = Foraging(food=2, sight=2)
    assert not game.spec.perfect_information
    states = placed(game, [(4, 4, 1), (1, 4, 2)], [(2, 6, 2), (5, 1, 1)])
    seen = game.decisions(states).observation[0].reshape(2, 4, 3).tolist()
    blank = [-1, -1, 0]
    assert seen[0] == [[0, 4, 2], blank, [2, 2, 1], blank]
    assert seen[1] == [[2, 4, 2], blank, [1, 2, 2], [4, 2, 1]]  # as the original: one sees further at the edge
    assert Foraging(sight=7).spec.perfect_information


def test_the_field_reads_as_it_is_seen() -> None:
    game = Foraging(size=5, players=3, food=2)
    states = placed(game, [(0, 0, 1), (3, 4, 2), (2, 1, 1)], [(1, 1, 2), (3, 2, 4)])
    lines = ["@ . . . .", ". 2 . . .", ". b . . .", ". . 4 . a", ". . . . .", "@ level 1, a level 2, b level 1"]
    assert game.text(states, 0, 0).splitlines() == lines
    near = placed(Foraging(players=2, food=1, sight=1), [(3, 3, 1), (4, 4, 2)], [(6, 6, 1)])
    lines = [". . .", ". @ .", ". . a", "@ level 1, a level 2"]
    assert Foraging(players=2, food=1, sight=1).text(near, 0, 0).splitlines() == lines
    names = [game.action_name(states, 0, 0, action) for action in range(6)]
    assert names == ["none", "north", "south", "west", "east", "load"]


def test_steps_are_counted_up_to_the_longest() -> None:
    game = Foraging(longest=3)
    states = game.start(np.zeros(1, np.uint64))
    outcomes = [played(game, states, NONE, NONE) for _ in range(3)]
    assert [bool(each.truncated[0]) for each in outcomes] == [False, False, True]
    assert not any(each.terminated[0] for each in outcomes)
    assert not game.decisions(states).active.any()


@pytest.mark.parametrize("wrong", [[0, 6], [-1, 2]])
def test_an_action_that_there_is_not_voids_its_game_only(wrong: list[int]) -> None:
    game = Foraging()
    states = game.start(np.arange(3, dtype=np.uint64))
    before = states.copy()
    outcome = game.step(states, np.array([wrong, [0, 5], [NO_ACTION] * 2]), np.zeros(3, np.uint64))
    assert outcome.failed == {0: f"foraging: of the actions {wrong} not all are from 0 to 5."}
    assert game.decisions(states).active[:, 0].tolist() == [False, True, True]
    assert states["steps"].tolist() == [0, 1, 0]
    assert (states["players"] == before["players"]).all()


def test_decisions_write_every_cell_of_the_callers_memory_unless_nobody_looks() -> None:
    game = Foraging(players=3, sight=2)
    states = game.start(np.arange(4, dtype=np.uint64))
    dirty = Decisions.empty(game.spec, 4)
    dirty.observation[:], dirty.legal[:], dirty.seat[:], dirty.active[:] = np.nan, False, 9, False
    assert game.decisions(states, dirty) is dirty
    clean = game.decisions(states)
    for name in ("observation", "legal", "seat", "active"):
        assert (getattr(dirty, name) == getattr(clean, name)).all()
    dirty.observation[:], dirty.blind = 7, True
    assert (game.decisions(states, dirty).observation == 7).all()


# ---- starts ----------------------------------------------------------------------------------------------------------


def features(players: NDArray[np.int64], food: NDArray[np.int64]) -> Counter[Any]:
    """What a start is like: whatever of it may be more or less frequent. Players [P, 3] and food [F, 3], found ones."""
    found: Counter[Any] = Counter()
    for seat, (y, x, level) in enumerate(players.tolist()):
        found["row", seat, y] += 1
        found["column", seat, x] += 1
        found["player's level", seat, level] += 1
    found["levels", tuple(sorted(players[:, 2].tolist())), tuple(sorted(food[:, 2].tolist()))] += 1
    found["food", len(food)] += 1
    for y, x, level in food.tolist():
        found["food at", y, x] += 1
        found["food's level", level] += 1
        found["beside", int((np.abs(players[:, :2] - (y, x)).sum(axis=1) == 1).sum())] += 1
    if len(food) > 1:
        found["apart", tuple(np.abs(food[0, :2] - food[1, :2]).tolist())] += 1
    return found


@pytest.mark.parametrize(
    "name",
    [
        "Foraging-5x5-2p-2f-coop-v3",  # the second food often has no place: 1000 attempts are made, and it is left out
        "Foraging-6x6-4p-2f-v3",
        "Foraging-8x8-2p-3f-v3",
    ],
)
def test_starts_are_distributed_as_the_originals(name: str) -> None:
    theirs, ours = Counter[Any](), Counter[Any]()
    count, many = (600, 40_000) if "5x5" in name else (2500, 40_000)
    env = original(name)
    for seed in range(count):
        restarted(env, seed)
        players = np.array([(*player.position, player.level) for player in env.players])
        theirs += features(players, np.array([(y, x, env.field[y, x]) for y, x in np.argwhere(env.field)]))
    game = Foraging(
        size=env.rows, players=len(env.players), food=env.max_num_food, coop=bool(env.force_coop), sight=None
    )
    states = game.start(mix(5, np.arange(many)))
    for row in range(many):
        food = states["food"][row]
        ours += features(states["players"][row], food[food[:, 2] > 0])
    assert (states["food"][:, :, 2].sum(axis=1) == states["spawned"]).all()
    for feature in theirs.keys() | ours.keys():
        expected, found = ours[feature] / many, theirs[feature] / count
        # In one start a feature may count several times, up to 4; rare ones vary as Poisson's.
        error = np.sqrt(2 * max(expected, 1 / count) * (1 / count + 1 / many))
        assert abs(expected - found) < 5 * error, f"{feature}: {expected:.4f} of ours, {found:.4f} of theirs"


def test_food_is_stored_in_the_order_of_its_cells() -> None:
    food = Foraging(size=12, food=6).start(mix(1, np.arange(500)))["food"].astype(int)
    cells = food[:, :, 0] * 12 + food[:, :, 1]
    assert (np.diff(cells, axis=1) > 0).all()


def test_a_game_depends_on_its_key_alone() -> None:
    game, keys = Foraging(players=3, food=3), mix(2, np.arange(50))
    states = game.start(keys)
    assert (states == game.start(keys)).all()
    assert (game.start(keys[::-1])[::-1] == states).all()
    assert len({row.tobytes() for row in states["players"]}) > 45
    game.restart(states, np.array([7, 3]), keys[[3, 7]])
    assert (states[[3, 7]] == game.start(keys[[7, 3]])).all()
    assert (states[8:] == game.start(keys)[8:]).all()


# ---- copies, settings ------------------------------------------------------------------------------------------------


def test_copies_go_their_own_ways() -> None:
    game = Foraging(food=1)
    states = placed(game, [(0, 0, 1), (5, 4, 1)], [(5, 5, 1)])
    before = states.copy()
    twins = game.copy(states, np.array([0, 0]))
    outcome = game.step(twins, np.array([[SOUTH, LOAD], [EAST, NONE]]), np.zeros(2, np.uint64))
    assert outcome.terminated.tolist() == [True, False]
    assert (states == before).all()
    room = game.room(3)
    game.put(room, np.array([2, 0]), twins)
    played(game, states, EAST, EAST)
    assert room["players"][[2, 0], 0, :2].tolist() == [[1, 0], [0, 1]]
    assert room["over"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["foraging?size=8&players=2&food=2&coop=true", "foraging?size=6&food=1&sight=1"])
def test_it_keeps_what_games_promise(name: str) -> None:
    assert not check(name, games=30).failures


def test_names_tell_the_settings() -> None:
    assert games.make("foraging").spec.name == "foraging"
    assert games.make("foraging?food=2&coop=true&size=8").spec.name == "foraging?coop=true"
    name = "foraging?size=10&players=3&food=4&coop=true&sight=2&longest=20"
    assert games.make(name).spec.name == name
    spec = games.make(name).spec
    assert (spec.seats, spec.actions, spec.observation, spec.teams) == (3, 6, (21,), (0, 0, 0))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("size=2", "size must be a whole number of at least 3, not 2"),
        ("size=8.5", "size must be a whole number of at least 3, not 8.5"),
        ("size=true", "size must be a whole number of at least 3, not True"),
        ("players=0", "players must be a whole number of at least 1, not 0"),
        ("food=0", "food must be a whole number of at least 1, not 0"),
        ("sight=0", "sight must be a whole number of at least 1, not 0"),
        ("longest=none", "longest must be a whole number of at least 1, not 'none'"),
        ("coop=1", "coop must be true or false, not 1"),
        ("size=5&food=3", "food must be at most 2 in a field of size 5, not 3; take a larger size"),
        ("size=5&players=13", "players must be at most 12 in a field of size 5, not 13; take a larger size"),
        ("sizes=5", "unexpected keyword argument 'sizes'"),
    ],
)
def test_settings_that_make_no_game_are_refused(settings: str, why: str) -> None:
    with pytest.raises(GameError, match=why):
        games.make(f"foraging?{settings}")


def test_the_fullest_fields_can_be_started() -> None:
    for size in (3, 4, 5, 8):
        game = Foraging(size=size, players=size * size // 2, food=-(-((size - 2) ** 2) // 5))
        states = game.start(mix(3, np.arange(200)))
        cells = states["players"][:, :, 0].astype(int) * size + states["players"][:, :, 1]
        assert all(len(set(row)) == len(row) for row in cells.tolist())


def test_making_a_game_loads_no_compiler() -> None:
    code = "import sys; import games; games.make('foraging').spec.name; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
