"""PettingZoo environments as games: turn-based (AEC) ones, and simultaneous ones through the parallel API.

`pettingzoo/classic.connect_four_v3`, `pettingzoo/mpe2.simple_tag_v3` or `pettingzoo/your_package.your_env_v0` makes one
by the name of its module; `wrap` takes one of your own. Seats are `possible_agents` in their order. What is observed,
and which action spaces can be played, is said in `games.gymnasium`; where seats differ, observations are flattened and
padded with zeros to the largest, and actions that a seat lacks are not legal. Environments are not searchable: their
copies cannot be trusted.

Rewards are those of `env.rewards` right after an acting agent's step, for every seat that is paid, dead or alive. The
steps of the dead, which PettingZoo has the caller play (with None; they only remove an agent), are played within ours,
so nobody dead is asked to act. A game is truncated where any of those who left last were cut, and not at their end.
"""

from __future__ import annotations

import math
import os
import pkgutil
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from games.core import GameError, GameSpec, Payoff
from games.gymnasium import LONGEST, View, discrete, draw_seed, legal_actions, view
from games.lift import Lifted
from games.names import did_you_mean

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

Teams = Sequence[int] | Mapping[str, int]
"""The team of each seat, or of each agent whose name begins so: `{"adversary": 0, "agent": 1}`."""


@dataclass(frozen=True, slots=True)
class _Traits:
    """What an environment does not say of itself."""

    payoff: Payoff = "general_sum"
    teams: Teams = ()
    board_game: bool = False  # perfect information, no luck, one point to win
    stochastic: bool = True
    roles: bool | None = None  # None: where teams differ in size


_BOARD = _Traits("zero_sum", board_game=True, stochastic=False)
_CARDS = _Traits("zero_sum")
_TOGETHER = _Traits("cooperative")
_PARTLY = _Traits(teams={"": 0})  # one team, but each seat is also paid for its own part
_HUNT = _Traits(teams={"adversary": 0, "leadadversary": 0, "agent": 1}, roles=True)
_ARMIES = _Traits(teams={"red": 0, "blue": 1})
_TRAITS: dict[str, _Traits] = {
    **dict.fromkeys(("chess", "connect_four", "go", "tictactoe"), _BOARD),
    **dict.fromkeys(("leduc_holdem", "texas_holdem", "texas_holdem_no_limit"), _CARDS),
    **dict.fromkeys(("cooperative_pong", "hanabi", "multiwalker", "pursuit"), _TOGETHER),
    **dict.fromkeys(("simple_formation", "simple_line", "simple_speaker_listener"), _TOGETHER),
    **dict.fromkeys(("collect_treasure", "knights_archers_zombies", "pistonball"), _PARTLY),
    **dict.fromkeys(("simple_reference", "simple_spread"), _PARTLY),
    **dict.fromkeys(("simple_adversary", "simple_push", "simple_tag", "simple_world_comm"), _HUNT),
    **dict.fromkeys(("battle", "battlefield", "combined_arms"), _ARMIES),
    "adversarial_pursuit": _Traits(teams={"predator": 0, "prey": 1}, roles=True),
    "rps": _Traits("zero_sum", stochastic=False),
    "simple_crypto": _Traits(teams={"eve": 0, "alice": 1, "bob": 1}, roles=True),
    "tiger_deer": _Traits(teams={"tiger": 0, "deer": 1}, roles=True),
}

_FAMILIES = ("atari", "butterfly", "classic", "sisl")
_PACKAGES = {"magent2": "magent2.environments", **{family: f"pettingzoo.{family}" for family in _FAMILIES}}


