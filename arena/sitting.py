"""People and players at one table for one game, whatever shows it: a prompt, a text interface, a page.

    while not sitting.over:
        if sitting.waiting:                      # people who must choose before anything moves
            sitting.choose(seat, action)
        else:
            sitting.advance()                    # agents choose, and all of it is played

There is no screen, clock or thread here, so calls come one at a time. A person is shown what the game shows to their
seat; what agents think of their own decisions is told only where it gives nothing away (`may_tell`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.core import Analysis, Context, Policy
from arena.match import Table, choice_keys
from games import NO_ACTION, Decisions, Game, GameError, GameSpec, Keys


@runtime_checkable
class Analyst(Protocol):
    """A policy that can say what it thinks."""

    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis: ...


@dataclass(frozen=True, slots=True)
class Occupant:
    """Who sits on a seat."""

    name: str  # what they are called
    policy: Policy | None = None  # None: a person
    reference: str = ""  # which player it is, where that is not its name

    @property
    def player(self) -> str:
        return self.reference or self.name


@dataclass(frozen=True, slots=True)
class PlayedGame:
    """One game as it stood when everyone rose from the table. Moves that were taken back are no part of it."""

    returns: tuple[float, ...]  # [P] each seat's sum of rewards
    length: int  # steps played
    truncated: bool
    moves: NDArray[np.int16]  # [length, S]
    key: int  # uint64, nature's: with the moves it replays the game
    finished: bool  # ended by its rules or cut; False where the person left or the game broke
    failure: str | None = None  # why the game broke


@dataclass(frozen=True, slots=True)
class Thought:
    """What somebody made of one decision."""

    seat: int  # whose decision
    analysis: Analysis
    earned: float = 0.0  # what the seat had earned by then

    @property
    def expected(self) -> float:
        """What the seat expected to have returned in the end."""
        return self.earned + self.analysis.value

    def shares(self) -> dict[int, float]:
        """Each action's share of the visits, or of the prior where there was no search."""
        options = self.analysis.options
        visits = sum(option.visits for option in options)
        return {option.action: option.visits / visits if visits else option.prior for option in options}


_Memory = dict[int, NDArray[np.float32] | None]  # seat -> [1, 1, *M]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the game so far."""

    actions: Mapping[int, int]  # seat -> action
    names: Mapping[int, str]  # seat -> the move by name
    decided: bool  # a person chose
    memory: _Memory  # the agents', before the step


