"""The league: it proposes the same when told the same, and its proposals follow its rules."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from leagues import League, Ledger, Match, Mix, Player, Result, SnapshotRule

MAIN = Player("main", "ppo", live=True)
RIVAL = Player("rival", "ppo", role="exploiter", live=True)
RANDOM = Player("random", "random")
EVERYTHING = Mix({"self_play": 0.3, "pfsp": 0.3, "uniform": 0.1, "fixed": 0.2, "live": 0.1}, "variance")
RULE = SnapshotRule(every=100)


def snapshot(number: int, of: str = "main") -> Player:
    return Player(f"{of}@{number}", "ppo", content=f"hash{number}", parent=of, step=number * 100)


def league(
    players: list[Player], teams: tuple[int, ...] = (0, 1), mix: Mix = EVERYTHING, seed: int = 7, most_frozen: int = 8
) -> League:
    learners = [player.id for player in players if player.live]
    made = League(teams, seed, dict.fromkeys(learners, mix), dict.fromkeys(learners, RULE), most_frozen=most_frozen)
    for player in players:
        made.enter(player)
    return made


def play(match: Match, games: int, rng: np.random.Generator) -> list[tuple[Match, Result]]:
    values = rng.integers(-1, 2, games).tolist()
    return [(match, Result(match.id, game, (value, -value), 5)) for game, value in enumerate(values)]


def test_a_league_rebuilt_from_its_ledger_proposes_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    living = League((0, 1), 7, {"main": EVERYTHING, "rival": EVERYTHING}, {"main": RULE, "rival": RULE})
    moments: list[tuple[int, int, list[Match]]] = []  # sequence, next match, what was proposed then
    with Ledger.create(tmp_path / "l.sqlite", "g", (0, 1)) as ledger:
        for player in (MAIN, RIVAL, RANDOM):
            ledger.add_player(player)
            living.enter(player)
        for turn in range(6):
            entering = snapshot(turn, "main" if turn % 2 else "rival")
            ledger.add_player(entering)
            living.enter(entering)
            before = ledger.sequence, living.next_match
            proposed = [*living.propose("main", 6), *living.propose("rival", 3), *living.rating_matches(2, 4)]
            moments.append((*before, proposed))
            for match in proposed:
                ledger.add_matches([match])
                told = play(match, 4, rng)
                ledger.append(result for _, result in told)
                living.record_all(told)
        assert ledger.next_match() == living.next_match
    with Ledger.open(tmp_path / "l.sqlite", read_only=True) as ledger:
        for upto, next_match, proposed in moments:
            rebuilt = League(
                ledger.teams, 7, {"main": EVERYTHING, "rival": EVERYTHING}, {"main": RULE, "rival": RULE}, next_match
            )
            for player in ledger.players(upto).values():
                rebuilt.enter(player)
            rebuilt.record_all((match, result) for _, match, result in ledger.results(upto=upto))
            again = [*rebuilt.propose("main", 6), *rebuilt.propose("rival", 3), *rebuilt.rating_matches(2, 4)]
            assert again == proposed


def test_another_seed_proposes_otherwise() -> None:
    players = [MAIN, RANDOM, *map(snapshot, range(5))]
    one, same, other = (league(players, seed=seed).propose("main", 40) for seed in (7, 7, 8))
    assert one == same
    assert [match.players for match in one] != [match.players for match in other]
    assert not {match.seed for match in one} & {match.seed for match in other}


def test_training_matches_are_open_ended_and_numbered() -> None:
    made = league([MAIN, RANDOM, snapshot(0)])
    proposed = made.propose("main", 5) + made.propose("main", 5)
    assert [match.id for match in proposed] == list(range(10))
    assert made.next_match == 10
    assert len({match.seed for match in proposed}) == 10
    for match in proposed:
        assert (match.purpose, match.games, match.opening, match.paired) == ("train", None, 0, False)
        assert match.players[0] == "main"
        assert set(match.players) <= {"main", "random", "main@0"}


def test_opponents_follow_the_payoff_as_it_changes() -> None:
    made = league([MAIN, snapshot(0), snapshot(1)], mix=Mix({"pfsp": 1}, "squared"))
    even = Counter(match.players[1] for match in made.propose("main", 400))
    assert even["main@0"] == pytest.approx(200, abs=50)
    lost = Match(900, ("main", "main@0"), "train", 1)
    won = Match(901, ("main", "main@1"), "train", 1)
    made.record_all((lost, Result(900, 2 * i, (-1, 1), 3)) for i in range(10))
    made.record_all((won, Result(901, 2 * i, (1, -1), 3)) for i in range(10))
    assert Counter(match.players[1] for match in made.propose("main", 50)) == {"main@0": 50}


def test_only_training_games_steer_matchmaking() -> None:
    made = league([MAIN, snapshot(0)])
    for purpose in ("rate", "gate", "audit", "human"):
        made.record(Match(1, ("main", "main@0"), purpose, 1), Result(1, 0, (1, -1), 3))  # type: ignore[arg-type]
    assert made.payoff.games("main", "main@0") == 0
    assert made.rated.games("main", "main@0") == 1
    made.record(Match(2, ("main", "main@0"), "train", 1), Result(2, 0, (1, -1), 3))
    assert made.payoff.games("main", "main@0") == 1


@pytest.mark.parametrize("teams", [(0, 1), (0, 1, 2, 3)])
def test_a_proposal_holds_few_distinct_frozen_opponents(teams: tuple[int, ...]) -> None:
    shares = Mix({"self_play": 0.2, "uniform": 0.7, "live": 0.1})
    made = league([MAIN, RIVAL, *map(snapshot, range(40))], teams, shares, most_frozen=5)
    seen: set[str] = set()
    drawn: Counter[str] = Counter()
    for _ in range(60):
        names = [name for match in made.propose("main", 40) for name in match.players[1:]]
        frozen = {name for name in names if "@" in name}
        assert len(frozen) <= 5
        seen |= frozen
        drawn.update("frozen" if "@" in name else name for name in names)
    assert len(seen) == 40  # from one proposal to the next all are met
    total = sum(drawn.values())
    assert drawn["frozen"] / total == pytest.approx(0.7, abs=0.04)
    assert drawn["rival"] / total == pytest.approx(0.1, abs=0.03)


def test_the_limit_keeps_each_opponents_share() -> None:
    """Eleven alike, three allowed: over many proposals each is met about as often as any other."""
    made = league([MAIN, *map(snapshot, range(11))], mix=Mix({"uniform": 1}), most_frozen=3)
    drawn: Counter[str] = Counter()
    for _ in range(1500):
        drawn.update(match.players[1] for match in made.propose("main", 16))
    assert min(drawn.values()) > 0.85 * 24_000 / 11
    assert max(drawn.values()) < 1.15 * 24_000 / 11


def test_games_of_one_team_and_of_three() -> None:
    alone = league([MAIN, snapshot(0)], teams=(0, 0))
    assert {match.players for match in alone.propose("main", 10)} == {("main",)}
    three = league([MAIN, RANDOM, snapshot(0)], teams=(0, 1, 2))
    lineups = {match.players for match in three.propose("main", 200)}
    assert lineups == {("main", one, other) for one in three.players for other in three.players}


def test_snapshots_begin_at_birth_and_follow_the_rule() -> None:
    made = league([MAIN, RIVAL, RANDOM])
    assert made.snapshot_due("main", 0) == "the learner's first"
    made.enter(snapshot(0))
    assert made.snapshot_due("main", 99) is None
    assert made.snapshot_due("rival", 99) == "the learner's first"
    assert made.snapshot_due("main", 100) == "100 decisions since the last snapshot"
    made.enter(snapshot(1))
    made.enter(snapshot(0, "rival"))
    assert made.snapshot_due("main", 199) is None
    assert [player.id for player in made.snapshots("main")] == ["main@0", "main@1"]
    assert [player.id for player in made.snapshots()] == ["main@0", "main@1", "rival@0"]


def test_the_win_rate_counts_against_every_snapshot_of_the_league() -> None:
    made = League((0, 1), 1, {"main": EVERYTHING}, {"main": SnapshotRule(None, win_rate=0.6, games=4)})
    for player in (MAIN, snapshot(0), Player("old", "ppo", parent="runs/c4:main@3")):
        made.enter(player)
    assert made.snapshot_due("main", 10) is None
    beats = Match(0, ("main", "main@0"), "train", 1)
    made.record_all((beats, Result(0, 2 * i, (1, -1), 3)) for i in range(4))
    assert made.snapshot_due("main", 10) is not None  # `old` comes from elsewhere: a fixed member, no snapshot
    assert [player.id for player in made.snapshots()] == ["main@0"]


def test_rating_starts_at_the_anchor_and_reaches_every_pair() -> None:
    made = league([MAIN, RANDOM, *map(snapshot, range(5))])
    first = made.rating_matches(5, 4, opening=3)
    assert [match.players for match in first] == [(f"main@{i}", "random") for i in range(5)]
    assert {(match.purpose, match.games, match.opening, match.paired) for match in first} == {("rate", 4, 3, True)}
    rng = np.random.default_rng(0)
    for match in first:
        made.record_all(play(match, 4, rng))
    met = Counter(frozenset(match.players) for match in first)
    for _ in range(20):
        for match in made.rating_matches(2, 4):
            assert len(set(match.players)) == 2
            assert "main" not in match.players
            met[frozenset(match.players)] += 1
            made.record_all(play(match, 4, rng))
    assert len(met) == 15
    assert set(met.values()) <= {2, 3, 4, 5}  # 45 matches, 3 a pair: drawn blindly, some pairs would have 0 or 7
    made.enter(snapshot(5))
    assert made.rating_matches(1, 4)[0].players == ("main@5", "random")


def test_one_call_counts_the_games_it_has_just_proposed() -> None:
    made = league([MAIN, RANDOM, *map(snapshot, range(3))])
    pairs = Counter(frozenset(match.players) for match in made.rating_matches(60, 1000))
    assert len(pairs) == 6
    assert sum(count for pair, count in pairs.items() if "random" in pair) >= 3
    made = league([MAIN, *map(snapshot, range(3))])  # the anchor is no member
    pairs = Counter(frozenset(match.players) for match in made.rating_matches(3, 10**9))
    assert set(pairs.values()) == {1}


def test_rating_in_games_of_three_and_of_one() -> None:
    three = league([MAIN, RANDOM, *map(snapshot, range(4))], teams=(0, 1, 2))
    proposed = three.rating_matches(60, 3)
    assert all(len(set(match.players)) == 3 for match in proposed)
    assert {name for match in proposed for name in match.players} == {"random", *(f"main@{i}" for i in range(4))}
    assert league([MAIN, RANDOM, snapshot(0)], teams=(0, 1, 2, 3)).rating_matches(5, 4) == []
    alone = league([MAIN, RANDOM, snapshot(0)], teams=(0, 0))
    alone.record(Match(90, ("random",), "rate", 1), Result(90, 0, (1.0, 1.0), 3))
    assert [match.players for match in alone.rating_matches(3, 1)] == [("main@0",), ("random",), ("main@0",)]


def test_gate_matches_are_paired_and_numbered_with_the_others() -> None:
    made = league([MAIN, snapshot(0), snapshot(1)])
    before = made.propose("main", 2)
    match = made.gate_match("main@1", "main@0", 6, opening=2)
    assert (match.id, match.players, match.purpose) == (2, ("main@1", "main@0"), "gate")
    assert (match.games, match.opening, match.paired) == (6, 2, True)
    assert match.seed not in {other.seed for other in before}
    assert made.propose("main", 1)[0].id == 3


def test_what_is_refused() -> None:
    made = league([MAIN, snapshot(0)])
    with pytest.raises(ValueError, match=r"'mian' is no learner of this league. Did you mean 'main'\?"):
        made.propose("mian", 1)
    with pytest.raises(ValueError, match="has not entered the league as a live player"):
        League((0, 1), 1, {"main": EVERYTHING}, {"main": RULE}).propose("main", 1)
    with pytest.raises(ValueError, match="Player main@0 is in the league as"):
        made.enter(Player("main@0", "ppo", content="x", parent="main"))
    with pytest.raises(ValueError, match="positive multiple of 2 games each, not 5"):
        made.rating_matches(1, 5)
    with pytest.raises(ValueError, match=r"mixes are for \['main'\], but the snapshot rules are for \[\]"):
        League((0, 1), 1, {"main": EVERYTHING}, {})
    with pytest.raises(ValueError, match="`most_frozen` must be at least 1, not 0"):
        league([MAIN], most_frozen=0)
    made.enter(snapshot(0))
    assert made.rating_matches(3, 2) == []  # one frozen player has nobody to meet


def test_where_sides_have_roles_matchmaking_sees_who_is_better_on_a_side() -> None:
    """The learner is above main@1 on both sides and below main@0, though the second side always returns less."""
    mix, rule = Mix({"pfsp": 1}, "squared"), SnapshotRule(None, win_rate=0.6, games=4)
    made = League((0, 1), 7, {"main": mix}, {"main": rule}, roles=True)
    for player in (MAIN, snapshot(0), snapshot(1)):
        made.enter(player)
    worse, better = Match(900, ("main", "main@0"), "train", 1), Match(901, ("main", "main@1"), "train", 1)
    for trip in range(5):
        for match, returns in ((worse, [(1.0, -5.0), (3.0, -8.0)]), (better, [(3.0, -8.0), (1.0, -5.0)])):
            made.record_all((match, Result(match.id, 2 * trip + i, earned, 3)) for i, earned in enumerate(returns))
    assert made.payoff.score("main", "main@0") == 0
    assert made.payoff.score("main", "main@1") == 1
    assert Counter(match.players[1] for match in made.propose("main", 50)) == {"main@0": 50}
    rated = Match(902, ("main@0", "main@1"), "rate", 1, paired=True)
    made.record_all((rated, Result(902, i, (2.0 - i, -9.0), 3)) for i in range(2))
    assert made.rated.tally("main@0", "main@1") == (1, 1, 0)
