"""The text interface, driven by keys and clicks as a person drives it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

import games
from agents.core import Analysis, Choice, Context, Option, Policy
from agents.scripted import Random
from arena.match import Table
from arena.panels import Board, Help, sparkline
from arena.screen import PlayApp
from arena.screen_replay import ReplayApp
from arena.sitting import Occupant, Sitting
from games import Decisions, Keys
from games.lift import Lifted
from games.tic_tac_toe import TicTacToe


class Lowest:
    """Plays the legal action with the lowest number, and thinks that the highest is best."""

    memory: tuple[int, ...] | None = None

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        return Choice(decisions.legal.argmax(axis=-1))

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis:
        legal = np.flatnonzero(decisions.legal[0, 0])[::-1].tolist()
        return Analysis(0.25, tuple(Option(action, 1 / 2**n, visits=int(n == 1)) for n, action in enumerate(legal, 1)))


class Gated(Lowest):
    """Thinks until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        assert self.gate.wait(30)
        return super().act(decisions, context, keys)


class Undrawn(TicTacToe):
    def scene(self, seat: int) -> None:
        return None


AnyApp = PlayApp | ReplayApp
Drive = Callable[[Any, Pilot[None]], Awaitable[None]]


def sit(name: str, *players: Policy | None, key: int = 3) -> Sitting:
    people = iter(("ada", "bob", "eve"))
    return Sitting(
        games.make(name), [Occupant(next(people) if p is None else type(p).__name__.lower(), p) for p in players], key
    )


def on_screen(app: AnyApp, drive: Drive, size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await rest(app, pilot)
            await drive(app, pilot)

    asyncio.run(run())


async def rest(app: AnyApp, pilot: Pilot[None]) -> None:
    """Until nobody thinks and all that is to be seen is seen."""
    await pilot.pause()
    while app.busy:
        await pilot.pause()
    await pilot.pause()


async def press(app: AnyApp, pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await rest(app, pilot)


async def click(app: AnyApp, pilot: Pilot[None], place: str) -> None:
    board = app.query_one(Board)
    assert board.blocks is not None
    assert board.scene is not None
    row, column = board.blocks.cells[[each.name for each in board.scene.places].index(place)]
    await pilot.click(Board, offset=(column, row))
    await rest(app, pilot)


def shown(app: AnyApp, part: str) -> str:
    return str(app.query_one(f"#{part}", Static).content)


def listed(app: AnyApp) -> list[str]:
    return [str(option.prompt).strip() for option in app.query_one(OptionList).options]


def moves(app: PlayApp) -> list[str]:
    return [name for step in app.showing.sitting.line for name in step.names.values()]


def test_a_game_of_tic_tac_toe_by_typing() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        for cell in "345":
            await press(app, pilot, cell, "enter")
        assert moves(app) == ["3", "0", "4", "1", "5"]
        assert "You won." in shown(app, "message")
        assert "over" in shown(app, "title")
        assert not app.desk.look.moves
        assert not app.query_one("#moves").display

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_game_of_connect_four_by_arrows(size: tuple[int, int]) -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        board = app.query_one(Board)
        assert board.blocks is not None
        assert board.blocks.columns == {80: 42, 120: 70}[size[0]]
        assert board.region.right <= app.query_one("#side").region.x
        assert app.query_one("#side").region.width >= 30
        await press(app, pilot, "right", "right", "enter", "enter", "enter", "enter")
        assert moves(app) == ["5", "1", "5", "1", "5", "1", "5"]  # the cursor begins in the middle, at 4
        assert "You won." in shown(app, "message")

    on_screen(PlayApp(sit("connect_four", None, Lowest())), drive, size)


def test_the_first_arrow_puts_the_cursor_in_the_middle_and_edges_hold_it() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        board = app.query_one(Board)
        cursors = []
        for key in ("left", "left", "up", "up", "up", "right"):
            await press(app, pilot, key)
            cursors.append(board.cursor)
        places = board.scene.places if board.scene is not None else ()
        names = [place.name for place in places]
        assert [names.index(cursor or "") for cursor in cursors] == [4, 3, 0, 0, 0, 1]

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_a_game_by_mouse_clicks_and_clicks_on_what_is_taken() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        board = app.query_one(Board)
        assert board.scene is not None
        names = [place.name for place in board.scene.places]
        await click(app, pilot, names[4])
        assert moves(app) == ["4", "0"]
        await click(app, pilot, names[0])
        assert moves(app) == ["4", "0"]
        assert shown(app, "message") == f"{names[0]} is not a legal move here."
        await click(app, pilot, names[3])
        await pilot.click(OptionList, offset=(2, listed(app).index("5")))
        await rest(app, pilot)
        assert moves(app) == ["4", "0", "3", "1", "5"]
        await click(app, pilot, names[8])
        assert shown(app, "message") == "The game is over."

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_typing_filters_the_list_and_what_is_no_move_is_said() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        everything = listed(app)
        assert len(everything) == 20
        await press(app, pilot, "slash", "h", "4")
        assert [move.split()[-1] for move in listed(app)] == ["h4"]
        await press(app, pilot, "9", "enter")
        assert "'h49' is not a legal move here." in shown(app, "message")
        assert moves(app) == []
        await press(app, pilot, "escape")
        assert listed(app) == everything
        assert isinstance(app.focused, Board)

    on_screen(PlayApp(sit("openspiel/chess", Random(), None)), drive)  # its white sits on seat 1


def test_two_clicks_move_a_piece() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await click(app, pilot, "e2")
        assert app.chosen != ()
        assert sorted(move.split()[-1] for move in listed(app)) == ["e3", "e4"]
        await click(app, pilot, "e2")
        assert (app.chosen, len(listed(app))) == ((), 20)
        await click(app, pilot, "e2")
        await click(app, pilot, "e6")
        assert shown(app, "message") == "No move goes to e6."
        await click(app, pilot, "e4")
        assert moves(app)[0] == "e4"
        assert app.chosen == ()

    on_screen(PlayApp(sit("openspiel/chess", Random(), None)), drive)


def test_a_decision_is_taken_back() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "u")
        assert shown(app, "message") == "There is nothing to take back yet."
        await press(app, pilot, "4", "enter", "5", "enter")
        before = app.desk.look.last
        await press(app, pilot, "u")
        assert moves(app) == ["4", "0"]
        assert "Took back 2 steps." in shown(app, "message")
        assert "1 4  2 0" in shown(app, "history")
        assert app.desk.look.last != before

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_a_hint_says_what_why_and_where() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "h")
        assert shown(app, "message") == "lowest would play 0 in your place."
        assert "Expected return for you: 0.25" in shown(app, "analysis")
        assert app.desk.look.hint == (0,)
        await press(app, pilot, "4", "enter")
        assert app.desk.look.hint == ()
        assert shown(app, "analysis") == ""

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_nobody_gives_hints_where_only_people_sit() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "h")
        assert shown(app, "message") == "No agent sits at the table to be asked."
        assert "ada to move" in shown(app, "title")

    on_screen(PlayApp(sit("tic_tac_toe", None, None)), drive)


