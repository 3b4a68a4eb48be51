"""That agents learn, where it is known what can be learned. Whole runs, in-process: minutes, so marked slow."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from arena.contest import contest
from arena.ladder import Row
from arena.launch import launch
from arena.players import load
from arena.run import look
from arena.standings import standings
from experiments import nashconv

pytestmark = pytest.mark.slow
EXPERIMENTS = Path(__file__).parent.parent / "experiments"


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *settings: str) -> Path:
    """Launch an experiment, with other `settings`, below `folder`."""
    monkeypatch.chdir(folder)
    settings = (*settings, "rollout.workers=0", "rating.workers=0", "tracking.wandb=disabled", "name=run")
    assert launch(EXPERIMENTS / f"{name}.yaml", settings, False, Console(quiet=True), quiet=True) == 0
    return Path("runs/run")


def rows(folder: Path) -> dict[str, Row]:
    """The ladder, by player."""
    with look(folder) as looked:
        return {row.id: row for row in standings(looked).rows}


def test_cartpole_is_solved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """475 of 500 over 100 games is what Gymnasium asks for; a random player has about 22."""
    found = rows(run("cartpole", tmp_path, monkeypatch))
    last = max((name for name in found if name != "random"), key=lambda name: int(name.partition("@")[2]))
    assert found[last].games == 100
    assert found[last].rating >= 475
    assert found["random"].rating < 50


def test_kuhn_poker_nears_equilibrium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform play has a NashConv of 0.917; a quarter of the experiment's games brings the average to about 0.15."""
    found = nashconv.measure(run("kuhn_poker", tmp_path, monkeypatch, "stop.decisions=400_000", "rating.final=0"))
    assert found["average"] < 0.25


def test_spread_improves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cooperative game, shortly: clearly above random play, by intervals that do not touch."""
    settings = (
        "stop.decisions=200_000",
        "rating.games=100",
        "rating.final=3",
        "league.learners.main.snapshot.every=1_000_000",
    )
    found = rows(run("simple_spread_ppo", tmp_path, monkeypatch, *settings))
    assert found["main@2"].low > found["random"].high


def test_three_seats_beat_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("stop.decisions=200_000", "league.learners.main.snapshot.every=1_000_000", "rating.final=6")
    found = rows(run("three_seats", tmp_path, monkeypatch, *settings))
    assert found["main@2"].low > 0  # Elo above random


def test_connect_four_beats_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run("connect_four", tmp_path, monkeypatch, "stop.decisions=1e6", "rating.final=0", "stop.minutes=null")
    against = contest(load(f"{folder}:main"), load("random", "connect_four"), 400, opening=2, seed=1)
    assert against.low > 0.9
