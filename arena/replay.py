"""Stored games, read from a run's folder or that of people's games, and played again move by move.

A game is its key and its moves: all else follows from the rules. Where the rules have changed since, or a game does not
keep its promise to replay, a `Replay` says so and goes as far as it can.

    for stored in games("runs/c4", "main@3", "mcts:100"):
        replay = load("runs/c4", stored.match, stored.game)
        print(replay.moves_in_words(), replay.game.text(replay.table(4).states, 0, 0))

Who reads many games opens the folder once, with `archive`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arena.match import Table
from arena.run import look
from arena.words import in_words
from games import Game, GameError, GameSpec, make
from games.names import UserError, did_you_mean
from leagues.core import Match, Purpose, Result
from leagues.ledger import Ledger

KEPT: tuple[Purpose, ...] = ("rate", "gate", "audit", "human", "casual")
"""The purposes whose games are stored with their moves."""


class ReplayError(UserError):
    """There is no such game, or not its moves. The message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A game in the ledger."""

    match: int  # its id, below zero where people played
    game: int  # its number in that match
    purpose: Purpose
    lineup: tuple[str, ...]  # [P] the player on each seat
    returns: tuple[float, ...]  # [P]
    length: int  # steps
    truncated: bool
    kept: bool  # whether its moves are, so that it can be replayed

    @property
    def names(self) -> list[str]:
        """[P] what each seat is called: its player, and the seat where a player has several."""
        lineup = self.lineup
        return [name if lineup.count(name) == 1 else f"{name} (seat {seat})" for seat, name in enumerate(lineup)]

    def in_words(self, spec: GameSpec) -> str:
        """How it ended."""
        return " ".join(in_words(spec, np.array(self.returns), self.names, [], truncated=self.truncated))


class Replay:
    """One stored game, at any of its steps. It belongs to one reader: see `table`."""

    def __init__(self, game: Game, stored: Stored, key: int, moves: NDArray[np.int16], opening: int) -> None:
        self.game = game
        self.stored = stored
        self.key = key  # uint64, nature's
        self.moves = moves  # [length, S]
        self.opening = opening  # how many of the first steps were played at random
        self.line: list[dict[int, str]] = []
        """For each step that can be replayed, what each acting seat played, by name."""
        self._table = self._fresh()
        self.problem = self._play_through()
        """Why the game does not replay to what the ledger says, as a sentence; None where it does."""

    @property
    def steps(self) -> int:
        """How far the game can be replayed: its length, unless there is a problem."""
        return len(self.line)

    @property
    def names(self) -> list[str]:
        """[P] what each seat is called."""
        return self.stored.names

    def table(self, step: int) -> Table:
        """The table after `step` steps, from 0 to `steps`, to look at: the next call plays on with it.

        Forward it goes on from where it is, backward it begins again. Raises ReplayError where there is no such step.
        """
        if not 0 <= step <= self.steps:
            raise ReplayError(f"{_called(self.stored)} has steps 0 to {self.steps}; {step} is none of them.")
        if step < self._table.steps[0]:
            self._table = self._fresh()
        while self._table.steps[0] < step:
            self._table.play(self._action(int(self._table.steps[0])))
        return self._table

    def moves_in_words(self) -> list[str]:
        """Each step as `ada 4`, or `ada rock / random paper` where seats act at once."""
        names = self.names
        return [" / ".join(f"{names[seat]} {move}" for seat, move in step.items()) for step in self.line]

    def _play_through(self) -> str | None:
        """Play all of it once, and compare it with what was stored."""
        table, stored, called = self._table, self.stored, _called(self.stored)
        slots, truncated = self.game.spec.slots, False
        if self.moves.shape[1] != slots:
            return f"{called} has moves of {self.moves.shape[1]} seats at once, where there are {slots}. {self._advice}"
        for step in range(len(self.moves)):
            if table.over[0]:
                return f"{called} has {len(self.moves)} steps, but is over after {step} when replayed. {self._advice}"
            try:
                played = self._named(step)
                outcome = table.play(self._action(step))
            except GameError as error:
                return f"{called} does not replay beyond step {step}: {error} {self._advice}"
            if table.steps[0] == step:  # or `table` would never come to the next
                return f"{called} does not replay beyond step {step}: nobody moves there. {self._advice}"
            if 0 in outcome.failed:
                self._table = self._fresh()
                return f"{called} does not replay beyond step {step}: {outcome.failed[0]} {self._advice}"
            self.line.append(played)
            truncated = bool(outcome.truncated[0])
        if not table.over[0]:
            return f"{called} is not over after its {len(self.moves)} steps when replayed. {self._advice}"
        found = _end(table.returns[0].tolist(), truncated)
        if found != (told := _end(stored.returns, stored.truncated)):
            return f"{called} ended with {told}, but replays to {found}. {self._advice}"
        return None

    @property
    def _advice(self) -> str:
        name = self.game.spec.name
        return f"The rules of {name} have changed since, or it does not replay: try `arena check {name}`."

    def _named(self, step: int) -> dict[int, str]:
        """What is played in the step to come, by seat; moves that are not legal are left to the table to refuse."""
        table, spec, moves = self._table, self.game.spec, self.moves[step].tolist()
        decisions = table.pending()
        return {
            (seat := int(decisions.seat[0, slot])): self.game.action_name(table.states, 0, seat, moves[slot])
            for slot in np.flatnonzero(decisions.active[0]).tolist()
            if 0 <= moves[slot] < spec.actions and decisions.legal[0, slot, moves[slot]]
        }

    def _action(self, step: int) -> NDArray[np.int64]:
        return self.moves[step : step + 1].astype(np.int64)

    def _fresh(self) -> Table:
        return Table(self.game, np.array([self.key], np.uint64))


class Archive:
    """The games stored in one folder. Made by `archive`; it belongs to the thread that did."""

    def __init__(self, folder: Path, reference: str, ledger: Ledger, game: Game) -> None:
        self.folder = folder
        self.reference = reference  # the game's, for `games.make`
        self.game = game
        self._ledger = ledger

    @property
    def spec(self) -> GameSpec:
        return self.game.spec

    def players(self) -> list[str]:
        """Everybody who is known here, visitors included, in the order they came."""
        return list(self._ledger.players(visitors=True))

    def games(
        self,
        a: str | None = None,
        b: str | None = None,
        purposes: Collection[Purpose] = KEPT,
        last: int | None = None,
    ) -> list[Stored]:
        """The stored games of player `a`, or of `a` and `b` together, or all: newest last, only the `last` if given.

        Raises ReplayError, with the nearest name, where one of them is unknown here.
        """
        players = [player for player in (a, b) if player is not None]
        known = self.players() if players else []
        for player in players:
            if player not in known:
                raise ReplayError(f"Nobody called {player!r} has played in {self.folder}.{did_you_mean(player, known)}")
        found = self._ledger.games(purposes, players, last)
        return [self._stored(match, result, kept) for match, result, kept in found]

    def load(self, match: int, game: int) -> Replay:
        """A game with its moves. Raises ReplayError or LedgerError where there is no such game, or not its moves."""
        described, result = self._ledger.match(match), self._ledger.result(match, game)
        stored = self._stored(described, result, result.moves is not None)
        if result.moves is None:
            raise ReplayError(f"{_called(stored)} was a {described.purpose} game, whose moves are not kept.")
        opening = min(described.opening, result.length)
        return Replay(self.game, stored, described.key(game), result.moves, opening)

    def _stored(self, match: Match, result: Result, kept: bool) -> Stored:
        return Stored(
            match=match.id,
            game=result.game,
            purpose=match.purpose,
            lineup=match.lineup(result.game, self._ledger.teams),
            returns=result.returns,
            length=result.length,
            truncated=result.truncated,
            kept=kept,
        )


@contextmanager
def archive(folder: str | Path) -> Iterator[Archive]:
    """The stored games in `folder`, a run's or one in runs/people, to read, also while the run goes on.

    Raises a UserError where there is neither, or its game cannot be made.
    """
    folder = Path(folder)
    ledger = folder / "ledger.sqlite"
    if (folder / "config.yaml").is_file() or not ledger.is_file():
        with look(folder) as run:
            yield Archive(folder, run.config.game, run.ledger, run.game)
        return
    with Ledger.open(ledger, read_only=True) as opened:
        try:
            game = make(opened.game)
        except GameError as error:
            raise ReplayError(f"The games in {folder} cannot be replayed: {error}") from None
        yield Archive(folder, opened.game, opened, game)


def games(
    folder: str | Path,
    a: str | None = None,
    b: str | None = None,
    purposes: Collection[Purpose] = KEPT,
    last: int | None = None,
) -> list[Stored]:
    """See `Archive.games`."""
    with archive(folder) as opened:
        return opened.games(a, b, purposes, last)


def load(folder: str | Path, match: int, game: int) -> Replay:
    """See `Archive.load`."""
    with archive(folder) as opened:
        return opened.load(match, game)


def _called(stored: Stored) -> str:
    return f"Game {stored.game} of match {stored.match}"


def _end(returns: Sequence[float], truncated: bool) -> str:
    """How a game ended, exactly."""
    return f"returns {list(returns)}{', cut' if truncated else ''}"