def test_analysis_comes_and_goes_with_heat_on_the_board() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        assert shown(app, "analysis") == ""
        await press(app, pilot, "a")
        assert "move" in shown(app, "analysis")
        assert app.desk.look.shares[(8,)] == 1  # all visits
        assert app.query_one(Board).marks.heat == {place: float(place == 8) for place in range(9)}
        await press(app, pilot, "4", "enter")
        assert "Value for you: ▅▅" in shown(app, "analysis")
        await press(app, pilot, "a")
        assert shown(app, "analysis") == ""
        assert app.query_one(Board).marks.heat == {}
        assert app.showing.sitting.helped == ["analysis was shown"]

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_seats_are_switched_in_mid_game() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "4", "enter", "s")
        assert app.showing.sitting.people == [1]
        assert moves(app) == ["4", "0", "1"]  # x, now an agent's, is to move at once
        assert "your move" in shown(app, "title")

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_what_others_hold_and_play_stays_hidden() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        sitting = app.showing.sitting
        assert sitting.waiting == [0]
        while not sitting.over:
            look = app.desk.look
            assert look.text == sitting.game.text(sitting.table.states, 0, 0)
            assert sitting.game.text(sitting.table.states, 0, 1) != look.text
            await press(app, pilot, "slash", *look.moves[0][1][:2].lower(), "enter")
            if not sitting.over and len(sitting.line) > 1:
                assert "…" in shown(app, "history")
        assert "…" not in shown(app, "history")

    on_screen(PlayApp(sit("openspiel/leduc_poker", None, Random())), drive)


