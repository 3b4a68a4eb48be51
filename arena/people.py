"""Games that people played, for the ledger of a run: who they were, whom they met, and whether it rates them.

A person's game is a match of its own, of one game, entered by `record` in one go, also while the run goes on in another
process. It changes nothing for the run: people are no members of its league (see `Ledger.add_visit`). Games that belong
to no single run are kept in `runs/people/<game>/`.

    against = pinned("runs/c4:best")                     # before it is loaded: what it names must stay the same
    sitting = Sitting(game, [Occupant("ada"), Occupant(against, load(against).policy)], int(mix(seed, 0)))
    ...                                                  # they play
    print(record("connect_four", game.spec, sitting.occupants, played, seed, sitting.helped).sentence)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.kinds import play_settings, record_of
from arena import checkpoints, players
from arena.config import RESERVED
from arena.players import PlayerError, is_scripted, with_settings
from arena.run import Run, look
from arena.sitting import Occupant, PlayedGame
from arena.standings import leader
from games import GameSpec
from games.keys import mix
from games.names import UserError, did_you_mean, split_settings
from leagues.core import VISITOR, Match, Player, Purpose, Result
from leagues.ledger import Ledger, LedgerError
from leagues.payoff import seats_of_teams

GUEST = "guest"
"""Who played without giving a name."""

NAMELESS = ("", "you", GUEST)
"""What the seat of such a person may be called."""

FOLDER = Path("runs/people")


class WrongName(UserError):
    """Nobody can play under that name. The message is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a person's game."""

    sentence: str  # for the person
    folder: Path | None = None  # the run, or the folder of people's games, whose ledger has it; None: not recorded
    match: int | None = None  # its id there; the game's number in it is 0
    rated: bool = False


def check_name(name: str, run: Path | None = None) -> None:
    """Raises WrongName, with the reason, where a person cannot play under `name` (in `run`). Nameless is fine."""
    if name in NAMELESS:
        return
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise WrongName(f"A name has up to 32 letters, digits, '_' and '-'; {name[:40]!r} has something else.")
    if name.casefold() in RESERVED:
        raise WrongName(f"{name!r} is the name of a kind of player: choose another for yourself.")
    if run is None:
        return
    with look(run) as looked:
        _refuse_taken(name, looked)


def pinned(reference: str) -> str:
    """The same player by a name that keeps its meaning, as a run goes on: a snapshot where `reference` names the best,
    or a learner whose weights as last saved are a snapshot's.

    A learner that has moved on since its last snapshot has no such name and keeps its own. Raises PlayerError where
    there is no such player.
    """
    if is_scripted(reference):
        return reference
    _, player, settings = _parted(reference)
    folder = players.folder_of(reference)
    with look(folder) as run:
        frozen = _frozen_as(run, player)
    return with_settings(f"{folder}:{frozen}", settings) if frozen else reference


def record(
    game: str,
    spec: GameSpec,
    occupants: Sequence[Occupant],  # [P] who held each seat: people, and players by `pinned` references
    played: PlayedGame,
    seed: int,
    helped: Sequence[str] = (),
    run: Path | None = None,
) -> Recorded:
    """Enter a person's game of `game` (its reference, as in `go?board_size=9`), played from the key mix(seed, 0).

    It goes to the ledger of `run`; where none is given, to that of the one run whose players took part, else to that of
    people's games. `helped` says what a player on the ladder cannot do, as in "a hint was used". Raises WrongName as
    `check_name` does, PlayerError where a player is not to be found, and LedgerError where the disk is full.
    """
    if played.key != int(mix(seed, 0)):
        raise ValueError(f"The game was played from the key {played.key}, which is not that of seed {seed}.")
    if not played.finished:
        return Recorded("Not recorded: the game has no end.")
    if all(occupant.policy is not None for occupant in occupants):
        return Recorded("Not recorded: no person took part.")
    home = run or _home(occupants)
    if home is None:
        folder = folder_of(game)
        seats = [_seated(occupant, None) for occupant in occupants]
    else:
        folder = home
        with look(home) as looked:
            seats = [_seated(occupant, looked) for occupant in occupants]
    members = [_team([seats[seat] for seat in team]) for team in seats_of_teams(spec.teams)]
    reasons = [*helped, *_reasons(spec, members)]
    purpose: Purpose = "casual" if reasons else "human"
    match = Match(-1, tuple(member.player.id for member in members), purpose, seed, games=1)
    result = Result(-1, 0, played.returns, played.length, played.truncated, played.moves)
    with _ledger(folder, game if home is None else spec.name, spec) as ledger:
        number = ledger.add_visit([member.player for member in members], match, result)
        games = len(ledger.games([purpose], match.players))
    if reasons:
        return Recorded(f"Kept for replay, not rated: {' and '.join(reasons)}.", folder, number)
    told = "the ladder rates it" if home else f"kept in {folder}"
    return Recorded(f"Recorded as game {games} of {_in_words(members)}; {told}.", folder, number, rated=True)


