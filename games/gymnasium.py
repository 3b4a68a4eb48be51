"""Gymnasium environments as games of one seat, and how any space becomes a float32 array (PettingZoo's use it too).

`gymnasium/CartPole-v1` makes an environment by its id, with the parameters of `gymnasium.make`; `wrap` takes one of
your own. Actions must be one Discrete space. Environments are not searchable: their copies cannot be trusted. Where an
environment can draw itself, who plays is shown its pictures (see `games.pictures`).

Observations: a Box keeps its shape, but three axes [H, W, C] become planes [C, H, W], and bytes from 0 to 255 become
fractions of 1. Every other space is flattened as Gymnasium does it: Discrete, MultiDiscrete and MultiBinary one-hot,
Dict and Tuple part after part. An `action_mask`, in the observation or in `info`, says what is legal and is not
observed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from games.core import GameError, GameSpec
from games.lift import Lifted
from games.names import did_you_mean
from games.pictures import MODE, Reel, paints
from games.scene import Scene

MASK = "action_mask"
LONGEST = 1000
"""Steps after which a game is cut where neither the environment nor the caller says."""

_SLIDES = ("left", "down", "right", "up")
_NAMES: dict[str, Sequence[str]] = {  # of actions, by an id without its version; the docs of the environments say so
    "Acrobot": ("left", "stay", "right"),
    "Blackjack": ("stick", "hit"),
    "CartPole": ("left", "right"),
    "CliffWalking": ("up", "right", "down", "left"),
    "CliffWalkingSlippery": ("up", "right", "down", "left"),
    "FrozenLake": _SLIDES,
    "FrozenLake8x8": _SLIDES,
    "LunarLander": ("nothing", "fire left", "fire main", "fire right"),
    "MountainCar": ("left", "stay", "right"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}


@dataclass(frozen=True, slots=True)
class View:
    """How the values of one space become float32."""

    shape: tuple[int, ...]
    encode: Callable[[Any], NDArray[np.float32]]  # a value of the space -> [*shape]


def view(space: Any, whose: str) -> View:
    """The view of a Gymnasium space. Raises GameError, naming `whose`, where the space has no fixed size."""
    if isinstance(space, gym.spaces.Dict) and MASK in space.spaces:
        parts = {key: part for key, part in space.spaces.items() if key != MASK}
        if len(parts) > 1:
            return view(gym.spaces.Dict(parts), whose)
        ((key, part),) = parts.items()
        inner = view(part, whose)
        return View(inner.shape, lambda value: inner.encode(value[key]))
    if isinstance(space, gym.spaces.Box):
        return _box(space, whose)
    if not space.is_np_flattenable:
        raise GameError(f"{whose} observes {space}, which has no fixed size and cannot be made an array.")
    return View((int(gym.spaces.flatdim(space)),), lambda value: _flat(space, value, whose))


def discrete(space: Any, whose: str) -> tuple[int, int]:
    """How many actions a Discrete space has and the number of the first. Raises GameError for any other space."""
    if not isinstance(space, gym.spaces.Discrete):
        raise GameError(
            f"{whose} acts in {space}, but only Discrete actions can be played:"
            " number its choices in a wrapper of your own and pass that to `wrap`."
        )
    return int(space.n), int(space.start)


def legal_actions(value: Any, extra: Mapping[str, Any] | None, count: int, whose: str) -> Sequence[int]:
    """What the mask in an observation, or else in its `info`, allows of `count` actions; all where there is none.

    Raises GameError where it allows nothing.
    """
    mask = value.get(MASK) if isinstance(value, Mapping) else None
    if mask is None and extra is not None:
        mask = extra.get(MASK)
    if mask is None:
        return range(count)
    allowed: list[int] = np.flatnonzero(mask).tolist()
    if not allowed:
        raise GameError(f"{whose} has to act, but its action mask allows nothing.")
    return allowed


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for an environment's `reset`."""
    return int(rng.integers(2**31))


def gymnasium(name: str, *, longest: int | None = None, **params: Any) -> Lifted:
    """The environment registered as `name`, e.g. `CartPole-v1`; `params` go to `gymnasium.make`.

    Raises GameError, with the nearest id, where there is none such, and where its actions are not Discrete.
    """

    def make_env(**mode: str) -> Any:
        try:
            return gym.make(name, **(params | mode))
        except gym.error.DependencyNotInstalled as error:
            raise GameError(f"gymnasium/{name} needs a package that is not installed: {error}") from error
        except (gym.error.UnregisteredEnv, gym.error.DeprecatedEnv, ModuleNotFoundError) as error:
            why = str(error).partition(". ")[0].rstrip(".")
            raise GameError(f"Gymnasium cannot make {name!r}: {why}.{did_you_mean(name, gym.registry)}") from error

    if "render_mode" not in params and "ansi" in make_env().metadata.get("render_modes", ()):
        params["render_mode"] = "ansi"
    return wrap(make_env, f"gymnasium/{name}", longest=longest, draw=lambda: make_env(render_mode=MODE))


