"""Through whose eyes a sitting is seen on one screen, and where on the board its moves were made.

A person sees what their seat may see. Where several share a screen and must not see each other's, a curtain is drawn
before each turn until that person says that they are there. Who only watches sees everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena.sitting import Sitting, Step
from games.scene import EVERYTHING, Place, scene_of

UNTOLD = "…"
"""In place of a move that may not be told yet."""


class Viewer:
    """One screen of one sitting. Like the sitting, it takes one call at a time; steps are to be played through it."""

    def __init__(self, sitting: Sitting) -> None:
        self.sitting = sitting
        self.eyes = EVERYTHING  # the seat whose view is shown
        self.curtain: int | None = None  # the person who must come to the screen first
        self.unveiled: int | None = None  # who came last
        self._ways: list[Mapping[int, Sequence[Place]]] = [{} for _ in sitting.line]  # per step: seat -> its way

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
        """As `Sitting.advance`; where on the board the moves were made is remembered, as it was before them."""
        game, table = self.sitting.game, self.sitting.table
        scenes = {seat: scene_of(game, table.states, 0, seat) for seat in self.sitting.acting}
        step = self.sitting.advance()
        if step is not None:
            ways = {}
            for seat, action in step.actions.items():
                scene = scenes[seat]
                ways[seat] = [] if scene is None else [scene.places[at] for at in scene.moves.get(action, ())]
            self._ways.append(ways)
        return step

    def undo(self) -> int:
        """As `Sitting.undo`."""
        steps = self.sitting.undo()
        del self._ways[self.sitting.steps :]
        return steps

    def open(self, seat: int) -> bool:
        """Whether what is played and thought on `seat` may be seen by who looks now."""
        return self.sitting.may_tell(seat) or seat == self.eyes

    def told(self, step: Step) -> dict[int, str]:
        """Each seat's move by name, as far as who looks now may know it."""
        return {seat: move if self.open(seat) else UNTOLD for seat, move in step.names.items()}

    @property
    def last(self) -> list[Place]:
        """Where the last step's moves were made, as far as who looks now may know it."""
        ways = self._ways[-1] if self._ways else {}
        return [place for seat, way in ways.items() if self.open(seat) for place in way]

    @property
    def _secret(self) -> bool:
        """Whether people must not see each other's screens."""
        spec = self.sitting.spec
        return len(self.sitting.people) > 1 and (spec.simultaneous or not spec.perfect_information)
