"""Games as files: what other programs read back is what was played."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import Any

import chess.pgn
import numpy as np
import pytest
from test_arena_people import agent, play

import games
from arena.export import ExportError, export, format_of
from arena.match import Table
from arena.people import record
from arena.replay import archive
from arena.sitting import Occupant, PlayedGame
from games import Game
from games.keys import mix


def store(name: str, played: list[PlayedGame], who: str = "ada") -> Path:
    """The games, in the folder of people's games; the person sits first, then second, and so on."""
    spec = games.make(name).spec
    folder = None
    for seed, game in enumerate(played):
        seats = [Occupant(who), agent("random")]
        folder = record(name, spec, seats if seed % 2 == 0 else seats[::-1], game, seed).folder
    assert folder is not None
    return folder


def mate(game: Game, seed: int) -> PlayedGame:
    """Fool's mate, by the boards: whatever the moves are called, they lead there."""
    table = Table(game, np.array([mix(seed, 0)], np.uint64))
    board = chess.Board()
    for uci in ("f2f3", "e7e5", "g2g4", "d8h4"):
        board.push_uci(uci)
        want = {board.board_fen(), str(board)}
        for action in np.flatnonzero(table.pending().legal[0, 0]).tolist():
            table.play(np.array([[action]], np.int64))
            if {game.text(table.states, 0, 0).split()[0], game.text(table.states, 0, 0)} & want:
                break
            table.undo()
    return PlayedGame(tuple(table.returns[0].tolist()), 4, False, table.played(0), int(table.keys[0]), True)


@pytest.mark.parametrize("name", ["openspiel/chess", "pettingzoo/classic.chess_v6"])
def test_chess_is_read_back_by_python_chess(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    game = games.make(name)
    folder = store(name, [mate(game, 0), play(game, 1), mate(game, 2)])
    told = export(folder)
    assert (told.path, told.format, told.games, told.problems) == (folder / "games.pgn", "pgn", 3, ())
    with told.path.open() as file, archive(folder) as opened:
        for number, stored in enumerate(opened.games()):
            read = chess.pgn.read_game(file)
            assert read is not None
            assert not read.errors
            white = 1 if name.startswith("openspiel") else 0  # which seat OpenSpiel gives White
            assert read.headers["White"] == stored.lineup[white]
            assert read.headers["Black"] == stored.lineup[1 - white]
            assert read.headers["Round"] == f"{stored.match}.0"
            assert read.headers["Date"] == "????.??.??"
            replay, board = opened.load(stored.match, 0), read.board()
            assert len(list(read.mainline_moves())) == stored.length
            for step, move in enumerate(read.mainline_moves(), 1):
                board.push(move)
                text = game.text(replay.table(step).states, 0, 0)
                assert text in (str(board), board.fen(en_passant="fen")) or text.split()[0] == board.board_fen()
            words = {(1.0, -1.0): "1-0", (-1.0, 1.0): "0-1", (0.0, 0.0): "1/2-1/2"}
            assert read.headers["Result"] == (
                "*" if stored.truncated else words[stored.returns[white], stored.returns[1 - white]]
            )
            if number != 1:
                assert read.headers["Result"] == "0-1"
                assert board.is_checkmate()
                assert "1. f3 e5 2. g4 Qh4#" in str(read)
        assert chess.pgn.read_game(file) is None
    fewer = export(folder, tmp_path / "ada.pgn", "jsonl", "ada")
    assert fewer.path == tmp_path / "ada.pgn"
    assert len(fewer.path.read_text().splitlines()) == 3


def test_without_python_chess_there_is_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = store("openspiel/chess", [mate(games.make("openspiel/chess"), 0)])
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "chess":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExportError, match=r"arena-league\[chess\].* --format jsonl"):
        export(folder)
    assert export(folder, format="jsonl").games == 1


def sgf_games(text: str) -> list[tuple[dict[str, str], list[tuple[str, str]]]]:
    """The facts and the moves of each tree of a collection without variations."""
    read = []
    for tree in re.findall(r"\(;((?:[^\]()]|\[(?:\\.|[^\]\\])*\])*)\)", text):
        nodes = [re.findall(r"([A-Z]+)\[((?:\\.|[^\]\\])*)\]", node) for node in re.split(r";(?=[BW]\[)", tree)]
        facts = {name: re.sub(r"\\(.)", r"\1", value) for name, value in nodes[0]}
        read.append((facts, [move for node in nodes[1:] for move in node]))
    return read


