"""AlphaZero's learner against plain references: value targets, losses, optimisers, averages; resume; that it learns."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import games
from agents.alphazero_config import AlphaZeroConfig
from agents.alphazero_learner import AlphaZeroLearner, returns_to_go
from agents.core import Trajectories
from agents.networks import NetworkConfig, PolicyValueNet, load_arrays
from games import GameSpec
from games.tic_tac_toe import TicTacToe

FOUR = games.make("connect_four").spec
THREE = GameSpec("three", 3, 4, (5,), longest=10, bounds=(-2, 6))
OPEN = GameSpec("open", 2, 4, (5,), longest=10, payoff="general_sum", bounds=(-np.inf, np.inf))
GRID = GameSpec("grid", 2, 4, (1, 3, 3), longest=10)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trajectories(
    spec: GameSpec, steps: int = 64, count: int = 8, cut: Sequence[int] = (), seed: int = 0, scale: float = 1.0
) -> Trajectories:
    """Games at random: any seat may act at any step, or another player; any step may pay anyone."""
    rng = np.random.default_rng(seed)
    acting = np.flatnonzero(rng.random(steps) < 0.8)
    d = len(acting)
    legal = rng.random((d, spec.actions)) < 0.7
    legal[:, 0] = True
    target = rng.random(legal.shape) * legal
    return Trajectories(
        reward=(scale * rng.normal(size=(steps, spec.seats))).astype(np.float32),
        step_game=rng.integers(count, size=steps),
        observation=rng.integers(3, size=(d, *spec.observation)).astype(np.float32),
        legal=legal,
        action=np.zeros(d, np.int64),
        seat=rng.integers(spec.seats, size=d).astype(np.int16),
        step=acting,
        version=np.zeros(d, np.int64),
        extras={
            "target": (target / target.sum(1, keepdims=True)).astype(np.float32),
            "full": rng.random(d) < 0.75,
            "surprise": rng.exponential(size=d).astype(np.float32),
            "value": rng.normal(size=d).astype(np.float32),
        },
        terminated=np.array([game not in cut for game in range(count)]),
        cut_game=np.array(cut, np.int64),
        cut_observation=rng.normal(size=(len(cut), spec.seats, *spec.observation)).astype(np.float32),
    )


def learner(
    spec: GameSpec = THREE, seed: int = 0, replay: Mapping[str, Any] | None = None, **given: Any
) -> AlphaZeroLearner:
    given = {"network": NetworkConfig(width=16, layers=1, channels=4, blocks=1), "minibatch": 32} | given
    given["replay"] = {"uses": 2} | dict(replay or {})
    return AlphaZeroLearner(spec, AlphaZeroConfig.model_validate(given), seed)


def train(one: AlphaZeroLearner, spec: GameSpec, updates: range, **given: Any) -> list[dict[str, float]]:
    return [
        one.update(trajectories(spec, seed=update, **given), np.random.default_rng([9, update])) for update in updates
    ]


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def raw(one: AlphaZeroLearner) -> NDArray[np.float64]:
    """All parameters of the training network, as they are."""
    return np.concatenate([p.detach().numpy().ravel() for p in one.net.parameters()]).astype(np.float64)


def played(one: AlphaZeroLearner) -> NDArray[np.float64]:
    """The parameters that play, in the same order."""
    weights = one.weights()
    return np.concatenate([weights[f"net.{name}"].ravel() for name, _ in one.net.named_parameters()]).astype(np.float64)


def values(spec: GameSpec, one: AlphaZeroLearner, observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the weights that play say of observation [n, *O], in own units [n, P], as a policy works it out."""
    weights = one.weights()
    net = PolicyValueNet(spec, one.config.network, one.config.normalise_observations, values=spec.seats)
    load_arrays(net, {name[4:]: array for name, array in weights.items() if name.startswith("net.")})
    with torch.no_grad():
        value = net(torch.from_numpy(observation))[1].numpy()
    return value * np.sqrt(weights["value_norm.variance"] + 1e-6) + weights["value_norm.mean"]


