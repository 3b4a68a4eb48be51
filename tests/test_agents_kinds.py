from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

import games
from agents.alphazero import AlphaZeroPolicy
from agents.alphazero_config import AlphaZeroConfig, SearchConfig
from agents.alphazero_learner import AlphaZeroLearner
from agents.kinds import SCRIPTED, SUPPORTS, AgentConfig, make_learner, make_policy, record_of, refusal, scripted
from agents.mcts import MCTS, VERSION
from agents.ppo import PPOConfig, PPOLearner, PPOPolicy
from agents.scripted import Greedy, Random
from games import GameSpec

CONFIG = PPOConfig.model_validate({"network": {"width": 8, "channels": 4, "blocks": 1}, "temperature": 0.5})
SPEC = games.spec_of("tic_tac_toe")


def test_scripted_players_are_made_from_their_names() -> None:
    assert isinstance(scripted("random"), Random)
    assert isinstance(scripted("greedy"), Greedy)
    searcher = scripted("mcts:37")
    assert isinstance(searcher, MCTS)
    assert searcher.simulations == 37


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("randm", r"There is no scripted player 'randm'\. Did you mean 'random'\?"),
        ("", r"There is no scripted player ''\. Known: greedy, mcts:100, random\."),
        ("mcts", r"'mcts' needs its number of simulations, as in 'mcts:100'\."),
        ("mcts:", r"needs its number of simulations"),
        ("mcts:many", r"needs its number of simulations"),
        ("mcts:-5", r"needs its number of simulations"),
        ("mcts:0", r"at least 1 simulation a move, not 0"),
        ("greedy:2", r"greedy takes nothing after a colon; 'greedy:2' was given\."),
        ("random:", r"random takes nothing after a colon"),
    ],
)
def test_other_names_are_refused_with_the_way_out(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scripted(name)


def test_every_kind_says_what_it_supports() -> None:
    assert set(SUPPORTS) == {*SCRIPTED, "ppo", "alphazero", "qmix"}
    at_once = games.spec_of("rock_paper_scissors")
    hidden = GameSpec("hidden", 2, 3, (4,), 10, perfect_information=False, searchable=True)
    for kind, supports in SUPPORTS.items():
        assert supports(SPEC) is None
        for spec in (at_once, hidden):
            reason = supports(spec)
            assert (reason is None) == (kind in ("random", "ppo", "qmix")), kind
            assert reason is None or (spec.name in reason and reason.endswith("."))


def test_the_record_of_a_search_pins_its_definition() -> None:
    assert record_of("mcts:100") == {"version": VERSION}
    assert record_of("random") == record_of("greedy") == {}


def test_a_learner_is_drawn_from_its_seed_and_its_policy_plays_its_weights() -> None:
    one, twin, other = (make_learner(SPEC, CONFIG, seed).weights() for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], twin[name]) for name in one)
    assert not all(np.array_equal(one[name], other[name]) for name in one)
    assert isinstance(make_learner(SPEC, CONFIG, 1), PPOLearner)
    policy = make_policy(SPEC, CONFIG, one)
    assert isinstance(policy, PPOPolicy)
    assert np.array_equal(policy.net.policy.weight.numpy(), one["net.policy.weight"])


@pytest.mark.parametrize(
    ("settings", "temperature"),
    [(None, 0.5), ({}, 0.5), ({"temperature": 0}, 0), ({"temperature": 2.5}, 2.5), ({"temperature": None}, 0.5)],
)
def test_play_settings_overrule_the_config(settings: Mapping[str, Any] | None, temperature: float) -> None:
    policy = make_policy(SPEC, CONFIG, make_learner(SPEC, CONFIG, 0).weights(), settings)
    assert isinstance(policy, PPOPolicy)
    assert policy.temperature == temperature


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 1}, r"ppo has no play setting 'temprature'\. Did you mean 'temperature'\?"),
        ({"simulations": 50}, r"ppo has no play setting 'simulations'"),
        ({"temperature": -1}, r"temperature must be a number of at least 0, not -1\."),
        ({"temperature": "hot"}, r"temperature must be a number of at least 0, not 'hot'\."),
        ({"temperature": float("nan")}, r"temperature must be a number of at least 0, not nan\."),
    ],
)
def test_play_settings_are_checked(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_policy(SPEC, CONFIG, make_learner(SPEC, CONFIG, 0).weights(), settings)


def test_an_alphazero_player_is_made_of_its_kind_and_settings() -> None:
    config = TypeAdapter(AgentConfig).validate_python({"kind": "alphazero", "inference": "torch"})
    assert isinstance(config, AlphaZeroConfig)
    learner = make_learner(SPEC, config, 1)
    assert isinstance(learner, AlphaZeroLearner)
    policy = make_policy(SPEC, config, learner.weights(), {"simulations": 7, "temperature": 0.5})
    assert isinstance(policy, AlphaZeroPolicy)
    assert (policy.config.simulations, policy.temperature, policy.explore) == (7, 0.5, False)
    for settings, message in (
        ({"simulation": 50}, r"no play setting 'simulation'\. Did you mean 'simulations'\?"),
        ({"simulations": -1}, r"simulations must be a whole number from 0 to 1,000,000, not -1\."),
        ({"simulations": 2.5}, r"simulations must be a whole number from 0 to 1,000,000, not 2\.5\."),
        ({"simulations": "many"}, r"not 'many'\."),
    ):
        with pytest.raises(ValueError, match=message):
            make_policy(SPEC, config, learner.weights(), settings)


def test_alphazero_asks_for_determinised_search_where_information_is_hidden() -> None:
    hidden = GameSpec("hidden", 2, 3, (4,), 10, perfect_information=False, searchable=True, resamples=True)
    reason = refusal(hidden, AlphaZeroConfig())
    assert reason is not None
    assert "agent.search.determinise" in reason
    assert refusal(hidden, AlphaZeroConfig(search=SearchConfig(determinise=True))) is None
    assert refusal(hidden, PPOConfig()) is None
    closed = replace(hidden, resamples=False)
    assert "other worlds" in str(refusal(closed, AlphaZeroConfig(search=SearchConfig(determinise=True))))
