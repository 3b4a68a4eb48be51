"""A run's directory: made, locked, found, refused; and a killed run that goes on as if nothing had happened."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Sequence
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from arena import checkpoints, files, strict
from arena.config import RunConfig
from arena.launch import launch
from arena.run import RunError, create, look, read_config, reopen
from arena.store import PlayerStore
from arena.strict import ConfigError
from arena.tracking import read_lines
from arena.train import Training
from leagues.ledger import Ledger, LedgerError

AGENT = "{kind: ppo, network: {kind: mlp, width: 16, layers: 1}, batch: 96, minibatch: 48, epochs: 2}"
ONE = f"""
game: tic_tac_toe
seed: 5
device: cpu
league:
  learners:
    main:
      agent: {AGENT}
      opponents: {{self_play: 0.5, pfsp: 0.5}}
      snapshot: {{every: 250}}
rollout: {{workers: 0, rows: 9, matches: 4}}
rating: {{every: 2, games: 4, final: 2, rows: 4}}
stop: {{decisions: 600}}
checkpoint: 1.0e-9 # minutes: after every update
tracking: {{wandb: disabled}}
"""
TWO = ONE.replace(
    "rollout:",
    f"""    rival:
      agent: {AGENT.replace("batch: 96", "batch: 70")}
      opponents: {{self_play: 0.3, live: 0.4, pfsp: 0.3}}
      snapshot: {{every: 200}}
rollout:""",
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs go into the test's own folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(TWO)


def start(source: str, *overrides: str, resume: bool = False) -> str:
    """Launch in this process, with as little drawn as possible; what was printed."""
    console = Console(file=io.StringIO(), width=200)
    assert launch(Path(source), list(overrides), resume, console, quiet=False) == 0
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def config(text: str = ONE, *overrides: str) -> RunConfig:
    Path("given.yaml").write_text(text)
    return strict.read(RunConfig, Path("given.yaml"), overrides)


# ---- a killed run goes on exactly ----------------------------------------------------------------------------------

FATAL = {"ledger": Ledger, "checkpoints": checkpoints, "store": PlayerStore, "training": Training, "path": Path}


def kill(at: str, source: str, *overrides: str, resume: bool = False) -> None:
    """Launch in a process that is killed `at` a place, as in "after ledger.append 7"."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["arena.launch", "torch._dynamo", "matplotlib.pyplot"])
    process = context.Process(target=_launch_until, args=(at, source, overrides, resume, str(Path.cwd())))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _launch_until(at: str, source: str, overrides: Sequence[str], resume: bool, folder: str) -> None:
    os.chdir(folder)
    when, place, call = at.split()
    owner, _, name = place.partition(".")
    method, calls = getattr(FATAL[owner], name), count(1)

    def fatal(*arguments: Any, **named: Any) -> Any:
        last = next(calls) == int(call)
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(FATAL[owner], name, fatal)
    launch(Path(source), overrides, resume, Console(quiet=True), quiet=True)


