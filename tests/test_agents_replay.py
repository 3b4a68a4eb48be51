"""The replay's window, its limit of uses, what it draws how often, and that it gives back what was put in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

import games
from agents.alphazero_config import ReplayConfig
from agents.replay import Replay, window
from games import GameSpec

SPEC = GameSpec("cards", 3, 4, (5,), longest=10)
FOUR = games.make("connect_four").spec


def decisions(n: int, first: int = 0, spec: GameSpec = SPEC, seed: int = 0, **given: Any) -> dict[str, NDArray[Any]]:
    """Random decisions, numbered from `first` on in place 0 of their values."""
    rng = np.random.default_rng([seed, first])
    legal = rng.random((n, spec.actions)) < 0.7
    legal[:, 0] = True
    target = rng.random(legal.shape) * legal
    value = rng.normal(size=(n, spec.seats))
    value[:, 0] = first + np.arange(n)
    return {
        "observation": rng.integers(2, size=(n, *spec.observation)).astype(np.float32),
        "legal": legal,
        "target": (target / target.sum(1, keepdims=True)).astype(np.float32),
        "value": value.astype(np.float32),
        "full": rng.random(n) < 0.8,
        "surprise": rng.exponential(size=n).astype(np.float32),
    } | given


def replay(spec: GameSpec = SPEC, symmetry: bool = False, **settings: Any) -> Replay:
    return Replay(spec, ReplayConfig(**settings), symmetry=symmetry)


def numbers(r: Replay, rows: NDArray[np.int64]) -> list[int]:
    """Which decisions `rows` are."""
    return [int(value) for value in r.batch(np.random.default_rng(0), rows).value[:, 0]]


def kept(r: Replay) -> list[int]:
    return numbers(r, np.arange(len(r)))


def times(r: Replay, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each kept decision is among `rows` [len(r)]."""
    return np.bincount(rows, minlength=len(r))


# ---- the window ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (0, 1000),
        (1000, 1000),
        (16_000, 1000 * (1 + 0.4 * (8 - 1) / 0.75)),  # 16 ** 0.75 = 8
        (81_000, 1000 * (1 + 0.4 * (27 - 1) / 0.75)),
        (256_000, 20_000),  # 34,600 by the formula, but `most` comes first
    ],
)
def test_the_window_is_that_of_the_formula(added: int, expected: float) -> None:
    assert window(ReplayConfig(least=1000, exponent=0.75, growth=0.4, most=20_000), added) == int(expected)


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_the_newest_are_kept_in_order(size: int) -> None:
    r = replay(least=100, most=300)
    for first in range(0, 1000, size):
        r.add(**decisions(size, first))
        added = first + size
        assert r.added == added
        assert len(r) == min(added, window(r.config, added))
        assert kept(r) == list(range(added - len(r), added))
    assert len(r) == 300


def test_what_goes_in_comes_out() -> None:
    r, parts = replay(least=50), [decisions(30, first) for first in range(0, 600, 30)]
    for part in parts:
        r.add(**part)
    rows = np.random.default_rng(1).permutation(len(r))
    batch = r.batch(np.random.default_rng(2), rows)
    for name in ("observation", "legal", "target", "value", "full"):
        expected = np.concatenate([part[name] for part in parts])[-len(r) :][rows]
        assert np.array_equal(getattr(batch, name), expected), name
        assert getattr(batch, name).dtype == expected.dtype


# ---- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surprise", [0.0, 0.5, 1.0])
def test_no_decision_is_used_more_often_than_allowed(surprise: float) -> None:
    r, rng = replay(least=300, uses=2.5, most_uses=3, surprise=surprise), np.random.default_rng(5)
    used = np.zeros(3000, np.int64)
    for first in range(0, 3000, 100):
        r.add(**decisions(100, first))
        np.add.at(used, numbers(r, r.draw(rng, 250)), 1)
    assert used.max() == 3
    assert used[:-300].min() < 3  # or nothing was put to the test