def folder_of(game: str) -> Path:
    """Where games of `game` are kept that belong to no run."""
    return FOLDER / re.sub(r"[^A-Za-z0-9._-]+", "-", game)


@dataclass(frozen=True, slots=True)
class _Member:
    """Who holds a seat, or a team, as the ledger knows it."""

    player: Player
    people: tuple[str, ...] = ()  # those who are, or are part of, it
    live: tuple[str, ...] = ()  # learners at large


def _seated(occupant: Occupant, home: Run | None) -> _Member:
    """Who holds a seat, for the ledger of the run `home`, or of people's games."""
    if occupant.policy is None:
        name = GUEST if occupant.name in NAMELESS else occupant.name
        check_name(name)
        if home is not None:
            _refuse_taken(name, home)
        return _Member(Player(name, "human", role=VISITOR), (name,))
    if is_scripted(occupant.player):
        return _Member(_scripted(occupant.player, home))
    folder, name, settings = _parted(occupant.player)
    if home is not None and _same(folder, home.folder):
        return _met(home, name, settings)
    with look(folder) as run:
        member = _met(run, name, settings)
    # A run elsewhere may be deleted, and another made under its name; a snapshot's content is its own.
    mark = f"#{member.player.content[:8]}" if member.player.content else ""
    known = replace(member.player, id=f"{folder.as_posix()}:{member.player.id}{mark}", parent="", role=VISITOR)
    return replace(member, player=known, live=(known.id,) if member.live else ())


def _scripted(reference: str, home: Run | None) -> Player:
    """A scripted player as the run has it, if it has it."""
    name, settings = split_settings(reference)
    if "simulations" in settings:  # as `arena.players.load` reads it
        name = f"mcts:{settings['simulations']}"
    player = Player(name, name.partition(":")[0], settings=record_of(name), role=VISITOR)
    return player if home is None else home.ledger.players().get(name, player)


def _met(run: Run, name: str, settings: Mapping[str, Any]) -> _Member:
    """A learned player of `run`: itself, or where it plays by other settings than its own, one of its own name."""
    members = run.ledger.players()
    if name not in members or not (members[name].content or members[name].live):
        hint = did_you_mean(name, [player.id for player in members.values() if player.content])
        raise PlayerError(f"{run.folder} has no player {name!r}, or not one that stays the same: see `pinned`.{hint}")
    player = members[name]
    if settings:
        config = run.config.league.learners[name].agent if player.live else run.store.load(name).config
        own: dict[str, Any] = dict(play_settings(config))
        if config.kind == "alphazero":
            own["simulations"] = config.search.simulations
        other = {key: _plain(settings[key]) for key in sorted(settings) if settings[key] != own.get(key)}
        if other:
            query = "&".join(f"{key}={value}" for key, value in other.items())
            kept = {**player.settings, **other}
            player = replace(player, id=f"{name}?{query}", settings=kept, parent=name, role=VISITOR)
    return _Member(player, live=(player.id,) if player.live else ())


