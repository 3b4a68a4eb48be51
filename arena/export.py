"""Stored games as files that other programs read: PGN for chess, SGF for Go, JSON lines for every game.

    pgn    one game after another, moves in SAN, `Round` is match.game of the ledger. Needs python-chess.
    sgf    a collection, one tree a game; what the game scores by is not said, as programs differ in what they call it.
    jsonl  one JSON object a line: the key (as text, for it has 64 bits) and the moves by number, from which a game
           replays, and the moves by name.

When a game was played is not in the ledger, so no file says it. A game that does not replay (see `arena.replay`) is
left out of PGN and SGF, and says why in JSON lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from arena import files
from arena.replay import KEPT, Archive, Replay, archive
from games.names import UserError, split_settings
from leagues.core import Purpose

if TYPE_CHECKING:
    import chess
    import chess.pgn

Format = Literal["pgn", "sgf", "jsonl"]

CHESS = r"openspiel/chess|pettingzoo/classic\.chess_v\d+"
GO = r"openspiel/go|pettingzoo/classic\.go_v\d+"
KOMI = 7.5  # of both families, unless their name says otherwise


class ExportError(UserError):
    """Games cannot be written as asked. The message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    format: Format
    games: int
    problems: tuple[str, ...]  # a sentence for each game that does not replay, or not as its form wants


def export(
    folder: str | Path,
    out: str | Path | None = None,
    format: Format | None = None,
    a: str | None = None,
    b: str | None = None,
    purposes: Collection[Purpose] = KEPT,
) -> Exported:
    """Write the stored games in `folder` (all, or those of player `a`, or of `a` and `b`) to one file, oldest first.

    `out` is games.<format> in the folder unless given; `format` the one its game is known by unless given. Raises
    ExportError where the game has no such form or python-chess is not installed, and a UserError as `archive` does.
    """
    with archive(folder) as opened:
        format = format or format_of(opened.reference)
        write = _writer(format, opened)
        out = Path(out) if out is not None else opened.folder / f"games.{format}"
        texts, problems = [], []
        for stored in opened.games(a, b, purposes):
            if not stored.kept:
                continue
            replay = opened.load(stored.match, stored.game)
            if replay.problem:
                problems.append(replay.problem)
            if format == "jsonl" or not replay.problem:
                try:
                    texts.append(write(replay))
                except ExportError as error:
                    problems.append(str(error))
    try:
        files.write(out, "".join(texts).encode())
    except OSError as error:
        raise ExportError(f"The games cannot be written to {out}: {error.strerror}.") from None
    return Exported(out, format, len(texts), tuple(problems))


def format_of(reference: str) -> Format:
    """The form that other programs expect of a game, by its reference."""
    name = reference.partition("?")[0]
    return "pgn" if re.fullmatch(CHESS, name) else "sgf" if re.fullmatch(GO, name) else "jsonl"


def _writer(format: Format, opened: Archive) -> Callable[[Replay], str]:
    own = format_of(opened.reference)
    if format not in ("jsonl", own):
        known = "jsonl" if own == "jsonl" else f"{own} or jsonl"
        raise ExportError(f"Games of {opened.reference} are written as {known}, not as {format}.")
    if format == "jsonl":
        return partial(_jsonl, reference=opened.reference)
    event = opened.folder.resolve().name
    if format == "pgn":
        try:
            import chess  # noqa: F401
        except ImportError:
            raise ExportError(
                "PGN is written by python-chess, which is not installed: uv pip install 'arena-league[chess]', or take"
                " --format jsonl."
            ) from None
        return partial(_pgn, event=event)
    _, settings = split_settings(opened.reference)
    if settings.get("handicap"):
        raise ExportError(f"{opened.reference} has handicap stones, which are not written as SGF: take --format jsonl.")
    return partial(_sgf, event=event, komi=settings.get("komi", KOMI), upward="openspiel" in opened.reference)


# ---- JSON lines ------------------------------------------------------------------------------------------------------


def _jsonl(replay: Replay, reference: str) -> str:
    stored = replay.stored
    told = {
        "plays": reference,
        "match": stored.match,
        "game": stored.game,
        "purpose": stored.purpose,
        "players": stored.lineup,
        "returns": stored.returns,
        "truncated": stored.truncated,
        "key": str(replay.key),
        "opening": replay.opening,
        "moves": replay.moves.tolist(),
        "names": [list(step.values()) for step in replay.line],
    }
    return json.dumps(told | ({"problem": replay.problem} if replay.problem else {})) + "\n"


