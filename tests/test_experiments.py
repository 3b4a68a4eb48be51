"""The experiments: their configs hold, and NashConv is right where its value is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from agents.core import Context
from agents.ppo import PPOConfig, PPOLearner, PPOPolicy
from arena import strict
from arena.config import RunConfig, unsupported
from arena.launch import launch
from experiments import nashconv
from games import Decisions, Game, make
from games.keys import generator, mix
from games.names import UserError

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
KUHN = "openspiel/kuhn_poker"
BESIDE_MCTS = ("tic_tac_toe_alphazero", "pig_alphazero", "three_seats_alphazero")
HIDDEN = "leduc_poker_alphazero"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_experiment_can_be_run(path: Path) -> None:
    config = strict.read(RunConfig, path)
    assert unsupported(config, make(config.game).spec) == []
    assert config.rating.anchor in config.league.fixed


def test_there_are_experiments() -> None:
    named = {"connect_four", "cartpole", "kuhn_poker", *BESIDE_MCTS, HIDDEN}
    assert named <= {path.stem for path in EXPERIMENTS.glob("*.yaml")}


@pytest.mark.parametrize("source", [*BESIDE_MCTS, HIDDEN])
def test_alphazero_on_small_games(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in one process, beside `mcts` of as many simulations where nothing is hidden."""
    config = strict.read(RunConfig, EXPERIMENTS / f"{source}.yaml")
    agent = config.league.learners["main"].agent
    assert agent.kind == "alphazero"
    assert (f"mcts:{agent.search.simulations}" in config.league.fixed) == (source in BESIDE_MCTS)
    assert agent.search.determinise == (source == HIDDEN)
    assert config.rollout.workers == config.rating.workers == 0
    assert agent.learning_rate.over == config.stop.decisions
    monkeypatch.chdir(tmp_path)
    learner = "league.learners.main"
    settings = [f"{learner}.agent.{setting}" for setting in ("batch=128", "minibatch=64", "inference=torch")]
    settings += [f"{learner}.agent.search.simulations=4", f"{learner}.snapshot.every=200", "league.fixed=[random]"]
    settings += ["stop.decisions=256", "rollout.rows=16", "rating.games=6", "rating.final=1", "tracking.wandb=disabled"]
    settings += ["name=short"]
    assert launch(EXPERIMENTS / f"{source}.yaml", settings, False, Console(quiet=True), quiet=True) == 0
    lines = [json.loads(line) for line in Path("runs/short/metrics/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["summary"]["decisions"] >= 256
    assert {path.name for path in Path("runs/short/players").iterdir()} >= {"main@1", "main@2"}


# ---- probabilities -------------------------------------------------------------------------------------------------


def ppo(game: Game, seed: int, temperature: float = 1.0, spread: float = 1.0) -> PPOPolicy:
    """A PPO policy with random weights; the larger `spread`, the farther from uniform."""
    config = PPOConfig()
    weights = dict(PPOLearner(game.spec, config, seed).weights())
    rng = generator(seed)
    for name in ("net.policy.weight", "net.policy.bias"):
        weights[name] = (spread * rng.standard_normal(weights[name].shape)).astype(np.float32)
    return PPOPolicy(game.spec, config, weights, temperature)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_probabilities_are_those_of_act(temperature: float) -> None:
    game, n = make("openspiel/leduc_poker"), 20_000
    policy = ppo(game, 3, temperature)
    decisions = Decisions.empty(game.spec, n)
    decisions.observation[:] = generator(5).random(game.spec.observation, np.float32)
    decisions.legal[:] = [True, False, True]
    decisions.active[:] = True
    choice = policy.act(decisions, Context(game, None, np.arange(n)), mix(7, np.arange(n))[:, None])
    told = policy.probabilities(decisions.observation[:, 0], decisions.legal[:, 0])
    assert told.shape == (n, 3)
    np.testing.assert_allclose(told.sum(axis=1), 1)
    drawn = np.bincount(choice.action[:, 0], minlength=3) / n
    np.testing.assert_allclose(told[0], drawn, atol=0.015)  # four standard errors
    assert told[0, 1] == 0
    np.testing.assert_allclose(
        np.log(told[np.arange(n), choice.action[:, 0]]), choice.extras["log_prob"][:, 0], atol=1e-5
    )


def test_probabilities_where_nothing_is_legal() -> None:
    game = make(KUHN)
    told = ppo(game, 1).probabilities(np.zeros((2, 11), np.float32), np.array([[False, False], [True, False]]))
    np.testing.assert_array_equal(told, [[0, 0], [1, 0]])


# ---- NashConv ------------------------------------------------------------------------------------------------------


def random_policies(table: Any, count: int, seed: int) -> list[NDArray[np.float64]]:
    """Policies far from each other; one of them never plays some actions."""
    rng = generator(seed)
    drawn = rng.dirichlet(np.full(table.legal_actions_mask.shape[1], 0.5), (count, len(table.states)))
    drawn = drawn * table.legal_actions_mask
    drawn /= drawn.sum(axis=2, keepdims=True)
    drawn[0] = np.round(drawn[0]) if drawn.shape[2] == 2 else drawn[0]
    return list(drawn)


def test_uniform_play_on_kuhn() -> None:
    """11/12, which OpenSpiel computes too, and which a network with an empty policy head plays."""
    from open_spiel.python.algorithms import exploitability
    from open_spiel.python.policy import UniformRandomPolicy

    game = make(KUHN)
    table = nashconv.tabular(game)
    played = nashconv.policy_at(ppo(game, 2, spread=0.0), game, table)
    assert nashconv.nash_conv(table, played) == pytest.approx(11 / 12)
    assert exploitability.nash_conv(table.game, UniformRandomPolicy(table.game)) == pytest.approx(11 / 12)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1 / 3])
