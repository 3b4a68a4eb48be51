import itertools
import math

import choix
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from arena.elo import (
    ELO,
    Tally,
    Z,
    elo_of_score,
    fit,
    mean_interval,
    mean_returns,
    pair_score_interval,
    penalised,
    score_interval,
    tally,
    virtual_games,
)
from games.keys import generator


def won(winner, loser, times=1):
    """Rows of games that `winner`, sitting first, won."""
    return [((winner, loser), (1.0, -1.0))] * times


def drawn(a, b, times=1):
    return [((a, b), (0.0, 0.0))] * times


def play(truth, first, second, games, advantage, nu, rng):
    """A tally of `games` between each (first, second), from the model itself, written out independently of it."""
    gap = (truth[first] - truth[second] + advantage) / ELO
    odds = np.stack([np.exp(gap), nu * np.exp(gap / 2), np.ones_like(gap)], axis=1)
    counts = rng.multinomial(games, odds / odds.sum(axis=1, keepdims=True)).astype(float)
    n = len(truth)
    played = games * (np.bincount(first, minlength=n) + np.bincount(second, minlength=n))
    return Tally(tuple(f"p{i:02}" for i in range(n)), first, second, *counts.T, played)


def everybody(n):
    return np.array(list(itertools.permutations(range(n), 2))).T


def some_tally(seed=3, n=5, games=6):
    rng = generator(seed)
    return play(rng.normal(0, 150, n), *everybody(n), games, 40.0, 0.6, rng)


def coverage(tournaments, seed, anchored):
    """Share of 95% intervals that hold the truth: ratings of 12 players, and the seat advantage."""
    held, seat = [], []
    for number in range(tournaments):
        rng = generator(seed + number)
        truth, advantage, nu = rng.normal(0, 200, 12), rng.normal(0, 60), math.exp(rng.normal(-0.5, 0.7))
        counts = play(truth, *everybody(12), 5, advantage, nu, rng)
        ratings = fit(counts, anchor="p00" if anchored else None)
        expected = truth - (truth[0] if anchored else truth.mean())
        inside = (ratings.low <= expected) & (expected <= ratings.high)
        held.append(inside[1:].mean() if anchored else inside.mean())
        seat.append(ratings.advantage[1] <= advantage <= ratings.advantage[2])
    return np.mean(held), np.mean(seat)


def test_tally_counts_ordered_pairs_from_the_first_seat():
    rows = [*won("b", "a", 3), *drawn("b", "a"), (("a", "b"), (-1.0, 1.0)), (("a", "a"), (1.0, -1.0))]
    counts = tally(rows, players=["z"])
    assert counts.players == ("a", "b", "z")
    found = {
        (counts.players[i], counts.players[j]): (w, d, l)
        for i, j, w, d, l in zip(counts.first, counts.second, counts.wins, counts.draws, counts.losses, strict=True)
    }
    assert found == {("b", "a"): (3, 1, 0), ("a", "b"): (0, 0, 1)}
    assert counts.games.tolist() == [5, 5, 0]


def test_tally_reads_many_teams_pairwise():
    counts = tally([(("a", "b", "c"), (3.0, 3.0, 1.0))])
    weight = 3 / 4  # 3 / (k + 1)
    assert counts.wins.tolist() == [0, weight, weight]
    assert counts.draws.tolist() == [weight, 0, 0]
    assert counts.losses.tolist() == [0, 0, 0]
    assert counts.games.tolist() == [1, 1, 1]


def test_a_self_pairing_in_a_larger_game_is_skipped():
    counts = tally([(("a", "a", "b"), (2.0, 1.0, 0.0))])
    assert counts.players == ("a", "b")
    assert counts.wins.sum() == 2 * 3 / 4
    assert counts.games.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((("a", "b"), (1.0,)), "1 returns are given for 2 players"),
        ((("a", "b"), (math.nan, 0.0)), "must be finite numbers"),
        ((("a", "b"), (math.inf, -math.inf)), "must be finite numbers"),
        ((("a", "b"), (None, 0.0)), "must be finite numbers"),
        ((("a", "b"), ("won", "lost")), "must be finite numbers"),
        ((("", "b"), (1.0, 0.0)), "'' is no player"),
        (((None, "b"), (1.0, 0.0)), "None is no player"),
    ],
)
def test_odd_rows_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        tally([row])


