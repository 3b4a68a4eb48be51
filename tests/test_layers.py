"""Imports only go down, frameworks stay in their modules, and the wheel ships exactly the four packages."""

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BELOW = {
    "games": set(),
    "agents": {"games"},
    "leagues": {"games"},
    "arena": {"games", "agents", "leagues"},
}
WEB = {f"arena/{name}.py" for name in ("web", *(f"web_{part}" for part in (
    "board", "charts", "league", "pages", "panels", "play", "replay", "tables", "theme",
)))}  # fmt: skip
OWNERS = {
    "pyspiel": {"games/openspiel.py"},
    "open_spiel": {"games/openspiel.py"},
    "pettingzoo": {"games/pettingzoo.py"},
    "gymnasium": {"games/gymnasium.py", "games/gymnasium_teams.py", "games/pettingzoo.py"},
    "wandb": {"arena/tracking.py"},
    "ray": {"arena/cluster.py"},
    "textual": {"arena/panels.py", "arena/screen.py", "arena/screen_replay.py"},
    "nicegui": WEB,
    "fastapi": {"arena/web.py"},
    "uvicorn": {"arena/web.py"},
    "chess": {"arena/export.py", "games/boards.py"},
    "numba": {"games/kernels.py"},
}


def modules() -> Iterator[Path]:
    for package in BELOW:
        yield from sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    above = imported(path) & set(BELOW) - BELOW[package] - {package}
    assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}, which is above it"


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_framework_has_one_owner(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    foreign = {framework for framework in imported(path) & set(OWNERS) if name not in OWNERS[framework]}
    assert not foreign, f"{name} imports {sorted(foreign)}"


def test_leagues_and_games_load_no_torch() -> None:
    code = "import sys, games, leagues, games.connect_four; assert not {'torch', 'numba', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_wheel_ships_exactly_four_packages(tmp_path: Path) -> None:
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)], check=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(BELOW)
