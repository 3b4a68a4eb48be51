"""AlphaZero as a player: against the definition over whole games, with dice, and in the dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_agents_mcts import random_table, table
from test_agents_search import CONSIDERED, GAMES, MEAN, SPREAD, Network, Node, Plain, oracle

import games
from agents import alphazero
from agents.alphazero import AlphaZeroPolicy
from agents.alphazero_config import AlphaZeroConfig, SearchConfig
from agents.core import Choice, Context
from agents.scripted import Random
from agents.search import Leaves
from arena.match import Table
from games import Game, GameError, GameSpec
from games.keys import CHOICE, mix

BAR = 100  # as a point of OpenSpiel's backgammon
OWN_UNITS = {"value_norm.variance": np.array(1 - 1e-6), "value_norm.mean": np.array(0.0)}


def player(
    game: Game, network: Network, weights: dict[str, Any] = OWN_UNITS, *, explore: bool = False, **search: Any
) -> AlphaZeroPolicy:
    config = AlphaZeroConfig(search=SearchConfig(**search))
    return AlphaZeroPolicy(game.spec, config, weights, explore=explore, network=network)


def blank(spec: GameSpec) -> Network:
    """Knows nothing."""
    return lambda seen: (np.zeros((len(seen), spec.actions), np.float32), np.zeros((len(seen), spec.seats), np.float32))


def ask(policy: AlphaZeroPolicy, position: Table, key: int, scratch: dict[str, Any] | None = None) -> Choice:
    rows = np.arange(len(position.over))
    context = Context(position.game, position.states, rows, history=position.history, scratch=scratch)
    return policy.act(position.pending(), context, mix(key, CHOICE, rows[:, None]))


# ---- whole games, by the definition --------------------------------------------------------------------------------


class Follower:
    """What `AlphaZeroPolicy` would do in one row, by the definition: one tree, kept from move to move."""

    def __init__(self, policy: AlphaZeroPolicy, network: Network) -> None:
        self.policy, self.network, self.kept = policy, network, 0
        self.root: Node | None = None

    def act(self, position: Table, row: int, key: np.uint64, noise: NDArray[np.float64], simulations: int) -> Any:
        if self.root is None:
            self.plain = Plain(position.game, self.policy.rule, self.network)
        else:
            self.kept += 1
        board = position.game.copy(position.states, np.array([row]))
        if self.root is None:
            self.root, _ = self.plain.node(board, [0.0] * position.game.spec.seats)
        return self.plain.search(self.root, board, key, simulations, noise)

    def follow(self, action: int, chance: int, simulations: int) -> None:
        """What was looked at is kept, where it leaves room for a search of `simulations`."""
        assert self.root is not None
        child = self.root.children.get((action, chance))
        self.root = child if child is not None and child.prior and child.size <= 2 * simulations + 1 else None


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
@pytest.mark.parametrize("name", ["connect_four", "tic_tac_toe", "three that are paid", "unbounded", "unbounded dice"])
def test_whole_games_as_defined(name: str, rule: str) -> None:
    """With noise, cheap searches, kept trees, games that end and others that start in their place."""
    game = GAMES[name]()
    network, spec = oracle(game.spec), game.spec
    weights = {"value_norm.variance": np.array(SPREAD**2 - 1e-6), "value_norm.mean": np.array(MEAN)}
    policy = player(
        game, network, weights, explore=True, rule=rule, simulations=24, cheap=0.4, cheap_simulations=5,
        considered=CONSIDERED, sampled_moves=0 if rule == "puct" else 99,
    )  # fmt: skip
    batch, scratch = 5, {}
    position = random_table(game, batch, 6)
    followers = [Follower(policy, network) for _ in range(batch)]
    budgets, restarts = set(), 0
    for ply in range(9):
        done = np.flatnonzero(position.over)
        position.restart(done, mix(99, ply, done))
        for row in done.tolist():
            followers[row].root, restarts = None, restarts + 1
        choice = ask(policy, position, 40 + ply, scratch)
        forest = scratch["trees"].search.forest
        keys = mix(40 + ply, CHOICE, np.arange(batch))
        for row, follower in enumerate(followers):
            full = bool(choice.extras["full"][row, 0])
            found = follower.act(position, row, keys[row], forest.noise[row], 24 if full else 5)
            budgets.add(full)
            first, width = forest.first[row, 0], forest.width[row, 0]
            assert forest.visits[row, first : first + width].tolist() == list(found.n.values())
            assert choice.action[row, 0] == found.action
            expected = np.zeros(spec.actions)
            expected[list(found.target)] = list(found.target.values())
            np.testing.assert_allclose(choice.extras["target"][row, 0], expected, atol=1e-5)
            assert math.isclose(choice.extras["value"][row, 0], found.value, abs_tol=1e-5)
        outcome = position.play(choice.action)
        for row, follower in enumerate(followers):
            follower.follow(int(choice.action[row, 0]), int(outcome.chance[row]), 24)
    assert budgets == {True, False}
    assert sum(follower.kept for follower in followers) > 10
    assert restarts > 0 or name == "connect_four"


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
@pytest.mark.parametrize("name", ["connect_four", "dice"])
def test_alone_as_in_a_batch(name: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game = GAMES[name]()
    policy = player(game, oracle(game.spec), explore=True, rule=rule, simulations=20, cheap=0.5, cheap_simulations=7)
    position = random_table(game, 7, 2)
    keys = mix(3, np.arange(7))[:, None]
    together = policy.act(position.pending(), Context(game, position.states, np.arange(7)), keys)
    assert (together.action[:, 0] >= 0).tolist() == position.pending().active[:, 0].tolist()
    for row in np.flatnonzero(~position.over)[::-1].tolist():
        at = np.array([row])
        mine = position.pending().take(at, np.zeros(1, np.int64))
        alone = policy.act(mine, Context(game, position.states, at), keys[at])
        assert alone.action[0] == together.action[row]
        for extra, array in alone.extras.items():
            assert (array[0] == together.extras[extra][row]).all(), extra
    monkeypatch.setattr(alphazero, "MEMORY", 1)  # one tree after another
    lots = policy.act(position.pending(), Context(game, position.states, np.arange(7)), keys)
    assert (lots.action == together.action).all()
    assert all((lots.extras[extra] == array).all() for extra, array in together.extras.items())


def test_what_the_learner_is_told() -> None:
    game = games.make("tic_tac_toe")
    policy = player(game, oracle(game.spec), explore=True, simulations=20, cheap=0.3)
    position = random_table(game, 40, 4)
    choice = ask(policy, position, 5)
    active, legal = ~position.over, position.pending().legal
    target = choice.extras["target"]
    np.testing.assert_allclose(target[active].sum(axis=-1), 1, atol=1e-5)
    assert (target[~legal] == 0).all()
    assert (choice.extras["surprise"] >= 0).all()
    assert 0.4 < choice.extras["full"][active].mean() < 0.95
    assert legal[active, 0][np.arange(active.sum()), choice.action[active, 0]].all()
    assert (choice.action[~active] == -1).all()
    assert (
        not player(game, oracle(game.spec), simulations=20)
        .act(position.pending(), Context(game, position.states, np.arange(40)), mix(1, np.arange(40))[:, None])
        .extras
    )


def test_cheap_searches_are_never_larger_than_full_ones() -> None:
    game = games.make("connect_four")
    policy = player(game, oracle(game.spec), explore=True, simulations=3, cheap=1.0, cheap_simulations=60, reuse=True)
    scratch: dict[str, Any] = {}
    ask(policy, Table(game, mix(1, np.arange(4))), 5, scratch)
    forest = scratch["trees"].search.forest
    assert forest.done.tolist() == [3] * 4
    assert (forest.nodes == 4).all()


def test_another_game_in_its_place_gets_another_tree() -> None:
    game = games.make("connect_four")
    policy = player(game, oracle(game.spec), simulations=30, explore=True)
    position, scratch = table(game, [[3]] * 4), dict[str, Any]()
    ask(policy, position, 1, scratch)
    position.restart(np.arange(4), mix(12, np.arange(4)))
    position.replay(np.array([[0, 6, 0]] * 4, np.int16)[:, :, None], np.array([1, 2, 3, 0]))
    there, fresh = ask(policy, position, 2, scratch), ask(policy, position, 2)
    assert (there.extras["target"] == fresh.extras["target"]).all()
    assert (scratch["trees"].search.forest.nodes == 31).all()
    position.restart(np.arange(4), position.keys.copy())  # back to the start of the same game
    there, fresh = ask(policy, position, 3, scratch), ask(policy, position, 3)
    assert (there.extras["target"][:3] == fresh.extras["target"][:3]).all()  # the last had not left it


def test_temperatures() -> None:
    game = games.make("connect_four")
    opening, later = Table(game, mix(1, np.arange(200))), table(game, [[3, 3, 2]] * 200)
    for sampled, position, several in ((3, opening, True), (3, later, False), (4, later, True)):
        policy = player(
            game, oracle(game.spec), explore=True, rule="puct", simulations=30, sampled_moves=sampled, noise=0.0
        )
        choice = ask(policy, position, 9)
        assert (len(np.unique(choice.action)) > 1) == several
        best = choice.extras["target"][:, 0].argmax(axis=1)
        assert (choice.action[:, 0] == best).all() != several
    sharp = player(game, oracle(game.spec), explore=True, rule="gumbel", simulations=30, sampled_moves=3)
    choice = ask(sharp, later, 9)
    assert (choice.action[:, 0] == choice.extras["target"][:, 0].argmax(axis=1)).all()
    choice = ask(sharp, opening, 9)
    assert (choice.action[:, 0] != choice.extras["target"][:, 0].argmax(axis=1)).any()
    still = player(game, oracle(game.spec), simulations=30)
    assert len(np.unique(ask(still, opening, 9).action)) == 1


def test_network_alone() -> None:
    game = games.make("connect_four")
    position = random_table(game, 9, 1)
    logits, _ = oracle(game.spec)(position.pending().observation[:, 0])
    logits[~position.pending().legal[:, 0]] = -np.inf
    alone = AlphaZeroPolicy(game.spec, AlphaZeroConfig(), OWN_UNITS, simulations=0, network=oracle(game.spec))
    choice = ask(alone, position, 1)
    assert choice.action[:, 0].tolist() == logits.argmax(axis=1).tolist()


def test_analysis_tells_what_act_does() -> None:
    game = games.make("connect_four")
    position = table(game, [[3, 3, 2]])
    policy = player(game, oracle(game.spec), rule="puct", simulations=60)
    context, keys = Context(game, position.states, np.arange(1)), mix(1, np.arange(1))[:, None]
    told = policy.analyse(position.pending(), context, keys)
    assert told.options[0].action == policy.act(position.pending(), context, keys).action[0, 0]
    assert sum(option.visits for option in told.options) == 60
    raw = oracle(game.spec)(position.pending().observation[:, 0])[1][0, 0]
    mean = (raw + sum(option.visits * option.value for option in told.options if option.visits)) / 61
    assert math.isclose(told.value, mean, rel_tol=1e-6)
    assert all(option.line[0] == option.action for option in told.options)


# ---- dice ----------------------------------------------------------------------------------------------------------


class Coin:
    """Seat 0 takes something sure (0), or bets on a toss that comes later (1, 2), or (3) on one that it sees first."""

    spec = GameSpec("coin", 2, 4, (3,), longest=2, stochastic=True, searchable=True)
    sure, heads, shown = 0.4, 0.5, False

    def __init__(self, rng: np.random.Generator) -> None:
        self.chance, self.steps, self.over = 0, 0, False

    @property
    def seats(self) -> Sequence[int]:
        return (0,)

    def legal(self, seat: int) -> Sequence[int]:
        return (1, 2) if self.steps else (0, 3) if self.shown else (0, 1, 2)

    def observe(self, seat: int, out: NDArray[np.float32]) -> None:
        out[:] = self.steps, self.chance, seat

    def step(self, actions: Sequence[int], rng: np.random.Generator) -> Sequence[float]:
        (action,) = actions
        toss = self.chance if self.steps else 1 + int(rng.random() >= self.heads)
        self.chance, self.steps, self.over = toss, self.steps + 1, action < 3
        won = 0.0 if action == 3 else self.sure if action == 0 else 1.0 if action == toss else -1.0
        return won, -won

    def copy(self) -> Coin:
        twin = type(self)(np.random.default_rng(0))
        twin.chance, twin.steps, twin.over = self.chance, self.steps, self.over
        return twin


class Biased(Coin):
    heads = 0.1


class Shown(Coin):
    sure, shown = 0.6, True


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
@pytest.mark.parametrize(("coin", "action"), [(Coin, 0), (Biased, 2), (Shown, 3)])
def test_bets_by_expectation_and_never_peeks(coin: type[Coin], action: int, rule: str) -> None:
    """Fair bets are worth 0, good ones 0.8, and those on a toss that is seen first 1, if throws are told apart."""
    game = games.lift(coin)
    real = Table(game, mix(5, np.arange(60)))
    policy = player(game, blank(game.spec), rule=rule, simulations=400)
    assert (ask(policy, real, 8).action == action).all()
    search_keys = np.full((60, 1), 7, np.uint64)  # one search for all, whatever nature holds ready in each game
    policy = player(game, blank(game.spec), explore=True, rule=rule, simulations=50, sampled_moves=0)
    same = policy.act(real.pending(), Context(game, real.states, np.arange(60)), search_keys)
    assert (same.extras["target"] == same.extras["target"][0]).all()
    other = ask(policy, real, 8).extras["target"]
    assert (other != other[0]).any() or coin is Shown  # its own throws do vary


def best_in_pig(win: int) -> dict[tuple[int, int, int], tuple[float, float]]:
    """How likely who has i, against j, with k this turn, wins by (rolling, stopping), by value iteration."""
    states = [(i, j, k) for i in range(win) for j in range(win) for k in range(win - i)]
    worth = dict.fromkeys(states, 0.5)

    def wins(i: int, j: int, k: int) -> float:
        return 1.0 if i + k >= win else worth[i, j, k]

    odds = {}
    for _ in range(60):
        for i, j, k in states:
            roll = ((1 - wins(j, i, 0)) + sum(wins(i, j, k + pips) for pips in range(2, 7))) / 6
            odds[i, j, k] = roll, 1 - wins(j, i + k, 0)
            worth[i, j, k] = max(odds[i, j, k])
    return odds


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
def test_plays_pig_as_value_iteration_does(rule: str) -> None:
    game = games.make("openspiel/pig?winscore=15")
    odds, position = best_in_pig(15), random_table(game, 60, 3)
    clear = {}
    for row in np.flatnonzero(~position.over).tolist():
        words = str(position.states[row].single.state).replace(",", "").split()
        scores, turn, mover = (int(words[1]), int(words[2])), int(words[5]), int(words[8])
        i, j = scores[mover], scores[1 - mover]
        if i + turn >= 15:
            clear[row] = 1  # it has won, if it stops
        elif abs(np.subtract(*odds[i, j, turn])) > 0.08 and max(i, j) >= 6:
            clear[row] = int(odds[i, j, turn][1] > odds[i, j, turn][0])
    assert set(clear.values()) == {0, 1}
    assert len(clear) > 8
    rows = np.array(list(clear))
    policy = player(game, blank(game.spec), rule=rule, simulations=1000)
    mine = position.pending().take(rows, np.zeros_like(rows))
    choice = policy.act(mine, Context(game, position.states, rows), mix(1, rows)[:, None])
    assert choice.action[:, 0].tolist() == list(clear.values())


def pips(leaves: Leaves) -> Any:
    """Backgammon's race: fewer points to go are better, more for the other a little; all moves are alike."""
    value = np.zeros((len(leaves.rows), 2))
    for i, row in enumerate(leaves.rows.tolist()):
        state = leaves.boards[row].single.state
        left = [25.0 * state.board(seat, BAR) for seat in (0, 1)]
        for point in range(24):
            left[0] += state.board(0, point) * (24 - point)
            left[1] += state.board(1, point) * (point + 1)
        value[i] = [(0.3 * left[1 - seat] - left[seat]) / 200 for seat in (0, 1)]
    return np.empty((0, leaves.game.spec.actions), np.float32), value


