"""That agents learn, where it is known what can be learned. Whole runs, in-process: minutes, so marked slow."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from test_agents_alphazero import best_in_pig

from arena.contest import Guests, contest
from arena.ladder import Row
from arena.launch import launch
from arena.match import Table
from arena.players import Loaded, load
from arena.rollout import Order, Rollout
from arena.run import look
from arena.standings import standings
from experiments import nashconv
from games.keys import generator, mix
from games.tic_tac_toe import LINES
from leagues.core import Match

pytestmark = pytest.mark.slow
EXPERIMENTS = Path(__file__).parent.parent / "experiments"


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *settings: str) -> Path:
    """Launch an experiment, with other `settings`, below `folder`."""
    monkeypatch.chdir(folder)
    settings = (*settings, "rollout.workers=0", "rating.workers=0", "tracking.wandb=disabled", "name=run")
    assert launch(EXPERIMENTS / f"{name}.yaml", settings, False, Console(quiet=True), quiet=True) == 0
    return Path("runs/run")


def rows(folder: Path) -> dict[str, Row]:
    """The ladder, by player."""
    with look(folder) as looked:
        return {row.id: row for row in standings(looked).rows}


def test_cartpole_is_solved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """475 of 500 over 100 games is what Gymnasium asks for; a random player has about 22."""
    found = rows(run("cartpole", tmp_path, monkeypatch))
    last = max((name for name in found if name != "random"), key=lambda name: int(name.partition("@")[2]))
    assert found[last].games == 100
    assert found[last].rating >= 475
    assert found["random"].rating < 50


def test_kuhn_poker_nears_equilibrium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform play has a NashConv of 0.917; a quarter of the experiment's games brings the average to about 0.15."""
    found = nashconv.measure(run("kuhn_poker", tmp_path, monkeypatch, "stop.decisions=400_000", "rating.final=0"))
    assert found["average"] < 0.25


def test_spread_improves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cooperative game, shortly: clearly above random play, by intervals that do not touch."""
    settings = (
        "stop.decisions=200_000",
        "rating.games=100",
        "rating.final=3",
        "league.learners.main.snapshot.every=1_000_000",
    )
    found = rows(run("simple_spread_ppo", tmp_path, monkeypatch, *settings))
    assert found["main@2"].low > found["random"].high


def test_three_seats_beat_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("stop.decisions=200_000", "league.learners.main.snapshot.every=1_000_000", "rating.final=6")
    found = rows(run("three_seats", tmp_path, monkeypatch, *settings))
    assert found["main@2"].low > 0  # Elo above random


def test_connect_four_beats_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run("connect_four", tmp_path, monkeypatch, "stop.decisions=1e6", "rating.final=0", "stop.minutes=null")
    against = contest(load(f"{folder}:main"), load("random", "connect_four"), 400, opening=2, seed=1)
    assert against.low > 0.9


@pytest.mark.parametrize(("mixer", "earned"), [("qmix", 8.0), ("vdn", 7.0)])
def test_the_two_step_game_tells_qmix_from_vdn(
    mixer: str, earned: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 5.1 of the QMIX paper: from random play alone, the 8 is found by mixing, and the safe 7 by adding up."""
    setting = f"league.learners.team.agent.mixer={mixer}"
    player = load(f"{run('two_step_qmix', tmp_path, monkeypatch, setting, 'rating.final=0')}:team")
    match = Match(0, ("team",), "audit", 7, games=3)
    results = Rollout(player.game, Guests({"team": player.policy}), 3).run(Order((match,))).results
    assert [result.returns for result in results] == [(earned, earned)] * 3


# ---- AlphaZero -----------------------------------------------------------------------------------------------------


def alphazero(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, decisions: int) -> Path:
    """A shorter run of an experiment, its learning rate to match."""
    agent = "league.learners.main.agent"
    settings = f"stop.decisions={decisions}", f"{agent}.learning_rate.over={decisions}", f"{agent}.inference=torch"
    return run(name, folder, monkeypatch, *settings, "rating.final=0")


@cache
def value(mine: int, others: int) -> int:
    """Tic-tac-toe's value for the seat to move; cells are bits."""
    if any(all(others >> cell & 1 for cell in line) for line in LINES):
        return -1
    return 0 if mine | others == 511 else max(values(mine, others).values())


def values(mine: int, others: int) -> dict[int, int]:
    """Of each free cell, what marking it is worth."""
    free = [cell for cell in range(9) if not (mine | others) >> cell & 1]
    return {cell: -value(others, mine | 1 << cell) for cell in free}


def cells(table: Table) -> list[tuple[int, int]]:
    """Of each game, the marks of the seat to move and the other's, as bits."""
    marks = table.pending().observation.reshape(-1, 2, 9).astype(np.int64) @ (1 << np.arange(9))
    return [(int(mine), int(others)) for mine, others in marks]


