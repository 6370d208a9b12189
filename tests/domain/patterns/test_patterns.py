"""Pattern rules: what each finds, what it leaves alone, and that the order of rows means nothing."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.patterns.rules import find_patterns, totals_of_joins, totals_of_users
from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.feature_tables import ProfileTable
from ray_fraud.domain.patterns import coordinated as coordinated_rule
from ray_fraud.domain.patterns import frequency as frequency_rule
from ray_fraud.domain.patterns import geographic
from ray_fraud.domain.patterns import temporal as temporal_rule
from ray_fraud.domain.patterns.columns import PatternColumns
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.domain.patterns.poisson import poisson_tail, surprising, surprising_count
from ray_fraud.domain.patterns.runs import dense, episodes
from ray_fraud.domain.patterns.settings import (
    CoordinatedSettings,
    FrequencySettings,
    GeographicSettings,
    PatternSettings,
    TemporalSettings,
)
from ray_fraud.domain.patterns.totals import Totals
from tests.domain.patterns.pattern_samples import DAY, HOUR, MINUTE, START, Tx, columns_of, habits

ODD_DAY = 25 * DAY


def totals_of(columns: PatternColumns, settings: PatternSettings) -> Totals:
    return totals_of_users(columns, settings) + totals_of_joins(columns, settings)


def frequency(columns: PatternColumns, settings: FrequencySettings) -> list[Finding]:
    totals = totals_of(columns, PatternSettings(frequency=settings))
    return frequency_rule.frequency(columns, settings, totals)


def geographic_clusters(columns: PatternColumns, settings: GeographicSettings) -> list[Finding]:
    totals = totals_of(columns, PatternSettings(geographic=settings))
    return geographic.geographic_clusters(columns, settings, totals)


def temporal(
    columns: PatternColumns, settings: TemporalSettings, profiles: ProfileTable | None = None
) -> list[Finding]:
    totals = totals_of(columns, PatternSettings(temporal=settings))
    return temporal_rule.temporal(columns, settings, totals, profiles or ProfileTable())


def coordinated(columns: PatternColumns, settings: CoordinatedSettings) -> list[Finding]:
    totals = totals_of(columns, PatternSettings(coordinated=settings))
    return coordinated_rule.coordinated(columns, settings, totals)


def of(findings: list[Finding], rule: RuleName) -> list[Finding]:
    return [finding for finding in findings if finding.rule is rule]


def test_no_rows_no_findings() -> None:
    assert find_patterns(columns_of([]), PatternSettings()) == []


def test_a_quiet_life_breaks_no_rule() -> None:
    rows = [row for user in range(1, 30) for row in habits(user)]
    assert find_patterns(columns_of(rows), PatternSettings()) == []


def test_many_small_amounts_of_one_user_are_found_with_their_numbers() -> None:
    tests = [Tx(7, ODD_DAY + number * 15_000, 5.0 + number % 4) for number in range(15)]
    rows = [*habits(7), *habits(8), *tests]
    (finding,) = of(frequency(columns_of(rows), FrequencySettings()), RuleName.SMALL_AMOUNTS)
    assert (finding.subject, finding.users) == ("user:7", (7,))
    assert sorted(finding.rows) == list(range(len(rows) - 15, len(rows)))
    assert "15 amounts up to 8.00 in 3.5 min" in finding.reason
    assert finding.window_start_ms == START + ODD_DAY


def test_many_transactions_of_one_user_are_found() -> None:
    spree = [Tx(7, ODD_DAY + number * 20_000, 90.0) for number in range(25)]
    (finding,) = of(frequency(columns_of([*habits(7), *spree]), FrequencySettings()), RuleName.FREQUENCY)
    assert len(finding.rows) == 25


def test_a_window_does_not_vouch_for_its_own_normality() -> None:
    """The attack is a quarter of these twenty minutes: a rate that counts it would excuse it."""
    others = [Tx(user, user * 30_000, 6.0) for user in range(40)]
    tests = [Tx(99, 10 * MINUTE + number * 15_000, 5.0) for number in range(15)]
    findings = frequency(columns_of([*others, *tests]), FrequencySettings())
    (finding,) = of(findings, RuleName.SMALL_AMOUNTS)
    assert finding.users == (99,)


def test_a_user_who_is_always_that_busy_is_left_alone() -> None:
    rows = [Tx(7, number * 20_000, 9.0) for number in range(20_000)]
    assert frequency(columns_of(rows), FrequencySettings()) == []


def test_one_short_of_the_count_is_not_enough() -> None:
    few = [Tx(7, ODD_DAY + number * 15_000, 5.0) for number in range(FrequencySettings().small_count - 1)]
    assert frequency(columns_of([*habits(7), *few]), FrequencySettings()) == []


def test_a_crowd_in_a_place_that_is_usually_empty_is_found() -> None:
    usual = [Tx(user, day * DAY + 12 * HOUR, cell="square") for day in range(30) for user in range(12)]
    crowd = [Tx(100 + user, ODD_DAY + user * MINUTE, cell="parking") for user in range(12)]
    (finding,) = geographic_clusters(columns_of([*usual, *crowd]), GeographicSettings(users=10))
    assert (finding.subject, len(finding.users)) == ("cell:parking", 12)
    assert "12 users in cell parking" in finding.reason


def test_a_place_that_is_crowded_all_day_is_left_alone() -> None:
    rows = [Tx(user, hour * HOUR // 4, cell="square") for hour in range(400) for user in range(12)]
    assert geographic_clusters(columns_of(rows), GeographicSettings()) == []


def test_windows_that_the_period_cuts_are_no_baseline() -> None:
    """Forty users a minute for an hour that begins and ends within a window: three are whole, two are not."""
    rows = [Tx(second, 7 * MINUTE + second * 1_500, cell="square") for second in range(60 * 40)]
    assert geographic_clusters(columns_of(rows), GeographicSettings()) == []


def test_a_short_period_says_nothing_about_a_place() -> None:
    crowd = [Tx(100 + user, user * MINUTE, cell="parking") for user in range(40)]
    assert geographic_clusters(columns_of(crowd), GeographicSettings()) == []


def test_one_user_many_times_is_no_crowd() -> None:
    rows = [*habits(1), *(Tx(7, ODD_DAY + second * 1000, cell="parking") for second in range(50))]
    assert geographic_clusters(columns_of(rows), GeographicSettings()) == []


def test_transactions_at_night_of_a_user_who_sleeps_then_are_found() -> None:
    night = [Tx(7, ODD_DAY + 3 * HOUR + number * 10 * MINUTE) for number in range(4)]
    (finding,) = of(
        temporal(columns_of([*habits(7), *habits(8), *night]), TemporalSettings()), RuleName.UNUSUAL_HOURS
    )
    assert len(finding.rows) == 4
    assert "around Saturday 03:00 UTC" in finding.reason


def test_nights_of_a_user_who_always_works_then_are_left_alone() -> None:
    night = [Tx(7, ODD_DAY + 3 * HOUR + number * 10 * MINUTE) for number in range(4)]
    rows = [*habits(7, hours=(2, 3, 4)), *night]
    assert of(temporal(columns_of(rows), TemporalSettings()), RuleName.UNUSUAL_HOURS) == []


def test_a_user_without_history_has_no_unusual_hours() -> None:
    night = [Tx(7, 3 * HOUR + number * 10 * MINUTE) for number in range(6)]
    assert of(temporal(columns_of(night), TemporalSettings()), RuleName.UNUSUAL_HOURS) == []


def profile(user: int, hours: Sequence[int], days: Sequence[int] = (), *, each: int = 20) -> ProfileTable:
    """`each` transactions at each of the hours, on these weekdays; without them weekdays are not told."""
    by_hour = np.zeros((1, 24), np.int32)
    by_hour[0, list(hours)] = each
    by_day = np.zeros((1 if days else 0, 7), np.int32)
    by_day[:, list(days)] = each * len(hours) // max(1, len(days))
    count = np.array([each * len(hours)])
    return replace(ProfileTable(), user_ids=np.array([user]), counts=count, hours=by_hour, weekdays=by_day)


NIGHT = [Tx(7, ODD_DAY + 3 * HOUR + number * 10 * MINUTE) for number in range(4)]
"""Of a Saturday, and all that a search of some hours sees."""


@pytest.mark.parametrize("days", [(), range(7)])
def test_a_search_of_some_hours_knows_habits_by_the_profile(days: Sequence[int]) -> None:
    sleeps, works = profile(7, range(9, 18), days), profile(7, (2, 3, 4), days)
    (finding,) = of(temporal(columns_of(NIGHT), TemporalSettings(), sleeps), RuleName.UNUSUAL_HOURS)
    assert len(finding.rows) == 4
    assert "of this user's 180 before" in finding.reason
    assert of(temporal(columns_of(NIGHT), TemporalSettings(), works), RuleName.UNUSUAL_HOURS) == []


def test_a_weekday_that_is_not_the_user_s_makes_an_hour_unusual() -> None:
    """Three in the night is one hour in seven of the user's, Saturdays are none of it."""
    hours = (3, 9, 11, 13, 15, 17, 19)
    on_weekdays, on_saturdays = profile(7, hours, range(5)), profile(7, hours, range(2, 7))
    (finding,) = of(temporal(columns_of(NIGHT), TemporalSettings(), on_weekdays), RuleName.UNUSUAL_HOURS)
    assert "around Saturday 03:00 UTC" in finding.reason
    assert of(temporal(columns_of(NIGHT), TemporalSettings(), on_saturdays), RuleName.UNUSUAL_HOURS) == []


