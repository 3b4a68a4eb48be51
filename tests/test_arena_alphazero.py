"""AlphaZero in a run: it goes on bit for bit, its settings are kept and checked, and it searches what is hidden."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_arena_run import assert_same, facts, kill, start

from agents.alphazero import AlphaZeroPolicy
from agents.replay import window
from arena import checkpoints, cli
from arena import run as runs
from arena.contest import contest
from arena.match import Table
from arena.players import PlayerError, load
from arena.run import read_config
from arena.strict import ConfigError
from games.keys import mix
from leagues.ledger import Ledger

RUN = """
game: tic_tac_toe
seed: 5
device: cpu
league:
  learners:
    main:
      agent:
        kind: alphazero
        network: {kind: mlp, width: 16, layers: 1}
        search: {simulations: 6, cheap: 0.3, cheap_simulations: 3}
        inference: torch
        batch: 96
        minibatch: 48
        replay: {least: 200, uses: 2, most_uses: 4, surprise: 0.5}
      opponents: {self_play: 0.5, pfsp: 0.5}
      opening: 2
      snapshot: {every: 250}
rollout: {workers: 0, rows: 9, matches: 4}
rating: {every: 2, games: 4, final: 2, rows: 4}
stop: {decisions: 600}
checkpoint: 1.0e-9 # minutes: after every update
tracking: {wandb: disabled}
"""
AGENT = "league.learners.main.agent"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs go into the test's own folder."""
    monkeypatch.chdir(tmp_path)
    Path("az.yaml").write_text(RUN)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run was launched and never interrupted."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("whole")
    try:
        os.chdir(folder)
        Path("az.yaml").write_text(RUN)
        start("az.yaml")
        return folder
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def whole(home: Path) -> dict[str, Any]:
    """What it came to."""
    before = Path.cwd()
    try:
        os.chdir(home)
        return facts("az")
    finally:
        os.chdir(before)


# ---- a killed run goes on exactly ----------------------------------------------------------------------------------


def test_a_run_is_a_function_of_its_config(whole: dict[str, Any]) -> None:
    start("az.yaml", "checkpoint=1000")
    assert_same(facts("az"), whole)  # nor does it matter how often it is saved
    assert whole["record"]["updates"] >= 4
    assert len(set(whole["weights"].values())) == len(whole["weights"]) == 3
    start("az.yaml", "name=other", "seed=6")
    assert facts("other")["results"] != whole["results"]


@pytest.mark.parametrize(
    "places",
    [
        ("after ledger.append 4", "before path.rename 4"),  # results that no checkpoint knows; a checkpoint half made
        ("before ledger.add_player 4", "after training.submit_rating 2"),  # a snapshot in no league; a rating match
    ],
)
def test_a_run_killed_twice_goes_on_bit_for_bit(places: tuple[str, str], whole: dict[str, Any]) -> None:
    kill(places[0], "az.yaml")
    kill(places[1], "az.yaml", resume=True)
    start("runs/az", resume=True)
    assert_same(facts("az"), whole)


def test_the_replay_is_saved(home: Path) -> None:
    """All that the window holds, and how often each was used."""
    _, arrays, _ = checkpoints.load(home / "runs/az/resume")
    state, agent = arrays["learner.main"], read_config(home / "runs/az").league.learners["main"].agent
    assert agent.kind == "alphazero"
    added = int(state["replay.added"])
    assert added >= 600
    kept = window(agent.replay, added)
    assert kept < added, "Some have left the window."
    assert {len(state[f"replay.{name}"]) for name in ("observation", "policy", "value", "full", "used")} == {kept}
    assert 0 < state["replay.used"].max() <= 4
    assert 0.5 < state["replay.full"].mean() < 0.9, "About 0.3 of its searches are cheap."


# ---- its backend ---------------------------------------------------------------------------------------------------


