"""The ledger: every player, match and result of a league, in one append-only SQLite file.

Nothing in it is ever changed or removed, so payoffs, ratings and matchmaking are pure functions of it up to a sequence
number. Players and results share one numbering: a number names a moment of the whole league.

People play against its members too (`Ledger.add_visit`), also while a run goes on in another process. What they leave
is told apart by the numbers of their matches and their role as players: a run is the same with and without them.

The file is in WAL mode (others read while one process writes) with `synchronous=FULL`: an append that has returned
survives kill -9 and a power cut. That costs one fsync a call, so tell results in batches. With NORMAL a power cut could
take back results that a training checkpoint, itself on disk, already counts on.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any

from games.names import UserError
from leagues.core import VISITOR, Match, Player, Purpose, Result, Thinking
from leagues.rows import PLAYER, match_of, match_row, pack_moves, player_of, player_row, unpack_moves
from leagues.schema import SCHEMA, TABLES, THINKING

_PATIENCE = 30.0  # seconds to wait for another writer before giving up
_PAGE = 8192  # rows read at once, so that a slow reader holds no lock that keeps the WAL growing


class LedgerError(UserError):
    """A ledger cannot be opened, read or written, or refuses a record. The message is a sentence for the user."""


class Ledger:
    """One league's records. Make one with `Ledger.create` or `Ledger.open`; it belongs to the thread that did."""

    game: str
    teams: tuple[int, ...]  # [P] which team each seat is on

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.told = 0
        """Sequence number of the last player or result told since this was opened, known before or not: what a
        checkpoint keeps, as a resumed run tells again what came after it."""
        self._connection = connection
        self._matches: dict[int, Match] = {}

    @classmethod
    def create(cls, path: str | Path, game: str, teams: Sequence[int]) -> Ledger:
        """A new, empty ledger for `game`, whose seats are on `teams` [P]. Raises LedgerError where one exists."""
        path = Path(path)
        ledger = cls(path, _connect(path, "rwc"))
        facts = {
            "schema": str(SCHEMA),
            "game": game,
            "teams": json.dumps([int(team) for team in teams]),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            # The tables before WAL mode: a creation that is killed leaves a file without tables, taken up next time.
            with ledger._writing() as connection:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise LedgerError(f"{path} exists already: open it, or choose another place for a new ledger.")
                for table in TABLES:
                    connection.execute(table)
                connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
            ledger._begin(read_only=False)
        except LedgerError:
            ledger.close()
            raise
        return ledger

    @classmethod
    def open(cls, path: str | Path, read_only: bool = False, game: str | None = None) -> Ledger:
        """The ledger at `path`.

        Raises LedgerError where there is none, where it is no ledger, of another schema, or not about `game`.
        """
        path = Path(path)
        if not path.is_file():
            raise LedgerError(f"There is no ledger at {path}.")
        ledger = cls(path, _connect(path, "ro" if read_only else "rw"))
        try:
            ledger._begin(read_only)
            if game is not None and game != ledger.game:
                raise LedgerError(f"{path} is a ledger of {ledger.game}, not of {game}: choose another run directory.")
        except LedgerError:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sequence(self) -> int:
        """The number of the last player or result; 0 in an empty ledger."""
        return int(self._read(_LAST)[0][0])

    def add_player(self, player: Player) -> None:
        """Enter a player; again is fine. Raises LedgerError for another record under the same id.

        Settings must be JSON values; tuples come back as lists.
        """
        with self._writing() as connection:
            self._add_player(connection, player)
            query = "SELECT sequence FROM players WHERE id = ?"
            self.told = max(self.told, connection.execute(query, (player.id,)).fetchone()[0])

    def _add_player(self, connection: sqlite3.Connection, player: Player) -> None:
        try:
            row = player_row(player)
        except (TypeError, ValueError) as error:
            raise LedgerError(f"Player {player.id}: its settings cannot be stored as JSON ({error}).") from error
        known = connection.execute(f"SELECT {PLAYER} FROM players WHERE id = ?", (player.id,)).fetchone()
        if known is None:
            connection.execute(f"INSERT INTO players VALUES (({_LAST}) + 1, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        elif known != row:
            raise LedgerError(
                f"Player {player.id} is in {self.path} as {player_of(known)}, which differs from {player}. "
                "Records never change: give the new one an id of its own."
            )

    def players(self, upto: int | None = None, visitors: bool = False) -> dict[str, Player]:
        """The league's members by id, in the order they entered, up to sequence number `upto` where given.

        With `visitors`, also who only played against them. A league is made of members alone: nobody who came by is
        ever its opponent.
        """
        rows = self._read(f"SELECT {PLAYER} FROM players WHERE sequence <= ? ORDER BY sequence", (_until(upto),))
        players = (player_of(row) for row in rows)
        return {player.id: player for player in players if visitors or player.role != VISITOR}

    def add_matches(self, matches: Iterable[Match]) -> None:
        """Enter matches, all or none; again is fine.

        Raises LedgerError where another match has one's id, it names a player who has not entered, or it does not hold
        one player for each team.
        """
        with self._writing() as connection:
            for match in matches:
                self._add_match(connection, match)

    def _add_match(self, connection: sqlite3.Connection, match: Match) -> None:
        teams = len(set(self.teams))
        if len(match.players) != teams:
            raise LedgerError(f"Match {match.id} has {len(match.players)} players; {self.game} has {teams} teams.")
        if not 0 <= match.seed < 2**64:
            raise LedgerError(f"Match {match.id}: its seed {match.seed} is not an unsigned 64-bit number.")
        row = match_row(match)
        known = connection.execute("SELECT * FROM matches WHERE id = ?", (row[0],)).fetchone()
        if known is not None and known != row:
            raise LedgerError(f"Match {match.id} is in {self.path} as {match_of(known)}, which differs from {match}.")
        if known is None:
            for player in match.players:
                if not connection.execute("SELECT 1 FROM players WHERE id = ?", (player,)).fetchone():
                    raise LedgerError(f"Match {match.id} names player {player}, who is not in {self.path}.")
            connection.execute("INSERT INTO matches VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def match(self, number: int) -> Match:
        """The match with this id. Raises LedgerError where there is none."""
        if number not in self._matches:
            rows = self._read("SELECT * FROM matches WHERE id = ?", (int(number),))
            if not rows:
                raise LedgerError(f"There is no match {number} in {self.path}.")
            self._matches[number] = match_of(rows[0])
        return self._matches[number]

    def next_match(self) -> int:
        """An id above that of every match so far, from 0: visitors' matches are numbered the other way."""
        return int(self._read("SELECT max(coalesce(max(id) + 1, 0), 0) FROM matches")[0][0])

    def add_visit(self, players: Iterable[Player], match: Match, result: Result) -> int:
        """Enter a visitors' game, its match, and who of `players` is new: all or none. Returns the match's id.

        It is below every other, whatever `match` and `result` say: the league's own numbers, from which it draws, stay
        the same whoever came by. Raises LedgerError as `add_player`, `add_matches` and `append` do.
        """
        with self._writing() as connection:
            number = int(connection.execute("SELECT min(coalesce(min(id), 0), 0) - 1 FROM matches").fetchone()[0])
            for player in players:
                self._add_player(connection, player)
            self._add_match(connection, replace(match, id=number))
            sequence = connection.execute(_LAST).fetchone()[0] + 1
            connection.execute(_INSERT, self._row(sequence, replace(result, match=number)))
        return number

    def append(self, results: Iterable[Result], thinking: Iterable[Thinking] = ()) -> int:
        """Add results, all or none, and return how many were new: a (match, game) told again is passed over.

        So is a (match, player) of `thinking`, what the players took for these results. Raises LedgerError where a match
        is unknown, a result does not fit the game, or the disk is full; what was there before is kept.
        """
        results, thinking = list(results), list(thinking)
        with self._writing() as connection:
            for number in {r.match for r in results} | {t.match for t in thinking}:
                self.match(number)
            first = connection.execute(_LAST).fetchone()[0] + 1
            before = connection.total_changes
            connection.executemany(
                _INSERT,
                map(self._row, count(first), results),
            )
            new = connection.total_changes - before
            if results:
                query = "SELECT sequence FROM results WHERE match = ? AND game = ?"
                last = (int(results[-1].match), int(results[-1].game))
                self.told = max(self.told, connection.execute(query, last).fetchone()[0])
            connection.executemany(
                "INSERT INTO thinking VALUES (?, ?, ?, ?) ON CONFLICT (match, player) DO NOTHING",
                [(int(t.match), t.player, int(t.decisions), float(t.seconds)) for t in thinking],
            )
            return new

    def results(
        self, purposes: Collection[Purpose] | None = None, after: int = 0, upto: int | None = None
    ) -> Iterator[tuple[int, Match, Result]]:
        """(sequence number, match, result) in order: those above `after`, and not above `upto` (default: now)."""
        upto = self.sequence if upto is None else upto
        chosen, wanted = _of_purposes(purposes)
        if wanted and not self._read(f"SELECT 1 FROM matches WHERE purpose IN ({_marks(wanted)}) LIMIT 1", wanted):
            return  # rather than look at every result
        query = f"SELECT * FROM results WHERE sequence > ? AND sequence <= ? {chosen} ORDER BY sequence LIMIT {_PAGE}"
        while rows := self._read(query, (after, upto, *wanted)):
            for row in rows:
                yield row[0], self.match(row[1]), self._result(row)
            after = rows[-1][0]

    def result(self, match: int, game: int) -> Result:
        """What game number `game` of a match came to. Raises LedgerError where there is no such result."""
        rows = self._read("SELECT * FROM results WHERE match = ? AND game = ?", (int(match), int(game)))
        if not rows:
            raise LedgerError(f"There is no game {game} of match {match} in {self.path}.")
        return self._result(rows[0])

    def games(
        self, purposes: Collection[Purpose], players: Sequence[str] = (), last: int | None = None
    ) -> list[tuple[Match, Result, bool]]:
        """The games with these purposes in which all of `players` met, as (match, result, whether its moves are kept).

        Oldest first; only the `last` where given. The results come without their moves, which would take the longest:
        see `result`.
        """
        met = "AND EXISTS (SELECT 1 FROM json_each(matches.players) WHERE value = ?)" * len(players)
        query = f"""SELECT sequence, match, game, returns, length, truncated, moves IS NOT NULL
            FROM matches CROSS JOIN results ON match = id -- in this order: few matches are asked for, of many results
            WHERE purpose IN ({_marks(purposes)}) {met} ORDER BY sequence DESC LIMIT ?"""
        rows = self._read(query, (*purposes, *players, -1 if last is None else last))
        return [(self.match(row[1]), self._result([*row[:6], None]), bool(row[6])) for row in reversed(rows)]

    def count(self, purposes: Collection[Purpose] | None = None, after: int = 0, upto: int | None = None) -> int:
        """How many results `results` would give."""
        chosen, wanted = _of_purposes(purposes)
        query = f"SELECT count(*) FROM results WHERE sequence > ? AND sequence <= ? {chosen}"
        return int(self._read(query, (after, _until(upto), *wanted))[0][0])

    def thinking(self) -> dict[str, tuple[int, float]]:
        """How long each player thought, as far as it was told: decisions and seconds."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'thinking'"):
            return {}  # a ledger of schema 1, opened to be read
        rows = self._read("SELECT player, sum(decisions), sum(seconds) FROM thinking GROUP BY player ORDER BY player")
        return {player: (decisions, seconds) for player, decisions, seconds in rows}

    def add_voids(self, voids: Iterable[tuple[int, int, str]]) -> int:
        """Note games (match, game, reason) whose environment failed: no results. Returns how many were new."""
        rows = [(int(match), int(game), reason) for match, game, reason in voids]
        with self._writing() as connection:
            for number in {row[0] for row in rows}:
                self.match(number)
            before = connection.total_changes
            connection.executemany("INSERT INTO voids VALUES (?, ?, ?) ON CONFLICT (match, game) DO NOTHING", rows)
            return connection.total_changes - before

    def voids(self) -> list[tuple[int, int, str]]:
        """Every void game as (match, game, reason), ordered by match and game."""
        return self._read("SELECT * FROM voids ORDER BY match, game")

    @property
    def void_count(self) -> int:
        return int(self._read("SELECT count(*) FROM voids")[0][0])

    def _begin(self, read_only: bool) -> None:
        """Check that this is a ledger that we can read, and learn what it is about."""
        try:
            facts = dict(self._connection.execute("SELECT key, value FROM meta"))
            schema, game, teams = int(facts["schema"]), facts["game"], facts.get("teams", "[]")
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise LedgerError(f"{self.path} is not a ledger, or cannot be read: {error}.") from error
        if not 1 <= schema <= SCHEMA:
            way_out = "update arena-league to open it" if schema > SCHEMA else "start a new run"
            raise LedgerError(f"{self.path} has ledger schema {schema}; this version knows {SCHEMA}: {way_out}.")
        self.game, self.teams = game, tuple(json.loads(teams))
        if not read_only:
            self._read("PRAGMA journal_mode = WAL")
            self._read("PRAGMA synchronous = FULL")
            if schema < SCHEMA:
                self._upgrade()

    def _upgrade(self) -> None:
        """Make a ledger of schema 1 one of schema 2."""
        with self._writing() as connection:
            connection.execute(THINKING)
            connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA),))

    def _result(self, row: Sequence[Any]) -> Result:
        _, match, game, returns, length, truncated, moves = row
        earned = struct.unpack(f"<{len(self.teams)}d", returns)
        return Result(match, game, earned, length, bool(truncated), None if moves is None else unpack_moves(moves))

    def _row(self, sequence: int, result: Result) -> tuple[Any, ...]:
        """A result as stored. The int() calls matter: SQLite would keep a NumPy integer as a blob."""
        returns, moves = result.returns, result.moves
        if len(returns) != len(self.teams) or not all(map(isfinite, returns)):
            raise LedgerError(
                f"Game {result.game} of match {result.match}: its returns {tuple(returns)} are not one finite number "
                f"for each of the {len(self.teams)} seats of {self.game}."
            )
        if moves is not None and (moves.ndim != 2 or len(moves) != result.length):
            raise LedgerError(
                f"Game {result.game} of match {result.match}: moves of shape {moves.shape} do not fit its length, "
                f"{result.length} steps."
            )
        return (
            sequence,
            int(result.match),
            int(result.game),
            struct.pack(f"<{len(returns)}d", *returns),
            int(result.length),
            int(result.truncated),
            None if moves is None else pack_moves(moves),
        )

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path} could not be read: {error}.") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on disk afterwards, or none."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
        except (sqlite3.Error, OverflowError) as error:
            raise LedgerError(
                f"{self.path} could not be written: {error}. What it held before is kept, nothing of this was added."
            ) from error


_INSERT = "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (match, game) DO NOTHING"
_LAST = """SELECT max(coalesce((SELECT max(sequence) FROM results), 0),
    coalesce((SELECT max(sequence) FROM players), 0))"""


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    try:
        address = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be opened: {error}.") from error


def _until(upto: int | None) -> int:
    return 2**63 - 1 if upto is None else upto


def _of_purposes(purposes: Collection[Purpose] | None) -> tuple[str, tuple[str, ...]]:
    """The end of a query for results with these purposes, and the values it takes."""
    if purposes is None:
        return "", ()
    return f"AND match IN (SELECT id FROM matches WHERE purpose IN ({_marks(purposes)}))", tuple(purposes)


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
