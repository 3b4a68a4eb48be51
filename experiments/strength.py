"""How a Connect Four player scores against OpenSpiel's tree search in C++, a yardstick that anybody can install.

    python -m experiments.strength runs/c4:main
    python -m experiments.strength "runs/c4:main?simulations=64" --games 200 --simulations 1000 --json

The opponent is `MCTSBot` with one random rollout a simulation, uct_c = 1.41 and its solver on, which proves wins and
losses in the tree. Games come in pairs from the same random opening of two plies, with seats swapped; the interval is
over pairs. Every bot's decision has seeds of its own, mixed from the game's key, so the same seed gives the same match.

Our player's moves of all games are chosen in one batch a ply, the bot's one after the other, both in one thread:
milliseconds a move are what a move costs in such a match, not how long one game would wait for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyspiel

from agents.core import Choice, Context, Policy
from arena.contest import contest
from arena.match import Table
from arena.players import Loaded, load
from games import NO_ACTION, Decisions, Keys
from games.keys import SEARCH, mix
from games.names import UserError

GAME = "connect_four"
OPENING = 2  # random plies
UCT_C = 1.41
MEMORY_MB = 1000  # of one search, at most; far more than 100,000 simulations take


class OpenSpielBot:
    """OpenSpiel's `MCTSBot`. Its actions are ours: columns from 0 at the left."""

    memory: tuple[int, ...] | None = None

    def __init__(self, simulations: int) -> None:
        if simulations < 1:
            raise UserError(f"The bot needs at least 1 simulation a move, not {simulations}.")
        self.simulations = simulations
        self._rules = pyspiel.load_game(GAME)

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        """Choose for every active slot, from the moves in `context.history`."""
        assert context.history is not None, "the bot's board is set up from the moves that were played"
        moves, steps = context.history.moves, context.history.steps
        actions = np.full(decisions.active.shape, NO_ACTION, np.int64)
        for game in np.flatnonzero(decisions.active[:, 0]).tolist():
            row = context.rows[game]
            state = self._rules.new_initial_state()
            for move in moves[row, : steps[row], 0].tolist():
                state.apply_action(move)
            actions[game, 0] = self._bot(keys[game, 0]).step(state)
        return Choice(actions)

    def _bot(self, key: np.uint64) -> Any:
        seeds = (mix(key, SEARCH, [0, 1]) >> np.uint64(33)).tolist()  # of 31 bits: the bot takes them as C++ ints
        rollouts = pyspiel.RandomRolloutEvaluator(1, seeds[0])
        return pyspiel.MCTSBot(self._rules, rollouts, UCT_C, self.simulations, MEMORY_MB, True, seeds[1], False)


class Timed:
    """A policy with a stop-watch."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.memory = policy, policy.memory
        self.seconds, self.decisions = 0.0, 0

    def act(self, decisions: Decisions, context: Context, keys: Keys) -> Choice:
        began = time.perf_counter()
        choice = self.policy.act(decisions, context, keys)
        self.seconds += time.perf_counter() - began
        self.decisions += int(decisions.active.sum())
        return choice

    @property
    def ms_per_move(self) -> float:
        return 1000 * self.seconds / max(self.decisions, 1)


def measure(reference: str, games: int, simulations: int, seed: int) -> dict[str, Any]:
    """The match of one player against the bot, from the player's side, and what a move of either cost."""
    player = load(reference, GAME)
    bot = Loaded(f"MCTSBot with {simulations} simulations", player.game, OpenSpielBot(simulations))
    if player.policy.memory is None:
        player.choose(Table(player.game, mix(seed, np.arange(2))))  # compiled, or loaded, before the clock runs
    ours, theirs = Timed(player.policy), Timed(bot.policy)
    seated = (Loaded(player.id, player.game, ours), Loaded(bot.id, player.game, theirs))
    result = contest(*seated, games, opening=OPENING, seed=seed, rows=games)
    return {
        "player": reference,
        "opponent": bot.id,
        "seed": seed,
        **result.to_dict(),
        "ms_per_move": ours.ms_per_move,
        "opponent_ms_per_move": theirs.ms_per_move,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("players", nargs="+", metavar="PLAYER", help="as in runs/c4:main@3, mcts:1000, random")
    parser.add_argument("--games", type=int, default=200, help="of each match, an even number")
    parser.add_argument("--simulations", type=int, default=1000, help="of the bot, a move")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    args = parser.parse_args(arguments)
    try:
        found = [measure(reference, args.games, args.simulations, args.seed) for reference in args.players]
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if args.json:
        print(json.dumps({"game": GAME, "opening": OPENING, "matches": found}))
        return
    for row in found:
        print("\n".join(text(row)))


def text(row: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{row['player']} against {row['opponent']}: score {row['score']:.3f} ({row['low']:.3f} to {row['high']:.3f}),"
        f" {row['wins']} won, {row['draws']} drawn, {row['losses']} lost"
    )
    yield f"  a move took {row['ms_per_move']:.3g} ms, the bot's {row['opponent_ms_per_move']:.3g} ms"


if __name__ == "__main__":
    main()
