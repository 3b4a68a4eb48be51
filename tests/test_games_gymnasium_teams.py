"""Gymnasium environments of many seats as games, against the environments themselves and small ones counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

import games
from arena.listing import listed, show
from games import NO_ACTION, GameError
from games.check import check
from games.gymnasium_teams import _PACKAGES, _Package, wrap
from games.keys import generator, mix

pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered")

KEY = mix(7, [0])
FORAGING = "lbforaging.Foraging"
NEVER = (False, False, False)


class Squad(gym.Env[Any, Any]):
    """Three seats that see 1, 2 and 3 numbers and have 2, 3 and 4 actions, numbered from 0, 10 and 20.

    It follows a script of rewards, of who ends and of who is cut, each one value or one for each seat.
    """

    def __init__(self, script: Sequence[tuple[Any, Any, Any]]) -> None:
        self.script, self.played = script, []
        self.observation_space = spaces.Tuple([spaces.Box(-1, 99, (size,)) for size in (1, 2, 3)])
        self.action_space = spaces.Tuple([spaces.Discrete(2 + seat, start=10 * seat) for seat in range(3)])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.at = 0
        self.luck = float(self.np_random.random())
        self.played.clear()
        return self.sights(), self.told()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Any]:
        assert self.action_space.contains(actions), actions
        assert all(type(action) is int for action in actions)
        self.played.append(actions)
        earned, ended, stopped = self.script[self.at]
        self.at += 1
        return self.sights(), earned, ended, stopped, self.told()

    def sights(self) -> Any:
        return tuple(np.full(size, self.at + self.luck, np.float32) for size in (1, 2, 3))

    def told(self) -> Any:
        return {}


class Masked(Squad):
    """Says in `info` that each seat may play its last action, and the first of all once the game is on."""

    def masks(self) -> list[Any]:
        return [np.arange(2 + seat) >= (1 + seat if self.at or seat else 0) for seat in range(3)]

    def told(self) -> Any:
        return {"action_mask": self.masks()}


class MaskedOneByOne(Masked):
    """The same, as a list of infos."""

    def told(self) -> Any:
        return [{"action_mask": mask} for mask in self.masks()]


class Soldiers(Masked):
    """The same, as SMAC says it: masks as long as the longest, and a state."""

    def told(self) -> Any:
        return {}

    def get_avail_actions(self) -> list[Any]:
        return [[*map(int, mask), *[0] * (4 - len(mask))] for mask in self.masks()]

    def get_state(self) -> Any:
        return np.array([self.at, 100 + self.at])


class Half(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper that knows the state of an environment which does not."""

    def state(self) -> Any:
        return np.full((2, 2), self.unwrapped.at / 2)


ROUNDS = [((1.0, 2.0, 3.0), False, False), ((0.0, -1.0, 0.5), False, False), ((4.0, 0.0, 0.0), True, False)]


def game_of(maker: Any, script: Any = ROUNDS, **params: Any) -> tuple[Any, list[Squad]]:
    made: list[Squad] = []
    return wrap(lambda: made.append(maker(script)) or made[-1], "squad", **params), made


def last_legal(decisions: Any) -> Any:
    """The highest legal action of each seat that acts, for the first row."""
    highest = [int(np.flatnonzero(legal)[-1]) if legal.any() else NO_ACTION for legal in decisions.legal[0]]
    return np.array([highest])


