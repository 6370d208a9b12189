"""How a worker process of a command begins, and that it does not outlive the command.

Never: Ray; work of its own.
"""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def begin_worker(niceness: int) -> None:
    """To be called first: Ctrl-C is left to the parent, and the process ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(niceness)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
