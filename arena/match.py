"""A table where games are played: one for a person, 256 for training, 1,000 for a tournament.

The table knows whose turn it is, what was played and what was earned. Who chooses the moves is not its business.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.core import History
from games import NO_ACTION, Decisions, Game, GameError, Keys, Outcome, Rows
from games.keys import CHOICE, NATURE, mix


def choice_keys(keys: Keys, steps: NDArray[np.int64], seats: NDArray[np.int16]) -> Keys:
    """The players' randomness, [B, S]: of the games' keys [B], their steps [B] and who acts in each slot [B, S]."""
    return mix(mix(keys, CHOICE)[:, None], steps[:, None], seats)


class Table:
    """`B` games side by side, each with its own clock, that can be restarted one by one.

    Raises GameError where a game has more than 32,768 actions.
    """

    def __init__(self, game: Game, keys: Keys) -> None:
        batch, slots = len(keys), game.spec.slots
        if game.spec.actions > 2**15:
            raise GameError(
                f"{game.spec.name} has {game.spec.actions} actions; moves are kept in 16 bits, so {2**15} are the most."
            )
        self.game = game
        self.keys = keys.copy()  # [B] nature's key of each game
        self.states = game.start(keys)
        self.steps = np.zeros(batch, np.int64)  # [B] played so far
        self.returns = np.zeros((batch, game.spec.seats), np.float64)  # [B, P]
        self.over: NDArray[np.bool_] = np.zeros(batch, np.bool_)  # [B] terminated, truncated or failed
        self.moves = np.full((batch, min(64, game.spec.longest), slots), NO_ACTION, np.int16)  # [B, capacity, S]
        self.chance = np.zeros(self.moves.shape[:2], np.int64)  # [B, capacity] what nature did in each step
        self._all = np.arange(batch)
        self._decisions: Decisions | None = None  # of the present position, once asked for

    def pending(self, out: Decisions | None = None) -> Decisions:
        """Who must act in each game, written into `out` where given."""
        if out is not None or self._decisions is None:
            self._decisions = self.game.decisions(self.states, out)
        return self._decisions

    def play(self, actions: NDArray[np.int64]) -> Outcome:
        """Play actions [B, S], `NO_ACTION` in slots that do not act.

        A game may sit out (no action in any slot). Raises GameError, before anything is played, where an action is not
        legal or only some of a game's acting slots are given one.
        """
        decisions = self.pending()
        self._refuse_illegal(decisions, actions)
        outcome = self.game.step(self.states, actions, mix(self.keys, NATURE, self.steps))
        moved = actions.max(axis=1) > NO_ACTION
        if self.steps.max(initial=0) >= self.moves.shape[1]:
            self.moves = np.concatenate([self.moves, np.full_like(self.moves, NO_ACTION)], axis=1)
            self.chance = np.concatenate([self.chance, np.zeros_like(self.chance)], axis=1)
        self.moves[self._all, self.steps] = np.where(moved[:, None], actions, NO_ACTION)
        self.chance[self._all, self.steps] = outcome.chance
        self.steps += moved
        self.returns += outcome.reward
        self.over[outcome.terminated | outcome.truncated] = True
        self.over[list(outcome.failed)] = True
        self._decisions = None
        return outcome

    def restart(self, rows: Rows, keys: Keys) -> None:
        """Begin a new game in each of `rows` [n], from `keys` [n]."""
        self.game.restart(self.states, rows, keys)
        self.keys[rows] = keys
        self.steps[rows] = 0
        self.returns[rows] = 0
        self.over[rows] = False
        self._decisions = None

    @property
    def history(self) -> History:
        """What was played so far, live."""
        return History(self.keys, self.steps, self.moves, self.chance)

    def played(self, row: int) -> NDArray[np.int16]:
        """The moves of one game so far, [steps, S]."""
        return self.moves[row, : self.steps[row]].copy()

    def replay(self, moves: NDArray[np.int16], lengths: NDArray[np.int64]) -> None:
        """Play on from the start position: row i plays its first `lengths[i]` of moves [B, T, S]."""
        for step in range(int(lengths.max(initial=0))):
            going = (step < lengths)[:, None]
            self.play(np.where(going, moves[:, step].astype(np.int64), NO_ACTION))

    def undo(self, steps: int = 1) -> None:
        """Take back the last `steps` of every game, by playing each again from its key up to there."""
        lengths = np.maximum(self.steps - steps, 0)
        moves = self.moves.copy()
        self.restart(self._all, self.keys.copy())
        self.replay(moves, lengths)

    def _refuse_illegal(self, decisions: Decisions, actions: NDArray[np.int64]) -> None:
        on_board = actions.clip(0, self.game.spec.actions - 1)
        allowed = np.take_along_axis(decisions.legal, on_board[:, :, None], axis=2)[:, :, 0] & (actions == on_board)
        acts = actions != NO_ACTION
        wrong = (acts != decisions.active) & acts.any(axis=1, keepdims=True) | (acts & ~allowed)
        if wrong.any():
            row, slot = np.argwhere(wrong)[0].tolist()
            seat, action = int(decisions.seat[row, slot]), int(actions[row, slot])
            legal = np.flatnonzero(decisions.legal[row, slot]).tolist()
            raise GameError(
                f"{self.game.spec.name}: seat {seat} may not play action {action} at step {int(self.steps[row])}"
                f" of game {row}; legal there: {legal}."
            )