def test_seats_of_different_sizes_are_padded_and_their_actions_numbered() -> None:
    game, made = game_of(Squad)
    spec = game.spec
    assert (spec.seats, spec.actions, spec.observation, spec.longest) == (3, 4, (3,), 1000)
    assert (spec.teams, spec.payoff, spec.simultaneous, spec.global_state) == ((0, 0, 0), "general_sum", True, None)
    states = game.start(KEY)
    for _ in range(2):  # the second game on the same object
        decisions = game.decisions(states)
        luck = np.float32(made[-1].luck)
        assert decisions.observation[0].tolist() == [[luck, 0, 0], [luck, luck, 0], [luck, luck, luck]]
        assert decisions.legal[0].tolist() == [[True] * (2 + seat) + [False] * (2 - seat) for seat in range(3)]
        outcomes = []
        for _ in range(3):
            outcomes.append(game.step(states, last_legal(game.decisions(states)), KEY))
        assert [outcome.reward[0].tolist() for outcome in outcomes] == [[1, 2, 3], [0, -1, 0.5], [4, 0, 0]]
        assert [bool(outcome.terminated[0]) for outcome in outcomes] == [False, False, True]
        assert not any(outcome.truncated[0] or outcome.failed for outcome in outcomes)
        assert made[-1].played == [(1, 12, 23)] * 3
        assert not game.decisions(states).active.any()
        game.restart(states, np.array([0]), KEY)
    assert len(made) == 2  # one for the spec, one for the row


def test_the_seed_is_the_keys() -> None:
    game, _ = game_of(Squad)
    keys = mix(3, np.arange(4))
    seen = game.decisions(game.start(keys)).observation[:, 0, 0]
    expected = []
    for key in keys:
        env = Squad(ROUNDS)
        env.reset(seed=int(generator(key).integers(2**31)))
        expected.append(np.float32(env.luck))
    assert seen.tolist() == expected
    assert len(set(expected)) == 4


@pytest.mark.parametrize("maker", [Masked, MaskedOneByOne, Soldiers])
def test_masks_of_infos_and_of_get_avail_actions_say_what_is_legal(maker: Any) -> None:
    game, made = game_of(maker)
    states = game.start(KEY)
    for first in ([True, True, False, False], [False, True, False, False]):
        decisions = game.decisions(states)
        rest = [[False, False, True, False], [False, False, False, True]]
        assert decisions.legal[0].tolist() == [first, *rest]
        game.step(states, last_legal(decisions), KEY)
    assert made[-1].played == [(1, 12, 23)] * 2


def test_the_global_state_is_the_environments_or_a_wrappers() -> None:
    game, _ = game_of(Soldiers)
    states = game.start(KEY)
    game.step(states, last_legal(game.decisions(states)), KEY)
    assert game.spec.global_state == (2,)
    assert game.decisions(states).global_state.tolist() == [[1, 101]]
    game, _ = game_of(lambda script: Half(Squad(script)))
    states = game.start(KEY)
    game.step(states, last_legal(game.decisions(states)), KEY)
    assert game.decisions(states).global_state.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]


def test_a_reward_that_is_one_number_is_paid_to_every_seat() -> None:
    script = [(2.5, False, False), (np.float64(-1), np.bool_(True), False)]
    game, _ = game_of(Squad, script, payoff="cooperative", bounds=(0, 2))
    states = game.start(KEY)
    outcomes = [game.step(states, last_legal(game.decisions(states)), KEY) for _ in script]
    assert [outcome.reward[0].tolist() for outcome in outcomes] == [[2.5] * 3, [-1] * 3]
    assert outcomes[-1].terminated[0]
    assert (game.spec.payoff, game.spec.bounds) == ("cooperative", (0, 2))


