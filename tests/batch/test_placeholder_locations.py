"""lat = lon = 0 in the lake: kept as it was sent, and no place for anything that reads it."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from batch.features.profiles import profiles_of
from batch.features.records import decoded_records
from batch.ingest.columns import rows_of
from batch.patterns.columns_of import CELL, with_cells
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.transaction import Location
from ray_fraud.domain.windows import DAY_MS
from tests.domain.samples import NOW_MS, decoder, record, transaction

ZEROS = [(0.0, 0.0), (-0.0, 0.0), (0.0, -0.0), (-0.0, -0.0)]


def lake_rows(*places: tuple[float, float]) -> pa.Table:
    sent = [
        transaction(f"t{index}", seconds=index * 60.0, amount=3000.0, location=Location(*place, "London"))
        for index, place in enumerate(places)
    ]
    records = [record(offset, each) for offset, each in enumerate(sent)]
    return rows_of(records, PartitionId("c", "t", 0), 0, len(records), decoder(), DetectionSettings())


def test_the_columns_have_what_was_sent() -> None:
    rows = lake_rows((0.0, 0.0), (0.0, 5.0))
    assert (rows["lat"].to_pylist(), rows["lon"].to_pylist()) == ([0.0, 0.0], [0.0, 5.0])


@pytest.mark.parametrize("zero", ZEROS)
def test_no_crowd_gathers_there(zero: tuple[float, float]) -> None:
    cells = with_cells(lake_rows(zero, (51.5, -0.12), (0.0, 5.0)))[CELL].to_pylist()
    assert cells[0] is None
    assert all(cells[1:])


@pytest.mark.parametrize("zero", ZEROS)
def test_nobody_has_a_home_there(zero: tuple[float, float]) -> None:
    rows = lake_rows(*[zero] * 9, (51.5, -0.1))
    day = NOW_MS // DAY_MS
    profiles = profiles_of(rows.select(["user_id", "amount", "event_time", "lat", "lon"]), day, day + 2)
    assert (profiles.home_lat.tolist(), profiles.home_lon.tolist()) == ([51.5], [-0.1])


def test_the_fold_of_the_lake_has_the_log_s_states_and_shows_what_was_sent() -> None:
    rows = lake_rows((51.5, -0.12), (0.0, 0.0), (51.5, -0.12), (0.0, 0.0))
    state = PartitionState(0, decoder())
    observed = state.observe_decoded(decoded_records(rows))
    alerts = state.decide(observed, None).alerts
    assert {alert.rule_name for alert in alerts} == {"high_amount"}
    assert observed.counts.placeholder_locations == 2
    assert [alert.lat for alert in alerts] == [51.5, None, 51.5, None]
    assert alerts[1].details["transaction"]["location"]["lat"] == 0.0
    assert rows["event_time"][0].as_py().astimezone(UTC) == datetime.fromtimestamp(NOW_MS / 1000, UTC)
