"""The lake, folded, gives what the hot path saw: features bit for bit, alerts, states; and what it missed."""

from collections import Counter
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batch.features.fold import Scoring, fold_records
from batch.features.records import COLUMNS, decoded_records
from ray_fraud.domain.alert import Alert, RuleName, Source
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import RULES_ONLY, Arm, Split
from ray_fraud.domain.timeline import FeatureRefresh, content_of, split_event, tables_needed
from ray_fraud.stores.snapshots.memory import MemorySnapshotStore
from tests.batch.fold_world import (
    PARTITION,
    PRESENT,
    FoldWorld,
    explain_row,
    run_online,
    score_of,
    score_split,
    scoring,
)
from tests.oracle.controls import Changes
from tests.oracle.streams import StreamOptions, make_stream
from tests.oracle.tables import DRAWN

CHANGES = Changes(settings=0, splits=5, quarantines=6, gaps=2, refreshes=4, max_events=16, idle_hours=24)

ONE = Split((msgspec.structs.replace(PRESENT.arms[0], share_bp=10_000),), "now")
"""The second of the present versions retired."""


def world(folder: Path, records: int = 3_000, seed: int = 71) -> FoldWorld:
    options = StreamOptions(seed=seed, records=records, users=60, quiet_periods=0.002, changes=CHANGES)
    stream = make_stream(options)
    return FoldWorld(folder, stream.records, stream.timeline)


def features_in_lake(made: FoldWorld) -> dict[int, np.ndarray]:
    rows = made.features.read([])
    values = np.column_stack([rows[name].to_numpy() for name in FEATURE_NAMES])
    offsets = rows["offset"].to_pylist()
    assert len(set(offsets)) == len(offsets), "a record is there twice"
    return dict(zip(offsets, values, strict=True))


def hot_uids(made: FoldWorld) -> set[UUID]:
    return {uid for uid, row in made.database.alerts.items() if row.alert.source is Source.HOT}


def test_ten_thousand_transactions_have_the_same_features_online_and_offline(tmp_path: Path) -> None:
    made = world(tmp_path, records=12_000)
    online = made.decide_online()
    made.ingest(made.end)
    report = made.fold(stretch_records=4_500)
    offline = features_in_lake(made)
    assert len(online.features) > 10_000
    assert offline.keys() == online.features.keys()
    for offset, row in online.features.items():
        np.testing.assert_array_equal(offline[offset], row, err_msg=f"offset {offset}")
    assert not np.isnan(np.array(list(online.features.values()))).all(axis=0).any(), "a feature has no value"
    assert (report.missed, report.unexpected) == (0, 0)
    assert report.expected == len(online.alerts)


@pytest.mark.parametrize("step", [1_000, 2_999])
def test_in_whatever_pieces_it_comes(tmp_path: Path, step: int) -> None:
    made = world(tmp_path)
    online = made.decide_online()
    for until in (*range(step, made.end, step), made.end):
        made.ingest(until)
        made.fold()
    offline = features_in_lake(made)
    for offset, row in online.features.items():
        np.testing.assert_array_equal(offline[offset], row)
    assert made.features.position(f"fold:{PARTITION}") == made.end
    last = made.states.newest_valid(PARTITION, lambda _: True)
    assert last is not None
    assert dict(made.states.read_users(last)) == online.users


