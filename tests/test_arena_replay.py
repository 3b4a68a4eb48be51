"""Stored games: they replay to exactly what the ledger says, at any step, or say why they do not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_arena_people import agent, play
from test_arena_train import GATED, config, training

import games as library
from agents.core import Context
from agents.scripted import Random
from arena.match import Table
from arena.people import record
from arena.replay import KEPT, Replay, ReplayError, archive, games, load
from arena.rollout import KEEP_MOVES
from arena.run import RunError, create, look
from arena.sitting import Occupant
from games.keys import OPENING, mix
from games.names import UserError
from games.tic_tac_toe import TicTacToe
from leagues.core import Match, Player, Result
from leagues.ledger import LedgerError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rating and gate matches that begin with a random ply."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    settings = config(**GATED | {"stop": {"decisions": 2500}, "best": {"enabled": True, "games": 10, "most": 20}})
    with training(settings, folder) as made:
        made.loop()
        made.finish()
    return folder


def test_every_stored_game_of_a_run_replays_to_exactly_its_returns(run: Path) -> None:
    with look(run) as looked:
        results = {(m.id, r.game): (m, r) for _, m, r in looked.ledger.results({"rate", "gate"})}
        count = looked.ledger.count({"rate"})
    assert count > 10
    with archive(run) as opened:
        stored = opened.games()
        assert {(each.match, each.game) for each in stored} == set(results)
        assert {each.purpose for each in stored} == {"rate", "gate"}
        for each in stored:
            match, result = results[each.match, each.game]
            replay = opened.load(each.match, each.game)
            assert replay.problem is None
            assert replay.steps == each.length == result.length
            table = replay.table(replay.steps)
            assert tuple(table.returns[0].tolist()) == each.returns == result.returns
            assert table.over.all()
            assert each.kept
            assert each.lineup == match.lineup(each.game, (0, 1))
            assert replay.key == match.key(each.game)
            assert replay.opening == 1


def test_the_opening_is_what_was_drawn_at_random(run: Path) -> None:
    """The two games of a pair share the key and so the opening; what is drawn is known from the key alone."""
    with archive(run) as opened:
        for each in opened.games(purposes={"rate"}, last=20):
            replay = opened.load(each.match, each.game)
            keys = mix(np.array([replay.key], np.uint64), OPENING, np.array([0]), np.array([0]))[:, None]
            table = replay.table(0)
            drawn = Random().act(table.pending(), Context(table.game, table.states, np.zeros(1, np.int64)), keys)
            assert replay.moves[0, 0] == drawn.action[0, 0]


def test_any_step_can_be_looked_at_forward_and_back(run: Path) -> None:
    stored = games(run, last=1)[0]
    replay = load(run, stored.match, stored.game)
    fresh = Table(replay.game, np.array([replay.key], np.uint64))
    boards = [replay.game.text(fresh.states, 0, 0)]
    for step in range(replay.steps):
        fresh.play(replay.moves[step : step + 1].astype(np.int64))
        boards.append(replay.game.text(fresh.states, 0, 0))
    assert len(set(boards)) == len(boards)
    first = replay.table(0)
    assert replay.table(3) is first, "forward it plays on"
    for step in (3, 0, replay.steps, 2, 2, 4):
        table = replay.table(step)
        assert replay.game.text(table.states, 0, 0) == boards[step]
        assert table.played(0).tolist() == replay.moves[:step].tolist()
    for step in (-1, replay.steps + 1):
        with pytest.raises(ReplayError, match=rf"has steps 0 to {replay.steps}; {step} is none of them"):
            replay.table(step)


def test_games_are_chosen_by_player_pair_purpose_and_number(run: Path) -> None:
    everything = games(run)
    assert set(KEPT) == KEEP_MOVES | {"casual"}
    ours = games(run, "main@1")
    assert ours == [each for each in everything if "main@1" in each.lineup]
    assert games(run, "main@1", "main@2") == games(run, "main@2", "main@1") == [e for e in ours if "main@2" in e.lineup]
    assert games(run, "main@1", last=3) == ours[-3:]
    assert games(run, purposes={"gate"}) == [each for each in everything if each.purpose == "gate"]
    trained = games(run, purposes={"train"}, last=2)
    assert [each.kept for each in trained] == [False, False]
    with pytest.raises(ReplayError, match="was a train game, whose moves are not kept"):
        load(run, trained[0].match, trained[0].game)
    with pytest.raises(LedgerError, match="no match 99999"):
        load(run, 99999, 0)
    with pytest.raises(LedgerError, match="no game 4000 of match"):
        load(run, everything[0].match, 4000)
    with pytest.raises(ReplayError, match=r"Nobody called .nobody. has played in"):
        games(run, "nobody")


def test_moves_in_words_name_the_player_and_the_seat_where_one_has_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tic_tac_toe", "rock_paper_scissors"):
        game = library.make(name)
        told = record(name, game.spec, [Occupant("ada"), agent("random")], play(game, 3), 3)
        assert told.folder is not None
        (stored,) = games(told.folder)
        replay = load(told.folder, stored.match, stored.game)
        assert replay.problem is None
        if game.spec.simultaneous:
            (words,) = replay.moves_in_words()
            assert words == f"ada {replay.line[0][0]} / random {replay.line[0][1]}"
            assert set(replay.line[0].values()) <= {"rock", "paper", "scissors"}
        else:
            names = [game.action_name(replay.table(0).states, 0, 0, int(move)) for move in replay.moves[:, 0]]
            who = ["ada", "random"] * 5
            assert replay.moves_in_words() == [f"{w} {n}" for w, n in zip(who, names, strict=False)]
        same = Replay(replay.game, replace(stored, lineup=("ada", "ada")), replay.key, replay.moves, 0)
        assert same.moves_in_words()[0].startswith("ada (seat 0) ")


def test_a_game_of_people_replays_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "openspiel/leduc_poker"
    game = library.make(name)
    for seed in range(5):
        told = record(name, game.spec, [agent("random"), Occupant("ada")], play(game, seed), seed)
    assert told.folder is not None
    stored = games(told.folder, "ada")
    assert [each.match for each in stored] == [-1, -2, -3, -4, -5]
    for each in stored:
        assert load(told.folder, each.match, 0).problem is None
    with pytest.raises(RunError, match="no run in"):
        games(tmp_path / "elsewhere")


# ---- what does not replay --------------------------------------------------------------------------------------------


def keep(folder: Path, results: list[Result]) -> None:
    with create(folder, config(), "test") as run:
        run.ledger.add_player(Player("random", "random"))
        run.ledger.add_matches([Match(0, ("random", "random"), "rate", 1)])
        run.ledger.append(results)


def moves(*actions: int) -> Any:
    return np.array([[action] for action in actions], np.int16)


@pytest.mark.parametrize(
    ("result", "problem", "steps"),
    [
        (
            Result(0, 0, (-1.0, 1.0), 5, moves=moves(0, 3, 1, 4, 2)),
            r"ended with returns \[-1.*replays to returns \[1",
            5,
        ),
        (Result(0, 0, (1.0, -1.0), 5, True, moves(0, 3, 1, 4, 2)), r"ended with returns .*, cut, but replays to", 5),
        (
            Result(0, 0, (1.0, -1.0), 3, moves=moves(0, 3, 0)),
            "does not replay beyond step 2: .* may not play action 0",
            2,
        ),
        (Result(0, 0, (1.0, -1.0), 2, moves=moves(0, 99)), "does not replay beyond step 1: .*action 99", 1),
        (Result(0, 0, (1.0, -1.0), 2, moves=moves(0, -1)), "does not replay beyond step 1: nobody moves", 1),
        (Result(0, 0, (1.0, -1.0), 2, moves=moves(0, 3)), "is not over after its 2 steps", 2),
        (Result(0, 0, (1.0, -1.0), 6, moves=moves(0, 3, 1, 4, 2, 5)), "has 6 steps, but is over after 5", 5),
        (Result(0, 0, (1.0, -1.0), 0, moves=np.zeros((0, 1), np.int16)), "is not over after its 0 steps", 0),
        (
            Result(0, 0, (1.0, -1.0), 1, moves=np.zeros((1, 2), np.int16)),
            "moves of 2 seats at once, where there are 1",
            0,
        ),
    ],
)
def test_a_game_that_does_not_replay_says_so(tmp_path: Path, result: Result, problem: str, steps: int) -> None:
    keep(tmp_path / "run", [result])
    replay = load(tmp_path / "run", 0, 0)
    assert replay.problem is not None
    assert replay.problem.startswith("Game 0 of match 0 ")
    assert replay.problem.endswith("try `arena check tic_tac_toe`.")
    assert re.search(problem, replay.problem), replay.problem
    assert replay.steps == len(replay.moves_in_words()) == steps
    assert replay.table(steps).steps.tolist() == [steps]


def test_an_environment_that_breaks_in_a_replay_is_a_problem_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path / "run", [Result(0, 0, (1.0, -1.0), 5, moves=moves(0, 3, 1, 4, 2))])

    class Cracked(TicTacToe):
        def step(self, actions: Any, rng: np.random.Generator) -> Any:
            if actions[0] == 4:
                raise RuntimeError("the middle is cracked")
            return super().step(actions, rng)

    monkeypatch.setattr(library, "_GAMES", library._GAMES | {"tic_tac_toe": Cracked})
    replay = load(tmp_path / "run", 0, 0)
    assert "does not replay beyond step 3: " in (replay.problem or "")
    assert "the middle is cracked" in (replay.problem or "")
    assert replay.steps == 3
    assert replay.table(3).steps.tolist() == [3]


def test_a_folder_whose_game_is_not_known_here_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library, "_GAMES", library._GAMES | {"mine": TicTacToe})
    game = library.make("mine")
    told = record("mine", game.spec, [Occupant("ada"), agent("random")], play(game, 1), 1)
    assert told.folder is not None
    assert load(told.folder, -1, 0).problem is None
    monkeypatch.setattr(library, "_GAMES", {name: made for name, made in library._GAMES.items() if name != "mine"})
    with pytest.raises(UserError, match="cannot be replayed: There is no game called 'mine'"):
        games(told.folder)
