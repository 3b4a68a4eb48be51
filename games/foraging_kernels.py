"""The moving parts of level-based foraging, compiled.

A batch comes in as whole numbers in threes, [B, 1 + F + P, 3], whatever F and P are, so that one compilation serves
all: of each game its counters (`SPAWNED`, `STEPS`, `OVER`), then the row, column and level of all food and all players.
Food is in the order of its cells, row by row; level 0 is food that was eaten, or found no place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from games.kernels import below, kernel, mix_one

Things = NDArray[np.int32]

SPAWNED, STEPS, OVER = range(3)  # the levels of all food that there was; steps made; whether the game has ended
NORTH, SOUTH, WEST, EAST, LOAD = range(1, 6)
_ATTEMPTS = 1000  # to place the food; then the game has less of it
_LEVELS = 2  # a player's level is 1 or 2
_ZERO = np.uint64(0)


@kernel
def start(states: Things, count: int, keys: NDArray[np.uint64], size: int, coop: bool) -> None:
    """Lay out new games with `count` foods each, in states [B, 1 + F + P, 3] that are zeros."""
    for b in range(len(keys)):
        food, players = states[b, 1 : 1 + count], states[b, 1 + count :]
        ticket = _place_players(players, keys[b], size)
        states[b, 0, SPAWNED] = _place_food(food, players, ticket, size, _lowest_three(players), coop)


@kernel
def _place_players(players: Things, ticket: np.uint64, size: int) -> np.uint64:
    """Players on cells of their own, anywhere. Returns the ticket used last, here as below: each is drawn from one."""
    for p in range(len(players)):
        free = False
        while not free:
            ticket = mix_one(ticket, _ZERO)
            row = below(ticket, size)
            ticket = mix_one(ticket, _ZERO)
            column = below(ticket, size)
            free = not _holds_player(players[:p], row, column)
        ticket = mix_one(ticket, _ZERO)
        players[p, 0], players[p, 1], players[p, 2] = row, column, 1 + below(ticket, _LEVELS)
    return ticket


@kernel
def _place_food(food: Things, players: Things, ticket: np.uint64, size: int, highest: int, coop: bool) -> int:
    """Food off the edge, three steps or more apart, levels up to `highest` or all of it. Returns the sum of levels."""
    placed, total = 0, 0
    for _ in range(_ATTEMPTS):
        if placed == len(food):
            break
        ticket = mix_one(ticket, _ZERO)
        row = 1 + below(ticket, size - 2)
        ticket = mix_one(ticket, _ZERO)
        column = 1 + below(ticket, size - 2)
        if _crowded(food[:placed], row, column) or _holds_player(players, row, column):
            continue
        level = highest
        if not coop:
            ticket = mix_one(ticket, _ZERO)
            level = 1 + below(ticket, highest)
        at = placed
        while at > 0 and (food[at - 1, 0] > row or (food[at - 1, 0] == row and food[at - 1, 1] > column)):
            food[at] = food[at - 1]
            at -= 1
        food[at, 0], food[at, 1], food[at, 2] = row, column, level
        placed += 1
        total += level
    return total


@kernel
def _holds_player(players: Things, row: int, column: int) -> bool:
    for p in range(len(players)):  # noqa: SIM110 (numba has no `any` of a generator)
        if players[p, 0] == row and players[p, 1] == column:
            return True
    return False


@kernel
def _crowded(food: Things, row: int, column: int) -> bool:
    """Whether food lies within two steps: so no cell is ever beside two."""
    for f in range(len(food)):  # noqa: SIM110
        if abs(food[f, 0] - row) + abs(food[f, 1] - column) <= 2:
            return True
    return False


@kernel
def _lowest_three(players: Things) -> int:
    """The sum of the three lowest levels, of all where there are fewer: what no food is above."""
    ones = 0
    for p in range(len(players)):
        ones += players[p, 2] == 1
    counted = min(3, len(players))
    return _LEVELS * counted - min(ones, counted)


@kernel
def _see(food: Things, players: Things, seat: int, sight: int, out: NDArray[np.float32]) -> None:
    """Write what `seat` sees into out [3 * (F + P)]."""
    row, column = players[seat, 0], players[seat, 1]
    top, left = max(0, row - sight), max(0, column - sight)
    out[:] = -1
    at = 0
    for f in range(len(food)):
        near = abs(food[f, 0] - row) <= sight and abs(food[f, 1] - column) <= sight
        if food[f, 2] > 0 and near:
            out[at], out[at + 1], out[at + 2] = food[f, 0] - top, food[f, 1] - left, food[f, 2]
            at += 3
    at = _blank(out, at, 3 * len(food))
    out[at], out[at + 1], out[at + 2] = row - top, column - left, players[seat, 2]
    at += 3
    for p in range(len(players)):
        y, x = players[p, 0] - top, players[p, 1] - left
        # At the northern and western edge a player sees others, not food, further: the original measures from the
        # corner.
        if p != seat and 0 <= y <= 2 * sight and 0 <= x <= 2 * sight:
            out[at], out[at + 1], out[at + 2] = y, x, players[p, 2]
            at += 3
    _blank(out, at, len(out))


@kernel
def _blank(out: NDArray[np.float32], begin: int, end: int) -> int:
    for at in range(begin, end, 3):
        out[at], out[at + 1], out[at + 2] = -1, -1, 0
    return end


@kernel
def observe_all(states: Things, count: int, sight: int, out: NDArray[np.float32]) -> None:
    """What every seat sees, into out [B, P, 3 * (F + P)]."""
    for b in range(len(states)):
        for seat in range(out.shape[1]):
            _see(states[b, 1 : 1 + count], states[b, 1 + count :], seat, sight, out[b, seat])


@kernel
def observe(
    states: Things,
    count: int,
    sight: int,
    rows: NDArray[np.int64],
    seats: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """`Game.observe` into out [n, 3 * (F + P)]."""
    for i in range(len(rows)):
        _see(states[rows[i], 1 : 1 + count], states[rows[i], 1 + count :], seats[i], sight, out[i])


@kernel
def step(
    states: Things,
    count: int,
    actions: NDArray[np.int64],
    size: int,
    longest: int,
    reward: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    illegal: NDArray[np.bool_],
) -> None:
    """Play actions [B, P] in every game that goes on; games given none (all negative) stay as they are.

    The outputs come in as zeros: reward [B, P], terminated [B], truncated [B], illegal [B] where an action is none of
    the six (nothing is done).
    """
    seats = actions.shape[1]
    target = np.empty((seats, 2), np.int64)
    loading = np.empty(seats, np.bool_)
    for b in range(len(states)):
        counters, lowest, highest = states[b, 0], actions[b].min(), actions[b].max()
        if counters[OVER] or highest < 0:
            continue
        if lowest < 0 or highest > LOAD:
            illegal[b] = True
            continue
        food, players = states[b, 1 : 1 + count], states[b, 1 + count :]
        _move(food, players, actions[b], size, target, loading)
        left = _load(food, players, loading, counters[SPAWNED], reward[b])
        counters[STEPS] += 1
        terminated[b] = left == 0
        truncated[b] = left > 0 and counters[STEPS] >= longest
        counters[OVER] = terminated[b] or truncated[b]


@kernel
def _move(
    food: Things,
    players: Things,
    actions: NDArray[np.int64],
    size: int,
    target: NDArray[np.int64],
    loading: NDArray[np.bool_],
) -> None:
    """Move the players, and note in loading [P] who loads; target [P, 2] is room to work in.

    Nobody of those who make for one cell, or stand there, moves. A player may thus be run into: one who is held back
    stays on a cell that another has already been allowed to enter.
    """
    for p in range(len(players)):
        row, column, action = players[p, 0], players[p, 1], actions[p]
        loading[p] = action == LOAD and _beside_food(food, row, column)
        if action == NORTH:
            row -= 1
        elif action == SOUTH:
            row += 1
        elif action == WEST:
            column -= 1
        elif action == EAST:
            column += 1
        if not (0 <= row < size and 0 <= column < size) or _holds_food(food, row, column):
            row, column = players[p, 0], players[p, 1]
        target[p, 0], target[p, 1] = row, column
    for p in range(len(players)):
        alone = True
        for other in range(len(players)):
            if other != p and target[other, 0] == target[p, 0] and target[other, 1] == target[p, 1]:
                alone = False
        if alone:
            players[p, 0], players[p, 1] = target[p, 0], target[p, 1]


@kernel
def _load(food: Things, players: Things, loading: NDArray[np.bool_], spawned: int, reward: NDArray[np.float32]) -> int:
    """Lift what those beside it can lift, and pay each its part. Returns how much food is left.

    As no cell is beside two foods, it does not matter in which order they are lifted.
    """
    left = 0
    for f in range(len(food)):
        level, strength = food[f, 2], 0
        for p in range(len(players)):
            if loading[p] and _beside(food[f], players[p, 0], players[p, 1]):
                strength += players[p, 2]
        if level > 0 and strength < level:
            left += 1
        elif level > 0:
            food[f, 2] = 0
            for p in range(len(players)):
                if loading[p] and _beside(food[f], players[p, 0], players[p, 1]):
                    reward[p] = players[p, 2] * level / (strength * spawned)
    return left


@kernel
def _beside(thing: Things, row: int, column: int) -> bool:
    return bool(abs(thing[0] - row) + abs(thing[1] - column) == 1)


@kernel
def _beside_food(food: Things, row: int, column: int) -> bool:
    for f in range(len(food)):  # noqa: SIM110
        if food[f, 2] > 0 and _beside(food[f], row, column):
            return True
    return False


@kernel
def _holds_food(food: Things, row: int, column: int) -> bool:
    for f in range(len(food)):  # noqa: SIM110
        if food[f, 2] > 0 and food[f, 0] == row and food[f, 1] == column:
            return True
    return False