def test_each_row_names_the_tables_that_held_there(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.decide_online()
    made.ingest(made.end)
    made.fold()
    refreshes = [
        (event.from_offset, content.tables)
        for event in made.timeline
        if isinstance(content := content_of(event), FeatureRefresh)
    ]
    assert len(refreshes) == CHANGES.refreshes
    for row in made.features.read([], ["offset", "feature_tables"]).to_pylist():
        due = [digest for from_offset, digest in refreshes if from_offset <= row["offset"]]
        assert row["feature_tables"] == (due[-1] if due else None), row


def test_nothing_is_folded_that_the_hot_path_has_not_decided(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.decide_online()
    made.ingest(made.end)
    made.decided = 1_200
    report = made.fold()
    assert max(features_in_lake(made)) < 1_200
    assert report.behind == made.end - 1_200
    assert made.fold().rows == 0


def test_an_alert_that_the_hot_path_missed_is_stored_as_cold(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.decide_online()
    lost = sorted(hot_uids(made))[::7]
    taken = {uid: made.database.alerts.pop(uid).alert for uid in lost}
    assert any("explanation" in alert.details for alert in taken.values())
    made.ingest(made.end)
    report = made.fold()
    assert (report.missed, report.unexpected) == (len(lost), 0)
    for uid, alert in taken.items():
        stored = made.database.alerts[uid].alert
        assert stored == msgspec.structs.replace(alert, source=Source.COLD)


def test_what_the_hot_path_made_is_not_explained_once_more(tmp_path: Path) -> None:
    made = world(tmp_path)
    online = made.decide_online()
    explained = [alert for alert in online.alerts if "explanation" in alert.details]
    made.ingest(made.end)
    rows = made.transactions.rows_of(PARTITION, 0, made.end, COLUMNS)
    records = decoded_records(rows)
    asked: list[int] = []

    def explain(split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64]:
        asked.append(arm)
        return explain_row(split, arm, features)

    def folded(known: set[UUID]) -> list[Alert]:
        asked.clear()
        state = PartitionState(0, Decoder(None), timeline=made.timeline, tables=made.tables)
        told = scoring(PRESENT)._replace(explain=explain)
        return fold_records(state, records, PARTITION.topic_id, told, known).expected

    assert len(explained) > 10
    assert folded(set()) == online.alerts
    all_of_them = len(asked)
    known = {alert.alert_uid for alert in online.alerts}
    same = [alert.alert_uid for alert in folded(known)]
    assert same == [alert.alert_uid for alert in online.alerts]
    # What the present models find where the hot path had none is explained in any case.
    assert all_of_them - len(asked) == len(explained)


@pytest.mark.parametrize(("present", "extra"), [(PRESENT, 0), (ONE, 1)], ids=["all live", "one retired"])
def test_a_model_scores_a_row_once_for_all_who_ask(tmp_path: Path, present: Split, extra: int) -> None:
    made = world(tmp_path)
    made.timeline = [*made.timeline[:2], split_event(3, 0, PRESENT)]
    online = made.decide_online()
    made.ingest(made.end)
    records = decoded_records(made.transactions.rows_of(PARTITION, 0, made.end, COLUMNS))
    scored: Counter[str] = Counter()

    def by_model(arm: Arm, features: NDArray[np.float32]) -> NDArray[np.float64]:
        scored[arm.label] += len(features)
        return score_of(arm, features)

    def by_split(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores:
        scored["by split"] += len(features)
        return score_split(split, user_ids, features)

    state = PartitionState(0, Decoder(None), timeline=made.timeline, tables=made.tables)
    told = Scoring(by_split, by_model, present, explain_row)
    folded = fold_records(state, records, PARTITION.topic_id, told)
    rows = folded.counts.processed
    assert folded.expected == online.alerts
    # A split of which a version is no longer live has to be scored for itself.
    assert scored["by split"] == rows * extra
    assert {arm.label: rows for arm in present.arms} == {
        label: count for label, count in scored.items() if label != "by split"
    }


def test_an_alert_that_should_not_be_there_is_counted(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.decide_online()
    some = next(iter(made.database.alerts.values()))
    invented = msgspec.structs.replace(some.alert, alert_uid=UUID(int=1))
    made.database.alerts[UUID(int=1)] = msgspec.structs.replace(some, alert=invented)
    made.ingest(made.end)
    assert made.fold().unexpected == 1


def test_what_had_no_model_is_found_by_the_present_ones(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.timeline = [*made.timeline[:2], split_event(3, 0, RULES_ONLY)]
    online = made.decide_online()
    assert RuleName.ML_ANOMALY not in {alert.rule_name for alert in online.alerts}
    made.ingest(made.end)
    report = made.fold()
    cold = [row.alert for row in made.database.alerts.values() if row.alert.source is Source.COLD]
    assert report.without_model == report.rows > 2_000
    assert len(cold) == report.found > 20
    assert {alert.rule_name for alert in cold} == {RuleName.ML_ANOMALY}
    assert {alert.model_version for alert in cold} == {arm.label for arm in PRESENT.arms}
    decided = run_online(made.records, [*made.timeline[:2], split_event(3, 0, PRESENT)])
    expected = {a.alert_uid for a in decided.alerts if a.rule_name is RuleName.ML_ANOMALY}
    assert {alert.alert_uid for alert in cold} == expected
    assert report.missed == 0


def test_every_live_version_scores_every_row(tmp_path: Path) -> None:
    made = world(tmp_path)
    made.decide_online()
    made.ingest(made.end)
    report = made.fold()
    scores = made.scores.read([])
    assert scores.num_rows == report.rows * len(PRESENT.arms)
    by_model = scores.group_by("model").aggregate([("offset", "count_distinct")])
    counts = set(by_model["offset_count_distinct"].to_pylist())
    assert counts == {report.rows}
    assert pa.compute.all(
        pa.compute.equal(scores["anomaly"], pa.compute.greater(scores["score"], scores["threshold"]))
    ).as_py()


def test_a_shadow_scores_every_row_and_never_decides(tmp_path: Path) -> None:
    """A version with share 0, in the hot path's timeline and among the present ones."""
    one = PRESENT.arms[0]
    shadowed = Split((msgspec.structs.replace(one, share_bp=10_000), Arm("two", 8, "d8", 0.05, 0)), "now")
    alone = Split(shadowed.arms[:1], "now")
    made = world(tmp_path)
    made.timeline = [*made.timeline[:2], split_event(3, 0, shadowed)]
    online = made.decide_online()
    without = run_online(made.records, [*made.timeline[:2], split_event(3, 0, alone)])
    assert online.alerts == without.alerts
    made.ingest(made.end)
    report = made.fold(present=shadowed)
    assert (report.missed, report.unexpected, report.found) == (0, 0, 0)
    by_model = {
        label: made.scores.read([]).filter(pa.compute.field("model") == label) for label in ("one:7", "two:8")
    }
    assert [table.num_rows for table in by_model.values()] == [report.rows, report.rows]
    assert pa.compute.all(by_model["one:7"]["live"]).as_py()
    assert not pa.compute.any(by_model["two:8"]["live"]).as_py()
    assert pa.compute.sum(by_model["two:8"]["anomaly"]).as_py() > report.rows * 0.9
    labels = {row.alert.model_version for row in made.database.alerts.values()}
    assert labels == {"one:7"}


def test_without_a_live_version_there_are_no_scores(tmp_path: Path) -> None:
    made = world(tmp_path, records=500)
    made.decide_online()
    made.ingest(made.end)
    assert made.fold(present=RULES_ONLY).rows > 400
    assert made.scores.read([]).num_rows == 0


def test_a_lost_state_is_made_again_from_the_lake(tmp_path: Path) -> None:
    made = world(tmp_path)
    online = made.decide_online()
    made.ingest(2_950)
    made.fold()
    made.states = MemorySnapshotStore()
    made.ingest(made.end)
    # Only the tables that hold from there on are still in the lake.
    made.tables = {digest: DRAWN[digest] for digest in tables_needed(made.timeline, 2_950)}
    assert len(tables_needed(made.timeline, 0)) > len(made.tables) == 1
    made.fold()
    offline = features_in_lake(made)
    for offset, row in online.features.items():
        np.testing.assert_array_equal(offline[offset], row)


def test_the_newest_features_of_each_user_are_kept_for_review(tmp_path: Path) -> None:
    made = world(tmp_path)
    online = made.decide_online()
    made.ingest(made.end)
    made.fold()
    rows = made.features.read([], ["offset", "user_id"]).to_pylist()
    last = {row["user_id"]: row["offset"] for row in sorted(rows, key=lambda row: row["offset"])}
    assert len(last) > 50
    for user_id, offset in last.items():
        features = made.review.features_of(user_id)
        assert features is not None
        kept = np.array([np.nan if v is None else v for v in features.values()], np.float32)
        np.testing.assert_array_equal(kept, online.features[offset])


def test_a_partition_that_nobody_owns_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = world(tmp_path)
    made.timeline, made.decided = [], 0
    made.ingest(100)
    report = made.fold()
    assert (report.rows, report.behind, report.unowned) == (0, 100, 100)
    assert "no owner ever had this partition; its 100 offsets are in the lake" in caplog.text
