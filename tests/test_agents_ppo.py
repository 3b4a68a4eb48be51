"""PPO against a plain reference, the guards around it, exact resume, and that it learns what can be learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

import games
from agents.core import Context, Policy, Trajectories
from agents.credit import advantages
from agents.networks import NetworkConfig, PolicyValueNet, load_arrays
from agents.ppo import PPOConfig, PPOLearner, PPOPolicy, Schedule
from agents.sampling import sample
from agents.scripted import Random
from arena.rollout import Order, Rollout
from games import Decisions, Game, GameSpec
from games.keys import generator, mix
from leagues.core import Match

SMALL = NetworkConfig(width=16, layers=1, channels=4, blocks=1)


class Signals:
    """Each seat sees a sign of its own and is paid for naming it, seat 1 for naming the next one; 3 is never legal."""

    spec = GameSpec("signals", 2, 5, (8,), longest=1, simultaneous=True, payoff="general_sum", bounds=(0, 1))
    signs = (0, 1, 2, 4)

    def __init__(self, rng: np.random.Generator) -> None:
        self.shown = rng.integers(4, size=2).tolist()
        self.over = False

    @property
    def seats(self) -> Sequence[int]:
        return (0, 1)

    def legal(self, seat: int) -> Sequence[int]:
        return self.signs

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[4 * seat + self.shown[seat]] = 1

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.over = True
        return [float(action == self.signs[(self.shown[seat] + seat) % 4]) for seat, action in enumerate(actions)]


class Loop:
    """Nobody is paid, nothing ends: each step of two seats in turn shows another observation; cut after five."""

    spec = GameSpec("loop", 2, 3, (4,), longest=5, payoff="general_sum")
    over = False

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.turn = int(rng.integers(1000))

    @property
    def seats(self) -> Sequence[int]:
        return (self.turn % 2,)

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 2) if self.turn % 3 else (1, 2)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = (seat, np.sin(self.turn), np.cos(3 * self.turn), 1)

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        self.turn += 1
        return (float(actions[0]), -1.0)


class Stage:
    """Who plays: by name, changed at will."""

    def __init__(self, **policies: Policy) -> None:
        self.policies = policies

    def policy(self, player: str) -> Policy:
        return self.policies[player]

    def version(self, player: str) -> int:
        return 0


class Practice:
    """One learner in self-play, in the way that a run has it."""

    def __init__(self, game: Game, config: PPOConfig, seed: int = 0, rows: int = 64) -> None:
        self.game, self.config = game, config
        self.learner = PPOLearner(game.spec, config, seed)
        self.stage = Stage(me=self.policy())
        self.rollout = Rollout(game, self.stage, rows)
        self.updates = 0
        self.match = Match(1, ("me",) * len(set(game.spec.teams)), "train", seed)

    def policy(self, temperature: float = 1.0) -> PPOPolicy:
        return PPOPolicy(self.game.spec, self.config, self.learner.weights(), temperature)

    def play(self) -> Trajectories:
        played = self.rollout.run(Order((self.match,), self.config.batch, ("me",))).trajectories
        return played["me"] if played else self.play()  # no game was over yet

    def round(self) -> dict[str, float]:
        """Play, learn, publish."""
        metrics = self.learner.update(self.play(), generator(int(mix(5, self.updates))))
        self.stage.policies["me"] = self.policy()
        self.updates += 1
        return metrics


def practice(game: str | type[Any], **settings: Any) -> Practice:
    made = games.make(game) if isinstance(game, str) else games.lift(game)
    return Practice(made, PPOConfig.model_validate({"network": SMALL, "batch": 256, "minibatch": 64} | settings))


def updated(p: Practice, t: Trajectories, seed: int = 7) -> dict[str, float]:
    return p.learner.update(t, np.random.default_rng(seed))


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def values(policy: PPOPolicy, observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `policy` says of observation [n, *O], by way of `act`."""
    return choices(policy, observation, np.ones((len(observation), policy.net.policy.out_features), np.bool_))["value"]


