"""What is shown while a run goes on, under a clock that the test turns."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from arena.progress import Lines, Quiet, Screen, Status, duration, line, open_progress, picture, time_left

STATUS = Status(
    elapsed=3723.9,
    decisions=1_234_567,
    total=10_000_000,
    rate=8412.3,
    left=1042.0,
    wins={"random": (0.985, 1400), "main@3": (math.nan, 0)},
    ladder=[("main@4", 1312.4, 1280.0, 1345.2), ("random", -0.2, -40.0, 39.6)],
    metrics={"loss": 0.123456, "kl": math.nan},
)


class Turned:
    """A clock that stands where it was set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(width: int = 110, **settings: Any) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, **settings)


def paper() -> Console:
    return Console(file=io.StringIO(), width=80)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_holds_everything() -> None:
    assert line(STATUS) == (
        "1:02:03  1.23M of 10.0M (12.3%) decisions, 8.41k/s, 17:22 left"
        " | vs random 98.5% (1,400), main@3 – (0)"
        " | top main@4 1312 [1280, 1345], random 0 [-40, 40]"
        " | loss 0.1235, kl nan"
    )


def test_a_line_leaves_out_what_is_not_known() -> None:
    assert line(Status(elapsed=5, decisions=999)) == "0:05  999 decisions, 0/s"


def test_lines_come_five_seconds_apart_and_the_last_always() -> None:
    clock, console = Turned(), paper()
    with Lines(console, clock) as progress:
        for second in range(12):
            clock.now = 100.0 + second
            progress.update(Status(elapsed=second, decisions=second))
    shown = [row.split()[0] for row in text(console).splitlines()]
    assert shown == ["0:00", "0:05", "0:10", "0:11"]


def test_the_last_line_is_not_said_twice() -> None:
    console = paper()
    progress = Lines(console, Turned())
    progress.update(STATUS)
    progress.close()
    progress.close()
    assert text(console) == line(STATUS) + "\n"  # and is not wrapped at 80 columns


def test_a_message_is_said_at_once_and_as_it_is() -> None:
    console = paper()
    progress = Lines(console, Turned())
    progress.message("[red]main@3[/red] is frozen :smile:" + "x" * 80)
    assert text(console) == "[red]main@3[/red] is frozen :smile:" + "x" * 80 + "\n"


def test_a_picture_holds_everything() -> None:
    console = terminal()
    console.print(picture(STATUS))
    head, *rows = (" ".join(row.split()) for row in text(console).splitlines())
    assert head.endswith(" 1:02:03 1.23M of 10.0M (12.3%) decisions, 8.41k/s, 17:22 left")
    assert rows == [
        "against score games ladder Elo interval metric now",
        "random 98.5% 1,400 main@4 1312 [1280, 1345] loss 0.1235",
        "main@3 – 0 random 0 [-40, 40] kl nan",
    ]


def test_a_picture_shows_milliseconds_a_move_and_the_best() -> None:
    console = terminal()
    console.print(picture(replace(STATUS, thinking={"main@4": 12.3456, "main@3": 1.0}, best="main@4", metrics={})))
    _, *rows = (" ".join(row.split()) for row in text(console).splitlines())
    assert rows == [
        "against score games ladder Elo interval ms/move",
        "random 98.5% 1,400 main@4 * 1312 [1280, 1345] 12.3",
        "main@3 – 0 random 0 [-40, 40]",
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_picture_fits_its_terminal(width: int) -> None:
    console = terminal(width)
    many = {f"a player with a long name {n}": (0.5, n) for n in range(30)}
    console.print(picture(Status(elapsed=1, decisions=1, wins=many, ladder=[(w, 1, 0, 2) for w in many])))
    rows = text(console).splitlines()
    assert max(map(len, rows)) <= width
    assert len(rows) == 1 + 1 + 8 + 1
    assert width < 80 or "22 more" in rows[-1]


def test_a_picture_of_an_empty_status() -> None:
    console = terminal()
    console.print(picture(Status(elapsed=0, decisions=0)))
    assert text(console).rstrip() == "0:00  0 decisions, 0/s"


def test_the_screen_draws_at_most_five_times_a_second_and_ends_with_the_last_status() -> None:
    clock, console = Turned(), terminal()
    with Screen(console, clock) as progress:
        for tick in range(100):
            clock.now = 100.0 + tick / 100
            progress.update(Status(elapsed=0, decisions=tick))
        progress.message("[b]main@1[/b] is frozen")
    drawn = text(console)
    assert drawn.count("0 decisions") + drawn.count("5 decisions") <= 6
    assert "[b]main@1[/b] is frozen" in drawn
    assert drawn.rindex("99 decisions") > drawn.index("[b]main@1[/b]")


def test_the_terminal_decides(capsys: pytest.CaptureFixture[str]) -> None:
    assert type(open_progress(paper())) is Lines
    screen = open_progress(terminal())
    assert type(screen) is Screen
    screen.close()
    with open_progress(terminal(), quiet=True) as nothing:
        nothing.update(STATUS)
        nothing.message("nobody hears")
    assert type(nothing) is Quiet
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("force", [True, False])
def test_stdout_stays_clean_for_json(force: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(Console(stderr=True, force_terminal=force)) as progress:
        progress.update(STATUS)
        progress.message("main@3 is frozen")
        print('{"elo": 1312}')
    out, err = capsys.readouterr()
    assert out == '{"elo": 1312}\n'
    assert "main@3 is frozen" in err
    assert "1.23M of 10.0M" in err


def test_an_exception_is_not_swallowed_and_the_last_status_is_seen() -> None:
    console = paper()

    def run() -> None:
        with open_progress(console, Turned()) as progress:
            progress.update(Status(elapsed=0, decisions=1))
            progress.update(Status(elapsed=1, decisions=2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert "2 decisions" in text(console)


def test_time_left_is_that_of_the_nearest_rule() -> None:
    decisions = (250_000.0, 1_000_000.0, 500.0)
    wall = (900.0, 1_000.0, 1.0)
    assert time_left([decisions]) == 1500.0
    assert time_left([decisions, wall]) == 100.0
    assert time_left([(5.0, 5.0, 1.0), wall]) == 0.0
    assert time_left([(7.0, 5.0, 1.0)]) == 0.0
    assert time_left([(0.0, 10.0, 0.0)]) is None
    assert time_left([(0.0, math.inf, 5.0), (0.0, 10.0, math.nan)]) is None
    assert time_left([]) is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3600, "1:00:00"), (90_061, "1d 01:01:01"), (math.inf, "–")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.00k"),
        (9994, "9.99k"),
        (9996, "10.0k"),
        (99_960, "100k"),
        (999_600, "1.00M"),
        (123_456_789, "123M"),
        (4.5e10, "45.0G"),
    ],
)
def test_counts_have_three_figures(number: float, shown: str) -> None:
    assert line(Status(elapsed=0, decisions=0, rate=number)).endswith(f" {shown}/s")
