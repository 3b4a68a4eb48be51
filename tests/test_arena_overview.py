"""What a run is doing, from its directory alone: known answers, and that reading on gives what reading anew gives."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_arena_rollout import Trek
from test_arena_standings import WINS, enter, play
from test_arena_train import config, learner

import games
from arena.curves import SHOWN, thinned
from arena.overview import Overview, Watcher, is_running, overview
from arena.report import Counters
from arena.run import Run, RunError, create, reopen
from arena.standings import standings
from leagues.core import VISITOR, Match, Player, Result

MOVES = np.zeros((5, 1), np.int16)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with create(tmp_path / "run", config(best={"enabled": True, "games": 20}), "test") as made:
        yield made


def tell(run: Run, *lines: Mapping[str, Any], end: str = "\n") -> None:
    """Write metrics as `arena.tracking` does."""
    path = run.folder / "metrics" / "metrics.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write("".join(json.dumps(line, sort_keys=True) + end for line in lines))


def update(number: int, **metrics: Any) -> dict[str, Any]:
    """The line of update `number`: 100 decisions and 2 seconds each."""
    line = {"step": 100 * number, "time/elapsed": 2.0 * number, "main/decisions": 100.0 * number}
    counted = {"run/updates": float(number), "run/games": 10.0 * number, "run/void_games": 1.0, "run/lost_orders": 0.0}
    return line | counted | {name.replace("__", "/"): value for name, value in metrics.items()}


def parts(found: Overview) -> dict[str, Any]:
    """An overview's values, arrays as lists, for comparison."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(one) for key, one in value.items()}
        if hasattr(value, "y"):
            return value.x.tolist(), value.y.tolist(), value.points, value.odd
        if hasattr(value, "scores"):
            return value.players, value.scores.tolist(), value.low.tolist(), value.high.tolist(), value.games.tolist()
        return value

    return {name: plain(getattr(found, name)) for name in Overview.__slots__}


def test_the_ladder_is_that_of_the_standings_and_the_payoff_is_in_its_order(run: Run) -> None:
    enter(run, "random", "main@1", "main@2")
    play(run, 0, ("main@1", "random"), "rate", [*WINS, (0.0, 0.0), (0.0, 0.0)])
    play(run, 1, ("main@2", "main@1"), "rate", WINS)
    play(run, 2, ("random", "main@2"), "train", WINS * 9)
    found = overview(run.folder)
    assert found.ladder == standings(run, people=True)
    payoffs = found.payoffs
    assert payoffs.players == ("main@2", "main@1", "random") == tuple(row.id for row in found.ladder.rows)
    assert payoffs.scores.ravel().tolist() == pytest.approx([0.5, 1, 0.5, 0, 0.5, 21 / 22, 0.5, 1 / 22, 0.5])
    assert payoffs.games.tolist() == [[0, 20, 0], [20, 0, 22], [0, 22, 0]]
    assert payoffs.low[1, 2] < 21 / 22 < payoffs.high[1, 2]
    assert (payoffs.low[2, 1], payoffs.high[2, 1]) == pytest.approx((1 - payoffs.high[1, 2], 1 - payoffs.low[1, 2]))
    assert (payoffs.low[0, 2], payoffs.high[0, 2]) == (0, 1), "they have not met"


def test_snapshots_are_told_with_their_learner_and_what_gate_matches_made_of_them(run: Run) -> None:
    enter(run, "random", "main@1", "main@2", "main@3")
    play(run, 0, ("main@1", "random"), "rate", WINS)
    play(run, 1, ("main@2", "main@1"), "gate", WINS)
    play(run, 2, ("main@3", "main@2"), "gate", WINS[::-1])
    found = overview(run.folder)
    told = [(one.id, one.learner, one.kind, one.decisions, one.best, one.verdict) for one in found.snapshots]
    assert told == [
        ("main@1", "main", "ppo", 100, False, ""),
        ("main@2", "main", "ppo", 200, True, "beat main@1: scored 100.0% in 20 games"),
        ("main@3", "main", "ppo", 300, False, "did not beat main@2: scored 0.0% in 20 games"),
    ]
    assert found.climbs() == {"main": [(100, found.ladder.rows[0])]}
    assert [row.id for row in found.levels()] == ["random"]
    assert found.snapshots[1].row is None, "it has played no rating game"


