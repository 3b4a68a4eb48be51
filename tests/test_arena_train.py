"""The train loop in-process: what stops it, what enters the league, and that every decision is learned from once."""

from __future__ import annotations

import io
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import arena.train
import games
from arena import checkpoints, strict
from arena.backend import InProcess, Played
from arena.config import RunConfig
from arena.interrupts import Interrupts
from arena.launch import launch
from arena.players import load
from arena.progress import Quiet, Status
from arena.run import RunError, create, look, reopen
from arena.standings import best
from arena.store import PlayerStore
from arena.tracking import Null
from arena.train import MOST_AHEAD, Training
from games.tic_tac_toe import TicTacToe
from leagues.gate import Verdict

AGENT = {"kind": "ppo", "network": {"kind": "mlp", "width": 8, "layers": 1}, "batch": 60, "minibatch": 60, "epochs": 1}


def learner(**settings: Any) -> dict[str, Any]:
    base = {"agent": AGENT, "opponents": {"self_play": 0.5, "pfsp": 0.5}, "snapshot": {"every": 200}}
    return base | settings


def config(**sections: Any) -> RunConfig:
    values = {
        "game": "tic_tac_toe",
        "device": "cpu",
        "league": {"learners": {"main": learner()}},
        "rollout": {"workers": 0, "rows": 6, "matches": 4},
        "rating": {"every": 2, "games": 4, "final": 2, "rows": 4, "opening": 1},
        "stop": {"decisions": 500},
        "checkpoint": 1000,
        "tracking": {"wandb": "disabled"},
    }
    return strict.parse(RunConfig, values | sections)


@dataclass
class Recording(Null):
    """A tracker that keeps what it is told."""

    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def log(self, step: int, metrics: Any) -> None:
        self.metrics.append((step, dict(metrics)))


