"""Where PettingZoo's environments live, and what their names are: finding one, or saying what to do."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from games.core import GameError
from games.names import did_you_mean

FAMILIES = ("atari", "butterfly", "classic", "sisl")  # of PettingZoo itself
KNOWN = (*FAMILIES, "magent2", "mpe2")
"""Families that something is known of here."""

_PACKAGES = {"magent2": "magent2.environments", **{family: f"pettingzoo.{family}" for family in FAMILIES}}


def find(name: str) -> ModuleType:
    """The module of an environment, `family.module`, or a GameError that says what to do."""
    family, _, member = name.rpartition(".")
    package = _PACKAGES.get(family, family)
    if not _installed(package):
        if family in _PACKAGES or family == "mpe2":
            raise GameError(f"pettingzoo/{name} lives in {package}, which is not installed. {install(name)}")
        known = [each for family in (*_PACKAGES, "mpe2") for each in environments(family)]
        reads = "names read family.module or package.module"
        raise GameError(f"There is no PettingZoo environment {name!r}: {reads}.{did_you_mean(name, known)}")
    path = f"{package}.{member}"
    try:
        module = import_module(path)
    except ImportError as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == path):
            raise GameError(f"pettingzoo/{name} lacks a package: {error}. {install(name)}") from error
        module = None
    if module is None or not any(hasattr(module, api) for api in ("env", "raw_env", "parallel_env")):
        known = environments(family)
        moved = [each for each in known if unversioned(each) == unversioned(name)]
        hint = f" The version installed is {moved[-1]!r}." if moved else did_you_mean(name, known)
        raise GameError(f"There is no PettingZoo environment {name!r}.{hint}")
    return module


def environments(family: str) -> list[str]:
    """The names of a family's environments, `family.module`, without importing them."""
    package = _PACKAGES.get(family, family)
    if not _installed(package):
        return []
    modules = pkgutil.iter_modules(import_module(package).__path__)
    return [f"{family}.{module.name}" for module in modules if re.search(r"_v\d+$", module.name)]


def unversioned(name: str) -> str:
    return re.sub(r"_v\d+$", "", name)


def install(name: str) -> str:
    """How to get what the environment `name` lacks, a sentence."""
    family = name.partition(".")[0]
    wanted = f"pettingzoo[{family}]" if family in FAMILIES else family
    return f"Install it with: pip install '{wanted}'"


def _installed(package: str) -> bool:
    try:
        return bool(package) and find_spec(package) is not None
    except (ImportError, ValueError):  # a parent is missing, or no name for a package
        return False
