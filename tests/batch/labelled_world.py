"""A small labelled history with merchants, and the platform that would have seen it: stores in memory.

Never: a shortcut that the backtest takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.backtest.history import History, history_of
from batch.features.config import FeatureConfig
from batch.features.refresh import Refresher
from batch.ingest.columns import OUTCOME, rows_of
from ray_fraud.domain.alert import Alert
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import features_event, settings_event, split_event
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.generator.encode import encode_transaction
from ray_fraud.generator.stream import StreamSettings, transactions
from ray_fraud.scoring.split_scorer import SplitScorer
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.memory import MemoryFeatureRefreshes, MemoryFeatureTables
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.verdicts.memory import MemoryVerdicts
from ray_fraud.stores.verdicts.port import NewVerdict

PARTITION = PartitionId("cluster", "topic-1", 0)
START_S = 1_767_225_600.0


class Labelled(NamedTuple):
    """One record of the log and what it was."""

    record: Record
    fraud: bool


def labelled_records(count: int, days: float, seed: int = 5, users: int = 60) -> list[Labelled]:
    """In order of event time, which is each record's time."""
    settings = StreamSettings(
        start_time=START_S,
        seed=seed,
        users=users,
        rate_hz=count / (days * 86_400),
        count=count,
        fraud_share=0.08,
    )
    made = sorted(transactions(settings), key=lambda each: each.transaction.timestamp)
    return [
        Labelled(
            Record(
                offset,
                round(each.transaction.timestamp * 1000),
                None,
                encode_transaction(each.transaction),
            ),
            each.scenario is not None,
        )
        for offset, each in enumerate(made)
    ]


def table_of(labelled: Sequence[Labelled]) -> pa.Table:
    """The records as rows of the lake, in their order."""
    records = [msgspec.structs.replace(each.record, offset=row) for row, each in enumerate(labelled)]
    rows = rows_of(records, PARTITION, 0, len(records), Decoder(None), DetectionSettings())
    assert rows[OUTCOME].null_count == len(records)
    return rows


def history_from(labelled: Sequence[Labelled]) -> History:
    return history_of(table_of(labelled), np.array([each.fraud for each in labelled]))


class _Lake:
    """What of the records has been ingested by now."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._event_ms = rows["event_time"].cast(pa.int64()).to_numpy() // 1000
        self.count = 0

    def newest_ms(self) -> int | None:
        return int(self._event_ms[: self.count].max()) if self.count else None

    def rows_of_days(self, from_day: int, until_day: int, columns: Sequence[str]) -> pa.Table:
        days = self._event_ms[: self.count] // DAY_MS
        within = np.flatnonzero((days >= from_day) & (days < until_day))
        return self._rows.take(within).select(list(columns))


@dataclass
class Platform:
    """What the hot path saw and decided."""

    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By offset, of processed records."""
    scores: dict[int, float] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    refreshes: int = 0


def run_platform(
    labelled: Sequence[Labelled],
    split: Split,
    scorer: SplitScorer | None,
    *,
    delay_ms: int,
    refresh_ms: int,
    settings: DetectionSettings,
) -> Platform:
    """Feeds the records to a partition, with its refresher, verdict store and table files in memory.

    Verdicts on frauds are given as soon as they are known; the refresher is asked after each record that ends
    a day or is `refresh_ms` after the one it was last asked at.
    """
    seen = Platform()
    now = [0]
    lake, files = _Lake(table_of(labelled)), MemoryFeatureTables()
    verdicts, published = MemoryVerdicts(MemoryDatabase(now_ms=lambda: now[0])), MemoryFeatureRefreshes()
    config = FeatureConfig(
        model_cache=Path("unused"), label_maturity_days=delay_ms / DAY_MS, refresh_seconds=refresh_ms / 1000
    )
    refresher = Refresher(config, lake, verdicts, files, published, lambda _: None, lambda: now[0] / 1000)
    timeline = [settings_event(1, 0, settings), split_event(2, 0, split)]
    state = PartitionState(0, Decoder(None), timeline=timeline, tables=TablesFromFiles(files))
    transactions_seen: list[Transaction] = []
    asked_ms: int | None = None
    told, sequence, newest = 0, 2, None
    for record, _ in labelled:
        observed = state.observe([record])
        scores = None if scorer is None else scorer.score(observed.user_ids, observed.features)
        seen.alerts += state.decide(observed, scores).alerts
        for row, features in zip(observed.rows, observed.features, strict=True):
            seen.features[row.offset] = features
            if scores is not None:
                seen.scores[row.offset] = float(scores.values[0])
        transaction = Decoder(None).decode(record.value)
        assert isinstance(transaction, Transaction)
        transactions_seen.append(transaction)
        lake.count += 1
        now[0] = record.timestamp_ms
        while told < len(transactions_seen) and transactions_seen[told].event_ms + delay_ms <= now[0]:
            if labelled[told].fraud:
                verdicts.add([_verdict(transactions_seen[told], delay_ms)])
            told += 1
        day_ended = asked_ms is not None and asked_ms // DAY_MS < now[0] // DAY_MS
        if asked_ms is None or day_ended or now[0] - asked_ms >= refresh_ms:
            asked_ms = now[0]
            digest = refresher.refresh().digest
            if digest is not None and digest != newest:
                newest, sequence = digest, sequence + 1
                seen.refreshes += 1
                state.extend_timeline(features_event(sequence, record.offset + 1, digest))
    return seen


def _verdict(transaction: Transaction, delay_ms: int) -> NewVerdict:
    return NewVerdict(
        transaction_id=transaction.transaction_id,
        user_id=transaction.user_id,
        fraud=True,
        merchant_id=transaction.merchant_id,
        event_ms=transaction.event_ms,
        known_ms=transaction.event_ms + delay_ms,
    )