def test_a_user_of_a_day_or_two_has_no_habits_yet() -> None:
    for days, findings in (((4,), 0), ((3, 4), 0), ((2, 3, 4), 1)):
        young = profile(7, range(9, 18), days)
        found = of(temporal(columns_of(NIGHT), TemporalSettings(), young), RuleName.UNUSUAL_HOURS)
        assert len(found) == findings, days


def test_a_user_of_a_few_days_has_no_weekdays_yet() -> None:
    hours = (3, 9, 11, 13, 15, 17, 19)
    for days in ((2, 3, 4), (1, 2, 3, 4)):
        young = profile(7, hours, days)
        assert of(temporal(columns_of(NIGHT), TemporalSettings(), young), RuleName.UNUSUAL_HOURS) == []


@pytest.mark.parametrize("short", [profile(7, (12,)), profile(8, range(9, 18))])
def test_a_short_profile_or_another_user_s_says_nothing(short: ProfileTable) -> None:
    assert of(temporal(columns_of(NIGHT), TemporalSettings(), short), RuleName.UNUSUAL_HOURS) == []


def test_hours_of_one_day_are_no_habit() -> None:
    """A busy user, of whom a search sees six hours: what comes now never lies near what came before."""
    rows = [Tx(7, number * 2 * MINUTE) for number in range(180)]
    assert of(temporal(columns_of(rows), TemporalSettings()), RuleName.UNUSUAL_HOURS) == []


