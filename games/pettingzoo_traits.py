"""What PettingZoo's environments do not say of themselves: payoffs, teams, from whom a picture hides nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from games.core import GameError, Payoff

Teams = Sequence[int] | Mapping[str, int]
"""The team of each seat, or of each agent whose name begins so: `{"adversary": 0, "agent": 1}`."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What an environment does not say of itself."""

    payoff: Payoff = "general_sum"
    teams: Teams = ()
    board_game: bool = False  # perfect information, no luck, one point to win
    stochastic: bool = True
    roles: bool | None = None  # None: where teams differ in size
    open_to: tuple[str, ...] = ()  # how the names of those agents begin from whom a picture hides nothing
    drawn: bool = False  # its seats observe its drawing, which is left blank unless it is to be rendered
    forget: Callable[[Any], None] | None = None  # clears what its own `reset` lets through from the game before


def _forget_spawning(env: Any) -> None:
    """When the next zombie comes would be counted on from the game before."""
    env.zombie_spawn_interval.reset()


_BOARD = Traits("zero_sum", board_game=True, stochastic=False)
_CARDS = Traits("zero_sum")
_TOGETHER = Traits("cooperative")
_PARTLY = Traits(teams={"": 0})  # one team, but each seat is also paid for its own part
_ALL = ("",)
_SEEN_PARTLY = replace(_PARTLY, open_to=_ALL)
_HUNT = Traits(teams={"adversary": 0, "leadadversary": 0, "agent": 1}, roles=True)
_SECRET_GOAL = replace(_HUNT, open_to=("agent",))  # colours tell the goal, which adversaries do not know
_ARMIES = Traits(teams={"red": 0, "blue": 1})
TRAITS: dict[str, Traits] = {
    **dict.fromkeys(("chess", "connect_four", "go", "tictactoe"), _BOARD),
    **dict.fromkeys(("leduc_holdem", "texas_holdem", "texas_holdem_no_limit"), _CARDS),
    **dict.fromkeys(("hanabi", "multiwalker", "pursuit"), _TOGETHER),
    **dict.fromkeys(("simple_formation", "simple_line", "simple_speaker_listener"), _TOGETHER),
    **dict.fromkeys(("collect_treasure", "simple_spread"), _SEEN_PARTLY),
    **dict.fromkeys(("pistonball", "simple_reference"), _PARTLY),
    **dict.fromkeys(("simple_adversary", "simple_push"), _SECRET_GOAL),
    **dict.fromkeys(("battle", "battlefield", "combined_arms"), _ARMIES),
    "adversarial_pursuit": Traits(teams={"predator": 0, "prey": 1}, roles=True),
    "cooperative_pong": replace(_TOGETHER, open_to=_ALL, drawn=True),
    "knights_archers_zombies": replace(_SEEN_PARTLY, forget=_forget_spawning),
    "rps": Traits("zero_sum", stochastic=False, open_to=_ALL),
    "simple": Traits(open_to=_ALL),
    "simple_crypto": Traits(teams={"eve": 0, "alice": 1, "bob": 1}, roles=True),
    "simple_tag": replace(_HUNT, open_to=_ALL),
    "simple_world_comm": _HUNT,  # forests hide who is in them
    "tiger_deer": Traits(teams={"tiger": 0, "deer": 1}, roles=True),
}

NARROW = ("num_agent_neighbors", "num_landmark_neighbors")
"""Parameters of mpe2 with which agents see no more than what is near."""


def by_seat(teams: Teams, agents: Sequence[Any], name: str) -> tuple[int, ...]:
    """The team of each of `agents` [P]. Raises GameError, naming the game, where one of them is given none."""
    if not isinstance(teams, Mapping):
        return tuple(teams)
    found = [next((teams[start] for start in teams if str(agent).startswith(start)), None) for agent in agents]
    if None in found:
        missing, known = agents[found.index(None)], ", ".join(teams)
        raise GameError(f"{name}: no team is given for {missing}; the names of agents begin with one of: {known}.")
    return tuple(team for team in found if team is not None)


def forgetful(env: Any, forget: Callable[[Any], None] | None) -> Any:
    """The same environment, whose `reset` first forgets what it would let through."""
    if forget is not None:
        reset = env.reset

        def clean(**given: Any) -> Any:
            forget(env.unwrapped)
            return reset(**given)

        env.reset = clean
    return env