@pytest.mark.parametrize(
    ("name", "size", "komi", "upward"),
    [
        ("openspiel/go?board_size=5&komi=3.5", 5, "3.5", True),
        ("pettingzoo/classic.go_v5?board_size=5", 5, "7.5", False),
    ],
)
def test_go_is_read_back(
    name: str, size: int, komi: str, upward: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    game = games.make(name)
    folder = store(name, [play(game, seed) for seed in range(4)])
    told = export(folder)
    assert (told.format, told.games, told.problems) == ("sgf", 4, ())
    read = sgf_games(told.path.read_text())
    assert len(read) == 4
    passes = 0
    with archive(folder) as opened:
        for (facts, moves), stored in zip(read, opened.games(), strict=True):
            assert (facts["GM"], facts["FF"], facts["SZ"], facts["KM"]) == ("1", "4", str(size), komi)
            assert (facts["PB"], facts["PW"]) == stored.lineup
            assert facts["RO"] == f"{stored.match}.0"
            won = "Void" if stored.truncated else "B+" if stored.returns[0] > 0 else "W+"
            assert facts["RE"] == won
            assert [colour for colour, _ in moves] == ["BW"[step % 2] for step in range(stored.length)]
            actions = opened.load(stored.match, 0).moves[:, 0].tolist()
            for (_, point), action in zip(moves, actions, strict=True):
                passes += not point
                if not point:
                    assert action == size * size
                else:
                    column, row = (ord(letter) - ord("a") for letter in point)
                    assert action == (size - 1 - row if upward else row) * size + column
    assert passes


def test_a_point_on_the_board_is_where_the_game_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSpiel calls action 1 of a 5x5 board b1: the second column of the lowest row."""
    monkeypatch.chdir(tmp_path)
    name = "openspiel/go?board_size=5"
    table = Table(games.make(name), np.array([mix(0, 0)], np.uint64))
    assert table.game.action_name(table.states, 0, 0, 1).lower() == "b b1"
    for action in (1, 25, 25):
        table.play(np.array([[action]], np.int64))
    played = PlayedGame(tuple(table.returns[0].tolist()), 3, False, table.played(0), int(table.keys[0]), True)
    text = export(store(name, [played])).path.read_text()
    assert text.endswith(";B[be];W[];B[])\n")
    assert "RE[W+]" in text or "RE[B+]" in text


def test_handicap_stones_are_not_written_as_sgf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "openspiel/go?board_size=19&handicap=2&max_game_length=4"
    folder = store(name, [play(games.make(name), 0)])
    with pytest.raises(ExportError, match="handicap stones"):
        export(folder)
    assert export(folder, format="jsonl").games == 1


@pytest.mark.parametrize("name", ["tic_tac_toe", "rock_paper_scissors?rounds=3", "openspiel/leduc_poker"])
def test_json_lines_replay(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = games.make(name)
    told = export(store(name, [play(made, seed) for seed in range(6)]))
    assert (told.format, told.games) == ("jsonl", 6)
    lines = [json.loads(line) for line in told.path.read_text().splitlines()]
    assert [(line["match"], line["game"], line["purpose"]) for line in lines] == [(-n, 0, "human") for n in range(1, 7)]
    for number, line in enumerate(lines):
        game = games.make(line["plays"])
        table = Table(game, np.array([int(line["key"])], np.uint64))
        for moves, names in zip(line["moves"], line["names"], strict=True):
            decisions = table.pending()
            acting = [(int(decisions.seat[0, slot]), moves[slot]) for slot in np.flatnonzero(decisions.active[0])]
            assert names == [game.action_name(table.states, 0, seat, move) for seat, move in acting]
            table.play(np.array([moves], np.int64))
        assert table.over.all()
        assert table.returns[0].tolist() == line["returns"]
        assert line["players"] == (["ada", "random"] if number % 2 == 0 else ["random", "ada"])
        assert (line["opening"], line["truncated"]) == (0, False)
        assert "problem" not in line


def test_a_form_that_a_game_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = store("tic_tac_toe", [play(games.make("tic_tac_toe"), 0)])
    with pytest.raises(ExportError, match="Games of tic_tac_toe are written as jsonl, not as pgn"):
        export(folder, format="pgn")
    with pytest.raises(ExportError, match="cannot be written to"):
        export(folder, folder / "ledger.sqlite" / "out.jsonl")
    assert [format_of(name) for name in ("openspiel/go?board_size=9", "openspiel/goofspiel", "openspiel/chess")] == [
        "sgf",
        "jsonl",
        "pgn",
    ]


def test_a_game_that_does_not_replay_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "openspiel/go?board_size=3"
    good, bad = play(games.make(name), 0), play(games.make(name), 1)
    flipped = PlayedGame(tuple(-r for r in bad.returns), bad.length, bad.truncated, bad.moves, bad.key, True)
    folder = store(name, [good, flipped])
    told = export(folder)
    assert told.games == 1
    (problem,) = told.problems
    assert problem.startswith("Game 0 of match -2 ended with returns")
    told = export(folder, format="jsonl")
    assert told.games == 2
    assert [json.loads(line).get("problem") for line in told.path.read_text().splitlines()] == [None, problem]