# ---- value targets ---------------------------------------------------------------------------------------------------


def by_definition(t: Trajectories, cut_values: NDArray[np.float32]) -> NDArray[np.float64]:
    seats = t.reward.shape[1]
    found = np.zeros((t.decisions, seats))
    for d in range(t.decisions):
        game = t.step_game[t.step[d]]
        for i in range(seats):
            seat = (t.seat[d] + i) % seats
            found[d, i] = sum(float(t.reward[r, seat]) for r in range(t.step[d], t.steps) if t.step_game[r] == game)
            found[d, i] += sum(cut_values[c, seat] for c in range(len(t.cut_game)) if t.cut_game[c] == game)
    return found


@given(seats=st.integers(1, 4), steps=st.integers(1, 30), count=st.integers(1, 4), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_seats_return_to_go_is_by_definition(seats: int, steps: int, count: int, seed: int) -> None:
    spec = GameSpec("any", seats, 2, (1,), longest=99)
    rng = np.random.default_rng(seed)
    cut = [game for game in range(count) if rng.random() < 0.4]
    t = trajectories(spec, steps, count, cut, seed)
    worth = rng.normal(size=(len(cut), seats)).astype(np.float32)
    assert np.allclose(returns_to_go(t, worth), by_definition(t, worth), atol=1e-5)


def test_the_movers_place_is_the_first() -> None:
    """Three seats; seat 1 moves twice running and is paid 5 on the way; seat 0 wins in the end."""
    t = trajectories(THREE, steps=4, count=1)
    t.reward[:] = [[0, 0, 0], [0, 5, 0], [0, 0, 0], [1, 0, -1]]
    t = Trajectories(**{name: getattr(t, name) for name in t.__slots__} | {
        "seat": np.array([0, 1, 1, 2], np.int16), "step": np.arange(4)
    })  # fmt: skip
    expected = [[1, 5, -1], [5, -1, 1], [0, -1, 1], [-1, 1, 0]]
    assert returns_to_go(t, np.zeros((0, 3), np.float32)).tolist() == expected


def test_cut_games_bootstrap_from_each_seats_own_view() -> None:
    one = learner(THREE)
    t = trajectories(THREE, cut=[2, 5])
    worth = values(THREE, one, t.cut_observation.reshape(-1, 5))[:, 0].reshape(2, 3)
    assert np.abs(worth).min() > 1e-4
    one.update(t, np.random.default_rng(0))
    assert np.allclose(one.replay.state()["value"], by_definition(t, worth), atol=1e-5)


def test_simultaneous_decisions_of_one_step_share_its_returns() -> None:
    t = trajectories(OPEN, steps=2, count=1)
    t = Trajectories(**{name: getattr(t, name) for name in t.__slots__} | {
        "seat": np.array([0, 1, 0, 1], np.int16), "step": np.array([0, 0, 1, 1])
    })  # fmt: skip
    (a, b), (c, d) = t.reward.astype(np.float64)
    expected = [[a + c, b + d], [b + d, a + c], [c, d], [d, c]]
    assert np.allclose(returns_to_go(t, np.zeros((0, 2), np.float32)), expected)


# ---- a gradient step -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [FOUR, THREE])
def test_part_of_the_value_to_learn_may_be_what_the_search_found(spec: GameSpec) -> None:
    t = trajectories(spec)
    ended = returns_to_go(t, np.zeros((0, spec.seats), np.float32))
    for share in (0.0, 0.25, 1.0):
        one = learner(spec, search_value=share)
        one.update(t, np.random.default_rng(0))
        mover = (1 - share) * ended[:, 0] + share * t.extras["value"]
        kept = one.replay.state()["value"]
        np.testing.assert_allclose(kept[:, 0], mover, rtol=1e-5, atol=1e-5)
        other = ended[:, 1] if spec is THREE else (1 - share) * ended[:, 1] - share * t.extras["value"]
        np.testing.assert_allclose(kept[:, 1], other, rtol=1e-5, atol=1e-5)  # of a zero-sum game with one other seat


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-2.0, 6.0), (0.0, 0.0)])
def test_values_are_scaled_by_the_games_bounds(bounds: tuple[float, float]) -> None:
    spec = GameSpec("scaled", 2, 4, (5,), longest=10, bounds=bounds)
    one = learner(spec)
    middle, half = sum(bounds) / 2, (bounds[1] - bounds[0]) / 2 or 1
    train(one, spec, range(2))
    weights = one.weights()
    assert weights["value_norm.mean"] == middle
    assert np.sqrt(weights["value_norm.variance"] + 1e-6) == pytest.approx(half)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("spec", [THREE, GRID], ids=lambda spec: spec.name)
