"""Where a run's players stand: rating games alone count, and the pictures show them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_arena_rollout import Trek
from test_arena_train import config

import arena.standings
import games
from arena import files
from arena.ladder import text, to_dict
from arena.run import Run, create
from arena.standings import best, leader, standings, track, write_pictures
from arena.tracking import Null
from leagues.core import VISITOR, Match, Player, Result, Thinking


@dataclass
class Told(Null):
    """A tracker that keeps what it is told."""

    tables: list[Any] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)

    def log(self, step: int, metrics: Any) -> None:
        self.metrics.append((step, metrics))

    def table(self, name: str, columns: Any, rows: Any, step: int) -> None:
        self.tables.append((name, columns, rows, step))

    def picture(self, name: str, path: Path, step: int) -> None:
        self.pictures.append((name, path, step))


def enter(run: Run, *names: str) -> None:
    run.ledger.add_player(Player("main", "ppo", live=True))
    for step, name in enumerate(names):
        run.ledger.add_player(Player(name, "ppo", parent="main" if "@" in name else "", step=100 * step))


def play(run: Run, number: int, players: tuple[str, ...], purpose: Any, scores: list[tuple[float, ...]]) -> None:
    run.ledger.add_matches([Match(number, players, purpose, seed=number, games=len(scores), paired=True)])
    run.ledger.append(Result(number, game, returns, 5) for game, returns in enumerate(scores))


WINS = [(1.0, -1.0), (-1.0, 1.0)] * 10
"""The first player of a match wins every game, from both seats."""


def test_only_rating_games_count(tmp_path: Path) -> None:
    with create(tmp_path / "run", config(), "test") as run:
        enter(run, "random", "main@1", "main@2", "main@3")
        assert not standings(run).rows
        assert write_pictures(run, standings(run)) == []
        assert not (tmp_path / "run" / "ladder.png").exists()
        play(run, 0, ("random", "main@1"), "train", WINS * 20)  # training says the contrary, at length
        play(run, 1, ("main", "main@2"), "gate", WINS * 20)
        assert not standings(run).rows
        play(run, 2, ("main@1", "random"), "rate", WINS[:12] + [(0.0, 0.0)] * 4)
        play(run, 3, ("main@2", "main@1"), "rate", WINS[:12] + [(0.0, 0.0)] * 4)
        rows = standings(run).rows
        assert [row.id for row in rows] == ["main@2", "main@1", "random"], "main@3 has played no rating game"
        assert {row.id: row.games for row in rows} == {"main@2": 16, "main@1": 32, "random": 16}
        assert {row.id: row.rating for row in rows}["random"] == 0
        assert rows[0].low < rows[0].rating < rows[0].high


def visit(run: Run, first: str, second: str, returns: tuple[float, ...], purpose: Any = "human") -> None:
    """One game of a person; who plays is entered where new."""
    known = run.ledger.players(visitors=True)
    new = [Player(name, "human", role=VISITOR) for name in (first, second) if name not in known]
    run.ledger.add_visit(new, Match(0, (first, second), purpose, 1, games=1), Result(0, 0, returns, 5))


def test_people_stand_beside_the_snapshots_for_those_who_look_and_change_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    heat = arena.standings.heatmap
    monkeypatch.setattr("arena.standings.heatmap", lambda *given: (drawn.append((given[2], given[1])), heat(*given)))
    with create(tmp_path / "run", config(), "test") as run:
        enter(run, "random", "main@1", "main@2")
        play(run, 0, ("main@1", "random"), "rate", WINS[:12] + [(0.0, 0.0)] * 4)
        play(run, 1, ("main@2", "main@1"), "rate", WINS[:12] + [(0.0, 0.0)] * 4)
        before, beside = standings(run), write_pictures(run, standings(run))
        record = (tmp_path / "run" / "ladder.json").read_text()
        for _ in range(6):
            visit(run, "ada", "main@2", (1.0, -1.0))
            visit(run, "main@2?temperature=0", "ada", (-1.0, 1.0))
            visit(run, "ada+main@1", "random", (0.0, 0.0))
            visit(run, "guest", "random", (-1.0, 1.0), "casual")
        assert standings(run) == before
        assert write_pictures(run, standings(run)) == beside
        assert (tmp_path / "run" / "ladder.json").read_text() == record
        looked = standings(run, people=True)
        pictures = write_pictures(run, looked, people=True)
    ranks = [row.id for row in looked.rows]
    assert ranks[0] == "ada"
    assert set(ranks) == {row.id for row in before.rows} | {"ada", "main@2?temperature=0", "ada+main@1"}
    assert ranks.index("main@2") < ranks.index("main@1") < ranks.index("random")
    assert {row.id: row.games for row in looked.rows}["ada"] == 12
    assert looked.rows[0].spread > looked.rows[ranks.index("main@1")].spread, "few games say little"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    names, met = drawn[-1]
    assert met[names.index("ada"), names.index("main@2")] == 6
    console = Console(file=io.StringIO(), width=120)
    console.print(text(looked))
    assert "ada+main@1" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_leader_is_the_best_by_gate_matches_else_the_highest_snapshot(tmp_path: Path) -> None:
    with create(tmp_path / "run", config(best={"enabled": True, "games": 20}), "test") as run:
        run.ledger.add_player(Player("main", "ppo", live=True))
        for name in ("main@1", "main@2", "random"):
            run.ledger.add_player(Player(name, "ppo", content=name if "@" in name else "", parent="main"))
        assert leader(run) == "main@1"
        play(run, 0, ("random", "main@2"), "rate", WINS)
        assert leader(run) == "main@1"
    with create(tmp_path / "off", config(), "test") as run:
        for name in ("main@1", "main@2", "random"):
            run.ledger.add_player(Player(name, "ppo", content=name if "@" in name else ""))
        assert leader(run) is None
        play(run, 0, ("random", "main@2"), "rate", WINS)
        play(run, 1, ("random", "main@1"), "rate", [(0.0, 0.0)] * 10)
        assert leader(run) == "main@1", "random stands higher, but is no snapshot"


def test_the_pictures_are_drawn_and_tracked(tmp_path: Path) -> None:
    with create(tmp_path / "run", config(), "test") as run:
        enter(run, "random", "main@1")
        play(run, 0, ("main@1", "random"), "rate", WINS)
        standing = standings(run)
        pictures = write_pictures(run, standing)
        tracker = Told()
        track(tracker, standing, pictures, 77)
    assert [path.name for path in pictures] == ["ladder.png", "payoff.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert tracker.pictures == [("ladder", pictures[0], 77), ("payoff", pictures[1], 77)]
    ((name, columns, rows, step),) = tracker.tables
    assert (name, columns, step) == ("ladder", ["player", "elo", "low", "high", "games"], 77)
    assert [row[0] for row in rows] == ["main@1", "random"]
    assert rows[1][1:] == [0, 0, 0, 20]
    told = files.read_json(tmp_path / "run" / "ladder.json")
    assert [row["id"] for row in told["players"]] == ["main@1", "random"]


def test_thinking_is_shown_and_tracked_but_not_in_what_the_games_make(tmp_path: Path) -> None:
    with create(tmp_path / "run", config(), "test") as run:
        enter(run, "random", "main@1")
        play(run, 0, ("main@1", "random"), "rate", WINS)
        before = to_dict(standings(run), times=False)
        run.ledger.append([], [Thinking(0, "main@1", 200, 0.5), Thinking(0, "main", 10, 1.0)])
        standing = standings(run)
        tracker = Told()
        track(tracker, standing, write_pictures(run, standing), 9)
    assert {row.id: row.thinking for row in standing.rows} == {"main@1": 2.5, "random": None}
    assert tracker.metrics == [(9, {"time/ms_per_move/main@1": 2.5})]
    assert files.read_json(tmp_path / "run" / "ladder.json") == before


def test_the_best_is_that_of_the_gate_matches(tmp_path: Path) -> None:
    gated = {"enabled": True, "games": 20}
    with create(tmp_path / "on", config(best=gated), "test") as run:
        enter(run, "random")
        assert best(run) is None
        enter(run, "main@1", "main@2", "main@3")
        assert best(run) == "main@1", "until another beats it"
        play(run, 0, ("main@3", "random"), "rate", WINS)
        play(run, 1, ("main@2", "random"), "rate", WINS[::-1])
        assert standings(run).rows[0].id == "main@3"
        assert standings(run).best == "main@1"
        elo = [(row.id, row.rating) for row in standings(run).rows]
        play(run, 2, ("main@2", "main@1"), "gate", WINS)
        assert standings(run).best == "main@2"
        assert [(row.id, row.rating) for row in standings(run).rows] == elo, "gate games are no rating games"
    with create(tmp_path / "off", config(best=gated | {"enabled": False}), "test") as run:
        enter(run, "random", "main@1", "main@2")
        play(run, 0, ("main@1", "random"), "rate", WINS)
        assert standings(run).best is None
        play(run, 1, ("main@2", "main@1"), "gate", WINS)
        assert best(run) == "main@2", "what was found before it was turned off"


def test_in_a_game_of_one_team_the_mean_return_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crew(Trek):
        spec = replace(Trek.spec, name="crew", teams=(0, 0, 0), payoff="cooperative")

    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"crew": Crew})
    with create(tmp_path / "run", config(game="crew"), "test") as run:
        enter(run, "random", "main@1")
        play(run, 0, ("main@1",), "rate", [(3.0, 3.0, 3.0), (5.0, 5.0, 5.0)] * 3)
        play(run, 1, ("random",), "rate", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)] * 3)
        standing = standings(run)
        pictures = write_pictures(run, standing)
        tracker = Told()
        track(tracker, standing, pictures, 1)
    assert not standing.competitive
    assert [(row.id, row.rating) for row in standing.rows] == [("main@1", 4.0), ("random", 1.5)]
    assert standing.seats == 3
    assert [path.name for path in pictures] == ["ladder.png"]
    assert tracker.tables[0][1][1] == "mean"


def test_where_sides_have_roles_ladder_heat_map_and_best_compare_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hunt(Trek):
        spec = replace(Trek.spec, name="hunt", teams=(0, 0, 1), roles=True)

    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"hunt": Hunt})
    drawn: list[Any] = []
    monkeypatch.setattr("arena.standings.heatmap", lambda scores, met, names, path: drawn.append((scores, met, names)))
    better: list[tuple[float, ...]] = [
        (6.0, 8.0, -20.0),
        (5.0, 3.0, -15.0),
    ] * 10  # the first hunts for 7 not 4, and flees for -15 not -20
    with create(tmp_path / "run", config(game="hunt", best={"enabled": True, "games": 20}), "test") as run:
        enter(run, "random", "main@1", "main@2")
        play(run, 0, ("main@1", "random"), "rate", better)
        play(run, 1, ("random", "main@2"), "rate", [*better, (9.0, 9.0, 9.0)])  # the last lost its other half
        play(run, 2, ("main@2", "main@1"), "gate", better)
        standing = standings(run)
        write_pictures(run, standing)
    assert [row.id for row in standing.rows] == ["main@1", "random", "main@2"]
    assert standing.rows[0].low > 0 > standing.rows[2].high
    assert standing.advantage is None
    assert standing.best == "main@2"
    ((scores, met, names),) = drawn
    assert names == ["main@1", "random", "main@2"]
    assert (scores[0, 1], scores[1, 2], scores[0, 2]) == (1, 1, 0.5)
    assert (met[0, 1], met[1, 2], met[0, 2]) == (20, 20, 0)
