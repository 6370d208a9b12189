"""The hot path's fold over one part of the users, under the feature tables of each moment.

    rows of a part + what verdicts say by each moment → features and broken rules of each row

A part stands for a partition of the log: its users' rows in their order, with a timeline in which tables are
refreshed as the platform does it. What a row gives depends on other users' rows through those tables only.

Never: another definition of a feature or a rule; a verdict before its delay.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.backtest.history import History
from batch.features.profiles import daily_habits
from batch.features.records import decoded_records
from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.feature_tables import Bools, FeatureTables, Ints
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.labelled_past import LabelledPast, TablesOfThePast, first_refresh, refreshes
from ray_fraud.domain.observed import Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import DecodedRecord
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.timeline import features_event, settings_event

CHUNK_ROWS = 20_000
"""Rows that are records at a time."""
BATCH_RECORDS = 5_000
PROCESSED = 1
"""Mark of a row that is no duplicate."""
RULE_MARKS = {RuleName.HIGH_AMOUNT: 2, RuleName.GEO_VELOCITY: 4}
_MIX = np.uint64(0x9E3779B97F4A7C15)

Tell = Callable[[int], None]
"""How many rows of a part are done."""


class FoldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the fold of all parts is told."""

    detection: DetectionSettings
    delay_ms: int
    """From an event to its verdict in the tables."""
    refresh_ms: int
    """Of event time, between two refreshes of the tables."""
    profile_days: int


class Outcome(NamedTuple):
    """What the rows of a history gave; each part writes its own."""

    features: NDArray[np.float32]
    """Shape (n, len(FEATURES)); a duplicate's are meaningless."""
    marks: NDArray[np.uint8]
    """`PROCESSED` and `RULE_MARKS`, shape (n,)."""

    @property
    def processed(self) -> Bools:
        return (self.marks & PROCESSED) > 0

    def broke(self, rule: RuleName) -> Bools:
        """The rows that broke a rule without a model, shape (n,)."""
        return (self.marks & RULE_MARKS[rule]) > 0


def no_outcome(rows: int) -> Outcome:
    return Outcome(np.zeros((rows, FEATURE_COUNT), np.float32), np.zeros(rows, np.uint8))


def part_of(user_ids: Ints, parts: int) -> Ints:
    """The part of each user, shape (n,) to shape (n,): a hash, so that no numbering of users fills one."""
    mixed = (user_ids.astype(np.uint64) * _MIX) >> np.uint64(32)
    return (mixed % np.uint64(parts)).astype(np.int64)


class _Records:
    """A part's records, made a chunk at a time: a call per refresh would cost more than the records."""

    def __init__(self, mine: pa.Table) -> None:
        self._mine = mine
        self._start = 0
        self._made: list[DecodedRecord] = []

    def within(self, segment: slice) -> Iterator[list[DecodedRecord]]:
        """The records of a segment, in pieces; segments ascend."""
        position = segment.start
        while position < segment.stop:
            if position >= self._start + len(self._made):
                self._start, self._made = position, decoded_records(self._mine.slice(position, CHUNK_ROWS))
            piece = self._made[position - self._start : segment.stop - self._start][:BATCH_RECORDS]
            yield piece
            position += len(piece)


def fold_part(
    history: History,
    rows: Ints,
    part: int,
    past: LabelledPast,
    settings: FoldSettings,
    outcome: Outcome,
    tell: Tell = lambda _: None,
) -> int:
    """Folds a part's rows and writes what they give; how many of them were duplicates.

    Args:
        history: all rows: those of other parts say when tables are refreshed.
        rows: the part's, ascending.
        part: its number.
        past: of the whole history.
        settings: delays and limits.
        outcome: written at `rows`.
        tell: called now and then.
    """
    mine = history.rows.take(rows).combine_chunks()
    source = TablesOfThePast(past, daily_habits(_habit_rows(mine)), settings.delay_ms, settings.profile_days)
    first = first_refresh(
        past,
        history.user_ids,
        history.event_ms,
        settings.refresh_ms,
        settings.delay_ms,
        settings.profile_days,
    )
    known: dict[str, FeatureTables] = {}
    state = PartitionState(
        part, Decoder(None), timeline=[settings_event(1, 0, settings.detection)], tables=known
    )
    records = _Records(mine)
    sequence, duplicates = 1, 0
    for moment, segment in _segments(history.event_ms, rows, settings.refresh_ms):
        if moment is not None and first is not None and moment >= first:
            sequence += 1
            known.clear()
            known[str(moment)] = source.at(int(history.event_ms[moment]))
            state.extend_timeline(features_event(sequence, moment + 1, str(moment)))
        for piece in records.within(segment):
            for observed in in_batches(state.observe_decoded, piece):
                duplicates += observed.counts.duplicates
                _write(observed, outcome)
        tell(segment.stop)
    return duplicates


def _segments(event_ms: Ints, rows: Ints, refresh_ms: int) -> Iterator[tuple[int | None, slice]]:
    """The newest moment before each run of the part's rows, and the run; None before the first moment."""
    moments = np.array([each.position for each in refreshes(event_ms, refresh_ms)], np.int64)
    # The record of a moment is folded under the tables before it.
    starts = np.searchsorted(rows, moments, side="right")
    ends = np.append(starts[1:], len(rows))
    if len(rows) and len(starts) and starts[0]:
        yield None, slice(0, int(starts[0]))
    for moment, start, end in zip(moments.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if start < end:
            yield moment, slice(start, end)


def _write(observed: Observed, outcome: Outcome) -> None:
    offsets = np.fromiter((row.offset for row in observed.rows), np.int64, len(observed.rows))
    outcome.features[offsets] = observed.features
    outcome.marks[offsets] = PROCESSED
    for row in observed.rows:
        for hit in row.hits:
            outcome.marks[row.offset] |= RULE_MARKS[hit.rule]


def _habit_rows(mine: pa.Table) -> pa.Table:
    """What profiles are made of."""
    columns = ("user_id", "amount", "lat", "lon")
    return pa.table({name: mine[name] for name in columns} | {"event_time": mine["record_time"]})