def test_auto_is_resolved_at_launch_and_kept(whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def measured(answer: str) -> Callable[..., str]:
        def choose(*question: Any) -> str:
            asked.append(question)
            return answer

        return choose

    Path("az.yaml").write_text(RUN.replace("inference: torch", "inference: auto"))
    monkeypatch.setattr(runs, "choose", measured("torch"))
    start("az.yaml")
    ((_, network, rows, normalise),) = asked
    assert (network.width, rows, normalise) == (16, 9, False)
    assert_same(facts("az"), whole)  # as if the file had named it
    monkeypatch.setattr(runs, "choose", measured("onnxruntime"))  # the faster one today
    start("az.yaml", "stop.decisions=700", resume=True)  # and the file still says auto
    start("runs/az", "stop.decisions=800", resume=True)
    assert len(asked) == 1
    kept = read_config(Path("runs/az")).league.learners["main"].agent
    assert kept.kind == "alphazero"
    assert kept.inference == "torch"
    assert facts("az")["record"]["updates"] > whole["record"]["updates"]


# ---- players of a run ----------------------------------------------------------------------------------------------


def opened(player: str, home: Path) -> tuple[AlphaZeroPolicy, Table, Any]:
    """A player of the run, at 200 tables two plies into the game."""
    loaded = load(f"{home}/runs/az:{player}")
    assert isinstance(loaded.policy, AlphaZeroPolicy)
    table, guess = Table(loaded.game, mix(3, np.arange(200))), load("random", "tic_tac_toe")
    for _ in range(2):
        table.play(guess.choose(table))
    return loaded.policy, table, loaded.choose(table)[:, 0]


@pytest.mark.parametrize("player", ["main", "main@2", "best"])
def test_simulations_of_a_player(player: str, home: Path) -> None:
    """None of them plays the network's likeliest move; more of them play other moves."""
    usual, _, moves = opened(player, home)
    none, table, first = opened(f"{player}?simulations=0", home)
    many, _, searched = opened(f"{player}?simulations=100", home)
    assert [policy.config.simulations for policy in (usual, none, many)] == [6, 0, 100]
    pending = table.pending()
    logits, _ = none.network(pending.observation[:, 0])
    np.testing.assert_array_equal(first, np.where(pending.legal[:, 0], logits, -np.inf).argmax(axis=1))
    assert (searched != first).any()
    assert (searched != moves).any()


def test_temperature_of_a_player(home: Path) -> None:
    """Without a search, moves are drawn from the network's policy to the power of 1 / temperature."""
    policy, table, drawn = opened("main@1?simulations=0&temperature=1", home)
    assert policy.temperature == 1
    pending = table.pending()
    logits = np.where(pending.legal[:, 0], policy.network(pending.observation[:, 0])[0], -np.inf)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    for hot, tolerance in ((drawn, 1.0), (opened("main@1?simulations=0&temperature=0.05", home)[2], 0.0)):
        expected = odds ** (1 if tolerance else 20)
        expected /= expected.sum(axis=1, keepdims=True)
        mean, spread = expected.max(axis=1).sum(), (expected.max(axis=1) * (1 - expected.max(axis=1))).sum() ** 0.5
        assert abs((hot == logits.argmax(axis=1)).sum() - mean) < 4 * spread + 1e-9
    _, _, searched = opened("main@1", home)
    _, _, warm = opened("main@1?temperature=2", home)
    assert (searched != warm).any()


def test_more_simulations_are_stronger(home: Path) -> None:
    """A network that knows next to nothing, against itself with a search."""
    result = contest(
        load(f"{home}/runs/az:main@1?simulations=60"),
        load(f"{home}/runs/az:main@1?simulations=0"),
        100,
        opening=2,
        seed=1,
    )
    assert result.low > 0.7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("simulation=50", r"no play setting 'simulation'\. Did you mean 'simulations'\?"),
        ("simulations=-1", "simulations must be a whole number from 0 to 1,000,000, not -1"),
        ("temperature=hot", "temperature must be a number of at least 0, not 'hot'"),
    ],
)
def test_impossible_settings_of_a_player(settings: str, message: str, home: Path) -> None:
    with pytest.raises(PlayerError, match=message):
        load(f"{home}/runs/az:main?{settings}")


def test_a_match_of_players_with_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    words = ["match", "runs/az:main?simulations=12", "runs/az:main@1?simulations=0&temperature=1", "--games", "20"]
    monkeypatch.setattr("sys.argv", ["arena", *words, "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    told = json.loads(capsys.readouterr().out)
    assert told["games"] == told["wins"] + told["draws"] + told["losses"] == 20
    assert told["ms_per_move"][0] > told["ms_per_move"][1] > 0


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch: 96", "bacth: 96", r"agent\.bacth = 96: there is no such setting\. Did you mean 'batch'\?"),
        (
            "simulations: 6",
            "simulation: 6",
            r"agent\.search\.simulation = 6: there is no such setting\. Did you mean 'simulations'\?",
        ),
        ("uses: 2", "use: 2", r"agent\.replay\.use = 2: there is no such setting\. Did you mean 'uses'\?"),
        (
            "kind: alphazero",
            "kind: alphazreo",
            r"agent\.kind = 'alphazreo': is no known kind\. Did you mean 'alphazero'",
        ),
        (
            "kind: alphazero\n",
            "temperature: 0\n",
            r"agent: has no 'kind', which tells what it is\. Known: alphazero, ppo, qmix",
        ),
        ("inference: torch", "inference: trch", r"agent\.inference = 'trch': .*Did you mean 'torch'\?"),
        ("most_uses: 4", "most_uses: 1", r"agent\.replay: most_uses must be at least uses"),
    ],
)
def test_mistakes_in_its_section(old: str, new: str, message: str) -> None:
    assert RUN.count(old) == 1
    Path("az.yaml").write_text(RUN.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        start("az.yaml")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("game", "settings", "message"),
    [
        ("openspiel/kuhn_poker", (), r"may not see\. Set agent\.search\.determinise to search in sampled worlds"),
        ("openspiel/leduc_poker", (), r"may not see\. Set agent\.search\.determinise to search in sampled worlds"),
        ("openspiel/liars_dice", (f"{AGENT}.search.determinise=true",), r"It offers no other worlds"),
        ("rock_paper_scissors", (), r"its seats act at once"),
    ],
)
def test_games_it_cannot_search(game: str, settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"league\.learners\.main\.agent\.kind: alphazero cannot play {game}: .*{message}"
    ):
        start("az.yaml", f"game={game}", *settings)
    assert not Path("runs").exists()


# ---- imperfect information -----------------------------------------------------------------------------------------


def test_determinised_search_in_a_run() -> None:
    """Poker: launched, killed, gone on with exactly, rated, and played afterwards."""
    settings = ("game=openspiel/kuhn_poker", f"{AGENT}.search.determinise=true", "stop.decisions=300")
    start("az.yaml", "name=whole", *settings)
    kill("after ledger.append 3", "az.yaml", *settings)
    start("az.yaml", *settings, resume=True)
    one, other = facts("az"), facts("whole")
    for what in ("results", "weights", "arrays", "ladder"):
        assert one[what] == other[what], what
    with Ledger.open(Path("runs/az/ledger.sqlite"), read_only=True) as ledger:
        returns = np.array([result.returns for _, _, result in ledger.results()])
    assert (returns.sum(axis=1) == 0).all()
    assert set(np.abs(returns[:, 0]).tolist()) == {1.0, 2.0}
    against = contest(
        load("runs/az:main?simulations=20"), load("random", "openspiel/kuhn_poker"), 40, opening=0, seed=1
    )
    assert against.games == 40
    assert against.void == 0
