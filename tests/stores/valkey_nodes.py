"""Real Valkey processes on loopback, alone, as replicas of each other or as a cluster."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import redis

from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.processes import end, server_environment, start_detached
from cluster.local.valkey import valkey_program
from ray_fraud.stores.connections import RedisConnection

NODE_TIMEOUT_MS = 1000
"""After which a node counts as gone; a fail-over takes about twice as long."""
PATIENCE_SECONDS = 20.0
ALL_SLOTS = 16_384


class ValkeyNode:
    """One process, with the password of all."""

    def __init__(self, folder: Path, port: int, bus_port: int | None, password_file: Path) -> None:
        """With a `bus_port` it is a node of a cluster."""
        self._folder = folder
        self.port = port
        self._bus_port = bus_port
        self._password_file = password_file
        self.pid = 0

    def start(self, *settings: str, wait: bool = True) -> None:
        password = self._password_file.read_text()
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {password}",
            f"masterauth {password}",
            "dir .",
            "appendonly yes",
            'save ""',
            "repl-diskless-sync-delay 0",
            "repl-timeout 5",
            *settings,
        ]
        if self._bus_port is not None:
            lines += [
                "cluster-enabled yes",
                f"cluster-port {self._bus_port}",
                f"cluster-node-timeout {NODE_TIMEOUT_MS}",
                "cluster-replica-validity-factor 0",
                "cluster-require-full-coverage no",
            ]
        self._folder.mkdir(exist_ok=True)
        (self._folder / "valkey.conf").write_text("\n".join(lines) + "\n")
        self.pid = start_detached(
            [valkey_program(), "valkey.conf"],
            log=self._folder / "log",
            cwd=self._folder,
            environment=server_environment({}),
        )
        if wait:
            until(lambda: bool(self.ask("PING")), "a node answers")

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if not self.pid:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            end([psutil.Process(self.pid)], patience=timedelta(seconds=5), first=how)

    @property
    def where(self) -> RedisConnection:
        return RedisConnection(url=f"redis://{self.host}/0", password_file=self._password_file)

    @property
    def host(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def ask(self, *command: Any) -> Any:
        """One command on this node itself, whatever it says about others; the reply as it came."""
        with closing(self.client()) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def client(self) -> "redis.Redis":
        password = self._password_file.read_text()
        return redis.Redis(host=LOOPBACK, port=self.port, password=password, socket_timeout=5)

    @property
    def node_id(self) -> str:
        return str(self.ask("CLUSTER", "MYID").decode())


class ValkeyNodes:
    """Those of one test."""

    def __init__(self, paths: StackPaths) -> None:
        self._ports = Ports(paths)
        self._folder = paths.data_dir / "valkey-nodes"
        self._folder.mkdir(exist_ok=True)
        self.password_file = self._folder / "password"
        self.password_file.write_text("of-all-nodes")
        self.password_file.chmod(0o600)
        self.started: list[ValkeyNode] = []

    def add(self, *, clustered: bool = False) -> ValkeyNode:
        name = f"valkey-node-{len(list(self._folder.iterdir()))}"
        bus_port = self._ports.claim(f"{name}-bus") if clustered else None
        node = ValkeyNode(self._folder / name, self._ports.claim(name), bus_port, self.password_file)
        self.started.append(node)
        node.start()
        return node

    def stop(self) -> None:
        for node in self.started:
            node.stop()


class ValkeyCluster:
    """Three masters and a replica of each, in this order."""

    def __init__(self, nodes: ValkeyNodes) -> None:
        self._nodes = nodes
        self.nodes = [nodes.add(clustered=True) for _ in range(6)]
        first = self.nodes[0]
        for number, node in enumerate(self.nodes, start=1):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number)
            if node is not first:
                first.ask("CLUSTER", "MEET", LOOPBACK, node.port, node._bus_port)
        bounds = [0, ALL_SLOTS // 3, 2 * ALL_SLOTS // 3, ALL_SLOTS]
        for master, start, after in zip(self.nodes, bounds, bounds[1:], strict=False):
            master.ask("CLUSTER", "ADDSLOTSRANGE", start, after - 1)
        until(lambda: all(self._knows(node, 6) for node in self.nodes), "all nodes know each other")
        for master, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", master.node_id)
        until(lambda: all(self._in_step(node) for node in self.nodes), "all replicas follow")

    @property
    def where(self) -> RedisConnection:
        """By the address of one node; the client finds the others."""
        return self.by(self.nodes[0])

    def by(self, *nodes: ValkeyNode) -> RedisConnection:
        hosts = ",".join(node.host for node in nodes)
        return RedisConnection(url=f"redis://{hosts}", password_file=self._nodes.password_file)

    def master_of(self, slot: int) -> ValkeyNode:
        asked = next(node for node in self.nodes if psutil.pid_exists(node.pid))
        for start, after, (_, port, *_) in (row[:3] for row in asked.ask("CLUSTER", "SLOTS")):
            if start <= slot <= after:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(slot)

    def join(self) -> ValkeyNode:
        """A new node without slots, known to all."""
        node = self._nodes.add(clustered=True)
        self.nodes[0].ask("CLUSTER", "MEET", LOOPBACK, node.port, node._bus_port)
        self.nodes.append(node)
        known = len(self.nodes)
        until(lambda: all(self._knows(each, known) for each in self.nodes), "the new node is known")
        return node

    def move(self, slot: int, to: ValkeyNode, midway: Callable[[], object] = lambda: None) -> None:
        """As `valkey-cli --cluster reshard` does; `midway` is called when a part of the keys has moved."""
        source = self.master_of(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.node_id)
        password = self._nodes.password_file.read_text()
        halfway = False
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 3):
            source.ask("MIGRATE", LOOPBACK, to.port, "", 0, 5000, "AUTH", password, "KEYS", *keys)
            if not halfway:
                halfway = True
                midway()
        for node in (to, source, *self.nodes):
            with contextlib.suppress(redis.ResponseError):  # a replica is told by its master
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.node_id)

    def _knows(self, node: ValkeyNode, count: int) -> bool:
        info = node.ask("CLUSTER", "INFO").decode()
        return f"cluster_known_nodes:{count}\r" in info and "cluster_state:ok" in info

    def _in_step(self, node: ValkeyNode) -> bool:
        info = node.ask("INFO", "replication").decode()
        return "master_link_status:up" in info or ("role:master" in info and "connected_slaves:1" in info)


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits for it, over connections that are not open yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def valkey_nodes(paths: StackPaths) -> Iterator[ValkeyNodes]:
    nodes = ValkeyNodes(paths)
    try:
        yield nodes
    finally:
        nodes.stop()
