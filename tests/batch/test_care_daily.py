"""Care once a day: when it is due, across restarts, and that its failure is nobody else's."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batch.care.config import CareConfig
from batch.care.daily import DailyCare, last_care
from batch.care.job import Care
from batch.features.config import FeatureConfig
from batch.ingest.config import IngestConfig
from batch.schedule.config import BatchConfig
from ray_fraud.domain import metrics
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    from_json,
    to_json,
)
from ray_fraud.telemetry.meter import Meter, read_snapshot
from tests.batch.care_lake import CareLake

HOUR, DAY = 3_600.0, 86_400.0


class Clock:
    """Begins when the lake does."""

    def __init__(self, location: LakeLocation) -> None:
        began = last_care(location)
        assert began is not None
        self.now = began

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lake(tmp_path: Path) -> CareLake:
    return CareLake(tmp_path)


@pytest.fixture
def clock(lake: CareLake) -> Clock:
    return Clock(lake.location)


def daily(lake: CareLake, clock: Clock, meter: Meter | None = None) -> DailyCare:
    """That of a process that has just begun."""
    return DailyCare(lake.location, CareConfig(), meter or Meter("batch", "test"), clock)


def ran(report: dict[str, Any] | None) -> dict[str, Any]:
    assert report is not None
    return report


def damage(lake: CareLake) -> dict[Path, bytes]:
    """Makes `log_gaps` unreadable; what to write to mend it."""
    commits = {file: file.read_bytes() for file in (lake.folder / "log_gaps" / "_delta_log").glob("*.json")}
    for file in commits:
        file.write_text("no commit")
    return commits


def test_the_first_care_is_a_day_after_the_lake_began_and_the_next_a_day_later(
    lake: CareLake, clock: Clock
) -> None:
    care = daily(lake, clock)
    assert care.run_if_due() is None
    clock.now += DAY - 60
    assert care.run_if_due() is None
    clock.now += 120
    assert ran(care.run_if_due())["failed"] == []
    assert care.run_if_due() is None
    clock.now += DAY - 60
    assert care.run_if_due() is None
    clock.now += 120
    assert ran(care.run_if_due())["tables"]


def test_a_restart_neither_repeats_nor_forgets_it(lake: CareLake, clock: Clock) -> None:
    clock.now += DAY + 60
    assert ran(daily(lake, clock).run_if_due())["failed"] == []
    clock.now += HOUR
    assert daily(lake, clock).run_if_due() is None
    clock.now += DAY
    assert ran(daily(lake, clock).run_if_due())["failed"] == []


def test_a_care_by_hand_counts(lake: CareLake, clock: Clock) -> None:
    care = daily(lake, clock)
    clock.now += DAY + 60
    Care(lake.location, CareConfig(), "somebody", now=clock).run()
    assert care.run_if_due() is None


def test_one_that_is_not_complete_is_tried_again_an_hour_later(lake: CareLake, clock: Clock) -> None:
    meter = Meter("batch", "test")
    care = daily(lake, clock, meter)
    clock.now += DAY + 60
    commits = damage(lake)
    assert "log_gaps" in ran(care.run_if_due())["failed"][0]
    clock.now += HOUR - 60
    assert not (care.run_if_due() or {}).get("tables")
    for file, content in commits.items():
        file.write_bytes(content)
    clock.now += 120
    assert ran(care.run_if_due())["failed"] == []
    counters = read_snapshot(meter.snapshot()).counters
    assert counters[metrics.CARE_RUNS.name, ("done",)] == 1


def test_whatever_goes_wrong_is_told_and_raises_nothing(lake: CareLake, clock: Clock) -> None:
    clock.now += DAY + 60
    for commit in lake.folder.glob("*/_delta_log/*.json"):
        commit.write_text("no commit")
    (failure,) = ran(daily(lake, clock).run_if_due())["failed"]
    assert failure.startswith("StoreUnavailable: lake: ")


def test_before_there_is_a_lake_nothing_is_due(tmp_path: Path, clock: Clock) -> None:
    nowhere = LakeLocation((tmp_path / "nowhere").as_uri())
    clock.now += 10 * DAY
    assert DailyCare(nowhere, CareConfig(), Meter("batch", "test"), clock).run_if_due() is None


def test_the_operator_sees_age_and_sizes(lake: CareLake, clock: Clock) -> None:
    meter = Meter("batch", "test")
    care = daily(lake, clock, meter)
    clock.now += HOUR
    care.run_if_due()
    gauges = read_snapshot(meter.snapshot()).gauges
    assert gauges[metrics.CARE_AGE.name, ()] == HOUR
    assert gauges[metrics.LAKE_FILES.name, ("transactions",)] == 6
    clock.now += DAY
    care.run_if_due()
    gauges = read_snapshot(meter.snapshot()).gauges
    assert gauges[metrics.CARE_AGE.name, ()] == 0
    assert gauges[metrics.LAKE_FILES.name, ("transactions",)] == 2
    assert gauges[metrics.LAKE_BYTES.name, ("transactions",)] > 0
    assert metrics.CARE_SECONDS.name in {name for name, _ in gauges}


def test_what_the_batch_actor_is_told_of_care_survives_the_way_to_it() -> None:
    servers = (KafkaConnection(""), RedisConnection(""), PostgresConnection(""))
    connections = Connections(*servers, LakeLocation("file:///lake"))
    care = CareConfig(retention=timedelta(days=30), sort=False)
    features = FeatureConfig(model_cache=Path("/cache"))
    config = BatchConfig(ingest=IngestConfig(connections=connections), features=features, care=care)
    assert from_json(to_json(config), BatchConfig) == config
