"""The processes of one local stack: servers and Ray, started in the background, found again, ended in order.

What runs on Ray (Serve, actors) is `running`'s.
Never: a process of another stack; a topic or a table.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import msgspec

from cluster.local.folder_lock import FolderLock
from cluster.local.health import Probe, probes, ray_answers
from cluster.local.kafka import EmbeddedKafka
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports
from cluster.local.postgres import EmbeddedPostgres
from cluster.local.processes import end
from cluster.local.ray_address import RayAddress
from cluster.local.ray_node import STOP_PATIENCE, RayNode, RayOptions
from cluster.local.secret_files import ensure_secret, write_private
from cluster.local.stack_record import (
    ExternalServers,
    Health,
    ServiceState,
    load_connections,
    load_ray,
    read_record,
    unnamed_topics,
    write_record,
)
from cluster.local.valkey import EmbeddedValkey
from ray_fraud.stores.connections import Connections, LakeLocation

Progress = Callable[[str], None]
T = TypeVar("T")

__all__ = ["LocalStack", "load_connections", "load_ray"]


def _silent(_message: str) -> None:
    """The progress of someone who does not ask."""


class LocalStack:
    """The stack of one data folder, whether it runs or not; making this object starts nothing.

    `start_servers` and `start_ray` may run at the same time in two threads.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        external: ExternalServers | None = None,
        ray: RayOptions | None = None,
        progress: Progress = _silent,
    ) -> None:
        self.paths = StackPaths(data_dir)
        self.ports = Ports(self.paths)
        self.ledger = Ledger(self.paths)
        self._external = external or ExternalServers()
        self._progress = progress
        self._lock = FolderLock(self.paths.lock)
        self._record_lock = threading.Lock()
        parts = (self.paths, self.ledger, self.ports)
        self._kafka = EmbeddedKafka(*parts)
        self._redis = EmbeddedValkey(*parts)
        self._postgres = EmbeddedPostgres(*parts)
        self._ray = RayNode(*parts, ray)

    @property
    def external(self) -> ExternalServers:
        """The servers of the user's own that this stack is to use."""
        return self._external

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep other commands from changing this stack until the end of several steps.

        Raises:
            DataDirError, StackBusyError
        """
        self.paths.prepare()
        with self._lock.held():
            yield

    def start_servers(self) -> Connections:
        """Start Kafka, Redis and PostgreSQL where no external one is named; those that run already stay.

        What did start stays if another one fails; `stop` ends it.

        Raises:
            PortInUseError, ServerStartError, DataDirError, StackBusyError, DownloadError, WrongJarError
        """
        external = self._external
        self.paths.prepare()
        with self._lock.held(), ThreadPoolExecutor(3) as pool:
            kafka = pool.submit(lambda: external.kafka or self._timed("kafka", self._kafka.start))
            redis = pool.submit(lambda: external.redis or self._timed("redis", self._redis.start))
            postgres = pool.submit(lambda: external.postgres or self._timed("postgres", self._postgres.start))
            card_key_file = self.paths.secret("card-key")
            ensure_secret(card_key_file)
            connections = Connections(
                kafka=kafka.result(),
                redis=redis.result(),
                postgres=postgres.result(),
                lake=external.lake or LakeLocation(url=self.paths.lake.as_uri()),
                topics=external.topics
                or unnamed_topics(read_record(self.paths), external, os.cpu_count() or 1),
                card_key_file=external.card_key_file or card_key_file,
                user_key_file=external.user_key_file,
            )
            self._remember(connections=connections, external=external)
        return connections

    def start_ray(self) -> RayAddress:
        """Start Ray's head node; one that runs already stays.

        Raises:
            PortInUseError, ServerStartError, DataDirError, StackBusyError
        """
        self.paths.prepare()
        with self._lock.held():
            address = self._timed("ray", self._ray.start)
            self._remember(ray=address)
        return address

    def connect(self, **options: Any) -> None:
        """Connect this process to the stack's Ray; `options` go to `ray.init`.

        Raises:
            NoStackError, ConnectionError
        """
        load_ray(self.paths.data_dir).connect(**options)

    def connect_if_running(self, **options: Any) -> bool:
        """`connect` if Ray answers; whether it did."""
        address = read_record(self.paths).ray
        if address is None or not ray_answers(address):
            return False
        address.connect(**options)
        return True

    def stop(self) -> None:
        """End what runs of this stack, users of a server before the server: Ray, Kafka, Redis, PostgreSQL.

        Each is asked first and killed if it does not end in time. What is left with the stack's mark in its
        environment goes last. Data stays.

        Raises:
            StackBusyError: another command is starting or stopping it.
        """
        if not self.paths.data_dir.exists():
            return
        with self._lock.held():
            for service, stop in (
                ("ray", self._ray.stop),
                ("kafka", self._kafka.stop),
                ("redis", self._redis.stop),
                ("postgres", self._postgres.stop),
            ):
                if self.ledger.members(service):
                    self._progress(f"{service}: stopping")
                stop()
            end(self.ledger.marked(), patience=STOP_PATIENCE)

    def state(self) -> dict[str, ServiceState]:
        """Address and health of `kafka`, `redis`, `postgres` and `ray`; asks all of them now, at once."""
        record = read_record(self.paths)
        services = list(probes(record))
        with ThreadPoolExecutor(len(services)) as pool:
            states = pool.map(self._service_state, services)
            return {probe.service: state for probe, state in zip(services, states, strict=True)}

    def save_hot_path(self, content: bytes) -> None:
        """Remember with what configuration (JSON) the hot path was deployed."""
        write_private(self.paths.hot_path, content.decode())

    def hot_path(self) -> bytes | None:
        """What `save_hot_path` was told last."""
        return self.paths.hot_path.read_bytes() if self.paths.hot_path.exists() else None

    def _service_state(self, probe: Probe) -> ServiceState:
        if probe.external:
            health = Health.HEALTHY if probe.answers() else Health.DOWN
            return ServiceState(probe.address, health, external=True, pid=None)
        processes = self.ledger.alive(probe.service)
        if not processes:
            return ServiceState(probe.address, Health.DOWN, external=False, pid=None)
        health = Health.HEALTHY if probe.answers() else Health.UNHEALTHY
        return ServiceState(probe.address, health, external=False, pid=processes[0].pid)

    def _timed(self, service: str, start: Callable[[], T]) -> T:
        begun = monotonic()
        self._progress(f"{service}: starting")
        result = start()
        self._progress(f"{service}: ready after {monotonic() - begun:.1f} s")
        return result

    def _remember(self, **changes: object) -> None:
        with self._record_lock:
            write_record(self.paths, msgspec.structs.replace(read_record(self.paths), **changes))
