"""Where a user's records belong: Kafka's murmur2 of the user id as the producer wrote it.

A partition holds the whole history of its users only if every producer places records so. Java's clients and
kafka-python do by default; others need a setting (`docs/producers.md`).

Never: deciding about a transaction; a record in the wrong partition is folded where it lies.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF

_DIGITS: Final = 20
"""Bytes of the longest user id as text (19 digits), and one zero that ends the last word."""
_WORDS: Final = Struct("<I").iter_unpack

FEW: Final = 32
"""Up to so many users, hashing one by one is faster than the fixed cost of the columns."""
KNOWN_USERS: Final = 65_536
"""Users that a partition remembers as placed rightly or wrongly: about 6 MB."""


def murmur2(data: bytes) -> int:
    """The 32 bits of `org.apache.kafka.common.utils.Utils.murmur2`, unsigned."""
    length = len(data)
    whole = length & ~3
    state = _SEED ^ length
    for (word,) in _WORDS(data[:whole]):
        mixed = word * _M & _MASK
        state = (state * _M & _MASK) ^ ((mixed ^ mixed >> 24) * _M & _MASK)
    if whole != length:
        state = (state ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    state = (state ^ state >> 13) * _M & _MASK
    return state ^ state >> 15


def partition_of_key(key: bytes, partitions: int) -> int:
    """The partition of a record with this key, 0 … partitions - 1, by murmur2."""
    return (murmur2(key) & _POSITIVE) % partitions


def user_key(user_id: int, user_text: str | None = None) -> bytes:
    """The key of a user's records; `user_text` is the id that was sent, if it is text."""
    return b"%d" % user_id if user_text is None else user_text.encode()


def partition_of_user(user_id: int, partitions: int, user_text: str | None = None) -> int:
    """The partition that holds all records of a user, if every producer keeps to the contract."""
    return partition_of_key(user_key(user_id, user_text), partitions)


def partitions_of_users(user_ids: NDArray[np.int64], partitions: int) -> NDArray[np.uint32]:
    """The same for many users; shape (n,) to (n,)."""
    texts = user_ids.astype(f"S{_DIGITS}").view(np.uint8).reshape(-1, _DIGITS)
    words: NDArray[np.uint32] = texts.view(np.uint32)
    lengths = np.count_nonzero(texts, axis=1).astype(np.uint32)
    whole = lengths // np.uint32(4)
    m, r = np.uint32(_M), np.uint32(24)
    state: NDArray[np.uint32] = lengths ^ np.uint32(_SEED)
    for index in range(_DIGITS // 4 - 1):
        mixed = words[:, index] * m
        mixed = (mixed ^ mixed >> r) * m
        state = np.where(whole > index, state * m ^ mixed, state)
    # Behind the text are zeros, so its last bytes are a word as they stand.
    tail = words[np.arange(len(words)), whole]
    state = np.where(lengths % np.uint32(4) > 0, (state ^ tail) * m, state)
    state = (state ^ state >> np.uint32(13)) * m
    state = state ^ state >> np.uint32(15)
    placed: NDArray[np.uint32] = (state & np.uint32(_POSITIVE)) % np.uint32(partitions)
    return placed


class Placement:
    """Which users of one partition belong to it; remembers a bounded number of them."""

    def __init__(self, partition: int, partitions: int, known_users: int = KNOWN_USERS) -> None:
        self._partition = partition
        self._partitions = partitions
        self._limit = known_users
        self._home: set[int] = set()
        self._away: set[int] = set()

    def misrouted(self, user_ids: Sequence[int], texts: Mapping[int, str] = MappingProxyType({})) -> int:
        """How many of these records' users belong to another partition; one id per record.

        `texts`: of the users whose id is text, that text.
        """
        strangers = set(user_ids) - self._home
        if not strangers:
            return 0
        new = strangers - self._away
        if len(self._home) + len(self._away) + len(new) > self._limit:
            self._home.clear()
            self._away.clear()
            new = strangers
        if new:
            self._learn(sorted(new - texts.keys()))
            for user_id in new & texts.keys():
                self._note(user_id, partition_of_user(user_id, self._partitions, texts[user_id]))
        away = self._away
        return 0 if away.isdisjoint(strangers) else sum(user_id in away for user_id in user_ids)

    def is_away(self, user_id: int) -> bool:
        """Whether a user of the last batch belongs to another partition."""
        return user_id in self._away

    def _learn(self, new: list[int]) -> None:
        if len(new) <= FEW:
            placed = [partition_of_user(user_id, self._partitions) for user_id in new]
        else:
            placed = partitions_of_users(np.array(new, np.int64), self._partitions).tolist()
        for user_id, partition in zip(new, placed, strict=True):
            self._note(user_id, partition)

    def _note(self, user_id: int, partition: int) -> None:
        (self._home if partition == self._partition else self._away).add(user_id)
