"""Central inference without Ray: who is evaluated together, by which weights, and who gets which answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import games
from agents.alphazero import AlphaZeroPolicy
from agents.alphazero_config import AlphaZeroConfig, SearchConfig
from agents.core import Weights
from agents.inference import Evaluator
from agents.inference_backends import on_device
from agents.kinds import make_learner
from agents.networks import NetworkConfig, PolicyValueNet
from agents.ppo import PPOConfig
from arena import serving, strict
from arena.backend import Cast
from arena.config import RunConfig
from arena.rollout import Batch, Order, Rollout
from arena.serving import Answer, Floats, Networks, Remote, Server, doubts, gpu_shares, serves
from arena.store import Frozen
from games import GameSpec
from leagues.core import Match, Player

GAME = games.make("tic_tac_toe")
SPEC = GAME.spec
AGENT = AlphaZeroConfig(
    network=NetworkConfig(kind="mlp", width=16, layers=1), search=SearchConfig(simulations=4), inference="torch"
)
WAIT = 60.0  # seconds after which a test gives up


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(seed: int, mean: float = 0.0, spread: float = 1.0) -> Weights:
    """Of a network that holds something, unlike a fresh one; its values are in units of `spread` about `mean`."""
    rng = np.random.default_rng(seed)
    made = {name: array + rng.normal(0, 0.5, array.shape).astype(np.float32) for name, array in fresh().items()}
    scale = {"value_norm.mean": np.float32(mean), "value_norm.variance": np.float32(spread**2 - 1e-6)}
    return made | {name: np.asarray(number) for name, number in scale.items()}


def fresh() -> Weights:
    return {name: array for name, array in make_learner(SPEC, AGENT, 1).weights().items() if name.startswith("net.")}


def observe(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, *SPEC.observation)).astype(np.float32)


def answer_of(own: Weights, observation: Floats) -> tuple[Floats, Floats]:
    """Logits and values by the network of these weights, alone."""
    net = {name.removeprefix("net."): array for name, array in own.items() if name.startswith("net.")}
    return Evaluator(SPEC, AGENT.network, net, backend="torch")(observation)


def both_of(own: Weights, observation: Floats) -> Floats:
    """The same side by side [n, A + P], as a server sends them where values are counted from -1 to 1."""
    return np.concatenate(answer_of(own, observation), axis=1)


def nothing(player: str) -> Frozen:
    raise AssertionError(f"{player} should not be fetched")


def networks(fetch: Callable[[str], Frozen] = nothing, most: int = 8) -> Networks:
    return Networks(SPEC, {"main": AGENT}, fetch, most=most)


# ---- who is evaluated together ---------------------------------------------------------------------------------------


class Gated:
    """Networks whose forward passes wait until `open`; an answer is its observation, and 100 more for `other`."""

    def __init__(self) -> None:
        self.passes: list[tuple[str, int]] = []  # player, rows
        self.begun, self.open = threading.Event(), threading.Event()
        self.broken = False

    def has(self, player: str, version: int) -> bool:
        return True

    def evaluate(self, player: str, observation: Floats) -> Floats:
        self.passes.append((player, len(observation)))
        self.begun.set()
        assert self.open.wait(WAIT)
        if self.broken:
            self.broken = False
            raise ValueError("no memory left")
        return observation + 100 * (player == "other")


def meanwhile(gated: Gated, requests: list[tuple[str, list[int]]]) -> list[Answer | BaseException]:
    """The answers to `requests`, which arrive in this order while the first is in the network."""
    server = Server(gated)  # type: ignore[arg-type]

    def ask(player: str, rows: list[int]) -> Coroutine[Any, Any, Answer]:
        return server.evaluate(player, 0, np.array(rows, np.float32)[:, None])

    async def run() -> list[Answer | BaseException]:
        tasks = [asyncio.create_task(ask(*requests[0]))]
        assert await asyncio.to_thread(gated.begun.wait, WAIT)
        tasks += [asyncio.create_task(ask(*request)) for request in requests[1:]]
        await asyncio.sleep(0)  # each of them has asked
        gated.open.set()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), WAIT)

    return asyncio.run(run())


def test_what_comes_while_the_network_is_busy_is_evaluated_together() -> None:
    gated = Gated()
    requests = [("main", [1]), ("main", [2, 3]), ("other", [4]), ("main", [5, 6, 7]), ("other", [8, 9])]
    answers = meanwhile(gated, requests)
    assert gated.passes == [("main", 1), ("main", 5), ("other", 3)], "the oldest first, with all for its player"
    for (player, rows), (both, together) in zip(requests, answers, strict=True):
        assert both[:, 0].tolist() == [row + 100 * (player == "other") for row in rows]
        assert together == (3 if player == "other" else 1 if rows == [1] else 5)


def test_a_forward_pass_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_ROWS", 4)
    gated = Gated()
    answers = meanwhile(gated, [("main", [0]), ("main", [1, 2, 3]), ("main", [4, 5]), ("main", [6]), ("main", [7] * 9)])
    assert gated.passes == [("main", 1), ("main", 4), ("main", 2), ("main", 9)]
    assert [both[:, 0].tolist() for both, _ in answers] == [[0], [1, 2, 3], [4, 5], [6], [7] * 9]


def test_a_failed_pass_fails_those_in_it_alone() -> None:
    gated = Gated()
    gated.broken = True
    first, *others = meanwhile(gated, [("main", [1]), ("main", [2]), ("main", [3])])
    assert isinstance(first, ValueError)
    assert str(first) == "no memory left"
    assert [both[:, 0].tolist() for both, _ in others] == [[2], [3]]


def test_nobody_minds_one_who_does_not_wait_any_more() -> None:
    gated = Gated()
    server = Server(gated)  # type: ignore[arg-type]

    async def run() -> Answer:
        left, stays = (
            asyncio.create_task(server.evaluate("main", 0, np.full((1, 1), row, np.float32))) for row in (1, 2)
        )
        assert await asyncio.to_thread(gated.begun.wait, WAIT)
        assert gated.passes == [("main", 2)]
        left.cancel()
        gated.open.set()
        return await asyncio.wait_for(stays, WAIT)

    assert asyncio.run(run())[0].tolist() == [[2]]


# ---- by which weights ------------------------------------------------------------------------------------------------


def test_a_request_waits_for_its_version_and_is_answered_by_the_newest() -> None:
    old, new, observation = weights(1), weights(2), observe(5)
    server = Server(networks())

    async def run() -> None:
        early = asyncio.create_task(server.evaluate("main", 3, observation))
        await asyncio.sleep(0)
        server.publish("main", old, 3)
        np.testing.assert_allclose((await early)[0], both_of(old, observation), atol=1e-6)

        ahead = asyncio.create_task(server.evaluate("main", 4, observation))
        both, rows = await server.evaluate("main", 3, observation)  # overtakes it
        assert not ahead.done()
        assert rows == 5
        np.testing.assert_allclose(both, both_of(old, observation), atol=1e-6)

        server.publish("main", new, 4)
        server.publish("main", old, 3)  # came late
        for asked in (ahead, server.evaluate("main", 3, observation)):
            np.testing.assert_allclose((await asked)[0], both_of(new, observation), atol=1e-6)

    asyncio.run(asyncio.wait_for(run(), WAIT))
    assert np.abs(both_of(old, observation) - both_of(new, observation)).max() > 0.1


def test_frozen_players_keep_their_own_weights() -> None:
    own, observation = weights(5), observe(3)
    server = Server(networks(lambda player: Frozen(AGENT, own)))

    async def run() -> None:
        early = asyncio.create_task(server.evaluate("main@1", 0, observation))
        await asyncio.sleep(0)
        server.publish("main", weights(6), 9)
        await server.evaluate("main", 9, observation)
        assert not early.done()
        server.enter("main@1")
        for asked in (early, server.evaluate("main@1", 0, observation)):
            np.testing.assert_allclose((await asked)[0], both_of(own, observation), atol=1e-6)

    asyncio.run(asyncio.wait_for(run(), WAIT))


def test_few_frozen_players_are_kept_and_learners_always() -> None:
    fetched: list[str] = []

    def fetch(player: str) -> Frozen:
        fetched.append(player)
        return Frozen(AGENT, weights(int(player[-1])))

    held, observation = networks(fetch, most=2), observe(4)
    held.publish("main", weights(9), 0)
    for number in range(3):
        held.enter(f"main@{number}")
    assert not held.has("main@3", 0)
    assert fetched == []
    for number in (0, 1, 0, 2, 0, 1):
        for player, seed in ((f"main@{number}", number), ("main", 9)):
            np.testing.assert_allclose(
                held.evaluate(player, observation), both_of(weights(seed), observation), atol=1e-6
            )
    assert fetched == ["main@0", "main@1", "main@2", "main@1"], "the one not asked for the longest had gone"


def test_a_newer_version_may_count_values_in_other_units() -> None:
    mine, newer, observation = weights(1, mean=3.0, spread=2.0), weights(2, mean=-5.0, spread=4.0), observe(6)
    held = networks()
    held.publish("main", mine, 0)
    remote = Remote(SPEC, mine, lambda seen: (held.evaluate("main", seen), len(seen)))
    logits, value = answer_of(mine, observation)
    np.testing.assert_allclose(remote(observation)[0], logits, atol=1e-5)
    np.testing.assert_allclose(remote(observation)[1], value, atol=1e-5)
    held.publish("main", newer, 1)
    logits, value = answer_of(newer, observation)
    np.testing.assert_allclose(remote(observation)[0], logits, atol=1e-5)
    np.testing.assert_allclose(2 * remote(observation)[1] + 3, 4 * value - 5, atol=1e-5)


# ---- the side that plays ---------------------------------------------------------------------------------------------


def test_a_remote_network_counts_what_it_asked() -> None:
    asked: list[tuple[int, bool]] = []

    def ask(observation: Floats) -> Answer:
        asked.append((len(observation), observation.flags.c_contiguous))
        both = np.zeros((len(observation), SPEC.actions + SPEC.seats), np.float32)
        both.flags.writeable = False  # as Ray gives it
        return both, 8

    remote = Remote(SPEC, weights(1), ask)
    logits, value = remote(observe(0))
    assert (logits.shape, value.shape) == ((0, SPEC.actions), (0, SPEC.seats))
    assert asked == []
    for rows in (6, 2):
        logits, value = remote(observe(2 * rows)[::2])
        assert (logits.shape, value.shape) == ((rows, SPEC.actions), (rows, SPEC.seats))
        logits += 1
        value += 1
    assert asked == [(6, True), (2, True)]
    assert (remote.asked, remote.found, remote.batches) == (8, 0, 1.0), "two parts of one forward pass"
    assert remote.seconds > 0


def play(cast: Cast) -> Batch:
    cast.enter(Player("main@1", "alphazero", content="x", parent="main"))
    return Rollout(GAME, cast, 8).run(Order((Match(1, ("main", "main@1"), "train", 7, games=16),), 60, ("main",)))


def test_players_play_the_same_wherever_they_are_evaluated() -> None:
    frozen = {"main@1": Frozen(AGENT, weights(2))}
    held, told = networks(frozen.__getitem__), []

    def remote(player: str, version: int, config: AlphaZeroConfig, own: Weights) -> Remote:
        told.append((player, version))
        return Remote(SPEC, own, lambda seen: (held.evaluate(player, seen), len(seen)))

    held.enter("main@1")
    here, there = (
        Cast(SPEC, {"main": AGENT}, frozen.__getitem__),
        Cast(SPEC, {"main": AGENT}, frozen.__getitem__, network=remote),
    )
    for cast in (held, here, there):
        cast.publish("main", weights(1), 5)
    one, other = play(here), play(there)
    assert told == [("main", 5), ("main@1", 0)]
    for player in ("main", "main@1"):
        assert isinstance(policy := there.policy(player), AlphaZeroPolicy)
        assert isinstance(policy.network, Remote)
    assert [result.returns for result in one.results] == [result.returns for result in other.results]
    ours, theirs = one.trajectories["main"], other.trajectories["main"]
    assert ours.decisions >= 40
    np.testing.assert_array_equal(ours.action, theirs.action)
    np.testing.assert_allclose(ours.extras["target"], theirs.extras["target"], atol=1e-5)
    assert (one.evaluated, one.forwards) == (other.evaluated, other.forwards)


def test_rollouts_say_how_long_networks_took() -> None:
    frozen = {"main@1": Frozen(AGENT, weights(2))}
    cast = Cast(SPEC, {"main": AGENT}, frozen.__getitem__)
    cast.publish("main", weights(1), 0)
    rollout = Rollout(GAME, cast, 8)
    cast.enter(Player("main@1", "alphazero", content="x", parent="main"))
    cast.enter(Player("random", "random"))
    batches = [rollout.run(Order((Match(id, ("main", "main@1"), "train", 7, games=8),))) for id in (1, 2)]
    counted = [cast.policy(player).network for player in ("main", "main@1")]  # type: ignore[attr-defined]
    for batch in batches:
        assert 0 < batch.seconds["network"] <= batch.seconds["policy"]
        assert batch.evaluated / batch.forwards > 1
    assert sum(batch.seconds["network"] for batch in batches) == pytest.approx(sum(n.seconds for n in counted))
    assert sum(batch.evaluated for batch in batches) == sum(network.asked for network in counted)
    assert sum(batch.forwards for batch in batches) == sum(network.batches for network in counted)
    without = rollout.run(Order((Match(3, ("random", "random"), "rate", 7, games=8),)))
    assert "network" not in without.seconds
    assert (without.evaluated, without.forwards) == (0, 0)


# ---- a GPU -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "shape"), [("mlp", (11,)), ("conv", (2, 6, 7))])
def test_what_runs_on_a_gpu_agrees_with_the_network(kind: str, shape: tuple[int, ...]) -> None:
    spec = GameSpec("board", seats=3, actions=7, observation=shape, longest=42)
    config = NetworkConfig(kind=kind, width=32, channels=16, blocks=2)  # type: ignore[arg-type]

    def make() -> PolicyValueNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            return PolicyValueNet(spec, config, values=3).eval().requires_grad_(False)

    observation = np.random.default_rng(0).standard_normal((150, *shape)).astype(np.float32)
    observation.flags.writeable = False
    logits, value = (answer.numpy() for answer in make()(torch.from_numpy(observation.copy())))
    forward = on_device(make(), shape, torch.device("cpu"))
    kept: list[NDArray[np.float32]] = []
    for rows in (64, 1, 150, 7):  # also more than it had room for, and fewer again
        kept += forward(observation[:rows])
        tolerance = 0.02 * np.abs(logits).max()
        np.testing.assert_allclose(kept[-2], logits[:rows], rtol=0, atol=tolerance)
        np.testing.assert_allclose(kept[-1], value[:rows], rtol=0, atol=tolerance)
    np.testing.assert_allclose(kept[0], logits[:64], rtol=0, atol=tolerance, err_msg="a later call wrote there")


def config_of(*overrides: str, kind: str = "alphazero") -> RunConfig:
    agent = AGENT if kind == "alphazero" else PPOConfig(batch=64, minibatch=32)
    learners = {name: {"agent": agent.model_dump()} for name in ("main", "rival")}
    mapping = {"game": "tic_tac_toe", "league": {"learners": learners}, "stop": {"decisions": 1}}
    return strict.parse(RunConfig, mapping, ("rollout.inference=gpu", *overrides))


def test_gpus_are_shared_where_they_are_few() -> None:
    assert gpu_shares(config_of(), "cuda", 3) == (1.0, 1.0)
    assert gpu_shares(config_of(), "cuda", 2) == (0.5, 0.5), "2/3 would leave each GPU a third that nobody can use"
    assert gpu_shares(config_of(), "cuda", 1) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert gpu_shares(config_of(), "cpu", 1) == (0.0, 0.0)
    assert gpu_shares(config_of("cluster.inference.gpus=0.25"), "cuda", 3) == (1.0, 0.25)
    assert gpu_shares(config_of("rollout.inference=local"), "cuda", 1) == (1.0, 0.0)
    assert gpu_shares(config_of(kind="ppo"), "cuda", 1) == (1.0, 0.0)


def test_what_central_inference_is_not_for_is_said() -> None:
    assert serves(config_of())
    assert doubts(config_of(), "cuda") == []
    assert doubts(config_of("rollout.inference=local"), "cpu") == []
    [slow] = doubts(config_of(), "cpu")
    assert "slower than rollout.inference=local" in slow
    assert not serves(config_of(kind="ppo"))
    [useless] = doubts(config_of(kind="ppo"), "cuda")
    assert "it is for AlphaZero" in useless
    with pytest.raises(strict.ConfigError, match=r"workers is 0, so there are none; take workers of 1 or more"):
        config_of("rollout.workers=0")
