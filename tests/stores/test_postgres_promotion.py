"""A real standby: it is left alone while it follows, and taken when it was promoted."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil
import psycopg2
import pytest

from cluster.local.health import postgres_answers
from cluster.local.ledger import Ledger as ProcessLedger
from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.postgres import SUPERUSER, USER_INSTEAD_OF_ROOT, EmbeddedPostgres
from cluster.local.processes import end, server_environment, start_detached
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import PostgresConnection, read_secret
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres import PostgresLedger
from tests.stores.ledger_world import example_alert

pytestmark = pytest.mark.servers
PARTITION = PartitionId("cluster-1", "topic-of-a-promotion", 1)
PATIENCE_SECONDS = 60.0


class Standby:
    """Follows the embedded server as a streaming replica."""

    def __init__(self, paths: StackPaths, primary: psutil.Process, primary_port: int, port: int) -> None:
        self._password = read_secret(paths.secret("postgres-superuser-password"))
        self._folder = paths.data_dir / "standby"
        self.port = port
        programs = Path(primary.exe()).parent
        run_as = USER_INSTEAD_OF_ROOT if os.geteuid() == 0 else None
        uid, gid = run_as.ids if run_as else (None, None)
        self._folder.mkdir(mode=0o700)
        if uid is not None and gid is not None:
            os.chown(self._folder, uid, gid)
        source = f"host={LOOPBACK} port={primary_port} user={SUPERUSER} sslmode=disable"
        subprocess.run(
            [programs / "pg_basebackup", "-D", self._folder, "-d", source, "-R", "--checkpoint=fast"],
            env=server_environment({"PGPASSWORD": self._password}),
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=[] if run_as else None,
            timeout=60,
            check=True,
            capture_output=True,
        )
        settings = {"port": port, "listen_addresses": LOOPBACK, "unix_socket_directories": ""}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._pid = start_detached(
            [programs / "postgres", "-D", self._folder, *options],
            log=paths.log("standby"),
            cwd=paths.data_dir,
            environment=server_environment({}),
            run_as=run_as,
        )

    def ask(self, query: str) -> object:
        with (
            closing(
                psycopg2.connect(
                    host=LOOPBACK,
                    port=self.port,
                    user=SUPERUSER,
                    password=self._password,
                    dbname="ray_fraud",
                    connect_timeout=5,
                )
            ) as database,
            database.cursor() as cursor,
        ):
            cursor.execute(query)
            row = cursor.fetchone()
            return row and row[0]

    def follows(self, alerts: int) -> bool:
        try:
            return self.ask("SELECT count(*) FROM fraud_alerts") == alerts
        except psycopg2.Error:
            return False

    def stop(self) -> None:
        end([psutil.Process(self._pid)], patience=timedelta(seconds=10), first=signal.SIGINT)


@pytest.fixture
def paths() -> Iterator[StackPaths]:
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder:
        paths = StackPaths(Path(folder))
        paths.prepare()
        yield paths


def test_writes_go_on_at_the_promoted_standby(paths: StackPaths) -> None:
    processes, ports = ProcessLedger(paths), Ports(paths)
    server = EmbeddedPostgres(paths, processes, ports)
    primary = server.start()
    try:
        migrate(primary)
        primary_port = urlsplit(primary.url).port
        postmaster = processes.find("postgres")
        assert postmaster is not None
        assert primary_port is not None
        process = psutil.Process(postmaster.pid)
        standby = Standby(paths, process, primary_port, ports.claim("standby"))
        try:
            _fail_over(primary, standby, server)
        finally:
            standby.stop()
    finally:
        server.stop()


def _fail_over(primary: PostgresConnection, standby: Standby, server: EmbeddedPostgres) -> None:
    host = urlsplit(primary.url).netloc.rpartition("@")[2]
    both = msgspec.structs.replace(
        primary, url=primary.url.replace(host, f"{LOOPBACK}:{standby.port},{host}")
    )
    replica = msgspec.structs.replace(primary, url=primary.url.replace(host, f"{LOOPBACK}:{standby.port}"))
    with closing(PostgresLedger(both)) as ledger, closing(PostgresLedger(replica)) as follower:
        with ledger.take_over(PARTITION) as turn:
            own = turn.confirm(1, "owner", 0)
        assert ledger.insert_hot_alerts(own, [example_alert(1)]).inserted == 1
        _until(lambda: standby.follows(1))
        assert postgres_answers(both)
        assert not postgres_answers(replica)
        with pytest.raises(StoreUnavailable, match="25006"):
            follower.insert_hot_alerts(own, [example_alert(2)])
        server.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                ledger.insert_hot_alerts(own, [example_alert(2)])
        assert standby.ask("SELECT pg_promote(true, 30)") is True
        assert ledger.insert_hot_alerts(own, [example_alert(2)]).inserted == 1
        assert follower.insert_hot_alerts(own, [example_alert(3)]).inserted == 1
        assert postgres_answers(both)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
