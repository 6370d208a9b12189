"""What the platform needs of a log, and what it may rely on.

Never: a Kafka client, a consumer group that assigns partitions, a silent skip of offsets.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

from ray_fraud.domain.record import Headers, PartitionId, Record
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import StoreError, StoreRefused
from ray_fraud.stores.log.topic_policy import TopicPolicy

LAG_GROUP = "ray-fraud"
"""The consumer group whose committed offsets lag tools read; nothing else uses them."""


class LogBounds(NamedTuple):
    start: int
    """The first offset that still exists."""
    end: int
    """One past the last committed one: where the oldest open transaction begins, else the high watermark."""


class EpochEnd(NamedTuple):
    """The log's newest leader epoch that is not above the one asked for, and where it ends."""

    leader_epoch: int
    offset: int
    """One past its last record: from here on the log holds records of newer leaders."""


class RecordPosition(NamedTuple):
    partition: int
    offset: int


class LogGap(StoreError):
    """The position is outside of the log: the offsets between are lost, which must be declared.

    `to_offset > from_offset`: retention deleted [from_offset, to_offset). `to_offset < from_offset`: the log
    ends before the position, so [to_offset, from_offset) was cut off. After declaring it, seek `to_offset`.
    """

    code = "log_gap"

    def __init__(self, from_offset: int, to_offset: int) -> None:
        super().__init__(
            "kafka",
            f"position {from_offset} is outside of the log, which continues at {to_offset}: declare the gap",
        )
        self.args = (from_offset, to_offset)
        self.from_offset = from_offset
        self.to_offset = to_offset


class LogDamaged(StoreError):
    """The records of `[from_offset, to_offset)` cannot be read: a checksum, a length or a codec is wrong.

    It may be the connection or one replica: try again a few times (each with a fresh client). Then the
    offsets are lost until somebody mends the log: put them on record, and seek `to_offset`.
    """

    code = "log_damaged"

    def __init__(self, partition: int, from_offset: int, to_offset: int, cause: str) -> None:
        super().__init__(
            "kafka",
            f"partition {partition}: offsets {from_offset} to {to_offset - 1} cannot be read: {cause}",
        )
        self.args = (partition, from_offset, to_offset, cause)
        self.partition = partition
        self.from_offset = from_offset
        self.to_offset = to_offset
        self.cause = cause


class TopicReplaced(StoreRefused):
    """The topic was deleted and made again: its offsets are another log's. Restart with the new topic id."""

    code = "topic_replaced"

    def __init__(self, topic: str, expected_id: str, found_id: str) -> None:
        super().__init__(
            "kafka", f"topic {topic!r} has id {found_id}, expected {expected_id}: it was made again"
        )
        self.args = (topic, expected_id, found_id)
        self.topic = topic
        self.expected_id = expected_id
        self.found_id = found_id


class WrongPartitionCount(StoreRefused):
    """The input has another number of partitions than the settings say: users would change partitions."""

    code = "wrong_partition_count"

    def __init__(self, topic: str, found: int, expected: int) -> None:
        super().__init__("kafka", f"topic {topic!r} has {found} partitions, the settings say {expected}")
        self.args = (topic, found, expected)
        self.topic = topic
        self.found = found
        self.expected = expected


class TopicEnds(NamedTuple):
    """One look at a topic from outside of every reader."""

    topic_id: str
    ends: Mapping[int, int | None]
    """Of every partition that the topic has: one past the last offset that a reader of committed records can
    reach now (an open transaction ends it); None: it has no leader at the moment."""


Watch = Callable[[int, int], str | None]
"""Told the offsets `[from, to)` of a batch before it is unpacked: the cause to refuse it for, or None."""


class LogReader(Protocol):
    """One partition, assigned by hand; not for use by two threads at once."""

    @property
    def partition(self) -> PartitionId: ...

    def bounds(self) -> LogBounds:
        """Asks the broker; costs a round trip or two."""

    def seek(self, offset: int, leader_epoch: int = -1) -> None:
        """The next poll starts at `offset`; whether that exists shows then.

        With the `leader_epoch` of the record before it, a log that was cut off below and has grown again
        shows, too.
        """

    def poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:
        """The next records in order of offset; empty if none came within `timeout`.

        Fewer than there are if they are large (`limits.POLL_BYTES`); beginnings of those that are too large.

        Raises:
            LogGap: the position lies outside of the log; the position is unchanged.
            TopicReplaced: the topic is not the one that `partition` names.
            LogDamaged: the next records cannot be read; the position is unchanged.
            StoreUnavailable: the broker did not answer; the position is unchanged.
        """

    def leader_epoch(self) -> int:
        """The leader epoch of the newest record that `poll` returned, or of `seek`; -1: not known."""

    def end_of_epoch(self, leader_epoch: int) -> EpochEnd | None:
        """Where the log's records of a leader epoch end, asked from the broker; None: it does not know.

        Records of that epoch at or above the answer were cut off; their offsets are, or will be, others'
        (KIP-101, KIP-320).

        Raises:
            StoreUnavailable: no answer; try again.
        """

    def position(self) -> int:
        """The lowest offset that the next poll can return: past holes that earlier polls went over."""

    def end_offset(self) -> int | None:
        """`LogBounds.end` as the newest fetch response told it, without a round trip."""

    def watch(self, watch: Watch | None) -> None:
        """Polls tell `watch` (None: nobody) of each batch that they fetch from now on, before it is unpacked.

        One that it refuses is `LogDamaged`. A large batch is told of each time that more of it is unpacked.
        """

    def commit_for_lag_tools(self, offset: int) -> None:
        """Send `offset` to the consumer group `ray-fraud`; does not wait, and a failure is only logged."""

    def close(self) -> None:
        """No call may follow. Repeating it is harmless."""


