"""One user's state: the newest one from Redis, or an earlier one by replay of a partition.

Never: writing anything; scoring (the state of a user does not depend on a score).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from actors.engine.audit import read_log
from ray_fraud.domain.feature_tables import StateOnly
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.placement import partition_of_user
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.timeline import ControlEvent, damage_in
from ray_fraud.domain.watermark import NO_VOTES
from ray_fraud.stores.connections import Connections
from ray_fraud.stores.cuts.port import CutStore
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.port import EpochRow
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.partition_facts import decoder_of, partition_id
from ray_fraud.stores.snapshots.foldable import Foldable
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.snapshots.port import SnapshotStore

CUT_ATTEMPTS = 50
"""A busy partition writes a cut every 50 ms or more slowly; reading one user takes a millisecond."""


class StateSource(StrEnum):
    CUT = "cut"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class FoundState:
    """A user's packed state and the moment for which it holds."""

    user_id: int
    partition: PartitionId
    offset: int
    """The state holds the effect of all records of the partition below this offset."""
    source: StateSource
    state: bytes | None
    """None: the partition does not know the user at this offset."""
    user_text: str | None = None
    """The user's id if it is text."""


def newest_states(connections: Connections, user_id: int, text: str | None = None) -> list[FoundState]:
    """The user's state in the newest cuts: of the user's own partition, and of all others that know the user.

    Others do if a producer uses another key or partitioner; then each holds a part of the user's history.

    Raises:
        StoreError: Kafka or Redis does not answer, or there is no cut of the user's partition yet.
    """
    with ExitStack() as closing:
        admin = KafkaLogAdmin(connections.kafka)
        closing.callback(admin.close)
        cuts = RedisCutStore(connections.redis)
        closing.callback(cuts.close)
        partitions = _partitions(admin, connections)
        home = partition_of_user(user_id, len(partitions), text)
        own = _in_cut(cuts, partitions.pop(home), user_id, text)
        if own is None:
            raise StoreRefused(
                "redis", f"no cut of partition {home} yet: start the hot path with `ray-fraud up`"
            )
        others = (_in_cut(cuts, partition, user_id, text) for partition in partitions)
        return [own, *(other for other in others if other is not None and other.state is not None)]


def _in_cut(cuts: CutStore, own: PartitionId, user_id: int, text: str | None) -> FoundState | None:
    header = cuts.header(own)
    for _ in range(CUT_ATTEMPTS):
        if header is None:
            return None
        state = cuts.read_user(own, user_id)
        # Another cut may have been written between the two reads.
        before, header = header, cuts.header(own)
        if header is not None and header.next_offset == before.next_offset:
            return FoundState(user_id, own, header.next_offset, StateSource.CUT, state, text)
    raise StoreUnavailable("redis", f"the cut of {own} changed {CUT_ATTEMPTS} times; try again")


def state_at(
    connections: Connections,
    user_id: int,
    offset: int,
    partition: int | None = None,
    text: str | None = None,
) -> FoundState:
    """The user's state as it was at `offset` of a partition: the effect of all its records below.

    `partition`: None is the one where the user belongs.

    Raises:
        StoreError: a store does not answer, there is no such partition, `offset` is not decided yet, or the
            log no longer holds what a replay needs.
    """
    with _opened(connections, user_id, partition, text) as past:
        state = past.state_at(offset)
        return FoundState(user_id, past.own, offset, StateSource.REPLAY, state.users.get(user_id), text)


@dataclass(frozen=True, slots=True)
class _Past:
    """What a replay of one partition needs."""

    own: PartitionId
    connections: Connections
    reader: KafkaLogReader
    snapshots: SnapshotStore
    timeline: list[ControlEvent]
    epochs: list[EpochRow]
    decided_offset: int

    def state_at(self, offset: int) -> PartitionState:
        if offset > self.decided_offset:
            raise StoreRefused(
                "kafka",
                f"offset {offset} of {self.own} is not decided yet; ask for 0 … {self.decided_offset}",
            )
        state = self._base(offset)
        if offset <= state.next_offset:
            return state
        bounds = self.reader.bounds()
        if bounds.start > state.next_offset:
            raise StoreRefused(
                "kafka",
                f"the log of {self.own} starts at offset {bounds.start} and no snapshot at or below {offset} "
                f"replaces the records from {state.next_offset} on; ask for a later offset",
            )
        for records in read_log(self.reader, state.next_offset, offset, damage_in(self.timeline)):
            if not records:
                state.pass_over(min(self.reader.position(), offset))
            for _ in in_batches(state.observe, records):
                pass
        if self.reader.position() < offset:
            raise StoreUnavailable(
                "kafka", f"the log of {self.own} stopped answering below {offset}; try again"
            )
        return state

    def _base(self, offset: int) -> PartitionState:
        """The newest snapshot at or below `offset`, else the beginning of the partition's life."""
        foldable = Foldable(self.own, self.timeline, self.epochs)
        header = self.snapshots.newest_valid(
            self.own, lambda each: each.next_offset <= offset and foldable(each)
        )
        if header is None and foldable.began != 0:
            raise foldable.refusal()
        life_start = min((event.from_offset for event in self.timeline), default=0)
        return PartitionState(
            self.own.partition,
            decoder_of(self.connections),
            next_offset=header.next_offset if header else life_start,
            watermark_ms=header.watermark_ms if header else 0,
            votes=header.votes if header else NO_VOTES,
            users=dict(self.snapshots.read_users(header)) if header else {},
            timeline=self.timeline,
            tables=StateOnly(),
        )


@contextmanager
def _opened(
    connections: Connections, user_id: int, partition: int | None, text: str | None
) -> Iterator[_Past]:
    with ExitStack() as closing:
        admin = KafkaLogAdmin(connections.kafka)
        closing.callback(admin.close)
        partitions = _partitions(admin, connections)
        number = partition_of_user(user_id, len(partitions), text) if partition is None else partition
        if number >= len(partitions):
            raise StoreRefused("kafka", f"partition {number}: the topic has 0 … {len(partitions) - 1}")
        own = partitions[number]
        reader = KafkaLogReader(connections.kafka, connections.topics.transactions, own)
        closing.callback(reader.close)
        ledger = PostgresLedger(connections.postgres, name="ray-fraud state")
        closing.callback(ledger.close)
        yield _Past(
            own,
            connections,
            reader,
            LakeSnapshotStore(*lake_filesystem(connections.lake)),
            ledger.events(own),
            ledger.epochs(own),
            ledger.decided_offset(own) or 0,
        )


def _partitions(admin: KafkaLogAdmin, connections: Connections) -> list[PartitionId]:
    topic = connections.topics.transactions
    first = partition_id(admin, topic, 0)
    return [first._replace(partition=number) for number in range(admin.partition_count(topic))]
