"""QMIX in a run: two teams in one league, going on bit for bit, and what is said of a game without opponents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_arena_run import assert_same, facts, kill, start

import games
from agents.qmix import QMIXPolicy
from arena.players import PlayerError, load
from arena.run import look
from arena.standings import standings
from arena.strict import ConfigError
from games import GameSpec


class Duel:
    """Two teams of two; whoever's team pushes less in a round loses a member, the one of lower strength first."""

    spec = GameSpec(
        name="duel",
        seats=4,
        actions=3,
        observation=(5,),
        longest=6,
        global_state=(8,),
        teams=(0, 0, 1, 1),
        simultaneous=True,
        perfect_information=False,
        stochastic=True,
        bounds=(-1.0, 1.0),
    )

    def __init__(self, rng: np.random.Generator) -> None:
        self.strength = rng.random(4)
        self.alive = [True] * 4
        self.rounds = 0

    @property
    def over(self) -> bool:
        return not (any(self.alive[:2]) and any(self.alive[2:]))

    @property
    def seats(self) -> Sequence[int]:
        return () if self.over else tuple(seat for seat in range(4) if self.alive[seat])

    def legal(self, seat: int) -> Sequence[int]:
        return (0, 1, 2) if self.strength[seat] > 0.3 else (0, 1)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[0], out[1:] = self.strength[seat], self.alive

    def state(self, out: NDArray[np.float32]) -> None:
        out[:4], out[4:] = self.strength, self.alive

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        push = [0.0, 0.0]
        for seat, action in zip(self.seats, actions, strict=True):
            push[seat // 2] += action * self.strength[seat]
        self.rounds += 1
        loser = int(push[0] > push[1])
        pair = [seat for seat in (2 * loser, 2 * loser + 1) if self.alive[seat]]
        self.alive[min(pair, key=lambda seat: self.strength[seat])] = False
        if not self.over:
            return (0, 0, 0, 0)
        return (-1, -1, 1, 1) if loser == 0 else (1, 1, -1, -1)


RUN = """
game: duel
seed: 5
device: cpu
league:
  learners:
    red: &red
      agent: {kind: qmix, width: 8, embedding: 4, hyper: 4, batch: 60, episodes: 8, replay: 40, epsilon: 0.3}
      opponents: {live: 0.4, self_play: 0.3, uniform: 0.3}
      snapshot: {every: 200}
    blue:
      agent: {kind: qmix, mixer: vdn, width: 8, batch: 60, episodes: 8, replay: 40, standardise_rewards: true}
      opponents: {live: 0.4, self_play: 0.3, uniform: 0.3}
      snapshot: {every: 200}
rollout: {workers: 0, rows: 7, matches: 4}
rating: {every: 3, games: 4, final: 4, rows: 4}
stop: {decisions: 900}
checkpoint: 1.0e-9 # minutes: after every update
tracking: {wandb: disabled}
""".replace("&red", "")

ALONE = """
game: climbing?rounds=3
seed: 5
device: cpu
league:
  learners:
    team: {agent: {kind: qmix, width: 8, batch: 48, episodes: 4}}
rollout: {workers: 0, rows: 4, matches: 4}
rating: {every: 100, games: 4, final: 3, rows: 4}
stop: {decisions: 200}
tracking: {wandb: disabled}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs go into the test's own folder; the game is known for as long as the test takes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(games._GAMES, "duel", Duel)
    Path("duel.yaml").write_text(RUN)
    Path("alone.yaml").write_text(ALONE)


def test_two_teams_learn_in_one_league_and_the_run_is_a_function_of_its_config() -> None:
    start("duel.yaml")
    whole = facts("duel")
    assert {name.partition("@")[0] for name in whole["weights"]} == {"red", "blue"}
    assert len(set(whole["weights"].values())) == len(whole["weights"])
    start("duel.yaml", "name=again", "checkpoint=1000")
    assert_same(facts("again"), whole)


def test_a_run_killed_twice_goes_on_bit_for_bit() -> None:
    """Memories, replays, what is owed and games under way all go on. In a game that a new process knows by name."""
    rounds = "game=rock_paper_scissors?rounds=4"
    start("duel.yaml", rounds)
    kill("after ledger.append 6", "duel.yaml", rounds, "name=killed")
    kill("before ledger.add_player 5", "runs/killed", resume=True)
    start("runs/killed", resume=True)
    assert_same(facts("killed"), facts("duel"))


def test_teams_are_rated_on_both_sides() -> None:
    start("duel.yaml", "rating.games=20", "rating.final=6")
    with look(Path("runs/duel")) as run:
        ladder = standings(run)
        told = [(match, result) for _, match, result in run.ledger.results({"rate"})]
    assert ladder.competitive
    assert {row.id for row in ladder.rows if row.games} >= {"random", "red@1", "blue@1"}
    for match, result in told:
        lineup = match.lineup(result.game, Duel.spec.teams)
        assert lineup[0] == lineup[1] != lineup[2] == lineup[3]  # a player holds a whole team
        assert set(lineup) == set(match.players)
    assert {match.lineup(result.game, Duel.spec.teams)[0] == match.players[0] for match, result in told} == {
        True,
        False,
    }


def test_what_the_mixer_sees_and_the_evaluation_are_printed() -> None:
    shown = start("alone.yaml")
    assert "team: QMIX mixes with the observations of the team side by side (2 numbers)" in shown
    last = shown.strip().splitlines()[-1]
    assert last.startswith("Greedy evaluation return of team@2: ")
    assert last.endswith("summed over 2 seats")
    assert "arena play 'climbing?rounds=3'" in shown  # as a shell takes it
    shown = start("duel.yaml", "stop.decisions=100")
    assert "red: QMIX mixes with the game's own global state (10 numbers)" in shown  # and which of the two teams it is
    assert "blue: VDN sums" in shown
    assert "evaluation return" not in shown


def test_an_evaluation_with_exploration_is_not_called_greedy() -> None:
    shown = start("alone.yaml", "league.learners.team.agent.play_epsilon=0.05")
    assert shown.strip().splitlines()[-1].startswith("Evaluation return of team@2: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("rollout.piece=5",), r"rollout\.piece: red learns from whole games, .* up to 6 steps; take rollout\.piece=6"),
        (
            ("game=climbing", "league.learners.red.agent.state=game"),
            r"qmix cannot play climbing: climbing has no global",
        ),
        (("league.learners.red.agent.tau=0.01",), r"agent: give either target_every or tau"),
        (("league.learners.red.agent.episodes=64",), r"agent: replay keeps 40 episodes, fewer than the 64"),
        (("league.learners.red.agent.mixer=qmx",), r"agent\.mixer = 'qmx': .*Did you mean 'qmix'\?"),
    ],
)
def test_mistakes_in_its_section(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        start("duel.yaml", *settings)
    assert not Path("runs").exists()


def test_epsilon_is_a_play_setting() -> None:
    start("alone.yaml")
    policy = load("runs/alone:team?epsilon=0.25").policy
    assert isinstance(policy, QMIXPolicy)
    assert policy.epsilon == 0.25
    for settings, message in (("epsilon=2", "epsilon must be a number from 0 to 1, not 2"), ("epsilo=1", "'epsilon'")):
        with pytest.raises(PlayerError, match=message):
            load(f"runs/alone:team?{settings}")
