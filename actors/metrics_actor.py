"""The Ray actor that serves `/metrics` for the whole platform.

Never: slowing a partition: one call per process every two seconds.
"""

import contextlib
import logging
import threading
from typing import Any

import ray
from prometheus_client import start_http_server
from prometheus_client.registry import CollectorRegistry
from ray.exceptions import RayError

from actors.config import BATCH, NAMESPACE, SINK, SUPERVISOR, TRAINING, HotPathConfig
from actors.metrics_hub import SnapshotCollector
from ray_fraud.stores.connections import from_json
from ray_fraud.telemetry.meter import read_snapshot

logger = logging.getLogger(__name__)

GATHER_SECONDS = 2.0
CALL_TIMEOUT_SECONDS = 2.0


class MetricsActor:
    """Gathers and serves; Ray restarts it."""

    def __init__(self, config: bytes, address: str = "127.0.0.1") -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._config = from_json(config, HotPathConfig)
        self._collector = SnapshotCollector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        self._server, self._server_thread = start_http_server(
            self._config.metrics_port, addr=address, registry=registry
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gathering", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(GATHER_SECONDS):
            try:
                self._gather()
            except (RayError, ValueError) as error:
                logger.info("metrics: gathered again soon: %s", str(error).splitlines()[0])

    def _gather(self) -> None:
        supervisor = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
        partitions: list[Any] = ray.get(supervisor.handles.remote(), timeout=CALL_TIMEOUT_SECONDS)
        roles = [supervisor, ray.get_actor(SINK, namespace=NAMESPACE), *_cold_path(), *partitions]
        # A partition has no owner for a moment, between two of them.
        calls = [role.metrics.remote() for role in roles if role is not None]
        ready, _ = ray.wait(calls, num_returns=len(calls), timeout=CALL_TIMEOUT_SECONDS)
        for call in ready:
            try:
                self._collector.add(read_snapshot(ray.get(call)))
            except RayError as error:
                logger.info("metrics: one process did not answer: %s", str(error).splitlines()[0])

    def port(self) -> int:
        return int(self._server.server_port)


def _cold_path() -> list[Any]:
    """Those of the cold path's actors that there are."""
    found = []
    for name in (BATCH, TRAINING):
        with contextlib.suppress(ValueError):
            found.append(ray.get_actor(name, namespace=NAMESPACE))
    return found
