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
from ray.exceptions import RayActorError, RayError

from actors.config import BATCH, NAMESPACE, REKEY, SINK, SUPERVISOR, TRAINING, HotPathConfig, partition_source
from actors.metrics_hub import SnapshotCollector
from ray_fraud.stores.connections import from_json
from ray_fraud.telemetry.meter import read_snapshot

logger = logging.getLogger(__name__)

GATHER_SECONDS = 2.0
CALL_TIMEOUT_SECONDS = 2.0
SOURCES = {"supervisor": SUPERVISOR, "sink": SINK, "rekey": REKEY, "batch": BATCH, "training": TRAINING}
"""The names of actors by the source that their snapshots name."""


class MetricsActor:
    """Gathers and serves; Ray restarts it."""

    def __init__(self, config: bytes, address: str = "127.0.0.1") -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._config = from_json(config, HotPathConfig)
        self._collector = SnapshotCollector()
        self._last_owners: dict[str, Any] = {}
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
        roles = {**_named_roles(), **self._owners()}
        calls = {}
        for source, role in roles.items():
            if role is None:
                # A partition has no owner for a moment, between two of them.
                self._collector.gone(source)
            else:
                calls[role.metrics.remote()] = source
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=CALL_TIMEOUT_SECONDS)
        for call in ready:
            try:
                self._collector.add(read_snapshot(ray.get(call)))
            except RayActorError as error:
                self._collector.gone(calls[call])
                logger.info("metrics: %s is gone: %s", calls[call], str(error).splitlines()[0])
            except RayError as error:
                logger.info("metrics: %s did not answer: %s", calls[call], str(error).splitlines()[0])

    def _owners(self) -> dict[str, Any]:
        """The owners as the supervisor knows them; the last known ones while it does not answer."""
        try:
            supervisor: Any = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
            handles = ray.get(supervisor.handles.remote(), timeout=CALL_TIMEOUT_SECONDS)
            self._last_owners = {partition_source(number): role for number, role in enumerate(handles)}
        except (RayError, ValueError) as error:
            logger.info("metrics: the supervisor did not answer: %s", str(error).splitlines()[0])
        return self._last_owners

    def port(self) -> int:
        return int(self._server.server_port)


def _named_roles() -> dict[str, Any]:
    """The actors that have a name of their own, by the source of their snapshots; None: there is none now."""
    found: dict[str, Any] = {}
    for source, name in SOURCES.items():
        found[source] = None
        with contextlib.suppress(ValueError):
            found[source] = ray.get_actor(name, namespace=NAMESPACE)
    return found
