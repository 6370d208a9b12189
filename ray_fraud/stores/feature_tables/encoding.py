"""Feature tables as bytes: two Arrow streams, merchants and profiles, one behind the other.

Arrays of numbers are views of the bytes that were given, so several processes of a node can share one copy.

Never: a digest (the files' store compares it); a table whose arrays differ in length.
"""

from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_fraud.domain.feature_tables import HOURS, FeatureTables, Floats, Ints, MerchantTable, ProfileTable
from ray_fraud.stores.errors import StoreDamaged

_FACTS = b"ray_fraud.facts"
_MERCHANTS = pa.schema(
    [
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("verdicts", pa.int64(), nullable=False),
        pa.field("frauds", pa.int64(), nullable=False),
    ]
)
_PROFILES = pa.schema(
    [
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("mean", pa.float64(), nullable=False),
        pa.field("deviation", pa.float64(), nullable=False),
        pa.field("largest", pa.float64(), nullable=False),
        pa.field("hours", pa.list_(pa.int32(), HOURS), nullable=False),
        pa.field("home_lat", pa.float64(), nullable=False),
        pa.field("home_lon", pa.float64(), nullable=False),
    ]
)


class TableFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tables were made of."""

    until_day: int = 0
    """Profiles count UTC days below this one (days since 1970-01-01)."""
    newest_verdict: int = 0
    """How many verdicts counted; in files of earlier releases the highest number of one."""


class Decoded(NamedTuple):
    tables: FeatureTables
    facts: TableFacts


def encode_tables(tables: FeatureTables, facts: TableFacts) -> bytes:
    """The content of a file."""
    merchants, profiles = tables.merchants, tables.profiles
    hours = pa.array(profiles.hours.astype(np.int32, copy=False).reshape(-1))
    columns = {
        "user_id": profiles.user_ids,
        "count": profiles.counts,
        "mean": profiles.means,
        "deviation": profiles.deviations,
        "largest": profiles.largest,
        "hours": pa.FixedSizeListArray.from_arrays(hours, HOURS),
        "home_lat": profiles.home_lat,
        "home_lon": profiles.home_lon,
    }
    first = pa.table(
        {
            "merchant_id": list(merchants.merchant_ids),
            "verdicts": merchants.verdicts,
            "frauds": merchants.frauds,
        },
        schema=_MERCHANTS.with_metadata({_FACTS: msgspec.json.encode(facts)}),
    )
    sink = pa.BufferOutputStream()
    for table in (first, pa.table(columns, schema=_PROFILES)):
        with pa.ipc.new_stream(sink, table.schema) as writer:
            # One chunk each, so that reading needs no copy to join them.
            writer.write_table(table.combine_chunks())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_tables(content: "bytes | memoryview | NDArray[np.uint8]") -> Decoded:
    """The tables of a file's content.

    Raises:
        StoreDamaged: it is not one.
    """
    try:
        source = pa.BufferReader(pa.py_buffer(content))
        merchants = pa.ipc.open_stream(source).read_all().combine_chunks()
        profiles = pa.ipc.open_stream(source).read_all().combine_chunks()
        facts = msgspec.json.decode(merchants.schema.metadata[_FACTS], type=TableFacts)
        return Decoded(FeatureTables(_merchants(merchants), _profiles(profiles)), facts)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StoreDamaged("lake", f"feature tables not understood: {error}") from error


def _merchants(table: pa.Table) -> MerchantTable:
    return MerchantTable(table["merchant_id"].to_pylist(), _ints(table, "verdicts"), _ints(table, "frauds"))


def _profiles(table: pa.Table) -> ProfileTable:
    chunks = table["hours"].chunks
    flat = chunks[0].flatten().to_numpy() if chunks else np.empty(0, np.int32)
    return ProfileTable(
        _ints(table, "user_id"),
        _ints(table, "count"),
        _floats(table, "mean"),
        _floats(table, "deviation"),
        _floats(table, "largest"),
        flat.reshape(-1, HOURS),
        _floats(table, "home_lat"),
        _floats(table, "home_lon"),
    )


def _ints(table: pa.Table, name: str) -> Ints:
    numbers: Ints = table[name].to_numpy()
    return numbers


def _floats(table: pa.Table, name: str) -> Floats:
    numbers: Floats = table[name].to_numpy()
    return numbers
