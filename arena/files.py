"""Files that are whole or absent, never half written, and arrays in them; nothing here is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.names import UserError

Arrays = dict[str, NDArray[Any]]


class DamagedFile(UserError):
    """A file is missing, cut short, changed or foreign. The message names it."""


def write(path: Path, content: bytes) -> None:
    """Write under another name, sync, rename: a crash or a full disk leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str] | None = None) -> bytes:
    """Named arrays, and a few words about them, as a safetensors file. The same arrays give the same bytes."""
    from safetensors.numpy import save

    # safetensors writes an array's memory as it lies, so a view must be made contiguous first; and it writes words in
    # an order that changes from call to call, so they go in as one.
    words = {"about": json.dumps(dict(about or {}), sort_keys=True)}
    return save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}, words)


def unpack(content: bytes, path: Path) -> tuple[Arrays, dict[str, str]]:
    """What `pack` was given. `path` is for the message: raises DamagedFile where this is no such file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        size = int.from_bytes(content[:8], "little")
        words = json.loads(content[8 : 8 + size]).get("__metadata__", {})
        about: dict[str, str] = json.loads(words.get("about", "{}"))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is not a weights file of this platform, or it was cut short: {error}") from None
    return arrays, about


def read(path: Path, sha256: str) -> bytes:
    """The content of `path`. Raises DamagedFile where it is not what it was when its digest was taken."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read: {error.strerror}.") from None
    if digest(content) != sha256:
        raise DamagedFile(
            f"{path} is damaged: its sha256 is {digest(content)[:12]}…, but {sha256[:12]}… was recorded. Restore it"
            " from a copy, or use another snapshot."
        )
    return content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises DamagedFile where it is missing or none."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise DamagedFile(f"{path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} should hold a JSON object.")
    return content
