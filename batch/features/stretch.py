"""One stretch of one partition, with its outside: read, fold, write, compare; the commit is somebody else's.

    state at `from` → rows of the lake → fold → files, cold alerts, newest features, state at `to`

Everything here may be repeated: files that no commit names mean nothing, alerts and features are kept once,
and the state's name is its offset.

Never: a commit; a call per record.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.features.fold import Scoring, fold_records, skip_records
from batch.features.records import COLUMNS, decoded_records
from batch.features.rows import feature_matrix
from ray_fraud.domain.alert import Alert, Source
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.feature_tables import FeatureTables, StateOnly
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.user_state import users_digest
from ray_fraud.domain.watermark import NO_VOTES, Votes
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.port import EpochRow
from ray_fraud.stores.review_data.port import NewestFeatures, ReviewData
from ray_fraud.stores.snapshots.foldable import Foldable
from ray_fraud.stores.snapshots.port import SnapshotHeader, SnapshotStore
from ray_fraud.stores.tables.port import DataFile, TransactionRows
from ray_fraud.stores.tables.positioned import PositionedTable

logger = logging.getLogger(__name__)

TOKEN = "cold"  # noqa: S105 - the writer's name in the header, no secret
KEPT_STATES = 3
READ_RECORDS = 200_000
"""Records in memory at a time while a state is brought up to where a stretch begins."""


class Stretch(msgspec.Struct, frozen=True):
    """What one task folds: the offsets `[from_offset, to_offset)` of one partition."""

    partition: PartitionId
    from_offset: int
    to_offset: int
    before: int | None
    """Position of `ml_features` when the stretch was planned; None: it never moved."""
    scored: int | None
    """That of `scores`: rows below it are there already."""
    timeline: tuple[ControlEvent, ...]
    present: Split
    """The versions that are live now."""
    epochs: tuple[EpochRow, ...] = ()
    """Of the hot path: whether its snapshots may be believed."""

    @property
    def scores_from(self) -> int:
        return self.from_offset if self.scored is None else max(self.from_offset, self.scored)


class StretchReport(msgspec.Struct, frozen=True):
    """What became of a stretch; its files wait for the commit."""

    partition: PartitionId
    rows: int
    """Processed records: rows of `ml_features`."""
    duplicates: int
    expected: int
    """Alerts that the hot path has to have made."""
    missed: int
    """Of them new to PostgreSQL: they are there now, as cold ones."""
    unexpected: int
    """Hot alerts that the fold does not give."""
    without_model: int
    """Rows that the hot path decided by rules only."""
    found: int
    """New alerts among those."""
    feature_files: list[DataFile]
    score_files: list[DataFile]
    seconds: float
    passed_over: int = 0
    """Offsets without features: no state is left that this release's fold could begin with below them."""


@dataclass(frozen=True)
class StretchPorts:
    """The outside of a stretch."""

    transactions: TransactionRows
    features: PositionedTable
    scores: PositionedTable
    states: SnapshotStore
    """The cold path's own states: a snapshot per stretch."""
    checkpoints: SnapshotStore
    """The hot path's: what to begin with above a change of the fold version."""
    review: ReviewData
    tables: Mapping[str, FeatureTables]
    scoring: Callable[[Split], Scoring]
    """By the versions that are live."""


