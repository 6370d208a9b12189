"""Small logs whose answers are worked out by hand from the page, for the oracle and for the product."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.timeline import ControlEvent, EventKind, inline_event, quarantine_event, split_event
from tests.oracle.compare import compare
from tests.oracle.oracle import OracleResult, run_oracle
from tests.oracle.product import run_product
from tests.oracle.scores import score_row

DAY = 86_400
T0 = 20_000 * DAY + 10 * 3600  # 2024-10-04, a Friday, 10:00 UTC
HOUR_COUNT, DAY_COUNT, DAY_SUM, WEEK_COUNT, MONTH_COUNT, OVER_MEAN = 5, 7, 8, 9, 11, 13
SINCE_PREVIOUS, KM, KMH, HIGHS, SINCE_HIGH = 14, 15, 16, 17, 18


def txn(second: float, amount: float = 10.0, place: tuple[float, float] | None = None, **more: Any) -> bytes:
    """A transaction of user 1, `second` seconds after T0; its id is its content."""
    fields: dict[str, Any] = {"user_id": 1, "amount": amount, "timestamp": T0 + second, **more}
    if place:
        fields["location"] = {"lat": place[0], "lon": place[1]}
    return json.dumps({"transaction_id": f"{second}/{amount}/{place}", **fields}).encode()


def log(*values: bytes, sent: Sequence[float] | None = None) -> list[Record]:
    """Records sent at the given seconds after T0; by default all ninety days later."""
    seconds = sent or [90 * DAY] * len(values)
    return [
        Record(offset, round((T0 + second) * 1000), None, value)
        for offset, (value, second) in enumerate(zip(values, seconds, strict=True))
    ]


def settings(**sections: dict[str, Any]) -> list[ControlEvent]:
    """The first event: today's defaults, but for the given values of the given sections."""
    content = json.loads(DetectionSettings().canonical())
    for section, values in sections.items():
        content[section] |= values
    return [inline_event(1, 0, EventKind.SETTINGS, json.dumps(content).encode())]


def run(records: list[Record], timeline: Sequence[ControlEvent] = ()) -> OracleResult:
    """The oracle's result; the product's is the same."""
    expected = run_oracle(records, timeline, score_row)
    assert str(compare(expected, run_product(records, timeline))) == "no difference"
    return expected


def rules(result: OracleResult) -> list[tuple[int, str]]:
    return [(alert["offset"], alert["rule_name"]) for alert in result.alerts]


def test_an_amount_must_be_above_the_limit() -> None:
    result = run(log(txn(0, 2000.0), txn(1, 2000.00005), txn(2, 1999.99)))
    assert rules(result) == [(1, "high_amount")]
    assert result.alerts[0]["score"] is None
    assert result.alerts[0]["severity"] == "medium"


def test_hour_and_day_of_the_first_record() -> None:
    row = run(log(txn(0))).features[0]
    assert row.tolist()[3:13] == [10, 4, 1, 10, 1, 10, 1, 10, 1, 10]
    assert [math.isnan(row[column]) for column in (1, 2, 13, 14, 15, 16)] == [True] * 6


@pytest.mark.parametrize(("second", "in_hour"), [(3599.999, 2), (3600, 1), (3600.001, 1)])
def test_the_hour_window_is_open_at_its_start(second: float, in_hour: int) -> None:
    row = run(log(txn(0), txn(second, 5.0))).features[1]
    assert row[HOUR_COUNT] == in_hour
    assert row[SINCE_PREVIOUS] == pytest.approx(second)


@pytest.mark.parametrize(("second", "in_day"), [(DAY - 0.001, 2), (DAY, 1)])
def test_exact_events_end_after_a_day(second: float, in_day: int) -> None:
    result = run(log(txn(0), txn(second, 5.0)))
    assert result.features[1][DAY_COUNT] == in_day
    assert len(result.users[1]["exact"]) == in_day


def test_too_many_exact_events_become_buckets() -> None:
    values = [txn(0, 1.0), txn(60, 2.0), txn(301, 4.0), txn(302, 8.0), txn(303, 16.0)]
    result = run(log(*values), settings(state={"max_events": 2}))
    bucket = T0 // 300
    assert result.users[1]["buckets"] == {bucket: (2, 3.0), bucket + 1: (1, 4.0)}
    assert [event[1] for event in result.users[1]["exact"]] == [8.0, 16.0]
    assert result.features[4][DAY_COUNT] == 5
    assert result.features[4][DAY_SUM] == 31.0


