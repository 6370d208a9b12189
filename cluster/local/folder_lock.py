"""One command at a time may change the stack of a data folder; its threads may do so together.

Never: a wait without end.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from cluster.local.failures import StackBusyError

PATIENCE = timedelta(seconds=10)
POLL_SECONDS = 0.1


class FolderLock:
    """The lock file of a data folder. The kernel frees it when its holder ends, however that happens."""

    def __init__(self, file: Path, patience: timedelta = PATIENCE) -> None:
        self._file = file
        self._patience = patience
        self._threads = threading.Lock()
        self._holders = 0
        self._descriptor = -1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; further holders within this object share it.

        Raises:
            StackBusyError: another command holds it.
        """
        with self._threads:
            if self._holders == 0:
                self._descriptor = self._acquire()
            self._holders += 1
        try:
            yield
        finally:
            with self._threads:
                self._holders -= 1
                if self._holders == 0:
                    os.close(self._descriptor)

    def _acquire(self) -> int:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + self._patience.total_seconds()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = self._file.read_text().strip() or "unknown"
                    os.close(descriptor)
                    raise StackBusyError(
                        f"{self._file.parent}: another command (pid {holder}) is starting or stopping this "
                        "stack; wait for it and try again"
                    ) from None
                time.sleep(POLL_SECONDS)
            else:
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                return descriptor
