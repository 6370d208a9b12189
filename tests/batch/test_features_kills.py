"""SIGKILL to a real fold of features at every step of its writes: each record once, no cold alert missing.

`RAY_FRAUD_FOLD_KILLS` repeats the whole series that often; 1 unless set.
"""

import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from batch.features.job import position_name
from batch.features.run import feature_tables_of
from ray_fraud.domain.alert import Alert, Source
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.split import RULES_ONLY
from ray_fraud.domain.timeline import split_event
from ray_fraud.stores.connections import LakeLocation, PostgresConnection, to_json
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.port import Ownership
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_session import PATIENT, Session
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.review_data.postgres import PostgresReviewData
from tests.batch import killed_fold
from tests.batch.fold_world import PARTITION, FoldWorld, Online
from tests.batch.killed_fold import PRESENT, STRETCH, FoldPlace
from tests.oracle.controls import Changes
from tests.oracle.streams import StreamOptions, make_stream

REPEATS = int(os.environ.get("RAY_FRAUD_FOLD_KILLS", "1"))
RECORDS = 240
CHANGES = Changes(settings=0, splits=2, quarantines=1, gaps=0, refreshes=1, max_events=8, idle_hours=24)
OTHER_STRETCH = STRETCH + 40
"""The job that goes on need not cut the log where the killed one did."""


@dataclass
class Scene:
    """A lake with its log, what the hot path saw, and a database in which it lost every third alert."""

    lake: Path
    postgres: PostgresConnection
    end: int
    online: Online
    own: Ownership
    session: Session
    ledger: PostgresLedger
    review: PostgresReviewData
    alerts: PostgresAlertQueries

    @property
    def lost(self) -> list[Alert]:
        return self.online.alerts[::3]

    def place(self, lake: Path) -> FoldPlace:
        """A copy of the lake, and the database as the hot path left it."""
        shutil.copytree(self.lake, lake)
        self.session.rows("reset", "DELETE FROM user_feature_values; DELETE FROM fraud_alerts")
        lost = {alert.alert_uid for alert in self.lost}
        self.ledger.insert_hot_alerts(self.own, [a for a in self.online.alerts if a.alert_uid not in lost])
        return FoldPlace(lake, self.postgres, self.end)


@pytest.fixture
def scene(fresh_database: PostgresConnection, tmp_path: Path) -> Iterator[Scene]:
    migrate(fresh_database)
    stream = make_stream(StreamOptions(seed=81, records=RECORDS, users=20, changes=CHANGES))
    last = stream.timeline[-1]
    without_model = split_event(last.seq + 1, max(last.from_offset, RECORDS // 2), RULES_ONLY)
    world = FoldWorld(tmp_path / "lake", stream.records, [*stream.timeline, without_model])
    online = world.decide_online()
    world.ingest(world.end)
    with (
        closing(PostgresLedger(fresh_database, name="test scene")) as ledger,
        closing(Session(fresh_database, name="test reset", limits=PATIENT)) as session,
        closing(PostgresReviewData(fresh_database)) as review,
        closing(PostgresAlertQueries(fresh_database)) as alerts,
    ):
        with ledger.take_over(PARTITION) as turn:
            own = turn.confirm(1, "token", 0)
        for event in world.timeline:
            ledger.append_event(own, event)
        ledger.set_decided_offset(own, world.end)
        lake = tmp_path / "lake"
        yield Scene(lake, fresh_database, world.end, online, own, session, ledger, review, alerts)


@dataclass(frozen=True)
class Left:
    """What a fold leaves behind."""

    hot: set[UUID]
    cold: set[UUID]
    users: dict[int, dict[str, float | None] | None]


def checked(place: FoldPlace, scene: Scene) -> Left:
    """Each record once in each table with the features of the hot path, and the newest of each user."""
    online = scene.online
    features, score_rows = feature_tables_of(LakeLocation(place.lake.as_uri()))
    for table in (features, score_rows):
        assert table.position(position_name(PARTITION)) == scene.end
    rows = features.read([])
    offsets = rows["offset"].to_pylist()
    assert sorted(offsets) == sorted(online.features)
    values = np.column_stack([rows[name].to_numpy() for name in FEATURE_NAMES])
    for offset, row in zip(offsets, values, strict=True):
        np.testing.assert_array_equal(row, online.features[offset])
    scores = score_rows.read([], ["offset", "model"])
    scored = Counter(zip(*scores.to_pydict().values(), strict=True))
    assert scored == Counter((offset, arm.label) for offset in offsets for arm in PRESENT.arms)
    newest: dict[int, int] = dict(sorted(zip(rows["user_id"].to_pylist(), offsets, strict=True)))
    users = {user_id: scene.review.features_of(user_id) for user_id in newest}
    hot, cold = (scene.alerts.uids(AlertFilter(source=source)) for source in (Source.HOT, Source.COLD))
    for user_id, offset in newest.items():
        kept = users[user_id]
        assert kept is not None, user_id
        found = np.array([np.nan if (v := kept[name]) is None else v for name in FEATURE_NAMES], np.float32)
        np.testing.assert_array_equal(found, online.features[offset], err_msg=f"user {user_id}")
    return Left(hot, cold, users)


@pytest.mark.timeout(240 + 120 * REPEATS)
def test_a_fold_killed_at_any_step_loses_and_doubles_nothing(scene: Scene, tmp_path: Path) -> None:
    whole = scene.place(tmp_path / "whole")
    report, half_steps = killed_fold.fold(whole)
    expected = checked(whole, scene)
    lost = {alert.alert_uid for alert in scene.lost}
    assert (report.missed, report.unexpected, report.stretches) == (len(lost), 0, 2)
    assert report.found > 0
    assert lost < expected.cold
    assert len(expected.cold) == report.missed + report.found
    assert half_steps > 30

    context = multiprocessing.get_context("forkserver")
    # What each victim would do again: Arrow's datasets bring pandas along when they are first used.
    context.set_forkserver_preload(["tests.batch.killed_fold", "pyarrow.dataset"])
    for repeat in range(REPEATS):
        for kill_at in range(half_steps):
            place = scene.place(tmp_path / f"lake-{repeat}-{kill_at}")
            file = tmp_path / "place.json"
            file.write_bytes(to_json(place))
            victim = context.Process(target=killed_fold.main, args=(str(file), kill_at))
            victim.start()
            victim.join(60)
            assert victim.exitcode == -signal.SIGKILL, kill_at
            killed_fold.fold(place, stretch_records=OTHER_STRETCH)
            assert checked(place, scene) == expected, kill_at
            shutil.rmtree(place.lake)
