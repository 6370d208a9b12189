"""Feature tables as bytes: one file of what verdicts say, and one of users' profiles that it names.

Verdicts come all day and profiles change once a day: a refresh for a verdict must not copy the large part.
Each table is an Arrow stream. Arrays of numbers are views of the bytes that were given, so several processes
of a node can share one copy.

Never: the digest of its own content (the files' store compares it); a table whose arrays differ in length.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_fraud.domain.feature_tables import (
    HOURS,
    WEEKDAYS,
    Counts,
    Floats,
    Ints,
    MerchantTable,
    ProfileTable,
    UserRiskTable,
)
from ray_fraud.stores.errors import StoreDamaged

Content = bytes | memoryview | NDArray[np.uint8]

_FACTS = b"ray_fraud.facts"
_COUNTS = ("transactions", "frauds_7d", "frauds_30d", "run", "run_began_ms", "last_fraud_ms")
_USERS = ("user_ids", "frauds_30d", "last_fraud_ms")
_NUMBERS = ("means", "deviations", "largest", "home_lat", "home_lon")
_PROFILES = pa.schema(
    [
        pa.field("user_ids", pa.int64(), nullable=False),
        pa.field("counts", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS),
        pa.field("hours", pa.list_(pa.int32(), HOURS), nullable=False),
    ]
)
_WEEKDAYS = pa.field("weekdays", pa.list_(pa.int32(), WEEKDAYS), nullable=False)
"""Not in files of earlier releases."""


class TableFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tables were made of."""

    until_day: int = 0
    """Profiles count UTC days below this one (days since 1970-01-01)."""
    verdicts: int = 0
    """How many verdicts counted, taken back ones too."""
    as_of_ms: int = 0
    """The moment that merchants and users are seen from, unix milliseconds."""
    profiles: str | None = None
    """Digest of the profiles' file; None: there are no profiles."""


class Risks(NamedTuple):
    """What verdicts say, and what it was made of."""

    merchants: MerchantTable
    users: UserRiskTable
    facts: TableFacts


def encode_risks(merchants: MerchantTable, users: UserRiskTable, facts: TableFacts) -> bytes:
    """The content of the file that a digest of tables names."""
    first = pa.table(
        {"merchant_ids": pa.array(merchants.merchant_ids, pa.string())}
        | {name: pa.array(getattr(merchants, name), pa.int64()) for name in _COUNTS}
    )
    second = pa.table({name: pa.array(getattr(users, name), pa.int64()) for name in _USERS})
    return _streams(first.replace_schema_metadata({_FACTS: msgspec.json.encode(facts)}), second)


def decode_risks(content: Content) -> Risks:
    """What was encoded.

    Raises:
        StoreDamaged: it is something else.
    """
    try:
        merchants, users = _tables(content, 2)
        facts = msgspec.json.decode(merchants.schema.metadata[_FACTS], type=TableFacts)
        return Risks(
            MerchantTable(
                merchants["merchant_ids"].to_pylist(), *(_ints(merchants, name) for name in _COUNTS)
            ),
            UserRiskTable(*(_ints(users, name) for name in _USERS)),
            facts,
        )
    except _BROKEN as error:
        raise _damaged(error) from error


def encode_profiles(profiles: ProfileTable) -> bytes:
    """The content of the profiles' file."""
    columns: dict[str, Any] = {name: getattr(profiles, name) for name in ("user_ids", "counts", *_NUMBERS)}
    columns["hours"] = _lists(profiles.hours)
    schema = _PROFILES
    if len(profiles.weekdays):
        schema = schema.append(_WEEKDAYS)
        columns["weekdays"] = _lists(profiles.weekdays)
    return _streams(pa.table(columns, schema=schema))


def decode_profiles(content: Content) -> ProfileTable:
    """What was encoded.

    Raises:
        StoreDamaged: it is something else.
    """
    try:
        (table,) = _tables(content, 1)
        weekdays = _counts(table, "weekdays", WEEKDAYS) if "weekdays" in table.column_names else None
        return ProfileTable(
            user_ids=_ints(table, "user_ids"),
            counts=_ints(table, "counts"),
            hours=_counts(table, "hours", HOURS),
            weekdays=np.empty((0, WEEKDAYS), np.int32) if weekdays is None else weekdays,
            **{name: _floats(table, name) for name in _NUMBERS},
        )
    except _BROKEN as error:
        raise _damaged(error) from error


_BROKEN = (pa.ArrowException, OSError, KeyError, TypeError, ValueError, msgspec.MsgspecError)


def _damaged(error: Exception) -> StoreDamaged:
    return StoreDamaged("lake", f"feature tables not understood: {error}")


def _streams(*tables: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    for table in tables:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            # One chunk each, so that reading needs no copy to join them.
            writer.write_table(table.combine_chunks())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _tables(content: Content, count: int) -> list[pa.Table]:
    source = pa.BufferReader(pa.py_buffer(content))
    return [pa.ipc.open_stream(source).read_all().combine_chunks() for _ in range(count)]


def _lists(counts: Counts) -> pa.FixedSizeListArray:
    flat = pa.array(counts.astype(np.int32, copy=False).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, counts.shape[1])


def _counts(table: pa.Table, name: str, width: int) -> Counts:
    chunks = table[name].chunks
    flat = chunks[0].flatten().to_numpy() if chunks else np.empty(0, np.int32)
    counts: Counts = flat.reshape(-1, width)
    return counts


def _ints(table: pa.Table, name: str) -> Ints:
    numbers: Ints = table[name].to_numpy()
    return numbers


def _floats(table: pa.Table, name: str) -> Floats:
    numbers: Floats = table[name].to_numpy()
    return numbers
