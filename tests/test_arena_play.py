"""A scripted person at the terminal: what is shown, what is understood, and what the game that comes back holds."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

import games
from agents.core import Analysis, Choice, Context, Option, Policy
from agents.mcts import MCTS
from agents.scripted import Random
from arena.match import Table
from arena.play import COMMANDS, play
from arena.sitting import Occupant, PlayedGame, Sitting
from arena.words import find_move, in_words, spell, value_in_words
from games import Decisions, Game, GameError, GameSpec, Keys
from games.names import UserError
from games.rock_paper_scissors import RockPaperScissors


class Lowest:
    """Plays the legal action with the lowest number."""

    memory: tuple[int, ...] | None = None

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        return Choice(decisions.legal.argmax(axis=-1))


class Counting:
    """Plays its n-th legal action the n-th time it acts: what it remembers is how often it did."""

    memory: tuple[int, ...] | None = (1,)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        assert context.memory is not None
        times = int(context.memory[0, 0, 0])
        context.memory += 1
        legal = np.flatnonzero(decisions.legal[0, 0])
        return Choice(legal[[[times % len(legal)]]], memory=context.memory)


class Person:
    """Types `lines`, then closes the input; `seen[i]` is all that was on the screen when line i was asked for."""

    def __init__(self, *lines: str, width: int = 100) -> None:
        self.screen = io.StringIO()
        self.console = Console(file=self.screen, width=width)
        self.lines = list(lines)
        self.seen: list[str] = []
        self.prompts: list[str] = []

    def ask(self, prompt: str) -> str:
        self.prompts.append(prompt)
        self.seen.append(self.screen.getvalue())
        if len(self.seen) > len(self.lines):
            raise EOFError
        return self.lines[len(self.seen) - 1]

    def since(self, line: int) -> str:
        """What line number `line` brought to the screen."""
        return (*self.seen, self.screen.getvalue())[line + 1].removeprefix(self.seen[line])


def played(
    game: Game | Any, players: Sequence[Policy | None], *lines: str, key: int = 3, names: Sequence[str] = ()
) -> tuple[PlayedGame, Person]:
    person = Person(*lines)
    names = names or [f"p{seat}" for seat in range(len(players))]
    return play(sitting(game, players, names, key), console=person.console, ask=person.ask), person


def sitting(game: Game | Any, players: Sequence[Policy | None], names: Sequence[str], key: int = 3) -> Sitting:
    return Sitting(game, [Occupant(name, policy) for name, policy in zip(names, players, strict=True)], key)


def tic_tac_toe() -> Game:
    return games.make("tic_tac_toe")


def test_a_person_wins_and_the_record_holds_the_game() -> None:
    result, person = played(tic_tac_toe(), [None, Lowest()], "4", "2", "6", names=("ann", "low"))
    assert result.returns == (1.0, -1.0)
    assert (result.finished, result.truncated, result.failure, result.length, result.key) == (True, False, None, 5, 3)
    assert result.moves.dtype == np.int16
    assert result.moves.tolist() == [[4], [0], [2], [1], [6]]
    assert "seat 0 is you, seat 1 is low" in person.seen[0]
    assert "0 1 2\n3 4 5\n6 7 8" in person.seen[0]
    assert "low plays 0." in person.since(0)
    assert "o 1 2\n3 x 5\n6 7 8" in person.since(0)
    assert "o o x\n3 x 5\nx 7 8\nYou won.\n" in person.since(2)
    assert "Moves: you 4, low 0, you 2, low 1, you 6." in person.since(2)


def test_a_person_loses_from_the_second_seat() -> None:
    result, person = played(tic_tac_toe(), [Lowest(), None], "8", "4", "7")
    assert result.returns == (1.0, -1.0)
    assert result.moves.tolist() == [[0], [8], [1], [4], [2]]
    assert "p0 plays 0." in person.seen[0], "the agent on the first seat opens"
    assert "You lost." in person.screen.getvalue()


def test_what_cannot_be_played_is_asked_again() -> None:
    result, person = played(tic_tac_toe(), [None, Lowest()], "4", "0", "4", "xyz", "", "  ", "hlep", "HELP", "44", "2")
    assert "'0' is not a legal move here." in person.since(1)
    assert "'4' is not a legal move here." in person.since(2)
    assert "Known: 1, 2, 3, 5, 6, 7, 8" in person.since(3)
    assert person.since(4) == person.since(5) == ""
    assert "Did you mean 'help'?" in person.since(6)
    assert "take back your last decision" in person.since(7)
    assert "not a legal move" in person.since(8)
    assert result.moves.tolist() == [[4], [0], [2], [1]]


def test_board_and_moves_are_shown_again() -> None:
    _, person = played(tic_tac_toe(), [None, Lowest()], "4", "board", "moves")
    assert "o 1 2\n3 x 5\n6 7 8" in person.since(1)
    assert person.since(2) == "Legal moves: 1, 2, 3, 5, 6, 7, 8\n"


@pytest.mark.parametrize("lines", [("4", "quit"), ("4", "Quit"), ("4",)])
def test_leaving_ends_the_game_unfinished(lines: Sequence[str]) -> None:
    result, person = played(tic_tac_toe(), [None, Lowest()], *lines)
    assert not result.finished
    assert result.failure is None
    assert result.returns == (0.0, 0.0)
    assert result.moves.tolist() == [[4], [0]]
    assert "unfinished after 2 steps" in person.screen.getvalue()


def test_an_interrupt_ends_the_game_unfinished() -> None:
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    console = Console(file=io.StringIO())
    result = play(sitting(tic_tac_toe(), [None, Lowest()], "xo"), console=console, ask=interrupt)
    assert (result.finished, result.length) == (False, 0)


def test_undo_takes_back_the_reply_too() -> None:
    result, person = played(tic_tac_toe(), [None, Lowest()], "8", "undo", "4", "2", "7", "undo", "6")
    assert "Took back 2 steps." in person.since(1)
    assert "0 1 2\n3 4 5\n6 7 8" in person.since(1)
    assert result.moves.tolist() == [[4], [0], [2], [1], [6]]
    assert result.returns == (1.0, -1.0)
    assert "Moves: you 4, p1 0, you 2, p1 1, you 6." in person.screen.getvalue()


def test_undo_stops_at_the_persons_first_decision() -> None:
    result, person = played(tic_tac_toe(), [Lowest(), None], "undo", "8", "undo", "undo", "4")
    assert "nothing to take back" in person.since(0)
    assert "Took back 2 steps." in person.since(2)
    assert "nothing to take back" in person.since(3)
    assert result.moves.tolist() == [[0], [4], [1]]


def test_two_people_take_back_one_move_at_a_time() -> None:
    result, person = played(tic_tac_toe(), [None, None], "4", "0", "undo", "1", "hint", names=("ann", "bob"))
    assert person.prompts[:4] == ["ann, your move: ", "bob, your move: ", "ann, your move: ", "bob, your move: "]
    assert result.moves.tolist() == [[4], [1]]
    assert "No agent sits at the table" in person.since(4)


def test_a_hint_is_what_the_opponent_would_play_in_ones_place() -> None:
    result, person = played(tic_tac_toe(), [None, Lowest()], "8", "hint", "hint", names=("ann", "low"))
    assert person.since(1) == person.since(2) == "low would play 1 in your place.\n"
    assert result.moves.tolist() == [[8], [0]]


class Sage(Lowest):
    """Lowest, who can say what it thinks: always the same."""

    def __init__(self, value: float, *options: Option) -> None:
        self.analysis = Analysis(value, options)
        self.asked: list[tuple[int, list[int]]] = []  # seat, legal actions

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis:
        assert decisions.active.shape == (1, 1)
        self.asked.append((int(decisions.seat[0, 0]), np.flatnonzero(decisions.legal[0, 0]).tolist()))
        return self.analysis


def hint(game: Game, options: Sequence[Option], *lines: str, value: float = 0.0, width: int = 80) -> list[str]:
    """The lines of a hint by a sage on the last seat, after the person's other `lines`."""
    person = Person(*lines, "hint", width=width)
    players = [None] * (game.spec.seats - 1) + [Sage(value, *options)]
    names = [f"p{seat}" for seat in range(len(players))]
    play(sitting(game, players, names), console=person.console, ask=person.ask)
    return person.since(len(lines)).rstrip().splitlines()


