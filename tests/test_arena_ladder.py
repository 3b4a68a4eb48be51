import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from arena.elo import fit, tally
from arena.ladder import Ladder, columns, extent, ladder, legend, number, team_rows, text, to_dict, with_thinking
from arena.pictures import draw, heatmap
from games.keys import generator
from leagues.core import Match, Result


def series(a, b, wins, draws, losses, match=0):
    """A match of two players who change seats, told as (Match, Result); the counts are those of `a`."""
    described = Match(id=match, players=(a, b), purpose="rate", seed=1)
    for game, own in enumerate([1.0] * wins + [0.0] * draws + [-1.0] * losses):
        returns = (own, -own) if game % 2 == 0 else (-own, own)
        yield described, Result(match=match, game=game, returns=returns, length=9)


def results():
    yield from series("main@2", "random", 30, 2, 4, match=1)
    yield from series("main@1", "random", 22, 4, 10, match=2)
    yield from series("main@2", "main@1", 20, 6, 10, match=3)


PLAYERS = ["random", "main@1", "main@2"]


def rated(anchor="random"):
    return ladder(PLAYERS, team_rows(results(), (0, 1)), anchor, competitive=True)


def averaged():
    rng = generator(5)
    rows = [((f"main@{i}",), (float(rng.normal(10 * i, 5)),)) for i in (1, 2, 3) for _ in range(20)]
    return ladder(["main@1", "main@2", "main@3", "once"], [*rows, (("once",), (3.0,))], None, competitive=False)


def printed(table):
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5_000


def test_team_rows_follow_the_lineup():
    match = Match(id=7, players=("a", "b"), purpose="rate", seed=1)
    told = [(match, Result(7, 0, (1.0, -1.0), 5)), (match, Result(7, 1, (1.0, -1.0), 5, truncated=True))]
    assert list(team_rows(told, (0, 1))) == [(["a", "b"], [1.0, -1.0]), (["b", "a"], [1.0, -1.0])]


def test_team_rows_average_the_seats_of_a_team():
    match = Match(id=7, players=("a", "b"), purpose="rate", seed=1)
    told = [(match, Result(7, 1, (1.0, -4.0, 3.0, -2.0), 5))]
    assert list(team_rows(told, (0, 1, 0, 1))) == [(["b", "a"], [2.0, -3.0])]


def test_team_rows_refuse_another_games_results():
    match = Match(id=7, players=("a", "b"), purpose="rate", seed=1)
    with pytest.raises(ValueError, match="Game 2 of match 7 has 3 returns, but the game has 2 seats"):
        list(team_rows([(match, Result(7, 2, (1.0, 0.0, 0.0), 5))], (0, 1)))


def test_a_ladder_ranks_by_elo():
    found = rated()
    assert [row.id for row in found.rows] == ["main@2", "main@1", "random"]
    assert [row.games for row in found.rows] == [72, 72, 72]
    assert found.rows[0].score == pytest.approx((50 + 8 / 2) / 72)
    ratings = fit(tally(team_rows(results(), (0, 1))), anchor="random")
    for row in found.rows:
        i = ratings.players.index(row.id)
        assert (row.rating, row.low, row.high) == (ratings.elo[i], ratings.low[i], ratings.high[i])
    assert found.rows[0].superiority == ratings.superiority("main@2", "main@1")
    assert found.rows[2].superiority is None
    assert found.rows[2].rating == 0
    assert found.anchor == "random"
    assert found.advantage == ratings.advantage


def test_players_without_games_are_rated_widely():
    found = ladder([*PLAYERS, "new"], team_rows(results(), (0, 1)), "random", competitive=True)
    (new,) = (row for row in found.rows if row.id == "new")
    assert new.games == 0
    assert new.score is None
    assert 2000 < new.high - new.low < math.inf


@pytest.mark.parametrize("competitive", [True, False])
def test_strangers_are_refused(competitive):
    with pytest.raises(ValueError, match="results of 'main@1', who is not among the players"):
        ladder(["random", "main@2"], team_rows(results(), (0, 1)), None, competitive)
    with pytest.raises(ValueError, match=r"'randon' is not among the players\. Did you mean 'random'"):
        ladder(PLAYERS, [], "randon", competitive)


