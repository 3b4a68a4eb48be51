"""The recorder, against a record kept game by game in plain Python lists."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.core import Trajectories
from arena import files
from arena.recorder import CUT, GOES_ON, TERMINATED, Recorder
from games import NO_ACTION, GameSpec, Outcome

TURNS = GameSpec(name="turns", seats=3, actions=4, observation=(2,), longest=99, payoff="general_sum")
TOGETHER = replace(TURNS, name="together", simultaneous=True, global_state=(2, 2))
PLAYERS = ("ann", "bob")


@dataclass
class Story:
    """One game as `games_of` tells it, or as the test wrote it down."""

    rewards: list[tuple[float, ...]] = field(default_factory=list)
    decisions: list[tuple[Any, ...]] = field(default_factory=list)  # step, seat, action, seen, legal, version, extras
    terminated: bool = False
    cut: Any = None
    states: list[Any] = field(default_factory=list)
    cut_state: Any = None


def games_of(t: Trajectories) -> list[Story]:
    """Trajectories taken apart into their games, steps counted from each game's first."""
    stories = [Story(terminated=bool(terminated)) for terminated in t.terminated]
    within = []
    for row, game in enumerate(t.step_game.tolist()):
        within.append(len(stories[game].rewards))
        stories[game].rewards.append(tuple(t.reward[row].tolist()))
        if t.global_state is not None:
            stories[game].states.append(t.global_state[row].tolist())
    for d, row in enumerate(t.step.tolist()):
        extras = {name: array[d].tolist() for name, array in sorted(t.extras.items())}
        stories[t.step_game[row]].decisions.append(
            (
                within[row],
                int(t.seat[d]),
                int(t.action[d]),
                t.observation[d].tolist(),
                t.legal[d].tolist(),
                int(t.version[d]),
                extras,
            )
        )
    for c, game in enumerate(t.cut_game.tolist()):
        stories[game].cut = t.cut_observation[c].tolist()
        if t.cut_global_state is not None:
            stories[game].cut_state = t.cut_global_state[c].tolist()
    return stories


def _first_view(story: Story) -> tuple[Any, int]:
    return story.decisions[0][3], len(story.rewards)


class Pair:
    """A recorder that is fed at random, and beside it every game's story for each player."""

    def __init__(self, spec: GameSpec, batch: int, seed: int) -> None:
        self.spec, self.batch, self.rng = spec, batch, np.random.default_rng(seed)
        self.recorder = Recorder(spec, batch, capacity=2)
        self.playing = self.rng.random(batch) < 0.8
        self.going = [{name: Story() for name in PLAYERS} for _ in range(batch)]
        self.ended: dict[str, list[Story]] = {name: [] for name in PLAYERS}
        self.wanted = 0

    def step(self) -> None:
        """One block; then some games end, are cut or broken, and some rows begin or stop to hold one."""
        spec, rng, batch = self.spec, self.rng, self.batch
        slot = self.recorder.slot()
        slot.observation[:] = rng.integers(0, 1000, slot.observation.shape)
        slot.legal[:] = rng.random(slot.legal.shape) < 0.7
        slot.seat[:] = np.arange(spec.slots) if spec.simultaneous else rng.integers(0, spec.seats, slot.seat.shape)
        slot.active[:] = (rng.random(slot.active.shape) < 0.6) & self.playing[:, None]
        if slot.global_state is not None:
            slot.global_state[:] = rng.integers(0, 1000, slot.global_state.shape)
        action = np.where(slot.active, rng.integers(0, spec.actions, slot.active.shape), NO_ACTION)
        outcome = Outcome.empty(spec, batch)
        outcome.reward[:] = rng.integers(-5, 6, outcome.reward.shape)
        self.recorder.begin()
        chooser = rng.integers(-1, len(PLAYERS), slot.active.shape)  # -1: somebody who is not recorded
        extras = {"value": rng.random(slot.active.shape, np.float32), "pair": rng.integers(0, 9, (*chooser.shape, 2))}
        version = int(rng.integers(0, 5))
        for number in range(len(PLAYERS)):
            rows, slots = np.nonzero(slot.active & (chooser == number))
            self.wanted += len(rows)
            chosen = {name: array[rows, slots] for name, array in extras.items()}
            self.recorder.choose(rows, slots, number, version, chosen)
        for row in np.flatnonzero(self.playing).tolist():
            for number, name in enumerate(PLAYERS):
                story = self.going[row][name]
                for s in np.flatnonzero(slot.active[row] & (chooser[row] == number)).tolist():
                    story.decisions.append(
                        (
                            len(story.rewards),
                            int(slot.seat[row, s]),
                            int(action[row, s]),
                            slot.observation[row, s].tolist(),
                            slot.legal[row, s].tolist(),
                            version,
                            {name: array[row, s].tolist() for name, array in sorted(extras.items())},
                        )
                    )
                story.rewards.append(tuple(outcome.reward[row].tolist()))
                if slot.global_state is not None:
                    story.states.append(slot.global_state[row].tolist())
        self.recorder.close(action, outcome, self.playing)
        self.end()

    def end(self) -> None:
        fate = np.where(self.playing, self.rng.choice(4, self.batch, p=[0.82, 0.08, 0.05, 0.05]), GOES_ON)
        over, cut, broken = (np.flatnonzero(fate == kind) for kind in (TERMINATED, CUT, 3))
        views = self.rng.integers(0, 1000, (len(cut), self.spec.seats, *self.spec.observation)).astype(np.float32)
        states = None
        if self.spec.global_state is not None:
            states = self.rng.integers(0, 1000, (len(cut), *self.spec.global_state)).astype(np.float32)
        if len(cut):
            self.recorder.end(cut, CUT, views, states)
        if len(over):
            self.recorder.end(over, TERMINATED)
        if len(broken):
            self.recorder.drop(broken)
        for row in [*over.tolist(), *cut.tolist(), *broken.tolist()]:
            for name in PLAYERS:
                story, self.going[row][name] = self.going[row][name], Story()
                story.terminated = bool(fate[row] == TERMINATED)
                if fate[row] == CUT:
                    at = cut.tolist().index(row)
                    story.cut, story.cut_state = views[at].tolist(), None if states is None else states[at].tolist()
                if story.decisions and fate[row] != 3:
                    self.ended[name].append(story)
        changed = np.flatnonzero(fate != GOES_ON)
        self.playing[changed] = self.rng.random(len(changed)) < 0.7
        idle = ~self.playing & (self.rng.random(self.batch) < 0.2)
        self.playing[idle] = True

    def check_harvest(self) -> int:
        """What comes out is what was written down, and the count of decisions starts anew; how many games."""
        assert self.recorder.wanted == self.wanted
        found = self.recorder.harvest(PLAYERS)
        assert set(found) == {name for name, stories in self.ended.items() if stories}
        for name, trajectories in found.items():
            assert sorted(games_of(trajectories), key=_first_view) == sorted(self.ended[name], key=_first_view)
            assert (np.diff(trajectories.step) >= 0).all()
            assert trajectories.decisions == sum(len(story.decisions) for story in self.ended[name])
        games = sum(map(len, self.ended.values()))
        self.ended = {name: [] for name in PLAYERS}
        self.wanted = 0
        return games


