"""Asking a deployed cold path: its status, a run now, and no further runs.

Its processes have the lowest priority, so on a busy machine an answer may take as long as a run may; one that
has ended is told at once.

Never: importing what only the cold path needs: commands that look must be quick.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError

from actors.config import BATCH, NAMESPACE, TRAINING
from cluster.local.hot_path_client import READY_TIMEOUT_SECONDS

CALL_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 1.0


class NoColdPath(Exception):
    """No batch actor runs, or it does not answer."""


def batch_status(count: int = 10, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> dict[str, Any]:
    """See `batch.schedule.actor.BatchActor.status`.

    Raises:
        NoColdPath: the message says why.
    """
    return dict(_ask("status", count, timeout_seconds=timeout_seconds))


def wait_for_cold_path(
    progress: Callable[[str], None],
    timeout_seconds: float = READY_TIMEOUT_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when the batch actor answers: on a busy machine its process begins long after it was asked for.

    Raises:
        NoColdPath: it took too long; the message says what the last attempt said.
    """
    deadline = time.monotonic() + timeout_seconds
    told = False
    while True:
        left = deadline - time.monotonic()
        try:
            batch_status(0, timeout_seconds=min(CALL_TIMEOUT_SECONDS, max(POLL_SECONDS, left)))
        except NoColdPath as error:
            if time.monotonic() + POLL_SECONDS > deadline:
                raise NoColdPath(
                    f"the cold path does not answer after {timeout_seconds:.0f} s: {error}; see the "
                    f"log of the actor `{BATCH}`"
                ) from error
            if not told:
                progress("cold path: waiting for its actor")
                told = True
            pause(POLL_SECONDS)
        else:
            return


def run_batch(progress: Callable[[dict[str, Any]], None], timeout_seconds: float) -> dict[str, Any]:
    """Has the cold path run now, and waits for the end of that run; the run.

    Args:
        progress: called about once a second with the present run's own figures.
        timeout_seconds: then the run goes on without us.

    Raises:
        NoColdPath: the message says why.
        TimeoutError: the run has not ended in time.
    """
    deadline = time.monotonic() + timeout_seconds
    ticket = _ask("request", timeout_seconds=timeout_seconds)
    while (left := deadline - time.monotonic()) > 0:
        run = _ask("result", ticket, POLL_SECONDS, timeout_seconds=left)
        if run is not None:
            return dict(run)
        figures = batch_status(0, timeout_seconds=left).get("progress")
        if figures is not None:
            progress(figures)
    raise TimeoutError(
        f"the run has not ended in {timeout_seconds:.0f} s and goes on; see `ray-fraud batch status`"
    )


def training_status(count: int = 10, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> dict[str, Any]:
    """See `batch.training.actor.TrainingActor.status`.

    Raises:
        NoColdPath: the message says why.
    """
    return dict(_ask("status", count, name=TRAINING, timeout_seconds=timeout_seconds))


def run_training(progress: Callable[[int, int], None], timeout_seconds: float) -> dict[str, Any]:
    """Has models trained now, and waits for the end; the run.

    Args:
        progress: called about once a second with the fits done and the fits in all.
        timeout_seconds: then the training goes on without us.

    Raises:
        NoColdPath: the message says why.
        TimeoutError: the training has not ended in time.
    """
    deadline = time.monotonic() + timeout_seconds
    ticket = _ask("request", name=TRAINING, timeout_seconds=timeout_seconds)
    while (left := deadline - time.monotonic()) > 0:
        run = _ask("result", ticket, POLL_SECONDS, name=TRAINING, timeout_seconds=left)
        if run is not None:
            return dict(run)
        figures = training_status(0, left)["progress"]
        if figures is not None:
            progress(*figures)
    raise TimeoutError(
        f"the training has not ended in {timeout_seconds:.0f} s and goes on; see `ray-fraud train --status`"
    )


def drain_cold_path() -> None:
    """No new runs; nothing to drain is no error."""
    for name in (BATCH, TRAINING):
        with contextlib.suppress(NoColdPath):
            _ask("drain", name=name)


def _ask(
    method: str, *arguments: object, name: str = BATCH, timeout_seconds: float = CALL_TIMEOUT_SECONDS
) -> Any:
    try:
        actor: Any = ray.get_actor(name, namespace=NAMESPACE)
        answer: Any = ray.get(getattr(actor, method).remote(*arguments), timeout=timeout_seconds)
    except (RayError, ValueError) as error:
        raise NoColdPath(f"the cold path does not answer: {str(error).splitlines()[0]}") from error
    return msgspec.json.decode(answer) if isinstance(answer, bytes) else answer
