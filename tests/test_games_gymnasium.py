"""Gymnasium environments as games, against the environments themselves, and every kind of space against hand."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import games
from arena.match import Table
from games import GameError
from games.gymnasium import discrete, view, wrap
from games.keys import generator, mix


class Door(gym.Env):
    """Actions 5 to 7; only 5 and 7 may be played, and after three steps an end with 10 points more."""

    observation_space = spaces.Dict({"step": spaces.Discrete(4), "luck": spaces.Box(0, 1, (2,), np.float64)})
    action_space = spaces.Discrete(3, start=5)
    made = 0

    def __init__(self, breaks_at: int | None = None, allowed: tuple[int, ...] = (1, 0, 1)) -> None:
        Door.made += 1
        self.breaks_at, self.allowed = breaks_at, allowed

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self._see(), {"action_mask": np.array(self.allowed, np.int8)}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in (5, 7)
        self.at += 1
        if self.at == self.breaks_at:
            raise RuntimeError("the door jammed")
        over = self.at == 3
        return self._see(), action + 10.0 * over, over, over, {"action_mask": np.array(self.allowed, np.int8)}

    def _see(self) -> dict[str, Any]:
        return {"step": self.at, "luck": self.np_random.random(2)}


def step_one(game: Any, states: Any, action: int) -> Any:
    return game.step(states, np.array([[action]]), mix(1, [0]))


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1", "Taxi-v4", "Blackjack-v1"])
def test_a_game_is_the_environment_step_by_step(name: str) -> None:
    game, env = games.make(f"gymnasium/{name}"), gym.make(name)
    seen = view(env.observation_space, name)
    chooser, keys, ends = np.random.default_rng(5), mix(3, np.arange(4)), 0
    states = game.start(keys[:1])
    for key in keys:
        game.restart(states, np.array([0]), np.array([key]))
        value, extra = env.reset(seed=int(generator(key).integers(2**31)))
        over = False
        while not over:
            decisions = game.decisions(states)
            np.testing.assert_array_equal(decisions.observation[0, 0], seen.encode(value))
            mask = extra.get("action_mask", np.ones(game.spec.actions))
            np.testing.assert_array_equal(decisions.legal[0, 0], mask.astype(bool))
            action = int(chooser.choice(np.flatnonzero(mask)))
            value, reward, ended, cut, extra = env.step(action)
            outcome = step_one(game, states, action)
            assert outcome.reward.tolist() == [[np.float32(reward)]]
            over = ended or cut
            assert (outcome.terminated[0], outcome.truncated[0]) == (ended, cut and not ended)
            ends += over
        assert not game.decisions(states).active.any()
        last = np.empty((1, *game.spec.observation), np.float32)
        game.observe(states, np.array([0]), np.array([0]), last)
        np.testing.assert_array_equal(last[0], seen.encode(value))
    assert ends == len(keys)


def test_cartpole_says_what_it_is() -> None:
    spec = games.make("gymnasium/CartPole-v1").spec
    assert (spec.name, spec.seats, spec.actions, spec.observation) == ("gymnasium/CartPole-v1", 1, 2, (4,))
    assert (spec.longest, spec.payoff, spec.searchable, spec.competitive) == (500, "general_sum", False, False)
    assert spec.bounds == (-np.inf, np.inf)
    assert games.make("gymnasium/CliffWalking-v1").spec.longest == 1000
    assert games.make("gymnasium/CartPole-v1?max_episode_steps=7").spec.longest == 7
    assert games.make("gymnasium/CartPole-v1", longest=9).spec.longest == 9


def test_a_time_limit_truncates() -> None:
    game = games.make("gymnasium/FrozenLake-v1", max_episode_steps=3, is_slippery=False)
    states = game.start(mix(1, [0]))
    flags = [(bool(o.terminated[0]), bool(o.truncated[0])) for o in (step_one(game, states, 0) for _ in range(3))]
    assert flags == [(False, False), (False, False), (False, True)]


def test_the_same_key_and_moves_replay_a_game_in_any_row() -> None:
    game = games.make("gymnasium/Blackjack-v1")  # draws cards while it is played
    table = Table(game, mix(11, np.arange(40)))
    for _ in range(3):
        active = table.pending().active
        table.play(np.where(active, 1, games.NO_ACTION))
    assert len(set(table.returns[:, 0].tolist())) > 1
    for row in range(0, 40, 7):
        again = Table(game, table.keys[row : row + 1])
        again.replay(table.moves[row : row + 1], table.steps[row : row + 1])
        assert again.returns[0] == table.returns[row]
        np.testing.assert_array_equal(again.pending().observation, table.pending().observation[row : row + 1])


def test_text_is_the_environments_own_where_it_has_one() -> None:
    lake, pole = games.make("gymnasium/FrozenLake-v1"), games.make("gymnasium/CartPole-v1")
    assert "FHFH" in lake.text(lake.start(mix(1, [0])), 0, 0)
    assert pole.text(pole.start(mix(1, [0])), 0, 0).startswith("gymnasium/CartPole-v1: [")


def test_actions_are_called_what_the_environment_says() -> None:
    class Named(Door):
        def get_action_meanings(self) -> list[str]:
            return ["NOOP", "FIRE", "LEFT"]

    for maker, names in ((Named, ["noop", "fire", "left"]), (Door, ["0", "1", "2"])):
        game = wrap(maker, "door")
        states = game.start(mix(1, [0]))
        assert [game.action_name(states, 0, 0, action) for action in range(3)] == names
        assert game.scene(states, 0, 0) is None  # it cannot draw itself


def test_your_own_environment_is_reused_and_replaced_when_it_breaks() -> None:
    Door.made = 0
    game = wrap(Door, "door")
    assert (game.spec.actions, game.spec.observation, game.spec.longest) == (3, (6,), 1000)
    states = game.start(mix(1, np.arange(2)))
    made = Door.made
    decisions = game.decisions(states)
    assert decisions.legal[:, 0].tolist() == [[True, False, True]] * 2
    assert (decisions.observation[0, 0] != decisions.observation[1, 0]).any()
    rewards = [game.step(states, np.array([[0], [2]]), mix(1, [0, 1])).reward[:, 0].tolist() for _ in range(3)]
    assert rewards == [[5, 7], [5, 7], [15, 17]]
    game.restart(states, np.arange(2), mix(1, np.arange(2)))
    assert Door.made == made
    np.testing.assert_array_equal(game.decisions(states).observation, decisions.observation)

    broken = wrap(lambda: Door(breaks_at=2), "door")
    states = broken.start(mix(1, [0]))
    made = Door.made
    assert not step_one(broken, states, 0).failed
    outcome = step_one(broken, states, 0)
    assert outcome.failed == {0: "door raised RuntimeError when it played [0] at step 1: the door jammed"}
    broken.restart(states, np.array([0]), mix(1, [0]))
    assert Door.made == made + 1
    assert not step_one(broken, states, 0).failed


def test_a_mask_that_allows_nothing_voids_the_game() -> None:
    game = wrap(lambda: Door(allowed=(0, 0, 0)), "door")
    states = game.start(mix(1, [0]))
    assert not game.decisions(states).active.any()
    assert "its action mask allows nothing" in step_one(game, states, 0).failed[0]


def test_spaces_become_arrays() -> None:
    mask = spaces.Box(0, 1, (3,), np.int8)
    frame = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    board = np.arange(6 * 7 * 2, dtype=np.int8).reshape(6, 7, 2)
    cases: list[tuple[Any, Any, Any]] = [
        (spaces.Box(-1, 1, (2,)), [0.5, -1], [0.5, -1]),
        (spaces.Box(-1, 1, ()), 0.5, [0.5]),
        (spaces.Box(0, 255, (4, 5, 3), np.uint8), frame, frame.transpose(2, 0, 1) / 255),
        (spaces.Box(0, 255, (2, 5, 3), np.uint8), frame[:2], frame[:2] / 255),  # stacked frames: planes already
        (spaces.Box(0, 255, (3,), np.uint8), [0, 51, 255], [0, 0.2, 1]),
        (spaces.Box(0, 9, (3,), np.uint8), [0, 1, 9], [0, 1, 9]),
        (spaces.Box(-9, 99, (6, 7, 2), np.int8), board, board.transpose(2, 0, 1)),
        (spaces.Discrete(3, start=-1), 1, [0, 0, 1]),
        (spaces.MultiBinary(3), [1, 0, 1], [1, 0, 1]),
        (spaces.MultiDiscrete([2, 3]), [1, 0], [0, 1, 1, 0, 0]),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 9, (1,)))), (1, [7]), [0, 1, 7]),
        (spaces.Dict(b=spaces.Discrete(2), a=spaces.Box(0, 9, (1,))), {"b": 0, "a": [7]}, [1, 0, 7]),
        (spaces.Dict(observation=spaces.Discrete(2), action_mask=mask), {"observation": 1, "action_mask": 0}, [0, 1]),
        (
            spaces.Dict(action_mask=mask, x=spaces.Discrete(2), y=spaces.Discrete(2)),
            {"x": 0, "y": 1, "action_mask": 0},
            [1, 0, 0, 1],
        ),
    ]
    for space, value, expected in cases:
        seen = view(space, "it")
        array = seen.encode({k: np.asarray(v) for k, v in value.items()} if isinstance(value, dict) else value)
        assert (array.dtype, array.shape) == (np.float32, seen.shape), space
        np.testing.assert_allclose(array, expected, rtol=1e-6, err_msg=str(space))


def test_values_outside_their_space_are_refused() -> None:
    with pytest.raises(GameError, match=r"agent_0 observes an array of shape \(7,\), but its space says \(3,\)"):
        view(spaces.Box(0, 1, (3,)), "agent_0").encode(np.zeros(7))
    with pytest.raises(GameError, match=r"it observes -1, which is outside Discrete\(3\)"):
        view(spaces.Discrete(3), "it").encode(-1)
    with pytest.raises(GameError, match=r"it observes Sequence\(.*no fixed size"):
        view(spaces.Sequence(spaces.Discrete(2)), "it")


def test_actions_that_cannot_be_played_are_refused() -> None:
    assert discrete(spaces.Discrete(3, start=2), "it") == (3, 2)
    with pytest.raises(GameError, match=r"gymnasium/Pendulum-v1 acts in Box\(-2.0, 2.0, \(1,\), float32\), but only"):
        games.make("gymnasium/Pendulum-v1")
    with pytest.raises(GameError, match=r"it acts in MultiDiscrete\(\[2 2\]\)"):
        discrete(spaces.MultiDiscrete([2, 2]), "it")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("CartPol-v1", r"cannot make 'CartPol-v1': .* Did you mean 'CartPole-v1'\?"),
        ("CartPole-v9", r"version `v9` for environment `CartPole` doesn't exist\. Did you mean 'CartPole-v"),
        ("CartPole-v1?longest=0", "longest must be at least 1, not 0"),
        ("CartPole-v1?wind=3", "cannot be made with {'wind': 3}"),
    ],
)
def test_wrong_names_and_parameters_say_so(name: str, says: str) -> None:
    with pytest.raises(GameError, match=says):
        games.make(f"gymnasium/{name}")
