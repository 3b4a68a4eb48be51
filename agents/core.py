"""What an agent is: a `Policy` that acts, a `Learner` that improves one, and the `Trajectories` that pass between them.

Axes: `B` games, `S` seats that may act at once, `P` seats, `A` actions, `*O` an observation, `*M` one seat's memory;
in trajectories also `R` steps, `D` decisions, `G` games, `C` cut games.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from games import Decisions, Game, Keys, Rows, States

Weights = Mapping[str, NDArray[Any]]
"""Named arrays, read-only to whoever receives them."""


@dataclass(frozen=True, slots=True)
class History:
    """What was played so far in a batch of games, one row for each row of their states. Live: never write to it."""

    keys: Keys  # [B] which game it is
    steps: NDArray[np.int64]  # [B] played so far
    moves: NDArray[np.int16]  # [B, T, S] `NO_ACTION` in slots that did not act
    chance: NDArray[np.int64]  # [B, T] what nature did in each step


@dataclass(slots=True)
class Context:
    """What a policy may look at besides its observations: for search, and for memory."""

    game: Game
    states: States  # live: copy from it, never step it
    rows: Rows  # [B] the row in `states` of each game of the decisions
    memory: NDArray[np.float32] | None = None  # [B, S, *M] what this policy returned for this game and seat last time
    history: History | None = None
    scratch: dict[str, Any] | None = None
    """Where a policy may leave what saves it work in its next call (trees, evaluations). It belongs to this policy and
    these `states` alone, and is emptied whenever its owner likes: play must be as good without."""


@dataclass(slots=True)
class Choice:
    """A policy's answer. Slots that are not active hold `NO_ACTION` and are ignored elsewhere."""

    action: NDArray[np.int64]  # [B, S]
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)  # [B, S, ...] what the learner wants to see again
    memory: NDArray[np.float32] | None = None  # [B, S, *M]


@dataclass(frozen=True, slots=True)
class Option:
    """One legal action of one decision, as an agent sees it."""

    action: int
    prior: float  # how likely it seemed at first sight
    visits: int = 0  # simulations that chose it; 0 where there was no search
    value: float | None = None  # what the seat would return, in the game's own units; None where it is not known
    line: tuple[int, ...] = ()  # the best play that was found from it on, itself first


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an agent thinks of one decision."""

    value: float  # what the seat to move will return from here on, in the game's own units
    options: tuple[Option, ...]  # its legal actions, best first


class Policy(Protocol):
    """Code that acts. It keeps nothing between calls: memory travels through `Context` and `Choice`.

    One that can say what it thinks also has `analyse(decisions, context, keys) -> Analysis`, for a batch of one game.
    """

    memory: tuple[int, ...] | None
    """Shape `*M` of what is remembered for one seat; zeros at the start of a game. None where nothing is."""

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        """Choose for every active slot. `keys` [B, S] is all the randomness there is."""
        ...


@dataclass(slots=True)
class Trajectories:
    """What one player did in finished games, and in pieces of very long ones, as a struct of arrays.

    Steps come in the order in which they were played, those of different games interleaved; rewards are there for every
    seat and every step, so credit can be computed from this alone (`agents.credit`).
    """

    reward: NDArray[np.float32]  # [R, P] earned by each step
    step_game: NDArray[np.int64]  # [R] which game, 0 to G - 1
    observation: NDArray[np.float32]  # [D, *O]
    legal: NDArray[np.bool_]  # [D, A]
    action: NDArray[np.int64]  # [D]
    seat: NDArray[np.int16]  # [D]
    step: NDArray[np.int64]  # [D] the step it was part of, an index into the step rows; ascending
    version: NDArray[np.int64]  # [D] of the weights that chose
    extras: dict[str, NDArray[Any]]  # [D, ...]
    terminated: NDArray[np.bool_]  # [G] False where the game was cut, or goes on
    cut_game: NDArray[np.int64]  # [C] the games that did not terminate
    cut_observation: NDArray[np.float32]  # [C, P, *O] what each seat saw where it was cut, to bootstrap from
    global_state: NDArray[np.float32] | None = None  # [R, *G]
    cut_global_state: NDArray[np.float32] | None = None  # [C, *G]

    @property
    def decisions(self) -> int:
        return len(self.action)

    @property
    def steps(self) -> int:
        return len(self.reward)

    @property
    def games(self) -> int:
        return len(self.terminated)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as flat arrays, for a file; `of` reads them back."""
        flat = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extras"}
        flat |= {f"extras.{name}": array for name, array in self.extras.items()}
        return {name: array for name, array in flat.items() if array is not None}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Trajectories:
        """What `arrays` gave."""
        extras = {name.removeprefix("extras."): array for name, array in arrays.items() if name.startswith("extras.")}
        return cls(**{f.name: arrays[f.name] for f in fields(cls) if f.name in arrays}, extras=extras)

    @classmethod
    def concatenate(cls, parts: Sequence[Trajectories]) -> Trajectories:
        """One batch of all `parts` (at least one), games and steps renumbered."""
        if len(parts) == 1:
            return parts[0]
        steps = np.cumsum([0, *(part.steps for part in parts)])
        games = np.cumsum([0, *(part.games for part in parts)])
        offset = {"step": steps, "step_game": games, "cut_game": games}
        joined: dict[str, Any] = {}
        for name in (f.name for f in fields(cls)):
            columns = [getattr(part, name) for part in parts]
            if name == "extras":
                joined[name] = {key: np.concatenate([c[key] for c in columns]) for key in columns[0]}
            elif columns[0] is None:
                joined[name] = None
            else:
                shift = offset.get(name)
                joined[name] = np.concatenate(
                    columns if shift is None else [c + shift[i] for i, c in enumerate(columns)]
                )
        return cls(**joined)


class Learner(Protocol):
    """Code that improves a policy from its trajectories."""

    def update(self, trajectories: Trajectories, rng: np.random.Generator) -> dict[str, float]:
        """One update; returns metrics by name."""
        ...

    def weights(self) -> Weights:
        """What its policy needs to play, as arrays that later updates do not touch."""
        ...

    def load(self, weights: Weights) -> None:
        """Play on from these weights; optimiser state starts anew."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything an exact resume needs (weights, optimiser, counters), flat, as arrays."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` gave. Raises ValueError where it does not fit, naming what differs."""
        ...
