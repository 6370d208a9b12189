"""The audit of a running stack: replays every partition and compares with PostgreSQL and the topic.

Never: stopping or disturbing the hot path; it reads only.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.build import decoder_of, feature_table_files, partition_id, scorer_config
from actors.config import HotPathConfig
from actors.engine.audit import Replayed, Verdict, accepted_topic_alerts, compare, replay_partition
from ray_fraud.domain.alert import Source
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from serve.loaded_splits import LoadedSplits


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

    @property
    def agrees(self) -> bool:
        return Verdict(self.missing, self.unexpected, self.duplicate_rows).agrees


class _Expected:
    """What the replays of all partitions say, added up."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.arms: Counter[str] = Counter()
        self.rules: dict[UUID, str] = {}

    def add(self, replayed: Replayed) -> None:
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
        for number in range(topics.partitions):
            own = partition_id(self._admin, topics.transactions, number)
            expected.add(self.replay(own, None if ends is None else ends[number], progress))
            stored |= self._queries.uids(AlertFilter(source=Source.HOT, partition=own))
        for number in range(self._admin.partition_count(topics.alerts)):
            on_topic |= self._topic_alerts(partition_id(self._admin, topics.alerts, number))
        rows = self._queries.count(AlertFilter(source=Source.HOT))
        verdict = compare(set(expected.rules), list(stored), on_topic)
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
        )

    def replay(self, own: PartitionId, end: int | None, progress: Callable[[int], None]) -> Replayed:
        """The replay of one partition up to `end`, None: its decided offset."""
        if end is None:
            end = self._ledger.decided_offset(own) or 0
        reader = KafkaLogReader(self._connections.kafka, self._connections.topics.transactions, own)
        with closing(reader):
            timeline = self._ledger.events(own)
            replayed, _ = replay_partition(
                reader,
                timeline,
                self._decoder,
                self._score,
                end,
                self._tables,
                progress,
                self._splits.explain,
            )
        return replayed

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