def test_two_people_pass_the_screen() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        board = app.query_one(Board)
        assert board.words.plain == "Pass the screen to ada, then press Enter."
        assert (app.desk.look.scene, app.desk.look.text, app.desk.look.moves) == (None, "", ())
        await press(app, pilot, "enter")
        assert app.showing.viewer.eyes == 0
        assert listed(app)
        await press(app, pilot, "slash", "c", "enter")
        assert moves(app) == ["Call"]
        assert board.words.plain == "Pass the screen to bob, then press Enter."
        assert shown(app, "history") == ""
        await pilot.click(Board, offset=(3, 0))
        await rest(app, pilot)
        assert app.showing.viewer.eyes == 1
        assert shown(app, "history").strip() == "1 …"
        await press(app, pilot, "u", "enter")
        assert (app.showing.viewer.eyes, moves(app)) == (0, [])

    on_screen(PlayApp(sit("openspiel/leduc_poker", None, None)), drive)


def test_choices_made_at_once_are_hidden_until_all_are_in() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "enter", "slash", "r", "enter")
        assert app.desk.look.curtain == "Pass the screen to bob, then press Enter."
        await press(app, pilot, "enter")
        assert "rock" not in shown(app, "message") + shown(app, "history")
        await press(app, pilot, "slash", "p", "enter")
        assert "bob won." in shown(app, "message")
        assert "rock / paper" in shown(app, "history")

    on_screen(PlayApp(sit("rock_paper_scissors", None, None)), drive)


def test_agents_are_watched_step_by_step() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        assert moves(app) == []
        assert "you watch" in shown(app, "title")
        assert "Expected return for lowest" in shown(app, "analysis")
        await press(app, pilot, "space")
        assert (moves(app), shown(app, "message")) == (["0"], "lowest (seat 0) plays 0.")
        await press(app, pilot, "space")
        assert moves(app) == ["0", "1"]
        assert "Value for lowest (seat 0): ▅▄▅" in shown(app, "analysis")
        await press(app, pilot, "u")
        assert moves(app) == ["0"]

    on_screen(PlayApp(sit("tic_tac_toe", Lowest(), Lowest())), drive)


def test_a_watched_game_plays_by_itself_to_its_end() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        while app.autoplay:
            await rest(app, pilot)
        assert moves(app) == ["0", "1", "2", "3", "4", "5", "6"]
        assert "won." in shown(app, "message")

    on_screen(PlayApp(sit("tic_tac_toe", Lowest(), Lowest()), pace=0.001), drive)


def test_keys_that_mean_nothing_are_not_offered() -> None:
    def offered(app: AnyApp) -> set[str]:
        return {key for key, binding in app.screen.active_bindings.items() if binding.binding.show}

    async def plays(app: PlayApp, pilot: Pilot[None]) -> None:
        assert offered(app) >= {"h", "u", "a", "s", "slash", "question_mark", "q"}
        assert not offered(app) & {"space", "p", "n"}

    async def watches(app: PlayApp, pilot: Pilot[None]) -> None:
        assert offered(app) >= {"space", "p", "n", "u", "a", "q"}
        assert not offered(app) & {"h", "slash"}

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), plays)
    on_screen(PlayApp(sit("tic_tac_toe", Lowest(), Lowest()), lambda old: old), watches)


def test_the_screen_stays_alive_while_an_agent_thinks() -> None:
    slow = Gated()

    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        try:
            await pilot.press("4", "enter")
            await pilot.pause()
            while "thinking" not in shown(app, "title"):
                await pilot.pause()
            await pilot.press("right")
            assert app.query_one(Board).cursor is not None
            await pilot.press("u")
            assert shown(app, "message") == "One moment."
        finally:
            slow.gate.set()
        await rest(app, pilot)
        assert moves(app) == []  # taken back as soon as it had moved

    on_screen(PlayApp(sit("tic_tac_toe", None, slow)), drive)


class Broken(Lowest):
    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        raise ZeroDivisionError("no weights")


def test_an_agent_that_breaks_ends_the_program_with_its_error() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "4", "enter")

    with pytest.raises(ZeroDivisionError, match="no weights"):
        on_screen(PlayApp(sit("tic_tac_toe", None, Broken())), drive)


def test_who_leaves_does_not_wait_for_a_thought() -> None:
    slow = Gated()

    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await pilot.press("4", "enter")
        while app.showing.sitting.steps == 0:
            await pilot.pause()
        await pilot.press("q")

    app = PlayApp(sit("tic_tac_toe", None, slow))
    on_screen(app, drive)
    left = app.showing.sitting.record()
    slow.gate.set()
    assert (left.length, left.finished) == (1, False)


def test_a_new_game_follows_the_old_one_in_this_thread() -> None:
    left: list[tuple[int, int]] = []

    def again(old: Sitting) -> Sitting:
        left.append((old.steps, threading.get_ident()))
        return sit("tic_tac_toe", None, Lowest())

    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "4", "enter", "n")
        assert moves(app) == []
        assert len(listed(app)) == 9
        assert left == [(2, threading.get_ident())]

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest()), again), drive)


