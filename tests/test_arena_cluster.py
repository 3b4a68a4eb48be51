"""The Ray backend under faults, on a real local Ray: what is killed comes back, nothing is lost or counted twice."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import psutil
import pytest
import ray

import games
from arena import checkpoints, cluster, strict
from arena.backend import Event, Lost, Played
from arena.cluster import ActorLost, ClusterError, RayBackend
from arena.config import RunConfig
from arena.contest import contest
from arena.interrupts import Interrupts
from arena.players import load
from arena.progress import Quiet, Status
from arena.rollout import Order
from arena.run import Run, create, look, reopen
from arena.serving import InferenceLost
from arena.tracking import open_tracker
from arena.train import Training
from games import Game
from games.tic_tac_toe import TicTacToe
from leagues.core import Match
from leagues.payoff import Payoff

PATIENT = 600.0  # seconds after which a test gives up; the machine may be busy with others


# Games that misbehave in any process but the one that registered them. They are classes within functions, which Ray
# ships by value, as it does those of a script.


def sleeper(bed: Path) -> type:
    class Sleeper(TicTacToe):
        """Hangs while the file `bed` is there."""

        def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
            while bed.exists():
                pass
            return super().step(actions, rng)

    return Sleeper


def mortal(driver: int) -> Callable[[], Game]:
    def make() -> Game:
        if os.getpid() != driver:
            os._exit(3)
        return games.make("tic_tac_toe")

    return make


def broken(driver: int) -> Callable[[], Game]:
    def make() -> Game:
        if os.getpid() != driver:
            raise ModuleNotFoundError("No module named 'chess_rules'")
        return games.make("tic_tac_toe")

    return make


def config_of(game: str = "tic_tac_toe", *overrides: str) -> RunConfig:
    """Small, and asking Ray for no cores, so that any number of actors may live at once."""
    agent = {"kind": "ppo", "batch": 512, "minibatch": 128, "epochs": 4, "learning_rate": 3e-3}
    agent["network"] = {"kind": "mlp", "width": 64, "layers": 2}
    mapping = {
        "game": game,
        "league": {"learners": {"main": {"agent": agent, "opponents": {"self_play": 1.0}}}},
        "rollout": {"workers": 1, "rows": 32},
        "rating": {"games": 20, "every": 3, "final": 2},
        "stop": {"decisions": 1000},
        "cluster": {"rollout": {"cpus": 0}, "learner": {"cpus": 0}, "inference": {"cpus": 0}},
        "tracking": {"wandb": "disabled"},
    }
    return strict.parse(RunConfig, mapping, overrides)


def central_config_of(*overrides: str) -> RunConfig:
    """AlphaZero, evaluated in one actor for all."""
    agent = {"kind": "alphazero", "batch": 256, "minibatch": 64, "inference": "torch"}
    agent |= {"network": {"kind": "mlp", "width": 16, "layers": 1}, "search": {"simulations": 4}}
    mapping = config_of().model_dump()
    mapping["league"] = {"learners": {"main": {"agent": agent, "snapshot": {"every": 256}}}}
    return strict.parse(RunConfig, mapping, ("rollout.inference=gpu", *overrides))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray for all tests of this file, as starting it takes seconds; its token in a home of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        before = signal.getsignal(signal.SIGTERM)
        cluster.connect(config_of(), gpus=0.0)
        try:
            assert signal.getsignal(signal.SIGTERM) is before, "Ray's handler would end the run without saving."
            token = Path.home() / ".ray" / "auth_token"
            assert token.stat().st_size
            assert token.stat().st_mode & 0o777 == 0o600
            yield
        finally:
            ray.shutdown()


@pytest.fixture
def backend_of(session: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RayBackend]]:
    """Makes backends in that Ray, and ends their actors."""
    monkeypatch.setattr(cluster, "connect", lambda config, gpus: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    made: list[RayBackend] = []

    def make(config: RunConfig, warn: Callable[[str], None] = print) -> RayBackend:
        made.append(RayBackend(config, "cpu", warn))
        return made[-1]

    yield make
    for backend in made:
        central = [backend._inference.actor] if backend._inference else []
        for actor in [*backend._actors(), *backend._learners.values(), *central]:
            ray.kill(actor)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """`games.register` for one test."""
    monkeypatch.setattr(games, "_GAMES", dict(games._GAMES))
    return games.register


def pid_of(actor: Any) -> int:
    pid: int = ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    return pid


def order_of(number: int, decisions: int = 512) -> Order:
    return Order((Match(number, ("main", "main"), "train", 7),), decisions, ("main",))


def events_of(backend: RayBackend, least: int = 1) -> list[Event]:
    events: list[Event] = []
    until = monotonic() + PATIENT
    while len(events) < least:
        events += backend.ready(1.0)
        assert monotonic() < until, f"Only {events} came."
    return events


# ---- one actor -----------------------------------------------------------------------------------------------------


def test_a_new_actor_plays_with_the_newest_weights(backend_of: Callable[..., RayBackend]) -> None:
    said: list[str] = []
    backend = backend_of(config_of(), said.append)
    [worker] = [w for w in backend._workers if w.pool == "train"]
    backend.submit("train", order_of(1))
    [played] = events_of(backend)
    assert isinstance(played, Played)
    backend.publish("main", backend.weights("main"), 41)
    old = pid_of(worker.actor)

    backend.submit("train", order_of(2, 10**9))
    backend.submit("train", order_of(3))
    os.kill(old, signal.SIGKILL)
    lost = events_of(backend)
    assert all(isinstance(event, Lost) for event in lost)
    assert [event.order.matches[0].id for event in lost if isinstance(event, Lost)] == [2, 3]
    assert said == ["A rollout actor died (it crashed, was killed, or had no memory left); a new one takes over."]

    backend.submit("train", order_of(4))
    [played] = events_of(backend)
    assert isinstance(played, Played)
    assert pid_of(worker.actor) != old
    trajectories = ray.get(played.trajectories)["main"]
    assert trajectories.decisions == played.recorded["main"] >= 256
    assert set(trajectories.version.tolist()) == {41}
    assert {result.match for result in played.batch.results} == {4}
    assert played.batch.seconds["waited"] >= 0


def test_an_actor_that_hangs_is_replaced(
    backend_of: Callable[..., RayBackend], register: Callable[..., None], tmp_path: Path
) -> None:
    bed = tmp_path / "bed"
    register("sleeper", sleeper(bed))
    backend = backend_of(config_of("sleeper", "rollout.patience=2"))
    backend.submit("train", order_of(1))
    assert isinstance(events_of(backend)[0], Played), "A game that was registered here is known in the actors."

    [worker] = [w for w in backend._workers if w.pool == "train"]
    hanging = psutil.Process(pid_of(worker.actor))
    bed.touch()
    backend.submit("train", order_of(2))
    [lost] = events_of(backend)
    assert isinstance(lost, Lost)
    assert lost.reason == "no answer within 2 seconds"
    hanging.wait(timeout=60)  # it never ends by itself
    bed.unlink()
    backend.submit("train", order_of(3))
    [played] = events_of(backend)
    assert isinstance(played, Played)
    assert {result.match for result in played.batch.results} == {3}


def test_a_game_whose_process_always_dies_ends_the_run(
    backend_of: Callable[..., RayBackend], register: Callable[..., None]
) -> None:
    register("mortal", mortal(os.getpid()))
    backend = backend_of(config_of("mortal", "rollout.restarts=1"))
    backend.submit("train", order_of(1))
    [first] = events_of(backend)
    assert isinstance(first, Lost)
    backend.submit("train", order_of(2))
    with pytest.raises(
        ActorLost, match=r"playing mortal died 2 times in a row, more than rollout.restarts \(1\)"
    ) as lost:
        events_of(backend)
    assert lost.value.exit_code == 1, "Nothing was wrong with what was asked for."
    with pytest.raises(ActorLost, match=r"The process of a learner ended: .* --resume"):
        backend.fetch(backend.weights("main"))


def test_a_game_that_cannot_be_made_there_shows_its_own_error(
    backend_of: Callable[..., RayBackend], register: Callable[..., None]
) -> None:
    register("broken", broken(os.getpid()))
    backend = backend_of(config_of("broken"))
    backend.submit("train", order_of(1))
    with pytest.raises(ActorLost) as raised:
        events_of(backend)
    said = str(raised.value)
    assert said.startswith("A rollout actor could not be started.\n")
    assert said.endswith("ModuleNotFoundError: No module named 'chess_rules'")
    assert "test_arena_cluster.py" in said, "The traceback leads to the user's own line."
    with pytest.raises(ActorLost, match="A learner could not be started"):
        backend.fetch(backend.weights("main"))


def test_an_inference_actor_that_dies_is_replaced(
    backend_of: Callable[..., RayBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    backend = backend_of(central_config_of("rollout.restarts=1"), said.append)
    assert "the run is on the CPU" in said.pop()
    inference = backend._inference
    assert inference is not None
    [worker] = [w for w in backend._workers if w.pool == "train"]
    backend.submit("train", order_of(1, 64))
    [played] = events_of(backend)
    assert isinstance(played, Played)
    assert played.batch.evaluated > 64 * 4, "Each decision has simulations."
    assert 0 < played.batch.seconds["network"] < played.batch.seconds["policy"]
    backend.publish("main", backend.weights("main"), 41)
    playing, old = pid_of(worker.actor), pid_of(inference.actor)

    backend.submit("train", order_of(2, 10**9))
    backend.submit("train", order_of(3))
    os.kill(old, signal.SIGKILL)
    lost = events_of(backend, 2)
    assert all(isinstance(event, Lost) for event in lost)
    assert [event.order.matches[0].id for event in lost if isinstance(event, Lost)] == [2, 3]
    assert said == ["The inference actor died (it crashed, was killed, or had no memory left); a new one takes over."]

    backend.submit("train", order_of(4))
    [played] = events_of(backend)
    assert isinstance(played, Played)
    assert pid_of(inference.actor) != old
    assert pid_of(worker.actor) == playing, "It waited for an answer, and plays on."
    assert set(ray.get(played.trajectories)["main"].version.tolist()) == {41}
    assert {result.match for result in played.batch.results} == {4}, "The games of lost orders are gone."

    monkeypatch.setattr(backend, "_start_inference", lambda: inference.actor)
    backend._replace_inference(InferenceLost(1, "it was ill", begun=True))
    backend._replace_inference(InferenceLost(1, "it was ill", begun=True))  # another rollout actor says so too
    assert len(said) == 2
    with pytest.raises(
        ActorLost, match=r"died 2 times in a row.*it was ill.*--resume rollout.inference=local"
    ) as ended:
        backend._replace_inference(InferenceLost(2, "it was ill", begun=True))
    assert ended.value.exit_code == 1
    with pytest.raises(ActorLost, match="no such device"):
        backend._replace_inference(InferenceLost(2, "no such device", begun=False))


# ---- a run ---------------------------------------------------------------------------------------------------------


class Saboteur(Quiet):
    """Watches a run as a person would, and kills actors that are at work after given numbers of updates."""

    def __init__(self, kills: dict[int, str]) -> None:
        self.kills = kills
        self.pids: dict[Any, int] = {}

    def watch(self, training: Training, backend: RayBackend) -> None:
        self.training, self.backend = training, backend
        self.pids = {actor: pid_of(actor) for actor in backend._learners.values()}

    def update(self, status: Status) -> None:
        for actor in self.backend._actors():
            if actor not in self.pids:
                self.pids[actor] = pid_of(actor)
        for updates in [u for u in self.kills if u <= self.training.updates]:
            who = self.kills[updates]
            busy = [worker.actor for worker in self.backend._workers if worker.pool == who and worker.orders]
            for actor in list(self.backend._learners.values()) if who == "learner" else busy[:1]:
                os.kill(self.pids[actor], signal.SIGKILL)
                del self.kills[updates]


@contextmanager
def running(run: Run, backend: RayBackend, saboteur: Saboteur) -> Iterator[Training]:
    with closing(open_tracker(run.folder, {}, run.config.tracking)) as tracker:
        training = Training(run, backend, tracker, saboteur, Interrupts())
        saboteur.watch(training, backend)
        yield training


def check_ledger(run: Run, training: Training, games_before: int = 0) -> None:
    """Every result that was reported is there once, and the league's win rates are those of the ledger."""
    rows = [(result.match, result.game) for _, _, result in run.ledger.results()]
    assert len(rows) == len(set(rows)) == games_before + training.games
    players = list(training.league.players)
    for payoff, purpose, decay in ((training.league.payoff, "train", 0.99), (training.league.rated, "rate", 1.0)):
        there = Payoff.of(run.ledger, purposes={purpose}, decay=decay)
        for matrix, same in zip(payoff.matrix(players), there.matrix(players), strict=True):
            np.testing.assert_allclose(matrix, same)


