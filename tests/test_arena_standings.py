"""Where a run's players stand: rating games alone count, and the pictures show them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from test_arena_rollout import Trek
from test_arena_train import config

import games
from arena import files
from arena.run import Run, create
from arena.standings import standings, track, write_pictures
from arena.tracking import Null
from leagues.core import Match, Player, Result


@dataclass
class Told(Null):
    """A tracker that keeps tables and pictures."""

    tables: list[Any] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)

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
    assert [path.name for path in pictures] == ["ladder.png"]
    assert tracker.tables[0][1][1] == "mean"
