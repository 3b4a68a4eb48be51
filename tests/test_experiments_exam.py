"""Measures of strength: the exam's answers are right, its marks are counted right, and the bot plays on our board."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.core import Choice, Context
from arena.match import Table
from arena.players import Loaded, load
from experiments import exam, strength
from games import NO_ACTION, Decisions, Keys, make
from games.keys import generator, mix
from games.names import UserError

EXAM = exam.Exam.read()
HEIGHT, WIDTH = 6, 7


def moves_of(row: int) -> list[int]:
    return [int(move) for move in EXAM.moves[row, : EXAM.plies[row], 0]]


# ---- the positions -------------------------------------------------------------------------------------------------


def test_exam_is_large_and_even() -> None:
    assert len(EXAM.plies) >= 1000
    assert np.bincount(EXAM.plies).tolist() == [0] * 4 + [exam.PER_PLY] * 21
    assert sorted(set(EXAM.value.tolist())) == [0, 1]


def test_positions_can_be_reached_are_not_over_and_differ() -> None:
    table = Table(make("connect_four"), mix(1, np.arange(len(EXAM.plies))))
    table.replay(EXAM.moves, EXAM.plies)  # refuses illegal moves
    assert (table.steps == EXAM.plies).all()
    assert not table.over.any()
    seen = table.pending().observation[:, 0]
    assert len({min(board.tobytes(), board[:, :, ::-1].tobytes()) for board in seen}) == len(seen)


def test_some_legal_move_keeps_and_some_throws() -> None:
    table = Table(make("connect_four"), mix(1, np.arange(len(EXAM.plies))))
    table.replay(EXAM.moves, EXAM.plies)
    legal = table.pending().legal[:, 0]
    assert (EXAM.keeps <= legal).all()
    assert EXAM.keeps.any(axis=1).all()
    assert (legal & ~EXAM.keeps).any(axis=1).all()


def brute_force(moves: list[int]) -> tuple[int, list[int]]:
    """Value to the seat to move, and the actions that keep it, by searching every line to its end.

    On sets of cells (bit 7 * column + row), with nothing of the package: values of positions are remembered, and a
    search stops at the first win.
    """
    known: dict[tuple[int, int], int] = {}

    def won(discs: int) -> bool:
        return any(discs & discs >> step & discs >> 2 * step & discs >> 3 * step for step in (1, 6, 7, 8))

    def after(mine: int, both: int, column: int) -> int:
        """The worth of a move to who makes it."""
        played = both | both + (1 << 7 * column)
        if won(mine | played ^ both):
            return 1
        return -value(played ^ (mine | played ^ both), played)

    def options(both: int) -> list[int]:
        return [column for column in (3, 2, 4, 1, 5, 0, 6) if not both >> 7 * column + HEIGHT - 1 & 1]

    def value(mine: int, both: int) -> int:
        if (mine, both) not in known:
            best = -1 if options(both) else 0
            for column in options(both):
                best = max(best, after(mine, both, column))
                if best == 1:
                    break
            known[mine, both] = best
        return known[mine, both]

    mine = both = 0
    for column in moves:
        played = both | both + (1 << 7 * column)
        mine, both = both ^ mine, played  # the other's discs as they were before this move
    worth = {column: after(mine, both, column) for column in options(both)}
    return max(worth.values()), sorted(column for column in worth if worth[column] == max(worth.values()))


def test_brute_force_knows_a_plain_position() -> None:
    four_full_columns = [0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 2, 3, 2, 3, 3, 2, 3, 2, 2, 3, 2, 3]
    assert brute_force([*four_full_columns, 4, 5, 4, 5, 4, 5]) == (1, [4])  # else the other's three in column 5 win


def test_late_answers_are_those_of_brute_force() -> None:
    for value in (0, 1):
        late = np.flatnonzero((EXAM.plies >= 23) & (EXAM.value == value))
        for row in generator(3).choice(late, 5, replace=False).tolist():
            keeps = np.flatnonzero(EXAM.keeps[row]).tolist()
            assert brute_force(moves_of(row)) == (value, keeps), moves_of(row)


@pytest.fixture(scope="module")
def solver() -> exam.Solver:
    pytest.importorskip("bitbully")
    return exam.Solver()


def test_answers_are_those_of_the_solver(solver: exam.Solver) -> None:
    for row in generator(4).choice(np.flatnonzero(EXAM.plies >= 16), 30, replace=False).tolist():
        scores = solver.scores(moves_of(row))
        legal = scores > solver.FULL
        assert np.sign(scores[legal].max()) == EXAM.value[row]
        assert (EXAM.keeps[row] == (legal & (np.sign(scores) == EXAM.value[row]))).all()


def test_the_file_is_what_make_makes(solver: exam.Solver, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 4 plies, where games often meet, and much later."""
    monkeypatch.setattr(exam, "PLIES", (4, 22))
    positions = json.loads(exam.FILE.read_text())["positions"]
    assert list(exam.make_positions(exam.PER_PLY, solver)) == [p for p in positions if len(p["moves"]) in (4, 22)]