class Sitting:
    """One game at one table."""

    def __init__(self, game: Game, occupants: Sequence[Occupant], key: int) -> None:
        """`key` (uint64) is nature's. Raises GameError where there is not one occupant for each seat."""
        if len(occupants) != game.spec.seats:
            raise GameError(f"{game.spec.name} has {game.spec.seats} seats, but {len(occupants)} occupants are given.")
        self.game, self.spec = game, game.spec
        self.occupants = list(occupants)
        self.table = Table(game, np.array([key], np.uint64))
        self.line: list[Step] = []
        self.chosen: dict[int, int] = {}  # what people chose in the step that is under way
        self.thoughts: dict[int, Thought] = {}  # by how many steps had been played
        self.helped: list[str] = []
        """What people did that players on the ladder cannot, as in "a hint was used"; each once, in order."""
        self.truncated = False
        self.failure: str | None = None
        self._memory: _Memory = {}
        # What agents left for their next decision, by seat: what one seat was shown never reaches another.
        self._scratch: dict[int, dict[str, Any]] = {}

    # ---- who and whose turn

    @property
    def people(self) -> list[int]:
        """The seats that people sit on."""
        return [seat for seat, occupant in enumerate(self.occupants) if occupant.policy is None]

    @property
    def names(self) -> list[str]:
        """[P] what each is called: `you` where one person sits; where two share a name, it tells the seats apart."""
        people = self.people
        called = ["you" if people == [seat] else each.name for seat, each in enumerate(self.occupants)]
        return [name if called.count(name) == 1 else f"{name} (seat {seat})" for seat, name in enumerate(called)]

    @property
    def over(self) -> bool:
        return bool(self.table.over[0])

    @property
    def steps(self) -> int:
        return len(self.line)

    @property
    def acting(self) -> list[int]:
        """The seats that act in this step."""
        return acting_seats(self.table)

    @property
    def waiting(self) -> list[int]:
        """The people among them who have yet to choose."""
        return [seat for seat in self.acting if self.occupants[seat].policy is None and seat not in self.chosen]

    def legal(self, seat: int) -> list[int]:
        """What `seat`, who acts, may do."""
        legal: list[int] = np.flatnonzero(self.table.pending().legal[0, self._slot(seat)]).tolist()
        return legal

    def move_names(self, seat: int) -> list[str]:
        """The names of `legal`, in its order."""
        return [self.game.action_name(self.table.states, 0, seat, action) for action in self.legal(seat)]

    def may_tell(self, seat: int) -> bool:
        """Whether what is thought and played on `seat` may be told now: not where people would learn what is hidden."""
        people = self.people
        return self.spec.perfect_information or not people or people == [seat] or self.over

    # ---- playing

    def choose(self, seat: int, action: int) -> None:
        """The person on `seat` plays `action`; nothing moves before `advance`.

        Raises GameError, and nothing has changed, where it is not theirs to choose or the action is not legal.
        """
        if seat not in self.waiting:
            raise GameError("The game is over." if self.over else f"It is not seat {seat}'s turn.")
        if action not in self.legal(seat):
            raise GameError(f"Action {action} is not legal here.")
        self.chosen[seat] = action

    def advance(self) -> Step | None:
        """Play one step: agents choose beside what people chose. None where the game broke as it was asked who acts.

        Raises GameError where somebody is still waited for, the game is over, or an agent chose what is not legal.
        """
        if self.over or self.waiting:
            raise GameError("The game is over." if self.over else f"Seat {self.waiting[0]} has yet to choose.")
        chosen, memory = dict(self.chosen), dict(self._memory)
        acting = self.acting
        for seat in acting:
            policy = self.thinker(seat)
            if policy is not None and (seat not in chosen or policy.memory is not None):
                action, memory[seat] = self._consult(policy, seat, self._scratch.setdefault(seat, {}))
                chosen.setdefault(seat, action)
        decided = bool(self.chosen)
        self.chosen = {}
        return self._play({seat: chosen[seat] for seat in acting}, decided, memory)

    def undo(self) -> int:
        """Back to the last decision of a person (without people: one step); how many steps that took back.

        What a person chose in a step that is not played yet goes back first.
        """
        if self.chosen:
            self.chosen = {}
            return 0
        decided = [number for number, step in enumerate(self.line) if step.decided or not self.people]
        if not decided:
            return 0
        steps = len(self.line) - decided[-1]
        self.table.undo(steps)
        if self.over:
            raise GameError(f"{self.spec.name} broke when its first {decided[-1]} steps were replayed to undo a move.")
        self.truncated, self.failure = False, None
        self._memory = self.line[decided[-1]].memory
        self._scratch.clear()
        del self.line[decided[-1] :]
        self.thoughts = {step: thought for step, thought in self.thoughts.items() if step <= len(self.line)}
        if self.people:
            self.note("a move was taken back")
        return steps

    @property
    def can_undo(self) -> bool:
        return bool(self.chosen) or any(step.decided or not self.people for step in self.line)

    def seat_down(self, occupants: Sequence[Occupant]) -> None:
        """Go on with other `occupants` [P]. Players with memory catch up with the game so far."""
        if self.line:
            self.note("seats changed hands in mid-game")
        self.occupants, self.chosen = list(occupants), {}
        self._scratch.clear()
        self._catch_up()

    def note(self, helped: str) -> None:
        """Remember that people had help, so that the ladder does not count the game."""
        if helped not in self.helped:
            self.helped.append(helped)

    def record(self) -> PlayedGame:
        """The game as it stands."""
        return PlayedGame(
            returns=tuple(self.table.returns[0].tolist()),
            length=int(self.table.steps[0]),
            truncated=self.truncated,
            moves=self.table.played(0),
            key=int(self.table.keys[0]),
            finished=self.over and self.failure is None,
            failure=self.failure,
        )

    # ---- what is thought of it

    @property
    def adviser(self) -> int | None:
        """The seat whose agent advises people: the first that can say why, else the first; None without agents."""
        agents = [seat for seat, occupant in enumerate(self.occupants) if occupant.policy is not None]
        return min(agents, key=lambda seat: not isinstance(self.occupants[seat].policy, Analyst), default=None)

    def thinker(self, seat: int) -> Policy | None:
        """Who thinks for `seat`: its own agent; for a person the adviser, if there is one."""
        policy, adviser = self.occupants[seat].policy, self.adviser
        return policy if policy is not None or adviser is None else self.occupants[adviser].policy

    def hint(self, seat: int, policy: Policy | None = None) -> tuple[int, Analysis | None]:
        """What `policy` (default: `thinker`) would play on `seat`, who acts, and why, where it can say.

        It starts afresh: the game does not depend on being asked. Raises GameError where there is nobody to ask.
        """
        policy = policy or self.thinker(seat)
        if policy is None:
            raise GameError("No agent sits at the table to be asked.")
        self.note("a hint was used")
        action, _ = self._consult(policy, seat, {})
        return action, self._analysis(policy, seat)

    def think(self) -> Thought | None:
        """What is thought of the decision that is due, kept in `thoughts`.

        None where nobody can say, the game is over, or it may not be told. Of seats that act at once it is the first
        that may be told.
        """
        told = self.thoughts.get(self.steps)
        seats = [seat for seat in self.acting if self.may_tell(seat)]
        if told is not None or not seats:
            return told
        policy = self.thinker(seats[0])
        analysis = None if policy is None else self._analysis(policy, seats[0])
        if analysis is None:
            return None
        if self.people:
            self.note("analysis was shown")
        self.thoughts[self.steps] = Thought(seats[0], analysis, float(self.table.returns[0, seats[0]]))
        return self.thoughts[self.steps]

    # ---- how it is done

    def _analysis(self, policy: Policy, seat: int) -> Analysis | None:
        return policy.analyse(*self._question(policy, seat, {})) if isinstance(policy, Analyst) else None

    def _consult(self, policy: Policy, seat: int, scratch: dict[str, Any]) -> tuple[int, NDArray[np.float32] | None]:
        """What `policy` plays on `seat` now, and what it then remembers."""
        decision, context, keys = self._question(policy, seat, scratch)
        choice = policy.act(decision, context, keys)
        action, legal = int(choice.action[0, 0]), np.flatnonzero(decision.legal[0, 0]).tolist()
        if action not in legal:
            raise GameError(f"{self.names[seat]} chose action {action}, which is not legal; legal here: {legal}.")
        return action, self._memory.get(seat) if choice.memory is None else choice.memory

    def _question(self, policy: Policy, seat: int, scratch: dict[str, Any]) -> tuple[Decisions, Context, Keys]:
        """The decision of `seat` as `policy` is asked it."""
        memory = self._memory.get(seat)
        if policy.memory is not None:
            memory = np.zeros((1, 1, *policy.memory), np.float32) if memory is None else memory.copy()
        return question(self.table, seat, memory, scratch)

    def _play(self, chosen: dict[int, int], decided: bool, memory: _Memory) -> Step | None:
        table, spec = self.table, self.spec
        actions = np.full((1, spec.slots), NO_ACTION, np.int64)
        for seat, action in chosen.items():
            actions[0, self._slot(seat)] = action
        names = {seat: self.game.action_name(table.states, 0, seat, action) for seat, action in chosen.items()}
        outcome = table.play(actions)
        self.failure = outcome.failed.get(0)
        self.truncated = bool(outcome.truncated[0])
        if not chosen:  # a game that broke when it was asked who acts says so only now
            if self.failure is None:
                raise GameError(f"{spec.name} asks nobody to act at step {self.steps}, but it is not over.")
            return None
        self.line.append(Step(chosen, names, decided, self._memory))
        self._memory = memory
        return self.line[-1]

    def _catch_up(self) -> None:
        """Let whoever sits here now, and remembers, see the game so far as if they had sat here from the start."""
        if all(each.policy is None or each.policy.memory is None for each in self.occupants):
            return
        line, self.line, self._memory = self.line, [], {}
        thoughts, self.thoughts = self.thoughts, {}
        self.table.undo(len(line))
        for step in line:
            memory = dict(self._memory)
            for seat in step.actions:
                policy = self.thinker(seat)
                if policy is not None and policy.memory is not None:
                    _, memory[seat] = self._consult(policy, seat, {})
            self._play(dict(step.actions), step.decided, memory)
        self.thoughts = thoughts

    def _slot(self, seat: int) -> int:
        return seat if self.spec.simultaneous else 0