def test_an_equilibrium_of_kuhn_has_none(alpha: float) -> None:
    """Kuhn's own one-parameter family (1950)."""
    import pyspiel

    table = nashconv.tabular(make(KUHN))
    equilibrium = pyspiel.kuhn_poker.get_optimal_policy(alpha)
    played = [[equilibrium.action_probabilities(state).get(action, 0.0) for action in (0, 1)] for state in table.states]
    assert nashconv.nash_conv(table, np.array(played)) == pytest.approx(0, abs=1e-12)


def test_policy_at_sees_what_it_sees_at_play() -> None:
    """At every information state of Leduc: what the policy is told on a table is what `policy_at` asks it about."""
    game = make("openspiel/leduc_poker")
    table, policy = nashconv.tabular(game), ppo(game, 4, spread=0.3)
    expected = nashconv.policy_at(policy, game, table)
    boards, visited = game.start(mix(11, np.arange(300))), set()
    for step in range(game.spec.longest):
        decisions = game.decisions(boards)
        acting = np.flatnonzero(decisions.active[:, 0])
        told = policy.probabilities(decisions.observation[:, 0], decisions.legal[:, 0])
        for row in acting.tolist():
            at = table.state_index(boards[row].single.state)
            visited.add(at)
            np.testing.assert_allclose(told[row], expected[at], atol=1e-6)
        drawn = policy.act(decisions, Context(game, boards, np.arange(300)), mix(13, step, np.arange(300))[:, None])
        game.step(boards, drawn.action, mix(17, step, np.arange(300)))
    assert len(visited) > 150


@pytest.mark.parametrize("name", [KUHN, "openspiel/kuhn_poker?players=3", "openspiel/leduc_poker"])
def test_average_agrees_with_openspiels_aggregator(name: str) -> None:
    from open_spiel.python.algorithms.policy_aggregator import PolicyAggregator
    from open_spiel.python.policy import TabularPolicy

    table = nashconv.tabular(make(name))
    policies = random_policies(table, 3, 1)
    ours, theirs = nashconv.average(policies, table), []
    for probabilities in policies:
        theirs.append(TabularPolicy(table.game))
        theirs[-1].action_probability_array[:] = probabilities
    seats = range(table.game.num_players())
    mixed = PolicyAggregator(table.game).aggregate(list(seats), [theirs for _ in seats], [[1 / 3] * 3 for _ in seats])
    for at, state in enumerate(table.states):
        expected = mixed.action_probabilities(state)
        np.testing.assert_allclose(ours[at], [expected.get(action, 0.0) for action in range(ours.shape[1])], atol=1e-9)


def test_average_is_of_whole_games() -> None:
    """One policy always bets the jack, one checks it and folds, one checks it and calls: where a checked jack faces a
    bet, only the last two can be there, and each as likely."""
    table = nashconv.tabular(make(KUHN))
    bet, fold, call = (table.action_probability_array.copy() for _ in range(3))
    first, again = table.state_lookup["0"], table.state_lookup["0pb"]
    bet[first], fold[first], call[first] = [0, 1], [1, 0], [1, 0]
    bet[again], fold[again], call[again] = [0, 1], [1, 0], [0, 1]
    mixed = nashconv.average([bet, fold, call], table)
    np.testing.assert_allclose(mixed[first], [2 / 3, 1 / 3])
    np.testing.assert_allclose(mixed[again], [1 / 2, 1 / 2])
    np.testing.assert_allclose(nashconv.average([bet, bet], table)[again], [0, 1])  # nobody goes there: the plain mean


@pytest.mark.parametrize("name", ["connect_four", "openspiel/matrix_rps"])
def test_games_without_nashconv(name: str) -> None:
    with pytest.raises(UserError, match="sequential OpenSpiel games"):
        nashconv.tabular(make(name))


# ---- the program ---------------------------------------------------------------------------------------------------


def short_run(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of some seconds, in `folder`."""
    monkeypatch.chdir(folder)
    settings = [
        "stop.decisions=4000",
        "league.learners.main.agent.batch=1000",
        "league.learners.main.snapshot.every=1000",
    ]
    settings += ["rating.final=0", "tracking.wandb=disabled", "name=short"]
    assert launch(EXPERIMENTS / f"{source}.yaml", settings, False, Console(quiet=True), quiet=True) == 0
    return Path("runs/short")


def test_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = short_run("kuhn_poker", tmp_path, monkeypatch)
    capsys.readouterr()
    nashconv.main([str(run), str(run), "--json"])
    printed = json.loads(capsys.readouterr().out)
    one, other = printed["runs"]
    assert one == other
    assert one["game"] == KUHN
    assert one["snapshots"] == len(list((run / "players").iterdir())) >= 4
    assert one["uniform"] == pytest.approx(11 / 12)
    assert 0 < one["last"] < one["uniform"]  # a few updates are better than none
    assert printed["medians"] == {"last": one["last"], "average": one["average"]}
    nashconv.main([str(run), str(run)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"runs/short: NashConv {one['last']:.4f} of the last policy, {one['average']:.4f} of")
    assert lines[2].startswith("medians of 2 runs")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["runs/none"], "There is no run in runs/none."), (["runs/short", "--learner", "mian"], "no learner 'mian'")],
)
def test_program_refuses(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short_run("kuhn_poker", tmp_path, monkeypatch)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        nashconv.main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
