"""OpenSpiel's games (Lanctot et al. 2019, arXiv:1908.09453), by names like `openspiel/go?board_size=9`.

Sequential, simultaneous and mixed games with numbered actions and a tensor; chance nodes are played inside a step, from
its key. Not handled, each refused with a sentence: mean-field games, games that draw their chance from a generator of
their own (no key could replay them), and games without a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyspiel
from numpy.typing import NDArray
from open_spiel.python.observation import INFO_STATE_OBS_TYPE, make_observation

from games.core import GameError, GameSpec, Payoff
from games.lift import Lifted
from games.names import did_you_mean
from games.openspiel_symmetries import symmetries
from games.scene import Scene

_CHANCE, _TOGETHER, _OVER = (
    int(turn) for turn in (pyspiel.PlayerId.CHANCE, pyspiel.PlayerId.SIMULTANEOUS, pyspiel.PlayerId.TERMINAL)
)
_PRIME = 2**61 - 1

# OpenSpiel says nothing of teams; in these, partners sit across the table and share every return.
_PARTNERS = dict.fromkeys(("bridge", "euchre", "spades", "tiny_bridge_4p"), (0, 1, 0, 1))

# OpenSpiel has no flag for `resample_from_infostate`: in random games with every draw replayed from its history, these
# draw what a seat cannot see and keep what it can. Left out on purpose: euchre and hearts give others cards that they
# have shown not to hold, colored_trails draws nothing. Everything else does not implement it.
# bridge takes 0.2 s a draw, unless use_double_dummy_result=false.
_RESAMPLES = {
    "bargaining", "blackjack", "bridge", "gin_rummy", "kuhn_poker", "leduc_poker", "oh_hell", "universal_poker",
}  # fmt: skip


Turn = tuple[tuple[int, ...], bool, bool]
"""Which seats act, whether the game is over, whether they act together."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What all boards of one game share."""

    game: Any
    observer: Any  # its `set_from(state, seat)` overwrites `seen`
    seen: NDArray[np.float32]  # [*O]
    text: Callable[[Any, int], str]  # (state, seat): what that seat may read
    turns: dict[int, Turn]  # by OpenSpiel's current player
    nothing: tuple[float, ...]  # [P] the rewards of a step that brings none
    pays_along: bool  # whether rewards come before the end
    base: int  # more than any chance outcome's number, plus one


class Board:
    """One OpenSpiel state, its chance nodes played (a `games.lift.Single`)."""

    __slots__ = ("chance", "over", "paid", "rules", "seats", "state", "together")
    truncated = False

    def __init__(self, rules: Rules, rng: np.random.Generator) -> None:
        self.rules = rules
        self.state = rules.game.new_initial_state()
        self.paid: Sequence[float] = rules.nothing
        self._advance(rng)

    def legal(self, seat: int) -> Sequence[int]:
        actions: list[int] = self.state.legal_actions(seat) if self.together else self.state.legal_actions()
        return actions

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        self.rules.observer.set_from(self.state, seat)
        out[...] = self.rules.seen

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        if self.together:
            self.state.apply_actions(actions)
        else:
            self.state.apply_action(actions[0])
        self._advance(rng)
        if not (self.over or self.rules.pays_along):
            return self.rules.nothing
        before, self.paid = self.paid, self.state.returns()
        return [now - then for now, then in zip(self.paid, before, strict=True)]

    def copy(self) -> Board:
        twin = object.__new__(Board)
        twin.rules, twin.state, twin.paid = self.rules, self.state.clone(), self.paid
        twin.seats, twin.over, twin.together, twin.chance = self.seats, self.over, self.together, self.chance
        return twin

    def resample(self, seat: int, rng: np.random.Generator) -> Board:
        """A world that `seat` cannot tell from this one. For games in `_RESAMPLES` only."""
        twin = object.__new__(Board)
        twin.rules, twin.state = self.rules, self.state.resample_from_infostate(seat, rng.random)
        twin.paid = twin.state.returns() if self.rules.pays_along else self.rules.nothing
        twin._advance(rng)
        twin.chance = 0
        return twin

    def text(self, seat: int) -> str:
        return self.rules.text(self.state, seat)

    def scene(self, seat: int) -> Scene | None:
        from games.openspiel_scenes import scene

        return scene(self.rules.game, self.state, seat)

    def action_name(self, seat: int, action: int) -> str:
        return str(self.state.action_to_string(seat, action))

    def _advance(self, rng: np.random.Generator) -> None:
        """Play what is nature's to play, then see whose turn it is."""
        state = self.state
        self.chance = 0
        while (turn := state.current_player()) == _CHANCE:
            outcome = _draw(state.chance_outcomes(), rng.random())
            state.apply_action(outcome)
            # Digits from 1 to base - 1: no two sequences share a number until it outgrows 61 bits, then by luck only.
            self.chance = (self.chance * self.rules.base + outcome + 1) % _PRIME
        self.seats, self.over, self.together = self.rules.turns[turn]