@pytest.mark.parametrize("rule", ["puct", pytest.param("gumbel", marks=pytest.mark.slow)])
def test_beats_random_at_backgammon(rule: str) -> None:
    game, all_rows = games.make("openspiel/backgammon"), np.arange(6)
    policy = player(game, blank(game.spec), rule=rule, simulations=64, considered=64)
    policy._evaluate = pips  # type: ignore[method-assign]
    position, mine = Table(game, mix(21, all_rows)), all_rows % 2
    scratch: dict[str, Any] = {}
    for step in count():
        if position.over.all():
            break
        decisions = position.pending()
        everywhere = Context(game, position.states, all_rows)
        action = Random().act(decisions, everywhere, mix(5, step, all_rows)[:, None]).action
        rows = np.flatnonzero(decisions.active[:, 0] & (decisions.seat[:, 0] == mine))
        context = Context(game, position.states, rows, history=position.history, scratch=scratch)
        own = decisions.take(rows, np.zeros_like(rows))
        action[rows] = policy.act(own, context, mix(6, step, rows)[:, None]).action
        assert not position.play(action).failed
    assert position.returns[all_rows, mine].sum() >= 5  # a game that takes too long is a draw


# ---- in the dark ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
def test_knows_only_what_its_seat_sees(name: str, rule: str) -> None:
    """Where a seat sees the same, it chooses the same by the same keys, whatever others hold."""
    game = games.make(f"openspiel/{name}")
    position = Table(game, mix(8, np.arange(120)))
    policy = player(game, oracle(game.spec), explore=True, rule=rule, simulations=40, determinise=True)
    worlds = 0
    for step in range(4):
        decisions, choice = position.pending(), ask_alike(policy, position, 30 + step)
        known: dict[bytes, set[str]] = {}
        first: dict[bytes, int] = {}
        for row in np.flatnonzero(~position.over).tolist():
            view = decisions.observation[row].tobytes() + decisions.seat[row].tobytes()
            known.setdefault(view, set()).add(str(position.states[row].single.state))
            same = first.setdefault(view, row)
            assert choice.action[row] == choice.action[same]
            assert (choice.extras["target"][row] == choice.extras["target"][same]).all()
            assert decisions.legal[row, 0, choice.action[row, 0]]
        worlds += sum(len(each) > 1 for each in known.values())
        position.play(choice.action)
    assert worlds >= 4


