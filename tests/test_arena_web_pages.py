"""Which pages a run or a game has, and what cannot be shown as pages, before anything is served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_arena_train import config, training

from arena.lobby import Lobby
from arena.people import FOLDER
from arena.seating import Invitation, runs_of
from arena.web_pages import game_pages, run_pages
from games.names import UserError
from leagues.ledger import Ledger


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_a_run_shows_its_league_first_also_before_it_has_a_snapshot() -> None:
    with training(config(), Path("runs/young")):
        assert list(run_pages(Path("runs/young"))) == ["/", "/play", "/games", "/replay"]


def test_a_game_without_a_run_is_played_first() -> None:
    assert list(game_pages(Lobby("tic_tac_toe", runs_of("random")), Invitation())) == ["/", "/games", "/replay"]


def test_an_invitation_that_cannot_be_followed_is_refused_before_anything_is_served() -> None:
    lobby = Lobby("tic_tac_toe", [])
    with pytest.raises(UserError, match=r"Did you mean 'greedy'\?"):
        game_pages(lobby, Invitation(against="gredy"))
    with pytest.raises(UserError, match="seats 0 to 1"):
        game_pages(lobby, Invitation(seat=2))


def test_games_of_people_have_no_league_page_and_the_way_to_them_is_said() -> None:
    folder = FOLDER / "tic_tac_toe"
    folder.mkdir(parents=True)
    Ledger.create(folder / "ledger.sqlite", "tic_tac_toe", (0, 1)).close()
    with pytest.raises(UserError, match="holds games that people played, and no league") as refused:
        run_pages(folder)
    assert "`arena replay runs/people/tic_tac_toe` lists them" in str(refused.value)


def test_a_folder_that_is_no_run_is_refused() -> None:
    with pytest.raises(UserError, match="There is no run in runs/people"):
        run_pages(FOLDER)
