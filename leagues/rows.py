"""Records as rows of the ledger's tables, and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leagues.core import Match, Player

PLAYER = "id, kind, content, settings, parent, step, role, live"
"""The columns of a player but for its sequence number."""


def player_row(player: Player) -> tuple[Any, ...]:
    """Raises TypeError or ValueError where the settings are no JSON values."""
    settings = json.dumps(dict(player.settings), sort_keys=True)
    step, live = int(player.step), int(player.live)
    return (player.id, player.kind, player.content, settings, player.parent, step, player.role, live)


def player_of(row: Sequence[Any]) -> Player:
    """The player whose `PLAYER` columns these are."""
    name, kind, content, settings, parent, step, role, live = row
    return Player(name, kind, content, json.loads(settings), parent, step, role, bool(live))


def match_row(match: Match) -> tuple[Any, ...]:
    seed = int(match.seed)
    return (
        int(match.id),
        json.dumps(match.players),
        match.purpose,
        seed - 2**64 if seed >= 2**63 else seed,
        None if match.games is None else int(match.games),
        int(match.opening),
        int(match.paired),
    )


def match_of(row: Sequence[Any]) -> Match:
    number, players, purpose, seed, games, opening, paired = row
    return Match(number, tuple(json.loads(players)), purpose, seed % 2**64, games, opening, bool(paired))


def pack_moves(moves: NDArray[np.int16]) -> bytes:
    """Moves [length, S] with their number of slots before them."""
    return struct.pack("<H", moves.shape[1]) + moves.astype("<i2").tobytes()


def unpack_moves(packed: bytes) -> NDArray[np.int16]:
    (slots,) = struct.unpack_from("<H", packed)
    return np.frombuffer(packed, "<i2", offset=2).astype(np.int16).reshape(-1, max(slots, 1))
