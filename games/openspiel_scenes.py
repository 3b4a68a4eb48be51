"""What OpenSpiel's games look like: a renderer for each family of games, from the words and numbers of its states.

Who looks sees what that seat may see; once a game is over, hidden cards, dice and marks are shown to everybody. Places
are called as OpenSpiel's action names call them. Seats whose men walk up the board see it from their own side. Of the
moves of backgammon, and of those of card and dice games but for bids, none has a place: they are played by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase as LETTERS
from typing import Any

import numpy as np

from games.boards import (
    Ground,
    Moves,
    Table,
    card,
    chess_piece,
    connect_four_scene,
    die,
    go_ground,
    hexes,
    lined,
    man,
    mark,
    squares,
    stone,
    table_scene,
)
from games.scene import EVERYTHING, Box, Disc, Label, Polygon, Scene, Shape, grid, seat_colour

_CELL = re.compile(r"[a-z]\d+")  # as in d1xa1
_TENS = {ord(":") + i: str(10 + i) for i in range(6)}  # breakthrough calls row 10 ":", and goes on from there
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_GO_ROW = re.compile(r"^ *\d+ ([+XO]+)$", re.MULTILINE)
_HEX_OWNER = {**dict.fromkeys("xXyz", 0), **dict.fromkeys("oOpq", 1)}  # z, p, …: joined to an edge
_RANKS = ("A", *map(str, range(2, 11)), "J", "Q", "K")  # a deck of n ranks has the last n
_BAR = 100  # where OpenSpiel's backgammon keeps the men that were hit


@dataclass(frozen=True, slots=True)
class Look:
    """A state, and whose eyes are on it."""

    game: Any
    state: Any
    seat: int  # or EVERYTHING
    legal: Sequence[int]  # what that seat may do now
    bare: bool  # whether all may be seen: it looks at everything, or the game is over

    @property
    def params(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.game.get_parameters()
        return found

    def text(self) -> str:
        """The board in words, as far as it may be seen."""
        return str(self.state if self.bare else self.state.observation_string(self.seat))

    def cells(self, ground: Ground) -> Moves:
        """Moves whose number is that of their place."""
        return {action: (action,) for action in self.legal if action < len(ground.places)}

    def named(self, ground: Ground) -> Moves:
        """Moves whose names tell their places, one after another: d4, c4d4, d1xa1."""
        told = ((action, self.state.action_to_string(self.seat, action)) for action in self.legal)
        names = {action: _CELL.findall(name.translate(_TENS)) for action, name in told}
        return {action: tuple(ground.index[cell] for cell in cells) for action, cells in names.items() if cells}


def scene(game: Any, state: Any, seat: int) -> Scene | None:
    """The board of OpenSpiel's `state` as `seat`, or EVERYTHING, sees it; None where there is no renderer for `game`.

    `state` is no chance node.
    """
    draw = _table if hasattr(game, "row_action_name") else _FAMILIES.get(game.get_type().short_name)
    if draw is None:
        return None
    over = state.is_terminal()
    acts = seat != EVERYTHING and not over and (state.is_simultaneous_node() or state.current_player() == seat)
    drawn = draw(Look(game, state, seat, state.legal_actions(seat) if acts else (), over or seat == EVERYTHING))
    return replace(drawn, sides=("black", "white")) if draw in _BLACK_AND_WHITE else drawn


def _marks(look: Look) -> Scene:
    rows = look.text().split("\n")[:3]
    names = [f"{row},{column}" for row in range(3) for column in range(3)]
    places = grid(3, 3, names)
    marks = [mark("xo".index(sign), place) for sign, place in zip("".join(rows), places, strict=True) if sign in "xo"]
    return Scene(3, 3, (*lined(3, 3), *marks), places, {action: (action,) for action in look.legal})


def _connect_four(look: Look) -> Scene:
    value = {"x": 1, "o": -1, ".": 0}
    cells = [[value[sign] for sign in line] for line in str(look.state).split()]
    return connect_four_scene(np.array(cells, np.float32), bool(look.legal))


def _othello(look: Look) -> Scene:
    ground = squares(tuple(LETTERS[:8]), tuple("12345678"), felt=True)
    rows = [line.split()[1:-1] for line in str(look.state).split("\n") if line[:1].isdigit()]
    colour = {"x": "black", "o": "white"}
    signs = [sign for row in rows for sign in row]
    discs = [stone(place, colour[sign]) for sign, place in zip(signs, ground.places, strict=True) if sign in colour]
    return ground.scene(discs, look.cells(ground))


def _go(look: Look) -> Scene:
    size = int(look.params["board_size"])
    ground = go_ground(size)
    colour = {"X": "black", "O": "white"}
    signs = "".join(_GO_ROW.findall(str(look.state)))
    stones = [stone(place, colour[sign]) for sign, place in zip(signs, ground.places, strict=True) if sign in colour]
    moves = {}
    for action in look.legal:  # numbered from the lowest row up; the last one is to pass
        row, column = divmod(action, size)
        if row < size:
            moves[action] = ((size - 1 - row) * size + column,)
    return ground.scene(stones, moves)


def _hex(look: Look) -> Scene:
    """Rows lean to the right. `dark_hex` is the same, less what the seat has not found."""
    rows, columns = int(look.params["num_rows"]), int(look.params["num_cols"])
    letters = LETTERS[:columns]
    heads = tuple((i - 0.5, -0.95, letter) for i, letter in enumerate(letters))
    ground = hexes(tuple((row / 2, letters) for row in range(rows)), heads, owned=True)
    signs = "".join("".join(line.split()) for line in look.text().split("\n")[:rows])
    return ground.scene(_owned(ground, [_HEX_OWNER.get(sign, -1) for sign in signs]), look.cells(ground))


def _y(look: Look) -> Scene:
    """A triangle on its point."""
    size = int(look.params["board_size"])
    heads = tuple((i - 0.5, -0.95, LETTERS[i]) for i in range(size))
    ground = hexes(tuple((row / 2, LETTERS[: size - row]) for row in range(size)), heads, owned=False)
    return ground.scene(_owned(ground, _ringed(look)), look.named(ground))


def _havannah(look: Look) -> Scene:
    """A hexagon of hexagons, whose columns lean to the left."""
    size = int(look.params["board_size"])
    rows = []
    for row in range(2 * size - 1):
        first, last = max(0, row - size + 1), min(2 * size - 1, row + size)
        rows.append((first - row / 2, LETTERS[first:last]))
    ends = [(i + 0.5, -0.95, LETTERS[i]) for i in range(size)]
    ends += [(i - (i - size) / 2, i - size, LETTERS[i]) for i in range(size, 2 * size - 1)]
    ground = hexes(tuple(rows), tuple(ends), owned=False)
    return ground.scene(_owned(ground, _ringed(look)), look.named(ground))


def _ringed(look: Look) -> list[int]:
    """The owner of each cell of Y and Havannah, in whose words the last move stands in brackets."""
    text = _ANSI.sub("", str(look.state))
    return [{"O": 0, "@": 1, ".": -1}[sign] for sign in text if sign in "O@."]


def _owned(ground: Ground, owners: Sequence[int]) -> list[Disc]:
    return [
        Disc(*place.mark, seat_colour(owner), "black")
        for place, owner in zip(ground.places, owners, strict=True)
        if owner >= 0
    ]


def _men(signs: str, turned: int = EVERYTHING) -> Callable[[Look], Scene]:
    """Men on a chequered board, as words have it; the first half of `signs` is seat 0's, the rest seat 1's.

    What is not the first sign of its seat is a king. Seat `turned` sees the board from above.
    """
    half = len(signs) // 2

    def draw(look: Look) -> Scene:
        lines = str(look.state).split("\n")
        rows = next(row for row, line in enumerate(lines) if line.lstrip().startswith("a"))  # letters stand below
        columns = len(lines[rows].strip())
        board = [line[-columns:] for line in lines[:rows]]
        ground = _chequered(columns, rows, look.seat == turned != EVERYTHING)
        men: list[Shape] = []
        for row, line in zip(range(rows, 0, -1), board, strict=True):
            for column, sign in enumerate(line):
                if sign in signs:
                    owner, rank = divmod(signs.index(sign), half)
                    place = ground.places[ground.index[f"{LETTERS[column]}{row}"]]
                    men += man(place, seat_colour(owner), "♛" if rank else "")
        return ground.scene(men, look.named(ground))

    return draw


def _chess(look: Look) -> Scene:
    """White is OpenSpiel's seat 1; seat 0 sees the board from Black's side."""
    ground = _chequered(8, 8, look.seat == 0)
    pieces: list[Shape] = []
    stands = {}
    for row, line in zip(range(8, 0, -1), look.state.board().to_fen().split()[0].split("/"), strict=True):
        column = 0
        for sign in line:
            if sign.isdigit():
                column += int(sign)
                continue
            stands[sign] = f"{LETTERS[column]}{row}"
            x, y, _ = ground.places[ground.index[stands[sign]]].mark
            pieces.append(chess_piece(sign, x, y))
            column += 1
    ways = {action: _chess_way(look, action, stands) for action in look.legal}
    return ground.scene(pieces, {action: tuple(ground.index[name] for name in way) for action, way in ways.items()})


def _chess_way(look: Look, action: int, stands: Mapping[str, str]) -> tuple[str, str]:
    """From and to: 73 actions begin at each square, a1, a2, …, seen from the mover's side; the name tells the end.

    `stands` says where the kings are, by their letters in FEN.
    """
    name = look.state.action_to_string(look.seat, action)
    if name.startswith("O-O"):
        king = stands["Kk"[look.seat == 0]]
        return king, ("c" if name.startswith("O-O-O") else "g") + king[1]
    column, row = divmod(action // 73, 8)
    start = f"{LETTERS[column]}{8 - row if look.seat == 0 else row + 1}"
    return start, _CELL.findall(name)[-1]


def _chequered(columns: int, rows: int, turned: bool) -> Ground:
    letters, numbers = tuple(LETTERS[:columns]), tuple(str(row) for row in range(rows, 0, -1))
    return squares(letters[::-1], numbers[::-1]) if turned else squares(letters, numbers)


def _kuhn(look: Look) -> Scene:
    seats = look.game.num_players()
    history = look.state.history()
    cards, bets = history[:seats], history[seats:]
    ranks = _RANKS[-(seats + 1) :]
    staked = [1] * seats
    for turn, bet in enumerate(bets):
        staked[turn % seats] += bet
    told = ", ".join(("pass", "bet")[bet] for bet in bets)
    hands = [(ranks[dealt], "") for dealt in cards]
    return _hands(look, hands, [f"staked {chips}" for chips in staked], f"pot {sum(staked)}", [], [told])


def _leduc(look: Look) -> Scene:
    state, seats = look.state, look.game.num_players()
    plain = look.params["suit_isomorphism"]
    ranks = _RANKS[-(seats + 1) :]

    def face(dealt: int) -> tuple[str, str]:
        return (ranks[dealt], "") if plain else (ranks[dealt // 2], "♠♥"[dealt % 2])

    public = state.public_card()
    chips = [f"{money:g} chips" for money in state.money()]
    rounds = [", ".join(("fold", "call", "raise")[bet] for bet in told) for told in (state.round1(), state.round2())]
    hands = [face(state.private_card(seat)) for seat in range(seats)]
    told = [f"round {number}: {line}" for number, line in enumerate(rounds, 1) if line]
    return _hands(look, hands, chips, f"pot {state.pot():g}", [face(public)] if public >= 0 else [], told)


def _hands(
    look: Look,
    hands: Sequence[tuple[str, str]],
    notes: Sequence[str],
    pot: str,
    public: Sequence[tuple[str, str]],
    told: Sequence[str],
) -> Scene:
    """A felt table: a card and a note for each seat, the pot and the public cards above, what was told below."""
    width = max(2.4 * len(hands) + 0.6, 7.0)
    left = (width - 2.4 * len(hands)) / 2 + 0.5
    shapes: list[Shape] = [Box(0, 0, width, 6.9, "felt", 0.5), Label(width / 2 - 1.6, 1.4, pot, 0.42, "white")]
    for face in public:
        shapes += card(width / 2 + 0.1, 0.4, *face)
    for seat, (face, note) in enumerate(zip(hands, notes, strict=True)):
        x = left + 2.4 * seat
        shapes += card(x, 2.9, *face) if look.bare or look.seat == seat else card(x, 2.9, None)
        shapes.append(Label(x + 0.7, 5.2, _called(look, seat), 0.32, "white"))
        shapes.append(Label(x + 0.7, 5.6, note, 0.32, "white"))
    shapes += [Label(width / 2, 6.15 + 0.42 * i, line, 0.32, "white") for i, line in enumerate(told) if line]
    return Scene(width, 6.9, tuple(shapes))


def _called(look: Look, seat: int) -> str:
    return "you" if seat == look.seat else f"seat {seat}"


def _liars_dice(look: Look) -> Scene:
    """Everybody's dice, and every bid that there is as something to click: three dice of four is called 3-4."""
    seats, each, sides = look.game.num_players(), int(look.params["numdice"]), int(look.params["dice_sides"])
    history = look.state.history()
    total = seats * each
    bids = [look.state.action_to_string(0, action) for action in range(total * sides)]
    names = [f"{count}-{face}" for count in range(1, total + 1) for face in range(1, sides + 1)]
    width, top = max(sides, 1.3 * each + 2.2) + 0.8, 1.3 * seats + 0.9
    shapes: list[Shape] = [Box(0, 0, width, top + total + 0.3, "felt", 0.4)]
    for seat in range(seats):
        shapes.append(Label(1.2, 0.8 + 1.3 * seat, _called(look, seat), 0.36, "white"))
        rolled = sorted(outcome + 1 for outcome in history[each * seat : each * (seat + 1)])
        for i, face in enumerate(rolled):
            shapes += die(2.4 + 1.3 * i, 0.3 + 1.3 * seat, face if look.bare or look.seat == seat else None)
    left = (width - sides) / 2
    places = grid(total, sides, names, left, top)
    last = ["", *(bids[action] for action in history[total:] if action < len(bids))][-1]
    for place in places:
        x, y, _ = place.mark
        fill, colour = ("seat1", "black") if place.name == last else ("board", "ink")
        shapes += [Box(x - 0.46, y - 0.46, 0.92, 0.92, fill, 0.12), Label(x, y, place.name, 0.34, colour)]
    index = {place.name: i for i, place in enumerate(places)}
    moves = {action: (index[bids[action]],) for action in look.legal if action < len(bids)}
    return Scene(width, top + total + 0.3, tuple(shapes), places, moves)


