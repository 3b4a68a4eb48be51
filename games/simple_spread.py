"""Simple Spread, a batch at a time: agents that push each other share out landmarks.

It is the cooperative navigation of Lowe et al. 2017 (arXiv:1706.02275), step for step and bit for bit that of MPE2,
`simple_spread_v3` with discrete actions. Two things differ: starts come from keys, and agents in the very same place
do not push each other, where MPE2 gives NaN. A batch is one structured array; the kernels in
`games.simple_spread_kernels` do the work. They are loaded when a game is made, so that reading `SimpleSpread.spec`
costs nothing.
"""

from __future__ import annotations

import math
import string
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from games.core import Decisions, GameError, GameSpec, Keys, Outcome, Rows
from games.scene import Box, Disc, Label, Line, Scene, Shape, seat_colour

MOVES = ("no_action", "left", "right", "down", "up")
TOUCH = 0.15 + 0.15  # agents nearer than this, their two radii, collide
COVERED = 0.1  # an agent nearer than this covers a landmark; nothing but `text` asks

_MAP = 41, 21  # columns and rows of the map in `text`; a character is about twice as high as wide


def state_type(agents: int) -> np.dtype[np.void]:
    """One game: where agents and landmarks are, and how agents move, [P, 2] each; steps made, whether it has ended."""
    places = (np.float64, (agents, 2))
    fields = [("position", *places), ("velocity", *places), ("landmark", *places), ("steps", np.int64)]
    return np.dtype([*fields, ("over", np.bool_)], align=True)