def test_people_stand_on_the_ladder_and_their_games_are_stored(run: Run) -> None:
    enter(run, "random", "main@1")
    play(run, 0, ("main@1", "random"), "rate", WINS)
    ada = Player("ada", "human", role=VISITOR)
    for purpose in ("human", "casual", "human"):
        match = Match(-1, ("ada", "main@1"), purpose, 7, games=1)  # type: ignore[arg-type]  # of the three, each is one
        run.ledger.add_visit([ada], match, Result(-1, 0, (1.0, -1.0), 5, moves=MOVES))
    found = overview(run.folder)
    assert found.ladder == standings(run, people=True)
    assert {row.id: row.games for row in found.levels()} == {"ada": 2, "random": 20}
    assert found.kinds == {"main": "ppo", "random": "ppo", "main@1": "ppo", "ada": "human"}
    assert found.stored == {("ada", "main@1"): 3}, "those of rating games were told without moves here"
    assert [one.id for one in found.snapshots] == ["main@1"]


def test_stored_games_are_counted_by_pair_those_who_met_last_first(run: Run) -> None:
    enter(run, "random", "main@1", "main@2")
    pairs = (("main@1", "random"), ("main@2", "random"), ("random", "main@1"))
    for number, pair in enumerate(pairs):
        run.ledger.add_matches([Match(number, pair, "rate", seed=number, games=4, paired=True)])
        run.ledger.append(Result(number, game, (1.0, -1.0), 5, moves=MOVES) for game in range(4))
    assert list(overview(run.folder).stored.items()) == [(("main@1", "random"), 8), (("main@2", "random"), 4)]


def test_metrics_become_curves_over_decisions_and_counters(run: Run) -> None:
    tell(
        run,
        update(1, main__entropy=1.5, **{"main/score/random": 0.25, "main/time/update": 0.5}),
        {"step": 100, "run/best": 100.0},
        update(2, main__entropy="nan"),
        update(3, main__entropy=0.5, **{"main/score/random": 0.75}),
        {"table": "ladder", "columns": [], "rows": [], "step": 300},
    )
    found = overview(run.folder)
    assert found.counters == Counters(elapsed=6.0, decisions=300, updates=3, games=30, voids=1, lost=0)
    assert set(found.metrics["main"]) == {"entropy", "time/update"}
    entropy, score = found.metrics["main"]["entropy"], found.scores["main"]["random"]
    assert (entropy.x.tolist(), entropy.y.tolist(), entropy.points, entropy.odd) == ([100, 300], [1.5, 0.5], 3, 1)
    assert (score.x.tolist(), score.y.tolist()) == ([100, 300], [0.25, 0.75])
    assert found.rate_now == found.counters.rate == 50
    assert found.learners == ("main",)
    assert ("learners", "main (ppo)") in found.facts
    assert ("stops after", "500 decisions") in found.facts


def test_throughput_is_told_in_bins_of_time(run: Run) -> None:
    lines = [update(n, **{"time/rollout/game": float(n % 2), "time/rollout/network_batch": 9.0}) for n in range(1, 16)]
    tell(run, *lines)
    slow = update(16) | {"time/elapsed": 50.0}
    tell(run, slow)
    found = overview(run.folder)
    assert found.rate.x.tolist() == [10, 20, 30, 40, 50]
    assert found.rate.y.tolist() == [50, 50, 50, 5, 5]
    assert set(found.rollout) == {"game"}
    game = found.rollout["game"]
    assert game.x.tolist() == [10, 20, 30, 40], "none in the last bin; 30 seconds is in the one that begins there"
    assert game.y.tolist() == pytest.approx([2 / 4, 3 / 5, 2 / 5, 1])
    assert found.rate_now == 5, "lately, as it is running"


