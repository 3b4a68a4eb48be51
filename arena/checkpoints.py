"""Checkpoints: `resume/<number>/` with arrays, and a manifest, written last, with the sha256 of every file and itself.

The folder appears under its name only when complete, so the newest one is whole, or damaged later; then the one before
it serves.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arena import files
from arena.files import Arrays, DamagedFile

SCHEMA = 1
KEEP = 2


def save(folder: Path, record: Mapping[str, Any], arrays: Mapping[str, Mapping[str, Any]]) -> Path:
    """A checkpoint of `record` (JSON) and named groups of arrays; older ones than the last two go."""
    number = max(_numbers(folder), default=0) + 1
    temporary = folder / f".{number:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    digests = {}
    try:
        for name, group in arrays.items():
            packed = files.pack(group)
            digests[name] = files.digest(packed)
            files.write(temporary / f"{name}.safetensors", packed)
        manifest = {"schema": SCHEMA, "record": record, "files": digests}
        manifest["sha256"] = _digest(manifest)
        files.write(temporary / "manifest.json", json.dumps(manifest).encode())
        final = folder / f"{number:08d}"
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    files.sync_folder(folder)
    for old in sorted(_numbers(folder))[:-KEEP]:
        shutil.rmtree(folder / f"{old:08d}")
    return final


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Arrays], list[str]]:
    """The newest whole checkpoint: its record, its arrays, and what was wrong with newer ones.

    Raises DamagedFile where there is none.
    """
    wrong: list[str] = []
    for number in sorted(_numbers(folder), reverse=True):
        try:
            record, arrays = _load(folder / f"{number:08d}")
        except DamagedFile as error:
            wrong.append(str(error))
            continue
        return record, arrays, wrong
    reason = " ".join(wrong) or f"Nothing was saved yet: delete {folder.parent} and launch it anew."
    raise DamagedFile(f"There is no checkpoint in {folder} to go on from. {reason}")


def _load(folder: Path) -> tuple[dict[str, Any], dict[str, Arrays]]:
    manifest = files.read_json(folder / "manifest.json")
    if manifest.get("schema") != SCHEMA:
        raise DamagedFile(f"{folder} has schema {manifest.get('schema')!r}; this version reads schema {SCHEMA}.")
    if manifest.pop("sha256", None) != _digest(manifest):
        raise DamagedFile(f"{folder / 'manifest.json'} is damaged: it is not what was written.")
    arrays = {}
    for name, sha256 in manifest["files"].items():
        path = folder / f"{name}.safetensors"
        arrays[name], _ = files.unpack(files.read(path, sha256), path)
    return manifest["record"], arrays


def _digest(manifest: Mapping[str, Any]) -> str:
    """Of a manifest's content, whether it is about to be written or was read."""
    return files.digest(json.dumps(manifest).encode())


def _numbers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()]
