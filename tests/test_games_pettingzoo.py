"""PettingZoo environments as games, against walks of the environments themselves and small ones counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv

import games
from arena.match import Table
from games import NO_ACTION, Game, GameError
from games.gymnasium import view
from games.keys import generator, mix
from games.pettingzoo import wrap
from games.pettingzoo_names import FAMILIES, environments, unversioned
from games.pettingzoo_traits import TRAITS
from games.scene import EVERYTHING, Image, Scene, scene_of

pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")

KEY = mix(7, [0])
DEAD, CUT = "dead", "cut"
Event = tuple[str, dict[str, float], dict[str, str]]
"""Who acts, what that earns, and who leaves how."""


class Tale(AECEnv):
    """An AEC environment that follows a script, with PettingZoo's own bookkeeping of rewards and of the dead."""

    metadata = {"name": "tale", "render_modes": []}  # noqa: RUF012

    def __init__(self, script: Sequence[Event], dead_first: bool = True, masked: bool = True) -> None:
        self.script, self.dead_first, self.masked = script, dead_first, masked
        self.possible_agents = ["a", "b", "c"]
        self.count = {"a": 2, "b": 4, "c": 3}  # actions, and the size of what is seen

    def observation_space(self, agent: str) -> Any:
        return spaces.Box(-1, 99, (self.count[agent],))

    def action_space(self, agent: str) -> Any:
        return spaces.Discrete(self.count[agent], start=10)

    def observe(self, agent: str) -> Any:
        assert agent in self.agents, "the departed see nothing"
        return np.full(self.count[agent], self.at, np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.agents, self.at, self.played = self.possible_agents[:], 0, []
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {"action_mask": self._mask(agent)} if self.masked else {} for agent in self.agents}
        self.agent_selection = self.script[0][0]

    def step(self, action: int | None) -> None:
        if self.terminations[self.agent_selection] or self.truncations[self.agent_selection]:
            self._was_dead_step(action)
            if not self.dead_first and self.agents and self.at < len(self.script):
                self.agent_selection = self.script[self.at][0]
            return
        mover, earned, leaves = self.script[self.at]
        assert mover == self.agent_selection
        assert action in range(10, 10 + self.count[mover])
        self.played.append(action)
        self._clear_rewards()
        self._cumulative_rewards[mover] = 0.0
        self.rewards |= {agent: reward for agent, reward in earned.items() if agent in self.agents}
        for agent, how in leaves.items():
            (self.terminations if how == DEAD else self.truncations)[agent] = True
        self.at += 1
        self.agent_selection = self.script[self.at][0] if self.at < len(self.script) else self.agents[0]
        self._accumulate_rewards()
        if self.dead_first:
            self._deads_step_first()

    def _mask(self, agent: str) -> Any:
        return (np.arange(self.count[agent]) != 0).astype(np.int8)  # the first is never legal


