"""One record of the Kafka log, and the identity of the partition it lies in.

Never: a clock, a client, a decoder.
"""

from typing import NamedTuple

import msgspec

from ray_fraud.domain.transaction import Transaction

Headers = tuple[tuple[str, bytes], ...]


class PartitionId(NamedTuple):
    """A partition of one life of a topic; a topic made again under its name is another one."""

    cluster_id: str
    topic_id: str
    partition: int

    def __str__(self) -> str:
        return f"{self.cluster_id}:{self.topic_id}:{self.partition}"


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as the log holds it, not yet decoded."""

    offset: int
    timestamp_ms: int
    """Kafka timestamp (CreateTime), unix milliseconds: the producer's intended send time."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class DecodedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that the decoder has accepted, without its bytes."""

    offset: int
    timestamp_ms: int
    """As the record's."""
    transaction: Transaction
    digest: bytes
    """Payload digest, 16 bytes."""