def test_a_line_that_is_still_being_written_waits(run: Run) -> None:
    watcher = Watcher(run.folder)
    assert watcher.refresh() is not None
    tell(run, update(1))
    tell(run, update(2), end="")
    found = watcher.refresh()
    assert found is not None
    assert found.counters.updates == 1
    assert watcher.refresh() is None
    with (run.folder / "metrics" / "metrics.jsonl").open("a") as file:
        file.write("\n")
    found = watcher.refresh()
    assert found is not None
    assert found.counters.updates == 2


def test_reading_on_gives_what_reading_anew_gives(run: Run) -> None:
    watcher = Watcher(run.folder)
    enter(run, "random", "main@1")
    assert watcher.refresh() is not None
    assert watcher.refresh() is None
    play(run, 0, ("main@1", "random"), "rate", WINS)
    tell(run, *(update(n, main__kl=1 / n, **{"time/rollout/total": 1.0}) for n in range(1, 30)))
    assert watcher.refresh() is not None
    enter(run, "random", "main@1", "main@2")
    play(run, 1, ("main@2", "main@1"), "gate", WINS)
    play(run, 2, ("main@2", "random"), "rate", WINS)
    play(run, 3, ("main@1", "main@2"), "rate", WINS[:3])
    found = watcher.refresh()
    assert found is not None
    tell(run, *(update(n, main__kl=1 / n) for n in range(30, 900)))
    read_on, anew = watcher.refresh(), overview(run.folder)
    assert read_on is not None
    assert parts(read_on) == parts(anew)
    assert found.payoffs is read_on.payoffs, "no rating game between the two"
    assert anew.metrics["main"]["kl"].points == 899


def test_a_metrics_file_that_a_resumed_run_cut_is_read_anew(run: Run) -> None:
    path = run.folder / "metrics" / "metrics.jsonl"
    tell(run, *(update(n, main__kl=1.0) for n in range(1, 9)), {"summary": {"stopped_by": "SIGINT"}})
    watcher = Watcher(run.folder)
    assert watcher.refresh() is not None
    kept = path.read_bytes().splitlines(keepends=True)[:4]
    path.write_bytes(b"".join(kept))
    tell(run, *(update(n, main__kl=2.0) for n in range(5, 40)))  # longer than it was before
    found = watcher.refresh()
    assert found is not None
    assert found.metrics["main"]["kl"].y.tolist() == [1.0] * 4 + [2.0] * 35
    path.write_bytes(b"")
    found = watcher.refresh()
    assert found is not None
    assert found.counters.updates == 0


def test_a_line_that_is_no_json_is_told_and_tried_again(run: Run) -> None:
    path = run.folder / "metrics" / "metrics.jsonl"
    tell(run, update(1))
    good = path.read_bytes()
    path.write_bytes(good + b"{torn\n" + good)
    watcher = Watcher(run.folder)
    with pytest.raises(RunError, match="not JSON"):
        watcher.refresh()
    path.write_bytes(good)
    found = watcher.refresh()
    assert found is not None
    assert found.counters.updates == 1


def test_a_run_is_running_while_its_lock_is_held_and_then_says_why_it_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not is_running(folder)
    with create(folder, config(), "test") as run:
        watcher = Watcher(folder)
        assert is_running(folder)
        found = watcher.refresh()
        assert found is not None
        assert (found.running, found.stopped_by) == (True, "")
        tell(run, update(5), {"summary": {"stopped_by": "500 decisions", "decisions": 500}})
    assert not is_running(folder)
    found = watcher.refresh()
    assert found is not None
    assert (found.running, found.stopped_by) == (False, "500 decisions")
    assert watcher.refresh() is None


def test_who_asks_whether_a_run_goes_on_keeps_nobody_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(tmp_path / "run", config(), "test"):
        pass
    asking = (tmp_path / "run" / "lock").open()
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr("arena.run.time", SimpleNamespace(sleep=lambda seconds: asking.close()))
    with reopen(tmp_path / "run", None):
        assert asking.closed
        assert is_running(tmp_path / "run")