class Watching(Quiet):
    """A progress that keeps messages, and calls `at` with every status."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.at: Any = lambda status: None

    def update(self, status: Status) -> None:
        self.at(status)

    def message(self, text: str) -> None:
        self.messages.append(text)


@contextmanager
def training(settings: RunConfig, folder: Path, resume: bool = False) -> Iterator[Training]:
    with reopen(folder, settings) if resume else create(folder, settings, "test") as run:
        backend = InProcess(settings, run.game, "cpu", run.store.load)
        made = Training(run, backend, Recording(), Watching(), Interrupts())
        if resume:
            record, arrays, _ = checkpoints.load(run.resume_folder)
            made.resume(record, arrays)
        else:
            made.begin()
        yield made


# ---- what stops a run ----------------------------------------------------------------------------------------------


def test_it_stops_after_so_many_decisions(tmp_path: Path) -> None:
    with training(config(), tmp_path / "run") as made:
        assert made.loop() == f"{made.decisions} decisions"
        assert 500 <= made.decisions < 500 + 60 + 6 * 9
        assert made.updates == made.piles["main"].version == len(made.tracker.metrics)


def test_it_stops_after_so_many_minutes_of_all_its_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(arena.train, "monotonic", lambda: now[0])

    def tick(status: Status) -> None:
        now[0] += 7.0

    settings = config(stop={"minutes": 1.0})
    with training(settings, tmp_path / "run") as made:
        now[0] += 500.0  # before the loop: not training
        made.progress.at = tick
        assert made.loop() == "1.1 minutes"
        assert made.elapsed == 63.0
        made.save()
    with training(config(stop={"minutes": 2.0}), tmp_path / "run", resume=True) as made:
        now[0] += 500.0
        made.progress.at = tick
        assert made.loop() == "2.1 minutes"
        assert made.elapsed == 63.0 + 63.0


def test_checkpoints_come_by_the_clock_and_with_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, saves = [0.0], []
    monkeypatch.setattr(arena.train, "monotonic", lambda: now[0])
    with training(
        config(league={"learners": {"main": learner(snapshot={"every": 300})}}, checkpoint=1.0), tmp_path / "run"
    ) as made:
        save = made.save
        made.save = lambda: (saves.append((now[0], len(made.league.snapshots()))), save())  # type: ignore[method-assign]
        made.progress.at = lambda status: now.__setitem__(0, now[0] + 25.0)
        made.loop()
    snapshots = 1
    assert len(saves) > 3
    for (before, _), (after, count) in pairwise([(0.0, 1), *saves]):
        assert after - before > 60 or count > snapshots
        assert after - before <= 60 + 3 * 25
        snapshots = count


def test_it_stops_when_the_newest_snapshot_is_strong_enough(tmp_path: Path) -> None:
    with training(config(stop={"rating": -5000.0, "decisions": 5000}), tmp_path / "run") as made:
        reason = made.loop()
        newest = made.league.snapshots("main")[-1].id
        assert reason.startswith(f"{newest} at ")
        assert reason.endswith(" Elo")
        row = {row.id: row for row in made.ladder().rows}[newest]
        assert row.low > -5000
        assert made.decisions < 5000
    with training(config(stop={"rating": 5000.0, "decisions": 300}), tmp_path / "other") as made:
        assert made.loop().endswith("decisions")


def test_the_first_signal_finishes_the_update_and_saves(tmp_path: Path) -> None:
    with training(config(), tmp_path / "run") as made:

        def interrupt(status: Status) -> None:
            if made.piles["main"].version == 2 and made.piles["main"].busy:
                made.interrupts.signal = "SIGINT"

        made.progress.at = interrupt
        assert made.loop() == "SIGINT"
        assert made.updates == 3, "the update under way was finished"
        assert not made.piles["main"].busy
        rated = made.run.ledger.count({"rate"})
        made.finish()
        assert made.run.ledger.count({"rate"}) == rated, "no rating games after a signal"
        assert made.league.snapshots("main")[-1].step == made.decisions
    record, arrays, _ = checkpoints.load(tmp_path / "run" / "resume")
    assert record["updates"] == 3
    assert arrays["learner.main"]["apprentice.updates"].tolist() == [3]


def test_ctrl_c_ends_a_launch_with_130_and_it_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    strict.dump(config(), Path("c.yaml"))
    update, console = Quiet.update, Console(file=io.StringIO())

    def press(progress: Quiet, status: Status) -> None:
        if status.decisions > 100:
            signal.raise_signal(signal.SIGINT)
        update(progress, status)

    with monkeypatch.context() as patch:
        patch.setattr(Quiet, "update", press)
        before = signal.getsignal(signal.SIGINT)
        assert launch(Path("c.yaml"), [], False, console, quiet=True) == 130
        assert signal.getsignal(signal.SIGINT) is before
    saved = checkpoints.load(Path("runs/c/resume"))[0]["learners"]["main"]["decisions"]
    assert 100 < saved < 500
    assert launch(Path("runs/c"), [], True, console, quiet=True) == 0
    assert checkpoints.load(Path("runs/c/resume"))[0]["learners"]["main"]["decisions"] >= 500


# ---- what enters the league ----------------------------------------------------------------------------------------


def test_snapshots_come_by_decisions(tmp_path: Path) -> None:
    with training(config(), tmp_path / "run") as made:
        made.loop()
        made.finish()
        snapshots = made.league.snapshots("main")
        assert [player.id for player in snapshots] == [f"main@{n}" for n in range(1, len(snapshots) + 1)]
        steps = [player.step for player in snapshots]
        assert steps[0] == 0
        assert all(200 <= after - before < 200 + 60 + 54 for before, after in pairwise(steps[:-1]))
        assert steps[-1] == made.decisions, "and one at the end"
        assert {player.content for player in snapshots} == {
            player.content for player in made.run.ledger.players().values() if player.content
        }
        assert len({player.content for player in snapshots}) == len(snapshots)
        final = PlayerStore(tmp_path / "run" / "players", "tic_tac_toe").load(snapshots[-1].id).weights
        live = made.backend.weights("main")
        assert all(np.array_equal(final[name], live[name]) for name in live)
        assert all(player.parent == "main" and not player.live for player in snapshots)


@pytest.mark.parametrize(("win_rate", "few"), [(0.01, False), (0.99, True)])
def test_snapshots_come_by_win_rate(tmp_path: Path, win_rate: float, few: bool) -> None:
    rule = {"every": None, "win_rate": win_rate, "least": 60, "games": 2}
    settings = config(league={"learners": {"main": learner(snapshot=rule, opponents={"uniform": 1.0})}})
    with training(settings, tmp_path / "run") as made:
        made.loop()
        snapshots = made.league.snapshots("main")
        assert len(snapshots) == 1 if few else len(snapshots) > 2
        for later in snapshots[1:]:
            assert later.step >= 60


def test_rating_matches_are_played_on_the_way_and_at_the_end(tmp_path: Path) -> None:
    with training(config(), tmp_path / "run") as made:
        made.loop()
        on_the_way = made.run.ledger.count({"rate"})
        assert 4 * (made.updates // 2 - 1) <= on_the_way <= 4 * (made.updates // 2)
        standing = made.finish()
        assert made.run.ledger.count({"rate"}) == on_the_way + 2 * 4
        assert {row.id for row in standing.rows} <= set(made.league.players) - {"main"}
        assert (tmp_path / "run" / "ladder.json").is_file()
        matches = {match.id: match for _, match, _ in made.run.ledger.results({"rate"})}
        assert all(match.paired and match.opening == 1 and match.games == 4 for match in matches.values())


# ---- who is the best -----------------------------------------------------------------------------------------------

QUICK = {"kind": "ppo", "network": {"kind": "mlp", "width": 32, "layers": 1}, "batch": 500, "minibatch": 125}
GATED: dict[str, Any] = {
    "league": {"learners": {"main": learner(agent=QUICK | {"learning_rate": 4e-3}, snapshot={"every": 2000})}},
    "rollout": {"workers": 0, "rows": 32, "matches": 4},
    "rating": {"every": 2, "games": 4, "final": 3, "rows": 32, "opening": 1},
    "best": {"enabled": True, "elo1": 80, "games": 40, "most": 160},
    "stop": {"decisions": 12_000},
}


def facts(made: Training) -> dict[str, Any]:
    """What the ledger and the gate came to, but for times."""
    ledger = made.run.ledger
    assert made.gate is not None
    return {
        "results": {(r.match, r.game): (match, r.returns) for _, match, r in ledger.results()},
        "players": ledger.players(),
        "timed": set(ledger.thinking()),
        "verdicts": made.gate.verdicts,
        "best": made.gate.best,
    }


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A run whose newest snapshots challenge the best: what it came to, and what was said of it."""
    folder = tmp_path_factory.mktemp("gated") / "run"
    with training(config(**GATED), folder) as made:
        made.loop()
        on_the_way = {purpose: made.run.ledger.count({purpose}) for purpose in ("gate", "rate")}
        standing = made.finish()
        metrics = [line for _, line in made.tracker.metrics]
        said = made.progress.messages
        yield {"folder": folder, "made": made, "standing": standing, "metrics": metrics, "said": said} | {
            "facts": facts(made),
            "on_the_way": on_the_way,
            "raters": made.raters,
        }


