"""The frozen players of a run on disk: `players/<id>/weights.safetensors`, and `player.json` with its sha256.

A weights file carries what it takes to play it: the agent's config and the game's name. A snapshot is written once and
never changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agents.core import Weights
from agents.kinds import AgentConfig
from arena import files
from arena.files import DamagedFile

SCHEMA = "1"
_CONFIG: TypeAdapter[AgentConfig] = TypeAdapter(AgentConfig)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a frozen player plays with."""

    config: AgentConfig
    weights: Weights


class PlayerStore:
    """The players of one run, for one game."""

    def __init__(self, folder: Path, game: str) -> None:
        self.folder, self.game = folder, game

    def save(self, player: str, frozen: Frozen) -> str:
        """Write a player's weights; returns their sha256, its content."""
        about = {"schema": SCHEMA, "game": self.game, "agent": frozen.config.model_dump_json()}
        packed = files.pack(frozen.weights, about)
        content = files.digest(packed)
        files.write(self.folder / player / "weights.safetensors", packed)
        record = {"schema": SCHEMA, "id": player, "game": self.game, "kind": frozen.config.kind, "content": content}
        files.write(self.folder / player / "player.json", json.dumps(record, indent=1).encode())
        return content

    def load(self, player: str) -> Frozen:
        """Raises DamagedFile where the weights are missing, changed, of another game or of a later version."""
        record = files.read_json(self.folder / player / "player.json")
        path = self.folder / player / "weights.safetensors"
        weights, about = files.unpack(files.read(path, str(record.get("content"))), path)
        if about.get("schema") != SCHEMA:
            raise DamagedFile(f"{path} has schema {about.get('schema')!r}; this version reads schema {SCHEMA!r}.")
        if about.get("game") != self.game:
            raise DamagedFile(f"{path} plays {about.get('game')!r}, but this run is about {self.game!r}.")
        try:
            config = _CONFIG.validate_json(about.get("agent", ""))
        except ValidationError as error:
            raise DamagedFile(f"{path} has an agent config that this version does not know: {error}") from None
        return Frozen(config, weights)