def test_without_opponents_it_ranks_by_mean_return():
    found = averaged()
    assert [row.id for row in found.rows] == ["main@3", "main@2", "main@1", "once"]
    assert not found.competitive
    assert found.advantage is None
    assert found.rows[0].low < 30 < found.rows[0].high
    assert found.rows[0].superiority > 0.99
    assert found.rows[3].high == math.inf
    assert "mean return" in printed(text(found))
    assert "no opponent" in " ".join(printed(text(found)).split())


def test_a_dictionary_survives_json():
    told = to_dict(rated())
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert [player["id"] for player in told["players"]] == ["main@2", "main@1", "random"]
    assert told["players"][2] | {"elo": 0.0, "games": 72} == told["players"][2]
    assert {"elo", "low", "high", "games"} <= told["players"][0].keys()
    assert told["anchor"] == "random"
    assert told["advantage"]["low"] < told["advantage"]["elo"] < told["advantage"]["high"]

    told = to_dict(averaged())
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["kind"] == "mean"
    assert told["players"][3]["high"] is None
    assert told["advantage"] is None


def test_a_table_shows_every_player_and_what_the_numbers_mean():
    shown = printed(text(rated()))
    for row in rated().rows:
        (line,) = (line for line in shown.splitlines() if row.id in line.split()[:2])
        assert f"{row.rating:.0f}" in line.split()
        assert f"{row.low:.0f} … {row.high:.0f}" in line
    assert "Elo above random" in shown
    assert "Elo above the mean" in printed(text(rated(anchor=None)))


def test_milliseconds_a_move_stand_beside_elo():
    times = {"main@2": (4000, 1.0), "random": (8000, 0.05), "main@1": (0, 0.0), "gone": (5, 5.0)}
    for found in (rated(), averaged()):
        assert "ms/move" not in printed(text(found)), "nothing is known of it"
        assert [player["ms_per_move"] for player in to_dict(found)["players"]] == [None] * len(found.rows)
    found = with_thinking(rated(), times)
    assert {row.id: row.thinking for row in found.rows} == {"main@2": 0.25, "main@1": None, "random": 0.00625}
    assert [replace(row, thinking=None) for row in found.rows] == list(rated().rows)
    shown = printed(text(found))
    assert "ms/move: time to choose a move, shared among the games of a batch." in " ".join(shown.split())
    for name, cell in (("main@2", "0.25"), ("random", "0.00625")):
        (line,) = (line for line in shown.splitlines() if name in line.split()[:2])
        assert cell in line.split()
    told = to_dict(found)
    assert {player["id"]: player["ms_per_move"] for player in told["players"]}["main@2"] == 0.25
    assert to_dict(found, times=False) == to_dict(rated(), times=False)
    assert "ms_per_move" not in to_dict(found, times=False)["players"][0]
    assert "20" in printed(text(with_thinking(averaged(), {"main@3": (50, 1.0)}))).split()


def test_the_best_has_a_star():
    shown = printed(text(replace(rated(), best="main@1")))
    assert [line.split()[1] for line in shown.splitlines() if "*" in line.split()[:3]] == ["main@1"]
    assert "*: the best by gate matches." in " ".join(shown.split())
    assert to_dict(replace(rated(), best="main@1"))["best"] == "main@1"
    for none in (rated(), replace(rated(), best="main@9")):  # it may have played no rating game yet
        assert "*" not in printed(text(none))
    assert to_dict(rated())["best"] is None


def test_a_table_fits_80_columns():
    found = with_thinking(replace(rated(), best="main@2"), {"main@2": (7, 0.123456), "random": (9, 1e-5)})
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(text(found))
    for row in found.rows:
        (line,) = (line for line in capture.get().splitlines() if row.id in line.split()[:2])
        cells = [f"{row.low:.0f} … {row.high:.0f}", str(row.games), f"{row.score:.1%}"]
        cells += [f"{row.thinking:.3g}"] if row.thinking else []
        cells += [f"{row.superiority:.1%}"] if row.superiority else []
        assert all(cell in line for cell in cells)


