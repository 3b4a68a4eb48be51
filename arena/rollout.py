"""Playing matches on a table: many games at once, every player's decisions in one call, ended rows restarted at once.

A `Rollout` works off orders. It keeps its unfinished games from one order to the next, so short games do not crowd out
long ones and no row ever waits for another.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.core import Choice, Context, Policy, Trajectories
from agents.scripted import Random
from arena.files import Arrays
from arena.match import Table, choice_keys
from arena.recorder import CUT, TERMINATED, Recorder
from games import NO_ACTION, Decisions, Game, GameError, Keys
from games.keys import OPENING, mix
from leagues.core import Match, Result

IDLE = -1
KEEP_MOVES = frozenset({"rate", "gate", "audit", "human"})


class Roster(Protocol):
    """Where a rollout finds the policies of the players it is told of."""

    def policy(self, player: str) -> Policy: ...

    def version(self, player: str) -> int:
        """Of the weights that `policy` plays with: the learner's updates so far."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """Work for a rollout: until the learners have made so many decisions, or until the matches are over."""

    matches: tuple[Match, ...]
    decisions: int | None = None  # None: play every game of `matches`
    learners: tuple[str, ...] = ()  # whose decisions are recorded


@dataclass(slots=True)
class Batch:
    """What an order brought."""

    results: list[Result] = field(default_factory=list)
    voids: list[tuple[int, int, str]] = field(default_factory=list)  # match, game, why its environment broke
    trajectories: dict[str, Trajectories] = field(default_factory=dict)  # by learner
    decisions: int = 0  # of everyone
    thinking: dict[str, tuple[int, float]] = field(default_factory=dict)  # player -> its decisions, seconds
    seconds: dict[str, float] = field(default_factory=dict)  # spent on what; "network", if any, is part of "policy"
    evaluated: int = 0  # positions, by networks that count them
    forwards: float = 0.0  # passes of these; of one that others shared, our part


