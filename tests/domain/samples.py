"""Transactions, records and decoders that the tests of the pure core share."""

from typing import Any

import msgspec

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import Record
from ray_fraud.domain.transaction import Location, Transaction

NOW_S = 1_700_000_000
"""14 November 2023, 22:13:20 UTC: a Tuesday."""
NOW_MS = NOW_S * 1000
BERLIN = Location(52.52, 13.405, "Berlin", "DE")
TOKYO = Location(35.6762, 139.6503, "Tokyo", "JP")
CARD_KEY = b"a key of the tests alone"


def transaction(
    transaction_id: str = "t1",
    *,
    user_id: int = 7,
    amount: float = 10.0,
    seconds: float = 0.0,
    location: Location | None = BERLIN,
    **fields: Any,
) -> Transaction:
    """A valid transaction, `seconds` after `NOW_S`."""
    return Transaction(transaction_id, user_id, amount, NOW_S + seconds, location, **fields)


def record(offset: int, tx: Transaction | bytes, *, timestamp_ms: int | None = None, **extra: Any) -> Record:
    """The record of a transaction, by default sent at its event time."""
    if isinstance(tx, bytes):
        return Record(offset, NOW_MS if timestamp_ms is None else timestamp_ms, None, tx)
    content = {name: value for name, value in msgspec.to_builtins(tx).items() if value is not None}
    value = msgspec.json.encode(content | extra)
    return Record(
        offset, tx.event_ms if timestamp_ms is None else timestamp_ms, str(tx.user_id).encode(), value
    )


def decoder() -> Decoder:
    return Decoder(CARD_KEY)
