"""What identifies a payload: the digest that tells a duplicate, and the short hash of a transaction id.

Never: the card number or its token (a changed key must not turn a duplicate into a new transaction).
"""

from hashlib import blake2b

import msgspec

from ray_fraud.domain.transaction import Transaction

PAYLOAD_DIGEST_BYTES = 16
ID_HASH_BYTES = 4

_encode = msgspec.msgpack.Encoder().encode


def payload_digest(tx: Transaction) -> bytes:
    """BLAKE2b-128 (16 bytes) of the MessagePack array of all contract fields but the card.

    The order is transaction_id, user_id, amount, timestamp, lat, lon, city, country, merchant_id, device_id,
    currency, channel; nil for what is absent; amount, timestamp, lat and lon are float64.
    """
    # Times 1.0, not `float()`, of which every record would pay for four calls; it keeps the sign of -0.0.
    location = tx.location
    if location is None:
        lat = lon = city = country = None
    else:
        lat, lon = location.lat * 1.0, location.lon * 1.0
        city, country = location.city, location.country
    fields = (
        tx.transaction_id,
        tx.user_id,
        tx.amount * 1.0,
        tx.timestamp * 1.0,
        lat,
        lon,
        city,
        country,
        tx.merchant_id,
        tx.device_id,
        tx.currency,
        tx.channel,
    )
    return blake2b(_encode(fields), digest_size=PAYLOAD_DIGEST_BYTES).digest()


def id_hash(transaction_id: str) -> bytes:
    """BLAKE2b-32 (4 bytes) of the UTF-8 transaction id; only a counter depends on it, so it may collide."""
    return blake2b(transaction_id.encode(), digest_size=ID_HASH_BYTES).digest()
