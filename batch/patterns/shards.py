"""A look in parts that no row of a subject is missing from: users in one shard, what joins in another.

    files → read → by user: each payload once → by merchant, cell and device
                        ↓ totals                     ↓ totals
                   rules of users          rule of places, groups
                        └── numbers of the member rows ──┘→ their places → files → groups joined, in order

Here is what each task does; what runs them, and where tables lie meanwhile, is `dataset.py`. Rows have
numbers that are their own among all shards, and lie in order of their place in every shard: so ties are
broken as they would be in one table. Shards have what rules look at: what else is told of a member is read
of the files again, since members are few and a shard's bytes are paid for every row.

Never: Ray; a shard's own idea of what is usual.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.patterns import rules
from batch.patterns.columns_of import CELL, pattern_columns, with_cells
from batch.patterns.rows import PLACE, Seen, by_place, seen_in, without_duplicates
from ray_fraud.domain.feature_tables import ProfileTable
from ray_fraud.domain.patterns.finding import Bools, Finding, Ints, moved
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.patterns.totals import Totals

NUMBER = "number"
"""The column that numbers rows."""
NEW = "new"
"""The column that says which rows no search has seen; absent where all are looked at."""
NUMBERS_PER_SHARD = 1 << 40
ENCODED = ("topic_id", "merchant_id", "device_id")
"""Texts that come again and again."""
JOINS = ("merchant_id", CELL, "device_id")
JOIN_COLUMNS = {"user_id", "event_time", "amount", *JOINS, *PLACE, NUMBER, NEW}
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
"""2^64 / golden ratio: neighbouring numbers end up far apart (Knuth, TAOCP 3, 6.4)."""


class ShardTotals(msgspec.Struct, frozen=True):
    totals: Totals
    seen: Seen


class ShardFindings(msgspec.Struct, frozen=True):
    """What one shard has; rows are given by their numbers."""

    findings: list[Finding] = []
    groups: list[tuple[str, list[int]]] = []


def encoded(rows: pa.Table) -> pa.Table:
    """The rows with those texts as dictionaries, of just the values that occur."""
    for name in ENCODED:
        plain = rows[name].cast(pa.string()).combine_chunks()
        rows = rows.set_column(rows.schema.get_field_index(name), name, plain.dictionary_encode())
    return rows


def user_shard(tables: Iterable[pa.Table], shard: int, shards: int, since: Seen | None = None) -> pa.Table:
    """All rows of the users of one shard, each payload once, in order of their place, numbered.

    With `since` they are marked as new or not.

    Duplicates are looked for here: a payload has one user, but a corrected row may have got another merchant.
    """
    mine = [table.filter(_shard_of(table["user_id"], shards) == shard) for table in tables]
    rows = with_cells(without_duplicates(_together(mine))).drop_columns(["payload_digest", "lat", "lon"])
    numbers = pa.array(np.arange(rows.num_rows) + shard * NUMBERS_PER_SHARD)
    if since is not None:
        rows = rows.append_column(NEW, pa.array(since.new_in(rows)))
    return encoded(rows).append_column(NUMBER, numbers)


def join_shard(tables: Iterable[pa.Table], shard: int, shards: int) -> pa.Table:
    """All rows of the merchants, cells and devices of one shard, in order of their place.

    A row of which only the merchant belongs here has no cell and no device here.
    """
    mine = [_joined_here(_columns_of_joins(table), shard, shards) for table in tables]
    rows = _together(mine)
    return encoded(rows.take(by_place(rows))).drop_columns(list(PLACE))


def _columns_of_joins(rows: pa.Table) -> pa.Table:
    return rows.select([name for name in rows.column_names if name in JOIN_COLUMNS])


def _joined_here(rows: pa.Table, shard: int, shards: int) -> pa.Table:
    any_of_them = np.zeros(rows.num_rows, np.bool_)
    for name in JOINS:
        column = rows[name].combine_chunks()
        here = (_shard_of(column, shards) == shard) & column.is_valid().to_numpy(zero_copy_only=False)
        any_of_them |= here
        rows = rows.set_column(rows.schema.get_field_index(name), name, _only(column, here))
    return rows.filter(any_of_them)


def _only(column: pa.Array, here: Bools) -> pa.Array:
    if isinstance(column, pa.DictionaryArray):
        indices = pa.array(column.indices.fill_null(0).to_numpy(), mask=~here)
        return pa.DictionaryArray.from_arrays(indices, column.dictionary)
    return pc.if_else(here, column, pa.scalar(None, column.type))


def _shard_of(column: pa.Array | pa.ChunkedArray, shards: int) -> Ints:
    """The shard of each value, shape (n,); anything where there is none."""
    if pa.types.is_dictionary(column.type):
        values = column.dictionary.to_pylist()
        of_value = np.array([zlib.crc32(value.encode()) % shards for value in values] or [0], np.int64)
        of_rows: Ints = of_value[column.indices.fill_null(0).to_numpy()]
        return of_rows
    numbers = pc.fill_null(column, 0).to_numpy().astype(np.uint64)
    # Overflow is meant: the product is taken modulo 2^64.
    spread: Ints = ((numbers * _SPREAD >> np.uint64(32)) % np.uint64(shards)).astype(np.int64)
    return spread


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """One table, of one chunk; dictionaries are made one."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def totals_of_user_shard(rows: pa.Table, settings: PatternSettings) -> ShardTotals:
    return ShardTotals(rules.totals_of_users(pattern_columns(rows), settings), seen_in(rows))


