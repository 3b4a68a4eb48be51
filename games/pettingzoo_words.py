"""PettingZoo's environments in words, which they do not have themselves: what actions are called, positions as text.

By the name of an environment without its version. What is not here is called by its number, and shows its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

Namer = Callable[[Any, Any, int], str]
"""(environment, agent, one of its actions) -> its name, as a person would type it."""

Teller = Callable[[Any, Any], str]
"""(environment, agent) -> the position as the agent may know it."""

_MOVES = ("stay", "left", "right", "down", "up")  # of mpe2: forces along x, then along y
_COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # of Go boards, which know no I
_SUITS = {"S": "♠", "H": "♥", "D": "♦", "C": "♣"}


def number(env: Any, agent: Any, action: int) -> str:
    return str(action)


def _listed(*names: str) -> Namer:
    return lambda env, agent, action: names[action] if action < len(names) else str(action)


def _particle(env: Any, agent: Any, action: int) -> str:
    """A move, a word, or both: words are letters, as they are drawn."""
    count = int(env.action_space(agent).n)
    move, word = (action % 5, action // 5) if count % 5 == 0 else (None, action)
    said = f"say {chr(ord('A') + word)}"
    if move is None:
        return said
    return _MOVES[move] if count == 5 else f"{_MOVES[move]}, {said}"


def _stone(env: Any, agent: Any, action: int) -> str:
    """Where the environment draws it: it goes down its columns, the first on the left."""
    size = math.isqrt(int(env.action_space(agent).n))
    column, row = divmod(action, size)
    return f"{_COLUMNS[column]}{size - row}" if column < size else "pass"


def _chess(env: Any, agent: Any, action: int) -> str:
    move = import_module("pettingzoo.classic.chess.chess_utils").action_to_move(
        env.unwrapped.board, action, env.possible_agents.index(agent)
    )
    return str(move.uci())


def _cell(env: Any, agent: Any, action: int) -> str:
    """Its number in reading order; the environment goes down its columns."""
    return str(action % 3 * 3 + action // 3)


def _hint(env: Any, agent: Any, action: int) -> str:
    seat = env.possible_agents.index(agent)
    return str(env.unwrapped.hanabi_env.game_state.action_to_string(seat, action)).strip("()")


_BETS = _listed("call", "raise", "fold", "check")

NAMES: dict[str, Namer] = {
    **dict.fromkeys(("leduc_holdem", "texas_holdem"), _BETS),
    **dict.fromkeys(
        (
            "collect_treasure", "simple", "simple_adversary", "simple_crypto", "simple_formation", "simple_line",
            "simple_push", "simple_reference", "simple_speaker_listener", "simple_spread", "simple_tag",
            "simple_world_comm",
        ),
        _particle,
    ),
    "chess": _chess,
    "connect_four": lambda env, agent, action: str(action + 1),
    "cooperative_pong": _listed("stay", "up", "down"),
    "go": _stone,
    "hanabi": _hint,
    "knights_archers_zombies": _listed("forward", "backward", "turn left", "turn right", "attack", "stay"),
    "pistonball": _listed("down", "stay", "up"),
    "pursuit": _listed("left", "right", "down", "up", "stay"),
    "rps": _listed("rock", "paper", "scissors", "lizard", "spock"),
    "texas_holdem_no_limit": _listed("fold", "check or call", "raise half the pot", "raise the pot", "all in"),
    "tictactoe": _cell,
}  # fmt: skip


def _rows(cells: Any, marks: str) -> list[str]:
    """A board [rows, columns] of indices into `marks`, a line each."""
    return [" ".join(marks[value] for value in row) for row in np.asarray(cells).tolist()]


def _connect_four(env: Any, agent: Any) -> str:
    return "\n".join([*_rows(np.reshape(env.unwrapped.board, (6, 7)), ".xo"), "1 2 3 4 5 6 7"])


def _tictactoe(env: Any, agent: Any) -> str:
    cells = np.reshape(env.unwrapped.board.squares, (3, 3)).T.ravel()
    shown = [" xo"[owner] if owner else str(cell) for cell, owner in enumerate(cells.tolist())]
    return "\n".join(" ".join(shown[i : i + 3]) for i in (0, 3, 6))


def _go(env: Any, agent: Any) -> str:
    board = env.unwrapped._go.board.T  # 1 black, -1 white; turned as it is drawn
    lines = [f"{len(board) - row:>2} {line}" for row, line in enumerate(_rows(board, ".XO"))]
    return "\n".join([*lines, f"   {' '.join(_COLUMNS[: len(board)])}"])


def _cards(env: Any, agent: Any) -> str:
    """A hand of poker, from what RLCard hands to this seat."""
    agents = env.possible_agents
    mine = agents.index(agent)
    known = env.unwrapped.env.get_state(mine)["raw_obs"]
    public = known["public_card"] if "public_card" in known else known["public_cards"]
    bets = (f"{'you' if seat == mine else agents[seat]} {bet}" for seat, bet in enumerate(known["all_chips"]))
    lines = [f"Your hand: {_spelt(known['hand'])}", f"On the table: {_spelt(public)}", f"In the pot: {', '.join(bets)}"]
    if "stakes" in known:
        lines.append(f"You have left: {known['stakes'][mine]}")
    return "\n".join(lines)


def _spelt(cards: str | Sequence[str] | None) -> str:
    """RLCard's `HQ`, or several, as `Q♥`."""
    several: Iterable[str] = [cards] if isinstance(cards, str) else cards or ()
    return " ".join(card[1:].replace("T", "10") + _SUITS[card[0]] for card in several) or "nothing yet"


def _hanabi(env: Any, agent: Any) -> str:
    """As OpenSpiel tells it, your own cards hidden: `card || what you know of it | what it may be`."""
    seat = env.possible_agents.index(agent)
    return str(env.unwrapped.hanabi_env.game_state.observation_string(seat)).rstrip()


TEXTS: dict[str, Teller] = {
    **dict.fromkeys(("leduc_holdem", "texas_holdem", "texas_holdem_no_limit"), _cards),
    "connect_four": _connect_four,
    "go": _go,
    "hanabi": _hanabi,
    "tictactoe": _tictactoe,
}