def test_gradient_steps_are_those_of_torch_written_plainly(kind: str, spec: GameSpec) -> None:
    """Loss, clipping, optimiser and schedule on separate parameters; every decision in one minibatch, used once."""
    rate = {"start": 0.05, "end": 0.001, "over": 400, "shape": "cosine"}
    one = learner(
        spec,
        optimiser=kind,
        learning_rate=rate,
        weight_decay=0.1,
        max_grad_norm=0.5,
        value_weight=0.7,
        minibatch=10_000,
        ema=0,
        replay={"uses": 1, "most_uses": 1},
    )
    net = copy.deepcopy(one.net)
    parameters = list(net.parameters())
    if kind == "adamw":
        plain: torch.optim.Optimizer = torch.optim.AdamW(parameters, lr=1, weight_decay=0.1)
    else:
        plain = torch.optim.SGD(parameters, lr=1, momentum=0.9, weight_decay=0.1)
    low, high = spec.bounds
    norms, seen = [], 0
    for update in range(8):
        t = trajectories(spec, seed=update)
        plain.param_groups[0]["lr"] = one.config.learning_rate.at(seen)
        logits, value = net(torch.from_numpy(t.observation))
        log_probs = logits.masked_fill(~torch.from_numpy(t.legal), -torch.inf).log_softmax(1)
        crosses = torch.tensor(np.zeros(t.decisions), dtype=torch.float32)
        for d in range(t.decisions):
            for a in np.flatnonzero(t.legal[d]):
                crosses[d] -= float(t.extras["target"][d, a]) * log_probs[d, a]
        policy_loss = crosses[torch.from_numpy(t.extras["full"])].mean()
        goal = (by_definition(t, np.zeros((0, spec.seats), np.float32)) - (low + high) / 2) / ((high - low) / 2)
        value_loss = ((value - torch.tensor(goal, dtype=torch.float32)) ** 2).mean()
        plain.zero_grad()
        (policy_loss + 0.7 * value_loss).backward()
        policy_loss, value_loss = policy_loss.detach(), value_loss.detach()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, 0.5)))
        plain.step()
        metrics = one.update(t, np.random.default_rng(update))
        seen += t.decisions
        assert metrics["policy_loss"] == pytest.approx(float(policy_loss), rel=1e-4)
        assert metrics["value_loss"] == pytest.approx(float(value_loss), rel=1e-4)
        assert metrics["grad_norm"] == pytest.approx(norms[-1], rel=1e-3)
        assert metrics["gradient_steps"] == 1
        for mine, other in zip(one.net.parameters(), parameters, strict=True):
            assert torch.allclose(mine, other, rtol=1e-3, atol=1e-5)
    assert max(norms) > 0.5  # or clipping was not put to the test


