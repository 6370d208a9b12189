"""One connection to PostgreSQL whose every wait ends: the base of all that talks to it.

The connection is driven in psycopg2's asynchronous mode from blocking calls, because only so a server
that accepts packets and never answers (frozen, or behind a half-open link) cannot hold the caller
beyond its limit. It is opened at first use, dropped when anything about it is in doubt or it leads to
a server that takes no writes, and opened again by the next call. Of several hosts in the URL one that
takes writes is chosen.

What a transaction needs of its session is set by itself (SET LOCAL, in the message of its first
statement), so that a pooler may give each of them another server process.

Never: a retry; a password in a message or a log line; a setting, a lock or a statement that outlives its
transaction (but for LISTEN).
"""

import logging
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, connection, parse_dsn

from ray_fraud.stores.connections import PostgresConnection, read_secret
from ray_fraud.stores.errors import StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.postgres_errors import LOCK_NOT_GIVEN, Next, ValueRefused, next_step, translated
from ray_fraud.stores.ledger.postgres_locks import HOLDERS, UNKNOWN, held_by

logger = logging.getLogger(__name__)

Rows = list[tuple[Any, ...]]
Parameters = Sequence[Any] | dict[str, Any] | None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a call may take."""

    connect_seconds: float = 5.0
    statement_seconds: float = 5.0
    """The server gives a statement up after this."""
    lock_seconds: float = 1.0
    """The server gives up waiting for a lock after this."""
    idle_transaction_seconds: float = 15.0
    """The server ends a session that leaves a transaction open this long: a take-over that stopped midway."""
    reply_seconds: float = 1.0
    """Beyond `statement_seconds`, how long the server's own refusal may be on its way."""


HOT_PATH = Limits()
PATIENT = Limits(statement_seconds=120.0, lock_seconds=60.0)
"""For migrations and reports."""
LOOK = Limits(connect_seconds=0.5, statement_seconds=0.5, lock_seconds=0.2, reply_seconds=0.2)
"""For asking who holds a lock, while the statement that waits for it goes on waiting."""
LOOK_AFTER = 0.6
"""Part of the time for a lock after which that is asked: only a session that waits has somebody before it."""