class Rollout:
    """`B` rows of games in progress."""

    def __init__(self, game: Game, roster: Roster, rows: int, *, piece: int = 1024, most_failed: float = 0.1) -> None:
        self.game, self.roster, self.piece, self.most_failed = game, roster, piece, most_failed
        self._rows = np.arange(rows)
        self._table = Table(game, np.zeros(rows, np.uint64))
        self._table.over[:] = True  # nothing is played until there is a match
        self._scratch = Decisions.empty(game.spec, rows)
        self._recorder: Recorder | None = None
        self._numbers: dict[str, int] = {}  # player -> what stands for it in `_lineup`
        self._lineup = np.zeros((rows, game.spec.seats), np.int64)  # [B, P]
        self._match = np.full(rows, IDLE, np.int64)  # [B] id of the match in each row
        self._number = np.zeros(rows, np.int64)  # [B] which of its games
        self._opening = np.zeros(rows, np.int64)  # [B] plies played at random
        self._matches: dict[int, Match] = {}  # those with a game on the table
        self._next: dict[int, int] = {}  # match -> its next game
        self._queue: deque[Match] = deque()
        self._memory: dict[str, NDArray[np.float32]] = {}  # player -> [B, P, *M]
        self._scratches: dict[str, dict[str, Any]] = {}  # player -> what it leaves for its next call, within an order
        self._thinking: dict[str, tuple[int, float]] = {}  # of the present order's batch
        self._network = np.zeros(3)  # what networks did for it: seconds, positions, forward passes
        self._warm: set[str] = set()  # players who have been called before
        self._random = Random()

    def run(self, order: Order) -> Batch:
        """Carry out `order`; matches of earlier orders give up their rows as their games end."""
        began = perf_counter()
        batch = Batch(seconds={"policy": 0.0, "game": 0.0})
        if order.learners and self._recorder is None:
            self._recorder = Recorder(self.game.spec, len(self._rows))
        self._learners, self._thinking = order.learners, batch.thinking
        self._network[:] = 0
        self._forget_players()
        # Not beyond an order: the next may come with other weights, or after a resume that knows nothing of these.
        self._scratches.clear()
        self._queue = deque(order.matches)
        self._next = {m.id: self._next.get(m.id, 0) for m in [*order.matches, *self._matches.values()]}
        self._seat(self._rows[self._match == IDLE])
        while self._unfinished(order) and not failing(batch, self.most_failed):
            self._step(batch)
        if self._recorder is not None and order.learners:
            self._cut_long_games()
            batch.trajectories = self._recorder.harvest(order.learners)
        if self._network.any():
            batch.seconds["network"] = float(self._network[0])
            batch.evaluated, batch.forwards = int(self._network[1]), float(self._network[2])
        batch.seconds["total"] = perf_counter() - began
        return batch

    def _unfinished(self, order: Order) -> bool:
        if order.decisions is None or self._recorder is None:
            return bool((self._match != IDLE).any())
        return self._recorder.wanted < order.decisions and bool((self._match != IDLE).any())

    def _step(self, batch: Batch) -> None:
        """One step of every game on the table."""
        recorder = self._recorder if self._learners else None
        began = perf_counter()
        decisions = self._table.pending(recorder.slot() if recorder else self._scratch)
        if recorder:
            recorder.begin()
        decided = perf_counter()
        actions = self._choose(decisions, recorder)
        chosen = perf_counter()
        outcome = self._table.play(actions)
        batch.decisions += int((actions >= 0).sum())
        if recorder:
            recorder.close(actions, outcome, self._match != IDLE)
        self._finish(outcome.terminated, outcome.truncated, outcome.failed, batch)
        batch.seconds["policy"] += chosen - decided
        batch.seconds["game"] += decided - began + perf_counter() - chosen

    def _choose(self, decisions: Decisions, recorder: Recorder | None) -> NDArray[np.int64]:
        """Everyone's actions [B, S], one call for each player at the table."""
        active = decisions.active & (self._match != IDLE)[:, None]
        keys = choice_keys(self._table.keys, self._table.steps, decisions.seat)
        player = np.where(active, np.take_along_axis(self._lineup, decisions.seat.astype(np.int64), axis=1), IDLE)
        actions = np.full(active.shape, NO_ACTION, np.int64)
        opening = active & (self._table.steps < self._opening)[:, None]
        if opening.any():
            rows, slots = np.nonzero(opening)
            opening_keys = mix(self._table.keys[rows], OPENING, self._table.steps[rows], slots)[:, None]
            context = Context(self.game, self._table.states, rows)
            actions[rows, slots] = self._random.act(decisions.take(rows, slots), context, opening_keys).action[:, 0]
            player[opening] = IDLE
        for name, number in self._numbers.items():
            rows, slots = np.nonzero(player == number)
            if not len(rows):
                continue
            choice = self._ask(name, decisions, keys, rows, slots)
            actions[rows, slots] = choice.action.reshape(-1)
            if recorder and name in self._learners:
                extras = {k: v.reshape(-1, *v.shape[2:]) for k, v in choice.extras.items()}
                recorder.choose(rows, slots, self._learners.index(name), self.roster.version(name), extras)
        return actions

    def _ask(
        self, name: str, decisions: Decisions, keys: Keys, rows: NDArray[np.int64], slots: NDArray[np.int64]
    ) -> Choice:
        """One player's choices at (rows, slots) [n], with n games of one slot, or in place where all are its own."""
        policy = self.roster.policy(name)
        seats = decisions.seat[rows, slots]
        if len(rows) == decisions.active.size and policy.memory is None:
            return self._timed(name, policy, decisions, self._context(name, self._rows), keys)
        context = self._context(name, rows)
        if policy.memory is not None:
            if name not in self._memory:
                shape = (len(self._rows), self.game.spec.seats, *policy.memory)
                self._memory[name] = np.zeros(shape, np.float32)
            context.memory = self._memory[name][rows, seats][:, None]
        choice = self._timed(name, policy, decisions.take(rows, slots), context, keys[rows, slots][:, None])
        if choice.memory is not None:
            self._memory[name][rows, seats] = choice.memory[:, 0]
        return choice

    def _timed(self, name: str, policy: Policy, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        """What `policy` chooses, for as many decisions as there are `keys` [B, S]; the time is noted for its player.

        A player's first call here is not: it compiles, and loads what later ones find in place.
        """
        before, began = spent(policy), perf_counter()
        choice = policy.act(decisions, context, keys)
        self._network += spent(policy) - before
        if name in self._warm:
            made, seconds = self._thinking.get(name, (0, 0.0))
            self._thinking[name] = (made + keys.size, seconds + perf_counter() - began)
        self._warm.add(name)
        return choice

    def _context(self, name: str, rows: NDArray[np.int64]) -> Context:
        table, scratch = self._table, self._scratches.setdefault(name, {})
        return Context(self.game, table.states, rows, history=table.history, scratch=scratch)

    def _finish(
        self, terminated: NDArray[np.bool_], truncated: NDArray[np.bool_], failed: Mapping[int, str], batch: Batch
    ) -> None:
        """Write down the games that ended, and put new ones into their rows."""
        ended = np.flatnonzero(terminated | truncated)
        table = self._table
        for row in ended.tolist():
            match = self._matches[int(self._match[row])]
            moves = table.played(row) if match.purpose in KEEP_MOVES else None
            returns = tuple(table.returns[row].tolist())
            cut = bool(truncated[row])
            batch.results.append(Result(match.id, int(self._number[row]), returns, int(table.steps[row]), cut, moves))
        broken = np.array([row for row in sorted(failed) if self._match[row] != IDLE], np.int64)
        for row in broken.tolist():
            batch.voids.append((int(self._match[row]), int(self._number[row]), failed[row]))
        if self._recorder is not None and self._learners:
            if truncated.any():
                self._end_cut(np.flatnonzero(truncated))
            if terminated.any():
                self._recorder.end(np.flatnonzero(terminated), TERMINATED)
            if len(broken):
                self._recorder.drop(broken)
        if len(ended) or len(broken):
            self._seat(np.concatenate([ended, broken]))

    def _end_cut(self, rows: NDArray[np.int64]) -> None:
        """Tell the recorder what every seat saw where the games in `rows` were cut."""
        assert self._recorder is not None
        seats = self.game.spec.seats
        views = np.zeros((len(rows) * seats, *self.game.spec.observation), np.float32)
        self.game.observe(self._table.states, np.repeat(rows, seats), np.tile(np.arange(seats), len(rows)), views)
        state = None
        if self.game.spec.global_state is not None:
            written = self.game.decisions(self._table.states).global_state
            assert written is not None
            state = written[rows]
        self._recorder.end(rows, CUT, views.reshape(len(rows), seats, *views.shape[1:]), state)

    def _cut_long_games(self) -> None:
        """Hand out very long games in pieces, so that memory stays bounded and learning need not wait."""
        assert self._recorder is not None
        rows = self._recorder.long(self.piece)
        if len(rows):
            self._end_cut(rows)

    def _seat(self, rows: NDArray[np.int64]) -> None:
        """Put the next game of the queue into each of `rows`, or leave it idle."""
        seeds, lucks = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.int64)
        for i, row in enumerate(rows.tolist()):
            match = self._draw()
            if match is None:
                self._match[row] = IDLE
                self._table.over[row] = True
                continue
            game = self._next[match.id]
            self._next[match.id] = game + 1
            self._matches[match.id] = match
            self._match[row], self._number[row], self._opening[row] = match.id, game, match.opening
            lineup = match.lineup(game, self.game.spec.teams)
            self._lineup[row] = [self._numbers.setdefault(player, len(self._numbers)) for player in lineup]
            seeds[i], lucks[i] = match.seed, match.luck(game)
            for memory in self._memory.values():
                memory[row] = 0
        seated = self._match[rows] != IDLE
        self._table.restart(rows[seated], mix(seeds, lucks)[seated])  # match.key(game) of each, at once
        at_play = set(self._match.tolist())
        self._matches = {id: match for id, match in self._matches.items() if id in at_play}

    def _draw(self) -> Match | None:
        """The match whose turn it is: each of the order's in turn, until it has had all its games."""
        while self._queue:
            match = self._queue.popleft()
            if match.games is None or self._next[match.id] < match.games:
                self._queue.append(match)
                return match
        return None

    def _forget_players(self) -> None:
        """Drop who is not at play any more, so that nothing here grows with the league."""
        at_play = {player for match in self._matches.values() for player in match.players}
        stay = [player for player in self._numbers if player in at_play]
        renumbered = np.zeros(len(self._numbers) + 1, np.int64)
        renumbered[[self._numbers[player] for player in stay]] = np.arange(len(stay))
        self._lineup = renumbered[self._lineup]
        self._numbers = {player: number for number, player in enumerate(stay)}
        self._memory = {player: kept for player, kept in self._memory.items() if player in at_play}

    def state(self) -> Arrays:
        """Everything it takes to go on exactly from here, between two orders."""
        record = {
            "matches": [asdict(match) for match in self._matches.values()],
            "next": list(self._next.items()),
            "numbers": list(self._numbers),
        }
        table = self._table
        arrays: Arrays = {
            "record": np.frombuffer(json.dumps(record).encode(), np.uint8),
            "keys": table.keys,
            "steps": table.steps,
            "moves": table.moves,
            "returns": table.returns,
            "lineup": self._lineup,
            "match": self._match,
            "number": self._number,
            "opening": self._opening,
        }
        arrays |= {f"memory.{player}": memory for player, memory in self._memory.items()}
        if self._recorder is not None:
            arrays |= {f"recorder.{name}": array for name, array in self._recorder.state().items()}
        return arrays

    def restore(self, state: Arrays) -> None:
        """Continue from what `state` gave; the boards are played again from their keys and moves.

        Raises GameError where a game goes another way in that.
        """
        record = json.loads(state["record"].tobytes())
        matches = [Match(**fields | {"players": tuple(fields["players"])}) for fields in record["matches"]]
        self._matches = {match.id: match for match in matches}
        self._next = dict(record["next"])
        self._numbers = {player: number for number, player in enumerate(record["numbers"])}
        self._lineup, self._match = state["lineup"].copy(), state["match"].copy()
        self._number, self._opening = state["number"].copy(), state["opening"].copy()
        self._table = Table(self.game, state["keys"])
        self._replay(state["moves"], state["steps"])
        self._table.returns[:] = state["returns"]
        self._memory = {name[7:]: array.copy() for name, array in state.items() if name.startswith("memory.")}
        kept = {name.removeprefix("recorder."): a for name, a in state.items() if name.startswith("recorder.")}
        if kept:
            self._recorder = Recorder(self.game.spec, len(self._rows))
            self._recorder.restore(kept)

    def _replay(self, moves: NDArray[np.int16], steps: NDArray[np.int64]) -> None:
        reason = "a game ended early."
        try:
            self._table.replay(moves, steps)
        except GameError as error:
            reason = str(error)
        else:
            if not self._table.over[self._match != IDLE].any():
                return
        name = self.game.spec.name
        raise GameError(
            f"{name} does not replay from its key and moves, so its games under way cannot be gone on with: {reason}"
            f" Try `arena check {name}`; its run can be resumed with rollout.workers=1, without these games."
        )


def spent(policy: Policy) -> NDArray[np.float64]:
    """What the network of `policy` did so far [3]: seconds, positions, forward passes; zeros where it does not say."""
    network: Any = getattr(policy, "network", None)
    if not hasattr(network, "batches"):
        return np.zeros(3)
    return np.array([network.seconds, network.asked - network.found, network.batches])


def failing(batch: Batch, most: float) -> bool:
    """Whether more than a share `most` of the games were void, once there are enough to tell."""
    return len(batch.voids) >= 20 and len(batch.voids) > most * (len(batch.voids) + len(batch.results))