@pytest.mark.parametrize(
    ("ends", "active", "cut"),
    [
        ([(False, False), (False, True)], [3, 3], True),  # Gymnasium's TimeLimit
        ([(False, False), (True, True)], [3, 3], False),
        ([(NEVER, NEVER), ([True] * 3, [False] * 3)], [3, 3], False),
        ([(NEVER, NEVER), (np.array([True, False, True]), np.array([False, True, False]))], [3, 3], True),
        ([(np.array([True, False, False]), NEVER), (NEVER, NEVER), ((False, True, True), NEVER)], [3, 2, 2], False),
    ],
)
def test_ends_are_told_once_for_all_or_seat_by_seat(ends: Any, active: list[int], cut: bool) -> None:
    game, made = game_of(Masked, [((0.5, 0, 0), *each) for each in ends])
    states = game.start(KEY)
    over = []
    for count in active:
        decisions = game.decisions(states)
        assert decisions.active[0].tolist() == [seat >= 3 - count for seat in range(3)]
        outcome = game.step(states, last_legal(decisions), KEY)
        over.append((bool(outcome.terminated[0]), bool(outcome.truncated[0])))
        assert outcome.reward[0].tolist() == [0.5, 0, 0]  # who has left is still paid
    assert over == [(False, False)] * (len(ends) - 1) + [(not cut, cut)]
    assert made[-1].played == [(1, 12, 23)] * len(ends)  # and asked for the first action that it may play


class Leaky(Squad):
    """Sees the steps of all games that it has played."""

    total = 0

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Any]:
        self.total += 1
        return super().step(actions)

    def sights(self) -> Any:
        return tuple(np.full(size, self.total, np.float32) for size in (1, 2, 3))


class Subclassed(Leaky):
    __module__ = "elsewhere"


@pytest.mark.parametrize("maker", [Leaky, Subclassed])
def test_what_a_known_package_forgets_to_clear_is_cleared(maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _Package("", (), forget=lambda env: setattr(env, "total", 0))
    for known, seen in (({}, [0, 3, 6]), ({Leaky.__module__: package}, [0, 0, 0])):
        monkeypatch.setattr("games.gymnasium_teams._PACKAGES", known)
        game, _ = game_of(maker)
        states, starts = game.start(KEY), []
        for _ in range(3):
            starts.append(int(game.decisions(states).observation[0, 0, 0]))
            for _ in ROUNDS:
                game.step(states, last_legal(game.decisions(states)), KEY)
            game.restart(states, np.array([0]), KEY)
        assert starts == seen


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"observation_space": spaces.Box(0, 1, (3,))}, r"squad observes Box\(.*\), which is not a Tuple with a part"),
        ({"action_space": spaces.MultiDiscrete([2, 2, 2])}, r"squad acts in MultiDiscrete\(\[2 2 2\]\), which is not"),
        ({"action_space": spaces.Tuple([spaces.Discrete(2)] * 2)}, "observations for 3 seats, but actions for 2"),
        ({"action_space": spaces.Tuple([spaces.Box(0, 1)] * 3)}, "squad: seat 0 acts in Box.*only Discrete"),
    ],
)
def test_spaces_that_cannot_be_played_are_refused(change: dict[str, Any], says: str) -> None:
    def make_env() -> Any:
        env = Squad(ROUNDS)
        env.__dict__ |= change
        return env

    with pytest.raises(GameError, match=says):
        wrap(make_env, "squad")


class Miscounted(Masked):
    def told(self) -> Any:
        return {"action_mask": self.masks()[: 2 if self.at else 3]}


@pytest.mark.parametrize(
    ("maker", "script", "says"),
    [
        (Squad, [((1, 2), False, False)], "squad gave 2 rewards for 3 seats"),
        (Squad, [(0, [True], False)], "squad gave 1 ends for 3 seats"),
        (Miscounted, ROUNDS, "squad gave 2 action masks for 3 seats"),
        (Squad, [((np.nan, 0, 0), False, False)], "squad gave a reward that is not finite"),
    ],
)
def test_an_environment_that_miscounts_voids_its_game(maker: Any, script: Any, says: str) -> None:
    game, _ = game_of(maker, script)
    states = game.start(KEY)
    game.decisions(states)
    outcome = game.step(states, np.array([[0, 0, 0]]), KEY)
    assert list(outcome.failed) == [0]
    assert says in outcome.failed[0]