class Rounds(ParallelEnv):
    """A parallel environment that follows a script of rounds: what is earned, and who leaves how."""

    metadata = {"name": "rounds", "render_modes": []}  # noqa: RUF012

    def __init__(self, script: Sequence[tuple[dict[str, float], dict[str, str]]]) -> None:
        self.script, self.possible_agents = script, ["a", "b", "c"]
        self.max_cycles, self.asked = 12, []

    def observation_space(self, agent: str) -> Any:
        mask = spaces.Box(0, 1, (3,), np.int8)
        return spaces.Dict(observation=spaces.Discrete(20), action_mask=mask)

    def action_space(self, agent: str) -> Any:
        return spaces.Discrete(3)

    def state(self) -> Any:
        return np.array([self.at, len(self.agents)])

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.agents, self.at, self.left = self.possible_agents[:], 0, dict[str, str]()
        return self._see(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        self.asked.append(dict(actions))
        assert sorted(actions) == self.agents
        earned, leaves = self.script[self.at]
        self.at += 1
        seen, acted = self._see(), self.agents
        self.agents = [agent for agent in acted if agent not in leaves]
        self.left |= leaves
        # As some do, it goes on telling how everyone left.
        ended = {agent: self.left.get(agent) == DEAD for agent in self.possible_agents}
        cut = {agent: self.left.get(agent) == CUT for agent in self.possible_agents}
        return seen, dict(earned), ended, cut, {agent: {} for agent in acted}

    def _see(self) -> dict[str, Any]:
        mask = np.array([1, self.at % 2, 1], np.int8)
        return {agent: {"observation": self.at, "action_mask": mask} for agent in self.agents}


DOUBLE_MOVE: list[Event] = [
    ("a", {"a": 1, "c": 0.5}, {}),
    ("a", {"a": 2}, {}),
    ("b", {"c": 4}, {}),
    ("c", {"a": 5, "b": -5, "c": 1}, {"a": DEAD, "b": DEAD, "c": DEAD}),
]
DEATHS: list[Event] = [
    ("a", {"b": 1}, {}),
    ("b", {"c": -3, "b": 2}, {"c": DEAD}),  # dies by another's move, and pays for it
    ("a", {"a": 10, "b": 10, "c": 10}, {}),
    ("b", {"a": -1, "b": 7}, {"b": CUT}),  # leaves by its own move, with 7
    ("a", {"a": 3}, {}),
    ("a", {"a": 4}, {"a": DEAD}),
]
ALL_CUT: list[Event] = [("a", {"a": 1}, {}), ("c", {"b": 2}, {"a": CUT, "b": CUT, "c": CUT})]
DEAD_AND_CUT: list[Event] = [("a", {}, {"b": DEAD}), ("a", {"a": 1, "c": 2}, {"a": DEAD, "c": CUT})]


def first_legal(rng: np.random.Generator, legal: Any) -> int:
    return int(np.flatnonzero(legal)[0])


def at_random(rng: np.random.Generator, legal: Any) -> int:
    return int(rng.choice(np.flatnonzero(legal)))


def play(game: Game, states: Any, choose: Callable[[Any, Any], int] = at_random, seed: int = 0) -> list[Any]:
    """One game to its end: (what was to be decided, actions, outcome) of each step."""
    rng, walk = np.random.default_rng(seed), []
    while (decisions := game.decisions(states)).active.any():
        actions = np.full((1, game.spec.slots), NO_ACTION)
        for slot in np.flatnonzero(decisions.active[0]):
            actions[0, slot] = choose(rng, decisions.legal[0, slot])
        outcome = game.step(states, actions, KEY)
        assert not outcome.failed
        walk.append((decisions, actions[0].tolist(), outcome))
    return walk


def sights(game: Game, states: Any) -> Any:
    out = np.empty((game.spec.seats, *game.spec.observation), np.float32)
    game.observe(states, np.zeros(game.spec.seats, np.int64), np.arange(game.spec.seats), out)
    return out


def delivered(env: Any, choose: Callable[[str], int]) -> dict[str, float]:
    """What PettingZoo's own loop hands to each agent in a whole game."""
    totals = dict.fromkeys(env.possible_agents, 0.0)
    env.reset()
    for agent in env.agent_iter():
        _, reward, ended, cut, _ = env.last(observe=False)
        totals[agent] += reward
        env.step(None if ended or cut else choose(agent))
    return totals


@pytest.mark.parametrize("dead_first", [True, False])
@pytest.mark.parametrize(
    ("script", "seats", "totals", "cut"),
    [
        (DOUBLE_MOVE, [0, 0, 1, 2], [8, -5, 5.5], False),
        (DEATHS, [0, 1, 0, 1, 0, 0], [16, 20, -3], False),
        (ALL_CUT, [0, 2], [1, 2, 0], True),
        (DEAD_AND_CUT, [0, 0], [1, 0, 2], True),
    ],
)
def test_every_seat_earns_what_is_its_own(
    script: list[Event], seats: list[int], totals: list[float], cut: bool, dead_first: bool
) -> None:
    expected = [[earned.get(agent, 0.0) for agent in "abc"] for _, earned, _ in script]
    if script is DEATHS and dead_first:
        expected[2][2] = 0.0  # removed by then
    elif script is DEATHS:
        totals = [16, 20, 7]  # dead, but not removed before the others are done, c shares in what its team earns
    game = wrap(lambda: Tale(script, dead_first), "tale")
    states = game.start(KEY)
    for _ in range(2):  # the second game on the same object
        walk = play(game, states)
        assert [int(d.seat[0, 0]) for d, _, _ in walk] == seats
        assert sum(o.reward[0] for _, _, o in walk).tolist() == totals
        assert [o.reward[0].tolist() for _, _, o in walk] == expected
        ends = [(bool(o.terminated[0]), bool(o.truncated[0])) for _, _, o in walk]
        assert ends == [(False, False)] * (len(script) - 1) + [(not cut, cut)]
        game.restart(states, np.array([0]), KEY)
    loop = delivered(Tale(script, dead_first), lambda agent: 11)
    assert list(loop.values()) == totals


def test_turns_pad_and_mask_and_number_actions_by_seat() -> None:
    made: list[Tale] = []
    game = wrap(lambda: made.append(Tale(DOUBLE_MOVE)) or made[-1], "tale")
    assert (game.spec.seats, game.spec.actions, game.spec.observation) == (3, 4, (4,))
    assert (game.spec.longest, game.spec.simultaneous, game.spec.searchable) == (1000, False, False)
    assert (game.spec.payoff, game.spec.teams, game.spec.bounds) == ("general_sum", (0, 1, 2), (-np.inf, np.inf))
    states = game.start(KEY)
    walk = play(game, states, first_legal)
    assert made[-1].played == [11, 11, 11, 11]
    legal = [d.legal[0, 0].tolist() for d, _, _ in walk]
    a, b, c = [False, True, False, False], [False, True, True, True], [False, True, True, False]
    assert legal == [a, a, b, c]
    seen = [d.observation[0, 0].tolist() for d, _, _ in walk]
    assert seen == [[0, 0, 0, 0], [1, 1, 0, 0], [2, 2, 2, 2], [3, 3, 3, 0]]


def test_without_a_mask_a_seat_may_do_all_that_is_its_own() -> None:
    game = wrap(lambda: Tale(DOUBLE_MOVE, masked=False), "tale")
    legal = [d.legal[0, 0].sum() for d, _, _ in play(game, game.start(KEY))]
    assert legal == [2, 2, 4, 3]


def test_the_departed_keep_their_last_sight() -> None:
    game = wrap(lambda: Tale(DEATHS), "tale")
    states = game.start(KEY)
    seen = []
    while (decisions := game.decisions(states)).active.any():
        seen.append(sights(game, states)[:, 0].tolist())
        game.step(states, np.array([[first_legal(generator(1), decisions.legal[0, 0])]]), KEY)
    seen.append(sights(game, states)[:, 0].tolist())
    # By then: c left in step 2, b in step 4, a in step 6.
    assert seen == [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 2], [4, 4, 2], [5, 4, 2], [6, 4, 2]]