def test_gradient_and_hessian_are_those_of_the_value():
    counts, rng = some_tally(), generator(1)
    theta = rng.normal(0, 1, len(counts.players) + 2)
    _, gradient, hessian = penalised(theta, counts, 1.0)
    step = 1e-5
    for k in range(len(theta)):
        up, down = theta.copy(), theta.copy()
        up[k] += step
        down[k] -= step
        above, below = penalised(up, counts, 1.0), penalised(down, counts, 1.0)
        assert gradient[k] == pytest.approx((above[0] - below[0]) / (2 * step), rel=1e-6, abs=1e-6)
        np.testing.assert_allclose(hessian[k], (below[1] - above[1]) / (2 * step), rtol=1e-5, atol=1e-5)


def test_fit_is_the_optimum_of_the_likelihood_written_out():
    counts = some_tally()
    n, virtual = len(counts.players), virtual_games(counts, 1.0)

    def loss(theta):
        total, (r, a, tie) = 0.0, (theta[:n], theta[n], theta[n + 1])
        for row, (i, j) in enumerate(zip(counts.first, counts.second, strict=True)):
            weight = [math.exp(r[i] + a), math.exp(tie + (r[i] + a + r[j]) / 2), math.exp(r[j])]
            seen = (counts.wins[row], counts.draws[row], counts.losses[row])
            total -= sum(s * math.log(w / sum(weight)) for s, w in zip(seen, weight, strict=True))
            total -= virtual[row] / 2 * sum(math.log(1 / (1 + math.exp(d))) for d in (r[i] - r[j], r[j] - r[i]))
        total -= 0.02 / 2 * sum(math.log(1 / (1 + math.exp(d))) for x in r for d in (x, -x))
        equals = math.log(math.exp(a) + math.exp(tie + a / 2) + 1)
        return total - 0.5 * (a + tie + a / 2) + 1.5 * equals

    best = scipy.optimize.minimize(loss, np.zeros(n + 2), method="BFGS", options={"gtol": 1e-7})
    ratings = fit(counts)
    np.testing.assert_allclose(ratings.elo, ELO * (best.x[:n] - best.x[:n].mean()), atol=0.01)
    assert ratings.advantage[0] == pytest.approx(ELO * best.x[n], abs=0.01)
    assert ratings.draw == pytest.approx(math.exp(best.x[n + 1]), rel=1e-4)


def test_agrees_with_choix_without_draws_and_seats():
    rng = generator(8)
    games = [(i, j) for i, j in itertools.permutations(range(6), 2) for _ in range(rng.integers(5, 30))]
    rows = [row for i, j in games for row in (*won(f"p{i}", f"p{j}"), ((f"p{j}", f"p{i}"), (-1.0, 1.0)))]
    ratings = fit(tally(rows), prior=1e-6)
    reference = choix.opt_pairwise(6, games, alpha=1e-9)
    np.testing.assert_allclose(ratings.elo, ELO * (reference - reference.mean()), atol=0.05)
    assert ratings.advantage[0] == pytest.approx(0, abs=1e-6)


def test_the_prior_spreads_its_games_over_real_opponents():
    counts = tally([*won("a", "b", 30), *won("b", "c", 10)])
    np.testing.assert_allclose(virtual_games(counts, 1.0), [0.5 * 30 * (1 / 30 + 1 / 40), 0.5 * 10 * (1 / 40 + 1 / 10)])
    assert virtual_games(counts, 2.0).sum() == pytest.approx(2 * 3 / 2)  # two for each player, shared by both sides


