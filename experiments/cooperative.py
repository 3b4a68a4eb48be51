"""What a team learns to earn: one experiment trained from several seeds, its snapshots judged by greedy play.

    python experiments/cooperative.py experiments/two_step_qmix.yaml --seeds 5 --table
    python experiments/cooperative.py experiments/climbing_qmix.yaml --seeds 3 name=penalty game=penalty?k=-25 --json

Each seed is a run of its own, `runs/<name>-s<seed>`, from the experiment's seed on; with `--trained` they are there
already and are only judged. Whoever is judged plays alone and without chance (epsilon or temperature 0), every snapshot
and random play the same games. A return is a seat's mean in one game, and the sum over the team's seats, as it is often
published; 95% intervals are Student's, over seeds, and for each seed over its games.

`--table` prints the Q_tot of every state and joint action of `two_step` beside that of the paper (Rashid et al. 2018,
arXiv 1803.11485, table 2), and beside what endless learning from random play leads to: the true values for QMIX, the
best sums for VDN, from which the paper's own learner was up to 0.4 away. Members remember, so a matrix of the second
round is valued once after each first joint action that leads there: shown is the mean, and told the largest difference.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from agents.core import Policy
from agents.qmix import QMIXLearner
from agents.qmix_config import QMIXConfig
from arena import strict
from arena.config import RunConfig
from arena.contest import Guests
from arena.elo import Mean, mean_interval
from arena.launch import launch
from arena.players import load
from arena.process import settle
from arena.rollout import Order, Rollout
from arena.run import look
from games import Game, GameSpec
from games.names import UserError
from games.team_matrix import LEFT, RIGHT, START, TWO_STEP
from leagues.core import Match

GREEDY = {"qmix": "epsilon=0", "ppo": "temperature=0", "alphazero": "temperature=0"}
JUDGED = 2**63  # the seed of the games; those of training are drawn from the run's
PUBLISHED = {
    "qmix": [[[6.93, 6.93], [7.92, 7.92]], [[7.00, 7.00], [7.00, 7.00]], [[0.00, 1.00], [1.00, 8.00]]],
    "vdn": [[[6.94, 6.94], [6.35, 6.36]], [[6.99, 7.02], [6.99, 7.02]], [[-1.87, 2.31], [2.33, 6.51]]],
}
"""Q_tot of `two_step` by mixer: of its three states, by the first seat's action (down) and the second's (across)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One point of one seed's curve."""

    player: str  # as in main@3
    decisions: int  # of the learner, when it was frozen
    team_steps: int
    returns: Mean  # of a seat, over games


def train(source: Path, overrides: Sequence[str], seeds: int, trained: bool) -> list[Path]:
    """The run's folder of each seed, launched here unless they are `trained`. Raises UserError as `launch` does."""
    config = strict.read(RunConfig, source, overrides)
    if seeds < 1:
        raise UserError(f"At least 1 seed is needed, not {seeds}.")
    names = {seed: f"{config.name or source.stem}-s{seed}" for seed in range(config.seed, config.seed + seeds)}
    for seed, name in names.items():
        if trained:
            continue
        own = ["tracking.wandb=disabled", *overrides, f"seed={seed}", f"name={name}"]
        code = launch(source, own, False, Console(quiet=True), quiet=True)
        if code:
            sys.exit(code)
    return [Path("runs") / name for name in names.values()]


def play(game: Game, policy: Policy, games: int) -> Mean:
    """What a seat returns where `policy` holds the team. Raises UserError where none of `games` games is finished."""
    rollout = Rollout(game, Guests({"team": policy}), min(games, 128))
    batch = rollout.run(Order((Match(0, ("team",), "audit", JUDGED, games),)))
    if not batch.results:
        raise UserError(f"No game of {game.spec.name} could be finished: {batch.voids[-1][2] if batch.voids else ''}")
    return mean_interval([sum(result.returns) / len(result.returns) for result in batch.results])


