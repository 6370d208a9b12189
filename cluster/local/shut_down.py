"""From a running platform to nothing: drained, then every process of the stack ended.

Never: a process of another stack; data.
"""

import sys
from collections.abc import Callable

import ray

from cluster.local.cold_path_client import drain_cold_path
from cluster.local.failures import LocalStackError
from cluster.local.hot_path_client import drain_hot_path
from cluster.local.stack import LocalStack

Progress = Callable[[str], None]


class LeftoverProcessError(LocalStackError):
    """A process of the stack could not be ended."""


def bring_down(stack: LocalStack, progress: Progress) -> None:
    """Drains the hot path if it answers, then ends every process of the stack; nothing to end is no error.

    Raises:
        StackBusyError: another command is starting or stopping the stack.
        LeftoverProcessError: a process survived.
    """
    if not stack.paths.data_dir.exists():
        return
    with stack.changing():
        if ray.is_initialized() or _connected(stack, progress):
            progress("draining")
            drain_cold_path()
            if not drain_hot_path(progress):
                progress("hot path: not all was settled; nothing is lost, the next start replays it")
        # A driver that is connected when Ray ends would end its own process; `shutdown` without a connection
        # prints what an earlier Ray of this process had to tell.
        if ray.is_initialized():
            ray.shutdown()
        # Ray's own hook reports to a Ray that is gone, with a token that may be gone, and aborts the process.
        sys.excepthook = sys.__excepthook__
        stack.stop()
        if left := stack.ledger.marked():
            names = ", ".join(f"pid {process.pid}" for process in left)
            raise LeftoverProcessError(f"{stack.paths.data_dir}: still running: {names}; end them by hand")


def _connected(stack: LocalStack, progress: Progress) -> bool:
    try:
        return stack.connect_if_running()
    except ConnectionError as error:
        progress(f"ray: not drained, no connection: {str(error).splitlines()[0]}")
        return False
