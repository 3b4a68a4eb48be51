"""Who earned what: advantages for every seat from the rewards of a whole game.

A seat's reward for a decision is everything it earned from that step up to its next own decision, whoever moved in
between, and up to the end for its last. So the loser's -1 reaches the seat that did not move last, and a dead member of
a team still shares in what its team earns. Nothing bootstraps across seats; only a cut game bootstraps, each seat from
its own last view.

Generalised advantage estimation is Schulman et al. 2016 (arXiv 1506.02438, equation 16), along one seat's decisions:

    delta_k = r_k + gamma V_{k+1} - V_k        advantage_k = delta_k + gamma lambda advantage_{k+1}
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.core import Trajectories
from games.kernels import kernel


def advantages(
    trajectories: Trajectories,
    values: NDArray[np.float32],
    cut_values: NDArray[np.float32],
    *,
    gamma: float,
    lam: float,
) -> NDArray[np.float32]:
    """The advantage of each decision [D], from values [D] and what each seat of the cut games is worth [C, P]."""
    seats = trajectories.reward.shape[1]
    bootstrap = np.zeros((trajectories.games, seats), np.float64)
    bootstrap[trajectories.cut_game] = cut_values
    t = trajectories
    return _backwards(t.reward, t.step_game, t.seat, t.step, values, bootstrap, gamma, lam)


@kernel
def _backwards(
    reward: NDArray[np.float32],
    step_game: NDArray[np.int64],
    seat: NDArray[np.int16],
    step: NDArray[np.int64],
    values: NDArray[np.float32],
    next_value: NDArray[np.float64],
    gamma: float,
    lam: float,
) -> NDArray[np.float32]:
    """One pass from the last step to the first; each game and seat keeps what its next decision was worth."""
    earned = np.zeros_like(next_value)  # [G, P] since the seat's next decision, looking backwards
    next_advantage = np.zeros_like(next_value)
    out = np.empty(len(values), np.float32)
    d = len(values) - 1
    for r in range(len(reward) - 1, -1, -1):
        g = step_game[r]
        for p in range(reward.shape[1]):
            earned[g, p] += reward[r, p]
        while d >= 0 and step[d] == r:
            p = seat[d]
            delta = earned[g, p] + gamma * next_value[g, p] - values[d]
            next_advantage[g, p] = delta + gamma * lam * next_advantage[g, p]
            next_value[g, p] = values[d]
            earned[g, p] = 0.0
            out[d] = next_advantage[g, p]
            d -= 1
    return out