REAL = [
    (f"{FORAGING}-8x8-2p-2f-coop-v3", {}),
    (f"{FORAGING}-2s-8x8-4p-3f-v3", {}),
    (f"{FORAGING}-5x5-5p-1f-v3", {"penalty": 0.1}),
    ("rware.rware-tiny-2ag-v2", {"max_steps": 60}),
    ("rware.rware-small-4ag-easy-v2", {"max_steps": 40}),
]


@pytest.mark.parametrize(("name", "params"), REAL)
def test_a_game_is_the_environment_step_by_step(name: str, params: dict[str, Any]) -> None:
    game = games.make(f"teams/{name}", **params)
    states, keys, moved = game.start(KEY), mix(3, np.arange(4)), 0.0
    for key in keys:
        # One object for all of our games, a new one for each of theirs.
        game.restart(states, np.array([0]), np.array([key]))
        env = gym.make(name.partition(".")[2], disable_env_checker=True, **params)
        values, _ = env.reset(seed=int(generator(key).integers(2**31)))
        rng, done, steps = generator(key), False, 0
        while not done:
            decisions = game.decisions(states)
            assert decisions.active.all()
            assert decisions.legal.all()
            np.testing.assert_array_equal(decisions.observation[0], np.stack(values))
            chosen = [int(rng.integers(space.n)) for space in env.action_space]
            values, rewards, done, cut, _ = env.step(chosen)
            outcome = game.step(states, np.array([chosen]), KEY)
            assert outcome.reward[0].tolist() == [np.float32(reward) for reward in rewards]
            assert (bool(outcome.terminated[0]), bool(outcome.truncated[0])) == (done, cut)
            moved += float(np.abs(rewards).sum())
            steps += 1
        assert steps <= game.spec.longest
    assert moved > 0 or "rware" in name or "coop" in name, "no reward was ever paid, so none was tested"


def test_a_start_does_not_depend_on_the_game_before_it() -> None:
    """The `reset` of lbforaging places players off the cells where those still to be placed stood in the last game."""
    game = games.make(f"teams/{FORAGING}-5x5-9p-1f-v3")
    states, keys = game.start(KEY), mix(5, np.arange(30))
    fresh = game.decisions(game.start(keys)).observation
    for key, expected in zip(keys, fresh, strict=True):
        game.restart(states, np.array([0]), np.array([key]))
        np.testing.assert_array_equal(game.decisions(states).observation[0], expected)


def test_a_limit_of_gymnasiums_cuts_and_one_of_the_environments_ends() -> None:
    def last(settings: str) -> tuple[int, int, bool, bool]:
        game = games.make(f"teams/rware.rware-tiny-2ag-v2?{settings}")
        states, steps = game.start(KEY), 0
        while (decisions := game.decisions(states)).active.any():
            outcome = game.step(states, last_legal(decisions), KEY)
            steps += 1
        return game.spec.longest, steps, bool(outcome.terminated[0]), bool(outcome.truncated[0])

    assert last("max_steps=9") == (9, 9, True, False)
    assert last("max_episode_steps=7") == (7, 7, False, True)
    assert last("max_steps=9&longest=5") == (5, 5, False, True)
    assert last("max_steps=9&max_episode_steps=20") == (9, 9, True, False)
    assert games.make("teams/rware.rware-tiny-2ag-v2").spec.longest == 500


@pytest.mark.parametrize(
    ("name", "rounds"),
    [(f"{FORAGING}-5x5-3p-1f-coop-v3", 10), (f"{FORAGING}-2s-8x8-2p-2f-v3", 4), ("rware.rware-tiny-2ag-v2", 2)],
)
def test_real_games_keep_their_promises(name: str, rounds: int) -> None:
    settings = "?max_steps=15" if name.startswith("rware") else ""
    report = check(f"teams/{name}{settings}", games=rounds)
    assert report.passed, report.failures
    assert not report.skipped