def test_a_burst_within_seconds_is_found() -> None:
    burst = [Tx(7, ODD_DAY + 13 * HOUR + number * 4_000) for number in range(7)]
    (finding,) = of(temporal(columns_of([*habits(7), *burst]), TemporalSettings()), RuleName.BURST)
    assert "7 transactions in 24 s" in finding.reason


def test_intervals_that_no_person_keeps_are_found() -> None:
    robot = [Tx(7, ODD_DAY + 13 * HOUR + number * 300_000 + number % 2) for number in range(12)]
    (finding,) = of(temporal(columns_of([*habits(8), *robot]), TemporalSettings()), RuleName.ROBOT)
    assert len(finding.rows) == 12
    assert "every 300 s" in finding.reason


def test_a_person_s_intervals_are_left_alone() -> None:
    rng = random.Random(3)
    at = np.cumsum([rng.randint(100_000, 500_000) for _ in range(200)]).tolist()
    assert of(temporal(columns_of([Tx(7, t) for t in at]), TemporalSettings()), RuleName.ROBOT) == []


def ring(users: range, at: int, amount: float, **join: str) -> list[Tx]:
    return [
        Tx(user, at + number * MINUTE, amount * (0.96 + 0.007 * number % 0.08), **join)
        for number, user in enumerate(users)
    ]


