"""The ledger against a server that is slow, gone, frozen, or loses its replies."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ray_fraud.domain.alert import Alert
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import Fenced, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import Ledger, Ownership, SinkProgress, TopicAlert
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_session import Limits, Session
from tests.stores.ledger_world import example_alert
from tests.stores.tcp_proxy import TcpProxy, proxy_of, through

IMPATIENT = Limits(connect_seconds=1.0, statement_seconds=0.5, lock_seconds=0.3, reply_seconds=0.2)
PATIENT = Limits(lock_seconds=10.0)


def own(ledger: Ledger, partition: PartitionId, barrier: int = 0) -> Ownership:
    with ledger.take_over(partition) as turn:
        return turn.confirm(turn.last_epoch + 1, "owner", barrier)


@pytest.fixture
def open_ledger(migrated_database: PostgresConnection) -> Iterator[Callable[[Limits], PostgresLedger]]:
    ledgers: list[PostgresLedger] = []

    def opened(limits: Limits) -> PostgresLedger:
        ledgers.append(PostgresLedger(migrated_database, limits=limits))
        return ledgers[-1]

    yield opened
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def proxy(migrated_database: PostgresConnection) -> Iterator[TcpProxy]:
    with proxy_of(migrated_database) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: TcpProxy, migrated_database: PostgresConnection) -> Iterator[PostgresLedger]:
    ledger = PostgresLedger(through(proxy, migrated_database), limits=IMPATIENT)
    yield ledger
    ledger.close()


def test_a_write_that_waits_for_a_take_over_is_fenced_by_it(
    open_ledger: Callable[[Limits], PostgresLedger], partition: PartitionId
) -> None:
    """The fence compares with what the take-over wrote, not with what was there when the statement began."""
    former, sink, later = open_ledger(PATIENT), open_ledger(PATIENT), open_ledger(PATIENT)
    held = own(former, partition)
    outcomes: dict[str, object] = {}

    def insert() -> None:
        try:
            outcomes["owner"] = former.insert_hot_alerts(held, [example_alert(20)])
        except Fenced as error:
            outcomes["owner"] = error

    def sink_in() -> None:
        stale = TopicAlert(example_alert(21), partition, held.epoch)
        outcomes["sink"] = sink.insert_from_topic([stale], SinkProgress(partition, 1)).refused

    with later.take_over(partition) as turn:
        writers = [threading.Thread(target=insert), threading.Thread(target=sink_in)]
        for writer in writers:
            writer.start()
        time.sleep(0.4)  # both are now waiting for the row
        assert outcomes == {}
        turn.confirm(turn.last_epoch + 1, "owner", 10)
    for writer in writers:
        writer.join(timeout=10)
    assert isinstance(outcomes["owner"], Fenced)
    assert outcomes["sink"] == 1


def test_owner_and_sink_storing_the_same_alerts_do_not_block_each_other(
    open_ledger: Callable[[Limits], PostgresLedger],
    partition: PartitionId,
    migrated_database: PostgresConnection,
) -> None:
    alerts = [example_alert(offset) for offset in range(400)]
    owner, sink = open_ledger(PATIENT), open_ledger(PATIENT)
    held = own(owner, partition)
    errors: list[Exception] = []

    def store(insert: Callable[[list[Alert]], object]) -> None:
        try:
            for start in range(0, len(alerts), 20):
                insert(alerts[start : start + 20][:: -1 if start % 40 else 1])
        except (StoreUnavailable, StoreRefused, Fenced) as error:
            errors.append(error)

    writers = [
        threading.Thread(target=store, args=(lambda part: owner.insert_hot_alerts(held, part),)),
        threading.Thread(
            target=store,
            args=(
                lambda part: sink.insert_from_topic(
                    [TopicAlert(alert, partition, 1) for alert in part], SinkProgress(partition, 1)
                ),
            ),
        ),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    assert errors == []
    queries = PostgresAlertQueries(migrated_database)
    assert queries.count() == 400
    queries.close()


def test_a_lost_connection_is_opened_again_by_the_next_call(
    proxied: PostgresLedger, proxy: TcpProxy, partition: PartitionId
) -> None:
    held = own(proxied, partition)
    proxied.set_decided_offset(held, 1)
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        proxied.set_decided_offset(held, 2)
    proxied.set_decided_offset(held, 3)
    assert proxied.decided_offset(partition) == 3


def test_a_turn_whose_connection_is_lost_cannot_be_confirmed(
    proxied: PostgresLedger, proxy: TcpProxy, partition: PartitionId
) -> None:
    with proxied.take_over(partition) as turn:
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            turn.confirm(1, "owner", 0)
    assert proxied.epochs(partition) == []
    assert own(proxied, partition).epoch == 1


def test_a_transaction_that_lost_its_connection_does_not_go_on_without_its_locks(
    proxy: TcpProxy, migrated_database: PostgresConnection
) -> None:
    session = Session(through(proxy, migrated_database), name="test", limits=IMPATIENT)
    session.begin("test")
    proxy.cut()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            session.rows("test", "INSERT INTO scoring_slot (slot, salt) VALUES ('a', 'b')")
    session.close()
    another = Session(migrated_database, name="test")
    assert another.rows("test", "SELECT count(*) FROM scoring_slot") == [(1,)]
    another.close()


def test_a_silent_server_holds_nobody_longer_than_the_limit(
    proxied: PostgresLedger, proxy: TcpProxy, partition: PartitionId
) -> None:
    held = own(proxied, partition)
    proxied.set_decided_offset(held, 1)
    proxy.drop_requests.set()
    with pytest.raises(StoreUnavailable, match=r"set_decided_offset: no answer within 0\.7 s"):
        proxied.set_decided_offset(held, 2)
    with pytest.raises(StoreUnavailable, match="within 1 s"):
        proxied.set_decided_offset(held, 2)
    proxy.drop_requests.clear()
    proxied.set_decided_offset(held, 2)


def test_a_commit_whose_reply_is_lost_may_be_repeated(
    proxied: PostgresLedger, proxy: TcpProxy, partition: PartitionId
) -> None:
    held = own(proxied, partition)
    proxied.insert_hot_alerts(held, [example_alert(0)])
    proxy.drop_replies.set()
    with pytest.raises(StoreUnavailable):
        proxied.insert_hot_alerts(held, [example_alert(1)])
    with pytest.raises(StoreUnavailable):
        proxied.insert_hot_alerts(held, [example_alert(1)])
    proxy.drop_replies.clear()
    assert proxied.insert_hot_alerts(held, [example_alert(1), example_alert(2)]).inserted == 1


def test_a_locked_table_stalls_nobody_longer_than_the_lock_limit(
    proxied: PostgresLedger, migrated_database: PostgresConnection, partition: PartitionId
) -> None:
    held = own(proxied, partition)
    analyst = Session(migrated_database, name="analyst")
    analyst.begin("lock")
    analyst.rows("lock", "LOCK TABLE fraud_alerts IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(StoreUnavailable, match="55P03"):
        proxied.insert_hot_alerts(held, [example_alert()])
    analyst.close()
    assert proxied.insert_hot_alerts(held, [example_alert()]).inserted == 1


def test_an_abandoned_turn_is_ended_by_the_server(
    migrated_database: PostgresConnection, partition: PartitionId
) -> None:
    hasty = Limits(lock_seconds=0.1, idle_transaction_seconds=0.3)
    ledger = PostgresLedger(migrated_database, limits=hasty)
    with ledger.take_over(partition) as turn:
        time.sleep(0.8)
        assert own(ledger, partition).epoch == 1
        with pytest.raises(StoreUnavailable):
            turn.confirm(2, "too late", 0)
    assert [row.token for row in ledger.epochs(partition)] == ["owner"]
    ledger.close()


def test_a_feed_that_lost_its_connection_says_so(
    proxy: TcpProxy, migrated_database: PostgresConnection
) -> None:
    queries = PostgresAlertQueries(through(proxy, migrated_database), limits=IMPATIENT)
    feed = queries.feed()
    assert feed.poll(0.0) == []
    proxy.cut()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            feed.poll(1.0)
    queries.close()


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, partition: PartitionId) -> None:
    nowhere = PostgresConnection(url="postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StoreUnavailable):
        PostgresLedger(nowhere).events(partition)


def test_a_wrong_password_is_refused_and_shown_nowhere(
    migrated_database: PostgresConnection, partition: PartitionId, tmp_path: Path
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-the-password\n")
    wrong.chmod(0o600)
    ledger = PostgresLedger(msgspec.structs.replace(migrated_database, password_file=wrong))
    with pytest.raises(StoreRefused, match="authentication failed") as refused:
        ledger.events(partition)
    assert "not-the-password" not in str(refused.value)


def test_a_value_only_the_server_refuses_is_reported_for_its_alert(
    open_ledger: Callable[[Limits], PostgresLedger],
    migrated_database: PostgresConnection,
    partition: PartitionId,
) -> None:
    operator = Session(migrated_database, name="operator")
    operator.rows("constraint", "ALTER TABLE fraud_alerts ADD CONSTRAINT odd CHECK (kafka_offset % 5 <> 3)")
    operator.close()
    ledger = open_ledger(PATIENT)
    held = own(ledger, partition)
    batch = [example_alert(offset) for offset in range(20)]
    result = ledger.insert_hot_alerts(held, batch)
    assert result.inserted == 16
    assert {invalid.alert_uid for invalid in result.invalid} == {alert.alert_uid for alert in batch[3::5]}
    sunk = ledger.insert_from_topic(
        [TopicAlert(alert, partition, 1) for alert in batch], SinkProgress(partition, 20)
    )
    assert (sunk.inserted, sunk.refused, len(sunk.invalid)) == (0, 0, 4)
    with pytest.raises(Fenced):
        ledger.insert_hot_alerts(msgspec.structs.replace(held, token="other"), [batch[3]])
