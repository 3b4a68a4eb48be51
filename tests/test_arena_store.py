"""Frozen players on disk: what comes back is what was frozen, and nothing else is ever taken for it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_arena_files import Bomb

from agents.networks import NetworkConfig
from agents.ppo import PPOConfig
from arena import files
from arena.files import DamagedFile
from arena.store import Frozen, PlayerStore

CONFIG = PPOConfig(network=NetworkConfig(kind="mlp", width=8, layers=1), batch=64)


def frozen(seed: int = 1, config: PPOConfig = CONFIG) -> Frozen:
    rng = np.random.default_rng(seed)
    return Frozen(config, {f"net.{n}": rng.random((n, 7), np.float32) for n in (1, 2, 30)})


@pytest.fixture
def store(tmp_path: Path) -> PlayerStore:
    return PlayerStore(tmp_path / "players", "tic_tac_toe")


def test_a_frozen_player_comes_back(store: PlayerStore) -> None:
    one = frozen()
    content = store.save("main@1", one)
    again = store.load("main@1")
    assert again.config == CONFIG
    assert again.weights.keys() == one.weights.keys()
    assert all(np.array_equal(again.weights[name], array) for name, array in one.weights.items())
    assert content == files.digest((store.folder / "main@1" / "weights.safetensors").read_bytes())
    assert content == PlayerStore(store.folder.parent / "other", "tic_tac_toe").save("x", frozen()), (
        "content alone counts"
    )
    assert content != store.save("main@2", frozen(seed=2))


def test_damaged_weights_are_refused(store: PlayerStore) -> None:
    store.save("main@1", frozen())
    path = store.folder / "main@1" / "weights.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile, match=r"weights\.safetensors is damaged.*Restore it from a copy"):
            store.load("main@1")
    path.write_bytes(whole)
    assert store.load("main@1")
    path.unlink()
    with pytest.raises(DamagedFile, match=r"weights\.safetensors cannot be read: No such file"):
        store.load("main@1")


def test_a_missing_or_damaged_record_is_refused(store: PlayerStore) -> None:
    with pytest.raises(DamagedFile, match=r"player\.json cannot be read"):
        store.load("main@1")
    store.save("main@1", frozen())
    (store.folder / "main@1" / "player.json").write_text("{}")
    with pytest.raises(DamagedFile, match="is damaged"):
        store.load("main@1")


def put(store: PlayerStore, content: bytes) -> None:
    """Weights with a record that vouches for them."""
    folder = store.folder / "foreign"
    files.write(folder / "weights.safetensors", content)
    files.write(folder / "player.json", json.dumps({"content": files.digest(content)}).encode())


def test_foreign_weights_are_refused(store: PlayerStore, tmp_path: Path) -> None:
    PlayerStore(store.folder, "go").save("foreign", frozen())
    with pytest.raises(DamagedFile, match="plays 'go', but this run is about 'tic_tac_toe'"):
        store.load("foreign")
    about = {"schema": "1", "game": "tic_tac_toe", "agent": CONFIG.model_dump_json()}
    put(store, files.pack(frozen().weights, about | {"schema": "7"}))
    with pytest.raises(DamagedFile, match="has schema '7'; this version reads schema '1'"):
        store.load("foreign")
    put(store, files.pack(frozen().weights, about | {"agent": '{"kind": "oracle"}'}))
    with pytest.raises(DamagedFile, match="has an agent config that this version does not know"):
        store.load("foreign")
    put(store, files.pack(frozen().weights))
    with pytest.raises(DamagedFile, match="has schema None"):
        store.load("foreign")
    shutil.rmtree(store.folder / "foreign")


def test_a_pickle_among_the_players_is_refused_and_not_run(store: PlayerStore, tmp_path: Path) -> None:
    put(store, pickle.dumps(Bomb(tmp_path / "executed")))
    with pytest.raises(DamagedFile, match="not a weights file of this platform"):
        store.load("foreign")
    assert not (tmp_path / "executed").exists()