def choices(policy: PPOPolicy, observation: NDArray[np.float32], legal: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    n = len(observation)
    seen = Decisions(observation[:, None], legal[:, None], np.zeros((n, 1), np.int16), np.ones((n, 1), np.bool_))
    nowhere = Context(games.lift(Signals), None, np.arange(n))
    choice = policy.act(seen, nowhere, mix(11, np.arange(n))[:, None])
    return {"action": choice.action[:, 0]} | {name: array[:, 0] for name, array in choice.extras.items()}


# ---- acting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_actions_are_drawn_as_often_as_softmax_says(temperature: float) -> None:
    n = 40_000
    logits = np.array([0.3, -1.2, 2.0, 5.0, 0.9], np.float32)
    legal = np.array([1, 1, 1, 0, 1], np.bool_)
    action, log_prob = sample(
        np.broadcast_to(logits, (n, 5)), np.broadcast_to(legal, (n, 5)), mix(1, np.arange(n)), temperature
    )
    expected = np.where(legal, np.exp(logits.astype(np.float64) / temperature), 0)
    expected /= expected.sum()
    seen = np.bincount(action, minlength=5) / n
    assert (np.abs(seen - expected) <= 4 * np.sqrt(expected * (1 - expected) / n)).all()
    np.testing.assert_allclose(log_prob, np.log(expected[action]), rtol=1e-5)


def test_temperature_nought_takes_the_most_likely_of_the_legal() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 6)).astype(np.float32)
    legal = rng.random((200, 6)) < 0.3
    action, log_prob = sample(logits, legal, mix(2, np.arange(200)), 0.0)
    best = np.where(legal, logits, -np.inf).argmax(axis=1)
    assert action.tolist() == np.where(legal.any(axis=1), best, -1).tolist()
    assert not legal.any(axis=1).all()
    assert (log_prob == 0).all()


def test_a_choice_belongs_to_its_key() -> None:
    logits, legal = np.zeros((3, 50), np.float32), np.ones((3, 50), np.bool_)
    keys = mix(3, np.array([1, 2, 3]))
    action, _ = sample(logits, legal, keys, 1.0)
    assert sample(logits[:1], legal[:1], keys[2:], 1.0)[0].tolist() == [action[2]]
    assert len(set(action.tolist())) == 3


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_an_illegal_action_is_never_played(temperature: float) -> None:
    p = practice(Signals)
    weights = p.learner.weights()
    weights["net.policy.bias"][3] = 1e6
    policy = PPOPolicy(p.game.spec, p.config, weights, temperature)
    legal = np.broadcast_to(np.array([1, 1, 1, 0, 1], np.bool_), (500, 5))
    played = choices(policy, np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32), legal)
    assert 3 not in played["action"]
    assert np.isfinite(played["log_prob"]).all()


def test_the_config_names_the_temperature_of_snapshots_and_settings_overrule_it() -> None:
    p = practice(Signals, temperature=0.0)
    weights = p.learner.weights()
    assert PPOPolicy(p.game.spec, p.config, weights).temperature == 0
    assert PPOPolicy(p.game.spec, p.config, weights, 1.0).temperature == 1


def test_an_analysis_is_what_the_network_says_of_the_legal_actions() -> None:
    p = practice(Signals, normalise_values=True)
    updated(p, p.play())
    policy = p.policy(temperature=0.1)
    weights = p.learner.weights()
    observation = np.random.default_rng(4).normal(size=(1, 8)).astype(np.float32)
    logits, value = policy.net(torch.from_numpy(observation))
    shown = Decisions(
        observation[:, None], np.array([[[1, 1, 0, 0, 1]]], np.bool_), np.zeros((1, 1), np.int16), np.ones((1, 1), bool)
    )
    analysis = policy.analyse(shown, Context(p.game, None, np.zeros(1, np.int64)), mix(1, [[0]]))
    likely = torch.softmax(logits[0, [0, 1, 4]], 0).tolist()
    best_first = sorted(zip((0, 1, 4), likely, strict=True), key=lambda pair: -pair[1])
    assert [option.action for option in analysis.options] == [action for action, _ in best_first]
    assert [option.prior for option in analysis.options] == pytest.approx([prior for _, prior in best_first], abs=1e-6)
    assert [(option.visits, option.value) for option in analysis.options] == [(0, None)] * 3
    assert [option.line for option in analysis.options] == [(action,) for action, _ in best_first]
    spread = np.sqrt(weights["value_norm.variance"] + 1e-6)
    assert analysis.value == pytest.approx(
        float(value[0]) * float(spread) + float(weights["value_norm.mean"]), abs=1e-5
    )


