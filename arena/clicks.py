"""From clicks on a board to a move: one place, or two to move a piece; a choice by name where several moves fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from games.scene import Scene

Way = tuple[int, ...]
"""The places that are clicked for a move, as indices into `Scene.places`."""


@dataclass(frozen=True, slots=True)
class Clicked:
    """What places that were clicked one after another come to."""

    chosen: Way  # the first places of a move, where more are to come
    actions: tuple[int, ...]  # what may be meant: one to play it, several that only names tell apart


def ways_of(scene: Scene | None, legal: Sequence[int]) -> dict[int, Way]:
    """The way of each of the `legal` actions that has one."""
    moves = {} if scene is None else scene.moves
    return {action: moves[action] for action in legal if action in moves}


def follow(ways: Mapping[int, Way], chosen: Way, place: int) -> Clicked | None:
    """What a click on `place` means after those on `chosen`; None where no move goes there.

    The last place again takes it back, unless that is a move; a place that goes on to nowhere begins anew.
    """
    way = (*chosen, place)
    exact = tuple(action for action, places in ways.items() if places == way)
    longer = tuple(action for action, places in ways.items() if len(places) > len(way) and places[: len(way)] == way)
    if longer:
        return Clicked(way, (*exact, *longer))
    if exact:
        return Clicked((), exact)
    if chosen and place == chosen[-1]:
        stays = tuple(action for action, places in ways.items() if places == chosen)
        return Clicked((), stays)
    return follow(ways, (), place) if chosen else None


def targets(ways: Mapping[int, Way], chosen: Way) -> list[int]:
    """The places that may be clicked next, once something is chosen."""
    depth = len(chosen)
    return sorted({way[depth] for way in ways.values() if chosen and way[:depth] == chosen and len(way) > depth})


def why_not(scene: Scene, chosen: Way, place: int) -> str:
    """Why a click on `place` is no move, as a sentence."""
    if not 0 <= place < len(scene.places):
        return "There is no such place on the board."
    name = scene.places[place].name
    return f"No move goes to {name}." if chosen else f"{name} is not a legal move here."