def fold_stretch(ports: StretchPorts, stretch: Stretch) -> StretchReport:
    """Folds one stretch.

    Raises:
        StoreError: a store did not answer; begin the stretch anew.
        FoldVersionError, ModelRefused: another release is needed, or a model is damaged.
    """
    began = time.monotonic()
    state = _state_at_begin(ports, stretch)
    if state is None:
        return _nothing(stretch, time.monotonic() - began)
    passed_over, stretch = _from_state(stretch, state)
    rows = ports.transactions.rows_of(stretch.partition, stretch.from_offset, stretch.to_offset, COLUMNS)
    topic_id = stretch.partition.topic_id
    # Those that come meanwhile are counted by `_compare`; that they are explained once more does no harm.
    made = ports.review.alert_uids(stretch.partition, stretch.from_offset, stretch.to_offset)
    folded = fold_records(state, decoded_records(rows), topic_id, ports.scoring(stretch.present), made)
    features = _joined(folded.features)
    scores = _joined(folded.scores)
    if scores is not None:
        scores = scores.filter(pc.field("offset") >= stretch.scores_from)
    feature_files = [] if features is None else ports.features.write_files(features)
    score_files = [] if scores is None or not scores.num_rows else ports.scores.write_files(scores)
    missed, unexpected = _compare(ports.review, stretch, folded.expected)
    found = ports.review.add_cold(stretch.partition, folded.found)
    if features is not None:
        ports.review.save_features(stretch.partition, newest_features(features))
    _keep(ports.states, stretch, state)
    return StretchReport(
        partition=stretch.partition,
        rows=folded.counts.processed,
        duplicates=folded.counts.duplicates,
        expected=len(folded.expected),
        missed=missed,
        unexpected=unexpected,
        without_model=folded.without_model,
        found=found,
        feature_files=feature_files,
        score_files=score_files,
        seconds=time.monotonic() - began,
        passed_over=passed_over,
    )


def _nothing(stretch: Stretch, seconds: float) -> StretchReport:
    """Of a stretch that no state is left for; the next one may have one."""
    offsets = stretch.to_offset - stretch.from_offset
    logger.error(
        "features: %s: offsets %d to %d get none: no state of this fold version below them is left",
        stretch.partition,
        stretch.from_offset,
        stretch.to_offset,
    )
    nothing = {"rows": 0, "duplicates": 0, "expected": 0, "missed": 0, "unexpected": 0, "found": 0}
    return StretchReport(
        stretch.partition,
        **nothing,
        without_model=0,
        feature_files=[],
        score_files=[],
        seconds=seconds,
        passed_over=offsets,
    )


def _from_state(stretch: Stretch, state: PartitionState) -> tuple[int, Stretch]:
    """How many offsets lie below the state, and what is left of the stretch."""
    passed_over = state.next_offset - stretch.from_offset
    if passed_over > 0:
        logger.error(
            "features: %s: offsets %d to %d get none: the first state above the change of the fold version "
            "is that of %d",
            stretch.partition,
            stretch.from_offset,
            state.next_offset,
            state.next_offset,
        )
        return passed_over, msgspec.structs.replace(stretch, from_offset=state.next_offset)
    return 0, stretch


def _joined(parts: Sequence[pa.Table]) -> pa.Table | None:
    return pa.concat_tables(parts).combine_chunks() if parts else None


def _state_at_begin(ports: StretchPorts, stretch: Stretch) -> PartitionState | None:
    """The newest sound state at or below the stretch, folded on to its begin.

    Above a change of the fold version it may be one of the hot path, even one within the stretch; None if
    there is none.
    """
    # Its own states have no owner who could be replaced.
    foldable = Foldable(stretch.partition, stretch.timeline, ())

    def usable(header: SnapshotHeader) -> bool:
        return foldable(header) and header.next_offset <= limit

    limit = stretch.from_offset
    life_start = min((event.from_offset for event in stretch.timeline), default=0)
    users: dict[int, bytes] = {}
    header = ports.states.newest_valid(stretch.partition, usable)
    while header is not None:
        try:
            users = dict(ports.states.read_users(header))
            break
        except StoreRefused as error:
            logger.warning("features: %s: an older state is taken: %s", stretch.partition, error)
            limit = header.next_offset - 1
            header = ports.states.newest_valid(stretch.partition, usable)
    if header is None and foldable.began != 0:
        found = _checkpoint(ports.checkpoints, stretch)
        if found is None:
            return None
        header, users = found
        if header.next_offset > stretch.from_offset:
            reached = (header.watermark_ms, header.votes)
            return _state(stretch, header.next_offset, reached, users, ports.tables)
    begin = header.next_offset if header else life_start
    reached = (header.watermark_ms, header.votes) if header else (0, NO_VOTES)
    if begin == stretch.from_offset:
        return _state(stretch, begin, reached, users, ports.tables)
    # Users' states need no features, and the tables of what was folded long ago may be gone.
    state = _state(stretch, begin, reached, users, StateOnly())
    for start in range(begin, stretch.from_offset, READ_RECORDS):
        end = min(start + READ_RECORDS, stretch.from_offset)
        skip_records(
            state, decoded_records(ports.transactions.rows_of(stretch.partition, start, end, COLUMNS))
        )
    reached = (state.watermark_ms, state.votes)
    return _state(stretch, stretch.from_offset, reached, dict(state.users), ports.tables)


