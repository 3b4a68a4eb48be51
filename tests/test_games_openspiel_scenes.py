import random
import re
from collections import Counter, defaultdict

import chess
import numpy as np
import pyspiel
import pytest

import games
from games.keys import mix
from games.openspiel_scenes import _FAMILIES, scene
from games.scene import EVERYTHING, Box, Disc, Drawing, Label, scene_of

CELL = re.compile(r"[a-z]\d+")

ONE_CELL = [
    "othello", "hex(board_size=5)", "hex(num_rows=3,num_cols=6)", "hex(board_size=4,swap=true)",
    "hex(board_size=4,string_rep=explicit)", "go(board_size=5)", "go(board_size=9,max_game_length=120)",
    "y(board_size=5)", "y(board_size=5,ansi_color_output=true)", "havannah(board_size=4)",
    "havannah(board_size=3,swap=true)", "dark_hex(board_size=3)", "dark_hex(num_rows=2,num_cols=4,gameversion=adh)",
    "dark_hex_ir(board_size=3)",
]  # fmt: skip
TWO_CELLS = ["breakthrough", "breakthrough(rows=10,columns=5)", "checkers", "clobber", "clobber(rows=11,columns=3)",
             "lines_of_action"]  # fmt: skip
OTHERS = [
    "tic_tac_toe", "phantom_ttt", "phantom_ttt(obstype=reveal-numturns)", "connect_four",
    "connect_four(rows=5,columns=8)", "liars_dice", "liars_dice(numdice=2,dice_sides=8)",
    "liars_dice(numdice=2,bidding_rule=reset-quantity)",
]  # fmt: skip
BY_NAME = [
    "kuhn_poker", "kuhn_poker(players=4)", "leduc_poker", "leduc_poker(players=3,suit_isomorphism=true)",
    "leduc_poker(action_mapping=true)", "pig(players=3)", "backgammon", "backgammon(hyper_backgammon=true)",
]  # fmt: skip


def roll(state, rng):
    """Plays what is nature's to play."""
    while state.is_chance_node():
        outcomes, chances = zip(*state.chance_outcomes(), strict=True)
        state.apply_action(rng.choices(outcomes, chances)[0])
    return state


def positions(game, count, seed=1):
    """Every position of `count` random games, the ends included."""
    rng = random.Random(seed)
    for _ in range(count):
        state = roll(game.new_initial_state(), rng)
        yield state
        while not state.is_terminal():
            if state.is_simultaneous_node():
                seats = range(game.num_players())
                state.apply_actions([rng.choice(state.legal_actions(seat)) for seat in seats])
            else:
                state.apply_action(rng.choice(state.legal_actions()))
            yield roll(state, rng)


def after(reference, names):
    """The state of a game without chance after moves called by `names`."""
    game = pyspiel.load_game(reference)
    state = game.new_initial_state()
    for name in names.split():
        state.apply_action(state.string_to_action(name))
    return game, state


def ways(drawn):
    """The names of the places that are clicked for each action."""
    return {action: [drawn.places[place].name for place in way] for action, way in drawn.moves.items()}


def lying(drawn, kind=Disc):
    """What lies on each place, by its name: the last shape of a kind that has the same middle."""
    places = {tuple(round(at, 6) for at in place.mark[:2]): place.name for place in drawn.places}
    found = {(round(shape.x, 6), round(shape.y, 6)): shape for shape in drawn.shapes if isinstance(shape, kind)}
    return {places[where]: shape for where, shape in found.items() if where in places}


def words(drawn):
    return [shape.text for shape in drawn.shapes if isinstance(shape, Label)]


def expected(kind, state, seat, action):
    """The places of an action, from what OpenSpiel calls it."""
    name = state.action_to_string(seat, action)
    if kind in ("tic_tac_toe", "phantom_ttt"):
        return re.findall(r"\d,\d", name)
    if kind == "connect_four":
        return [str(int(name[1:]) + 1)]
    if kind.startswith("liars_dice"):
        return [] if name == "Liar" else [name]
    return CELL.findall(name.replace(":", "10"))


