"""Child processes of a measurement: the observer and the load, each on its own.

Never: a secret in their arguments; leaving one behind.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from cluster.local.bench.observer import Seen

STOP_PATIENCE_SECONDS = 10.0


class Observer:
    """The observing process, and what it has seen so far."""

    def __init__(self, connections_file: Path) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cluster.local.bench.observer",
                "--connections-file",
                str(connections_file),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C reaches the command only, which ends this process when it has seen all.
            start_new_session=True,
        )
        self._lines: SimpleQueue[Seen] = SimpleQueue()
        self._reader = Thread(target=self._read, name="observer", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(msgspec.json.decode(line, type=Seen))

    def new(self) -> list[Seen]:
        """The reports since the last call."""
        reports = []
        with contextlib.suppress(Empty):
            while True:
                reports.append(self._lines.get_nowait())
        return reports

    def wait_for_first(self, timeout_seconds: float) -> bool:
        """Whether it listens now; alerts before that are not seen."""
        try:
            self._lines.get(timeout=timeout_seconds)
        except Empty:
            return False
        return True

    def stop(self) -> list[Seen]:
        """Ends the process; its last reports."""
        if self._process.poll() is None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        end(self._process)
        self._reader.join(STOP_PATIENCE_SECONDS)
        return self.new()


def end(process: "subprocess.Popen[bytes]") -> int:
    """Waits for the process, asks it to end, ends it; its exit code."""
    asks: tuple[Callable[[], None], ...] = (lambda: None, process.terminate, process.kill)
    for ask in asks:
        ask()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(STOP_PATIENCE_SECONDS)
    return -1


@contextlib.contextmanager
def observing(connections_file: Path) -> Iterator[Observer]:
    """An observer that listens, ended at the latest with the block."""
    observer = Observer(connections_file)
    try:
        yield observer
    finally:
        observer.stop()
