import re
from pathlib import Path
from typing import Any

import pytest

import games
from arena import strict
from arena.config import RatingSettings, RunConfig, run_folder, unsupported
from arena.strict import ConfigError
from leagues.gate import GateRule

LEAST: dict[str, Any] = {
    "game": "tic_tac_toe",
    "league": {"learners": {"main": {"agent": {"kind": "ppo"}}}},
    "stop": {"minutes": 1},
}


def config_of(*overrides: str) -> RunConfig:
    return strict.parse(RunConfig, LEAST, overrides)


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        config_of(*overrides)
    return str(raised.value)


def test_only_game_learner_and_end_are_needed() -> None:
    config = config_of()
    assert config.league.fixed == ("random",)
    assert config.league.learners["main"].mix().shares == {"self_play": 1.0}
    for key in LEAST:
        with pytest.raises(ConfigError, match=f"{key}: is missing and has no default"):
            strict.parse(RunConfig, {name: value for name, value in LEAST.items() if name != key})


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("experiments/*.yaml")), ids=lambda path: path.stem
)
def test_every_experiment_can_be_run(path: Path) -> None:
    config = strict.read(RunConfig, path)
    assert unsupported(config, games.make(config.game).spec) == []


def test_what_is_dumped_reads_back(tmp_path: Path) -> None:
    config = config_of("league.fixed=[random, 'mcts:50']", "stop.decisions=1e6", "rating.opening=null", "name=a.b-c_d")
    assert config.stop.decisions == 1_000_000
    strict.dump(config, tmp_path / "config.yaml", "a comment")
    assert strict.read(RunConfig, tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("name=.hidden", r"name = '.hidden': may hold only letters, digits, '_', '-' and '\.'"),
        ("name=a/b", "name = 'a/b': may hold only"),
        ("league.learners.mcts.agent.kind=ppo", "league.learners.mcts.*: is the name of another kind of player"),
        ("league.learners.best.agent.kind=ppo", "league.learners.best.*: is the name of another kind of player"),
        ("league.learners.a b.agent.kind=ppo", "league.learners.a b.*: may hold only letters"),
        ("league.learners={}", "league.learners.*at least 1"),
        ("league.fixed=[random, gredy]", r"league\.fixed\.1 = 'gredy': .*Did you mean 'greedy'\?"),
        ("league.fixed=['mcts:0']", r"league\.fixed\.0 = 'mcts:0': mcts needs at least 1 simulation"),
        ("league.fixed=['greedy:3']", "greedy takes nothing after a colon"),
        ("league.fixed=[greedy, greedy]", "league.fixed.*: greedy stands there more than once"),
        ("league.decay=0", "league.decay = 0: should be greater than 0"),
        ("league.learners.main.opponents={'self_plai': 1}", "self_play"),
        ("league.learners.main.opponents={'self_play': -1}", "league.learners.main"),
        ("league.learners.main.snapshot={'every': null}", "league.learners.main.snapshot"),
        ("league.learners.main.snapshot.win_rate=1.5", "win_rate = 1.5: should be less than or equal to 1"),
        ("stop={}", "stop: give at least one of decisions, minutes and rating"),
        ("stop.decisions=1.5", "stop.decisions = 1.5: should be a whole number"),
        ("stop.decisions=0", "stop.decisions"),
        ("seed=-1", "seed = -1: should be greater than or equal to 0"),
        ("rollout.workers=-1", "rollout.workers = -1"),
        ("cluster.learner.gpus=-1", "cluster.learner.gpus = -1"),
        ("most_failed=1", "most_failed = 1: should be less than 1"),
        ("best.games=7", "best.*: `games` of a match come in pairs: give an even number of at least 2, not 7"),
        ("best.alpha=0.5", "best.*: `alpha` is the chance of an error"),
        ("best.elo1=-1", "best.*: `elo0` must be below `elo1`"),
        ("best.most=10", r"best.*: `most` \(10\) must be at least the `games` of one match \(40\)"),
        ("device=tpu", "device = 'tpu': should be 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_each_impossible_value_is_named(override: str, said: str) -> None:
    [line] = refused(override).splitlines()
    assert re.search(said, line), line


def test_all_problems_are_told_at_once() -> None:
    assert len(refused("seed=-1", "league.fixed=[x]", "rollout.rows=0").splitlines()) == 3


@pytest.mark.parametrize(
    ("game", "overrides", "said"),
    [
        (
            "openspiel/kuhn_poker",
            ["league.fixed=['mcts:10']"],
            "league.fixed: mcts:10 cannot play openspiel/kuhn_poker",
        ),
        ("rock_paper_scissors", ["league.fixed=[greedy]"], "league.fixed: greedy cannot play rock_paper_scissors"),
        ("tic_tac_toe", ["rating.games=5"], "rating.games: 5 games cannot be shared evenly among 2 teams"),
        ("gymnasium/CartPole-v1", ["best.enabled=true"], "best.enabled: gymnasium/CartPole-v1 has no two sides that"),
        ("openspiel/kuhn_poker?players=3", ["best.enabled=true", "rating.games=3"], "has no two sides that compete"),
        ("tic_tac_toe", ["rating.anchor=greedy"], "rating.anchor: the league has no frozen member 'greedy'"),
        ("tic_tac_toe", ["rating.anchor=main"], "Did you mean 'main@1'?"),
        ("tic_tac_toe", ["rating.anchor=man@1"], "Did you mean 'main@1'?"),
    ],
)
def test_what_does_not_go_with_the_game_is_named(game: str, overrides: list[str], said: str) -> None:
    [problem] = unsupported(config_of(*overrides), games.make(game).spec)
    assert said in problem


@pytest.mark.parametrize("anchor", ["random", "mcts:10", "main@1", "main@7"])
def test_a_frozen_member_may_be_the_anchor(anchor: str) -> None:
    config = config_of(f"rating.anchor='{anchor}'", "league.fixed=['mcts:10']")
    assert unsupported(config, games.make("tic_tac_toe").spec) == []


def test_the_best_is_only_sought_where_it_is_asked_for() -> None:
    assert not config_of().best.enabled
    config = config_of("best.enabled=true", "best.elo1=20", "best.games=30", "best.most=300")
    assert unsupported(config, games.make("tic_tac_toe").spec) == []
    assert config.best.rule() == GateRule(0.0, 20.0, 0.05, 0.05, 30, 300)


def test_openings_vary_the_games_that_would_repeat() -> None:
    def plies(game: str, **settings: Any) -> int:
        return RatingSettings(**settings).opening_of(games.make(game).spec)

    assert plies("connect_four") == 2
    assert plies("openspiel/kuhn_poker") == 0, "Its cards vary it already."
    assert plies("rock_paper_scissors") == 0
    assert plies("gymnasium/CartPole-v1") == 0
    assert plies("connect_four", opening=0) == 0
    assert plies("rock_paper_scissors", opening=3) == 3


def test_a_run_goes_where_its_name_or_its_file_says() -> None:
    assert run_folder(config_of(), Path("experiments/first.yaml")) == Path("runs/first")
    assert run_folder(config_of("name=second"), Path("experiments/first.yaml")) == Path("runs/second")
