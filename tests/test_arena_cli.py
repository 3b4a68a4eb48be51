"""Every command as a person types it: what it prints, what it refuses, and its exit code."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from arena import cli

RUN = """
game: tic_tac_toe
league:
  learners:
    main: {agent: {kind: ppo, batch: 128, minibatch: 64, epochs: 1, network: {kind: mlp, width: 16}}}
rollout: {workers: 0, rows: 16}
rating: {every: 1, games: 4, final: 2, rows: 4}
stop: {decisions: 256}
tracking: {wandb: disabled}
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


Arena = Callable[..., Said]


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Arena:
    """Type a command; a traceback would be an exception, and fail the test."""

    def typed(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["arena", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return typed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a league was launched, from a shell."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "ttt.yaml").write_text(RUN)
    subprocess.run(
        [sys.executable, "-m", "arena.cli", "launch", "ttt.yaml", "--quiet"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(autouse=True)
def _there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def only_json(said: Said) -> Any:
    """The one object on standard output, and nothing else."""
    assert said.out.count("\n") == 1, said.out
    return json.loads(said.out)


def test_a_launched_run_can_be_read_played_and_gone_on_with(arena: Arena, home: Path) -> None:
    table = arena("ladder", "runs/ttt")
    assert table.code == 0
    assert "main@1" in table.out
    assert (home / "runs/ttt/ladder.png").stat().st_size > 1000
    found = only_json(arena("ladder", "runs/ttt", "--json"))
    assert {"id", "elo", "low", "high", "games"} <= set(found["players"][0])
    result = only_json(arena("match", "runs/ttt:main", "random", "--games", "20", "--json"))
    assert {"games", "wins", "draws", "losses", "score", "low", "high"} <= set(result)
    assert result["games"] == result["wins"] + result["draws"] + result["losses"] == 20
    assert 0 <= result["low"] <= result["score"] <= result["high"] <= 1
    taken = arena("launch", "ttt.yaml")
    assert taken.code == 2
    assert "runs/ttt holds a run already. Add --resume" in taken.err
    more = arena("launch", "runs/ttt", "stop.decisions=400", "--resume", "--quiet")
    assert more.code == 0
    assert "arena play tic_tac_toe --against runs/ttt:main" in more.out


def test_match_between_scripted_players(arena: Arena) -> None:
    words = ("match", "mcts:30", "random", "--game", "tic_tac_toe", "--games", "20")
    first, again = (only_json(arena(*words, "--json")) for _ in range(2))
    (searching, guessing), _ = first.pop("ms_per_move"), again.pop("ms_per_move")
    assert searching > guessing > 0
    assert first == again
    assert first["score"] > 0.7
    spoken = arena(*words)
    assert f"score {first['score']:.3f}, 95% interval" in spoken.out
    assert " ms a move\n" in spoken.out
    first_seat, second_seat = (side["points"] for side in first["sides"])
    assert (first_seat + second_seat) / 2 == pytest.approx(first["score"])
    assert f"  from seat 0: {first_seat:.3f}, from seat 1: {second_seat:.3f}\n" in spoken.out


def test_match_between_sides_with_roles(arena: Arena) -> None:
    words = ("match", "random", "random", "--game", "pettingzoo/mpe2.simple_tag_v3", "--games", "4")
    found = only_json(arena(*words, "--json"))
    assert [side["seats"] for side in found["sides"]] == [3, 1]
    assert (found["draws"], found["score"]) == (4, 0.5), "the same moves with the same luck"
    spoken = arena(*words)
    assert "0 won, 4 drawn, 0 lost, comparing returns on the same side with the same luck" in spoken.out
    assert "side 0 (3 seats)" in spoken.out


def test_games_as_json(arena: Arena) -> None:
    found = only_json(arena("games", "--json"))["games"]
    assert {"connect_four", "tic_tac_toe"} <= {game["name"] for game in found}
    assert len(only_json(arena("games", "openspiel", "--json"))["games"]) > 80


def test_check_as_json_says_which_agents_can_play(arena: Arena) -> None:
    said = arena("check", "openspiel/kuhn_poker", "--games", "20", "--json")
    found = only_json(said)
    assert (said.code, found["game"], found["passed"], found["failures"]) == (0, "openspiel/kuhn_poker", True, [])
    assert found["agents"]["ppo"] is None
    assert "a copy of it holds what the seat to move may not see" in found["agents"]["mcts"]


def test_check_of_a_broken_game_exits_with_1(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    import games
    from games.tic_tac_toe import TicTacToe

    class Generous(TicTacToe):
        def step(self, actions: Any, rng: Any) -> Any:
            mine, theirs = super().step(actions, rng)
            return (max(mine, 0), max(theirs, 0))

    monkeypatch.setitem(games._GAMES, "generous", Generous)
    said = arena("check", "generous", "--games", "20", "--json")
    found = only_json(said)
    assert (said.code, found["passed"]) == (1, False)
    assert found["failures"][0].startswith("payoff: Declared zero_sum, but rewards")


def test_play_through_a_pipe(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "arena.cli", "play", "tic_tac_toe", "--against", "runs/ttt:main@1"],
        cwd=home,
        input="4\nhint\nhint 50\nquit\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "main@1 plays" in done.stdout
    assert "would play" in done.stdout
    table = done.stdout.partition("  move  prior\n")[2].splitlines()[:7]
    assert sum(float(line.split()[1].rstrip("%")) for line in table) == pytest.approx(100, abs=0.5)
    assert "runs/ttt:main@1?simulations=50: ppo has no play setting 'simulations'" in done.stdout


def types(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let a person at the terminal type `lines`, and leave."""
    left = iter(lines)

    def line(prompt: str) -> str:
        for typed in left:
            return typed
        raise EOFError

    monkeypatch.setattr("builtins.input", line)


def test_play_with_simulations(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    types(monkeypatch, "hint", "hint 60")
    said = arena("play", "tic_tac_toe", "--against", "mcts:3", "--simulations", "40")
    first, second = said.out.split("  move  visits  value  line\n")[1:]
    for table, simulations in ((first, 40), (second, 60)):
        rows = table.splitlines()
        assert 0.8 * simulations < sum(int(row.split()[1]) for row in rows[:8]) <= simulations - 1
        assert rows[8] == "  and 1 more"
        assert max(len(row) for row in rows) <= 80


def test_play_at_a_temperature(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0 the reply does not depend on the luck; at 1,000 it does."""
    replies: dict[str, set[str]] = {"0": set(), "1000": set()}
    for temperature, seen in replies.items():
        for seed in ("1", "2", "3"):
            types(monkeypatch, "4")
            against = ("--against", "runs/ttt:main@1?temperature=1")
            said = arena("play", *against, "--temperature", temperature, "--seed", seed)
            seen.add(said.out.partition(" plays ")[2].split()[0])
    assert len(replies["0"]) == 1
    assert len(replies["1000"]) > 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("launch nowhere.yaml", "nowhere.yaml"),
        ("launch ttt.yaml seed=-1 name=x", "seed"),
        ("launch ttt.yaml game=tictactoe name=x", "Did you mean 'tic_tac_toe'?"),
        ("launch ttt.yaml leauge.decay=1 name=x", "Did you mean 'league'?"),
        ("launch ttt.yaml league.fixed=['mcts:5'] game=openspiel/kuhn_poker name=x", "mcts:5 cannot play"),
        ("launch ttt.yaml name=never --resume", "There is no run in runs/never."),
        ("launch ttt.yaml --resume seed=7", "seed, which a resumed run may not change"),
        ("ladder runs/tttt", "Did you mean 'runs/ttt'?"),
        ("match runs/ttt:mian random", "Did you mean 'main'?"),
        ("match runs/ttt:main@99 random", "runs/ttt has no player 'main@99'"),
        ("match runs/ttt:main runs/tt:main", "Did you mean 'runs/ttt:main'?"),
        ("match runs/ttt:main random --game connect_four", "plays tic_tac_toe, not connect_four"),
        ("match runs/ttt:main?temprature=0 random", "Did you mean 'temperature'?"),
        ("match runs/ttt:main?temperature=cold random", "temperature must be a number"),
        ("match random random", "say which with --game"),
        ("match randon random --game tic_tac_toe", "Did you mean 'random'?"),
        ("match mcts:0 random --game tic_tac_toe", "at least 1 simulation"),
        ("match mcts:5 random --game tic_tac_toe --games 7", "7 games cannot be shared evenly among 2 teams"),
        ("match mcts:5 random --game openspiel/kuhn_poker", "cannot play openspiel/kuhn_poker"),
        ("match mcts:99999999999 random --game tic_tac_toe", "at most 1,000,000 simulations"),
        ("match random greedy --game rock_paper_scissors", "its seats act at once"),
        ("match random?x=1 greedy --game tic_tac_toe", "random takes no settings, but was given x=1."),
        ("match random greedy --game tic_tac_toe --games 0", "--games"),
        ("match random greedy --game tic_tac_toe --opening -1", "--opening"),
        ("match runs/ttt random", "name a player of it, as in runs/ttt:main"),
        ("launch", "Missing argument"),
        ("launch ttt.yaml --resum", "--resume"),
        ("launch ttt.yaml stop.minutes name=x", "should read key.sub=value"),
        ("launch ttt.yaml rating.anchor=rnadom name=x", "rating.anchor: the league has no frozen member 'rnadom'."),
        ("check tic_tac_toe?size=4", "takes no parameters"),
        ("check openspiel/go?bord_size=9", "Did you mean 'board_size'?"),
        ("check tic_tac_toe --games 0", "--games"),
        ("play tic_tac_toe --seat 2", "seats 0 to 1"),
        ("play tic_tac_toe --simulations 50", "random takes no settings, but was given simulations=50. mcts:50 is one"),
        (
            "play --against runs/ttt:main --simulations 50",
            "ppo has no play setting 'simulations'. Known: temperature.",
        ),
        ("play tic_tac_toe --simulations 0", "--simulations"),
        ("play --against runs/ttt:main --temperature -1", "--temperature"),
        ("play tic_tac_to", "Did you mean 'tic_tac_toe'?"),
        ("games openspeil", "Did you mean 'openspiel'?"),
        ("check openspiel/kuhn_pocker", "Did you mean 'kuhn_poker'?"),
        ("check gymnasium/Pendulum-v1", "only Discrete actions can be played"),
        ("check pettingzoo/classic.conect_four_v3", "connect_four_v3"),
        ("lunch ttt.yaml", "Did you mean 'launch'?"),
        ("match a b --gmae x", "--game"),
    ],
)
def test_bad_input_exits_with_2_and_says_what_was_meant(arena: Arena, words: str, message: str) -> None:
    said = arena(*words.split())
    assert said.code == 2
    assert message in " ".join(said.err.replace("│", " ").split())
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_yaml_error_names_its_line(arena: Arena, home: Path) -> None:
    (home / "broken.yaml").write_text("game: tic_tac_toe\nleague: {learners: [\n")
    said = arena("launch", "broken.yaml")
    assert said.code == 2
    assert "broken.yaml:" in said.err
    (home / "hostile.yaml").write_text("game: !!python/object/apply:os.system ['touch owned']\n")
    assert arena("launch", "hostile.yaml").code == 2
    assert not (home / "owned").exists()


def test_help_loads_no_framework() -> None:
    code = (
        "import sys, arena.cli\n"
        "sys.argv = ['arena', 'games']\n"
        "try: arena.cli.main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'ray', 'numba', 'wandb', 'pyspiel', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_launch_without_a_place_for_its_run(
    arena: Arena, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").write_text("a file where the folder should go")
    monkeypatch.chdir(tmp_path)
    said = arena("launch", str(home / "ttt.yaml"))
    assert (said.code, said.out) == (2, "")
    assert "The folder runs/ttt cannot be made" in said.err


def test_what_is_damaged_is_named(arena: Arena, home: Path) -> None:
    hurt = home / "runs/hurt"
    shutil.copytree(home / "runs/ttt", hurt)
    (hurt / "players/main@1/weights.safetensors").write_bytes(b"x")
    shutil.rmtree(hurt / "resume")
    for beside in hurt.glob("ledger.sqlite-*"):
        beside.unlink()
    for words, named in (
        (("match", "runs/hurt:main@1", "random", "--games", "2"), "main@1/weights.safetensors is damaged"),
        (("launch", "runs/hurt", "--resume"), "There is no checkpoint in runs/hurt/resume"),
    ):
        said = arena(*words)
        assert (said.code, said.out) == (2, "")
        assert named in said.err
    (hurt / "ledger.sqlite").write_bytes(b"no ledger at all")
    said = arena("ladder", "runs/hurt", "--json")
    assert (said.code, said.out) == (2, "")
    assert "runs/hurt/ledger.sqlite" in said.err


def test_a_launch_without_key_or_network_tracks_offline(tmp_path: Path) -> None:
    """In a process of its own, as W&B reads its environment once; the proxy answers nothing, so there is no network."""
    (tmp_path / "ttt.yaml").write_text(RUN.replace("tracking: {wandb: disabled}", ""))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    launched = subprocess.run(
        [sys.executable, "-m", "arena.cli", "launch", "ttt.yaml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in launched.stderr
    assert list((tmp_path / "runs/ttt").glob("**/offline-run-*")), "Kept for `wandb sync`."
    assert "main/entropy" in (tmp_path / "runs/ttt/metrics/metrics.jsonl").read_text()