def test_a_run_outlives_its_actors(backend_of: Callable[..., RayBackend], tmp_path: Path) -> None:
    config = config_of("tic_tac_toe", "rollout.workers=2", "rating.every=1", "stop.decisions=25_000")
    said: list[str] = []
    saboteur = Saboteur({8: "train", 16: "rate"})
    with create(tmp_path / "run", config, "test") as run:
        backend = backend_of(config, said.append)
        with running(run, backend, saboteur) as training:
            training.begin()
            assert "decisions" in training.loop()
            standing = training.finish()
        assert not saboteur.kills
        assert len(said) == 2
        assert training.lost >= 2
        check_ledger(run, training)
        newest = training.league.snapshots("main")[-1]
    assert {row.id for row in standing.rows} >= {"main@1", newest.id, "random"}

    lines = [json.loads(line) for line in (tmp_path / "run/metrics/metrics.jsonl").read_text().splitlines()]
    updates = [line for line in lines if "main/entropy" in line]
    assert len(updates) == training.updates
    for name in ("time/rollout/waited", "main/time/learner_waited", "main/staleness"):
        assert all(line[name] >= 0 for line in updates), name
    assert updates[-1]["run/lost_orders"] == training.lost

    learned = load(f"{tmp_path}/run:{newest.id}")
    assert contest(learned, load("random", "tic_tac_toe"), 400, opening=0, seed=1).score > 0.7


