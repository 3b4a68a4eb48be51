"""Choosing among legal actions from logits, with a key for each choice; and how likely each choice is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from games.kernels import kernel
from games.keys import uniform


def sample(
    logits: NDArray[np.float32], legal: NDArray[np.bool_], keys: NDArray[np.uint64], temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draw actions [n] from softmax(logits / temperature) over legal actions, by keys [n]; 0 takes the most likely.

    Also gives their log-probabilities [n] at the temperature used (0 for the most likely). Where nothing is legal the
    action is -1 (`NO_ACTION`).
    """
    return _sample(logits, legal, uniform(keys), np.float64(temperature))


def probabilities(logits: NDArray[np.float32], legal: NDArray[np.bool_], temperature: float) -> NDArray[np.float64]:
    """How likely `sample` is to draw each action [n, A]; zeros where nothing is legal."""
    allowed = np.where(legal, logits.astype(np.float64), -np.inf)
    best = allowed.argmax(axis=1)[:, None]  # the first of equals, as there
    if temperature == 0.0:
        weight = np.where(legal & (np.arange(legal.shape[1]) == best), 1.0, 0.0)
    else:
        weight = np.exp((allowed - np.take_along_axis(logits, best, axis=1)) / temperature)
    likely: NDArray[np.float64] = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1.0)  # the best one's is 1
    return likely


@kernel
def _sample(
    logits: NDArray[np.float32], legal: NDArray[np.bool_], at: NDArray[np.float64], temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    n, actions = legal.shape
    action = np.full(n, -1, np.int64)
    log_prob = np.zeros(n, np.float32)
    weight = np.empty(actions, np.float64)
    for i in range(n):
        best = -1
        for a in range(actions):
            if legal[i, a] and (best < 0 or logits[i, a] > logits[i, best]):
                best = a
        action[i] = best
        if best < 0 or temperature == 0.0:
            continue
        total = 0.0
        for a in range(actions):
            weight[a] = np.exp((logits[i, a] - logits[i, best]) / temperature) if legal[i, a] else 0.0
            total += weight[a]
        left = at[i] * total
        for a in range(actions):
            if weight[a] > 0.0:
                action[i] = a
                left -= weight[a]
                if left < 0.0:
                    break
        log_prob[i] = np.log(weight[action[i]] / total)
    return action, log_prob