@pytest.mark.parametrize(
    ("script", "active", "totals", "cut", "last_seen"),
    [
        (
            [({"a": 1, "b": 2}, {}), ({"c": -4, "a": 1}, {"c": DEAD}), ({"a": 5, "b": 5}, {"a": CUT, "b": CUT})],
            [[1, 1, 1], [1, 1, 1], [1, 1, 0]],
            [7, 7, -4],
            True,
            [3, 3, 2],
        ),
        (
            [({"a": 1}, {"a": CUT}), ({"b": 2}, {"b": DEAD}), ({"c": 3, "b": 9}, {}), ({"c": 4}, {"c": DEAD})],
            [[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]],
            [1, 11, 7],  # b is still paid after it died
            False,
            [1, 2, 4],
        ),
    ],
)
def test_rounds_let_agents_go_and_credit_what_they_are_paid(
    script: Any, active: list[list[int]], totals: list[float], cut: bool, last_seen: list[int]
) -> None:
    made: list[Rounds] = []
    game = wrap(lambda: made.append(Rounds(script)) or made[-1], "rounds", payoff="cooperative")
    assert (game.spec.simultaneous, game.spec.longest, game.spec.global_state) == (True, 12, (2,))
    assert (game.spec.teams, game.spec.competitive) == ((0, 0, 0), False)
    states = game.start(KEY)
    for _ in range(2):
        walk = play(game, states)
        assert [d.active[0].tolist() for d, _, _ in walk] == active
        assert sum(o.reward[0] for _, _, o in walk).tolist() == totals
        ends = [(bool(o.terminated[0]), bool(o.truncated[0])) for _, _, o in walk]
        assert ends == [(False, False)] * (len(script) - 1) + [(not cut, cut)]
        assert sights(game, states).argmax(axis=1).tolist() == last_seen
        for step, (decisions, actions, _) in enumerate(walk):
            chosen = {agent: action for agent, action in zip("abc", actions, strict=True) if action != NO_ACTION}
            assert made[-1].asked[step] == chosen
            mask = [True, bool(step % 2), True]
            assert decisions.legal[0].tolist() == [mask if on else [False] * 3 for on in active[step]]
            assert decisions.global_state is not None
            assert decisions.global_state[0].tolist() == [step, sum(active[step])]
        game.restart(states, np.array([0]), KEY)
        made[-1].asked.clear()


