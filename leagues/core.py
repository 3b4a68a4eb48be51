"""Who meets whom, and what came of it: players, matches and results, the records everything else is derived from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from games.keys import mix

Purpose = Literal["train", "rate", "gate", "audit", "human", "casual"]
"""What a match is for: `human` ones rate a person, `casual` ones are a person's too, but only kept for replay."""

VISITOR = "a visitor"
"""The role of who plays against the league's members without being one: people, and whom they brought along. No
learner can have this name, which its snapshots would have for their role."""


@dataclass(frozen=True, slots=True)
class Player:
    """A member of the league: never a network, only what names one."""

    id: str  # `main`, `main@3` for its third snapshot, `random`, `mcts:100`
    kind: str  # which agent plays it: ppo, random, greedy, mcts, human …
    content: str = ""  # sha256 of its weights; empty for scripted and live players
    settings: Mapping[str, Any] = field(default_factory=dict)  # how it plays: temperature, simulations …
    parent: str = ""  # whom it was copied from
    step: int = 0  # its learner's decisions when it was frozen
    role: str = "main"
    live: bool = False  # still learning: its results speak of a moving target


@dataclass(frozen=True, slots=True)
class Match:
    """A series of games between the same players, one for each team of the game.

    Players change teams from game to game. In a paired match the games of one round trip (two, with two teams) share
    nature's key and the opening, so that luck cancels.
    """

    id: int  # unique in its ledger; below zero where a visitor plays
    players: tuple[str, ...]  # one for each team
    purpose: Purpose
    seed: int  # uint64
    games: int | None = None  # None: as many as there is time for
    opening: int = 0  # plies played at random before the players take over
    paired: bool = False

    def lineup(self, game: int, teams: Sequence[int]) -> tuple[str, ...]:
        """The player on each seat in game number `game`."""
        turn = len(self.players)
        return tuple(self.players[(team + game) % turn] for team in teams)

    def key(self, game: int) -> int:
        """Nature's key of game number `game`; the players' and the opening's randomness are mixed from it too."""
        return int(mix(self.seed, self.luck(game)))

    def luck(self, game: int) -> int:
        """What is mixed into the seed for that key: games of one round trip of a paired match share it."""
        return game // len(self.players) if self.paired else game


@dataclass(frozen=True, slots=True)
class Result:
    """What happened in one game. (match, game) is unique, so a result told twice counts once."""

    match: int
    game: int
    returns: tuple[float, ...]  # [P] each seat's sum of rewards
    length: int  # steps played
    truncated: bool = False
    moves: NDArray[np.int16] | None = None  # [length, S] for replay; kept for all but training games


@dataclass(frozen=True, slots=True)
class Thinking:
    """How long a player took to choose in one order, whose first match names it. (match, player) is unique.

    Decisions are made for all games of a batch at once, so seconds by decisions are those of play in batches.
    """

    match: int
    player: str
    decisions: int
    seconds: float
