"""How numba kernels are compiled and cached here, and the keys' hash inside them.

Import this before numba: it decides where compiled code is kept. That is beside the source, else in the user's cache
folder, else under the temporary directory; there in a folder of its own for each version of our sources.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def cache_folder(beside: Path, home: Path, temporary: Path) -> Path:
    """Where compiled code is kept: the first of these that can be written."""
    for folder in (beside, home):
        if _can_write(folder):
            return folder
    return temporary / f"arena-numba-{getpass.getuser()}"


def stamp(sources: Path) -> str:
    """A name for all that kernels are compiled from, in the folder of our packages.

    Numba knows a kernel is stale when its own file has changed, but not when another has whose kernels it calls.
    """
    digest = hashlib.sha256()
    for path in sorted([*sources.glob("games/*.py"), *sources.glob("agents/*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def forget_old(folder: Path, keep: str, seconds: float) -> None:
    """Remove what versions other than `keep` compiled, if that is so long ago."""
    for old in folder.glob("kernels-*"):
        if old.name != keep and time.time() - old.stat().st_mtime > seconds:
            shutil.rmtree(old, ignore_errors=True)


if "NUMBA_CACHE_DIR" not in os.environ:
    _base = cache_folder(
        Path(__file__).parent / "__pycache__",
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arena",
        Path(tempfile.gettempdir()),
    )
    _own = f"kernels-{stamp(Path(__file__).parents[1])}"
    forget_old(_base, _own, seconds=7 * 24 * 3600)
    os.environ["NUMBA_CACHE_DIR"] = str(_base / _own)

import numba  # noqa: E402  (after the cache folder is chosen)


def kernel(function: _Function) -> _Function:
    """`numba.njit`, cached on disk, releasing the GIL."""
    compiled: _Function = numba.njit(cache=True, nogil=True)(function)
    return compiled


def walker(function: _Function) -> _Function:
    """A `kernel` that does not count references: for those that are given tuples of arrays, and allocate nothing.

    Numba counts every use of an array of a tuple as a new reference, atomically, which costs more than the work itself.
    Calls from one to another are inlined for the same reason.
    """
    compiled: _Function = numba.njit(cache=True, nogil=True, forceinline=True, _nrt=False)(function)
    return compiled


def lanes(function: _Function) -> _Function:
    """A `kernel` of float32 arithmetic that may be done for many numbers at once: division by zero raises nothing, and
    sums may be taken in another order."""
    compiled: _Function = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)(function)
    return compiled


@kernel
def mix_one(key: np.uint64, number: np.uint64) -> np.uint64:
    """`games.keys.mix(key, number)` for one key inside a kernel."""
    mixed = key * np.uint64(0x94D049BB133111EB) + (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@kernel
def below(key: np.uint64, bound: int) -> int:
    """A whole number in [0, bound) that belongs to `key`. Its bias, bound / 2**32, is far below what games can show."""
    return int(((key >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))