def test_the_newest_snapshots_challenge_the_best_and_it_moves(gated: dict[str, Any]) -> None:
    verdicts, standing = gated["facts"]["verdicts"], gated["standing"]
    moves = [verdict for verdict in verdicts if verdict.moved]
    assert moves, "a learner that learns beats its first snapshot"
    assert gated["facts"]["best"] == standing.best == moves[-1].challenger
    with look(gated["folder"]) as run:
        assert best(run) == standing.best
        steps = {name: player.step for name, player in run.ledger.players().items()}
    loaded, frozen = (load(f"{gated['folder']}:{name}").policy.net.state_dict() for name in ("best", standing.best))  # type: ignore[attr-defined]
    assert all((loaded[name] == frozen[name]).all() for name in frozen)
    assert [line["run/best"] for line in gated["metrics"] if "run/best" in line] == [steps[v.challenger] for v in moves]
    for verdict in verdicts:
        (text,) = [text for text in gated["said"] if text.endswith(_said(verdict))]
        assert ("is the best now" in text) == verdict.moved
    matches = {match.id: match for match, _ in gated["facts"]["results"].values() if match.purpose == "gate"}
    assert all(match.paired and match.opening == 1 and match.games == 40 for match in matches.values())
    assert not any("gate" in key for line in gated["metrics"] for key in line)


def _said(verdict: Verdict) -> str:
    score = f"{verdict.challenger} scored {verdict.score:.1%} in {verdict.games} games against it."
    if verdict.moved:
        return f"it scored {verdict.score:.1%} in {verdict.games} games against {verdict.best}."
    return score