# ---- the update ------------------------------------------------------------------------------------------------------


class Reference:
    """The update in plain torch: softmax along the actions, and clipping by torch's own function."""

    def __init__(self, p: Practice) -> None:
        self.config = p.config
        self.net = PolicyValueNet(p.game.spec, p.config.network)
        own = p.learner.weights()
        load_arrays(self.net, {name[4:]: array for name, array in own.items() if name.startswith("net.")})
        self.adam = torch.optim.Adam(self.net.parameters(), lr=p.config.learning_rate.start, eps=1e-5)

    def update(self, t: Trajectories, rng: np.random.Generator) -> float:
        """Makes the update; gives how much of the targets' variance the values at play explained."""
        config = self.config
        with torch.no_grad():
            _, cut = self.net(torch.from_numpy(t.cut_observation).flatten(0, 1))
        cut_values = cut.numpy().reshape(len(t.cut_game), t.reward.shape[1])
        estimate = advantages(t, t.extras["value"], cut_values, gamma=config.gamma, lam=config.lam)
        target = torch.from_numpy(estimate + t.extras["value"])
        advantage, legal, action = (torch.from_numpy(array) for array in (estimate, t.legal, t.action))
        for _ in range(config.epochs):
            pieces = max(1, round(t.decisions / config.minibatch))
            for rows in np.array_split(rng.permutation(t.decisions), pieces):
                logits, value = self.net(torch.from_numpy(t.observation[rows]))
                log_probs = torch.where(legal[rows], logits, -1e8).log_softmax(1)
                entropy = -(log_probs.exp() * log_probs).sum(1).mean()
                acted = torch.from_numpy(t.extras["log_prob"][rows])
                ratio = (log_probs.gather(1, action[rows, None])[:, 0] - acted).exp()
                a = (advantage[rows] - advantage[rows].mean()) / (advantage[rows].std() + 1e-8)
                gain = torch.minimum(ratio * a, ratio.clamp(1 - config.clip, 1 + config.clip) * a).mean()
                error = ((value - target[rows]) ** 2).mean()
                loss = config.value_weight * error - gain - config.entropy.start * entropy
                self.adam.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.net.parameters(), config.max_grad_norm)
                self.adam.step()
        return float(1 - estimate.var() / (estimate + t.extras["value"]).var())


@pytest.mark.parametrize("game", [Signals, Loop, "tic_tac_toe"])
def test_an_update_is_that_of_the_reference(game: str | type[Any]) -> None:
    """Simultaneous seats, cut games, a convolution network; two updates, so that Adam's memory counts."""
    p = practice(game, normalise_values=False, target_kl=None, entropy=0.02, max_grad_norm=0.3, learning_rate=2e-3)
    reference = Reference(p)
    for seed in range(2):
        t = p.play()
        assert len(t.cut_game) == (t.games if game is Loop else 0)
        explained = updated(p, t, seed)["explained_variance"]
        assert explained == pytest.approx(reference.update(t, np.random.default_rng(seed)), abs=1e-4)
        p.stage.policies["me"] = p.policy()
    own = p.learner.weights()
    for name, parameter in reference.net.named_parameters():
        np.testing.assert_allclose(own[f"net.{name}"], parameter.detach().numpy(), atol=2e-5, err_msg=name)


