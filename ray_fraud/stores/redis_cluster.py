"""redis-py's client of a Redis Cluster, made to find the node of our commands without asking a server.

redis-py sends a function call whole to COMMAND GETKEYS to learn its keys, which for a cut is a second time
all its users; and it does not know a node without slots when it is sent there (ASK) for one on its way.

Never: a retry; a read from a replica (it may be older than what was written).
"""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.cluster import PRIMARY, ClusterNode, RedisCluster

from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.redis_client import OneWritePacker, client_options, no_retries

KEY_OF_A_CALL = 3
"""FCALL, name, number of keys, first key, …"""
DEFAULT_PORT = 6379


class ClusterClient(RedisCluster):
    """For commands whose keys share one slot: FCALL, and those whose key comes first."""

    def determine_slot(self, *args: Any) -> int:
        key = args[KEY_OF_A_CALL] if args[0] == "FCALL" else args[1]
        slot: int = self.keyslot(key)  # type: ignore[no-untyped-call]
        return slot

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        found: ClusterNode | None = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]
        if found is None and node_name is not None:
            unknown, _, at = node_name.rpartition(":")
            found = ClusterNode(unknown, int(at), PRIMARY)  # type: ignore[no-untyped-call]
            with self.nodes_manager._lock:
                self.nodes_manager.nodes_cache[node_name] = found
        return found

    def primaries(self) -> list["redis.Redis"]:
        """A client for each node that owns slots, or may soon."""
        return [self.get_redis_connection(node) for node in self.get_primaries()]  # type: ignore[no-untyped-call]

    def host_names(self) -> list[str]:
        """`host:port` of every node, the masters first."""
        nodes = [*self.get_primaries(), *self.get_replicas()]  # type: ignore[no-untyped-call]
        return [
            f"[{node.host}]:{node.port}" if ":" in node.host else f"{node.host}:{node.port}" for node in nodes
        ]


def connect_cluster(connection: RedisConnection, hosts: list[str]) -> ClusterClient:
    """A client of the cluster of the URL's one node; `hosts` (`host:port`) are asked for the layout as well.

    Raises:
        StoreRefused: the URL names another database than 0.
        StoreUnavailable: no node owns a slot yet.
        RedisClusterException: none of them answers.
    """
    parts = urlsplit(connection.url)
    if parts.path.strip("/") not in ("", "0"):
        raise StoreRefused("redis", f"url: a cluster has database 0 only, take {parts.path} out of it")
    asked = parts.netloc.rpartition("@")[2]
    first = urlunsplit(parts._replace(path=""))
    try:
        return _connected(connection, first, [_node(host) for host in hosts if host != asked])
    except IndexError:
        # redis-py takes the first master of a layout without any.
        raise StoreUnavailable("redis", f"the cluster of {asked} has no slots yet: create it first") from None


def _connected(connection: RedisConnection, url: str, others: list[ClusterNode]) -> ClusterClient:
    return ClusterClient(
        url=url,
        startup_nodes=others,
        # What is not covered is refused; the partitions of the other masters go on.
        require_full_coverage=False,
        # The named nodes are asked again at each look: all others may have been replaced meanwhile.
        dynamic_startup_nodes=False,
        reinitialize_steps=1,
        retry=no_retries(),
        redis_connect_func=_send_in_one_write,
        **client_options(connection),
    )


def _node(host: str) -> ClusterNode:
    parts = urlsplit(f"//{host}")
    port = parts.port or DEFAULT_PORT
    return ClusterNode(parts.hostname or "", port)  # type: ignore[no-untyped-call]


def _send_in_one_write(connection: Any) -> None:
    """The cluster's client passes no packer on."""
    connection._command_packer = OneWritePacker()