def test_a_hint_shows_what_the_adviser_thinks() -> None:
    options = (
        Option(4, prior=0.5, visits=1070, value=0.625, line=(4, 2, 6)),
        Option(2, prior=0.496, visits=30, value=-1.0, line=(2, 1)),
        Option(7, prior=0.004),
    )
    assert hint(tic_tac_toe(), options, "8", value=0.5) == [
        "p1 would play 1 in your place.",
        "Expected return for you: 0.50, a chance to win of 75% (a draw is half a win).",
        "  move  visits  prior  value  line",
        "  4       1070  50.0%   0.62  4 2 6",
        "  2         30  49.6%  -1.00  2 1",
        "  7          0   0.4%",
    ]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([Option(4, 0.75), Option(2, 0.25)], ["  move  prior", "  4     75.0%", "  2     25.0%"]),
        ([Option(4, 0.5, visits=3), Option(2, 0.5)], ["  move  visits", "  4          3", "  2          0"]),
        ([Option(4, 0.5, value=2e-4), Option(2, 0.5)], ["  move  value", "  4      0.00", "  2"]),
        ([Option(4, 0.5, line=(4, 0)), Option(2, 0.5)], ["  move  line", "  4     4 0", "  2"]),
        ([Option(4, 0.5, line=(4,)), Option(2, 0.5, line=(2,))], []),
        ([Option(4, 1.0, value=-1e-4)], ["  move  value", "  4      0.00"]),
    ],
)
def test_columns_that_tell_nothing_are_left_out(options: list[Option], shown: list[str]) -> None:
    assert hint(tic_tac_toe(), options)[2:] == shown


