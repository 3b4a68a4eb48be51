"""Level-based foraging (Albrecht and Ramamoorthy 2013, arXiv:1506.01170; Papoudakis et al. 2021, arXiv:2006.07869).

Players and food have levels. Players walk in a square field and lift a food together: those who load beside it must
have its level between them. This is `ForagingEnv` of lbforaging 2.0 as its -v3 names set it, step for step:
`foraging?size=8&players=2&food=2&coop=true` is Foraging-8x8-2p-2f-coop-v3, and `sight=2` adds its `-2s`. Two things
differ: a game that runs out of steps is truncated rather than done, and a start does not depend on the game before it
(there, players are kept off cells where those not yet placed stood last).

A batch is one structured array; the kernels in `games.foraging_kernels` do the work, and are loaded at the first start.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.boards import lined
from games.core import Decisions, GameError, GameSpec, Keys, Outcome, Rows
from games.keys import NATURE, mix
from games.scene import EVERYTHING, Box, Disc, Label, Scene, Shape, grid, seat_colour

ACTIONS = ("none", "north", "south", "west", "east", "load")


@dataclass(frozen=True, slots=True)
class Settings:
    """What kind of game it is. Raises GameError where something is not as it must be, or has no room in the field."""

    size: int = 8  # cells along each side
    players: int = 2
    food: int = 2  # at the start
    coop: bool = False  # all food takes the three weakest players together, or both of two
    sight: int | None = None  # how many cells a player sees each way; None for all
    longest: int = 50  # steps

    def __post_init__(self) -> None:
        for what, least in (("size", 3), ("players", 1), ("food", 1), ("longest", 1), ("sight", 1)):
            value = getattr(self, what)
            if (type(value) is not int or value < least) and not (what == "sight" and value is None):
                raise GameError(f"foraging: {what} must be a whole number of at least {least}, not {value!r}.")
        if type(self.coop) is not bool:
            raise GameError(f"foraging: coop must be true or false, not {self.coop!r}.")
        # Food lies off the edge and three steps apart: one to five inner cells, as tight as it packs in a large field.
        # With half the field free, players find a cell of their own at once.
        for what, most in (("food", -(-((self.size - 2) ** 2) // 5)), ("players", self.size**2 // 2)):
            if getattr(self, what) > most:
                raise GameError(
                    f"foraging: {what} must be at most {most} in a field of size {self.size}, not"
                    f" {getattr(self, what)}; take a larger size."
                )

    @property
    def name(self) -> str:
        """The reference that makes this game: what is not the default, in the order above."""
        told = [(each.name, getattr(self, each.name)) for each in fields(self)]
        changed = [f"{key}={str(value).lower()}" for key, value in told if value != getattr(_DEFAULTS, key)]
        return "foraging" + ("?" + "&".join(changed) if changed else "")


_DEFAULTS = Settings()


class Foraging:
    """All seats act at once; each is paid its part of the food it helped to lift, all food of a game being worth 1.

    An observation is a (row, column, level) of each food, row by row, then of each player, itself first; (-1, -1, 0)
    stands for what is eaten or not seen. With `sight` they count from the corner of what is seen. Every action may be
    played, as those who publish results on this game have it: one that cannot be done is `none`.
    """

    def __init__(self, **settings: Any) -> None:
        """`settings` are those of `Settings`."""
        chosen = self.settings = Settings(**settings)
        size, players, food = chosen.size, chosen.players, chosen.food
        self.sight = size if chosen.sight is None else min(chosen.sight, size)
        self.spec = GameSpec(
            name=chosen.name,
            seats=players,
            actions=len(ACTIONS),
            observation=(3 * (food + players),),
            longest=chosen.longest,
            teams=(0,) * players,
            simultaneous=True,
            perfect_information=self.sight >= size - 1,
            stochastic=True,  # only the start is drawn
            payoff="general_sum",
            bounds=(0.0, 1.0),
            searchable=True,
        )
        counters = [("spawned", np.int32), ("steps", np.int32), ("over", np.int32)]  # spawned: levels of all food
        things = [("food", np.int32, (food, 3)), ("players", np.int32, (players, 3))]  # row, column, level
        self._state = np.dtype([*counters, *things])

    @cached_property
    def _kernels(self) -> ModuleType:
        from games import foraging_kernels

        return foraging_kernels

    def start(self, keys: Keys) -> NDArray[np.void]:
        states = self.room(len(keys))
        self.restart(states, np.arange(len(keys)), keys)
        return states

    def restart(self, states: NDArray[np.void], rows: Rows, keys: Keys) -> None:
        fresh, field = self.room(len(rows)), self.settings
        self._kernels.start(self._numbers(fresh), field.food, mix(keys, NATURE), field.size, field.coop)
        self.put(states, rows, fresh)

    def decisions(self, states: NDArray[np.void], out: Decisions | None = None) -> Decisions:
        if out is None:
            out = Decisions.empty(self.spec, len(states))
        going = states["over"] == 0
        out.seat[:] = np.arange(self.spec.seats)
        out.active[:] = going[:, None]
        out.legal[:] = going[:, None, None]
        if not out.blind:
            self._kernels.observe_all(self._numbers(states), self.settings.food, self.sight, out.observation)
        return out

    def observe(self, states: NDArray[np.void], rows: Rows, seats: Rows, out: NDArray[np.float32]) -> None:
        self._kernels.observe(self._numbers(states), self.settings.food, self.sight, rows, seats, out)

    def step(self, states: NDArray[np.void], actions: NDArray[np.int64], keys: Keys) -> Outcome:
        """As `Game.step`. An action that there is not, or one missing beside others, voids its game."""
        outcome = Outcome.empty(self.spec, len(states))
        illegal = np.zeros(len(states), np.bool_)
        self._kernels.step(
            self._numbers(states),
            self.settings.food,
            actions,
            self.settings.size,
            self.spec.longest,
            outcome.reward,
            outcome.terminated,
            outcome.truncated,
            illegal,
        )
        for row in np.flatnonzero(illegal).tolist():
            states["over"][row] = 1
            outcome.failed[row] = (
                f"{self.spec.name}: of the actions {actions[row].tolist()} not all are from 0 to {len(ACTIONS) - 1}."
            )
        return outcome

    def copy(self, states: NDArray[np.void], rows: Rows) -> NDArray[np.void]:
        copies = self.room(len(rows))
        np.take(self._numbers(states), rows, axis=0, out=self._numbers(copies))
        return copies

    def room(self, count: int) -> NDArray[np.void]:
        return np.zeros(count, self._state)

    def put(self, states: NDArray[np.void], rows: Rows, other: NDArray[np.void]) -> None:
        self._numbers(states)[rows] = self._numbers(other)

    def text(self, states: NDArray[np.void], row: int, seat: int) -> str:
        """What `seat` observes: food as its level, itself as @, the others it sees as a, b, … in their order."""
        things, side = self._seen(states, row, seat)
        count = len(things) - self.spec.seats
        cells = [["."] * side for _ in range(side)]
        for y, x, level in things[:count]:
            if level:
                cells[y][x] = str(level)
        players = [(_mark(i), y, x, level) for i, (y, x, level) in enumerate(things[count:]) if level]
        for mark, y, x, _ in reversed(players):  # where two share a cell, the first is drawn
            cells[y][x] = mark
        levels = ", ".join(f"{mark} level {level}" for mark, _, _, level in players)
        return "\n".join([" ".join(line) for line in cells] + [levels])

    def scene(self, states: NDArray[np.void], row: int, seat: int) -> Scene:
        """Food as boxes and players as discs, with their levels on them; one walks by clicking on a cell beside."""
        if seat == EVERYTHING:
            things = self._numbers(states)[row, 1:].tolist()
            side, order = self.settings.size, list(range(self.spec.seats))
        else:
            things, side = self._seen(states, row, seat)
            order = [seat, *(other for other in range(self.spec.seats) if other != seat)]
        count = len(things) - self.spec.seats
        shapes: list[Shape] = list(lined(side, side))
        for y, x, level in things[:count]:
            if level:
                shapes += [
                    Box(x + 0.2, y + 0.2, 0.6, 0.6, "dark", 0.15),
                    Label(x + 0.5, y + 0.5, str(level), 0.4, "white"),
                ]
        for player, (y, x, level) in zip(order, things[count:], strict=True):
            if level:
                edge = "ink" if player == seat else ""
                shapes.append(Disc(x + 0.5, y + 0.5, 0.42, seat_colour(player), edge))
                shapes.append(Label(x + 0.5, y + 0.5, str(level), 0.42, "black"))
        places = grid(side, side, [f"{y},{x}" for y in range(side) for x in range(side)])
        moves = {}
        if seat != EVERYTHING and not states["over"][row]:
            y, x, _ = things[count]
            for action, (down, right) in enumerate(((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))):
                if 0 <= y + down < side and 0 <= x + right < side:
                    moves[action] = ((y + down) * side + x + right,)
        return Scene(side, side, tuple(shapes), places, moves)

    def action_name(self, states: NDArray[np.void], row: int, seat: int, action: int) -> str:
        return ACTIONS[action]

    def _seen(self, states: NDArray[np.void], row: int, seat: int) -> tuple[list[list[int]], int]:
        """What `seat` observes as (row, column, level) of all food, then of all players; and how wide it sees."""
        seen = np.zeros((1, *self.spec.observation), np.float32)
        self.observe(states, np.array([row]), np.array([seat]), seen)
        things: list[list[int]] = seen.astype(int).reshape(-1, 3).tolist()
        return things, min(self.settings.size, 2 * self.sight + 1)

    def _numbers(self, states: NDArray[np.void]) -> NDArray[np.int32]:
        """The states as kernels take them, and as NumPy copies them far faster: counters, food, players, in threes."""
        return states.view(np.int32).reshape(len(states), 1 + self.settings.food + self.settings.players, 3)


def _mark(place: int) -> str:
    return "@" if place == 0 else chr(ord("a") + (place - 1) % 26)
