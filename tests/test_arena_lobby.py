"""Who can sit down: the players of healthy runs, whatever lies beside them, each loaded once and kept for a while."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from test_arena_train import config, learner, training

import arena.lobby
import games
from agents.scripted import Random
from arena import strict
from arena.files import DamagedFile
from arena.lobby import Lobby
from arena.players import Loaded, PlayerError
from arena.seating import runs_of
from games import Game
from games.names import UserError

RUN = Path("runs/ttt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    with training(config(stop={"decisions": 300}), folder) as made:
        made.loop()
        made.finish()
        assert len(made.league.snapshots("main")) >= 2
    return folder


@pytest.fixture(autouse=True)
def home(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder to work in, with a copy of that run in it."""
    before = Path.cwd()
    os.chdir(tmp_path)
    shutil.copytree(trained, RUN)
    yield tmp_path
    os.chdir(before)


def names(lobby: Lobby) -> list[str]:
    return [player.name for player in lobby.players()]


def test_learners_come_first_then_snapshots_from_the_newest_then_scripted_players() -> None:
    lobby = Lobby("tic_tac_toe", [RUN])
    found = names(lobby)
    snapshots = [name for name in found if "@" in name]
    assert found[0] == "main"
    assert snapshots == [f"main@{number}" for number in range(len(snapshots), 0, -1)]
    assert found[1 + len(snapshots) :] == ["random", "greedy", "mcts:25", "mcts:100", "mcts:400", "mcts:1600"]
    assert lobby.players()[0].reference == "runs/ttt:main"
    assert lobby.players()[0].settings == ("temperature",)


def test_names_tell_the_runs_apart_where_there_are_several() -> None:
    shutil.copytree(RUN, "runs/other")
    lobby = Lobby("tic_tac_toe", runs_of("runs/ttt:main"))
    assert [name for name in names(lobby) if name.endswith(":main")] == ["ttt:main", "other:main"]


def test_a_run_that_goes_on_offers_its_players_and_its_snapshots_as_they_come(tmp_path: Path) -> None:
    live = tmp_path / "runs/live"
    settings = config(stop={"decisions": 1000}, league={"learners": {"main": learner(snapshot={"every": 100})}})
    with training(settings, live) as made:
        lobby = Lobby("tic_tac_toe", [live])
        before = [name for name in names(lobby) if name.startswith("main")]
        made.loop()
        after = [name for name in names(lobby) if name.startswith("main")]
        newest = made.league.snapshots("main")[-1].id
        assert lobby.occupant(newest).policy is not None, "it can be met while the run goes on"
    assert before[0] == after[0] == "main"
    assert newest not in before
    assert newest in after


def test_only_runs_of_the_same_game_are_offered_under_whatever_words_it_has_there() -> None:
    for folder, game in (
        ("runs/same", "openspiel/go?board_size=5"),
        ("runs/bigger", "openspiel/go?board_size=7"),
        ("runs/foreign", "connect_four"),
    ):
        Path(folder).mkdir()
        strict.dump(config(game=game), Path(folder) / "config.yaml")
    found = Lobby("openspiel/go?board_size=5", runs_of("random")).folders
    assert found == [Path("runs/same")]


def test_a_game_meant_in_other_words_is_the_same_game() -> None:
    Path("runs/plain").mkdir()
    strict.dump(config(game="foraging?size=8"), Path("runs/plain/config.yaml"))
    assert games.make("foraging").spec.name == games.make("foraging?size=8").spec.name
    assert Lobby("foraging", runs_of("random")).folders == [Path("runs/plain")]


