"""The league: its members, what they did to each other, and so who meets whom.

It does no I/O and reads no clock: whoever owns the ledger tells it of players and results, in the ledger's order, and
writes down what it proposes. A league that is told the same again proposes the same again, so all that a checkpoint
need keep of it is `next_match`:

    league = League(ledger.teams, seed, mixes, rules, next_match)
    for player in ledger.players(upto).values():
        league.enter(player)
    league.record_all((match, result) for _, match, result in ledger.results(upto=upto))

Two payoffs are kept, as training games say little about strength (they are played with noise, against a moving
target): one of training games, for matchmaking and snapshots, and one of rating games, to see which pairs lack games.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from games.keys import CHOICE, MATCH, mix
from games.names import did_you_mean
from leagues.core import Match, Player, Purpose, Result
from leagues.matchmaking import Mix, Pool, pick
from leagues.payoff import Payoff
from leagues.rules import SnapshotRule


class League:
    """Members, payoffs, and for each learner a mix of opponents and a rule for snapshots."""

    def __init__(
        self,
        teams: Sequence[int],  # [P] which team each seat is on
        seed: int,
        mixes: Mapping[str, Mix],  # for each learner
        rules: Mapping[str, SnapshotRule],  # for each learner
        next_match: int = 0,
        decay: float = 0.99,  # of the payoff that matchmaking reads
        most_frozen: int = 8,  # distinct frozen opponents in one proposal: each costs a network call every step
        roles: bool = False,  # whether the sides of the game differ (see `GameSpec`)
    ) -> None:
        if set(mixes) != set(rules):
            raise ValueError(f"The mixes are for {sorted(mixes)}, but the snapshot rules are for {sorted(rules)}.")
        if most_frozen < 1:
            raise ValueError(f"`most_frozen` must be at least 1, not {most_frozen}.")
        self.players: dict[str, Player] = {}
        self.payoff = Payoff(teams, decay=decay, roles=roles)
        self.rated = Payoff(teams, decay=1.0, roles=roles)
        self.next_match = next_match
        self.teams = len(set(teams))
        self._seed = seed
        self._mixes, self._rules = dict(mixes), dict(rules)
        self._most_frozen = most_frozen
        self._alone: Counter[str] = Counter()  # rating games of each player, in a game of one team

    def enter(self, player: Player) -> None:
        """A new member; the same one again is fine. Raises ValueError for another record under its id."""
        known = self.players.setdefault(player.id, player)
        if known != player:
            raise ValueError(f"Player {player.id} is in the league as {known}, which differs from {player}.")
        if player.live:
            self.payoff.live.add(player.id)

    def record(self, match: Match, result: Result) -> None:
        """Learn from one game; those not played for training or rating change nothing."""
        if match.purpose == "train":
            self.payoff.record(match, result)
        elif match.purpose == "rate":
            self.rated.record(match, result)
            if self.teams == 1:
                self._alone[match.players[0]] += 1

    def record_all(self, results: Iterable[tuple[Match, Result]]) -> None:
        for match, result in results:
            self.record(match, result)

    def snapshots(self, learner: str | None = None) -> list[Player]:
        """Frozen copies of `learner`, or of any learner, oldest first."""
        return [
            player for player in self.players.values() if self._is_snapshot(player) and learner in (None, player.parent)
        ]

    def snapshot_due(self, learner: str, step: int) -> str | None:
        """Why a snapshot of `learner` is due after `step` decisions; None where it is not.

        The first is due at once: the league begins with a copy of each learner as it was born (as in AlphaStar).
        """
        self._check(learner)
        own = self.snapshots(learner)
        if not own:
            return "the learner's first"
        everyone = [player.id for player in self.snapshots()]
        return self._rules[learner].due(learner, step - own[-1].step, everyone, self.payoff)

    def propose(self, learner: str, count: int) -> list[Match]:
        """The next `count` training matches of `learner`, without a number of games.

        Once `most_frozen` distinct frozen opponents are drawn, a further one gives way to a frozen opponent drawn
        earlier, picked from those draws with their repeats, so each keeps about its share.
        """
        self._check(learner)
        pool, chosen_by, earlier = self._pool(learner), self._mixes[learner], list[str]()
        matches = []
        for _ in range(count):
            key = self._next_key()
            opponents = list(chosen_by.opponents(pool, self.teams - 1, key))
            for i, opponent in enumerate(opponents):
                if self.players[opponent].live:
                    continue
                if opponent not in earlier and len(set(earlier)) >= self._most_frozen:
                    opponents[i] = earlier[int(mix(key, self.teams, i)) % len(earlier)]
                earlier.append(opponents[i])
            matches.append(self._match((learner, *opponents), "train", opening=chosen_by.plies(key)))
        return matches

    def rating_matches(self, count: int, games: int, opening: int = 0, anchor: str = "random") -> list[Match]:
        """Up to `count` paired matches of `games` games between frozen players, to rate them.

        Whoever has not met the `anchor` does so first, where the anchor is a member: that ties every rating to it. Then
        pairs are drawn with weight 1 / (1 + their rating games), so new players catch up and every pair meets at last;
        with more than two teams the others join by the same weight. Nobody meets itself; without enough players there
        is no match. Raises ValueError where `games` is not whole round trips of the teams.
        """
        if games < 1 or games % self.teams:
            raise ValueError(f"Rating matches need a positive multiple of {self.teams} games each, not {games}.")
        frozen = [player.id for player in self.players.values() if not player.live]
        if len(frozen) < self.teams:
            return []
        if self.teams == 1:
            return self._rate_alone(frozen, count, games, opening)
        _, met = self.rated.matrix(frozen)
        matches = []
        for _ in range(count):
            table = self._rating_table(met, frozen.index(anchor) if anchor in frozen else None)
            met[np.ix_(table, table)] += games
            names = tuple(frozen[i] for i in table)
            matches.append(self._match(names, "rate", games, opening, paired=True))
        return matches

    def gate_match(self, challenger: str, best: str, games: int, opening: int = 0) -> Match:
        """The next paired match of a challenge (see `leagues.gate`)."""
        return self._match((challenger, best), "gate", games, opening, paired=True)

    def _rating_table(self, met: NDArray[np.int64], anchor: int | None) -> list[int]:
        """Who plays the next rating match: an index for each team, from the games that players have met, [N, N]."""
        key = self._next_key()
        strangers = [] if anchor is None else [i for i in range(len(met)) if i != anchor and not met[i, anchor]]
        if anchor is not None and strangers:
            table = [strangers[0], anchor]
        else:
            one, other = np.triu_indices(len(met), 1)
            pair = pick(1 / (1 + met[one, other]), int(mix(key, 0)))
            table = [int(one[pair]), int(other[pair])]
        while len(table) < self.teams:
            weights = 1 / (1 + met[:, table].sum(axis=1))
            weights[table] = 0
            table.append(pick(weights, int(mix(key, len(table)))))
        return table

    def _rate_alone(self, frozen: list[str], count: int, games: int, opening: int) -> list[Match]:
        """In a game of one team there is nobody to meet: those with the fewest games play, oldest first."""
        played = {name: self._alone[name] for name in frozen}
        matches = []
        for _ in range(count):
            name = min(played, key=lambda name: played[name])
            played[name] += games
            matches.append(self._match((name,), "rate", games, opening, paired=True))
        return matches

    def _pool(self, learner: str) -> Pool:
        frozen = [player for player in self.players.values() if not player.live]
        return Pool(
            learner=learner,
            payoff=self.payoff,
            snapshots=[player.id for player in self.snapshots()],
            own=[player.id for player in self.snapshots(learner)],
            fixed=[player.id for player in frozen if not self._is_snapshot(player)],
            live=[player.id for player in self.players.values() if player.live and player.id != learner],
        )

    def _is_snapshot(self, player: Player) -> bool:
        """A frozen copy of a live member; one brought from elsewhere has a parent too, but not here."""
        return not player.live and player.parent in self.players and self.players[player.parent].live

    def _next_key(self) -> int:
        """For drawing who plays the next match; independent of that match's own seed."""
        return int(mix(self._seed, CHOICE, self.next_match))

    def _match(
        self,
        players: tuple[str, ...],
        purpose: Purpose,
        games: int | None = None,
        opening: int = 0,
        paired: bool = False,
    ) -> Match:
        number = self.next_match
        self.next_match += 1
        return Match(number, players, purpose, int(mix(self._seed, MATCH, number)), games, opening, paired)

    def _check(self, learner: str) -> None:
        if learner not in self._mixes:
            raise ValueError(f"{learner!r} is no learner of this league.{did_you_mean(learner, self._mixes)}")
        if learner not in self.players or not self.players[learner].live:
            raise ValueError(f"Learner {learner} has not entered the league as a live player.")
