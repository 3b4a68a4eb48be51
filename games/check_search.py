"""What the conformance kit tries of what tree search needs: copies, games that are put back, worlds drawn anew.

Probes, as in `games.check_probe`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.check_play import Broken, Picture, Play, compare, pick
from games.check_probe import Probe, Trial
from games.check_watch import ends, payoff, turns
from games.core import Rows
from games.keys import SEARCH, mix

WORLDS = 6  # drawn for one seat in one position
DRAWS = 100  # after which one must have differed in what another seat sees


def copies(trial: Trial) -> str:
    """Copies taken all along some games, and played in other ways than their originals, and in the same."""
    if not trial.game.spec.searchable:
        return "Not searchable: there are no copies to test."
    play, peace = Play(trial.game, trial.few), Play(trial.game, trial.few)
    rows = np.repeat(np.arange(len(trial.few)), 2)
    stride = max(1, int(trial.length) // 8)
    for step in range(trial.game.spec.longest):
        if play.done:
            break
        original = play.look()
        if step % stride == 0:
            stray, same = play.fork(rows), play.fork(rows)
            compare(pick(original, rows), same.look(), "A copy is not like its original")
            stray.keys = stray.choices = mix(stray.keys, 1, np.arange(len(rows)))
            for _ in range(3):
                stray.advance()
            compare(original, play.look(), "Changed by steps of a copy")
        play.advance()
        peace.advance()
        if step % stride == 0:
            compare(pick(original, rows), same.look(), "A copy, changed by a step of its original")
            same.advance()
            compare(pick(play.look(), rows), same.look(), "A copy, given the same actions and keys")
        compare(peace.look(), play.look(), "Unlike a game that was never copied")
    return ""


def puts(trial: Trial) -> str:
    """Copies of games under way, put among other games and into fresh room, played on beside their originals."""
    game, spec, keys = trial.game, trial.game.spec, trial.few
    if not spec.searchable:
        return "Not searchable: there are no copies to put anywhere."
    rows = np.arange(len(keys) - 1, -1, -2)
    others, source = np.setdiff1d(np.arange(len(keys)), rows), np.arange(len(rows))
    for after in sorted({0, min(2, int(trial.length) // 2), int(trial.length * 0.75), spec.longest}):
        play = Play(game, keys)
        host, peace = (Play(game, mix(keys, 1)) for _ in range(2))
        for _ in range(after):
            if play.done:
                break
            for games in (play, host, peace):
                games.advance()
        room = game.room(len(keys))
        for part in (others, rows):
            game.put(room, part, game.copy(play.states, part))
        moved = play.of(np.arange(len(keys)), room)
        host.put(rows, play.fork(source))
        for _ in range(spec.longest + 1):
            original, seen = play.look(), host.look()
            compare(original, moved.look(), "Put into fresh room, unlike its original")
            compare(pick(original, source), pick(seen, rows), "Put among other games, unlike its original")
            compare(pick(peace.look(), others), pick(seen, others), "Disturbed by a game put into another row")
            if play.done and host.done:
                break
            for games in (play, moved, host, peace):
                games.advance()
    return ""


def worlds(trial: Trial) -> str:
    """Worlds drawn for every seat that acts, all along some games: what the seat knows is kept, and they play on."""
    spec = trial.game.spec
    if not spec.resamples:
        return "No worlds can be drawn, by its spec."
    play, peace = Play(trial.game, trial.few), Play(trial.game, trial.few)
    stride = max(1, int(trial.length) // 6)
    drawn, varied = 0, False
    for step in range(spec.longest):
        if play.done:
            break
        if step % stride == 0:
            before = play.look()
            count, differ = _draw(play, before)
            drawn, varied = drawn + count, varied or differ
            compare(before, play.look(), "Changed by worlds that were drawn from it, and played")
        play.advance()
        peace.advance()
        compare(peace.look(), play.look(), "Unlike a game from which no world was drawn")
    if spec.seats == 1:
        return "Not tested that anything is drawn: no other seat sees what is hidden."
    if not varied and drawn >= DRAWS:
        raise Broken(f"In {drawn} worlds no other seat ever saw anything else: what is hidden is not drawn anew.")
    return "" if varied else f"Not tested that anything is drawn: {drawn} worlds are too few."


def _draw(play: Play, before: Picture) -> tuple[int, bool]:
    """Draw worlds for who acts; how many, and whether another seat's view differed among those of one position."""
    game: Any = play.game
    rows, slots = (np.repeat(index, WORLDS) for index in np.nonzero(play.decisions.active))
    seats, backwards = play.decisions.seat[rows, slots].astype(np.int64), np.arange(len(rows))[::-1]
    keys = mix(play.keys[rows], SEARCH, play.clock, np.arange(len(rows)))
    drawn = play.of(rows, game.resample(play.states, rows, seats, keys))
    turned = rows[backwards]
    again = play.of(turned, game.resample(play.states, turned, seats[backwards], keys[backwards]))
    seen = drawn.look()
    compare(seen, pick(again.look(), backwards), "Drawn again from the same key")
    _knows(play, before, seen, rows, slots, seats)
    while not drawn.done and drawn.clock <= game.spec.longest:
        drawn.advance()
        if drawn.failures:
            raise Broken(f"A world that was drawn broke: {drawn.failures[0]}")
        for watch in (turns, ends, payoff):
            watch(drawn)
    views = seen["view"].reshape(-1, WORLDS, game.spec.seats, *game.spec.observation)
    return len(rows), bool((views != views[:, :1]).any())


def _knows(play: Play, before: Picture, seen: Picture, rows: Rows, slots: Rows, seats: NDArray[np.int64]) -> None:
    """Raise Broken where what `seats` [n] know in `rows` [n] of `before` is otherwise in their worlds [n]."""
    world = np.arange(len(rows))
    for field, index, what in (
        ("active", slots, "whether it acts"),
        ("seat", slots, "who acts"),
        ("legal", slots, "its legal actions"),
        ("view", seats, "its view"),
    ):
        expected, found = before[field][rows, index], seen[field][world, index]
        differs = (expected.view(np.uint8) != found.view(np.uint8)).reshape(len(rows), -1).any(axis=1)
        for i in np.flatnonzero(differs)[:1].tolist():
            raise Broken(f"In a world drawn for seat {seats[i]}, {what} is not the same: {play.where(int(rows[i]))}.")


# As `games.check_probe.PROBES`.
SEARCHES: dict[str, tuple[str, Probe, tuple[str, ...]]] = {
    "copies": ("A copy and its original go their own ways.", copies, ("replay",)),
    "put": ("A game that is put into another place goes on there, and disturbs no other.", puts, ("copies",)),
    "resample": ("A world drawn for a seat is one that it cannot tell from its own.", worlds, ("replay", "secrets")),
}
