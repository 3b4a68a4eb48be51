"""Records what `mctx` (DeepMind, Apache-2.0) finds in random games, for `test_agents_rules.py` to compare with.

Run from the repository's root in an environment of its own that has mctx and jax, which are no dependencies here:

    PYTHONPATH=. python tests/golden/record_mctx.py

A game is three tables over 4096 states: where an action leads, logits, and a value for the mover. Two seats take turns.
Searches run in float64 on inputs that float32 can hold.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.keys import mix, uniform

STATES, ROOTS = 4096, 6


class Tables(NamedTuple):
    follows: NDArray[np.int64]  # [STATES, A] the next state
    logits: NDArray[np.float32]  # [STATES, A]
    value: NDArray[np.float32]  # [STATES] for who moves there
    over: NDArray[np.bool_]  # [STATES] the game ends there
    reward: NDArray[np.float32]  # [STATES] then for who moved there; else 0


def tables(seed: int, actions: int, ends: float) -> Tables:
    """The game that has `seed`, of which a share of about `ends` of the states are terminal."""
    state, action = np.arange(STATES), np.arange(actions)
    over = uniform(mix(seed, 3, state)) < ends
    return Tables(
        follows=(mix(seed, 0, state[:, None], action) % np.uint64(STATES)).astype(np.int64),
        logits=(4 * uniform(mix(seed, 1, state[:, None], action)) - 2).astype(np.float32),
        value=(1.6 * uniform(mix(seed, 2, state)) - 0.8).astype(np.float32),
        over=over,
        reward=np.where(over, np.sign(uniform(mix(seed, 4, state)) - 0.5), 0).astype(np.float32),
    )


def roots(seed: int, game: Tables) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """States [ROOTS] to search from, and which actions are illegal there [ROOTS, A]: none in the first two."""
    start = np.flatnonzero(~game.over)[:ROOTS]
    illegal = uniform(mix(seed, 5, start[:, None], np.arange(game.logits.shape[1]))) < 0.4
    illegal[:2], illegal[:, 1] = False, False
    return start, illegal


GUMBEL: list[dict[str, Any]] = [
    {"actions": actions, "simulations": simulations, "considered": considered, "noise": noise, "ends": ends, **scaling}
    for actions, simulations, considered, noise, ends in (
        (9, 2, 16, 1.0, 0.0),
        (9, 16, 16, 1.0, 0.0),
        (5, 50, 4, 0.0, 0.0),
        (20, 50, 16, 1.0, 0.0),
        (20, 64, 4, 1.0, 0.2),
        (7, 100, 16, 0.0, 0.2),
    )
    for scaling in ({"rescale": True, "scale": 0.1}, {"rescale": False, "scale": 1.0})
]
PUCT: list[dict[str, Any]] = [
    {"actions": actions, "simulations": simulations, "ends": ends}
    for actions, simulations, ends in ((9, 2, 0.0), (9, 16, 0.0), (20, 50, 0.0), (7, 100, 0.2), (3, 200, 0.0))
]


def record(seed: int, case: dict[str, Any]) -> dict[str, Any]:
    """What mctx finds in one case: for each root the visits, the tree, and what it makes of them."""
    import jax
    import jax.numpy as jnp
    import mctx

    jax.config.update("jax_enable_x64", True)
    game = tables(seed, case["actions"], case["ends"])
    start, illegal = roots(seed, game)
    follows, over = jnp.asarray(game.follows), jnp.asarray(game.over)
    logits, value, reward = (jnp.asarray(t, jnp.float64) for t in (game.logits, game.value, game.reward))

    def move(params: Any, key: Any, action: Any, state: Any) -> tuple[Any, Any]:
        after = follows[state, action]
        ends = over[after]
        return mctx.RecurrentFnOutput(
            reward=reward[after],
            discount=jnp.where(ends, 0.0, -1.0),
            prior_logits=logits[after],
            value=jnp.where(ends, 0.0, value[after]),
        ), after

    root = mctx.RootFnOutput(prior_logits=logits[start], value=value[start], embedding=jnp.asarray(start))
    arguments = (None, jax.random.PRNGKey(seed), root, move, case["simulations"], jnp.asarray(illegal))
    if "considered" in case:
        transform = partial(
            mctx.qtransform_completed_by_mix_value,
            value_scale=case["scale"],
            maxvisit_init=50.0,
            rescale_values=case["rescale"],
        )
        out = mctx.gumbel_muzero_policy(
            *arguments,
            qtransform=transform,
            max_num_considered_actions=case["considered"],
            gumbel_scale=case["noise"],
        )
    else:

        def mean_of_node(tree: Any, node: Any) -> Any:
            return jnp.where(tree.children_visits[node] > 0, tree.qvalues(node), tree.node_values[node])

        out = mctx.muzero_policy(*arguments, qtransform=mean_of_node, dirichlet_fraction=0.0)
    tree, summary = out.search_tree, out.search_tree.summary()
    found = {
        "visits": summary.visit_counts,
        "weights": out.action_weights,
        "value": summary.value,
        **({"action": out.action, "gumbel": tree.extra_data.root_gumbel} if "considered" in case else {}),
        **({"parent": tree.parents, "by": tree.action_from_parent} if case["ends"] == 0 else {}),
    }
    return {"seed": seed, **case, **{name: np.asarray(array).tolist() for name, array in found.items()}}


if __name__ == "__main__":
    from mctx._src.seq_halving import get_sequence_of_considered_visits

    folder = Path(__file__).parent
    halving = [
        [m, n, [int(visits) for visits in get_sequence_of_considered_visits(m, n)]]
        for m in (1, 2, 3, 5, 8, 16)
        for n in (1, 2, 7, 16, 50, 200)
    ]
    gumbel = [record(seed, case) for seed, case in enumerate(GUMBEL, start=100)]
    puct = [record(seed, case) for seed, case in enumerate(PUCT, start=200)]
    for name, recorded in (("gumbel", gumbel), ("puct", puct), ("halving", halving)):
        lines = ",\n".join(json.dumps(case) for case in recorded)
        (folder / f"mctx_{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