def test_three_quarters_of_the_points_are_about_200_elo():
    rows = [*won("a", "b", 3800), *[(("b", "a"), (0.0, 1.0))] * 3800]
    rows += [*won("b", "a", 1200), *[(("a", "b"), (0.0, 1.0))] * 1200]
    ratings = fit(tally(rows), anchor="b")
    assert ratings.elo[0] == pytest.approx(200, abs=1)
    assert ratings.expected_score("a", "b") == pytest.approx(0.76, abs=1e-3)
    assert elo_of_score(0.76) == pytest.approx(200, abs=1)
    assert elo_of_score(0.5) == 0
    assert elo_of_score(1.0) == -elo_of_score(0.0) == math.inf


def test_the_seat_advantage_is_found_and_does_not_leak_into_ratings():
    rows = [*won("a", "b", 70), *won("b", "a", 70), *[(("a", "b"), (0.0, 1.0))] * 30, *[(("b", "a"), (0.0, 1.0))] * 30]
    ratings = fit(tally(rows))
    np.testing.assert_allclose(ratings.elo, 0, atol=1e-9)
    value, low, high = ratings.advantage
    assert value == pytest.approx(elo_of_score(0.7), abs=2)
    assert 0 < low < value < high


def test_swapping_who_sits_first_turns_the_advantage_round():
    rows = [*won("a", "b", 9), *drawn("b", "a", 4), *won("b", "c", 7), *won("c", "a", 3), *drawn("c", "b", 2)]
    ours, turned = fit(tally(rows)), fit(tally((names[::-1], returns[::-1]) for names, returns in rows))
    np.testing.assert_allclose(ours.elo, turned.elo, atol=1e-6)
    np.testing.assert_allclose(ours.covariance, turned.covariance, atol=1e-4)
    assert ours.advantage[0] == pytest.approx(-turned.advantage[0])


def test_the_order_of_players_and_games_does_not_matter():
    rows = [*won("a", "b", 9), *drawn("b", "a", 4), *won("b", "c", 7), *won("c", "a", 3)]
    ours, other = fit(tally(rows, ["a", "b", "c"])), fit(tally(rows[::-1], ["c", "a", "b"]))
    assert ours.players == other.players
    np.testing.assert_array_equal(ours.elo, other.elo)
    renamed = {"a": "z", "b": "y", "c": "x"}
    turned = fit(tally((tuple(renamed[name] for name in names), returns) for names, returns in rows))
    np.testing.assert_allclose(turned.elo[::-1], ours.elo, atol=1e-8)


def test_an_anchor_shifts_ratings_and_keeps_differences():
    counts = some_tally()
    pool, anchored = fit(counts), fit(counts, anchor="p02")
    place = counts.players.index("p02")
    np.testing.assert_allclose(anchored.elo, pool.elo - pool.elo[place])
    assert anchored.low[place] == pytest.approx(0, abs=1e-4)
    assert anchored.high[place] == pytest.approx(0, abs=1e-4)
    assert pool.elo.mean() == pytest.approx(0)
    np.testing.assert_allclose(anchored.spread, pool.spread)
    np.testing.assert_allclose(pool.high - pool.elo, pool.spread)
    assert anchored.difference("p00", "p01") == pytest.approx(pool.difference("p00", "p01"))
    np.testing.assert_allclose(
        np.stack([anchored.elo, anchored.low, anchored.high], axis=1),
        [pool.difference(player, "p02") for player in counts.players],
        atol=1e-4,
    )


def test_superiority_and_expected_score_are_odds():
    counts = some_tally()
    ratings = fit(counts)
    gap, low, high = ratings.difference("p00", "p01")
    error = (high - low) / (2 * Z)
    assert ratings.superiority("p00", "p01") == pytest.approx(scipy.stats.norm.cdf(gap / error))
    assert ratings.superiority("p00", "p01") + ratings.superiority("p01", "p00") == pytest.approx(1)
    assert ratings.superiority("p00", "p00") == 0.5
    assert ratings.expected_score("p00", "p01") + ratings.expected_score("p01", "p00") == pytest.approx(1)


def test_names_that_are_not_there_are_refused_with_the_nearest():
    counts = tally(won("main@1", "random"))
    with pytest.raises(ValueError, match=r"No player called 'randon' is rated\. Did you mean 'random'"):
        fit(counts, anchor="randon")
    with pytest.raises(ValueError, match="Did you mean 'main@1'"):
        fit(counts).superiority("main@2", "random")
    with pytest.raises(ValueError, match="prior is 0"):
        fit(counts, prior=0)