def test_a_game_is_cut_at_longest_and_everyone_still_sees() -> None:
    game = wrap(lambda: Tale(DEATHS), "tale", longest=3)
    states = game.start(KEY)
    walk = play(game, states)
    assert [bool(o.truncated[0]) for _, _, o in walk] == [False, False, True]
    assert sights(game, states)[:, 0].tolist() == [3, 3, 2]


class Undying(Tale):
    def step(self, action: int | None) -> None:
        if action is not None:
            super().step(action)


class Blurred(Tale):
    def observe(self, agent: str) -> Any:
        return np.zeros(7)


@pytest.mark.parametrize(
    ("make_env", "says"),
    [
        (lambda: Undying(DEATHS), "c is dead, but its step with None did not remove it"),
        (lambda: Blurred(DEATHS), r"tale: a observes an array of shape \(7,\), but its space says \(2,\)"),
        (lambda: Tale([("a", {"a": np.nan}, {})] * 9), "gave a reward that is not finite"),
    ],
)
def test_an_environment_that_breaks_its_word_voids_its_game(make_env: Any, says: str) -> None:
    game = wrap(make_env, "tale")
    states = game.start(KEY)
    failed: dict[int, str] = {}
    for action in (1, 1, 1):
        game.decisions(states)
        failed |= game.step(states, np.array([[action]]), KEY).failed
    assert list(failed) == [0]
    with pytest.raises(pytest.fail.Exception, match=says):
        pytest.fail(failed[0])


def test_what_cannot_be_played_is_refused() -> None:
    continuous, teams = "mpe2.simple_spread_v3?continuous_actions=true", {"x": 0}
    with pytest.raises(GameError, match=r"simple_spread_v3: agent_0 acts in Box\(0.0, 1.0, \(5,\), float32\)"):
        games.make(f"pettingzoo/{continuous}")
    with pytest.raises(GameError, match="no team is given for a; the names of agents begin with one of: x"):
        wrap(lambda: Tale(DEATHS), "tale", teams=teams)
    with pytest.raises(GameError, match="2 teams are given for 3 seats"):
        wrap(lambda: Tale(DEATHS), "tale", teams=(0, 1))
    with pytest.raises(GameError, match="does not name its agents beforehand"):
        wrap(AECEnv, "nobody")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("classic.conect_four_v3", r"no PettingZoo environment 'classic.conect_four_v3'\. Did you mean 'classic.conn"),
        ("connect_four_v3", r"names read family.module or package.module\. Did you mean 'classic.connect_four_v3'\?"),
        ("clasic.go_v5", r"Did you mean 'classic.go_v5'\?"),
        ("classic.connect_four", r"The version installed is 'classic.connect_four_v3'"),
        ("mpe2.simple_tag_v2", r"The version installed is 'mpe2.simple_tag_v3'"),
        ("butterfly.knights_archers_zombies_v10", r"The version installed is 'butterfly.knights_archers_zombies_v11'"),
        ("mpe2.simple_spread_v3?wind=1", r"cannot be made with {'wind': 1}"),
    ],
)
def test_wrong_names_and_parameters_say_so(name: str, says: str) -> None:
    with pytest.raises(GameError, match=says):
        games.make(f"pettingzoo/{name}")


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: str) -> Any:
        raise ModuleNotFoundError("No module named 'pymunk'", name="pymunk")

    monkeypatch.setattr("games.pettingzoo_names.import_module", absent)
    with pytest.raises(GameError, match=r"lacks a package: No module named 'pymunk'. .* 'pettingzoo\[butterfly\]'"):
        games.make("pettingzoo/butterfly.pistonball_v6")
    monkeypatch.setattr("games.pettingzoo_names.find_spec", lambda package: None)
    with pytest.raises(GameError, match=r"lives in magent2.environments, which is not installed. .* 'magent2'"):
        games.make("pettingzoo/magent2.battle_v4")


