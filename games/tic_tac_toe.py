"""Tic-tac-toe, written as an author writes a game: copy this file to add your own (see `games.lift`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from games.boards import lined, mark
from games.core import GameSpec
from games.scene import Scene, grid
from games.symmetries import rectangle, relabelling

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class TicTacToe:
    """Seats 0 (x) and 1 (o) take turns. An observation is two planes: my marks, the other's."""

    spec = GameSpec(
        name="tic_tac_toe",
        seats=2,
        actions=9,
        observation=(2, 3, 3),
        longest=9,
        searchable=True,
        symmetries=tuple(relabelling(cells, planes=2, actions=9) for cells in rectangle(3, 3)),
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.cells = [-1] * 9  # the seat that marked each cell, -1 for none
        self.mover = 0
        self.over = False

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else (self.mover,)

    def legal(self, seat: int) -> Sequence[int]:
        return [cell for cell in range(9) if self.cells[cell] < 0]

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        for cell, owner in enumerate(self.cells):
            if owner >= 0:
                out[int(owner != seat), cell // 3, cell % 3] = 1

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        (cell,) = actions
        if self.cells[cell] >= 0:
            raise ValueError(f"cell {cell} is taken")
        mover, self.cells[cell] = self.mover, self.mover
        self.mover = 1 - mover
        if any(all(self.cells[c] == mover for c in line) for line in LINES):
            self.over = True
            return (1, -1) if mover == 0 else (-1, 1)
        self.over = all(owner >= 0 for owner in self.cells)
        return (0, 0)

    def copy(self) -> TicTacToe:
        twin = object.__new__(TicTacToe)
        twin.cells, twin.mover, twin.over = self.cells.copy(), self.mover, self.over
        return twin

    def scene(self, seat: int) -> Scene:
        places = grid(3, 3, "012345678")
        marks = [mark(owner, places[cell]) for cell, owner in enumerate(self.cells) if owner >= 0]
        moves = {cell: (cell,) for cell in self.legal(seat)} if seat in self.seats else {}
        return Scene(3, 3, (*lined(3, 3), *marks), places, moves)

    def text(self, seat: int) -> str:
        marks = ["xo"[owner] if owner >= 0 else str(cell) for cell, owner in enumerate(self.cells)]
        return "\n".join(" ".join(marks[i : i + 3]) for i in (0, 3, 6))
