"""What experiments with teams count: intervals, the values of the two-step game, the arithmetic of a gradient step."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, addmm_flop

from agents.qmix import QMIXLearner
from agents.qmix_config import QMIXConfig
from arena.elo import Mean, mean_interval
from arena.players import load
from experiments import cooperative
from experiments.benchmarks import marl
from games import make
from games.names import UserError

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
BOTH = [(0, 0), (0, 1), (1, 0), (1, 1)]


def learner(mixer: Any, seed: int = 3) -> QMIXLearner:
    """One whose networks were never trained."""
    return QMIXLearner(make("two_step").spec, QMIXConfig(mixer=mixer), seed)


# ---- returns -------------------------------------------------------------------------------------------------------


def test_an_interval_over_seeds_is_students() -> None:
    """2.776 is the 97.5% quantile of t with four degrees of freedom."""
    told = cooperative.record(mean_interval([7.0, 8.0, 8.0, 8.0, 8.0]), seats=2)
    assert told["mean"] == pytest.approx(7.8)
    assert told["high"] - 7.8 == pytest.approx(2.776 * 0.2, rel=1e-3)
    assert 7.8 - told["low"] == pytest.approx(2.776 * 0.2, rel=1e-3)
    assert told["sum"] == {name: pytest.approx(2 * told[name]) for name in ("mean", "low", "high")}


def test_an_interval_without_end_is_none_in_json() -> None:
    told = cooperative.record(mean_interval([7.0]), seats=3)
    assert told == {"mean": 7, "low": None, "high": None, "sum": {"mean": 21, "low": None, "high": None}}
    json.dumps(told, allow_nan=False)


def test_random_play_of_two_step_returns_the_mean_of_its_matrices() -> None:
    """Half of the games end in matrix A, worth 7, the others in B, worth (0 + 1 + 1 + 8) / 4."""
    game = make("two_step")
    returns = cooperative.play(game, load("random", "two_step").policy, 3000)
    assert returns.low < (7 + 2.5) / 2 < returns.high
    assert returns.high - returns.low < 0.3
    assert returns == cooperative.play(game, load("random", "two_step").policy, 3000)


def test_a_game_that_always_breaks_is_told() -> None:
    class Breaks(type(make("two_step"))):  # type: ignore[misc]
        def step(self, states: Any, actions: Any, keys: Any) -> Any:
            return super().step(states, np.full_like(actions, 7), keys)

    sound = make("two_step")
    broken = Breaks(sound.spec.name, sound.rules, sound.spec.bounds)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"No game of two_step could be finished: .*actions \[7, 7\]"):
        cooperative.play(broken, load("random", "two_step").policy, 40)


# ---- Q_tot of the two-step game ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", ["qmix", "vdn"])
def test_values_are_those_of_the_game_played_step_by_step(mixer: str) -> None:
    """Each way through the real game, one member and one step at a time, as the policy plays it."""
    made, game, keys = learner(mixer), make("two_step"), np.zeros(1, np.uint64)
    start, second = cooperative.values(made)
    net, seats = made.learned.net, torch.arange(2)
    for first, then in product(BOTH, BOTH):
        states, last, memory, told = game.start(keys), torch.tensor([-1, -1]), torch.zeros(2, 64), []
        for actions in (first, then):
            decisions = game.decisions(states)
            with torch.inference_mode():
                x = net.inputs(torch.from_numpy(decisions.observation[0]), last, seats)
                q, memory = net.step(x, memory)
                chosen = q[seats, torch.tensor(actions)][None]
                told.append(float(made.learned.mixer(chosen, torch.from_numpy(decisions.global_state))))
            last = torch.tensor(actions)
            game.step(states, np.array([actions]), keys)
        assert start[first] == pytest.approx(told[0], abs=1e-5)
        assert second[first][then] == pytest.approx(told[1], abs=1e-5)
    assert np.ptp(second) > 1e-3  # untrained, yet not all the same


def test_the_largest_difference_is_over_all_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """As published but for one entry of matrix B, on one of the two ways there."""
    published = np.array(cooperative.PUBLISHED["vdn"])
    second = np.stack([published[1:], published[1:]], axis=1)  # [A, A, A, A]
    second[1, 0, 0, 1] += 0.5
    monkeypatch.setattr(cooperative, "values", lambda made: (published[0], second))
    told = cooperative.compared(learner("vdn"))
    assert told["published"]["difference"] == pytest.approx(0.5)
    assert told["q_tot"][2][0][1] == pytest.approx(2.31 + 0.25)  # shown is the mean of both ways
    np.testing.assert_allclose(told["q_tot"][:2], published[:2])
    assert told["published"]["q_tot"] == published.tolist()
    assert told["limit"]["difference"] == pytest.approx(0.37)  # -1.87 was published, -1.5 is the best sum


def test_limits() -> None:
    """By hand: QMIX has the true values, and VDN values matrix B by its rows, its columns and their mean of 2.5."""
    true = [[[6.93, 6.93], [7.92, 7.92]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]]
    np.testing.assert_allclose(cooperative.limit("qmix", 0.99), true, atol=1e-9)
    sums = [[[6.93, 6.93], [6.435, 6.435]], [[7, 7], [7, 7]], [[-1.5, 2.5], [2.5, 6.5]]]
    np.testing.assert_allclose(cooperative.limit("vdn", 0.99), sums, atol=1e-9)
    least = np.linalg.lstsq([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]], [0, 1, 1, 8], rcond=None)[0]
    np.testing.assert_allclose(cooperative.limit("vdn", 0.99)[2], least[:2, None] + least[2:], atol=1e-9)


# ---- arithmetic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["two_step", "simple_spread?longest=6", "foraging?longest=7"])
def test_gflop_are_those_that_torch_counts(task: str) -> None:
    """With the game's own state and without, for two members and for three."""
    game, config = make(task), QMIXConfig(episodes=5, replay=10)
    made, steps = QMIXLearner(game.spec, config, 1), game.spec.longest + 1
    # torch's counter does not know the product that adds in place.
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        made.gradient_step(batch(made, steps))
    assert marl.gflop(game.spec, config, steps) == pytest.approx(counter.get_total_flops() / 1e9)


