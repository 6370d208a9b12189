"""The fold of the lake across a change of the fold version: what the older one decided stays as it is."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from batch.features.job import position_name
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.timeline import ControlEvent, fold_version_event, settings_event, split_event
from ray_fraud.domain.user_state import users_digest
from ray_fraud.stores.ledger.port import TopicAlert
from ray_fraud.stores.snapshots.port import SnapshotHeader
from ray_fraud.stores.tables.positioned import Move
from tests.batch.fold_world import PARTITION, PRESENT, FoldWorld, score_split
from tests.domain.samples import record, transaction

OLD = FOLD_VERSION - 1
RECORDS, UPGRADED_AT = 60, 25
TIMELINE = [
    fold_version_event(1, 0, OLD),
    settings_event(2, 0, DetectionSettings()),
    split_event(3, 0, PRESENT),
    fold_version_event(4, UPGRADED_AT, FOLD_VERSION),
]
RECORDS_OF_THE_LOG = [
    record(n, transaction(f"t{n}", user_id=n % 4, seconds=60.0 * n, amount=3_000.0 if n % 5 == 0 else 9.0))
    for n in range(RECORDS)
]


class Upgraded(FoldWorld):
    """The hot path of the older release decided up to `UPGRADED_AT`, this one the rest."""

    def upgrade(self, *kept: int) -> PartitionState:
        """Decides everything and stores the alerts; snapshots of the hot path at the offsets `kept`."""
        old = PartitionState(0, Decoder(None), timeline=TIMELINE[:3], fold_version=OLD, tables=self.tables)
        self._run(old, 0, UPGRADED_AT)
        # The stand-in for a converter: everybody is forgotten.
        state = PartitionState(
            0,
            Decoder(None),
            next_offset=UPGRADED_AT,
            watermark_ms=old.watermark_ms,
            votes=old.votes,
            timeline=TIMELINE,
        )
        for until in [*kept, RECORDS]:
            self._run(state, state.next_offset, until)
            if until in kept:
                self.checkpoint(state)
        return state

    def _run(self, state: PartitionState, begin: int, end: int) -> None:
        for observed in in_batches(state.observe, self.records[begin:end], 7):
            scores = score_split(observed.split, observed.user_ids, observed.features)
            alerts = state.decide(observed, scores).alerts
            self.database.store([TopicAlert(alert, PARTITION, 1) for alert in alerts])

    def checkpoint(self, state: PartitionState) -> None:
        header = SnapshotHeader(
            partition=PARTITION,
            next_offset=state.next_offset,
            epoch=1,
            token="t",
            watermark_ms=state.watermark_ms,
            votes=state.votes,
            user_count=len(state.users),
            digest=users_digest(state.users.items()),
            fold_version=FOLD_VERSION,
        )
        self.checkpoints.write(PARTITION, header, state.users.items())


@pytest.fixture
def world(tmp_path: Path) -> Upgraded:
    timeline: Sequence[ControlEvent] = TIMELINE
    return Upgraded(tmp_path, RECORDS_OF_THE_LOG, timeline)


def test_the_fold_begins_with_the_converted_state(world: Upgraded) -> None:
    world.upgrade(UPGRADED_AT)
    world.ingest(world.end)
    report = world.fold(stretch_records=10)
    assert (report.rows, report.passed_over) == (RECORDS - UPGRADED_AT, UPGRADED_AT)
    assert (report.missed, report.unexpected) == (0, 0)
    assert report.expected > 5
    again = world.fold()
    assert (again.rows, again.passed_over) == (0, 0)


def test_what_the_older_release_had_folded_stays(world: Upgraded) -> None:
    world.upgrade(UPGRADED_AT)
    world.ingest(world.end)
    world.features.create()
    world.features.commit("older", [Move(position_name(PARTITION), None, 10)], [], {})
    report = world.fold(stretch_records=10)
    assert (report.rows, report.passed_over) == (RECORDS - UPGRADED_AT, UPGRADED_AT - 10)
    assert (report.missed, report.unexpected) == (0, 0)


@pytest.mark.parametrize(("kept", "rows"), [((40,), 20), ((), 0)])
def test_a_lost_converted_state_costs_features_and_stops_nothing(
    world: Upgraded, kept: tuple[int, ...], rows: int
) -> None:
    world.upgrade(*kept)
    world.ingest(world.end)
    report = world.fold(stretch_records=10)
    assert (report.rows, report.passed_over) == (rows, RECORDS - rows)
    assert (report.missed, report.unexpected) == (0, 0)
    assert world.fold().rows == 0


def test_a_partition_of_another_version_is_left_to_its_release(world: Upgraded) -> None:
    world.timeline = TIMELINE[:3]
    world.ingest(10)
    assert world.fold().rows == 0
    world.timeline = [*TIMELINE, fold_version_event(5, 50, FOLD_VERSION + 1)]
    assert world.fold().rows == 0