@pytest.mark.parametrize("reference", ONE_CELL + TWO_CELLS + OTHERS + BY_NAME)
def test_whatever_may_be_played_and_has_a_place_is_clicked_there(reference):
    game = pyspiel.load_game(reference)
    kind, clicks = game.get_type().short_name, 2 if reference in TWO_CELLS else 1
    called = {}
    for state in positions(game, 30):
        mover = state.current_player()
        for seat in {EVERYTHING, mover, 1 - mover} & {EVERYTHING, *range(game.num_players())}:
            drawn = scene(game, state, seat)
            names = [place.name for place in drawn.places]
            assert called.setdefault(seat, names) == names
            if seat != mover or seat == EVERYTHING:
                assert drawn.moves == {}
                continue
            wanted = {action: expected(kind, state, seat, action) for action in state.legal_actions()}
            wanted = {} if reference in BY_NAME else {action: cells for action, cells in wanted.items() if cells}
            assert ways(drawn) == wanted
            assert all(len(way) == clicks for way in drawn.moves.values())
    assert len(set(names)) == len(names)


def test_ways_of_chess_are_the_moves_that_python_chess_finds():
    game = pyspiel.load_game("chess")
    for number, state in enumerate(positions(game, 30, seed=4)):
        mover = state.current_player()
        if state.is_terminal() or number % 2:  # every other one: all of them take long
            continue
        found = ways(scene(game, state, mover))
        assert set(found) == set(state.legal_actions())
        legal = chess.Board(state.board().to_fen()).legal_moves
        ends = [(chess.square_name(move.from_square), chess.square_name(move.to_square)) for move in legal]
        assert Counter(map(tuple, found.values())) == Counter(ends)
        for action, (_, target) in found.items():
            assert CELL.findall(state.action_to_string(mover, action))[-1:] in ([target], [])  # none where it castles
        assert scene(game, state, 1 - mover).moves == {}


def test_chess_is_seen_from_the_side_of_who_plays():
    game, state = after("chess", "")
    white, black, onlooker = (scene(game, state, seat) for seat in (1, 0, EVERYTHING))
    (e4,) = [way for action, way in ways(white).items() if state.action_to_string(1, action) == "e4"]
    assert e4 == ["e2", "e4"]
    assert white.places[-1].name == "h1"
    assert black.places[-1].name == "a8"
    assert [place.name for place in onlooker.places] == [place.name for place in white.places]
    for drawn in (white, black):
        pieces = {name: piece.text for name, piece in lying(drawn, Drawing).items()}
        assert len(pieces) == 32
        assert (pieces["e1"], pieces["d1"], pieces["e8"], pieces["b8"], pieces["h2"]) == tuple("♔♕♚♞♙")
        assert black.moves == {}


def test_promotions_of_chess_share_a_way_and_castling_moves_the_king():
    game = pyspiel.load_game("chess")
    state = game.new_initial_state("4k3/P7/8/8/8/8/8/R3K2R w KQ - 0 1")
    names = defaultdict(list)
    for action, way in ways(scene(game, state, 1)).items():
        names[tuple(way)].append(state.action_to_string(1, action))
    assert sorted(names["a7", "a8"]) == ["a8=B", "a8=N", "a8=Q+", "a8=R+"]
    assert (names["e1", "g1"], names["e1", "c1"]) == (["O-O"], ["O-O-O"])


@pytest.mark.parametrize("reference", ["hex(board_size=6)", "y(board_size=6)", "havannah(board_size=4)", "tic_tac_toe"])
def test_what_was_played_is_what_lies_there(reference):
    game = pyspiel.load_game(reference)
    for state in positions(game, 5):
        drawn = scene(game, state, EVERYTHING)
        kind = game.get_type().short_name
        played = {}
        replayed = game.new_initial_state()
        for action in state.history():
            (name,) = expected(kind, replayed, replayed.current_player(), action)
            played[name] = f"seat{replayed.current_player()}"
            replayed.apply_action(action)
        if kind == "tic_tac_toe":
            assert {name: shape.colour for name, shape in lying(drawn, Drawing).items()} == played
        else:
            assert {name: disc.fill for name, disc in lying(drawn).items()} == played


def test_hex_begins_at_the_upper_left_and_seat_0_joins_top_and_bottom():
    game, state = after("hex(board_size=3)", "a1 c1 a2 c2 a3")
    assert state.returns()[0] == 1
    drawn = scene(game, state, 0)
    marks = {place.name: place.mark for place in drawn.places}
    assert (marks["a1"][0], marks["a1"][1]) == (
        min(x for x, _, _ in marks.values()),
        min(y for _, y, _ in marks.values()),
    )
    assert marks["b1"][0] - marks["a1"][0] == pytest.approx(1)
    assert marks["a2"][0] - marks["a1"][0] == pytest.approx(0.5)


