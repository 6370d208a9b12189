"""What verdicts promise: run on the memory ones and on PostgreSQL."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ray_fraud.domain.alert import Alert, RuleName, Source
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.verdicts import Origin, Verdict, VerdictRates, labels_at
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.memory import MemoryDatabase, MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.port import Ledger
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_session import Session
from ray_fraud.stores.ledger.queries import AlertQueries, StoredAlert
from ray_fraud.stores.ledger.queries import Verdict as Word
from ray_fraud.stores.review_data.memory import MemoryReviewData
from ray_fraud.stores.review_data.port import ReviewData
from ray_fraud.stores.review_data.postgres import PostgresReviewData
from ray_fraud.stores.verdicts.memory import MemoryVerdicts
from ray_fraud.stores.verdicts.port import NewVerdict, Verdicts
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster", "topic", 1)
PAST_MS = 1_700_000_000_000


class Stores:
    """Verdicts, and the stores that share a database with them."""

    def __init__(self, verdicts: Verdicts, ledger: Ledger, queries: AlertQueries, review: ReviewData) -> None:
        self.verdicts = verdicts
        self.ledger = ledger
        self.queries = queries
        self.review = review

    def alert(self, offset: int, **changes: Any) -> StoredAlert:
        """A stored alert of transaction `transaction-<offset>` of user 7."""
        made: Alert = example_alert(offset, **changes)
        with self.ledger.take_over(PARTITION) as turn:
            own = turn.confirm(turn.last_epoch + 1, "token", 0)
        self.ledger.insert_hot_alerts(own, [made])
        return self.now(made)

    def now(self, alert: Alert) -> StoredAlert:
        found = self.queries.get(alert.alert_uid)
        assert found is not None
        return found

    def words(self, alert: StoredAlert) -> list[Word | None]:
        return [row.verdict for row in self.queries.feedback_of(alert.alert_id)]


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "memory":
        database = MemoryDatabase(now_ms=lambda: round(time.time() * 1000))
        yield Stores(
            MemoryVerdicts(database),
            MemoryLedger(database),
            MemoryAlertQueries(database),
            MemoryReviewData(database),
        )
        return
    where = request.getfixturevalue("migrated_database")
    ledger, queries = PostgresLedger(where, name="ledger"), PostgresAlertQueries(where)
    verdicts, review = PostgresVerdicts(where), PostgresReviewData(where)
    yield Stores(verdicts, ledger, queries, review)
    for store in (verdicts, ledger, queries, review):
        store.close()


def new(transaction_id: str, fraud: bool | None = True, **fields: Any) -> NewVerdict:
    return NewVerdict(transaction_id=transaction_id, user_id=7, fraud=fraud, **fields)


def test_a_verdict_on_an_alert_names_its_transaction(stores: Stores) -> None:
    details = {"transaction": {"merchant_id": "shop"}}
    alert = stores.alert(1, details=details)
    number = stores.verdicts.give(alert.alert_id, True, "ana", "called")
    assert stores.verdicts.give(alert.alert_id, True, "ana", "called") == number
    (row,) = stores.verdicts.since(0, 10)
    assert row == Verdict(
        number, "transaction-1", 7, "shop", 1_750_000_000_125, True, row.known_ms, Origin.ANALYST
    )
    assert abs(row.known_ms - time.time() * 1000) < 60_000
    assert stores.now(alert.alert).feedback is Word.TRUE_FRAUD
    with pytest.raises(StoreRefused, match="no alert 1000000"):
        stores.verdicts.give(1_000_000, True, "ana")


def test_the_same_row_is_stored_once(stores: Stores) -> None:
    rows = [new("t1"), new("t2", known_ms=PAST_MS), new("t2", known_ms=PAST_MS + 1), new("t2", False)]
    assert stores.verdicts.add(rows) == 4
    assert stores.verdicts.add([*rows, new("t1", note="again"), new("t3")]) == 1
    assert stores.verdicts.add([new("t4"), new("t4")]) == 1
    assert stores.verdicts.add([]) == 0
    assert len(stores.verdicts.since(0, 100)) == 6


def test_a_verdict_without_an_alert_has_what_it_came_with(stores: Stores) -> None:
    stores.verdicts.add([new("t1", merchant_id="shop", event_ms=PAST_MS - 5, known_ms=PAST_MS)])
    (row,) = stores.verdicts.since(0, 10)
    assert row == Verdict(row.number, "t1", 7, "shop", PAST_MS - 5, True, PAST_MS, Origin.CHARGEBACK)


def test_it_holds_for_all_alerts_of_its_transaction_earlier_and_later_ones(stores: Stores) -> None:
    earlier = stores.alert(1, details={"transaction": {"merchant_id": "shop"}})
    stores.verdicts.add([new("transaction-1", origin=Origin.SIMULATED)])
    later = stores.alert(1, rule_name=RuleName.GEO_VELOCITY)
    other = stores.alert(1, user_id=8)
    assert [stores.now(one.alert).feedback for one in (earlier, later, other)] == [
        Word.TRUE_FRAUD,
        Word.TRUE_FRAUD,
        None,
    ]
    assert stores.words(earlier) == stores.words(later) == [Word.TRUE_FRAUD]
    (row,) = stores.verdicts.since(0, 10)
    assert (row.merchant_id, row.event_ms) == ("shop", 1_750_000_000_125)
    stores.verdicts.give(later.alert_id, False, "ana")
    assert [stores.now(one.alert).feedback for one in (earlier, later)] == [
        Word.TRUE_FRAUD,
        Word.FALSE_POSITIVE,
    ]
    assert stores.words(later) == [Word.TRUE_FRAUD, Word.FALSE_POSITIVE]


def test_both_kinds_are_taken_back(stores: Stores) -> None:
    alert = stores.alert(1)
    stores.verdicts.add([new("transaction-1", known_ms=PAST_MS), new("t2", known_ms=PAST_MS)])
    stores.verdicts.add([new("t2", None)])
    stores.verdicts.give(alert.alert_id, None, "ana", "not sure")
    rows = stores.verdicts.since(0, 10)
    assert labels_at(rows, 2**60) == {}
    assert len(labels_at(rows, PAST_MS)) == 2
    assert stores.now(alert.alert).feedback is None


def test_history_that_is_imported_later_does_not_overrule_what_is_known_since(stores: Stores) -> None:
    alert = stores.alert(1)
    stores.verdicts.give(alert.alert_id, False, "ana")
    stores.verdicts.add([new("transaction-1", known_ms=PAST_MS)])
    assert stores.now(alert.alert).feedback is Word.FALSE_POSITIVE
    assert stores.words(alert) == [Word.TRUE_FRAUD, Word.FALSE_POSITIVE]
    rows = stores.verdicts.since(0, 10)
    assert labels_at(rows, PAST_MS)["transaction-1", 7].fraud is True
    assert labels_at(rows, 2**60)["transaction-1", 7].fraud is False


def test_since_reads_by_number_in_pages(stores: Stores) -> None:
    stores.verdicts.add([new(f"t{number}") for number in range(7)])
    first = stores.verdicts.since(0, 4)
    second = stores.verdicts.since(first[-1].number, 4)
    assert [len(first), len(second)] == [4, 3]
    numbers = [row.number for row in (*first, *second)]
    assert numbers == sorted(numbers)
    assert {row.transaction_id for row in (*first, *second)} == {f"t{number}" for number in range(7)}
    assert stores.verdicts.since(second[-1].number, 4) == []


def test_known_reads_by_the_moment(stores: Stores) -> None:
    stores.verdicts.add([new(f"t{number}", known_ms=PAST_MS - number) for number in range(5)])
    found = stores.verdicts.known(PAST_MS - 3, PAST_MS)
    assert [row.transaction_id for row in found] == ["t3", "t2", "t1"]
    assert stores.verdicts.known(PAST_MS - 3, PAST_MS, newest=2) == found[1:]
    assert stores.verdicts.known(PAST_MS - 3, PAST_MS, newest=0) == []


def test_a_verdict_on_a_group_is_none_on_a_transaction(stores: Stores) -> None:
    group = stores.alert(1, details={"members": 3, "transactions": []}, source=Source.COLD)
    stores.verdicts.add([new("transaction-1")])
    assert stores.now(group.alert).feedback is None
    stores.verdicts.give(group.alert_id, False, "ana")
    assert stores.now(group.alert).feedback is Word.FALSE_POSITIVE
    assert stores.words(group) == [Word.FALSE_POSITIVE]
    assert [row.fraud for row in stores.verdicts.since(0, 10)] == [True]
    assert [row.fraud for row in stores.verdicts.known(0, 2**50)] == [True]


DAY_MS = 86_400_000
RECORD_MS = 1_750_000_001_234
"""Of the alert at offset 0; the others follow by milliseconds."""


def rates(stores: Stores, now_ms: int, late_days: float = 7, period_days: float = 30) -> VerdictRates:
    return stores.queries.verdict_rates(
        now_ms, late_ms=round(late_days * DAY_MS), period_ms=round(period_days * DAY_MS)
    )


def test_alerts_that_waited_long_enough_without_a_verdict_are_missing(stores: Stores) -> None:
    alerts = [stores.alert(offset) for offset in range(5)]
    stores.verdicts.give(alerts[0].alert_id, True, "ana")
    stores.verdicts.add([new("transaction-1", False)])
    stores.verdicts.give(alerts[2].alert_id, True, "ana")
    stores.verdicts.give(alerts[2].alert_id, None, "ana", "not sure")
    after = RECORD_MS + 7 * DAY_MS
    found = rates(stores, after + 5)
    assert (found.alerts, found.without, found.missing_ratio) == (5, 3, 0.6)
    assert rates(stores, after + 2).alerts == 2, "younger ones are waited for"
    assert rates(stores, after + 30 * DAY_MS + 3).alerts == 2, "older ones are forgotten"
    none = rates(stores, after)
    assert (none.alerts, none.missing_ratio) == (0, None)


def test_first_verdicts_are_late_by_the_time_of_their_transaction(stores: Stores) -> None:
    now = PAST_MS
    delays = [1 * DAY_MS, 7 * DAY_MS, 7 * DAY_MS + 1, 20 * DAY_MS]
    stores.verdicts.add(
        [
            *(
                new(f"t{number}", bool(number % 2), event_ms=now - 10 - delay, known_ms=now - 10)
                for number, delay in enumerate(delays)
            ),
            new("t0", True, event_ms=now - 10 - delays[0], known_ms=now - 5),
            new("too old", event_ms=0, known_ms=now - 31 * DAY_MS),
            new("too old", False, event_ms=0, known_ms=now - 4),
            new("to come", event_ms=0, known_ms=now),
            new("without a time", known_ms=now - 1),
            new("taken back", None, event_ms=0, known_ms=now - 1),
        ]
    )
    found = rates(stores, now)
    assert (found.judged, found.late, found.late_ratio) == (4, 2, 0.5)
    assert found.median_delay_seconds == (7 * DAY_MS + 0.5) / 1000
    none = rates(stores, now - 10)
    assert (none.judged, none.late_ratio, none.median_delay_seconds) == (0, None, None)


def test_a_verdict_on_a_group_is_not_late(stores: Stores) -> None:
    group = stores.alert(1, details={"members": 3, "transactions": []}, source=Source.COLD)
    one = stores.alert(2)
    for alert in (group, one):
        stores.verdicts.give(alert.alert_id, False, "ana")
    found = rates(stores, round(time.time() * 1000) + 60_000, period_days=3_650)
    assert (found.alerts, found.without, found.judged, found.late) == (2, 0, 1, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (new("t", known_ms=2**45), "known_ms: .* is later than now"),
        (new(""), "transaction_id: 0 characters"),
        (new("t" * 65), "transaction_id: 65 characters"),
        (new("t", event_ms=-1), "event_ms: -1"),
        (new("t", note="a\0b"), "note: holds the character NUL"),
        (new("t", merchant_id="\ud800"), "merchant_id: is no UTF-8"),
        (NewVerdict(transaction_id="t", user_id=2**63, fraud=True), "user_id: 9223372036854775808"),
    ],
)
def test_one_bad_row_and_none_is_stored(stores: Stores, row: NewVerdict, message: str) -> None:
    with pytest.raises(StoreRefused, match=message):
        stores.verdicts.add([new("good"), row])
    assert stores.verdicts.since(0, 10) == []


@pytest.mark.servers
def test_none_is_left_out_that_is_stored_later_with_a_lower_number(
    migrated_database: PostgresConnection,
) -> None:
    slow = Session(migrated_database, name="slow writer")
    verdicts, reader = PostgresVerdicts(migrated_database), PostgresVerdicts(migrated_database)
    insert = "INSERT INTO alert_feedback (transaction_id, user_id, verdict) VALUES ('slow', 1, 'true_fraud')"
    found: list[Verdict] = []
    reading = threading.Thread(target=lambda: found.extend(reader.since(0, 10)))
    with slow.transaction("slow"):
        slow.rows("slow", insert)
        verdicts.add([new("quick")])
        reading.start()
        reading.join(timeout=0.3)
        assert reading.is_alive(), "it waits for the one that holds the lower number"
    reading.join(timeout=10)
    assert [row.transaction_id for row in found] == ["slow", "quick"]
    for store in (slow, verdicts, reader):
        store.close()


def test_the_identity_of_a_row_is_what_it_says() -> None:
    row = new("t", known_ms=5)
    assert msgspec.structs.replace(row, note="n", merchant_id="m", reviewer="r").import_key == row.import_key
    for change in (
        {"fraud": None},
        {"fraud": False},
        {"known_ms": None},
        {"origin": Origin.ANALYST},
        {"user_id": 8},
    ):
        assert msgspec.structs.replace(row, **change).import_key != row.import_key
