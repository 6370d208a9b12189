"""The audit of a running stack: replays every partition and compares with PostgreSQL and the topic.

Never: stopping or disturbing the hot path; it reads only.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.build import decoder_of, feature_table_files, partition_id, scorer_config
from actors.config import HotPathConfig
from actors.engine.audit import (
    ReplayBase,
    Replayed,
    Verdict,
    accepted_topic_alerts,
    compare,
    replay_partition,
)
from ray_fraud.domain.alert import Source
from ray_fraud.domain.conversion import FoldState
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.port import is_accepted
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.snapshots.foldable import Foldable
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from serve.loaded_splits import LoadedSplits

logger = logging.getLogger(__name__)


class StackAudit(msgspec.Struct, frozen=True):
    """What a replay of the whole log says, and how the stores compare with it."""

    records: int
    processed: int
    duplicates: int
    dead_lettered: int
    quarantined: int
    replayed_alerts: int
    by_rule: dict[str, int]
    postgres_alerts: int
    topic_alerts: int
    """Distinct accepted alerts of the topic."""
    ab_share: dict[str, float]
    """Share of the scored transactions per model version."""
    missing: int
    unexpected: int
    duplicate_rows: int
    not_replayed: int
    """Alerts in PostgreSQL of records that an older fold version decided: they are not compared."""
    replayed_from: dict[int, int]
    """By partition: the offset above which this release's fold decided, and the replay began."""
    of_lost_records: int
    """Alerts in PostgreSQL of records that the log has lost since: kept for people, not compared."""

    @property
    def agrees(self) -> bool:
        return Verdict(self.missing, self.unexpected, self.duplicate_rows).agrees