ODD_POOLS = {
    "nobody": ([], []),
    "a single player": ([], ["a"]),
    "only itself": (won("a", "a", 10), ["a"]),
    "100-0": (won("a", "b", 100), []),
    "100-0, seats swapped": (won("a", "b", 50) + [(("b", "a"), (-1.0, 1.0))] * 50, []),
    "only draws": (drawn("a", "b", 10) + drawn("b", "a", 10), []),
    "the first always wins": (won("a", "b", 100) + won("b", "a", 100), []),
    "disconnected": (won("a", "b", 5) + won("c", "d", 5), []),
    "a cycle": (won("a", "b", 5) + won("b", "c", 5) + won("c", "a", 5), []),
    "no games": (won("a", "b", 5) + won("b", "a", 5), ["newcomer"]),
    "a huge count": (won("a", "b", 20_000), []),
}


@pytest.mark.parametrize("name", ODD_POOLS)
def test_odd_pools_have_finite_ratings(name):
    rows, players = ODD_POOLS[name]
    counts = tally(rows, players)
    for anchor in (None, *counts.players[:1]):
        ratings = fit(counts, anchor=anchor)
        for values in (ratings.elo, ratings.low, ratings.high, ratings.covariance, ratings.advantage, [ratings.draw]):
            assert np.isfinite(values).all()
        assert np.linalg.eigvalsh(ratings.covariance).min(initial=0) > -1e-3 * np.abs(ratings.covariance).max(initial=1)


def test_odd_pools_have_the_errors_they_deserve():
    pools = {name: fit(tally(*pool)) for name, pool in ODD_POOLS.items()}
    gap, low, high = pools["100-0, seats swapped"].difference("a", "b")
    assert gap > 600
    assert low > 300
    assert high - low > 600
    gap, low, high = pools["disconnected"].difference("a", "c")
    assert gap == pytest.approx(0, abs=1e-6)
    assert high - low > 4000
    assert pools["only draws"].elo == pytest.approx([0, 0])
    assert pools["only draws"].draw > 10
    assert pools["a cycle"].elo == pytest.approx([0, 0, 0], abs=1e-6)
    assert pools["the first always wins"].advantage[1] > 300
    _, low, high = pools["no games"].difference("newcomer", "a")
    assert high - low > 4000
    known = fit(tally(ODD_POOLS["no games"][0]))
    newcomer = pools["no games"].players.index("newcomer")
    np.testing.assert_allclose(np.delete(pools["no games"].high, newcomer), known.high, atol=0.5)


@pytest.mark.parametrize("anchored", [False, True])
def test_intervals_cover_the_truth_93_to_97_times_in_100(anchored):
    held, seat = coverage(1000, 5000, anchored)
    assert 0.93 < held < 0.97
    assert 0.93 < seat < 0.97


def test_a_long_chain_is_not_pulled_together():
    rng, n, slope = generator(4), 40, []
    truth = np.arange(n) * 50.0
    first, second = (axis[abs(np.subtract(*everybody(n))) == 1] for axis in everybody(n))
    for _ in range(20):
        ratings = fit(play(truth, first, second, 20, 0.0, 0.5, rng))
        slope.append(np.polyfit(truth, ratings.elo, 1)[0])
    # Known to 0.04. One virtual game a player against a common point instead would make it 0.17.
    assert 0.8 < np.mean(slope) < 1.1


def test_games_of_four_are_not_taken_for_six_independent_results():
    rng, held = generator(6), []
    truth = {"a": 60.0, "b": 20.0, "c": -20.0, "d": -60.0}
    for _ in range(150):
        rows = []
        for _ in range(60):
            # The order of finish by Plackett and Luce's model: who has the shortest of exponential clocks wins.
            names = rng.permutation(list(truth)).tolist()
            clocks = [rng.exponential() / math.exp(truth[name] / ELO) for name in names]
            rows.append((names, [-clock for clock in clocks]))
        ratings = fit(tally(rows))
        held.append(np.mean([ratings.low[i] <= truth[p] <= ratings.high[i] for i, p in enumerate(ratings.players)]))
    assert 0.92 < np.mean(held) < 0.975  # counted as six each, games would give 0.88