def test_cells_of_havannah_and_y_that_touch_lie_one_apart():
    for reference, cell, beside, corner in (
        ("havannah(board_size=4)", "d4", "c3 d3 c4 e4 d5 e5", "g7"),
        ("y(board_size=5)", "b2", "b1 c1 a2 c2 a3 b3", "a5"),
    ):
        drawn = scene(*after(reference, ""), 0)
        marks = {place.name: np.array(place.mark[:2]) for place in drawn.places}
        near = {name for name, at in marks.items() if 0 < np.linalg.norm(at - marks[cell]) < 1.01}
        assert near == set(beside.split())
        assert marks[corner][1] == max(at[1] for at in marks.values())


def test_go_has_a1_at_the_lower_left_and_to_pass_has_no_place():
    game, state = after("go(board_size=9)", "")
    state.apply_action(state.string_to_action("B a1"))
    state.apply_action(state.string_to_action("W j9"))
    drawn = scene(game, state, 0)
    assert {name: stone.fill for name, stone in lying(drawn).items() if stone.radius > 0.2} == {
        "a1": "black",
        "j9": "white",
    }
    marks = {place.name: place.mark for place in drawn.places}
    assert marks["a1"][:2] == (min(x for x, _, _ in marks.values()), max(y for _, y, _ in marks.values()))
    assert 81 in state.legal_actions()
    assert 81 not in drawn.moves


def test_captured_stones_are_gone():
    game, state = after("go(board_size=5)", "")
    for name in ("B b1", "W a1", "B a2"):
        state.apply_action(state.string_to_action(name))
    assert {name for name, stone in lying(scene(game, state, 1)).items() if stone.radius > 0.2} == {"b1", "a2"}


def test_othello_begins_with_four_discs_and_a_pass_has_no_place():
    game, state = after("othello", "")
    drawn = scene(game, state, 0)
    assert {name: disc.fill for name, disc in lying(drawn).items()} == {
        "d4": "white", "e5": "white", "e4": "black", "d5": "black",
    }  # fmt: skip
    assert sorted(way for (way,) in ways(drawn).values()) == ["c4", "d3", "e6", "f5"]
    assert drawn.places[0].name == "a1"
    passes = [state for state in positions(game, 30) if state.legal_actions() == [64]]
    assert passes
    assert scene(game, passes[0], passes[0].current_player()).moves == {}


@pytest.mark.parametrize(("reference", "seat"), [("breakthrough", 0), ("checkers", 1)])
def test_who_plays_down_the_board_sees_it_from_above_and_men_stay_on_their_squares(reference, seat):
    game, state = after(reference, "")
    below, above = scene(game, state, 1 - seat), scene(game, state, seat)
    assert below.places[-1].name == "h1"
    assert above.places[-1].name == "a8"
    men = {name: man.fill for name, man in lying(below).items()}
    assert men == {name: man.fill for name, man in lying(above).items()}
    assert men["a1"] == f"seat{1 - seat}"
    assert men["h8"] == f"seat{seat}"
    lowest = max(lying(above).values(), key=lambda man: man.y)
    assert lowest.fill == f"seat{seat}"


@pytest.mark.parametrize("reference", ["breakthrough", "checkers", "clobber", "lines_of_action", "othello"])
def test_as_many_men_are_drawn_as_there_are(reference):
    game = pyspiel.load_game(reference)
    planes = game.observation_tensor_shape()
    for state in positions(game, 3):
        drawn = lying(scene(game, state, EVERYTHING))
        board = np.array(state.observation_tensor(0)).reshape(planes)
        if reference in ("othello", "clobber", "lines_of_action"):
            occupied = np.prod(planes[1:]) - board[{"othello": 0, "clobber": 2, "lines_of_action": 2}[reference]].sum()
            assert len(drawn) == occupied
        else:
            signs = [sign for line in str(state).split("\n") if line[:1].isdigit() for sign in line[1:]]
            assert len(drawn) == sum(sign != "." for sign in signs)


def test_a_king_of_checkers_wears_a_crown():
    game = pyspiel.load_game("checkers")
    kings = 0
    for state in positions(game, 10):
        board = "".join(line[1:] for line in str(state).split("\n") if line[:1].isdigit())
        assert words(scene(game, state, 0)).count("♛") == board.count("8") + board.count("*")
        kings += board.count("8") + board.count("*")
    assert kings


