"""Ctrl-C and SIGTERM, in this process and sent to a real run without Ray; `test_arena_cluster` has those with Ray."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from arena import checkpoints
from arena.interrupts import Interrupts
from arena.run import look

PATIENT = 300.0  # seconds after which a test gives up; the machine may be busy with others

RUN = """
game: tic_tac_toe
league: {learners: {main: {agent: {kind: ppo, batch: 256, network: {width: 32}}}}}
rollout: {workers: 0, rows: 16}
rating: {games: 2, final: 1}
stop: {decisions: 1e9}
tracking: {wandb: disabled}
"""


def test_nothing_happens_without_a_signal() -> None:
    with Interrupts() as interrupts:
        pass
    assert (interrupts.signal, interrupts.exit_code) == ("", 0)


def interrupted(interrupts: Interrupts, *names: str) -> None:
    with interrupts:
        for name in names:
            signal.raise_signal(getattr(signal, name))


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_first_is_noted_and_the_second_ends(name: str, code: int) -> None:
    before, interrupts = signal.getsignal(getattr(signal, name)), Interrupts()
    interrupted(interrupts, name)
    assert (interrupts.signal, interrupts.exit_code) == (name, code)
    with pytest.raises(SystemExit) as raised:
        interrupted(interrupts, name)
    assert raised.value.code == code
    assert signal.getsignal(getattr(signal, name)) is before


def test_the_second_may_be_another() -> None:
    interrupts = Interrupts()
    with pytest.raises(SystemExit) as raised:
        interrupted(interrupts, "SIGINT", "SIGTERM")
    assert raised.value.code == 143
    assert interrupts.exit_code == 130, "The run had been told to stop by the first."


@pytest.fixture
def launches(tmp_path: Path) -> Iterator["Launches"]:
    made = Launches(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


class Launches:
    """Starts `arena launch` as a user does, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        (folder / "run.yaml").write_text(RUN)

    def __call__(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output.txt").open("w") as output:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "arena.cli", "launch", "run.yaml", *arguments],
                    cwd=self.folder,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
        return self.processes[-1]

    @property
    def said(self) -> str:
        return (self.folder / "output.txt").read_text()

    def wait_for(self, path: str, times: int, of: str = "") -> None:
        """Until the file `path` is there and holds `of` so many times."""
        until, file = monotonic() + PATIENT, self.folder / path
        while not file.exists() or file.read_text(errors="replace").count(of) < times:
            assert self.processes[-1].poll() is None, self.said
            assert monotonic() < until, self.said
            sleep(0.02)


def test_a_run_finishes_its_update_and_saves(launches: Launches) -> None:
    counted = 0
    for arguments, number, code in (((), signal.SIGINT, 130), (("--resume",), signal.SIGTERM, 143)):
        process = launches(*arguments)
        launches.wait_for("runs/run/metrics/metrics.jsonl", counted + 3, "main/entropy")
        process.send_signal(number)
        assert process.wait(PATIENT) == code
        assert f"Stopped by {signal.Signals(number).name}." in launches.said
        assert "arena launch runs/run --resume" in launches.said
        assert "Traceback" not in launches.said
        with look(launches.folder / "runs/run") as run:
            record, _, _ = checkpoints.load(run.resume_folder)
            tracked = (run.folder / "metrics/metrics.jsonl").read_text().count("main/entropy")
            assert record["updates"] == tracked >= counted + 3, "Every update that was made is in the checkpoint."
            assert record["games"] == run.ledger.count()
            assert run.ledger.count({"rate"}) == 0, "Whoever wants to stop does not wait for the ladder."
        counted = tracked


def test_the_second_signal_stops_at_once(launches: Launches) -> None:
    process = launches("league.learners.main.agent.batch=1e9")  # so the update is never reached
    launches.wait_for("runs/run/resume/00000001/manifest.json", 1)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    until = monotonic() + PATIENT
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        sleep(2)
        assert monotonic() < until, launches.said
    # A shell says 130 for both; the other is a third signal, where Python itself was at its end.
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in launches.said
    with look(launches.folder / "runs/run") as run:
        assert run.ledger.count() == 0
        assert checkpoints.load(run.resume_folder)[0]["updates"] == 0