def totals_of_join_shard(rows: pa.Table, settings: PatternSettings) -> ShardTotals:
    return ShardTotals(rules.totals_of_joins(pattern_columns(rows), settings), Seen())


def findings_of_user_shard(
    rows: pa.Table, settings: PatternSettings, totals: Totals, profiles: ProfileTable
) -> ShardFindings:
    columns, numbers = pattern_columns(rows), rows[NUMBER].to_numpy()
    found = rules.user_findings(columns, settings, totals, _new(rows), profiles)
    return ShardFindings(moved(found, numbers))


def findings_of_join_shard(rows: pa.Table, settings: PatternSettings, totals: Totals) -> ShardFindings:
    columns, numbers = pattern_columns(rows), rows[NUMBER].to_numpy()
    found = rules.place_findings(columns, settings, totals, _new(rows))
    groups = rules.join_groups(columns, settings, totals)
    return ShardFindings(
        moved(found, numbers), [(subject, numbers[members].tolist()) for subject, members in groups]
    )


def _new(rows: pa.Table) -> Bools | None:
    if NEW not in rows.column_names:
        return None
    new: Bools = rows[NEW].to_numpy()
    return new


def numbers_in(parts: Iterable[ShardFindings]) -> Ints:
    """The numbers of all member rows, ascending, each once."""
    numbers: set[int] = set()
    for part in parts:
        numbers.update(*(finding.rows for finding in part.findings), *(rows for _, rows in part.groups))
    return np.array(sorted(numbers), np.int64)


def places_of_numbers(rows: pa.Table, numbers: Ints) -> pa.Table:
    """Place and number of those rows of a user shard that have one of the numbers."""
    chosen = rows.filter(np.isin(rows[NUMBER].to_numpy(), numbers)).select([*PLACE, NUMBER])
    return chosen.set_column(0, PLACE[0], chosen[PLACE[0]].cast(pa.string()))


def rows_at(rows: pa.Table, places: pa.Table) -> pa.Table:
    """Those of the rows, with columns `TOLD`, that lie at one of the places, numbered, in any order."""
    # Most have no such offset; comparing whole places costs more.
    near = rows.filter(pc.is_in(rows["offset"], places["offset"]))
    return near.join(places, list(PLACE), join_type="inner")


def put_together(
    tables: Sequence[pa.Table], parts: Sequence[ShardFindings], settings: PatternSettings
) -> tuple[list[Finding], pa.Table]:
    """All findings, and the members' rows, which they give positions of.

    Args:
        tables: what `rows_at` gave.
    """
    if not tables:
        return [], pa.table({})
    members = pa.concat_tables(tables)
    members = with_cells(members.take(by_place(members)))
    by_number = np.argsort(members[NUMBER].to_numpy())
    sorted_numbers = members[NUMBER].to_numpy()[by_number]

    def positions(numbers: Any) -> Ints:
        found: Ints = by_number[np.searchsorted(sorted_numbers, np.array(numbers, np.int64))]
        return found

    found = [
        msgspec.structs.replace(finding, rows=tuple(positions(finding.rows).tolist()))
        for part in parts
        for finding in part.findings
    ]
    groups = [(subject, positions(rows)) for part in parts for subject, rows in part.groups]
    return rules.all_findings(pattern_columns(members), found, groups, settings), members
