"""People's games in a ledger: who they are there, which of their games rate them, and that a run is none the wiser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_arena_rollout import Trek
from test_arena_train import config, learner, training

import games
from agents.core import Policy
from agents.scripted import Random
from arena import checkpoints, people
from arena.match import Table
from arena.people import Recorded, WrongName, check_name, pinned, record
from arena.players import PlayerError, load
from arena.run import Run, create, look
from arena.sitting import Occupant, PlayedGame
from arena.standings import standings
from games import Game
from games.keys import mix
from leagues.core import VISITOR, Player
from leagues.ledger import Ledger


def play(game: Game, seed: int, **changes: Any) -> PlayedGame:
    """A game of random moves, from the key of `seed`."""
    table, draw = Table(game, np.array([mix(seed, 0)], np.uint64)), np.random.default_rng(seed)
    truncated = False
    while not table.over[0]:
        decisions = table.pending()
        moves = [
            draw.choice(np.flatnonzero(legal)) if acts else -1
            for legal, acts in zip(decisions.legal[0], decisions.active[0], strict=True)
        ]
        truncated = bool(table.play(np.array([moves], np.int64)).truncated[0])
    played = PlayedGame(
        returns=tuple(table.returns[0].tolist()),
        length=int(table.steps[0]),
        truncated=truncated,
        moves=table.played(0),
        key=int(table.keys[0]),
        finished=True,
    )
    return replace(played, **changes)


def agent(name: str) -> Occupant:
    policy: Policy = Random()
    return Occupant(name, policy)


def meet(run: Path, *occupants: Occupant, seed: int = 1, helped: tuple[str, ...] = (), **changes: Any) -> Recorded:
    with look(run) as looked:
        game = looked.game
        played = play(game, seed, **changes)
    return record(game.spec.name, game.spec, occupants, played, seed, helped, run)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is over, with snapshots main@1 …, and random and mcts:5 in its league."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with training(config(league={"learners": {"main": learner()}, "fixed": ["random", "mcts:5"]}), folder) as made:
        made.loop()
        made.finish()
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_named_person_against_a_snapshot_is_rated(run: Path) -> None:
    assert meet(run, Occupant("ada"), agent(f"{run}:main@1")).sentence == (
        "Recorded as game 1 of ada against main@1; the ladder rates it."
    )
    again = meet(run, agent(f"{run}:main@1"), Occupant("ada"), seed=2)
    assert again.sentence == "Recorded as game 2 of ada against main@1; the ladder rates it."
    assert (again.rated, again.match, again.folder) == (True, -2, run)
    meet(run, Occupant("ada"), agent("mcts:5"), seed=3)
    with look(run) as looked:
        told = looked.ledger.games({"human"})
        assert [match.players for match, _, _ in told] == [("ada", "main@1"), ("main@1", "ada"), ("ada", "mcts:5")]
        assert [(match.id, match.games, result.game) for match, result, _ in told] == [
            (-1, 1, 0),
            (-2, 1, 0),
            (-3, 1, 0),
        ]
        for match, result, kept in told:
            played = play(looked.game, match.seed)
            assert kept
            assert match.key(0) == played.key
            assert result.returns == played.returns
            assert looked.ledger.result(match.id, 0).moves.tolist() == played.moves.tolist()  # type: ignore[union-attr]
        everyone = looked.ledger.players(visitors=True)
        assert everyone["ada"] == Player("ada", "human", role=VISITOR)
        assert everyone["mcts:5"].role == "fixed", "the run's own"
        rows = {row.id: row.games for row in standings(looked, people=True).rows}
        before = {row.id: row.games for row in standings(looked).rows}
    assert rows == before | {"ada": 3, "main@1": before["main@1"] + 2, "mcts:5": before["mcts:5"] + 1}


@pytest.mark.parametrize(
    ("occupants", "helped", "reason"),
    [
        ((Occupant("ada"), agent("random")), ("a hint was used",), "a hint was used"),
        ((Occupant("ada"), agent("random")), ("a hint was used", "a move was taken back"), "back"),
        ((Occupant("you"), agent("random")), (), "nobody gave a name"),
        ((Occupant(""), Occupant("guest")), (), "nobody gave a name"),
        ((Occupant("ada"), Occupant("")), (), "somebody gave no name"),
        ((Occupant("ada"), Occupant("ada")), (), "ada was on both sides"),
    ],
)
def test_what_is_only_kept_for_replay(
    run: Path, occupants: tuple[Occupant, ...], helped: tuple[str, ...], reason: str
) -> None:
    told = meet(run, *occupants, helped=helped)
    assert told.sentence.startswith("Kept for replay, not rated: ")
    assert told.sentence.endswith(f"{reason}.")
    assert not told.rated
    with look(run) as looked:
        ((match, _, kept),) = looked.ledger.games({"casual"})
        assert kept
        assert match.players == tuple(people.GUEST if o.name in people.NAMELESS else o.name for o in occupants)
        assert looked.ledger.games({"human"}) == []
        assert standings(looked, people=True) == standings(looked)


def test_what_is_not_recorded_at_all(run: Path) -> None:
    assert meet(run, Occupant("ada"), agent("random"), finished=False).sentence.startswith("Not recorded: the game has")
    assert meet(run, agent("random"), agent("mcts:5")).sentence == "Not recorded: no person took part."
    with pytest.raises(ValueError, match="not that of seed 1"):
        meet(run, Occupant("ada"), agent("random"), key=5)
    with look(run) as looked:
        assert looked.ledger.games({"human", "casual"}) == []
        assert "ada" not in looked.ledger.players(visitors=True)


def test_two_people_of_one_table_are_rated_together(run: Path) -> None:
    assert meet(run, Occupant("ada"), Occupant("bob")).sentence.startswith("Recorded as game 1 of ada against bob;")


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["random", "MCTS", "best", "human", "ppo", "main", "a b", "x" * 33, "main@1", "å", "a+b"]
)
def test_refused_names(run: Path, name: str) -> None:
    with pytest.raises(WrongName, match=r"for yourself|letters, digits"):
        check_name(name, run)
    with pytest.raises(WrongName):
        meet(run, Occupant(name), agent("random"))
    with look(run) as looked:
        assert looked.ledger.games({"human", "casual"}) == []


def test_a_name_of_another_kind_in_the_ledger_is_refused_and_ones_own_is_not(run: Path) -> None:
    with Ledger.open(run / "ledger.sqlite") as ledger:
        ledger.add_player(Player("stockfish", "uci", role="fixed"))
    with pytest.raises(WrongName, match="'stockfish' is a player of"):
        check_name("stockfish", run)
    for _ in range(2):
        check_name("ada_L-9", run)
        meet(run, Occupant("ada_L-9"), agent("random"))
    check_name("", run)


# ---- who it was ------------------------------------------------------------------------------------------------------


def met(run: Path, reference: str) -> tuple[str, Player]:
    meet(run, Occupant("ada"), agent(reference))
    with look(run) as looked:
        match, _, _ = looked.ledger.games({"human", "casual"})[-1]
        return match.purpose, looked.ledger.players(visitors=True)[match.players[1]]


def test_a_snapshot_with_its_own_settings_is_itself_and_with_others_a_player_of_its_own(run: Path) -> None:
    with look(run) as looked:
        snapshot = looked.ledger.players()["main@2"]
    assert met(run, f"{run}:main@2") == ("human", snapshot)
    assert met(run, f"{run}:main@2?temperature=1.0") == ("human", snapshot), "PPO's own"
    cold = replace(snapshot, id="main@2?temperature=0", settings={"temperature": 0.0}, parent="main@2", role=VISITOR)
    assert met(run, f"{run}:main@2?temperature=0.0") == ("human", cold)
    assert met(run, f"{run}:main@2?temperature=0") == ("human", cold)
    assert met(run, "mcts?simulations=7")[1].id == "mcts:7"
    assert met(run, "mcts:7")[1].role == VISITOR
    with look(run) as looked:
        assert {"main@2?temperature=0", "mcts:7", "ada"}.isdisjoint(looked.ledger.players()), "no members"
    with pytest.raises(PlayerError, match=r"no player 'mian@2'.* Did you mean 'main@2'"):
        met(run, f"{run}:mian@2")
    with pytest.raises(PlayerError, match="see `pinned`"):
        met(run, f"{run}:best")


def test_simulations_are_settings_of_alphazero_though_its_record_has_none(tmp_path: Path) -> None:
    search = {"kind": "alphazero", "network": {"kind": "mlp", "width": 8, "layers": 1}, "batch": 60, "minibatch": 60}
    agents = {"main": learner(agent=search | {"search": {"simulations": 4}, "inference": "torch"})}
    with training(config(league={"learners": agents}), tmp_path / "run") as made:
        made.save()
    run = tmp_path / "run"
    assert met(run, f"{run}:main@1?simulations=4")[1].id == "main@1"
    other = met(run, f"{run}:main@1?temperature=0.5&simulations=9")[1]
    assert other.id == "main@1?simulations=9&temperature=0.5"
    assert other.settings == {"simulations": 9, "temperature": 0.5}


def test_the_learner_as_last_saved_is_a_snapshot_if_it_has_not_learned_since(run: Path, tmp_path: Path) -> None:
    with look(run) as looked:
        last = [player.id for player in looked.ledger.players().values() if player.parent == "main"][-1]
    assert pinned(f"{run}:main") == f"{run}:{last}"
    assert pinned(f"{run}:main?temperature=0") == f"{run}:{last}?temperature=0"
    assert pinned(f"{run}:best").startswith(f"{run}:main@")
    assert [pinned(name) for name in ("random", "mcts:9", f"{run}:main@1")] == ["random", "mcts:9", f"{run}:main@1"]
    loaded, live = (load(f"{run}:{name}").policy.net.state_dict() for name in (last, "main"))  # type: ignore[attr-defined]
    assert all((loaded[name] == live[name]).all() for name in live)
    rare = {"learners": {"main": learner(snapshot={"every": 10_000})}}
    with training(config(league=rare), tmp_path / "moving") as made:
        made.loop()  # and no finish, which would freeze it
        made.save()
    moving = tmp_path / "moving"
    assert pinned(f"{moving}:main") == f"{moving}:main"
    told = meet(moving, Occupant("ada"), agent(f"{moving}:main"))
    assert told.sentence == "Kept for replay, not rated: main still learns, so nobody knows whom the game speaks of."
    assert met(moving, f"{moving}:main?temperature=0") == (
        "casual",
        Player("main?temperature=0", "ppo", settings={"temperature": 0}, parent="main", role=VISITOR, live=True),
    )
    with pytest.raises(PlayerError, match="no player 'mian'"):
        meet(moving, Occupant("ada"), agent(f"{moving}:mian"))


def test_people_and_agents_of_one_team_are_one_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crew(Trek):
        spec = replace(Trek.spec, name="crew", teams=(0, 0, 1), roles=False)

    class Hunt(Trek):
        spec = replace(Trek.spec, name="hunt", teams=(0, 0, 1), roles=True)

    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"crew": Crew, "hunt": Hunt})
    for name in ("crew", "hunt"):
        with create(tmp_path / name, config(game=name), "test") as run:
            run.ledger.add_player(Player("random", "random", role="fixed"))
    crew = tmp_path / "crew"
    meet(crew, agent("greedy"), Occupant("ada"), agent("random"))
    told = meet(crew, Occupant("ada"), agent("greedy"), agent("random"), seed=2)
    assert told.sentence == "Recorded as game 2 of ada+greedy against random; the ladder rates it."
    meet(crew, Occupant("bob"), Occupant("ada"), agent("random"))
    meet(crew, Occupant("ada"), Occupant("ada"), agent("random"))
    meet(crew, agent("random"), agent("greedy"), Occupant("ada"))
    with look(crew) as looked:
        told_players = [match.players for match, _, _ in looked.ledger.games({"human"})]
        everyone = looked.ledger.players(visitors=True)
    pairs = [("ada+greedy", "random")] * 2 + [("ada+bob", "random"), ("ada", "random"), ("greedy+random", "ada")]
    assert told_players == pairs
    assert (everyone["ada+greedy"].kind, everyone["greedy+random"].kind) == ("human", "team")
    told = meet(tmp_path / "hunt", Occupant("ada"), Occupant("ada"), agent("random"))
    assert told.sentence.endswith("so one game from one side compares nobody.")


# ---- where it goes ---------------------------------------------------------------------------------------------------


def test_games_of_no_run_have_a_ledger_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "openspiel/go?board_size=3"
    game = games.make(name)
    for number in (1, 2):
        told = record(name, game.spec, [Occupant("ada"), agent("mcts:20")], play(game, number), number)
        assert told.folder == Path("runs/people/openspiel-go-board_size-3")
        assert told.sentence == f"Recorded as game {number} of ada against mcts:20; kept in {told.folder}."
    with Ledger.open(told.folder / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.game == name
        assert [match.players for match, _, _ in ledger.games({"human"})] == [("ada", "mcts:20")] * 2
    with pytest.raises(WrongName):
        record(name, game.spec, [Occupant("human"), agent("random")], play(game, 1), 1)


def test_the_run_of_the_players_takes_the_game_and_of_two_runs_neither(
    run: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    game = games.make("tic_tac_toe")
    told = record("tic_tac_toe", game.spec, [Occupant("ada"), agent("run:main@1")], play(game, 1), 1)
    assert told.folder == Path("run")
    told = record("tic_tac_toe", game.spec, [Occupant("ada"), agent(f"{trained}:main@1")], play(game, 1), 1, run=run)
    with look(run) as looked:
        (_, (match, _, _)) = looked.ledger.games({"human"})
        snapshot = looked.ledger.players()["main@1"]
        foreign = looked.ledger.players(visitors=True)[match.players[1]]
    assert foreign.id == f"{trained}:main@1#{snapshot.content[:8]}"
    assert (foreign.content, foreign.kind, foreign.role) == (snapshot.content, "ppo", VISITOR)


# ---- the run is the same ---------------------------------------------------------------------------------------------


def everything(made: Any) -> dict[str, Any]:
    """All that a run came to and that its resume goes on from, but for times and people."""
    ledger = made.run.ledger
    results = {(r.match, r.game): (m, r.returns) for _, m, r in ledger.results() if m.id >= 0}
    weights = {name: array.tobytes() for name, array in made.backend.weights("main").items()}
    metrics = [
        (step, {key: value for key, value in line.items() if "time/" not in key and "per_second" not in key})
        for step, line in made.tracker.metrics
    ]
    ladder = (made.run.folder / "ladder.json").read_text()
    return {"results": results, "weights": weights, "players": ledger.players(), "metrics": metrics, "ladder": ladder}


def visit(folder: Path, seed: int) -> None:
    meet(folder, Occupant("ada"), agent(f"{folder}:main@1"), seed=seed)
    meet(folder, agent(f"{folder}:main@1?temperature=0"), Occupant("ada"), seed=seed)
    meet(folder, Occupant(""), agent("mcts:3"), seed=seed)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a run comes to that nobody visits."""
    with training(SETTINGS, tmp_path_factory.mktemp("alone") / "run") as made:
        made.loop()
        made.finish()
        yield everything(made)