class Pending(Protocol):
    """One record on its way."""

    def wait(self, timeout: timedelta) -> RecordPosition:
        """Block until all in-sync replicas have it.

        Raises:
            StoreUnavailable: not acknowledged in time; it may or may not be in the log.
            RecordTooLarge: it is over the topic's limit or the client's.
            StoreRefused: the broker or client will never take it for another reason (not authorised).
        """


class LogWriter(Protocol):
    """Appends in order per partition, acknowledged by all in-sync replicas, without reordering by retries."""

    def prepare(self, topic: str) -> None:
        """Fetch now what the first record for `topic` would wait for.

        Raises:
            StoreUnavailable: no broker answers, or none knows the topic yet.
            StoreRefused: not authorised.
        """

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Pending:
        """Begin to append one record; what goes wrong shows in `Pending.wait`.

        Args:
            partition: None: by the key, with Kafka's default (murmur2) partitioner.
            timestamp_ms: None: the time of sending.
            headers: a null value is written as an empty one (kafka-python's producer knows no null).
        """

    def largest_batch_bytes(self, topic: str, *, fresh: bool = False) -> int:
        """The largest batch, uncompressed, that the topic takes: see `ray_fraud.domain.record_size`.

        It is what the topic's configuration says now, or, unless `fresh`, said within the last minute; less
        where the broker compresses anew, because that may add to what cannot be compressed.

        Raises:
            StoreUnavailable: no broker answers.
        """

    def flush(self, timeout: timedelta) -> None:
        """Block until everything sent so far has ended, well or badly.

        Raises:
            StoreUnavailable: something is still on its way after `timeout`.
        """

    def close(self) -> None:
        """Flush for a bounded time and close. Repeating it is harmless."""


class Append(NamedTuple):
    """One record of an atomic append."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
    """None: the time of sending."""


class AtomicWriter(Protocol):
    """Appends all records of a call or none, under a name that one writer at a time holds."""

    def take_over(self) -> None:
        """Fence every earlier writer of this name; what they had not finished is undone or done afterwards.

        Must be called before the first `append`, and again after one that failed.

        Raises:
            StoreUnavailable: no broker answers.
        """

    def append(self, records: Sequence[Append]) -> None:
        """All of them become readable together, after this call at the latest.

        Raises:
            Fenced: a later writer of this name took over; nothing was appended.
            StoreUnavailable: all may be there or none: take over again, then look.
            StoreRefused: none is there.
        """

    def close(self) -> None:
        """No call may follow. Repeating it is harmless."""


class LogAdmin(Protocol):
    def cluster_id(self) -> str: ...

    def ensure_topics(self, topics: Topics) -> None:
        """Create the topics that are missing; the dead letters' size limit is the input's + 64 KiB.

        What an existing topic of dead letters takes less is cut off them, with a warning.

        Those that are only written to by key may have any number of partitions.

        Raises:
            WrongPartitionCount: of the input, whose partitions hold users' states.
        """

    def ensure_rekeying(self, topics: Topics) -> int:
        """Create what re-keying needs and is missing; the number of partitions of `topics.rekey_from`.

        Before `ensure_topics`, which would make `topics.transactions` with the broker's own limits.

        Raises:
            StoreRefused: `topics.rekey_from` is not set.
        """

    def topic_id(self, topic: str) -> str:
        """The UUID that this life of the topic has.

        Raises:
            StoreRefused: there is no such topic.
        """

    def partition_count(self, topic: str) -> int: ...

    def ends(self, topic: str) -> TopicEnds:
        """Asks the brokers; says nothing about what any reader of ours does.

        Raises:
            StoreRefused: there is no such topic.
            StoreUnavailable: a leader did not answer in time.
        """

    def retention(self, topic: str) -> timedelta | None:
        """How long records are kept at least; None: for ever (or limited by size only).

        A compacted topic keeps them no longer than its compaction lag.
        """

    def policy(self, topic: str) -> TopicPolicy:
        """What the broker does to the records of a topic.

        Raises:
            StoreRefused: there is no such topic.
        """

    def close(self) -> None: ...