def test_a_run_that_is_not_there_yet_is_found_once_it_is(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "run")
    with pytest.raises(RunError, match="There is no run in"):
        watcher.refresh()
    with create(tmp_path / "run", config(), "test"):
        found = watcher.refresh()
    assert found is not None
    assert (found.name, found.game, found.ladder.rows) == ("run", "tic_tac_toe", ())
    assert found.counters == Counters(0.0, 0, 0, 0, 0, 0)
    assert len(found.rate.y) == 0


def test_several_learners_have_curves_over_their_own_decisions(tmp_path: Path) -> None:
    league = {"learners": {"main": learner(), "rival": learner()}}
    with create(tmp_path / "run", config(league=league), "test") as run:
        other = {"step": 250, "time/elapsed": 3.0, "rival/decisions": 50.0, "rival/kl": 0.1, "rival/score/main": 0.4}
        tell(run, update(2, main__kl=0.2), other)
        found = overview(run.folder)
    assert {name: told["kl"].x.tolist() for name, told in found.metrics.items()} == {"main": [200], "rival": [50]}
    assert {name: set(told) for name, told in found.scores.items()} == {"main": set(), "rival": {"main"}}


def test_a_game_of_one_team_has_mean_returns_and_games_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crew(Trek):
        spec = replace(Trek.spec, name="crew", teams=(0, 0, 0), payoff="cooperative")

    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"crew": Crew})
    with create(tmp_path / "run", config(game="crew"), "test") as run:
        enter(run, "random", "main@1")
        run.ledger.add_matches([Match(0, ("main@1",), "rate", seed=0, games=2)])
        run.ledger.append(Result(0, game, (3.0, 3.0, 3.0), 5, moves=np.zeros((5, 3), np.int16)) for game in range(2))
        found = overview(run.folder)
        assert found.ladder == standings(run, people=True)
    assert not found.ladder.competitive
    assert [(row.id, row.rating) for row in found.ladder.rows] == [("main@1", 3.0)]
    assert found.stored == {("main@1",): 2}
    assert found.payoffs.games.tolist() == [[0]]


def test_where_sides_have_roles_they_are_compared_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hunt(Trek):
        spec = replace(Trek.spec, name="hunt", teams=(0, 0, 1), roles=True)

    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"hunt": Hunt})
    better: list[tuple[float, ...]] = [(6.0, 8.0, -20.0), (5.0, 3.0, -15.0)]
    with create(tmp_path / "run", config(game="hunt"), "test") as run:
        enter(run, "random", "main@1")
        watcher = Watcher(run.folder)
        run.ledger.add_matches([Match(0, ("main@1", "random"), "rate", seed=0, games=2, paired=True)])
        run.ledger.append([Result(0, 0, better[0], 5)])
        half = watcher.refresh()  # of a round trip, whose other half comes later
        run.ledger.append([Result(0, 1, better[1], 5)])
        whole = watcher.refresh()
        assert half is not None
        assert not half.ladder.rows
        assert whole is not None
        assert whole.ladder == standings(run, people=True)
    assert whole.payoffs.scores.tolist() == [[0.5, 1], [0, 0.5]]
    assert whole.payoffs.games[0, 1] == 2


def test_thinning_keeps_ends_and_spikes_and_the_order() -> None:
    rng = np.random.default_rng(3)
    for n in (SHOWN, SHOWN + 1, 997, 12_345):
        x, y = np.arange(float(n)), rng.normal(size=n)
        high, low = rng.choice(n, 2, replace=False)
        y[high], y[low] = 99, -99
        kept_x, kept_y = thinned(x, y)
        assert len(kept_x) == len(kept_y) <= SHOWN
        assert (np.diff(kept_x) > 0).all()
        assert (kept_x[0], kept_x[-1]) == (0, n - 1)
        assert (y[kept_x.astype(int)] == kept_y).all()
        assert {99, -99} <= set(kept_y.tolist())
