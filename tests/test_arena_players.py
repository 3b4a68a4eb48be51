"""Players by reference: the right weights for each name, and for a wrong name a sentence that helps."""

from __future__ import annotations

import doctest
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_arena_train import config, training

import arena.players
import arena.standings
from agents.mcts import MCTS
from agents.ppo import PPOPolicy
from agents.scripted import Greedy, Random
from arena import checkpoints
from arena.files import DamagedFile
from arena.match import Table
from arena.players import Loaded, PlayerError, game_of, load, with_settings
from arena.run import RunError
from games.keys import mix
from games.names import UserError

RUN = "runs/connect_four"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of connect four with three snapshots, of which the second has a record to be the best with."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("players")
    os.chdir(folder)
    with training(config(game="connect_four", stop={"decisions": 500}), Path(RUN)) as made:
        made.loop()
        made.finish()
        assert len(made.league.snapshots("main")) >= 3
    yield folder
    os.chdir(before)


def net_of(player: Loaded) -> dict[str, np.ndarray]:
    assert isinstance(player.policy, PPOPolicy)
    return {f"net.{name}": tensor.numpy() for name, tensor in player.policy.net.state_dict().items()}


def test_snapshots_are_what_was_frozen() -> None:
    for number in (1, 2, 3):
        player = load(f"{RUN}:main@{number}")
        with arena.players.look(Path(RUN)) as run:
            frozen = run.store.load(f"main@{number}").weights
        assert (player.id, player.game.spec.name) == (f"{RUN}:main@{number}", "connect_four")
        assert all(np.array_equal(array, frozen[name]) for name, array in net_of(player).items())


def test_the_learner_is_as_it_was_last_saved() -> None:
    _, arrays, _ = checkpoints.load(Path(RUN) / "resume")
    live = net_of(load(f"{RUN}:main"))
    assert all(np.array_equal(array, arrays["learner.main"][f"weights.{name}"]) for name, array in live.items())
    newest = max(Path(RUN, "players").iterdir(), key=lambda path: int(path.name.partition("@")[2])).name
    assert all(np.array_equal(array, live[name]) for name, array in net_of(load(f"{RUN}:{newest}")).items())


def test_the_best_is_the_first_snapshot_of_the_ladder() -> None:
    with arena.players.look(Path(RUN)) as run:
        rows = [row.id for row in arena.standings.standings(run).rows]
    first = next(name for name in rows if name.startswith("main@"))
    best = net_of(load(f"{RUN}:best"))
    assert all(np.array_equal(array, best[name]) for name, array in net_of(load(f"{RUN}:{first}")).items())
    others = [name for name in rows if name.startswith("main@") and name != first]
    assert not all(np.array_equal(array, best[name]) for name, array in net_of(load(f"{RUN}:{others[0]}")).items())


def test_the_best_of_a_run_without_rating_games(tmp_path: Path) -> None:
    with training(config(), tmp_path / "new"):
        pass
    with pytest.raises(PlayerError, match=r"No snapshot of .*new has been rated yet; name one: main@1\."):
        load(f"{tmp_path}/new:best")


def test_scripted_players_need_a_game() -> None:
    for name, kind in (("random", Random), ("greedy", Greedy), ("mcts:12", MCTS)):
        player = load(name, "tic_tac_toe")
        assert isinstance(player.policy, kind)
        assert player.game.spec.name == "tic_tac_toe"
        with pytest.raises(PlayerError, match=f"{name} plays any game: say which with --game"):
            load(name)
    assert game_of("mcts:12") is None
    assert game_of(f"{RUN}:main@1?temperature=0") == "connect_four"


def test_settings_after_a_question_mark() -> None:
    assert isinstance(policy := load(f"{RUN}:main?temperature=0").policy, PPOPolicy)
    assert policy.temperature == 0
    assert isinstance(policy := load(f"{RUN}:main@1?temperature=2.5").policy, PPOPolicy)
    assert policy.temperature == 2.5
    for settings, message in (
        ("temprature=1", "ppo has no play setting 'temprature'. Did you mean 'temperature'?"),
        ("temperature=-1", "temperature must be a number of at least 0, not -1"),
        ("temperature=hot", "temperature must be a number of at least 0, not 'hot'"),
        ("temperature", "'temperature' after the question mark should read key=value"),
    ):
        with pytest.raises(PlayerError, match=re.escape(message)):
            load(f"{RUN}:main?{settings}")
    with pytest.raises(PlayerError, match="random takes no settings, but was given temperature=1"):
        load("random?temperature=1", "tic_tac_toe")


def test_settings_overrule_those_of_a_reference() -> None:
    for reference, settings, expected in (
        ("mcts:9", {}, "mcts:9"),
        ("a:b", {"simulations": 9}, "a:b?simulations=9"),
        ("a:b?temperature=0.5", {"simulations": 9}, "a:b?temperature=0.5&simulations=9"),
        ("a:b?temperature=2&simulations=1", {"temperature": 0.25}, "a:b?temperature=0.25&simulations=1"),
    ):
        assert with_settings(reference, settings) == expected
    with pytest.raises(PlayerError, match="'hot' after the question mark should read key=value"):
        with_settings("a:b?hot", {"simulations": 9})
    reference = with_settings(f"{RUN}:main?temperature=2.5", {"temperature": 1e-7})
    assert isinstance(policy := load(reference).policy, PPOPolicy)
    assert policy.temperature == 1e-7