def test_the_old_home_of_the_particle_worlds_still_works_with_a_hint() -> None:
    with pytest.warns(UserWarning, match="moved to the package mpe2"):
        game = games.make("pettingzoo/mpe.simple_spread_v3")
    assert game.spec == games.make("pettingzoo/mpe2.simple_spread_v3").spec


def test_known_traits_are_of_environments_that_exist() -> None:
    installed = {unversioned(each).partition(".")[2] for family in (*FAMILIES, "mpe2") for each in environments(family)}
    magent2 = {"adversarial_pursuit", "battle", "battlefield", "combined_arms", "tiger_deer"}
    assert set(TRAITS) - installed == magent2
    if there := {unversioned(each).partition(".")[2] for each in environments("magent2")}:
        assert magent2 < there


@pytest.mark.parametrize(
    ("name", "payoff", "teams", "longest"),
    [
        ("classic.connect_four_v3", "zero_sum", (0, 1), 1000),
        ("classic.rps_v2", "zero_sum", (0, 1), 15),
        ("mpe2.simple_v3", "general_sum", (0,), 25),
        ("mpe2.simple_spread_v3?N=4&max_cycles=40", "general_sum", (0, 0, 0, 0), 40),
        ("mpe2.simple_tag_v3", "general_sum", (0, 0, 0, 1), 25),
        ("mpe2.simple_adversary_v3", "general_sum", (0, 1, 1), 25),
        ("mpe2.simple_crypto_v3", "general_sum", (0, 1, 1), 25),
        ("mpe2.simple_world_comm_v3", "general_sum", (0, 0, 0, 0, 1, 1), 25),
        ("mpe2.simple_tag_v3?payoff=zero_sum&teams=(0,1,2,2)&longest=9", "zero_sum", (0, 1, 2, 2), 9),
        ("sisl.pursuit_v5?max_cycles=30", "cooperative", (0,) * 8, 30),
    ],
)
def test_traits(name: str, payoff: str, teams: tuple[int, ...], longest: int) -> None:
    spec = games.make(f"pettingzoo/{name}").spec
    assert (spec.payoff, spec.teams, spec.longest) == (payoff, teams, longest)
    assert spec.perfect_information == (name == "classic.connect_four_v3") == (spec.bounds == (-1, 1))
    assert spec.simultaneous == (name != "classic.connect_four_v3")


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("classic.connect_four_v3", False),
        ("mpe2.simple_push_v3", True),
        ("mpe2.simple_spread_v3", False),
        ("mpe2.simple_tag_v3", True),
        ("mpe2.simple_tag_v3?num_good=3", True),
        ("mpe2.simple_tag_v3?roles=False", False),
        ("sisl.pursuit_v5", False),
    ],
)
def test_sides_that_are_not_alike_have_roles(name: str, roles: bool) -> None:
    assert games.make(f"pettingzoo/{name}").spec.roles is roles


