"""How a refused record travels on topic `transactions.dlq`: its bytes, and headers that say why.

Never: a card number in clear; a clock or a random id (a replay writes the same dead letter again).
"""

import hashlib
import uuid

import msgspec

from ray_fraud import __version__
from ray_fraud.domain.masking import mask_card_numbers
from ray_fraud.domain.record import Headers
from ray_fraud.domain.rejection import DeadLetter, Rejection

DEAD_LETTER_NAMESPACE = uuid.UUID("0d1f2b52-6a43-5c88-8f53-7a3e0a4f9b21")
"""Namespace of correlation ids; changing it would give a dead letter a second identity."""
MAX_MESSAGE_BYTES = 512


class DlqValue(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a refused value, and the headers that tell what was done to it (none if nothing)."""

    value: bytes | None
    headers: Headers = ()


def correlation_id(topic: str, partition: int, offset: int) -> uuid.UUID:
    """UUIDv5 of the record's place; the same record has the same id in the dead letters, logs and replays."""
    return uuid.uuid5(DEAD_LETTER_NAMESPACE, f"{topic}:{partition}:{offset}")


def dlq_headers(dead: DeadLetter, topic: str, partition: int, *, attempts: int = 1) -> Headers:
    """The record's own headers followed by the `dlq.*` ones, all UTF-8 text.

    `topic` and `partition` are where the record was read; `attempts` is how often it was tried (a refusal by
    the contract is final at the first). `dlq.timestamp` is the record's Kafka timestamp in unix milliseconds.
    """
    record, rejection = dead.record, dead.rejection
    told = {
        "dlq.topic": topic,
        "dlq.partition": str(partition),
        "dlq.offset": str(record.offset),
        "dlq.timestamp": str(record.timestamp_ms),
        "dlq.error.class": f"{Rejection.__module__}.{Rejection.__qualname__}",
        "dlq.error.code": rejection.code.value,
        "dlq.error.field": rejection.field,
        "dlq.error.message": rejection.message,
        "dlq.app.version": __version__,
        "dlq.attempts": str(attempts),
        "dlq.correlation_id": str(correlation_id(topic, partition, record.offset)),
    }
    ours = tuple((name, text.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES]) for name, text in told.items())
    return record.headers + ours


def dlq_value(value: bytes | None, limit_bytes: int) -> DlqValue:
    """The value byte for byte, but for masked card numbers, cut at `limit_bytes` (>= 0) if longer.

    Masking keeps the length. A cut value has headers with its original size in bytes and the SHA-256 of
    the whole *masked* value: a hash of the original would let anyone try the masked digits until it fits.
    """
    if limit_bytes < 0:
        raise ValueError(f"limit_bytes is {limit_bytes}; it must be at least 0")
    if value is None:
        return DlqValue(None)
    masked = mask_card_numbers(value)
    headers: Headers = () if masked is value else (("dlq.value.masked", b"true"),)
    if len(masked) > limit_bytes:
        headers += (
            ("dlq.value.truncated", b"true"),
            ("dlq.value.size", str(len(value)).encode()),
            ("dlq.value.sha256", hashlib.sha256(masked).hexdigest().encode()),
        )
        masked = masked[:limit_bytes]
    return DlqValue(masked, headers)
