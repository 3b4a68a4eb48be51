"""PettingZoo environments as games: turn-based (AEC) ones, and simultaneous ones through the parallel API.

`pettingzoo/classic.connect_four_v3`, `pettingzoo/mpe2.simple_tag_v3` or `pettingzoo/your_package.your_env_v0` makes one
by the name of its module; `wrap` takes one of your own. Seats are `possible_agents` in their order. What is observed,
and which action spaces can be played, is said in `games.gymnasium`; where seats differ, observations are flattened and
padded with zeros to the largest, and actions that a seat lacks are not legal. Environments are not searchable: their
copies cannot be trusted. Where an environment can draw itself, a seat is shown the picture only if nothing in it is
hidden from that seat (see `games.pictures`).

Rewards are those of `env.rewards` right after an acting agent's step, for every seat that is paid, dead or alive. The
steps of the dead, which PettingZoo has the caller play (with None; they only remove an agent), are played within ours,
so nobody dead is asked to act. A game is truncated where any of those who left last were cut, and not at their end.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from games.core import GameError, GameSpec, Payoff
from games.gymnasium import LONGEST, View, discrete, draw_seed, legal_actions, view
from games.lift import Lifted
from games.pettingzoo_names import KNOWN, find, install, unversioned
from games.pettingzoo_traits import NARROW, TRAITS, Teams, Traits, by_seat, forgetful
from games.pettingzoo_words import NAMES, TEXTS, Namer, Teller, number
from games.pictures import MODE, Reel, as_scene, paints
from games.scene import EVERYTHING, Scene


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
    module = find(name)
    family, _, member = name.rpartition(".")
    known_as = unversioned(member)
    traits = TRAITS.get(known_as, Traits())
    spoken = known_as if family in KNOWN else ""  # others may have the same name, and something else inside
    narrow = any(params.get(each) is not None for each in NARROW)
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
    elif spoken and traits.drawn:
        params.setdefault("render_mode", MODE)

    def make_env(**mode: str) -> Any:
        try:
            return forgetful(maker(**(params | mode)), traits.forget if spoken else None)
        except ImportError as error:
            raise GameError(f"pettingzoo/{name} lacks a package: {error}. {install(name)}") from error

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
        draw=lambda: make_env(render_mode=MODE),
        open_to=traits.open_to if spoken and not narrow else (),
        action_name=NAMES.get(spoken, number),
        text=TEXTS.get(spoken),
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
    draw: Callable[[], Any] | None = None,
    open_to: tuple[str, ...] = (),
    scene: Callable[[Any, int], Scene | None] | None = None,
    action_name: Namer = number,
    text: Teller | None = None,
) -> Lifted:
    """A game from whatever `make_env` makes, an AECEnv or a ParallelEnv; each row of a batch gets one of its own.

    A cooperative game is one team; otherwise every seat is its own unless `teams` says more. Teams that differ in size
    have `roles` (their returns are not compared with one another), unless given. `longest` is the environment's
    `max_cycles` (in agents' steps where turn-based), or 1000, unless given.

    For people: `draw` makes the same environment so that its `render()` gives pixels (`render_mode="rgb_array"`, which
    its `metadata` must name). Shown are they to who watches, to every seat where information is perfect, and else to
    agents whose names begin as one of `open_to`. Who observes a picture sees that. `scene(env, seat)` draws instead,
    unless it returns None.
    `action_name(env, agent, action)` and `text(env, agent)` say what numbers mean.

    Raises GameError where agents are not known beforehand, actions are not Discrete or observations have no fixed size.
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
    team_of = by_seat(teams, agents, name)
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
    roster = _Roster(
        spec,
        agents,
        seat_of,
        views,
        choices,
        state.encode if state else np.asarray,
        draw if paints(env) else None,
        tuple(perfect_information or str(agent).startswith(open_to) for agent in agents),
        scene,
        action_name,
        text,
    )
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
    draw: Callable[[], Any] | None  # as in `wrap`, and the four that follow
    open_to: tuple[bool, ...]  # [P]
    scene: Callable[[Any, int], Scene | None] | None
    action_name: Namer
    text: Teller | None

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
        self.env, self.roster, self.reel = env, roster, Reel(roster.draw)
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        self.reel.begin(draw_seed(rng))
        self.env.reset(seed=self.reel.seed)
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
        self._play(self.roster.choices[self.seats[0]][1] + actions[0])
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

    def action_name(self, seat: int, action: int) -> str:
        return self.roster.action_name(self.env, self.roster.agents[seat], action)

    def scene(self, seat: int) -> Scene | None:
        if seat != EVERYTHING:
            self._look(seat)
        return _scene(self.env, self.seen, self.reel, seat)

    def _play(self, action: int | None) -> None:
        self.env.step(action)
        self.reel.steps.append(action)

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
            self._play(None)
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
        self.env, self.roster, self.reel = env, roster, Reel(roster.draw)
        self.restart(rng)

    def restart(self, rng: np.random.Generator) -> None:
        self.seen = _Seen(self.roster)
        self.over = self.truncated = False
        self.reel.begin(draw_seed(rng))
        self._note(*self.env.reset(seed=self.reel.seed))
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
        self.reel.steps.append(chosen)
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

    def action_name(self, seat: int, action: int) -> str:
        return self.roster.action_name(self.env, self.roster.agents[seat], action)

    def scene(self, seat: int) -> Scene | None:
        return _scene(self.env, self.seen, self.reel, seat)

    def _note(self, observations: Mapping[Any, Any], extras: Mapping[Any, Any]) -> None:
        for agent, value in observations.items():
            self.seen.note(self.roster.seat_of[agent], value, extras.get(agent))


def _text(env: Any, seen: _Seen, seat: int) -> str:
    """The environment's own drawing, where it hides nothing from anyone; else words for what the seat sees."""
    roster = seen.roster
    spec, agent = roster.spec, roster.agents[seat]
    if spec.perfect_information and getattr(env, "render_mode", None) == "ansi":
        return str(env.render())
    if roster.text is None:
        told = np.array2string(seen.observation[seat], precision=3, threshold=200)
    else:
        told = roster.text(env, agent)
        if spec.perfect_information:
            return told
    return f"{spec.name}, as {agent} sees it:\n{told}"


def _scene(env: Any, seen: _Seen, reel: Reel, seat: int) -> Scene | None:
    """The game's own drawing, what the seat observes if that is a picture, or all there is where it may be seen."""
    roster = seen.roster
    if roster.scene is not None and (drawn := roster.scene(env, seat)) is not None:
        return drawn
    if seat != EVERYTHING:
        value = seen.latest[seat][0]
        if getattr(value, "dtype", None) == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
            return as_scene(value)
        if not roster.open_to[seat]:
            return None
    return reel.scene()


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
