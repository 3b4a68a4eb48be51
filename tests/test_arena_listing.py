import pytest
from rich.console import Console

import games
from arena.listing import listed, sentence, show
from games.names import UserError


def test_the_games_with_names_are_listed_with_their_traits() -> None:
    rows = {row["name"]: row for row in listed()}
    assert set(rows) >= {"connect_four", "tic_tac_toe", "rock_paper_scissors"}
    assert rows["connect_four"] == {
        "name": "connect_four",
        "seats": 2,
        "actions": 7,
        "observation": [2, 6, 7],
        "moves": "in turn",
        "information": "perfect",
        "chance": False,
        "payoff": "zero_sum",
        "searchable": True,
    }
    assert rows["rock_paper_scissors"]["moves"] == "simultaneous"


def test_openspiel_lists_its_own() -> None:
    rows = {row["name"]: row for row in listed("openspiel")}
    assert len(rows) > 80
    assert rows["openspiel/kuhn_poker"]["information"] == "imperfect"
    assert rows["openspiel/kuhn_poker"]["seats"] == "2-10"
    assert rows["openspiel/backgammon"]["chance"] is True
    with pytest.raises(UserError, match="Did you mean 'openspiel'"):
        listed("openspeil")


@pytest.mark.parametrize("family", [None, "openspiel"])
def test_the_table_fits_80_columns_whole(family: str | None) -> None:
    console = Console(width=80, record=True)
    show(listed(family)[:5], family, console)
    text = console.export_text()
    assert "…" not in text
    assert all(row["name"] in text for row in listed(family)[:5])
    assert ("gymnasium/CartPole-v1" in text) == (family is None)


def test_traits_in_a_line_say_whether_a_game_can_be_searched() -> None:
    assert sentence(games.make("tic_tac_toe").spec).endswith("payoff: zero_sum, searchable: yes")
    assert "searchable: no" in sentence(games.make("gymnasium/CartPole-v1").spec)