def ask_alike(policy: AlphaZeroPolicy, position: Table, key: int) -> Choice:
    """All rows with one key."""
    rows = np.arange(len(position.over))
    return policy.act(
        position.pending(), Context(position.game, position.states, rows), np.full((len(rows), 1), key, np.uint64)
    )


@pytest.mark.parametrize("rule", ["puct", "gumbel"])
def test_calls_with_a_king_and_folds_a_jack(rule: str) -> None:
    game = games.make("openspiel/kuhn_poker")
    policy = player(game, blank(game.spec), rule=rule, simulations=200, determinise=True)
    position = Table(game, mix(8, np.arange(90)))
    bet = np.ones((90, 1), np.int64)
    position.play(bet)  # seat 0 bets with anything
    answer = ask(policy, position, 1).action[:, 0]
    cards = [str(board.single.state).split()[1] for board in position.states]
    assert set(cards) == {"0", "1", "2"}
    assert [int(a) for a, card in zip(answer, cards, strict=True) if card != "1"] == [
        int(c == "2") for c in cards if c != "1"
    ]


def test_refuses_what_it_cannot_search() -> None:
    def refusal(spec: GameSpec, **search: Any) -> str:
        return str(alphazero.supports(spec, AlphaZeroConfig(search=SearchConfig(**search))))

    assert refusal(games.make("tic_tac_toe").spec) == "None"
    assert refusal(GameSpec("one", 1, 2, (1,), 1, searchable=True)) == "None"
    assert "act at once" in refusal(games.make("rock_paper_scissors").spec, determinise=True)
    assert "cannot be copied" in refusal(GameSpec("atari", 1, 2, (1,), 1))
    poker, hearts = games.make("openspiel/kuhn_poker").spec, games.make("openspiel/hearts").spec
    assert "Set agent.search.determinise" in refusal(poker)
    assert refusal(poker, determinise=True) == "None"
    assert "offers no other worlds" in refusal(hearts, determinise=True)
    assert alphazero.supports(poker) is None  # it can, perhaps only so

    for name, reason in (
        ("openspiel/kuhn_poker", "Set agent.search.determinise"),
        ("rock_paper_scissors", "act at once"),
    ):
        game = games.make(name)
        policy, position = player(game, blank(game.spec)), Table(game, mix(1, np.arange(2)))
        with pytest.raises(GameError, match=f"alphazero cannot play here.*{reason}"):
            ask(policy, position, 1)
        with pytest.raises(GameError, match=reason):
            policy.analyse(position.pending(), Context(game, position.states, np.arange(2)), mix(1, np.ones((2, 1))))