def against_minimax(player: Loaded, seat: int, *, careless: bool, opening: int, games: int) -> NDArray[np.float64]:
    """What the player in `seat` returns in games against perfect play, where the opening did not lose them already.

    Of its best actions the opponent takes any; `careless`, any that does not lose. The opening is random plies.
    """
    table, rng = Table(player.game, mix(11, np.arange(games))), generator(12 + seat)
    fair = np.ones(games, np.bool_)
    for step in range(9):
        boards, moves = cells(table), np.full((games, 1), -1)
        going = np.flatnonzero(~table.over)
        if step == opening:
            side = 1 if step % 2 == seat else -1
            fair[going] = [side * value(*boards[row]) >= 0 for row in going.tolist()]
        if step >= opening and step % 2 == seat:
            moves = player.choose(table)
        else:
            for row in going.tolist():
                worth = values(*boards[row])
                best = max(worth.values())
                least = -1 if step < opening else min(best, 0) if careless else best
                moves[row] = rng.choice([cell for cell, known in worth.items() if known >= least])
        table.play(moves)
    assert table.over.all()
    returns: NDArray[np.float64] = table.returns[fair, seat]
    return returns


def against_anything(player: Loaded, seat: int) -> float:
    """The least that the player in `seat` returns, whatever the other plays: every line of play is followed."""
    lines: list[list[int]] = [[]]
    worst = 1.0
    for step in range(10):
        table = Table(player.game, mix(13, np.arange(len(lines))))
        table.replay(np.array(lines, np.int16).reshape(len(lines), step, 1), np.full(len(lines), step))
        worst = float(table.returns[table.over, seat].min(initial=worst))
        boards, chosen = cells(table), player.choose(table)[:, 0].tolist()
        lines = [
            [*lines[row], cell]
            for row in np.flatnonzero(~table.over).tolist()
            for cell in ([chosen[row]] if step % 2 == seat else values(*boards[row]))
        ]
    assert not lines
    return worst


def test_alphazero_never_loses_at_tic_tac_toe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 games from each seat against each of two perfect opponents, and then every game that there is."""
    player = load(f"{alphazero('tic_tac_toe_alphazero', tmp_path, monkeypatch, 100_000)}:main")
    for seat in (0, 1):
        drawn = against_minimax(player, seat, careless=False, opening=0, games=1000)
        assert len(drawn) == 1000
        assert set(drawn.tolist()) == {0.0}
        others = against_minimax(player, seat, careless=True, opening=2, games=1000)
        assert len(others) > 300
        assert others.min() == 0
        assert against_anything(player, seat) == 0
    beginner = load("runs/run:main@1?simulations=0")
    assert against_minimax(beginner, 1, careless=False, opening=0, games=1000).min() == -1
    assert against_anything(beginner, 0) == -1


def pig(table: Table, row: int) -> tuple[int, int, int]:
    """Of one game of pig: the mover's points, the other's, and the turn's so far."""
    words = str(table.states[row].single.state).replace(",", "").split()
    mover = int(words[8])
    return int(words[1 + mover]), int(words[2 - mover]), int(words[5])


def test_alphazero_learns_to_play_pig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Almost as value iteration does, and so better than plain search with as many simulations."""
    player, odds = load(f"{alphazero('pig_alphazero', tmp_path, monkeypatch, 25_000)}:main"), best_in_pig(20)
    table, rng = Table(player.game, mix(5, np.arange(300))), generator(6)
    given_away: list[float] = []
    while not table.over.all():
        moves = player.choose(table)
        for row in np.flatnonzero(~table.over).tolist():
            mine, other, turn = pig(table, row)
            if mine + turn < 20:
                given_away.append(max(odds[mine, other, turn]) - odds[mine, other, turn][moves[row, 0]])
            else:
                given_away.append(float(moves[row, 0] == 0))  # it need only stop
            if rng.random() < 0.15:  # positions that it would not come to
                moves[row] = rng.choice(np.flatnonzero(table.pending().legal[row, 0]))
        table.play(moves)
    assert len(given_away) > 2000
    assert np.mean(given_away) < 0.005  # of a game; mcts:32 gives away 0.077 with each decision, mcts:1000 0.006
    result = contest(player, load("mcts:32", "openspiel/pig?winscore=20"), 400, opening=0, seed=1)
    assert result.low > 0.7


def test_alphazero_beats_plain_search_with_three_at_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of games won against two of its kind, of which equals win a third."""
    player = load(f"{alphazero('three_seats_alphazero', tmp_path, monkeypatch, 25_000)}:main")
    result = contest(player, load("mcts:32", "openspiel/pig?players=3&winscore=15"), 600, opening=0, seed=1)
    assert result.draws == 0
    assert result.low > 0.4


def chips(a: Loaded, b: Loaded, games: int) -> tuple[float, float]:
    """What a earns of b in a game on average, seats changing within each pair, and how far the 95% interval reaches."""
    match = Match(0, ("a", "b"), "audit", 7, games, paired=True)
    results = Rollout(a.game, Guests({"a": a.policy, "b": b.policy}), 256).run(Order((match,))).results
    earned = np.zeros(games)
    for result in results:
        earned[result.game] = result.returns[match.lineup(result.game, (0, 1)).index("a")]
    pairs = earned.reshape(-1, 2).mean(axis=1)
    return float(pairs.mean()), float(1.96 * pairs.std() / len(pairs) ** 0.5)


def test_alphazero_wins_chips_at_leduc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of random play, and of its own search with an untrained network. It may still be exploited."""
    folder = alphazero("leduc_poker_alphazero", tmp_path, monkeypatch, 20_000)
    trained = load(f"{folder}:main")
    for other, least in ((load("random", "openspiel/leduc_poker"), 1.0), (load(f"{folder}:main@1"), 0.25)):
        mean, reach = chips(trained, other, 4000)
        assert mean - reach > least
