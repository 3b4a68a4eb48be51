"""Small matrix games of one team, a batch at a time: where credit is hard to give, though the rules are a table.

Two seats choose at once and both are paid the same entry of a matrix, the first seat's action its row, the second's its
column. `two_step` tells QMIX from VDN (Rashid et al. 2018, arXiv 1803.11485, section 5): who adds up the seats' values
settles for 7, who mixes them by state finds the 8. `climbing` and `penalty` (Claus and Boutilier 1998, "The Dynamics
of Reinforcement Learning in Cooperative Multiagent Systems") punish the one who is the first to leave
a poor habit; repeated 25 times without memory they are those of Papoudakis et al. 2021 (arXiv 2006.07869), whose best
return is 275 in `climbing` and 250 in `penalty`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from games.boards import Table, table_scene
from games.core import NO_ACTION, Decisions, GameError, GameSpec, Keys, Outcome, Rows
from games.scene import Scene

STATE = np.dtype([("place", np.int64), ("played", np.int64), ("over", np.bool_)], align=True)
"""One game: which matrix it stands at, rounds played, whether it has ended."""

START, LEFT, RIGHT = range(3)
TWO_STEP = np.array([[[0, 0], [0, 0]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]], np.float32)
CLIMBING = np.array([[[11, -30, 0], [-30, 7, 0], [0, 6, 5]]], np.float32)


@dataclass(frozen=True, slots=True)
class Rules:
    """A game as tables. `M` is how many matrices there are; all games start at the first."""

    payoff: NDArray[np.float32]  # [M, A, A] what each seat is paid, by the actions of the first and the second
    follows: NDArray[np.int64]  # [M, A, A] the matrix that is played next
    rounds: int
    titles: tuple[str, ...]  # [M]
    actions: tuple[tuple[str, ...], tuple[str, ...]]  # [P, A]


class TeamMatrix:
    """Both seats observe which matrix they stand at, one-hot: always the same 1 where there is but one."""

    def __init__(self, name: str, rules: Rules, bounds: tuple[float, float]) -> None:
        places, actions, _ = rules.payoff.shape
        self.rules = rules
        self._sight = np.eye(places, dtype=np.float32)  # [M, M]
        self.spec = GameSpec(
            name=name,
            seats=2,
            actions=actions,
            observation=(places,),
            longest=rules.rounds,
            global_state=(places,) if places > 1 else None,
            teams=(0, 0),
            simultaneous=True,
            payoff="cooperative",
            bounds=bounds,
            searchable=True,
        )

    def start(self, keys: Keys) -> NDArray[np.void]:
        return np.zeros(len(keys), STATE)

    def restart(self, states: NDArray[np.void], rows: Rows, keys: Keys) -> None:
        states[rows] = np.zeros((), STATE)

    def decisions(self, states: NDArray[np.void], out: Decisions | None = None) -> Decisions:
        if out is None:
            out = Decisions.empty(self.spec, len(states))
        out.seat[:] = np.arange(self.spec.seats)
        out.active[:] = ~states["over"][:, None]
        out.legal[:] = out.active[:, :, None]
        if not out.blind:
            sight = self._sight[states["place"]]
            out.observation[:] = sight[:, None]
            if out.global_state is not None:
                out.global_state[:] = sight
        return out

    def observe(self, states: NDArray[np.void], rows: Rows, seats: Rows, out: NDArray[np.float32]) -> None:
        out[:] = self._sight[states["place"][rows]]

    def step(self, states: NDArray[np.void], actions: NDArray[np.int64], keys: Keys) -> Outcome:
        """As `Game.step`. A game in which a seat plays what there is not is void (`Outcome.failed`)."""
        outcome = Outcome.empty(self.spec, len(states))
        last = self.spec.actions - 1
        acts = ~states["over"] & (actions != NO_ACTION).any(axis=1)
        sound = ((actions >= 0) & (actions < self.spec.actions)).all(axis=1)
        for row in np.flatnonzero(acts & ~sound).tolist():
            states["over"][row] = True
            outcome.failed[row] = (
                f"{self.spec.name}: actions {actions[row].tolist()} were played, but each seat has 0 to {last}."
            )
        rows = np.flatnonzero(acts & sound)
        chosen = (states["place"][rows], actions[rows, 0], actions[rows, 1])
        outcome.reward[rows] = self.rules.payoff[chosen][:, None]
        states["place"][rows] = self.rules.follows[chosen]
        states["played"][rows] += 1
        outcome.terminated[rows] = states["over"][rows] = states["played"][rows] == self.rules.rounds
        return outcome

    def copy(self, states: NDArray[np.void], rows: Rows) -> NDArray[np.void]:
        return states[rows]

    def room(self, count: int) -> NDArray[np.void]:
        return np.zeros(count, STATE)

    def put(self, states: NDArray[np.void], rows: Rows, other: NDArray[np.void]) -> None:
        states[rows] = other

    def text(self, states: NDArray[np.void], row: int, seat: int) -> str:
        """The matrix, the first seat's actions down its side and the second's along its top."""
        place = int(states["place"][row])
        heading = self._heading(states, row)
        rows, columns = self.rules.actions
        body = [["", *columns]]
        body += [[name, *map("{:g}".format, line)] for name, line in zip(rows, self.rules.payoff[place], strict=True)]
        width = 1 + max(len(cell) for line in body for cell in line)
        return "\n".join([heading, *("".join(cell.rjust(width) for cell in line) for line in body)])

    def scene(self, states: NDArray[np.void], row: int, seat: int) -> Scene:
        """The matrix that is played next, its entries what either seat is paid."""
        place, _, over = states[row].tolist()
        paid = tuple(tuple(map("{:g}".format, line)) for line in self.rules.payoff[place])
        table = Table(*self.rules.actions, paid, self._heading(states, row))
        return table_scene(table, None, seat, not over and seat in (0, 1))

    def _heading(self, states: NDArray[np.void], row: int) -> str:
        place, played, over = states[row].tolist()
        return (
            "The game is over." if over else f"Round {played + 1} of {self.rules.rounds}: {self.rules.titles[place]}."
        )

    def action_name(self, states: NDArray[np.void], row: int, seat: int, action: int) -> str:
        return self.rules.actions[seat][action]


def two_step() -> TeamMatrix:
    """Two rounds: the first seat's action picks the matrix, unpaid; then that matrix is played."""
    follows = np.zeros(TWO_STEP.shape, np.int64)
    follows[START] = [[LEFT, LEFT], [RIGHT, RIGHT]]
    names = ("A", "B")
    titles = ("the first seat picks matrix A or B, and nobody is paid", "matrix A", "matrix B")
    return TeamMatrix("two_step", Rules(TWO_STEP, follows, 2, titles, (names, names)), (0.0, 8.0))


