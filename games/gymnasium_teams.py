"""Gymnasium environments of many seats as games: those whose spaces are a Tuple with a part for each seat.

`teams/lbforaging.Foraging-8x8-2p-2f-coop-v3` imports the package, which registers its ids, and makes the environment of
that id with the parameters of `gymnasium.make`; `wrap` takes one of your own. All seats act at once and are one team,
unless `teams` says otherwise, each paid its own part; a reward that is one number is paid to every seat. Seats that
differ are padded, and spaces read, as `games.pettingzoo` does it, which plays what is made parallel here.

What is legal is said by an `action_mask` in `info`, one for each seat, or by the environment's `get_avail_actions()`
(as in SMAC); else everything is, as in the published results on level-based foraging and the robotic warehouse
(Papoudakis et al. 2021, arXiv 2006.07869). The global state is what `get_state()` or `state()` returns, if an array.
The boards of lbforaging and rware are drawn here; of others that can draw themselves only who watches sees the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np

from games.core import GameError, Payoff
from games.gymnasium import MASK
from games.gymnasium_teams_scenes import foraging, warehouse
from games.lift import Lifted
from games.names import did_you_mean
from games.pettingzoo import wrap as wrap_parallel
from games.pettingzoo_traits import Teams
from games.pictures import MODE
from games.scene import Scene


@dataclass(frozen=True, slots=True)
class _Package:
    """A package that is known to speak so."""

    install: str  # how to get it, the end of a sentence
    examples: tuple[str, ...]  # ids that published results are about
    params: Mapping[str, Any] = field(default_factory=dict)  # for `gymnasium.make`, unless given
    forget: Callable[[Any], None] | None = None  # clears what its own `reset` lets through from the game before
    actions: tuple[str, ...] = ()  # what they are called
    scene: Callable[[Any, int], Scene] | None = None  # (environment, seat): the board as that seat sees it


def _forget_positions(env: Any) -> None:
    """Players are placed one by one, off the cells where those who are still to be placed stood last."""
    for player in env.players:
        player.position = None


def _forget_actions(env: Any) -> None:
    """The last actions are a part of the global state."""
    env.last_actions[:] = 0


_PACKAGES = {
    "lbforaging": _Package(
        "pip install 'arena-league[foraging]'",
        (
            "Foraging-8x8-2p-2f-coop-v3",
            "Foraging-2s-8x8-2p-2f-coop-v3",
            "Foraging-10x10-3p-3f-v3",
            "Foraging-2s-10x10-3p-3f-v3",
            "Foraging-15x15-4p-3f-v3",
        ),
        forget=_forget_positions,
        actions=("none", "north", "south", "west", "east", "load"),
        scene=foraging,
    ),
    "rware": _Package(
        "pip install 'arena-league[rware]'",
        ("rware-tiny-2ag-v2", "rware-tiny-4ag-v2", "rware-small-4ag-v2"),
        actions=("none", "forward", "turn left", "turn right", "load or unload"),
        scene=warehouse,
    ),
    # Its seed is for before the first reset; given none, it draws one from NumPy's global generator.
    "smaclite": _Package(
        "pip install . in a clone of uoe-agents/smaclite (no package index has it), with rtree>=1.3 in its setup.py",
        ("smaclite/2s3z-v0", "smaclite/3s5z-v0", "smaclite/MMM2-v0"),
        {"seed": 0},
        _forget_actions,
    ),
}

_LIMITS = ("_max_episode_steps", "max_steps", "episode_limit")
"""Where environments that end by themselves keep after how many steps."""


def gymnasium_teams(
    name: str,
    *,
    payoff: Payoff = "general_sum",
    teams: Teams = (),
    roles: bool | None = None,
    longest: int | None = None,
    **params: Any,
) -> Lifted:
    """The environment `name`, a package and an id, e.g. `rware.rware-tiny-2ag-v2`; `params` go to `gymnasium.make`.

    `payoff`, `teams`, `roles` and `longest` are those of `wrap`. Raises GameError where there is no such environment
    (naming the nearest), where a package is missing, and as `wrap` does.
    """
    package, _, environment = name.partition(".")
    _register(name, package)
    if environment not in gym.registry:
        raise GameError(
            f"{package} registers no environment {environment!r}.{did_you_mean(environment, _ids(package))}"
        )
    # Gymnasium's checker takes rewards to be single numbers, and warns of every list.
    given = {"disable_env_checker": True, **(_PACKAGES[package].params if package in _PACKAGES else {}), **params}

    def make_env(**mode: str) -> Any:
        try:
            return gym.make(environment, **(given | mode))
        except (gym.error.DependencyNotInstalled, ImportError) as error:
            raise GameError(f"teams/{name} lacks a package: {error}") from error
        except (AssertionError, ValueError) as error:
            raise GameError(f"teams/{name} cannot be made with {params or 'no parameters'}: {error}") from error

    return wrap(
        make_env,
        f"teams/{name}",
        payoff=payoff,
        teams=teams,
        roles=roles,
        longest=longest,
        draw=lambda: make_env(render_mode=MODE),
    )


def wrap(
    make_env: Callable[[], Any],
    name: str,
    *,
    payoff: Payoff = "general_sum",
    teams: Teams = (),
    roles: bool | None = None,
    longest: int | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    draw: Callable[[], Any] | None = None,
) -> Lifted:
    """A game from whatever `make_env` makes, a `gymnasium.Env`; each row of a batch gets one of its own.

    `teams` gives the team of each seat; `roles` and `draw` are as `games.pettingzoo.wrap` has them. `longest` is the
    least limit that the environment knows of (its `max_episode_steps`, say), or 1000, unless given. Raises GameError
    where its spaces are no Tuples with a part for each seat, actions are not Discrete or observations have no fixed
    size.
    """
    return wrap_parallel(
        lambda: _Parallel(make_env(), name),
        name,
        payoff=payoff,
        teams=teams or {"seat": 0},
        roles=roles,
        longest=longest,
        bounds=bounds,
        draw=None if draw is None else lambda: _Parallel(draw(), name),
        scene=lambda env, seat: env.scene(seat),
        action_name=lambda env, agent, action: env.action_name(action),
    )


def examples() -> Iterator[tuple[str, str, int]]:
    """Of the known packages that are installed: each package, a name that is played, how many ids it registers."""
    for package in _installed():
        import_module(package)
        registered = _ids(package)
        yield from ((package, f"teams/{package}.{each}", len(registered)) for each in _PACKAGES[package].examples)


class _Parallel:
    """An environment behind the parallel API, as far as `games.pettingzoo` uses it. A seat's name is its number."""

    def __init__(self, env: Any, name: str) -> None:
        seen, played = _parts(env.observation_space, "observes", name), _parts(env.action_space, "acts in", name)
        if len(seen) != len(played):
            raise GameError(f"{name} has observations for {len(seen)} seats, but actions for {len(played)}.")
        self.env, self.name = env, name
        self.possible_agents = tuple(f"seat {seat}" for seat in range(len(seen)))
        self.observation_space = dict(zip(self.possible_agents, seen, strict=True)).__getitem__
        self.action_space = dict(zip(self.possible_agents, played, strict=True)).__getitem__
        self.max_cycles = _limit(env)
        self.metadata, self.render = env.metadata, env.render
        homes = map(_home, type(env.unwrapped).__mro__)
        self._package = next((_PACKAGES[home] for home in homes if home in _PACKAGES), None)
        self._masks, self._state = _method(env, "get_avail_actions"), _method(env, "get_state", "state")

    @property
    def unwrapped(self) -> _Parallel:
        return self

    def reset(self, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        if self._package is not None and self._package.forget is not None:
            self._package.forget(self.env.unwrapped)
        values, extra = self.env.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return self._each(values, "observations"), self._extras(extra)

    def step(self, chosen: Mapping[str, int]) -> tuple[dict[str, Any], ...]:
        # Who has left is still asked for an action, which does nothing: the first that it may play.
        actions = tuple(chosen.get(agent, self._first(agent)) for agent in self.possible_agents)
        values, earned, ended, stopped, extra = self.env.step(actions)
        ended, stopped = self._spread(ended, "ends"), self._spread(stopped, "ends")
        self.agents = [agent for agent in self.agents if not (ended[agent] or stopped[agent])]
        return (
            self._each(values, "observations"),
            self._spread(earned, "rewards"),
            ended,
            stopped,
            self._extras(extra),
        )

    def state(self) -> Any:
        if self._state is None:
            raise NotImplementedError(f"{self.name} has no global state.")
        return self._state()

    def scene(self, seat: int) -> Scene | None:
        draw = self._package.scene if self._package else None
        return draw(self.env.unwrapped, seat) if draw else None

    def action_name(self, action: int) -> str:
        names = self._package.actions if self._package else ()
        return names[action] if action < len(names) else str(action)

    def _extras(self, extra: Any) -> dict[str, Any]:
        """What PettingZoo calls the infos: the mask of each seat, where there are masks."""
        if isinstance(extra, Mapping):
            masks = extra.get(MASK)
        else:  # some give a list, one for each seat
            masks = [each[MASK] for each in extra if MASK in each] or None
        if masks is None and self._masks is not None:
            masks = self._masks()
        if masks is None:
            masks = [None] * len(self.possible_agents)
        self.infos = {agent: {MASK: mask} for agent, mask in self._each(masks, "action masks").items()}
        return self.infos

    def _first(self, agent: str) -> int:
        mask = self.infos[agent][MASK]
        return int(self.action_space(agent).start + (0 if mask is None else np.argmax(mask)))

    def _each(self, values: Sequence[Any], what: str) -> dict[str, Any]:
        if len(values) != len(self.possible_agents):
            raise GameError(f"{self.name} gave {len(values)} {what} for {len(self.possible_agents)} seats.")
        return dict(zip(self.possible_agents, values, strict=True))

    def _spread(self, value: Any, what: str) -> dict[str, Any]:
        """One value for all seats, or one for each."""
        return dict.fromkeys(self.possible_agents, value) if np.ndim(value) == 0 else self._each(value, what)


def _parts(space: Any, does: str, name: str) -> Sequence[Any]:
    if not isinstance(space, Sequence) or not len(space):
        raise GameError(
            f"{name} {does} {space}, which is not a Tuple with a part for each seat;"
            " environments of one seat are played as gymnasium/<id>."
        )
    return space


def _limit(env: Any) -> int | None:
    """The least number of steps after which the environment, or a wrapper of it, says that it will end."""
    known = [
        env.spec.max_episode_steps if env.spec else None,
        *(getattr(env.unwrapped, each, None) for each in _LIMITS),
    ]
    return min((int(limit) for limit in known if limit), default=None)


def _method(env: Any, *options: str) -> Callable[[], Any] | None:
    """The first of the methods that the environment or a wrapper of it has."""
    found = (env.get_wrapper_attr(each) for each in options if env.has_wrapper_attr(each))
    return next((each for each in found if callable(each)), None)


def _register(name: str, package: str) -> None:
    """Import the package, so that it registers its ids, or raise a GameError that says what to do."""
    install = f" Install it with: {_PACKAGES[package].install}" if package in _PACKAGES else ""
    if not (package.isidentifier() and find_spec(package)):
        if install:
            raise GameError(f"teams/{name} lives in {package}, which is not installed.{install}")
        known = [f"{each}.{environment}" for each in _installed() if import_module(each) for environment in _ids(each)]
        raise GameError(f"There is no package {package!r}: names read package.id.{did_you_mean(name, known)}")
    try:
        import_module(package)
    except ImportError as error:
        raise GameError(f"teams/{name} lacks a package: {error}.{install}") from error


def _installed() -> list[str]:
    return [package for package in _PACKAGES if find_spec(package)]


def _ids(package: str) -> list[str]:
    """What an imported package has registered with Gymnasium, in its order."""
    return [
        environment
        for environment, spec in gym.registry.items()
        if spec.namespace == package or _home(spec.entry_point) == package
    ]


def _home(entry_point: Any) -> str:
    """The package that an entry point lies in: a path, or the maker itself."""
    where = entry_point if isinstance(entry_point, str) else getattr(entry_point, "__module__", "")
    return str(where).partition(":")[0].partition(".")[0]
