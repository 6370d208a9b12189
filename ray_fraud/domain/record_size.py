"""How many bytes a record takes on its way into a topic: what `max.message.bytes` is compared with.

A topic's limit holds for a whole batch, uncompressed here: a record alone in its batch is the least that can
be sent. Format: https://kafka.apache.org/documentation/#recordbatch (message format 2).

Never: an estimate below the truth.
"""

from ray_fraud.domain.record import Headers

BATCH_OVERHEAD_BYTES = 61
"""The header of a batch, from its base offset to its count of records."""
_ATTRIBUTES_AND_DELTAS_BYTES = 3
"""Attributes, and the two deltas of timestamp and offset, which are 0 for the first record of a batch."""


def varint_bytes(number: int) -> int:
    """Size of a number >= 0 as a zigzag varint."""
    return max(1, (number.bit_length() + 7) // 7)


def field_bytes(size: int) -> int:
    """What bytes of this size take with their length before them."""
    return varint_bytes(size) + size


def name_bytes(name: str) -> bytes:
    """A header's name as it is in the record; see `Headers`."""
    return name.encode("utf-8", "surrogateescape")


def header_bytes(name: str, value: bytes | None) -> int:
    """What one header takes."""
    return field_bytes(len(name_bytes(name))) + field_bytes(len(value or b""))


def batch_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Size of an uncompressed batch that holds one record."""
    record = (
        _ATTRIBUTES_AND_DELTAS_BYTES
        + (1 if key is None else field_bytes(len(key)))
        + (1 if value is None else field_bytes(len(value)))
        + varint_bytes(len(headers))
        + sum(header_bytes(name, content) for name, content in headers)
    )
    return BATCH_OVERHEAD_BYTES + field_bytes(record)
