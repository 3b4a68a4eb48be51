import subprocess
import sys

import numpy as np
import pyspiel
import pytest

import games
from games import NO_ACTION, Decisions
from games.connect_four import ConnectFour
from games.keys import CHOICE, mix, uniform


@pytest.fixture(scope="module")
def game():
    return games.make("connect_four")


def play(game, columns):
    """One game in which `columns` (counted from 1) were played, and the last outcome."""
    states = game.start(np.zeros(1, np.uint64))
    outcome = None
    for column in columns:
        outcome = game.step(states, np.array([[column - 1]]), np.zeros(1, np.uint64))
    return states, outcome


def random_games(game, batch, seed):
    """Random whole games: per step the decisions, the actions and the outcome."""
    keys = mix(seed, np.arange(batch))
    states = game.start(keys)
    history = []
    for step in range(game.spec.longest):
        decisions = game.decisions(states, Decisions.empty(game.spec, batch))
        tickets = uniform(mix(keys[:, None], CHOICE, step, np.arange(game.spec.actions)))
        actions = np.where(decisions.active, np.where(decisions.legal[:, 0], tickets, -1).argmax(1)[:, None], NO_ACTION)
        history.append((decisions, actions, game.step(states, actions, keys)))
    return states, history


def test_ten_thousand_random_games_equal_openspiel(game):
    batch = 10_000
    states, history = random_games(game, batch, seed=11)
    assert not game.decisions(states).active.any()
    theirs = [pyspiel.load_game("connect_four").new_initial_state() for _ in range(batch)]
    plies = 0
    for decisions, actions, outcome in history:
        active, seat, legal = decisions.active[:, 0].tolist(), decisions.seat[:, 0].tolist(), decisions.legal[:, 0]
        moves, reward, terminated = actions[:, 0].tolist(), outcome.reward.tolist(), outcome.terminated.tolist()
        mask = np.zeros_like(legal)
        for row, state in enumerate(theirs):
            if not active[row]:
                assert state.is_terminal()
                continue
            assert state.current_player() == seat[row]
            mask[row, state.legal_actions()] = True
            state.apply_action(moves[row])
            assert state.is_terminal() == terminated[row]
            assert state.returns() == reward[row]
            plies += 1
        assert (mask == legal).all()
    assert plies > 20 * batch
    # OpenSpiel's planes are x, o, empty with row 0 at the bottom; ours as seen by seat 0 are x, o.
    boards = np.zeros((batch, 2, 6, 7), np.float32)
    game.observe(states, np.arange(batch), np.zeros(batch, np.int64), boards)
    expected = np.array([state.observation_tensor(0) for state in theirs], np.float32).reshape(batch, 3, 6, 7)
    assert (boards == expected[:, :2]).all()


def test_each_seat_sees_its_own_discs_first(game):
    states, _ = play(game, [1, 2, 2])
    seen = np.zeros((2, 2, 6, 7), np.float32)
    game.observe(states, np.array([0, 0]), np.array([0, 1]), seen)
    assert np.argwhere(seen[0, 0]).tolist() == [[0, 0], [1, 1]]
    assert np.argwhere(seen[0, 1]).tolist() == [[0, 1]]
    assert (seen[1] == seen[0, ::-1]).all()
    decisions = game.decisions(states)
    assert decisions.seat[0, 0] == 1
    assert (decisions.observation[0, 0] == seen[1]).all()


def test_the_board_reads_as_on_the_table(game):
    states, _ = play(game, [4, 4, 5])
    assert game.text(states, 0, 0).splitlines()[-3:] == [". . . o . . .", ". . . x x . .", "1 2 3 4 5 6 7"]
    assert game.text(states, 0, 1) == game.text(states, 0, 0)
    assert [game.action_name(states, 0, 0, action) for action in range(7)] == list("1234567")


@pytest.mark.parametrize(
    ("columns", "reward"),
    [
        ([1, 2, 1, 2, 1, 2, 1], [1, -1]),  # upright
        ([4, 4, 5, 5, 6, 6, 7], [1, -1]),  # level, at the right edge
        ([1, 2, 2, 3, 4, 3, 3, 4, 5, 4, 4], [1, -1]),  # rising
        ([1, 7, 6, 6, 5, 5, 1, 5, 4, 4, 4, 4], [-1, 1]),  # falling, the second seat's
    ],
)
def test_lines_of_four_end_the_game(game, columns, reward):
    states, outcome = play(game, columns)
    assert outcome.reward[0].tolist() == reward
    assert outcome.terminated[0]
    assert not outcome.truncated[0]
    decisions = game.decisions(states)
    assert not decisions.active.any()
    assert not decisions.legal.any()


