"""The league page: what it says of a run, that it follows it, and that no name becomes a part of the page."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nicegui import ui
from nicegui.testing import User, user_simulation
from test_arena_overview import tell, update
from test_arena_standings import WINS, enter, play
from test_arena_train import config

from arena import web_league, web_tables
from arena.ladder import legend
from arena.overview import Overview, overview
from arena.run import create, reopen
from arena.web_charts import curve, elo, metric_names, options, rate, shown_first
from arena.web_league import league_page
from arena.web_tables import games_address, ladder, lineage, payoff, play_address, status, stored
from games.names import UserError
from leagues.core import VISITOR, Match, Player, Result

MOVES = np.zeros((5, 1), np.int16)
LONG = 600  # looks, a tenth of a second apart, before something counts as not shown
EVIL = "<img src=x onerror=alert(1)>\"'&"


def league(folder: Path) -> None:
    """A small run: two snapshots, a scripted player, and a person whose name is a trap; not running any more."""
    with create(folder, config(best={"enabled": True, "games": 20}), "test") as run:
        enter(run, "mcts:25", "main@1", "main@2")
        play(run, 0, ("main@1", "mcts:25"), "rate", [*WINS, (-1.0, 1.0), (0.0, 0.0)])
        play(run, 1, ("main@2", "main@1"), "rate", WINS)
        play(run, 2, ("main@2", "main@1"), "gate", WINS)
        person = Player(EVIL, "human", role=VISITOR)
        run.ledger.add_visit(
            [person], Match(-1, (EVIL, "main@2"), "human", 7), Result(-1, 0, (1.0, -1.0), 5, moves=MOVES)
        )
        tell(run, *(update(n, main__entropy=1.0 / n, **{"main/score/main@1": 0.6}) for n in range(1, 9)))
        tell(run, {"summary": {"stopped_by": "500 decisions"}})


def links(html: str) -> list[str]:
    return re.findall(r'<a[^>]* ?href="([^"]*)"', html)


def test_addresses_are_percent_encoded() -> None:
    assert play_address("mcts:25") == "/play?against=mcts%3A25"
    assert play_address('a&b="<') == "/play?against=a%26b%3D%22%3C"
    assert games_address(("main@1", "a b")) == "/games?a=main%401&b=a+b"
    assert games_address(("main@1",)) == "/games?a=main%401"


def test_the_tables_say_what_the_ladder_says_and_lead_to_play_and_games(tmp_path: Path) -> None:
    league(tmp_path / "run")
    found = overview(tmp_path / "run")
    table, map_of, line, list_of = ladder(found), payoff(found), lineage(found), stored(found)
    order = [row.id for row in found.ladder.rows]
    assert links(table) == [play_address(name) for name in order if name != EVIL], "a person is not to be had"
    assert "95% interval" in table
    assert 'main@2</a> <span title="the best by gate matches">★' in table
    assert f"{found.ladder.rows[0].rating:.0f}" in table
    assert "−" in table, "a minus is as wide as a plus"
    assert legend(found.ladder).replace(" -", " −").replace("(-", "(−") in table
    pairs = {("main@1", "mcts:25"), ("main@2", "main@1"), (EVIL, "main@2")}
    shown = {address.replace("&amp;", "&") for address in links(map_of)}
    assert shown == {games_address(pair) for one in pairs for pair in (one, one[::-1])}
    assert "main@1 against mcts:25: 0.932 (" in map_of
    assert ", 22 games" in map_of
    assert links(line) == [play_address("main"), play_address("main@1"), play_address("main@2")]
    assert "main@2, frozen after 200 decisions" in line
    assert "beat main@1: scored 100.0% in 20 games" in line
    assert [address.replace("&amp;", "&") for address in links(list_of)] == [games_address((EVIL, "main@2"))]


def test_no_name_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    league(tmp_path / "run")
    found = overview(tmp_path / "run")
    for html in (status(found), ladder(found), payoff(found), lineage(found), stored(found)):
        assert "<img" not in html
        assert all(EVIL not in value for value in re.findall(r'"([^"]*)"', html))
    assert "&lt;img src=x" in ladder(found)


def test_the_elo_chart_has_a_line_for_each_learner_and_a_level_for_everybody_else(tmp_path: Path) -> None:
    league(tmp_path / "run")
    found = overview(tmp_path / "run")
    series = {one["name"]: one for one in elo(found)["series"]}
    rows = {row.id: row for row in found.ladder.rows}
    line = series["main"]["data"]
    assert [point["value"] for point in line] == [[100, rows["main@1"].rating], [200, rows["main@2"].rating]]
    assert [point["player"] for point in line] == ["main@1", "main@2"]
    assert [point["value"] for point in series["mcts:25"]["data"]] == [
        [0, rows["mcts:25"].rating],
        [200, rows["mcts:25"].rating],
    ]
    assert series[EVIL]["data"][0]["player"] is None
    low, wide = series["main low"]["data"], series["main band"]["data"]
    row = rows["main@1"]
    assert low[0] == [100, row.rating - row.spread]
    assert wide[0] == [100, 2 * row.spread]
    assert series["main interval"]["data"][:3] == [[100, row.low], [100, row.high], [100, None]]


def test_wide_intervals_do_not_stretch_the_elo_chart(tmp_path: Path) -> None:
    league(tmp_path / "run")
    found = overview(tmp_path / "run")
    rows = [
        replace(found.ladder.rows[0], id=name, rating=value, low=value - wide, high=value + wide, spread=wide / 2)
        for name, value, wide in (("main@2", 610.0, 40.0), ("main@1", 90.0, 3000.0), ("mcts:25", 0.0, 0.0))
    ]
    found = replace(found, ladder=replace(found.ladder, rows=tuple(rows)))
    axis = options(elo(found))["yAxis"]
    margin = 0.03 * (610 + 305)
    assert (axis["min"], axis["max"]) == (-305 - margin, 915 + margin), "half the range of ratings on either side"
    rows[1] = replace(rows[1], low=30.0, high=150.0, spread=50.0)
    found = replace(found, ladder=replace(found.ladder, rows=tuple(rows)))
    axis = options(elo(found))["yAxis"]
    assert (axis["min"], axis["max"]) == (-margin, 650 + margin), "they are seen whole where they are not so wide"
    nobody = replace(found, ladder=replace(found.ladder, rows=()), snapshots=())
    assert "min" not in options(elo(nobody))["yAxis"]


def test_curves_are_of_what_learners_told(tmp_path: Path) -> None:
    league(tmp_path / "run")
    found = overview(tmp_path / "run")
    assert metric_names(found) == ["entropy", "scores of main"] == shown_first(metric_names(found))
    (entropy,) = curve(found, "entropy")["series"]
    assert entropy["data"][:2] == [[100, 1.0], [200, 0.5]]
    assert not entropy["endLabel"]["show"], "one learner needs no name"
    (score,) = curve(found, "scores of main")["series"]
    assert (score["name"], score["endLabel"]["show"]) == ("main@1", True)
    assert curve(found, "nothing of the kind")["series"] == []
    assert rate(found)["series"][0]["data"][0] == [10 / 60, 50]


def test_numbers_of_snapshots_do_not_cover_one_another() -> None:
    assert web_tables._apart([0, 50, 100]) == [True, True, True]
    assert web_tables._apart([0, 1, 50, 99, 100]) == [False, True, True, False, True]
    assert web_tables._apart([]) == []


# ---- as a reader sees it -------------------------------------------------------------------------------------------


def visit(folder: Path, reader: Callable[[User], Awaitable[None]]) -> None:
    """Open the page of `folder`, and let `reader` look at it."""

    async def look() -> None:
        async with user_simulation(root=lambda: league_page(folder)) as user:
            await user.open("/")
            await reader(user)

    asyncio.run(look())


def html_of(user: User) -> str:
    return " ".join(element.content for element in user.find(ui.html).elements)


def choice_of(user: User) -> ui.select:
    (found,) = user.find(ui.select).elements
    return found


def charts_of(user: User) -> list[dict[str, Any]]:
    return [element.options for element in user.find(ui.echart).elements]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and read anew each time."""
    monkeypatch.setattr(web_league, "EVERY", 0.01)
    monkeypatch.setattr(web_league, "SELDOM", 0.01)
    monkeypatch.setattr(web_league, "FRESH", 0.0)


