"""How well Connect Four players hold what they have: an exam of positions with known answers, and a perfect opponent.

    python -m experiments.exam runs/c4:main@3 mcts:100 random
    python -m experiments.exam runs/c4:main --perfect 40 --json

**The exam** is a fixed set of random positions of 4 to 24 plies, equally many of each, in which some legal move throws
the game-theoretic value away and some keeps it: a win must stay a win, a draw a draw (where all is lost, or nothing can
go wrong, there is nothing to ask). The score is the share of positions where the player's move keeps the value, however
many moves it takes. Positions and answers are data (`exam_connect_four.json`), so that sitting it needs no solver; a
player's randomness comes from fixed keys, so that it always gets the same score.

**The perfect opponent** (`--perfect GAMES`) answers as second player with one of its best moves, each as likely. Best
are those with the highest score of the solver, which also counts moves: of wins the fastest, of losses the slowest. The
first player wins Connect Four (Allis 1988, "A knowledge-based approach of Connect-Four"), but must not err once.

**The solver** is `bitbully`, which is no dependency (it is AGPL): `uv run --with bitbully==0.0.79 python -m …`. It is
used by `--perfect`, and by `--make`, which made the positions: for each number of plies, uniformly random games from
keys, without those that end before and without positions that are in the set already, mirrored ones too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.scripted import one_of
from arena.elo import score_interval
from arena.match import Table
from arena.players import Loaded, load
from games import NO_ACTION, make
from games.connect_four import COLUMNS
from games.keys import CHOICE, mix
from games.names import UserError

GAME = "connect_four"
FILE = Path(__file__).parent / "exam_connect_four.json"
PLIES = range(4, 25)
PER_PLY = 60  # positions of each number of plies
BANDS = ((4, 8), (9, 12), (13, 16), (17, 20), (21, 24))  # plies, both included
MAKING, SITTING, PERFECT = 20_260_401, 20_260_402, 20_260_403  # seeds of what keys are for


@dataclass(frozen=True, slots=True)
class Exam:
    """`B` positions, each as the moves that lead there from the empty board."""

    moves: NDArray[np.int16]  # [B, T, 1] `NO_ACTION` after the last
    plies: NDArray[np.int64]  # [B]
    value: NDArray[np.int64]  # [B] to the seat to move: 1 a win, 0 a draw
    keeps: NDArray[np.bool_]  # [B, A] actions that keep it; of the legal ones neither none nor all

    @classmethod
    def of(cls, positions: Sequence[dict[str, Any]]) -> Exam:
        """Of positions as in the file: `moves` and `keep` are strings of actions, `value` is 1 or 0."""
        plies = np.array([len(position["moves"]) for position in positions], np.int64)
        moves = np.full((len(positions), plies.max(initial=0), 1), NO_ACTION, np.int16)
        keeps = np.zeros((len(positions), COLUMNS), np.bool_)
        for row, position in enumerate(positions):
            moves[row, : plies[row], 0] = [int(move) for move in position["moves"]]
            keeps[row, [int(action) for action in position["keep"]]] = True
        return cls(moves, plies, np.array([position["value"] for position in positions], np.int64), keeps)

    @classmethod
    def read(cls, path: Path = FILE) -> Exam:
        return cls.of(json.loads(path.read_text())["positions"])


# ---- the exam ------------------------------------------------------------------------------------------------------


def sit(player: Loaded, exam: Exam) -> NDArray[np.int64]:
    """The action [B] of `player` in every position, all asked at once."""
    table = Table(player.game, mix(SITTING, np.arange(len(exam.plies))))
    table.replay(exam.moves, exam.plies)
    return player.choose(table)[:, 0]


def grade(exam: Exam, actions: NDArray[np.int64]) -> dict[str, Any]:
    """Score of `actions` [B] with its 95% interval: of all positions, by plies, and by what was to keep."""
    kept = exam.keeps[np.arange(len(actions)), actions]
    within = {f"{low}-{high}": (exam.plies >= low) & (exam.plies <= high) for low, high in BANDS}
    values = {"win": exam.value == 1, "draw": exam.value == 0}
    return share(kept) | {
        "by_plies": {name: share(kept[rows]) for name, rows in within.items()},
        "by_value": {name: share(kept[rows]) for name, rows in values.items()},
    }


def share(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """How many of `hits`, and their share with its 95% interval (Wilson's)."""
    count = int(hits.sum())
    score = score_interval(count, 0, len(hits) - count)
    return {"of": len(hits), "count": count, "score": score.score, "low": score.low, "high": score.high}


# ---- the perfect opponent ------------------------------------------------------------------------------------------


class Solver:
    """Exact scores of every move, each position solved once. Raises UserError where `bitbully` is not installed."""

    FULL = -1000  # the score of a move that is not legal

    def __init__(self) -> None:
        try:
            import bitbully_databases
            from bitbully import bitbully_core
        except ImportError as error:
            raise UserError(
                f"The perfect solver is not installed ({error}); put it beside us for once:"
                " `uv run --with bitbully==0.0.79 python -m experiments.exam …`."
            ) from None
        self._board = bitbully_core.BoardCore
        book = bitbully_databases.BitBullyDatabases.get_database_path("12-ply-dist")
        self._core = bitbully_core.BitBullyCore(Path(book))
        self._known: dict[int, NDArray[np.int64]] = {}  # by the solver's own name of the position

    def scores(self, moves: Sequence[int]) -> NDArray[np.int64]:
        """Of every action [A] after `moves`, to the seat to move: above 0 it wins, the sooner the higher; 0 is a draw.

        `FULL` where it is not legal. Raises ValueError where `moves` are not.
        """
        board = self._board()
        if not board.play(list(moves)):
            raise ValueError(f"{list(moves)} cannot be played from the empty board.")
        found = self._known.get(board.uid())
        if found is None:
            found = self._known[board.uid()] = np.array(self._core.scoreMoves(board), np.int64)
        return found

    def best(self, table: Table) -> NDArray[np.bool_]:
        """Which actions [B, A] have the highest score in each game; none in those that are over."""
        best = np.zeros((len(table.over), COLUMNS), np.bool_)
        for row in np.flatnonzero(~table.over).tolist():
            scores = self.scores(table.played(row)[:, 0].tolist())
            best[row] = scores == scores.max()
        return best


def against_perfect(player: Loaded, games: int, solver: Solver) -> dict[str, Any]:
    """Share of wins of `player`, who begins, in `games` games against `solver`, with its 95% interval (Wilson's)."""
    table = Table(player.game, mix(PERFECT, np.arange(games)))
    while not table.over.all():
        table.play(player.choose(table))
        replies = one_of(solver.best(table), mix(table.keys, CHOICE, table.steps))
        table.play(replies[:, None])
    earned = table.returns[:, 0]
    return share(earned > 0) | {"draws": int((earned == 0).sum()), "losses": int((earned < 0).sum())}


# ---- how it was made -----------------------------------------------------------------------------------------------


def make_positions(per_ply: int, solver: Solver, seed: int = MAKING) -> Iterator[dict[str, Any]]:
    """`per_ply` positions of each of `PLIES`, as `Exam.of` takes them."""
    seen: set[bytes] = set()
    for plies in PLIES:
        candidates = random_positions(plies, seed)
        found = 0
        while found < per_ply:
            moves, name = next(candidates)
            scores = solver.scores(moves)
            legal = scores > Solver.FULL
            worth = np.sign(scores)
            value = int(worth[legal].max())
            keeps = legal & (worth == value)
            if name in seen or value < 0 or keeps[legal].all():
                continue
            seen.add(name)
            found += 1
            keep = "".join(str(action) for action in np.flatnonzero(keeps))
            yield {"moves": "".join(map(str, moves)), "value": value, "keep": keep}


def random_positions(plies: int, seed: int) -> Iterator[tuple[list[int], bytes]]:
    """The moves of endless random games that are not over after `plies`, and a name that mirrored positions share."""
    player = load("random", GAME)
    batch = 0
    while True:
        table = Table(player.game, mix(seed, plies, batch, np.arange(256)))
        for _ in range(plies):
            table.play(player.choose(table))
        seen = table.pending().observation[:, 0]
        for row in np.flatnonzero(~table.over).tolist():
            name = min(seen[row].tobytes(), seen[row, :, :, ::-1].tobytes())
            yield table.played(row)[:, 0].tolist(), name
        batch += 1


def write(positions: Sequence[dict[str, Any]], path: Path) -> None:
    """One position a line, so that a change can be read."""
    about = {"game": GAME, "solver": "bitbully 0.0.79", "seed": MAKING, "actions": "columns from 0 at the left"}
    lines = ",\n".join(json.dumps(position) for position in positions)
    head = json.dumps(about)[1:-1]
    path.write_text(f'{{{head}, "positions": [\n{lines}\n]}}\n')


# ---- the program ---------------------------------------------------------------------------------------------------


def measure(reference: str, exam: Exam, games: int = 0, solver: Solver | None = None) -> dict[str, Any]:
    """What one player is worth: its grade, the milliseconds of one of its moves, and its games against `solver`."""
    player = load(reference, GAME)
    player.choose(Table(player.game, mix(SITTING, np.arange(2))))  # compiled, or loaded, before the clock runs
    began = time.perf_counter()
    actions = sit(player, exam)
    spent = time.perf_counter() - began
    found = {"player": reference} | grade(exam, actions) | {"ms_per_move": 1000 * spent / len(actions)}
    if solver is not None:
        found["perfect"] = against_perfect(player, games, solver)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("players", nargs="*", metavar="PLAYER", help="as in runs/c4:main@3, mcts:100, random")
    parser.add_argument("--perfect", type=int, default=0, metavar="GAMES", help="games against the perfect solver")
    parser.add_argument("--make", action="store_true", help=f"write {FILE.name} anew; minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    args = parser.parse_args(arguments)
    if not args.players and not args.make:
        parser.error("name a player, as in runs/c4:main or mcts:100")
    if args.perfect < 0:
        parser.error(f"--perfect must be a number of games of at least 0, not {args.perfect}")
    try:
        if args.make:
            write(list(make_positions(PER_PLY, Solver())), FILE)
        exam = Exam.read()
        solver = Solver() if args.perfect else None
        found = [measure(reference, exam, args.perfect, solver) for reference in args.players]
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if args.json:
        print(json.dumps({"game": make(GAME).spec.name, "positions": len(exam.plies), "players": found}))
        return
    for row in found:
        print("\n".join(text(row)))


def text(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['player']}: keeps the value in {_share(row)}, {row['ms_per_move']:.3g} ms a move"
    for name, part in row["by_plies"].items():
        yield f"  {name + ' plies':12} {_share(part)}"
    for name, part in row["by_value"].items():
        yield f"  {'a ' + name:12} {_share(part)}"
    if "perfect" in row:
        games = row["perfect"]
        yield f"  as first player against a perfect one it wins {_share(games)}, {games['draws']} drawn"


def _share(part: dict[str, Any]) -> str:
    return f"{part['score']:.3f} ({part['low']:.3f} to {part['high']:.3f}) of {part['of']}"


if __name__ == "__main__":
    main()
