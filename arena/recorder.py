"""Keeping what learners did until their games are over, then handing it out as `Trajectories`.

Each step of a table is one block of arrays, written once, by the game itself, into memory that is used again. Games of
different lengths overlap in the blocks, so a game is known by its serial number: when a harvest comes, the entries of
finished games are gathered and what is left of unfinished ones, always the last few blocks, moves to the front.

`K` blocks, `B` games, `S` slots, `P` seats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.core import Trajectories
from games import Decisions, GameSpec, Outcome, Rows

GOES_ON, TERMINATED, CUT = 0, 1, 2
NOBODY = -1
"""In `player`: a decision no learner wants (another player's, or the opening's). In `game`: no game, or a past one."""


class Recorder:
    """The steps of `B` games that some learner takes part in."""

    def __init__(self, spec: GameSpec, batch: int, capacity: int = 64) -> None:
        self._spec, self._batch = spec, batch
        self._blocks = 0  # K, written so far
        self._arrays: dict[str, NDArray[Any]] = {
            "observation": np.zeros((capacity, batch, spec.slots, *spec.observation), np.float32),
            "legal": np.zeros((capacity, batch, spec.slots, spec.actions), np.bool_),
            "seat": np.zeros((capacity, batch, spec.slots), np.int16),
            "active": np.zeros((capacity, batch, spec.slots), np.bool_),
            "action": np.zeros((capacity, batch, spec.slots), np.int64),
            "player": np.zeros((capacity, batch, spec.slots), np.int16),
            "version": np.zeros((capacity, batch, spec.slots), np.int64),
            "reward": np.zeros((capacity, batch, spec.seats), np.float32),
            "game": np.zeros((capacity, batch), np.int64),
        }
        if spec.global_state is not None:
            self._arrays["global_state"] = np.zeros((capacity, batch, *spec.global_state), np.float32)
        self.game = np.arange(batch, dtype=np.int64)  # [B] serial number of the game in each row
        self._status = np.zeros(batch, np.int8)  # by serial number
        self._cut_views: dict[int, tuple[NDArray[np.float32], NDArray[np.float32] | None]] = {}
        self.wanted = 0  # decisions of learners since the last harvest

    def slot(self) -> Decisions:
        """Where the game writes its next decisions."""
        if self._blocks == len(self._arrays["game"]):
            self._arrays = {name: np.concatenate([array, np.zeros_like(array)]) for name, array in self._arrays.items()}
        at = {name: array[self._blocks] for name, array in self._arrays.items()}
        return Decisions(at["observation"], at["legal"], at["seat"], at["active"], at.get("global_state"))

    def choose(self, rows: Rows, slots: Rows, player: int, version: int, extras: Mapping[str, NDArray[Any]]) -> None:
        """A learner's decisions at (rows, slots) [n] of the present block, with its policy's extras [n, ...]."""
        for name, values in extras.items():
            key = f"extras.{name}"
            if key not in self._arrays:
                shape = (*self._arrays["action"].shape, *values.shape[1:])
                self._arrays[key] = np.zeros(shape, values.dtype)
            self._arrays[key][self._blocks, rows, slots] = values
        self._arrays["player"][self._blocks, rows, slots] = player
        self._arrays["version"][self._blocks, rows, slots] = version
        self.wanted += len(rows)

    def begin(self) -> None:
        """Start the present block: nobody has chosen yet."""
        self._arrays["player"][self._blocks] = NOBODY

    def close(self, action: NDArray[np.int64], outcome: Outcome, playing: NDArray[np.bool_]) -> None:
        """The block is complete: what was played [B, S], what it earned, and which rows hold a game at all [B]."""
        self._arrays["action"][self._blocks] = action
        self._arrays["reward"][self._blocks] = outcome.reward
        self._arrays["game"][self._blocks] = np.where(playing, self.game, NOBODY)
        self._blocks += 1

    def end(
        self,
        rows: Rows,
        status: int,
        views: NDArray[np.float32] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> None:
        """The games in `rows` [n] are over, or cut, and then every seat's `views` [n, P, *O] and `states` [n, *G].

        Each row's next step belongs to a new game.
        """
        serials = self.game[rows]
        self._status[serials] = status
        if status == CUT:
            assert views is not None
            for i, serial in enumerate(serials.tolist()):
                self._cut_views[serial] = (views[i], None if states is None else states[i])
        self.game[rows] = len(self._status) + np.arange(len(rows))
        self._status = np.concatenate([self._status, np.zeros(len(rows), np.int8)])

    def drop(self, rows: Rows) -> None:
        """Forget the games in `rows`: their environment broke."""
        self._arrays["game"][: self._blocks][np.isin(self._arrays["game"][: self._blocks], self.game[rows])] = NOBODY
        self.end(rows, TERMINATED)

    def long(self, longest: int) -> Rows:
        """The rows whose game goes on with at least `longest` recorded steps."""
        return np.flatnonzero((self._arrays["game"][: self._blocks] == self.game).sum(axis=0) >= longest)

    def harvest(self, players: Sequence[str]) -> dict[str, Trajectories]:
        """What each of `players` (numbers in `choose` index this) did in finished games, which are then forgotten."""
        k = self._blocks
        serial = self._arrays["game"][:k]
        ended = (serial >= 0) & (self._status[serial] != GOES_ON)
        found: dict[str, Trajectories] = {}
        for number, name in enumerate(players):
            mine = ended[:, :, None] & (self._arrays["player"][:k] == number)
            if mine.any():
                found[name] = self._gather(mine, serial, ended)
        self._forget(ended)
        return found

    def _gather(self, mine: NDArray[np.bool_], serial: NDArray[np.int64], ended: NDArray[np.bool_]) -> Trajectories:
        k = self._blocks
        took_part = np.zeros(len(self._status), np.bool_)
        took_part[serial[mine.any(axis=2)]] = True
        steps = ended & took_part[serial]  # [K, B]
        games = np.flatnonzero(took_part)
        number = np.cumsum(took_part) - 1  # serial number -> place in the trajectories
        step_number = (np.cumsum(steps.ravel()) - 1).reshape(steps.shape)
        step = np.broadcast_to(step_number[:, :, None], mine.shape)[mine]
        cut = games[self._status[games] == CUT]
        views = [self._cut_views[g] for g in cut.tolist()]
        shape = (0, self._spec.seats, *self._spec.observation)
        a = self._arrays
        state = a.get("global_state")
        return Trajectories(
            reward=a["reward"][:k][steps],
            step_game=number[serial[steps]],
            observation=a["observation"][:k][mine],
            legal=a["legal"][:k][mine],
            action=a["action"][:k][mine],
            seat=a["seat"][:k][mine],
            step=step,
            version=a["version"][:k][mine],
            extras={
                name.removeprefix("extras."): array[:k][mine] for name, array in a.items() if name.startswith("extras.")
            },
            terminated=self._status[games] == TERMINATED,
            cut_game=number[cut],
            cut_observation=np.stack([v for v, _ in views]) if views else np.zeros(shape, np.float32),
            global_state=None if state is None else state[:k][steps],
            cut_global_state=None
            if state is None
            else np.array([s for _, s in views], np.float32).reshape(-1, *state.shape[2:]),
        )

    def _forget(self, ended: NDArray[np.bool_]) -> None:
        k = self._blocks
        game = self._arrays["game"]
        game[:k][ended] = NOBODY
        going = np.flatnonzero(((game[:k] == self.game) & (game[:k] >= 0)).any(axis=1))
        keep = k - int(going[0]) if len(going) else 0
        for array in self._arrays.values():
            array[:keep] = array[k - keep : k].copy()
        self._blocks = keep
        # Serials start over, so that the status table stays as small as the batch.
        fresh = np.arange(self._batch, dtype=np.int64)
        stays = game[:keep] == self.game
        game[:keep] = np.where(stays, fresh, NOBODY)
        self.game = fresh
        self._status = np.zeros(self._batch, np.int8)
        self._cut_views.clear()
        self.wanted = 0

    def state(self) -> dict[str, NDArray[Any]]:
        """What is kept of unfinished games, right after a harvest."""
        return {name: array[: self._blocks].copy() for name, array in self._arrays.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` gave."""
        self._blocks = len(state["game"])
        capacity = max(64, self._blocks)
        self._arrays = {name: np.zeros((capacity, *array.shape[1:]), array.dtype) for name, array in state.items()}
        for name, array in state.items():
            self._arrays[name][: self._blocks] = array
