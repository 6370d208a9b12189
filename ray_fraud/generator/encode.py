"""Transactions and labels as the bytes that Kafka carries.

The layout of a transaction is fixed: time and id come first, in slots of known width, so that prepared
records can be sent again under a new time and id by slicing (see `prepared`).

Never: a field that the published contract does not know.
"""

from json import dumps

import msgspec

from ray_fraud.domain.transaction import Location, Transaction
from ray_fraud.generator.transaction import Label

TIMESTAMP_SLOT = slice(13, 27)
"""`{"timestamp":` is 13 bytes; unix seconds with three decimals are 14 until the year 2286."""
ID_SLOT = slice(46, 82)
"""After `,"transaction_id":"`: the 36 characters of a UUID."""


def encode_transaction(transaction: Transaction) -> bytes:
    """JSON, UTF-8, without absent fields and without a line end."""
    parts = [
        f'{{"timestamp":{transaction.timestamp:.3f},"transaction_id":"{transaction.transaction_id}"'
        f',"user_id":{transaction.user_id},"amount":{transaction.amount!r}'
    ]
    if transaction.location is not None:
        parts.append(_location(transaction.location))
    for name, text in (
        ("merchant_id", transaction.merchant_id),
        ("device_id", transaction.device_id),
        ("currency", transaction.currency),
        ("channel", transaction.channel),
    ):
        if text is not None:
            parts.append(f',"{name}":"{text}"')
    parts.append("}")
    return "".join(parts).encode()


def encode_label(label: Label) -> bytes:
    """JSON, UTF-8, without a line end."""
    return msgspec.json.encode(label)


def encode_key(user_id: int) -> bytes:
    """The record key: the user id as text."""
    return str(user_id).encode()


def _location(location: Location) -> str:
    place = f',"location":{{"lat":{location.lat!r},"lon":{location.lon!r}'
    if location.city is not None:
        place += f',"city":{dumps(location.city, ensure_ascii=False)}'
    if location.country is not None:
        place += f',"country":"{location.country}"'
    return place + "}"