def test_acting_and_learning_agree_on_how_likely_a_choice_was() -> None:
    """So the ratio of the first minibatch is 1: nothing is clipped, and the policy has not moved."""
    for game in (Signals, "tic_tac_toe"):
        p = practice(game, epochs=1, minibatch=100_000, learning_rate=1e-2)
        for _ in range(3):
            p.rollout = Rollout(p.game, p.stage, rows=16)  # no games that older weights began
            metrics = p.round()
            assert metrics["clipped"] == 0
            assert abs(metrics["kl"]) < 1e-7
            assert abs(metrics["policy_loss"]) < 1e-6  # the mean of normalised advantages


def test_an_illegal_action_gets_no_gradient() -> None:
    p = practice(Signals)
    before = p.learner.weights()
    p.round()
    after = p.learner.weights()
    for name in ("net.policy.weight", "net.policy.bias"):
        moved = (after[name] != before[name]).reshape(5, -1).any(axis=1)
        assert moved.tolist() == [True, True, True, False, True]
    moments = p.learner.state()["adam.exp_avg"]
    assert (moments == 0).sum() >= 17  # the sixteen weights and the bias of the illegal action


@pytest.mark.parametrize("most", [0.01, 1e9])
def test_gradients_are_clipped(most: float) -> None:
    p = practice(Signals, epochs=1, minibatch=100_000, max_grad_norm=most)
    metrics = p.round()
    first_moment = np.linalg.norm(p.learner.state()["adam.exp_avg"]) / 0.1  # Adam keeps a tenth of the first gradient
    assert metrics["grad_norm"] > 0.01
    assert first_moment == pytest.approx(min(most, metrics["grad_norm"]), rel=1e-3)


def test_an_update_ends_early_where_the_policy_has_moved_too_far() -> None:
    epochs = {}
    for target in (None, 1e-6, 1e6):
        p = practice(Signals, epochs=3, learning_rate=0.03, target_kl=target)
        epochs[target] = p.round()["epochs"]
    assert epochs == {None: 3, 1e-6: 1, 1e6: 3}


def test_rates_move_in_a_straight_line_and_stay() -> None:
    schedule = Schedule(start=3.0, end=1.0, over=100)
    assert [schedule.at(n) for n in (0, 25, 50, 100, 10**9)] == [3, 2.5, 2, 1, 1]
    p = practice(Signals, learning_rate={"start": 1e-2, "end": 0.0, "over": 512})
    rates = [p.round()["learning_rate"] for _ in range(4)]
    assert rates[0] == 1e-2
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0
    before = p.learner.weights()
    p.round()
    after = p.learner.weights()
    assert all((before[name] == after[name]).all() for name in before if name.startswith("net.trunk"))


def test_the_entropy_bonus_has_a_schedule_too() -> None:
    falling = {"start": 5.0, "end": 0.5, "over": 10}
    for decisions, weight in ((0, 5.0), (10, 0.5)):
        scheduled, constant = practice(Signals, entropy=falling), practice(Signals, entropy=weight)
        scheduled.learner.decisions = decisions
        scheduled.round()
        constant.round()
        assert same(scheduled.learner.weights(), constant.learner.weights())


def test_the_entropy_bonus_keeps_a_policy_even_where_it_is_large() -> None:
    entropy = {}
    for bonus in (0.0, 10.0):
        p = practice(Signals, entropy=bonus, learning_rate=1e-2, target_kl=None)
        entropy[bonus] = [p.round()["entropy"] for _ in range(12)][-1]
    assert entropy[10.0] == pytest.approx(np.log(4), abs=0.02)
    assert entropy[0.0] < entropy[10.0] - 0.2


# ---- normalisation ---------------------------------------------------------------------------------------------------


def test_values_do_not_change_when_their_scale_is_learned() -> None:
    """PopArt: at a learning rate of 0 nothing else moves, though the targets are thousands."""
    p = practice(Signals, learning_rate=0.0)
    observation = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    before = values(p.policy(), observation)
    t = p.play()
    t.reward = 5000 + 300 * t.reward
    updated(p, t)
    weights = p.learner.weights()
    assert weights["value_norm.mean"] == pytest.approx(5000 + 75, rel=0.02)
    np.testing.assert_allclose(values(p.policy(), observation), before, atol=2e-3)  # of 5000, in float32
    assert np.ptp(before) > 0.1