@pytest.mark.parametrize("spec", [TURNS, TOGETHER], ids=lambda spec: spec.name)
@pytest.mark.parametrize("seed", range(4))
def test_random_games_over_many_harvests(spec: GameSpec, seed: int) -> None:
    pair = Pair(spec, batch=5, seed=seed)
    games = 0
    for _ in range(30):
        for _ in range(int(pair.rng.integers(0, 12))):
            pair.step()
        games += pair.check_harvest()
    assert games > 60


def test_a_recorder_goes_on_from_its_state() -> None:
    pair = Pair(TOGETHER, batch=4, seed=9)
    for _ in range(20):
        pair.step()
    pair.check_harvest()
    kept, _ = files.unpack(files.pack(pair.recorder.state()), Path("kept"))
    pair.recorder = Recorder(TOGETHER, 4)
    pair.recorder.restore(kept)
    for _ in range(100):
        pair.step()
    assert pair.check_harvest() > 10


def test_memory_is_bounded_by_the_longest_game_under_way() -> None:
    pair = Pair(TURNS, batch=6, seed=3)
    for _ in range(200):
        for _ in range(3):
            pair.step()
        pair.check_harvest()
        longest = max(len(story["ann"].rewards) for story in pair.going)
        assert len(pair.recorder.state()["game"]) == longest
    assert len(pair.recorder.slot().seat) == 6


def test_a_harvest_of_nothing_gives_nothing() -> None:
    recorder = Recorder(TURNS, 2)
    assert recorder.harvest(PLAYERS) == {}
    recorder.drop(np.array([0]))
    assert recorder.harvest(PLAYERS) == {}


def test_long_games_are_those_with_as_many_steps_since_they_were_last_cut() -> None:
    recorder = Recorder(TURNS, 3)
    for _ in range(5):
        recorder.slot()
        recorder.begin()
        recorder.choose(np.array([0, 1]), np.array([0, 0]), 0, 0, {})
        recorder.close(np.zeros((3, 1), np.int64), Outcome.empty(TURNS, 3), np.array([True, True, False]))
        if len(recorder.state()["game"]) == 2:
            recorder.end(np.array([1]), TERMINATED)
    assert recorder.long(5).tolist() == [0]
    assert recorder.long(3).tolist() == [0, 1]
    recorder.end(np.array([0]), CUT, np.zeros((1, 3, 2), np.float32))
    assert recorder.long(3).tolist() == [1]
    pieces = games_of(recorder.harvest(["ann"])["ann"])
    assert [(len(piece.rewards), piece.terminated) for piece in pieces] == [(5, False), (2, True)]
    assert recorder.long(3).tolist() == [1], "a game under way is still as long after a harvest"