def test_a_ring_at_one_merchant_is_one_finding_with_its_members() -> None:
    members = ring(range(100, 112), ODD_DAY, 400.0, merchant="shop", cell="here")
    background = [row for user in range(50) for row in habits(user)]
    (finding,) = coordinated(columns_of([*background, *members]), CoordinatedSettings())
    assert finding.users == tuple(range(100, 112))
    assert "12 users pay" in finding.reason
    assert finding.subject in ("merchant:shop", "cell:here")


def test_groups_that_share_members_are_one_finding() -> None:
    one = ring(range(100, 110), ODD_DAY, 400.0, merchant="shop", device="phone")
    other = ring(range(110, 120), ODD_DAY + MINUTE, 400.0, merchant="other", device="phone")
    (finding,) = coordinated(columns_of([*habits(1), *one, *other]), CoordinatedSettings())
    assert finding.users == tuple(range(100, 120))


@pytest.mark.parametrize(
    "rows",
    [
        ring(range(100, 107), ODD_DAY, 400.0, merchant="shop"),
        [Tx(100, ODD_DAY + n * MINUTE, 400.0, merchant="shop") for n in range(12)],
        [Tx(100 + n % 3, ODD_DAY + n * MINUTE, 400.0, merchant="shop") for n in range(12)],
        [Tx(100 + n, ODD_DAY + n * MINUTE, 50.0 * 1.3**n, merchant="shop") for n in range(12)],
        [Tx(100 + n, ODD_DAY + n * HOUR, 400.0, merchant="shop") for n in range(12)],
        [Tx(100 + n, ODD_DAY + n * MINUTE, 400.0, merchant=f"shop{n}") for n in range(12)],
        [Tx(100 + n, ODD_DAY + n * MINUTE, 400.0) for n in range(12)],
    ],
    ids=[
        "too few users",
        "one user",
        "three users",
        "different amounts",
        "spread over hours",
        "different shops",
        "no join",
    ],
)
def test_what_is_no_ring_is_left_alone(rows: list[Tx]) -> None:
    # A hundred days: so long that even three in one window are improbable.
    assert coordinated(columns_of([*habits(1, days=100), *rows]), CoordinatedSettings()) == []


def test_the_same_pattern_has_the_same_identity_when_more_of_it_is_seen() -> None:
    tests = [Tx(7, ODD_DAY + number * 15_000, 5.0) for number in range(18)]
    (early,) = frequency(columns_of([*habits(7), *tests[:14]]), FrequencySettings())
    (late,) = of(frequency(columns_of([*habits(7), *tests]), FrequencySettings()), RuleName.SMALL_AMOUNTS)
    assert early.uid == late.uid
    assert len(late.rows) == 18


messy = st.lists(
    st.builds(
        Tx,
        st.integers(1, 4),
        st.integers(0, 40).map(lambda step: step * 20_000),
        st.sampled_from([5.0, 6.0, 40.0, 41.0, 900.0]),
        st.sampled_from([None, "a", "b"]),
        st.sampled_from([None, "x"]),
        st.sampled_from([None, "c", "d"]),
    ),
    max_size=60,
)
EAGER = PatternSettings(
    FrequencySettings(count=4, small_count=3, surprise=0.999),
    GeographicSettings(users=2, windows=2, surprise=0.999),
    TemporalSettings(
        history=2, history_days=1e-6, unusual_count=2, burst_count=3, burst_surprise=0.999, robot_count=2
    ),
    CoordinatedSettings(users=2, surprise=0.999),
)


