"""Kafka's default placement of a record: murmur2 of the key, as every client does it.

Never: a random choice (a record without a key goes to partition 0).
"""

from kafka.partitioner.default import murmur2


def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition of a record with this key, 0 … partitions - 1."""
    if key is None:
        return 0
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