def test_all_uses_and_no_more_are_given_where_more_is_wanted() -> None:
    r, rng = replay(uses=1, most_uses=2), np.random.default_rng(0)
    r.add(**decisions(40))
    assert times(r, r.draw(rng, 1000)).tolist() == [2] * 40
    assert len(r.draw(rng, 10)) == 0
    r.add(**decisions(5, 40))
    assert sorted(numbers(r, r.draw(rng, 1000))) == sorted(2 * list(range(40, 45)))


def test_uniform_draws_differ_by_one_at_most_and_are_in_random_order() -> None:
    r, rng = replay(), np.random.default_rng(3)
    r.add(**decisions(400))
    total = np.zeros(400)
    for _ in range(4):
        rows = r.draw(rng, 500)
        assert len(rows) == 500
        assert set(times(r, rows)) <= {0, 1, 2}
        assert (np.diff(rows) < 0).any()
        total += times(r, rows)
    assert total.max() <= 8
    assert abs(np.corrcoef(total, np.arange(400))[0, 1]) < 0.15


def test_decisions_are_drawn_by_surprise_as_the_formula_says() -> None:
    n, rng = 200, np.random.default_rng(7)
    part = decisions(n)
    part["surprise"][[3, 4]] = np.nan, -1e-7  # what rounding can leave counts as no surprise
    part["full"][[3, 4]] = True
    counted = np.where(part["full"], np.nan_to_num(np.maximum(part["surprise"], 0)), 0)
    weight = 0.4 + 0.6 * counted / counted.mean()
    total = np.zeros(n)
    for _ in range(300):
        r = replay(surprise=0.6, most_uses=255)
        r.add(**part)
        total += times(r, r.draw(rng, 2 * n))
    expected = 300 * 2 * n * weight / weight.sum()
    # The surplus that is trimmed adds some spread to that of rounding.
    assert np.abs(total - expected).max() < 5 * np.sqrt(expected.max() * 0.2 + 300 * 0.25)
    assert total[~part["full"]].mean() == pytest.approx(300 * 2 * 0.4, rel=0.02)


def test_what_the_limit_takes_from_some_goes_to_the_others_in_proportion() -> None:
    surprise = np.repeat(np.array([1000, 1, 2], np.float32), (1000, 4500, 4500))
    total = np.zeros(10_000)
    for seed in range(5):
        r = replay(surprise=1.0, most_uses=4)
        r.add(**decisions(10_000, full=np.ones(10_000, np.bool_), surprise=surprise))
        rows = r.draw(np.random.default_rng(seed), 13_000)
        assert len(rows) == 13_000
        total += times(r, rows) / 5
    few, one, two = total[:1000].mean(), total[1000:5500].mean(), total[5500:].mean()
    assert few == pytest.approx(4, rel=0.04)  # what is trimmed
    assert one == pytest.approx(9000 / 4500 / 3, rel=0.04)
    assert two / one == pytest.approx(2, rel=0.02)


def test_no_surprise_at_all_is_uniform() -> None:
    r = replay(surprise=1.0)
    r.add(**decisions(100, surprise=np.zeros(100, np.float32)))
    assert set(times(r, r.draw(np.random.default_rng(0), 100))) <= {0, 1, 2}


def test_more_uses_on_average_than_at_most_are_refused() -> None:
    with pytest.raises(ValidationError, match="most_uses must be at least uses"):
        ReplayConfig(uses=5, most_uses=4)


# ---- symmetries ------------------------------------------------------------------------------------------------------


def test_each_decision_comes_as_it_was_or_mirrored_whole() -> None:
    part = decisions(300, spec=FOUR)
    r = replay(FOUR, symmetry=True)
    r.add(**part)
    batch = r.batch(np.random.default_rng(0), np.arange(300))
    mirrored = (batch.observation != part["observation"]).any((1, 2, 3))
    assert 100 < mirrored.sum() < 200
    flip = np.s_[:, ::-1]
    assert np.array_equal(batch.observation[mirrored], part["observation"][mirrored][..., ::-1])
    assert np.array_equal(batch.target[mirrored], part["target"][mirrored][flip])
    assert np.array_equal(batch.legal[mirrored], part["legal"][mirrored][flip])
    for name in ("observation", "target", "legal"):
        assert np.array_equal(getattr(batch, name)[~mirrored], part[name][~mirrored])
    assert np.array_equal(batch.value, part["value"])


