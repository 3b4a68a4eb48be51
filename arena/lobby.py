"""Who can sit down at a game: the players of its runs, scripted ones, and how strong each may be asked to play.

Policies are loaded once and shared by all tables of this process, one call at a time.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from agents.core import Analysis, Choice, Context, Policy
from agents.kinds import PLAY_SETTINGS, SCRIPTED, SUPPORTS
from arena.people import pinned
from arena.players import PlayerError, is_scripted, load, with_settings
from arena.run import read_config
from arena.sitting import Analyst, Occupant
from games import Decisions, Game, Keys, make
from games.names import UserError, did_you_mean
from leagues.ledger import Ledger

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
        """Raises GameError where there is no such game. Folders that hold no run of it are passed over."""
        self.name = game
        self.spec = make(game).spec
        self.folders = _about(game, self.spec.name, folders)
        self._learners: dict[Path, dict[str, str]] = {}  # name -> kind; a run keeps its learners for good
        self._policies: OrderedDict[str, Policy] = OrderedDict()
        self._loading = Lock()

    def game(self) -> Game:
        """A game of its own for each table: games draw nature's luck from a generator that threads may not share."""
        return make(self.name)

    def players(self) -> list[Seatable]:
        """Everybody who could play now, learners first, then their snapshots from the newest, then the scripted.

        A run that cannot be read offers nobody and stops nobody: whoever asks for a player of it is told why.
        """
        found: list[Seatable] = []
        for folder in self.folders:
            try:
                kinds = self._kinds(folder)
            except UserError:
                continue
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
        self._refuse_unknown(reference.partition("?")[0])
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

    def _kinds(self, folder: Path) -> dict[str, str]:
        """The learned players of a run, and of what kind each is. Raises UserError where it cannot be read."""
        if folder not in self._learners:
            learners = read_config(folder).league.learners
            self._learners[folder] = {name: settings.agent.kind for name, settings in learners.items()}
        with Ledger.open(folder / "ledger.sqlite", read_only=True, game=self.spec.name) as ledger:
            snapshots = [player for player in ledger.players().values() if player.content]
        return self._learners[folder] | {player.id: player.kind for player in reversed(snapshots)}

    def _refuse_unknown(self, name: str) -> None:
        """Raises PlayerError where `name` names neither its run nor anybody known without."""
        if ":" in name or is_scripted(name):
            return
        own = [*self._kinds(self.folders[0]), "best"] if self.folders else []
        if name not in own:
            raise PlayerError(f"There is no player {name!r}.{did_you_mean(name, [*own, *self._scripted()])}")

    def _scripted(self) -> list[str]:
        names = [name for name in SCRIPTED if SUPPORTS[name](self.spec) is None]
        searches = [f"mcts:{count}" for count in _SEARCHES] if "mcts" in names else []
        return [name for name in names if name != "mcts"] + searches


class _Turns:
    """A lock that goes to whoever came first: an ordinary one may pass a table over for as long as others come."""

    def __init__(self) -> None:
        self._taken, self._lock = False, Lock()
        self._waiting: deque[Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # until it is handed over

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class _Shared:
    """A policy that several tables share: one call at a time, as policies may keep room to work in."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._turn = policy, _Turns()
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


def _about(game: str, spec_name: str, folders: Sequence[Path]) -> list[Path]:
    """The folders whose runs are about that game.

    There may be dozens of runs, so their settings are not read here but for the line that names the game, and a game is
    made only where the same one may be meant in other words.
    """
    same = {game: True}
    found = []
    for folder in folders:
        named = _game_in(folder)
        if named.partition("?")[0] != game.partition("?")[0]:
            continue
        if named not in same:
            same[named] = _is_called(named, spec_name)
        if same[named]:
            found.append(folder)
    return found


def _game_in(folder: Path) -> str:
    """What the run in `folder` says that it is about; nothing where there is none."""
    try:
        settings = (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    line = re.search(r"""^game:\s+["']?([^\s"']+)""", settings, re.MULTILINE)
    return line[1] if line else ""


def _is_called(game: str, spec_name: str) -> bool:
    try:
        return make(game).spec.name == spec_name
    except UserError:
        return False
