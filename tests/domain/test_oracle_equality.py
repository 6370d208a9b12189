"""The product and the oracle agree on long awkward streams: alerts, features, states and counters.

`ORACLE_RECORDS=40000` makes each of the five streams that long (200,000 transactions in all).
"""

import os

import pytest

from tests.oracle.compare import compare
from tests.oracle.controls import Changes
from tests.oracle.oracle import run_oracle
from tests.oracle.product import run_product
from tests.oracle.scores import score_row
from tests.oracle.streams import DAY_MS, EVERYTHING, ORDINARY, StreamOptions, make_stream

RECORDS = int(os.environ.get("ORACLE_RECORDS", "4000"))
SMALLEST_MEMORY, LARGEST_MEMORY = 2, 1024
NO_CHANGES = Changes(settings=0, splits=0, quarantines=0, gaps=0, refreshes=0)

STREAMS = {
    "default": StreamOptions(seed=11, records=RECORDS),
    "smallest-memory": StreamOptions(
        seed=12, records=RECORDS, users=30, changes=Changes(max_events=SMALLEST_MEMORY)
    ),
    "largest-memory": StreamOptions(
        seed=13, records=RECORDS, users=10, mean_step_ms=8_000, changes=Changes(max_events=LARGEST_MEMORY)
    ),
    "replayed-history": StreamOptions(seed=14, records=RECORDS, history_shift_ms=400 * DAY_MS),
    "slow-and-forgetful": StreamOptions(
        seed=15, records=RECORDS, users=60, mean_step_ms=600_000, changes=Changes(idle_hours=24)
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_product_and_oracle_agree(name: str) -> None:
    stream = make_stream(STREAMS[name])
    expected = run_oracle(stream.records, stream.timeline, score_row)
    actual = run_product(stream.records, stream.timeline)
    assert str(compare(expected, actual)) == "no difference"
    ended = sum(actual.counts[end] for end in ("processed", "duplicate", "rejected", "quarantined"))
    assert ended + expected.counts["in_gap"] == len(stream.records)
    assert {alert["rule_name"] for alert in actual.alerts} == {"high_amount", "geo_velocity", "ml_anomaly"}


@pytest.mark.parametrize("batch_records", [1, 7, 333, 10_000])
def test_the_size_of_batches_does_not_matter(batch_records: int) -> None:
    changes = Changes(settings=8, splits=12, quarantines=20, gaps=5, max_events=8, idle_hours=24)
    stream = make_stream(StreamOptions(seed=21, records=1_000, users=25, changes=changes))
    expected = run_oracle(stream.records, stream.timeline, score_row)
    actual = run_product(stream.records, stream.timeline, batch_records)
    assert str(compare(expected, actual)) == "no difference"


def test_a_quiet_stream_has_nothing_but_processed_records() -> None:
    stream = make_stream(StreamOptions(seed=22, records=500, mix=ORDINARY, changes=NO_CHANGES))
    assert run_product(stream.records, stream.timeline).counts["processed"] == 500


def test_the_streams_hold_every_awkward_kind() -> None:
    stream = make_stream(STREAMS["default"])
    assert stream.injected.keys() >= vars(EVERYTHING).keys()
    result = run_oracle(stream.records, stream.timeline, score_row)
    assert {alert["compared"].get("neighbour") for alert in result.alerts} == {None, "previous", "next"}
    wanted = ("processed", "duplicate", "rejected", "quarantined", "in_gap", "id_reused", "late_beyond_state")
    assert result.counts["forgotten"]
    assert all(result.counts[name] for name in wanted)
