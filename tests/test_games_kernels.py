from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from games.kernels import below, cache_folder, forget_old, kernel, mix_one, stamp
from games.keys import mix

EXTREMES = np.array([0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)


def test_the_hash_inside_kernels_is_that_outside() -> None:
    keys = np.concatenate([EXTREMES, mix(1, np.arange(300))])
    numbers = np.concatenate([EXTREMES[::-1], mix(2, np.arange(300))])
    for key, number in zip(keys, numbers, strict=True):
        assert int(mix_one(key, number)) == int(mix(key, number))


def test_numbers_below_a_bound_are_in_range_and_even() -> None:
    keys = mix(3, np.arange(30_000))
    for bound in (1, 2, 3, 7, 1000):
        drawn = np.array([below(key, bound) for key in keys])
        assert (drawn.min(), drawn.max()) == (0, bound - 1)
        if bound <= 7:
            standard_error = np.sqrt(30_000 * (1 / bound) * (1 - 1 / bound))
            assert np.abs(np.bincount(drawn) - 30_000 / bound).max() <= 5 * standard_error


def test_numbers_below_a_bound_at_the_ends() -> None:
    for bound in (1, 2, 5, 2**31):
        assert [below(EXTREMES[0], bound), below(EXTREMES[-1], bound)] == [0, bound - 1]


def test_a_compiled_function_is_the_function() -> None:
    def triangle(n: int) -> int:
        total = 0
        for i in range(n + 1):
            total += i
        return total

    assert kernel(triangle)(10) == triangle(10) == 55


def test_the_cache_goes_to_the_first_folder_that_can_be_written(tmp_path: Path) -> None:
    """A file where a folder would have to be refuses everybody, also a superuser."""
    (tmp_path / "file").write_text("")
    blocked, free, temporary = tmp_path / "file" / "__pycache__", tmp_path / "free", tmp_path / "temporary"
    assert cache_folder(free, blocked, temporary) == free
    assert not list(free.iterdir())  # nothing is left of the trial
    assert cache_folder(blocked, free, temporary) == free
    chosen = cache_folder(blocked, blocked, temporary)
    assert chosen.parent == temporary
    assert chosen.name.startswith("arena-numba-")


def test_any_change_of_a_source_makes_another_cache(tmp_path: Path) -> None:
    """Kernels of one file call those of others, which numba's own cache does not look at."""
    for name, text in (("games/a.py", "one"), ("agents/b.py", "two"), ("arena/c.py", "three")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    before = stamp(tmp_path)
    assert stamp(tmp_path) == before
    (tmp_path / "arena" / "c.py").write_text("no kernels there")
    assert stamp(tmp_path) == before
    (tmp_path / "agents" / "b.py").write_text("2")
    assert stamp(tmp_path) != before


def test_only_old_caches_of_other_versions_are_removed(tmp_path: Path) -> None:
    for name in ("kernels-own", "kernels-old", "kernels-new", "other-old"):
        (tmp_path / name).mkdir()
    for name in ("kernels-own", "kernels-old", "other-old"):
        os.utime(tmp_path / name, (0, 0))
    forget_old(tmp_path, "kernels-own", seconds=3600)
    assert {folder.name for folder in tmp_path.iterdir()} == {"kernels-own", "kernels-new", "other-old"}


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_code_lands_in_the_chosen_folder(tmp_path: Path, writable: bool) -> None:
    """With the sources and the user's caches out of reach, kernels still compile, and are found again."""
    package = tmp_path / "library" / "games"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "kernels.py").write_text((Path(__file__).parent.parent / "games" / "kernels.py").read_text())
    (tmp_path / "blocked").write_text("")
    if not writable:
        (package / "__pycache__").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {
        "PYTHONPATH": str(package.parent),
        "XDG_CACHE_HOME": str(tmp_path / "blocked"),
        "HOME": str(tmp_path / "blocked"),
        "TMPDIR": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    code = "from games.kernels import below; import numpy as np; print(below(np.uint64(2**63), 10))"
    ran = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.strip() == "5", ran.stderr
    cached = sorted(path.parent for path in tmp_path.rglob("*.nbi"))
    assert cached
    for folder in cached:
        assert (package in folder.parents) == writable
        assert any(part.name.startswith("arena-numba-") for part in folder.parents) != writable
