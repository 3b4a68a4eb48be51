"""A run's directory: made once, locked while in use, and found again by its name.

config.yaml      every setting, under a comment that says which versions and commit made the run
ledger.sqlite    players, matches and results
players/<id>/    frozen weights
resume/          the last checkpoints
metrics/         what was tracked
ladder.png …     pictures
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agents.inference import choose
from arena import strict
from arena.config import LearnerSettings, RunConfig, unsupported
from arena.store import PlayerStore
from arena.strict import ConfigError
from arena.tracking import describe
from games import Game, GameError, make
from games.names import UserError, did_you_mean
from leagues.ledger import Ledger, LedgerError

FIXED = ("game", "seed", "league")
"""What a resumed run may not change: its results would speak of another league."""


class RunError(UserError):
    """A run cannot be made, found or gone on with. The message is a sentence for the user."""


@dataclass(slots=True)
class Run:
    """A run's directory and what is open of it."""

    folder: Path
    config: RunConfig
    game: Game
    ledger: Ledger
    store: PlayerStore

    @property
    def resume_folder(self) -> Path:
        return self.folder / "resume"


def make_game(name: str, source: str) -> Game:
    try:
        return make(name)
    except GameError as error:
        raise ConfigError(f"{source}: game: {error}") from None


def check(config: RunConfig, game: Game, source: str) -> None:
    """Raises ConfigError for every part of `config` that does not go with the game."""
    problems = unsupported(config, game.spec)
    if problems:
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in problems))


def settled(config: RunConfig, game: Game, known: Mapping[str, LearnerSettings]) -> RunConfig:
    """With what is measured at launch written in: the inference backend of each learner that leaves it to `auto`.

    As `known` says it was in the run so far, for its results could not be repeated with another.
    """
    learners = {}
    for name, settings in config.league.learners.items():
        agent = settings.agent
        if agent.kind == "alphazero" and agent.inference == "auto":
            before = known[name].agent if name in known else agent
            backend = before.inference if before.kind == "alphazero" else "auto"
            if backend == "auto":
                backend = choose(game.spec, agent.network, config.rollout.rows, agent.normalise_observations)
            agent = agent.model_copy(update={"inference": backend})
        learners[name] = settings.model_copy(update={"agent": agent})
    return config.model_copy(update={"league": config.league.model_copy(update={"learners": learners})})


@contextmanager
def create(folder: Path, config: RunConfig, source: str) -> Iterator[Run]:
    """A new run in `folder`. Raises RunError where one is there already, ConfigError where it cannot be run."""
    game = make_game(config.game, source)
    check(config, game, source)
    if (folder / "config.yaml").exists():
        raise RunError(
            f"{folder} holds a run already. Add --resume to go on with it, or name=another to start a new one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"The folder {folder} cannot be made: {error.strerror}.") from None
    config = settled(config, game, {})
    with locked(folder):
        ledger = Ledger.create(folder / "ledger.sqlite", game.spec.name, game.spec.teams)
        try:
            _write_config(folder, config)
            yield Run(folder, config, game, ledger, PlayerStore(folder / "players", game.spec.name))
        finally:
            ledger.close()


@contextmanager
def reopen(folder: Path, config: RunConfig | None) -> Iterator[Run]:
    """The run in `folder`, to go on with, under a `config` that may differ in what does not touch its results.

    Raises RunError where there is none, it is in use, or what differs does touch them.
    """
    old = read_config(folder)
    config = settled(config, make_game(old.game, str(folder)), old.league.learners) if config else old
    differs = [key for key in FIXED if getattr(config, key) != getattr(old, key)]
    if differs:
        raise RunError(
            f"{folder} was made with other settings of {', '.join(differs)}, which a resumed run may not change. Take"
            f" them from {folder}/config.yaml, or give the run another name."
        )
    with locked(folder):
        game = make_game(config.game, str(folder / "config.yaml"))
        check(config, game, str(folder / "config.yaml"))
        with Ledger.open(folder / "ledger.sqlite", game=game.spec.name) as ledger:
            _write_config(folder, config)
            yield Run(folder, config, game, ledger, PlayerStore(folder / "players", game.spec.name))


@contextmanager
def look(folder: Path) -> Iterator[Run]:
    """The run in `folder`, to read only, also while it is going on."""
    config = read_config(folder)
    game = make_game(config.game, str(folder / "config.yaml"))
    try:
        ledger = Ledger.open(folder / "ledger.sqlite", read_only=True, game=game.spec.name)
    except LedgerError as error:
        raise RunError(str(error)) from None
    with ledger:
        yield Run(folder, config, game, ledger, PlayerStore(folder / "players", game.spec.name))


def read_config(folder: Path) -> RunConfig:
    """The settings of the run in `folder`. Raises RunError, with the nearest name, where there is none."""
    path = folder / "config.yaml"
    if not path.is_file():
        there = [str(p.parent) for p in folder.parent.glob("*/config.yaml")] if folder.parent.is_dir() else []
        raise RunError(f"There is no run in {folder}.{did_you_mean(str(folder), there)}")
    return strict.read(RunConfig, path, [])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of the run. Raises RunError where one is in it."""
    with (folder / "lock").open("w") as file:
        while not _locks(file, fcntl.LOCK_EX):
            # Who only asks whether the run goes on shares the lock for a moment; a run shares it with nobody.
            if not _locks(file, fcntl.LOCK_SH):
                raise RunError(f"Another process is running {folder}. Wait for it, or stop it first.")
            time.sleep(0.001)
        yield


def _locks(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write_config(folder: Path, config: RunConfig) -> None:
    strict.dump(config, folder / "config.yaml", "\n".join(f"{name}: {value}" for name, value in describe().items()))
