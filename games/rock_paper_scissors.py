"""Rock, paper, scissors: the smallest simultaneous game, a few rounds long so that habits can be seen and punished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from games.boards import Table, table_scene
from games.core import GameSpec
from games.lift import Lifted
from games.scene import Scene

NAMES = ("rock", "paper", "scissors")
TABLE = Table(NAMES, NAMES, (("0, 0", "-1, 1", "1, -1"), ("1, -1", "0, 0", "-1, 1"), ("-1, 1", "1, -1", "0, 0")))


class RockPaperScissors:
    """Both seats choose at once. An observation shows the last round: my choice, then the other's, one-hot."""

    spec = GameSpec(
        name="rock_paper_scissors",
        seats=2,
        actions=3,
        observation=(6,),
        longest=1,
        simultaneous=True,
        perfect_information=False,
        searchable=True,
    )

    def __init__(self, rng: np.random.Generator, rounds: int = 1) -> None:
        self.left = rounds
        self.last: tuple[int, int] | None = None

    @property
    def over(self) -> bool:
        return self.left == 0

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (0, 1)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 2)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        if self.last is not None:
            out[self.last[seat]] = 1
            out[3 + self.last[1 - seat]] = 1

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        mine, theirs = actions
        self.last = (mine, theirs)
        self.left -= 1
        winner = (0, 1, -1)[(mine - theirs) % 3]
        return (winner, -winner)

    def copy(self) -> RockPaperScissors:
        twin = object.__new__(RockPaperScissors)
        twin.left, twin.last = self.left, self.last
        return twin

    def text(self, seat: int) -> str:
        if self.last is None:
            return "No round has been played."
        return f"Last round: you {NAMES[self.last[seat]]}, the other {NAMES[self.last[1 - seat]]}."

    def scene(self, seat: int) -> Scene:
        return table_scene(TABLE, self.last, seat, seat in self.seats)

    def action_name(self, seat: int, action: int) -> str:
        return NAMES[action]


def rock_paper_scissors(rounds: int = 1) -> Lifted:
    """`rounds` rounds of one point each."""
    spec = replace(RockPaperScissors.spec, longest=rounds, bounds=(-float(rounds), float(rounds)))
    return Lifted(spec, lambda rng: RockPaperScissors(rng, rounds))