def test_teams_roles_and_payoff_can_be_given() -> None:
    spec = games.make("teams/rware.rware-tiny-3ag-v2?teams=(0,1,1)&payoff=general_sum").spec
    assert (spec.teams, spec.roles, spec.competitive) == ((0, 1, 1), True, True)
    spec = games.make("teams/rware.rware-tiny-2ag-v2?teams=(0,1)&roles=true").spec
    assert (spec.teams, spec.roles) == ((0, 1), True)
    assert games.make("teams/rware.rware-tiny-2ag-v2?payoff=cooperative").spec.payoff == "cooperative"
    with pytest.raises(GameError, match="3 teams are given for 2 seats"):
        games.make("teams/rware.rware-tiny-2ag-v2?teams=(0,1,1)")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            f"{FORAGING}-8x8-2p-2f-cop-v3",
            "lbforaging registers no environment 'Foraging-8x8-2p-2f-cop-v3'. Did you mean 'Foraging-8x8-2p-2f-coop-",
        ),
        (f"{FORAGING}-8x8-2p-2f-coop-v2", "Did you mean 'Foraging-8x8-2p-2f-coop-v3'?"),
        (f"{FORAGING}-8x8-2p-2f-coop", "Did you mean 'Foraging-8x8-2p-2f-coop-v3'?"),
        ("rware.rware-tinny-2ag-v2", "Did you mean 'rware-tiny-2ag-v2'?"),
        ("rware-tiny-2ag-v2", "names read package.id. Did you mean 'rware.rware-tiny-2ag-v2'?"),
        ("lbforagin.Foraging-8x8-2p-2f-v3", "no package 'lbforagin': names read package.id. Did you mean 'lbforaging."),
        ("gymnasium.CartPole-v1", "which is not a Tuple with a part for each seat; environments of one seat"),
        ("rware.rware-tiny-2ag-v2?wind=1", "cannot be made with {'wind': 1}"),
        ("rware.rware-tiny-2ag-v2?shelf_columns=2", "cannot be made with {'shelf_columns': 2}: Only odd number"),
        ("rware.rware-tiny-2ag-v2?msg_bits=1", "seat 0 acts in MultiDiscrete([5 2]), but only Discrete actions"),
    ],
)
def test_wrong_names_and_parameters_say_so(name: str, says: str) -> None:
    with pytest.raises(GameError) as caught:
        games.make(f"teams/{name}")
    assert says in str(caught.value)


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    for known, install in (("lbforaging", "'arena-league[foraging]'"), ("rware", "'arena-league[rware]'")):
        package = replace(_PACKAGES[known], install=_PACKAGES[known].install)
        monkeypatch.setitem(_PACKAGES, "no_such_package", package)
        with pytest.raises(GameError) as caught:
            games.make("teams/no_such_package.Foraging-v3")
        told = "teams/no_such_package.Foraging-v3 lives in no_such_package, which is not installed."
        assert str(caught.value) == f"{told} Install it with: pip install {install}"

    def absent(path: str) -> Any:
        raise ModuleNotFoundError("No module named 'networkx'", name="networkx")

    monkeypatch.setattr("games.gymnasium_teams.import_module", absent)
    with pytest.raises(
        GameError, match=r"lacks a package: No module named 'networkx'. Install .*arena-league\[rware\]"
    ):
        games.make("teams/rware.rware-tiny-2ag-v2")


def test_a_handful_of_each_package_is_listed() -> None:
    rows = listed("teams")
    names = [row["name"] for row in rows]
    assert {"teams/lbforaging.Foraging-8x8-2p-2f-coop-v3", "teams/rware.rware-tiny-2ag-v2"} <= set(names)
    assert {row["package"]: row["registered"] for row in rows}.items() >= {"lbforaging": 1920, "rware": 228}.items()
    assert len(rows) < 20
    console = Console(width=80, record=True)
    show(rows, "teams", console)
    text = console.export_text()
    assert "…" not in text
    assert all(name in text for name in names)
    assert "A handful of each: lbforaging registers 1,920, rware registers 228" in text