def test_a_game_without_a_drawing_is_played_by_its_text_and_its_list() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        sitting = app.showing.sitting
        assert app.desk.look.scene is None
        assert app.query_one(Board).words.plain == sitting.game.text(sitting.table.states, 0, 0)
        assert isinstance(app.focused, OptionList)
        await press(app, pilot, "down", "enter")
        assert len(moves(app)) == 2
        assert moves(app)[0] == sitting.game.action_name(sitting.table.states, 0, 0, 0)

    game = Lifted(Undrawn.spec, Undrawn)
    on_screen(PlayApp(Sitting(game, [Occupant("ada"), Occupant("lowest", Lowest())], 3)), drive)


def test_help_is_shown_until_a_key() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        await pilot.press("x")
        await pilot.pause()
        assert not isinstance(app.screen, Help)

    on_screen(PlayApp(sit("tic_tac_toe", None, Lowest())), drive)


def test_everything_has_room_on_eighty_by_twenty_four() -> None:
    async def drive(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "a", "4", "enter")
        for part in ("#title", "#area", "#analysis", "#filter", "#moves", "#history", "#message"):
            region = app.query_one(part).region
            assert region.height > 0
            assert region.right <= 80
            assert region.bottom <= 23, part  # the keys are in the last line
        assert app.query_one(Input).region.height == 1

    on_screen(PlayApp(sit("connect_four", None, Lowest())), drive)


class Stored:
    """A game that was played, as `Positions`."""

    def __init__(self, name: str, actions: Sequence[int]) -> None:
        self.game, self.actions = games.make(name), actions

    names = ("ada", "random")

    @property
    def moves(self) -> NDArray[np.int16]:
        return np.array(self.actions, np.int16)[:, None]

    def table(self, step: int) -> Table:
        table = Table(self.game, np.array([3], np.uint64))
        for action in self.actions[:step]:
            table.play(np.array([[action]]))
        return table

    def moves_in_words(self) -> list[str]:
        return [f"{self.names[number % 2]} {action}" for number, action in enumerate(self.actions)]


def test_a_stored_game_is_stepped_through() -> None:
    async def drive(app: ReplayApp, pilot: Pilot[None]) -> None:
        board = app.query_one(Board)
        texts = {step: app.stored.table(step).game.text(app.stored.table(step).states, 0, 0) for step in range(6)}
        for key, step in (("right", 1), ("right", 2), ("end", 5), ("right", 5), ("left", 4), ("home", 0), ("left", 0)):
            await press(app, pilot, key)
            assert f"step {step} of 5" in shown(app, "title")
            assert app.desk.look.text == texts[step]
            assert len(app.desk.look.last) == (step > 0)
        await press(app, pilot, "right")
        assert board.scene is not None
        assert app.desk.look.last[0] == board.scene.places[4].mark
        assert shown(app, "message") == "Played yesterday."
        assert "5 ada 2" in shown(app, "history")

    on_screen(ReplayApp(Stored("tic_tac_toe", [4, 0, 6, 1, 2]), note="Played yesterday."), drive)


def test_a_stored_game_is_analysed_where_somebody_can() -> None:
    async def drive(app: ReplayApp, pilot: Pilot[None]) -> None:
        assert "Expected return for ada: 0.25" in shown(app, "analysis")
        assert app.query_one(Board).marks.heat[8] == 1
        await press(app, pilot, "right")
        assert "Expected return for random" in shown(app, "analysis")
        assert "Value for ada: ▅▄" in shown(app, "analysis")
        await press(app, pilot, "a")
        assert shown(app, "analysis") == ""
        await press(app, pilot, "end", "a")
        assert "Expected" not in shown(app, "analysis")

    on_screen(ReplayApp(Stored("tic_tac_toe", [4, 0, 6, 1, 2]), Lowest()), drive)


def test_a_stored_game_plays_by_itself() -> None:
    async def drive(app: ReplayApp, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        while app.autoplay:
            await rest(app, pilot)
        assert app.step == 5

    on_screen(ReplayApp(Stored("tic_tac_toe", [4, 0, 6, 1, 2]), pace=0.001), drive)


def test_values_are_drawn_as_bars() -> None:
    assert sparkline([-1, 0, 1], -1, 1, 10) == "▁▅█"
    assert sparkline([-1, 0, 1, 5], -1, 1, 2) == "██"
    assert sparkline([3, 3], 3, 3, 5) == "▁▁"