def _team(seats: Sequence[_Member]) -> _Member:
    """Who holds a team: the one who has all its seats, or all together, under a name made of theirs."""
    if len({seat.player.id for seat in seats}) == 1:
        return seats[0]
    ordered = sorted(seats, key=lambda seat: (not seat.people, seat.player.id))
    people = tuple(dict.fromkeys(name for seat in ordered for name in seat.people))
    kind = "human" if people else "team"
    together = Player("+".join(seat.player.id for seat in ordered), kind, role=VISITOR)
    return _Member(together, people, tuple(name for seat in ordered for name in seat.live))


def _reasons(spec: GameSpec, members: Sequence[_Member]) -> list[str]:
    """Why a game rates nobody, as the ends of a sentence."""
    people = [name for member in members for name in member.people]
    learning = dict.fromkeys(name for member in members for name in member.live)
    reasons = ["nobody gave a name"] if people == [GUEST] * len(people) else []
    if GUEST in people and not reasons:
        reasons.append("somebody gave no name")
    reasons += [
        f"{name} was on both sides" for name in dict.fromkeys(people) if name != GUEST and people.count(name) > 1
    ]
    reasons += [f"{name} still learns, so nobody knows whom the game speaks of" for name in learning]
    if spec.roles and spec.competitive:
        reasons.append("the sides of this game differ, so one game from one side compares nobody")
    return reasons


def _in_words(members: Sequence[_Member]) -> str:
    """The first person's side against the others."""
    sides = sorted(members, key=lambda member: not member.people)
    others = " and ".join(member.player.id for member in sides[1:])
    return f"{sides[0].player.id} against {others}" if others else sides[0].player.id


def _home(occupants: Sequence[Occupant]) -> Path | None:
    """The one run whose players took part."""
    references = [each.player for each in occupants if each.policy is not None and not is_scripted(each.player)]
    folders = {folder.resolve(): folder for folder, _, _ in map(_parted, references)}
    return next(iter(folders.values())) if len(folders) == 1 else None


def _ledger(folder: Path, game: str, spec: GameSpec) -> Ledger:
    """The ledger in `folder`, to write; that of people's games is made when the first of them is over."""
    path = folder / "ledger.sqlite"
    if not (folder / "config.yaml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return Ledger.create(path, game, spec.teams)
        except LedgerError:  # there is one, perhaps since a moment ago; if not, opening it says what is wrong
            pass
    return Ledger.open(path, game=game)


def _refuse_taken(name: str, run: Run) -> None:
    known = run.ledger.players(visitors=True)
    if name in run.config.league.learners or (name in known and known[name].kind != "human"):
        raise WrongName(f"{name!r} is a player of {run.folder} already: choose another name for yourself.")


def _frozen_as(run: Run, player: str) -> str | None:
    """The snapshot of `run` that `player` is: the best, a learner as last saved, or itself; None where it is none."""
    members = run.ledger.players()
    if player == "best":
        if (best := leader(run)) is None:
            raise PlayerError(f"No snapshot of {run.folder} has been rated yet: name one, or a learner.")
        return best
    if player not in run.config.league.learners:
        return player
    record, arrays, _ = checkpoints.load(run.resume_folder)
    saved = {name[8:]: array for name, array in arrays[f"learner.{player}"].items() if name.startswith("weights.")}
    step = record["learners"][player]["decisions"]
    for snapshot in members.values():
        if snapshot.parent == player and snapshot.step == step:
            weights = run.store.load(snapshot.id).weights
            if weights.keys() == saved.keys() and all(np.array_equal(weights[name], saved[name]) for name in saved):
                return snapshot.id
    return None


def _parted(reference: str) -> tuple[Path, str, dict[str, Any]]:
    """The run of a player, its name there, and its settings. Raises PlayerError for another kind of reference."""
    try:
        name, settings = split_settings(reference)
    except ValueError as error:
        raise PlayerError(str(error)) from None
    folder, colon, player = name.rpartition(":")
    if not colon:
        raise PlayerError(f"{reference!r} names no player of a run, as runs/c4:main@3 does.")
    return Path(folder), player, settings


def _plain(value: float) -> float:
    """0 for 0.0 as well, so that they are settings of one player."""
    return int(value) if value == int(value) else value


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
