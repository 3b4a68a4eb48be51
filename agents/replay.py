"""Replay: the newest decisions, kept for learning from them more than once.

The window grows with a power of all N decisions ever added (Wu 2019, "Accelerating Self-Play Learning in Go",
arXiv 1902.10565, appendix C), from c on:

    N_w = c (1 + b ((N / c)^a - 1) / a)

An update draws its whole sample at once. A decision's expected number of draws is in proportion to its weight,

    (1 - s) + s * surprise / mean surprise          surprise = KL(search's policy || network's), 0 of a cheap search

(policy surprise weighting, ibid., methods of KataGo), but no more than it has uses left; what that takes from some goes
to the others. Then each expected number is rounded up or down by chance. So nothing is ever drawn more than `most_uses`
times, the sample varies no more than it must, and the work is one pass or a few over the window for each update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.alphazero_config import ReplayConfig
from games import GameSpec, Rows
from games.kernels import kernel, mix_one


def window(config: ReplayConfig, added: int) -> int:
    """How many decisions may be kept once `added` have been seen."""
    a, b, c = config.exponent, config.growth, config.least
    grown = c * (1 + b * ((max(added, c) / c) ** a - 1) / a)
    return min(int(grown), config.most)


@dataclass(frozen=True, slots=True)
class Batch:
    """Decisions to learn from, each as it was or under one of the game's symmetries."""

    observation: NDArray[np.float32]  # [n, *O]
    target: NDArray[np.float32]  # [n, A] the search's policy, 0 where illegal
    legal: NDArray[np.bool_]  # [n, A]
    value: NDArray[np.float32]  # [n, P] returns to go, the mover's first, in the game's own units
    full: NDArray[np.bool_]  # [n] whether the policy is to be learned


