"""Randomness as an argument: 64-bit keys, hashed instead of drawn from a stream.

A key names a random value. `mix(key, number)` makes a new, independent key, so any game, step or seat has randomness of
its own without a generator being passed around, and nothing depends on the order in which things happen.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2714064.2660195).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)

# What a key is for. Mixed in first, so that an agent's choices and nature's cards never share a value.
NATURE, CHOICE, OPENING, MATCH, SEARCH, LEARN = range(1, 7)


def as_keys(values: ArrayLike) -> NDArray[np.uint64]:
    """Whole numbers (any sign) as keys, shape kept."""
    return np.asarray(values).astype(np.uint64, casting="unsafe")


def mix(key: ArrayLike, *numbers: ArrayLike) -> NDArray[np.uint64]:
    """New keys from `key` and whole `numbers`, elementwise (shapes broadcast)."""
    mixed = as_keys(key)
    with np.errstate(over="ignore"):
        for number in numbers:
            mixed = mixed * _M2 + (as_keys(number) + np.uint64(1)) * _GOLDEN
            mixed = (mixed ^ (mixed >> _S30)) * _M1
            mixed = (mixed ^ (mixed >> _S27)) * _M2
            mixed = mixed ^ (mixed >> _S31)
    return mixed


def uniform(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One number in [0, 1) for each key: its top 53 bits."""
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53


def generator(key: int | np.uint64 | NDArray[np.uint64]) -> np.random.Generator:
    """A NumPy generator that belongs to one `key`, for code that draws more than one value."""
    return np.random.Generator(np.random.Philox(key=int(key)))