def test_a_finished_run_is_shown_from_its_directory_alone(tmp_path: Path) -> None:
    league(tmp_path / "run")

    async def reader(user: User) -> None:
        await user.should_see("stopped by 500 decisions", retries=LONG)
        await user.should_see("Who beats whom")
        html = html_of(user)
        assert "<b>800</b> decisions" in html
        assert play_address("main@2") in html
        assert len(charts_of(user)) == 5, "Elo, two curves, two of throughput"

    visit(tmp_path / "run", reader)


def test_the_page_follows_a_run_from_before_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    async def reader(user: User) -> None:
        await user.should_see("There is no run in", retries=LONG)
        with create(folder, config(), "test") as run:
            await user.should_see("No rating games yet", retries=LONG)
            assert "running" in html_of(user)
            enter(run, "random", "main@1")
            play(run, 0, ("main@1", "random"), "rate", WINS)
            await user.should_see(play_address("main@1"), retries=LONG)
            tell(run, *(update(n, main__kl=0.1, main__loss=0.2) for n in range(1, 4)))
            await user.should_see("<b>300</b> decisions", retries=LONG)
            assert choice_of(user).value == ["loss", "kl"], "chosen once there were any"
        await user.should_see("not running", retries=LONG)

    visit(folder, reader)


def test_a_reader_chooses_curves_and_keeps_them_when_others_come(tmp_path: Path) -> None:
    league(tmp_path / "run")

    async def reader(user: User) -> None:
        await user.should_see("Learning curves", retries=LONG)
        stays = {chart for chart in user.find(ui.echart).elements if "scores" not in chart.props["aria-label"]}
        choice_of(user).value = ["entropy", "no such curve"]
        await user.should_see("entropy")
        assert len(charts_of(user)) == 4
        with reopen(tmp_path / "run", None) as run:
            tell(run, update(9, main__kl=0.1))
        await user.should_see("<b>900</b> decisions", retries=LONG)
        assert choice_of(user).value == ["entropy", "no such curve"]
        assert choice_of(user).options == ["entropy", "kl", "scores of main"]
        assert len(charts_of(user)) == 4
        assert stays == user.find(ui.echart).elements, "no chart was made anew"

    visit(tmp_path / "run", reader)


def test_what_is_wrong_is_told_and_what_was_seen_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    league(tmp_path / "run")
    look, wrong = web_league._Shared.look, list[str]()

    def may_fail(shared: web_league._Shared) -> Overview:
        if wrong:
            raise UserError(wrong[0])
        return look(shared)

    monkeypatch.setattr(web_league._Shared, "look", may_fail)

    async def reader(user: User) -> None:
        await user.should_see("<b>800</b> decisions", retries=LONG)
        wrong.append("The disk <b>is</b> away.")
        await user.should_see("The disk &lt;b&gt;is&lt;/b&gt; away.", retries=LONG)
        await user.should_see(play_address("main@1"))
        wrong.clear()
        await user.should_see("<b>800</b> decisions", retries=LONG)

    visit(tmp_path / "run", reader)


def test_all_pages_of_a_run_share_what_was_read(tmp_path: Path) -> None:
    league(tmp_path / "run")
    one, other = web_league._shared(tmp_path / "run"), web_league._shared(tmp_path / "run" / ".." / "run")
    assert one is other
    assert one.look() is other.look()
    assert web_league._shared(tmp_path / "another") is not one
    del one, other
    gc.collect()
    assert (tmp_path / "run").resolve() not in web_league._runs, "forgotten with the last page"
