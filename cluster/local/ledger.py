"""Which processes belong to the stack of one data folder, so that exactly these are ended.

Two independent signs: the ledger file names each server (pid and start time), and the environment of
everything the stack starts carries its id, which descendants inherit (Ray's helpers survive their parents).
Never: a process found by its name.
"""

import contextlib
import secrets
import threading

import msgspec
import psutil

from cluster.local.paths import StackPaths
from cluster.local.processes import is_alive
from cluster.local.secret_files import write_private

STACK_VARIABLE = "RAY_FRAUD_STACK"
SERVICE_VARIABLE = "RAY_FRAUD_SERVICE"
START_TOLERANCE_SECONDS = 2.0
"""The start time of a process is computed from the boot time, which small corrections of the clock move."""


class ProcessRecord(msgspec.Struct, frozen=True):
    name: str
    pid: int
    started_at: float
    """Unix seconds."""


class _Content(msgspec.Struct, frozen=True):
    data_dir: str
    """A copy of the folder to another place is another stack: its ledger is not believed."""
    stack_id: str
    processes: list[ProcessRecord] = []


class Ledger:
    """The ledger file of one data folder; safe to use from several threads."""

    def __init__(self, paths: StackPaths) -> None:
        self._file = paths.ledger
        self._data_dir = str(paths.data_dir)
        self._lock = threading.RLock()

    @property
    def stack_id(self) -> str:
        """The id of this stack, made at its first use and kept in the data folder."""
        with self._lock:
            content = self._read()
            if content is None:
                content = _Content(self._data_dir, secrets.token_hex(8))
                self._write(content)
            return content.stack_id

    def environment(self, service: str) -> dict[str, str]:
        """What every process that is started for `service` must have in its environment."""
        return {STACK_VARIABLE: self.stack_id, SERVICE_VARIABLE: service}

    def add(self, name: str, pid: int) -> None:
        """Record a process that was just started, in place of the one of the same name."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.replace(name, [ProcessRecord(name, pid, psutil.Process(pid).create_time())])

    def remove(self, name: str) -> None:
        self.replace(name, [])

    def replace(self, prefix: str, records: list[ProcessRecord]) -> None:
        """Put `records` in place of those whose name is `prefix` or starts with `prefix.`."""
        with self._lock:
            content = self._read() or _Content(self._data_dir, self.stack_id)
            kept = [each for each in content.processes if not _belongs(each.name, prefix)]
            if records or kept != content.processes:
                self._write(msgspec.structs.replace(content, processes=kept + records))

    def find(self, name: str) -> psutil.Process | None:
        """The recorded process, if it (and not another one with its pid) is alive."""
        return next(iter(self.alive(name)), None)

    def alive(self, prefix: str) -> list[psutil.Process]:
        """The recorded processes named `prefix` or `prefix.…` that are alive."""
        content = self._read()
        found = []
        for record in content.processes if content else []:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(record.pid)
                same = abs(process.create_time() - record.started_at) <= START_TOLERANCE_SECONDS
                if same and _belongs(record.name, prefix) and is_alive(record.pid):
                    found.append(process)
        return found

    def members(self, service: str) -> list[psutil.Process]:
        """All living processes of a service: the recorded ones first, then descendants and marked ones."""
        found = self.alive(service)
        for process in tuple(found):
            with contextlib.suppress(psutil.Error):
                found += process.children(recursive=True)
        return list({process.pid: process for process in found + self.marked(service)}.values())

    def marked(self, service: str | None = None) -> list[psutil.Process]:
        """Every living process with this stack's id (and `service`) in its environment.

        Left out are this process and its ancestors: a command that runs inside the stack does not end itself.
        """
        content = self._read()
        if content is None:
            return []
        own = psutil.Process()
        spared = {own.pid, *(parent.pid for parent in own.parents())}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                environment = process.environ()
                ours = environment.get(STACK_VARIABLE) == content.stack_id
                wanted = service is None or environment.get(SERVICE_VARIABLE) == service
                if ours and wanted and process.pid not in spared and is_alive(process.pid):
                    found.append(process)
        return found

    def _read(self) -> _Content | None:
        with self._lock, contextlib.suppress(OSError, msgspec.MsgspecError):
            content = msgspec.json.decode(self._file.read_bytes(), type=_Content)
            return content if content.data_dir == self._data_dir else None
        return None

    def _write(self, content: _Content) -> None:
        write_private(self._file, msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")


def _belongs(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