def test_a_run_is_evaluated_in_one_actor(backend_of: Callable[..., RayBackend], tmp_path: Path) -> None:
    config = central_config_of("rating.every=1", "rating.games=4", "rating.final=1", "stop.decisions=512")
    with create(tmp_path / "run", config, "test") as run:
        backend = backend_of(config)
        with running(run, backend, Saboteur({})) as training:
            training.begin()
            assert "decisions" in training.loop()
            training.finish()
        assert training.updates >= 2
        assert training.lost == 0
        check_ledger(run, training)
        snapshots = training.league.snapshots("main")
    assert len(snapshots) >= 2, "They have played rating games, by networks of their own."
    lines = [json.loads(line) for line in (tmp_path / "run/metrics/metrics.jsonl").read_text().splitlines()]
    for line in (line for line in lines if "main/surprise" in line):
        assert 0 < line["time/rollout/network"] < line["time/rollout/policy"]
        assert 0 < line["time/rollout/network_share"] < 1
        assert 1 <= line["time/rollout/network_batch"] <= 96, "Rows of the rollout actor, and of the rater."


@pytest.mark.slow
def test_a_run_whose_learner_died_is_resumed(backend_of: Callable[..., RayBackend], tmp_path: Path) -> None:
    config = config_of("tic_tac_toe", "stop.decisions=12_000", "league.learners.main.snapshot.every=2000")
    with create(tmp_path / "run", config, "test") as run:
        backend = backend_of(config)
        with running(run, backend, Saboteur({6: "learner"})) as training:
            training.begin()
            with pytest.raises(ActorLost, match="--resume"):
                training.loop()
        check_ledger(run, training)
        games_before = run.ledger.count()
    with reopen(tmp_path / "run", config) as run:
        record, arrays, wrong = checkpoints.load(run.resume_folder)
        assert not wrong
        backend = backend_of(config)
        with running(run, backend, Saboteur({})) as training:
            training.resume(record, arrays)
            assert 0 < training.updates <= 7
            already = training.games
            assert "decisions" in training.loop()
            training.finish()
        assert training.decisions >= 12_000
        check_ledger(run, training, games_before - already)


