"""From a command to a table and to the ledger: who may sit down under which name, and games in and out of a pipe."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from test_arena_train import config, training

from arena import cli, replay
from arena.lobby import Lobby
from arena.people import WrongName
from arena.run import look
from arena.seating import Invitation, run_of, runs_of
from games.names import UserError

RUN = Path("runs/ttt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    with training(config(stop={"decisions": 300}), folder) as made:
        made.loop()
        made.finish()
    return folder


@pytest.fixture(autouse=True)
def home(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder to work in, with a copy of that run in it."""
    before = Path.cwd()
    os.chdir(tmp_path)
    shutil.copytree(trained, RUN)
    yield tmp_path
    os.chdir(before)


class Said(NamedTuple):
    code: int
    out: str
    err: str


Arena = Callable[..., Said]


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Arena:
    """Type a command, with `typed` in the pipe; a traceback would be an exception, and fail the test."""

    def command(*words: str, typed: str = "") -> Said:
        lines = iter(typed.splitlines())

        def line(prompt: str) -> str:
            for each in lines:
                return each
            raise EOFError

        monkeypatch.setattr("builtins.input", line)
        monkeypatch.setattr(sys, "argv", ["arena", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return command


EVERY_PLACE = "".join(f"{place}\n" for place in (4, 0, 8, 2, 6, 1, 3, 5, 7))
"""Places that are taken are refused, and the next is asked for, so that this is a whole game against anybody."""


# ---- invitations


@pytest.mark.parametrize("seat", [-2, 2, 99])
def test_a_seat_that_the_game_does_not_have_is_refused(seat: int) -> None:
    with pytest.raises(UserError, match=f"tic_tac_toe has seats 0 to 1, and -1 is to watch, but not {seat}"):
        Invitation(seat=seat).check(Lobby("tic_tac_toe", []))


@pytest.mark.parametrize("name", ["main", "main@1", "random", "a b", "x" * 33])
def test_a_name_that_is_taken_or_impossible_is_refused(name: str) -> None:
    with pytest.raises(WrongName):
        Invitation(against="runs/ttt:main@1", person=name).check(Lobby("tic_tac_toe", [RUN]))
    with pytest.raises(WrongName):
        Invitation(against="main@1", person=name).check(Lobby("tic_tac_toe", [RUN]))


def test_a_name_needs_to_be_free_only_where_the_game_will_be_kept() -> None:
    Invitation(against="random", person="main").check(Lobby("tic_tac_toe", [RUN]))


def test_a_broken_run_elsewhere_stops_no_invitation() -> None:
    shutil.copytree(RUN, "runs/broken")
    for file in Path("runs/broken").glob("ledger.sqlite*"):
        file.unlink()
    lobby = Lobby("tic_tac_toe", runs_of("random"))
    assert lobby.folders[0] == Path("runs/broken")
    Invitation(against="random", person="ada").check(lobby)


def test_runs_are_found_once_and_that_of_the_opponent_first(home: Path) -> None:
    shutil.copytree(RUN, "runs/another")
    Path("runs/people/tic_tac_toe").mkdir(parents=True)
    Path("runs/notes.txt").write_text("no run")
    assert runs_of("random") == [Path("runs/another"), RUN]
    assert runs_of("runs/ttt:main") == [RUN, Path("runs/another")]
    assert runs_of(f"{home}/runs/ttt:main@1?temperature=0") == [home / RUN, Path("runs/another")]
    assert run_of("mcts:100") is None
    assert run_of("runs/none:main") is None


# ---- in a pipe


def test_a_game_played_in_a_pipe_is_recorded_and_the_ladder_rates_the_person(arena: Arena) -> None:
    said = arena("play", "tic_tac_toe", "--against", "runs/ttt:main@1", "--name", "ada", typed=EVERY_PLACE)
    assert said.code == 0
    assert said.out.splitlines()[-1] == "Recorded as game 1 of ada against main@1; the ladder rates it."
    assert [game.lineup for game in replay.games(RUN, purposes=["human"])] == [("ada", "main@1")]
    rated = arena("ladder", "runs/ttt", "--json")
    assert {row["id"]: row["games"] for row in json.loads(rated.out)["players"]}["ada"] == 1


def test_a_guest_is_kept_but_not_rated_and_who_leaves_is_not_kept(arena: Arena) -> None:
    said = arena("play", "tic_tac_toe", "--against", "runs/ttt:main@1", typed=EVERY_PLACE)
    assert said.out.splitlines()[-1] == "Kept for replay, not rated: nobody gave a name."
    arena("play", "tic_tac_toe", "--against", "runs/ttt:main@1", "--name", "ada", typed="4\nquit\n")
    with look(RUN) as run:
        assert (len(run.ledger.games(["casual"])), len(run.ledger.games(["human"]))) == (1, 0)


def test_the_list_of_games_and_every_position_of_one_are_printed(arena: Arena) -> None:
    arena("play", "tic_tac_toe", "--against", "runs/ttt:main@1", "--name", "ada", typed=EVERY_PLACE)
    listed = arena("replay", "runs/ttt")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.splitlines()[-1].startswith("One of them: arena replay runs/ttt --game ")
    mine = arena("replay", "runs/ttt", "ada")
    assert "ada – main@1" in mine.out
    which = mine.out.splitlines()[-1].split()[-1]
    printed = arena("replay", "runs/ttt", "--game", which)
    played = replay.load(RUN, *map(int, which.split(".")))
    assert printed.code == 0
    for step in range(played.steps + 1):
        table = played.table(step)
        board = played.game.text(table.states, 0, 0)
        assert board in printed.out, f"the position after {step} steps is shown"
    moves = [line for line in printed.out.splitlines() if line.partition(".")[0].isdigit()]
    assert [line.partition(". ")[2] for line in moves] == list(played.moves_in_words())


def test_games_that_belong_to_no_run_are_listed_and_replayed(arena: Arena) -> None:
    said = arena("play", "tic_tac_toe", "--against", "greedy", "--name", "ada", typed=EVERY_PLACE)
    assert said.out.splitlines()[-1].endswith("kept in runs/people/tic_tac_toe.")
    listed = arena("replay", "runs/people/tic_tac_toe")
    assert "ada – greedy" in listed.out
    assert arena("replay", "runs/people/tic_tac_toe", "--game", listed.out.split()[-1]).code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("play tic_tac_toe --against runs/ttt:mian", "runs/ttt has no player 'mian'"),
        ("play tic_tac_toe --against runs/ttt:main@77", "runs/ttt has no player 'main@77'. Did you mean 'main@"),
        ("play tic_tac_toe --against rnadom", "Did you mean 'random'?"),
        ("play connect_four --against runs/ttt:main@1", "runs/ttt:main@1 plays tic_tac_toe, not connect_four."),
        ("play tic_tac_toe --against runs/ttt:main@1 --name main", "'main' is a player of runs/ttt already"),
        ("play tic_tac_toe --seat 2", "seats 0 to 1"),
        ("replay runs/ttt --game 5", "'5' names no game: it is MATCH.GAME"),
        ("replay runs/ttt --game 5000.0", "There is no"),
        ("replay runs/tt", "There is no run in runs/tt. Did you mean 'runs/ttt'?"),
        ("web runs/tt", "There is no run in runs/tt. Did you mean 'runs/ttt'?"),
        ("web .", "There is no run in ."),
    ],
)
@pytest.mark.parametrize("page", [False, True])
def test_what_cannot_be_is_refused_in_a_sentence(arena: Arena, words: str, sentence: str, page: bool) -> None:
    """In a page as at the prompt: before anything is served."""
    shown = ("--web", "--no-browser", "--port", "0") if page and words.startswith("play") else ()
    said = arena(*words.split(), *shown)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
