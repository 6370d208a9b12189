"""Names: the keys of a partition and its generations.

Never: a key that does not carry the partition's hash tag (all keys of one call must share a slot).
"""

from ray_fraud.domain.record import PartitionId

BUCKETS = 64
"""User hashes per generation: small enough to be read in one call each, whatever the number of users."""


def cut_key(partition: PartitionId) -> str:
    """The hash with the header."""
    return f"fraud:{{{partition}}}:cut"


def bucket_keys(partition: PartitionId, generation: str) -> list[str]:
    """The hashes of user id to state; a user's lies at `user_id % BUCKETS`."""
    prefix = f"fraud:{{{partition}}}:{generation}:users:"
    return [f"{prefix}{bucket}" for bucket in range(BUCKETS)]


def next_generation(epoch: int, *used: str) -> str:
    """The first name `<epoch>.<n>` above all of the `used` ones (empty strings are none)."""
    numbers = [int(n) for of_epoch, _, n in (name.partition(".") for name in used) if of_epoch == str(epoch)]
    return f"{epoch}.{max(numbers, default=-1) + 1}"
