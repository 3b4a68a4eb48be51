"""Who sees what on one screen: eyes, curtain, the last move, what may be told; tables that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

import games
from agents.core import Analysis, Choice, Context
from arena.people import Recorded
from arena.sitting import Occupant, Sitting, Thought
from arena.tables import Laid, Tables
from arena.viewer import UNTOLD, Viewer, lent, ways_at
from games import Decisions, Keys
from games.scene import EVERYTHING, Scene, grid, scene_of


class Lowest:
    """Plays the legal action with the lowest number."""

    memory: tuple[int, ...] | None = None

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        return Choice(decisions.legal.argmax(axis=-1))


def viewer(game: str, *policies: Any, key: int = 3) -> Viewer:
    shown = Viewer(Sitting(games.make(game), [Occupant(f"p{seat}", each) for seat, each in enumerate(policies)], key))
    shown.settle()
    return shown


def play(shown: Viewer, move: str) -> None:
    sitting = shown.sitting
    seat = sitting.waiting[0]
    sitting.choose(seat, sitting.legal(seat)[sitting.move_names(seat).index(move)])
    while not (sitting.over or sitting.waiting):
        shown.advance()
    shown.settle()


def names(shown: Viewer) -> list[str]:
    return [place.name for place in shown.last]


def test_a_person_sees_their_seat_and_a_watcher_everything() -> None:
    assert viewer("openspiel/leduc_poker", Lowest(), None).eyes == 1
    assert viewer("openspiel/leduc_poker", Lowest(), Lowest()).eyes == EVERYTHING


def test_two_people_take_turns_at_a_board_that_both_may_see() -> None:
    shown = viewer("tic_tac_toe", None, None)
    assert (shown.eyes, shown.curtain) == (0, None)
    play(shown, "4")
    assert (shown.eyes, shown.curtain) == (1, None)
    assert shown.told(shown.sitting.line[0]) == {0: "4"}


def test_a_curtain_falls_before_another_person_sees_their_cards() -> None:
    shown = viewer("openspiel/leduc_poker", None, None)
    assert shown.curtain == 0
    shown.unveil()
    assert (shown.eyes, shown.curtain) == (0, None)
    play(shown, "Call")
    assert shown.curtain == 1
    assert shown.told(shown.sitting.line[0]) == {0: UNTOLD}, "nobody is there yet to be told"
    assert not shown.open(0)
    shown.unveil()
    assert (shown.eyes, shown.curtain) == (1, None)
    assert (shown.open(0), shown.open(1)) == (False, True)


def test_a_screen_that_looks_again_at_the_same_person_needs_no_curtain() -> None:
    shown = viewer("openspiel/leduc_poker", None, None)
    shown.unveil()
    shown.settle()
    assert shown.curtain is None


def test_what_an_agent_did_is_told_where_nothing_is_hidden_or_the_game_is_over() -> None:
    shown = viewer("openspiel/kuhn_poker", None, Lowest())
    play(shown, "Bet")
    assert shown.sitting.over
    assert shown.told(shown.sitting.line[1]) == {1: "Pass"}
    shown = viewer("openspiel/leduc_poker", None, Lowest())
    play(shown, "Call")
    assert shown.told(shown.sitting.line[1]) == {1: UNTOLD}
    assert shown.told(shown.sitting.line[0]) == {0: "Call"}


def test_the_last_move_lies_where_it_landed() -> None:
    shown = viewer("connect_four", None, None)
    play(shown, "4")
    x, y, _ = shown.last[0].mark
    scene, _ = shown.look()
    assert scene is not None
    discs = [shape for shape in scene.shapes if getattr(shape, "fill", "") == "seat0"]
    assert [(disc.x, disc.y) for disc in discs if hasattr(disc, "radius")] == [(x, y)]


def test_the_last_move_is_marked_on_the_board_as_it_is_turned() -> None:
    shown = viewer(
        "openspiel/chess", None, Lowest()
    )  # seat 1 is White and moves first; seat 0 sees it from Black's side
    shown.advance()
    shown.settle()
    assert shown.eyes == 0
    scene, _ = shown.look()
    assert scene is not None
    move = shown.sitting.line[0].names[1]
    assert names(shown)[-1] == move[-2:]
    assert shown.last == [place for name in names(shown) for place in scene.places if place.name == name]


def test_taking_back_takes_the_mark_back() -> None:
    shown = viewer("tic_tac_toe", None, None)
    play(shown, "4")
    play(shown, "0")
    assert names(shown) == ["0"]
    shown.undo()
    assert names(shown) == ["4"]
    shown.undo()
    assert names(shown) == []


def test_who_watches_sees_the_moves_of_whoever_acts_on_the_board() -> None:
    shown = viewer("openspiel/othello", Lowest(), Lowest())
    scene, text = shown.look()
    assert scene is not None
    assert (set(scene.moves), text) == (set(shown.sitting.legal(0)), "")


def test_moves_that_may_not_be_told_are_not_lent() -> None:
    shown = viewer("openspiel/liars_dice", Lowest(), None)
    hidden = scene_of(shown.sitting.game, shown.sitting.table.states, 0, 0)
    assert hidden is not None
    assert hidden.moves
    seen, _ = shown.look()
    assert seen is not None
    assert (shown.eyes, dict(seen.moves)) == (1, {})


def test_thoughts_of_others_are_kept_from_a_person_who_sits_down() -> None:
    shown = viewer("openspiel/leduc_poker", Lowest(), Lowest())
    shown.sitting.thoughts[0] = Thought(0, Analysis(0.5, ()))
    assert list(shown.thoughts) == [0]
    shown.sitting.seat_down([Occupant("bot", Lowest()), Occupant("ada")])
    shown.settle()
    assert (shown.eyes, shown.thoughts) == (1, {})


def test_moves_are_lent_by_the_names_of_their_places() -> None:
    mine = Scene(3, 1, (), grid(1, 3, ("c", "b", "a")))
    other = Scene(3, 1, (), grid(1, 3, ("a", "b", "hand")), {1: (0,), 2: (0, 1), 3: (2,)})
    assert dict(lent(mine, other).moves) == {1: (2,), 2: (2, 1)}
    assert lent(mine, None) is mine


def test_a_way_is_found_on_the_board_of_other_eyes() -> None:
    sitting = viewer("openspiel/breakthrough", None, None).sitting
    action = sitting.legal(0)[0]
    played = np.array([action], np.int16)
    ways = [ways_at(sitting.table, played, eyes) for eyes in (0, 1, EVERYTHING)]
    assert len({tuple(place.name for place in way) for way in ways}) == 1
    assert len(ways[0]) == 2
    sitting.choose(0, action)
    sitting.advance()
    assert sitting.acting == [1]
    assert ways_at(sitting.table, played, 0) == [], "seat 0 does not act"


def test_of_moves_made_at_once_only_ones_own_is_marked() -> None:
    shown = viewer("rock_paper_scissors", None, Lowest())
    play(shown, "paper")
    assert names(shown) == ["paper"], "rock, the other's, is a column here and no row"
    start = viewer("rock_paper_scissors", None, Lowest()).sitting
    assert ways_at(start.table, np.zeros(2, np.int16), EVERYTHING) == []


def test_a_table_plays_a_step_once_and_keeps_a_game_once() -> None:
    laid = Laid([("", {}), ("random", {})], "ada", None)
    kept: list[int] = []

    def keep(sitting: Sitting, seed: int) -> Recorded | None:
        kept.append(seed)
        return Recorded(f"kept after {sitting.steps} steps")

    laid.begin(Sitting(games.make("tic_tac_toe"), [Occupant("p", Lowest()), Occupant("q")], 3), 7)
    laid.play_on(0)
    laid.play_on(0)
    laid.play_on(1)  # a person is waited for
    assert laid.viewer is not None
    assert laid.viewer.sitting.steps == 1
    for _ in range(2):
        assert laid.record(keep) == Recorded("kept after 1 steps")
    assert kept == [7]
    laid.viewer.sitting.choose(1, 8)
    laid.play_on(1)
    laid.undo()
    laid.record(keep)
    assert kept == [7, 7], "another game, as it went on from there"


def test_only_the_latest_tables_are_kept() -> None:
    tables = Tables(2)
    laid = [Laid([], "", seed) for seed in range(3)]
    first = tables.keep(laid[0])
    second = tables.keep(laid[1])
    tables.keep(laid[0], first)
    third = tables.keep(laid[2])
    assert len({first, second, third}) == 3
    assert [tables.find(key) for key in (first, second, third, "", "x")] == [laid[0], None, laid[2], None, None]


def test_a_game_without_a_board_is_shown_in_words() -> None:
    shown = viewer("openspiel/oh_hell", *[Lowest()] * 2, None)
    scene, text = shown.look()
    assert scene is None
    assert text == shown.sitting.game.text(shown.sitting.table.states, 0, 2)
    assert shown.last == []
    assert np.all(shown.sitting.table.steps == 0)
