"""The state of a whole platform now: every service with address and health, and the hot path's figures.

Never: a change of anything; an exception for something that is down; loading Ray where none runs.
"""

import socket
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from actors.config import BATCH, NAMESPACE, REKEY, SINK, SUPERVISOR, HotPathConfig
from cluster.local.stack import LocalStack
from cluster.local.stack_record import Health, ServiceState, StackRecord, read_record
from ray_fraud.stores.connections import LakeLocation, from_json

PATIENCE = timedelta(seconds=3)
"""For one answer: whoever asks for a state waits for it at a terminal."""
FAILING_SECONDS = 30.0
"""A sink that has not got through a round for so long is unhealthy; its owners insert meanwhile."""


class PlatformState(msgspec.Struct, frozen=True):
    services: dict[str, ServiceState]
    """`kafka`, `redis`, `postgres`, `lake`, `ray`, `dashboard`, `serve`, `hot_path`, `sink`, `cold_path`,
    `metrics`, and `rekey` if that is set up."""
    hot_path: dict[str, Any]
    """The supervisor's answer (health, split, partitions); empty if there is none."""
    sink: dict[str, Any] = {}
    """The sink's answer; empty if there is none."""

    @property
    def healthy(self) -> bool:
        return all(state.health is Health.HEALTHY for state in self.services.values())


def platform_state(stack: LocalStack) -> PlatformState:
    """Asks everything at once; this process is connected to the stack's Ray afterwards if that answers.

    Raises:
        NoStackError: the record in the data folder is not readable.
    """
    record, config = read_record(stack.paths), saved_config(stack)
    with ThreadPoolExecutor(4) as pool:
        servers = pool.submit(stack.state)
        lake = pool.submit(_lake_state, record)
        dashboard = pool.submit(_dashboard_state, record)
        metrics = pool.submit(_metrics_state, config)
        hot_path = _hot_path(stack)
        sink = _sink(hot_path)
        services = {
            **servers.result(),
            "lake": lake.result(),
            "dashboard": dashboard.result(),
            "serve": _serve_state(record, hot_path),
            "hot_path": _own(f"{NAMESPACE}/{SUPERVISOR}", _hot_path_health(hot_path)),
            "sink": _own(f"{NAMESPACE}/{SINK}", _sink_health(sink)),
            "cold_path": _own(f"{NAMESPACE}/{BATCH}", _cold_path_health(hot_path)),
            "metrics": metrics.result(),
        }
        if config is not None and config.connections.topics.rekey_from is not None:
            services["rekey"] = _own(f"{NAMESPACE}/{REKEY}", _rekey_health(hot_path))
    return PlatformState(services, hot_path or {}, sink or {})


def saved_config(stack: LocalStack) -> HotPathConfig | None:
    """What the actors of the last start were told; None if there was none, or one of another release."""
    content = stack.hot_path()
    try:
        return None if content is None else from_json(content, HotPathConfig)
    except msgspec.MsgspecError:
        return None


def _hot_path(stack: LocalStack) -> dict[str, Any] | None:
    """The supervisor's answer; None if there is no Ray or no supervisor, {} if it does not answer."""
    try:
        if not _connected() and not stack.connect_if_running():
            return None
    except (ConnectionError, ValueError):
        return None
    from ray.exceptions import RayError

    from cluster.local.hot_path_client import hot_path_status

    try:
        return hot_path_status(PATIENCE.total_seconds())
    except (ConnectionError, ValueError):
        return None
    except RayError:
        return {}


def _connected() -> bool:
    """Whether this process is connected to a Ray; without loading it."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _hot_path_health(status: dict[str, Any] | None) -> Health:
    if status is None:
        return Health.DOWN
    partitions = status.get("partitions", [])
    working = (
        bool(partitions)
        and not status.get("problems")
        and all("epoch" in each and not each["replaying"] for each in partitions)
    )
    return Health.HEALTHY if working else Health.UNHEALTHY


def _sink(hot_path: dict[str, Any] | None) -> dict[str, Any] | None:
    """The sink's answer; None if there is no Ray or no sink, {} if it does not answer."""
    if hot_path is None:
        return None
    from ray.exceptions import RayError

    from cluster.local.hot_path_client import sink_status

    try:
        return sink_status(PATIENCE.total_seconds())
    except ValueError:
        return None
    except RayError:
        return {}


