"""How a process of ours uses the machine: said once, where it begins."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def settle() -> None:
    """One torch thread, and memory that stays ours.

    More threads are slower: networks are small, and the cores belong to the actors. And a learner's arrays, made anew
    in each gradient step, are just large enough for glibc to hand them back to the system each time: the pages that
    come anew take longer than the arithmetic (a fifth of QMIX's update).
    """
    import torch

    torch.set_num_threads(1)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, 2**28)
            mallopt(_TRIM_THRESHOLD, 2**29)
