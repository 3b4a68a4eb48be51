"""A sitting: who may choose when, what goes back, what help is remembered, who catches up, what may be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from test_arena_play import Counting, Lowest

import games
from agents.mcts import MCTS
from agents.scripted import Random
from arena.match import Table
from arena.sitting import Occupant, Sitting, thought
from games import Game, GameError


def sitting(game: str | Game, *policies: Any, key: int = 3) -> Sitting:
    made = games.make(game) if isinstance(game, str) else game
    return Sitting(made, [Occupant(f"p{seat}", policy) for seat, policy in enumerate(policies)], key)


def line(of: Sitting) -> list[dict[int, int]]:
    return [dict(step.actions) for step in of.line]


def play(of: Sitting, moves: Sequence[int]) -> None:
    """People play `moves`, agents answer."""
    for move in moves:
        of.choose(of.waiting[0], move)
        while not of.over and not of.waiting:
            of.advance()


def test_nothing_moves_before_people_have_chosen() -> None:
    table = sitting("tic_tac_toe", None, Lowest())
    assert (table.waiting, table.acting, table.over, table.people) == ([0], [0], False, [0])
    with pytest.raises(GameError, match="Seat 0 has yet to choose"):
        table.advance()
    table.choose(0, 4)
    assert (table.waiting, table.steps) == ([], 0)
    table.advance()
    assert (table.waiting, table.acting) == ([], [1])
    step = table.advance()
    assert step is not None
    assert (step.actions, step.names, step.decided) == ({1: 0}, {1: "0"}, False)
    assert table.waiting == [0]


def test_what_may_not_be_chosen_is_refused_and_changes_nothing() -> None:
    table = sitting("tic_tac_toe", None, Lowest())
    with pytest.raises(GameError, match="It is not seat 1's turn"):
        table.choose(1, 4)
    for action in (9, -1, 10**9):
        with pytest.raises(GameError, match=f"Action {action} is not legal here"):
            table.choose(0, action)
    play(table, [4])
    with pytest.raises(GameError, match="Action 4 is not legal here"):
        table.choose(0, 4)
    assert line(table) == [{0: 4}, {1: 0}]
    assert table.chosen == {}


def test_a_game_that_is_over_takes_no_more() -> None:
    table = sitting("tic_tac_toe", None, Lowest())
    play(table, [4, 2, 6])
    assert table.over
    assert table.record().returns == (1.0, -1.0)
    assert (table.waiting, table.acting, table.record().finished) == ([], [], True)
    with pytest.raises(GameError, match="The game is over"):
        table.choose(0, 1)
    with pytest.raises(GameError, match="The game is over"):
        table.advance()


def test_taking_back_goes_to_the_last_decision_of_a_person_and_is_remembered() -> None:
    table = sitting("tic_tac_toe", None, Lowest())
    assert not table.can_undo
    assert table.undo() == 0
    play(table, [4, 2])
    assert table.undo() == 2
    assert line(table) == [{0: 4}, {1: 0}]
    assert table.helped == ["a move was taken back"]
    play(table, [2, 6])
    assert table.over
    assert table.undo() == 1
    assert (table.over, table.waiting) == (False, [0])
    assert table.helped == ["a move was taken back"], "said once"


def test_who_only_watches_goes_back_a_step_at_a_time() -> None:
    table = sitting("tic_tac_toe", Lowest(), Lowest())
    table.advance()
    table.advance()
    assert table.undo() == 1
    assert line(table) == [{0: 0}]
    assert table.helped == [], "nobody was helped"


def test_what_one_person_chose_goes_back_before_the_step_is_played() -> None:
    table = sitting("rock_paper_scissors", None, None)
    table.choose(0, 1)
    assert table.waiting == [1]
    assert table.can_undo
    assert table.undo() == 0
    assert table.waiting == [0, 1]


def test_people_and_agents_act_at_once() -> None:
    table = sitting("rock_paper_scissors", None, Lowest())
    table.choose(0, 1)
    step = table.advance()
    assert step is not None
    assert step.actions == {0: 1, 1: 0}


def test_who_sits_down_in_mid_game_catches_up_with_what_was_played() -> None:
    table = sitting("tic_tac_toe", None, Lowest())
    play(table, [4, 8])
    table.seat_down([table.occupants[0], Occupant("counting", Counting())])
    play(table, [2])
    # It has seen two decisions of its seat, so this is its third: the third legal action of 3, 5, 6, 7.
    assert line(table)[-1] == {1: 6}
    assert table.helped == ["seats changed hands in mid-game"]


def test_a_player_with_memory_plays_as_if_nothing_had_been_taken_back() -> None:
    once, again = sitting("tic_tac_toe", None, Counting()), sitting("tic_tac_toe", None, Counting())
    play(once, [4, 8])
    play(again, [4, 2])
    again.undo()
    play(again, [8])
    assert line(once) == line(again)


def test_seats_change_hands_before_the_first_move_for_free() -> None:
    table = sitting("tic_tac_toe", None, Lowest())
    table.seat_down(table.occupants[::-1])
    assert (table.people, table.helped) == ([1], [])


def test_a_hint_and_an_analysis_are_help() -> None:
    table = sitting("connect_four", None, MCTS(64))
    action, analysis = table.hint(0)
    assert action in range(7)
    assert analysis is not None
    assert sum(option.visits for option in analysis.options) == 64
    assert table.helped == ["a hint was used"]
    told = table.think()
    assert told is not None
    assert told is table.think(), "kept"
    assert told.seat == 0
    assert sum(told.shares().values()) == pytest.approx(1)
    assert table.helped == ["a hint was used", "analysis was shown"]


def test_who_watches_two_agents_is_not_helped() -> None:
    table = sitting("connect_four", MCTS(16), MCTS(16))
    assert table.think() is not None
    assert table.helped == []


def test_thoughts_of_what_is_taken_back_are_forgotten() -> None:
    table = sitting("connect_four", None, MCTS(16))
    table.think()
    play(table, [3])
    table.think()
    assert sorted(table.thoughts) == [0, 2]
    table.undo()
    assert sorted(table.thoughts) == [0]


def test_nobody_to_ask_is_said() -> None:
    with pytest.raises(GameError, match="No agent sits at the table"):
        sitting("tic_tac_toe", None, None).hint(0)
    table = sitting("tic_tac_toe", None, Random())
    assert table.think() is None, "random cannot say"
    assert table.hint(0)[1] is None


def test_what_agents_hold_is_not_told_where_it_is_hidden() -> None:
    table = sitting("openspiel/leduc_poker", None, Random())
    assert table.may_tell(0)
    assert not table.may_tell(1)
    watched = sitting("openspiel/leduc_poker", Random(), Random())
    assert watched.may_tell(0)
    assert watched.may_tell(1)
    two = sitting("openspiel/leduc_poker", None, None)
    assert not two.may_tell(0), "the other person looks at the same screen"
    open_game = sitting("tic_tac_toe", None, Lowest())
    assert open_game.may_tell(1)


def test_a_table_of_stored_moves_can_be_thought_about() -> None:
    table = Table(games.make("connect_four"), np.array([5], np.uint64))
    table.play(np.array([[3]]))
    told = thought(table, MCTS(32), 1)
    assert told is not None
    assert (told.seat, told.earned) == (1, 0.0)
    assert thought(table, Random(), 1) is None


def test_as_many_sit_down_as_there_are_seats() -> None:
    with pytest.raises(GameError, match="tic_tac_toe has 2 seats, but 1 occupants are given"):
        sitting("tic_tac_toe", None)
