"""A game in words, for a terminal: which move was typed, how a game ended, and what an agent thinks of a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agents.core import Analysis
from arena.match import Table
from games import Decisions, Game, GameSpec, States
from games.names import did_you_mean

SHOWN = 8  # options in a table
LONGEST_NAME = 24  # characters of a move in it


def find_move(typed: str, moves: Sequence[str], commands: Iterable[str] = ()) -> int | str:
    """Which of `moves` is meant, as an index into them, or a sentence that says why none is; `commands` are what else
    could have been meant.

    By name, by number in the list (where `numbered`), by a beginning or by last words that only one name has (`q16`
    for `B q16`); names as they are written first, then whatever the case.
    """
    folded, numbers = [move.casefold() for move in moves], [str(number) for number in range(1, len(moves) + 1)]
    readings = (
        [move == typed for move in moves],
        [move == typed.casefold() for move in folded],
        [number == typed and numbered(moves) for number in numbers],
        [_begins(move, typed) for move in moves],
        [_begins(move, typed.casefold()) for move in folded],
        [move.endswith(f" {typed.casefold()}") for move in folded],
    )
    for reading in readings:
        hits = [index for index, hit in enumerate(reading) if hit]
        if len(hits) == 1:
            return hits[0]
        if hits:
            shown = ", ".join(moves[index] for index in hits[:8]) + (", …" if len(hits) > 8 else "")
            return f"{typed[:40]!r} could be any of {shown}."
    return f"{typed[:40]!r} is not a legal move here.{did_you_mean(typed[:40], [*moves, *commands])}"


def numbered(moves: Sequence[str]) -> bool:
    """Whether moves are listed with numbers: not where a name holds some, as `Bid: 3` would not be the third."""
    return not any(word[0].isdigit() for move in moves for word in move.split())


def in_words(
    spec: GameSpec, returns: NDArray[np.float64], names: Sequence[str], people: Sequence[int], *, truncated: bool
) -> list[str]:
    """The result of a game that is over, as sentences, told from the side of `people` where they are on one team."""
    listed = ", ".join(f"{name} {value:g}" for name, value in zip(names, returns.tolist(), strict=True))
    if not spec.competitive or spec.roles:  # where sides differ, more is not better
        return [f"Return: {returns[0]:g}." if spec.seats == 1 else f"Returns: {listed}."]
    if truncated and spec.payoff == "zero_sum":
        return ["Undecided: it counts as a draw."]
    members = {team: [seat for seat in range(spec.seats) if spec.teams[seat] == team] for team in spec.teams}
    scores = {team: float(returns[seats].mean()) for team, seats in members.items()}
    best = [team for team, score in scores.items() if score == max(scores.values())]
    ours = {spec.teams[seat] for seat in people}
    if len(best) == len(members):
        told = "A draw."
    elif len(ours) != 1:
        told = f"{' and '.join(names[seat] for team in best for seat in members[team])} won."
    elif len(members) == 2:
        told = "You won." if best[0] in ours else "You lost."
    else:
        told = _place(scores, ours.pop())
    return [told] if len(members) == 2 and set(returns.tolist()) <= {-1.0, 0.0, 1.0} else [told, f"Returns: {listed}."]


def explain(analysis: Analysis, at: Table, seat: int, who: str, width: int) -> list[str]:
    """Lines about the decision of `seat`, called `who`, in the first game of a table."""
    value = value_in_words(at.game.spec, analysis.value, who, earned=float(at.returns[0, seat]))
    return [value, *option_table(analysis, at.game, at.states, 0, seat, width)]


def value_in_words(spec: GameSpec, value: float, who: str, *, earned: float = 0.0) -> str:
    """What `who` may expect, who has `earned` so far: in the game's units; between two sides also as a chance to win.

    That chance is (return + 1) / 2, where returns go from -1 to 1.
    """
    told = f"Expected return for {who}{' from here on' if earned else ''}: {value:z.2f}"
    if not spec.competitive or len(set(spec.teams)) != 2 or spec.payoff != "zero_sum" or spec.bounds != (-1.0, 1.0):
        return f"{told}."
    chance = min(max((earned + value + 1) / 2, 0.0), 1.0)
    return f"{told}, a chance to win of {chance:.0%} (a draw is half a win)."


def option_table(analysis: Analysis, game: Game, states: States, row: int, seat: int, width: int) -> list[str]:
    """The options of `seat`, who decides in `row`, as aligned lines under a header, cut to `width` if possible.

    Columns that tell nothing are left out: visits and values where there are none, priors where all are the same, lines
    where none goes beyond its first move. Empty where only names would be left.
    """
    options = analysis.options[:SHOWN]
    names = [game.action_name(states, row, seat, option.action) for option in options]
    lines = [spell(game, states, row, option.line) for option in options]
    columns = {"move": [_clip(name) for name in names]}
    if any(option.visits for option in options):
        columns["visits"] = [str(option.visits) for option in options]
    if len({option.prior for option in options}) > 1:
        columns["prior"] = [f"{option.prior:.1%}" for option in options]
    if any(option.value is not None for option in options):
        columns["value"] = ["" if option.value is None else f"{option.value:z.2f}" for option in options]
    rows = _aligned(columns)
    if any(len(line) > 1 for line in lines):
        left = width - len(rows[0]) - 2
        tails = ["line", *(_fit(line, left) for line in lines)]
        rows = [f"{shown}  {tail}" for shown, tail in zip(rows, tails, strict=True)]
    elif len(columns) == 1:
        return []
    if len(analysis.options) > len(options):
        rows.append(f"  and {len(analysis.options) - len(options)} more")
    return [shown.rstrip() for shown in rows]


def spell(game: Game, states: States, row: int, line: Sequence[int]) -> list[str]:
    """The moves of `line` by name, played from `row` of `states` on a copy; nothing where it would not follow the game.

    That is where nature has a say, seats act at once, or something is hidden from the seat, or nothing can be copied.
    """
    spec = game.spec
    if spec.stochastic or spec.simultaneous or not (spec.perfect_information and spec.searchable):
        return []
    board, decisions = game.copy(states, np.array([row])), Decisions.empty(spec, 1, blind=True)
    names: list[str] = []
    for action in line:
        game.decisions(board, decisions)
        if not decisions.legal[0, 0, action]:
            break
        names.append(game.action_name(board, 0, int(decisions.seat[0, 0]), action))
        game.step(board, np.array([[action]]), np.zeros(1, np.uint64))
    return names


def _begins(move: str, typed: str) -> bool:
    """Whether `typed` is a beginning of `move` that does not cut a number in two: a1 does not mean a10."""
    rest = move[len(typed) :]
    return move.startswith(typed) and not (typed[-1:].isdigit() and rest[:1].isdigit())


def _place(scores: dict[int, float], team: int) -> str:
    above = sum(score > scores[team] for score in scores.values())
    level = sum(score == scores[team] for score in scores.values()) - 1
    return f"You {'share' if level else 'took'} place {above + 1} of {len(scores)}."


def _aligned(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Columns side by side under their names: the first to the left, numbers to the right."""
    padded: list[list[str]] = []
    for title, cells in columns.items():
        wide = max(map(len, (title, *cells)))
        padded.append([cell.ljust(wide) if not padded else cell.rjust(wide) for cell in (title, *cells)])
    return ["  " + "  ".join(cells) for cells in zip(*padded, strict=True)]


def _fit(moves: Sequence[str], width: int) -> str:
    """As many whole moves as fit into `width` characters, the first in any case."""
    gap = ", " if any(" " in move for move in moves) else " "
    for count in range(len(moves), 0, -1):
        shown = gap.join(moves[:count]) + (" …" if count < len(moves) else "")
        if len(shown) <= width:
            return shown
    return _clip(moves[0]) if moves else ""


def _clip(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
