"""Episodes of teams: what its members saw and did in whole games, kept for learning from more than once.

An episode is one team's part of one game, a row for each team step (a step in which any member acts) and one more for
where it ended: what the members saw there if the game was cut, nothing if it terminated. A row's reward is what the
team was paid from that step on up to its next, or to the end: whoever moved in between, and whoever of it had died.

Axes: `U` rows, `E` episodes, `n` members (of the largest team); in a batch `b` episodes and `T` rows of the longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.core import Trajectories
from games import GameSpec, Rows


@dataclass(frozen=True, slots=True)
class Seating:
    """Which seat is which member of which team."""

    team: NDArray[np.int64]  # [P] of each seat, numbered from 0
    member: NDArray[np.int64]  # [P] its place in its team
    seat: NDArray[np.int64]  # [teams, n] of each member, -1 where a team is smaller

    @classmethod
    def of(cls, spec: GameSpec) -> Seating:
        team = np.unique(spec.teams, return_inverse=True)[1].astype(np.int64)
        member = np.array([int((team[:seat] == team[seat]).sum()) for seat in range(spec.seats)])
        seats = np.full((team.max() + 1, member.max() + 1), -1)
        seats[team, member] = np.arange(spec.seats)
        return cls(team, member, seats)

    @property
    def teams(self) -> int:
        return len(self.seat)

    @property
    def members(self) -> int:
        """`n`, of the largest team."""
        return int(self.seat.shape[1])


@dataclass(slots=True)
class Episodes:
    """Rows of whole episodes, one after another."""

    observation: NDArray[np.float32]  # [U, n, *O] zeros where not active
    legal: NDArray[np.bool_]  # [U, n, A]
    active: NDArray[np.bool_]  # [U, n] nobody in the last row of a game that terminated
    action: NDArray[np.int16]  # [U, n] 0 where not active
    last: NDArray[np.int16]  # [U, n] the action before of each that is active, -1 for none
    reward: NDArray[np.float32]  # [U] of the team; 0 in last rows
    state: NDArray[np.float32] | None  # [U, *G] the game's own, where it has one
    length: NDArray[np.int64]  # [E] rows, the last one included
    team: NDArray[np.int64]  # [E]


def episodes(
    t: Trajectories, spec: GameSpec, seating: Seating, pay: Literal["mean", "sum"], *, cut_goes_on: bool = True
) -> Episodes:
    """What each team of `t` did in each of its games. A team that made no decision in a game has no episode of it.

    Unless `cut_goes_on`, a game that was cut is taken as one that terminated.
    """
    n, step_team = seating.members, seating.team[t.seat]
    # Team steps in order of game, team and step: `row` is the place of each decision among them.
    part = t.step_game[t.step] * seating.teams + step_team
    key, row = np.unique(part * t.steps + t.step, return_inverse=True)
    part, step = np.divmod(key, t.steps)
    own, episode, count = np.unique(part, return_inverse=True, return_counts=True)
    game, team = np.divmod(own, seating.teams)
    ends = np.cumsum(count) + np.arange(len(own))  # where the last row of each episode comes to stand
    at = np.arange(len(key)) + episode  # of each team step
    rows = len(key) + len(own)

    member = seating.member[t.seat]
    made = at[row], member
    observation = np.zeros((rows, n, *spec.observation), np.float32)
    observation[made] = t.observation
    legal, active = np.zeros((rows, n, spec.actions), np.bool_), np.zeros((rows, n), np.bool_)
    legal[made], active[made] = t.legal, True
    action, last = np.zeros((rows, n), np.int16), np.full((rows, n), -1, np.int16)
    action[made], last[made] = t.action, t.extras["last"]
    reward = np.zeros(rows, np.float32)
    reward[at] = _earned(t, seating, pay, step, episode, game, team)
    state = None if t.global_state is None else np.zeros((rows, *t.global_state.shape[1:]), np.float32)
    if state is not None and t.global_state is not None:
        state[at] = t.global_state[step]

    # Where a game was cut, whoever acted last would have gone on from what it saw, allowed what it was allowed before.
    place = np.full(t.games, -1)
    if cut_goes_on:
        place[t.cut_game] = np.arange(len(t.cut_game))
    cut = np.flatnonzero(place[game] >= 0)
    end, seats, which = ends[cut], seating.seat[team[cut]], place[game[cut]]
    active[end], legal[end] = active[end - 1], legal[end - 1]
    last[end] = np.where(active[end - 1], action[end - 1], last[end - 1])
    seen = t.cut_observation[which[:, None], seats]
    observation[end] = np.where(active[end].reshape(*active[end].shape, *(1,) * len(spec.observation)), seen, 0)
    if state is not None and t.cut_global_state is not None:
        state[end] = t.cut_global_state[which]
    return Episodes(observation, legal, active, action, last, reward, state, count + 1, team)


def _earned(
    t: Trajectories,
    seating: Seating,
    pay: Literal["mean", "sum"],
    step: NDArray[np.int64],  # of each team step
    episode: NDArray[np.int64],  # of each team step
    game: NDArray[np.int64],  # of each episode
    team: NDArray[np.int64],  # of each episode
) -> NDArray[np.float64]:
    """What each team step brought its team: the rewards from it on, up to the team's next step or the game's end."""
    # Steps in order of game: those that one team step answers for then follow it, up to the team's next.
    order = np.argsort(t.step_game, kind="stable")
    position = np.empty(t.steps, np.int64)
    position[order] = np.arange(t.steps)
    earned = np.zeros(len(step))
    for number in range(seating.teams):
        seats = seating.seat[number][seating.seat[number] >= 0]
        paid = t.reward[order][:, seats].sum(axis=1, dtype=np.float64) / (len(seats) if pay == "mean" else 1)
        own = np.flatnonzero(team[episode] == number)
        if not len(own):
            continue
        last = np.searchsorted(position[step[own]], np.arange(t.steps), side="right") - 1  # -1 before its first
        answers = own[last]
        theirs = (last >= 0) & (game[episode[answers]] == t.step_game[order])
        np.add.at(earned, answers[theirs], paid[theirs])
    return earned


@dataclass(frozen=True, slots=True)
class Batch:
    """Episodes side by side, in time: shorter ones end in rows where nobody acts."""

    observation: NDArray[np.float32]  # [T, b, n, *O]
    legal: NDArray[np.bool_]  # [T, b, n, A]
    active: NDArray[np.bool_]  # [T, b, n]
    action: NDArray[np.int16]  # [T, b, n]
    last: NDArray[np.int16]  # [T, b, n]
    reward: NDArray[np.float32]  # [T, b]
    state: NDArray[np.float32] | None  # [T, b, *G]
    playing: NDArray[np.bool_]  # [T, b] a team step; False in the last row and after
    team: NDArray[np.int64]  # [b]


_ROWS = ("observation", "legal", "active", "action", "last", "reward", "state")


class EpisodeReplay:
    """The newest `most` episodes: all their rows in one store, so that short ones take no more room than they need."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._columns: dict[str, NDArray[Any]] = {}
        self._used = 0  # rows of the store, from the front, that are taken
        self._start = np.zeros(0, np.int64)  # [E] where each episode begins, oldest first
        self._length = np.zeros(0, np.int64)
        self._team = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._start)

    def add(self, new: Episodes) -> None:
        """Take in episodes, and let go of the oldest beyond `most`."""
        rows = {name: getattr(new, name) for name in _ROWS if getattr(new, name) is not None}
        added = len(new.reward)
        if not self._columns or self._used + added > len(self._columns["reward"]):
            self._make_room(rows, added)
        for name, values in rows.items():
            self._columns[name][self._used : self._used + added] = values
        start = self._used + np.cumsum(new.length) - new.length
        self._used += added
        self._start = np.concatenate([self._start, start])[-self.most :]
        self._length = np.concatenate([self._length, new.length])[-self.most :]
        self._team = np.concatenate([self._team, new.team])[-self.most :]

    def sample(self, rng: np.random.Generator, count: int) -> Batch:
        """`count` different episodes, all as likely."""
        return self.batch(rng.choice(len(self), count, replace=False))

    def batch(self, chosen: Rows) -> Batch:
        """The episodes `chosen` [b], numbered from the oldest."""
        length = self._length[chosen]
        time = np.arange(length.max())[:, None]
        within = time < length
        rows = self._start[chosen] + np.minimum(time, length - 1)
        taken: dict[str, Any] = {"state": None} | {name: column[rows] for name, column in self._columns.items()}
        taken["active"] &= within[:, :, None]
        return Batch(**taken, playing=time < length - 1, team=self._team[chosen])

    def _make_room(self, like: Mapping[str, NDArray[Any]], rows: int) -> None:
        """What is kept, to the front of new arrays, with room for `rows` more and for some time after."""
        first = int(self._start[0]) if len(self) else 0
        kept = self._used - first
        for name, values in like.items():
            column = np.empty((kept + max(2 * rows, kept // 4, 1024), *values.shape[1:]), values.dtype)
            if kept:
                column[:kept] = self._columns[name][first : self._used]
            self._columns[name] = column
        self._start -= first
        self._used = kept

    def state(self) -> dict[str, NDArray[Any]]:
        """All that is kept, as copies."""
        first = int(self._start[0]) if len(self) else 0
        kept = {name: column[first : self._used].copy() for name, column in self._columns.items()}
        return kept | {"length": self._length.copy(), "team": self._team.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state` gave. Raises ValueError where part of it is missing."""
        missing = {"length", "team"} - set(state)
        if missing:
            raise ValueError(f"This is not the state of an episode replay: {min(missing)!r} is missing from it.")
        self._used, self._columns = 0, {}
        self._start = self._length = self._team = np.zeros(0, np.int64)
        if len(state["length"]):
            given = {f.name: state.get(f.name) for f in fields(Episodes)}
            self.add(Episodes(**given))  # type: ignore[arg-type]
