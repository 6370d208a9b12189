"""From rows of the table `transactions` back to the records that the hot path folded.

Never: decoding anew; a row out of the order of its offset.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.record import DecodedRecord
from ray_fraud.domain.transaction import CardToken, Location, Transaction

COLUMNS = (
    "offset",
    "record_time",
    "transaction_id",
    "user_id",
    "amount",
    "timestamp",
    "lat",
    "lon",
    "city",
    "country",
    "merchant_id",
    "device_id",
    "currency",
    "channel",
    "card_token",
    "card_first6",
    "card_last4",
    "payload_digest",
)
"""What has to be read of the table."""

_US_PER_MS = 1_000


def decoded_records(rows: pa.Table) -> list[DecodedRecord]:
    """The records of one partition's rows, by offset."""
    ordered = rows.sort_by("offset")
    at_ms = pc.divide(ordered["record_time"].cast(pa.int64()), _US_PER_MS).to_pylist()
    values = {name: ordered[name].to_pylist() for name in COLUMNS}
    places = _places(values["lat"], values["lon"], values["city"], values["country"])
    cards = _cards(ordered, values)
    transactions = list(
        map(
            Transaction,
            values["transaction_id"],
            values["user_id"],
            values["amount"],
            values["timestamp"],
            places,
            values["merchant_id"],
            values["device_id"],
            values["currency"],
            values["channel"],
            cards,
        )
    )
    event_ms = [transaction.event_ms for transaction in transactions]
    return list(map(DecodedRecord, values["offset"], at_ms, transactions, values["payload_digest"], event_ms))


def _places(
    lats: Sequence[float | None],
    lons: Sequence[float | None],
    cities: Sequence[str | None],
    countries: Sequence[str | None],
) -> list[Location | None]:
    return [
        None if lat is None or lon is None else Location(lat, lon, city, country)
        for lat, lon, city, country in zip(lats, lons, cities, countries, strict=True)
    ]


def _cards(rows: pa.Table, values: dict[str, list[Any]]) -> Sequence[CardToken | None]:
    if rows["card_token"].null_count == rows.num_rows:
        return [None] * rows.num_rows
    parts = zip(values["card_token"], values["card_first6"], values["card_last4"], strict=True)
    return [None if token is None else CardToken(token, first, last) for token, first, last in parts]