def test_an_update_makes_as_many_steps_as_uses_allow() -> None:
    one = learner(minibatch=16, replay={"uses": 2.5, "most_uses": 4, "least": 200})
    decisions = samples = 0
    for update in range(20):
        t = trajectories(THREE, seed=update)
        metrics = one.update(t, np.random.default_rng(update))
        decisions += t.decisions
        samples += 16 * round(t.decisions * 2.5 / 16)
        assert metrics["gradient_steps"] == round(t.decisions * 2.5 / 16)
        assert metrics["samples"] == samples
        assert metrics["uses"] == pytest.approx(samples / decisions)
        assert metrics["window"] == len(one.replay)
        assert one.replay.state()["used"].max() <= 4


def test_metrics_say_what_was_learned_from() -> None:
    t = trajectories(THREE)
    full, target = t.extras["full"], t.extras["target"].astype(np.float64)
    one = learner(minibatch=10_000, replay={"uses": 1, "most_uses": 1})
    metrics = one.update(t, np.random.default_rng(0))
    entropy = -np.sum(target * np.log(np.where(target > 0, target, 1)), axis=1)[full].mean()
    assert metrics["target_entropy"] == pytest.approx(entropy, rel=1e-4)
    assert metrics["kl"] == pytest.approx(metrics["policy_loss"] - entropy, abs=1e-4)
    assert metrics["surprise"] == pytest.approx(t.extras["surprise"][full].mean(), rel=1e-5)
    outcome = by_definition(t, np.zeros((0, 3), np.float32))[:, 0]
    explained = 1 - np.var(outcome - t.extras["value"]) / np.var(outcome)
    assert metrics["explained_variance"] == pytest.approx(explained, rel=1e-4)


def test_cheap_searches_teach_values_alone() -> None:
    t = trajectories(THREE)
    t.extras["full"][:] = False
    one = learner(weight_decay=0.0)
    before = {name: parameter.detach().clone() for name, parameter in one.net.named_parameters()}
    metrics = one.update(t, np.random.default_rng(0))
    after = dict(one.net.named_parameters())
    assert torch.equal(after["policy.weight"], before["policy.weight"])
    assert not torch.equal(after["value.weight"], before["value.weight"])
    assert metrics["policy_loss"] == metrics["surprise"] == 0


# ---- the average that plays ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_what_plays_is_the_average_over_gradient_steps(steps: int) -> None:
    one = learner(minibatch=10_000, ema=0.9, replay={"uses": 1, "most_uses": 1})
    assert np.array_equal(played(one), raw(one))  # nothing is averaged yet
    total, weight = np.zeros_like(raw(one)), 0.0
    for update in range(steps):
        train(one, THREE, range(update, update + 1))
        total, weight = 0.9 * total + raw(one), 0.9 * weight + 1
    assert np.allclose(played(one), total / weight, atol=1e-6)
    assert steps == 1 or not np.allclose(played(one), raw(one), atol=1e-4)


def test_without_average_the_weights_themselves_play() -> None:
    one = learner(ema=0)
    train(one, THREE, range(2))
    assert np.array_equal(played(one), raw(one))


def test_statistics_of_observations_are_not_averaged() -> None:
    one = learner(normalise_observations=True)
    train(one, THREE, range(3))
    weights = one.weights()
    seen = np.concatenate([trajectories(THREE, seed=seed).observation for seed in range(3)])
    assert np.allclose(weights["net.normalise.mean"], seen.mean(0), atol=1e-5)
    assert np.allclose(weights["net.normalise.variance"], seen.var(0), atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 30])
def test_a_new_scale_of_values_leaves_what_is_said_of_them(steps: int) -> None:
    """PopArt on the weights that learn and on those that play, which are still near zero where the average began."""
    one = learner(OPEN, ema=0.99)
    train(one, OPEN, range(steps))
    seen = trajectories(OPEN, seed=99).observation
    before = values(OPEN, one, seen)
    one._learn_scales(seen, np.random.default_rng(0).normal(7, 50, size=(500, 2)).astype(np.float32))
    assert one.weights()["value_norm.mean"] > 0.1
    assert np.allclose(values(OPEN, one, seen), before, atol=1e-3)


