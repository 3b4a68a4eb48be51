"""The ledger: what goes in comes out, once, in order, and survives its writer's death."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leagues import Ledger, LedgerError, Match, Player, Result, Thinking
from leagues.core import VISITOR

ROOT = Path(__file__).parent.parent
MAIN = Player("main", "ppo", live=True)
FIRST = Player("main@0", "ppo", content="ab12", settings={"temperature": 0.5, "cuts": [1, 2]}, parent="main", step=7)
MATCH = Match(0, ("main", "main@0"), "train", 2**64 - 1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger.sqlite", "tic_tac_toe", (0, 1)) as made:
        made.add_player(MAIN)
        made.add_player(FIRST)
        made.add_matches([MATCH])
        yield made


def wins(count: int, match: int = 0, first: int = 0) -> list[Result]:
    return [Result(match, game, (1.0, -1.0), 5) for game in range(first, first + count)]


def test_players_and_matches_come_back_as_they_went_in(ledger: Ledger) -> None:
    assert ledger.players() == {"main": MAIN, "main@0": FIRST}
    assert ledger.match(0) == MATCH
    paired = Match(5, ("main@0", "main"), "rate", 0, games=20, opening=4, paired=True)
    ledger.add_matches([paired])
    assert ledger.next_match() == 6
    with Ledger.open(ledger.path) as again:
        assert (again.game, again.teams) == ("tic_tac_toe", (0, 1))
        assert list(again.players().values()) == [MAIN, FIRST]
        assert again.match(5) == paired


def test_the_same_record_again_is_fine_and_another_is_refused(ledger: Ledger) -> None:
    ledger.add_player(FIRST)
    ledger.add_matches([MATCH])
    assert ledger.sequence == 2
    with pytest.raises(LedgerError, match=r"Player main@0 is in .* which differs"):
        ledger.add_player(Player("main@0", "ppo", content="other", parent="main", step=7))
    with pytest.raises(LedgerError, match=r"Match 0 is in .* which differs"):
        ledger.add_matches([Match(0, ("main", "main"), "train", 1)])
    assert ledger.players()["main@0"] == FIRST


@pytest.mark.parametrize(
    ("match", "message"),
    [
        (Match(1, ("main", "nobody"), "train", 1), "names player nobody, who is not in"),
        (Match(1, ("main",), "train", 1), "has 1 players; tic_tac_toe has 2 teams"),
        (Match(1, ("main", "main"), "train", 2**64), "not an unsigned 64-bit number"),
        (Match(1, ("main", "main"), "train", -1), "not an unsigned 64-bit number"),
        (Match(2**64, ("main", "main"), "train", 1), "could not be written"),
    ],
)
def test_refused_matches(ledger: Ledger, match: Match, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        ledger.add_matches([match])
    assert ledger.next_match() == 1


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (Result(9, 0, (1.0, -1.0), 5), "no match 9"),
        (Result(0, 0, (1.0,), 5), "not one finite number for each of the 2 seats"),
        (Result(0, 0, (float("nan"), 0.0), 5), "not one finite number"),
        (Result(0, 0, (float("inf"), 0.0), 5), "not one finite number"),
        (Result(0, -1, (1.0, -1.0), 5), "could not be written"),
        (Result(0, 0, (1.0, -1.0), 5, moves=np.zeros((4, 1), np.int16)), r"moves of shape \(4, 1\) do not fit"),
    ],
)
def test_a_refused_result_takes_its_whole_batch_with_it(ledger: Ledger, result: Result, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        ledger.append([*wins(3, first=10), result])
    assert ledger.count() == 0
    assert ledger.append(wins(3)) == 3


def test_a_game_told_twice_counts_once(ledger: Ledger) -> None:
    assert ledger.append(wins(4)) == 4
    assert ledger.append([*wins(6), Result(0, 0, (-1.0, 1.0), 9)]) == 2
    assert ledger.append([]) == 0
    assert [result for _, _, result in ledger.results()] == wins(6)
    assert ledger.append([Result(0, 50, (0.0, 0.0), 9), Result(0, 50, (1.0, -1.0), 9)]) == 1
    assert list(ledger.results())[-1][2].returns == (0.0, 0.0)


def test_results_by_sequence_and_purpose(ledger: Ledger) -> None:
    ledger.add_matches([Match(1, ("main@0", "main"), "rate", 3, games=2)])
    ledger.append([*wins(2), *wins(2, match=1)])
    ledger.append(wins(2, first=2))
    told = list(ledger.results())
    assert [(match.id, result.game) for _, match, result in told] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3)]
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(numbers)
    assert numbers[-1] == ledger.sequence
    assert list(ledger.results(after=numbers[1], upto=numbers[3])) == told[2:4]
    assert [row for row in told if row[1].purpose == "rate"] == list(ledger.results(["rate"])) == told[2:4]
    assert list(ledger.results([])) == []
    assert list(ledger.results(["rate", "train"])) == told
    assert ledger.count() == 6
    assert ledger.count(["train"], after=numbers[1]) == 2
    assert ledger.count(["gate"]) == 0


def test_one_numbering_for_players_and_results_names_a_moment(ledger: Ledger) -> None:
    ledger.append(wins(3))
    moment = ledger.sequence
    ledger.add_player(Player("main@1", "ppo", parent="main", step=9))
    assert ledger.sequence == moment + 1
    ledger.append(wins(1, first=3))
    assert list(ledger.players(upto=moment)) == ["main", "main@0"]
    assert list(ledger.players(upto=moment + 1)) == ["main", "main@0", "main@1"]
    assert [result.game for _, _, result in ledger.results(upto=moment)] == [0, 1, 2]


def test_many_pages_are_read_in_order(ledger: Ledger) -> None:
    ledger.append(wins(20_000))
    assert [result.game for _, _, result in ledger.results()] == list(range(20_000))


def test_numpy_numbers_are_stored_as_numbers(ledger: Ledger) -> None:
    returns = (np.float32(0.5), np.float64(-0.5))
    ledger.append([Result(np.int64(0), np.int32(3), returns, np.int16(7), np.bool_(True))])  # type: ignore[arg-type]
    ((_, _, result),) = ledger.results()
    assert result == Result(0, 3, (0.5, -0.5), 7, True)
    assert ledger.append([Result(0, 3, (0.5, -0.5), 7)]) == 0


def test_voids_are_counted_and_are_no_results(ledger: Ledger) -> None:
    assert ledger.add_voids([(0, 1, "it broke"), (0, 0, "it broke again")]) == 2
    assert ledger.add_voids([(0, 1, "told twice")]) == 0
    assert ledger.void_count == 2
    assert ledger.voids() == [(0, 0, "it broke again"), (0, 1, "it broke")]
    assert ledger.count() == 0
    with pytest.raises(LedgerError, match="no match 4"):
        ledger.add_voids([(4, 0, "unknown")])


def test_thinking_is_added_up_and_told_twice_counts_once(ledger: Ledger) -> None:
    ledger.add_matches([Match(1, ("main@0", "main"), "rate", 3, games=2)])
    first = [Thinking(0, "main", 10, 0.5), Thinking(0, "main@0", 8, 0.25)]
    assert ledger.append(wins(2), first) == 2, "results are counted, not this"
    assert ledger.append([], [Thinking(0, "main", 99, 9.0), Thinking(1, "main", 30, 1.0)]) == 0
    assert ledger.thinking() == {"main": (40, 1.5), "main@0": (8, 0.25)}
    told = ledger.told
    with pytest.raises(LedgerError, match="no match 7"):
        ledger.append(wins(3), [Thinking(7, "main", 1, 1.0)])
    assert ledger.count() == 2, "nothing of it was added"
    ledger.append([], [Thinking(1, "main@0", np.int64(2), np.float64(0.75))])  # type: ignore[arg-type]
    assert ledger.told == told
    with Ledger.open(ledger.path, read_only=True) as reader:
        assert reader.thinking() == {"main": (40, 1.5), "main@0": (10, 1.0)}


def test_a_ledger_of_the_schema_before_opens_and_gets_the_new_table(ledger: Ledger) -> None:
    ledger.append(wins(3))
    ledger.close()
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("DROP TABLE thinking")
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema'")
    with Ledger.open(ledger.path, read_only=True) as reader:
        assert reader.thinking() == {}
        assert reader.count() == 3
    for known in ({}, {"main": (4, 2.0)}):
        with Ledger.open(ledger.path) as again:
            assert again.players() == {"main": MAIN, "main@0": FIRST}
            assert [result for _, _, result in again.results()] == wins(3)
            assert again.thinking() == known
            again.append([], [Thinking(0, "main", 4, 2.0)])
    with sqlite3.connect(ledger.path) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("2",)


def test_settings_that_are_not_json_are_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="Player odd: its settings cannot be stored"):
        ledger.add_player(Player("odd", "mcts", settings={"rng": np.random.default_rng(0)}))


def test_files_that_are_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="There is no ledger at"):
        Ledger.open(tmp_path / "missing.sqlite")
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.create(tmp_path / "nowhere" / "l.sqlite", "go", (0, 1))
    text = tmp_path / "text.sqlite"
    text.write_text("What is written here is no database at all. " * 50)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    for path in (text, other):
        with pytest.raises(LedgerError, match="is not a ledger"):
            Ledger.open(path)
        before = path.read_bytes()
        with pytest.raises(LedgerError):
            Ledger.create(path, "go", (0, 1))
        assert path.read_bytes() == before


def test_another_schema_another_game_and_a_second_creation(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(ledger.path, "tic_tac_toe", (0, 1))
    with pytest.raises(LedgerError, match="is a ledger of tic_tac_toe, not of go"):
        Ledger.open(ledger.path, game="go")
    ledger.close()
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(LedgerError, match="schema 99; this version knows 2: update"):
        Ledger.open(ledger.path)


def test_what_is_acknowledged_is_on_the_disk(ledger: Ledger) -> None:
    """No test cuts the power; these two settings are SQLite's promise that it may be cut."""
    with Ledger.open(ledger.path) as again:
        for opened in (ledger, again):
            assert opened._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert opened._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_creation_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with Ledger.create(path, "go", (0, 1)) as ledger:
        assert ledger.sequence == 0