@pytest.mark.parametrize(
    ("teams", "given", "roles"),
    [((), None, False), ((0, 1, 1), None, True), ((0, 0, 0), None, False), ((0, 1, 1), False, False), ((), True, True)],
)
def test_teams_that_differ_in_size_have_roles_unless_given(
    teams: tuple[int, ...], given: bool | None, roles: bool
) -> None:
    assert wrap(lambda: Tale([("a", {}, {})]), "tale", teams=teams, roles=given).spec.roles is roles


EASY_HANABI = {"colors": 2, "max_life_tokens": 40, "max_information_tokens": 3}  # so that chance players score
CLASSIC = [
    ("connect_four_v3", 6, {}),
    ("tictactoe_v3", 6, {}),
    ("leduc_holdem_v4", 6, {}),
    ("texas_holdem_v4", 6, {}),
    ("texas_holdem_no_limit_v6", 6, {}),
    ("hanabi_v5", 3, EASY_HANABI),
    ("chess_v6", 1, {}),
    ("go_v5", 1, {"board_size": 5}),
]


@pytest.mark.filterwarnings("ignore:.*precision lowered")
@pytest.mark.parametrize(("name", "rounds", "params"), CLASSIC)
def test_a_turn_based_game_is_the_environment_step_by_step(name: str, rounds: int, params: dict[str, int]) -> None:
    game = games.make(f"pettingzoo/classic.{name}", **params)
    env, earned = import_module(f"pettingzoo.classic.{name}").env(**params), 0.0
    views = {agent: view(env.observation_space(agent), agent) for agent in env.possible_agents}
    states = game.start(KEY)
    for key in mix(3, np.arange(rounds)):
        game.restart(states, np.array([0]), np.array([key]))
        env.reset(seed=int(generator(key).integers(2**31)))
        rng, totals, handed = generator(key), np.zeros(2), dict.fromkeys(env.possible_agents, 0.0)
        for agent in env.agent_iter():
            value, reward, ended, cut, _ = env.last()
            handed[agent] += reward
            if ended or cut:
                env.step(None)
                continue
            decisions, mask = game.decisions(states), value["action_mask"]
            assert decisions.seat[0, 0] == env.possible_agents.index(agent)
            np.testing.assert_array_equal(decisions.observation[0, 0], views[agent].encode(value))
            np.testing.assert_array_equal(decisions.legal[0, 0], mask == 1)
            for other, sight in zip(env.possible_agents, sights(game, states), strict=True):
                np.testing.assert_array_equal(sight, views[other].encode(env.observe(other)))
            action = at_random(rng, mask)
            env.step(action)
            outcome = game.step(states, np.array([[action]]), KEY)
            assert outcome.reward[0].tolist() == [env.rewards[other] for other in env.possible_agents]
            totals += outcome.reward[0]
            assert bool(outcome.terminated[0]) == any(env.terminations.values())
        assert not outcome.truncated[0]
        assert not game.decisions(states).active.any()
        assert totals.tolist() == list(handed.values())
        assert game.spec.payoff == ("zero_sum" if totals.sum() == 0 else "cooperative")
        earned += np.abs(totals).sum()
    assert earned > 0 or name == "chess_v6", "no reward was ever paid, so none was tested"


PARALLEL = [
    ("pettingzoo.classic", "rps_v2", {}),
    ("pettingzoo.butterfly", "knights_archers_zombies_v11", {"spawn_delay": 2, "max_cycles": 250}),
    ("pettingzoo.sisl", "pursuit_v5", {"max_cycles": 5}),
    ("mpe2", "simple_spread_v3", {}),
    ("mpe2", "simple_adversary_v3", {}),
    ("mpe2", "simple_tag_v3", {}),
    ("mpe2", "simple_speaker_listener_v4", {}),
    ("mpe2", "simple_world_comm_v3", {"max_cycles": 5}),
]


