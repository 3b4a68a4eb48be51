"""The in-process backend: who plays with which weights, and games and updates that can be gone on with exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_arena_recorder import games_of
from test_arena_rollout import Counting, Crowd, March, Players, Trek, Wreck, matches_of
from test_arena_rollout import same as same_result

from agents.core import Weights
from agents.kinds import make_learner
from agents.mcts import MCTS
from agents.networks import NetworkConfig
from agents.ppo import PPOConfig, PPOPolicy
from agents.scripted import Random
from arena import files, strict
from arena.backend import Cast, InProcess, Learned, Played
from arena.config import RunConfig
from arena.files import Arrays
from arena.rollout import Order, Rollout
from arena.store import Frozen
from games import GameError, lift, make
from leagues.core import Match, Player

SPEC = make("tic_tac_toe").spec
AGENT = PPOConfig(network=NetworkConfig(kind="mlp", width=8, layers=1), batch=64, minibatch=32, temperature=0.5)
CONFIG = strict.parse(
    RunConfig,
    {
        "game": "tic_tac_toe",
        "league": {"learners": {"main": {"agent": AGENT.model_dump()}, "rival": {"agent": AGENT.model_dump()}}},
        "rollout": {"workers": 0, "rows": 8},
        "stop": {"decisions": 1},
    },
)


def weights(seed: int) -> Weights:
    return make_learner(SPEC, AGENT, seed).weights()


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def of(policy: Any) -> Weights:
    """What a policy plays with."""
    assert isinstance(policy, PPOPolicy)
    return {f"net.{name}": tensor.numpy() for name, tensor in policy.net.state_dict().items()}


def nothing(player: str) -> Frozen:
    raise AssertionError(f"{player} should not be fetched")


# ---- who plays with what -------------------------------------------------------------------------------------------


def test_frozen_players_are_fetched_when_first_asked_for_and_few_are_kept() -> None:
    fetched: list[str] = []

    def fetch(player: str) -> Frozen:
        fetched.append(player)
        return Frozen(AGENT, weights(int(player[-1])))

    cast = Cast(SPEC, {"main": AGENT}, fetch, most=2)
    for number in range(4):
        cast.enter(Player(f"main@{number}", "ppo", content="x", settings={"temperature": 0.25}, parent="main"))
    assert fetched == []
    policies = [cast.policy(f"main@{number}") for number in (0, 1, 0, 2, 0)]
    assert fetched == ["main@0", "main@1", "main@2"]
    assert policies[0] is policies[2] is policies[4]
    cast.policy("main@1")
    assert fetched[3:] == ["main@1"], "the one not asked for the longest had gone"
    policy = cast.policy("main@2")
    assert isinstance(policy, PPOPolicy)
    assert policy.temperature == 0.25
    assert all(np.array_equal(array, weights(2)[name]) for name, array in of(policy).items())
    assert cast.version("main@2") == 0


def test_live_players_follow_what_is_published_and_snapshots_do_not() -> None:
    first, second = weights(1), weights(2)
    cast = Cast(SPEC, {"main": AGENT}, lambda player: Frozen(AGENT, first))
    cast.publish("main", first, 4)
    cast.enter(Player("main@1", "ppo", content="x", parent="main"))
    snapshot = cast.policy("main@1")
    cast.publish("main", second, 5)
    live = cast.policy("main")
    assert isinstance(live, PPOPolicy)
    assert (cast.version("main"), live.temperature) == (5, 1.0), "learners play at 1, whatever their snapshots do"
    assert all(np.array_equal(array, second[name]) for name, array in of(live).items())
    assert cast.policy("main@1") is snapshot
    assert all(np.array_equal(array, first[name]) for name, array in of(snapshot).items())


def test_scripted_players_need_nothing_fetched() -> None:
    cast = Cast(SPEC, {}, nothing)
    for name, kind in (("random", Random), ("mcts:7", MCTS)):
        cast.enter(Player(name, name.partition(":")[0], role="fixed"))
        assert isinstance(cast.policy(name), kind)


# ---- orders and updates --------------------------------------------------------------------------------------------


def backend() -> InProcess:
    made = InProcess(CONFIG, make("tic_tac_toe"), "cpu", nothing)
    made.enter(Player("random", "random", role="fixed"), None)
    return made


def play(made: InProcess, first: int, decisions: int = 80) -> Played:
    """One training order of main, against itself, its rival and random."""
    opponents = ("main", "rival", "random")
    matches = tuple(Match(first + i, ("main", name), "train", seed=first + i) for i, name in enumerate(opponents))
    assert made.room("train") == 1
    made.submit("train", Order(matches, decisions, ("main", "rival")))
    assert made.room("train") == made.room("rate") == 0, "until what it brought is taken"
    (event,) = made.ready(0.0)
    assert isinstance(event, Played)
    assert made.ready(0.0) == []
    return event


def learn(made: InProcess, learner: str, played: list[Any]) -> Learned:
    made.learn(learner, played)
    (event,) = made.ready(0.0)
    assert isinstance(event, Learned)
    assert event.learner == learner
    made.publish(learner, event.weights, event.version)
    return event


def test_an_order_comes_back_as_played_and_an_update_as_learned() -> None:
    made = backend()
    born = made.weights("main")
    assert not same(born, made.weights("rival")), "each learner is born on its own"
    one, other = play(made, 0), play(made, 10)
    assert set(one.recorded) == {"main", "rival"}
    assert one.recorded == {name: part.decisions for name, part in one.trajectories.items()}
    assert not one.batch.trajectories
    assert one.batch.results
    event = learn(made, "main", [one.trajectories, other.trajectories])
    assert event.version == 1
    assert event.metrics["decisions"] == one.recorded["main"] + other.recorded["main"]
    assert event.metrics["staleness"] == event.metrics["most_stale"] == 0
    assert {"time/update", "time/learner_waited", "policy_loss", "entropy"} <= event.metrics.keys()
    assert same(made.weights("main"), event.weights)
    assert not same(born, event.weights)
    kept = {name: array.copy() for name, array in event.weights.items()}
    late = learn(made, "main", [play(made, 20).trajectories, other.trajectories])
    assert 0 < late.metrics["staleness"] < 1 == late.metrics["most_stale"], (
        "what the first weights played is one behind"
    )
    assert same(event.weights, kept), "what was handed out never changes"
    assert learn(made, "rival", [one.trajectories]).version == 1


def through_a_file(state: dict[str, Arrays]) -> dict[str, Arrays]:
    return {name: files.unpack(files.pack(group), Path(name))[0] for name, group in state.items()}


def test_a_restored_backend_goes_on_exactly() -> None:
    one = backend()
    for number in range(2):
        learn(one, "main", [play(one, 10 * number).trajectories])
    other = backend()
    other.restore(through_a_file(one.state()))
    assert same(one.weights("main"), other.weights("main"))
    for number in range(2, 5):
        events = [play(made, 10 * number) for made in (one, other)]
        assert events[0].batch.results == events[1].batch.results
        learned = [
            learn(made, name, [event.trajectories])
            for name in ("main", "rival")
            for made, event in zip((one, other), events, strict=True)
        ]
        for first, second in zip(learned[::2], learned[1::2], strict=True):
            assert first.version == second.version
            assert same(first.weights, second.weights)
            assert {k: v for k, v in first.metrics.items() if "time/" not in k} == {
                k: v for k, v in second.metrics.items() if "time/" not in k
            }
    assert one.state().keys() == {"learner.main", "learner.rival", "rollout"}


@pytest.mark.parametrize("missing", ["learner.main", "learner.rival"])
def test_a_state_without_a_learner_is_refused(missing: str) -> None:
    state = backend().state()
    del state[missing]
    with pytest.raises(KeyError, match=missing):
        backend().restore(state)


# ---- a rollout goes on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [Trek, Crowd, Wreck, March], ids=lambda game: game.spec.name)
def test_a_restored_rollout_goes_on_exactly(game: type[Trek]) -> None:
    players = Players.of("ann", "bob", "cat", kind=Counting)
    one = Rollout(lift(game), players, 6, piece=9, most_failed=1.0)
    orders = [Order(matches_of(game, 3, 3 * i, opening=1), decisions=30, learners=("ann", "bob")) for i in range(8)]
    for order in orders[:4]:
        one.run(order)
    kept, _ = files.unpack(files.pack(one.state()), Path("kept"))
    other = Rollout(lift(game), players, 6, piece=9, most_failed=1.0)
    other.restore(kept)
    for order in orders[4:]:
        first, second = one.run(order), other.run(order)
        assert len(first.results) == len(second.results)
        assert all(map(same_result, first.results, second.results))
        assert first.voids == second.voids
        assert first.decisions == second.decisions
        assert first.trajectories.keys() == second.trajectories.keys()
        for name, trajectories in first.trajectories.items():
            assert games_of(trajectories) == games_of(second.trajectories[name])


def test_a_game_that_does_not_replay_is_refused() -> None:
    class Moody(March):
        """It ends when the world says so, not the key."""

        spec = replace(March.spec, name="moody")
        ends = 0.0

    players = Players.of("ann", "bob")
    one = Rollout(lift(Moody), players, 4)
    one.run(Order(matches_of(Moody, 2), decisions=50, learners=("ann",)))
    kept = one.state()
    Moody.ends = 1.0
    with pytest.raises(GameError, match="moody does not replay from its key and moves"):
        Rollout(lift(Moody), players, 4).restore(kept)
