"""The shared types, keys, names, and the registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import games
from games import Decisions, GameError, GameSpec, Lifted, Outcome
from games.connect_four import ConnectFour
from games.keys import CHOICE, LEARN, MATCH, NATURE, OPENING, SEARCH, as_keys, generator, mix, uniform
from games.names import UserError, did_you_mean, split_settings
from games.tic_tac_toe import TicTacToe

# ---- keys ------------------------------------------------------------------------------------------------------------


def mixed(key: int, *numbers: int) -> int:
    """The hash in whole numbers of Python."""
    for number in numbers:
        key = (key * 0x94D049BB133111EB + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
        key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        key = (key ^ (key >> 27)) * 0x94D049BB133111EB % 2**64
        key = key ^ (key >> 31)
    return key


def test_the_finaliser_is_that_of_splitmix64() -> None:
    """Of key 0, mixing in n gives the n-th number that the published generator makes of the seed 0."""
    assert [int(mix(0, n)) for n in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_keys_are_a_function_of_whole_numbers() -> None:
    for key, numbers in ((1, (2,)), (2**64 - 1, (0, 5)), (12345, (2**63, 7, 2**64 - 1)), (0, ())):
        assert int(mix(key, *numbers)) == mixed(key, *numbers)
    assert int(mix(5, -1)) == mixed(5, 2**64 - 1)
    assert as_keys([-1, 0, 7]).tolist() == [2**64 - 1, 0, 7]


def test_mixing_is_elementwise_with_broadcast() -> None:
    keys, steps = np.arange(3, dtype=np.uint64), np.array([4, 5])
    grid = mix(keys[:, None], steps, 9)
    assert grid.dtype == np.uint64
    assert grid.tolist() == [[mixed(key, step, 9) for step in (4, 5)] for key in range(3)]


def test_order_and_number_of_what_is_mixed_matter() -> None:
    keys = [mix(3, 1, 2), mix(3, 2, 1), mix(3, 1), mix(3, 1, 0), mix(3), mix(3, 0), mix(3, 0, 0)]
    assert len({int(key) for key in keys}) == len(keys)
    assert len({NATURE, CHOICE, OPENING, MATCH, SEARCH, LEARN}) == 6


def test_neighbouring_keys_share_nothing() -> None:
    """Every bit of the result is set half the time, and flips half the time when one bit of the number does."""

    def bits(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (keys[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)

    numbers = np.arange(20_000)
    one, neighbour = bits(mix(0, numbers)), bits(mix(0, numbers ^ 1))
    assert np.abs(one.mean(axis=0) - 0.5).max() < 0.018  # 5 standard errors
    assert np.abs((one != neighbour).mean(axis=0) - 0.5).max() < 0.026  # of 10,000 pairs


def test_uniform_numbers_are_even_and_below_one() -> None:
    drawn = uniform(mix(4, np.arange(40_000)))
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 4000).max() < 300  # 5 standard errors
    assert uniform(np.array([0, 2**64 - 1], np.uint64)).tolist() == [0, 1 - 2**-53]


def test_a_generator_belongs_to_its_key() -> None:
    assert generator(7).random(3).tolist() == generator(np.uint64(7)).random(3).tolist()
    assert generator(7).random(3).tolist() == np.random.Generator(np.random.Philox(key=7)).random(3).tolist()
    assert generator(7).random() != generator(8).random()
    assert generator(2**64 - 1).random() < 1


# ---- names -----------------------------------------------------------------------------------------------------------


def test_the_nearest_name_is_offered_else_what_there_is() -> None:
    assert did_you_mean("conect_four", ["connect_four", "go"]) == " Did you mean 'connect_four'?"
    assert did_you_mean("zzz", ["b", "a", "a"]) == " Known: a, b."
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", [f"n{i:02}" for i in range(13)]).endswith("n10, n11, ….")


@pytest.mark.parametrize(
    ("reference", "name", "settings"),
    [
        ("go", "go", {}),
        ("go?", "go", {}),
        ("go?board_size=9&komi=7.5", "go", {"board_size": 9, "komi": 7.5}),
        ("x/y?a=true&b=False&c=None", "x/y", {"a": True, "b": False, "c": None}),
        ("x?s=spiel&t='7'&u=", "x", {"s": "spiel", "t": "7", "u": ""}),
        ("x?l=[1, 2]&e=a=b", "x", {"l": [1, 2], "e": "a=b"}),
        ("x?f=__import__('os')", "x", {"f": "__import__('os')"}),
    ],
)
def test_settings_after_a_question_mark(reference: str, name: str, settings: dict[str, Any]) -> None:
    assert split_settings(reference) == (name, settings)


@pytest.mark.parametrize(("reference", "part"), [("go?9", "9"), ("go?a=1&b", "b"), ("go?=3", "=3")])
def test_settings_without_a_key_are_refused(reference: str, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{reference!r}: {part!r} after the question mark")):
        split_settings(reference)


# ---- types -----------------------------------------------------------------------------------------------------------


def spec(**other: Any) -> GameSpec:
    facts: dict[str, Any] = {"name": "made_up", "seats": 3, "actions": 4, "observation": (2, 5), "longest": 9}
    return GameSpec(**facts | other)


def test_every_seat_is_its_own_team_unless_said() -> None:
    assert spec().teams == (0, 1, 2)
    assert spec(teams=(0, 1, 0)).teams == (0, 1, 0)


def test_slots_and_opponents_follow() -> None:
    assert (spec().slots, spec(simultaneous=True).slots) == (1, 3)
    assert spec().competitive
    assert not spec(teams=(0, 0, 0)).competitive
    assert not spec(payoff="cooperative").competitive
    assert not spec(seats=1).competitive


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"teams": (0, 1)}, "made_up: 2 teams are given for 3 seats."),
        ({"seats": 0, "teams": ()}, "made_up: seats must be at least 1, not 0."),
        ({"actions": 0}, "made_up: actions must be at least 1, not 0."),
        ({"longest": -1}, "made_up: longest must be at least 1, not -1."),
    ],
)
def test_a_spec_that_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(GameError) as caught:
        spec(**wrong)
    assert str(caught.value) == message
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_empty_decisions_and_outcomes_have_the_promised_shapes(simultaneous: bool) -> None:
    s = 3 if simultaneous else 1
    made = spec(simultaneous=simultaneous, global_state=(7,))
    decisions, outcome = Decisions.empty(made, 4), Outcome.empty(made, 4)
    assert decisions.global_state is not None
    shapes = {
        "observation": (decisions.observation, (4, s, 2, 5), np.float32),
        "legal": (decisions.legal, (4, s, 4), np.bool_),
        "seat": (decisions.seat, (4, s), np.int16),
        "active": (decisions.active, (4, s), np.bool_),
        "global_state": (decisions.global_state, (4, 7), np.float32),
        "reward": (outcome.reward, (4, 3), np.float32),
        "terminated": (outcome.terminated, (4,), np.bool_),
        "truncated": (outcome.truncated, (4,), np.bool_),
        "chance": (outcome.chance, (4,), np.int64),
    }
    for name, (array, shape, dtype) in shapes.items():
        assert array.shape == shape, name
        assert array.dtype == np.dtype(dtype), name
    assert decisions.seat.tolist() == [list(range(s))] * 4
    assert not decisions.active.any()
    assert outcome.failed == {}
    assert Decisions.empty(spec(), 1).global_state is None


def test_taken_decisions_are_copies_of_one_slot_each() -> None:
    decisions = Decisions.empty(spec(simultaneous=True, global_state=(1,)), 2)
    decisions.observation[:] = np.arange(60).reshape(2, 3, 2, 5)
    decisions.legal[1, 2] = decisions.active[1, 2] = True
    assert decisions.global_state is not None
    decisions.global_state[:, 0] = (8, 9)
    taken = decisions.take(np.array([1, 0, 1]), np.array([2, 1, 2]))
    assert taken.observation[:, 0, 0, 0].tolist() == [50, 10, 50]
    assert taken.seat.tolist() == [[2], [1], [2]]
    assert taken.active.tolist() == [[True], [False], [True]]
    assert taken.legal.shape == (3, 1, 4)
    assert taken.global_state is not None
    assert taken.global_state.tolist() == [[9], [8], [9]]
    taken.observation[:] = -1
    assert decisions.observation.min() == 0


# ---- the registry ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "_GAMES", dict(games._GAMES))


def sized(size: int = 3) -> Lifted:
    return Lifted(TicTacToe.spec, TicTacToe) if size == 3 else Lifted(spec(longest=size), TicTacToe)


def test_every_named_game_is_made_and_knows_its_name() -> None:
    assert {"connect_four", "tic_tac_toe", "rock_paper_scissors"} <= set(games.names())
    assert games.names() == sorted(games.names())
    for name in ("connect_four", "tic_tac_toe", "rock_paper_scissors"):
        game = games.make(name)
        assert game.spec.name == name
        assert games.spec_of(name) == game.spec
        assert game.decisions(game.start(mix(0, np.arange(3)))).active[:, 0].all()


def test_facts_are_read_without_making_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: ConnectFour) -> None:
        raise AssertionError("made")

    monkeypatch.setattr(ConnectFour, "__init__", never)
    assert games.spec_of("connect_four") is ConnectFour.spec


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_class_is_lifted_and_a_factory_takes_parameters() -> None:
    games.register("mine", TicTacToe)
    games.register("sized", sized)
    assert games.registered() == {"mine": TicTacToe, "sized": sized}
    assert {"mine", "sized"} <= set(games.names())
    assert isinstance(games.make("mine"), Lifted)
    assert games.spec_of("mine") is TicTacToe.spec
    assert games.make("sized?size=5").spec.longest == 5
    assert games.make("sized?size=5", size=6).spec.longest == 6
    assert games.spec_of("sized").longest == 9


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize("name", ["", "a b", "a?b", "a=b", "a&b", "runs:a", "a@3"])
def test_names_that_references_could_not_hold_are_refused(name: str) -> None:
    with pytest.raises(GameError, match=re.escape(f"{name!r} is no name for a game")):
        games.register(name, TicTacToe)
    assert games.registered() == {}


@pytest.mark.usefixtures("_own_registry")
def test_a_name_is_given_once() -> None:
    games.register("mine", TicTacToe)
    for taken in ("mine", "connect_four"):
        with pytest.raises(GameError, match=f"A game named '{taken}' is registered already"):
            games.register(taken, sized)
    assert games.registered() == {"mine": TicTacToe}


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: games.make("conect_four"), r"no game called 'conect_four'\. Did you mean 'connect_four'\?"),
        (lambda: games.make("openspeil/go"), r"no game called 'openspeil/go'\."),
        (lambda: games.make("go/connect_four"), r"no game called 'go/connect_four'\."),
        (lambda: games.make("connect_four?rows"), r"'connect_four\?rows': 'rows' after the question mark"),
        (lambda: games.make("tic_tac_toe?size=4"), r"tic_tac_toe takes no parameters, but size was given\."),
        (lambda: games.make("connect_four", rows=7), r"connect_four cannot be made with \{'rows': 7\}: .*rows"),
    ],
)
def test_a_game_that_cannot_be_made_says_why(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(GameError, match=message):
        make()


PACKAGED = """
from games.tic_tac_toe import TicTacToe as Packaged
from games import lift
def factory(lines=3):
    assert lines == 3, lines
    return lift(Packaged)
