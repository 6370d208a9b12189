"""Drift of the last day, counted from a lake in a folder, and what a look tells of it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from msgspec import UNSET
from numpy.typing import NDArray

from batch.drift.job import DriftPorts, DriftReport, LiveDrift, look_at_drift
from batch.drift.measure import Subject, measure_drift
from batch.drift.run import LOOK_SECONDS, ScheduledDrift, tell_drift
from batch.imports.job import import_partition
from ray_fraud.domain.batch_settings import DriftSettings
from ray_fraud.domain.drift import psi, reference_of
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.model import Manifest
from ray_fraud.domain.verdicts import VerdictRates
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.memory_registry import MemoryRegistry
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Registry, Share
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.models.memory import MemoryModelFiles
from ray_fraud.stores.models.port import ModelFiles
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES, SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from ray_fraud.telemetry.meter import Meter, read_snapshot
from tests.scoring.sample_models import trained

NAMES = ("amount", "lat", "day_of_week", "user_tx_count_1h")
SETTINGS = DriftSettings(least_rows=5)
VERDICTS = VerdictRates(4, 1, 10, 2, 3.0)
NEWEST_MS = 1_767_300_000_123
"""2026-01-01 20:40 UTC: the last day is of two dates."""
DIGEST, OTHER = "scored", "scored too"
Floats = NDArray[np.float64]


@dataclass
class World:
    """Three days of features, and of scores of two versions, in a lake."""

    lake: LakeLocation
    event_ms: NDArray[np.int64]
    features: dict[str, Floats]
    scores: dict[str, Floats]
    """By digest."""

    def last_day(self, values: Floats) -> Floats:
        return values[self.event_ms > NEWEST_MS - DAY_MS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    rng = np.random.default_rng(4)
    count = 900
    event_ms = np.sort(rng.integers(NEWEST_MS - 3 * DAY_MS, NEWEST_MS, count))
    event_ms[-1] = NEWEST_MS
    # What is a day old is otherwise, so that a wrong day is seen.
    old = event_ms <= NEWEST_MS - DAY_MS
    features = {
        "amount": np.round(rng.gamma(2, 40, count) + 500 * old),
        "lat": np.where(rng.random(count) < 0.2, np.nan, np.round(rng.normal(48, 5, count))),
        "day_of_week": (event_ms // DAY_MS + 3) % 7.0,
        "user_tx_count_1h": rng.integers(1, 4, count) + 20.0 * old,
    }
    scores = {DIGEST: rng.random(count) + old, OTHER: rng.random(count) / 2 + old}
    made = World(LakeLocation(tmp_path_factory.mktemp("lake").as_uri()), event_ms, features, scores)
    written(made.lake, ML_FEATURES, FEATURE_SCHEMA, [columns(made, features)])
    parts = [columns(made, {"model_digest": digest, "score": each}) for digest, each in scores.items()]
    written(made.lake, SCORES, SCORE_SCHEMA, parts)
    return made


def columns(world: World, values: Mapping[str, object]) -> dict[str, object]:
    """The values with the times of the rows."""
    times = pa.array(world.event_ms * 1_000, pa.timestamp("us", "UTC"))
    dates = times.cast(pa.date32())
    offsets = np.arange(len(world.event_ms))
    return {"offset": offsets, "record_time": times, "event_time": times, "event_date": dates, **values}


def written(lake: LakeLocation, name: str, schema: pa.Schema, parts: Sequence[Mapping[str, object]]) -> None:
    """Two commits for each part; what is not given is one value, or null."""
    table = PositionedTable(lake, name, schema)
    table.create()
    position = None
    for part in parts:
        rows = len(cast("pa.Array", part["event_time"]))
        arrays = [filled(part.get(field.name), field, rows) for field in schema]
        whole = pa.table(arrays, schema=schema)
        for half in (whole.slice(0, rows // 2), whole.slice(rows // 2)):
            after = (position or 0) + 1
            move = Move("test", position, after)
            table.commit(f"run {after}", [move], table.write_files(half), {})
            position = after


def filled(values: object, field: pa.Field, rows: int) -> pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(values, field.type, from_pandas=True)
    if isinstance(values, pa.Array):
        return values
    if values is None and field.nullable:
        return pa.nulls(rows, field.type)
    fill = values if values is not None else ("x" if pa.types.is_string(field.type) else 1)
    return pa.array([bool(fill) if pa.types.is_boolean(field.type) else fill] * rows, field.type)


def known(world: World, *, shift: float = 0.0, digest: str = DIGEST) -> Manifest:
    """A manifest whose training was the last day itself, amounts less by `shift`."""
    values = {name: world.last_day(each) for name, each in world.features.items()}
    values["amount"] = values["amount"] - shift
    manifest = trained(1).manifest
    features = tuple(msgspec.structs.replace(manifest.features[0], name=name) for name in NAMES)
    return msgspec.structs.replace(
        manifest,
        features=features,
        references={name: reference_of(values[name]) for name in NAMES},
        score_reference=reference_of(world.last_day(world.scores[digest])),
    )


def test_the_last_day_is_not_far_from_itself_and_far_from_another(world: World) -> None:
    same, other = (known(world, shift=shift) for shift in (0.0, 1e6))
    subjects = [Subject("a:1", DIGEST, same, True), Subject("b:1", OTHER, other, True)]
    here, there = measure_drift(world.lake, subjects, SETTINGS)
    assert here.rows == there.rows == here.scored_rows == len(world.last_day(world.features["lat"]))
    assert (here.from_ms, here.until_ms) == (NEWEST_MS + 1 - DAY_MS, NEWEST_MS + 1)
    assert {each.name for each in here.features} == {"amount", "lat", "user_tx_count_1h"}
    assert all(each.psi == pytest.approx(0) and not each.alarm for each in here.features)
    assert here.score is not None
    assert here.score.psi == pytest.approx(0)
    assert here.problem is None
    assert (there.features[0].name, there.features[0].alarm) == ("amount", True)
    assert there.features[0].psi > 2
    assert there.score is not None
    assert there.score.alarm, "its scores are half of the others', by which its reference was made"


def test_every_value_is_what_the_rows_say(world: World) -> None:
    rng = np.random.default_rng(2)
    references = {name: reference_of(rng.gamma(2, 50, 500)) for name in NAMES}
    manifest = msgspec.structs.replace(known(world), references=references)
    (found,) = measure_drift(world.lake, [Subject("a:1", DIGEST, manifest, True)], SETTINGS)
    for each in found.features:
        today = world.last_day(world.features[each.name])
        assert each.psi == pytest.approx(psi(references[each.name], today))
    assert [each.psi for each in found.features] == sorted(
        (each.psi for each in found.features), reverse=True
    )


def test_a_sample_tells_about_the_same(world: World) -> None:
    settings = DriftSettings(max_rows=100, least_rows=5)
    (found,) = measure_drift(world.lake, [Subject("a:1", DIGEST, known(world), True)], settings)
    assert 40 <= found.rows <= 100
    assert found.rows < len(world.last_day(world.features["lat"]))
    assert all(each.psi < 0.5 for each in found.features)


def test_imported_rows_of_the_day_are_not_counted(world: World, tmp_path: Path) -> None:
    lake = LakeLocation(tmp_path.as_uri())
    topics = pa.array([import_partition("0" * 64).topic_id] * len(world.event_ms))
    imported = {name: each + 1e6 for name, each in world.features.items()} | {"topic_id": topics}
    parts = [columns(world, world.features), columns(world, imported)]
    written(lake, ML_FEATURES, FEATURE_SCHEMA, parts)
    (found,) = measure_drift(lake, [Subject("a:1", DIGEST, known(world), True)], SETTINGS)
    assert found.rows == len(world.last_day(world.features["lat"]))
    assert found.features
    assert all(each.psi == pytest.approx(0) for each in found.features)


def test_few_rows_prove_nothing(world: World) -> None:
    subject = Subject("a:1", DIGEST, known(world, shift=1e6), True)
    (found,) = measure_drift(world.lake, [subject], DriftSettings(least_rows=901))
    assert (found.features, found.score) == ((), None)
    assert "at least 901 are needed" in (found.problem or "")


def test_a_version_that_no_batch_scored_by_has_features_only(world: World) -> None:
    (found,) = measure_drift(world.lake, [Subject("a:1", "unknown", known(world), True)], SETTINGS)
    assert found.features
    assert (found.score, found.scored_rows) == (None, 0)
    assert "0 rows scored by it" in (found.problem or "")


def test_an_earlier_manifest_and_an_empty_lake_are_told(world: World, tmp_path: Path) -> None:
    old = msgspec.structs.replace(trained(1).manifest, references=UNSET, score_reference=UNSET)
    (found,) = measure_drift(world.lake, [Subject("a:1", "d", old, True)], SETTINGS)
    assert "earlier release" in (found.problem or "")
    empty = LakeLocation(tmp_path.as_uri())
    (found,) = measure_drift(empty, [Subject("a:1", "d", trained(1).manifest, True)], SETTINGS)
    assert found.from_ms is None
    assert "no features yet" in (found.problem or "")


def registered(registry: Registry, files: ModelFiles, manifests: list[Manifest]) -> None:
    """The first one in production, the second in tests."""
    rows = []
    for manifest in manifests:
        digest = files.put(manifest, *trained(1)[1:])
        rows.append(registry.register(NewModel(manifest.model_name, digest, digest, 0.5)))
    statuses = (ModelStatus.PRODUCTION, ModelStatus.TESTING)
    shares = (Share(row.id, status, 5_000) for row, status in zip(rows, statuses, strict=True))
    registry.set_split(list(shares))


def test_a_look_names_what_is_above_the_bound(world: World, caplog: pytest.LogCaptureFixture) -> None:
    database, files = MemoryDatabase(), MemoryModelFiles()
    registry = MemoryRegistry(database)
    far, near = known(world, shift=1e6), known(world)
    registered(registry, files, [far, msgspec.structs.replace(near, version=2)])
    ports = DriftPorts(registry, MemoryAlertQueries(database), files, world.lake)
    with caplog.at_level(logging.WARNING):
        report = look_at_drift(ports, SETTINGS, 2_000_000_000_000)
    assert [each.role for each in report.models] == ["production", "testing"]
    assert report.models[0].drift.features
    assert not report.models[1].drift.features
    (alarm,) = report.alarms
    assert alarm.startswith("amount of isolation_forest:1 ")
    assert alarm in caplog.text
    assert report.verdicts == VerdictRates(0, 0, 0, 0, None)


def test_metrics_have_what_is_known_and_nothing_of_before(world: World) -> None:
    (found,) = measure_drift(world.lake, [Subject("a:1", DIGEST, known(world, shift=1e6), True)], SETTINGS)
    production = msgspec.convert({"role": "production", "drift": msgspec.to_builtins(found)}, LiveDrift)
    meter = Meter("test", "one")
    tell_drift(meter, DriftReport((production,), ("amount",), VERDICTS))
    gauges = read_snapshot(meter.snapshot()).gauges
    assert gauges["fraud_detection_feature_drift", ("amount",)] == found.features[0].psi
    assert gauges["fraud_detection_score_drift", ("production",)] == pytest.approx(0)
    assert gauges["fraud_detection_drift_alarms", ()] == 1
    assert gauges["fraud_detection_verdicts_missing_ratio", ()] == 0.25
    assert gauges["fraud_detection_verdicts_late_ratio", ()] == 0.2
    tell_drift(meter, DriftReport((), (), VerdictRates(0, 0, 0, 0, None)))
    gauges = read_snapshot(meter.snapshot()).gauges
    assert gauges == {("fraud_detection_drift_alarms", ()): 0}


def connections(postgres: PostgresConnection, lake: LakeLocation) -> Connections:
    return Connections(
        kafka=KafkaConnection("nowhere.invalid:9092"),
        redis=RedisConnection("redis://nowhere.invalid:6379/0"),
        postgres=postgres,
        lake=lake,
    )


def clock(*seconds: float) -> Iterator[float]:
    yield from seconds


@pytest.mark.servers
def test_with_the_real_stores_once_an_hour(world: World, fresh_database: PostgresConnection) -> None:
    migrate(fresh_database)
    registry = PostgresRegistry(fresh_database)
    manifest = known(world)
    registered(
        registry,
        LakeModelFiles(*lake_filesystem(world.lake)),
        [manifest, msgspec.structs.replace(manifest, version=2)],
    )
    registry.close()
    meter = Meter("test", "one")
    times = clock(0.0, LOOK_SECONDS - 1, LOOK_SECONDS)
    drift = ScheduledDrift(connections(fresh_database, world.lake), SETTINGS, meter, lambda: next(times))
    first, second, third = (drift.look_if_due() for _ in range(3))
    assert first is not None
    assert second is None
    assert third == first
    report = msgspec.convert(first, DriftReport)
    assert report.alarms == ()
    assert [each.drift.model for each in report.models] == ["isolation_forest:1", "isolation_forest:2"]
    gauges = read_snapshot(meter.snapshot()).gauges
    told = {key[1][0] for key in gauges if key[0] == "fraud_detection_feature_drift"}
    assert told == set(NAMES) - {"day_of_week"} <= set(FEATURE_NAMES)


def test_a_database_that_is_away_is_told_not_raised_and_not_asked_again_at_once(world: World) -> None:
    nowhere = PostgresConnection("postgresql://nobody@127.0.0.1:1/none")
    times = clock(0.0, 60.0)
    drift = ScheduledDrift(
        connections(nowhere, world.lake), SETTINGS, Meter("test", "one"), lambda: next(times)
    )
    assert (drift.look_if_due() or {})["failed"].startswith("StoreUnavailable")
    assert drift.look_if_due() is None
