"""Who can sit down at a game: the players of its runs, scripted ones, and how strong each may be asked to play.

Policies are loaded once and shared by all tables of this process, one call at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from agents.core import Analysis, Choice, Context, Policy
from agents.kinds import PLAY_SETTINGS, SCRIPTED, SUPPORTS
from arena.people import pinned
from arena.players import is_scripted, load, with_settings
from arena.run import look, read_config
from arena.sitting import Analyst, Occupant
from games import Decisions, Game, Keys, make
from games.names import UserError

_KEPT = 16  # policies, the last asked for
_SEARCHES = (25, 100, 400, 1600)  # simulations of the `mcts` players on offer


@dataclass(frozen=True, slots=True)
class Seatable:
    """A player that can be asked to sit down."""

    reference: str  # `runs/c4:main@3`
    name: str  # as people know it here: without the folder where there is one run only
    kind: str
    settings: tuple[str, ...] = ()  # what can be set of its play: simulations, temperature, epsilon


class Lobby:
    """The players of one game, as found in `folders` of runs and among the scripted."""

    def __init__(self, game: str, folders: Sequence[Path]) -> None:
        """Raises GameError where there is no such game."""
        self.name = game
        self.spec = make(game).spec
        self.folders = [folder for folder in folders if _plays(folder, self.spec.name)]
        self._policies: OrderedDict[str, Policy] = OrderedDict()
        self._loading = Lock()

    def game(self) -> Game:
        """A game of its own for each table: games draw nature's luck from a generator that threads may not share."""
        return make(self.name)

    def players(self) -> list[Seatable]:
        """Everybody who could play now, learners first, then their snapshots from the newest, then the scripted."""
        found: list[Seatable] = []
        for folder in self.folders:
            with look(folder) as run:
                learners = run.config.league.learners
                snapshots = [player for player in run.ledger.players().values() if player.content]
                kinds: dict[str, str] = {name: settings.agent.kind for name, settings in learners.items()}
            kinds |= {player.id: player.kind for player in reversed(snapshots)}
            prefix = f"{folder.name}:" if len(self.folders) > 1 else ""
            found += [
                Seatable(f"{folder}:{name}", prefix + name, kind, PLAY_SETTINGS.get(kind, ()))
                for name, kind in kinds.items()
            ]
        return found + [Seatable(name, name, name.partition(":")[0]) for name in self._scripted()]

    def occupant(self, reference: str, settings: Mapping[str, Any] | None = None) -> Occupant:
        """The player that `reference` names, seated: a run's own by its id alone where it is the first of `folders`.

        Raises UserError where there is none such, or it cannot play the game or be set so.
        """
        reference = pinned(with_settings(self.full(reference), settings or {}))
        with self._loading:
            if reference not in self._policies:
                self._policies[reference] = _share(load(reference, self.name).policy)
                while len(self._policies) > _KEPT:
                    self._policies.popitem(last=False)
            self._policies.move_to_end(reference)
            name = reference.removeprefix(f"{self.folders[0]}:") if self.folders else reference
            return Occupant(name, self._policies[reference], reference)

    def full(self, reference: str) -> str:
        """`main@3` as `runs/c4:main@3`; what names its run already, or is scripted, as it is."""
        named = ":" in reference.partition("?")[0] or is_scripted(reference) or not self.folders
        return reference if named else f"{self.folders[0]}:{reference}"

    def _scripted(self) -> list[str]:
        names = [name for name in SCRIPTED if SUPPORTS[name](self.spec) is None]
        searches = [f"mcts:{count}" for count in _SEARCHES] if "mcts" in names else []
        return [name for name in names if name != "mcts"] + searches


class _Shared:
    """A policy that several tables share: one call at a time, as policies may keep room to work in."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._turn = policy, Lock()
        self.memory = policy.memory

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        with self._turn:
            return self._policy.act(decisions, context, keys)


class _SharedAnalyst(_Shared):
    def analyse(self, decisions: Decisions, context: Context, keys: Keys) -> Analysis:
        assert isinstance(self._policy, Analyst)
        with self._turn:
            return self._policy.analyse(decisions, context, keys)


def _share(policy: Policy) -> Policy:
    return _SharedAnalyst(policy) if isinstance(policy, Analyst) else _Shared(policy)


def _plays(folder: Path, game: str) -> bool:
    """Whether the run in `folder` is about `game` (the name in its spec)."""
    try:
        return make(read_config(folder).game).spec.name == game
    except UserError:
        return False