"""


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with games of its own, as an installer leaves it."""
    (tmp_path / "packaged_games.py").write_text(PACKAGED)
    metadata = tmp_path / "packaged_games-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged-games\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[arena.games]\n"
        "packaged = packaged_games:Packaged\n"
        "packaged_factory = packaged_games:factory\n"
        "absent = no_such_module:Game\n"
        "misspelt = packaged_games:Pakaged\n"
        "connect_four = packaged_games:Packaged\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_installed", "_own_registry")
def test_installed_packages_bring_games() -> None:
    assert {"packaged", "packaged_factory"} <= set(games.names())
    assert games.make("packaged").spec == TicTacToe.spec
    assert games.make("packaged_factory?lines=3").spec == TicTacToe.spec
    assert games.spec_of("packaged") is TicTacToe.spec
    assert games.registered() == {}
    for name, lost in (("absent", "no_such_module"), ("misspelt", "Pakaged")):
        with pytest.raises(GameError, match=f"The game at .* cannot be imported: .*{lost}"):
            games.make(name)
    with pytest.raises(GameError, match="A game named 'packaged' is registered already"):
        games.register("packaged", TicTacToe)


@pytest.mark.usefixtures("_installed")
def test_installed_packages_cannot_take_our_names() -> None:
    assert isinstance(games.make("connect_four"), ConnectFour)
    assert games.spec_of("connect_four") is ConnectFour.spec
