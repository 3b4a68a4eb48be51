"""The games there are, with their traits, as records and as a table."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.table import Table

import games
from games import GameSpec
from games.names import UserError, did_you_mean

FAMILIES = {
    "openspiel": ("pyspiel", "openspiel/go?board_size=9", "all: `arena games openspiel`"),
    "pettingzoo": ("pettingzoo", "pettingzoo/classic.connect_four_v3", "see its own pages"),
    "gymnasium": ("gymnasium", "gymnasium/CartPole-v1", "any with discrete actions"),
    "teams": ("gymnasium", "teams/rware.rware-tiny-2ag-v2", "some: `arena games teams`"),
}
"""Family -> the package it needs, a name as an example, where to find more."""

COLUMNS = {
    "name": "name",
    "seats": "seats",
    "actions": "actions",
    "observation": "sees",
    "moves": "moves",
    "information": "hidden",
    "chance": "chance",
    "payoff": "payoff",
    "searchable": "search",
}
"""What the table shows of a record, and its headings."""

SHORT = {"simultaneous": "at once", "perfect": "no", "imperfect": "yes"}
"""What the table says for some values, so that it stays within 80 columns."""


def listed(family: str | None = None) -> list[dict[str, Any]]:
    """The games that have a name of their own, all of `openspiel`, or a handful of `teams` from each package."""
    if family is None:
        return [traits(games.spec_of(name)) for name in games.names()]
    if family == "openspiel":
        from games.openspiel import listed as openspiel_games

        return [
            {
                "name": game.name,
                "title": game.title,
                "seats": "-".join(map(str, dict.fromkeys(game.seats))),
                "moves": _moves(game.simultaneous),
                "information": _information(game.perfect_information),
                "chance": game.stochastic,
                "payoff": game.payoff,
            }
            for game in openspiel_games()
        ]
    if family == "teams":
        return _teams()
    raise UserError(f"There is no list of {family!r} games.{did_you_mean(family, ['openspiel', 'teams'])}")


def _teams() -> list[dict[str, Any]]:
    """Each package registers hundreds of ids that differ in size only: those of published results stand for them."""
    from games.gymnasium_teams import examples

    rows = []
    for package, name, registered in examples():
        facts = traits(games.make(name).spec)
        shown = {key: facts[key] for key in ("name", "seats", "actions", "observation", "information")}
        rows.append(shown | {"package": package, "registered": registered})
    if not rows:
        raise UserError("No package with games for teams is installed; one is: pip install 'arena-league[foraging]'")
    return rows


def traits(spec: GameSpec) -> dict[str, Any]:
    """What a game is like, for a table or a record."""
    return {
        "name": spec.name,
        "seats": spec.seats,
        "actions": spec.actions,
        "observation": list(spec.observation),
        "moves": _moves(spec.simultaneous),
        "information": _information(spec.perfect_information),
        "chance": spec.stochastic,
        "payoff": spec.payoff,
        "searchable": spec.searchable,
    }


def _moves(simultaneous: bool) -> str:
    return "simultaneous" if simultaneous else "in turn"


def _information(perfect: bool) -> str:
    return "perfect" if perfect else "imperfect"


def show(rows: list[dict[str, Any]], family: str | None, console: Console) -> None:
    """A table that 80 columns hold, and without a family how to reach the others."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    columns = [column for column in COLUMNS if rows and column in rows[0]]
    for column in columns:
        table.add_column(COLUMNS[column], no_wrap=True)
    for row in rows:
        table.add_row(*(_shown(row[column]) for column in columns))
    console.print(table)
    if family == "teams":
        counts = {row["package"]: row["registered"] for row in rows}
        console.print(
            "\nA handful of each: " + ", ".join(f"{package} registers {n:,}" for package, n in counts.items())
        )
    if family is None:
        console.print("\nFamilies, each with many games:", highlight=False)
        for name, (package, example, more) in FAMILIES.items():
            there = "" if find_spec(package) else " (not installed)"
            console.print(f"  {name + there:<12} as in {example}; {more}", highlight=False)


def sentence(spec: GameSpec) -> str:
    """A game's traits in a line."""
    return ", ".join(f"{name}: {_plain(value)}" for name, value in traits(spec).items() if name != "name")


def _shown(value: Any) -> str:
    return SHORT.get(value, value) if isinstance(value, str) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "×".join(map(str, value)) if isinstance(value, list) else str(value)