def test_discs_of_connect_four_lie_in_the_columns_they_were_dropped_into():
    game = pyspiel.load_game("connect_four")
    state = game.new_initial_state()
    for column in (3, 3, 6):
        state.apply_action(column)
    drawn = scene(game, state, 1)
    discs = {(shape.x, shape.y): shape.fill for shape in drawn.shapes if isinstance(shape, Disc)}
    assert (discs[3.5, 5.5], discs[3.5, 4.5], discs[6.5, 5.5]) == ("seat0", "seat1", "seat0")
    assert [place.name for place in drawn.places] == list("1234567")


def test_backgammon_shows_all_men_and_home_is_at_the_lower_right_of_who_looks():
    game = pyspiel.load_game("backgammon")
    for state in positions(game, 3):
        for seat in (0, 1, EVERYTHING):
            drawn = scene(game, state, seat)
            men = [shape for shape in drawn.shapes if isinstance(shape, Disc) and shape.radius == 0.43]
            assert {man.fill for man in men} == {"seat0", "seat1"}
            spread = sum(min(5, state.board(owner, spot)) for owner in (0, 1) for spot in (*range(24), 100))
            assert len(men) == spread + 2  # and one of each where men come off
    start = roll(game.new_initial_state(), random.Random(1))
    for seat in (0, 1):
        homely = [
            shape.fill
            for shape in scene(game, start, seat).shapes
            if isinstance(shape, Disc) and shape.radius == 0.43 and 7 < shape.x < 13.4 and shape.y > 6
        ]
        assert Counter(homely) == {f"seat{seat}": 5, f"seat{1 - seat}": 2}


def test_cards_of_leduc_are_of_the_rank_that_decides():
    game = pyspiel.load_game("leduc_poker")
    pairs = 0
    for state in positions(game, 400):
        if not state.is_terminal() or 0 in (*state.round1(), *state.round2()):  # 0 is to fold
            continue
        ranks = [word for word in words(scene(game, state, 0)) if word in ("J", "Q", "K")]
        public, first, second = ranks
        strength = [10 * (rank == public) + "JQK".index(rank) for rank in (first, second)]
        pairs += max(strength) >= 10
        assert np.sign(state.returns()[0]) == np.sign(strength[0] - strength[1])
    assert pairs


def test_a_seat_sees_its_own_card_and_the_others_when_the_hand_is_over():
    game = pyspiel.load_game("kuhn_poker")
    state = game.new_initial_state()
    for dealt in (2, 0):
        state.apply_action(dealt)

    def faces(seat):
        return [word for word in words(scene(game, state, seat)) if word in ("J", "Q", "K")]

    assert (faces(0), faces(1), faces(EVERYTHING)) == (["K"], ["J"], ["K", "J"])
    state.apply_action(1)
    assert {"pot 3", "bet", "staked 2"} <= set(words(scene(game, state, 1)))
    state.apply_action(0)
    assert faces(0) == faces(1) == ["K", "J"]


@pytest.mark.parametrize("name", ["kuhn_poker", "kuhn_poker?players=3", "leduc_poker", "leduc_poker?players=3"])
def test_a_scene_is_the_same_in_all_worlds_that_a_seat_cannot_tell_apart(name):
    game = games.make(f"openspiel/{name}")
    loaded = pyspiel.load_game(name.replace("?", "(") + ")" * ("?" in name))
    assert game.spec.resamples
    rows, others = np.zeros(20, np.int64), 0
    for number, state in enumerate(positions(loaded, 30)):
        if state.is_terminal():
            continue
        states = game.start(mix(1, np.arange(1)))
        states[0].single.state = state.clone()
        for seat in range(game.spec.seats):
            keys = mix(9, number, seat, np.arange(20))
            worlds = game.resample(states, rows, np.full(20, seat), keys)
            own = scene_of(game, states, 0, seat)
            for row in range(20):
                assert scene_of(game, worlds, row, seat) == own
                others += scene_of(game, worlds, row, EVERYTHING) != scene_of(game, states, 0, EVERYTHING)
    assert others > 100


@pytest.mark.parametrize(
    "reference",
    ["liars_dice", "phantom_ttt", "dark_hex(board_size=3)", "dark_hex_ir(board_size=2)",
     "kuhn_poker", "leduc_poker"],
)  # fmt: skip
def test_states_with_one_information_state_have_one_scene(reference):
    game = pyspiel.load_game(reference)
    scenes, worlds = {}, defaultdict(set)
    for state in positions(game, 300):
        if state.is_terminal():
            continue
        for seat in (0, 1):
            known = seat, state.current_player() == seat, state.information_state_string(seat)
            drawn = scene(game, state, seat)
            assert scenes.setdefault(known, drawn) == drawn
            worlds[known].add(str(state))
    assert max(map(len, worlds.values())) > 1


