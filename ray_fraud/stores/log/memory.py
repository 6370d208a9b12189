"""A log in memory with the accidents that a broker can have: for tests and the deterministic simulation.

`MemoryBroker` is the broker and gives readers, writers and an admin; its own methods are the accidents.

Never: a thread, a clock, a random draw, waiting.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from ray_fraud.domain.record import Headers, PartitionId, Record
from ray_fraud.domain.record_size import batch_bytes
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import RecordTooLarge, StoreRefused, StoreUnavailable
from ray_fraud.stores.faults import Crashed, FaultPlan
from ray_fraud.stores.log.limits import (
    DEAD_LETTER_HEADROOM_BYTES,
    KEYED_RECORD_BYTES,
    MAX_RECORD_BYTES,
    check_limits,
)
from ray_fraud.stores.log.memory_topics import Damage, PartitionLog, Topic
from ray_fraud.stores.log.partitioning import partition_of
from ray_fraud.stores.log.port import (
    EpochEnd,
    LogBounds,
    LogDamaged,
    LogGap,
    RecordPosition,
    TopicEnds,
    TopicReplaced,
    Watch,
    WrongPartitionCount,
)
from ray_fraud.stores.log.topic_policy import TopicPolicy


class MemoryBroker:
    """All topics; `now_ms` gives the timestamp of records that are sent without one."""

    def __init__(self, cluster_id: str = "memory-cluster", now_ms: Callable[[], int] = lambda: 0) -> None:
        self.cluster_id = cluster_id
        self.now_ms = now_ms
        self._topics: dict[str, Topic] = {}
        self.writer_lives: dict[str, int] = {}
        """How often a writer took a name of atomic writers over."""
        self._created = 0

    # What the platform uses.

    def reader(
        self, topic: str, partition: PartitionId, faults: FaultPlan | None = None
    ) -> "MemoryLogReader":
        return MemoryLogReader(self, topic, partition, faults)

    def writer(self, faults: FaultPlan | None = None) -> "MemoryLogWriter":
        return MemoryLogWriter(self, faults)

    def admin(self, faults: FaultPlan | None = None) -> "MemoryLogAdmin":
        return MemoryLogAdmin(self, faults)

    def create(self, name: str, partitions: int, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._created += 1
        self._topics[name] = Topic(f"memory-topic-{self._created}", partitions, max_record_bytes)

    def topic(self, name: str) -> Topic:
        """Raises StoreRefused if there is none of this name."""
        if name not in self._topics:
            raise StoreRefused("kafka", f"topic {name!r} does not exist: create it or check its name")
        return self._topics[name]

    def has(self, name: str) -> bool:
        return name in self._topics

    def partition_id(self, name: str, partition: int) -> PartitionId:
        return PartitionId(self.cluster_id, self.topic(name).topic_id, partition)

    def records(self, name: str) -> list[Record]:
        """All existing records of a topic, partition by partition: what a test compares."""
        return [record for log in self.topic(name).logs for record in log.records]

    # Accidents.

    def duplicate_last(self, name: str, partition: int) -> int:
        """Append the newest record once more, as a producer that was started again would."""
        log = self.topic(name).logs[partition]
        newest = log.records[-1]
        return log.append(newest.timestamp_ms, newest.key, newest.value, newest.headers)

    def add_hole(self, name: str, partition: int, offsets: int = 1) -> None:
        """Use up offsets without a record, as transaction markers and compaction do."""
        self.topic(name).logs[partition].end += offsets

    def begin_transaction(self, name: str, partition: int) -> None:
        """What is appended from now on cannot be read before `end_transaction`."""
        log = self.topic(name).logs[partition]
        log.open_from = log.end

    def end_transaction(self, name: str, partition: int, *, commit: bool = True) -> None:
        """Appends the marker; an aborted transaction's records are holes."""
        log = self.topic(name).logs[partition]
        begin, log.open_from = log.open_from, None
        if not commit and begin is not None:
            log.records = [record for record in log.records if record.offset < begin]
        self.add_hole(name, partition)

    def damage(
        self,
        name: str,
        partition: int,
        from_offset: int,
        to_offset: int,
        *,
        cause: str = "its checksum is wrong",
        reads: int | None = None,
    ) -> None:
        """Makes offsets unreadable; for `reads` polls only, if that is given."""
        damage = Damage(from_offset, to_offset, cause, reads)
        self.topic(name).logs[partition].damage.append(damage)

    def kill_when_unpacked(self, name: str, partition: int, from_offset: int, to_offset: int) -> None:
        """Makes a batch of these offsets that ends each process that unpacks it."""
        self.topic(name).logs[partition].killers.append((from_offset, to_offset))

    def delete_before(self, name: str, partition: int, offset: int) -> None:
        """Retention: the log starts at `offset` now."""
        log = self.topic(name).logs[partition]
        log.start = offset
        log.records = [record for record in log.records if record.offset >= offset]

    def truncate(self, name: str, partition: int, end: int) -> None:
        """Unclean leader election: everything from `end` on is lost, and its offsets are given again."""
        self.topic(name).logs[partition].truncate(end)

    def elect(self, name: str, partition: int) -> None:
        """A clean election: nothing is lost, the leader epoch grows."""
        self.topic(name).logs[partition].elect()

    def recreate(self, name: str) -> None:
        """Delete the topic and make it again: empty, offsets from 0, another topic id."""
        old = self.topic(name)
        self.create(name, len(old.logs), old.max_record_bytes)

    def set_limit(self, name: str, max_record_bytes: int) -> None:
        """Somebody changes the topic's `max.message.bytes`."""
        self.topic(name).max_record_bytes = max_record_bytes

    def add_partitions(self, name: str, count: int) -> None:
        """Grow the topic to `count` partitions: keys go elsewhere from now on."""
        logs = self.topic(name).logs
        logs += [PartitionLog() for _ in range(count - len(logs))]


