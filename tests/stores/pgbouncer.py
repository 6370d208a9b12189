"""PgBouncer (ISC licence, Debian's package) before the tests' PostgreSQL, in either pooling mode."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psutil
import pytest

from cluster.local.processes import RunAs, end
from ray_fraud.stores.connections import PostgresConnection, read_secret

REQUIRED_VARIABLE = "RAY_FRAUD_PGBOUNCER_REQUIRED"
"""Set: tests without the program fail instead of being skipped."""
HOW_TO_GET_IT = "no pgbouncer: install it (Debian: apt-get install pgbouncer)"
START_SECONDS = 15.0


def program() -> Path:
    """Skips the test, or fails it if the program is required, where there is none."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get(REQUIRED_VARIABLE):
        pytest.fail(f"{HOW_TO_GET_IT}; {REQUIRED_VARIABLE} asks for it")
    if found is None:
        pytest.skip(HOW_TO_GET_IT)
    return Path(found)


@contextmanager
def pooled(
    server: PostgresConnection, folder: Path, mode: str, **settings: object
) -> Iterator[PostgresConnection]:
    """The same databases through a PgBouncer with its defaults, but for `pool_mode` and `settings`.

    `folder` must be one that another user can enter: PgBouncer refuses to run as root.
    """
    parts = urlsplit(server.url)
    assert server.password_file is not None
    port = _free_port()
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": folder / "users.txt",
        "pool_mode": mode,
        "server_tls_sslmode": "disable",
        **settings,
    }
    folder.mkdir(mode=0o755)
    (folder / "users.txt").write_text(f'"{parts.username}" "{read_secret(server.password_file)}"\n')
    databases = f"[databases]\n* = host={parts.hostname} port={parts.port}\n[pgbouncer]\n"
    (folder / "pgbouncer.ini").write_text(databases + "".join(f"{k} = {v}\n" for k, v in lines.items()))
    uid, gid = RunAs("nobody").ids if os.geteuid() == 0 else (None, None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program(), folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={},
            user=uid,
            group=gid,
            extra_groups=[] if uid is not None else None,
        )
    try:
        _wait_until_it_listens(port, process, folder / "log")
        address = parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}")
        yield msgspec.structs.replace(server, url=urlunsplit(address))
    finally:
        end([psutil.Process(process.pid)], patience=timedelta(seconds=3), first=signal.SIGTERM)
        process.wait(timeout=5)


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"pgbouncer did not start: {log.read_text()}")