# ---- chess -----------------------------------------------------------------------------------------------------------


def _pgn(replay: Replay, event: str) -> str:
    """Moves are read off the boards, as every wrapper of chess numbers and names them in its own way."""
    import chess
    import chess.pgn

    first = _text(replay, 0)
    board = chess.Board(first, chess960=True) if "/" in first else chess.Board()
    if board.fen() == chess.STARTING_FEN:
        board = chess.Board()
    game = chess.pgn.Game.without_tag_roster()
    game.headers.update(_headers(replay, event, board))
    node: chess.pgn.GameNode = game
    for step in range(1, replay.steps + 1):
        move = _move(board, _text(replay, step))
        if move is None:
            raise ExportError(
                f"Game {replay.stored.game} of match {replay.stored.match}: step {step} is no move of chess, from"
                f" {board.fen()}. Take --format jsonl."
            )
        node = node.add_variation(move)
        board.push(move)
    return f"{game}\n\n"


def _text(replay: Replay, step: int) -> str:
    """The board after `step` steps: as FEN (OpenSpiel), or as a diagram (PettingZoo)."""
    return replay.game.text(replay.table(step).states, 0, 0).strip()


def _move(board: chess.Board, after: str) -> chess.Move | None:
    """The legal move that leads to `after`; None where there is none."""
    import chess

    if "/" in after:
        after = str(chess.BaseBoard(after.split()[0]))
    for move in list(board.legal_moves):
        board.push(move)
        reached = str(board)
        board.pop()
        if reached == after:
            return move
    return None


def _headers(replay: Replay, event: str, start: chess.Board) -> dict[str, str]:
    import chess

    white, black = (replay.stored.lineup[seat] for seat in _order(replay))
    told = {
        "Event": event,
        "Site": "?",
        "Date": "????.??.??",
        "Round": _round(replay),
        "White": white,
        "Black": black,
        "Result": _result(replay, ("1-0", "0-1", "1/2-1/2", "*")),
    }
    if start.fen() != chess.STARTING_FEN:
        told |= {"Variant": "Chess960", "SetUp": "1", "FEN": start.fen()}
    if replay.opening:
        told["RandomPlies"] = str(replay.opening)
    return told


# ---- Go --------------------------------------------------------------------------------------------------------------


def _sgf(replay: Replay, event: str, komi: float, upward: bool) -> str:
    """One game; `upward`: the first action is the lowest row's (OpenSpiel), not the highest's (PettingZoo)."""
    black, white = (replay.stored.lineup[seat] for seat in _order(replay))
    size = isqrt(replay.game.spec.actions - 1)
    result = _result(replay, ("B+", "W+", "Draw", "Void"))
    facts = {
        "FF": "4", "GM": "1", "CA": "UTF-8", "AP": "arena", "SZ": str(size), "KM": f"{komi:g}",
        "EV": event, "RO": _round(replay), "PB": black, "PW": white, "RE": result,
    }  # fmt: skip
    if replay.opening:
        facts["GC"] = f"The first {replay.opening} moves were played at random."
    root = "".join(f"{name}[{_escaped(value)}]" for name, value in facts.items())
    moves = []
    for step, action in enumerate(replay.moves[:, 0].tolist()):
        row, column = divmod(action, size)
        point = "" if action == size * size else _LETTERS[column] + _LETTERS[size - 1 - row if upward else row]
        moves.append(f";{'BW'[step % 2]}[{point}]")
    return f"(;{root}\n{''.join(moves)})\n"


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _escaped(value: str) -> str:
    return re.sub(r"([\\\]])", r"\\\1", value)


# ---- both ------------------------------------------------------------------------------------------------------------


def _round(replay: Replay) -> str:
    return f"{replay.stored.match}.{replay.stored.game}"


def _order(replay: Replay) -> tuple[int, int]:
    """Who moves first and who second: in OpenSpiel's chess White is seat 1."""
    first = next(iter(replay.line[0])) if replay.line else 0
    return first, 1 - first


def _result(replay: Replay, words: tuple[str, str, str, str]) -> str:
    """Who moves first won, who moves second won, a draw, or cut before its end: the word for it."""
    first, second = (replay.stored.returns[seat] for seat in _order(replay))
    if replay.stored.truncated:
        return words[3]
    return words[0] if first > second else words[1] if second > first else words[2]