def test_many_runs_of_other_games_cost_no_game(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(name: str) -> Game:
        made.append(name)
        return games.make(name)

    monkeypatch.setattr(arena.lobby, "make", counted)
    for number in range(40):
        Path(f"runs/other{number}").mkdir()
        strict.dump(config(game="connect_four"), Path(f"runs/other{number}/config.yaml"))
    lobby = Lobby("tic_tac_toe", runs_of("random"))
    assert (lobby.folders, made) == ([RUN], ["tic_tac_toe"])


def test_the_settings_of_a_run_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lobby = Lobby("tic_tac_toe", [RUN])
    first = lobby.players()
    (RUN / "config.yaml").write_text("game: [")
    assert lobby.players() == first


@pytest.mark.parametrize(
    ("config_text", "ledger"),
    [
        (None, b""),
        ("", None),
        ("game: tic_tac_toe\n", None),
        ("game: tic_tac_toe\nleague: nonsense\n", b"nonsense"),
        ("game: [tic_tac_toe\n", b"nonsense"),
        ("game: openspiel/no_such_game\n", b""),
        ("\x00\xff", b""),
    ],
)
def test_a_foreign_or_broken_folder_stops_nobody(config_text: str | None, ledger: bytes | None) -> None:
    broken = Path("runs/broken")
    broken.mkdir()
    if config_text is not None:
        (broken / "config.yaml").write_bytes(config_text.encode("latin-1"))
    if ledger is not None:
        (broken / "ledger.sqlite").write_bytes(ledger)
    found = names(Lobby("tic_tac_toe", runs_of("random")))
    assert any(name.endswith("main@1") for name in found)
    assert not any(name.startswith("broken:") for name in found)


def test_a_run_whose_ledger_is_damaged_offers_nobody_and_its_players_say_why() -> None:
    shutil.copytree(RUN, "runs/hurt")
    for file in Path("runs/hurt").glob("ledger.sqlite*"):
        file.unlink()
    Path("runs/hurt/ledger.sqlite").write_bytes(b"no ledger" * 200)
    lobby = Lobby("tic_tac_toe", runs_of("random"))
    assert "ttt:main" in names(lobby)
    assert not any(name.startswith("hurt:") for name in names(lobby))
    with pytest.raises(UserError, match=r"runs/hurt/ledger\.sqlite is not a ledger, or cannot be read"):
        lobby.occupant("runs/hurt:main@1")


def test_damaged_weights_are_a_sentence_and_others_still_play() -> None:
    lobby = Lobby("tic_tac_toe", [RUN])
    (RUN / "players/main@1/weights.safetensors").write_bytes(b"x")
    with pytest.raises(DamagedFile, match=r"main@1/weights\.safetensors"):
        lobby.occupant("main@1")
    assert "main@1" in names(lobby)
    assert lobby.occupant("main@2").name == "main@2"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("main@99", r"There is no player 'main@99'. Did you mean 'main@\d'\?"),
        ("runs/ttt:main@99", r"runs/ttt has no player 'main@99'. Did you mean 'main@\d'\?"),
        ("rnadom", r"There is no player 'rnadom'. Did you mean 'random'\?"),
        ("runs/tt:main", r"There is no player 'runs/tt:main'. Did you mean 'runs/ttt:main'\?"),
        ("mcts:0", "mcts needs at least 1 simulation a move, not 0"),
        ("main@1?strength=3", "ppo has no play setting 'strength'. Known: temperature."),
        ("main@1?temperature", "should read key=value"),
    ],
)
def test_whoever_is_not_there_is_refused_with_the_nearest_name(reference: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Lobby("tic_tac_toe", [RUN]).occupant(reference)


def test_a_player_of_another_game_is_refused() -> None:
    with pytest.raises(PlayerError, match="runs/ttt:main@1 plays tic_tac_toe, not connect_four"):
        Lobby("connect_four", [RUN]).occupant("runs/ttt:main@1")


# ---- policies are shared


class Counting:
    """Loads nothing, but notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, reference: str, game: str) -> Loaded:
        self.asked.append(reference)
        return Loaded(reference, games.make(game), Random())


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()
    monkeypatch.setattr(arena.lobby, "load", counting)
    return counting


def test_threads_that_ask_for_the_same_player_share_one_policy(counting: Counting) -> None:
    lobby, together = Lobby("tic_tac_toe", [RUN]), threading.Barrier(8)

    def ask(number: int) -> object:
        together.wait(60)
        return lobby.occupant("mcts:5").policy

    with ThreadPoolExecutor(8) as threads:
        policies = list(threads.map(ask, range(8)))
    assert counting.asked == ["mcts:5"]
    assert len({id(policy) for policy in policies}) == 1


def test_the_sixteen_policies_last_asked_for_are_kept(counting: Counting) -> None:
    lobby = Lobby("tic_tac_toe", [])
    for count in range(1, 17):
        lobby.occupant(f"mcts:{count}")
    lobby.occupant("mcts:1")  # is there, and is now the last asked for
    lobby.occupant("mcts:17")
    assert len(counting.asked) == 17
    lobby.occupant("mcts:1")
    assert len(counting.asked) == 17
    lobby.occupant("mcts:2")
    assert counting.asked[17:] == ["mcts:2"], "it was asked for longest ago, so it had to go"


def test_tables_that_share_a_policy_have_their_turns_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, served = threading.Event(), threading.Event(), []

    class Slow(Random):
        def act(self, decisions: Any, context: Any, keys: Any) -> Any:
            begun.set()
            assert go_on.wait(60)
            served.append(keys)

    monkeypatch.setattr(arena.lobby, "load", lambda reference, game: Loaded(reference, games.make(game), Slow()))
    policy: Any = Lobby("tic_tac_toe", []).occupant("mcts:5").policy
    threads = [threading.Thread(target=policy.act, args=(None, None, number)) for number in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        assert begun.wait(60)
        while len(policy._turn._waiting) < number:
            pass
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert served == list(range(6))


def test_settings_make_another_player(counting: Counting) -> None:
    lobby = Lobby("tic_tac_toe", [RUN])
    cold, warm = lobby.occupant("main@1", {"temperature": 0}), lobby.occupant("main@1", {"temperature": 1})
    assert counting.asked == ["runs/ttt:main@1?temperature=0", "runs/ttt:main@1?temperature=1"]
    assert (cold.name, cold.player) == ("main@1?temperature=0", "runs/ttt:main@1?temperature=0")
    assert cold.policy is not warm.policy
