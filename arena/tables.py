"""Tables that outlive the screens which show them: a page that is loaded again comes back to its game."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from arena.people import Recorded
from arena.seating import Keep
from arena.sitting import Sitting
from arena.viewer import Viewer

Chosen = tuple[str, dict[str, Any]]
"""Who is to sit on a seat: a player's reference, nothing for a person; and its settings."""


@dataclass(slots=True)
class Laid:
    """A table that outlives the screens which show it; those that show it at once take turns."""

    chosen: list[Chosen]  # [P] who sits where
    person: str  # what the person is called on the ladder
    seed: int | None  # of the game that is on; before the first, None for one that is drawn
    viewer: Viewer | None = None
    recorded: Recorded | None = None  # what became of the game
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # a sitting takes one call at a time

    def begin(self, sitting: Sitting, seed: int) -> None:
        """`sitting`, drawn from `seed`, is played here now."""
        self.viewer, self.seed, self.recorded = Viewer(sitting), seed, None

    def play_on(self, steps: int) -> None:
        """One step from where `steps` were played, unless another screen has played it."""
        sitting = None if self.viewer is None else self.viewer.sitting
        if self.viewer and sitting and sitting.steps == steps and not (sitting.over or sitting.waiting):
            self.viewer.advance()

    def undo(self) -> None:
        """As `Sitting.undo`; what goes on from there is another game."""
        if self.viewer is not None:
            self.viewer.undo()
            self.recorded = None

    def record(self, keep: Keep) -> Recorded | None:
        """The game is over: put it where it belongs, once."""
        if self.recorded is None and self.viewer is not None and self.seed is not None:
            self.recorded = keep(self.viewer.sitting, self.seed)
        return self.recorded


class Tables:
    """Tables by ids that nobody can guess: who has one sees what its people see. Only the latest are kept."""

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._laid: OrderedDict[str, Laid] = OrderedDict()

    def find(self, key: str) -> Laid | None:
        return self._laid.get(key)

    def keep(self, laid: Laid, key: str = "") -> str:
        """Something happens at `laid`: it is the latest, under `key` or one that is drawn for it."""
        key = key or secrets.token_urlsafe(12)
        self._laid[key] = laid
        self._laid.move_to_end(key)
        while len(self._laid) > self._most:
            self._laid.popitem(last=False)
        return key