def test_read_only_reads_and_does_not_write(ledger: Ledger) -> None:
    ledger.append(wins(2))
    with Ledger.open(ledger.path, read_only=True) as reader:
        assert reader.count() == 2
        ledger.append(wins(2, first=2))
        assert reader.count() == 4
        with pytest.raises(LedgerError, match="could not be written: attempt to write a readonly database"):
            reader.append(wins(1, first=9))
    with pytest.raises(LedgerError, match="closed"):
        reader.count()


def test_a_full_disk_is_said_and_loses_nothing(ledger: Ledger) -> None:
    ledger.append(wins(100))
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="could not be written: database or disk is full"):
        ledger.append(wins(5000, first=100))
    assert ledger.count() == 100
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    assert ledger.append(wins(5000, first=100)) == 5000
    assert ledger._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)  # all but lone surrogates
json_values = st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.booleans(), st.none(), names)
players = st.builds(
    Player,
    id=names,
    kind=names,
    content=names,
    settings=st.dictionaries(names, st.one_of(json_values, st.lists(json_values, max_size=3)), max_size=3),
    parent=st.just("") | names,
    step=st.integers(0, 2**62),
    role=names,
    live=st.booleans(),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
moves = st.tuples(st.integers(0, 6), st.integers(1, 4)).flatmap(lambda shape: hnp.arrays(np.int16, shape))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    player=players,
    seed=st.integers(0, 2**64 - 1),
    number=st.integers(0, 2**62),
    games=st.none() | st.integers(1, 1000),
    paired=st.booleans(),
    returns=st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=4),
    played=st.none() | moves,
)
def test_every_record_survives_the_round_trip(tmp_path, player, seed, number, games, paired, returns, played) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "round.sqlite"
    for old in tmp_path.glob("round.sqlite*"):
        old.unlink()
    match = Match(number, (player.id, player.id), "audit", seed, games, 3, paired)
    length = 11 if played is None else len(played)
    told = [Result(number, game, earned, length, paired, played) for game, earned in enumerate(returns)]
    with Ledger.create(path, "coup", (0, 1, 0)) as ledger:
        ledger.add_player(player)
        ledger.add_matches([match])
        assert ledger.append(told) == len(told)
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.players() == {player.id: player}
        for (_, found, result), expected in zip(ledger.results(), told, strict=True):
            assert found == match
            assert (result.game, result.returns, result.length) == (expected.game, expected.returns, expected.length)
            assert result.truncated == expected.truncated
            if played is None:
                assert result.moves is None
            else:
                assert result.moves is not None
                assert result.moves.dtype == np.int16
                if length:  # of no move at all the number of slots is kept, too
                    np.testing.assert_array_equal(result.moves, played)
                assert result.moves.shape == played.shape


