"""One set of ledger clients for two databases, in memory and a real PostgreSQL, and sample alerts."""

from typing import Any, Protocol, TypeVar

from ray_fraud.domain.alert import Alert, RuleName, Severity, Source, alert_uid
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.memory import MemoryDatabase, MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.memory_registry import MemoryRegistry
from ray_fraud.stores.ledger.port import Ledger
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import Limits
from ray_fraud.stores.ledger.queries import AlertQueries
from ray_fraud.stores.ledger.registry import Registry

QUICK = Limits(connect_seconds=5.0, statement_seconds=5.0, lock_seconds=0.2)


def reached(ledger: Ledger, partition: PartitionId) -> int | None:
    """How far the sink is; None: never read."""
    progress = ledger.sink_progress(partition)
    return None if progress is None else progress.next_offset


class Closable(Protocol):
    def close(self) -> None: ...


Client = TypeVar("Client", bound=Closable)


class LedgerWorld:
    """One database and as many clients as a test asks for."""

    def __init__(self, database: MemoryDatabase | PostgresConnection, *, listens: bool = True) -> None:
        """`listens`: whether LISTEN works; behind a pooler that pools transactions it does not."""
        self.database = database
        self.listens = listens
        self._clients: list[Closable] = []

    def ledger(self) -> Ledger:
        database = self.database
        if isinstance(database, MemoryDatabase):
            return MemoryLedger(database)
        return self._kept(PostgresLedger(database, limits=QUICK))

    def registry(self) -> Registry:
        database = self.database
        if isinstance(database, MemoryDatabase):
            return MemoryRegistry(database)
        return self._kept(PostgresRegistry(database, limits=QUICK))

    def queries(self) -> AlertQueries:
        database = self.database
        if isinstance(database, MemoryDatabase):
            return MemoryAlertQueries(database)
        return self._kept(PostgresAlertQueries(database, limits=QUICK))

    def close(self) -> None:
        """Ends all connections; clients open them again when they are used."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def _kept(self, client: Client) -> Client:
        self._clients.append(client)
        return client


def example_alert(offset: int = 0, **changes: Any) -> Alert:
    transaction_id = changes.get("transaction_id", f"transaction-{offset}")
    user_id = changes.get("user_id", 7)
    rule_name = changes.get("rule_name", RuleName.HIGH_AMOUNT)
    named = transaction_id.encode("utf-8", "replace").decode()
    fields: dict[str, Any] = {
        "alert_uid": alert_uid(named, user_id, rule_name, b"digest"),
        "transaction_id": transaction_id,
        "user_id": user_id,
        "rule_name": rule_name,
        "severity": Severity.MEDIUM,
        "reason": "amount 4,812.00 is above the limit of 2,000.00",
        "event_time": 1_750_000_000.125,
        "record_timestamp_ms": 1_750_000_001_234 + offset,
        "partition": 1,
        "offset": offset,
        "lat": 52.52,
        "lon": 13.405,
        "score": 0.1 + 0.2,
        "model_version": "isolation_forest:1",
        "source": Source.HOT,
        "details": {"transaction": {"amount": 4812.0, "city": "Köln 𝄞"}, "neighbour": None, "last": [1, 2.5]},
    }
    return Alert(**(fields | changes))
