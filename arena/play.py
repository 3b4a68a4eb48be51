"""A person plays a game in the terminal, against any policies: one table, one board, one line typed at a time.

A person is shown what the game shows to their seat. Where information is hidden, what agents played is named only when
the game is over. Two people at one terminal see each other's boards: nothing here hides one from the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from agents.core import Analysis, Context, Policy
from arena.match import Table, choice_keys
from arena.words import explain, find_move, in_words, numbered
from games import NO_ACTION, Decisions, Game, GameError, Keys
from games.names import UserError

COMMANDS = {
    "moves": "list the legal moves",
    "board": "show the board again",
    "undo": "take back your last decision and all that followed it",
    "hint": "ask what an opponent would play in your place, and why",
    "hint N": "the same after N simulations",
    "help": "show this list",
    "quit": "leave the game unfinished",
}
LISTED = 40  # legal moves shown at every turn; where there are more, they are listed when asked for


@dataclass(frozen=True, slots=True)
class PlayedGame:
    """One game as it stood when everyone rose from the table. Moves that were taken back are no part of it."""

    returns: tuple[float, ...]  # [P] each seat's sum of rewards
    length: int  # steps played
    truncated: bool
    moves: NDArray[np.int16]  # [length, S]
    key: int  # uint64, nature's: with the moves it replays the game
    finished: bool  # ended by its rules or cut; False where the person left or the game broke
    failure: str | None = None  # why the game broke


def play(
    game: Game,
    players: Sequence[Policy | None],
    key: int,
    *,
    console: Console,
    ask: Callable[[str], str],
    names: Sequence[str],
    adviser: Callable[[int], Policy] | None = None,
) -> PlayedGame:
    """Play one game; `players[seat]` is None where a person sits (nowhere: watch), `names[seat]` what they are called.

    `ask(prompt)` returns the line typed; EOFError or KeyboardInterrupt out of it ends the game unfinished. `adviser(n)`
    is who gives hints after n simulations; it raises UserError where nobody can. Raises GameError where players or
    names do not fit the seats, and where a policy chooses an illegal move.
    """
    for what, given in (("players", len(players)), ("names", len(names))):
        if given != game.spec.seats:
            raise GameError(f"{game.spec.name} has {game.spec.seats} seats, but {given} {what} are given.")
    sitting = _Sitting(game, players, key, console, ask, names, adviser)
    sitting.welcome()
    try:
        while not sitting.table.over[0]:
            sitting.turn()
    except (_Left, KeyboardInterrupt):
        console.print()
    sitting.close()
    table = sitting.table
    return PlayedGame(
        returns=tuple(table.returns[0].tolist()),
        length=int(table.steps[0]),
        truncated=sitting.truncated,
        moves=table.played(0),
        key=int(table.keys[0]),
        finished=bool(table.over[0]) and sitting.failure is None,
        failure=sitting.failure,
    )


@runtime_checkable
class Analyst(Protocol):
    """A policy that can say what it thinks."""

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis: ...


class _Left(Exception):
    """The person has had enough."""


_Memory = dict[int, NDArray[np.float32] | None]  # seat -> [1, 1, *M]


@dataclass(frozen=True, slots=True)
class _Step:
    """What undo and the last line of a game need to know of one step."""

    played: str  # in words
    decided: bool  # a person chose
    memory: _Memory  # the agents', before the step


class _Sitting:
    """One game at one terminal."""

    def __init__(
        self,
        game: Game,
        players: Sequence[Policy | None],
        key: int,
        console: Console,
        ask: Callable[[str], str],
        names: Sequence[str],
        adviser: Callable[[int], Policy] | None,
    ) -> None:
        self.game, self.players, self.console, self.ask = game, players, console, ask
        self.table = Table(game, np.array([key], np.uint64))
        self.people = [seat for seat, policy in enumerate(players) if policy is None]
        self.names = _call(names, self.people)
        # Who gives hints, from people's seats: the first agent that can say why, else the first. A policy with memory
        # follows the game from there, asked or not.
        agents = [seat for seat, policy in enumerate(players) if policy is not None]
        self.adviser = min(agents, key=lambda seat: not isinstance(players[seat], Analyst), default=None)
        self.deeper = adviser
        self.line: list[_Step] = []
        self.memory: _Memory = {}
        # What agents left for their next decision, by seat: what one seat was shown never reaches another.
        self.scratch: dict[int, dict[str, Any]] = {}
        self.truncated = False
        self.failure: str | None = None

    def welcome(self) -> None:
        seats = ", ".join(f"seat {seat} is {name}" for seat, name in enumerate(self.names))
        self.say(f"{self.game.spec.name}: {seats}.", "bold")
        if self.people:
            self.say("Type a move, or as much of it as is clear; `help` lists what else there is.", "dim")

    def turn(self) -> None:
        """One step: people are asked first, then agents choose, and all of it is played at once. Or moves go back."""
        decisions = self.table.pending()
        acting = decisions.seat[0, decisions.active[0]].tolist()
        chosen: dict[int, int] = {}  # seat -> action
        memory = dict(self.memory)
        if acting and not self.people:
            self.show(acting[0])
        for seat in (seat for seat in acting if seat in self.people):
            action = self._decide(seat, first=not chosen)
            if action is None:
                return
            chosen[seat] = action
        decided = bool(chosen)
        for seat in acting:
            policy = self._policy(seat)
            if policy is not None and (seat not in chosen or policy.memory is not None):
                action, memory[seat] = self._consult(policy, seat, self.scratch.setdefault(seat, {}))
                chosen.setdefault(seat, action)
        self._play({seat: chosen[seat] for seat in acting}, decided, memory)

    def close(self) -> None:
        """How it ended, in words."""
        spec, steps = self.game.spec, _steps(len(self.line))
        over = bool(self.table.over[0]) and self.failure is None
        if over:
            self.show(self.people[0] if self.people else 0)
        if self.failure is not None:
            self.say(f"The game broke after {steps} and has no result: {self.failure}", "bold red")
        elif not over:
            self.say(f"The game is left unfinished after {steps}: no result.", "bold")
        elif self.truncated:
            self.say(f"The game was cut after {steps}, before its rules ended it.")
        if over:
            for sentence in in_words(spec, self.table.returns[0], self.names, self.people, truncated=self.truncated):
                self.say(sentence, "bold")
        if self.line and (over or spec.perfect_information):
            self.console.print(Text(f"Moves: {', '.join(step.played for step in self.line)}."))

    def say(self, sentence: str, style: str = "") -> None:
        self.console.print(Text(sentence, style), soft_wrap=True)

    def show(self, seat: int) -> None:
        """The board as `seat` may see it."""
        self.console.print()
        self.console.print(_coloured(self.game.text(self.table.states, 0, seat)), soft_wrap=True)
        earned = float(self.table.returns[0, seat])
        if earned and not self.table.over[0]:
            self.say(f"Return so far: {earned:g}.")

    def _decide(self, seat: int, *, first: bool) -> int | None:
        """The action that the person on `seat` types, None where the step must be asked again from its beginning."""
        legal = np.flatnonzero(self.table.pending().legal[0, self._slot(seat)]).tolist()
        moves = [self.game.action_name(self.table.states, 0, seat, action) for action in legal]
        prompt = "Your move: " if len(self.people) == 1 else f"{self.names[seat]}, your move: "
        self.show(seat)
        self._list(moves, most=LISTED)
        while True:
            try:
                typed = self.ask(prompt).strip()
            except EOFError:
                raise _Left from None
            command = typed.lower() if typed not in moves else ""
            if command == "undo":
                if not first or self._undo():
                    return None
            elif command == "hint" or (self.deeper and re.fullmatch(r"hint +\d{1,9}", command)):
                self._hint(seat, int(command[4:]) if command[4:] else None)
            elif command in COMMANDS:
                self._obey(command, moves, seat)
            elif typed:
                found = find_move(typed, moves, COMMANDS)
                if isinstance(found, int):
                    return int(legal[found])
                self.say(found, "yellow")

    def _obey(self, command: str, moves: list[str], seat: int) -> None:
        if command == "quit":
            raise _Left
        if command == "board":
            self.show(seat)
        elif command == "moves":
            self._list(moves, most=len(moves))
        elif command == "help":
            for name, meaning in COMMANDS.items():
                self.say(f"  {name:6} {meaning}")

    def _hint(self, seat: int, simulations: int | None) -> None:
        """What the adviser would play on `seat`, and why. It starts afresh: the game does not depend on being asked."""
        if (policy := self._policy(seat)) is None or self.adviser is None:
            self.say("No agent sits at the table to be asked.", "yellow")
            return
        if simulations is not None and self.deeper is not None:
            try:
                policy = self.deeper(simulations)
            except UserError as error:
                self.say(str(error), "yellow")
                return
        action, _ = self._consult(policy, seat, {})
        move = self.game.action_name(self.table.states, 0, seat, action)
        who = self.names[self.adviser] if simulations is None else f"With {simulations} simulations it"
        self.say(f"{who} would play {move} in your place.", "cyan")
        if isinstance(policy, Analyst):
            analysis = policy.analyse(*self._question(policy, seat, {}))
            for line in explain(analysis, self.table, seat, self.names[seat], self.console.width):
                self.say(line)

    def _list(self, moves: list[str], *, most: int) -> None:
        if len(moves) > most:
            self.say(f"{len(moves)} legal moves; `moves` lists them.", "dim")
            return
        shown = [f"{number} {move}" for number, move in enumerate(moves, 1)] if numbered(moves) else moves
        line = f"Legal moves: {', '.join(shown)}"
        if len(line) <= self.console.width:
            self.say(line, "dim")
            return
        self.say("Legal moves:", "dim")
        self.console.print(Columns([Text(f"  {move}") for move in shown], equal=True, column_first=True))

    def _undo(self) -> bool:
        """Back to the last decision of a person; False where there is none."""
        target = max((number for number, step in enumerate(self.line) if step.decided), default=None)
        if target is None:
            self.say("There is nothing to take back yet.", "yellow")
            return False
        steps = len(self.line) - target
        self.table.undo(steps)
        if self.table.over[0]:
            raise GameError(
                f"{self.game.spec.name} broke when its first {_steps(target)} were replayed to undo a move."
            )
        self.memory = self.line[target].memory
        self.scratch.clear()
        del self.line[target:]
        self.say(f"Took back {_steps(steps)}.")
        return True

    def _policy(self, seat: int) -> Policy | None:
        """Who thinks for `seat`: its own agent; for a person the adviser, if there is one."""
        policy = self.players[seat]
        return policy if policy is not None or self.adviser is None else self.players[self.adviser]

    def _consult(self, policy: Policy, seat: int, scratch: dict[str, Any]) -> tuple[int, NDArray[np.float32] | None]:
        """What `policy` plays on `seat` now, and what it then remembers."""
        decision, context, keys = self._question(policy, seat, scratch)
        choice = policy.act(decision, context, keys)
        action, legal = int(choice.action[0, 0]), np.flatnonzero(decision.legal[0, 0]).tolist()
        if action not in legal:
            raise GameError(f"{self.names[seat]} chose action {action}, which is not legal; legal here: {legal}.")
        return action, self.memory.get(seat) if choice.memory is None else choice.memory

    def _question(self, policy: Policy, seat: int, scratch: dict[str, Any]) -> tuple[Decisions, Context, Keys]:
        """The decision of `seat` as `policy` is asked it: a batch of one game and one slot."""
        table, row = self.table, np.zeros(1, np.int64)
        decision = table.pending().take(row, row + self._slot(seat))
        memory = self.memory.get(seat)
        if policy.memory is not None:
            memory = np.zeros((1, 1, *policy.memory), np.float32) if memory is None else memory.copy()
        context = Context(self.game, table.states, row, memory, table.history, scratch)
        return decision, context, choice_keys(table.keys, table.steps, decision.seat)

    def _play(self, chosen: dict[int, int], decided: bool, memory: _Memory) -> None:
        table, spec = self.table, self.game.spec
        actions = np.full((1, spec.slots), NO_ACTION, np.int64)
        for seat, action in chosen.items():
            actions[0, self._slot(seat)] = action
        moves = {seat: self.game.action_name(table.states, 0, seat, action) for seat, action in chosen.items()}
        outcome = table.play(actions)
        self.failure = outcome.failed.get(0)
        self.truncated = bool(outcome.truncated[0])
        if not chosen:  # a game that broke when it was asked who acts says so only now
            if self.failure is None:
                raise GameError(f"{spec.name} asks nobody to act at step {len(self.line)}, but it is not over.")
            return
        played = " / ".join(f"{self.names[seat]} {move}" for seat, move in moves.items())
        self.line.append(_Step(played, decided, self.memory))
        self.memory = memory
        for seat, move in moves.items():
            if self.players[seat] is not None:
                public = spec.perfect_information or not self.people
                self.say(f"{self.names[seat]} plays {move}." if public else f"{self.names[seat]} has moved.")

    def _slot(self, seat: int) -> int:
        return seat if self.game.spec.simultaneous else 0


def _call(names: Sequence[str], people: Sequence[int]) -> list[str]:
    """What each seat is called: `you` where one person sits; where two share a name, it tells the seats apart."""
    called = ["you" if list(people) == [seat] else name for seat, name in enumerate(names)]
    return [name if called.count(name) == 1 else f"{name} (seat {seat})" for seat, name in enumerate(called)]


def _coloured(board: str) -> Text:
    """The board with x and o told apart, on lines that hold no other letters; `console` drops it where it cannot."""
    text = Text(board)
    for line in re.finditer(r"(?m)^[^a-np-wyzA-NP-WYZ\n]+$", text.plain):
        for mark in re.finditer("[xXoO]", line.group()):
            start = line.start() + mark.start()
            text.stylize("bold red" if mark.group() in "xX" else "bold yellow", start, start + 1)
    return text


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"