def _table(look: Look) -> Scene:
    game = look.game
    rows, columns = range(game.num_rows()), range(game.num_cols())
    table = Table(
        tuple(game.row_action_name(row) for row in rows),
        tuple(game.col_action_name(column) for column in columns),
        tuple(tuple(f"{game.row_utility(i, j):g}, {game.col_utility(i, j):g}" for j in columns) for i in rows),
    )
    chosen = look.state.history()
    return table_scene(table, (chosen[0], chosen[1]) if chosen else None, look.seat, bool(look.legal))


def _pig(look: Look) -> Scene:
    """How far everybody is on the way to winning, and what the turn has brought."""
    *scores, turn = map(int, re.findall(r"\d+", str(look.state).split("\n")[0]))
    goal, mover = int(look.params["winscore"]), look.state.current_player()
    shapes: list[Shape] = []
    for seat, score in enumerate(scores):
        y, length = 1.2 * seat + 0.3, 7 * min(1.0, score / goal)
        ahead = 7 * min(1.0, (score + turn) / goal) if seat == mover else length
        shapes += [Label(0.9, y + 0.3, _called(look, seat), 0.36), Box(2, y, 7, 0.6, "board", 0.15)]
        shapes += [Box(2, y, ahead, 0.6, "rule", 0.15), Box(2, y, length, 0.6, seat_colour(seat), 0.15)]
        shapes.append(Label(9.9, y + 0.3, str(score) + (f" + {turn}" if seat == mover else ""), 0.36))
    return Scene(10.8, 1.2 * len(scores) + 0.3, tuple(shapes))


