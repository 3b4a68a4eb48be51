"""Through whose eyes a sitting is seen on one screen, and where on the board its moves were made.

A person sees what their seat may see. Where several share a screen and must not see each other's, a curtain is drawn
before each turn until that person says that they are there. Who only watches sees everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arena.match import Table
from arena.sitting import Sitting, Step, Thought, acting_seats
from games.scene import EVERYTHING, Place, Scene, scene_of

PACE = 0.7
"""Seconds between two steps of a game that plays by itself."""

UNTOLD = "…"
"""In place of a move that may not be told yet."""


class Viewer:
    """One screen of one sitting. Like the sitting, it takes one call at a time; steps are to be played through it."""

    def __init__(self, sitting: Sitting) -> None:
        self.sitting = sitting
        self.eyes = EVERYTHING  # the seat whose view is shown
        self.curtain: int | None = None  # the person who must come to the screen first
        self.unveiled: int | None = None  # who came last
        self._ways: list[Mapping[int, Mapping[int, Sequence[Place]]]] = [{} for _ in sitting.line]
        """Per step: eyes -> seat -> the way of its move. Boards are turned towards those who look at them."""

    def settle(self) -> None:
        """See whose eyes look at the position that is there now."""
        sitting, people = self.sitting, self.sitting.people
        self.curtain = None
        if len(people) < 2:
            self.eyes = people[0] if people else EVERYTHING
            return
        turn = next(iter(sitting.waiting), None)
        if turn is not None and self._secret and turn != self.unveiled:
            self.curtain = turn
        elif turn is not None or self.eyes not in people:
            self.eyes = people[0] if turn is None else turn

    def unveil(self) -> None:
        """The person whom the curtain waits for is there."""
        self.unveiled, self.curtain = self.curtain, None
        self.settle()

    def advance(self) -> Step | None:
        """As `Sitting.advance`; where on the board the moves were made is remembered, as it was before them.

        Of moves made at once, each is remembered for who made it: to others its places may mean something else.
        """
        game, table, together = self.sitting.game, self.sitting.table, self.sitting.spec.simultaneous
        views: dict[int, Scene | None] = {seat: scene_of(game, table.states, 0, seat) for seat in self.sitting.acting}
        if not together and any(scene is not None and scene.moves for scene in views.values()):
            others = [eyes for eyes in (EVERYTHING, *range(self.sitting.spec.seats)) if eyes not in views]
            views |= {eyes: scene_of(game, table.states, 0, eyes) for eyes in others}
        step = self.sitting.advance()
        if step is not None:
            self._ways.append(
                {
                    eyes: {
                        seat: _way(views[seat], action, scene)
                        for seat, action in step.actions.items()
                        if seat == eyes or not together
                    }
                    for eyes, scene in views.items()
                }
            )
        return step

    def undo(self) -> int:
        """As `Sitting.undo`."""
        steps = self.sitting.undo()
        del self._ways[self.sitting.steps :]
        return steps

    def open(self, seat: int) -> bool:
        """Whether what is played and thought on `seat` may be seen by who looks now."""
        return self.sitting.may_tell(seat) or (seat == self.eyes and self.curtain is None)

    def told(self, step: Step) -> dict[int, str]:
        """Each seat's move by name, as far as who looks now may know it."""
        return {seat: move if self.open(seat) else UNTOLD for seat, move in step.names.items()}

    def look(self) -> tuple[Scene | None, str]:
        """The board for the eyes that look now; in words where it cannot be drawn.

        Where only others act, it has the moves of the first of them, if they may be told.
        """
        sitting = self.sitting
        states, acting = sitting.table.states, [] if sitting.over else sitting.acting
        scene = scene_of(sitting.game, states, 0, self.eyes)
        if scene is None:
            return None, sitting.game.text(states, 0, max(self.eyes, 0))
        if scene.places and acting and self.eyes not in acting and self.open(acting[0]):
            scene = lent(scene, scene_of(sitting.game, states, 0, acting[0]))
        return scene, ""

    @property
    def thoughts(self) -> dict[int, Thought]:
        """What was thought, by how many steps had been played, as far as who looks now may know it."""
        return {step: thought for step, thought in self.sitting.thoughts.items() if self.open(thought.seat)}

    @property
    def last(self) -> list[Place]:
        """Where the last step's moves were made, as far as who looks now may know it."""
        ways = self._ways[-1].get(self.eyes, {}) if self._ways else {}
        return [place for seat, way in ways.items() if self.open(seat) for place in way]

    @property
    def _secret(self) -> bool:
        """Whether people must not see each other's screens."""
        spec = self.sitting.spec
        return len(self.sitting.people) > 1 and (spec.simultaneous or not spec.perfect_information)


def lent(scene: Scene, mover: Scene | None) -> Scene:
    """`scene` with the moves of `mover`, the same position as another sees it: what both call the same is the same."""
    if mover is None:
        return scene
    index = {place.name: at for at, place in enumerate(scene.places)}
    ways = {action: [mover.places[at].name for at in way] for action, way in mover.moves.items()}
    moves = {action: tuple(index[name] for name in way) for action, way in ways.items() if index.keys() >= set(way)}
    return replace(scene, moves=moves)


def ways_at(table: Table, moves: NDArray[np.int16], eyes: int) -> list[Place]:
    """Where the step `moves` [S] is made, on the board that `eyes` see in the first game of `table`, before it.

    Of moves that are made at once, only one's own: to others its places may mean something else.
    """
    game, together = table.game, table.game.spec.simultaneous
    seen = scene_of(game, table.states, 0, eyes)
    found: list[Place] = []
    for seat in acting_seats(table):
        if seat == eyes or not together:
            found += _way(scene_of(game, table.states, 0, seat), int(moves[seat if together else 0]), seen)
    return found


def _way(mover: Scene | None, action: int, seen: Scene | None) -> list[Place]:
    if mover is None or seen is None:
        return []
    places = {place.name: place for place in seen.places}
    names = [mover.places[at].name for at in mover.moves.get(action, ())]
    return [places[name] for name in names] if places.keys() >= set(names) else []