def acting_seats(table: Table) -> list[int]:
    """Who acts in the first game; nobody where it is over."""
    decisions = table.pending()
    seats: list[int] = decisions.seat[0, decisions.active[0]].tolist()
    return seats


def course(spec: GameSpec, thoughts: Mapping[int, Thought], side: int) -> list[tuple[int, float]]:
    """What the team of seat `side` expected to return, by steps played: by its own thoughts, and by those of the other
    of two sides whose gain is its loss."""
    told = []
    for step, thought in sorted(thoughts.items()):
        own = spec.teams[thought.seat] == spec.teams[side]
        if own or duel(spec):
            told.append((step, thought.expected if own else -thought.expected))
    return told


def duel(spec: GameSpec) -> bool:
    """Whether there are two sides, and what one gains the other loses."""
    return spec.competitive and len(set(spec.teams)) == 2 and spec.payoff == "zero_sum"


def question(
    table: Table, seat: int, memory: NDArray[np.float32] | None = None, scratch: dict[str, Any] | None = None
) -> tuple[Decisions, Context, Keys]:
    """The decision of `seat`, who acts in the first game of `table`, as a policy is asked it: one game and one slot."""
    row = np.zeros(1, np.int64)
    decision = table.pending().take(row, row + (seat if table.game.spec.simultaneous else 0))
    context = Context(table.game, table.states, row, memory, table.history, scratch)
    return decision, context, choice_keys(table.keys, table.steps, decision.seat)


def thought(table: Table, policy: Policy, seat: int) -> Thought | None:
    """What `policy` makes of the decision of `seat` in the first game of `table`; None where it cannot say.

    One with memory cannot: it would have had to follow the game.
    """
    if policy.memory is not None or not isinstance(policy, Analyst):
        return None
    return Thought(seat, policy.analyse(*question(table, seat)), float(table.returns[0, seat]))