@pytest.mark.parametrize(("package", "name", "params"), PARALLEL)
def test_a_simultaneous_game_is_the_environment_round_by_round(package: str, name: str, params: dict[str, int]) -> None:
    family = package.rpartition(".")[2]
    game, env = (
        games.make(f"pettingzoo/{family}.{name}", **params),
        import_module(f"{package}.{name}").parallel_env(**params),
    )
    agents = env.possible_agents
    views = {agent: view(env.observation_space(agent), agent) for agent in agents}
    states = game.start(KEY)
    for key in mix(3, np.arange(2)):
        game.restart(states, np.array([0]), np.array([key]))
        values, _ = env.reset(seed=int(generator(key).integers(2**31)))
        rng, totals, direct = generator(key), np.zeros(len(agents)), dict.fromkeys(agents, 0.0)
        alive = []
        while env.agents:
            alive.append(len(env.agents))
            decisions = game.decisions(states)
            assert decisions.active[0].tolist() == [agent in env.agents for agent in agents]
            for seat, agent in enumerate(agents):
                if agent in env.agents:
                    count = env.action_space(agent).n
                    assert decisions.legal[0, seat].tolist() == [a < count for a in range(game.spec.actions)]
                    seen = views[agent].encode(values[agent]).ravel()
                    padded = np.pad(seen, (0, decisions.observation[0, seat].size - seen.size))
                    np.testing.assert_array_equal(decisions.observation[0, seat].ravel(), padded)
            if decisions.global_state is not None:
                state = np.asarray(env.state(), np.float32)
                state = state.transpose(2, 0, 1) if state.ndim == 3 else state
                np.testing.assert_array_equal(decisions.global_state[0], state)
            chosen = {agent: int(rng.integers(env.action_space(agent).n)) for agent in env.agents}
            values, rewards, ended, cut, _ = env.step(chosen)
            outcome = game.step(states, np.array([[chosen.get(agent, NO_ACTION) for agent in agents]]), KEY)
            assert outcome.reward[0].tolist() == [np.float32(rewards.get(agent, 0)) for agent in agents]
            totals += outcome.reward[0]
            direct = {agent: direct[agent] + rewards.get(agent, 0) for agent in agents}
            assert bool(outcome.terminated[0] or outcome.truncated[0]) == (not env.agents)
        assert bool(outcome.truncated[0]) == any(cut[agent] and not ended[agent] for agent in cut)
        np.testing.assert_allclose(totals, list(direct.values()), rtol=1e-5, atol=1e-5)
        assert (game.spec.global_state is None) == (name == "rps_v2")
        if name.startswith("knights"):
            assert min(alive) < len(agents), "nobody died before the end, so deaths were not tested"


@pytest.mark.parametrize(
    "name",
    ["classic.leduc_holdem_v4", "classic.hanabi_v5", "mpe2.simple_tag_v3", "butterfly.knights_archers_zombies_v11"],
)
def test_the_same_key_and_moves_replay_a_game_in_any_row(name: str) -> None:
    game = games.make(f"pettingzoo/{name}")
    table, rng = Table(game, mix(11, np.arange(3))), np.random.default_rng(0)
    for _ in range(12):
        decisions = table.pending()
        noise = np.where(decisions.legal, rng.random(decisions.legal.shape), -1)
        table.play(np.where(decisions.active, noise.argmax(axis=2), NO_ACTION))
    again = Table(game, table.keys[2:])
    again.replay(table.moves[2:], table.steps[2:])
    assert again.returns[0].tolist() == table.returns[2].tolist()
    assert (again.over[0], again.steps[0]) == (table.over[2], table.steps[2])
    if not again.over[0]:
        np.testing.assert_array_equal(again.pending().observation[0], table.pending().observation[2])
    assert not np.array_equal(
        table.game.start(table.keys)[0].single.seen.observation, again.states[0].single.seen.observation
    )


def test_text_is_the_environments_own_where_nothing_is_hidden() -> None:
    chess, tag = games.make("pettingzoo/classic.chess_v6"), games.make("pettingzoo/mpe2.simple_tag_v3")
    assert chess.text(chess.start(KEY), 0, 0).startswith("r n b q k b n r\np p p p")
    assert tag.text(tag.start(KEY), 0, 3).startswith("pettingzoo/mpe2.simple_tag_v3, as agent_0 sees it:\n[")