class Replay:
    """A queue of decisions as a struct of arrays, oldest first.

    A decision takes 4 A + 4 P + 6 bytes and its observation: a byte a cell as long as every observation added was of
    whole numbers from 0 to 255, and four a cell from the first on that was not. Arrays hold a quarter more than the
    window, so that they are moved only now and then.
    """

    def __init__(self, spec: GameSpec, config: ReplayConfig, *, symmetry: bool = False) -> None:
        self.config = config
        self.added = 0  # decisions ever
        self._spec = spec
        self._first = self._last = 0  # what is kept is columns[first:last]
        self._columns: dict[str, NDArray[Any]] = {
            "observation": np.empty((0, math.prod(spec.observation)), np.uint8),
            "policy": np.empty((0, spec.actions), np.float32),  # -1 where illegal
            "value": np.empty((0, spec.seats), np.float32),
            "full": np.empty(0, np.bool_),
            "surprise": np.empty(0, np.float32),  # 0 where not full
            "used": np.empty(0, np.uint8),
        }
        symmetries = spec.symmetries if symmetry else ()
        identity = np.arange(math.prod(spec.observation)), np.arange(spec.actions)
        self._cells = np.stack([identity[0], *(s.observation for s in symmetries)])  # [1 + symmetries, prod(O)]
        self._actions = np.stack([identity[1], *(s.action for s in symmetries)])  # [1 + symmetries, A]

    def __len__(self) -> int:
        return self._last - self._first

    def add(
        self,
        observation: NDArray[np.float32],  # [n, *O]
        legal: NDArray[np.bool_],  # [n, A]
        target: NDArray[np.float32],  # [n, A]
        value: NDArray[np.float32],  # [n, P]
        full: NDArray[np.bool_],  # [n]
        surprise: NDArray[np.float32],  # [n] one that is not finite counts as none
    ) -> None:
        """Take in new decisions, oldest first, and let go of those that leave the window."""
        n = len(target)
        fresh: dict[str, NDArray[Any]] = {
            "observation": self._fitting(observation.reshape(n, -1)),
            "policy": np.where(legal, target, np.float32(-1)),
            "value": value,
            "full": full,
            "surprise": np.where(full & np.isfinite(surprise), np.maximum(surprise, 0), 0),
            "used": np.zeros(n, np.uint8),
        }
        self.added += n
        keep = min(window(self.config, self.added), len(self) + n)
        new = min(n, keep)
        self._first = self._last - (keep - new)
        if self._last + new > len(self._columns["used"]):
            self._move(keep + keep // 4)
        for name, column in self._columns.items():
            column[self._last : self._last + new] = fresh[name][n - new :]
        self._last += new

    def draw(self, rng: np.random.Generator, wanted: int) -> Rows:
        """That many rows to learn from, in random order, and fewer only where too few uses are left. Counts them used.

        A row may come more than once. Rows are good for `batch` until decisions are added again.
        """
        surprise, used = self._kept("surprise"), self._kept("used")
        # Rounding by chance misses the number wanted by its square root or so: draw somewhat more, and leave the rest.
        aim = wanted + 4 * math.sqrt(wanted)
        key = rng.integers(2**64, dtype=np.uint64)
        rows = _draw(surprise, used, self.config.surprise, self.config.most_uses, aim, key)
        rows = rng.permutation(rows)[:wanted]
        np.add.at(used, rows, np.uint8(1))
        return rows

    def batch(self, rng: np.random.Generator, rows: Rows) -> Batch:
        """The decisions of `rows` [n], each under the identity or one of the symmetries, all as likely."""
        which = rng.integers(len(self._cells), size=len(rows))
        policy = self._relabelled("policy", rows, self._actions, which)
        return Batch(
            observation=self._relabelled("observation", rows, self._cells, which).reshape(-1, *self._spec.observation),
            target=np.maximum(policy, 0),
            legal=policy >= 0,
            value=self._kept("value")[rows],
            full=self._kept("full")[rows],
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is kept, as copies."""
        return {name: self._kept(name).copy() for name in self._columns} | {"added": np.array(self.added)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` gave. Raises ValueError, naming what differs, where it is of another game."""
        for name in (*self._columns, "added"):
            if name not in state:
                raise ValueError(f"This is not the state of a replay: {name!r} is missing from it.")
        for name, column in self._columns.items():
            needed = (len(state["used"]), *column.shape[1:])
            if state[name].shape != needed:
                raise ValueError(
                    f"This replay is of another game: {name!r} has shape {state[name].shape}, but {needed} is needed."
                )
        self._columns = {name: state[name].copy() for name in self._columns}
        self._first, self._last = 0, len(self._columns["used"])
        self.added = int(state["added"])

    def _kept(self, name: str) -> NDArray[Any]:
        return self._columns[name][self._first : self._last]

    def _relabelled(
        self, name: str, rows: Rows, origin: NDArray[np.int64], which: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        # Rows lie far apart in memory: taken first, the wait for many of them overlaps (six times faster).
        taken = np.take(self._kept(name), rows, axis=0)
        out = np.empty(taken.shape, np.float32)
        _relabel(taken, origin, which, out)
        return out

    def _fitting(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """Observations [n, cells] as the store holds them; it turns to float32 for good where bytes would lose."""
        if self._columns["observation"].dtype == np.uint8:
            with np.errstate(invalid="ignore"):  # what is no number fits no byte, as the comparison finds
                small = observation.astype(np.uint8)
            if np.array_equal(small, observation):
                return small
            self._columns["observation"] = self._columns["observation"].astype(np.float32)
        return observation

    def _move(self, capacity: int) -> None:
        """What is kept, to the front of new arrays."""
        count = len(self)
        for name, column in self._columns.items():
            moved = np.empty((capacity, *column.shape[1:]), column.dtype)
            moved[:count] = self._kept(name)
            self._columns[name] = moved
        self._first, self._last = 0, count


@kernel
def _draw(
    surprise: NDArray[np.float32], used: NDArray[np.uint8], share: float, most: int, wanted: float, key: np.uint64
) -> NDArray[np.int64]:
    """Rows [about `wanted`], ascending, each as often as it is drawn."""
    n = len(used)
    total = 0.0
    for i in range(n):
        total += surprise[i]
    level, boost = 1.0, 0.0
    if total > 0.0:
        level, boost = 1.0 - share, share * n / total
    scale, short = 0.0, wanted
    while short > 0.5:  # each pass gives to the rest what those with no more uses could not take
        taken = open_weight = 0.0
        for i in range(n):
            weight = level + boost * surprise[i]
            left = most - used[i]
            if scale * weight < left:
                taken += scale * weight
                open_weight += weight
            else:
                taken += left
        short = wanted - taken
        if open_weight == 0.0:
            break
        if short > 0.5:
            scale += short / open_weight
    rows = np.empty(int(wanted) + n, np.int64)
    count = 0
    for i in range(n):
        left = most - used[i]
        expected = min(scale * (level + boost * surprise[i]), float(left))
        chance = float(mix_one(key, np.uint64(i)) >> np.uint64(11)) * 2.0**-53
        for _ in range(min(int(expected + chance), left)):
            rows[count] = i
            count += 1
    return rows[:count].copy()


@kernel
def _relabel(
    source: NDArray[Any], origin: NDArray[np.int64], which: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Row by row, place j of `out` from place `origin[which, j]` of `source`."""
    for i in range(len(out)):
        places = origin[which[i]]
        for j in range(out.shape[1]):
            out[i, j] = source[i, places[j]]
