"""Asking a deployed hot path: its status, whether it is ready, and to drain.

Never: importing what only the hot path needs (models, Serve): commands that look must be quick.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError

from actors.config import METRICS_HUB, NAMESPACE, REKEY, SINK, SUPERVISOR

Progress = Callable[[str], None]

READY_TIMEOUT_SECONDS = 120.0
CALL_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.2


class HotPathNotReady(Exception):
    """The hot path did not become healthy in time; the message says what is missing."""


def wait_until_ready(progress: Progress, timeout_seconds: float = READY_TIMEOUT_SECONDS) -> dict[str, Any]:
    """The hot path's status once every component is healthy and every partition has caught up its replay.

    Raises:
        HotPathNotReady: it took too long.
    """
    deadline = time.monotonic() + timeout_seconds
    waiting_for = "the supervisor"
    while time.monotonic() < deadline:
        try:
            status = hot_path_status()
        except (RayError, ValueError) as error:
            waiting_for = f"the supervisor ({str(error).splitlines()[0]})"
        else:
            missing = _missing(status)
            if not missing:
                return status
            if missing != waiting_for:
                waiting_for = missing
                progress(f"hot path: waiting for {missing}")
        time.sleep(POLL_SECONDS)
    raise HotPathNotReady(
        f"the hot path is not ready after {timeout_seconds:.0f} s: waiting for {waiting_for}"
    )


def hot_path_status(timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> dict[str, Any]:
    """The supervisor's answer; see `actors.supervisor.Supervisor.status`.

    Raises:
        RayError, ValueError: there is no supervisor, or it does not answer.
    """
    supervisor: Any = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
    answer: Any = ray.get(supervisor.status.remote(), timeout=timeout_seconds)
    status: dict[str, Any] = msgspec.json.decode(answer)
    return status


def sink_status(timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> dict[str, Any]:
    """The sink's answer; see `actors.sink.SinkStatus`.

    Raises:
        RayError, ValueError: there is no sink, or it does not answer.
    """
    sink: Any = ray.get_actor(SINK, namespace=NAMESPACE)
    status: dict[str, Any] = msgspec.json.decode(ray.get(sink.status.remote(), timeout=timeout_seconds))
    return status


def drain_hot_path(progress: Progress) -> bool:
    """Lets every partition settle and close its cut; whether all did in time."""
    _drain_rekeying(progress)
    try:
        supervisor: Any = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
        clean = bool(ray.get(supervisor.drain.remote(), timeout=READY_TIMEOUT_SECONDS))
        sink = ray.get_actor(SINK, namespace=NAMESPACE)
        ray.get(sink.drain.remote(), timeout=CALL_TIMEOUT_SECONDS)
    except (RayError, ValueError) as error:
        progress(f"hot path: not drained: {str(error).splitlines()[0]}")
        return False
    return clean


def stop_hot_path(progress: Progress) -> bool:
    """Drains the hot path and ends its actors; Serve and the servers go on. Whether all drained in time."""
    clean = drain_hot_path(progress)
    for name in (SUPERVISOR, SINK, METRICS_HUB, *_rekeying()):
        try:
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        except (RayError, ValueError) as error:
            progress(f"hot path: {name} was gone already: {str(error).splitlines()[0]}")
    return clean


def rekey_status(timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> dict[str, Any]:
    """How re-keying gets on; see `actors.rekey.RekeyActor.status`.

    Raises:
        RayError, ValueError: there is no such actor, or it does not answer.
    """
    actor: Any = ray.get_actor(REKEY, namespace=NAMESPACE)
    status: dict[str, Any] = msgspec.json.decode(ray.get(actor.status.remote(), timeout=timeout_seconds))
    return status


def _rekeying() -> list[str]:
    """The name of its actor, if there is one."""
    try:
        ray.get_actor(REKEY, namespace=NAMESPACE)
    except (RayError, ValueError):
        return []
    return [REKEY]


def _drain_rekeying(progress: Progress) -> None:
    """First of all, so that what it appended is settled, too; what it did not append stays where it is."""
    for name in _rekeying():
        try:
            ray.get(ray.get_actor(name, namespace=NAMESPACE).drain.remote(), timeout=CALL_TIMEOUT_SECONDS)
        except (RayError, ValueError) as error:
            progress(f"re-keying: not drained: {str(error).splitlines()[0]}")


def _missing(status: dict[str, Any]) -> str:
    parts = [name for name, healthy in status["health"].items() if not healthy]
    if not status["health"]:
        parts.append("health checks")
    for partition in status["partitions"]:
        if "epoch" not in partition:
            why = partition.get("error") or partition.get("problem") or partition.get("last_end")
            parts.append(f"partition {partition['partition']}" + (f" ({why})" if why else ""))
        elif partition["replaying"]:
            parts.append(f"replay of partition {partition['partition']}")
        elif partition.get("problem"):
            parts.append(f"partition {partition['partition']} ({partition['problem']})")
    return ", ".join(parts)
