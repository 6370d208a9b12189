"""One record of the Kafka log, and the identity of the partition it lies in.

Never: a clock, a client, a decoder.
"""

from typing import NamedTuple

import msgspec

from ray_fraud.domain.transaction import Transaction

Headers = tuple[tuple[str, bytes | None], ...]
"""Names and values in the record's order; a name may repeat, a value may be null.

The protocol asks no encoding of names: bytes that are not UTF-8 stand as lone surrogates (`surrogateescape`).
"""


class PartitionId(NamedTuple):
    """A partition of one life of a topic; a topic made again under its name is another one."""

    cluster_id: str
    topic_id: str
    partition: int

    def __str__(self) -> str:
        return f"{self.cluster_id}:{self.topic_id}:{self.partition}"


class Cut(msgspec.Struct, frozen=True, gc=False):
    """What a record was as a whole that is too large to be held: the reader kept beginnings only."""

    value_size: int
    """Bytes of the whole value; 0 for none."""
    value_sha256: bytes
    """SHA-256 of the whole value with each ASCII digit as `*`, 32 bytes; empty if the value is held whole."""
    key_size: int
    """Bytes of the whole key; 0 for none."""
    header_count: int
    headers_size: int
    """Bytes of all headers as they lie in the log, their lengths included."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as the log holds it, not yet decoded."""

    offset: int
    timestamp_ms: int
    """Kafka timestamp (CreateTime), unix milliseconds: the producer's intended send time."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    cut: Cut | None = None
    """None: the record is held whole."""


class DecodedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that the decoder has accepted, without its bytes."""

    offset: int
    timestamp_ms: int
    """As the record's."""
    transaction: Transaction
    digest: bytes
    """Payload digest, 16 bytes."""
    event_ms: int
    """As the transaction's, which computes it anew each time."""
