"""A lock of somebody else: a wait for it that fails says who holds it, and is counted."""

import logging
from collections.abc import Callable, Iterator

import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.port import Ownership, SinkProgress, TopicAlert
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_locks import UNKNOWN, held_by
from ray_fraud.stores.ledger.postgres_session import Limits, Session
from tests.stores.ledger_world import example_alert

PARTITION = PartitionId("cluster-1", "topic", 1)
HASTY = Limits(lock_seconds=0.3)
ROW = "SELECT 1 FROM partition_owner FOR UPDATE"
TABLE = "LOCK TABLE fraud_alerts, sink_progress IN ACCESS EXCLUSIVE MODE"

pytestmark = pytest.mark.servers


class Locked:
    """A ledger with a partition, and somebody who forgot a transaction."""

    def __init__(self, database: PostgresConnection) -> None:
        self.refused = 0
        self.ledger = PostgresLedger(database, name="ours", limits=HASTY, on_lock_refused=self._count)
        with self.ledger.take_over(PARTITION) as turn:
            self.own = turn.confirm(1, "token", 0)
        self.somebody = Session(database, name="report of monday")

    def _count(self) -> None:
        self.refused += 1


@pytest.fixture
def locked(migrated_database: PostgresConnection) -> Iterator[Locked]:
    made = Locked(migrated_database)
    yield made
    made.somebody.close()
    made.ledger.close()


def take_over(ledger: PostgresLedger, own: Ownership) -> None:
    with ledger.take_over(own.partition):
        pass


CALLS: dict[str, tuple[str, Callable[[PostgresLedger, Ownership], object]]] = {
    "take-over": (ROW, take_over),
    "decided offset": (ROW, lambda ledger, own: ledger.set_decided_offset(own, 5)),
    "alerts": (TABLE, lambda ledger, own: ledger.insert_hot_alerts(own, [example_alert(1)])),
    "sink": (
        TABLE,
        lambda ledger, own: ledger.insert_from_topic(
            [TopicAlert(example_alert(1), own.partition, own.epoch)], SinkProgress(PARTITION, 2)
        ),
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_wait_that_fails_says_who_holds_the_lock(
    locked: Locked, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    statement, act = CALLS[call]
    locked.somebody.begin("lock")
    locked.somebody.rows("lock", statement)
    (pid,) = locked.somebody.rows("pid", "SELECT pg_backend_pid()")[0]
    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable) as refused:
        act(locked.ledger, locked.own)
    for told in (str(refused.value), caplog.text):
        assert "a lock was not given within 0.3 s" in told
        assert f"process {pid} ('report of monday' of user" in told
        assert "idle in transaction, its transaction is open for" in told
        assert f"pg_terminate_backend({pid})" in told
    assert locked.refused == 1
    locked.somebody.close()
    act(locked.ledger, locked.own)
    assert locked.refused == 1


def test_a_short_wait_asks_nobody(locked: Locked, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        locked.ledger.set_decided_offset(locked.own, 5)
    assert locked.refused == 0
    assert caplog.text == ""


def test_holders_in_words() -> None:
    assert held_by([]) == UNKNOWN
    said = held_by([(7, "", "me", None, None), (8, "b", "me", "active", 2.0)])
    assert said.startswith("the lock is held by process 7 ('without a name' of user 'me'), process 8 ('b'")