def test_values_without_bounds_are_scaled_by_what_was_seen() -> None:
    one = learner(OPEN)
    metrics = train(one, OPEN, range(60), scale=100.0)
    targets = [by_definition(trajectories(OPEN, seed=s, scale=100.0), np.zeros((0, 2), np.float32)) for s in range(60)]
    weights, expected = one.weights(), np.concatenate(targets)
    assert weights["value_norm.mean"] == pytest.approx(expected.mean(), abs=40)
    assert np.sqrt(weights["value_norm.variance"]) == pytest.approx(expected.std(), rel=0.1)
    assert 0.1 < metrics[-1]["value_loss"] < 3


# ---- steps that are not finite ---------------------------------------------------------------------------------------


def test_steps_that_are_not_finite_change_nothing_and_are_counted() -> None:
    one = learner(minibatch=10_000, replay={"uses": 1, "most_uses": 1})
    train(one, THREE, range(2))
    before, counted = one.state(), one.averaged
    bad = trajectories(THREE, seed=5)
    bad.observation[3, 2] = np.nan
    metrics = one.update(bad, np.random.default_rng(0))
    assert (metrics["skipped_steps"], metrics["gradient_steps"]) == (1, 0)
    assert one.averaged == counted
    after = one.state()
    for name in before:
        if name.startswith(("weights.", "raw.", "optimiser.")):
            assert np.array_equal(before[name], after[name]), name
    (metrics,) = train(one, THREE, range(6, 7))
    assert metrics["skipped_steps"] == 0
    assert one.skipped_in_a_row == 0
    assert np.isfinite(list(metrics.values())).all()


def test_it_gives_up_after_too_many() -> None:
    one = learner(minibatch=10_000, most_skipped=3, replay={"uses": 1, "most_uses": 1})
    bad = trajectories(THREE)
    bad.observation[:] = np.inf
    for _ in range(2):
        one.update(bad, np.random.default_rng(0))
    with pytest.raises(FloatingPointError, match="3 gradient steps in a row were not finite"):
        one.update(bad, np.random.default_rng(0))


# ---- resume ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("spec", [OPEN, FOUR], ids=lambda spec: spec.name)
def test_two_and_two_updates_are_four(kind: str, spec: GameSpec) -> None:
    given: dict[str, Any] = {"optimiser": kind, "normalise_observations": True, "learning_rate": 1e-2}
    given["replay"] = {"least": 90, "uses": 2.5, "most_uses": 3, "surprise": 0.5}
    whole, half, other = learner(spec, **given), learner(spec, **given), learner(spec, seed=1, **given)
    expected = train(whole, spec, range(4), cut=[1])
    train(half, spec, range(2), cut=[1])
    state = half.state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    other.restore(state)
    assert same(other.state(), state)
    assert same(other.weights(), half.weights())
    assert train(other, spec, range(2, 4), cut=[1]) == expected[2:]
    assert same(other.state(), whole.state())
    assert not same(state, whole.state())


def test_the_state_holds_what_plays() -> None:
    one = learner()
    train(one, THREE, range(2))
    state = one.state()
    held = {name.removeprefix("weights."): array for name, array in state.items() if name.startswith("weights.")}
    assert same(held, one.weights())
    assert not np.allclose(state["raw.parameters"], played(one))


