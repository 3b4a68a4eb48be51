"""Which pages there are: those of a run, and those of a game that is played without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from arena import people, replay
from arena.lobby import Lobby
from arena.run import read_config
from arena.seating import Invitation, keeper, run_of
from arena.web_theme import frame
from games.names import UserError

Pages = dict[str, Callable[..., Any]]


def run_pages(run: Path) -> Pages:
    """The league of `run` first; play against its players, its games, one game again.

    Raises UserError where there is no run.
    """
    if (run / "ledger.sqlite").is_file() and not (run / "config.yaml").exists():
        raise UserError(
            f"{run} holds games that people played, and no league to show. `arena replay {run}` lists them, and with"
            " --game steps through one."
        )
    config = read_config(run)
    lobby = Lobby(config.game, [run])
    links = {"League": "/", "Play": "/play", "Games": "/games"}

    def league() -> None:
        from arena.web_league import league_page

        with frame(run.name, links):
            league_page(run)

    inviting = Invitation(against=next(iter(config.league.learners)))
    return {"/": league, "/play": _play(lobby, inviting, links, run, run), **_stored(lobby, links, run)}


def game_pages(lobby: Lobby, invitation: Invitation) -> Pages:
    """Play first, as `invitation` says; then the games of the run that its player is from, or else those people played.

    Raises UserError where the invitation cannot be followed.
    """
    invitation.check(lobby)
    folder = run_of(lobby.full(invitation.against)) or people.folder_of(lobby.name)
    links = {"Play": "/", "Games": "/games"}
    return {"/": _play(lobby, invitation, links, None, folder), **_stored(lobby, links, folder)}


def _play(
    lobby: Lobby, invitation: Invitation, links: Mapping[str, str], run: Path | None, stored: Path
) -> Callable[..., Any]:
    async def play(against: str = "", seat: int | None = None) -> None:
        from nicegui import ui

        from arena.web_play import PlayPage

        asked = invitation.asked(against, seat)
        asked.check_seat(lobby.spec)
        with frame("Play", links):
            page = PlayPage(lobby, asked, keeper(lobby, run), stored)
        await ui.context.client.connected()
        await page.start()

    return play


def _stored(lobby: Lobby, links: Mapping[str, str], folder: Path) -> Pages:
    def games(a: str = "", b: str = "") -> None:
        from nicegui import ui

        from arena.web_replay import games_page

        with frame("Games", links):
            if folder.exists():
                games_page(folder, a, b)
            else:
                ui.label("Nobody has finished a game here yet.")

    async def one(match: int = 0, game: int = 0) -> None:
        from nicegui import ui

        from arena.web_replay import ReplayPage
        from arena.web_threads import in_thread

        with frame("Replay", links) as main:
            try:
                played = await in_thread(replay.load, folder, match, game)
            except UserError as error:
                ui.label(str(error)).classes("bad")
                return
        with main:
            page = ReplayPage(played, lobby)
        await ui.context.client.connected()
        await page.start()

    return {"/games": games, "/replay": one}