def test_written_positions_are_read_again(tmp_path: Any) -> None:
    positions = json.loads(exam.FILE.read_text())["positions"]
    exam.write(positions[:5], tmp_path / "few.json")
    few = exam.Exam.read(tmp_path / "few.json")
    assert few.plies.tolist() == EXAM.plies[:5].tolist()
    assert (few.keeps == EXAM.keeps[:5]).all()
    exam.write(positions, tmp_path / "all.json")
    assert (tmp_path / "all.json").read_text() == exam.FILE.read_text()


# ---- marks ---------------------------------------------------------------------------------------------------------


class Knowing:
    """Plays what `answer` makes of the moves so far."""

    memory: tuple[int, ...] | None = None

    def __init__(self, answer: Callable[[list[int]], int]) -> None:
        self.answer = answer

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        assert context.history is not None
        actions = np.full(decisions.active.shape, NO_ACTION, np.int64)
        for game in np.flatnonzero(decisions.active[:, 0]):
            row = context.rows[game]
            actions[game, 0] = self.answer(context.history.moves[row, : context.history.steps[row], 0].tolist())
        return Choice(actions)


def knowing(answer: Callable[[list[int]], int]) -> Loaded:
    return Loaded("knowing", make("connect_four"), Knowing(answer))


KNOWN = {tuple(moves_of(row)): EXAM.keeps[row] for row in range(len(EXAM.plies))}


def keep(moves: list[int]) -> int:
    return int(KNOWN[tuple(moves)].argmax())


def throw(moves: list[int]) -> int:
    full = np.bincount(moves, minlength=WIDTH) == HEIGHT
    return int((KNOWN[tuple(moves)] | full).argmin())


def wilson(hits: int, of: int) -> tuple[float, float]:
    """As in the textbook (Wilson 1927)."""
    z, p = 1.959964, hits / of
    centre, half = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (centre - half) / (1 + z * z / of), (centre + half) / (1 + z * z / of)


def graded(answer: Callable[[list[int]], int]) -> dict[str, Any]:
    return exam.grade(EXAM, exam.sit(knowing(answer), EXAM))


def test_who_always_keeps_has_all_marks() -> None:
    marks = graded(keep)
    assert (marks["count"], marks["of"], marks["score"]) == (1260, 1260, 1)
    assert (marks["low"], marks["high"]) == pytest.approx(wilson(1260, 1260), abs=1e-6)
    assert {part["score"] for part in (marks["by_plies"] | marks["by_value"]).values()} == {1}


def test_who_always_throws_has_none() -> None:
    marks = graded(throw)
    assert (marks["count"], marks["score"]) == (0, 0)
    assert {part["count"] for part in (marks["by_plies"] | marks["by_value"]).values()} == {0}