class MemoryLogReader:
    """Each poll and each `bounds` is one I/O step of `faults`."""

    def __init__(
        self, broker: MemoryBroker, topic: str, partition: PartitionId, faults: FaultPlan | None = None
    ) -> None:
        self.partition = partition
        self.committed: int | None = None
        self._broker = broker
        self._topic = topic
        self._faults = FaultPlan() if faults is None else faults
        self._position = 0
        self._leader_epoch = -1
        self._end: int | None = None
        self._watch: Watch | None = None

    def bounds(self) -> LogBounds:
        def action() -> LogBounds:
            log = self._log()
            return LogBounds(log.start, log.committed_end)

        return self._faults.step("kafka", "bounds", action)

    def seek(self, offset: int, leader_epoch: int = -1) -> None:
        self._position = offset
        self._leader_epoch = leader_epoch

    def poll(self, max_records: int, timeout: timedelta) -> Sequence[Record]:  # noqa: ARG002 - the port's signature
        records, position = self._faults.step("kafka", "poll", lambda: self._fetch(max_records))
        self._position = position
        if records:
            self._leader_epoch = self._log().epoch_at(records[-1].offset)
        return records

    def leader_epoch(self) -> int:
        return self._leader_epoch

    def end_of_epoch(self, leader_epoch: int) -> EpochEnd | None:
        return self._faults.step("kafka", "end_of_epoch", lambda: self._log().end_of_epoch(leader_epoch))

    def position(self) -> int:
        return self._position

    def end_offset(self) -> int | None:
        return self._end

    def watch(self, watch: Watch | None) -> None:
        self._watch = watch

    def commit_for_lag_tools(self, offset: int) -> None:
        self.committed = offset

    def close(self) -> None:
        return

    def _fetch(self, max_records: int) -> tuple[list[Record], int]:
        log = self._log()
        if not log.start <= self._position <= log.end:
            raise LogGap(self._position, log.start if self._position < log.start else log.end)
        common = log.end_of_epoch(self._leader_epoch) if self._leader_epoch >= 0 else None
        if common is not None and common.offset < self._position:
            raise LogGap(self._position, common.offset)
        end = self._end = log.committed_end
        records = [one for one in log.from_offset(self._position, max_records) if one.offset < end]
        reached = end if len(records) < max_records else records[-1].offset + 1
        for damage in log.damage:
            to_offset = min(end, damage.to_offset)
            if damage.from_offset < reached and self._position < to_offset and damage.reads != 0:
                readable = [record for record in records if record.offset < damage.from_offset]
                if readable:
                    return readable, readable[-1].offset + 1
                damage.reads = None if damage.reads is None else damage.reads - 1
                begin = max(self._position, damage.from_offset)
                raise LogDamaged(self.partition.partition, begin, to_offset, damage.cause)
        return self._unpacked(log, records, reached)

    def _unpacked(self, log: PartitionLog, records: list[Record], reached: int) -> tuple[list[Record], int]:
        """All of them as one batch, or those before a batch that kills."""
        for begin, end in log.killers:
            inside = [record for record in records if begin <= record.offset < end]
            if not inside:
                continue
            if records[0].offset < begin:
                records = [record for record in records if record.offset < begin]
                reached = begin
                break
            self._tell(begin, end)
            raise Crashed("unpacking")
        if records:
            self._tell(records[0].offset, reached)
        return records, reached

    def _tell(self, from_offset: int, to_offset: int) -> None:
        cause = None if self._watch is None else self._watch(from_offset, to_offset)
        if cause is not None:
            begin = max(self._position, from_offset)
            raise LogDamaged(self.partition.partition, begin, to_offset, cause)

    def _log(self) -> PartitionLog:
        topic = self._broker.topic(self._topic)
        if topic.topic_id != self.partition.topic_id:
            raise TopicReplaced(self._topic, self.partition.topic_id, topic.topic_id)
        return topic.logs[self.partition.partition]


