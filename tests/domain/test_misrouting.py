"""Which fault of a producer the keys of misrouted records show."""

import zlib
from collections.abc import Callable

import pytest

from ray_fraud.domain.misrouting import ADVICE, Cause, MisroutedRecord, likely_cause
from ray_fraud.domain.placement import partition_of_key, partition_of_user

PARTITIONS = 3
HERE = 1


def fnv1a(key: bytes) -> int:
    """As Go's `hash/fnv` and sarama's partitioner, which takes the absolute value of the signed sum."""
    state = 2166136261
    for byte in key:
        state = (state ^ byte) * 16777619 % 2**32
    return abs(state - 2**32 if state >= 2**31 else state)


def misrouted(key_of: Callable[[int], bytes | None], placed: Callable[[bytes], int]) -> list[MisroutedRecord]:
    """What a producer with these keys and that placement puts here although it belongs elsewhere."""
    found = []
    for user in range(1, 400):
        key = key_of(user)
        here = placed(key) % PARTITIONS == HERE if key else user % PARTITIONS == HERE
        if here and partition_of_user(user, PARTITIONS) != HERE:
            found.append(MisroutedRecord(user, key))
    return found


def text(user: int) -> bytes:
    return str(user).encode()


@pytest.mark.parametrize(
    ("key_of", "placed", "cause"),
    [
        (text, zlib.crc32, Cause.CRC32),
        (text, fnv1a, Cause.FNV1A),
        (text, lambda key: sum(key), Cause.UNKNOWN),
        (lambda _: None, zlib.crc32, Cause.NO_KEY),
        (lambda _: b"", zlib.crc32, Cause.NO_KEY),
        (lambda user: b'"%d"' % user, lambda key: partition_of_key(key, PARTITIONS), Cause.OTHER_KEY),
        (lambda user: user.to_bytes(8, "big"), zlib.crc32, Cause.OTHER_KEY),
    ],
)
def test_a_producers_fault_is_seen(
    key_of: Callable[[int], bytes | None], placed: Callable[[bytes], int], cause: Cause
) -> None:
    samples = misrouted(key_of, placed)
    assert len(samples) > 20
    assert likely_cause(samples, HERE, PARTITIONS) is cause
    assert cause in ADVICE


def test_one_record_names_no_hash() -> None:
    assert likely_cause(misrouted(text, zlib.crc32)[:1], HERE, PARTITIONS) is Cause.UNKNOWN
    assert likely_cause([], HERE, PARTITIONS) is Cause.UNKNOWN