def test_a_symmetry_says_where_each_cell_and_action_comes_from() -> None:
    """With a rotation, unlike a mirror, the way back is another: transformed place i is original place symmetry[i]."""
    cells, actions = np.array([1, 2, 3, 4, 0]), np.array([2, 0, 3, 1])
    spec = GameSpec("wheel", 1, 4, (5,), longest=1, symmetries=(games.Symmetry(cells, actions),))
    r = Replay(spec, ReplayConfig(), symmetry=True)
    observation = np.array([10, 11, 12, 13, 14], np.float32)
    target = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    same = np.ones((50, 1), np.float32)
    r.add(
        observation * same,
        np.ones((50, 4), np.bool_),
        target * same,
        value=same,
        full=np.ones(50, np.bool_),
        surprise=same[:, 0],
    )
    batch = r.batch(np.random.default_rng(0), np.arange(50))
    found = {(*o, *t) for o, t in zip(batch.observation.tolist(), batch.target.tolist(), strict=True)}
    turned = (*observation[cells].tolist(), *target[actions].tolist())
    assert found == {(*observation.tolist(), *target.tolist()), turned}


# ---- bytes, floats and files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [0.5, -1.0, 256.0, 1e12, np.nan, np.inf])
def test_observations_are_kept_as_bytes_until_one_does_not_fit(odd: float) -> None:
    r = replay(least=100)
    whole = decisions(20)
    whole["observation"][:] = np.random.default_rng(0).integers(256, size=(20, 5))
    whole["observation"][0, :2] = 0, 255
    r.add(**whole)
    assert r.state()["observation"].dtype == np.uint8
    other = decisions(10, 20)
    other["observation"][7, 3] = odd
    r.add(**other)
    r.add(**decisions(10, 30))
    assert r.state()["observation"].dtype == np.float32
    expected = np.concatenate([whole["observation"], other["observation"], decisions(10, 30)["observation"]])
    found = r.batch(np.random.default_rng(1), np.arange(40)).observation
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("odd", [False, True])
def test_a_restored_replay_goes_on_as_the_first(odd: bool) -> None:
    def grown(r: Replay, rng: np.random.Generator, firsts: range) -> list[list[int]]:
        drawn = []
        for first in firsts:
            r.add(**decisions(40, first))
            drawn.append(numbers(r, r.draw(rng, 100)))
        return drawn

    settings: dict[str, Any] = {"least": 100, "surprise": 0.5, "uses": 2.5, "most_uses": 4}
    first = replay(**settings)
    if odd:
        first.add(**decisions(10, observation=np.full((10, 5), 0.5, np.float32)))
    grown(first, np.random.default_rng(0), range(0, 800, 40))
    second = replay(**settings)
    state = first.state()
    second.restore(state)
    before = {name: array.copy() for name, array in state.items()}
    one, two = (grown(r, np.random.default_rng(1), range(800, 1600, 40)) for r in (first, second))
    assert one == two
    assert all(np.array_equal(array, second.state()[name]) for name, array in first.state().items())
    assert all(np.array_equal(array, before[name]) for name, array in state.items())  # a state is a copy


def test_a_state_of_another_game_is_refused() -> None:
    r = replay()
    r.add(**decisions(3))
    with pytest.raises(ValueError, match=r"'observation' has shape \(3, 5\), but \(3, 84\) is needed"):
        replay(FOUR).restore(r.state())
    with pytest.raises(ValueError, match="'used' is missing"):
        replay().restore({name: array for name, array in r.state().items() if name != "used"})
