"""What is played: the `Game` protocol, the games, the wrappers, and the conformance kit.

`games.make("connect_four")` makes any game by its name; `games.register` adds one, as does the entry-point group
`arena.games` of an installed package.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from games.core import NO_ACTION, Decisions, Game, GameError, GameSpec, Keys, Outcome, Rows, States, Symmetry
from games.lift import Lifted, Single, lift
from games.names import did_you_mean, split_settings

__all__ = [
    "NO_ACTION",
    "Decisions",
    "Game",
    "GameError",
    "GameSpec",
    "Keys",
    "Lifted",
    "Outcome",
    "Rows",
    "Single",
    "States",
    "Symmetry",
    "lift",
    "make",
    "names",
    "register",
    "registered",
    "spec_of",
]

# A name, or a family (`openspiel`, for `openspiel/go`), and where its factory lives: imported when first asked for.
_GAMES: dict[str, str | Callable[..., Any]] = {
    "connect_four": "games.connect_four:ConnectFour",
    "foraging": "games.foraging:Foraging",
    "tic_tac_toe": "games.tic_tac_toe:TicTacToe",
    "rock_paper_scissors": "games.rock_paper_scissors:rock_paper_scissors",
    "two_step": "games.team_matrix:two_step",
    "climbing": "games.team_matrix:climbing",
    "penalty": "games.team_matrix:penalty",
    "simple_spread": "games.simple_spread:SimpleSpread",
}
_FAMILIES: dict[str, str] = {
    "openspiel": "games.openspiel:openspiel",
    "pettingzoo": "games.pettingzoo:pettingzoo",
    "gymnasium": "games.gymnasium:gymnasium",
    "teams": "games.gymnasium_teams:gymnasium_teams",
}
_GROUP = "arena.games"


def register(name: str, factory: Callable[..., Any]) -> None:
    """Add a game under `name`. `factory` is a `Single` class, or makes a `Game` from keyword parameters.

    Raises GameError if the name is taken or holds a character that names may not have.
    """
    if not name or set(name) & set("?&=@: "):
        raise GameError(f"{name!r} is no name for a game: it may not hold any of '? & = @ :' or a space.")
    if name in _known():
        raise GameError(f"A game named {name!r} is registered already.")
    _GAMES[name] = factory


def registered() -> dict[str, Callable[..., Any]]:
    """What `register` added in this process, for handing it to another one."""
    return {name: factory for name, factory in _GAMES.items() if not isinstance(factory, str)}


def names() -> list[str]:
    """The games that have a name of their own; families hold many more (`openspiel/...`)."""
    return sorted(_known())


def make(name: str, **params: Any) -> Game:
    """The game called `name`, e.g. `connect_four` or `openspiel/go?board_size=9`; `params` add to those in the name.

    Raises GameError, with the nearest known name, where there is none such or it does not take the parameters.
    """
    try:
        base, settings = split_settings(name)
    except ValueError as error:
        raise GameError(str(error)) from None
    settings |= params
    family, slash, member = base.partition("/")
    arguments: tuple[str, ...] = ()
    known = _known()
    if base in known:
        factory = known[base]
    elif slash and family in _FAMILIES:
        factory, arguments = _FAMILIES[family], (member,)
    else:
        options = [*known, *(f"{family}/…" for family in _FAMILIES)]
        raise GameError(f"There is no game called {base!r}.{did_you_mean(base, options)}")
    factory = _resolved(factory)
    if hasattr(factory, "spec") and hasattr(factory, "legal"):  # a Single class
        if settings:
            raise GameError(f"{base} takes no parameters, but {', '.join(settings)} was given.")
        return lift(factory)
    try:
        game: Game = factory(*arguments, **settings)
    except TypeError as error:
        raise GameError(f"{base} cannot be made with {settings or 'no parameters'}: {error}") from error
    return game


def spec_of(name: str) -> GameSpec:
    """The facts of a game that has a name of its own, without starting it where its class tells them."""
    spec = getattr(_resolved(_known()[name]), "spec", None)
    return spec if isinstance(spec, GameSpec) else make(name).spec


def _resolved(factory: str | Callable[..., Any]) -> Any:
    """The factory itself, imported where only its place is known. Raises GameError where it is not there."""
    if not isinstance(factory, str):
        return factory
    module, _, attribute = factory.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise GameError(f"The game at {factory} cannot be imported: {error}") from error


def _known() -> dict[str, str | Callable[..., Any]]:
    """Built-in and registered games, then those of installed packages (which cannot take a name that is in use)."""
    return {entry.name: entry.value for entry in entry_points(group=_GROUP)} | _GAMES