def _draw(outcomes: Sequence[tuple[int, float]], ticket: float) -> int:
    """The outcome that `ticket` in [0, 1) falls on; the last one where rounding leaves a gap at the top."""
    for outcome, probability in outcomes:
        ticket -= probability
        if ticket < 0:
            return outcome
    return outcomes[-1][0]


def openspiel(name: str, *, tensor: str | None = None, **params: Any) -> Lifted:
    """OpenSpiel's game `name` with its own `params`, e.g. `openspiel("go", board_size=9)`.

    `tensor` is what seats observe, "observation" or "information_state": unless given, the information state where
    information is imperfect and there is one, else the observation. A tensor of three axes (planes, rows, columns)
    keeps its shape, any other is flat. An action that is not legal must not reach `step`: OpenSpiel does not check.

    Raises GameError where there is no such game or parameter, or the game cannot be played here.
    """
    reference = _reference(name, params if tensor is None else {**params, "tensor": tensor})
    declared = _declared(name, params)
    try:
        return _wrap(reference, pyspiel.load_game(name, declared), tensor)
    except (RuntimeError, LookupError, TypeError, ValueError) as error:  # what OpenSpiel raises for odd parameters
        raise GameError(f"{reference} cannot be made: {error}") from error


def _wrap(reference: str, game: Any, tensor: str | None) -> Lifted:
    kind = game.get_type()
    if reason := _refusal(kind):
        raise GameError(f"{reference} cannot be played here: it {reason}.")
    observer, shape = _observer(reference, game, tensor)
    seats = game.num_players()
    perfect = kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION
    together = kind.dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS
    payoff = _payoff(kind) if seats > 1 else "general_sum"
    spec = GameSpec(
        name=reference,
        seats=seats,
        actions=game.num_distinct_actions(),
        observation=shape,
        longest=game.max_game_length(),
        teams=_PARTNERS.get(kind.short_name, (0,) * seats if payoff == "cooperative" else ()),
        simultaneous=together,
        perfect_information=perfect,
        stochastic=kind.chance_mode != pyspiel.GameType.ChanceMode.DETERMINISTIC,
        payoff=payoff,
        bounds=(float(game.min_utility()), float(game.max_utility())),
        searchable=True,
        resamples=kind.short_name in _RESAMPLES,
        symmetries=symmetries(game, shape),
    )
    rules = Rules(
        game=game,
        observer=observer,
        seen=observer.tensor.reshape(shape),
        text=_text(spec, kind),
        turns={
            **{seat: ((seat,), False, False) for seat in range(seats)},
            _TOGETHER: (tuple(range(seats)), False, True),
            _OVER: ((), True, False),
        },
        nothing=(0.0,) * seats,
        pays_along=kind.reward_model == pyspiel.GameType.RewardModel.REWARDS,
        base=game.max_chance_outcomes() + 1,
    )
    return Lifted(spec, lambda rng: Board(rules, rng))


@dataclass(frozen=True, slots=True)
class Listed:
    """A game that can be made without parameters, as OpenSpiel registers it.

    A made game may turn out narrower: battleship is registered as general-sum, but its default ships make it zero-sum.
    """

    name: str  # for `games.make`
    title: str
    seats: tuple[int, int]  # fewest and most
    simultaneous: bool
    perfect_information: bool
    stochastic: bool
    payoff: Payoff


