"""Players by reference: `runs/c4:main@3`, `runs/c4:best`, `mcts:200`, with settings as in `runs/c4:main?temperature=0`.

From Python, to load a player and let it move:

    from arena.match import Table
    from arena.players import load
    from games.keys import mix

    player = load("runs/connect_four:main")
    table = Table(player.game, mix(7, [0, 1, 2]))  # three games, from three keys
    while not table.over.all():
        table.play(player.choose(table))
    print(table.returns)  # [B, P]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.core import Context, Policy
from agents.kinds import SCRIPTED, SUPPORTS, make_policy, scripted
from arena import checkpoints
from arena.match import Table, choice_keys
from arena.run import Run, look
from arena.standings import leader
from arena.store import Frozen
from games import Game, make
from games.names import UserError, did_you_mean, split_settings


class PlayerError(UserError):
    """There is no such player, or it does not play this game."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A player that can be seated."""

    id: str  # as it was asked for
    game: Game
    policy: Policy

    def choose(self, table: Table) -> NDArray[np.int64]:
        """Its actions [B, S] for whoever must act at `table`, as if it held every seat."""
        if self.policy.memory is not None:
            raise PlayerError(f"{self.id} remembers what it saw; seat it in an `arena.rollout.Rollout` instead.")
        decisions = table.pending()
        keys = choice_keys(table.keys, table.steps, decisions.seat)
        context = Context(table.game, table.states, np.arange(len(table.steps)), history=table.history)
        return np.where(decisions.active, self.policy.act(decisions, context, keys).action, -1)


def load(reference: str, game: str | None = None) -> Loaded:
    """The player that `reference` names, to play `game`, which a run's player knows itself.

    Raises PlayerError (a UserError), with the nearest name, where there is none such or it cannot play the game.
    """
    name, settings = _split(reference)
    if is_scripted(reference):
        if game is None:
            raise PlayerError(f"{reference} plays any game: say which with --game.")
        made = make(game)
        if name.partition(":")[0] == "mcts" and "simulations" in settings:
            name = f"mcts:{settings.pop('simulations')}"
        reason = SUPPORTS[name.partition(":")[0]](made.spec)
        if reason:
            raise PlayerError(f"{name} cannot play {game}: {reason}")
        if settings:
            searches = f" mcts:{settings['simulations']} is one that searches." if "simulations" in settings else ""
            raise PlayerError(f"{name} takes no settings, but was given {_query(settings)}.{searches}")
        return Loaded(reference, made, _scripted(name))
    player = name.rpartition(":")[2]
    with look(folder_of(name)) as run:
        if game is not None and make(game).spec.name != run.game.spec.name:
            raise PlayerError(f"{reference} plays {run.game.spec.name}, not {game}.")
        frozen = _find(run, player)
        try:
            return Loaded(reference, run.game, make_policy(run.game.spec, frozen.config, frozen.weights, settings))
        except ValueError as error:
            raise PlayerError(f"{reference}: {error}") from None


def with_settings(reference: str, settings: Mapping[str, Any]) -> str:
    """The reference of the same player with these play settings too; they overrule those that it has."""
    if not settings:
        return reference
    name, own = _split(reference)
    return f"{name}?{_query(own | dict(settings))}"


def is_scripted(reference: str) -> bool:
    return reference.partition("?")[0].partition(":")[0] in SCRIPTED


def game_of(reference: str) -> str | None:
    """The game that a run's player plays; None for a scripted one."""
    if is_scripted(reference):
        return None
    with look(folder_of(reference)) as run:
        return run.config.game


def folder_of(reference: str) -> Path:
    """The folder of a player's run. Raises PlayerError, with the nearest name, where there is none."""
    name = reference.partition("?")[0]
    folder = name.rpartition(":")[0]
    if not folder or not Path(folder).exists():
        raise PlayerError(_no_such(name, folder or name))
    return Path(folder)


def _find(run: Run, player: str) -> Frozen:
    """What `player` of `run` plays with: a snapshot, the learner as last saved, or the best: by gate matches if any."""
    known = run.ledger.players()
    frozen = [p.id for p in known.values() if p.content]
    if player == "best":
        best = leader(run)
        if best is None:
            raise PlayerError(f"No snapshot of {run.folder} has been rated yet; name one: {', '.join(frozen)}.")
        return run.store.load(best)
    if player in frozen:
        return run.store.load(player)
    if player in run.config.league.learners:
        _, arrays, _ = checkpoints.load(run.resume_folder)
        state = arrays[f"learner.{player}"]
        weights = {name[len("weights.") :]: array for name, array in state.items() if name.startswith("weights.")}
        return Frozen(run.config.league.learners[player].agent, weights)
    options = [*run.config.league.learners, *frozen, "best"]
    raise PlayerError(f"{run.folder} has no player {player!r}.{did_you_mean(player, options)}")


def _scripted(name: str) -> Policy:
    try:
        return scripted(name)
    except ValueError as error:
        raise PlayerError(str(error)) from None


def _split(reference: str) -> tuple[str, dict[str, Any]]:
    try:
        return split_settings(reference)
    except ValueError as error:
        raise PlayerError(str(error)) from None


def _query(settings: Mapping[str, Any]) -> str:
    return "&".join(f"{name}={value}" for name, value in settings.items())


def _no_such(name: str, folder: str) -> str:
    runs = [str(path.parent) for path in Path("runs").glob("*/config.yaml")]
    if folder in runs or (Path(folder) / "config.yaml").is_file():
        return f"{name} is a run: name a player of it, as in {folder}:main or {folder}:best."
    options = [*(f"{run}:main" for run in runs), "random", "greedy", "mcts:100"]
    return f"There is no player {name!r}.{did_you_mean(name, options)}"