SETTINGS = config(league={"learners": {"main": learner()}, "fixed": ["random"]}, checkpoint=1e-9)


class Stop(Exception):
    """The run ends where it stands."""


@pytest.mark.parametrize("updates", [1, 4])
def test_a_run_that_people_visit_goes_on_bit_for_bit(tmp_path: Path, alone: dict[str, Any], updates: int) -> None:
    """They play while it runs, before and after its checkpoint, and between its lives."""
    folder = tmp_path / "run"

    def come_and_go(status: Any) -> None:
        visit(folder, made.updates + 10)
        if made.updates > updates and made.run.ledger.told > checkpoints.load(folder / "resume")[0]["sequence"]:
            raise Stop

    with training(SETTINGS, folder) as made:
        made.progress.at = come_and_go
        with pytest.raises(Stop):
            made.loop()
        before = made.tracker.metrics
    visit(folder, 99)
    saved = checkpoints.load(folder / "resume")[0]
    with training(SETTINGS, folder, resume=True) as made:
        assert not made.progress.messages, "as it was saved"
        assert set(made.league.players) <= {"main", "random"} | {f"main@{n}" for n in range(1, 20)}
        made.tracker.metrics = before[: saved["updates"]]
        made.loop()
        made.finish()
        assert everything(made) == alone
        assert made.run.ledger.count({"human", "casual"}) >= 9