def test_marks_are_told_by_plies() -> None:
    parts = graded(lambda moves: keep(moves) if len(moves) in (8, 9, 10, 24) else throw(moves))["by_plies"]
    assert list(parts) == ["4-8", "9-12", "13-16", "17-20", "21-24"]
    assert [part["of"] for part in parts.values()] == [300, 240, 240, 240, 240]
    assert [part["count"] for part in parts.values()] == [60, 120, 0, 0, 60]
    low, high = parts["9-12"]["low"], parts["9-12"]["high"]
    assert (low, high) == pytest.approx(wilson(120, 240), abs=1e-6)


def test_marks_are_told_by_what_was_to_keep() -> None:
    draws = {tuple(moves_of(row)) for row in np.flatnonzero(EXAM.value == 0).tolist()}
    parts = graded(lambda moves: keep(moves) if tuple(moves) in draws else throw(moves))["by_value"]
    assert (parts["draw"]["count"], parts["win"]["count"]) == (len(draws), 0)
    assert parts["draw"]["of"] + parts["win"]["of"] == 1260


def test_random_play_keeps_as_often_as_chance_has_it_and_always_alike() -> None:
    table = Table(make("connect_four"), mix(1, np.arange(len(EXAM.plies))))
    table.replay(EXAM.moves, EXAM.plies)
    luck = EXAM.keeps.sum(axis=1) / table.pending().legal[:, 0].sum(axis=1)
    random = load("random", "connect_four")
    actions = exam.sit(random, EXAM)
    assert (actions == exam.sit(random, EXAM)).all()
    error = math.sqrt((luck * (1 - luck)).sum()) / len(luck)
    assert exam.grade(EXAM, actions)["score"] == pytest.approx(luck.mean(), abs=3 * error)


# ---- the perfect opponent ------------------------------------------------------------------------------------------


class LowestColumn:
    """In place of the solver: holds the lowest column that is not full best, and no other."""

    def best(self, table: Table) -> NDArray[np.bool_]:
        legal = table.pending().legal[:, 0]
        return legal & (legal.cumsum(axis=1) == 1)


