from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from agents import inference
from agents.inference import BACKENDS, Evaluator, InferenceError, available, choose, resolve
from agents.inference_backends import bucket
from agents.networks import NetworkConfig, PolicyValueNet, to_arrays
from games import GameSpec
from games.names import UserError

ROWS = 150  # more than a conv network is given at once
BOARD = GameSpec("board", seats=2, actions=7, observation=(2, 6, 7), longest=42)
CARDS = GameSpec("cards", seats=3, actions=4, observation=(11,), longest=9)
NETWORKS = {
    "mlp": (BOARD, NetworkConfig(kind="mlp", width=32)),
    "conv": (BOARD, NetworkConfig(channels=16, blocks=2, width=32)),
    "cards": (CARDS, NetworkConfig(width=16, layers=3)),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_net(spec: GameSpec, config: NetworkConfig, normalise: bool = False) -> PolicyValueNet:
    """Its answers are about one in size, and it has seen observations around 200."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = PolicyValueNet(spec, config, normalise, values=spec.seats).eval()
        net.initialise()
        nn.init.orthogonal_(net.policy.weight)
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                nn.init.uniform_(parameter, -0.3, 0.3)
    if net.normalise is not None:
        net.normalise.learn(torch.from_numpy(observe(spec, 500, seed=9, far=True)))
    return net


def observe(spec: GameSpec, n: int, seed: int = 0, far: bool = False) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *spec.observation))
    return (200 + rng.random(spec.observation) * x if far else x).astype(np.float32)


def make(backend: str, network: str = "mlp", normalise: bool = False, cache: int = 0) -> Evaluator:
    if backend in BACKENDS:
        for package in BACKENDS[backend].packages:
            pytest.importorskip(package)
    spec, config = NETWORKS[network]
    weights = to_arrays(make_net(spec, config, normalise))
    return Evaluator(spec, config, weights, backend=backend, rows=ROWS, normalise=normalise, cache=cache)


# ---- backends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree_with_the_network(backend: str, network: str, normalise: bool) -> None:
    evaluator = make(backend, network, normalise)
    spec, config = NETWORKS[network]
    observation = observe(spec, ROWS, far=normalise)
    observation[0] += 1e4 * normalise  # beyond where normalisation clips
    with torch.inference_mode():
        logits, value = (x.numpy() for x in make_net(spec, config, normalise)(torch.from_numpy(observation)))
    assert logits.std() > 0.3
    tolerance = 1e-4 if BACKENDS[backend].exact else 0.02 * np.abs(logits).max()
    for n in (64, 1, ROWS, 7, 65, 1):
        got_logits, got_value = evaluator(observation[:n])
        assert got_logits.shape == (n, spec.actions)
        assert got_value.shape == (n, spec.seats)
        np.testing.assert_allclose(got_logits, logits[:n], rtol=0, atol=tolerance)
        np.testing.assert_allclose(got_value, value[:n], rtol=0, atol=tolerance)
    assert evaluator.asked == 64 + 1 + ROWS + 7 + 65 + 1
    assert evaluator.found == 0
    assert evaluator.seconds > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_rows_than_are_taken_at_once(backend: str) -> None:
    evaluator = make(backend, "cards")
    observation = observe(CARDS, 2500)
    logits, value = evaluator(observation)
    for rows in (slice(0, 100), slice(1000, 1100), slice(2400, 2500)):
        few_logits, few_value = evaluator(observation[rows])
        np.testing.assert_allclose(logits[rows], few_logits, atol=1e-5)
        np.testing.assert_allclose(value[rows], few_value, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cache", [0, 64])
def test_answers_are_the_callers_to_keep(backend: str, cache: int) -> None:
    evaluator = make(backend, cache=cache)
    first = evaluator(observe(BOARD, 5))
    kept = [answer.copy() for answer in first]
    for seed in range(1, 4):
        evaluator(observe(BOARD, 5, seed))
    for answer, copy in zip(first, kept, strict=True):
        assert answer.dtype == np.float32
        assert answer.flags.c_contiguous
        np.testing.assert_array_equal(answer, copy)
        answer += 1  # may be written to, and nobody minds
    np.testing.assert_allclose(evaluator(observe(BOARD, 5))[0], kept[0], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cache", [0, 64])
def test_no_rows(backend: str, cache: int) -> None:
    evaluator = make(backend, cache=cache)
    logits, value = evaluator(observe(BOARD, 0))
    assert (logits.shape, value.shape) == ((0, 7), (0, 2))
    assert logits.dtype == np.float32
    assert value.dtype == np.float32
    assert (evaluator.asked, evaluator.seconds) == (0, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cache", [0, 64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_array_will_do(backend: str, cache: int) -> None:
    evaluator = make(backend, cache=cache)
    observation = observe(BOARD, 12)
    expected = evaluator(observation)[0]
    observation.flags.writeable = False
    np.testing.assert_allclose(evaluator(observation)[0], expected, atol=1e-5)
    np.testing.assert_allclose(evaluator(observation.astype(np.float64))[0], expected, atol=1e-5)
    np.testing.assert_allclose(evaluator(observation[::2])[0], expected[::2], atol=1e-5)


def test_observations_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, \*\(2, 6, 7\)\) here, not \(5, 11\)"):
        make("torch")(observe(CARDS, 5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_another_network_are_refused(backend: str) -> None:
    for package in BACKENDS[backend].packages:
        pytest.importorskip(package)
    weights = to_arrays(make_net(*NETWORKS["conv"]))
    with pytest.raises(ValueError, match="another network"):
        Evaluator(BOARD, NetworkConfig(kind="mlp"), weights, backend=backend)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_layer_that_no_graph_knows_is_refused(backend: str) -> None:
    for package in BACKENDS[backend].packages:
        pytest.importorskip(package)
    net = make_net(*NETWORKS["mlp"])
    net.trunk.append(nn.Tanh())
    with pytest.raises(TypeError, match="Tanh"):
        BACKENDS[backend].make(net, BOARD.observation)


def test_buckets_are_few_and_waste_little() -> None:
    for rows in range(1, 2000):
        assert rows <= bucket(rows) <= rows * 9 / 8
        assert bucket(bucket(rows)) == bucket(rows)
    assert len({bucket(rows) for rows in range(1, 1025)}) == 16 + 8 * 6


def test_torchs_generator_stays_where_it_is() -> None:
    weights = to_arrays(make_net(*NETWORKS["mlp"]))
    before = torch.get_rng_state()
    Evaluator(*NETWORKS["mlp"], weights, backend="torch")
    assert torch.equal(torch.get_rng_state(), before)


# ---- which backend ---------------------------------------------------------------------------------------------------


def test_a_typo_is_told_the_nearest_name() -> None:
    weights = to_arrays(make_net(*NETWORKS["mlp"]))
    with pytest.raises(ValueError, match=r"no inference backend 'opnvino'\. Did you mean 'openvino'\?"):
        Evaluator(*NETWORKS["mlp"], weights, backend="opnvino")
    with pytest.raises(UserError, match=r"Did you mean 'auto'\?"):
        resolve("autoo", fallback=True)


@pytest.mark.parametrize(
    ("backend", "gone", "names", "way_out"),
    [
        ("openvino", "openvino", "the package openvino, which is", "uv pip install openvino`"),
        ("openvino_f32", "openvino", "the package openvino, which is", "uv pip install openvino`"),
        ("onnxruntime", "onnx", "the package onnx, which is", "uv pip install onnx`"),
        ("onnxruntime", "onnx onnxruntime", "packages onnx and onnxruntime, which are", "install onnx onnxruntime`"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, backend: str, gone: str, names: str, way_out: str
) -> None:
    for package in BACKENDS[backend].packages:
        pytest.importorskip(package)
    for package in gone.split():
        monkeypatch.setitem(sys.modules, package, None)
    weights = to_arrays(make_net(*NETWORKS["mlp"]))
    with pytest.raises(InferenceError) as caught:
        Evaluator(*NETWORKS["mlp"], weights, backend=backend)
    assert names in str(caught.value)
    assert way_out in str(caught.value)
    name, warning = resolve(backend, fallback=True)
    assert name == "torch"
    assert warning is not None
    assert names in warning
    assert "torch takes its place" in warning
    assert backend not in available()
    assert "torch" in available()


def test_what_is_there_is_not_replaced() -> None:
    for name in ("auto", *available()):
        assert resolve(name, fallback=True) == (name, None)


@pytest.mark.parametrize("fast", BACKENDS)
def test_choose_names_the_fastest_and_measures_once(monkeypatch: pytest.MonkeyPatch, fast: str) -> None:
    if fast not in available():
        pytest.skip(f"{fast} is not installed")
    timed = []

    def seconds(evaluator: Evaluator, observation: NDArray[np.float32], calls: int) -> float:
        assert observation.shape == (16, 2, 6, 7)
        timed.append(evaluator.backend)
        return 0.001 if evaluator.backend == fast else 0.002

    monkeypatch.setattr(inference, "_chosen", {})
    monkeypatch.setattr(inference, "_seconds", seconds)
    spec, config = NETWORKS["mlp"]
    assert choose(spec, config, 16) == fast
    assert set(timed) == set(available())
    before = len(timed)
    assert choose(spec, NetworkConfig(kind="mlp", width=32), 16) == fast
    assert len(timed) == before
    choose(spec, NetworkConfig(kind="mlp", width=16), 16)
    assert len(timed) > before


def test_auto_takes_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_chosen", {})
    evaluator = make("auto", "cards", normalise=True)
    assert evaluator.backend in available()
    assert evaluator.backend == choose(*NETWORKS["cards"], ROWS, True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(inference, "_chosen", {})
    assert make("auto", "cards").backend in ("torch", "torch_bf16")


# ---- the position cache ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [1, 7, 4096])
@pytest.mark.parametrize("backend", BACKENDS)
def test_answers_are_the_same_with_and_without_cache(backend: str, cache: int) -> None:
    """Also where a few entries are fought over, within one call and between calls."""
    plain, cached = make(backend, "cards"), make(backend, "cards", cache=cache)
    positions = observe(CARDS, 40)
    rng = np.random.default_rng(1)
    seen: set[int] = set()
    asked = new = 0
    for n in (1, 30, 8, 1, 40, 25, 2, 40, 0, 33):
        rows = rng.integers(0, 40, n)
        for got, expected in zip(cached(positions[rows]), plain(positions[rows]), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)  # torch rounds by the size of a batch
        asked, new = asked + n, new + len(set(rows) - seen)
        seen |= set(rows)
    assert cached.asked == asked
    if cache == 4096:
        assert cached.found == asked - new
    else:
        assert cached.found <= asked - new
    assert cached.found > 0


def test_the_newer_of_a_set_outlives_the_older() -> None:
    evaluator = make("torch", cache=1)  # one set of two
    a, b, c = observe(BOARD, 3)[:, None]
    found = []
    for position in (a, a, b, a, b, c, b, a, c, b):
        before = evaluator.found
        evaluator(position)
        found.append(evaluator.found > before)
    #                a      a     b      a     b     c      b     a      c     b
    assert found == [False, True, False, True, True, False, True, False, True, False]


def test_equal_rows_of_a_call_are_asked_once() -> None:
    evaluator = make("torch", cache=1024)
    positions = observe(BOARD, 3)
    logits, value = evaluator(positions[[0, 1, 0, 0, 2, 1]])
    assert evaluator.found == 3
    expected = make("torch")(positions)
    np.testing.assert_allclose(logits, expected[0][[0, 1, 0, 0, 2, 1]], atol=1e-6)
    np.testing.assert_allclose(value, expected[1][[0, 1, 0, 0, 2, 1]], atol=1e-6)


def test_a_failed_call_leaves_nothing_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = make("torch", cache=1024)
    positions = observe(BOARD, 6)
    expected = make("torch")(positions)
    evaluator(positions[:2])

    def broken(observation: NDArray[np.float32]) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "_forward", broken)
        with pytest.raises(MemoryError):
            evaluator(positions)
    np.testing.assert_allclose(evaluator(positions)[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(evaluator(positions)[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 8, 11, 16, 84])
def test_every_bit_of_an_observation_counts(k: int) -> None:
    """Rows that differ in one bit, and sparse boards as games have them, have different keys in whole and in part."""
    rng = np.random.default_rng(0)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    row = rng.integers(0, 2**32, k, np.uint32)
    flipped = np.tile(row, (32 * k, 1))
    flipped[np.arange(32 * k), np.repeat(np.arange(k), 32)] ^= np.tile(bits, k)
    boards = (rng.random((20_000, k)) < 0.3).astype(np.float32).view(np.uint32)
    for words in (np.vstack([row[None], flipped]), np.unique(boards, axis=0)):
        keys = np.zeros(len(words), np.uint64)
        inference._hash(words, keys)
        assert len(np.unique(keys)) == len(words)
        assert keys.all()
        # The low bits choose the set: as many are used as by so many balls thrown at random.
        sets = len(np.unique(keys & np.uint64(1023)))
        assert sets >= 0.9 * 1024 * (1 - (1 - 1 / 1024) ** len(words))
