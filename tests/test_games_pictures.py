"""Pictures and words for people, against environments stepped by hand: the same position, the same pixels."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

import games
from games import NO_ACTION, Game, GameError
from games.keys import generator, mix
from games.pettingzoo_names import KNOWN, environments, unversioned
from games.pettingzoo_words import NAMES, TEXTS
from games.pictures import CELLS, LONGEST_SIDE, Reel, as_scene, fit
from games.scene import EVERYTHING, Disc, Image, Label, Scene, scene_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*precision lowered"),
    pytest.mark.filterwarnings("ignore:.*render method without specifying"),
]

KEY = mix(7, [0])
Pixels = NDArray[np.uint8]


def shown(scene: Scene | None) -> Pixels:
    """The pixels of a scene that is one picture."""
    assert scene is not None
    (image,) = scene.shapes
    assert isinstance(image, Image)
    assert scene.places == ()
    assert not scene.moves
    assert (image.width, image.height) == (scene.width, scene.height)
    assert max(scene.width, scene.height) == CELLS
    return image.pixels


def watched(game: Game, states: Any) -> Pixels:
    return shown(scene_of(game, states, 0, EVERYTHING))


def seed_of(key: Any) -> int:
    return int(generator(key).integers(2**31))


def at_random(game: Game, states: Any, rng: np.random.Generator) -> NDArray[np.int64]:
    """Legal actions [1, S] of who acts."""
    decisions = game.decisions(states)
    noise = np.where(decisions.legal, rng.random(decisions.legal.shape), -1)
    return np.where(decisions.active, noise.argmax(axis=2), NO_ACTION)


def test_pixels_are_averaged_over_squares_also_where_an_edge_cuts_them() -> None:
    small = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    kept = fit(small)
    assert kept.tolist() == small.tolist()
    assert not np.shares_memory(kept, small)
    large = np.zeros((3, LONGEST_SIDE + 1, 3), np.uint8)
    large[0, 0], large[1, 1], large[2, -1] = 100, 200, 77
    halved = fit(large)
    assert halved.shape == (2, LONGEST_SIDE // 2 + 1, 3)
    assert halved[:, [0, 1, -1], 0].tolist() == [[75, 0, 0], [0, 0, 77]]
    assert halved.dtype == np.uint8
    assert fit(np.full((1300, 10, 3), 255, np.uint8)).tolist() == np.full((434, 4, 3), 255).tolist()


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(GameError, match=r"A picture is an array \[rows, columns, 3\], not bool of shape \(\)"):
        as_scene(True)
    assert shown(as_scene(np.full((2, 4, 4), 9))).tolist() == np.full((2, 4, 3), 9).tolist()  # no use for alpha


class Slate:
    """Draws its seed, how often it was reset, and the steps that it was given."""

    def __init__(self, breaks_at: int = 99) -> None:
        self.resets, self.drawn, self.breaks_at = 0, 0, breaks_at

    def reset(self, seed: int) -> None:
        self.resets, self.numbers = self.resets + 1, [seed]

    def step(self, number: int) -> None:
        self.numbers.append(number)
        if len(self.numbers) == self.breaks_at:
            raise OSError("no such display")

    def render(self) -> Pixels:
        self.drawn += 1
        return np.repeat(np.array([[self.resets, *self.numbers]], np.uint8)[:, :, None], 3, axis=2)


def test_a_reel_makes_nothing_until_it_is_asked_then_plays_only_what_is_new() -> None:
    made: list[Slate] = []
    reel = Reel(lambda: made.append(Slate()) or made[-1])
    reel.begin(5)
    reel.steps += [1, 2]
    assert not made
    assert shown(reel.scene())[0, :, 0].tolist() == [1, 5, 1, 2]
    assert reel.scene() is reel.scene()
    assert made[0].drawn == 1
    reel.steps.append(3)
    assert shown(reel.scene())[0, :, 0].tolist() == [1, 5, 1, 2, 3]
    reel.begin(6)  # the next game
    reel.steps.append(9)
    assert shown(reel.scene())[0, :, 0].tolist() == [2, 6, 9]
    reel.begin(6)  # as when a move is taken back: as many steps, but not the same
    reel.steps.append(8)
    assert shown(reel.scene())[0, :, 0].tolist() == [3, 6, 8]
    assert len(made) == 1


def test_where_drawing_fails_there_is_no_picture_and_one_warning() -> None:
    reel = Reel(lambda: Slate(breaks_at=2))
    reel.begin(5)
    assert shown(reel.scene()).shape == (1, 2, 3)
    reel.steps.append(1)
    with pytest.warns(UserWarning, match="No pictures of this game: OSError: no such display"):
        assert reel.scene() is None
    assert reel.scene() is None
    assert Reel(None).scene() is None


TURNS: list[tuple[str, dict[str, Any]]] = [
    ("connect_four_v3", {}),
    ("tictactoe_v3", {}),
    ("go_v5", {"board_size": 5}),
    ("chess_v6", {}),
    ("leduc_holdem_v4", {}),
    ("texas_holdem_no_limit_v6", {}),
    ("hanabi_v5", {}),
]


@pytest.mark.parametrize(("name", "params"), TURNS)
def test_the_picture_of_a_turn_based_game_is_that_of_the_environment(name: str, params: dict[str, Any]) -> None:
    game = games.make(f"pettingzoo/classic.{name}", **params)
    env = import_module(f"pettingzoo.classic.{name}").raw_env(**params, render_mode="rgb_array")
    rng, states = np.random.default_rng(2), game.start(KEY)
    pictures = set()
    for key in mix(3, np.arange(2)):
        game.restart(states, np.array([0]), np.array([key]))
        env.reset(seed=seed_of(key))
        for step in range(24):
            if step % 3 == 0:  # what was not looked at is caught up with
                picture = watched(game, states)
                np.testing.assert_array_equal(picture, fit(env.render()))
                pictures.add(picture.tobytes())
            if not game.decisions(states).active.any():
                break
            action = int(at_random(game, states, rng)[0, 0])
            game.step(states, np.array([[action]]), KEY)
            env.step(action)
    assert len(pictures) > 2


ROUNDS: list[tuple[str, str, dict[str, Any]]] = [
    ("pettingzoo.classic", "rps_v2", {}),
    ("pettingzoo.butterfly", "cooperative_pong_v6", {}),
    ("pettingzoo.butterfly", "knights_archers_zombies_v11", {"spawn_delay": 3}),
    ("pettingzoo.sisl", "pursuit_v5", {}),
    ("mpe2", "simple_tag_v3", {}),
    ("mpe2", "simple_reference_v3", {}),
    ("mpe2", "collect_treasure_v1", {}),
]


@pytest.mark.parametrize(("package", "name", "params"), ROUNDS)
def test_the_picture_of_a_simultaneous_game_is_that_of_the_environment(
    package: str, name: str, params: dict[str, Any]
) -> None:
    game = games.make(f"pettingzoo/{package.rpartition('.')[2]}.{name}", **params)
    env = import_module(f"{package}.{name}").parallel_env(**params, render_mode="rgb_array")
    rng, states, pictures = np.random.default_rng(2), game.start(KEY), set()
    env.reset(seed=seed_of(KEY[0]))
    for step in range(13):
        if step % 4 == 0:
            picture = watched(game, states)
            np.testing.assert_array_equal(picture, fit(env.render()))
            pictures.add(picture.tobytes())
        actions = at_random(game, states, rng)
        env.step(dict(zip(env.possible_agents, actions[0].tolist(), strict=True)))
        game.step(states, actions, KEY)
    assert len(pictures) == 4


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0", "FrozenLake-v1", "Blackjack-v1", "Taxi-v4"])
def test_who_plays_in_gymnasium_sees_the_picture_of_the_environment(name: str) -> None:
    game, env = games.make(f"gymnasium/{name}"), gym.make(name, render_mode="rgb_array")
    rng, states = np.random.default_rng(2), game.start(KEY)
    env.reset(seed=seed_of(KEY[0]))
    for step in range(9):
        if step % 2 == 0:
            np.testing.assert_array_equal(shown(scene_of(game, states, 0, 0)), fit(env.render()))
        actions = at_random(game, states, rng)
        if actions[0, 0] == NO_ACTION:
            break
        game.step(states, actions, KEY)
        env.step(int(actions[0, 0]))
    np.testing.assert_array_equal(watched(game, states), fit(env.render()))


def test_a_game_restarted_in_the_middle_is_drawn_as_a_new_one() -> None:
    """Zombies of a new game do not come when those of the last one would have."""
    game = games.make("pettingzoo/butterfly.knights_archers_zombies_v11?spawn_delay=5")
    states, fresh = game.start(KEY), game.start(KEY)
    rng = np.random.default_rng(2)
    for _ in range(3):
        game.step(states, at_random(game, states, rng), KEY)
    game.restart(states, np.array([0]), KEY)
    for _ in range(4):
        actions = at_random(game, fresh, rng)
        for boards in (states, fresh):
            game.decisions(boards)
            game.step(boards, actions, KEY)
    np.testing.assert_array_equal(game.decisions(states).observation, game.decisions(fresh).observation)
    np.testing.assert_array_equal(watched(game, states), watched(game, fresh))


def test_nothing_is_opened_and_games_that_nobody_looks_at_make_nothing_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame
    from pettingzoo.classic import connect_four_v3

    made: list[str | None] = []
    raw = connect_four_v3.raw_env

    class Counted(raw):  # type: ignore[misc, valid-type]
        def __init__(self, render_mode: str | None = None) -> None:
            made.append(render_mode)
            super().__init__(render_mode)

    monkeypatch.setattr(connect_four_v3, "raw_env", Counted)
    game = games.make("pettingzoo/classic.connect_four_v3")
    states = game.start(mix(1, np.arange(3)))
    for _ in range(4):
        game.decisions(states)
        game.step(states, np.full((3, 1), 3), mix(1, np.arange(3)))
    assert made == [None] * 4  # one for the spec, one for each row
    for seat in (EVERYTHING, 0, 1):
        scene_of(game, states, 1, seat)
    assert made == [*[None] * 4, "rgb_array"]
    assert os.environ["SDL_VIDEODRIVER"]
    assert pygame.display.get_surface() is None


SIGHT = [
    ("classic.connect_four_v3", [True, True]),
    ("classic.go_v5?board_size=5", [True, True]),
    ("classic.rps_v2", [True, True]),
    ("classic.leduc_holdem_v4", [False, False]),
    ("classic.hanabi_v5", [False, False]),
    ("mpe2.simple_v3", [True]),
    ("mpe2.simple_tag_v3", [True] * 4),
    ("mpe2.simple_tag_v3?num_agent_neighbors=1", [False] * 4),
    ("mpe2.simple_spread_v3", [True] * 3),
    ("mpe2.simple_push_v3", [False, True]),  # the colour of the good agent is that of its goal
    ("mpe2.simple_adversary_v3", [False, True, True]),
    ("mpe2.simple_line_v1", [False] * 4),  # nobody sees the others
    ("mpe2.simple_world_comm_v3", [False] * 6),
    ("butterfly.knights_archers_zombies_v11", [True] * 4),
    ("sisl.pursuit_v5", [False] * 8),
]


@pytest.mark.parametrize(("name", "sees"), SIGHT)
def test_a_seat_sees_a_picture_only_where_nothing_in_it_is_hidden_from_it(name: str, sees: list[bool]) -> None:
    game = games.make(f"pettingzoo/{name}")
    states = game.start(KEY)
    assert [scene_of(game, states, 0, seat) is not None for seat in range(game.spec.seats)] == sees
    picture = watched(game, states)
    for seat in np.flatnonzero(sees).tolist():
        np.testing.assert_array_equal(shown(scene_of(game, states, 0, seat)), picture)


def test_who_observes_a_picture_sees_that() -> None:
    game = games.make("pettingzoo/butterfly.knights_archers_zombies_v11?obs_method=image")
    states = game.start(KEY)
    out = np.empty((1, *game.spec.observation), np.float32)
    game.observe(states, np.array([0]), np.array([2]), out)
    seen = np.rint(out[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    np.testing.assert_array_equal(shown(scene_of(game, states, 0, 2)), fit(seen))


def test_an_environment_of_the_same_name_from_elsewhere_has_no_words_and_keeps_its_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = import_module("mpe2.simple_v3")
    monkeypatch.setattr("games.pettingzoo.find", lambda name: theirs)
    game = games.make("pettingzoo/their.package.simple_v0")
    states = game.start(KEY)
    assert scene_of(game, states, 0, 0) is None
    assert game.action_name(states, 0, 0, 1) == "1"


# Every action there is, or what the first position allows.
CALLED = [
    ("pettingzoo/classic.rps_v2?num_actions=7", 0, "rock paper scissors lizard spock 5 6"),
    ("pettingzoo/classic.leduc_holdem_v4", 0, "call raise fold check"),
    ("pettingzoo/classic.texas_holdem_v4", 0, "call raise fold check"),
    ("pettingzoo/classic.connect_four_v3", 0, "1 2 3 4 5 6 7"),
    ("pettingzoo/classic.tictactoe_v3", 0, "0 3 6 1 4 7 2 5 8"),
    ("pettingzoo/classic.go_v5?board_size=2", 0, "A2 A1 B2 B1 pass"),
    ("pettingzoo/mpe2.simple_tag_v3", 0, "stay left right down up"),
    ("pettingzoo/butterfly.cooperative_pong_v6", 1, "stay up down"),
    ("pettingzoo/sisl.pursuit_v5", 0, "left right down up stay"),
    ("gymnasium/CartPole-v1", 0, "left right"),
    ("gymnasium/MountainCar-v0", 0, "left stay right"),
    ("teams/lbforaging.Foraging-8x8-2p-2f-coop-v3", 0, "none north south west east load"),
]


@pytest.mark.parametrize(("name", "seat", "called"), CALLED)
def test_actions_have_names(name: str, seat: int, called: str) -> None:
    game = games.make(name)
    states = game.start(KEY)
    assert [game.action_name(states, 0, seat, action) for action in range(game.spec.actions)] == called.split()


def test_actions_have_names_of_several_words() -> None:
    def called(name: str, seat: int, count: int) -> list[str]:
        game = games.make(name)
        states = game.start(KEY)
        return [game.action_name(states, 0, seat, action) for action in range(count)]

    assert called("pettingzoo/mpe2.simple_reference_v3", 0, 7)[3:] == [
        "down, say A", "up, say A", "stay, say B", "left, say B"
    ]  # fmt: skip
    assert called("pettingzoo/mpe2.simple_speaker_listener_v4", 0, 3) == ["say A", "say B", "say C"]
    assert called("pettingzoo/classic.hanabi_v5", 0, 11)[4::3] == ["Discard 4", "Play 2", "Reveal player +1 color R"]
    assert called("teams/rware.rware-tiny-2ag-v2", 1, 5)[2:] == ["turn left", "turn right", "load or unload"]
    assert called("gymnasium/Taxi-v4", 0, 6)[3:] == ["west", "pick up", "drop off"]


def test_moves_of_chess_are_called_as_in_chess_for_both_sides() -> None:
    game = games.make("pettingzoo/classic.chess_v6")
    states = game.start(KEY)
    for played in ("f2f3", "e7e5", "g2g4", "d8h4"):  # mate
        decisions = game.decisions(states)
        legal = np.flatnonzero(decisions.legal[0, 0]).tolist()
        names = {game.action_name(states, 0, int(decisions.seat[0, 0]), action): action for action in legal}
        assert len(names) == len(legal)
        outcome = game.step(states, np.array([[names[played]]]), KEY)
    assert outcome.reward[0].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("name", "wide", "high"), [("connect_four_v3", 7, 6), ("tictactoe_v3", 3, 3), ("go_v5?board_size=5", 5, 5)]
)
def test_a_name_means_the_cell_where_the_picture_and_the_text_change(name: str, wide: int, high: int) -> None:
    game = games.make(f"pettingzoo/classic.{name}")
    for action in range(game.spec.actions):
        states = game.start(KEY)
        before, lines = watched(game, states), game.text(states, 0, 0).splitlines()
        called = game.action_name(states, 0, 0, action)
        game.decisions(states)
        game.step(states, np.array([[action]]), KEY)
        changed = np.argwhere((watched(game, states) != before).any(axis=2))
        if called == "pass":
            assert not len(changed)
            continue
        row, column = (changed.mean(axis=0) / before.shape[:2] * (high, wide)).astype(int).tolist()
        names = {"connect_four_v3": str(column + 1), "tictactoe_v3": str(3 * row + column)}
        assert called == names.get(name, f"{'ABCDEFG'[column]}{5 - row}")
        cells = [
            (r, c)
            for r, (old, new) in enumerate(zip(lines, game.text(states, 0, 0).splitlines(), strict=True))
            for c in range(wide)
            if old[1 - 2 * wide :][2 * c] != new[1 - 2 * wide :][2 * c]
        ]
        assert cells == [(row, column)]


def test_cards_are_told_in_words_and_only_your_own() -> None:
    game = games.make("pettingzoo/classic.leduc_holdem_v4")
    states = game.start(KEY)
    dealt = [player.hand for player in states[0].single.env.env.game.players]
    told = [game.text(states, 0, seat).splitlines() for seat in (0, 1)]
    for seat in (0, 1):
        card = dealt[seat].rank + dict(zip("SHDC", "♠♥♦♣", strict=True))[dealt[seat].suit]
        assert told[seat][0] == f"pettingzoo/classic.leduc_holdem_v4, as player_{seat} sees it:"
        assert told[seat][1:3] == [f"Your hand: {card}", "On the table: nothing yet"]
        chips = [states[0].single.env.env.game.players[other].in_chips for other in (0, 1)]
        names = [f"you {chips[0]}, player_1 {chips[1]}", f"player_0 {chips[0]}, you {chips[1]}"]
        assert told[seat][3] == f"In the pot: {names[seat]}"


def test_no_limit_poker_tells_public_cards_and_what_is_left() -> None:
    game = games.make("pettingzoo/classic.texas_holdem_no_limit_v6")
    states = game.start(KEY)
    for _ in range(2):  # both call
        game.decisions(states)
        game.step(states, np.array([[1]]), KEY)
    _, hand, table, pot, left = game.text(states, 0, 0).splitlines()
    assert (len(hand.split()), len(table.split())) == (4, 6)
    assert pot.startswith("In the pot: ")
    assert left == "You have left: 98"


def test_words_are_of_environments_that_exist() -> None:
    installed = {unversioned(each).partition(".")[2] for family in KNOWN for each in environments(family)}
    assert (set(NAMES) | set(TEXTS)) < installed


def labels(scene: Scene | None) -> dict[tuple[int, int], str]:
    """What is written in which cell (x, y)."""
    assert scene is not None
    return {(int(part.x), int(part.y)): part.text for part in scene.shapes if isinstance(part, Label)}


def discs(scene: Scene | None) -> dict[tuple[int, int], str]:
    assert scene is not None
    return {(int(part.x), int(part.y)): part.fill for part in scene.shapes if isinstance(part, Disc)}


def test_foragers_see_what_is_near_and_who_watches_all() -> None:
    game = games.make("teams/lbforaging.Foraging-2s-8x8-2p-2f-coop-v3")
    states = game.start(mix(11, [0]))
    world = states[0].single.env.env.unwrapped
    food = {(int(x), int(y)): str(world.field[y, x]) for y, x in np.argwhere(world.field)}
    people = {(int(p.position[1]), int(p.position[0])): str(p.level) for p in world.players}
    scene = scene_of(game, states, 0, EVERYTHING)
    assert scene is not None
    assert (scene.width, scene.height) == (8, 8)
    assert labels(scene) == food | people
    assert list(discs(scene).values()) == ["seat0", "seat1"]
    hidden = 0
    for seat, (x, y) in enumerate(people):
        near = {cell: text for cell, text in (food | people).items() if max(abs(cell[0] - x), abs(cell[1] - y)) <= 2}
        assert labels(scene_of(game, states, 0, seat)) == near
        hidden += len(food | people) - len(near)
    assert hidden


def test_robots_see_what_their_sensors_tell() -> None:
    game = games.make("teams/rware.rware-tiny-2ag-v2")
    states = game.start(KEY)
    world = states[0].single.env.env.unwrapped
    one, two = world.agents
    one.x, one.y = 4, 5
    two.x, two.y = 6, 5  # out of sight
    all_of_it, own = scene_of(game, states, 0, EVERYTHING), scene_of(game, states, 0, 0)
    assert list(discs(all_of_it)) == [(one.x, one.y), (two.x, two.y)]
    assert discs(own) == {(one.x, one.y): "seat1"}
    two.x = 5
    two.carrying_shelf = world.shelfs[0]
    assert discs(scene_of(game, states, 0, 0)) == {(one.x, one.y): "seat1", (two.x, two.y): "faint"}
    assert discs(scene_of(game, states, 0, EVERYTHING))[two.x, two.y] == "seat0"