@pytest.mark.parametrize("normalise", [True, False])
def test_values_are_in_the_games_own_units(normalise: bool) -> None:
    """At gamma 0 a value is what is earned up to the next decision: here about 20 for seat 0, and -20 for seat 1."""
    p = practice(Loop, normalise_values=normalise, gamma=0.0, learning_rate=1e-2, target_kl=None, epochs=8)
    for _ in range(25):
        t = p.play()
        t.reward *= 10
        updated(p, t)
        p.stage.policies["me"] = p.policy()
    nothing, no_cuts = np.zeros(t.decisions, np.float32), np.zeros((len(t.cut_game), 2), np.float32)
    earned = advantages(t, nothing, no_cuts, gamma=0.0, lam=0.0)
    said = values(p.policy(), t.observation)
    for seat in range(2):
        assert abs(earned[t.seat == seat].mean()) > 10
        assert said[t.seat == seat].mean() == pytest.approx(earned[t.seat == seat].mean(), abs=1.5)


def test_a_cut_game_is_worth_what_the_policy_says_of_its_last_views() -> None:
    p = practice(Loop)
    for _ in range(3):
        t = p.play()
        t.reward = 100 + 10 * t.reward
        updated(p, t)
    flat = t.cut_observation.reshape(-1, *Loop.spec.observation)
    said = values(p.policy(), flat).reshape(len(t.cut_game), 2)
    np.testing.assert_allclose(p.learner._cut_values(t), said, rtol=1e-4)
    assert said.mean() > 20  # not about one, as the network's own output


def test_observations_are_normalised_by_what_was_seen() -> None:
    p = practice(Signals, normalise_observations=True)
    seen = []
    for _ in range(3):
        t = p.play()
        t.observation = 1000 + 50 * t.observation
        seen.append(t.observation)
        updated(p, t)
    weights = p.learner.weights()
    everything = np.concatenate(seen)
    np.testing.assert_allclose(weights["net.normalise.mean"], everything.mean(0), rtol=1e-4)
    np.testing.assert_allclose(weights["net.normalise.variance"], everything.var(0), rtol=1e-2)
    policy = p.policy()
    normalised = (everything[:9] - everything.mean(0)) / everything.std(0)
    with torch.no_grad():
        logits, _ = policy.net(torch.from_numpy(everything[:9]))
        policy.net.normalise = None
        expected, _ = policy.net(torch.from_numpy(normalised))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_observations_that_are_not_finite_leave_the_statistics_alone() -> None:
    p = practice(Signals, normalise_observations=True)
    updated(p, p.play())
    before = p.learner.weights()
    t = p.play()
    t.observation[0, 0] = np.nan
    metrics = updated(p, t)
    after = p.learner.weights()
    assert metrics["skipped_steps"] > 0
    assert all((before[name] == after[name]).all() for name in before if "normalise" in name)
    assert all(np.isfinite(array).all() for array in after.values())


# ---- guards ----------------------------------------------------------------------------------------------------------


def test_steps_that_are_not_finite_change_nothing_and_are_counted() -> None:
    p = practice(Signals)
    p.round()
    before = p.learner.state()
    t = p.play()
    t.reward[:] = np.nan
    metrics = updated(p, t)
    after = p.learner.state()
    assert metrics["skipped_steps"] == 4 * round(t.decisions / 64)
    decisions, updates, _ = before.pop("counters").tolist()
    assert after.pop("counters").tolist() == [decisions + t.decisions, updates + 1, metrics["skipped_steps"]]
    assert same(before, after)


