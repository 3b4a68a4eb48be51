"""A network's answers to batches of observations: one evaluator, and behind it the backend measured to be fastest.

`auto` times the backends that are installed on this machine, for this network and batch size, and takes the fastest
(`choose`); which one that is can differ from one machine, or one day, to the next, and backends differ in their
rounding, so what must be repeated exactly names its backend. bfloat16 keeps 8 bits: logits and values that differ by
about 1% from float32's.

The position cache rests on this alone, that the network's answer is a function of the observation. It is a table of
two-way sets, keyed by a 64-bit hash of the observation's bytes which is compared in full, in which the newer of a set's
two entries outlives the older. Equal observations within one call are asked for once.
"""

from __future__ import annotations

import importlib
import math
import time

import numpy as np
import torch
from numpy.typing import NDArray

from agents.core import Weights
from agents.inference_backends import BACKENDS, Floats, on_device
from agents.networks import NetworkConfig, PolicyValueNet, load_arrays, to_arrays
from games import GameSpec
from games.kernels import kernel
from games.names import UserError, did_you_mean

__all__ = ["BACKENDS", "Evaluator", "InferenceError", "available", "choose", "resolve"]


class InferenceError(UserError, ValueError):
    """A backend that is not known, or not installed here."""


class Evaluator:
    """Runs one PolicyValueNet on batches of observations. For one thread at a time."""

    backend: str
    """The one in use, after `auto` was resolved."""
    seconds: float
    """Spent in the network so far, by the clock."""
    asked: int
    """Positions asked for so far."""
    found: int
    """Of these, the ones that the network was spared: in the cache, or the same as another in their batch."""
    batches: float
    """Forward passes so far; of one that others shared (`arena.serving`), our part."""

    def __init__(
        self,
        spec: GameSpec,
        network: NetworkConfig,
        weights: Weights,
        *,
        backend: str = "auto",
        rows: int = 256,
        normalise: bool = False,
        cache: int = 0,
        device: str = "cpu",
    ) -> None:
        """`weights` are `to_arrays` of a PolicyValueNet(spec, network, normalise, values=spec.seats).

        `rows` is how many observations a call mostly brings; `cache` is how many positions are kept, rounded up to a
        power of two of at least 2, or 0 for none. On a `device` other than the CPU, by torch's name for it, there are
        no backends to choose from: torch runs there, in bfloat16. Raises InferenceError, a ValueError, for a backend
        that is unknown or not installed, and ValueError for weights that do not fit.
        """
        net = _network(spec, network, normalise)
        load_arrays(net, weights)
        net.requires_grad_(False)
        name = resolve(backend)[0] if device == "cpu" else device
        self.backend = choose(spec, network, rows, normalise) if name == "auto" else name
        self.seconds, self.asked, self.found, self.batches = 0.0, 0, 0, 0.0
        self._shape, self._outputs = spec.observation, (spec.actions, spec.seats)
        self._norm: tuple[Floats, Floats] | None = None
        if net.normalise is not None:  # here for all backends, in float32: differences of large numbers need it
            scale = torch.rsqrt(net.normalise.variance + 1e-6)
            self._norm = net.normalise.mean.numpy().ravel(), scale.numpy().ravel()
            net.normalise = None
        if device == "cpu":
            self._forward = BACKENDS[self.backend].make(net, spec.observation)
        else:
            self._forward = on_device(net, spec.observation, torch.device(device))
        self._cache = _Cache(cache, self._outputs) if cache > 0 else None

    def __call__(self, observation: Floats) -> tuple[Floats, Floats]:
        """Observations [n, *O] float32 to logits [n, A] and values [n, P], float32; n may be any number, also 0.

        What is returned is the caller's to keep.
        """
        if observation.shape[1:] != self._shape:
            raise ValueError(f"Observations are (n, *{self._shape}) here, not {observation.shape}.")
        observation = np.ascontiguousarray(observation, np.float32)
        n = len(observation)
        self.asked += n
        if n == 0:
            actions, seats = self._outputs
            return np.zeros((0, actions), np.float32), np.zeros((0, seats), np.float32)
        if self._cache is None:
            return self._network(observation)
        return self._through_cache(self._cache, observation)

    def _network(self, observation: Floats) -> tuple[Floats, Floats]:
        began = time.perf_counter()
        if self._norm is not None:
            n, normal = len(observation), np.empty_like(observation)
            _normalise(observation.reshape(n, -1), *self._norm, normal.reshape(n, -1))
            observation = normal
        answer = self._forward(observation)
        self.seconds += time.perf_counter() - began
        self.batches += 1
        return answer

    def _through_cache(self, cache: _Cache, observation: Floats) -> tuple[Floats, Floats]:
        n, (actions, seats) = len(observation), self._outputs
        logits, value = np.empty((n, actions), np.float32), np.empty((n, seats), np.float32)
        rows = cache.look_up(observation, logits, value)
        self.found += n - len(rows)
        if not len(rows):
            return logits, value
        try:
            answer = self._network(observation if len(rows) == n else observation[rows])
        except BaseException:
            cache.clear()  # its newest keys have no answers
            raise
        cache.store(*answer, logits, value)
        return logits, value


