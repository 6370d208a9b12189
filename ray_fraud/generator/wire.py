"""Record batches of Kafka's message format version 2, put together from prepared pieces.

Format: Kafka protocol guide, "Record Batch" (magic 2). A general producer spends some 30 µs of Python per
record on futures, type checks and varints; here everything about a record but its time and id was
computed before the run.

Never: compression, headers, producer ids: a load generator needs none of them.
"""

import struct
from dataclasses import dataclass

from crc32c import crc32c

from ray_fraud.generator.prepared import HEAD, MIDDLE, VALUE_BYTES_BEFORE_TAIL, Template

MAX_BATCH_RECORDS = 4096
"""Keeps the offset within a batch at two bytes of varint."""
_BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")
_FROM_CRC = struct.Struct(">hiqqqhii")
_AFTER_LENGTH = 12


@dataclass(frozen=True, slots=True)
class WireTemplate:
    """The pieces of one record between which time, id and offset are put."""

    short_start: bytes
    """Length, attributes and time delta 0, for an offset of one byte (below 64)."""
    long_start: bytes
    """The same for an offset of two bytes."""
    before_time: bytes
    """Key, length of the value, and the value up to its time."""
    tail: bytes
    """The value after its id, and the number of headers (none)."""


def wire_template(template: Template) -> WireTemplate:
    """The fixed pieces of a record."""
    value_bytes = VALUE_BYTES_BEFORE_TAIL + len(template.tail)
    before_time = varint(len(template.key)) + template.key + varint(value_bytes) + HEAD
    fixed_bytes = 2 + len(before_time) - len(HEAD) + value_bytes + 1
    return WireTemplate(
        varint(fixed_bytes + 1) + b"\0\0",
        varint(fixed_bytes + 2) + b"\0\0",
        before_time,
        template.tail + b"\0",
    )


def record_batch(
    templates: list[WireTemplate], timestamp_ms: int, id_prefix: bytes, first_number: int
) -> bytes:
    """One batch; every record has the same time, the ids are the 24-byte prefix and 12 hexadecimal digits.

    `timestamp_ms` is both the record timestamp and the transaction's event time.

    Raises:
        ValueError: no record, or more than `MAX_BATCH_RECORDS`.
    """
    count = len(templates)
    if not 0 < count <= MAX_BATCH_RECORDS:
        raise ValueError(f"templates: {count} records, must be 1 … {MAX_BATCH_RECORDS}")
    before_id = b"%d.%03d" % divmod(timestamp_ms, 1000) + MIDDLE + id_prefix
    pieces: list[bytes] = []
    extend = pieces.extend
    for index, template in enumerate(templates):
        extend(
            (
                template.short_start if index < 64 else template.long_start,
                _OFFSETS[index],
                template.before_time,
                before_id,
                b"%012x" % (first_number + index),
                template.tail,
            )
        )
    body = b"".join(pieces)
    checked = _FROM_CRC.pack(0, count - 1, timestamp_ms, timestamp_ms, -1, -1, -1, count)
    crc = crc32c(body, crc32c(checked))
    head = _BATCH_HEADER.pack(
        0,
        _BATCH_HEADER.size - _AFTER_LENGTH + len(body),
        -1,
        2,
        crc,
        0,
        count - 1,
        timestamp_ms,
        timestamp_ms,
        -1,
        -1,
        -1,
        count,
    )
    return head + body


def varint(number: int) -> bytes:
    """Zigzag base-128 varint of a number >= 0, as Kafka (after Protocol Buffers) writes it."""
    rest = number << 1
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_OFFSETS = [varint(index) for index in range(MAX_BATCH_RECORDS)]