def _backgammon(look: Look) -> Scene:
    """Points are numbered for the seat that looks (for seat 0 where nobody plays): home is at the lower right."""
    state = look.state
    me = 1 if look.seat == 1 else 0
    shapes: list[Shape] = [Box(0, 0.5, 14.8, 11, "wood", 0.15)]
    shapes += [Box(6.1, 0.5, 0.9, 11, "dark"), Box(13.4, 0.5, 1.4, 11, "dark", 0.15)]
    for point in range(24):
        x, low = _point(point)
        base, tip = (11.5, 6.9) if low else (0.5, 5.1)
        fill = "light" if point % 2 else "dark"
        shapes.append(Polygon(((x - 0.5, base), (x + 0.5, base), (x, tip)), fill))
        shapes.append(Label(x, 11.8 if low else 0.25, str(point + 1), 0.32, "faint"))
        spot = 23 - point if me == 0 else point
        for seat in (0, 1):
            shapes += _pile(x, base, -1 if low else 1, state.board(seat, spot), seat)
    for seat in (0, 1):
        shapes += _pile(6.55, 6.2 if seat == me else 5.8, 1 if seat == me else -1, state.board(seat, _BAR), seat)
    words = str(state)
    off = [int(count) for count in re.findall(r"[XO]: (\d+)", words)]
    for seat, y in ((me, 11), (1 - me, 1)):
        shapes += [Disc(14.1, y, 0.43, seat_colour(seat), "black"), Label(14.1, y, str(off[seat]), 0.36, "black")]
    rolled = re.search(r"Dice: (\d+)", words)
    for i, face in enumerate(rolled.group(1) if rolled else ""):
        shapes += die(13.6, 4.9 + 1.2 * i, int(face))
    return Scene(14.8, 12.1, tuple(shapes))


