"""QMIX, VDN and independent Q-learning against a plain reference, step by step; acting, targets, guards, resume."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from test_agents_episodes import Patrol, Relay, Stage, Story, Wanderer, by_definition, by_hand
from torch import Tensor

import games
from agents.core import Choice, Context, Trajectories
from agents.episodes import Batch, Seating, episodes
from agents.kinds import make_policy
from agents.qmix import QMIXLearner, QMIXPolicy, remark, supports
from agents.qmix_config import QMIXConfig
from agents.qmix_networks import make_mixer
from arena.rollout import Order, Rollout
from games import Decisions, Game, GameSpec, Keys
from games.keys import mix
from leagues.core import Match

SMALL = {"width": 12, "embedding": 5, "hyper": 7, "batch": 200, "episodes": 8, "replay": 60}
FOREVER = {"target_every": 10**9}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings_of(**settings: Any) -> QMIXConfig:
    return QMIXConfig.model_validate(SMALL | settings)


class Practice:
    """One learner in self-play, in the way that a run has it: games go on from one round to the next."""

    def __init__(self, game: Any, seed: int = 0, opening: int = 0, **settings: Any) -> None:
        self.game: Game = games.make(game) if isinstance(game, str) else games.lift(game)
        self.config = settings_of(**settings)
        self.learner = QMIXLearner(self.game.spec, self.config, seed)
        self.stage = Stage(self.policy())
        self.rollout = Rollout(self.game, self.stage, 6)
        players = ("me",) * len(set(self.game.spec.teams))
        self.match = Match(1, players, "train", seed, opening=opening)

    def policy(self) -> QMIXPolicy:
        return QMIXPolicy(self.game.spec, self.config, self.learner.weights(), explore=True)

    def play(self) -> Trajectories:
        played = self.rollout.run(Order((self.match,), self.config.batch, ("me",))).trajectories
        return played["me"] if played else self.play()  # no game was over yet

    def round(self, seed: int = 7) -> dict[str, float]:
        """Play, learn, publish."""
        metrics = self.learner.update(self.play(), np.random.default_rng(seed))
        self.stage.everybody = self.policy()
        return metrics


def weights_of(learner: QMIXLearner) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in learner.weights().items() if name != "epsilon"}


def target_of(learner: QMIXLearner) -> dict[str, NDArray[Any]]:
    """The target network's weights, by name."""
    flat, found, at = learner.state()["target"], {}, 0
    for name, parameter in learner.learned.named_parameters():
        found[name] = flat[at : at + parameter.numel()].reshape(parameter.shape)
        at += parameter.numel()
    assert at == len(flat)
    return found


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def constant(game: Any, q: Sequence[float], **settings: Any) -> QMIXLearner:
    """A learner whose Q_i are `q`, whatever is seen. So are the target's."""
    learner = QMIXLearner(game.spec, settings_of(**settings), 0)
    weights = {name: np.zeros_like(array) for name, array in learner.weights().items()}
    weights["net.value.bias"] = np.array(q, np.float32)
    learner.load(weights)
    return learner


def stories_of(t: Trajectories, spec: GameSpec, config: QMIXConfig) -> list[Story]:
    return by_definition(t, spec, config.team_reward, cut_goes_on=config.time_limit == "bootstrap")


# ---- the reference ---------------------------------------------------------------------------------------------------