def test_the_best_options_are_shown_and_the_others_counted() -> None:
    options = [Option(action, prior=(9 - action) / 45) for action in range(9)]
    assert [line.split()[0] for line in hint(tic_tac_toe(), options[:8])[3:]] == list("01234567")
    assert hint(tic_tac_toe(), options)[3:] == [*hint(tic_tac_toe(), options[:8])[3:], "  and 1 more"]


def test_a_line_ends_with_the_game_and_before_an_illegal_move() -> None:
    options = [Option(0, 0.5, line=(0, 3, 1, 4, 2, 5, 6)), Option(1, 0.5, line=(1, 1, 2))]
    assert hint(tic_tac_toe(), options)[2:] == ["  move  line", "  0     0 3 1 4 2", "  1     1"]


class Relay:
    """Two seats in turn name a number above the last one, by up to 3: in a name are the seat and the number."""

    spec = GameSpec("relay", seats=2, actions=3, observation=(1,), longest=99, payoff="general_sum", searchable=True)
    word = "n"

    def __init__(self, rng: np.random.Generator) -> None:
        self.count, self.mover = 0, 0

    @property
    def over(self) -> bool:
        return self.count >= 90

    @property
    def seats(self) -> Sequence[int]:
        return (self.mover,)

    def legal(self, seat: int) -> Sequence[int]:
        return range(3)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = self.count

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.count += actions[0] + 1
        self.mover = 1 - self.mover
        return (0, 0)

    def copy(self) -> Relay:
        twin = type(self)(np.random.default_rng(0))
        twin.count, twin.mover = self.count, self.mover
        return twin

    def action_name(self, seat: int, action: int) -> str:
        assert seat == self.mover
        return f"{self.word}{seat}:{self.count + action + 1}"


def test_moves_of_a_line_have_the_names_that_they_have_there() -> None:
    assert hint(games.lift(Relay), [Option(2, 0.5, line=(2, 0, 1)), Option(0, 0.5)], "n0:3") == [
        "p1 would play n0:5 in your place.",
        "Expected return for you: 0.00.",
        "  move  line",
        "  n0:7  n0:7 n1:8 n0:10",
        "  n0:5",
    ]


class Longwinded(Relay):
    word = "a number that is announced by seat "


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_are_cut_to_whole_moves_where_the_screen_ends(width: int) -> None:
    options = [Option(0, 0.6, 5, 0.1, line=(0,) * 80), Option(1, 0.4)]
    shown = hint(games.lift(Relay), options, width=width)[3]
    told, dots = shown.split()[4:-1], shown.split()[-1]
    assert told == [f"n{index % 2}:{index + 1}" for index in range(len(told))]
    assert dots == "…"
    assert len(shown) <= width < len(shown) + len(" n0:10"), "as many as there is room for"
    long = hint(games.lift(Longwinded), options, width=80)[3:]
    assert long[0] == "  a number that is announ…       5  60.0%   0.10  a number that is announ…"


@pytest.mark.parametrize("traits", [{"stochastic": True}, {"perfect_information": False}, {"searchable": False}])
def test_lines_are_not_told_where_a_copy_would_not_follow_the_game(traits: dict[str, Any]) -> None:
    class Veiled(Relay):
        spec = replace(Relay.spec, **traits)

    options = [Option(2, 0.75, line=(2, 0, 1)), Option(0, 0.25)]
    assert hint(games.lift(Veiled), options)[2:] == ["  move  prior", "  n0:3  75.0%", "  n0:1  25.0%"]


def test_lines_are_not_told_where_seats_act_at_once() -> None:
    class Open(RockPaperScissors):
        spec = replace(RockPaperScissors.spec, perfect_information=True)

    game = games.lift(Open)
    assert spell(game, game.start(np.zeros(1, np.uint64)), 0, (1, 0)) == []
    options = [Option(1, 0.75, line=(1, 0)), Option(0, 0.25)]
    assert hint(game, options)[2:] == ["  move   prior", "  paper  75.0%", "  rock   25.0%"]


VALUE = "Expected return for ann"
CHANCE = "(a draw is half a win)."


@pytest.mark.parametrize(
    ("spec", "value", "earned", "told"),
    [
        (GameSpec("g", 2, 2, (1,), 5), 0.42, 0, f"{VALUE}: 0.42, a chance to win of 71% {CHANCE}"),
        (GameSpec("g", 2, 2, (1,), 5), -1.3, 0, f"{VALUE}: -1.30, a chance to win of 0% {CHANCE}"),
        (GameSpec("g", 2, 2, (1,), 5), 0.5, -0.5, f"{VALUE} from here on: 0.50, a chance to win of 50% {CHANCE}"),
        (GameSpec("g", 4, 2, (1,), 5, teams=(0, 1, 0, 1)), 1, 0, f"{VALUE}: 1.00, a chance to win of 100% {CHANCE}"),
        (GameSpec("g", 2, 2, (1,), 5, bounds=(-9, 9)), -4.125, 0, f"{VALUE}: -4.12."),
        (GameSpec("g", 3, 2, (1,), 5), 0.5, 0, f"{VALUE}: 0.50."),
        (GameSpec("g", 2, 2, (1,), 5, payoff="cooperative"), 0.5, 0.5, f"{VALUE} from here on: 0.50."),
        (GameSpec("g", 2, 2, (1,), 5, payoff="general_sum"), 0.5, 0, f"{VALUE}: 0.50."),
        (GameSpec("g", 1, 2, (1,), 5), 0.5, 0, f"{VALUE}: 0.50."),
    ],
)
def test_values_in_words(spec: GameSpec, value: float, earned: float, told: str) -> None:
    assert value_in_words(spec, value, "ann", earned=earned) == told


