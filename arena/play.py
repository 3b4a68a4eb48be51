"""A person plays a game at a prompt, against any players: one board, one line typed at a time.

A person is shown what the game shows to their seat. Where information is hidden, what agents played is named only when
the game is over. Two people at one terminal see each other's boards: nothing here hides one from the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from agents.core import Policy
from arena.sitting import PlayedGame, Sitting, Step
from arena.words import explain, find_move, in_words, numbered
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


def play(
    sitting: Sitting,
    *,
    console: Console,
    ask: Callable[[str], str],
    deeper: Callable[[int], Policy] | None = None,
) -> PlayedGame:
    """Play one game to its end, or until the person leaves.

    `ask(prompt)` returns the line typed; EOFError or KeyboardInterrupt out of it ends the game unfinished. `deeper(n)`
    is who gives hints after n simulations; it raises UserError where nobody can. Raises GameError where a policy
    chooses an illegal move.
    """
    prompt = _Prompt(sitting, console, ask, deeper)
    prompt.welcome()
    try:
        while not sitting.over:
            prompt.turn()
    except (_Left, KeyboardInterrupt):
        console.print()
    prompt.close()
    return sitting.record()


class _Left(Exception):
    """The person has had enough."""


class _Prompt:
    """One sitting at one terminal."""

    def __init__(
        self,
        sitting: Sitting,
        console: Console,
        ask: Callable[[str], str],
        deeper: Callable[[int], Policy] | None,
    ) -> None:
        self.sitting, self.console, self.ask, self.deeper = sitting, console, ask, deeper

    def welcome(self) -> None:
        sitting = self.sitting
        seats = ", ".join(f"seat {seat} is {name}" for seat, name in enumerate(sitting.names))
        self.say(f"{sitting.spec.name}: {seats}.", "bold")
        if sitting.people:
            self.say("Type a move, or as much of it as is clear; `help` lists what else there is.", "dim")

    def turn(self) -> None:
        """One step: people are asked first, then agents choose, and all of it is played. Or moves go back."""
        sitting = self.sitting
        if sitting.waiting:
            self._decide(sitting.waiting[0])
            return
        if sitting.acting and not sitting.people:
            self.show(sitting.acting[0])
        step = sitting.advance()
        if step is not None:
            self._tell(step)

    def close(self) -> None:
        """How it ended, in words."""
        sitting = self.sitting
        spec, steps, people = sitting.spec, _steps(sitting.steps), sitting.people
        over = sitting.over and sitting.failure is None
        if over:
            self.show(people[0] if people else 0)
        if sitting.failure is not None:
            self.say(f"The game broke after {steps} and has no result: {sitting.failure}", "bold red")
        elif not over:
            self.say(f"The game is left unfinished after {steps}: no result.", "bold")
        elif sitting.truncated:
            self.say(f"The game was cut after {steps}, before its rules ended it.")
        if over:
            returns = sitting.table.returns[0]
            for sentence in in_words(spec, returns, sitting.names, people, truncated=sitting.truncated):
                self.say(sentence, "bold")
        if sitting.line and (over or spec.perfect_information):
            self.console.print(Text(f"Moves: {', '.join(self._in_words(step) for step in sitting.line)}."))

    def say(self, sentence: str, style: str = "") -> None:
        self.console.print(Text(sentence, style), soft_wrap=True)

    def show(self, seat: int) -> None:
        """The board as `seat` may see it."""
        table = self.sitting.table
        self.console.print()
        self.console.print(_coloured(self.sitting.game.text(table.states, 0, seat)), soft_wrap=True)
        earned = float(table.returns[0, seat])
        if earned and not table.over[0]:
            self.say(f"Return so far: {earned:g}.")

    def _decide(self, seat: int) -> None:
        """Let the person on `seat` choose, or take something back."""
        sitting = self.sitting
        legal, moves = sitting.legal(seat), sitting.move_names(seat)
        prompt = "Your move: " if len(sitting.people) == 1 else f"{sitting.names[seat]}, your move: "
        self.show(seat)
        self._list(moves, most=LISTED)
        while True:
            try:
                typed = self.ask(prompt).strip()
            except EOFError:
                raise _Left from None
            command = typed.lower() if typed not in moves else ""
            if command == "undo":
                if self._undo():
                    return
            elif command == "hint" or (self.deeper and re.fullmatch(r"hint +\d{1,9}", command)):
                self._hint(seat, int(command[4:]) if command[4:] else None)
            elif command in COMMANDS:
                self._obey(command, moves, seat)
            elif typed:
                found = find_move(typed, moves, COMMANDS)
                if isinstance(found, int):
                    sitting.choose(seat, legal[found])
                    return
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
        """What the adviser would play on `seat`, and why."""
        sitting = self.sitting
        if sitting.adviser is None:
            self.say("No agent sits at the table to be asked.", "yellow")
            return
        policy = None
        if simulations is not None and self.deeper is not None:
            try:
                policy = self.deeper(simulations)
            except UserError as error:
                self.say(str(error), "yellow")
                return
        action, analysis = sitting.hint(seat, policy)
        move = sitting.game.action_name(sitting.table.states, 0, seat, action)
        who = sitting.names[sitting.adviser] if simulations is None else f"With {simulations} simulations it"
        self.say(f"{who} would play {move} in your place.", "cyan")
        if analysis is not None:
            for line in explain(analysis, sitting.table, seat, sitting.names[seat], self.console.width):
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
        if not self.sitting.can_undo:
            self.say("There is nothing to take back yet.", "yellow")
            return False
        if steps := self.sitting.undo():
            self.say(f"Took back {_steps(steps)}.")
        return True

    def _tell(self, step: Step) -> None:
        """What agents played, where it may be told."""
        sitting = self.sitting
        public = sitting.spec.perfect_information or not sitting.people
        for seat, move in step.names.items():
            if sitting.occupants[seat].policy is not None:
                name = sitting.names[seat]
                self.say(f"{name} plays {move}." if public else f"{name} has moved.")

    def _in_words(self, step: Step) -> str:
        return " / ".join(f"{self.sitting.names[seat]} {move}" for seat, move in step.names.items())


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