def pettingzoo(
    name: str,
    *,
    payoff: Payoff | None = None,
    teams: Teams = (),
    roles: bool | None = None,
    longest: int | None = None,
    **params: Any,
) -> Lifted:
    """The environment `name`, a family and a module, e.g. `classic.connect_four_v3`; `params` go to its maker.

    `payoff`, `teams`, `roles` and `longest` override what is known or assumed (see `wrap`). Raises GameError where
    there is no such environment (naming the nearest), where a package is missing, and as `wrap` does.
    """
    if name.startswith("mpe."):
        warnings.warn(f"pettingzoo/{name}: these environments moved to the package mpe2.", stacklevel=2)
        name = name.replace("mpe.", "mpe2.", 1)
    module = _find(name)
    raw = getattr(module, "raw_env", None)
    known = getattr(raw, "metadata", {})
    if hasattr(module, "parallel_env") and known.get("is_parallelizable", True):
        maker = module.parallel_env
    elif raw is not None and (module.__name__.startswith("pettingzoo.") or not hasattr(module, "env")):
        maker = raw  # what PettingZoo's `env` adds only checks that moves are legal, and halves the speed
    else:
        maker = module.env
    if "ansi" in known.get("render_modes", ()):
        params.setdefault("render_mode", "ansi")

    def make_env() -> Any:
        try:
            return maker(**params)
        except ImportError as error:
            raise GameError(f"pettingzoo/{name} lacks a package: {error}. {_install(name)}") from error

    traits = _TRAITS.get(_unversioned(name.rpartition(".")[2]), _Traits())
    return wrap(
        make_env,
        f"pettingzoo/{name}",
        payoff=payoff or traits.payoff,
        teams=teams or traits.teams,
        roles=traits.roles if roles is None else roles,
        longest=longest,
        perfect_information=traits.board_game,
        stochastic=traits.stochastic,
        bounds=(-1.0, 1.0) if traits.board_game else (-math.inf, math.inf),
    )