def test_dice_of_others_are_covered_until_somebody_is_called_a_liar():
    game = pyspiel.load_game("liars_dice(numdice=2)")
    state = game.new_initial_state()
    for face in (6, 3, 5, 2):
        state.apply_action(face - 1)
    first, second, onlooker = (scene(game, state, seat) for seat in (0, 1, EVERYTHING))

    def pips(drawn):
        return sum(isinstance(shape, Disc) for shape in drawn.shapes)

    assert (pips(first), pips(second), pips(onlooker)) == (9, 7, 16)
    assert words(first).count("?") == 2
    state.apply_action(state.string_to_action("2-3"))
    (bid,) = [shape for shape in scene(game, state, 1).shapes if isinstance(shape, Box) and shape.fill == "seat1"]
    assert bid.x < lying(scene(game, state, 1), Label)["2-3"].x < bid.x + bid.width
    assert state.string_to_action("Liar") not in scene(game, state, 1).moves
    state.apply_action(state.string_to_action("Liar"))
    assert pips(scene(game, state, 0)) == pips(scene(game, state, 1)) == 16


def test_a_phantom_board_shows_what_its_seat_found_and_all_of_it_at_the_end():
    game, state = after("phantom_ttt", "x(1,1) o(0,0)")
    assert set(lying(scene(game, state, 0), Drawing)) == {"1,1"}
    assert set(lying(scene(game, state, 1), Drawing)) == {"0,0"}
    assert set(lying(scene(game, state, EVERYTHING), Drawing)) == {"1,1", "0,0"}
    state.apply_action(0)  # it is taken, which seat 0 now knows
    assert set(lying(scene(game, state, 0), Drawing)) == {"1,1", "0,0"}
    for name in ("x(0,1)", "o(2,2)", "x(2,1)"):
        state.apply_action(state.string_to_action(name))
    assert state.is_terminal()
    assert len(lying(scene(game, state, 1), Drawing)) == 5


def test_a_matrix_game_is_a_table_that_tells_what_was_chosen_when_both_have():
    game = pyspiel.load_game("matrix_pd")
    state = game.new_initial_state()
    rows, columns = scene(game, state, 0), scene(game, state, 1)
    assert [place.name for place in rows.places] == [place.name for place in columns.places] == ["Cooperate", "Defect"]
    assert rows.moves == columns.moves == {0: (0,), 1: (1,)}
    assert words(rows)[-4:] == ["5, 5", "0, 10", "10, 0", "1, 1"]
    assert scene(game, state, EVERYTHING).moves == {}
    state.apply_actions([1, 0])
    over = scene(game, state, 0)
    assert over.moves == {}
    (chosen,) = [shape for shape in over.shapes if isinstance(shape, Box) and shape.fill == "seat1"]
    (paid,) = [shape for shape in over.shapes if isinstance(shape, Label) and shape.text == "10, 0"]
    assert chosen.x < paid.x < chosen.x + chosen.width
    assert chosen.y < paid.y < chosen.y + chosen.height


def test_every_family_can_be_made_and_drawn_by_its_name_and_others_have_no_scene():
    for family in [*_FAMILIES, "matrix_rps"]:
        game = games.make(f"openspiel/{family}")
        drawn = scene_of(game, game.start(mix(2, np.arange(1))), 0, 0)
        assert drawn.shapes, family
    for other in ("hearts", "amazons", "matching_pennies_3p"):
        game = games.make(f"openspiel/{other}")
        assert scene_of(game, game.start(mix(2, np.arange(1))), 0, 0) is None


def test_who_has_black_is_said_where_people_go_by_it() -> None:
    for name in ("chess", "go", "othello"):
        game = games.make(f"openspiel/{name}")
        states = game.start(np.zeros(1, np.uint64))
        for eyes in (0, 1, EVERYTHING):
            drawn = scene_of(game, states, 0, eyes)
            assert drawn is not None
            assert drawn.sides == ("black", "white")
    chess = games.make("openspiel/chess")
    begins = chess.decisions(chess.start(np.zeros(1, np.uint64))).seat[0, 0]
    assert begins == 1, "white begins"
    other = games.make("openspiel/connect_four")
    drawn = scene_of(other, other.start(np.zeros(1, np.uint64)), 0, 0)
    assert drawn is not None
    assert drawn.sides == ()