def test_names_are_not_read_as_markup():
    names = "[bold]x", "[/]"
    shown = printed(text(ladder(names, team_rows(series(*names, 3, 0, 1), (0, 1)), None, competitive=True)))
    assert "[bold]x" in shown
    assert "[/]" in shown


def test_numbers_have_three_figures_of_the_largest_and_elo_none_behind_the_point():
    assert [number(value, rated()) for value in (1234.56, -0.3, -12.5, math.inf)] == ["1235", "0", "-12", "?"]
    means = averaged()  # up to 30
    assert [number(value, means) for value in (1234.56, -0.03, math.nan)] == ["1234.6", "0.0", "?"]
    small = replace(means, rows=(replace(means.rows[0], rating=-0.0321),))
    assert number(-0.0321, small) == "-0.0321"


def test_what_is_drawn_holds_all_ratings_and_intervals_unless_they_dwarf_them():
    row = rated().rows[0]
    rows = [replace(row, rating=value, low=value - 50, high=value + 50, spread=20.0) for value in (500.0, 0.0)]
    found = Ladder(tuple(rows), competitive=True)
    margin = 0.03 * (500 + 250)
    assert extent(found) == (-50 - margin, 550 + margin)
    wide = replace(found, rows=(replace(rows[0], low=-math.inf, high=math.inf), rows[1]))
    assert extent(wide) == (-250 - margin, 750 + margin)


def test_the_columns_are_those_that_say_something():
    found = with_thinking(rated(), {"random": (10, 1.0)})
    assert list(columns(found)) == [
        "Elo", "95% interval", "± in pool", "games", "score", "ms/move", "better\nthan next",
    ]  # fmt: skip
    assert list(columns(replace(averaged(), seats=3))) == [
        "mean return", "95% interval", "sum of\n3 seats", "games", "better\nthan next",
    ]  # fmt: skip
    last = found.rows[-1]
    assert [cell(last) for cell in columns(found).values()] == [
        "0",
        "0 … 0",
        f"{last.spread:.0f}",
        "72",
        "23.6%",
        "100",
        "",
    ]
    assert legend(found).startswith("Elo above random with its 95% interval; earlier seat ")


@pytest.mark.parametrize("steps", [None, {"main@1": 1000, "main@2": 2000}])
def test_pictures_of_ladders(tmp_path, steps):
    draw(rated(), tmp_path / "ladder.png", steps)
    assert is_picture(tmp_path / "ladder.png")


def test_pictures_of_odd_ladders(tmp_path):
    ladders = {
        "means": averaged(),  # one interval is infinite
        "new": ladder(["a", "b"], [], "a", competitive=True),
        "empty": Ladder((), competitive=True),
    }
    for name, odd in ladders.items():
        draw(odd, tmp_path / f"{name}.png")
        draw(odd, tmp_path / f"{name}_steps.png", {"main@1": 0, "once": 10, "a": 5})
        assert is_picture(tmp_path / f"{name}.png")
        assert is_picture(tmp_path / f"{name}_steps.png")
        printed(text(odd))
        json.dumps(to_dict(odd), allow_nan=False)


def test_a_picture_grows_with_the_players(tmp_path):
    rows = [row for i in range(39) for row in team_rows(series(f"m@{i}", f"m@{i + 1}", 3, 1, 5), (0, 1))]
    draw(ladder([f"m@{i}" for i in range(40)], rows, None, competitive=True), tmp_path / "many.png")
    draw(rated(), tmp_path / "few.png")
    # A PNG holds its height in bytes 20 to 24.
    many, few = (int.from_bytes((tmp_path / name).read_bytes()[20:24], "big") for name in ("many.png", "few.png"))
    assert many > 3 * few