class _Expected:
    """What the replays of all partitions say, added up."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.arms: Counter[str] = Counter()
        self.rules: dict[UUID, str] = {}
        self.began: dict[int, int] = {}

    def add(self, replayed: Replayed) -> None:
        self.began[replayed.partition.partition] = replayed.from_offset
        self.totals["records"] += replayed.records
        for name in ("processed", "duplicates", "rejected", "quarantined"):
            self.totals[name] += getattr(replayed.counts, name)
        self.arms.update(replayed.arms)
        self.rules |= {uid: alert.rule_name.value for uid, alert in replayed.alerts.items()}


class StackAuditor:
    """Reads one stack's log, timeline and alerts. Close it after use."""

    def __init__(self, config: HotPathConfig) -> None:
        self._connections = config.connections
        self._decoder = decoder_of(config.connections)
        self._splits = LoadedSplits(scorer_config(config).model_files())
        self._tables = TablesFromFiles(feature_table_files(config))
        self._snapshots = LakeSnapshotStore(*lake_filesystem(config.connections.lake))
        self._admin = KafkaLogAdmin(config.connections.kafka)
        self._ledger = PostgresLedger(config.connections.postgres, name="ray-fraud audit")
        self._queries = PostgresAlertQueries(config.connections.postgres)

    def close(self) -> None:
        for store in (self._admin, self._ledger, self._queries):
            store.close()

    def audit(self, ends: dict[int, int] | None, progress: Callable[[int], None]) -> StackAudit:
        """See `audit_stack`."""
        topics = self._connections.topics
        expected = _Expected()
        stored: set[UUID] = set()
        on_topic: set[UUID] = set()
        not_replayed: set[UUID] = set()
        lost: set[UUID] = set()
        for number in range(topics.partitions):
            own = partition_id(self._admin, topics.transactions, number)
            replayed = self.replay(own, None if ends is None else ends[number], progress)
            expected.add(replayed)
            uids = self._queries.uids(AlertFilter(source=Source.HOT, partition=own))
            later = AlertFilter(source=Source.HOT, partition=own, from_offset=replayed.from_offset)
            not_replayed |= uids - self._queries.uids(later)
            lost |= self._of_lost_records(own, uids - set(expected.rules))
            stored |= uids
        for number in range(self._admin.partition_count(topics.alerts)):
            on_topic |= self._topic_alerts(partition_id(self._admin, topics.alerts, number))
        rows = self._queries.count(AlertFilter(source=Source.HOT))
        # One of them may come again above, when its first time is forgotten.
        not_replayed -= expected.rules.keys()
        verdict = compare(set(expected.rules), list(stored - not_replayed - lost), on_topic - not_replayed)
        scored = sum(expected.arms.values())
        return StackAudit(
            records=expected.totals["records"],
            processed=expected.totals["processed"],
            duplicates=expected.totals["duplicates"],
            dead_lettered=expected.totals["rejected"],
            quarantined=expected.totals["quarantined"],
            replayed_alerts=len(expected.rules),
            by_rule=dict(Counter(expected.rules.values())),
            postgres_alerts=rows,
            topic_alerts=len(on_topic),
            ab_share={label: round(rows / scored, 4) for label, rows in sorted(expected.arms.items())},
            missing=verdict.missing,
            unexpected=verdict.unexpected,
            duplicate_rows=rows - len(stored),
            not_replayed=len(not_replayed),
            replayed_from=expected.began,
            of_lost_records=len(lost),
        )

    def replay(self, own: PartitionId, end: int | None, progress: Callable[[int], None]) -> Replayed:
        """The replay of one partition up to `end`, None: its decided offset.

        What another fold version has decided is not replayed: the replay begins with a state above.
        """
        if end is None:
            end = self._ledger.decided_offset(own) or 0
        reader = KafkaLogReader(self._connections.kafka, self._connections.topics.transactions, own)
        with closing(reader):
            timeline = self._ledger.events(own)
            base = self._base(own, timeline)
            replayed, _ = replay_partition(
                reader,
                timeline,
                self._decoder,
                self._score,
                end,
                self._tables,
                progress,
                self._splits.explain,
                base,
            )
        return replayed

    def _base(self, own: PartitionId, timeline: list[ControlEvent]) -> ReplayBase | None:
        foldable = Foldable(own, timeline, self._ledger.epochs(own))
        if foldable.began == 0:
            return None
        header = foldable.lowest(self._snapshots)
        if header is None:
            raise foldable.refusal()
        state = FoldState(dict(self._snapshots.read_users(header)), header.watermark_ms, header.votes)
        logger.warning(
            "audit of %s: it begins at offset %d, an older fold version decided what lies below",
            own,
            header.next_offset,
        )
        return ReplayBase(header.next_offset, state)

    def _of_lost_records(self, own: PartitionId, uids: Iterable[UUID]) -> set[UUID]:
        """Those whose owner was replaced below them: only a log that was cut off leaves such."""
        epochs = self._ledger.epochs(own)
        if all(row.cut_off is None for row in epochs):
            return set()
        rows = filter(None, map(self._queries.get, uids))
        return {row.alert.alert_uid for row in rows if not is_accepted(epochs, row.epoch, row.alert.offset)}

    def _topic_alerts(self, own: PartitionId) -> set[UUID]:
        reader = KafkaLogReader(self._connections.kafka, self._connections.topics.alerts, own)
        with closing(reader):
            return set(accepted_topic_alerts(reader, self._ledger.epochs, own.cluster_id))

    def _score(
        self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]
    ) -> Scores | None:
        if not split.arms:
            return None
        return (self._splits.get(split.digest) or self._splits.load(split)).score(user_ids, features)


def audit_stack(
    config: HotPathConfig,
    ends: dict[int, int] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> StackAudit:
    """Replays each partition from the beginning of its life up to `ends` (default: the decided offset).

    Call it when nothing is being sent, or give the offsets up to which everything has settled.

    Raises:
        StoreError: a store does not answer.
    """
    with closing(StackAuditor(config)) as auditor:
        return auditor.audit(ends, progress)