# ---- beginning and end ---------------------------------------------------------------------------------------------


def test_ray_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(ray, "init", lambda **settings: pytest.fail("Ray was started."))
    with pytest.raises(ClusterError, match=r"RAY_AUTH_MODE is 'disabled'.*Unset it"):
        cluster.connect(config_of(), 0.0)


def test_what_ray_lacks_is_said(session: None) -> None:
    with pytest.raises(ClusterError, match=r"This machine has 0 GPUs for actors, but this run asks for 2: .*fraction"):
        cluster._require({"CPU": 0.5, "GPU": 2.0}, None)


def test_a_failed_start_shuts_ray_down(
    session: None, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()  # cannot be shipped
    register("locked", lambda: games.make("tic_tac_toe") if lock else None)
    ended: list[bool] = []
    monkeypatch.setattr(cluster, "connect", lambda config, gpus: None)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(TypeError, match="lock"):
        RayBackend(config_of("locked"), "cpu", print)
    assert ended


RUN = """
game: tic_tac_toe
league: {learners: {main: {agent: {kind: ppo, batch: 512, network: {width: 64}}, snapshot: {every: 2000}}}}
rollout: {workers: 1, rows: 32}
rating: {every: 5, games: 20, final: 2}
stop: {decisions: 1e9}
tracking: {wandb: disabled}
"""


class Launch:
    """`arena launch` as a user runs it, in a process group of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        (folder / "run.yaml").write_text(RUN)
        self.metrics = folder / "runs/run/metrics/metrics.jsonl"
        self.output = folder / "output.txt"
        environment = os.environ | {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "arena.cli", "launch", "run.yaml", *arguments]
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def updates(self) -> int:
        """Lines of updates in the metrics so far."""
        return self.metrics.read_text().count("main/entropy") if self.metrics.exists() else 0

    def wait_for_updates(self, more: int) -> None:
        until, before = monotonic() + PATIENT, self.updates()
        while self.updates() < before + more:
            assert self.process.poll() is None, self.output.read_text()
            assert monotonic() < until, self.output.read_text()
            sleep(0.05)

    def end(self, send: Callable[[int], None]) -> int:
        """`send` something to it and wait; the exit code. Nothing that it started may outlive it."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        assert any("RolloutActor" in "".join(child.cmdline()) for child in family)
        if send is kill:  # then two small processes of Ray's try for a minute to tell a server that is gone too
            family = [child for child in family if child.name() not in ("ray::RuntimeEnvAgent", "ray::DashboardAgent")]
        send(self.process.pid)
        code = self.process.wait(PATIENT)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive
        return code


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def press_ctrl_c(pid: int) -> None:
    """As a terminal does it: every process of the group gets the signal, actors too."""
    os.killpg(pid, signal.SIGINT)


@pytest.mark.slow
def test_a_run_ends_clean_however_it_ends(tmp_path: Path) -> None:
    first = Launch(tmp_path)
    first.wait_for_updates(8)
    assert first.end(kill) == -signal.SIGKILL

    second = Launch(tmp_path, "--resume")
    second.wait_for_updates(8)
    assert second.end(terminate) == 143
    assert "Stopped by SIGTERM." in second.output.read_text()
    assert "Traceback" not in second.output.read_text()

    third = Launch(tmp_path, "--resume")
    third.wait_for_updates(8)
    before = third.updates()
    assert third.end(press_ctrl_c) == 130
    said = third.output.read_text()
    assert "Stopped by SIGINT." in said
    assert "Traceback" not in said
    assert third.updates() >= before

    with look(tmp_path / "runs/run") as run:
        rows = [(result.match, result.game) for _, _, result in run.ledger.results()]
        assert len(rows) == len(set(rows))
        record, arrays, wrong = checkpoints.load(run.resume_folder)
        assert record["updates"] >= 3 * 8 - 8  # the first may have lost what came after its last checkpoint
        assert not wrong
        assert "learner.main" in arrays


def test_a_cluster_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    launched = Launch(tmp_path, "cluster.address=auto")
    assert launched.process.wait(PATIENT) == 2
    assert re.search(r"cluster.address: the cluster at auto cannot be reached: .*", launched.output.read_text())
    assert "Traceback" not in launched.output.read_text()
