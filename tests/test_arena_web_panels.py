"""What stands around the board: the table of a decision, the chart of the value, the moves so far, how it stands."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

import games
from agents.core import Analysis, Option
from agents.scripted import Random
from arena.match import Table
from arena.sitting import Occupant, Sitting, Thought
from arena.viewer import Viewer
from games import GameSpec

pytest.importorskip("nicegui")
from arena.web_panels import chart, decision, record, state

DUEL = games.make("connect_four").spec


def table(game: str) -> Table:
    return Table(games.make(game), np.array([5], np.uint64))


def thought(seat: int, value: float, *options: Option, earned: float = 0.0) -> Thought:
    return Thought(seat, Analysis(value, options), earned)


def rows(html: str) -> list[list[str]]:
    """The cells of a table, its head first."""
    found = re.findall(r"<tr>(.*?)</tr>", html)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in found]


def lines(html: str) -> list[list[tuple[float, float]]]:
    figure = ElementTree.fromstring(html)
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]  # type: ignore[misc]
        for line in figure.iter("polyline")
    ]


def caption(html: str) -> str:
    return "".join(ElementTree.fromstring(html).find("figcaption").itertext())  # type: ignore[union-attr]


def test_a_searched_decision_is_a_table_with_the_line_after_each_move() -> None:
    options = (Option(3, 0.5, 30, 0.25, (3, 3, 2)), Option(0, 0.125, 10, None, (0,)))
    html = decision(table("connect_four"), ["you", "bot"], thought(0, 0.5, *options))
    assert html.startswith(
        "<p>Expected return for you: 0.50, a chance to win of 75% (a draw is half a win).</p>"
        '<div class="scroll-x"><table class="table">'
    )
    assert rows(html) == [
        ["move", "share", "visits", "prior", "value", "then"],
        ["4", "75%", "30", "50.0%", "0.25", "4 3"],
        ["1", "25%", "10", "12.5%", "", ""],
    ]
    assert [float(share) for share in re.findall(r"--share: ([\d.]+)", html)] == [0.75, 0.25]


def test_a_policy_without_search_shows_only_its_shares() -> None:
    options = tuple(Option(action, 1 / 9) for action in range(9))
    html = decision(table("tic_tac_toe"), ["you", "bot"], thought(0, 0.0, *options))
    assert rows(html)[:2] == [["move", "share"], ["0", "11%"]]
    assert len(rows(html)) == 1 + 8
    assert html.endswith('<p class="quiet">and 1 more</p>')


def test_what_was_earned_is_no_part_of_what_is_expected_from_here_on() -> None:
    html = decision(table("simple_spread"), ["a", "b", "c"], thought(1, -2.0, Option(0, 1.0), earned=-3.0))
    assert "<p>Expected return for b from here on: -2.00.</p>" in html


def test_names_are_never_read_as_markup() -> None:
    html = decision(table("tic_tac_toe"), ["<b>", "bot"], thought(0, 0.0, Option(0, 1.0)))
    assert "Expected return for &lt;b&gt;: 0.00" in html
    assert "<b>" not in chart(DUEL, {0: thought(0, 0, *()), 1: thought(1, 0)}, 1, ["<b>", "bot"])


def test_two_sides_share_one_line_told_from_the_first_seat() -> None:
    thoughts = {0: thought(0, 0.5), 1: thought(1, 0.5), 4: thought(0, 1.0)}
    html = chart(DUEL, thoughts, 4, ["you", "bot"])
    assert lines(html) == [[(0.0, 24.0), (80.0, 72.0), (320.0, 0.0)]]  # 0.5, then -0.5 for the first seat, then 1
    assert caption(html) == "Expected return for you, from -1 to 1, over 4 steps"
    assert html.count("<line ") == 1


def test_seats_that_are_no_two_sides_have_a_line_each() -> None:
    spec = games.make("simple_spread").spec
    thoughts = {step: thought(seat, -float(step + seat)) for step, seat in enumerate((0, 0, 1, 1, 2))}
    html = chart(spec, thoughts, 5, ["a", "b", "c"])
    assert len(lines(html)) == 2, "one point is no line"
    assert caption(html) == "Expected return for each seat, from -4 to 0, over 5 steps"
    assert re.findall(r"--scene-(seat\d)", html) == ["seat0", "seat1"]


@pytest.mark.parametrize("thoughts", [{}, {3: thought(0, 0.5)}])
def test_there_is_no_chart_before_there_are_two_points(thoughts: dict[int, Thought]) -> None:
    assert chart(DUEL, thoughts, 9, ["you", "bot"]) == ""


def test_a_value_that_never_changes_is_drawn_all_the_same() -> None:
    spec = GameSpec("one", seats=1, actions=2, observation=(1,), longest=9, bounds=(0.0, 9.0))
    assert lines(chart(spec, {0: thought(0, 3.0), 1: thought(0, 3.0)}, 1, ["you"])) == [[(0.0, 96.0), (320.0, 96.0)]]


def sitting(game: str, *policies: Any) -> Sitting:
    return Sitting(games.make(game), [Occupant(f"<p{seat}>", each) for seat, each in enumerate(policies)], 3)


def test_the_moves_so_far_are_told_as_far_as_they_may_be() -> None:
    shown = Viewer(sitting("openspiel/leduc_poker", None, Random()))
    shown.settle()
    shown.sitting.choose(0, shown.sitting.legal(0)[shown.sitting.move_names(0).index("Call")])
    shown.advance()
    shown.advance()
    assert record(shown) == "<ol><li><b>you</b> Call</li><li><b>&lt;p1&gt;</b> …</li></ol>"


def test_how_a_game_stands_is_said_in_words() -> None:
    played = sitting("tic_tac_toe", None, Random())
    assert state(played) == "Your move."
    played.choose(0, 4)
    played.advance()
    assert state(played) == "<p1> is thinking …"
    assert state(sitting("tic_tac_toe", Random(), Random())) == "<p0> to move."
    assert state(sitting("tic_tac_toe", None, None)) == "<p0> to move."
    both = sitting("tic_tac_toe", None, None)
    for move in (0, 3, 1, 4, 2):
        both.choose(both.waiting[0], move)
        both.advance()
    assert state(both) == "<p0> won."