def test_challenges_take_a_bounded_share_and_are_settled_at_the_end(gated: dict[str, Any]) -> None:
    updates = gated["made"].updates
    assert 0 < gated["on_the_way"]["gate"] <= 40 * (updates // 2), "one match each time rating matches are due"
    assert gated["on_the_way"]["rate"] >= 4 * (updates // 2 - 1), "which are not crowded out"
    games = sum(match.purpose == "gate" for match, _ in gated["facts"]["results"].values())
    assert games - gated["on_the_way"]["gate"] <= 2 * 160
    assert gated["made"].gate.challenge() is None, "the newest had its turn"
    assert gated["raters"].settled


def test_milliseconds_a_move_are_on_the_ladder(gated: dict[str, Any]) -> None:
    rows, made = gated["standing"].rows, gated["made"]
    assert {row.id for row in rows} >= {"random", "main@1"}
    assert all(row.thinking > 0 for row in rows)
    counted = Counter[str]()
    for match, _ in gated["facts"]["results"].values():
        counted.update(match.players if match.purpose != "train" else ())
    assert gated["facts"]["timed"] == set(counted), "raters' games are timed, training games are not"
    thinking = made.run.ledger.thinking()
    assert all(games < thinking[name][0] < 5 * games for name, games in counted.items())
    assert made.league.rated.games("main@1", "main@2") < made.run.config.best.games, "gate games are in no payoff"


@pytest.mark.parametrize("updates", [7, 16])
def test_a_gated_run_goes_on_bit_for_bit(tmp_path: Path, gated: dict[str, Any], updates: int) -> None:
    class Stop(Exception):
        """The run ends where it stands, with results in the ledger that no checkpoint knows of."""

    def stop(status: Status) -> None:
        if made.updates == updates and made.run.ledger.told > saved[-1]:
            raise Stop

    with training(config(**GATED), tmp_path / "run") as made:
        saved, save = [made.run.ledger.told], made.save
        made.save = lambda: (saved.append(made.run.ledger.told), save())  # type: ignore[method-assign]
        made.progress.at = stop
        with pytest.raises(Stop):
            made.loop()
        assert made.run.ledger.count({"gate"}, after=saved[-1]), "among them those of a challenge"
    with training(config(**GATED), tmp_path / "run", resume=True) as made:
        assert not made.progress.messages, "as it was saved"
        made.loop()
        made.finish()
        assert facts(made) == gated["facts"]


def test_one_of_several_learners_has_the_best(tmp_path: Path) -> None:
    both = {name: learner(agent=QUICK, opponents={"self_play": 0.5, "live": 0.5}) for name in ("main", "rival")}
    settings = config(**GATED | {"league": {"learners": both}, "stop": {"decisions": 2500}})
    with training(settings, tmp_path / "run") as made:
        made.loop()
        made.finish()
        assert made.gate is not None
        assert made.gate.verdicts[0].challenger.startswith("rival@"), "the newest of all"
        assert made.gate.verdicts[0].best == "main@1"


def test_what_is_not_asked_for_changes_nothing(tmp_path: Path) -> None:
    """Not even what an older checkpoint must be the same in, to be gone on with exactly."""
    for best_settings in ({}, {"best": {"elo1": 50}}):
        with training(config(**best_settings), tmp_path / str(len(best_settings))) as made:
            made.loop()
            assert made.gate is None
            assert made.run.ledger.count({"gate"}) == 0
            exact = made.exactly()
            assert exact is not None
            assert set(exact) == {"rollout", "rating"}
    with training(config(**GATED), tmp_path / "gated") as made:
        exact = made.exactly()
        assert exact is not None
        assert exact["best"]["elo1"] == 80


# ---- piles ---------------------------------------------------------------------------------------------------------


def test_every_decision_of_two_learners_is_learned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, learned, orders = Counter[str](), Counter[str](), Counter[str]()
    two = {
        "main": learner(opponents={"self_play": 0.3, "live": 0.7}),
        "rival": learner(agent=AGENT | {"batch": 150}, opponents={"self_play": 0.2, "live": 0.5, "pfsp": 0.3}),
    }
    settings = config(league={"learners": two}, stop={"decisions": 1500}, checkpoint=1e-9)
    with training(settings, tmp_path / "run") as made:
        take, learn, submit = made.take_played, made.backend.learn, made.backend.submit

        def take_played(event: Played) -> None:
            recorded.update(event.recorded)
            take(event)

        def learn_counted(name: str, parts: Any) -> None:
            size = sum(part[name].decisions for part in parts)
            assert size >= made.piles[name].batch
            learned[name] += size
            learn(name, parts)

        def submit_checked(pool: Any, order: Any) -> None:
            if pool == "train":
                name = order.matches[0].players[0]
                assert all(match.players[0] == name for match in order.matches)
                assert made.piles[name].ahead == min(pile.ahead for pile in made.piles.values()) < MOST_AHEAD
                orders[name] += 1
            submit(pool, order)

        save, at_once = made.save, Counter[int]()

        def save_checked() -> None:
            """No learner may be ahead of what the loop knows of it, though both may learn from the same games."""
            for name, pile in made.piles.items():
                updates = made.backend.state()[f"learner.{name}"]["apprentice.updates"]
                assert updates.tolist() == [pile.version]
            save()
            at_once[made.updates] += 1

        monkeypatch.setattr(made, "save", save_checked)
        monkeypatch.setattr(made, "take_played", take_played)
        monkeypatch.setattr(made.backend, "learn", learn_counted)
        monkeypatch.setattr(made.backend, "submit", submit_checked)
        made.loop()
        assert len(at_once) < made.updates, "sometimes both made an update at once"
        assert set(learned) == set(orders) == {"main", "rival"}
        for name, pile in made.piles.items():
            assert recorded[name] == learned[name] + pile.recorded
            assert pile.decisions == learned[name]
            assert pile.ordered == 0
        waiting = {name for name, pile in made.piles.items() if pile.parts}
        made.save()
        kept = checkpoints.load(tmp_path / "run" / "resume")[1]
        assert {name.removeprefix("pile.") for name in kept if name.startswith("pile.")} == waiting
        assert waiting, "one of them had not enough when it ended"
        last = made.tracker.metrics[-1][1]
        assert {"run/games", "run/updates"} < last.keys()
        assert any("/score/" in name for name in last)
    with training(settings, tmp_path / "run", resume=True) as again:
        for name, pile in again.piles.items():
            assert (pile.version, pile.decisions, pile.recorded) == (
                made.piles[name].version,
                made.piles[name].decisions,
                made.piles[name].recorded,
            )


# ---- broken environments -------------------------------------------------------------------------------------------


class Cracked(TicTacToe):
    """Taking the middle breaks every game of which `luck` says so."""

    spec = replace(TicTacToe.spec, name="cracked", stochastic=True)
    luck = 0.0

    def step(self, actions: Any, rng: np.random.Generator) -> Any:
        if actions[0] == 4 and rng.random() < self.luck:
            raise RuntimeError("the middle is cracked")
        return super().step(actions, rng)


@pytest.fixture
def cracked(monkeypatch: pytest.MonkeyPatch) -> type[Cracked]:
    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"cracked": Cracked})
    return Cracked


def test_too_many_broken_games_end_the_run(
    tmp_path: Path, cracked: type[Cracked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cracked, "luck", 0.6)
    message = (
        r"^\d+ of \d+ games broke, more than most_failed \(0\.1\) allows\..*the middle is cracked.*arena check cracked"
    )
    with training(config(game="cracked"), tmp_path / "run") as made:
        with pytest.raises(RunError, match=message):
            made.loop()
        assert made.voids >= 20
        assert len(made.run.ledger.voids()) == made.voids
        assert any("games are void" in text for text in made.progress.messages)
    assert checkpoints.load(tmp_path / "run" / "resume")[0]["voids"] == made.voids


def test_a_few_broken_games_are_counted_and_passed_over(
    tmp_path: Path, cracked: type[Cracked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cracked, "luck", 0.05)
    with training(config(game="cracked", most_failed=0.5), tmp_path / "run") as made:
        made.loop()
        results = {(result.match, result.game) for _, _, result in made.run.ledger.results()}
        voids = {(match, number) for match, number, _ in made.run.ledger.voids()}
        assert made.voids == len(voids) > 0
        assert made.games == len(results)
        assert not results & voids
        assert made.tracker.metrics[-1][1]["run/void_games"] <= made.voids
