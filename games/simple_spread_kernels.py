"""The moving parts of Simple Spread, compiled: MPE2's physics in its order of operations, so every bit is the same.

Formulas are those of MPE2's `_mpe_utils/core.py` (World) and `simple_spread/simple_spread.py` (Scenario): forces from
where agents are, then places from the old velocities, then velocities, then rewards from the new places. All masses
are 1 and left out. There are P seats, as many agents and landmarks: places, velocities and forces are [P, 2].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.kernels import kernel, mix_one
from games.keys import NATURE
from games.simple_spread import MOVES, TOUCH

_NATURE = np.uint64(NATURE)

_STEP = 0.1  # seconds
_DAMPING = 0.25  # of the velocity, in a step
_PUSH = 5.0  # force of a move
_CONTACT_FORCE, _CONTACT_MARGIN = 1e2, 1e-3

_ACTIONS = len(MOVES)
_NO_FORCE = -746.0  # exp of this and below is 0


@kernel
def _draw(key: np.uint64, place: NDArray[np.float64], first: int) -> None:
    """Points of the square from -1 to 1 into place [P, 2]: the key's numbers from `first` on, one a coordinate."""
    for i in range(len(place)):
        for axis in range(2):
            drawn = mix_one(key, np.uint64(first + 2 * i + axis))
            place[i, axis] = -1.0 + 2.0 * (float(drawn >> np.uint64(11)) * 2.0**-53)


@kernel
def restart(states: NDArray[np.void], rows: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
    """`Game.restart`: new games from `keys` [n] in `rows` [n]."""
    for i in range(len(rows)):
        state = states[rows[i]]
        key = mix_one(keys[i], _NATURE)
        _draw(key, state.position, 0)
        _draw(key, state.landmark, 2 * len(state.position))
        state.velocity[:] = 0.0
        state.steps = 0
        state.over = False


@kernel
def _see(state: Any, seat: int, out: NDArray[np.float32]) -> None:
    """Write what `seat` sees into out [6 P]."""
    position, landmark = state.position, state.landmark
    seats = len(position)
    x, y = position[seat, 0], position[seat, 1]
    out[0], out[1] = state.velocity[seat, 0], state.velocity[seat, 1]
    out[2], out[3] = x, y
    at = 4
    for i in range(seats):
        out[at], out[at + 1] = landmark[i, 0] - x, landmark[i, 1] - y
        at += 2
    for i in range(seats):
        if i != seat:
            out[at], out[at + 1] = position[i, 0] - x, position[i, 1] - y
            at += 2
    out[at:] = 0.0  # what silent agents say


@kernel
def decisions(
    states: NDArray[np.void],
    observation: NDArray[np.float32],
    legal: NDArray[np.bool_],
    seat: NDArray[np.int16],
    active: NDArray[np.bool_],
    blind: bool,
) -> None:
    """`Game.decisions` into the fields of a `Decisions`, [B, P, ...] each."""
    for b in range(len(states)):
        state = states[b]
        going = not state.over
        for p in range(seat.shape[1]):
            seat[b, p] = p
            active[b, p] = going
            for action in range(_ACTIONS):
                legal[b, p, action] = going
            if not blind:
                _see(state, p, observation[b, p])


@kernel
def observe(
    states: NDArray[np.void], rows: NDArray[np.int64], seats: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """`Game.observe` into out [n, 6 P]."""
    for i in range(len(rows)):
        _see(states[rows[i]], seats[i], out[i])


@kernel
def _push(position: NDArray[np.float64], actions: NDArray[np.int64], force: NDArray[np.float64]) -> None:
    """Into force [P, 2]: what each agent's own move and its contacts push it by."""
    seats = len(position)
    for p in range(seats):
        force[p, 0] = _PUSH * ((actions[p] == 2) - (actions[p] == 1))
        force[p, 1] = _PUSH * ((actions[p] == 4) - (actions[p] == 3))
    for p in range(seats):
        for q in range(p + 1, seats):
            x, y = position[p, 0] - position[q, 0], position[p, 1] - position[q, 1]
            distance = math.sqrt(x * x + y * y)
            depth = -(distance - TOUCH) / _CONTACT_MARGIN
            if depth < _NO_FORCE or distance == 0.0:
                continue
            penetration = _softplus(depth) * _CONTACT_MARGIN
            x, y = _CONTACT_FORCE * x / distance * penetration, _CONTACT_FORCE * y / distance * penetration
            force[p, 0] += x
            force[p, 1] += y
            force[q, 0] -= x
            force[q, 1] -= y


@kernel
def _softplus(value: float) -> float:
    """`np.logaddexp(0, value)`, by NumPy's own formula."""
    if value == 0.0:
        return math.log(2.0)
    return math.log1p(math.exp(value)) if value < 0.0 else value + math.log1p(math.exp(-value))


@kernel
def _move(position: NDArray[np.float64], velocity: NDArray[np.float64], force: NDArray[np.float64]) -> None:
    for p in range(len(position)):
        for axis in range(2):
            position[p, axis] += velocity[p, axis] * _STEP
            velocity[p, axis] = velocity[p, axis] * (1 - _DAMPING) + force[p, axis] * _STEP


@kernel
def _shared(position: NDArray[np.float64], landmark: NDArray[np.float64]) -> float:
    """The reward of all: minus the sum over landmarks of how far the nearest agent is."""
    reward = 0.0
    for i in range(len(landmark)):
        least = math.inf
        for p in range(len(position)):
            x, y = position[p, 0] - landmark[i, 0], position[p, 1] - landmark[i, 1]
            least = min(least, x * x + y * y)
        reward -= math.sqrt(least)  # of the least square: roots are rounded, but keep their order
    return reward


@kernel
def _collisions(position: NDArray[np.float64], seat: int) -> int:
    count = 0
    for p in range(len(position)):
        x, y = position[p, 0] - position[seat, 0], position[p, 1] - position[seat, 1]
        count += p != seat and math.sqrt(x * x + y * y) < TOUCH
    return count


@kernel
def step(
    states: NDArray[np.void],
    actions: NDArray[np.int64],
    local_ratio: float,
    longest: int,
    reward: NDArray[np.float32],
    truncated: NDArray[np.bool_],
    illegal: NDArray[np.bool_],
) -> None:
    """Play actions [B, P] in every game that goes on; games given none (all negative) stay as they are.

    The outputs come in as zeros: reward [B, P], truncated [B], illegal [B] where an action cannot be played (none is).
    """
    force = np.empty((actions.shape[1], 2))
    for b in range(len(states)):
        state = states[b]
        given = legal = 0
        for action in actions[b]:
            given += action >= 0
            legal += 0 <= action < _ACTIONS
        if state.over or given == 0:
            continue
        position = state.position
        if legal < len(position):
            illegal[b] = True
            continue
        _push(position, actions[b], force)
        _move(position, state.velocity, force)
        shared = _shared(position, state.landmark)
        for p in range(len(position)):
            reward[b, p] = shared * (1 - local_ratio) + -_collisions(position, p) * local_ratio
        state.steps += 1
        if state.steps == longest:
            state.over = truncated[b] = True
