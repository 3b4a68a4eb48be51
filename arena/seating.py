"""From a command to a table: who is invited, which screen shows the game, and where it goes when it is over."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from agents.core import Policy
from arena import people, replay
from arena.blocks import can_show
from arena.lobby import Lobby
from arena.sitting import Occupant, Sitting
from games import GameSpec
from games.keys import mix
from games.names import UserError

Keep = Callable[[Sitting, int], people.Recorded | None]
"""Puts a finished game, played with that seed, where it belongs; None where there is nothing to keep."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """How a table is laid for somebody."""

    against: str = "random"  # who holds the other seats
    seat: int = 0  # the person's; -1 to watch
    person: str = ""  # what the person is called on the ladder; nothing: a guest
    seed: int | None = None  # of the first game; drawn unless given

    def asked(self, against: str, seat: int | None) -> Invitation:
        """The same, but for what is asked for."""
        return replace(self, against=against or self.against, seat=self.seat if seat is None else seat)

    def check_seat(self, spec: GameSpec) -> None:
        """Raises UserError where the game has no such seat."""
        if not -1 <= self.seat < spec.seats:
            raise UserError(f"{spec.name} has seats 0 to {spec.seats - 1}, and -1 is to watch, but not {self.seat}.")

    def check(self, lobby: Lobby) -> None:
        """Raises UserError where it cannot be followed; the player is loaded."""
        self.check_seat(lobby.spec)
        lobby.occupant(self.against)
        people.check_name(self.person, run_of(lobby.full(self.against)))


def run_of(against: str) -> Path | None:
    """The run that a player is from; None for a scripted one."""
    folder, colon, _ = against.partition("?")[0].rpartition(":")
    return Path(folder) if colon and (Path(folder) / "config.yaml").is_file() else None


def runs_of(against: str) -> list[Path]:
    """The runs whose players can be asked: that of `against` first, then all in the folder `runs`."""
    own = run_of(against)
    found = sorted(path.parent for path in Path("runs").glob("*/config.yaml"))
    if own is None:
        return found
    return [own, *(path for path in found if path.resolve() != own.resolve())]


def keeper(lobby: Lobby, run: Path | None) -> Keep:
    """Keeps games that people took part in, in `run`, or where their players come from."""

    def keep(sitting: Sitting, seed: int) -> people.Recorded | None:
        played = sitting.record()
        if not sitting.people or not played.finished:
            return None
        return people.record(lobby.name, sitting.spec, sitting.occupants, played, seed, sitting.helped, run)

    return keep


def play_here(lobby: Lobby, invitation: Invitation, console: Console, plain: bool) -> int:
    """Play in this terminal, on a screen of its own or, if `plain` or in a pipe, at a prompt; the exit code."""
    from arena.play import play
    from arena.screen import run_screen

    invitation.check(lobby)
    keep, seeds = keeper(lobby, None), [secrets.randbits(63) if invitation.seed is None else invitation.seed]
    agent = lobby.occupant(invitation.against)
    person = Occupant(invitation.person or people.GUEST)
    occupants = [person if seat == invitation.seat else agent for seat in range(lobby.spec.seats)]
    sitting = Sitting(lobby.game(), occupants, int(mix(seeds[0], 0)))
    if plain or not can_show(console, sys.stdin):

        def deeper(simulations: int) -> Policy:
            policy = lobby.occupant(invitation.against, {"simulations": simulations}).policy
            assert policy is not None
            return policy

        play(sitting, console=console, ask=input, deeper=deeper)
        kept = [keep(sitting, seeds[0])]
    else:
        kept = []

        def again(ended: Sitting) -> Sitting:
            kept.append(keep(ended, seeds[-1]))
            seeds.append(secrets.randbits(63))
            return Sitting(lobby.game(), ended.occupants, int(mix(seeds[-1], 0)))

        sitting = run_screen(sitting, again)
        kept.append(keep(sitting, seeds[-1]))
    for recorded in filter(None, kept):
        console.print(Text(recorded.sentence), soft_wrap=True)
    return 1 if sitting.failure else 0


def list_games(folder: Path, a: str | None, b: str | None, last: int, console: Console) -> None:
    """The newest stored games, as a table."""
    with replay.archive(folder) as archive:
        found, spec = archive.games(a, b, last=last), archive.spec
    if not found:
        who = " and ".join(filter(None, (a, b)))
        console.print(Text(f"No game{f' of {who}' if who else ''} is stored in {folder}."))
        return
    grid = Grid(box=None, pad_edge=False)
    for heading in ("game", "for", "players", "result", "steps"):
        grid.add_column(heading, justify="right" if heading in ("game", "steps") else "left", overflow="fold")
    for stored in found:
        cells = (f"{stored.match}.{stored.game}", stored.purpose, " – ".join(stored.lineup), stored.in_words(spec))
        grid.add_row(*map(Text, (*cells, str(stored.length))))
    console.print(grid)
    newest = found[-1]
    console.print(Text(f"One of them: arena replay {folder} --game {newest.match}.{newest.game}"), soft_wrap=True)


def replay_here(folder: Path, which: str, by: str | None, console: Console, plain: bool) -> None:
    """Step through one stored game, MATCH.GAME, on a screen of its own or printed position by position."""
    match, dot, game = which.partition(".")
    if not (dot and match.lstrip("-").isdigit() and game.isdigit()):
        raise UserError(f"{which!r} names no game: it is MATCH.GAME, as in 12.0; `arena replay {folder}` lists them.")
    with replay.archive(folder) as archive:
        played, reference = archive.load(int(match), int(game)), archive.reference
    policy = Lobby(reference, [folder]).occupant(by).policy if by else None
    if plain or not can_show(console, sys.stdin):
        print_game(played, console)
        return
    from arena.screen_replay import run_replay

    run_replay(played, policy, played.problem or "")


def print_game(played: replay.Replay, console: Console) -> None:
    """Every position of a game and what was played there."""
    words = played.moves_in_words()
    for step in range(played.steps + 1):
        table = played.table(step)
        decisions = table.pending()
        acting = decisions.seat[0, decisions.active[0]].tolist()
        console.print(Text(played.game.text(table.states, 0, acting[0] if acting else 0)), soft_wrap=True)
        if step < played.steps:
            opening = " (opening, at random)" if step < played.opening else ""
            console.print(Text(f"{step + 1}. {words[step]}{opening}\n", "bold"), soft_wrap=True)
    if played.problem is not None:
        console.print(Text(played.problem, "red"), soft_wrap=True)
    console.print(Text(played.stored.in_words(played.game.spec), "bold"), soft_wrap=True)