def test_discs_of_neighbouring_columns_make_no_line_around_the_edge(game):
    # x holds the top three cells of column 1 and, later, the lowest of column 2: bits apart, but only by the guard.
    _, outcome = play(game, [2, 1, 3, 1, 5, 1, 1, 4, 1, 3, 1])
    assert not outcome.terminated[0]
    assert not outcome.reward.any()


def test_a_full_board_is_a_draw(game):
    columns = [int(column) for column in "777247253254133467621734366542635545261111"]
    states, outcome = play(game, columns)
    assert outcome.terminated[0]
    assert not outcome.reward.any()
    assert not game.decisions(states).active.any()


def test_rows_without_an_action_and_finished_rows_stay_as_they_are(game):
    states = game.start(np.zeros(3, np.uint64))
    for column in (0, 1, 0, 1, 0, 1, 0):
        game.step(states, np.array([[column], [column], [NO_ACTION]]), np.zeros(3, np.uint64))
    assert states["over"].tolist() == [True, True, False]
    before = states.copy()
    outcome = game.step(states, np.array([[3], [NO_ACTION], [NO_ACTION]]), np.zeros(3, np.uint64))
    assert (states == before).all()
    assert not outcome.reward.any()
    assert not outcome.terminated.any()
    assert not outcome.failed


def test_an_illegal_move_voids_its_game_only(game):
    states = game.start(np.zeros(2, np.uint64))
    for column in (0, 0, 0, 0, 0, 0):
        game.step(states, np.array([[column], [NO_ACTION]]), np.zeros(2, np.uint64))
    outcome = game.step(states, np.array([[0], [6]]), np.zeros(2, np.uint64))
    assert outcome.failed == {0: "connect_four: column 1 is full or is not on the board."}
    assert game.decisions(states).active.tolist() == [[False], [True]]
    assert game.step(states, np.array([[NO_ACTION], [7]]), np.zeros(2, np.uint64)).failed.keys() == {1}


def test_copies_and_restarts_leave_other_rows_alone(game):
    states, _ = play(game, [4, 4])
    twins = game.copy(states, np.array([0, 0, 0]))
    game.step(twins, np.array([[0], [1], [NO_ACTION]]), np.zeros(3, np.uint64))
    assert states["plies"].tolist() == [2]
    assert twins["plies"].tolist() == [3, 3, 2]
    game.restart(twins, np.array([1]), np.ones(1, np.uint64))
    assert twins["plies"].tolist() == [3, 0, 2]
    assert twins["all"][1] == 0


def test_the_mirror_is_a_symmetry_of_the_rules(game):
    (mirror,) = game.spec.symmetries
    batch = 300
    keys = np.zeros(batch, np.uint64)
    _, history = random_games(game, batch, seed=5)
    states = game.start(keys)
    for decisions, actions, outcome in history:
        reflected = game.decisions(states)
        flat = decisions.observation.reshape(batch, -1)[:, mirror.observation]
        assert (reflected.observation.reshape(batch, -1) == flat).all()
        assert (reflected.legal[:, 0] == decisions.legal[:, 0][:, mirror.action]).all()
        inverse = np.argsort(mirror.action)
        moved = game.step(states, np.where(actions >= 0, inverse[actions], NO_ACTION), keys)
        assert (moved.reward == outcome.reward).all()
        assert (moved.terminated == outcome.terminated).all()


def test_decisions_write_every_cell_of_the_callers_memory(game):
    states, _ = play(game, [4, 4, 1])
    dirty = Decisions.empty(game.spec, 1)
    dirty.observation[:], dirty.legal[:], dirty.seat[:], dirty.active[:] = np.nan, False, 9, False
    assert game.decisions(states, dirty) is dirty
    clean = game.decisions(states)
    for name in ("observation", "legal", "seat", "active"):
        assert (getattr(dirty, name) == getattr(clean, name)).all()


def test_reading_the_spec_loads_no_compiler():
    code = "import sys; from games.connect_four import ConnectFour as C; C.spec.name; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert not hasattr(ConnectFour, "legal")
