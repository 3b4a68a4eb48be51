"""Checkpoints: the newest whole one is found whatever happened to the others, or while one was written."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_arena_files import Bomb

from arena import checkpoints
from arena.files import DamagedFile


def save(folder: Path, number: int) -> Path:
    """A checkpoint that says `number` in every part."""
    arrays = {"learner.main": {"w": np.full(50, number, np.float32)}, "rollout": {"steps": np.array([number])}}
    return checkpoints.save(folder, {"number": number, "elapsed": number / 3, "nested": {"a": [None, True]}}, arrays)


def number_of(folder: Path) -> int:
    """What the newest whole checkpoint says, in all its parts."""
    record, arrays, _ = checkpoints.load(folder)
    number = int(record["number"])
    assert record == {"number": number, "elapsed": number / 3, "nested": {"a": [None, True]}}
    assert arrays.keys() == {"learner.main", "rollout"}
    assert (arrays["learner.main"]["w"] == number).all()
    assert arrays["rollout"]["steps"].tolist() == [number]
    return number


def test_the_newest_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    for number in range(1, 13):
        final = save(tmp_path, number)
        assert number_of(tmp_path) == number
        assert checkpoints.load(tmp_path)[2] == []
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            f"{kept:08d}" for kept in (number - 1, number) if kept
        ]
        assert final.name == f"{number:08d}"


def test_nothing_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(
        DamagedFile, match=r"There is no checkpoint in .*Nothing was saved yet: delete .* launch it anew"
    ):
        checkpoints.load(tmp_path / "resume")


@pytest.mark.parametrize("name", ["manifest.json", "learner.main.safetensors", "rollout.safetensors"])
def test_every_flipped_bit_is_seen(tmp_path: Path, name: str) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        assert number_of(tmp_path) == 1, f"byte {at}"
    path.write_bytes(whole)
    assert number_of(tmp_path) == 2


@pytest.mark.parametrize("name", ["manifest.json", "learner.main.safetensors", "rollout.safetensors"])
@pytest.mark.parametrize("harm", ["missing", "empty", "truncated", "foreign", "pickle"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, name: str, harm: str) -> None:
    folder = tmp_path / "resume"
    save(folder, 1)
    path = save(folder, 2) / name
    whole = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "foreign":
        shutil.copy(save(tmp_path / "other", 3) / name, path)
    else:
        contents = {"empty": b"", "truncated": whole[:-9], "pickle": pickle.dumps(Bomb(tmp_path / "executed"))}
        path.write_bytes(contents[harm])
    assert number_of(folder) == 1
    (wrong,) = checkpoints.load(folder)[2]
    assert "00000002" in wrong
    assert not (tmp_path / "executed").exists()
    save(folder, 4)
    assert number_of(folder) == 4
    shutil.rmtree(folder / "00000003")
    shutil.rmtree(folder / "00000001", ignore_errors=True)
    with pytest.raises(DamagedFile, match=r"no checkpoint in .*00000002"):
        checkpoints.load(folder)


def test_a_manifest_of_another_schema_or_kind_is_refused(tmp_path: Path) -> None:
    manifest = save(tmp_path, 1) / "manifest.json"
    for text, said in (('{"schema": 9}', "has schema 9; this version reads schema 1"), ('{"schema": 1}', "is damaged")):
        manifest.write_text(text)
        with pytest.raises(DamagedFile, match=said):
            checkpoints.load(tmp_path)


@pytest.mark.parametrize("after", range(9))
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    save(tmp_path, 1)
    fsync, calls = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(calls) == after:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        failed = False
        try:
            save(tmp_path, 2)
        except OSError as error:
            failed = "No space left" in str(error)
    assert failed == (after < 7), "three files, their folder after each, and the folder of checkpoints"
    assert number_of(tmp_path) == (1 if after < 6 else 2)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    save(tmp_path, 3)
    assert number_of(tmp_path) == 3


DIES = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_arena_checkpoints import save
calls = iter(range(1000))
def counted(call):
    def wrapper(*arguments, **named):
        if next(calls) == {after}:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return wrapper
os.fsync, Path.replace, Path.rename = map(counted, (os.fsync, Path.replace, Path.rename))
save(Path({folder!r}), 2)
"""


@pytest.mark.parametrize("after", [0, 1, 4, 9, 10, 11])
def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path: Path, after: int) -> None:
    save(tmp_path, 1)
    script = DIES.format(tests=str(Path(__file__).parent), after=after, folder=str(tmp_path))
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, cwd=Path.cwd())
    assert died.returncode in (-9, 0), died.stderr.decode()
    assert (died.returncode == 0) == (after == 11)
    assert number_of(tmp_path) == (1 if after < 10 else 2)
    save(tmp_path, 3)
    assert number_of(tmp_path) == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