def climbing(rounds: int = 25) -> TeamMatrix:
    """The climbing game, `rounds` times: the way from 5 up to 11 leads past two losses of 30."""
    return _repeated("climbing", CLIMBING, rounds)


def penalty(k: float = -100, rounds: int = 25) -> TeamMatrix:
    """The penalty game, `rounds` times: either corner that pays 10 costs `k`, at most 0, where the seats differ."""
    if isinstance(k, bool) or not isinstance(k, int | float) or not -math.inf < k <= 0:
        raise GameError(f"penalty: k must be a number that is 0 or less, such as -100, not {k!r}.")
    return _repeated("penalty", np.array([[[k, 0, 10], [0, 2, 0], [10, 0, k]]], np.float32), rounds)


def _repeated(name: str, payoff: NDArray[np.float32], rounds: int) -> TeamMatrix:
    """One matrix [1, A, A], played `rounds` times."""
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise GameError(f"{name}: rounds must be a whole number from 1, not {rounds!r}.")
    names = tuple(tuple(f"{letter}{action}" for action in range(payoff.shape[1])) for letter in "ab")
    rules = Rules(payoff, np.zeros(payoff.shape, np.int64), rounds, ("both seats are paid",), (names[0], names[1]))
    return TeamMatrix(name, rules, (rounds * float(payoff.min()), rounds * float(payoff.max())))