def in_place(total: Any, left: Any, right: Any, out_shape: Any = None, **rest: Any) -> int:
    return int(addmm_flop(total, left, right))


def batch(made: QMIXLearner, steps: int) -> Any:
    """Episodes of `steps` rows in which nothing happens."""
    from agents.episodes import Batch

    spec, count, n = made.spec, made.config.episodes, made.seating.members
    shape = (steps, count, n)
    playing = np.ones((steps, count), np.bool_)
    playing[-1] = False
    return Batch(
        observation=np.zeros((*shape, *spec.observation), np.float32),
        legal=np.ones((*shape, spec.actions), np.bool_),
        active=np.ones(shape, np.bool_),
        action=np.zeros(shape, np.int16),
        last=np.full(shape, -1, np.int16),
        reward=np.ones((steps, count), np.float32),
        state=None if spec.global_state is None else np.zeros((steps, count, *spec.global_state), np.float32),
        playing=playing,
        team=np.zeros(count, np.int64),
    )


def test_the_benchmark_is_of_one_team() -> None:
    with pytest.raises(UserError, match="connect_four has 2 teams"):
        marl.Loop("connect_four")


# ---- the program ---------------------------------------------------------------------------------------------------

SHORT = ["stop.decisions=256", "league.learners.team.snapshot.every=128", "league.learners.team.agent.episodes=16"]
SHORT += ["rating.final=0"]


def test_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [str(EXPERIMENTS / "two_step_qmix.yaml"), "--seeds", "2", "--games", "8", "--table", "name=t", *SHORT]
    cooperative.main([*asked, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["game"], told["seats"], told["seeds"], told["games"]) == ("two_step", 2, 2, 8)
    assert [row["run"] for row in told["final"]] == ["runs/t-s1", "runs/t-s2"]
    assert [point["team_steps"] for point in told["curve"]] == [0, 64, 128]  # 128 decisions of two seats
    assert told["mean"] == pytest.approx(np.mean([row["mean"] for row in told["final"]]))
    assert told["sum"]["mean"] == pytest.approx(2 * told["mean"])
    assert told["random"]["low"] < told["random"]["mean"] < told["random"]["high"]
    assert [np.shape(row["q_tot"]) for row in told["tables"]] == [(3, 2, 2)] * 2
    assert told["tables"][0]["q_tot"] != told["tables"][1]["q_tot"]
    cooperative.main([*asked, "--trained"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "two_step: mean return of a seat and the sum of 2, greedy, 8 games each"
    assert f"{told['random']['mean']:.2f}" in next(line for line in lines if line.split()[:1] == ["random"])
    assert sum(line.startswith("Q_tot of runs/t-s") for line in lines) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["--seeds", "0"], "At least 1 seed is needed, not 0."),
        (["--trained", "--games", "1"], "At least 2 games are needed for an interval, not 1."),
        (["--trained", "name=none"], "There is no run in runs/none-s1."),
        (["league.learners.team.agent.mixer=qmx"], "mixer"),
    ],
)
def test_program_refuses(
    change: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cooperative.main([str(EXPERIMENTS / "two_step_qmix.yaml"), *change])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_text_marks_an_interval_without_end() -> None:
    shown = cooperative.cells("final", cooperative.record(Mean(7.0, -np.inf, np.inf, np.inf), 2))
    assert shown.split() == ["final", "7.00", "?", "to", "?", "14.00", "?", "to", "?"]
