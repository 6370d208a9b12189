"""A search in shards finds what a search through one table finds: same members, words and order."""

import random
from collections.abc import Sequence

import hypothesis
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.patterns.columns_of import pattern_columns, with_cells
from batch.patterns.job import patterns_of
from batch.patterns.rows import SEARCHED, TOLD, Cut, Seen, cut_after, places_of, seen_in, without_duplicates
from batch.patterns.rules import find_patterns
from batch.patterns.shards import (
    ShardFindings,
    encoded,
    findings_of_join_shard,
    findings_of_user_shard,
    join_shard,
    numbers_in,
    places_of_numbers,
    put_together,
    rows_at,
    totals_of_join_shard,
    totals_of_user_shard,
    user_shard,
)
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.patterns.totals import Crowd, Span, Totals
from ray_fraud.stores.findings.port import Pattern
from tests.batch.pattern_rows import EAGER, Tx, eager, profiles, rows_of_transactions

messy = st.lists(
    st.builds(
        Tx,
        st.integers(1, 12),
        st.integers(0, 150).map(lambda step: step * 20),
        st.sampled_from([5.0, 5.1, 40.0, 41.0, 41.5, 900.0, 0.0]),
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from([None, "x", "y"]),
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from([None, None, None, "one", "two"]),
    ),
    max_size=90,
)


def whole(rows: pa.Table, since: Seen | None = None, settings: PatternSettings = EAGER) -> list[Pattern]:
    different = with_cells(without_duplicates(rows))
    new = None if since is None else since.new_in(different)
    findings = find_patterns(pattern_columns(different), settings, new, profiles())
    return patterns_of(findings, different, "cluster")


def sharded(
    blocks: Sequence[pa.Table], count: int, since: Seen | None = None, settings: PatternSettings = EAGER
) -> list[Pattern]:
    """The steps of the look by Ray Data, one after the other, with what travels as JSON."""
    searched = [encoded(rows.select(SEARCHED)) for rows in blocks]
    users = [user_shard(searched, number, count, since) for number in range(count)]
    joins = [join_shard(users, number, count) for number in range(count)]
    totals = Totals()
    for part in (
        *(totals_of_user_shard(shard, settings) for shard in users),
        *(totals_of_join_shard(shard, settings) for shard in joins),
    ):
        totals += msgspec.json.decode(msgspec.json.encode(part.totals), type=Totals)
    parts = [
        *(findings_of_user_shard(shard, settings, totals, profiles()) for shard in users),
        *(findings_of_join_shard(shard, settings, totals) for shard in joins),
    ]
    parts = [msgspec.json.decode(msgspec.json.encode(part), type=ShardFindings) for part in parts]
    numbers = numbers_in(parts)
    places = pa.concat_tables([places_of_numbers(shard, numbers) for shard in users])
    told = [rows_at(rows.select(TOLD), places) for rows in blocks]
    findings, members = put_together(told, parts, settings)
    return patterns_of(findings, members, "cluster")


def in_blocks(rows: pa.Table, count: int) -> list[pa.Table]:
    """Any rows in any block."""
    which = np.array([(number * 7 + 3) % count for number in range(rows.num_rows)], np.int64)
    return [rows.filter(pa.array(which == number, pa.bool_())) for number in range(count)]


@hypothesis.settings(deadline=None)
@given(messy, st.integers(1, 9), st.integers(1, 4), st.sampled_from([0.9, 0.3, 0.1, 0.03]))
def test_any_number_of_shards_finds_what_one_table_finds(
    transactions: list[Tx], shards: int, blocks: int, surprise: float
) -> None:
    rows, settings = rows_of_transactions(transactions), eager(surprise)
    assert sharded(in_blocks(rows, blocks), shards, settings=settings) == whole(rows, settings=settings)


@pytest.mark.parametrize("surprise", [0.3, 0.1, 0.03, 0.01])
@pytest.mark.parametrize("shards", [2, 5])
def test_what_is_usual_is_that_of_all_shards(shards: int, surprise: float) -> None:
    """Users and places that differ much, so that a shard's own idea of what is usual is another."""
    rng, settings = random.Random(shards), eager(surprise)
    transactions = [
        Tx(
            user,
            user * 600 + rng.randint(0, 200) * 20,
            rng.choice([5.0, 41.0]),
            rng.choice("abcdef"[: 1 + user % 6]),
            rng.choice("xyz"),
            None if user < 6 else user % 3,
        )
        for user in range(1, 16)
        for _ in range(user)
    ]
    rows = rows_of_transactions(transactions)
    found = whole(rows, settings=settings)
    assert found
    assert sharded(in_blocks(rows, 3), shards, settings=settings) == found