class Session:
    """One connection, used by one thread at a time; a second thread waits for its turn."""

    def __init__(
        self,
        where: PostgresConnection,
        *,
        name: str,
        limits: Limits = HOT_PATH,
        on_lock_refused: Callable[[], None] = lambda: None,
        looks: bool = True,
    ) -> None:
        """Opens nothing yet.

        Args:
            name: is shown in `pg_stat_activity`.
            on_lock_refused: called for each statement that gave up waiting for a lock.
            looks: asks who holds a lock that it waits for.
        """
        self._where = where
        self._name = name
        self._on_lock_refused = on_lock_refused
        self._looks = looks
        self._held_by = UNKNOWN
        self._limits = limits
        self._turn = threading.RLock()
        self._connection: connection | None = None
        self._in_transaction = False
        self._settings = _settings(limits)
        self._first_host = 0

    def rows(self, operation: str, sql: str, parameters: Parameters = None) -> Rows:
        """Runs one statement, in a transaction of its own unless one is open; [] if it returns nothing.

        Raises:
            StoreUnavailable: see the hierarchy in `stores.errors`; the connection may have been dropped.
            StoreRefused: the statement can never work; `ValueRefused` if because of a value.
        """
        with self._own_turn(operation):
            if self._connection is None and self._in_transaction:
                raise StoreUnavailable(STORE, f"{operation}: the connection was lost within the transaction")
            opened = self._opened(operation)
            try:
                cursor = opened.cursor()
                # One message is one transaction: what is set before the statement ends with it.
                cursor.execute(sql if self._in_transaction else f"{self._settings}{sql}", parameters)
                self._held_by = UNKNOWN
                limit = self._limits.statement_seconds + self._limits.reply_seconds
                self._wait(operation, opened, limit, self._limits.lock_seconds * LOOK_AFTER)
                return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as error:
                self._drop_if_lost(opened, error)
                if error.pgcode == LOCK_NOT_GIVEN:
                    raise self._lock_refused(operation) from error
                raise translated(operation, error) from error
            except ValueError as error:
                # Refused by the client before anything was sent: a NUL, a lone surrogate.
                raise ValueRefused(STORE, f"{operation}: a text that PostgreSQL cannot hold") from error
            except BaseException:
                # Interrupted midway: what the server does with the statement is unknown.
                self.close()
                raise

    @contextmanager
    def transaction(self, operation: str) -> Iterator[None]:
        """BEGIN … COMMIT around the block, ROLLBACK if it raises; read committed.

        Raises:
            StoreUnavailable: also if the fate of the COMMIT is unknown.
        """
        with self._own_turn(operation):
            self.begin(operation)
            try:
                yield
                self.commit(operation)
            except BaseException:
                self._roll_back(operation)
                raise
            finally:
                self._in_transaction = False

    def begin(self, operation: str) -> None:
        """Opens a transaction; if the connection is lost within it, every later call of the session fails.

        Outside `transaction` this is for a session that serves one transaction only.
        """
        with self._own_turn(operation):
            self._opened(operation)
            self._in_transaction = True
            try:
                self.rows(operation, f"BEGIN;{self._settings}")
            except BaseException:
                self._in_transaction = False
                raise

    def commit(self, operation: str) -> None:
        """Ends the transaction; its fate is unknown if this raises `StoreUnavailable`."""
        self.rows(operation, "COMMIT")
        self._in_transaction = False

    @contextmanager
    def savepoint(self, operation: str) -> Iterator[None]:
        """Within a transaction: undoes only the block if it raises."""
        self.rows(operation, "SAVEPOINT step")
        try:
            yield
        except StoreRefused:
            self.rows(operation, "ROLLBACK TO SAVEPOINT step")
            raise

    def notices(self, operation: str, timeout_seconds: float) -> list[str]:
        """Payloads of NOTIFY since the last call, waiting at most this long for the first."""
        with self._own_turn(operation):
            if self._connection is None:
                raise StoreUnavailable(STORE, f"{operation}: the connection was lost, and notices with it")
            opened = self._connection
            try:
                if not opened.notifies:
                    ready = select.poll()
                    ready.register(opened.fileno(), select.POLLIN)
                    ready.poll(timeout_seconds * 1000)
                opened.poll()
            except psycopg2.Error as error:
                self.close()
                raise translated(operation, error) from error
            payloads = [notice.payload for notice in opened.notifies]
            opened.notifies.clear()
            return payloads

    @property
    def server_version(self) -> int:
        """Such as 180001; connects if need be."""
        return self._opened("server version").server_version

    @property
    def announced_process(self) -> int:
        """The server process as the connection's start named it: a pooler names one that does not exist."""
        return self._opened("server process").info.backend_pid

    def close(self) -> None:
        """Ends the connection; an open transaction is rolled back by the server."""
        opened, self._connection = self._connection, None
        if opened is not None:
            opened.close()

    @contextmanager
    def _own_turn(self, operation: str) -> Iterator[None]:
        limit = self._limits.statement_seconds + self._limits.reply_seconds
        if not self._turn.acquire(timeout=limit):
            raise StoreUnavailable(STORE, f"{operation}: another thread holds the connection for {limit:g} s")
        try:
            yield
        finally:
            self._turn.release()

    def _opened(self, operation: str) -> connection:
        if self._connection is not None:
            return self._connection
        options = self._options()
        if self._where.password_file is not None:
            options["password"] = read_secret(self._where.password_file)
        try:
            opened: connection = psycopg2.connect(self._where.url, **options)
            self._connection = opened
            self._wait(operation, opened, self._limits.connect_seconds)
        except psycopg2.Error as error:
            self.close()
            raise translated(operation, error) from error
        except BaseException:
            self._first_host += 1
            self.close()
            raise
        return opened

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "async_": True,
            "application_name": self._name,
            "client_encoding": "UTF8",
            "sslmode": self._where.sslmode.value,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        }
        if self._where.ca_file is not None:
            options["sslrootcert"] = str(self._where.ca_file)
        return options | self._hosts()

    def _hosts(self) -> dict[str, str]:
        """Of several hosts: the next one first after each that did not answer, and only one that writes.

        libpq goes on to the next host after an error, but not after silence, which only we notice.
        """
        try:
            asked = parse_dsn(self._where.url)
        except psycopg2.ProgrammingError:
            return {}  # `connect` says what is wrong with it
        hosts = asked.get("host", "").split(",")
        if len(hosts) < 2:
            return {}
        ports = asked.get("port", "").split(",")
        ports = ports if len(ports) == len(hosts) else ports * len(hosts)
        first = self._first_host % len(hosts)
        return {
            "host": ",".join(hosts[first:] + hosts[:first]),
            "port": ",".join(ports[first:] + ports[:first]),
            "target_session_attrs": asked.get("target_session_attrs", "read-write"),
        }

    def _wait(
        self,
        operation: str,
        opened: connection,
        limit_seconds: float,
        look_after_seconds: float | None = None,
    ) -> None:
        began = time.monotonic()
        deadline = began + limit_seconds
        look_at = None if look_after_seconds is None or not self._looks else began + look_after_seconds
        while (state := opened.poll()) != POLL_OK:
            ready = select.poll()
            ready.register(opened.fileno(), {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}[state])
            if look_at is not None:
                if ready.poll(max(0.0, (look_at - time.monotonic()) * 1000)):
                    continue
                look_at = None
                self._look_for_holders(opened)
                continue
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0 or not ready.poll(left_ms):
                raise StoreUnavailable(STORE, f"{operation}: no answer within {limit_seconds:g} s")

    def _look_for_holders(self, waiting: connection) -> None:
        """On a connection of its own; whatever goes wrong there, the statement goes on waiting."""
        other = Session(self._where, name=f"{self._name}: locks", limits=LOOK, looks=False)
        try:
            self._held_by = held_by(other.rows("lock holders", HOLDERS, (waiting.info.backend_pid,)))
        except StoreError as error:
            logger.warning("postgres: %s: who holds a lock could not be asked: %s", self._name, error)
        finally:
            other.close()

    def _lock_refused(self, operation: str) -> StoreUnavailable:
        waited = f"a lock was not given within {self._limits.lock_seconds:g} s ({LOCK_NOT_GIVEN})"
        error = StoreUnavailable(STORE, f"{operation}: lock timeout: {waited}: {self._held_by}")
        logger.warning("%s", error)
        self._on_lock_refused()
        return error

    def _roll_back(self, operation: str) -> None:
        if self._connection is None:
            return
        try:
            self.rows(operation, "ROLLBACK")
        except (StoreUnavailable, StoreRefused):
            self.close()

    def _drop_if_lost(self, opened: connection, error: psycopg2.Error) -> None:
        if opened.closed or error.pgcode is None or next_step(error) is Next.NEW_SESSION:
            self.close()


def _settings(limits: Limits) -> str:
    """What each transaction begins with."""
    milliseconds = {
        "statement_timeout": limits.statement_seconds,
        "lock_timeout": limits.lock_seconds,
        "idle_in_transaction_session_timeout": limits.idle_transaction_seconds,
    }
    timeouts = "".join(f"SET LOCAL {name}={round(value * 1000)};" for name, value in milliseconds.items())
    # Short statements gain nothing from just-in-time compilation; times are read as UTC.
    return f"{timeouts}SET LOCAL jit=off;SET LOCAL timezone='UTC';"