class MemoryPending:
    """What `send` ended with."""

    def __init__(self, result: RecordPosition | Exception) -> None:
        self._result = result

    def wait(self, timeout: timedelta) -> RecordPosition:  # noqa: ARG002 - the port's signature
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class MemoryLogWriter:
    """Each send is one I/O step of `faults`; FAIL_AFTER is a lost acknowledgement of a written record."""

    def __init__(self, broker: MemoryBroker, faults: FaultPlan | None = None) -> None:
        self._broker = broker
        self._faults = FaultPlan() if faults is None else faults
        self._limits: dict[str, int] = {}

    def prepare(self, topic: str) -> None:
        def action() -> None:
            if not self._broker.has(topic):
                raise StoreUnavailable("kafka", f"topic {topic!r} is not known to any broker")

        self._faults.step("kafka", "prepare", action)

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> MemoryPending:
        def action() -> RecordPosition:
            if key is None and value is None:
                raise StoreRefused("kafka", "key and value: both are missing, a record needs one of them")
            target = self._broker.topic(topic)
            size = batch_bytes(key, value, tuple(headers))
            if size > target.max_record_bytes:
                raise RecordTooLarge(
                    "kafka",
                    f"record of {size} bytes is over the limit of topic {topic!r}, {target.max_record_bytes}",
                )
            written = tuple((name, value or b"") for name, value in headers)
            number = partition_of(key, len(target.logs)) if partition is None else partition
            stamp = self._broker.now_ms() if timestamp_ms is None else timestamp_ms
            return RecordPosition(number, target.logs[number].append(stamp, key, value, written))

        try:
            return MemoryPending(self._faults.step("kafka", "send", action))
        except Exception as failure:  # noqa: BLE001 - as with a broker, it shows in Pending.wait
            return MemoryPending(failure)

    def largest_batch_bytes(self, topic: str, *, fresh: bool = False) -> int:
        if fresh or topic not in self._limits:
            self._limits[topic] = self._faults.step(
                "kafka", "limits", lambda: self._broker.topic(topic).max_record_bytes
            )
        return self._limits[topic]

    def flush(self, timeout: timedelta) -> None:  # noqa: ARG002 - the port's signature
        return

    def close(self) -> None:
        return


class MemoryLogAdmin:
    """Each call is one I/O step of `faults`."""

    def __init__(self, broker: MemoryBroker, faults: FaultPlan | None = None) -> None:
        self._broker = broker
        self._faults = FaultPlan() if faults is None else faults

    def cluster_id(self) -> str:
        return self._faults.step("kafka", "cluster_id", lambda: self._broker.cluster_id)

    def ensure_topics(self, topics: Topics) -> None:
        self._faults.step("kafka", "ensure_topics", lambda: self._ensure(topics))

    def topic_id(self, topic: str) -> str:
        return self._faults.step("kafka", "topic_id", lambda: self._broker.topic(topic).topic_id)

    def partition_count(self, topic: str) -> int:
        return self._faults.step("kafka", "partition_count", lambda: len(self._broker.topic(topic).logs))

    def ends(self, topic: str) -> TopicEnds:
        def action() -> TopicEnds:
            found = self._broker.topic(topic)
            return TopicEnds(
                found.topic_id, {number: log.committed_end for number, log in enumerate(found.logs)}
            )

        return self._faults.step("kafka", "ends", action)

    def retention(self, topic: str) -> timedelta | None:
        return self.policy(topic).kept

    def policy(self, topic: str) -> TopicPolicy:
        return self._faults.step("kafka", "policy", lambda: self._broker.topic(topic).policy)

    def close(self) -> None:
        return

    def ensure_rekeying(self, topics: Topics) -> int:
        def action() -> int:
            if topics.rekey_from is None:
                raise StoreRefused("kafka", "topics.rekey_from is not set")
            limits = {topics.rekey_from: MAX_RECORD_BYTES, topics.transactions: KEYED_RECORD_BYTES}
            for name, limit in {**limits, topics.rekey_progress: MAX_RECORD_BYTES}.items():
                if not self._broker.has(name):
                    self._broker.create(name, topics.partitions, limit)
            count = len(self._broker.topic(topics.rekey_from).logs)
            self._broker.add_partitions(topics.rekey_progress, count)
            return count

        return self._faults.step("kafka", "ensure_rekeying", action)

    def _ensure(self, topics: Topics) -> None:
        for name in (topics.transactions, topics.dead_letters, topics.alerts, topics.labels):
            if not self._broker.has(name):
                headroom = DEAD_LETTER_HEADROOM_BYTES if name == topics.dead_letters else 0
                self._broker.create(name, topics.partitions, MAX_RECORD_BYTES + headroom)
            found = len(self._broker.topic(name).logs)
            if name == topics.transactions and found != topics.partitions:
                raise WrongPartitionCount(name, found, topics.partitions)
        check_limits(topics, lambda name: self._broker.topic(name).max_record_bytes)