def test_mean_returns_have_students_interval():
    rng = generator(2)
    samples = {f"p{n}": rng.normal(3, 2, n) for n in (2, 3, 4, 5, 12, 200)}
    means = mean_returns([((name,), (float(x),)) for name, values in samples.items() for x in values])
    for i, name in enumerate(means.players):
        values = samples[name]
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, values.mean(), scipy.stats.sem(values))
        assert means.mean[i] == pytest.approx(values.mean())
        assert (means.low[i], means.high[i]) == pytest.approx((low, high), abs=2e-3 * (high - low))
        assert means.games[i] == len(values)


def test_mean_returns_of_odd_samples():
    means = mean_returns(
        [(("once",), (4.0,)), (("same",), (2.0,)), (("same",), (2.0,)), (("twin", "twin"), (1.0, 3.0))]
    )
    once, same, twin = range(3)
    assert means.players == ("once", "same", "twin")
    assert (means.low[once], means.high[once]) == (-math.inf, math.inf)
    assert (means.low[same], means.high[same]) == (2, 2)
    assert (means.mean[twin], means.games[twin]) == (2, 1)  # one game, not two samples of it
    assert means.superiority("once", "same") == 0.5  # nothing is known
    assert mean_returns([]).players == ()
    with pytest.raises(ValueError, match="must be finite"):
        mean_returns([(("a",), (math.nan,))])


@pytest.mark.parametrize(("wins", "games"), [(0, 1), (1, 1), (7, 10), (100, 100), (0, 100), (513, 1000)])
def test_score_interval_without_draws_is_wilsons(wins, games):
    found = score_interval(wins, 0, games - wins)
    wilson = scipy.stats.binomtest(wins, games).proportion_ci(0.95, "wilson")
    assert found == pytest.approx((wins / games, wilson.low, wilson.high), abs=1e-8)