def test_one_poisoned_decision_costs_only_its_minibatches() -> None:
    p = practice(Signals, target_kl=None)
    t = p.play()
    before = p.learner.weights()
    t.extras["log_prob"][5] = np.nan
    metrics = updated(p, t)
    after = p.learner.weights()
    assert metrics["skipped_steps"] == 4  # one in every epoch
    assert not same(before, after)
    assert all(np.isfinite(array).all() for array in after.values())
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_learner_gives_up_after_so_many_bad_steps_in_a_row() -> None:
    p = practice(Signals, most_skipped=20)
    good, bad = p.play(), p.play()
    bad.reward[:] = np.nan
    bad_steps = 4 * round(bad.decisions / 64)
    assert bad_steps < 20 < 2 * bad_steps
    updated(p, bad)
    updated(p, good)  # a good step starts the count anew
    updated(p, bad)
    with pytest.raises(FloatingPointError, match=r"20 gradient steps in a row were not finite .* Lower learning_rate"):
        updated(p, bad)


# ---- weights and state -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [Signals, "tic_tac_toe"])
def test_weights_bring_a_learner_over(game: str | type[Any]) -> None:
    p = practice(game, normalise_observations=True)
    p.round()
    other = PPOLearner(p.game.spec, p.config, seed=99)
    assert not same(other.weights(), p.learner.weights())
    other.load(p.learner.weights())
    assert same(other.weights(), p.learner.weights())


def test_a_loaded_learner_learns_on_with_what_it_loaded() -> None:
    """Loading must reach the parameters that the optimiser moves, and forget the moments of others."""
    p = practice(Signals)
    p.round()
    t, start = p.play(), p.learner.weights()
    fresh, used = (PPOLearner(p.game.spec, p.config, seed) for seed in (1, 2))
    used.update(t, np.random.default_rng(3))
    for learner in (fresh, used):
        learner.load(start)
        learner.decisions = 0
        learner.update(t, np.random.default_rng(4))
    assert same(fresh.weights(), used.weights())
    assert not same(fresh.weights(), start)


def test_weights_are_not_touched_by_later_updates() -> None:
    p = practice(Signals)
    p.round()
    weights, state = p.learner.weights(), p.learner.state()
    kept = {name: array.copy() for name, array in weights.items()}, {name: a.copy() for name, a in state.items()}
    p.round()
    assert same(weights, kept[0])
    assert same(state, kept[1])
    assert not same(weights, p.learner.weights())


def test_what_does_not_fit_is_named() -> None:
    p = practice(Signals)
    wide = PPOLearner(p.game.spec, PPOConfig(network=NetworkConfig(width=17, layers=1)), 0)
    with pytest.raises(ValueError, match=r"'policy.weight' has shape \(5, 17\), but \(5, 16\) is needed"):
        p.learner.load(wide.weights())
    with pytest.raises(ValueError, match=r"'value\.bias' is missing from them"):
        p.learner.load({name: array for name, array in p.learner.weights().items() if name != "net.value.bias"})
    p.round()
    state = p.learner.state()
    with pytest.raises(ValueError, match="'counters' is missing"):
        p.learner.restore({name: array for name, array in state.items() if name != "counters"})
    with pytest.raises(ValueError, match=r"another network: Adam's are .*exp_avg"):
        p.learner.restore(state | {"adam.exp_avg": state["adam.exp_avg"][1:]})
    with pytest.raises(ValueError, match="another network"):
        wide.restore(state)
    assert same(p.learner.state(), state)


def test_a_policy_refuses_the_weights_of_another_network() -> None:
    p = practice(Signals)
    with pytest.raises(ValueError, match="another network"):
        PPOPolicy(p.game.spec, PPOConfig(network=NetworkConfig(width=17, layers=1)), p.learner.weights())


@pytest.mark.parametrize("game", [Signals, "tic_tac_toe"])
def test_two_updates_and_two_more_are_four(game: str | type[Any]) -> None:
    """Bit for bit, through the state of a learner that began elsewhere."""
    settings = {
        "normalise_observations": True,
        "learning_rate": {"start": 3e-3, "end": 1e-4, "over": 900},
        "entropy": {"start": 0.1, "end": 0.0, "over": 900},
    }
    p = practice(game, **settings)
    batches = [p.play() for _ in range(4)]
    batches[1].reward[:] = np.nan  # so that skipped steps in a row are carried over, too
    for number, t in enumerate(batches):
        p.learner.update(t, np.random.default_rng(number))
    resumed = PPOLearner(p.game.spec, p.config, seed=0)
    for number, t in enumerate(batches):
        if number == 2:
            state = resumed.state()
            resumed = PPOLearner(p.game.spec, p.config, seed=12345)
            resumed.restore({name: array.copy() for name, array in state.items()})
            assert same(resumed.state(), state)
        resumed.update(t, np.random.default_rng(number))
    assert same(resumed.state(), p.learner.state())


