"""Ports of one stack: chosen once, remembered in the data folder, checked before use.

They are taken below the range from which the kernel gives ports to outgoing connections, so that a
remembered port is not taken by chance between two starts, and outside the defaults of Ray and the servers.
Never: a port that another program holds.
"""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterable
from datetime import timedelta

import msgspec
import psutil

from cluster.local.failures import LocalStackError, PortInUseError
from cluster.local.paths import StackPaths
from cluster.local.secret_files import write_private

SINGLE_PORTS = range(20_000, 28_000)
PORT_RUNS = range(28_000, 32_000)
"""Runs (Ray's workers) have a range of their own, so that a single port never falls into one."""
ATTEMPTS = 200
LOOPBACK = "127.0.0.1"
RELEASE_PATIENCE = timedelta(seconds=5)
"""The kernel frees the ports of a killed process a little after the process is gone."""
POLL_SECONDS = 0.05


class Ports:
    """The ports of the stack by name (`kafka`, `postgres`, `ray.gcs`, …)."""

    def __init__(self, paths: StackPaths) -> None:
        self._file = paths.ports
        self._lock = threading.Lock()

    def remembered(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, int])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise LocalStackError(
                f"{self._file}: not readable ({error}); remove the file to get new ports"
            ) from error

    def of(self, service: str) -> int:
        """The port of a service that may be running: the remembered one, else a free one, now remembered."""
        return self.remembered().get(service) or self.claim(service)

    def claim(self, service: str, *, count: int = 1, asked: int | None = None) -> int:
        """The (first) port of `service`: the asked one, else the remembered one, else a free one.

        With `count` > 1 that many ports in a row belong to it.

        Raises:
            PortInUseError: an asked or remembered port is held by another program.
        """
        with self._lock:
            known = self.remembered()
            port = asked or known.get(service)
            if port is not None:
                for each in range(port, port + count):
                    _require_free(service, each)
            else:
                port = _free_run(count, known.values())
            if known.get(service) != port:
                write_private(
                    self._file, msgspec.json.format(msgspec.json.encode({**known, service: port})).decode()
                )
            return port


def is_free(port: int) -> bool:
    """True if a server may listen on the port, on loopback as well as on all addresses."""
    for address in (LOOPBACK, "0.0.0.0"):  # noqa: S104 - asks only; Ray listens on all addresses
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def _require_free(service: str, port: int) -> None:
    """Raise PortInUseError if a program holds the port; what a dying process still holds is waited for."""
    deadline = time.monotonic() + RELEASE_PATIENCE.total_seconds()
    while not is_free(port):
        holder = holder_of(port)
        if holder is not None or time.monotonic() > deadline:
            raise PortInUseError(service, port, holder)
        time.sleep(POLL_SECONDS)


def holder_of(port: int) -> str | None:
    """`name (pid N)` of the process that listens on the port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.pid:
                continue
            if connection.laddr and connection.laddr[1] == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


def _free_run(count: int, taken: Iterable[int]) -> int:
    reserved = set(taken)
    pool = SINGLE_PORTS if count == 1 else PORT_RUNS
    choose = random.SystemRandom()
    for _ in range(ATTEMPTS):
        first = choose.randint(pool.start, pool.stop - count)
        run = range(first, first + count)
        if reserved.isdisjoint(run) and all(map(is_free, run)):
            return first
    raise LocalStackError(
        f"no {count} free ports in a row from {pool.start} to {pool.stop - 1}; end programs that hold some"
    )