def wrap(
    make_env: Callable[[], Any], name: str, *, longest: int | None = None, draw: Callable[[], Any] | None = None
) -> Lifted:
    """A game of one seat from whatever `make_env` makes; each row of a batch gets an environment of its own.

    `longest` is the environment's `max_episode_steps`, or 1000, unless given. `draw` makes the same environment so that
    its `render()` gives pixels (`render_mode="rgb_array"`, which its `metadata` must name). Raises GameError where the
    actions are not Discrete or observations have no fixed size.
    """
    env = make_env()
    if longest is None:
        longest = (env.spec.max_episode_steps if env.spec else None) or LONGEST
    seen, (actions, first) = view(env.observation_space, name), discrete(env.action_space, name)
    spec = GameSpec(
        name=name,
        seats=1,
        actions=actions,
        observation=seen.shape,
        longest=longest,
        perfect_information=False,
        stochastic=True,
        payoff="general_sum",
        bounds=(-math.inf, math.inf),
    )
    draw, names = draw if paints(env) else None, _meanings(env)
    return Lifted(spec, lambda rng: _Solo(make_env(), spec, seen, first, names, Reel(draw), rng))


class _Solo:
    """One environment, reset with a new seed for each game."""

    def __init__(
        self,
        env: Any,
        spec: GameSpec,
        seen: View,
        first: int,
        names: Sequence[str],
        reel: Reel,
        rng: np.random.Generator,
    ) -> None:
        self.env, self.spec, self.view, self.first, self.names, self.reel = env, spec, seen, first, names, reel
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        self.reel.begin(draw_seed(rng))
        self.value, self.extra = self.env.reset(seed=self.reel.seed)
        self.over = self.truncated = False

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over or self.truncated else (0,)

    def legal(self, seat: int) -> Sequence[int]:
        return legal_actions(self.value, self.extra, self.spec.actions, self.spec.name)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[...] = self.view.encode(self.value)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        action = self.first + actions[0]
        self.value, reward, self.over, self.truncated, self.extra = self.env.step(action)
        self.reel.steps.append(action)
        return (float(reward),)

    def text(self, seat: int) -> str:
        if self.env.render_mode == "ansi":
            return str(self.env.render())
        return f"{self.spec.name}: {np.array2string(self.view.encode(self.value), precision=3, threshold=200)}"

    def action_name(self, seat: int, action: int) -> str:
        return self.names[action] if action < len(self.names) else str(action)

    def scene(self, seat: int) -> Scene | None:
        return self.reel.scene()


def _meanings(env: Any) -> Sequence[str]:
    """The names of its actions, as far as it (Atari's games do) or this module knows them."""
    if env.has_wrapper_attr("get_action_meanings"):
        return [str(meaning).lower() for meaning in env.get_wrapper_attr("get_action_meanings")()]
    return _NAMES.get(env.spec.id.rpartition("/")[2].rpartition("-v")[0], ()) if env.spec else ()


def _box(space: Any, whose: str) -> View:
    shape: tuple[int, ...] = space.shape
    # Bytes with the smallest axis in front are stacked frames: planes already.
    planes = len(shape) == 3 and not (space.dtype == np.uint8 and shape[0] < shape[2])
    scale = np.float32(1 / 255 if space.dtype == np.uint8 and space.high.max(initial=0) == 255 else 1)

    def encode(value: Any) -> NDArray[np.float32]:
        array = np.asarray(value, np.float32)
        if array.shape != shape:
            raise GameError(f"{whose} observes an array of shape {array.shape}, but its space says {shape}.")
        if scale != 1:
            array = array * scale
        if planes:
            return array.transpose(2, 0, 1)
        return array if shape else array[None]

    axes = (shape[2], *shape[:2]) if planes else shape or (1,)
    return View(axes, encode)


def _flat(space: Any, value: Any, whose: str) -> NDArray[np.float32]:
    if isinstance(space, gym.spaces.Discrete) and not space.start <= value < space.start + space.n:
        raise GameError(f"{whose} observes {value}, which is outside {space}.")
    return np.asarray(gym.spaces.flatten(space, value), np.float32)