@hypothesis.settings(deadline=None, max_examples=40)
@given(messy, st.integers(1, 5), st.integers(0, 90))
def test_with_what_was_seen_before_too(transactions: list[Tx], shards: int, known: int) -> None:
    rows = rows_of_transactions(transactions)
    since = seen_in(rows.slice(0, known))
    assert sharded(in_blocks(rows, 2), shards, since) == whole(rows, since)


@pytest.mark.parametrize("shards", range(1, 9))
def test_a_place_is_judged_by_the_whole_period(shards: int) -> None:
    """Alone, its crowd is a period of one window, which says nothing."""
    crowd = [Tx(user, 20 * user, 10.0 * 1.5**user, place=0) for user in range(1, 15)]
    rows = rows_of_transactions([*crowd, Tx(20, 4 * 3600, place=1)])
    found = sharded(in_blocks(rows, 2), shards, settings=PatternSettings())
    assert [pattern.rule.value for pattern in found] == ["geographic_cluster"]
    assert found == whole(rows, settings=PatternSettings())


def test_the_rows_of_these_tests_make_findings_of_every_rule() -> None:
    """So that equality says something."""
    transactions = [
        Tx(1 + n % 11, n * 10, 5.0 + n % 3 / 10, "abc"[n % 3], "xy"[n % 2], n % 3) for n in range(150)
    ]
    transactions += [Tx(12, 36_000 + day * 86_400) for day in range(40)]
    transactions += [Tx(12, 39 * 86_400 + minute * 60 + 10_000) for minute in range(4)]
    transactions += [Tx(13, 80_000 + second**2) for second in range(6)]
    found = whole(rows_of_transactions(transactions))
    assert {pattern.rule.value for pattern in found} >= {
        "frequency", "small_amounts", "geographic_cluster", "unusual_hours", "burst", "robot", "coordinated",
    }  # fmt: skip
    assert sharded(in_blocks(rows_of_transactions(transactions), 3), 4) == found


@hypothesis.settings(deadline=None, max_examples=40)
@given(messy, st.integers(0, 90))
def test_users_and_cells_with_new_rows_are_looked_at_with_their_old_ones(
    transactions: list[Tx], known: int
) -> None:
    rows = rows_of_transactions(transactions)
    since = seen_in(rows.slice(0, known))
    different = with_cells(without_duplicates(rows))
    new = different.filter(since.new_in(different))
    touched = {f"user:{user}" for user in new["user_id"].to_pylist()}
    touched |= {f"cell:{cell:x}" for cell in new["cell"].to_pylist() if cell is not None}
    assert whole(rows, since) == [
        pattern for pattern in whole(rows) if pattern.rule == "coordinated" or pattern.subject in touched
    ]


@hypothesis.settings(deadline=None)
@given(messy.filter(bool), st.data())
def test_a_cut_leaves_the_newest_rows_and_of_one_moment_the_first_by_place(
    transactions: list[Tx], data: st.DataObject
) -> None:
    rows = rows_of_transactions(transactions)
    count = data.draw(st.integers(1, rows.num_rows))
    order = sorted(
        zip(rows["event_time"].cast(pa.int64()).to_pylist(), places_of(rows), strict=True),
        key=lambda row: (-row[0], row[1]),
    )
    cut = cut_after(rows, count)
    assert isinstance(cut, Cut)
    assert set(places_of(rows.filter(cut.of(rows)))) == {place for _, place in order[:count]}


spans = st.one_of(
    st.just(Span()), st.builds(lambda a, b: Span(min(a, b), max(a, b)), *[st.integers(0, 99)] * 2)
)
crowds = st.builds(Crowd, st.integers(0, 9), st.integers(0, 9))
totals = st.builds(Totals, spans, spans, crowds, crowds, st.dictionaries(st.sampled_from("ab"), crowds))


@given(totals, totals, totals)
def test_totals_add_up_in_any_order(one: Totals, two: Totals, three: Totals) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Totals() == Totals(one.events, one.placed, one.users, one.small, one.joined)