def judge(run: Path, games: int) -> list[Snapshot]:
    """The snapshots of the run's only learner, oldest first. Raises UserError where it is not one team's game."""
    with look(run) as looked:
        learners, spec = looked.config.league.learners, looked.game.spec
        if len(learners) > 1 or len(set(spec.teams)) > 1:
            raise UserError(
                f"{run} has {len(learners)} learners and {len(set(spec.teams))} teams; this is for 1 of each."
            )
        ((learner, settings),) = learners.items()
        own = [player for player in looked.ledger.players().values() if player.content and player.parent == learner]
    counted = counted_steps(run, learner)
    curve = []
    for player in own:
        loaded = load(f"{run}:{player.id}?{GREEDY[settings.agent.kind]}")
        steps = max((steps for decisions, steps in counted if decisions <= player.step), default=0)
        returns = play(loaded.game, loaded.policy, games)
        curve.append(Snapshot(player.id, player.step, steps if counted else player.step // spec.seats, returns))
    return curve


def counted_steps(run: Path, learner: str) -> list[tuple[int, int]]:
    """(decisions, team steps) at each update, as the learner told them; nothing where it does not."""
    lines = (json.loads(line) for line in (run / "metrics" / "metrics.jsonl").read_text().splitlines())
    key = f"{learner}/team_steps"
    return [(line["step"], int(line[key])) for line in lines if key in line]


def measure(runs: Sequence[Path], games: int) -> dict[str, Any]:
    """Curve, final returns and random play of the same experiment's runs."""
    if games < 2:
        raise UserError(f"At least 2 games are needed for an interval, not {games}.")
    seeds = {run: judge(run, games) for run in runs}
    with look(runs[0]) as looked:
        name, game = looked.config.game, looked.game
    seats = game.spec.seats
    shared = min(len(curve) for curve in seeds.values())
    points = [[curve[number] for curve in seeds.values()] for number in range(shared)]
    last = [curve[-1].returns.mean for curve in seeds.values()]
    return {
        "game": name,
        "seats": seats,
        "games": games,
        "seeds": len(seeds),
        "curve": [
            {
                "team_steps": round(float(np.mean([point.team_steps for point in across]))),
                **record(mean_interval([point.returns.mean for point in across]), seats),
            }
            for across in points
        ],
        "final": [
            {"run": str(run), "team_steps": curve[-1].team_steps, **record(curve[-1].returns, seats)}
            for run, curve in seeds.items()
        ],
        **record(mean_interval(last), seats),
        "random": record(play(game, load("random", name).policy, games), seats),
    }


def record(seat: Mean, seats: int) -> dict[str, Any]:
    """A seat's mean return and the sum of all seats, for JSON: an interval without end has None for it."""
    told = {"mean": seat.mean, "low": seat.low, "high": seat.high}
    finite = {name: value if math.isfinite(value) else None for name, value in told.items()}
    return finite | {"sum": {name: None if value is None else seats * value for name, value in finite.items()}}


# ---- Q_tot of the two-step game -------------------------------------------------------------------------------------


def values(learner: QMIXLearner) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Q_tot of `two_step`: at the start [A, A], then after each first joint action [A, A, A, A]."""
    first = np.stack(np.meshgrid([0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 2)  # [4, P] joint actions
    sight = torch.eye(3)
    places = torch.tensor([START] * 4), torch.from_numpy(np.where(first[:, 0] == 0, LEFT, RIGHT))
    state = sight[torch.stack(places)]  # [T, 4, *G]
    observation = state[:, :, None].expand(2, 4, 2, 3)
    last = torch.stack([torch.full((4, 2), -1), torch.from_numpy(first)])
    x = learner.learned.net.inputs(observation, last, torch.arange(2).expand(2, 4, 2)).view(2, 8, -1)
    with torch.inference_mode():
        q = learner.learned.net(x, torch.ones(2, 8, dtype=torch.bool)).view(2, 4, 2, 2)  # [T, 4, P, A]
        joint = torch.from_numpy(first).expand(2, 4, 4, 2)  # [T, 4, joint actions, P]
        chosen = q[:, :, None].expand(2, 4, 4, 2, 2).gather(4, joint[..., None]).squeeze(4)
        seen = state[:, :, None].expand(2, 4, 4, 3)
        mixed = learner.learned.mixer(chosen.reshape(-1, 2), seen.reshape(-1, 3)).view(2, 4, 2, 2).double().numpy()
    return mixed[0, 0], mixed[1].reshape(2, 2, 2, 2)


def table(run: Path) -> dict[str, Any]:
    """The Q_tot of a run's last snapshot, and its largest difference from the published one.

    Raises UserError where the game is not `two_step`, or its learner has no Q_tot that was published.
    """
    with look(run) as looked:
        ((learner, settings),) = looked.config.league.learners.items()
        spec, config = looked.game.spec, settings.agent
        last = [p.id for p in looked.ledger.players().values() if p.content and p.parent == learner][-1]
        weights = looked.store.load(last).weights
    if spec.name != "two_step" or not isinstance(config, QMIXConfig) or config.mixer not in PUBLISHED:
        raise UserError(f"--table is for two_step, learned by QMIX or VDN; {run} has {spec.name}, learned otherwise.")
    return {"run": str(run), **compared(restored(spec, config, weights))}


def restored(spec: GameSpec, config: QMIXConfig, weights: Any) -> QMIXLearner:
    learner = QMIXLearner(spec, config, seed=1)
    learner.load(weights)
    return learner


def compared(learner: QMIXLearner) -> dict[str, Any]:
    """Q_tot of the three states, the mean over ways there, and its largest differences on any of them."""
    start, second = values(learner)
    told: dict[str, Any] = {"q_tot": np.concatenate([start[None], second.mean(axis=1)]).tolist()}
    mixer, gamma = learner.config.mixer, learner.config.gamma
    for name, expected in (("published", np.array(PUBLISHED[mixer])), ("limit", limit(mixer, gamma))):
        difference = max(np.abs(start - expected[START]).max(), np.abs(second - expected[1:, None]).max())
        told[name] = {"q_tot": expected.tolist(), "difference": float(difference)}
    return told


def limit(mixer: str, gamma: float) -> NDArray[np.float64]:
    """Q_tot [3, A, A] where nothing is left to learn from random play: for VDN the sums nearest to it in each state."""
    second = TWO_STEP[[LEFT, RIGHT]].astype(np.float64)
    if mixer == "vdn":
        rows, columns = second.mean(axis=2, keepdims=True), second.mean(axis=1, keepdims=True)
        second = rows + columns - second.mean(axis=(1, 2), keepdims=True)
    start = np.repeat(gamma * second.max(axis=(1, 2))[:, None], 2, axis=1)  # the first seat's action picks the matrix
    return np.concatenate([start[None], second])


# ---- the program ---------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    settle()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, metavar="FILE", help="a YAML file, as for `arena launch`")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings put over those of the file")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from the experiment's own on")
    parser.add_argument("--games", type=int, default=200, help="by which each snapshot is judged")
    parser.add_argument("--trained", action="store_true", help="the runs are there already: judge them only")
    parser.add_argument("--table", action="store_true", help="of two_step: its Q_tot beside the published one")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    args = parser.parse_intermixed_args(arguments)
    try:
        runs = train(args.experiment, args.overrides, args.seeds, args.trained)
        found = measure(runs, args.games)
        if args.table:
            found["tables"] = [table(run) for run in runs]
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if args.json:
        print(json.dumps(found))
        return
    for line in text(found):
        print(line)


def text(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['game']}: mean return of a seat and the sum of {found['seats']}, greedy, {found['games']} games each"
    yield f"{'team steps':>24} {'a seat':>10} {'95% interval':>22} {'sum':>10} {'95% interval':>22}"
    for point in found["curve"]:
        yield cells(f"{point['team_steps']:,}", point)
    for row in found["final"]:
        yield cells(Path(row["run"]).name[-24:], row)
    yield cells(f"final, {found['seeds']} seeds", found)
    yield cells("random", found["random"])
    for row in found.get("tables", ()):
        published, limits = row["published"], row["limit"]
        yield (
            f"Q_tot of {row['run']}: largest difference from the published {published['difference']:.3f}, from the"
            f" limit {limits['difference']:.3f}"
        )
        for title, *each in zip(("1", "2A", "2B"), row["q_tot"], published["q_tot"], limits["q_tot"], strict=True):
            ours, theirs, best = map(lines, each)
            yield f"  state {title:2}  {ours}   published  {theirs}   limit  {best}"


def cells(title: str, told: dict[str, Any]) -> str:
    parts = [f"{title:>24}"]
    for each in (told, told["sum"]):
        ends = [f"{end:.2f}" if end is not None else "?" for end in (each["low"], each["high"])]
        parts.append(f"{each['mean']:10.2f} {' to '.join(ends):>22}")
    return " ".join(parts)


def lines(matrix: Sequence[Sequence[float]]) -> str:
    return " / ".join(" ".join(f"{value:5.2f}" for value in row) for row in matrix)


if __name__ == "__main__":
    main()
