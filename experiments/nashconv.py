"""How far the policies of a run are from equilibrium: NashConv of its last snapshot, and of the average over all.

    python experiments/nashconv.py runs/kuhn_poker --json

NashConv is what all seats together would gain if each answered the others with its best response: 0 in a Nash
equilibrium, never less (Lanctot et al. 2017, arXiv 1711.00832, section 3). It is exact, by OpenSpiel's own
`exploitability.nash_conv`, so the game must be one of OpenSpiel's, sequential, and small enough to visit every state.

Self-play circles around an equilibrium; the average over time is what converges (Heinrich, Lanctot and Silver 2015).
The average player draws one snapshot before the game and plays it to the end. Its behaviour at an information state is
therefore not the mean of the snapshots' there: each counts by how likely its own actions were to lead there (their
equation 5, Kuhn's theorem; it needs perfect recall).

Several runs, say of one config with different seeds, are also summed up by their medians.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.ppo import PPOPolicy
from arena.players import load
from arena.run import look
from games import Game
from games.names import UserError

Probabilities = NDArray[np.float64]
"""[I, A] of every action at each of the `I` information states, in the order of OpenSpiel's `TabularPolicy`."""


def tabular(game: Game) -> Any:
    """OpenSpiel's `TabularPolicy` of the wrapped `game`, uniform over legal actions.

    Raises UserError where the game is not a sequential one of OpenSpiel's with perfect recall.
    """
    from open_spiel.python.policy import TabularPolicy

    if not game.spec.name.startswith("openspiel/") or game.spec.simultaneous:
        raise UserError(f"NashConv is for sequential OpenSpiel games, and {game.spec.name} is none.")
    rules = game.start(np.zeros(1, np.uint64))[0].single.state.get_game()
    if not rules.get_type().provides_information_state_string:
        raise UserError(f"{game.spec.name} does not tell its information states apart, so it has no exact NashConv.")
    return TabularPolicy(rules)


def policy_at(policy: PPOPolicy, game: Game, table: Any) -> Probabilities:
    """What `policy` does at every information state of `table`, from what the wrapped `game` lets it see there."""
    count = len(table.states)
    boards = game.start(np.zeros(count, np.uint64))
    for board, state in zip(boards, table.states, strict=True):
        board.single.state = state
    seen = np.empty((count, *game.spec.observation), np.float32)
    seats = np.array([state.current_player() for state in table.states])
    game.observe(boards, np.arange(count), seats, seen)
    return policy.probabilities(seen, table.legal_actions_mask.astype(np.bool_))


def own_path(table: Any) -> list[list[tuple[int, int]]]:
    """For each information state, its player's own choices on the way there, as (information state, action)."""
    paths: list[list[tuple[int, int]]] = []
    for state in table.states:
        player, before, path = state.current_player(), table.game.new_initial_state(), []
        for action in state.history():
            if before.current_player() == player:
                path.append((table.state_index(before), action))
            before.apply_action(action)
        paths.append(path)
    return paths


def average(policies: Sequence[Probabilities], table: Any) -> Probabilities:
    """The behaviour of the player who draws one of `policies`, all alike, for a whole game.

    Where none of them ever goes by its own choice, the plain mean.
    """
    stacked = np.stack(policies)  # [K, I, A]
    reach = np.ones(stacked.shape[:2])  # [K, I] the probability of the player's own choices on the way
    for at, path in enumerate(own_path(table)):
        for before, action in path:
            reach[:, at] *= stacked[:, before, action]
    reach[:, reach.sum(axis=0) == 0] = 1
    mixed: Probabilities = np.einsum("ki,kia->ia", reach / reach.sum(axis=0), stacked)
    return mixed


def nash_conv(table: Any, probabilities: Probabilities) -> float:
    """In the game's own units."""
    from open_spiel.python.algorithms import exploitability

    table.action_probability_array[:] = probabilities
    return float(exploitability.nash_conv(table.game, table))


def snapshots(run: Path, learner: str | None) -> list[str]:
    """References to the snapshots of one learner of `run`, the first one unless named, oldest first."""
    with look(run) as looked:
        learners = list(looked.config.league.learners)
        learner = learner or learners[0]
        if learner not in learners:
            raise UserError(f"{run} has no learner {learner!r}; it has {', '.join(learners)}.")
        own = [player.id for player in looked.ledger.players().values() if player.content and player.parent == learner]
    return [f"{run}:{name}" for name in own]


def measure(run: Path, learner: str | None = None) -> dict[str, Any]:
    """NashConv of a run's last snapshot, of the average over all of them, and of the uniform policy for comparison."""
    references = snapshots(run, learner)
    game = load(references[0]).game
    table = tabular(game)
    uniform = nash_conv(table, table.action_probability_array.copy())
    policies = []
    for reference in references:
        policy = load(reference).policy
        if not isinstance(policy, PPOPolicy):
            raise UserError(f"{reference} does not tell the probabilities of its actions.")
        policies.append(policy_at(policy, game, table))
    return {
        "run": str(run),
        "game": game.spec.name,
        "snapshots": len(policies),
        "last": nash_conv(table, policies[-1]),
        "average": nash_conv(table, average(policies, table)),
        "uniform": uniform,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, as in runs/kuhn_poker")
    parser.add_argument("--learner", help="whose snapshots; the run's first learner's unless given")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    args = parser.parse_args(arguments)
    try:
        found = [measure(run, args.learner) for run in args.runs]
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    medians = {key: float(np.median([row[key] for row in found])) for key in ("last", "average")}
    if args.json:
        print(json.dumps({"runs": found, "medians": medians}))
        return
    for line in text(found, medians):
        print(line)


def text(found: Sequence[dict[str, Any]], medians: dict[str, float]) -> Iterator[str]:
    for row in found:
        yield (
            f"{row['run']}: NashConv {row['last']:.4f} of the last policy, {row['average']:.4f} of the average over"
            f" {row['snapshots']} snapshots ({row['game']}; uniform play has {row['uniform']:.4f})"
        )
    if len(found) > 1:
        yield f"medians of {len(found)} runs: {medians['last']:.4f} last, {medians['average']:.4f} average"


if __name__ == "__main__":
    main()
