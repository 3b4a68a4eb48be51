"""Files that are whole or absent, and arrays that come back as they went, or not at all."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena import files
from arena.files import DamagedFile

ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.int64).reshape(2, 3).T,
    "flags": np.array([True, False]),
    "bytes": np.frombuffer(b"\x00\xff", np.uint8),
    "keys": np.array([2**64 - 1], np.uint64),
    "scalar": np.float64(0.1),
    "none": np.zeros((0, 4), np.int16),
}


class Bomb:
    """Executed by whoever unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.marker),))


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    words = {"game": "go", "é": "ü"} | {str(number): "word" for number in range(9)}
    packed = files.pack(ARRAYS, words)
    arrays, about = files.unpack(packed, tmp_path / "a")
    assert about == words
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        assert np.array_equal(array, ARRAYS[name])
    assert files.pack(dict(reversed(ARRAYS.items())), dict(reversed(words.items()))) == packed


@pytest.mark.parametrize("length", [0, 4, 8, 60, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(DamagedFile, match=r"w\.safetensors is not a weights file .* cut short"):
        files.unpack(files.pack(ARRAYS)[:length], tmp_path / "w.safetensors")


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    hostile = pickle.dumps(Bomb(marker))
    archive = io.BytesIO()
    np.savez(archive, bomb=np.array([Bomb(marker)], dtype=object))
    for content in (hostile, archive.getvalue(), len(hostile).to_bytes(8, "little") + hostile):
        with pytest.raises(DamagedFile, match="not a weights file"):
            files.unpack(content, tmp_path / "weights.safetensors")
    assert not marker.exists()
    pickle.loads(hostile)
    assert marker.exists(), "the bomb was live"


def test_a_read_file_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    files.write(path, b"content")
    assert files.read(path, files.digest(b"content")) == b"content"
    path.write_bytes(b"Content")
    with pytest.raises(
        DamagedFile, match=r"file is damaged: its sha256 is [0-9a-f]{12}…, but ed7002b439e9… was recorded"
    ):
        files.read(path, files.digest(b"content"))
    with pytest.raises(DamagedFile, match="nowhere cannot be read: No such file"):
        files.read(tmp_path / "nowhere", "")


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "file"
    files.write(path, b"old")

    def full(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    owner = {"fsync": os, "replace": Path, "write": Path}[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, {"write": "open"}.get(step, step), full)
        with pytest.raises(OSError, match="No space left"):
            files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"], "no temporary file stays behind"
    files.write(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[1]", "should hold a JSON object"),
        (b"", "JSON"),
    ],
)
def test_broken_json_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(DamagedFile, match="cannot be read"):
        files.read_json(path)
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=message):
        files.read_json(path)
    path.write_text(json.dumps({"a": 1}))
    assert files.read_json(path) == {"a": 1}