def _network(spec: GameSpec, network: NetworkConfig, normalise: bool) -> PolicyValueNet:
    """A network of torch's own random weights, which are drawn here without moving torch's generator."""
    with torch.random.fork_rng(devices=[]):
        return PolicyValueNet(spec, network, normalise, values=spec.seats).eval()


@kernel
def _normalise(observation: Floats, mean: Floats, scale: Floats, out: Floats) -> None:
    """What `RunningNorm` does, on rows [n, prod(O)]. What is not a number stays so."""
    for row in range(len(observation)):
        for i in range(len(mean)):
            x = (observation[row, i] - mean[i]) * scale[i]
            out[row, i] = np.float32(10) if x > 10 else np.float32(-10) if x < -10 else x


# ---- which backend ---------------------------------------------------------------------------------------------------


def resolve(backend: str, *, fallback: bool = False) -> tuple[str, str | None]:
    """The backend to use here where `backend` (or `auto`) is asked for, and a warning where that is another one.

    With `fallback`, one that is not installed here is replaced by torch: a player plays on where it was not trained.
    Raises InferenceError for one that is not known, and without `fallback` for one that is not installed.
    """
    if backend == "auto":
        return backend, None
    if backend not in BACKENDS:
        raise InferenceError(f"There is no inference backend {backend!r}.{did_you_mean(backend, ['auto', *BACKENDS])}")
    missing = _missing(backend)
    if not missing:
        return backend, None
    one = len(missing) == 1
    lacks = f"The inference backend {backend!r} needs the package{'' if one else 's'} {' and '.join(missing)}, which"
    lacks += f" {'is' if one else 'are'} not installed here"
    way_out = f"`uv pip install {' '.join(missing)}`"
    if not fallback:
        raise InferenceError(f"{lacks}: {way_out}, or let `auto` choose another.")
    return "torch", f"{lacks}; torch takes its place. {way_out} may be faster."


def available() -> list[str]:
    """The backends that can be used here."""
    return [name for name in BACKENDS if not _missing(name)]


def _missing(backend: str) -> list[str]:
    """The packages of `backend` that cannot be imported here."""
    missing = []
    for package in BACKENDS[backend].packages:
        try:
            importlib.import_module(package)
        except ImportError:
            missing.append(package)
    return missing


_MOST_TIMED = 256  # rows: with more the order of the backends does not change, and slow networks would take seconds
_chosen: dict[tuple[object, ...], str] = {}


def choose(spec: GameSpec, network: NetworkConfig, rows: int, normalise: bool = False) -> str:
    """The fastest backend here for this network on batches of `rows`, as measured once in this process."""
    asked = (spec.observation, spec.actions, spec.seats, network, rows, normalise)
    if asked not in _chosen:
        _chosen[asked] = _fastest(spec, network, rows, normalise)
    return _chosen[asked]


def _fastest(spec: GameSpec, network: NetworkConfig, rows: int, normalise: bool) -> str:
    """Times all in turns, so that a slow moment of the machine falls on every one; the best of a few rounds counts."""
    weights = to_arrays(_network(spec, network, normalise))
    observation = np.random.default_rng(0).random((min(max(rows, 1), _MOST_TIMED), *spec.observation), np.float32)
    evaluators = {
        name: Evaluator(spec, network, weights, backend=name, rows=rows, normalise=normalise) for name in available()
    }
    best = {}
    for name, evaluator in evaluators.items():
        evaluator(observation)  # prepares
        best[name] = min(_seconds(evaluator, observation, 1) for _ in range(2))
    near = [name for name in best if best[name] < 2.5 * min(best.values())]
    calls = {name: math.ceil(0.004 / best[name]) for name in near}
    began = time.perf_counter()
    for _ in range(5):
        for name in near:
            best[name] = min(best[name], _seconds(evaluators[name], observation, calls[name]))
        if time.perf_counter() - began > 0.5:
            break
    return min(near, key=lambda name: best[name])


def _seconds(evaluator: Evaluator, observation: Floats, calls: int) -> float:
    """Of one call, in the mean of `calls`: processor time, which other programs on the machine disturb less."""
    began = time.process_time()
    for _ in range(calls):
        evaluator(observation)
    return max(time.process_time() - began, 1e-9) / calls


# ---- the position cache ----------------------------------------------------------------------------------------------

_NOTHING = np.uint64(0)  # the key of an empty entry