def listed() -> list[Listed]:
    """Every OpenSpiel game that `openspiel` can make without parameters, in the order of their names. Loads none."""
    return [
        Listed(
            name=f"openspiel/{kind.short_name}",
            title=kind.long_name,
            seats=(kind.min_num_players, kind.max_num_players),
            simultaneous=kind.dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS,
            perfect_information=kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION,
            stochastic=kind.chance_mode != pyspiel.GameType.ChanceMode.DETERMINISTIC,
            payoff=_payoff(kind),
        )
        for kind in pyspiel.registered_games()
        if kind.default_loadable and not _refusal(kind)
    ]


def _refusal(kind: Any) -> str | None:
    """Why games of this kind cannot be wrapped, as the rest of a sentence; None where they can."""
    if kind.dynamics == pyspiel.GameType.Dynamics.MEAN_FIELD:
        return "is a mean-field game, whose rewards depend on a whole population"
    if kind.chance_mode == pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC:
        return "draws its chance from a generator of its own, so that no key could replay a game"
    if kind.action_structs_only:
        return "has no numbered actions"
    if not (kind.provides_observation_tensor or kind.provides_information_state_tensor):
        return "offers neither an observation tensor nor an information state tensor"
    return None


def _payoff(kind: Any) -> Payoff:
    """Constant-sum games count as general-sum: nothing may assume that one seat's gain is minus another's."""
    utilities = pyspiel.GameType.Utility
    named: dict[Any, Payoff] = {utilities.ZERO_SUM: "zero_sum", utilities.IDENTICAL: "cooperative"}
    return named.get(kind.utility, "general_sum")


def _reference(name: str, params: dict[str, Any]) -> str:
    query = "&".join(f"{key}={value}" for key, value in params.items())
    return f"openspiel/{name}?{query}" if query else f"openspiel/{name}"


def _declared(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """`params` as OpenSpiel wants them. Raises GameError where it knows no such game or parameter."""
    known = {kind.short_name: kind.parameter_specification for kind in pyspiel.registered_games()}
    if name not in known:
        raise GameError(f"OpenSpiel has no game called {name!r}.{did_you_mean(name, known)}")
    for key in params:
        if key not in known[name]:
            raise GameError(f"openspiel/{name} has no parameter {key!r}.{did_you_mean(key, [*known[name], 'tensor'])}")
    return {key: _as_declared(value, known[name][key]) for key, value in params.items()}


def _as_declared(value: Any, default: Any) -> Any:
    """A parameter in the type that OpenSpiel insists on, which is that of its default."""
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, str):
        return str(value)
    if isinstance(default, dict) and isinstance(value, str):
        return pyspiel.game_parameters_from_string(value)  # a game inside a game: `misere?game=kuhn_poker()`
    return value


def _observer(reference: str, game: Any, tensor: str | None) -> tuple[Any, tuple[int, ...]]:
    """What fills the tensor of a seat, and the tensor's shape `*O`."""
    kind = game.get_type()
    order = ["information_state", "observation"]
    if kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION:
        order.reverse()
    offered = [choice for choice in order if getattr(kind, f"provides_{choice}_tensor")]
    if tensor is None:
        tensor = offered[0]
    elif tensor not in offered:
        raise GameError(f"{reference}: there is no such tensor; the game offers {' and '.join(offered)}.")
    told = tensor == "information_state"
    shape = tuple(game.information_state_tensor_shape() if told else game.observation_tensor_shape())
    observer = make_observation(game, INFO_STATE_OBS_TYPE if told else None)
    if observer is None or observer.tensor is None or not observer.tensor.size:
        raise GameError(f"{reference} cannot be played here: its {tensor} tensor cannot be had, or is empty.")
    return observer, shape if len(shape) == 3 else (observer.tensor.size,)


def _text(spec: GameSpec, kind: Any) -> Callable[[Any, int], str]:
    """How a board is put in words without telling a seat what it may not know."""
    if spec.perfect_information:
        return lambda state, seat: str(state)
    if kind.provides_information_state_string:
        return lambda state, seat: str(state.information_state_string(seat))
    if kind.provides_observation_string:
        return lambda state, seat: str(state.observation_string(seat))
    return lambda state, seat: f"{spec.name} has no text that hides what seat {seat} may not see."