def _sink_health(status: dict[str, Any] | None) -> Health:
    """Whether it answers, and has got through a round lately."""
    if status is None:
        return Health.DOWN
    gets_on = bool(status) and status["failing_seconds"] < FAILING_SECONDS
    return Health.HEALTHY if gets_on else Health.UNHEALTHY


def _cold_path_health(hot_path: dict[str, Any] | None) -> Health:
    """Whether it answers; how its runs end is another question, see `ray-fraud batch status`."""
    if hot_path is None:
        # Not connected to Ray, or nothing was started there.
        return Health.DOWN
    from cluster.local.cold_path_client import NoColdPath, batch_status

    try:
        batch_status(0, PATIENCE.total_seconds())
    except NoColdPath:
        return Health.DOWN
    return Health.HEALTHY


def _rekey_health(hot_path: dict[str, Any] | None) -> Health:
    """Whether the last attempt of each partition worked; what it says is in its log."""
    if hot_path is None:
        return Health.DOWN
    from ray.exceptions import RayError

    from cluster.local.hot_path_client import rekey_status

    try:
        partitions = rekey_status(PATIENCE.total_seconds())["partitions"]
    except ValueError:
        return Health.DOWN
    except RayError:
        return Health.UNHEALTHY
    return Health.UNHEALTHY if any(each["error"] for each in partitions) else Health.HEALTHY


def _serve_state(record: StackRecord, status: dict[str, Any] | None) -> ServiceState:
    address = f"{record.ray.dashboard_url}/#/serve" if record.ray else ""
    if status is None:
        return _own(address, Health.DOWN)
    healthy = status.get("health", {}).get("serve", False)
    return _own(address, Health.HEALTHY if healthy else Health.UNHEALTHY)


def _dashboard_state(record: StackRecord) -> ServiceState:
    if record.ray is None:
        return _own("", Health.DOWN)
    return _own(record.ray.dashboard_url, _health(_listens(record.ray.dashboard_url)))


def _metrics_state(config: HotPathConfig | None) -> ServiceState:
    if config is None:
        return _own("", Health.DOWN)
    url = f"http://127.0.0.1:{config.metrics_port}/metrics"
    return _own(url, _health(_serves(url)))


def _lake_state(record: StackRecord) -> ServiceState:
    if record.connections is None:
        return _own("", Health.DOWN)
    location = record.connections.lake
    answers = _in_time(lambda: _lake_answers(location))
    return ServiceState(location.url, _health(answers), external=record.external.lake is not None, pid=None)


def _lake_answers(location: LakeLocation) -> bool:
    if urlsplit(location.url).scheme == "file":
        return Path(unquote(urlsplit(location.url).path)).exists()
    # Only object stores need what reads tables.
    from ray_fraud.stores.lake import lake_filesystem

    try:
        system, root = lake_filesystem(location)
        # An object store has no folders: an empty prefix of a bucket that answers is fine.
        system.get_file_info(root)
    except (OSError, ValueError):
        return False
    return True


def _in_time(question: Callable[[], bool]) -> bool:
    """False if there is no answer in time; the question is then left alone."""
    answer: list[bool] = []
    thread = threading.Thread(target=lambda: answer.append(question()), daemon=True)
    thread.start()
    thread.join(PATIENCE.total_seconds())
    return bool(answer) and answer[0]


def _serves(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE.total_seconds()) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection(
            (parts.hostname or "", parts.port or 0), timeout=PATIENCE.total_seconds()
        ).close()
    except OSError:
        return False
    return True


def _own(address: str, health: Health) -> ServiceState:
    """The state of what runs within the stack's Ray."""
    return ServiceState(address, health, external=False, pid=None)


def _health(answers: bool) -> Health:
    return Health.HEALTHY if answers else Health.DOWN
