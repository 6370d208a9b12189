"""The audit of a partition: a single-threaded replay of its log and timeline, held against what was stored.

This is invariant I2 as a program: hot alerts in PostgreSQL = accepted alerts of the topic = alerts of
the replay.

Never: writing anything; scoring through Serve (the same model files are scored here).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.conversion import FoldState
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.explanation import Explain
from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.domain.partition import Counts, PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.replay import Score, replay
from ray_fraud.domain.timeline import ControlEvent, Quarantine, damage_in, refused_by
from ray_fraud.stores.ledger.port import EpochRow, is_accepted
from ray_fraud.stores.log.damage import DamageTries
from ray_fraud.stores.log.port import LogDamaged, LogReader

POLL_TIMEOUT = timedelta(seconds=1)
MAX_POLL_RECORDS = 2_000


class ReplayBase(NamedTuple):
    """A state to replay from: the effect of all records below `next_offset`."""

    next_offset: int
    state: FoldState


@dataclass(slots=True)
class Replayed:
    """What a partition's alerts must be."""

    partition: PartitionId
    from_offset: int = 0
    """What lies below is not replayed."""
    records: int = 0
    counts: Counts = field(default_factory=Counts)
    alerts: dict[UUID, Alert] = field(default_factory=dict)
    """The first alert of each uid: a duplicate older than the memory of ids raises an equal one again."""
    arms: Counter[str] = field(default_factory=Counter)
    """Scored transactions per model version."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison; all zero means equal."""

    missing: int
    """Alerts of the replay that PostgreSQL or the topic lacks."""
    unexpected: int
    """Stored alerts that the replay does not have."""
    duplicates: int
    """Rows of PostgreSQL beyond one per alert uid."""

    @property
    def agrees(self) -> bool:
        return not (self.missing or self.unexpected or self.duplicates)


def read_log(
    reader: LogReader, start: int, end: int, unreadable: Sequence[Quarantine] = ()
) -> Iterator[Sequence[Record]]:
    """The records of `[start, end)` in batches; an empty one after what is `unreadable` and was passed over.

    Raises:
        StoreUnavailable: the log stopped answering.
        LogDamaged: other records cannot be read.
    """
    reader.seek(start)
    if unreadable:
        reader.watch(lambda begin, end: refused_by(unreadable, max(begin, reader.position()), end))
    idle = 0
    tries = DamageTries()
    while reader.position() < end and idle < 30:
        try:
            records = reader.poll(MAX_POLL_RECORDS, POLL_TIMEOUT)
        except LogDamaged as damage:
            known = [each.end for each in unreadable if each.offset <= damage.from_offset < each.end]
            if known:
                reader.seek(max(known))
                yield ()
            elif not tries.again(damage):
                raise
            continue
        idle = 0 if records else idle + 1
        wanted = [record for record in records if record.offset < end]
        if wanted:
            yield wanted
        if len(wanted) < len(records):
            return


def replay_partition(
    reader: LogReader,
    timeline: Sequence[ControlEvent],
    decoder: Decoder,
    score: Score,
    end: int,
    tables: Mapping[str, FeatureTables],
    progress: Callable[[int], None] = lambda _: None,
    explain: Explain | None = None,
    base: ReplayBase | None = None,
) -> tuple[Replayed, PartitionState]:
    """Folds the log up to offset `end`, one record after another, from `base` on.

    Without a base from where the partition's life began; without `explain` the alerts carry no explanation.

    Raises:
        FoldVersionError: the replay meets what another fold version has decided; give a base above it.
    """
    if base is None:
        base = ReplayBase(min((event.from_offset for event in timeline), default=0), FoldState({}, 0))
    start = max(reader.bounds().start, base.next_offset)
    state = PartitionState(
        reader.partition.partition,
        decoder,
        next_offset=start,
        watermark_ms=base.state.watermark_ms,
        votes=base.state.votes,
        users=dict(base.state.users),
        timeline=timeline,
        tables=tables,
    )
    replayed = Replayed(reader.partition, base.next_offset)
    for records in read_log(reader, state.next_offset, end, damage_in(timeline)):
        if not records:
            passed = state.pass_over(min(reader.position(), end)).counts
            replayed.records += passed.quarantined
            replayed.counts.add(passed)
        for observed, scores, effects in replay(records, state, score, MAX_POLL_RECORDS, explain):
            for alert in effects.alerts:
                replayed.alerts.setdefault(alert.alert_uid, alert)
            if scores is not None:
                for arm in scores.arms.tolist():
                    replayed.arms[observed.split.arms[arm].label] += 1
            replayed.counts.add(observed.counts)
        replayed.records += len(records)
        progress(len(records))
    return replayed, state


def accepted_topic_alerts(
    reader: LogReader, epochs: Callable[[PartitionId], list[EpochRow]], cluster_id: str
) -> Counter[UUID]:
    """Uids in one partition of the alert topic, with how often each stands there.

    Alerts of an owner that wrote at or above a later epoch's barrier are left out, as the sink does.
    """
    bounds = reader.bounds()
    found: Counter[UUID] = Counter()
    known: dict[PartitionId, list[EpochRow]] = {}
    for records in read_log(reader, bounds.start, bounds.end):
        for record in records:
            headers = {name: value or b"" for name, value in record.headers}
            partition = PartitionId(cluster_id, headers["topic_id"].decode(), int(headers["partition"]))
            if partition not in known:
                known[partition] = epochs(partition)
            if is_accepted(known[partition], int(headers["epoch"]), int(headers["offset"])):
                found[msgspec.json.decode(record.value or b"", type=Alert).alert_uid] += 1
    return found


def compare(expected: set[UUID], stored: Sequence[UUID], on_topic: set[UUID]) -> Verdict:
    """Holds the replay's alerts against both stores."""
    distinct = set(stored)
    missing = (expected - distinct) | (expected - on_topic)
    unexpected = (distinct | on_topic) - expected
    return Verdict(len(missing), len(unexpected), len(stored) - len(distinct))
