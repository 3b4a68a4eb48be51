"""What the conformance kit tries on purpose: restarts, illegal actions, other company, looking for secrets.

A probe plays a few games of its own, raises `Broken` where a promise is not kept, and returns a note for the report,
mostly an empty one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from games.check_play import RUNNING, Broken, Picture, Play, choose, compare, pick, views
from games.core import NO_ACTION, Game, Keys, Rows
from games.keys import NATURE, mix
from games.lift import Lifted

FEW = 8  # games a probe plays
DEALS = 400  # starts compared in the search for secrets
PLIES = 4  # steps after the start in which secrets are looked for
CONFLICTS = 20  # pairs of deals, alike in my view, that chance alone would have made differ in another's
WORLDS = 6  # continuations of one position that are compared
UNCHECKED = ("openspiel/",)  # native rules that trust their caller: an illegal action may end the process


@dataclass(frozen=True, slots=True)
class Trial:
    """What a probe works on."""

    game: Game
    keys: Keys  # one for each game of the check
    length: float  # mean steps of a random game

    @property
    def few(self) -> Keys:
        return self.keys[:FEW]


Probe = Callable[[Trial], str]


def company(trial: Trial) -> str:
    """Games played alone against the same games in a batch."""
    batch = Play(trial.game, trial.few)
    alone = [Play(trial.game, trial.few[row : row + 1]) for row in range(len(trial.few))]
    for _ in range(trial.game.spec.longest + 1):
        together = batch.look()
        for row, single in enumerate(alone):
            shown = pick(together, np.array([row]))
            compare(single.look(), shown, f"In row {row} of a batch of {len(alone)}, unlike alone")
        if batch.done:
            break
        for play in (batch, *alone):
            play.advance()
    return ""


def sits_out(trial: Trial) -> str:
    """Steps in which no game is given an action, before every real step and after the end."""
    play, spec = Play(trial.game, trial.few), trial.game.spec
    nobody = np.full((len(play.keys), spec.slots), NO_ACTION, np.int64)
    for step in range(spec.longest + 1):
        before = play.look()
        outcome = trial.game.step(play.states, nobody, mix(play.keys, NATURE, step, 1))
        for field in ("reward", "terminated", "truncated", "chance"):
            if getattr(outcome, field).any():
                row = int(np.argwhere(getattr(outcome, field))[0][0])
                value = getattr(outcome, field)[row].tolist()
                raise Broken(f"Given no action, a game had {field} {value}: {play.where(row)}.")
        compare(before, play.look(), "Changed by a step that gave the game no action")
        if play.done:
            break
        play.advance()
    return ""


def restarts(trial: Trial) -> str:
    """Every other row restarted, in mid-game and after the end, beside new games and games left in peace."""
    keys, rows = trial.few, np.arange(0, len(trial.few), 2)
    others = np.setdiff1d(np.arange(len(keys)), rows)
    fresh = mix(keys[rows], 1)
    for after, when in ((min(2, int(trial.length) // 2), "early"), (trial.game.spec.longest, "after its end")):
        play, peace, new = Play(trial.game, keys), Play(trial.game, keys), Play(trial.game, fresh)
        for _ in range(after):
            if play.done:
                break
            play.advance()
            peace.advance()
        play.restart(rows, fresh)
        for _ in range(trial.game.spec.longest + 1):
            seen = play.look()
            compare(new.look(), pick(seen, rows), f"Restarted {when}, unlike a new game from that key")
            compare(pick(peace.look(), others), pick(seen, others), "Disturbed by the restart of another row")
            if play.done:
                break
            for games in (play, peace, new):
                games.advance()
    return ""


def refuses(trial: Trial) -> str:
    """Illegal actions, played from the start and from later positions."""
    game, spec = trial.game, trial.game.spec
    if spec.name.startswith(UNCHECKED):
        return "Not tried: these rules do not check actions, whoever calls step must."
    # In a simultaneous game the others' moves change the position in any case.
    strict = isinstance(game, Lifted) and spec.searchable and not spec.simultaneous
    tried, accepted = 0, ""
    for after in sorted({0, 1, 2, 3, 5, 8, int(trial.length) // 2, int(trial.length * 0.9)}):
        play = Play(game, trial.few)
        for _ in range(after):
            play.advance()
        decisions, before = play.decisions, play.look()
        actions = choose(decisions, play.keys, play.steps)
        wrong = {}
        for row in np.flatnonzero((decisions.active & ~decisions.legal.all(axis=2)).any(axis=1)).tolist():
            slot = int(np.flatnonzero(decisions.active[row] & ~decisions.legal[row].all(axis=1))[0])
            illegal = np.flatnonzero(~decisions.legal[row, slot])
            wrong[row] = slot
            actions[row, slot] = illegal[int(play.keys[row] % len(illegal))]
        actions[[row for row in range(len(play.keys)) if row not in wrong]] = NO_ACTION
        tried += len(wrong)
        try:
            outcome = game.step(play.states, actions, mix(play.keys, NATURE, play.steps))
        except Exception:
            continue  # an array game may refuse the whole batch
        played = play.look()
        over = outcome.terminated | outcome.truncated
        over[list(outcome.failed)] = True
        for row in (row for row in wrong if not over[row]):
            if any((before[field][row] != played[field][row]).any() for field in ("view", "legal", "seat")):
                seat, action = int(before["seat"][row, wrong[row]]), int(actions[row, wrong[row]])
                accepted = f"seat {seat} may not play action {action}, yet step plays it: {play.where(row)}"
    if accepted and strict:
        raise Broken(f"The mask and the rules disagree: {accepted}.")
    if accepted:
        return f"Illegal actions are not refused by step itself ({accepted}): whoever calls it must."
    return "" if tried else "Every action was legal in every position that was tried."


def secrets(trial: Trial) -> str:
    """Many deals, played with the same moves: does one seat's view settle what another holds?

    What both see in the same cell counts as public. What is private to another seat leaks where it is settled by my
    view in all deals, though by chance it would not have been.
    """
    spec = trial.game.spec
    if spec.perfect_information or spec.seats == 1:
        return "Nothing is hidden in this game, by its spec."
    if not spec.stochastic:
        return "Not testable: without chance, all that is hidden are moves, and moves cannot be changed unseen."
    keys = mix(trial.keys[0], 2, np.arange(DEALS))
    play, alike = Play(trial.game, keys), np.ones(DEALS, np.bool_)
    testable = False
    for step in range(PLIES + 1):
        alike &= (play.ended == RUNNING) & play.decisions.active.any(axis=1)
        rows = np.flatnonzero(alike)
        if len(rows) < 2:
            break
        seen = views(trial.game, play.states, rows).reshape(len(rows), spec.seats, -1)
        for me, other in ((i, j) for i in range(spec.seats) for j in range(spec.seats) if i != j):
            verdict = _tells(seen[:, me], seen[:, other])
            testable |= verdict is not None
            if verdict:
                raise Broken(
                    f"At step {step} what seat {me} sees settles what only seat {other} should know, in all"
                    f" {len(rows)} deals with the same moves: its view leaks a secret, or perfect_information is True."
                )
        if play.done:
            break
        play.choices[:] = keys[0]  # the same move, where it is legal
        play.advance()
        first = rows[0]
        alike &= (play.actions == play.actions[first]).all(axis=1)
    return "" if testable else f"Not testable: in {DEALS} deals no private cell varied under views that came up again."


def _tells(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool | None:
    """Whether views [n, cells] of mine settle theirs; None where n deals cannot say."""
    private = (mine != theirs).any(axis=0) & (theirs != theirs[0]).any(axis=0)
    if not private.any():
        return None
    secret = [row.tobytes() for row in theirs[:, private]]
    held: dict[bytes, Counter[bytes]] = defaultdict(Counter)
    for view, other in zip(mine, secret, strict=True):
        held[view.tobytes()][other] += 1
    if any(len(secrets) > 1 for secrets in held.values()):
        return False
    again = sum(n * (n - 1) / 2 for n in (sum(secrets.values()) for secrets in held.values()))
    common = sum((n / len(secret)) ** 2 for n in Counter(secret).values())
    return True if again * (1 - common) >= CONFLICTS else None


def words(trial: Trial) -> str:
    """What a terminal shows."""
    game = trial.game
    play = Play(game, trial.few[:2])
    for step in range(game.spec.longest + 1):
        for row in range(len(play.keys)):
            for seat in range(game.spec.seats):
                shown = game.text(play.states, row, seat)
                if not isinstance(shown, str):
                    raise Broken(f"text for seat {seat} is a {type(shown).__name__}: {play.where(row)}.")
            for slot in np.flatnonzero(play.decisions.active[row]).tolist():
                seat, legal = int(play.decisions.seat[row, slot]), np.flatnonzero(play.decisions.legal[row, slot])
                for action in legal[:16].tolist():
                    name = game.action_name(play.states, row, seat, action)
                    if not isinstance(name, str) or not name:
                        raise Broken(f"The name of action {action} of seat {seat} is {name!r}: {play.where(row)}.")
        if play.done or step >= 16:
            break
        play.advance()
    return ""


def mirrors(trial: Trial) -> str:
    """The same game played once as it is and once relabelled, under each declared symmetry."""
    game, spec = trial.game, trial.game.spec
    if not spec.symmetries:
        return "No symmetry is declared."
    if spec.stochastic:
        return "Not testable: chance need not fall symmetrically."
    for number, symmetry in enumerate(spec.symmetries):
        play, other = Play(game, trial.few), Play(game, trial.few)
        renamed = np.append(np.argsort(symmetry.action), NO_ACTION)  # the last: for slots that do not act
        for _ in range(spec.longest):
            if play.done:
                break
            play.advance()
            outcome = game.step(other.states, renamed[play.actions], other.keys)
            other.ended = play.ended.copy()
            expected, found = play.look(), other.look()
            for field, cells in (("view", symmetry.observation), ("legal", symmetry.action)):
                shape = expected[field].shape
                flat = expected[field].reshape(*shape[:2], -1)
                expected[field] = flat[..., cells].reshape(shape)
            same = {field: expected[field] for field in ("view", "legal", "seat", "active")}
            labels = {field: expected[field] for field in ("step", "key")}
            found |= labels
            compare(same | labels, found, f"Relabelled by symmetry {number}")
            if not np.array_equal(outcome.reward, play.outcome.reward):
                row = int(np.argwhere(outcome.reward != play.outcome.reward)[0][0])
                raise Broken(f"Relabelled by symmetry {number}, other rewards are paid: {play.where(row)}.")
    return ""


def author(trial: Trial) -> str:
    """Boards without their adapter, which takes the first seat where several are given, and stops asking at the end."""
    game, spec = trial.game, trial.game.spec
    if not isinstance(game, Lifted):
        return "Not a lifted game."
    play = Play(game, trial.few)
    for _ in range(spec.longest + 1):
        for row, board in enumerate(play.states):
            seats = list(board.single.seats)
            if board.single.over and seats:
                raise Broken(f"The board is over, yet seats {seats} act: {play.where(row)}.")
            if len(set(seats)) < len(seats) or (len(seats) > 1 and not spec.simultaneous):
                raise Broken(f"Seats {seats} act at once, simultaneous is {spec.simultaneous}: {play.where(row)}.")
        if play.done:
            break
        play.advance()
    return ""


def chance(trial: Trial) -> str:
    """The same moves under other keys of nature: without chance the same game, with it as `chance` says."""
    game, spec = trial.game, trial.game.spec
    if spec.stochastic and not spec.searchable:
        return "Not searchable: nobody asks what nature did."
    play = Play(game, trial.few)
    if not spec.stochastic:
        other = Play(game, mix(trial.few, 1))
        other.choices = play.choices
    rows = np.repeat(np.arange(len(trial.few)), WORLDS)
    for _ in range(spec.longest + 1):
        if spec.stochastic:
            worlds = play.fork(rows)
            worlds.keys = mix(worlds.keys, 1, np.arange(len(rows)))
            worlds.advance()
            seen = worlds.look()
            same = _alike(seen, rows)
            compare(pick(seen, same) | {"key": seen["key"]}, seen, "After the same moves and the same chance")
        else:
            before, after = play.look(), other.look()
            compare(before, after | {"key": before["key"]}, "Not declared stochastic, but under another key")
        if play.done:
            break
        play.advance()
        if not spec.stochastic:
            other.advance()
    return ""


def _alike(seen: Picture, rows: Rows) -> Rows:
    """For each world the first one of the same game [n] in which nature did the same."""
    first: dict[tuple[int, int], int] = {}
    pairs = zip(rows.tolist(), seen["chance"].tolist(), strict=True)
    return np.array([first.setdefault(pair, i) for i, pair in enumerate(pairs)])


# Each promise: its name, what holds where it is kept, how to see that it is not, and what must hold to judge it.
PROBES: dict[str, tuple[str, Probe, tuple[str, ...]]] = {
    "author": ("The board's seats, legal actions and rewards are what its spec says.", author, ()),
    "chance": ("Nature does nothing but what the spec and `chance` say.", chance, ("replay",)),
    "company": ("A game does not depend on which others share its batch.", company, ("replay",)),
    "sits out": ("A game that is given no action stays as it is.", sits_out, ("observe", "finished")),
    "restart": ("A restarted game is a new game, and disturbs no other.", restarts, ("replay", "company")),
    "refuses": ("Illegal actions are refused.", refuses, ("observe",)),
    "secrets": ("No view tells what another seat alone may know.", secrets, ("observe",)),
    "words": ("Positions and actions have words for a terminal.", words, ()),
    "symmetries": ("Relabelled by a declared symmetry, the game is the same game.", mirrors, ("replay",)),
}