@pytest.mark.parametrize(("column", "won", "lost"), [([3, 3, 3, 3], 3, 0), ([2, 4, 6, 3], 0, 3)])
def test_games_against_the_perfect_opponent_are_counted(column: list[int], won: int, lost: int) -> None:
    found = exam.against_perfect(knowing(lambda moves: column[len(moves) // 2]), 3, LowestColumn())
    assert (found["of"], found["count"], found["draws"], found["losses"]) == (3, won, 0, lost)


def test_perfect_play_beats_the_perfect_opponent(solver: exam.Solver) -> None:
    """Connect Four is a win for who begins, so the solver itself wins as first player; a bad opening loses."""
    games = {tuple[int, ...](): 0}

    def perfect(moves: list[int]) -> int:
        games[tuple(moves)] = games.get(tuple(moves), 0) + 1
        return int(solver.scores(moves).argmax())

    assert exam.against_perfect(knowing(perfect), 3, solver)["count"] == 3
    assert len([moves for moves in games if len(moves) == 10]) > 1  # the opponent varies its replies
    spoilt = exam.against_perfect(knowing(lambda moves: perfect(moves) if moves else 0), 3, solver)
    assert (spoilt["count"], spoilt["losses"]) == (0, 3)


# ---- the bot -------------------------------------------------------------------------------------------------------


def test_openspiel_numbers_columns_as_we_do() -> None:
    """Random games side by side: what is legal, who is to move, when it ends and who wins are the same."""
    import pyspiel

    rules, batch = pyspiel.load_game("connect_four"), 60
    states = [rules.new_initial_state() for _ in range(batch)]
    random = load("random", "connect_four")
    table = Table(random.game, mix(5, np.arange(batch)))
    while not table.over.all():
        decisions, actions = table.pending(), random.choose(table)
        for row in np.flatnonzero(~table.over).tolist():
            assert states[row].legal_actions() == np.flatnonzero(decisions.legal[row, 0]).tolist()
            assert states[row].current_player() == decisions.seat[row, 0]
            states[row].apply_action(int(actions[row, 0]))
        table.play(actions)
        assert [state.is_terminal() for state in states] == table.over.tolist()
    assert [state.returns() for state in states] == table.returns.tolist()
    assert {tuple(earned) for earned in table.returns.tolist()} >= {(1.0, -1.0), (-1.0, 1.0)}


def bot_at(games: list[list[int]], simulations: int, number: int = 0) -> list[int]:
    """What the bot plays after each of `games`; their keys are those of games `number`, `number` + 1 ..."""
    bot = Loaded("bot", make("connect_four"), strength.OpenSpielBot(simulations))
    table = Table(bot.game, mix(9, number + np.arange(len(games))))
    lengths = np.array([len(moves) for moves in games])
    padded = np.full((len(games), lengths.max(), 1), NO_ACTION, np.int16)
    for row, moves in enumerate(games):
        padded[row, : len(moves), 0] = moves
    table.replay(padded, lengths)
    return bot.choose(table)[:, 0].tolist()


def test_the_bot_takes_wins_and_stops_threats_on_our_board() -> None:
    wins = [[1, 6, 1, 6, 1, 6], [6, 2, 6, 2, 6, 2], [0, 0, 1, 1, 2, 2]]
    threats = [[5, 1, 5, 0, 5], [2, 2, 1, 1, 0]]
    over = [[0, 1, 0, 1, 0, 1, 0]]
    assert bot_at([*wins, *threats, *over], 500) == [1, 6, 3, 5, 3, NO_ACTION]


def test_the_bot_chooses_alike_alone_and_in_a_batch() -> None:
    opening = [[0, 6]] * 8
    together = bot_at(opening, 5)
    assert len(set(together)) > 1  # each game has luck of its own
    assert together == [bot_at([moves], 5, number)[0] for number, moves in enumerate(opening)]


def test_strength_of_random_play_is_none() -> None:
    found = strength.measure("random", games=20, simulations=60, seed=2)
    assert (found["games"], found["wins"] + found["draws"] + found["losses"]) == (20, 20)
    assert found["score"] < 0.2 < found["high"]
    assert found["opponent_ms_per_move"] > 0
    again = strength.measure("random", games=20, simulations=60, seed=2)
    assert [again[name] for name in ("wins", "draws", "losses")] == [found[n] for n in ("wins", "draws", "losses")]


# ---- the programs --------------------------------------------------------------------------------------------------


def test_the_exam_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    exam.main(["random", "greedy", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["positions"] == 1260
    assert [row["player"] for row in told["players"]] == ["random", "greedy"]
    assert told["players"][0]["score"] < told["players"][1]["score"] < 0.7


def test_the_exam_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    exam.main(["random"])
    told = capsys.readouterr().out
    assert told.startswith("random: keeps the value in 0.3")
    assert "9-12 plies" in told


def test_strength_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    strength.main(["greedy", "--games", "4", "--simulations", "20", "--json"])
    told = json.loads(capsys.readouterr().out)["matches"]
    assert [(row["player"], row["games"]) for row in told] == [("greedy", 4)]


@pytest.mark.parametrize(
    ("program", "arguments", "reason"),
    [
        (exam.main, ["randm"], "Did you mean 'random'"),
        (exam.main, [], "name a player"),
        (exam.main, ["random", "--perfect", "-1"], "not -1"),
        (strength.main, ["random", "--games", "3"], "3 games cannot be shared evenly"),
        (strength.main, ["random", "--simulations", "0"], "at least 1 simulation"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(
    program: Callable[[list[str]], None], arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program(arguments)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_missing_solver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitbully", None)
    with pytest.raises(UserError, match="with bitbully"):
        exam.Solver()