def test_given_weights_play_on_and_the_average_starts_anew() -> None:
    one, other = learner(seed=1), learner(seed=2)
    train(one, THREE, range(3))
    train(other, THREE, range(3, 5))
    weights = one.weights()
    other.load(weights)
    assert same(other.weights(), weights)
    assert np.array_equal(raw(other), played(one))
    assert not any(name.startswith("optimiser.") for name in other.state())
    train(other, THREE, range(5, 6))
    assert same(one.weights(), weights)
    assert not same(other.weights(), weights)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    one = learner()
    train(one, THREE, range(1))
    before = one.state()
    for other, message in (
        (learner(network=NetworkConfig(width=17, layers=1)), "'raw.parameters' has shape"),
        (learner(optimiser="sgd"), "another optimiser: it holds momentum_buffer"),
    ):
        train(other, THREE, range(1))
        with pytest.raises(ValueError, match=message):
            one.restore(other.state())
    with pytest.raises(ValueError, match="not the state of an AlphaZero learner: 'counters' is missing"):
        one.restore({name: array for name, array in before.items() if name != "counters"})
    assert same(one.state(), before)


def test_the_seed_gives_the_first_weights() -> None:
    first, twin, other = (learner(seed=seed) for seed in (4, 4, 5))
    assert same(first.weights(), twin.weights())
    assert not same(first.weights(), other.weights())


# ---- learning --------------------------------------------------------------------------------------------------------


@cache
def solved() -> Trajectories:
    """Every position of tic-tac-toe as a game of one step, paying its worth; the policy is even among best moves."""
    rng = np.random.default_rng(0)
    worth: dict[tuple[int, ...], float] = {}  # of a position for its mover
    rows: list[tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], float, int]] = []

    def solve(game: TicTacToe) -> float:
        key = tuple(game.cells)
        if key not in worth:
            found = {}
            for cell in game.legal(game.mover):
                after = game.copy()
                reward = after.step([cell], rng)
                found[cell] = float(reward[game.mover]) if after.over else -solve(after)
            worth[key] = max(found.values())
            observation = np.zeros((2, 3, 3), np.float32)
            game.observe(game.mover, observation)
            best = [cell for cell, value in found.items() if value == worth[key]]
            target = np.zeros(9, np.float32)
            target[best] = 1 / len(best)
            rows.append((observation, np.isin(np.arange(9), list(found)), target, worth[key], game.mover))
        return worth[key]

    solve(TicTacToe(rng))
    observation, legal, target, value, seat = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    mover = np.arange(2) == seat[:, None]
    return Trajectories(
        reward=np.where(mover, value[:, None], -value[:, None]).astype(np.float32),
        step_game=np.arange(n),
        observation=observation,
        legal=legal,
        action=np.zeros(n, np.int64),
        seat=seat.astype(np.int16),
        step=np.arange(n),
        version=np.zeros(n, np.int64),
        extras={
            "target": target,
            "full": np.ones(n, np.bool_),
            "surprise": np.ones(n, np.float32),
            "value": value.astype(np.float32),
        },
        terminated=np.ones(n, np.bool_),
        cut_game=np.zeros(0, np.int64),
        cut_observation=np.zeros((0, 2, 2, 3, 3), np.float32),
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_tic_tac_toe_by_heart(precision: str) -> None:
    spec, t = TicTacToe.spec, solved()
    assert t.decisions == 4520  # positions with a move to make: 5478, less 958 that are over
    one = learner(
        spec,
        network=NetworkConfig(kind="mlp", width=256, layers=2),
        minibatch=256,
        learning_rate={"start": 4e-3, "end": 1e-4, "over": 20 * 4520, "shape": "cosine"},
        precision=precision,
        replay={"uses": 4, "most_uses": 4},
    )
    metrics = [one.update(t, np.random.default_rng(update)) for update in range(20)]
    assert metrics[0]["kl"] > 0.4
    assert metrics[-1]["kl"] < 0.06  # of a cross-entropy of 0.54
    assert metrics[-1]["value_loss"] < 0.02
    assert metrics[-1]["explained_variance"] == 1
    value = values(spec, one, t.observation)
    assert np.mean(np.rint(value[:, 0]) == t.extras["value"]) > 0.98
    assert np.abs(value[:, 0] + value[:, 1]).mean() < 0.1