def test_a_resume_that_is_not_exact_makes_nobody_an_opponent(run: Path) -> None:
    visit(run, 5)
    settings = config(
        league={"learners": {"main": learner()}, "fixed": ["random", "mcts:5"]},
        rating={"every": 2, "games": 4, "final": 2, "rows": 3, "opening": 1},
        stop={"decisions": 800},
    )
    with look(run) as looked:
        first = looked.ledger.next_match()
        assert first > 0
    with training(settings, run, resume=True) as made:
        assert made.progress.messages, "not exact"
        assert made.league.next_match == first
        made.loop()
        made.finish()
        told = [match for _, match, _ in made.run.ledger.results() if match.id >= first]
        names = {name for match in told for name in match.players}
    assert told
    assert "random" in names, "a fixed member is met as before"
    assert all(name.startswith("main") or name in ("random", "mcts:5") for name in names), names
    assert not any("?" in name for name in names)


def test_a_run_of_one_team_ranks_a_person_by_their_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Solo(Trek):
        spec = replace(Trek.spec, name="solo", teams=(0, 0, 0), payoff="cooperative")

    monkeypatch.setattr(games, "_GAMES", games._GAMES | {"solo": Solo})
    with create(tmp_path / "run", config(game="solo"), "test"):
        pass
    folder = tmp_path / "run"
    assert meet(folder, *[Occupant("ada")] * 3).sentence == "Recorded as game 1 of ada; the ladder rates it."
    told = meet(folder, Occupant("ada"), agent("random"), agent("random"))
    assert told.sentence == "Recorded as game 1 of ada+random+random; the ladder rates it."

    def ranked(run: Run) -> list[str]:
        return sorted(row.id for row in standings(run, people=True).rows)

    with look(folder) as looked:
        assert ranked(looked) == ["ada", "ada+random+random"]