class Reference:
    """The learner in plain Python: every episode, row and member by itself, in float64, with autograd's gradient."""

    def __init__(self, learner: QMIXLearner) -> None:
        self.spec, self.config = learner.spec, learner.config
        self.target = {name: torch.tensor(a, dtype=torch.float64) for name, a in target_of(learner).items()}
        self.w = {name: torch.tensor(weights_of(learner)[name], dtype=torch.float64) for name in self.target}
        for parameter in self.w.values():
            parameter.requires_grad_()
        self.adam = torch.optim.Adam(self.w.values(), eps=1e-5)
        self.kept: list[Story] = []
        self.paid: list[float] = []
        self.seen: list[NDArray[np.float64]] = []  # by members, when they acted
        self.shown: list[NDArray[np.float64]] = []  # to the mixer
        self.made = 0
        self.owed = 0.0

    def update(self, t: Trajectories, rng: np.random.Generator) -> None:
        config = self.config
        new = stories_of(t, self.spec, config)
        self.kept = (self.kept + new)[-config.replay :]
        self.note(new)
        self.owed += config.updates * len(new)
        if len(self.kept) < config.episodes:
            self.owed = 0
        while self.owed >= 1:
            self.owed -= 1
            chosen = rng.choice(len(self.kept), config.episodes, replace=False)
            self.gradient([self.kept[i] for i in chosen])
            torch.nn.utils.clip_grad_norm_(self.w.values(), config.max_grad_norm)
            self.adam.param_groups[0]["lr"] = config.learning_rate.at(len(self.paid))
            self.adam.step()
            self.made += 1
            for name, old in self.target.items():
                now = self.w[name].detach()
                if config.tau is not None:
                    self.target[name] = (1 - config.tau) * old + config.tau * now
                elif config.target_every and self.made % config.target_every == 0:
                    self.target[name] = now.clone()

    def note(self, new: Sequence[Story]) -> None:
        """Take in what statistics are made of."""
        for story in new:
            for u, row in enumerate(story.rows[:-1]):
                self.paid.append(row.reward)
                self.seen += [array.astype(np.float64).ravel() for array in row.observation.values()]
                self.shown.append(self.state(story, u))

    def normal(self, x: NDArray[np.float64], among: Sequence[NDArray[np.float64]]) -> Tensor:
        if self.config.normalise_observations:
            x = ((x - np.mean(among, axis=0)) / np.sqrt(np.var(among, axis=0) + 1e-6)).clip(-10, 10)
        return torch.from_numpy(x)

    def gradient(self, stories: Sequence[Story]) -> dict[str, float]:
        """Leaves the gradient of the loss in the weights."""
        values: list[Tensor] = []
        targets: list[float] = []
        for story in stories:
            q, theirs = self.unroll(self.w, story), self.unroll(self.target, story)
            holders = [[seat] for seat in story.seats] if self.config.mixer == "iql" else [story.seats]
            for seats in holders:
                worth = self.worth(story, seats, q, theirs)
                for u, row in enumerate(story.rows[:-1]):
                    acting = [seat for seat in seats if seat in row.action]
                    if acting:
                        values.append(self.mixed(self.w, story, u, {s: q[u][s][row.action[s]] for s in acting}))
                        targets.append(self.return_from(story, u, worth))
        value, target = torch.stack(values), torch.tensor(targets, dtype=torch.float64)
        loss = ((value - target) ** 2).mean()
        self.adam.zero_grad()
        loss.backward()
        for parameter in self.w.values():  # such as weights of a seat that no episode is about
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        norm = torch.cat([parameter.grad.flatten() for parameter in self.w.values()]).norm()  # type: ignore[union-attr]
        found = {"loss": loss, "q_tot": value.mean(), "target": target.mean(), "grad_norm": norm}
        return {name: float(tensor.detach()) for name, tensor in found.items()}

    def unroll(self, w: Mapping[str, Tensor], story: Story) -> list[dict[int, Tensor]]:
        """Q_i [A] of each row, by seat."""
        found: list[dict[int, Tensor]] = [{} for _ in story.rows]
        for seat in story.seats:
            h = torch.zeros(self.config.width, dtype=torch.float64)
            for u, row in enumerate(story.rows):
                if seat not in row.observation:
                    continue
                last, own = (torch.zeros(size).double() for size in (self.spec.actions, self.spec.seats))
                own[seat] = 1
                if row.last[seat] >= 0:
                    last[row.last[seat]] = 1
                seen = self.normal(row.observation[seat].astype(np.float64).ravel(), self.seen)
                x = torch.relu(w["net.first.weight"] @ torch.cat([seen, last, own]))
                from_x = (w["net.memory.weight_ih"] @ x + w["net.memory.bias_ih"]).chunk(3)
                from_h = (w["net.memory.weight_hh"] @ h + w["net.memory.bias_hh"]).chunk(3)
                r, z = torch.sigmoid(from_x[0] + from_h[0]), torch.sigmoid(from_x[1] + from_h[1])
                h = (1 - z) * torch.tanh(from_x[2] + r * from_h[2]) + z * h
                found[u][seat] = w["net.value.weight"] @ h + w["net.value.bias"]
        return found

    def state(self, story: Story, u: int) -> NDArray[np.float64]:
        """What the mixer sees: the game's state, or what each member sees, zeros for whoever does not act."""
        row, spec = story.rows[u], self.spec
        if row.state is not None and self.config.state != "observations":
            shown = [row.state.ravel()]
        else:
            most = max(spec.teams.count(team) for team in spec.teams)
            nothing = np.zeros(spec.observation)
            shown = [row.observation.get(seat, nothing).ravel() for seat in story.seats]
            shown += [nothing.ravel()] * (most - len(story.seats))
        teams = len(set(spec.teams))
        if teams > 1:
            shown.append(np.eye(teams)[story.team])
        return np.concatenate(shown).astype(np.float64)

    def mixed(self, w: Mapping[str, Tensor], story: Story, u: int, q: Mapping[int, Tensor]) -> Tensor:
        """Q_tot of the Q_i of those who act in row `u`; with `iql` there is but one."""
        if self.config.mixer != "qmix":
            return torch.stack(list(q.values())).sum()
        s, config = self.normal(self.state(story, u), self.shown), self.config
        first = w["mixer.first.weight"] @ s + w["mixer.first.bias"]
        a, b, c, hidden = first.split([config.hyper, config.hyper, config.embedding, config.embedding])
        w1 = (w["mixer.inner.weight"] @ torch.relu(a) + w["mixer.inner.bias"]).abs().view(-1, config.embedding)
        w2 = (w["mixer.outer.weight"] @ torch.relu(b) + w["mixer.outer.bias"]).abs()
        for seat, value in q.items():
            hidden = hidden + value * w1[story.seats.index(seat)]
        level = w["mixer.level.weight"] @ torch.relu(c) + w["mixer.level.bias"]
        return (w2 * torch.nn.functional.elu(hidden)).sum() + level[0]

    def worth(
        self, story: Story, seats: Sequence[int], q: list[dict[int, Tensor]], theirs: list[dict[int, Tensor]]
    ) -> dict[int, float]:
        """V of each row in which any of `seats` acts, also of the last where the game was cut."""
        found = {}
        for u, row in enumerate(story.rows):
            best = {}
            for seat in seats:
                if seat in row.observation:
                    judge = (q if self.config.double else theirs)[u][seat].tolist()
                    action = max(np.flatnonzero(row.legal[seat]).tolist(), key=judge.__getitem__)
                    best[seat] = theirs[u][seat][action]
            if best:
                found[u] = float(self.mixed(self.target, story, u, best).detach())
        return found

    def return_from(self, story: Story, u: int, worth: Mapping[int, float]) -> float:
        """The lambda return as a mixture of the returns that stop at each later value, or at the end of the game."""
        gamma, lam, end = self.config.gamma, self.config.lam, len(story.rows) - 1
        rewards = [row.reward for row in story.rows[:-1]]
        if self.config.standardise_rewards:
            rewards = [(r - np.mean(self.paid)) / np.sqrt(np.var(self.paid) + 1e-6) for r in rewards]
        stops = sorted({*(v for v in worth if v > u), end})
        returns = [
            sum(gamma ** (k - u) * rewards[k] for k in range(u, stop)) + gamma ** (stop - u) * worth.get(stop, 0.0)
            for stop in stops
        ]
        mixed = sum((1 - lam) * lam**i * g for i, g in enumerate(returns[:-1]))
        return float(mixed + lam ** (len(stops) - 1) * returns[-1])