def test_people_are_shown_what_the_maker_of_a_game_says() -> None:
    """Words for actions and positions, a scene that is drawn instead of a picture, and who may see a picture."""
    board = Scene(1, 1, ())

    class Painted(Tale):
        metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

        def render(self) -> Any:
            return np.full((2, 2, 3), self.at, np.uint8)

    game = wrap(
        lambda: Painted(DEATHS),
        "tale",
        draw=lambda: Painted(DEATHS),
        open_to=("b",),
        scene=lambda env, seat: board if seat == 0 else None,
        action_name=lambda env, agent, action: f"{agent} {env.at} {action}",
        text=lambda env, agent: f"{agent} at {env.at}",
    )
    states = game.start(KEY)
    for _ in range(4):  # by then one has left, and one leaves
        game.decisions(states)
        game.step(states, np.array([[1]]), KEY)
    assert game.action_name(states, 0, 1, 2) == "b 4 2"
    assert game.text(states, 0, 1) == "tale, as b sees it:\nb at 4"
    assert scene_of(game, states, 0, 0) is board
    assert scene_of(game, states, 0, 2) is None
    for seat in (1, EVERYTHING):
        scene = scene_of(game, states, 0, seat)
        assert scene is not None
        assert isinstance(scene.shapes[0], Image)
        assert scene.shapes[0].pixels.tolist() == np.full((2, 2, 3), 4).tolist()


def test_armies_fight_step_by_step_until_one_is_dead() -> None:
    """magent2's battle, where red goes for the nearest foe and blue wanders, beside the environment itself."""
    battle = pytest.importorskip("magent2.environments.battle_v4")
    game = games.make("pettingzoo/magent2.battle_v4?map_size=12&max_cycles=300")
    spec = game.spec
    assert (spec.seats, spec.teams, spec.actions, spec.roles) == (4, (0, 0, 1, 1), 21, False)
    assert (spec.observation, spec.global_state, spec.longest) == ((5, 13, 13), (5, 12, 12), 300)
    key = mix(1, [3])
    table, env, rng = Table(game, key), battle.parallel_env(map_size=12, max_cycles=300), generator(2)
    seen, _ = env.reset(seed=int(generator(int(key[0])).integers(2**31)))
    living = []
    while not table.over.all():
        decisions = table.pending()
        acting = [spec.seats - 4 + seat for seat in np.flatnonzero(decisions.active[0]).tolist()]
        assert [env.possible_agents[seat] for seat in acting] == env.agents
        living.append(len(acting))
        actions = np.full((1, 4), NO_ACTION)
        for seat in acting:
            np.testing.assert_array_equal(
                decisions.observation[0, seat], seen[env.possible_agents[seat]].transpose(2, 0, 1)
            )
            actions[0, seat] = go_for(decisions.observation[0, seat]) if seat < 2 else rng.integers(13)
        assert decisions.global_state is not None
        np.testing.assert_array_equal(decisions.global_state[0], env.state().transpose(2, 0, 1))
        outcome = table.play(actions)
        seen, rewards, _, _, _ = env.step({env.possible_agents[seat]: int(actions[0, seat]) for seat in acting})
        assert outcome.reward[0].tolist() == pytest.approx([rewards.get(name, 0.0) for name in env.possible_agents])
    assert outcome.terminated[0]
    assert 3 in living, "one falls before the other"
    assert not env.agents or {name.partition("_")[0] for name in env.agents} == {"red"}


def go_for(view: Any) -> int:
    """An action of magent2's battle: attack (13 to 20) a foe beside, else step (0 to 12) towards the nearest."""
    around = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
    steps = [(r, c) for r in range(-2, 3) for c in range(-2, 3) if abs(r) + abs(c) <= 2]
    foes = sorted(np.argwhere(view[3] > 0).tolist(), key=lambda at: max(abs(at[0] - 6), abs(at[1] - 6)))
    if not foes:
        return 8  # down
    down, right = foes[0][0] - 6, foes[0][1] - 6
    if (down, right) in around:
        return 13 + around.index((down, right))
    return min(range(13), key=lambda i: (down - steps[i][0]) ** 2 + (right - steps[i][1]) ** 2)