def _checkpoint(
    checkpoints: SnapshotStore, stretch: Stretch
) -> tuple[SnapshotHeader, dict[int, bytes]] | None:
    """The hot path's lowest state above the change of the fold version, if below the stretch's end."""
    header = Foldable(stretch.partition, stretch.timeline, stretch.epochs).lowest(checkpoints)
    if header is None or header.next_offset >= stretch.to_offset:
        return None
    try:
        return header, dict(checkpoints.read_users(header))
    except StoreRefused as error:
        logger.warning("features: %s: no state to begin with: %s", stretch.partition, error)
        return None


def _state(
    stretch: Stretch,
    next_offset: int,
    reached: tuple[int, Votes],
    users: dict[int, bytes],
    tables: Mapping[str, FeatureTables],
) -> PartitionState:
    return PartitionState(
        stretch.partition.partition,
        Decoder(None),
        next_offset=next_offset,
        watermark_ms=reached[0],
        votes=reached[1],
        users=users,
        timeline=stretch.timeline,
        tables=tables,
    )


def _keep(states: SnapshotStore, stretch: Stretch, state: PartitionState) -> None:
    """Writes the state behind the stretch: the next one begins with it."""
    header = SnapshotHeader(
        partition=stretch.partition,
        next_offset=stretch.to_offset,
        epoch=0,
        token=TOKEN,
        watermark_ms=state.watermark_ms,
        votes=state.votes,
        user_count=len(state.users),
        digest=users_digest(state.users.items()),
        fold_version=FOLD_VERSION,
    )
    states.write(stretch.partition, header, state.users.items())
    states.prune(stretch.partition, KEPT_STATES)


def _compare(review: ReviewData, stretch: Stretch, expected: Sequence[Alert]) -> tuple[int, int]:
    """(missed, unexpected) alerts of the hot path; what it missed is stored as cold."""
    made = review.alert_uids(stretch.partition, stretch.from_offset, stretch.to_offset)
    wanted = {alert.alert_uid: alert for alert in reversed(expected)}
    missing = [
        msgspec.structs.replace(alert, source=Source.COLD) for uid, alert in wanted.items() if uid not in made
    ]
    # A record that comes again after its id was forgotten gives an alert that is there from its first time.
    missed = review.add_cold(stretch.partition, missing) if missing else 0
    unexpected = len(made - wanted.keys())
    if missed or unexpected:
        logger.error(
            "features: %s, offsets %d to %d: %d alerts that the hot path missed, %d that are unexpected",
            stretch.partition,
            stretch.from_offset,
            stretch.to_offset,
            missed,
            unexpected,
        )
    return missed, unexpected


def newest_features(features: pa.Table) -> NewestFeatures:
    """Each user's last row by offset."""
    users = features["user_id"].to_numpy()
    # Rows are in the order of offsets: the first from behind is a user's last.
    _, behind = np.unique(users[::-1], return_index=True)
    last = features.take(len(users) - 1 - behind)
    return NewestFeatures(
        FEATURE_NAMES,
        last["user_id"].to_numpy(),
        last["offset"].to_numpy(),
        pc.divide(last["event_time"].cast(pa.int64()), 1_000).to_numpy(),
        feature_matrix(last),
    )
