"""The schema, by numbered migrations: `migrations/0001_….sql`, `0002_….sql`, …

Each file is applied once, in one transaction, by one process at a time, and recorded with its SHA-256.
The lock belongs to the transaction, so that a pooler cannot leave it with a server process of nobody.

Never: a change of an applied file (write the next one), a way back (restore a backup).
"""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources

import msgspec

from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.postgres_session import PATIENT, Session

OLDEST_SERVER = 150000
"""PostgreSQL 15, as the server reports it."""

LOCK_KEY = 0x7261795F6672
"""Advisory lock of whoever applies a file: `ray_fr` in ASCII."""

FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Migration(msgspec.Struct, frozen=True):
    """One file."""

    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def packaged_migrations() -> list[Migration]:
    """Those of this release, 1, 2, 3 … without holes."""
    found = []
    for file in resources.files("ray_fraud.stores.ledger").joinpath("migrations").iterdir():
        name = FILE_NAME.fullmatch(file.name)
        if name is not None:
            found.append(Migration(int(name.group(1)), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    versions = [migration.version for migration in found]
    if versions != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations must be numbered 1, 2, 3 … without holes, found {versions}")
    return found


def migrate(where: PostgresConnection, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Brings the schema up to this release; returns the names of the files applied now.

    Raises:
        StoreRefused: the server is too old, an applied file was changed, the database is newer than this
            release, or a file fails (then nothing of that file remains).
        StoreUnavailable: the server cannot be reached, or another process has been migrating for a minute.
    """
    known = packaged_migrations() if migrations is None else list(migrations)
    session = Session(where, name="ray-fraud migrate", limits=PATIENT)
    applied = []
    try:
        _check_server(session)
        while (name := _apply_next(session, known)) is not None:
            applied.append(name)
        return applied
    finally:
        session.close()


def check_schema(where: PostgresConnection) -> None:
    """Raises `StoreRefused` unless the schema is exactly that of this release."""
    session = Session(where, name="ray-fraud schema check")
    try:
        _check_server(session)
        if session.rows("check schema", "SELECT to_regclass('schema_migration') IS NULL")[0][0]:
            raise StoreRefused(STORE, "the database has no schema yet; run the migrations first")
        pending = _pending(session, packaged_migrations())
        if pending:
            raise StoreRefused(STORE, f"the schema lacks {pending[0].name}; run the migrations first")
    finally:
        session.close()


def _check_server(session: Session) -> None:
    if session.server_version < OLDEST_SERVER:
        found = session.server_version // 10_000
        raise StoreRefused(STORE, f"the server is PostgreSQL {found}, needed is 15 or newer")


def _pending(session: Session, known: Sequence[Migration]) -> list[Migration]:
    applied = session.rows(
        "read schema", "SELECT version, name, sha256 FROM schema_migration ORDER BY version"
    )
    by_version = {migration.version: migration for migration in known}
    for version, name, digest in applied:
        migration = by_version.pop(version, None)
        if migration is None:
            raise StoreRefused(
                STORE, f"the database is newer than this release: it has {name}; upgrade ray-fraud"
            )
        if migration.digest != digest:
            raise StoreRefused(
                STORE,
                f"migration {name} was applied with SHA-256 {digest[:12]}… but the file now has "
                f"{migration.digest[:12]}…; restore the file and put the change into a new migration",
            )
    return list(by_version.values())


def _apply_next(session: Session, known: Sequence[Migration]) -> str | None:
    """Applies the first file that is missing, under a lock that ends with its transaction; its name."""
    with session.transaction("migrate"):
        session.rows("migrate", "SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        session.rows(
            "migrate",
            "CREATE TABLE IF NOT EXISTS schema_migration (version integer PRIMARY KEY, name text NOT NULL,"
            " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        pending = _pending(session, known)
        if not pending:
            return None
        migration = pending[0]
        session.rows(f"migration {migration.name}", migration.sql)
        session.rows(
            f"migration {migration.name}",
            "INSERT INTO schema_migration (version, name, sha256) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.digest),
        )
    return migration.name