CASES: list[dict[str, Any]] = [
    {"mixer": "qmix"},
    {"mixer": "vdn", "lam": 0.0, "double": False},
    {"mixer": "iql", "lam": 0.8, "gamma": 0.9},
    {"mixer": "qmix", "state": "observations", "team_reward": "sum", "lam": 1.0, "double": False, "gamma": 1.0},
    {"mixer": "iql", "lam": 0.0, "double": False, "standardise_rewards": True},
    {"mixer": "qmix", "standardise_rewards": True, "lam": 0.0},
    {"mixer": "qmix", "normalise_observations": True},
    {"mixer": "vdn", "time_limit": "end", "normalise_observations": True, "state": "observations"},
]


def ready(game: Any, **settings: Any) -> tuple[Practice, list[Story]]:
    """A learner some steps away from its target network, and the episodes that it has kept."""
    p = Practice(game, learning_rate=0.02, replay=1000, **(FOREVER | settings))
    stories = []
    for _ in range(2):
        t = p.play()
        stories += stories_of(t, p.game.spec, p.config)
        p.learner.update(t, np.random.default_rng(1))
    return p, stories


@pytest.mark.parametrize("settings", CASES, ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("game", [Patrol, Relay])
def test_a_gradient_is_that_of_the_reference(game: Any, settings: dict[str, Any]) -> None:
    """Loss, values, targets and every weight's gradient: dead members, cut games, two teams, illegal actions."""
    p, stories = ready(game, max_grad_norm=1e9, **settings)
    reference = Reference(p.learner)
    reference.note(stories)
    for seed in range(2):
        chosen = np.random.default_rng(seed).choice(len(stories), 12, replace=False)
        own = weights_of(p.learner)
        reference.w = {name: torch.tensor(own[name]).double().requires_grad_() for name in reference.target}
        expected = reference.gradient([stories[i] for i in chosen])
        found = p.learner.gradient_step(p.learner.replay.batch(chosen))
        assert found == pytest.approx(expected, rel=2e-4, abs=1e-5)
        for name, parameter in p.learner.learned.named_parameters():
            theirs = reference.w[name].grad
            assert theirs is not None
            assert parameter.grad is not None
            atol = 2e-5 * expected["grad_norm"]
            np.testing.assert_allclose(parameter.grad.numpy(), theirs.numpy(), rtol=1e-3, atol=atol, err_msg=name)


@pytest.mark.parametrize("game", [Patrol, Relay])
@pytest.mark.parametrize(
    "settings",
    [
        {"mixer": "qmix", "target_every": 7, "max_grad_norm": 0.5, "normalise_observations": True},
        {"mixer": "vdn", "target_every": None, "tau": 0.2, "updates": 0.7},
        {"mixer": "iql", "target_every": 5, "updates": 1.3, "standardise_rewards": True, "max_grad_norm": 1.0},
    ],
    ids=lambda settings: settings["mixer"],
)
def test_updates_are_those_of_the_reference(game: Any, settings: dict[str, Any]) -> None:
    """Replay, clipping, Adam, the learning rate's schedule, renewals of the target: everything from trajectories on."""
    rate = {"start": 5e-3, "end": 1e-3, "over": 150}
    p = Practice(game, learning_rate=rate, replay=20, batch=60, **settings)
    reference = Reference(p.learner)
    for seed in range(4):
        t = p.play()
        p.learner.update(t, np.random.default_rng(seed))
        reference.update(t, np.random.default_rng(seed))
        assert p.learner.gradient_steps == reference.made
    assert reference.made > 14
    for networks in ((weights_of(p.learner), reference.w), (target_of(p.learner), reference.target)):
        for name, tensor in networks[1].items():
            np.testing.assert_allclose(networks[0][name], tensor.detach().numpy(), atol=2e-4, err_msg=name)


# ---- the mixer -------------------------------------------------------------------------------------------------------


def test_what_the_team_is_worth_rises_with_each_member() -> None:
    mixer = make_mixer(Patrol.spec, settings_of())
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
        q, state = 3 * torch.randn(500, 3, generator=draw), torch.randn(500, 5, generator=draw)
        before, risen = mixer(q, state), []
        for member in range(3):
            for more in (0.01, 1.0, 100.0):
                higher = q.clone()
                higher[:, member] += more
                change = mixer(higher, state) - before
                assert float(change.min()) >= -1e-4  # rounding
                risen.append(float((change > 0).float().mean()))
        assert min(risen) > 0.8  # elu is flat far below 0
        assert float((mixer(q, -state) - before).abs().min()) > 0  # by how much, the state says


def test_a_sum_and_nothing_at_all_do_not_look_at_the_state() -> None:
    q, state = torch.tensor([[1.0, 2.0, 4.0], [0.0, -3.0, 0.5]]), torch.randn(2, 5)
    assert make_mixer(Patrol.spec, settings_of(mixer="vdn"))(q, state).tolist() == [[7.0], [-2.5]]
    assert make_mixer(Patrol.spec, settings_of(mixer="iql"))(q, state).tolist() == q.tolist()


# ---- who does not act ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", ["qmix", "vdn", "iql"])
def test_what_nobody_saw_or_did_is_not_learned_from(mixer: str) -> None:
    """Rows of the dead, and all rows after an end, may hold anything finite."""
    p, _ = ready(Patrol, mixer=mixer)
    batch = p.learner.replay.batch(np.arange(20))
    rng = np.random.default_rng(0)
    dead, after = ~batch.active, np.zeros(batch.playing.shape, np.bool_)
    after[1:] = ~batch.playing[:-1]  # behind the last row, which is worth something where the game was cut
    assert dead[batch.playing].any()
    assert after.any()
    assert batch.state is not None
    other = replace(
        batch,
        observation=np.where(dead[..., None, None], rng.normal(size=batch.observation.shape), batch.observation).astype(
            np.float32
        ),
        legal=np.where(dead[..., None], rng.random(batch.legal.shape) < 0.5, batch.legal),
        action=np.where(dead, rng.integers(4, size=dead.shape), batch.action).astype(np.int16),
        last=np.where(dead, rng.integers(-1, 4, size=dead.shape), batch.last).astype(np.int16),
        reward=np.where(batch.playing, batch.reward, rng.normal(size=batch.reward.shape)).astype(np.float32),
        state=np.where(after[..., None], rng.normal(size=batch.state.shape), batch.state).astype(np.float32),
    )
    twin = QMIXLearner(p.game.spec, p.config, 99)
    twin.restore(p.learner.state())
    assert p.learner.gradient_step(batch) == twin.gradient_step(other)
    assert same(p.learner.weights(), twin.weights())


PAIR = GameSpec("pair", 2, 3, (1,), longest=9, teams=(0, 0), simultaneous=True, payoff="cooperative")


class Pair:
    spec = PAIR


def one_episode(steps: Sequence[tuple[Mapping[int, int], float]], *, cut: bool = False) -> Batch:
    """From steps as (action of each seat that acts, what each of the two is paid)."""
    t = by_hand(PAIR, [(0, actions, (paid, paid)) for actions, paid in steps], cut=[0] if cut else [])
    learner = constant(Pair, (0, 0, 0))
    learner.replay.add(episodes(t, PAIR, Seating.of(PAIR), "mean"))
    return learner.replay.batch(np.array([0]))


def taught(learner: QMIXLearner, batch: Batch) -> tuple[float, float]:
    """The mean of the targets and the mean of their squares, of a learner whose Q are all 0 when it begins."""
    metrics = learner.gradient_step(batch)
    assert metrics is not None
    assert metrics["q_tot"] == 0
    return metrics["target"], metrics["loss"]


def test_the_dead_are_credited_with_what_their_team_earns_later() -> None:
    """Seat 1 acts but once. One-step targets of the living, for it everything after, discounted as it comes."""
    batch = one_episode([({0: 0, 1: 2}, 1), ({0: 1}, 10), ({0: 2}, 100)])
    for gamma, dead in ((1.0, 111.0), (0.5, 1 + 0.5 * (10 + 0.5 * 100))):
        targets = np.array([1, 10, 100, dead])
        found = taught(constant(Pair, (0, 0, 0), mixer="iql", lam=0.0, gamma=gamma), batch)
        assert found == pytest.approx((targets.mean(), (targets**2).mean()))
    together = np.array([1, 10, 100])
    found = taught(constant(Pair, (0, 0, 0), mixer="vdn", lam=0.0, gamma=1.0), batch)
    assert found == pytest.approx((together.mean(), (together**2).mean()))


def test_the_dead_add_nothing_to_what_their_team_is_worth() -> None:
    """All Q are 5, so the next state is worth 5 for each that acts there."""
    batch = one_episode([({0: 0, 1: 2}, 1), ({0: 1}, 10), ({0: 2}, 100)])
    learner = constant(Pair, (5, 5, 5), mixer="vdn", lam=0.0, gamma=0.5)
    metrics = learner.gradient_step(batch)
    assert metrics is not None
    assert metrics["q_tot"] == pytest.approx((10 + 5 + 5) / 3)
    assert metrics["target"] == pytest.approx((1 + 0.5 * 5 + 10 + 0.5 * 5 + 100) / 3)


@pytest.mark.parametrize(("mixer", "after"), [("vdn", 10.0), ("iql", 5.0)])
def test_a_cut_game_is_worth_something_and_one_that_ended_is_not(mixer: str, after: float) -> None:
    steps: list[tuple[Mapping[int, int], float]] = [({0: 0, 1: 2}, 1), ({0: 1, 1: 1}, 10)]
    for lam in (0.0, 0.7, 1.0):
        for cut in (True, False):
            last = 10 + 0.5 * after * cut
            expected = 1 + 0.5 * ((1 - lam) * after + lam * last)
            metrics = constant(Pair, (5, 5, 5), mixer=mixer, lam=lam, gamma=0.5).gradient_step(
                one_episode(steps, cut=cut)
            )
            assert metrics is not None
            assert metrics["target"] == pytest.approx((last + expected) / 2)


def test_an_illegal_action_is_no_next_action() -> None:
    """The best of the legal ones is taken, though an illegal one would be worth more."""
    batch = one_episode([({0: 0, 1: 0}, 0), ({0: 0, 1: 0}, 0)])
    batch.legal[1:, :, :, 2] = False
    for double in (True, False):
        metrics = constant(Pair, (1, 4, 9), mixer="vdn", lam=0.0, gamma=1.0, double=double).gradient_step(batch)
        assert metrics is not None
        assert metrics["target"] == pytest.approx((4 + 4 + 0) / 2)


def test_double_q_chooses_by_one_network_and_judges_by_the_other() -> None:
    batch = one_episode([({0: 0, 1: 0}, 0), ({0: 0, 1: 0}, 0)])
    for double, worth in ((True, 2.0), (False, 7.0)):
        learner = constant(Pair, (0, 0, 0), mixer="iql", lam=0.0, gamma=1.0, double=double, **FOREVER)
        state = learner.state()
        target = target_of(learner)
        target["net.value.bias"][:] = 2, 3, 7
        state["weights.net.value.bias"][:] = 4, 3, 1
        learner.restore(state | {"target": np.concatenate([array.ravel() for array in target.values()])})
        metrics = learner.gradient_step(batch)
        assert metrics is not None
        assert metrics["target"] == pytest.approx((worth + 0) / 2)


# ---- acting ----------------------------------------------------------------------------------------------------------


def choose(policy: QMIXPolicy, legal: NDArray[np.bool_]) -> Choice:
    """What seat 0 of `Pair` does in n games, seeing its number in the batch's thirds."""
    n = len(legal)
    seen = Decisions(
        np.linspace(-1, 1, n, dtype=np.float32)[:, None, None], legal[:, None], np.zeros((n, 1), np.int16),
        legal.any(1, keepdims=True),
    )  # fmt: skip
    memory = np.zeros((n, 1, *policy.memory), np.float32)
    context = Context(games.make("two_step"), None, np.arange(n), memory)
    return policy.act(seen, context, mix(11, np.arange(n))[:, None])


def player(q: Sequence[float], epsilon: float) -> QMIXPolicy:
    learner = constant(Pair, q)
    return QMIXPolicy(PAIR, learner.config, learner.weights(), epsilon)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_any_legal_action_is_played_with_probability_epsilon(epsilon: float) -> None:
    spec = replace(PAIR, actions=5)
    learner = QMIXLearner(spec, settings_of(), 0)
    weights = {name: np.zeros_like(array) for name, array in learner.weights().items()}
    weights["net.value.bias"] = np.array([1, 3, 9, 2, 0], np.float32)
    n, legal = 40_000, np.array([1, 1, 0, 1, 0], np.bool_)
    policy = QMIXPolicy(spec, learner.config, weights, epsilon)
    action = choose(policy, np.broadcast_to(legal, (n, 5))).action[:, 0]
    expected = epsilon * legal / 3
    expected[1] += 1 - epsilon  # the best of the legal
    seen = np.bincount(action, minlength=5) / n
    assert (np.abs(seen - expected) <= 4 * np.sqrt(expected * (1 - expected) / n)).all()
    assert expected[[2, 4]].sum() == 0  # so seen no more than 0 times


def test_an_illegal_action_is_never_played_and_who_has_none_does_nothing() -> None:
    legal = np.random.default_rng(0).random((3000, 3)) < 0.5
    for epsilon in (0.0, 0.5, 1.0):
        action = choose(player((0, -1e30, 1e30), epsilon), legal).action[:, 0]
        some = legal.any(axis=1)
        assert legal[some, action[some]].all()
        assert (action[~some] == -1).all()
        assert not some.all()


def test_a_choice_belongs_to_its_key_and_not_to_its_batch() -> None:
    p, _ = ready("two_step")
    policy, n = QMIXPolicy(p.game.spec, p.config, p.learner.weights(), 0.5), 60
    rng = np.random.default_rng(1)
    spec = p.game.spec
    memory = rng.normal(size=(n, 2, *policy.memory)).astype(np.float32)
    memory[:, :, -1] = rng.integers(3, size=(n, 2))
    seen = Decisions(
        rng.normal(size=(n, 2, *spec.observation)).astype(np.float32), np.ones((n, 2, spec.actions), np.bool_),
        np.tile(np.arange(2, dtype=np.int16), (n, 1)), np.ones((n, 2), np.bool_),
    )  # fmt: skip
    keys = mix(5, np.arange(2 * n)).reshape(n, 2)
    rows, slots = (a.ravel() for a in np.indices((n, 2)))
    together = policy.act(seen, Context(p.game, None, np.arange(n), memory), keys)
    assert together.memory is not None
    for i in range(0, 2 * n, 7):
        row, slot = rows[i : i + 1], slots[i : i + 1]
        context = Context(p.game, None, row, memory[row, slot][:, None])
        alone = policy.act(seen.take(row, slot), context, keys[row, slot][:, None])
        assert alone.memory is not None
        assert alone.action.tolist() == together.action[row, slot][:, None].tolist()
        assert alone.extras["last"].tolist() == together.extras["last"][row, slot][:, None].tolist()
        np.testing.assert_allclose(alone.memory[0, 0], together.memory[row[0], slot[0]], atol=1e-6)
    assert len(set(together.action.ravel().tolist())) == 2


def test_training_play_explores_as_the_weights_say_and_others_as_they_are_set() -> None:
    p = Practice("two_step", epsilon=0.7, play_epsilon=0.1)
    spec, config, weights = p.game.spec, p.config, p.learner.weights()
    assert QMIXPolicy(spec, config, weights, explore=True).epsilon == 0.7
    assert QMIXPolicy(spec, config, weights).epsilon == 0.1
    assert QMIXPolicy(spec, config, weights, 0.0).epsilon == 0
    made = make_policy(spec, config, weights, {"epsilon": 0.25})
    assert isinstance(made, QMIXPolicy)
    assert made.epsilon == 0.25
    for settings, message in (
        ({"epsilon": 1.5}, r"epsilon must be a number from 0 to 1, not 1\.5\."),
        ({"epsilon": "some"}, "epsilon must be a number from 0 to 1, not 'some'"),
        ({"temperature": 1}, "qmix has no play setting 'temperature'"),
    ):
        with pytest.raises(ValueError, match=message):
            make_policy(spec, config, weights, settings)


class Telling(QMIXPolicy):
    """Leaves the Q_i that it acted on in the trajectories."""

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        choice = super().act(decisions, context, keys)
        assert choice.memory is not None
        choice.extras["q"] = self.net.value(torch.from_numpy(choice.memory[..., :-1])).numpy()
        return choice


def unrolled(learner: QMIXLearner, batch: Batch) -> NDArray[np.float32]:
    """Q_i [T, b, n, A] of whole episodes, as the learner has them."""
    steps, count, n = batch.active.shape
    net = learner.learned.get_submodule("net")
    seats = torch.from_numpy(Seating.of(learner.spec).seat.clip(min=0)[batch.team]).expand(steps, count, n)
    last = torch.from_numpy(batch.last.astype(np.int64))
    with torch.no_grad():
        x = net.inputs(torch.from_numpy(batch.observation), last, seats)  # type: ignore[operator]
        q = net(x.view(steps, count * n, -1), torch.from_numpy(batch.active).view(steps, count * n))
    found: NDArray[np.float32] = q.view(steps, count, n, -1).numpy()
    return found


@pytest.mark.parametrize(
    ("game", "other", "opening"),
    [(Patrol, False, 0), (Patrol, True, 2), (Relay, False, 2), (Relay, True, 0), ("two_step", False, 0)],
)
def test_acting_and_learning_see_the_same_values(game: Any, other: bool, opening: int) -> None:
    """Through deaths, games that begin in a row where another ended, games that go on from one order to the next, both
    teams in the same hands or one in another's, and random openings, of which a learner knows nothing."""
    p, _ = ready(game, opening=opening, normalise_observations=other)
    spec = p.game.spec
    stage = Stage(Telling(spec, p.config, p.learner.weights(), 0.2), them=Wanderer())
    teams = len(set(spec.teams))
    match = Match(2, ("me", "them") if other else ("me",) * teams, "train", 5, opening=opening)
    rollout = Rollout(p.game, stage, 5)
    parts = [rollout.run(Order((match,), 60, ("me",))).trajectories for _ in range(12)]
    t = Trajectories.concatenate([part["me"] for part in parts if part])
    assert t.games > 30
    stories = by_definition(t, spec, "mean")
    p.learner.replay.restore(QMIXLearner(spec, p.config, 0).replay.state())
    p.learner.replay.add(episodes(t, spec, p.learner.seating, "mean"))
    q = unrolled(p.learner, p.learner.replay.batch(np.arange(len(stories))))
    compared, greedy = 0, 0
    for e, story in enumerate(stories):
        before = dict.fromkeys(story.seats, -1)
        for u, row in enumerate(story.rows):
            assert row.last == {seat: before[seat] for seat in row.last}
            before |= row.action
            for seat, d in (row.decision or {}).items():
                own = q[u, e, story.seats.index(seat)]
                np.testing.assert_allclose(own, t.extras["q"][d], atol=2e-5)
                greedy += int(t.action[d]) == int(np.where(t.legal[d], t.extras["q"][d], -np.inf).argmax())
                compared += 1
    assert compared == t.decisions
    assert 0.8 < greedy / compared < 1
    assert float(np.ptp(q, axis=(0, 1, 2)).max()) > 0.05  # or nearly anything would pass


# ---- how much is learned, when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("updates", [0.5, 1, 2.5])
def test_an_update_makes_as_many_steps_as_its_episodes_are_worth(updates: float) -> None:
    p = Practice(Relay, updates=updates, batch=20, episodes=12)
    collected, owed, made = 0, 0.0, 0
    counts = []
    for _ in range(9):
        t = p.play()
        new = len(by_definition(t, p.game.spec, "mean"))
        collected += new
        if collected < 12:
            before = weights_of(p.learner)
            metrics = p.learner.update(t, np.random.default_rng(0))
            assert metrics["gradient_steps"] == 0
            assert same(weights_of(p.learner), before)
            continue
        owed += updates * new
        made, owed = made + int(owed), owed - int(owed)
        metrics = p.learner.update(t, np.random.default_rng(0))
        counts.append(new)
        assert metrics["gradient_steps"] == p.learner.gradient_steps == made
        assert metrics["episodes"] == collected
    assert len(counts) < 9  # learning did not begin at once
    assert any(count % 2 for count in counts)  # so that halves are owed


def test_exploration_and_learning_rate_move_with_the_teams_steps() -> None:
    falling = {"start": 1.0, "end": 0.1, "over": 150}
    p = Practice(Patrol, epsilon=falling, learning_rate=falling | {"start": 1e-3, "end": 0.0}, batch=90)
    steps = 0
    assert float(p.learner.weights()["epsilon"]) == 1
    for _ in range(6):
        t = p.play()
        steps += sum(len(story.rows) - 1 for story in by_definition(t, p.game.spec, "mean"))
        metrics = p.learner.update(t, np.random.default_rng(0))
        expected = max(1 - 0.9 * steps / 150, 0.1)
        assert float(p.learner.weights()["epsilon"]) == pytest.approx(expected)
        assert metrics["epsilon"] == pytest.approx(expected)
        assert metrics["learning_rate"] == pytest.approx(1e-3 * max(1 - steps / 150, 0))
        assert metrics["team_steps"] == steps
    assert steps > 150
    before = weights_of(p.learner)
    p.round()
    assert same(weights_of(p.learner), before)  # at a rate of 0


def test_the_target_is_renewed_after_so_many_steps() -> None:
    p, _ = ready(Patrol, target_every=3)
    renewed, at = target_of(p.learner), p.learner.gradient_steps
    for _ in range(8):
        p.learner.gradient_step(p.learner.replay.batch(np.arange(8)))
        at += 1
        assert p.learner.gradient_steps == at
        if at % 3 == 0:
            renewed = weights_of(p.learner)
        assert same(target_of(p.learner), renewed)
        assert same(renewed, weights_of(p.learner)) == (at % 3 == 0)


def test_the_target_moves_a_share_of_the_way_with_each_step() -> None:
    p, _ = ready(Patrol, target_every=None, tau=0.3)
    for _ in range(4):
        before = target_of(p.learner)
        p.learner.gradient_step(p.learner.replay.batch(np.arange(8)))
        now, after = weights_of(p.learner), target_of(p.learner)
        for name in now:
            np.testing.assert_allclose(after[name], 0.7 * before[name] + 0.3 * now[name], atol=1e-6)
        assert not same(after, now)


def test_team_rewards_are_standardised_by_all_that_came() -> None:
    """Over uneven updates, and rewards far from 0."""
    p = Practice(Relay, standardise_rewards=True, batch=30, mixer="vdn", gamma=0.0)
    paid: list[float] = []
    for update in range(5):
        t = p.play()
        t.reward = 1000 + (1 + update) * t.reward
        paid += [row.reward for story in by_definition(t, p.game.spec, "mean") for row in story.rows[:-1]]
        p.learner.update(t, np.random.default_rng(0))
    count, mean, variance = (float(p.learner.state()[f"paid.{name}"]) for name in ("count", "mean", "variance"))
    squares = variance * count
    assert count == len(paid)
    assert mean == pytest.approx(np.mean(paid), rel=1e-6)
    assert squares / count == pytest.approx(np.var(paid), rel=1e-4)
    everything = p.learner.replay.batch(np.arange(len(p.learner.replay)))
    metrics = p.learner.gradient_step(everything)
    assert metrics is not None
    kept = everything.reward[everything.playing]
    assert metrics["target"] == pytest.approx((kept.mean() - np.mean(paid)) / np.std(paid), abs=1e-3)


@pytest.mark.parametrize("most", [0.01, 1e9])
def test_gradients_are_clipped(most: float) -> None:
    p = Practice(Patrol, max_grad_norm=most)
    p.learner.replay.add(episodes(p.play(), p.game.spec, p.learner.seating, "mean"))
    metrics = p.learner.gradient_step(p.learner.replay.batch(np.arange(8)))
    assert metrics is not None
    assert metrics["grad_norm"] > 0.05
    first_moment = np.linalg.norm(p.learner.state()["adam.exp_avg"]) / 0.1  # Adam keeps a tenth of the first gradient
    assert first_moment == pytest.approx(min(most, metrics["grad_norm"]), rel=1e-3)


# ---- guards ----------------------------------------------------------------------------------------------------------


def poisoned(t: Trajectories, what: str) -> Trajectories:
    if what == "observation":
        t.observation[:] = np.nan
    else:
        t.reward[:] = {"nan": np.nan, "inf": np.inf, "huge": 1e30}[what]
    return t


@pytest.mark.parametrize("what", ["nan", "inf", "huge", "observation"])
@pytest.mark.parametrize("mixer", ["qmix", "vdn", "iql"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of infinite rewards
def test_steps_that_are_not_finite_change_nothing_and_are_counted(mixer: str, what: str) -> None:
    p = Practice(Patrol, mixer=mixer, replay=8, standardise_rewards=what == "nan")  # so each step takes all 8
    p.round()
    before, made = p.learner.state(), p.learner.gradient_steps
    t = poisoned(p.play(), what)
    count = len(by_definition(t, p.game.spec, "mean"))
    assert count >= 8
    metrics = p.learner.update(t, np.random.default_rng(3))
    after = p.learner.state()
    assert metrics["skipped_steps"] == count == p.learner.skipped_in_a_row
    assert metrics["gradient_steps"] == made
    learned = {name for name in before if name.startswith(("weights.net", "weights.mixer", "adam.", "target"))}
    assert all(np.array_equal(before[name], after[name]) for name in learned)
    assert len(learned) > 8
    if what == "nan":
        assert all(
            np.array_equal(before[f"paid.{name}"], after[f"paid.{name}"]) for name in ("count", "mean", "variance")
        )
    p.round()  # of which there is enough to forget the others
    assert p.learner.skipped_in_a_row == 0
    assert p.learner.gradient_steps > made
    assert all(np.isfinite(array).all() for array in weights_of(p.learner).values())


def test_a_learner_gives_up_after_so_many_bad_steps_in_a_row() -> None:
    p = Practice(Patrol, replay=8, most_skipped=10)
    good = p.play()
    p.learner.update(good, np.random.default_rng(0))
    batch = p.learner.replay.batch(np.arange(8))
    bad = replace(batch, reward=np.full_like(batch.reward, np.nan))
    for _ in range(2):
        for _ in range(9):
            assert p.learner.gradient_step(bad) is None
        assert p.learner.gradient_step(batch) is not None  # a good step starts the count anew
    for _ in range(9):
        p.learner.gradient_step(bad)
    message = r"10 gradient steps in a row were not finite \(loss nan, .* Lower learning_rate"
    with pytest.raises(FloatingPointError, match=message):
        p.learner.gradient_step(bad)


# ---- weights and state -----------------------------------------------------------------------------------------------


def through_a_file(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    file = io.BytesIO()
    np.savez(file, **dict(state))  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file) as read:
        return {name: read[name] for name in read.files}


@pytest.mark.parametrize("game", [Patrol, Relay])
@pytest.mark.parametrize(
    "settings",
    [
        {"mixer": "qmix", "target_every": 9, "normalise_observations": True},
        {"mixer": "vdn", "target_every": None, "tau": 0.05, "updates": 0.7},
        {"mixer": "iql", "target_every": 11, "standardise_rewards": True},
    ],
    ids=lambda settings: settings["mixer"],
)
def test_two_updates_and_two_more_are_four(game: Any, settings: dict[str, Any]) -> None:
    """Bit for bit, through a file and a learner that began elsewhere."""
    rate = {"start": 3e-3, "end": 1e-4, "over": 400}
    p = Practice(game, learning_rate=rate, batch=70, replay=25, **settings)
    batches = [p.play() for _ in range(4)]
    for number, t in enumerate(batches):
        p.learner.update(t, np.random.default_rng(number))
    resumed = QMIXLearner(p.game.spec, p.config, seed=0)
    for number, t in enumerate(batches):
        if number == 2:
            state = through_a_file(resumed.state())
            resumed = QMIXLearner(p.game.spec, p.config, seed=12345)
            resumed.update(batches[3], np.random.default_rng(9))  # of which nothing may stay
            resumed.restore({name: array.copy() for name, array in state.items()})
            assert same(resumed.state(), state)
        resumed.update(t, np.random.default_rng(number))
    assert same(resumed.state(), p.learner.state())
    assert p.learner.gradient_steps > 10


def test_a_fresh_state_can_be_restored_over_a_used_one() -> None:
    p = Practice(Patrol)
    fresh = p.learner.state()
    p.round()
    p.learner.restore(fresh)
    assert same(p.learner.state(), fresh)


def test_weights_and_state_are_not_touched_by_later_updates() -> None:
    p = Practice(Patrol, target_every=1)
    p.round()
    weights, state = p.learner.weights(), p.learner.state()
    kept = {name: array.copy() for name, array in weights.items()}, {name: a.copy() for name, a in state.items()}
    p.round()
    assert same(weights, kept[0])
    assert same(state, kept[1])
    assert not same(weights, p.learner.weights())


def test_a_loaded_learner_learns_on_with_what_it_loaded() -> None:
    """Loading reaches the parameters that the optimiser moves, and the target, and forgets the moments of others."""
    p, _ = ready(Patrol)
    start, batch = p.learner.weights(), p.learner.replay.batch(np.arange(8))
    fresh, used = (QMIXLearner(p.game.spec, p.config, seed) for seed in (1, 2))
    used.gradient_step(batch)
    for learner in (fresh, used):
        learner.load(start)
        assert same(weights_of(learner), target_of(learner))
        learner.gradient_step(batch)
    assert same(weights_of(fresh), weights_of(used))
    assert not same(weights_of(fresh), target_of(fresh))


def test_what_does_not_fit_is_named() -> None:
    p = Practice(Patrol)
    p.round()
    state = p.learner.state()
    wide, other = (QMIXLearner(p.game.spec, settings_of(**change), 0) for change in ({"width": 13}, {"mixer": "vdn"}))
    with pytest.raises(ValueError, match=r"another network: 'net.first.weight' has shape \(12, 15\), but \(13, 15\)"):
        wide.restore(state)
    with pytest.raises(ValueError, match=r"another network: 'mixer.first.bias' is not expected in them"):
        other.restore(state)
    with pytest.raises(ValueError, match=r"another network: 'mixer.first.bias' is missing from them"):
        p.learner.restore(other.state())
    for name in ("counters", "target", "paid.mean", "owed"):
        with pytest.raises(ValueError, match=f"not the state of a QMIX learner: '{name}' is missing"):
            p.learner.restore({key: array for key, array in state.items() if key != name})
    with pytest.raises(ValueError, match="another network"):
        QMIXPolicy(p.game.spec, wide.config, p.learner.weights())
    assert same(p.learner.state(), state)
    for name in ("target", "adam.exp_avg", "adam.exp_avg_sq"):
        with pytest.raises(
            ValueError, match=rf"another network: it has .*'{name.removeprefix('adam.')}': .* is needed"
        ):
            p.learner.restore(state | {name: state[name][1:]})


def test_a_seed_makes_the_weights_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, twin, other = (QMIXLearner(Patrol.spec, settings_of(), seed).weights() for seed in (4, 4, 5))
    assert same(one, twin)
    assert not same(one, other)
    assert torch.equal(torch.get_rng_state(), before)


# ---- config ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"mixr": "vdn"}, "mixr"),
        ({"mixer": "sum"}, "mixer"),
        ({"state": "both"}, "state"),
        ({"width": 0}, "width"),
        ({"updates": 0}, "updates"),
        ({"gamma": 1.01}, "gamma"),
        ({"lam": -0.1}, "lam"),
        ({"play_epsilon": 2}, "play_epsilon"),
        ({"learning_rate": -1}, "learning_rate.start"),
        ({"epsilon": {"start": 1, "end": 0}}, "epsilon.over"),
        ({"target_every": 0}, "target_every"),
        ({"tau": 0, "target_every": None}, "tau"),
        ({"team_reward": "max"}, "team_reward"),
        ({"time_limit": "cut"}, "time_limit"),
        ({"kind": "dqn"}, "kind"),
    ],
)
def test_a_config_is_refused_by_the_name_of_the_setting(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        QMIXConfig.model_validate(wrong)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == where


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau": 0.01}, "give either target_every or tau, and null for the other"),
        ({"target_every": None}, "give either target_every or tau, and null for the other"),
        ({"replay": 31}, "replay keeps 31 episodes, fewer than the 32 of a gradient step"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QMIXConfig.model_validate(wrong)
    assert QMIXConfig.model_validate({"target_every": None, "tau": 0.01, "replay": 32}).tau == 0.01


def test_a_config_can_be_written_and_read() -> None:
    config = QMIXConfig.model_validate({"learning_rate": "1e-3", "target_every": None, "tau": 0.5, "mixer": "iql"})
    assert QMIXConfig.model_validate(config.model_dump()) == config
    assert QMIXConfig.model_validate_json(config.model_dump_json()) == config


def test_a_game_without_a_state_is_refused_where_the_mixer_is_to_see_it() -> None:
    assert supports(Relay.spec) is supports(Relay.spec, settings_of()) is None
    assert supports(Patrol.spec, settings_of(state="game")) is None
    reason = supports(Relay.spec, settings_of(state="game"))
    assert reason is not None
    assert reason.startswith("relay has no global state; take state: auto, or observations")
    assert reason.endswith(".")


@pytest.mark.parametrize(
    ("spec", "settings", "expected"),
    [
        (Patrol.spec, {}, "QMIX mixes with the game's own global state (5 numbers); a team is paid the mean of"),
        (
            Patrol.spec,
            {"state": "observations", "team_reward": "sum"},
            "QMIX mixes with the observations of the team side by side (20 numbers); a team is paid the sum of",
        ),
        (Relay.spec, {}, "QMIX mixes with the observations of the team side by side (10 numbers); a team is paid"),
        (PAIR, {}, "QMIX mixes with the observations of the team side by side (2 numbers); a team is paid the mean"),
        (Patrol.spec, {"mixer": "vdn"}, "VDN sums; a team is paid the mean of its seats' rewards."),
        (Patrol.spec, {"mixer": "iql"}, "each member learns alone; a team is paid the mean of its seats' rewards."),
    ],
)
def test_a_remark_says_what_the_mixer_sees_and_the_team_is_paid(
    spec: GameSpec, settings: dict[str, Any], expected: str
) -> None:
    said = remark(spec, settings_of(**settings))
    assert said.startswith(expected)
    assert said.endswith("its seats' rewards.")