def test_heatmaps(tmp_path):
    for n in (1, 3, 30):
        games = np.full((n, n), 12, np.int64)
        np.fill_diagonal(games, 0)
        scores = np.where(games > 0, 0.5, np.nan)
        heatmap(scores, games, [f"main@{i}" for i in range(n)], tmp_path / f"{n}.png")
        assert is_picture(tmp_path / f"{n}.png")
    with pytest.raises(ValueError, match=r"2 players need scores and games of shape \(2, 2\)"):
        heatmap(scores, games, ["a", "b"], tmp_path / "no.png")


def test_drawing_libraries_are_not_imported_before_they_are_used():
    check = "import sys, arena.ladder; print([m for m in ('matplotlib', 'rich', 'torch', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def hunts(better, worse, round_trips, match):
    """Paired games in which `better` hunts for 7 and flees for -15, `worse` for 4 and -20; the hunter returns more."""
    described = Match(id=match, players=(better, worse), purpose="rate", seed=1, paired=True)
    for trip in range(round_trips):
        for game, returns in enumerate([(7.0, -20.0), (4.0, -15.0)]):
            yield described, Result(match=match, game=2 * trip + game, returns=returns, length=9)


def test_sides_with_roles_rank_by_what_was_returned_on_the_same_side():
    told = [*hunts("main@2", "main@1", 12, 1), *hunts("main@1", "random", 12, 2), *hunts("main@2", "random", 12, 3)]
    told = [told[i] for i in generator(1).permutation(len(told))]
    found = ladder(PLAYERS, team_rows(told, (0, 1), roles=True), "random", competitive=True, by_side=True)
    assert [row.id for row in found.rows] == ["main@2", "main@1", "random"]
    assert [row.games for row in found.rows] == [48, 48, 48]
    assert [row.score for row in found.rows] == [1.0, 0.5, 0.0]
    assert found.rows[1].low > 0
    assert found.advantage is None
    assert to_dict(found)["advantage"] is None
    assert "earlier seat" not in printed(text(found))
    alike = ladder(PLAYERS, team_rows(told, (0, 1)), "random", competitive=True)
    assert [row.rating for row in alike.rows] == pytest.approx([0, 0, 0], abs=1e-6), "the hunter won them all"


def test_a_half_whose_other_half_is_void_is_no_row():
    told = [row for row in hunts("a", "b", 3, 1) if row[1].game not in {1, 4}]
    assert list(team_rows(told, (0, 1), roles=True)) == [(["a", "b"], [7.0, 4.0]), (["b", "a"], [-20.0, -15.0])]
    assert len(list(team_rows(told, (0, 1)))) == 4


def test_a_team_of_several_seats_shows_their_sum():
    rows = [((f"spread@{i}",), (value - 10.0 * i,)) for i in (1, 2) for value in (-1.0, 0.0, 1.0)]
    rows.append((("once",), (-99.5,)))
    found = ladder(["spread@1", "spread@2", "once"], rows, None, competitive=False, seats=12)
    found = with_thinking(replace(found, best="spread@1"), {"spread@1": (7, 0.123456)})
    assert [row.rating for row in found.rows] == [-10, -20, -99.5], "it ranks by a seat's"
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(text(found))
    shown = capture.get()
    for row, total in zip(found.rows, ("-120.0", "-240.0", "-1194.0"), strict=True):
        (line,) = (line for line in shown.splitlines() if row.id in line.split()[:2])
        assert {f"{row.rating:.1f}", total} <= set(line.split())
    assert "…" not in shown.replace(" … ", "")
    assert "12 seats" in shown
    assert "Mean return of a seat with its 95% interval: this game has no opponent." in " ".join(shown.split())
    told = json.loads(json.dumps(to_dict(found), allow_nan=False))
    one, _, once = told["players"]
    assert one["sum"] == {"mean": -120, "low": pytest.approx(12 * one["low"]), "high": pytest.approx(12 * one["high"])}
    assert once["sum"] == {"mean": -1194, "low": None, "high": None}
    assert "seats" not in printed(text(replace(found, seats=1)))
    assert "sum" not in to_dict(rated())["players"][0]
