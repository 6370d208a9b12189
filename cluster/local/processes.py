"""Start a server so that it outlives the command that started it, and end one again.

Never: a signal to a process that the caller did not name.
"""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from cluster.local.failures import ServerStartError

KEPT_LOG_BYTES = 16 * 1024 * 1024
POLL_SECONDS = 0.03
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")

_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""Processes that this one started: kept so that one that ended is reaped, and none is warned about."""


@dataclass(frozen=True)
class RunAs:
    """Another user of this machine, for programs that refuse to run as root."""

    user: str

    @property
    def ids(self) -> tuple[int, int]:
        entry = pwd.getpwnam(self.user)
        return entry.pw_uid, entry.pw_gid


def server_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a server gets to see: the least of ours (no token, nobody's cluster address), and `extra`."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", **extra}


def start_detached(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    run_as: RunAs | None = None,
) -> int:
    """Start `command` in a session of its own, its output appended to `log`.

    Returns: the pid. A signal to our terminal (Ctrl-C, hang-up) does not reach it.
    """
    if log.exists() and log.stat().st_size > KEPT_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    uid, gid = run_as.ids if run_as else (None, None)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=[] if run_as else None,
            umask=0o077,
        )
    _children[process.pid] = process
    return process.pid


def is_alive(pid: int) -> bool:
    """False also for a process that ended but is not reaped by its parent."""
    child = _children.get(pid)
    if child is not None:
        return child.poll() is None
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def wait_until_ready(
    service: str, pid: int, ready: Callable[[], bool], *, timeout: timedelta, log: Path
) -> None:
    """Return when `ready()` is true.

    Raises:
        ServerStartError: the process ended, or was not ready within `timeout`.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while not ready():
        if not is_alive(pid):
            raise ServerStartError(service, "the process ended", log)
        if time.monotonic() > deadline:
            raise ServerStartError(service, f"not ready after {timeout.total_seconds():.0f} s", log)
        time.sleep(POLL_SECONDS)


def end(
    processes: Iterable[psutil.Process],
    *,
    patience: timedelta,
    first: signal.Signals = signal.SIGTERM,
) -> list[psutil.Process]:
    """Ask each process to end with signal `first`, wait for `patience`, then kill what is left.

    Each psutil.Process knows the start time of its process, so a pid that was given to another program
    since is not touched.
    Returns: those that had to be killed.
    """
    asked = [process for process in processes if _send(process, first)]
    stubborn = _wait_gone(asked, patience)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    _wait_gone(stubborn, timedelta(seconds=10))
    return stubborn


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        if is_alive(process.pid):
            process.send_signal(number)
            return True
    return False


def _wait_gone(processes: list[psutil.Process], patience: timedelta) -> list[psutil.Process]:
    deadline = time.monotonic() + patience.total_seconds()
    left = processes
    while left := [process for process in left if process.is_running() and is_alive(process.pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    return left
