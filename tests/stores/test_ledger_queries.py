"""Reading alerts, following them, and verdicts: the same on both databases."""

import uuid

import pytest

from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.live_comparison import ModelAlerts
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.port import Ownership
from ray_fraud.stores.ledger.queries import AlertFilter, Verdict
from tests.stores.ledger_world import LedgerWorld, example_alert


@pytest.fixture
def held(ledger_world: LedgerWorld, partition: PartitionId) -> Ownership:
    with ledger_world.ledger().take_over(partition) as turn:
        return turn.confirm(1, "token", 0)


@pytest.fixture
def filled(ledger_world: LedgerWorld, held: Ownership) -> LedgerWorld:
    """Six alerts: offsets 0 … 5, odd ones by geo velocity, the last one cold, users 0, 1, 2, 0, 1, 2."""
    rules = (RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY)
    ledger_world.ledger().insert_hot_alerts(
        held,
        [
            example_alert(
                offset,
                user_id=offset % 3,
                rule_name=rules[offset % 2],
                source=Source.COLD if offset == 5 else Source.HOT,
            )
            for offset in range(6)
        ],
    )
    return ledger_world


@pytest.mark.parametrize(
    ("where", "offsets"),
    [
        (None, [5, 4, 3, 2, 1, 0]),
        (AlertFilter(rule_name=RuleName.GEO_VELOCITY), [5, 3, 1]),
        (AlertFilter(user_id=1), [4, 1]),
        (AlertFilter(user_id=1, rule_name=RuleName.HIGH_AMOUNT), [4]),
        (AlertFilter(source=Source.COLD), [5]),
        (AlertFilter(transaction_id="transaction-2"), [2]),
        (AlertFilter(since_ms=example_alert(2).record_timestamp_ms), [5, 4, 3, 2]),
        (AlertFilter(until_ms=example_alert(2).record_timestamp_ms), [1, 0]),
        (AlertFilter(partition=PartitionId("cluster-1", "another", 1)), []),
        (AlertFilter(from_offset=example_alert(3).offset), [5, 4, 3]),
        (AlertFilter(feedback=Verdict.TRUE_FRAUD), []),
        (AlertFilter(user_id=99), []),
    ],
)
def test_filters(filled: LedgerWorld, where: AlertFilter | None, offsets: list[int]) -> None:
    queries = filled.queries()
    rows = queries.list(where)
    assert [row.alert.offset for row in rows] == offsets
    assert queries.count(where) == len(offsets)
    assert queries.uids(where) == {row.alert.alert_uid for row in rows}


def test_a_partition_is_a_filter(filled: LedgerWorld, partition: PartitionId) -> None:
    assert filled.queries().count(AlertFilter(partition=partition)) == 6


def test_counts_by_rule(filled: LedgerWorld) -> None:
    assert filled.queries().count_by_rule() == {"high_amount": 3, "geo_velocity": 3}
    assert filled.queries().count_by_rule(AlertFilter(user_id=99)) == {}


def test_counts_by_model_with_the_verdicts_that_count(filled: LedgerWorld, held: Ownership) -> None:
    queries = filled.queries()
    alerts = [example_alert(offset, model_version="forest:2") for offset in (20, 21, 22)]
    filled.ledger().insert_hot_alerts(held, [*alerts, example_alert(23, model_version=None)])
    ids = [row.alert_id for row in queries.list() if row.alert.model_version == "forest:2"]
    queries.add_feedback(ids[0], Verdict.TRUE_FRAUD, "ana")
    queries.add_feedback(ids[1], Verdict.TRUE_FRAUD, "ana")
    queries.add_feedback(ids[1], Verdict.FALSE_POSITIVE, "ben")
    found = queries.count_by_model()
    assert found["forest:2"] == ModelAlerts("forest:2", 3, 1, 1)
    assert found["isolation_forest:1"].alerts == 6
    assert set(found) == {"forest:2", "isolation_forest:1"}
    since = AlertFilter(since_ms=alerts[1].record_timestamp_ms, source=Source.HOT)
    assert queries.count_by_model(since)["forest:2"].alerts == 2


