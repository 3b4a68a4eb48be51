"""How a process is settled."""

from __future__ import annotations

import ctypes
import sys
from types import SimpleNamespace

import pytest
import torch

from arena import process


def test_one_torch_thread_and_freed_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda what, value: told.append((what, value)) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        process.settle()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert told == [(-3, 2**28), (-1, 2**29)]  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h


@pytest.mark.parametrize(("platform", "library"), [("linux", SimpleNamespace()), ("darwin", None)])
def test_a_system_without_mallopt_is_left_alone(
    platform: str, library: SimpleNamespace | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    before = torch.get_num_threads()
    try:
        process.settle()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
