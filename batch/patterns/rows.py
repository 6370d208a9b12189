"""The rows that a search looks at: which columns, which of too many, each payload once, which are new.

Rows go by their place in the log (topic id, partition, offset) wherever an order is needed, so that it does
not depend on files.

Never: a row that is left out unsaid.
"""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.patterns.columns_of import COLUMNS
from ray_fraud.domain.patterns.finding import Bools, Ints
from ray_fraud.domain.patterns.sorting import order_of
from ray_fraud.domain.payload import PAYLOAD_DIGEST_BYTES

PLACE = ("topic_id", "partition", "offset")
SEARCHED = (*COLUMNS, *PLACE, "payload_digest")
"""What is read of every row."""
TOLD = (*COLUMNS, *PLACE, "record_time", "transaction_id")
"""What is read of the members of findings."""
READ = (*dict.fromkeys((*SEARCHED, *TOLD)),)
"""Both."""


class Cut(msgspec.Struct, frozen=True):
    """The last row that is looked at, by event time from the newest, then by place."""

    event_us: int
    topic_id: str
    partition: int
    offset: int

    def of(self, rows: pa.Table) -> Bools:
        """Which rows are looked at, shape (n,)."""
        event_us = rows["event_time"].cast(pa.int64()).to_numpy()
        kept: Bools = event_us > self.event_us
        # Mostly none or one; only they are compared by place.
        same = np.flatnonzero(event_us == self.event_us)
        limit = (self.topic_id, self.partition, self.offset)
        kept[same] = [place <= limit for place in places_of(rows.select(PLACE).take(same))]
        return kept


def cut_after(rows: pa.Table, count: int) -> Cut:
    """The cut that leaves `count` of the rows; they are more."""
    newest_first = -rows["event_time"].cast(pa.int64()).to_numpy()
    last = rows.take(by_place(rows, newest_first)[count - 1 : count])
    (place,) = places_of(last)
    return Cut(last["event_time"].cast(pa.int64())[0].as_py(), *place)


def by_place(rows: pa.Table, *before: Ints) -> Ints:
    """Positions in order of `before`, each of shape (n,), then of the place in the log; shape (n,)."""
    topics = rows["topic_id"].combine_chunks().dictionary_encode()
    names = topics.dictionary.to_pylist()
    rank = np.argsort(np.argsort(np.array(names, np.str_))) if names else np.zeros(1, np.int64)
    topic = rank[topics.indices.to_numpy()]
    offset, partition = rows["offset"].to_numpy(), rows["partition"].to_numpy()
    return order_of(*before, topic, partition, offset)


def places_of(rows: pa.Table) -> list[tuple[str, int, int]]:
    return list(zip(*(rows[name].to_pylist() for name in PLACE), strict=True))


def without_duplicates(rows: pa.Table) -> pa.Table:
    """The first record, by place, of each payload; in that order."""
    return rows.take(first_of_each(rows)) if rows.num_rows else rows


def first_of_each(rows: pa.Table) -> Ints:
    """Positions of the first record, by place, of each payload; in that order."""
    order = by_place(rows)
    digests = rows["payload_digest"].combine_chunks()
    # Mostly hardly one comes twice, and hashing all of them took two thirds of the time of this.
    shared = np.flatnonzero(_may_be_shared(digests)[order])
    numbered = pa.table({"digest": digests.take(order[shared]), "row": shared})
    first = numbered.group_by("digest").aggregate([("row", "min")])["row_min"]
    kept = np.ones(len(order), np.bool_)
    kept[shared] = False
    kept[first.to_numpy()] = True
    return order[kept]


def _may_be_shared(digests: pa.Array) -> Bools:
    """Which digests begin like another one, shape (n,); all that another one equals are among them."""
    if pc.any(pc.not_equal(pc.binary_length(digests), PAYLOAD_DIGEST_BYTES)).as_py():
        return np.ones(len(digests), np.bool_)
    content = digests.cast(pa.binary(PAYLOAD_DIGEST_BYTES))
    numbers = np.frombuffer(content.buffers()[1], np.int64).reshape(-1, PAYLOAD_DIGEST_BYTES // 8)
    begins = numbers[content.offset : content.offset + len(content), 0]
    ascending = np.sort(begins)
    twice = np.unique(ascending[1:][ascending[1:] == ascending[:-1]])
    if not len(twice):
        return np.zeros(len(digests), np.bool_)
    found: Bools = twice[np.minimum(np.searchsorted(twice, begins), len(twice) - 1)] == begins
    return found


class Seen(msgspec.Struct, frozen=True):
    """How far earlier searches have looked: the next offset of each partition that had a row."""

    positions: tuple[tuple[str, int, int], ...] = ()
    """(topic id, partition, next offset), sorted."""

    def __add__(self, other: "Seen") -> "Seen":
        furthest: dict[tuple[str, int], int] = {}
        for topic_id, partition, position in (*self.positions, *other.positions):
            furthest[topic_id, partition] = max(position, furthest.get((topic_id, partition), 0))
        return Seen(tuple(sorted((*key, position) for key, position in furthest.items())))

    def new_in(self, rows: pa.Table) -> Bools:
        """Which rows no search has seen, shape (n,)."""
        new = np.ones(rows.num_rows, np.bool_)
        for topic_id, partition, position in self.positions:
            old = pc.and_(pc.equal(rows["topic_id"], topic_id), pc.equal(rows["partition"], partition))
            old = pc.and_(old, pc.less(rows["offset"], position))
            new &= ~old.to_numpy()
        return new


def seen_in(rows: pa.Table) -> Seen:
    """As far as these rows."""
    plain = rows.select(PLACE).set_column(0, "topic_id", rows["topic_id"].cast(pa.string()))
    last = plain.group_by(["topic_id", "partition"]).aggregate([("offset", "max")])
    columns: Iterable[Sequence[int | str]] = (
        last[name].to_pylist() for name in ("topic_id", "partition", "offset_max")
    )
    return Seen(
        tuple(sorted((topic, part, offset + 1) for topic, part, offset in zip(*columns, strict=True)))
    )