def test_a_late_record_that_is_evicted_at_once_takes_no_part_in_geography() -> None:
    values = [txn(100, place=(0, 1)), txn(200, place=(0, 1)), txn(10, place=(9, 1))]
    result = run(log(*values), settings(state={"max_events": 2}))
    assert rules(result) == []
    assert result.users[1]["buckets"] == {T0 // 300: (1, 10.0)}
    assert math.isnan(result.features[2][SINCE_PREVIOUS])


def test_speed_between_neighbours() -> None:
    # 10 degrees of latitude are 1,111.95 km.
    result = run(log(txn(0, place=(0, 1)), txn(3600, place=(10, 1))))
    assert rules(result) == [(1, "geo_velocity")]
    assert result.features[1][KM] == pytest.approx(1111.9508, rel=1e-6)
    assert result.features[1][KMH] == pytest.approx(1111.9508, rel=1e-6)
    assert rules(run(log(txn(0, place=(0, 1)), txn(7200, place=(10, 1))))) == []


def test_a_late_record_is_compared_with_both_neighbours() -> None:
    values = [txn(0, place=(0, 1)), txn(7200, place=(10, 1)), txn(3600, place=(0.1, 1))]
    result = run(log(*values))
    assert rules(result) == [(2, "geo_velocity")]
    assert result.alerts[0]["compared"]["neighbour"] == "next"
    assert result.alerts[0]["compared"]["kmh"] == pytest.approx(9.9 * 111.19508, rel=1e-6)
    assert result.features[2][KMH] == pytest.approx(11.119508, rel=1e-5)


def test_on_a_tie_the_previous_neighbour_is_compared() -> None:
    values = [txn(0, place=(0, 1)), txn(7200, 11, place=(0, 1)), txn(3600, place=(20, 1))]
    assert run(log(*values)).alerts[0]["compared"]["neighbour"] == "previous"


def test_equal_times_count_as_one_second_and_near_places_not_at_all() -> None:
    values = [txn(0, place=(0, 1)), txn(0, 11, place=(1, 1))]
    result = run(log(*values))
    assert result.features[1][KMH] == pytest.approx(111.19508 * 3600, rel=1e-6)
    assert result.features[1][SINCE_PREVIOUS] == 0
    assert rules(run(log(txn(0, place=(0, 1)), txn(0, 11, place=(0.4, 1))))) == []


def test_records_without_a_place_are_no_neighbours_in_geography() -> None:
    result = run(log(txn(0, place=(0, 1)), txn(1800), txn(3600, place=(10, 1))))
    assert rules(result) == [(2, "geo_velocity")]
    assert result.features[2][SINCE_PREVIOUS] == 1800
    assert math.isnan(result.features[1][KM])


@pytest.mark.parametrize(("second", "late"), [(0, 1), (0.001, 0)])
def test_late_beyond_state(second: float, late: int) -> None:
    result = run(
        log(txn(DAY, 5.0, (0, 1)), txn(second, 7.0, (50, 50))), settings(geo_velocity={"limit_kmh": 100.0})
    )
    assert result.counts["late_beyond_state"] == late
    assert rules(result) == ([] if late else [(1, "geo_velocity")])
    assert result.features[1][DAY_COUNT] == (0 if late else 1)
    assert result.features[1][WEEK_COUNT] == 1  # its own day lies before the other's
    assert len(result.users[1]["exact"]) == 2 - late


def test_windows_of_days_and_the_mean_of_the_others() -> None:
    values = [txn(0, 2.0), txn(6 * DAY, 4.0), txn(7 * DAY, 6.0), txn(29 * DAY, 8.0), txn(30 * DAY, 9.0)]
    result = run(log(*values))
    weeks, months, means = (
        [float(result.features[o][c]) for o in range(5)] for c in (WEEK_COUNT, MONTH_COUNT, OVER_MEAN)
    )
    assert weeks == [1, 2, 2, 1, 2]
    assert months == [1, 2, 3, 4, 4]
    assert means[1:] == [2.0, 2.0, 2.0, 1.5]  # the last: 9 over (4 + 6 + 8) / 3


def test_a_record_older_than_the_days_is_counted_nowhere() -> None:
    result = run(log(txn(30 * DAY, 5.0), txn(0, 7.0)))
    assert result.features[1].tolist()[5:13] == [0] * 8
    assert math.isnan(result.features[1][OVER_MEAN])
    assert result.users[1]["days"] == {20_030: (1, 5.0)}


def test_no_mean_above_nothing() -> None:
    assert math.isnan(run(log(txn(0, 0.0), txn(1, 5.0))).features[1][OVER_MEAN])


@pytest.mark.parametrize(
    ("earlier", "amount", "highs"),
    [(4, 1000.0, 0), (5, 30.0, 0), (5, 30.000000000000004, 1), (6, 1000.0, 1)],
    ids=["four are too few", "three times the mean is not above", "just above", "after six"],
)
def test_a_high_transaction_needs_five_before_and_more_than_three_means(
    earlier: int, amount: float, highs: int
) -> None:
    values = [txn(second) for second in range(earlier)]
    result = run(log(*values, txn(50, amount), txn(60)))
    rows = [result.features[offset] for offset in (earlier, earlier + 1)]
    assert [row[HIGHS] for row in rows] == [0, highs]
    assert math.isnan(rows[0][SINCE_HIGH])
    assert rows[1][SINCE_HIGH] == pytest.approx(10 / DAY if highs else math.nan, nan_ok=True)


def test_high_transactions_halve_in_ten_days_of_event_time_and_outlive_the_windows() -> None:
    usual = [txn(second) for second in range(5)]
    days = (10, 20, 40, 100, 900)
    result = run(log(*usual, txn(60, 100.0), *(txn(60 + day * DAY) for day in days), sent=[901 * DAY] * 11))
    highs = [float(result.features[offset][HIGHS]) for offset in range(6, 11)]
    assert highs == pytest.approx([2.0**-1, 2.0**-2, 2.0**-4, 2.0**-10, 2.0**-40], rel=1e-6)
    assert [float(result.features[offset][SINCE_HIGH]) for offset in range(6, 11)] == list(days)


def test_the_mean_of_a_lifetime_outlives_the_windows() -> None:
    usual = [txn(second) for second in range(5)]
    rows = run(log(*usual, txn(60 * DAY, 30.5), txn(60 * DAY + 1))).features
    assert (rows[5][MONTH_COUNT], rows[6][HIGHS]) == (1, 1)


def test_a_late_record_decays_nothing_and_a_late_high_one_enters_decayed() -> None:
    usual = [txn(second) for second in range(5)]
    late = [txn(-10 * DAY, 1.0), txn(-10 * DAY, 2000.0), txn(60 + 20 * DAY, 3.0)]
    result = run(log(*usual, txn(60, 100.0), *late))
    highs = [float(result.features[offset][HIGHS]) for offset in range(5, 9)]
    assert highs == pytest.approx([0, 1, 1, (1 + 2.0**-1) * 2.0**-2], rel=1e-6)
    since = [float(result.features[offset][SINCE_HIGH]) for offset in range(6, 9)]
    assert since == pytest.approx([-10 - 60 / DAY, -10 - 60 / DAY, 20], rel=1e-6)
    count, total, _, newest_ms = result.users[1]["lifetime"]
    assert (count, total, newest_ms) == (9, 2154.0, (T0 + 60) * 1000)


def test_a_duplicate_moves_nothing_and_a_used_id_hides_nothing() -> None:
    first = txn(0, 3000.0, transaction_id="a")
    other = txn(0, 3001.0, transaction_id="a")
    result = run(log(first, first, other, other))
    assert result.counts == {"processed": 2, "duplicate": 2, "id_reused": 1, "late_beyond_state": 0}
    assert rules(result) == [(0, "high_amount"), (2, "high_amount")]
    assert len({alert["alert_uid"] for alert in result.alerts}) == 2


def test_a_duplicate_older_than_the_memory_is_late_and_has_the_same_alert() -> None:
    first = txn(0, 3000.0)
    result = run(log(first, txn(DAY), first))
    assert result.counts["late_beyond_state"] == 1
    assert result.alerts[0]["alert_uid"] == result.alerts[1]["alert_uid"]
    assert len(result.users[1]["exact"]) == 1


@pytest.mark.parametrize(("skew", "rejected"), [(300, 0), (300.001, 1)])
def test_the_future_is_judged_by_the_record(skew: float, rejected: int) -> None:
    result = run(log(txn(skew), sent=[0]))
    assert result.counts["rejected"] == rejected
    assert len(result.users) == 1 - rejected


def test_idle_users_are_forgotten_when_the_hour_of_the_log_grows() -> None:
    sent = [*range(0, 24 * 3600, 3600), 24 * 3600, 24 * 3600 + 3599, 25 * 3600]
    steps = [txn(hour, user_id=2) for hour in range(1, 24)]
    values = [txn(0), *steps, txn(0, user_id=3), txn(24, user_id=2), txn(25, user_id=2)]
    result = run(log(*values, sent=sent), settings(state={"idle_hours": 24}))
    assert result.counts["forgotten"] == 1
    assert sorted(result.users) == [2, 3]
    shorter = run(log(*values[:-1], sent=sent[:-1]), settings(state={"idle_hours": 24}))
    assert shorter.counts["forgotten"] == 0


def test_a_quarantined_offset_does_nothing() -> None:
    timeline = [quarantine_event(1, 1)]
    result = run(log(txn(0, 3000.0), txn(1, 3000.0), txn(2, 3000.0)), timeline)
    assert rules(result) == [(0, "high_amount"), (2, "high_amount")]
    assert result.counts["quarantined"] == 1


def test_an_event_holds_from_its_offset_on() -> None:
    split = Split((Arm("m", 3, "0" * 64, -1.0, 10_000),), salt="")
    result = run(log(txn(0), txn(1), txn(2)), [split_event(1, 1, split)])
    assert rules(result) == [(1, "ml_anomaly"), (2, "ml_anomaly")]
    assert result.alerts[0]["model_version"] == "m:3"


def test_no_location_hides_behind_two_zeros() -> None:
    london, nowhere = (51.5, -0.12), [(0, 0), (0.0, -0.0), (-0.0, 0.0), (0e7, 0)]
    places = [place for each in nowhere for place in (london, each)]
    values = [txn(60 * second, 3000.0, place) for second, place in enumerate(places)]
    result = run(log(*values))
    assert {rule for _, rule in rules(result)} == {"high_amount"}
    assert result.counts["placeholder_locations"] == 4
    assert [alert["lat"] for alert in result.alerts] == [51.5, None] * 4
    assert all(math.isnan(value) for value in result.features[1][[1, 2, KM, KMH]])
    assert [event[2] is None for event in result.users[1]["exact"]] == [False, True] * 4


def test_one_zero_is_a_place() -> None:
    places = [(0, 1e-7), (0, 1), (1, 0), (-1e-7, 0), (0, 5)]
    result = run(log(*[txn(3600 * hour, place=place) for hour, place in enumerate(places)]))
    assert result.counts["placeholder_locations"] == 0
    assert all(event[2] for event in result.users[1]["exact"])


def test_a_placeholder_sent_again_is_a_duplicate_and_another_form_of_it_is_not() -> None:
    result = run(log(txn(0, place=(0, 0)), txn(0, place=(0, 0)), txn(0, place=(0.0, 0.0)), txn(0)))
    assert (result.counts["duplicate"], result.counts["processed"]) == (1, 3)


@pytest.mark.parametrize(
    ("sent_ms", "refused"),
    [
        (-1, 1),
        (0, 1),
        (1_700_000_000, 1),
        (10**12 - 1, 1),
        (10**12, 0),
        (10**14 - 1, 0),
        (10**14, 1),
        (10**18, 1),
    ],
)
def test_a_kafka_timestamp_has_milliseconds(sent_ms: int, refused: int) -> None:
    value = json.dumps({"transaction_id": "t", "user_id": 1, "amount": 1, "timestamp": 10**9 - 60}).encode()
    result = run([Record(0, sent_ms, None, value)])
    assert result.rejected == ({0: ("record_timestamp_unusable", "")} if refused else {})
    assert (result.watermark_ms, len(result.users)) == ((0, 0) if refused else (sent_ms, 1))