def test_score_interval_with_draws_inverts_the_score_test():
    wins, draws, losses = 12, 30, 5
    games, found = wins + draws + losses, score_interval(wins, draws, losses)
    for end in (found.low, found.high):
        delta = 2 * end - 1

        def unlikely(loss, delta=delta):
            return -(wins * math.log(loss + delta) + losses * math.log(loss) + draws * math.log(1 - 2 * loss - delta))

        inside = (max(0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12)
        loss = scipy.optimize.minimize_scalar(unlikely, bounds=inside, method="bounded", options={"xatol": 1e-12}).x
        statistic = (wins - losses - games * delta) / math.sqrt(games * (2 * loss + delta * (1 - delta)))
        assert abs(statistic) == pytest.approx(Z, rel=1e-4)


def test_score_interval_at_the_edges():
    assert score_interval(0, 0, 0) == (0.5, 0.0, 1.0)
    score, low, high = score_interval(0, 10, 0)
    assert score == 0.5
    assert 0.3 < low < 0.45
    assert high == pytest.approx(1 - low)
    assert score_interval(100, 0, 0).low < 0.97
    with pytest.raises(ValueError, match="losses is -1"):
        score_interval(1, 1, -1)
    with pytest.raises(ValueError, match="draws is nan"):
        score_interval(1, math.nan, 1)


def test_score_interval_covers_the_truth():
    rng = generator(11)
    for win, draw in ((0.5, 0.2), (0.3, 0.6), (0.85, 0.1)):
        truth, held = win + draw / 2, []
        for counts in rng.multinomial(40, [win, draw, 1 - win - draw], size=600).tolist():
            _, low, high = score_interval(*counts)
            held.append(low <= truth <= high)
        assert 0.92 < np.mean(held) < 0.98


def test_pairs_are_the_sample():
    even = pair_score_interval([0.5] * 50)  # a win and a loss in every pair
    single = score_interval(50, 0, 50)
    assert even.high - even.low < (single.high - single.low) / 3
    assert pair_score_interval([1.0] * 50).low < 0.95
    assert pair_score_interval([]) == (0.5, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"1\.5 was given"):
        pair_score_interval([1.5])


def test_pair_score_interval_covers_the_truth():
    rng, values = generator(12), np.array([0, 0.25, 0.5, 0.75, 1])
    for odds in ([0.02, 0.1, 0.76, 0.1, 0.02], [0.25, 0, 0.5, 0, 0.25], [0, 0, 0.1, 0.2, 0.7]):
        held = []
        for _ in range(600):
            _, low, high = pair_score_interval(rng.choice(values, 60, p=odds).tolist())
            held.append(low <= values @ np.array(odds) <= high)
        assert 0.92 < np.mean(held) < 0.985


def by_side(wins, draws, losses):
    """Sides of round trips between a and b, in which a sat in the first and in the second of the games as often."""
    for game, gain in enumerate([1.0] * wins + [0.0] * draws + [-1.0] * losses):
        names, returns = ("a", "b"), (-9.0 + gain, -9.0)
        yield (names, returns) if game % 2 == 0 else (names[::-1], returns[::-1])


def test_sides_of_round_trips_have_no_order_and_count_half():
    """Of zero-sum games both sides of a round trip say the same, so two count as one game."""
    counts = tally(by_side(12, 4, 4), by_side=True)
    assert counts.players == ("a", "b")
    assert (counts.first.tolist(), counts.second.tolist()) == ([0, 1], [1, 0])
    assert counts.wins.tolist() == [3, 1]
    assert counts.draws.tolist() == [1, 1]
    assert counts.losses.tolist() == [1, 3]
    assert counts.games.tolist() == [20, 20]
    found = fit(counts)
    assert found.advantage[0] == pytest.approx(0, abs=1e-9)
    turned = fit(tally([(names[::-1], returns[::-1]) for names, returns in by_side(12, 4, 4)], by_side=True))
    assert turned.difference("a", "b") == pytest.approx(found.difference("a", "b"))
    even = fit(tally([*by_side(6, 2, 2), *((n[::-1], r[::-1]) for n, r in by_side(6, 2, 2))]))  # 20 games, both orders
    assert found.difference("a", "b")[0] == pytest.approx(even.difference("a", "b")[0], rel=0.1)
    widths = [high - low for _, low, high in (found.difference("a", "b"), even.difference("a", "b"))]
    assert widths[0] / widths[1] == pytest.approx(2**0.5, rel=0.1)


def test_players_without_any_game_by_side_are_rated_too():
    found = fit(tally([], ["a", "b"], by_side=True))
    assert found.elo.tolist() == [0, 0]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_sides_of_a_round_trip_count_as_much_as_they_tell(k):
    """The points of equals in zero-sum round trips, against those of as many independent pairs, by brute force."""
    rng = generator(k)
    returns = rng.normal(size=(20_000, k, k))  # round trip, game, side
    returns -= returns.mean(axis=2, keepdims=True)
    sides = np.arange(k)
    mine = returns[:, (0 - sides) % k, sides]  # of the player on side 0 in game 0
    points = sum((mine > returns[:, (j - sides) % k, sides]).sum(axis=1) for j in range(1, k))
    independent = k * (k - 1) / 4
    weight = 3 / (k + 1) * (k - 1) / k
    assert 0.9 < points.var() / (independent / weight) < 1.03, "with more than two a little on the safe side"
    counts = tally([(tuple("abcd"[:k]), tuple(map(float, range(k))))], by_side=True)
    assert (counts.wins + counts.losses).sum() == pytest.approx(weight * k * (k - 1) / 2)


def test_the_interval_of_a_mean():
    values = [1.0, 4.0, 4.5, 7.0, -2.0]
    found = mean_interval(values)
    assert found.mean == 2.9
    assert (found.low, found.high) == pytest.approx(
        scipy.stats.t.interval(0.95, 4, 2.9, scipy.stats.sem(values)), rel=1e-3
    )
    assert mean_interval([3.0]) == (3.0, -math.inf, math.inf, math.inf)
