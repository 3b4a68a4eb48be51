from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from agents.core import Trajectories


def some(seed: int, steps: int, games: int, state: bool = True) -> Trajectories:
    """Made-up trajectories of two seats; every second game is cut."""
    rng = np.random.default_rng(seed)
    decisions = steps + 2
    step = np.sort(np.concatenate([np.arange(steps), rng.integers(steps, size=2)]))
    cut = np.arange(1, games, 2)
    return Trajectories(
        reward=rng.normal(size=(steps, 2)).astype(np.float32),
        step_game=rng.integers(games, size=steps),
        observation=rng.normal(size=(decisions, 3)).astype(np.float32),
        legal=rng.random((decisions, 4)) < 0.5,
        action=rng.integers(4, size=decisions),
        seat=rng.integers(2, size=decisions).astype(np.int16),
        step=step,
        version=rng.integers(9, size=decisions),
        extras={"value": rng.normal(size=decisions), "visits": rng.integers(5, size=(decisions, 4))},
        terminated=np.arange(games) % 2 == 0,
        cut_game=cut,
        cut_observation=rng.normal(size=(len(cut), 2, 3)).astype(np.float32),
        global_state=rng.normal(size=(steps, 5)).astype(np.float32) if state else None,
        cut_global_state=rng.normal(size=(len(cut), 5)).astype(np.float32) if state else None,
    )


def assert_same(one: Trajectories, other: Trajectories) -> None:
    mine, theirs = one.arrays(), other.arrays()
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name, strict=True)


def test_sizes() -> None:
    t = some(0, steps=7, games=3)
    assert (t.steps, t.decisions, t.games) == (7, 9, 3)


@pytest.mark.parametrize("state", [True, False])
def test_flat_arrays_and_back(state: bool) -> None:
    t = some(1, steps=6, games=4, state=state)
    read = Trajectories.of({name: array.copy() for name, array in t.arrays().items()})
    assert_same(read, t)
    assert set(read.extras) == {"value", "visits"}
    assert (read.global_state is None) == (not state)


@pytest.mark.parametrize("state", [True, False])
def test_joining_renumbers_games_and_steps(state: bool) -> None:
    parts = [some(2, 5, 2, state), some(3, 4, 3, state), some(4, 6, 1, state)]
    joined = Trajectories.concatenate(parts)
    assert (joined.steps, joined.games, joined.decisions) == (15, 6, 21)
    assert np.array_equal(joined.step_game[5:9], parts[1].step_game + 2)
    assert np.array_equal(joined.step[7:13], parts[1].step + 5)
    assert np.array_equal(joined.step[13:], parts[2].step + 9)
    assert joined.cut_game.tolist() == [1, 3]
    assert (~joined.terminated[joined.cut_game]).all()
    assert (np.diff(joined.step) >= 0).all()
    for field in fields(Trajectories):
        if field.name in ("step", "step_game", "cut_game", "extras"):
            continue
        pieces = [getattr(part, field.name) for part in parts]
        if pieces[0] is None:
            assert getattr(joined, field.name) is None
        else:
            np.testing.assert_array_equal(getattr(joined, field.name), np.concatenate(pieces), strict=True)
    assert np.array_equal(joined.extras["visits"], np.concatenate([part.extras["visits"] for part in parts]))


def test_joining_leaves_the_parts_alone() -> None:
    parts = [some(5, 5, 2), some(6, 4, 2)]
    before = [replace(part, step=part.step.copy(), step_game=part.step_game.copy()) for part in parts]
    Trajectories.concatenate(parts)
    for part, kept in zip(parts, before, strict=True):
        assert_same(part, kept)


def test_one_part_is_itself() -> None:
    part = some(7, 5, 2)
    assert Trajectories.concatenate([part]) is part