def test_a_fresh_state_can_be_restored_over_a_used_one() -> None:
    p = practice(Signals)
    fresh = p.learner.state()
    p.round()
    p.learner.restore(fresh)
    assert same(p.learner.state(), fresh)


def test_a_seed_makes_the_weights_and_leaves_torchs_generator_alone() -> None:
    spec, config = games.spec_of("tic_tac_toe"), PPOConfig(network=SMALL)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, twin, other = (PPOLearner(spec, config, seed).weights() for seed in (4, 4, 5))
    assert same(one, twin)
    assert not same(one, other)
    assert torch.equal(torch.get_rng_state(), before)


# ---- config ----------------------------------------------------------------------------------------------------------


def test_numbers_are_constant_schedules_also_as_yaml_reads_them() -> None:
    config = PPOConfig.model_validate({"learning_rate": "1e-3", "entropy": 0})
    assert config.learning_rate == Schedule(start=1e-3, end=1e-3, over=1)
    assert config.entropy.at(10**6) == 0
    assert PPOConfig.model_validate(config.model_dump()) == config
    assert PPOConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"learning_rte": 1e-3}, "learning_rte"),
        ({"learning_rate": -1e-3}, "learning_rate.start"),
        ({"learning_rate": "fast"}, "learning_rate.start"),
        ({"learning_rate": {"start": 1, "end": 0}}, "learning_rate.over"),
        ({"learning_rate": {"start": 1, "end": 0, "over": 0}}, "learning_rate.over"),
        ({"minibatch": 0}, "minibatch"),
        ({"epochs": 1.5}, "epochs"),
        ({"gamma": 1.01}, "gamma"),
        ({"lam": -0.1}, "lam"),
        ({"target_kl": 0}, "target_kl"),
        ({"temperature": -1}, "temperature"),
        ({"network": {"kind": "rnn"}}, "network.kind"),
        ({"kind": "dqn"}, "kind"),
    ],
)
def test_a_config_is_refused_by_the_name_of_the_setting(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PPOConfig.model_validate(wrong)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == where


# ---- learning --------------------------------------------------------------------------------------------------------


def score(policy: PPOPolicy, game: Game, opponent: Policy | None = None, count: int = 400) -> float:
    """The mean return of `policy` against `opponent`, from every seat as often, or of all seats where there is none."""
    stage = Stage(me=policy, other=opponent or policy)
    match = Match(1, ("me", "other"), "rate", seed=77, games=count)
    results = Rollout(game, stage, 64).run(Order((match,))).results
    if opponent is None:
        return float(np.mean([result.returns for result in results]))
    return float(np.mean([result.returns[result.game % 2] for result in results]))


def test_what_each_seat_sees_is_learned() -> None:
    """Guessing earns 1/4."""
    p = practice(Signals, batch=512, learning_rate=1e-2)
    assert score(p.policy(), p.game) == pytest.approx(0.25, abs=0.06)
    for _ in range(40):
        p.round()
    assert score(p.policy(), p.game) > 0.95
    assert score(p.policy(temperature=0.0), p.game) == 1


def trained(rounds: int) -> Practice:
    settings: dict[str, Any] = {"network": {"kind": "mlp", "width": 64}, "batch": 2048, "minibatch": 256}
    p = practice("tic_tac_toe", learning_rate=3e-3, gamma=1.0, **settings)
    for _ in range(rounds):
        p.round()
    return p


def test_tic_tac_toe_is_learned_from_self_play() -> None:
    """Random play has a mean return of 0 from both seats together; perfect play about 0.95 against it."""
    p = trained(30)
    assert score(p.policy(temperature=0.0), p.game, Random()) > 0.65
