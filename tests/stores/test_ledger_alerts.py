"""Storing alerts, by their owner and from the topic: the same on both databases."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_fraud.domain.alert import Alert, RuleName, Severity, Source, alert_uid
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.port import END_OF_LOG, DataGap, Ledger, Ownership, SinkProgress, TopicAlert
from ray_fraud.stores.ledger.queries import AlertFilter
from tests.stores.ledger_world import LedgerWorld, example_alert, reached

TOPIC = PartitionId("cluster-1", "alerts-topic", 0)


def own(ledger: Ledger, partition: PartitionId, barrier: int = 0) -> Ownership:
    with ledger.take_over(partition) as turn:
        return turn.confirm(turn.last_epoch + 1, "token", barrier)


def test_an_alert_comes_back_as_it_was(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger, alert = ledger_world.ledger(), example_alert(12)
    result = ledger.insert_hot_alerts(own(ledger, partition), [alert])
    assert (result.inserted, result.promoted, result.invalid) == (1, 0, ())
    stored = ledger_world.queries().get(alert.alert_uid)
    assert stored is not None
    assert (stored.alert, stored.partition_id, stored.epoch, stored.feedback) == (alert, partition, 1, None)


def test_a_repeat_inserts_only_what_is_new(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    first = [example_alert(offset) for offset in range(3)]
    assert ledger.insert_hot_alerts(held, first).inserted == 3
    changed = [msgspec.structs.replace(alert, reason="decided again") for alert in first]
    assert ledger.insert_hot_alerts(held, [*changed, example_alert(3), example_alert(3)]).inserted == 1
    reasons = {row.alert.reason for row in ledger_world.queries().list()}
    assert reasons == {example_alert().reason}


def test_a_hot_insert_turns_a_cold_row_hot(ledger_world: LedgerWorld, partition: PartitionId) -> None:
    ledger, queries = ledger_world.ledger(), ledger_world.queries()
    held = own(ledger, partition)
    hot = example_alert(5)
    cold = msgspec.structs.replace(hot, source=Source.COLD, reason="found later", score=None, offset=4)
    assert ledger.insert_hot_alerts(held, [cold]).inserted == 1
    before = queries.get(hot.alert_uid)
    result = ledger.insert_hot_alerts(held, [hot, example_alert(6)])
    assert (result.inserted, result.promoted) == (1, 1)
    after = queries.get(hot.alert_uid)
    assert before is not None
    assert after is not None
    assert (after.alert, after.alert_id) == (hot, before.alert_id)
    assert ledger.insert_hot_alerts(held, [cold]).promoted == 0
    assert queries.count(AlertFilter(source=Source.HOT)) == 2


INVALID: dict[str, dict[str, Any]] = {
    "NUL in a text": {"reason": "a\0b"},
    "NUL deep in details": {"details": {"a": [{"b\0": 1}]}},
    "lone surrogate": {"transaction_id": "\ud800"},
    "lone surrogate in details": {"details": {"city": "\udfff"}},
    "user id beyond 64 bits": {"user_id": 2**63},
    "negative offset": {"offset": -1},
    "infinite event time": {"event_time": math.inf},
    "event time NaN": {"event_time": math.nan},
    "event time after year 9999": {"event_time": 1e15},
    "record timestamp beyond": {"record_timestamp_ms": 10**18},
    "score NaN": {"score": math.nan},
    "latitude infinite": {"lat": math.inf},
    "details that are no JSON": {"details": {"city": object()}},
}


@pytest.mark.parametrize("what", INVALID)
def test_an_impossible_value_is_reported_and_stops_nothing(
    ledger_world: LedgerWorld, partition: PartitionId, what: str
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    fields: dict[str, Any] = {"transaction_id": "bad", "offset": 1} | INVALID[what]
    bad = example_alert(**fields)
    batch = [example_alert(0), bad, example_alert(2)]
    result = ledger.insert_hot_alerts(held, batch)
    assert result.inserted == 2
    assert [invalid.alert_uid for invalid in result.invalid] == [bad.alert_uid]
    sunk = ledger.insert_from_topic(
        [TopicAlert(alert, partition, 1) for alert in batch], SinkProgress(TOPIC, 3)
    )
    assert [invalid.alert_uid for invalid in sunk.invalid] == [bad.alert_uid]
    assert ledger.sink_progress(TOPIC) is None


def test_text_that_looks_like_an_escaped_nul_is_stored(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    alert = example_alert(reason="the six characters \\u0000", details={"\\u0000": "' ; -- %s %(x)s $1"})
    assert ledger.insert_hot_alerts(own(ledger, partition), [alert]).inserted == 1
    stored = ledger_world.queries().get(alert.alert_uid)
    assert stored is not None
    assert stored.alert == alert


def test_the_sink_repairs_what_is_missing_and_remembers_where_it_is(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    held = own(ledger, partition)
    ledger.insert_hot_alerts(held, [example_alert(0)])
    assert ledger.sink_progress(TOPIC) is None
    batch = [TopicAlert(example_alert(offset), partition, 1) for offset in (0, 1, 1, 2)]
    result = ledger.insert_from_topic(batch, SinkProgress(TOPIC, 4))
    assert (result.inserted, result.refused) == (2, 0)
    again = ledger.insert_from_topic(batch, SinkProgress(TOPIC, 2))
    assert (again.inserted, again.refused) == (0, 0)
    assert reached(ledger, TOPIC) == 4
    assert ledger.insert_hot_alerts(held, [example_alert(2)]).inserted == 0


def test_the_leader_epoch_of_progress_goes_with_it(ledger_world: LedgerWorld) -> None:
    ledger = ledger_world.ledger()
    for offset, leader_epoch in ((4, 1), (9, 3), (6, 2), (9, 4)):
        ledger.insert_from_topic([], SinkProgress(TOPIC, offset, leader_epoch))
    assert ledger.sink_progress(TOPIC) == SinkProgress(TOPIC, 9, 4)


def test_a_topic_that_was_cut_off_takes_the_progress_back_on_record(ledger_world: LedgerWorld) -> None:
    ledger = ledger_world.ledger()
    ledger.insert_from_topic([], SinkProgress(TOPIC, 9, 3))
    gap = DataGap(TOPIC, 5, 9, "cut off")
    for _ in range(2):
        ledger.record_sink_gap(gap, SinkProgress(TOPIC, 5, 2))
    assert ledger.sink_progress(TOPIC) == SinkProgress(TOPIC, 5, 2)
    assert ledger.gaps(TOPIC) == [gap]
    ledger.insert_from_topic([], SinkProgress(TOPIC, 6, 4))
    ledger.record_sink_gap(DataGap(TOPIC, 7, 8, "cut off"), SinkProgress(TOPIC, 7, 2))
    assert ledger.sink_progress(TOPIC) == SinkProgress(TOPIC, 6, 4), "taken back, never forward"


def test_the_sink_moves_on_without_alerts(ledger_world: LedgerWorld) -> None:
    ledger = ledger_world.ledger()
    assert ledger.insert_from_topic([], SinkProgress(TOPIC, 9)).inserted == 0
    assert reached(ledger, TOPIC) == 9


def test_progress_waits_for_what_can_never_be_stored(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    own(ledger, partition)
    good, bad = example_alert(0), example_alert(1, reason="a NUL: \0")
    batch = [TopicAlert(alert, partition, 1) for alert in (good, bad)]
    first = ledger.insert_from_topic(batch, SinkProgress(TOPIC, 2))
    assert (first.inserted, [invalid.alert_uid for invalid in first.invalid]) == (1, [bad.alert_uid])
    assert ledger.sink_progress(TOPIC) is None
    again = ledger.insert_from_topic(batch[:1], SinkProgress(TOPIC, 2))
    assert (again.inserted, again.invalid) == (0, ())
    assert reached(ledger, TOPIC) == 2


def test_what_the_sink_passed_over_is_on_record_once(ledger_world: LedgerWorld) -> None:
    ledger = ledger_world.ledger()
    gaps = [DataGap(TOPIC, 5, END_OF_LOG, "made again"), DataGap(TOPIC, 2, 3, "retention")]
    for gap in (*gaps, *gaps):
        ledger.record_sink_gap(gap)
    assert ledger.gaps(TOPIC) == sorted(gaps, key=lambda gap: gap.from_offset)


def test_the_sink_refuses_an_old_epoch_from_the_next_barrier_on(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    own(ledger, partition)
    own(ledger, partition, barrier=10)
    batch = [TopicAlert(example_alert(offset), partition, 1) for offset in (9, 10, 11)]
    batch.append(TopicAlert(example_alert(10, rule_name=RuleName.GEO_VELOCITY), partition, 2))
    result = ledger.insert_from_topic(batch, SinkProgress(TOPIC, 4))
    assert (result.inserted, result.refused) == (2, 2)
    kept = {(row.epoch, row.alert.offset) for row in ledger_world.queries().list()}
    assert kept == {(1, 9), (2, 10)}


@pytest.mark.parametrize("epochs", [(1, 2), (2, 1), (2, 1, 2, 1)])
def test_one_alert_of_two_owners_in_one_batch_is_stored_for_the_owner_of_its_offset(
    ledger_world: LedgerWorld, partition: PartitionId, epochs: tuple[int, ...]
) -> None:
    ledger = ledger_world.ledger()
    own(ledger, partition)
    own(ledger, partition, barrier=10)
    batch = [TopicAlert(example_alert(10), partition, epoch) for epoch in epochs]
    result = ledger.insert_from_topic(batch, SinkProgress(TOPIC, len(batch)))
    assert result.inserted == 1
    assert result.refused >= 1
    assert [row.epoch for row in ledger_world.queries().list()] == [2]


def test_the_sink_accepts_epochs_that_a_restored_database_forgot(
    ledger_world: LedgerWorld, partition: PartitionId
) -> None:
    ledger = ledger_world.ledger()
    result = ledger.insert_from_topic([TopicAlert(example_alert(3), partition, 8)], SinkProgress(TOPIC, 1))
    assert (result.inserted, result.refused) == (1, 0)
    assert ledger.owners() == []
    assert own(ledger, partition).epoch == 1


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e15, 1e15)
    | st.sampled_from([1e26, -1e300, 5e-324, -0.0, -(2**63), 2**63 - 1])
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
coordinates = st.none() | st.floats(-180, 180)


@st.composite
def alerts(draw: st.DrawFn) -> Alert:
    transaction_id = draw(st.uuids()).hex + draw(texts)
    user_id = draw(st.integers(0, 2**63 - 1))
    rule_name = draw(st.sampled_from(RuleName))
    return Alert(
        alert_uid=alert_uid(transaction_id, user_id, rule_name, b"digest"),
        transaction_id=transaction_id,
        user_id=user_id,
        rule_name=rule_name,
        severity=draw(st.sampled_from(Severity)),
        reason=draw(texts),
        event_time=draw(st.integers(0, 4 * 10**12)) / 1000,
        record_timestamp_ms=draw(st.integers(0, 4 * 10**12)),
        partition=1,
        offset=draw(st.integers(0, 2**63 - 1)),
        lat=draw(coordinates),
        lon=draw(coordinates),
        score=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        model_version=draw(st.none() | texts),
        source=draw(st.sampled_from(Source)),
        details=draw(st.dictionaries(texts, json_values, max_size=3)),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(alerts(), max_size=4))
def test_any_valid_alert_comes_back_as_it_was(ledger_world: LedgerWorld, batch: list[Alert]) -> None:
    ledger, queries = ledger_world.ledger(), ledger_world.queries()
    partition = PartitionId("cluster-1", "topic-1", 1)
    known = queries.uids()
    assert ledger.insert_hot_alerts(own(ledger, partition), batch).invalid == ()
    for alert in {alert.alert_uid: alert for alert in reversed(batch)}.values():
        stored = queries.get(alert.alert_uid)
        assert stored is not None
        assert alert.alert_uid in known or stored.alert == alert
    ledger_world.close()