def test_alerts_are_asked_for_by_when_they_were_stored_and_by_event_time(
    filled: LedgerWorld, held: Ownership
) -> None:
    """A replay has records of years ago: the time of storing tells what a version did since it is live."""
    queries = filled.queries()
    filled.ledger().insert_hot_alerts(held, [example_alert(30, event_time=1_500_000_000.25)])
    (late,) = [row for row in queries.list() if row.alert.offset == 30]
    stored = [row.alert.offset for row in queries.list(AlertFilter(stored_since_ms=late.stored_at_ms - 1))]
    assert 30 in stored
    assert queries.list(AlertFilter(stored_since_ms=late.stored_at_ms + 3_600_000)) == []
    assert queries.count(AlertFilter(stored_since_ms=0)) == 7
    assert queries.count(AlertFilter(event_until_ms=1_500_000_000_250)) == 0
    assert queries.count(AlertFilter(event_until_ms=1_500_000_000_251)) == 1
    assert queries.count(AlertFilter(event_until_ms=1_750_000_000_126)) == 7


def test_pages(filled: LedgerWorld) -> None:
    queries = filled.queries()
    first = queries.list(limit=4)
    second = queries.list(limit=4, before_id=first[-1].alert_id)
    assert [row.alert.offset for row in (*first, *second)] == [5, 4, 3, 2, 1, 0]


def test_get_by_id_and_uid(filled: LedgerWorld) -> None:
    queries = filled.queries()
    newest = queries.list(limit=1)[0]
    assert queries.get(newest.alert_id) == queries.get(newest.alert.alert_uid) == newest
    assert queries.get(10**9) is None
    assert queries.get(uuid.UUID(int=0)) is None
    assert queries.by_ids([newest.alert_id, 10**9]) == [newest]


def test_a_feed_tells_what_is_new(filled: LedgerWorld, held: Ownership) -> None:
    if not filled.listens:
        with pytest.raises(StoreRefused, match="pool_mode = session"):
            filled.queries().feed()
        return
    feed = filled.queries().feed()
    ledger = filled.ledger()
    assert feed.poll(0.0) == []
    ledger.insert_hot_alerts(held, [example_alert(offset) for offset in (10, 11)])
    ledger.insert_hot_alerts(held, [example_alert(10)])
    ids = feed.poll(5.0)
    assert [row.alert.offset for row in filled.queries().by_ids(ids)] == [10, 11]
    assert feed.poll(0.0) == []
    promoted = example_alert(5, user_id=2, rule_name=RuleName.GEO_VELOCITY)
    ledger.insert_hot_alerts(held, [promoted])
    assert [row.alert.offset for row in filled.queries().by_ids(feed.poll(5.0))] == [5]
    feed.close()


def test_a_feed_holds_a_batch_of_any_size(ledger_world: LedgerWorld, held: Ownership) -> None:
    if not ledger_world.listens:
        return
    feed = ledger_world.queries().feed()
    ledger_world.ledger().insert_hot_alerts(held, [example_alert(offset) for offset in range(1000)])
    assert len(set(feed.poll(5.0))) == 1000
    feed.close()


def test_tail_yields_what_is_stored_after_it_began(filled: LedgerWorld, held: Ownership) -> None:
    if not filled.listens:
        return
    tail = filled.queries().tail(idle_seconds=0.05)
    filled.ledger().insert_hot_alerts(held, [example_alert(20)])
    assert [row.alert.offset for row in next(tail)] == [20]
    assert list(next(tail)) == []


def test_the_newest_verdict_counts_and_all_are_kept(filled: LedgerWorld) -> None:
    queries = filled.queries()
    alert_id = queries.list(limit=1)[0].alert_id
    first = queries.add_feedback(alert_id, Verdict.TRUE_FRAUD, "ana", "called the customer")
    assert queries.add_feedback(alert_id, Verdict.TRUE_FRAUD, "ana", "called the customer") == first
    second = queries.add_feedback(alert_id, Verdict.FALSE_POSITIVE, "ben")
    assert queries.count(AlertFilter(feedback=Verdict.FALSE_POSITIVE)) == 1
    third = queries.add_feedback(alert_id, None, "ben", "not sure")
    stored = queries.get(alert_id)
    assert stored is not None
    assert stored.feedback is None
    assert list(queries.feedback_of(alert_id)) == [first, second, third]
    assert [row.reviewer for row in queries.feedback_of(alert_id)] == ["ana", "ben", "ben"]


def test_no_verdict_on_an_alert_that_is_not_there(filled: LedgerWorld) -> None:
    with pytest.raises(StoreRefused, match="no alert 1000000"):
        filled.queries().add_feedback(1_000_000, Verdict.TRUE_FRAUD, "ana")