def test_a_value_says_what_it_leaves_out() -> None:
    game = games.make("rock_paper_scissors", rounds=3)
    assert hint(game, [], value=0.5)[1] == "Expected return for you: 0.50."
    assert hint(game, [], "paper", value=0.5)[1] == "Expected return for you from here on: 0.50."


def test_hints_come_from_the_first_agent_that_can_say_why() -> None:
    sage = Sage(1.0, Option(2, 0.75), Option(0, 0.25))
    _, person = played(games.lift(Auction), [Lowest(), sage, None], "hint", names=("low", "sage", "ann"))
    assert person.since(0).startswith("sage would play one in your place.\nExpected return for you: 1.00.\n  move ")
    assert sage.asked == [(2, [0, 1, 2])], "about the person's own decision"


def test_a_hint_among_two_people_names_the_one_who_asked() -> None:
    _, person = played(
        games.lift(Auction), [None, None, Sage(0.5)], "hint", "one", "hint", names=("ann", "bob", "sage")
    )
    assert "Expected return for ann: 0.50." in person.since(0)
    assert "Expected return for bob: 0.50." in person.since(2)


def test_a_hint_with_so_many_simulations() -> None:
    made: list[int] = []

    def adviser(simulations: int) -> Policy:
        made.append(simulations)
        if simulations == 0:
            raise UserError("0 simulations are none.")
        return Sage(simulations / 1000, Option(4, 0.5, visits=simulations), Option(2, 0.5))

    person = Person("hint 500", "HINT  7", "hint 0", "hint", "hint x", "hint 5 6", "4", "hint -1")
    play(sitting(tic_tac_toe(), [None, Lowest()], "ab"), console=person.console, ask=person.ask, deeper=adviser)
    assert made == [500, 7, 0]
    assert "With 500 simulations it would play 0 in your place.\nExpected return for you: 0.50," in person.since(0)
    assert "  4        500\n" in person.since(0)
    assert "  4          7\n" in person.since(1)
    assert person.since(2) == "0 simulations are none.\n"
    assert person.since(3) == "b would play 0 in your place.\n"
    for line in (4, 5, 7):
        assert "is not a legal move here." in person.since(line)


def test_without_an_adviser_hints_have_no_number() -> None:
    _, person = played(tic_tac_toe(), [None, Lowest()], "hint 500")
    assert "'hint 500' is not a legal move here." in person.since(0)