def facts(run: str) -> dict[str, Any]:
    """All that a run came to, but for times."""
    folder = Path("runs") / run
    with Ledger.open(folder / "ledger.sqlite", read_only=True) as ledger:
        results = {
            (r.match, r.game): (r.returns, r.length, r.truncated, None if r.moves is None else r.moves.tobytes())
            for _, _, r in ledger.results()
        }
        players = ledger.players()
        matches = {number: ledger.match(number) for number, _ in results}
        assert ledger.count() == len(results)
    record, arrays, wrong = checkpoints.load(folder / "resume")
    assert not wrong
    assert {p.id for p in players.values() if p.content} == {path.name for path in (folder / "players").iterdir()}
    rollout = arrays["rollout"]
    # Memory is used again, so what no longer counts may hold anything: moves after the last, decisions of past games.
    rollout["moves"][np.arange(rollout["moves"].shape[1]) >= rollout["steps"][:, None]] = 0
    past = rollout["recorder.game"] < 0
    for name, array in rollout.items():
        if name.startswith("recorder."):
            array[past] = 0
        if name.startswith("recorder.extras.") or name == "recorder.version":
            array[rollout["recorder.player"] < 0] = 0
    lines = [
        {key: value for key, value in line.items() if "time/" not in key}
        for line in read_lines(folder / "metrics" / "metrics.jsonl")
    ]
    return {
        "results": results,
        "matches": matches,
        "players": players,
        "record": {key: value for key, value in record.items() if key not in ("elapsed", "offset")},
        "arrays": {name: {k: (a.dtype, a.tolist()) for k, a in group.items()} for name, group in arrays.items()},
        "metrics": json.loads(json.dumps(lines).replace(run, "run")),
        "ladder": files.read_json(folder / "ladder.json"),
        "weights": {
            path.parent.name: files.digest(path.read_bytes()) for path in folder.glob("players/*/weights.safetensors")
        },
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What uninterrupted runs come to."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("whole")
    try:
        os.chdir(folder)
        for name, text in (("one", ONE), ("two", TWO)):
            Path(f"{name}.yaml").write_text(text)
            start(f"{name}.yaml")
        return {name: facts(name) for name in ("one", "two")}
    finally:
        os.chdir(before)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for what in other:
        assert one[what] == other[what], what


def test_a_run_is_a_function_of_its_config(whole: dict[str, dict[str, Any]]) -> None:
    start("two.yaml", "checkpoint=1000")
    assert_same(facts("two"), whole["two"])  # nor does it matter how often it is saved
    two = whole["two"]
    assert two["record"]["updates"] >= 4
    assert len(two["players"]) >= 7
    assert sum(match.purpose == "rate" for match in two["matches"].values()) >= 4, "two on the way, two at the end"
    assert len(set(two["weights"].values())) == len(two["weights"])
    start("two.yaml", "name=other", "seed=6")
    assert facts("other")["results"] != two["results"]


@pytest.mark.parametrize(
    "at",
    [
        "after ledger.append 4",  # results that no checkpoint knows of
        "before ledger.add_player 4",  # a snapshot on disk that is in no league
        "before path.rename 5",  # a checkpoint that is all written, but not yet under its name
        "after training.submit_rating 3",  # a rating match at the end
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(at: str, whole: dict[str, dict[str, Any]]) -> None:
    kill(at, "one.yaml")
    start("one.yaml", resume=True)
    assert_same(facts("one"), whole["one"])


def test_two_learners_and_two_kills_go_on_bit_for_bit(whole: dict[str, dict[str, Any]]) -> None:
    kill("before ledger.append 6", "two.yaml")
    kill("after checkpoints.save 2", "two.yaml", resume=True)
    start("runs/two", resume=True)
    assert_same(facts("two"), whole["two"])


def test_the_checkpoint_before_serves_where_the_newest_is_damaged(whole: dict[str, dict[str, Any]]) -> None:
    kill("after ledger.append 6", "one.yaml")
    newest = max(Path("runs/one/resume").iterdir())
    weights = newest / "learner.main.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    text = " ".join(start("one.yaml", resume=True).split())
    assert "learner.main.safetensors is damaged" in text
    assert "The checkpoint before it is used." in text
    assert_same(facts("one"), whole["one"])


# ---- what a resumed run may change ---------------------------------------------------------------------------------


@pytest.fixture
def stopped(whole: dict[str, dict[str, Any]]) -> Path:
    """A run that stopped by its rule, to go on with."""
    start("one.yaml", "stop.decisions=200", "rating.final=0", "checkpoint=1000")
    return Path("runs/one")


def test_the_stop_rule_may_change(stopped: Path) -> None:
    start("one.yaml", "stop.decisions=201", "rating.final=0", "checkpoint=9", "tracking.project=x", resume=True)
    assert read_config(stopped).stop.decisions == 201, "the new settings are kept"
    before = facts_of_progress(stopped)
    text = start("runs/one", "stop.decisions=201", "rating.final=0", resume=True)
    assert "Stopped by" in text
    assert facts_of_progress(stopped) == before, "there was nothing left to do"
    start("runs/one", "stop.decisions=600", "rating.final=0", resume=True)
    assert facts_of_progress(stopped)["decisions"] >= 600


def facts_of_progress(folder: Path) -> dict[str, Any]:
    record, _, _ = checkpoints.load(folder / "resume")
    return {"sequence": record["sequence"], "updates": record["updates"], **record["learners"]["main"]}


def test_other_rows_or_rating_games_give_up_the_games_under_way(stopped: Path) -> None:
    before = checkpoints.load(stopped / "resume")[0]
    changed = ("rollout.rows=5", "rating.games=6", "stop.decisions=600")
    text = start("one.yaml", *changed, resume=True)
    assert "Games that were under way when the run stopped are gone; matches get new numbers." in " ".join(text.split())
    with Ledger.open(stopped / "ledger.sqlite") as ledger:
        after = [match for sequence, match, _ in ledger.results() if sequence > before["sequence"]]
        assert min(match.id for match in after) >= before["next_match"]
        assert {match.games for match in after if match.purpose == "rate"} == {6}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("seed=6", "seed"),
        ("game=connect_four", "game"),
        ("league.decay=0.5", "league"),
        ("league.learners.main.agent.gamma=0.9", "league"),
    ],
)
def test_what_its_results_rest_on_may_not_change(stopped: Path, change: str, key: str) -> None:
    text = (stopped / "config.yaml").read_text()
    with pytest.raises(RunError, match=rf"runs/one was made with other settings of {key}, which .* may not change"):
        start("one.yaml", change, resume=True)
    assert (stopped / "config.yaml").read_text() == text


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_a_taken_name_is_refused() -> None:
    with create(Path("runs/one"), config(), "given.yaml"):
        pass
    with pytest.raises(RunError, match=r"runs/one holds a run already. Add --resume .* or name=another"):
        start("one.yaml")


def test_resuming_what_was_never_launched() -> None:
    with pytest.raises(RunError, match=r"There is no run in runs/one\.$"):
        start("one.yaml", resume=True)
    with create(Path("runs/ones"), config(), "given.yaml"):
        pass
    with pytest.raises(RunError, match=r"There is no run in runs/one\. Did you mean 'runs/ones'\?"):
        start("one.yaml", resume=True)
    with pytest.raises(files.DamagedFile, match=r"Nothing was saved yet: delete runs/ones and launch it anew"):
        start("one.yaml", "name=ones", resume=True)


def test_a_second_process_is_kept_out() -> None:
    with create(Path("runs/one"), config(), "given.yaml"):
        with pytest.raises(RunError, match="Another process is running runs/one"), reopen(Path("runs/one"), None):
            pass
        with look(Path("runs/one")) as run:
            assert run.config == config(), "reading it is fine"
    with reopen(Path("runs/one"), None) as run:
        assert run.config == config()


def test_games_and_agents_that_do_not_go_together_are_refused_before_anything_is_written() -> None:
    for overrides, message in (
        (("game=tic_tac_to",), "given.yaml: game: There is no game called 'tic_tac_to'. Did you mean 'tic_tac_toe'"),
        (("game=rock_paper_scissors", "league.fixed=[greedy]"), "league.fixed: greedy cannot play rock_paper_scissors"),
        (("rating.games=3",), "rating.games: 3 games cannot be shared evenly among 2 teams"),
    ):
        with pytest.raises(ConfigError, match=message), create(Path("runs/x"), config(ONE, *overrides), "given.yaml"):
            pass
        assert not Path("runs").exists()


def test_a_ledger_of_another_game_is_refused(stopped: Path) -> None:
    (stopped / "ledger.sqlite").unlink()
    for rest in stopped.glob("ledger.sqlite-*"):
        rest.unlink()
    Ledger.create(stopped / "ledger.sqlite", "go", (0, 1)).close()
    with pytest.raises(LedgerError, match=r"is a ledger of go, not of tic_tac_toe"):
        start("one.yaml", resume=True)
    with pytest.raises(RunError, match=r"is a ledger of go"), look(stopped):
        pass


def test_damaged_players_and_foreign_checkpoints_are_refused(stopped: Path) -> None:
    weights = stopped / "players" / "main@1" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(files.DamagedFile, match=r"main@1/weights.safetensors is damaged"):
        start("one.yaml", resume=True)
    weights.write_bytes(whole)
    resume = stopped / "resume"
    record, arrays, _ = checkpoints.load(resume)
    checkpoints.save(resume, record, {"learner.other": arrays["learner.main"]})
    with pytest.raises(RunError, match=r"The checkpoint in runs/one/resume is not this run's: .*learner\.main"):
        start("one.yaml", resume=True)
    narrow = {name: array[..., :3] if array.ndim else array for name, array in arrays["learner.main"].items()}
    checkpoints.save(resume, record, arrays | {"learner.main": narrow})
    with pytest.raises(RunError, match=r"is not this run's: .* of another (network|optimiser)"):
        start("one.yaml", resume=True)


def test_a_disk_that_fills_up_while_saving_leaves_a_run_to_go_on_with(
    monkeypatch: pytest.MonkeyPatch, whole: dict[str, dict[str, Any]]
) -> None:
    replace, calls = Path.replace, count()

    def full(path: Path, target: Path) -> Path:
        if "resume" in str(path) and next(calls) >= 9:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(RunError, match=r"could not be written to runs/one/resume: No space left .* --resume"):
            start("one.yaml")
    start("one.yaml", resume=True)
    assert_same(facts("one"), whole["one"])