class SimpleSpread:
    """`agents` seats move at once, as many landmarks stand still. All are paid for how near each landmark has an agent.

    An observation is my velocity and place, every landmark's and then every other agent's place seen from mine, and
    what the others say, which is nothing: [6 P]. The global state is all of them. `local_ratio` is the share of the
    reward that is a seat's own: -1 for each agent it touches.
    """

    spec = GameSpec(
        name="simple_spread",
        seats=3,
        actions=len(MOVES),
        observation=(18,),
        longest=25,
        global_state=(54,),
        teams=(0, 0, 0),
        simultaneous=True,
        perfect_information=False,  # nobody sees how fast the others are
        stochastic=True,  # the start is drawn; steps have no luck
        payoff="general_sum",
        bounds=(-math.inf, math.inf),
        searchable=True,
    )

    def __init__(self, agents: int = 3, local_ratio: float = 0.5, longest: int = 25) -> None:
        for value, what in ((agents, "agents"), (longest, "longest")):
            if not isinstance(value, int) or value < 1:
                raise GameError(f"simple_spread: {what} must be a whole number from 1 up, not {value!r}.")
        if not isinstance(local_ratio, int | float) or not 0 <= local_ratio <= 1:
            raise GameError(f"simple_spread: local_ratio must be a number from 0 to 1, not {local_ratio!r}.")
        from games import simple_spread_kernels

        self._kernels = simple_spread_kernels
        self._type = state_type(agents)
        self._local = float(local_ratio)
        told = {"agents": (agents, 3), "local_ratio": (local_ratio, 0.5), "longest": (longest, 25)}
        changed = "&".join(f"{what}={value}" for what, (value, usual) in told.items() if value != usual)
        self.spec = replace(
            type(self).spec,
            name="simple_spread" + ("?" + changed if changed else ""),
            seats=agents,
            observation=(6 * agents,),
            longest=longest,
            global_state=(6 * agents * agents,),
            teams=(0,) * agents,
        )

    def start(self, keys: Keys) -> NDArray[np.void]:
        states = np.empty(len(keys), self._type)
        self._kernels.restart(states, np.arange(len(keys)), keys)
        return states

    def restart(self, states: NDArray[np.void], rows: Rows, keys: Keys) -> None:
        self._kernels.restart(states, rows, keys)

    def decisions(self, states: NDArray[np.void], out: Decisions | None = None) -> Decisions:
        if out is None:
            out = Decisions.empty(self.spec, len(states))
        self._kernels.decisions(states, out.observation, out.legal, out.seat, out.active, out.blind)
        if out.global_state is not None and not out.blind:
            out.global_state[:] = out.observation.reshape(len(states), -1)
        return out

    def observe(self, states: NDArray[np.void], rows: Rows, seats: Rows, out: NDArray[np.float32]) -> None:
        self._kernels.observe(states, rows, seats, out)

    def step(self, states: NDArray[np.void], actions: NDArray[np.int64], keys: Keys) -> Outcome:
        """As `Game.step`. An action that there is not, or none from some of the seats, voids a game."""
        outcome = Outcome.empty(self.spec, len(states))
        illegal = np.zeros(len(states), np.bool_)
        self._kernels.step(states, actions, self._local, self.spec.longest, outcome.reward, outcome.truncated, illegal)
        for row in np.flatnonzero(illegal).tolist():
            states["over"][row] = True
            chosen = actions[row].tolist()
            outcome.failed[row] = f"simple_spread: of every seat an action from 0 to 4 is expected, not {chosen}."
        return outcome

    def copy(self, states: NDArray[np.void], rows: Rows) -> NDArray[np.void]:
        return states.take(rows)  # several times faster than indexing a structured array

    def room(self, count: int) -> NDArray[np.void]:
        return np.zeros(count, self._type)

    def put(self, states: NDArray[np.void], rows: Rows, other: NDArray[np.void]) -> None:
        states.put(rows, other)

    def text(self, states: NDArray[np.void], row: int, seat: int) -> str:
        """A map, agents as digits and landmarks as letters, then where everybody is and who is near each landmark."""
        state = states[row]
        position, landmark = state["position"], state["landmark"]
        lines = [f"step {state['steps']} of {self.spec.longest}", *_map(position, landmark)]
        for agent, place in enumerate(position):
            mine = f", moving {_pair(state['velocity'][agent])} (you)" if agent == seat else ""
            near = np.flatnonzero(np.linalg.norm(position - place, axis=1) < TOUCH)
            touched = "".join(f", touching seat {other}" for other in near.tolist() if other != agent)
            lines.append(f"seat {agent} at {_pair(place)}{mine}{touched}")
        for letter, place in zip(_letters(len(landmark)), landmark, strict=True):
            away = np.linalg.norm(position - place, axis=1)
            nearest = int(away.argmin())
            how = "covered by" if away[nearest] < COVERED else f"{away[nearest]:.2f} from"
            lines.append(f"landmark {letter} at {_pair(place)}, {how} seat {nearest}")
        return "\n".join(lines)

    def scene(self, states: NDArray[np.void], row: int, seat: int) -> Scene:
        """The square from -1 to 1, or more where an agent has left it; where `seat` is heading, as it sees of nobody
        else."""
        state = states[row]
        position = state["position"]
        half = 4.0
        scale = half / max(1.15, float(np.abs(position).max()) + 0.15)
        shapes: list[Shape] = [Box(0, 0, 2 * half, 2 * half, "board", 0.2)]
        for letter, (x, y) in zip(_letters(self.spec.seats), state["landmark"].tolist(), strict=True):
            x, y = half + scale * x, half - scale * y
            shapes += [Disc(x, y, COVERED * scale, "faint"), Label(x, y, letter, 0.3, "paper")]
        for agent, (x, y) in enumerate(position.tolist()):
            x, y = half + scale * x, half - scale * y
            if agent == seat:
                right, up = (scale * state["velocity"][agent]).tolist()
                shapes.append(Line(x, y, x + right, y - up, "ink", 0.08))
            shapes.append(Disc(x, y, TOUCH / 2 * scale, seat_colour(agent), "ink" if agent == seat else ""))
            shapes.append(Label(x, y, str(agent), 0.4, "black"))
        return Scene(2 * half, 2 * half, tuple(shapes))

    def action_name(self, states: NDArray[np.void], row: int, seat: int, action: int) -> str:
        return MOVES[action]


def _map(position: NDArray[np.float64], landmark: NDArray[np.float64]) -> list[str]:
    """The square from -1 to 1, or more where an agent has left it: up is positive, agents hide landmarks."""
    columns, rows = _MAP
    reach = max(1.0, float(np.abs(position).max()))
    grid = [[" "] * columns for _ in range(rows)]
    marks = [*_letters(len(landmark)), *(str(seat % 10) for seat in range(len(position)))]
    for mark, (x, y) in zip(marks, np.concatenate([landmark, position]) / reach, strict=True):
        grid[round((1 - y) / 2 * (rows - 1))][round((1 + x) / 2 * (columns - 1))] = mark
    edge = "+" + "-" * columns + "+"
    return [edge, *("|" + "".join(line) + "|" for line in grid), edge]


def _letters(count: int) -> list[str]:
    return [string.ascii_lowercase[number % 26] for number in range(count)]


def _pair(values: NDArray[np.float64]) -> str:
    return f"({values[0]:+.2f}, {values[1]:+.2f})"