WRITER = """
import sys
import numpy as np
from leagues import Ledger, Result
path, batches, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
moves = np.arange(5, dtype=np.int16)[:, None]
with Ledger.open(path) as ledger:
    first = ledger.count()
    for batch in range(batches):
        at = first + batch * size
        ledger.append(Result(0, game, (1.0, -1.0), 5, False, moves) for game in range(at, at + size))
        print(at + size, flush=True)
"""


def writer(path: Path, batches: int, size: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), str(batches), str(size)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_writer_killed_in_the_middle_loses_nothing_acknowledged(ledger: Ledger) -> None:
    ledger.close()
    size = 40
    for acknowledgements in (1, 2, 7, 30, 81):
        process = writer(ledger.path, 1_000_000, size)
        assert process.stdout is not None
        for _ in range(acknowledgements):
            told = int(process.stdout.readline())
        process.kill()
        told = max([told, *(int(line) for line in process.stdout.read().split("\n") if line)])
        process.wait()
        process.stdout.close()
        connection = sqlite3.connect(ledger.path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        with Ledger.open(ledger.path) as survivor:
            games = [result.game for _, _, result in survivor.results()]
            assert games == list(range(len(games)))
            assert told <= len(games) <= told + size
            assert len(games) % size == 0


def test_a_reader_sees_whole_batches_while_another_process_writes(ledger: Ledger) -> None:
    process = writer(ledger.path, 60, 100)
    assert process.stdout is not None
    with Ledger.open(ledger.path, read_only=True) as reader:
        for line in process.stdout:
            games = [result.game for _, _, result in reader.results()]
            assert games == list(range(len(games)))
            assert len(games) >= int(line)
            assert len(games) % 100 == 0
        assert reader.count() == 6000
    assert process.wait() == 0
    process.stdout.close()


# ---- visitors --------------------------------------------------------------------------------------------------------

ADA = Player("ada", "human", role=VISITOR)


def visit(ledger: Ledger, *players: str, seed: int = 3, purpose: str = "human") -> int:
    match = Match(77, players, purpose, seed, games=1)  # type: ignore[arg-type]
    return ledger.add_visit([ADA], match, Result(78, 0, (1.0, -1.0), 2, moves=np.array([[4], [0]], np.int16)))


def test_visits_are_numbered_down_from_minus_one_and_take_no_number_from_the_league(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "new.sqlite", "tic_tac_toe", (0, 1)) as ledger:
        assert [visit(ledger, "ada", "ada") for _ in range(2)] == [-1, -2]
        assert ledger.next_match() == 0
        ledger.add_player(MAIN)
        ledger.add_matches([Match(0, ("main", "main"), "train", 1)])
        assert visit(ledger, "main", "ada") == -3
        assert ledger.next_match() == 1
        assert ledger.match(-3) == Match(-3, ("main", "ada"), "human", 3, games=1)
        told = ledger.result(-3, 0)
        assert told.moves is not None
        assert (told.returns, told.moves.tolist()) == ((1.0, -1.0), [[4], [0]])


def test_visitors_are_told_apart_from_members(ledger: Ledger) -> None:
    visit(ledger, "ada", "main@0")
    assert list(ledger.players()) == ["main", "main@0"]
    assert list(ledger.players(visitors=True)) == ["main", "main@0", "ada"]
    assert ledger.told == 2, "what a checkpoint counts on is what the run itself told"


def test_a_refused_visit_leaves_nothing(ledger: Ledger) -> None:
    before = ledger.sequence
    with pytest.raises(LedgerError, match="names player bob"):
        visit(ledger, "ada", "bob")
    with pytest.raises(LedgerError, match="differs"):
        ledger.add_visit([Player("main@0", "human")], Match(0, ("main", "main"), "human", 1), wins(1)[0])
    with pytest.raises(LedgerError, match="not one finite number"):
        ledger.add_visit([ADA], Match(0, ("ada", "main"), "human", 1), Result(0, 0, (1.0,), 2))
    assert ledger.sequence == before
    assert "ada" not in ledger.players(visitors=True)
    with pytest.raises(LedgerError, match="no match -1"):
        ledger.match(-1)


def test_games_are_found_by_purpose_and_players_the_newest_last(ledger: Ledger) -> None:
    ledger.add_matches([Match(1, ("main@0", "main"), "rate", 3, games=2)])
    ledger.append([*wins(3), *wins(2, match=1)])
    visit(ledger, "ada", "main@0")
    ledger.append(wins(1, match=1, first=2))
    visit(ledger, "main", "ada", purpose="casual")
    everything = ledger.games({"train", "rate", "human", "casual"})
    assert [(match.id, result.game, kept) for match, result, kept in everything] == [
        *((0, game, False) for game in range(3)),
        *((1, game, False) for game in range(2)),
        (-1, 0, True),
        (1, 2, False),
        (-2, 0, True),
    ]
    assert all(result.moves is None for _, result, _ in everything), "these are not read"
    assert [match.id for match, _, _ in ledger.games({"rate", "human"}, last=2)] == [-1, 1]
    assert [match.id for match, _, _ in ledger.games({"human", "casual"}, ["main"])] == [-2]
    assert [match.id for match, _, _ in ledger.games({"human", "rate"}, ["main@0", "ada"])] == [-1]
    assert ledger.games({"human"}, ["main@"]) == ledger.games(set()) == []
    with pytest.raises(LedgerError, match="no game 9 of match 1"):
        ledger.result(1, 9)


VISITS = """
import sys
from leagues import Ledger, Match, Player, Result
path, first = sys.argv[1], int(sys.argv[2])
for seed in range(first, first + 20):
    with Ledger.open(path) as ledger:
        match = Match(0, ("ada", "main"), "human", seed)
        ledger.add_visit([Player("ada", "human", role="a visitor")], match, Result(0, 0, (1.0, -1.0), 5))
"""


def test_people_who_finish_at_once_get_matches_of_their_own_while_a_run_goes_on(ledger: Ledger) -> None:
    command = [sys.executable, "-c", VISITS, str(ledger.path)]
    writers = [subprocess.Popen([*command, str(first)], cwd=ROOT, stderr=subprocess.PIPE) for first in (100, 200)]
    for number in range(20):
        ledger.append(wins(1, first=number))
    for writer in writers:
        _, error = writer.communicate(timeout=120)
        assert writer.returncode == 0, error.decode()
    told = ledger.games({"human"})
    assert sorted(match.id for match, _, _ in told) == list(range(-40, 0))
    assert sorted(match.seed for match, _, _ in told) == [*range(100, 120), *range(200, 220)]
    assert ledger.count({"train"}) == 20
    assert ledger.next_match() == 1
