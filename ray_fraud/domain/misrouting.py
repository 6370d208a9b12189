"""Why records lie in the partition of other users: what their keys show, and the setting that mends it.

Never: a guess from one record alone where chance could have put it there.
"""

import zlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from ray_fraud.domain.placement import user_key

_FNV_OFFSET: Final = 2_166_136_261
_FNV_PRIME: Final = 16_777_619

EXPLAINED: Final = 0.9
"""Of the samples: with few partitions chance puts many keys where another hash would."""
ENOUGH: Final = 6
"""Samples without which no hash is named: chance alone agrees in one of `partitions`."""


class Cause(StrEnum):
    """What a producer does instead of murmur2 of the user id as text."""

    NO_KEY = "no_key"
    OTHER_KEY = "other_key"
    CRC32 = "crc32"
    FNV1A = "fnv1a"
    UNKNOWN = "unknown"


ADVICE: Final = {
    Cause.NO_KEY: "they have no key; send the user id as text as the record's key",
    Cause.OTHER_KEY: "their key is not the user id; send the user id as text as the record's key",
    Cause.CRC32: "their keys are placed by CRC32, librdkafka's default; set partitioner=murmur2_random",
    Cause.FNV1A: "their keys are placed by FNV-1a, sarama's default; set a murmur2 partitioner there",
    Cause.UNKNOWN: "their producer places keys in its own way; it must use murmur2, as Java's default does",
}


class MisroutedRecord(msgspec.Struct, frozen=True, gc=False):
    """One record in the wrong partition."""

    user_id: int
    key: bytes | None
    user_text: str | None = None
    """The user id that was sent, if it is text."""


class Misrouted(msgspec.Struct, frozen=True):
    """Those of one micro-batch."""

    count: int = 0
    samples: tuple[MisroutedRecord, ...] = ()
    """A few of them, to tell why."""


def likely_cause(samples: Sequence[MisroutedRecord], partition: int, partitions: int) -> Cause:
    """What explains nearly all of the samples, which were found in `partition`."""
    fits: dict[Cause, Callable[[bytes, MisroutedRecord], bool]] = {
        Cause.NO_KEY: lambda key, _: not key,
        Cause.OTHER_KEY: lambda key, sample: key != user_key(sample.user_id, sample.user_text),
        Cause.CRC32: lambda key, _: zlib.crc32(key) % partitions == partition,
        Cause.FNV1A: lambda key, _: _fnv1a_partition(key, partitions) == partition,
    }
    for cause, fit in fits.items():
        if cause in (Cause.CRC32, Cause.FNV1A) and len(samples) < ENOUGH:
            continue
        if sum(fit(sample.key or b"", sample) for sample in samples) > EXPLAINED * len(samples):
            return cause
    return Cause.UNKNOWN


def _fnv1a_partition(key: bytes, partitions: int) -> int:
    """As sarama's hash partitioner and librdkafka's `fnv1a`: of the absolute value of the signed hash."""
    state = _FNV_OFFSET
    for byte in key:
        state = ((state ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    signed = state - (1 << 32) if state >= 1 << 31 else state
    return abs(signed) % partitions