class _Cache:
    """`size` answers in sets of two. A look-up reserves entries for what it did not find; `store` must follow it."""

    def __init__(self, size: int, outputs: tuple[int, int]) -> None:
        size = max(2, 1 << (size - 1).bit_length())
        # Of an entry: its key, and its stamp, which look-up wrote it (high half) as which of its misses (low half).
        self._entries = np.zeros((size, 2), np.uint64)
        self._answers = np.empty((size, sum(outputs)), np.float32)  # logits, then values
        self._calls = 0
        self._reserved = self._source = np.zeros(0, np.int64)

    def look_up(self, observation: Floats, logits: Floats, value: Floats) -> NDArray[np.int64]:
        """Writes the answers that it has; returns the rows of `observation` that the network must be asked for."""
        n = len(observation)
        self._calls += 1
        rows, reserved, self._source = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
        keys = np.empty(n, np.uint64)
        _hash(observation.reshape(n, -1).view(np.uint32), keys)
        call = np.uint64(self._calls)
        misses = _look_up(keys, call, self._entries, self._answers, logits, value, rows, reserved, self._source)
        self._reserved = reserved[:misses]
        return rows[:misses]

    def store(self, fresh_logits: Floats, fresh_value: Floats, logits: Floats, value: Floats) -> None:
        """Keep the network's answers for the rows that `look_up` returned, and copy them to all rows they answer."""
        _store(self._reserved, fresh_logits, fresh_value, self._answers)
        _copy(self._source, fresh_logits, fresh_value, logits, value)

    def clear(self) -> None:
        self._entries.fill(_NOTHING)


@kernel
def _hash(words: NDArray[np.uint32], keys: NDArray[np.uint64]) -> None:
    """64 bits, never `_NOTHING`, of each row of words [n, k]. Four lanes: in one, each step would wait for the last.

    A lane is folded before it is multiplied: else a change of sign would do the same to the key in whichever lane.
    """
    half = np.uint64(32)
    by_a, by_b = np.uint64(0x9FB21C651E98DF25), np.uint64(0xD6E8FEB86659FD93)
    by_c, by_d = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)
    k = words.shape[1]
    whole = k - k % 8
    for row in range(len(words)):
        a, b = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
        c, d = np.uint64(0x8CB92BA72F3D8DD7), np.uint64(0xAEF17502108EF2D9)
        for i in range(0, whole, 8):
            a ^= np.uint64(words[row, i]) | np.uint64(words[row, i + 1]) << half
            b ^= np.uint64(words[row, i + 2]) | np.uint64(words[row, i + 3]) << half
            c ^= np.uint64(words[row, i + 4]) | np.uint64(words[row, i + 5]) << half
            d ^= np.uint64(words[row, i + 6]) | np.uint64(words[row, i + 7]) << half
            a, b, c, d = (a ^ a >> half) * by_a, (b ^ b >> half) * by_b, (c ^ c >> half) * by_c, (d ^ d >> half) * by_d
        for i in range(whole, k):
            a ^= np.uint64(words[row, i])
            a = (a ^ a >> half) * by_a
        for lane in (b, c, d):
            a ^= lane
            a = (a ^ a >> half) * by_a
        a ^= a >> half
        keys[row] = a if a != _NOTHING else np.uint64(1)


@kernel
def _look_up(
    keys: NDArray[np.uint64],  # [n]
    call: np.uint64,
    entries: NDArray[np.uint64],
    answers: Floats,
    logits: Floats,  # [n, A] out: of the rows that were found
    value: Floats,  # [n, P] out
    rows: NDArray[np.int64],  # [n] out: the rows that were not found, in order
    reserved: NDArray[np.int64],  # [n] out: the entry reserved for each of them
    source: NDArray[np.int64],  # [n] out: which of them answers a row; -1 where it was found
) -> int:
    half, actions = np.uint64(32), logits.shape[1]
    mask = np.uint64(len(entries) // 2 - 1)
    misses = 0
    for row in range(len(keys)):
        key = keys[row]
        at = 2 * np.int64(key & mask)
        if entries[at, 0] != key and (entries[at + 1, 0] == key or entries[at + 1, 1] < entries[at, 1]):
            at += 1  # where it is, or else the older one
        if entries[at, 0] != key:
            entries[at, 0], entries[at, 1] = key, call << half | np.uint64(misses)
            rows[misses], reserved[misses], source[row] = row, at, misses
            misses += 1
        elif entries[at, 1] >> half == call:  # the same as an earlier row of this batch
            source[row] = np.int64(entries[at, 1] & np.uint64(0xFFFFFFFF))
        else:
            source[row] = -1
            for i in range(actions):
                logits[row, i] = answers[at, i]
            for i in range(value.shape[1]):
                value[row, i] = answers[at, actions + i]
    return misses


@kernel
def _store(reserved: NDArray[np.int64], logits: Floats, value: Floats, answers: Floats) -> None:
    """In order: where one entry was reserved twice in a batch, the key in it is the later one's."""
    actions = logits.shape[1]
    for miss in range(len(reserved)):
        at = reserved[miss]
        for i in range(actions):
            answers[at, i] = logits[miss, i]
        for i in range(value.shape[1]):
            answers[at, actions + i] = value[miss, i]


@kernel
def _copy(source: NDArray[np.int64], fresh_logits: Floats, fresh_value: Floats, logits: Floats, value: Floats) -> None:
    for row in range(len(source)):
        miss = source[row]
        if miss >= 0:
            for i in range(logits.shape[1]):
                logits[row, i] = fresh_logits[miss, i]
            for i in range(value.shape[1]):
                value[row, i] = fresh_value[miss, i]
