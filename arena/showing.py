"""What a screen shows of a sitting or of a stored game, to whose eyes; no widget is in here.

Where something is hidden and several people share the screen, each sees their own view, behind a curtain that says to
whom the screen goes next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.core import Analysis
from arena.clicks import Way
from arena.match import Table
from arena.panels import Look, sparkline
from arena.sitting import Sitting, Step, Thought, acting_seats, course
from arena.viewer import Viewer, lent, ways_at
from arena.words import explain, in_words
from games import GameError, GameSpec
from games.scene import EVERYTHING, Place, Scene, scene_of


class Showing:
    """One sitting as one screen shows it. Like the sitting, it takes one call at a time."""

    def __init__(self, sitting: Sitting) -> None:
        self.sitting = sitting
        self.viewer = Viewer(sitting)
        self.hinted: tuple[int, int, Analysis | None] | None = None  # steps played then, action, why

    # ---- what one can do

    def choose(self, action: int) -> None:
        """What the person whose turn it is plays. Raises GameError where that is nobody, or they may not."""
        self.sitting.choose(self._turn(), action)

    def advance(self) -> str:
        """Play one step; what was played, in words."""
        step = self.viewer.advance()
        if step is None:
            return ""
        agents = [seat for seat in step.actions if self.sitting.occupants[seat].policy is not None]
        told = [
            f"{self.sitting.names[seat]} plays {step.names[seat]}."
            if self.sitting.spec.perfect_information or not self.sitting.people
            else f"{self.sitting.names[seat]} has moved."
            for seat in agents
        ]
        return " ".join(told)

    def undo(self) -> str:
        if not self.sitting.can_undo:
            return "There is nothing to take back yet."
        steps = self.viewer.undo()
        return f"Took back {_steps(steps)}." if steps else "Took back a choice that was not played yet."

    def switch(self) -> str:
        """Everybody moves on to the next seat."""
        if self.sitting.over:
            return "The game is over."
        others = self.sitting.occupants
        self.sitting.seat_down([*others[-1:], *others[:-1]])
        self.viewer.unveiled = None
        seats = ", ".join(f"seat {seat} is {name}" for seat, name in enumerate(self.sitting.names))
        return f"Seats changed: {seats}."

    def hint(self) -> str:
        seat = self._turn()
        action, analysis = self.sitting.hint(seat)
        self.hinted = (self.sitting.steps, action, analysis)
        move = self.sitting.game.action_name(self.sitting.table.states, 0, seat, action)
        adviser = self.sitting.adviser
        return f"{'An agent' if adviser is None else self.sitting.names[adviser]} would play {move} in your place."

    # ---- what there is to see

    def look(self, width: int, status: str = "", *, analysis: bool = False) -> Look:
        """The position; analysis in lines of `width` characters."""
        sitting = self.sitting
        game, table, names = sitting.game, sitting.table, sitting.names
        eyes, curtain = self.viewer.eyes, self.viewer.curtain
        if curtain is not None:
            who = names[curtain]
            return Look(f"{sitting.spec.name}   {who} is next", curtain=f"Pass the screen to {who}, then press Enter.")
        turn = next((seat for seat in sitting.waiting if seat == eyes), None)
        scene = scene_of(game, table.states, 0, eyes)
        reader = eyes if eyes >= 0 else next(iter(sitting.acting), 0)
        hinted = self.hinted if turn is not None and self.hinted and self.hinted[0] == sitting.steps else None
        thought = self.viewer.thoughts.get(sitting.steps) if analysis else None
        if hinted is not None and turn is not None and hinted[2] is not None:
            thought = Thought(turn, hinted[2], float(table.returns[0, turn]))
        lines = [] if thought is None else explain(thought.analysis, table, thought.seat, names[thought.seat], width)
        return Look(
            title=f"{sitting.spec.name}   {self._title(status, turn)}",
            scene=scene,
            text=game.text(table.states, 0, reader),
            moves=() if turn is None else tuple(zip(sitting.legal(turn), sitting.move_names(turn), strict=True)),
            history=tuple(self._told(step) for step in sitting.line),
            last=tuple(place.mark for place in self.viewer.last),
            hint=() if hinted is None or scene is None else scene.moves.get(hinted[1], ()),
            shares=_shares(thought, scene, table),
            analysis=(*lines, *(self._course(width) if analysis else ())),
            over=sitting.over,
        )

    def result(self) -> str:
        """How the game ended; empty while it goes on."""
        sitting = self.sitting
        if sitting.failure is not None:
            return f"The game broke after {_steps(sitting.steps)} and has no result: {sitting.failure}"
        if not sitting.over:
            return ""
        told = in_words(
            sitting.spec, sitting.table.returns[0], sitting.names, sitting.people, truncated=sitting.truncated
        )
        cut = [f"The game was cut after {_steps(sitting.steps)}."] if sitting.truncated else []
        return " ".join([*cut, *told])

    def _turn(self) -> int:
        waiting = self.sitting.waiting
        if not waiting:
            raise GameError("The game is over." if self.sitting.over else "It is not your turn.")
        return waiting[0]

    def _title(self, status: str, turn: int | None) -> str:
        sitting = self.sitting
        acting = [] if sitting.over else sitting.acting
        seats = "  ".join(f"{'▸' if seat in acting else ' '}{name}" for seat, name in enumerate(sitting.names))
        if sitting.over:
            state = "over"
        elif status or turn is None:
            state = status or ("" if sitting.people else "you watch")
        else:
            state = "your move" if len(sitting.people) == 1 else f"{sitting.names[turn]} to move"
        earned = sitting.table.returns[0]
        score = f"   returns {' '.join(f'{value:g}' for value in earned)}" if earned.any() else ""
        return f"{seats}   {state}{score}"

    def _told(self, step: Step) -> str:
        return " / ".join(self.viewer.told(step).values())

    def _course(self, width: int) -> list[str]:
        """The values of the game so far in one line, from one side."""
        sitting, side = self.sitting, max(self.viewer.eyes, 0)
        return bars(sitting.spec, self.viewer.thoughts, side, sitting.names[side], width)


class Positions(Protocol):
    """A stored game, as `arena.replay.Replay` is one."""

    @property
    def names(self) -> Sequence[str]:
        """[P] what each seat is called."""
        ...

    def table(self, step: int) -> Table:
        """The game after `step` steps."""
        ...

    @property
    def moves(self) -> NDArray[np.int16]:
        """What was played, [steps, S]."""
        ...

    def moves_in_words(self) -> Sequence[str]:
        """The same in words."""
        ...


def position(stored: Positions, step: int, thoughts: Mapping[int, Thought], width: int) -> Look:
    """A stored game after `step` steps, with what is thought of it and was of the positions before."""
    last: list[Place] = []
    if step:  # first, for there is one table, which goes from step to step
        last = ways_at(stored.table(step - 1), stored.moves[step - 1], EVERYTHING)
    table, moves, names = stored.table(step), tuple(stored.moves_in_words()), stored.names
    game, spec, acting, thought = table.game, table.game.spec, acting_seats(table), thoughts.get(step)
    scene = scene_of(game, table.states, 0, EVERYTHING)
    seats = "  ".join(f"{'▸' if seat in acting else ' '}{name}" for seat, name in enumerate(names))
    lines = [] if thought is None else explain(thought.analysis, table, thought.seat, names[thought.seat], width)
    so_far = {number: each for number, each in thoughts.items() if number <= step}
    return Look(
        title=f"{spec.name}   {seats}   step {step} of {len(moves)}",
        scene=scene,
        text=game.text(table.states, 0, acting[0] if acting else 0),
        history=moves,
        at=step,
        last=tuple(place.mark for place in last),
        shares=_shares(thought, scene, table),
        analysis=(*lines, *bars(spec, so_far, 0, names[0], width)),
    )


def bars(spec: GameSpec, thoughts: Mapping[int, Thought], side: int, who: str, width: int) -> list[str]:
    """One line of bars for the values of a game so far; nothing where there are fewer than two."""
    values = [value for _, value in course(spec, thoughts, side)]
    if len(values) < 2:
        return []
    low, high = spec.bounds if np.isfinite(spec.bounds).all() else (min(values), max(values))
    title = f"Value for {who}: "
    return [title + sparkline(values, low, high, max(width - len(title), 8))]


def _shares(thought: Thought | None, shown: Scene | None, table: Table) -> dict[Way, float]:
    """How likely each way on the board that is `shown` is gone."""
    if thought is None or shown is None:
        return {}
    moves = lent(shown, scene_of(table.game, table.states, 0, thought.seat)).moves
    shares: dict[Way, float] = {}
    for action, share in thought.shares().items():
        if action in moves:
            shares[moves[action]] = shares.get(moves[action], 0.0) + share
    return shares


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"
