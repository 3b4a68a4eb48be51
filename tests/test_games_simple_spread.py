"""Simple Spread beside MPE2's own `simple_spread_v3`, from the same starts: every number of every step is the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from mpe2 import simple_spread_v3
from numpy.typing import NDArray

import games
from games import NO_ACTION, Decisions, GameError
from games.keys import NATURE, mix, uniform

Array = NDArray[Any]
Arrange = Callable[[np.random.Generator, Any], None]

PLACES = ("position", "velocity", "landmark")


@dataclass(frozen=True)
class Recorded:
    """Random games of MPE2: T steps of B games. What is seen has one more, at the end."""

    start: dict[str, Array]  # position, velocity, landmark [B, P, 2]
    end: dict[str, Array]  # the same after T steps
    actions: Array  # [T, B, P]
    observation: Array  # [T + 1, B, P, O]
    state: Array  # [T + 1, B, G]
    reward: Array  # [T, B, P] float64, as MPE2 gives it
    cut: Array  # [T, B]


def spread(batch: int, agents: int = 3, local_ratio: float = 0.5, longest: int = 25, seed: int = 0) -> tuple[Any, Any]:
    """Our game of those parameters, and states of new games."""
    game = games.make("simple_spread", agents=agents, local_ratio=local_ratio, longest=longest)
    return game, game.start(mix(seed, np.arange(batch)))


def no_keys(batch: int) -> NDArray[np.uint64]:
    return np.zeros(batch, np.uint64)


def record(
    batch: int, agents: int, local_ratio: float, longest: int, seed: int, arrange: Arrange | None = None
) -> Recorded:
    """`batch` random games, one after another. `arrange` may move agents after the reset."""
    env = simple_spread_v3.parallel_env(N=agents, local_ratio=local_ratio, max_cycles=longest)
    rng, world, names = np.random.default_rng(seed), env.unwrapped.world, env.possible_agents
    actions = rng.integers(0, 5, (longest, batch, agents))
    start, end = ({name: np.zeros((batch, agents, 2)) for name in PLACES} for _ in range(2))
    observation = np.zeros((longest + 1, batch, agents, 6 * agents), np.float32)
    state = np.zeros((longest + 1, batch, 6 * agents * agents), np.float32)
    reward, cut = np.zeros((longest, batch, agents)), np.zeros((longest, batch), np.bool_)
    for row in range(batch):
        env.reset(seed=1000 * seed + row)
        if arrange is not None:
            arrange(rng, world)
        note(world, start, row)
        observation[0, row] = [env.unwrapped.observe(name) for name in names]
        state[0, row] = env.state()
        for t in range(longest):
            chosen = dict(zip(names, actions[t, row].tolist(), strict=True))
            seen, earned, ended, stopped, _ = env.step(chosen)
            assert not any(ended.values())
            assert len(set(stopped.values())) == 1
            observation[t + 1, row] = [seen[name] for name in names]
            state[t + 1, row] = env.state()
            reward[t, row] = [earned[name] for name in names]
            cut[t, row] = stopped[names[0]]
        note(world, end, row)
    return Recorded(start, end, actions, observation, state, reward, cut)


def note(world: Any, into: dict[str, Array], row: int) -> None:
    """Write where everything is, and how agents move, into `row` of our fields."""
    into["position"][row] = [agent.state.p_pos for agent in world.agents]
    into["velocity"][row] = [agent.state.p_vel for agent in world.agents]
    into["landmark"][row] = [landmark.state.p_pos for landmark in world.landmarks]


def compare(recorded: Recorded, local_ratio: float = 0.5) -> None:
    """Play the recorded moves from the recorded starts, all games at once."""
    longest, batch, agents = recorded.actions.shape
    game, states = spread(batch, agents, local_ratio, longest)
    for name, values in recorded.start.items():
        states[name] = values
    for t in range(longest):
        decisions = game.decisions(states)
        assert decisions.active.all()
        assert decisions.legal.all()
        np.testing.assert_array_equal(decisions.observation, recorded.observation[t])
        np.testing.assert_array_equal(decisions.global_state, recorded.state[t])
        outcome = game.step(states, recorded.actions[t], no_keys(batch))
        np.testing.assert_array_equal(outcome.reward, recorded.reward[t].astype(np.float32))
        np.testing.assert_array_equal(outcome.truncated, recorded.cut[t])
        assert not outcome.terminated.any()
        assert not outcome.failed
    for name, values in recorded.end.items():  # in 64 bits, where every rounding shows
        np.testing.assert_array_equal(states[name], values)
    decisions = game.decisions(states)
    assert not decisions.active.any()
    assert not decisions.legal.any()
    np.testing.assert_array_equal(decisions.global_state, recorded.state[-1])
    seen = np.zeros((batch * agents, 6 * agents), np.float32)
    game.observe(states, np.repeat(np.arange(batch), agents), np.tile(np.arange(agents), batch), seen)
    np.testing.assert_array_equal(seen.reshape(recorded.observation[-1].shape), recorded.observation[-1])


@pytest.mark.parametrize("batch", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_games_equal_mpe2(batch: int) -> None:
    recorded = record(batch, 3, 0.5, 25, seed=1)
    assert recorded.cut[-1].all()
    assert not recorded.cut[:-1].any()
    compare(recorded)


@pytest.mark.parametrize(("agents", "local_ratio", "longest"), [(1, 0.5, 3), (2, 0.2, 10), (5, 1.0, 25), (5, 0.0, 7)])
def test_games_of_other_sizes_equal_mpe2(agents: int, local_ratio: float, longest: int) -> None:
    compare(record(12, agents, local_ratio, longest, seed=2), local_ratio)


@pytest.mark.parametrize("agents", [2, 3, 5])
def test_agents_that_overlap_push_each_other_as_in_mpe2(agents: int) -> None:
    def crowd(rng: np.random.Generator, world: Any) -> None:
        """Everybody near the one before, from deep inside each other to just apart, some on the move."""
        place = np.zeros(2)
        for agent in world.agents:
            agent.state.p_pos = place.copy()
            agent.state.p_vel = rng.uniform(-1, 1, 2) * rng.integers(0, 2)
            angle, distance = rng.uniform(0, 2 * np.pi), rng.choice([1e-9, 1e-3, 0.1, 0.299, 0.3, 0.301, 0.35])
            place += distance * np.array([np.cos(angle), np.sin(angle)])

    compare(record(40, agents, 0.5, 25, seed=3, arrange=crowd))


def test_agents_in_the_same_place_do_not_push_each_other() -> None:
    """MPE2 divides by their distance; the game would be void."""
    env = simple_spread_v3.parallel_env(N=2)
    env.reset(seed=0)
    for agent in env.unwrapped.world.agents:
        agent.state.p_pos = np.zeros(2)
    with np.errstate(invalid="ignore"):
        env.step(dict.fromkeys(env.agents, 0))
        seen, *_ = env.step(dict.fromkeys(env.agents, 0))
    assert np.isnan(seen["agent_0"]).any()
    game, states = spread(1, agents=2, local_ratio=1.0)
    states["position"] = 0
    for _ in range(2):
        outcome = game.step(states, np.zeros((1, 2), np.int64), no_keys(1))
        assert outcome.reward.tolist() == [[-1, -1]]
    assert not states["position"].any()
    assert not states["velocity"].any()


def test_an_agent_alone_moves_as_computed_by_hand() -> None:
    game, states = spread(5, agents=1)
    states["position"], states["landmark"] = 0, [[3, 4]]
    for _ in range(2):
        outcome = game.step(states, np.arange(5)[:, None], no_keys(5))
    # The first step gives 5 * 0.1 of speed; the second moves by that * 0.1 and leaves 0.75 of it, plus 0.5 again.
    directions = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])
    np.testing.assert_allclose(states["position"][:, 0], 0.05 * directions, atol=1e-15)
    np.testing.assert_allclose(states["velocity"][:, 0], 0.875 * directions, atol=1e-15)
    away = np.hypot(3 - 0.05 * directions[:, 0], 4 - 0.05 * directions[:, 1])
    np.testing.assert_allclose(outcome.reward[:, 0], -0.5 * away, rtol=1e-6)
    names = [game.action_name(states, 0, 0, action) for action in range(5)]
    assert names == ["no_action", "left", "right", "down", "up"]


def test_its_facts_are_those_of_the_wrapped_environment() -> None:
    wrapped = games.make("pettingzoo/mpe2.simple_spread_v3", N=2, max_cycles=9).spec
    assert not wrapped.searchable
    ours = games.make("simple_spread?agents=2&longest=9").spec
    assert replace(wrapped, name="simple_spread?agents=2&longest=9", searchable=True) == ours
    assert games.make("simple_spread").spec == games.spec_of("simple_spread")


def test_other_settings_have_other_names() -> None:
    assert games.make("simple_spread").spec.name == "simple_spread"
    assert (
        games.make("simple_spread?agents=5&longest=25&local_ratio=1").spec.name
        == "simple_spread?agents=5&local_ratio=1"
    )


def test_starts_are_uniform_in_the_square_and_at_rest() -> None:
    batch, bins = 30_000, 10
    _, states = spread(batch, agents=2)
    assert not states["velocity"].any()
    assert not states["steps"].any()
    drawn = np.concatenate([states["position"].reshape(batch, -1), states["landmark"].reshape(batch, -1)], axis=1)
    assert drawn.min() >= -1
    assert drawn.max() < 1
    standard_error = np.sqrt(batch / bins * (1 - 1 / bins))
    for coordinate in drawn.T:
        counts = np.histogram(coordinate, bins, (-1, 1))[0]
        assert np.abs(counts - batch / bins).max() < 5 * standard_error
    correlations = np.corrcoef(drawn.T) - np.eye(drawn.shape[1])
    assert np.abs(correlations).max() < 5 / np.sqrt(batch)


def test_each_coordinate_of_a_start_is_a_number_of_the_games_key() -> None:
    keys = mix(4, np.arange(3))
    states = games.make("simple_spread").start(keys)
    expected = -1 + 2 * uniform(mix(keys[:, None], NATURE, np.arange(12)))
    np.testing.assert_array_equal(states["position"].reshape(3, -1), expected[:, :6])
    np.testing.assert_array_equal(states["landmark"].reshape(3, -1), expected[:, 6:])


def test_games_depend_on_their_key_and_moves_alone() -> None:
    game, states = spread(40, seed=5)
    keys = mix(5, np.arange(40))
    order = np.random.default_rng(5).permutation(40)
    others = game.start(keys[order])
    alone = game.start(keys[7:8])
    actions = np.random.default_rng(6).integers(0, 5, (25, 40, 3))
    for t in range(25):
        reward = game.step(states, actions[t], mix(1, np.arange(40))).reward
        assert (game.step(others, actions[t, order], mix(2, np.arange(40))).reward == reward[order]).all()
        assert (game.step(alone, actions[t, 7:8], no_keys(1)).reward == reward[7:8]).all()
        assert (others == states[order]).all()
        assert (alone == states[7:8]).all()


def test_copies_and_games_put_elsewhere_go_their_own_ways() -> None:
    game, states = spread(3)
    before = states.copy()
    twins = game.copy(states, np.array([2, 0, 2]))
    assert (twins == before[[2, 0, 2]]).all()
    game.step(twins, np.array([[1, 1, 1], [NO_ACTION] * 3, [2, 2, 2]]), no_keys(3))
    assert (states == before).all()
    assert (twins[1] == before[0]).all()
    assert (twins["steps"] == [1, 0, 1]).all()
    room = game.room(4)
    game.put(room, np.array([3, 1]), twins[:2])
    assert (room[[3, 1]] == twins[:2]).all()
    assert not room[[0, 2]]["position"].any()
    moved = room.copy()
    game.step(twins, np.full((3, 3), 4), no_keys(3))
    assert (room == moved).all()


def test_restarted_games_are_new_ones_and_disturb_no_other() -> None:
    game, states = spread(4, longest=2)
    for _ in range(2):
        outcome = game.step(states, np.ones((4, 3), np.int64), no_keys(4))
    assert outcome.truncated.all()
    before, keys = states.copy(), mix(9, np.arange(2))
    game.restart(states, np.array([3, 0]), keys)
    assert (states[[3, 0]] == game.start(keys)).all()
    assert (states[1:3] == before[1:3]).all()
    assert game.decisions(states).active[:, 0].tolist() == [True, False, False, True]


def test_finished_games_and_games_without_actions_stay_as_they_are() -> None:
    game, states = spread(2, longest=1)
    game.step(states, np.array([[1, 2, 3], [NO_ACTION] * 3]), no_keys(2))
    assert states["over"].tolist() == [True, False]
    before = states.copy()
    outcome = game.step(states, np.array([[1, 2, 3], [NO_ACTION] * 3]), no_keys(2))
    assert (states == before).all()
    assert not outcome.reward.any()
    assert not outcome.truncated.any()
    assert not outcome.failed


@pytest.mark.parametrize("wrong", [[0, 5, 0], [0, 0, NO_ACTION], [0, -7, 3]])
def test_an_illegal_action_voids_its_game_only(wrong: list[int]) -> None:
    game, states = spread(2)
    before = states.copy()
    outcome = game.step(states, np.array([[1, 2, 3], wrong]), no_keys(2))
    assert outcome.failed == {1: f"simple_spread: of every seat an action from 0 to 4 is expected, not {wrong}."}
    assert not outcome.reward[1].any()
    assert (states["position"][1] == before["position"][1]).all()
    assert game.decisions(states).active.tolist() == [[True] * 3, [False] * 3]
    assert not outcome.truncated.any()


def test_decisions_write_every_cell_of_the_callers_memory_but_nothing_seen_when_blind() -> None:
    game, states = spread(2)
    clean, dirty = game.decisions(states), Decisions.empty(game.spec, 2)
    blind = Decisions.empty(game.spec, 2, blind=True)
    for out in (dirty, blind):
        assert out.global_state is not None
        out.observation[:], out.global_state[:], out.seat[:], out.active[:], out.legal[:] = 7, 7, 9, False, False
        assert game.decisions(states, out) is out
        for name in ("legal", "seat", "active"):
            assert (getattr(out, name) == getattr(clean, name)).all()
    for name in ("observation", "global_state"):
        assert (getattr(dirty, name) == getattr(clean, name)).all()
        assert (getattr(blind, name) == 7).all()


def test_a_person_can_follow_it() -> None:
    game, states = spread(1)
    states["position"] = [[-1, 1], [0, 0], [0.2, 0]]
    states["landmark"] = [[1, -1], [0, 0.05], [-1, 0]]
    states["velocity"] = [[0.5, 0], [0, -0.25], [0, 0]]
    lines = game.text(states, 0, 1).splitlines()
    assert lines[0] == "step 0 of 25"
    chart = [line[1:-1] for line in lines[2:23]]
    places = {mark: (x, y) for y, line in enumerate(chart) for x, mark in enumerate(line) if mark != " "}
    assert places == {"0": (0, 0), "1": (20, 10), "2": (24, 10), "a": (40, 20), "c": (0, 10)}  # b is under 1
    assert lines[24:] == [
        "seat 0 at (-1.00, +1.00)",
        "seat 1 at (+0.00, +0.00), moving (+0.00, -0.25) (you), touching seat 2",
        "seat 2 at (+0.20, +0.00), touching seat 1",
        "landmark a at (+1.00, -1.00), 1.28 from seat 2",
        "landmark b at (+0.00, +0.05), covered by seat 1",
        "landmark c at (-1.00, +0.00), 1.00 from seat 0",
    ]
    states["position"][0, 0] = [-2, 0]  # the map grows with whoever leaves the square
    assert game.text(states, 0, 0).splitlines()[12][1] == "0"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("agents=0", "agents must be a whole number from 1 up, not 0."),
        ("agents=2.5", "agents must be a whole number from 1 up, not 2.5."),
        ("longest=0", "longest must be a whole number from 1 up, not 0."),
        ("local_ratio=1.5", "local_ratio must be a number from 0 to 1, not 1.5."),
        ("local_ratio=half", "local_ratio must be a number from 0 to 1, not 'half'."),
    ],
)
def test_parameters_that_cannot_be_are_refused(params: str, message: str) -> None:
    with pytest.raises(GameError) as error:
        games.make(f"simple_spread?{params}")
    assert str(error.value) == f"simple_spread: {message}"


def test_it_keeps_its_promises() -> None:
    from games.check import check

    report = check("simple_spread", games=20)
    assert report.passed, report.failures


def test_reading_the_spec_loads_no_compiler() -> None:
    code = "import sys, games; games.spec_of('simple_spread'); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