class Keeping(Lowest):
    """Leaves in its scratch how often it was asked, and notes that with the seat and the history that it was shown."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, int, list[int]]] = []

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        scratch, history = context.scratch, context.history
        assert scratch is not None
        assert history is not None
        times = scratch["times"] = scratch.get("times", 0) + 1
        row = int(context.rows[0])
        self.notes.append((int(decisions.seat[0, 0]), times, history.moves[row, : history.steps[row], 0].tolist()))
        return super().act(decisions, context, keys)


def test_agents_see_the_history_and_keep_their_scratch_until_undo() -> None:
    keeping = Keeping()
    played(tic_tac_toe(), [None, keeping], "8", "7", "undo", "4", "5")
    assert keeping.notes == [(1, 1, [8]), (1, 2, [8, 0, 7]), (1, 1, [8, 0, 4]), (1, 2, [8, 0, 4, 1, 5])]


def test_a_hint_starts_afresh_and_leaves_no_trace() -> None:
    keeping = Keeping()
    played(tic_tac_toe(), [None, keeping], "8", "hint", "hint", "7")
    assert keeping.notes == [(1, 1, [8]), (0, 1, [8, 0]), (0, 1, [8, 0]), (1, 2, [8, 0, 7])]


def test_one_agent_on_several_seats_keeps_them_apart() -> None:
    keeping, person = Keeping(), Person()
    play(sitting(games.lift(Auction), [keeping] * 3, "abc", 1), console=person.console, ask=person.ask)
    assert keeping.notes == [(0, 1, []), (1, 1, [0]), (2, 1, [0, 0])]


@pytest.mark.parametrize("key", range(3))
def test_a_hint_from_tree_search(key: int) -> None:
    _, person = played(tic_tac_toe(), [None, MCTS(200)], "4", "hint", key=key)
    head, *rows = person.since(1).splitlines()[2:]
    assert head.split() == ["move", "visits", "value", "line"], "all priors are the same"
    visits = [int(row.split()[1]) for row in rows]
    assert len(rows) == 7
    assert sum(visits) == 200
    assert visits == sorted(visits, reverse=True)
    assert all(row.split()[0] == row.split()[3] for row in rows)
    assert f"would play {rows[0].split()[0]} in your place." in person.since(1)


def test_undo_restores_what_agents_remember() -> None:
    straight, _ = played(tic_tac_toe(), [None, Counting()], "8", "7", "1")
    detour, _ = played(tic_tac_toe(), [None, Counting()], "4", "0", "undo", "undo", "8", "7", "3", "undo", "1")
    assert straight.moves.tolist() == detour.moves.tolist()
    # With 8 taken it plays its legal action number 0, then number 1 of 1 2 3 .. (0, 7, 8 are taken), and so on.
    assert straight.moves[:4].tolist() == [[8], [0], [7], [2]]


def test_hints_of_a_policy_with_memory_follow_the_game_from_the_persons_seat() -> None:
    _, person = played(tic_tac_toe(), [None, Counting()], "8", "hint", "hint", "7", "hint", "undo", "hint")
    # Its own second decision would be number 1 of 1 2 3 4 5 6 7; its third, number 2 of 1 3 4 5 6.
    assert "would play 2 in" in person.since(1)
    assert person.since(1) == person.since(2)
    assert "would play 4 in" in person.since(4)
    assert person.since(6) == person.since(1)


def test_simultaneous_choices_are_hidden_until_all_are_made() -> None:
    game = games.make("rock_paper_scissors")
    result, person = played(game, [None, Lowest()], "Pap", names=("ann", "low"))
    assert result.moves.tolist() == [[1, 0]]
    assert result.returns == (1.0, -1.0)
    assert "low" not in person.seen[0].split("\n", 1)[1]
    assert "1 rock, 2 paper, 3 scissors" in person.seen[0]
    assert "the other rock" in person.since(0)
    assert "Moves: you paper / low rock." in person.since(0)


def test_simultaneous_undo_takes_back_whole_rounds() -> None:
    game = games.make("rock_paper_scissors", rounds=3)
    result, person = played(game, [None, Lowest()], "1", "2", "undo", "undo", "scissors", "3", "3")
    assert result.moves.tolist() == [[2, 0]] * 3
    assert result.returns == (-3.0, 3.0)
    assert "Return so far: -2." in person.since(5)
    assert "You lost.\nReturns: you -3, p1 3.\n" in person.since(6)


def test_the_second_of_two_people_at_once_takes_back_the_first_ones_choice() -> None:
    result, person = played(games.make("rock_paper_scissors"), [None, None], "rock", "undo", "paper", "scissors")
    assert [prompt[:2] for prompt in person.prompts] == ["p0", "p1", "p0", "p1"]
    assert result.moves.tolist() == [[1, 2]]
    assert "p1 won." in person.screen.getvalue()


class Auction:
    """Three seats bid in turn, 1 to 3 coins; the highest bid wins, the first of several. The board counts bids."""

    spec = GameSpec(
        name="auction", seats=3, actions=3, observation=(1,), longest=3, payoff="general_sum", bounds=(-1.0, 2.0)
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.bids: list[int] = []

    @property
    def over(self) -> bool:
        return len(self.bids) == 3

    @property
    def seats(self) -> Sequence[int]:
        return (len(self.bids),)

    def legal(self, seat: int) -> Sequence[int]:
        return range(3)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = len(self.bids)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.bids.append(actions[0])
        if not self.over:
            return (0, 0, 0)
        return [2 if seat == self.bids.index(max(self.bids)) else -1 for seat in range(3)]

    def action_name(self, seat: int, action: int) -> str:
        return ("one", "two", "three")[action]

    def text(self, seat: int) -> str:
        return f"Seat {seat} sees {len(self.bids)} bids."


class Sealed(Auction):
    """The same with sealed bids."""

    spec = replace(Auction.spec, name="sealed", perfect_information=False)


def test_three_seats() -> None:
    result, person = played(games.lift(Auction), [Lowest(), None, Lowest()], "two")
    assert result.returns == (-1.0, 2.0, -1.0)
    assert "p0 plays one." in person.seen[0]
    assert "Seat 1 sees 1 bids." in person.seen[0]
    assert "p2 plays one." in person.since(0)
    assert "You took place 1 of 3.\nReturns: p0 -1, you 2, p2 -1.\n" in person.since(0)
    assert "Moves: p0 one, you two, p2 one." in person.since(0)


def test_two_people_and_an_agent_see_their_own_boards() -> None:
    result, person = played(games.lift(Auction), [None, Lowest(), None], "one", "three", names=("ann", "low", "bob"))
    assert "Seat 0 sees 0 bids." in person.seen[0]
    assert "Seat 2 sees 2 bids." in person.seen[1]
    assert result.returns == (-1.0, -1.0, 2.0)
    assert "bob won.\nReturns: ann -1, low -1, bob 2.\n" in person.since(1)


def test_hidden_moves_are_named_only_when_the_game_is_over() -> None:
    _, person = played(games.lift(Sealed), [Lowest(), None, Lowest()], "THREE")
    before = person.seen[0].split("Legal moves")[0]
    assert "p0 has moved." in before
    assert "one" not in before
    assert "Moves: p0 one, you three, p2 one." in person.since(0)


def test_leaving_a_game_of_hidden_moves_tells_nothing() -> None:
    result, person = played(games.lift(Sealed), [Lowest(), None, Lowest()], "quit")
    assert result.moves.tolist() == [[0]]
    assert "one" not in person.since(0)


class HighCard:
    """Nature deals each of two seats a card; seat 0, then seat 1, folds or stays; the higher card takes one."""

    spec = GameSpec(
        name="high_card", seats=2, actions=2, observation=(1,), longest=2, perfect_information=False, stochastic=True
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.cards = [int(card) for card in rng.choice(np.arange(100, 1000), 2, replace=False)]
        self.stays: list[int] = []
        self.over = False

    @property
    def seats(self) -> Sequence[int]:
        return (len(self.stays),)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = self.cards[seat]

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.stays.append(actions[0])
        self.over = actions[0] == 0 or len(self.stays) == 2
        if not self.over:
            return (0, 0)
        winner = int(self.cards[1] > self.cards[0]) if actions[0] else 2 - len(self.stays)
        return (1, -1) if winner == 0 else (-1, 1)

    def action_name(self, seat: int, action: int) -> str:
        return ("fold", "stay")[action]

    def text(self, seat: int) -> str:
        return f"Your card: {self.cards[seat]}."


@pytest.mark.parametrize("key", range(5))
def test_the_secret_of_the_other_seat_is_never_shown(key: int) -> None:
    game = games.lift(HighCard)
    cards = game.start(np.array([key], np.uint64))[0].single.cards
    result, person = played(game, [Random(), None], "hint", "board", "moves", "undo", "stay", key=key)
    screen = person.screen.getvalue()
    assert str(cards[0]) not in screen
    if result.length == 2:
        assert str(cards[1]) in person.seen[0]
        assert result.returns[1] == (1 if cards[1] > cards[0] else -1)
    assert result.finished


class Dice:
    """One seat rolls a die as often as it dares; a 1 loses everything and ends the game, as does stopping."""

    spec = GameSpec(
        name="dice",
        seats=1,
        actions=2,
        observation=(1,),
        longest=6,
        stochastic=True,
        payoff="general_sum",
        bounds=(0.0, 36.0),
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.rolls: list[int] = []
        self.over = False

    @property
    def seats(self) -> Sequence[int]:
        return (0,)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0] = sum(self.rolls)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        if actions[0] == 0:
            self.over = True
            return (0,)
        before = sum(self.rolls)
        self.rolls.append(int(rng.integers(1, 7)))
        self.over = self.rolls[-1] == 1
        return (-before if self.over else self.rolls[-1],)

    def action_name(self, seat: int, action: int) -> str:
        return ("stop", "roll")[action]

    def text(self, seat: int) -> str:
        return f"Rolls: {self.rolls}"


def test_one_seat_with_chance_and_undo_meets_the_same_nature() -> None:
    key = 11
    straight, _ = played(games.lift(Dice), [None], "roll", "roll", "stop", key=key)
    detour, person = played(games.lift(Dice), [None], "roll", "roll", "undo", "undo", "ROLL", "2", "s", key=key)
    assert straight.length == 3, "this key rolls no 1; choose another"
    assert straight.returns == detour.returns
    assert straight.moves.tolist() == detour.moves.tolist() == [[1], [1], [0]]
    assert f"Return: {straight.returns[0]:g}.\n" in person.screen.getvalue()


def test_a_played_game_replays_from_its_key_and_moves() -> None:
    for key in (*range(20), 2**64 - 1):
        result, _ = played(games.lift(Dice), [Random()], key=key)
        table = Table(games.lift(Dice), np.array([result.key], np.uint64))
        table.replay(result.moves[None], np.array([result.length]))
        assert tuple(table.returns[0].tolist()) == result.returns
        assert table.over[0]
        assert result.finished
        assert result.key == key


def test_a_game_that_is_cut_says_so() -> None:
    lucky = next(key for key in range(200) if played(games.lift(Dice), [None], *["roll"] * 6, key=key)[0].truncated)
    result, person = played(games.lift(Dice), [None], *["roll"] * 6, key=lucky)
    assert (result.finished, result.length) == (True, 6)
    assert "cut after 6 steps, before its rules ended it." in person.screen.getvalue()
    assert f"Return: {result.returns[0]:g}." in person.screen.getvalue()


def breaking(where: str) -> Game:
    class Breaking(Auction):
        spec = replace(Auction.spec, name="breaking")

        def observe(self, seat: int, out: NDArray[np.float32]) -> None:
            if where == "observe" and seat == 1:
                raise RuntimeError("the window is shut")

        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            if where == "step" and len(self.bids) == 1:
                raise RuntimeError("the table has collapsed")
            return super().step(actions, rng)

    return games.lift(Breaking)


@pytest.mark.parametrize(("where", "why"), [("step", "the table has collapsed"), ("observe", "the window is shut")])
def test_a_game_that_breaks_has_no_result(where: str, why: str) -> None:
    result, person = played(breaking(where), [None, None, None], "one", "one")
    assert not result.finished
    assert result.failure is not None
    assert why in result.failure
    assert f"has no result: {result.failure}" in person.screen.getvalue()
    assert "won" not in person.screen.getvalue()


def test_a_game_that_asks_nobody_is_refused() -> None:
    class Idle(games.Lifted):
        def decisions(self, states: Any, out: Decisions | None = None) -> Decisions:
            return Decisions.empty(self.spec, len(states))

    with pytest.raises(GameError, match="asks nobody to act at step 0"):
        played(Idle(Auction.spec, Auction), [None, None, None])


def test_watching_needs_no_person() -> None:
    person = Person()
    result = play(sitting(tic_tac_toe(), [Lowest()] * 2, ("low", "low"), 1), console=person.console, ask=person.ask)
    assert person.prompts == []
    assert result.moves[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    screen = person.screen.getvalue()
    assert "low (seat 0) plays 0." in screen
    assert screen.count("\n\n") == 8, "the board before each of seven moves, and at the end"
    assert "low (seat 0) won.\n" in screen


def test_an_agent_that_chooses_what_is_illegal_is_named() -> None:
    class Stubborn:
        memory: tuple[int, ...] | None = None

        def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
            return Choice(np.full((1, 1), 4))

    with pytest.raises(GameError, match=r"p1 chose action 4, which is not legal; legal here: \[0, 1, 2, 3, 5"):
        played(tic_tac_toe(), [None, Stubborn()], "4")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_occupants_that_do_not_fit_the_seats_are_refused(count: int) -> None:
    with pytest.raises(GameError, match=f"tic_tac_toe has 2 seats, but {count} occupants are given."):
        played(tic_tac_toe(), [None] * count)


def test_random_agents_are_the_same_in_every_line_of_play() -> None:
    once, _ = played(tic_tac_toe(), [None, Random()], "4", key=9)
    again, _ = played(tic_tac_toe(), [None, Random()], "0", "undo", "4", key=9)
    other = {played(tic_tac_toe(), [None, Random()], "4", key=key)[0].moves[1, 0] for key in range(30)}
    assert once.moves.tolist() == again.moves.tolist()
    assert len(other) > 4, "the reply depends on the key"


@pytest.mark.parametrize(
    ("typed", "moves", "found"),
    [
        ("e4", ("d4", "e4"), 1),
        ("E4", ("d4", "e4"), 1),
        ("Bxc4", ("bxc4", "Bxc4"), 1),
        ("bxc4", ("bxc4", "Bxc4"), 0),
        ("BXC4", ("bxc4", "Bxc4"), "could be any of bxc4, Bxc4"),
        ("b", ("b3", "Bd2", "Be2"), 0),
        ("be", ("b3", "Bd2", "Be2"), 2),
        ("B", ("b3", "Bd2", "Be2"), "could be any of Bd2, Be2"),
        ("sc", ("rock", "paper", "scissors"), 2),
        ("3", ("rock", "paper", "scissors"), 2),
        ("0", ("rock", "paper", "scissors"), "not a legal move"),
        ("4", ("rock", "paper", "scissors"), "not a legal move"),
        ("1", ("0", "1", "2"), 1),
        ("2", ("1", "3", "4"), "not a legal move"),
        ("1", ("10", "7"), "not a legal move"),
        ("a1", ("a10", "b7"), "not a legal move"),
        ("a", ("a10", "b7"), 0),
        ("1", ("11-15", "12-16"), "not a legal move"),
        ("11", ("11-15", "12-16"), 0),
        ("3", ("Bid: 2", "Bid: 3", "Bid: 4"), 1),
        ("1", ("Bid: 2", "Bid: 3", "Bid: 4"), "not a legal move"),
        ("Q16", ("B a1", "B q16", "B PASS"), 1),
        ("pass", ("B a1", "B q16", "B PASS"), 2),
        ("2", ("B a1", "B q16", "B PASS"), 1),
        ("8/4 8/2", ("0 - 8/4 8/2", "13 - 8/4 8/2"), "could be any of 0 - 8/4 8/2, 13 - 8/4 8/2"),
        ("0", ("0 - 8/4 8/2", "13 - 8/4 8/2"), 0),
        ("papper", ("rock", "paper"), "Did you mean 'paper'"),
        ("udno", ("rock", "paper"), "Did you mean 'undo'"),
        ("\x1b[2J", ("rock", "paper"), r"'\x1b[2J' is not"),
        ("9" * 5000, ("rock", "paper"), "not a legal move"),
    ],
)
def test_moves_are_found(typed: str, moves: tuple[str, ...], found: int | str) -> None:
    answer = find_move(typed, moves, COMMANDS)
    assert answer == found if isinstance(found, int) else isinstance(answer, str) and found in answer


def test_a_move_named_like_a_command_is_a_move() -> None:
    class Quitting(Auction):
        def action_name(self, seat: int, action: int) -> str:
            return ("quit", "undo", "stay")[action]

    result, _ = played(games.lift(Quitting), [None] * 3, "quit", "undo", "QUIT")
    assert result.moves.tolist() == [[0], [1]], "in capitals it is the command"
    assert not result.finished


def test_many_moves_are_listed_when_asked_for_in_columns() -> None:
    class Wide(Auction):
        spec = replace(Auction.spec, name="wide", actions=120)

        def legal(self, seat: int) -> Sequence[int]:
            return range(120)

        def action_name(self, seat: int, action: int) -> str:
            return f"field-{action}"

    person = Person("moves", "field-77", width=60)
    result = play(sitting(games.lift(Wide), [None] * 3, "abc", 1), console=person.console, ask=person.ask)
    assert "120 legal moves; `moves` lists them." in person.seen[0]
    listed = person.since(0).splitlines()
    assert "120 field-119" in person.since(0)
    assert 24 <= len(listed) <= 61
    assert all(len(line) <= 60 for line in listed)
    assert result.moves.tolist() == [[77]]


def spec(teams: tuple[int, ...], payoff: Any = "general_sum") -> GameSpec:
    return GameSpec("g", len(teams), 2, (1,), 5, teams=teams, payoff=payoff, bounds=(-9, 9))


@pytest.mark.parametrize(
    ("of", "returns", "people", "truncated", "told"),
    [
        (spec((0, 1)), (1, -1), [0], False, ["You won."]),
        (spec((0, 1)), (1, -1), [1], False, ["You lost."]),
        (spec((0, 1)), (1, -1), [0, 1], False, ["a won."]),
        (spec((0, 1)), (0, 0), [1], False, ["A draw."]),
        (spec((0, 1)), (3, 2), [1], False, ["You lost.", "Returns: a 3, b 2."]),
        (spec((0, 1), "zero_sum"), (0, 0), [1], True, ["Undecided: it counts as a draw."]),
        (spec((0, 1)), (3, 2), [0], True, ["You won.", "Returns: a 3, b 2."]),
        (spec((0, 1, 2)), (3, 2, 3), [0], False, ["You share place 1 of 3.", "Returns: a 3, b 2, c 3."]),
        (spec((0, 1, 2)), (3, 2, 3), [1], False, ["You took place 3 of 3.", "Returns: a 3, b 2, c 3."]),
        (spec((0, 1, 2)), (3, 2, 3), [], False, ["a and c won.", "Returns: a 3, b 2, c 3."]),
        (spec((0, 1, 2)), (2, 2, 2), [1], False, ["A draw.", "Returns: a 2, b 2, c 2."]),
        (spec((0, 1, 0, 1)), (1, -1, 1, -1), [2], False, ["You won."]),
        (spec((0, 1, 0, 1)), (1, -1, 1, -1), [1, 3], False, ["You lost."]),
        (spec((0, 1, 0, 1)), (1, -1, 1, -1), [0, 1], False, ["a and c won."]),
        (spec((0, 0), "cooperative"), (4, 4), [0], False, ["Returns: a 4, b 4."]),
        (spec((0,)), (4.5,), [0], False, ["Return: 4.5."]),
    ],
)
def test_results_in_words(
    of: GameSpec, returns: tuple[float, ...], people: list[int], truncated: bool, told: list[str]
) -> None:
    assert in_words(of, np.array(returns, float), "abcd"[: of.seats], people, truncated=truncated) == told


SCRIPT = """
from rich.console import Console
import games
from agents.scripted import Random
from arena.play import play
from arena.sitting import Occupant, Sitting
sitting = Sitting(games.make("connect_four"), [Occupant("ann"), Occupant("random", Random())], 5)
played = play(sitting, console=Console(), ask=input)
print("RECORD", played.finished, played.moves[:, 0].tolist())
"""


def environment() -> dict[str, str]:
    root = str(Path(__file__).parent.parent)
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return plain | {"PYTHONPATH": root, "TERM": "xterm-256color", "COLUMNS": "80"}


def test_in_a_pipe() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], input="4\nundo\n4\n", capture_output=True, text=True, env=environment()
    )
    assert ran.stderr == ""
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout, "no colour in a pipe"
    assert "RECORD False [3, " in ran.stdout
    assert "Took back 2 steps." in ran.stdout
    assert "unfinished after 2 steps" in ran.stdout


def test_at_a_terminal() -> None:
    ours, theirs = pty.openpty()
    ran = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
    )
    os.close(theirs)
    typed, screen = ["4", "hint", "quit"], b""
    try:
        while True:
            # The prompt is answered as often as it has been shown and no oftener, as a person would.
            if typed and screen.count(b"Your move: ") > 3 - len(typed):
                os.write(ours, typed.pop(0).encode() + b"\n")
            try:
                got = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not got:
                break
            screen += got
    finally:
        os.close(ours)
        ran.wait()
    shown = screen.decode()
    assert ran.returncode == 0
    assert "\x1b[1;31mx\x1b[0m" in shown, "discs are coloured"
    assert "random would play" in shown
    assert "RECORD False [3, " in shown