def shape(columns: PatternColumns, findings: list[Finding], order: list[int]) -> list[tuple[object, ...]]:
    return sorted(
        (f.rule, f.subject, f.window_start_ms, f.users, tuple(sorted(order[row] for row in f.rows)))
        for f in findings
    )


@given(messy, st.randoms(use_true_random=False))
def test_the_order_of_rows_means_nothing(rows: list[Tx], rng: random.Random) -> None:
    order = list(range(len(rows)))
    straight = columns_of(rows)
    expected = shape(straight, find_patterns(straight, EAGER), order)
    rng.shuffle(order)
    shuffled = columns_of([rows[index] for index in order])
    assert shape(shuffled, find_patterns(shuffled, EAGER), order) == expected


@given(messy)
def test_members_and_users_of_a_finding_belong_together(rows: list[Tx]) -> None:
    columns = columns_of(rows)
    for finding in find_patterns(columns, EAGER):
        members = [rows[index] for index in finding.rows]
        assert finding.users == tuple(sorted({member.user for member in members}))
        times = [START + member.at for member in members]
        assert times == sorted(times)
        assert (finding.first_ms, finding.last_ms) == (times[0], times[-1])
        assert finding.window_start_ms <= finding.first_ms


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=40),
    st.integers(1, 5),
    st.integers(0, 10),
)
def test_dense_rows_are_those_of_a_naive_search(
    pairs: list[tuple[int, int]], count: int, window: int
) -> None:
    group, at = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    expected = set()
    for end in range(len(pairs)):
        begin = end - count + 1
        if begin >= 0 and pairs[begin][0] == pairs[end][0] and pairs[end][1] - pairs[begin][1] <= window:
            expected |= set(range(begin, end + 1))
    assert set(np.flatnonzero(dense(group, at, count, window)).tolist()) == expected


def test_episodes_end_with_the_group_and_after_a_gap() -> None:
    group, at = np.array([1, 1, 1, 2, 2]), np.array([0, 5, 50, 51, 52])
    found = episodes(np.ones(5, np.bool_), group, at, 10)
    assert [piece.tolist() for piece in found] == [[0, 1], [2], [3, 4]]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.floats(1e-9, 300.0)), min_size=1),
    st.floats(1e-15, 0.999),
)
def test_what_is_surprising_is_so_by_its_probability(pairs: list[tuple[int, float]], surprise: float) -> None:
    counts, means = (np.array(column) for column in zip(*pairs, strict=True))
    expected = poisson_tail(counts, means) < surprise
    assert surprising(counts, means, surprise).tolist() == expected.tolist()


@pytest.mark.parametrize("surprise", [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5, 0.9])
def test_the_first_surprising_count_of_any_mean_is_not_missed(surprise: float) -> None:
    means = np.geomspace(1e-6, 5_000.0, 20_000)
    first = surprising_count(means, surprise, 0)
    assert surprising(first, means, surprise).all()
    assert not surprising(first - 1, means, surprise).any()


@given(st.floats(1e-6, 500), st.floats(1e-12, 0.1), st.integers(2, 20))
def test_a_surprising_count_is_the_first_that_surprises(mean: float, surprise: float, least: int) -> None:
    (count,) = surprising_count(np.array([mean]), surprise, least)
    assert count >= least
    assert poisson_tail(np.array([count]), np.array([mean]))[0] < surprise
    if count > least:
        assert poisson_tail(np.array([count - 1]), np.array([mean]))[0] >= surprise


def rules() -> list[Callable[[PatternColumns], list[Finding]]]:
    return [
        lambda columns: frequency(columns, EAGER.frequency),
        lambda columns: geographic_clusters(columns, EAGER.geographic),
        lambda columns: temporal(columns, EAGER.temporal),
        lambda columns: coordinated(columns, EAGER.coordinated),
    ]


@pytest.mark.parametrize("rule", rules(), ids=["frequency", "geographic", "temporal", "coordinated"])
def test_a_single_transaction_is_no_pattern(rule: Callable[[PatternColumns], list[Finding]]) -> None:
    assert rule(columns_of([Tx(1, 0, 5.0, "m", "d", "c")])) == []