def _point(point: int) -> tuple[float, bool]:
    """Where a point's base is: x of its middle, and whether it is on the lower side."""
    low = point < 12
    column = 11 - point if low else point - 12
    return column + 0.55 + (column >= 6) * 1.05, low


def _pile(x: float, base: float, way: int, count: int, seat: int) -> list[Shape]:
    """Up to five men on top of each other, and how many there are where there are more."""
    shapes: list[Shape] = [
        Disc(x, base + way * (0.45 + 0.9 * i), 0.43, seat_colour(seat), "black") for i in range(min(count, 5))
    ]
    return [*shapes, Label(x, base + way * 4.05, str(count), 0.36, "black")] if count > 5 else shapes


_FAMILIES: dict[str, Callable[[Look], Scene]] = {
    "backgammon": _backgammon,
    "breakthrough": _men("bw", turned=0),
    "checkers": _men("o8+*", turned=1),
    "chess": _chess,
    "clobber": _men("ox"),
    "connect_four": _connect_four,
    "dark_hex": _hex,
    "dark_hex_ir": _hex,
    "go": _go,
    "havannah": _havannah,
    "hex": _hex,
    "kuhn_poker": _kuhn,
    "leduc_poker": _leduc,
    "liars_dice": _liars_dice,
    "lines_of_action": _men("xo"),
    "othello": _othello,
    "phantom_ttt": _marks,
    "pig": _pig,
    "tic_tac_toe": _marks,
    "y": _y,
}
_BLACK_AND_WHITE = (_chess, _go, _othello)
"""Where seat 0 has black, which in chess does not begin."""