def wrap(
    make_env: Callable[[], Any],
    name: str,
    *,
    payoff: Payoff = "general_sum",
    teams: Teams = (),
    roles: bool | None = None,
    longest: int | None = None,
    perfect_information: bool = False,
    stochastic: bool = True,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Lifted:
    """A game from whatever `make_env` makes, an AECEnv or a ParallelEnv; each row of a batch gets one of its own.

    A cooperative game is one team; otherwise every seat is its own unless `teams` says more. Teams that differ in size
    have `roles` (their returns are not compared with one another), unless given. `longest` is the environment's
    `max_cycles` (in agents' steps where turn-based), or 1000, unless given. Raises GameError where agents are not known
    beforehand, actions are not Discrete or observations have no fixed size.
    """
    env = make_env()
    agents = tuple(getattr(env, "possible_agents", ()))
    if not agents:
        raise GameError(f"{name} does not name its agents beforehand (`possible_agents`), so it has no seats.")
    simultaneous = not hasattr(env, "agent_iter")
    views = tuple(view(env.observation_space(agent), f"{name}: {agent}") for agent in agents)
    choices = tuple(discrete(env.action_space(agent), f"{name}: {agent}") for agent in agents)
    state = _state_view(env, name)
    if longest is None:
        longest = (_max_cycles(env) or 0) * (1 if simultaneous else len(agents)) or LONGEST
    if not teams and payoff == "cooperative":
        teams = (0,) * len(agents)
    team_of = _by_seat(teams, agents, name)
    spec = GameSpec(
        name=name,
        seats=len(agents),
        actions=max(count for count, _ in choices),
        observation=_common([each.shape for each in views]),
        longest=longest,
        global_state=None if state is None else state.shape,
        teams=team_of,
        roles=len(set(Counter(team_of).values())) > 1 if roles is None else roles,
        simultaneous=simultaneous,
        perfect_information=perfect_information,
        stochastic=stochastic,
        payoff=payoff,
        bounds=bounds,
    )
    seat_of = {agent: seat for seat, agent in enumerate(agents)}
    roster = _Roster(spec, agents, seat_of, views, choices, state.encode if state else np.asarray)
    single = _Rounds if simultaneous else _Turns
    return Lifted(spec, lambda rng: single(make_env(), roster, rng))


@dataclass(frozen=True, slots=True)
class _Roster:
    """Who sits where, and what each sees and may do."""

    spec: GameSpec
    agents: tuple[Any, ...]  # [P] PettingZoo's name of each seat
    seat_of: dict[Any, int]
    views: tuple[View, ...]  # [P]
    choices: tuple[tuple[int, int], ...]  # [P] how many actions, and the number of the first
    encode_state: Callable[[Any], NDArray[np.float32]]

    def rewards(self, earned: Mapping[Any, float]) -> list[float]:
        return [float(earned.get(agent, 0.0)) for agent in self.agents]


class _Seen:
    """What each seat saw last: the present while it lives, its last sight after."""

    def __init__(self, roster: _Roster) -> None:
        self.roster = roster
        self.observation = np.zeros((roster.spec.seats, *roster.spec.observation), np.float32)
        self.latest: list[tuple[Any, Any]] = [(None, None)] * roster.spec.seats  # as given: observation and info

    def note(self, seat: int, value: Any, extra: Any) -> None:
        values, row = self.roster.views[seat].encode(value), self.observation[seat]
        if values.shape == row.shape:
            row[...] = values
        else:
            row.reshape(-1)[: values.size] = values.ravel()
        self.latest[seat] = (value, extra)

    def legal(self, seat: int) -> Sequence[int]:
        roster = self.roster
        whose = f"{roster.spec.name}: {roster.agents[seat]}"
        return legal_actions(*self.latest[seat], roster.choices[seat][0], whose)


class _Turns:
    """One AEC environment, reset with a new seed for each game."""

    def __init__(self, env: Any, roster: _Roster, rng: np.random.Generator) -> None:
        self.env, self.roster = env, roster
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        self.env.reset(seed=draw_seed(rng))
        self.seen = _Seen(self.roster)
        self.fresh: set[int] = set()  # seats whose sight of the present position has been noted
        self.gone: set[Any] = set()  # agents that ended or were cut
        self.over = self.truncated = False
        self._settle()

    def legal(self, seat: int) -> Sequence[int]:
        self._look(seat)
        return self.seen.legal(seat)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        self._look(seat)
        out[...] = self.seen.observation[seat]

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.env.step(self.roster.choices[self.seats[0]][1] + actions[0])
        self.fresh.clear()
        # Before the dead are removed, and what they earned by dying with them.
        rewards = self.roster.rewards(self.env.rewards)
        self._settle()
        return rewards

    def state(self, out: NDArray[np.float32]) -> None:
        out[...] = self.roster.encode_state(self.env.state())

    def text(self, seat: int) -> str:
        self._look(seat)
        return _text(self.env, self.seen, seat)

    def _settle(self) -> None:
        """Play the steps of the dead, up to the next agent that lives."""
        env, cut = self.env, False
        while env.agents:
            ended, stopped = env.terminations, env.truncations
            left = [agent for agent in env.agents if (ended[agent] or stopped[agent]) and agent not in self.gone]
            for agent in left:
                self._look(self.roster.seat_of[agent])
            if left:
                self.gone.update(left)
                cut = any(stopped[agent] and not ended[agent] for agent in left)
            if env.agent_selection not in self.gone:
                self.seats: tuple[int, ...] = (self.roster.seat_of[env.agent_selection],)
                return
            living = len(env.agents)
            env.step(None)
            if len(env.agents) == living:
                raise GameError(f"{env.agent_selection} is dead, but its step with None did not remove it.")
        self.seats, self.over, self.truncated = (), not cut, cut

    def _look(self, seat: int) -> None:
        agent = self.roster.agents[seat]
        if seat not in self.fresh and agent not in self.gone and agent in self.env.agents:
            self.seen.note(seat, self.env.observe(agent), self.env.infos.get(agent))
            self.fresh.add(seat)


class _Rounds:
    """One parallel environment, reset with a new seed for each game."""

    def __init__(self, env: Any, roster: _Roster, rng: np.random.Generator) -> None:
        self.env, self.roster = env, roster
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        self.seen = _Seen(self.roster)
        self.over = self.truncated = False
        self._note(*self.env.reset(seed=draw_seed(rng)))
        self.seats = tuple(self.roster.seat_of[agent] for agent in self.env.agents)

    def legal(self, seat: int) -> Sequence[int]:
        return self.seen.legal(seat)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[...] = self.seen.observation[seat]

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        roster, acted = self.roster, [self.roster.agents[seat] for seat in self.seats]
        chosen = {
            agent: roster.choices[seat][1] + action
            for agent, seat, action in zip(acted, self.seats, actions, strict=True)
        }
        observations, rewards, ended, stopped, extras = self.env.step(chosen)
        self._note(observations, extras)
        gone = {agent for agent in roster.agents if ended.get(agent) or stopped.get(agent)}
        self.seats = tuple(sorted(roster.seat_of[agent] for agent in self.env.agents if agent not in gone))
        if not self.seats:
            self.truncated = any(stopped.get(agent) and not ended.get(agent) for agent in acted)
            self.over = not self.truncated
        return roster.rewards(rewards)

    def state(self, out: NDArray[np.float32]) -> None:
        out[...] = self.roster.encode_state(self.env.state())

    def text(self, seat: int) -> str:
        return _text(self.env, self.seen, seat)

    def _note(self, observations: Mapping[Any, Any], extras: Mapping[Any, Any]) -> None:
        for agent, value in observations.items():
            self.seen.note(self.roster.seat_of[agent], value, extras.get(agent))


def _text(env: Any, seen: _Seen, seat: int) -> str:
    """The environment's own drawing, where it hides nothing from anyone; else what the seat sees."""
    spec = seen.roster.spec
    if spec.perfect_information and getattr(env, "render_mode", None) == "ansi":
        return str(env.render())
    numbers = np.array2string(seen.observation[seat], precision=3, threshold=200)
    return f"{spec.name}, as {seen.roster.agents[seat]} sees it:\n{numbers}"


def _state_view(env: Any, name: str) -> View | None:
    """The view of the global state, as far as the environment really gives one."""
    env.reset(seed=0)
    try:
        state = np.asarray(env.state())
    except Exception:  # not only NotImplementedError: in rps_v2 `state` is a dict
        return None
    if state.dtype == np.uint8:
        return view(Box(0, 255, state.shape, np.uint8), f"{name}: its state")
    numbers = state.size > 0 and state.dtype.kind in "biuf"
    return view(Box(-np.inf, np.inf, state.shape, np.float32), f"{name}: its state") if numbers else None


def _max_cycles(env: Any) -> int | None:
    """Rounds after which the environment ends by itself, kept by it or by the simulation that it holds."""
    inner = env.unwrapped
    cycles: int | None = getattr(inner, "max_cycles", None) or getattr(getattr(inner, "env", None), "max_cycles", None)
    return cycles


def _common(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The one shape of all seats, or room for the largest."""
    return shapes[0] if len(set(shapes)) == 1 else (max(math.prod(shape) for shape in shapes),)


def _by_seat(teams: Teams, agents: Sequence[Any], name: str) -> tuple[int, ...]:
    if not isinstance(teams, Mapping):
        return tuple(teams)
    found = [next((teams[start] for start in teams if str(agent).startswith(start)), None) for agent in agents]
    if None in found:
        missing, known = agents[found.index(None)], ", ".join(teams)
        raise GameError(f"{name}: no team is given for {missing}; the names of agents begin with one of: {known}.")
    return tuple(team for team in found if team is not None)


def _find(name: str) -> ModuleType:
    """The module of an environment, or a GameError that says what to do."""
    family, _, member = name.rpartition(".")
    package = _PACKAGES.get(family, family)
    if not _installed(package):
        if family in _PACKAGES or family == "mpe2":
            raise GameError(f"pettingzoo/{name} lives in {package}, which is not installed. {_install(name)}")
        known = [each for family in (*_PACKAGES, "mpe2") for each in _environments(family)]
        reads = "names read family.module or package.module"
        raise GameError(f"There is no PettingZoo environment {name!r}: {reads}.{did_you_mean(name, known)}")
    path = f"{package}.{member}"
    try:
        module = import_module(path)
    except ImportError as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == path):
            raise GameError(f"pettingzoo/{name} lacks a package: {error}. {_install(name)}") from error
        module = None
    if module is None or not any(hasattr(module, api) for api in ("env", "raw_env", "parallel_env")):
        known = _environments(family)
        moved = [each for each in known if _unversioned(each) == _unversioned(name)]
        hint = f" The version installed is {moved[-1]!r}." if moved else did_you_mean(name, known)
        raise GameError(f"There is no PettingZoo environment {name!r}.{hint}")
    return module


def _installed(package: str) -> bool:
    try:
        return bool(package) and find_spec(package) is not None
    except (ImportError, ValueError):  # a parent is missing, or no name for a package
        return False


def _environments(family: str) -> list[str]:
    """The names of a family's environments, `family.module`, without importing them."""
    package = _PACKAGES.get(family, family)
    if not _installed(package):
        return []
    modules = pkgutil.iter_modules(import_module(package).__path__)
    return [f"{family}.{module.name}" for module in modules if re.search(r"_v\d+$", module.name)]


def _unversioned(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


def _install(name: str) -> str:
    family = name.partition(".")[0]
    wanted = f"pettingzoo[{family}]" if family in _FAMILIES else family
    return f"Install it with: pip install '{wanted}'"
