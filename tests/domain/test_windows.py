"""Tallies against a dictionary, and the features that are read from them."""

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.domain.windows import (
    BUCKET_MS,
    DAY_MS,
    DAYS_KEPT,
    HOUR_MS,
    Tallies,
    day_features,
    day_tallies,
    event_features,
    moment_features,
)
from tests.domain.samples import BERLIN, NOW_MS, transaction

numbers = st.integers(0, 12)
additions = st.lists(st.tuples(numbers, st.floats(0, 1e6)), max_size=30)


def tallies_of(amounts: list[tuple[int, float]]) -> Tallies:
    tallies = Tallies(b"", 0, 0)
    for number, amount in amounts:
        tallies.add(number, amount)
    return tallies


@settings(deadline=None)
@given(additions)
def test_tallies_count_and_sum_in_order_of_arrival(amounts: list[tuple[int, float]]) -> None:
    tallies = tallies_of(amounts)
    sums: dict[int, float] = {}
    for number, amount in amounts:
        sums[number] = sums.get(number, 0.0) + amount
    assert list(tallies.numbers) == sorted(sums)
    assert dict(zip(tallies.numbers, tallies.counts, strict=True)) == Counter(number for number, _ in amounts)
    assert dict(zip(tallies.numbers, tallies.sums, strict=True)) == sums


@settings(deadline=None)
@given(additions, st.binary(max_size=9))
def test_tallies_survive_packing(amounts: list[tuple[int, float]], prefix: bytes) -> None:
    tallies = tallies_of(amounts)
    again = Tallies(prefix + tallies.packed() + b"behind", len(prefix), len(tallies.numbers))
    assert (again.numbers, again.counts, again.sums) == (tallies.numbers, tallies.counts, tallies.sums)


@settings(deadline=None)
@given(additions, numbers)
def test_dropping_keeps_the_number_itself(amounts: list[tuple[int, float]], number: int) -> None:
    tallies = tallies_of(amounts)
    tallies.drop_below(number)
    assert list(tallies.numbers) == sorted({n for n, _ in amounts if n >= number})
    assert len(tallies.counts) == len(tallies.sums) == len(tallies.numbers)


@settings(deadline=None)
@given(additions, numbers, numbers)
def test_a_span_has_both_ends(amounts: list[tuple[int, float]], first: int, last: int) -> None:
    tallies = tallies_of(amounts)
    expected = sorted({n for n, _ in amounts if first <= n <= last})
    assert list(tallies.numbers[tallies.between(first, last)]) == expected


def test_a_bucket_that_touches_the_window_counts_whole() -> None:
    bucket = NOW_MS // BUCKET_MS
    event_ms = bucket * BUCKET_MS + 1
    oldest_in_hour = (event_ms - HOUR_MS) // BUCKET_MS
    buckets = tallies_of([(oldest_in_hour - 1, 1.0), (oldest_in_hour, 2.0), (bucket, 4.0), (bucket + 1, 8.0)])
    assert event_features((100.0, 200.0), 1, buckets, event_ms) == (3, 206.0, 5, 307.0)


def test_without_buckets_only_events_count() -> None:
    assert event_features((100.0, 200.0, 0.5), 2, Tallies(b"", 0, 0), NOW_MS) == (2, 200.5, 3, 300.5)
    assert event_features((), 0, Tallies(b"", 0, 0), NOW_MS) == (0, 0.0, 0, 0.0)


def test_sums_are_correctly_rounded() -> None:
    amounts = (0.1,) * 10
    assert event_features(amounts, 10, Tallies(b"", 0, 0), NOW_MS)[1] == 1.0 != sum(amounts)


def test_day_windows_end_at_their_day() -> None:
    day = NOW_MS // DAY_MS
    days = tallies_of([(day - 29, 32.0), (day - 7, 1.0), (day - 6, 2.0), (day, 4.0), (day + 1, 8.0)])
    assert day_features(*day_tallies(days, day), 4.0) == (2, 6.0, 4, 39.0, 4.0 / (35.0 / 3))
    assert day_features(*day_tallies(days, day - DAYS_KEPT - 1), 4.0)[:4] == (0, 0.0, 0, 0.0)


def test_a_ratio_needs_another_transaction_with_an_amount() -> None:
    assert math.isnan(day_features(*day_tallies(tallies_of([(5, 4.0)]), 5), 4.0)[4])
    assert math.isnan(day_features(*day_tallies(tallies_of([(5, 4.0), (5, 0.0)]), 5), 4.0)[4])
    assert math.isnan(day_features(*day_tallies(tallies_of([(5, 0.0), (5, 5e-324), (4, 0.0)]), 5), 0.0)[4])
    assert day_features(*day_tallies(tallies_of([(5, 4.0), (4, 2.0)]), 5), 4.0)[4] == 2.0


def test_the_moment_is_utc() -> None:
    tx = transaction(amount=3.5, location=BERLIN)
    assert moment_features(tx.amount, tx.place, NOW_MS) == (3.5, BERLIN.lat, BERLIN.lon, 22, 1)
    assert moment_features(tx.amount, tx.place, 0)[3:] == (0, 3), "1 January 1970 was a Thursday"
    assert all(math.isnan(value) for value in moment_features(3.5, None, 0)[1:3])
