"""Where Kafka's clients with the default partitioner place a record: murmur2 of the key.

Never: a random choice (a record without a key goes to partition 0).
"""

from ray_fraud.domain.placement import partition_of_key


def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition of a record with this key, 0 … partitions - 1."""
    return 0 if key is None else partition_of_key(key, partitions)
