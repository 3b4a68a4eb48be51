"""What a game is: the batch protocol, and the types that games and agents exchange.

A game advances many boards at once. It owns its states (an opaque value, often a structured array); callers hold them
and pass them back. The circle of one step:

    states = game.start(keys)
    decisions = game.decisions(states)                 # who must act, what they see, what is allowed
    outcome = game.step(states, actions, step_keys)    # rewards earned, games that ended

Axes, project-wide: `B` games in a batch, `S` seats that may act at once (1 in a turn-based game, all `P` in a
simultaneous one), `P` seats, `A` actions, `*O` one observation, `*G` a global state.

All randomness of nature comes from the keys (see `games.keys`), so a game never depends on which others share its
batch, and one key with the moves replays a game exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from games.names import UserError

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]
States = Any
"""States of a batch of games. Only the game that made them looks inside."""

Payoff = Literal["zero_sum", "cooperative", "general_sum"]

NO_ACTION = -1
"""In `step`, what a slot that does not act holds. A row where no slot acts is left untouched."""


class GameError(UserError):
    """A game cannot be made, or broke its promises. The message is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A relabelling that leaves the rules alone: cells of the observation move, actions are renamed."""

    observation: NDArray[np.int64]  # [prod(O)] which original cell each transformed cell is
    action: NDArray[np.int64]  # [A] which original action each transformed action is


@dataclass(frozen=True, slots=True)
class GameSpec:
    """The frozen facts of a game."""

    name: str
    seats: int  # P
    actions: int  # A
    observation: tuple[int, ...]  # *O, one seat's view
    longest: int  # steps after which a game is cut (truncated)
    global_state: tuple[int, ...] | None = None  # *G, None where the game has none
    teams: tuple[int, ...] = ()  # [P] which team each seat is on (one player holds it); its own unless given
    roles: bool = False  # teams are not alike: returns are compared only between those who sat on the same side
    simultaneous: bool = False
    perfect_information: bool = True
    stochastic: bool = False
    payoff: Payoff = "zero_sum"
    bounds: tuple[float, float] = (-1.0, 1.0)  # lowest and highest return of a seat; infinite where unknown
    searchable: bool = False  # states can be copied
    resamples: bool = False  # the game has `resample`
    symmetries: tuple[Symmetry, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.teams:
            object.__setattr__(self, "teams", tuple(range(self.seats)))
        if len(self.teams) != self.seats:
            raise GameError(f"{self.name}: {len(self.teams)} teams are given for {self.seats} seats.")
        for value, what in ((self.seats, "seats"), (self.actions, "actions"), (self.longest, "longest")):
            if value < 1:
                raise GameError(f"{self.name}: {what} must be at least 1, not {value}.")

    @property
    def slots(self) -> int:
        """`S`: how many seats may act in one step."""
        return self.seats if self.simultaneous else 1

    @property
    def competitive(self) -> bool:
        """Whether there is an opponent: more than one team, with interests that differ."""
        return len(set(self.teams)) > 1 and self.payoff != "cooperative"


@dataclass(slots=True)
class Decisions:
    """Who must act in each game, what they see and what they may do.

    In a turn-based game slot 0 belongs to the seat in `seat[:, 0]`; in a simultaneous game slot s is seat s.
    """

    observation: NDArray[np.float32]  # [B, S, *O] of active slots; others hold anything finite
    legal: NDArray[np.bool_]  # [B, S, A] all False where a slot is not active
    seat: NDArray[np.int16]  # [B, S]
    active: NDArray[np.bool_]  # [B, S]
    global_state: NDArray[np.float32] | None = None  # [B, *G]
    blind: bool = False  # nobody will look at observations and global state: a game need not write them

    @classmethod
    def empty(cls, spec: GameSpec, batch: int, *, blind: bool = False) -> Decisions:
        """Room for `batch` games, to be written in place by `Game.decisions`."""
        shape = (batch, spec.slots)
        return cls(
            observation=np.zeros((*shape, *spec.observation), np.float32),
            legal=np.zeros((*shape, spec.actions), np.bool_),
            seat=np.broadcast_to(np.arange(spec.slots, dtype=np.int16), shape).copy(),
            active=np.zeros(shape, np.bool_),
            global_state=None if spec.global_state is None else np.zeros((batch, *spec.global_state), np.float32),
            blind=blind,
        )

    def first(self, count: int) -> Decisions:
        """Its first `count` games, as a view."""
        return Decisions(
            observation=self.observation[:count],
            legal=self.legal[:count],
            seat=self.seat[:count],
            active=self.active[:count],
            global_state=None if self.global_state is None else self.global_state[:count],
            blind=self.blind,
        )

    def take(self, rows: Rows, slots: Rows) -> Decisions:
        """The n chosen (row, slot) pairs as a batch of n games with one slot each (a copy)."""
        return Decisions(
            observation=self.observation[rows, slots][:, None],
            legal=self.legal[rows, slots][:, None],
            seat=self.seat[rows, slots][:, None],
            active=self.active[rows, slots][:, None],
            global_state=None if self.global_state is None else self.global_state[rows],
        )


@dataclass(slots=True)
class Outcome:
    """What one step brought. Rows that did not act hold zeros."""

    reward: NDArray[np.float32]  # [B, P] earned by this step, in the game's own units
    terminated: NDArray[np.bool_]  # [B] ended by the rules
    truncated: NDArray[np.bool_]  # [B] cut; never together with `terminated`
    chance: NDArray[np.int64]  # [B] what nature did, 0 for nothing: (action, chance) names a search node's child
    failed: dict[int, str] = field(default_factory=dict)  # row -> why the environment broke; such a game is void

    @classmethod
    def empty(cls, spec: GameSpec, batch: int) -> Outcome:
        return cls(
            reward=np.zeros((batch, spec.seats), np.float32),
            terminated=np.zeros(batch, np.bool_),
            truncated=np.zeros(batch, np.bool_),
            chance=np.zeros(batch, np.int64),
        )


class Game(Protocol):
    """A batch of boards. Implement it directly for speed, or write a `games.lift.Single` and lift it.

    A game of imperfect information may offer one thing more, and says so in its spec (`resamples`):

        resample(states, rows, seats, keys) -> states

    For each of `rows` [n] (repeats allowed), a game that `seats` [n] cannot tell from the one in that row, drawn by
    `keys` [n]: what the seat has seen and done is the same, what is hidden from it is drawn anew. As a new batch.
    """

    @property
    def spec(self) -> GameSpec: ...

    def start(self, keys: Keys) -> States:
        """New games, one for each key [B]."""
        ...

    def restart(self, states: States, rows: Rows, keys: Keys) -> None:
        """Put a new game into each of `rows` [n], in place, from `keys` [n]."""
        ...

    def decisions(self, states: States, out: Decisions | None = None) -> Decisions:
        """Who must act now. Writes into `out` where given.

        Finished games have no active slot; those that were cut still show their global state.
        """
        ...

    def observe(self, states: States, rows: Rows, seats: Rows, out: NDArray[np.float32]) -> None:
        """Write what each of `seats` [n] sees in `rows` [n], acting or not, games finished or not, into out [n, *O]."""
        ...

    def step(self, states: States, actions: NDArray[np.int64], keys: Keys) -> Outcome:
        """Play actions [B, S] (`NO_ACTION` in slots that do not act) in place; `keys` [B] feed nature.

        A row whose slots all hold `NO_ACTION` stays as it is.
        """
        ...

    def copy(self, states: States, rows: Rows) -> States:
        """Independent copies of `rows` (repeats allowed) as a new batch. Searchable games only."""
        ...

    def room(self, count: int) -> States:
        """Room for `count` games, holding none yet: to be filled by `put`. Searchable games only."""
        ...

    def put(self, states: States, rows: Rows, other: States) -> None:
        """Put the games of `other` [n] into `rows` [n] of `states`; `other` is used no more. Searchable games only."""
        ...

    def text(self, states: States, row: int, seat: int) -> str:
        """The board as `seat` may see it, for a terminal."""
        ...

    def action_name(self, states: States, row: int, seat: int, action: int) -> str:
        """A short name for a legal action, as a person would type it."""
        ...
