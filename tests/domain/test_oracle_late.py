"""Late, unordered and future events: equal to the oracle, with numbers wherever there are any."""

import json

import numpy as np

from ray_fraud.domain.record import Record
from tests.oracle.compare import compare
from tests.oracle.controls import Changes
from tests.oracle.oracle import OracleResult, run_oracle
from tests.oracle.product import run_product
from tests.oracle.scores import score_row
from tests.oracle.streams import START_MS, Mix, Stream, StreamOptions, make_stream

MIX = Mix(
    late=0.10,
    very_late=0.02,
    equal_time=0.08,
    on_a_window_edge=0.05,
    duplicate=0.01,
    old_duplicate=0.0,
    reused_id=0.0,
    poison=0.0,
    far_future=0.02,
    slight_future=0.05,
    milliseconds=0.03,
)
OPTIONS = StreamOptions(seed=44, records=5_000, users=60, mix=MIX, changes=Changes(gaps=0, max_events=24))
ALWAYS_THERE = [0, *range(3, 13)]
LAT, LON, OVER_MEAN, SINCE, KM, KMH = 1, 2, 13, 14, 15, 16


def product_and_stream(options: StreamOptions) -> tuple[OracleResult, Stream]:
    stream = make_stream(options)
    actual = run_product(stream.records, stream.timeline)
    return actual, stream


def test_late_and_unordered_events_equal_the_oracle() -> None:
    actual, stream = product_and_stream(OPTIONS)
    expected = run_oracle(stream.records, stream.timeline, score_row)
    assert str(compare(expected, actual)) == "no difference"
    assert actual.counts["late_beyond_state"] > 50


def test_events_from_the_future_never_change_state() -> None:
    actual, stream = product_and_stream(OPTIONS)
    refused = {o for o, (code, _) in actual.rejected.items() if code.startswith("timestamp_in_")}
    assert len(refused) > 200
    emptied = [
        Record(record.offset, record.timestamp_ms, None, b"" if record.offset in refused else record.value)
        for record in stream.records
    ]
    without = run_product(emptied, stream.timeline)
    assert without.users == actual.users
    assert without.alerts == actual.alerts
    horizon_ms = stream.records[-1].timestamp_ms + 300_000
    assert all(user["newest_ms"] <= horizon_ms for user in actual.users.values())


def test_every_millisecond_timestamp_and_the_year_2099_are_refused() -> None:
    actual, stream = product_and_stream(OPTIONS)
    quarantined = {event.from_offset for event in stream.timeline if event.kind == "quarantine"}
    wanted = {"milliseconds": "timestamp_in_milliseconds", "far_future": "timestamp_in_future"}
    for offset, kind in stream.kinds.items():
        if kind in wanted and offset not in quarantined:
            assert actual.rejected[offset] == (wanted[kind], "timestamp")


def test_what_is_defined_is_a_number() -> None:
    actual, _ = product_and_stream(OPTIONS)
    rows = np.array(list(actual.features.values()))
    assert not np.isinf(rows).any()
    assert np.isfinite(rows[:, ALWAYS_THERE]).all()
    assert (np.isnan(rows[:, LAT]) == np.isnan(rows[:, LON])).all()
    assert (np.isnan(rows[:, KM]) == np.isnan(rows[:, KMH])).all()
    assert not (np.isnan(rows[:, LAT]) & ~np.isnan(rows[:, KM])).any()
    assert (rows[~np.isnan(rows[:, SINCE]), SINCE] >= 0).all()
    for column in (LAT, OVER_MEAN, SINCE, KM):
        assert 0.02 < np.isfinite(rows[:, column]).mean() < 1, f"column {column} is not tested both ways"


def journey(*places: tuple[float, float], seconds: int = 600) -> list[Record]:
    """One user at the places, one after the other."""
    records = []
    for offset, (lat, lon) in enumerate(places):
        sent_ms = START_MS + offset * seconds * 1000
        fields = {
            "transaction_id": f"t{offset}",
            "user_id": 1,
            "amount": 10,
            "timestamp": sent_ms / 1000,
            "location": {"lat": lat, "lon": lon},
        }
        records.append(Record(offset, sent_ms, None, json.dumps(fields).encode()))
    return records


def test_the_antimeridian_and_the_poles_are_no_distance() -> None:
    near = journey((0.0, 179.9), (0.0, -179.9), (0.0, 180.0), (0.0, -180.0))
    assert run_product(near, ()).alerts == []
    assert run_product(journey((90.0, 0.0), (90.0, 120.0), (89.9, -60.0)), ()).alerts == []
    far = run_product(journey((90.0, 0.0), (-90.0, 0.0), (0.0, 1.0), (0.0, -179.0)), ())
    assert [alert["offset"] for alert in far.alerts] == [1, 2, 3]
    assert far.features[3][KM] == np.float32(np.pi * 6371.0088)
