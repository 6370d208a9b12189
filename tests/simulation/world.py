"""A whole partition in memory: broker, Redis, PostgreSQL and lake that outlive every owner.

One `FaultPlan` runs through all stores, so a plan can fail or crash any I/O step of any of them.

Never: a thread, a clock, an unseeded draw.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.engine.ports import Ports
from actors.engine.sink import Sink
from actors.engine.sink_letters import SinkLetters
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.features import FEATURE_COUNT, FOLDED_COUNT
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.settings import DetectionSettings, StateSettings
from ray_fraud.domain.split import Arm, Split
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.cuts.memory import CutContents, MemoryCutStore
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.feature_tables.encoding import TableFacts
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import put_tables
from ray_fraud.stores.ledger.memory import Fault as LedgerFault
from ray_fraud.stores.ledger.memory import MemoryDatabase, MemoryLedger
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore, SnapshotContents
from ray_fraud.telemetry.meter import Meter
from tests.oracle.tables import plain_tables, product_tables
from tests.simulation.witness import Witness

TOPICS = Topics(partitions=1)
SETTINGS = DetectionSettings()
FORGETFUL = DetectionSettings(state=StateSettings(max_events=3, idle_hours=24))
"""Under these the state of a user has other bytes, and users are forgotten within a short log."""
NO_WAIT = timedelta(0)
FIRST = Split(arms=(Arm("one", 1, "d1", 0.9, 10_000),), salt="a")
SECOND = Split(arms=(Arm("one", 1, "d1", 0.9, 7_000), Arm("two", 2, "d2", 0.8, 3_000)), salt="a")
THIRD = Split(arms=(Arm("two", 2, "d2", 0.85, 10_000),), salt="b")
SPLITS = (FIRST, SECOND, THIRD)
LOOKED_UP_COLUMNS = range(FOLDED_COUNT, FEATURE_COUNT)


def _tables() -> tuple[dict[str, bytes], list[str]]:
    """Files of feature tables, which the users and merchants of the logs are in, and the tables' digests."""
    files = MemoryFeatureTables()
    drawn = [product_tables(plain_tables(f"tables {number}")) for number in range(3)]
    digests = [put_tables(files, tables, TableFacts()).digest for tables in drawn]
    return files.contents, digests


TABLE_FILES, TABLES = _tables()


def score_rows(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores | None:
    """A stand-in model: a function of the row and of the arm's version only."""
    if not split.arms:
        return None
    arms = split.arm_of(user_ids)
    versions = np.array([arm.version for arm in split.arms])[arms]
    columns = np.ascontiguousarray(features[:, [0, 1, *LOOKED_UP_COLUMNS]], np.float64)
    bits = np.nan_to_num(columns, nan=0.5)
    values = np.modf(np.abs(bits.sum(axis=1)) * 12.9898 * versions)[0]
    return Scores(values, arms)


def explain_row(split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """A stand-in explanation: a function of the row and of the arm's version only; version 2 has none."""
    version = split.arms[arm].version
    return None if version == 2 else np.nan_to_num(features.astype(np.float64), nan=-0.5) * (version + 0.1)


class SimulatedScorer:
    """Scores at once; what it answers does not depend on the call."""

    def prepare(self, split: Split) -> None:
        del split

    def score(self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> ScoredBatch:
        scores = score_rows(split, user_ids, features)
        assert scores is not None
        return ScoredBatch(scores, degraded=False, seconds=0.0)

    def explain(self, split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        return explain_row(split, arm, features)


@dataclass(frozen=True)
class CutOff:
    """The log lost its end in an unclean election."""

    at: int
    lost: tuple[Record, ...]
    decided: int
    """Below it PostgreSQL knew that all had been decided."""


@dataclass
class World:
    """What no crash takes away, and the accidents still to come."""

    faults: FaultPlan = field(default_factory=FaultPlan)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.admin().ensure_topics(TOPICS)
        self.partition: PartitionId = self.broker.partition_id(TOPICS.transactions, 0)
        self.contents = CutContents()
        self.snapshots = SnapshotContents()
        self.tables = TABLE_FILES
        self.witness = Witness(self.partition, self.contents, self.snapshots)
        self.cut_offs: list[CutOff] = []
        self.lost_alerts: set[UUID] = set()
        """Those on an alert topic that was deleted."""
        self.unread_alerts: set[UUID] = set()
        """Of these, those that PostgreSQL did not have then: nobody can bring them back."""
        self._crash_after = False
        self.database = MemoryDatabase(faults=self._ledger_fault)

    def _ledger_fault(self, operation: str) -> LedgerFault:
        """The shared plan, spoken in the ledger's words."""
        drawn: list[Fault] = []
        plan = self.faults

        def peek() -> None:
            drawn.append(Fault.OK)

        try:
            plan.step("postgres", operation, peek)
        except StoreUnavailable:
            return LedgerFault.FAIL_AFTER_COMMIT if drawn else LedgerFault.FAIL_BEFORE
        except Crashed:
            if not drawn:
                raise
            self._crash_after = True
            return LedgerFault.FAIL_AFTER_COMMIT
        return LedgerFault.NONE

    def crash_is_due(self) -> bool:
        """Whether the last failure of the ledger stands for a crash after its commit."""
        due, self._crash_after = self._crash_after, False
        return due

    def send(self, records: Iterable[Record]) -> None:
        """A producer appends; never faulty."""
        log = self.broker.topic(TOPICS.transactions).logs[0]
        for record in records:
            log.append(record.timestamp_ms, record.key, record.value, record.headers)

    def cut_off(self, end: int) -> list[Record]:
        """An unclean leader election: the records from `end` on are lost; returns them."""
        lost = [each for each in self.broker.records(TOPICS.transactions) if each.offset >= end]
        tables = self.database.tables(self.partition)
        decided = tables.decided_offset or 0
        self.broker.truncate(TOPICS.transactions, 0, end)
        self.cut_offs.append(CutOff(end, tuple(lost), decided))
        epoch = tables.epochs[-1].epoch if tables.epochs else 0
        self.witness.cut_off(end, epoch)
        return lost

    def recreate_alerts(self) -> None:
        """Somebody deletes the alert topic and makes it again."""
        records = self.broker.records(TOPICS.alerts)
        uids = {msgspec.json.decode(record.value or b"", type=Alert).alert_uid for record in records}
        self.lost_alerts |= uids
        self.unread_alerts |= uids - self.database.alerts.keys()
        self.broker.recreate(TOPICS.alerts)

    def ports(self, faults: FaultPlan | None = None) -> Ports:
        """New clients, as a new process makes them."""
        plan = self.faults if faults is None else faults
        return Ports(
            ledger=MemoryLedger(self.database),
            alert_ledger=MemoryLedger(self.database),
            cuts=MemoryCutStore(self.contents, plan),
            snapshots=MemorySnapshotStore(self.snapshots, plan),
            reader=self.broker.reader(TOPICS.transactions, self.partition, plan),
            writer=self.broker.writer(plan),
            scorer=SimulatedScorer(),
            feature_tables=MemoryFeatureTables(self.tables, plan),
            decoder=Decoder(None),
            meter=Meter("partition-0", "simulated"),
            topics=TOPICS,
        )

    def sink(self) -> Sink:
        reader = self.broker.reader(TOPICS.alerts, self.broker.partition_id(TOPICS.alerts, 0))
        meter = Meter("sink", "simulated")
        letters = SinkLetters(self.broker.writer(), TOPICS, meter)
        return Sink(MemoryLedger(self.database), reader, letters, meter)