@pytest.mark.parametrize("reference", ["mcts:12?simulations=50", "mcts?simulations=50", "mcts:50"])
def test_simulations_of_tree_search(reference: str) -> None:
    assert isinstance(policy := load(reference, "tic_tac_toe").policy, MCTS)
    assert policy.simulations == 50


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (f"{RUN}:main?simulations=50", f"{RUN}:main?simulations=50: ppo has no play setting 'simulations'"),
        (
            "greedy?simulations=50",
            "greedy takes no settings, but was given simulations=50. mcts:50 is one that searches",
        ),
        ("random?temperature=2&simulations=5", "was given temperature=2&simulations=5. mcts:5 is one that searches."),
        ("mcts:12?simulations=50&temperature=1", "mcts:50 takes no settings, but was given temperature=1."),
        ("mcts:12?simulations=lots", "'mcts:lots' needs its number of simulations"),
        ("mcts:12?simulations=0", "at least 1 simulation"),
    ],
)
def test_who_takes_no_simulations_says_so(reference: str, message: str) -> None:
    with pytest.raises(PlayerError, match=re.escape(message)):
        load(reference, "connect_four")


@pytest.mark.parametrize(
    ("reference", "game", "message"),
    [
        (f"{RUN}:mian", None, f"{RUN} has no player 'mian'. Did you mean 'main'?"),
        (f"{RUN}:main@99", None, f"{RUN} has no player 'main@99'. Did you mean 'main@"),
        (f"{RUN}:", None, f"{RUN} has no player ''. Known: best, main,"),
        ("runs/c_four:main", None, "There is no player 'runs/c_four:main'. Did you mean 'runs/connect_four:main'"),
        (RUN, None, f"{RUN} is a run: name a player of it, as in {RUN}:main or {RUN}:best"),
        ("rnadom", "tic_tac_toe", "There is no player 'rnadom'. Did you mean 'random'?"),
        ("mcts", "tic_tac_toe", "'mcts' needs its number of simulations, as in 'mcts:100'"),
        ("mcts:many", "tic_tac_toe", "'mcts:many' needs its number of simulations"),
        ("random:3", "tic_tac_toe", "random takes nothing after a colon"),
        (f"{RUN}:main", "tic_tac_toe", f"{RUN}:main plays connect_four, not tic_tac_toe"),
        ("greedy", "rock_paper_scissors", "greedy cannot play rock_paper_scissors: "),
        ("greedy", "tic_tac_to", "There is no game called 'tic_tac_to'. Did you mean 'tic_tac_toe'?"),
        ("", None, "There is no player ''."),
        (":", None, "There is no player ':'."),
        ("..:main", None, "There is no run in ..."),
    ],
)  # fmt: skip
def test_a_wrong_reference_is_a_sentence(reference: str, game: str | None, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load(reference, game)


def test_a_reference_to_nothing_has_no_game() -> None:
    with pytest.raises(PlayerError, match=r"There is no player 'runs/connect_for:main'. Did you mean"):
        game_of("runs/connect_for:main")
    with pytest.raises(RunError, match="There is no run in"):
        game_of("runs:main")


def test_a_damaged_snapshot_is_not_played() -> None:
    path = Path(RUN) / "players" / "main@1" / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    try:
        with pytest.raises(DamagedFile, match=r"main@1/weights\.safetensors is damaged"):
            load(f"{RUN}:main@1")
    finally:
        path.write_bytes(whole)


def test_a_player_that_remembers_is_seated_elsewhere() -> None:
    class Elephant(Random):
        memory = (3,)

    player = Loaded("elephant", load("random", "tic_tac_toe").game, Elephant())
    with pytest.raises(PlayerError, match=r"elephant remembers what it saw; seat it in an `arena\.rollout\.Rollout`"):
        player.choose(Table(player.game, mix(1, [0])))


def test_a_player_chooses_the_same_move_alone_and_in_company() -> None:
    player = load(f"{RUN}:main?temperature=0")
    keys = mix(7, [0, 1, 2])
    together = Table(player.game, keys)
    while not together.over.all():
        together.play(player.choose(together))
    for row in range(3):
        alone = Table(player.game, keys[row : row + 1])
        while not alone.over.all():
            alone.play(player.choose(alone))
        assert np.array_equal(alone.played(0), together.played(row))


def test_the_snippet_in_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = arena.players.__doc__
    assert text is not None
    _, _, indented = text.partition("From Python, to load a player and let it move:\n")
    code = textwrap.dedent(indented)
    assert 'load("runs/connect_four:main")' in code
    exec(compile(code, "snippet", "exec"), {})
    printed = capsys.readouterr().out
    returns = np.array([[float(n) for n in re.findall(r"-?\d\.", line)] for line in printed.splitlines()])
    assert returns.shape == (3, 2)
    assert (returns.sum(axis=1) == 0).all()
    assert doctest.testmod(arena.players).failed == 0
