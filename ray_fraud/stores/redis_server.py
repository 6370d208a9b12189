"""The Redis of a URL, whatever is there at the moment: one server, one of several hosts, or a cluster.

It is looked for at first use, and again after every error that another server may not have: behind one
name there may be another one after a fail-over, while an open connection still leads to the old one.

Never: a retry; a password in a message or a log line.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
import redis
from redis.exceptions import NoPermissionError, RedisClusterException

from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.redis_client import client_options, connect_redis
from ray_fraud.stores.redis_cluster import ClusterClient, connect_cluster
from ray_fraud.stores.redis_errors import Next, meaning_of, next_step

HEALTH_KEY = "fraud:{health-%d}"
HEALTH_SECONDS = 60
SLOTS = 16_384


class RedisServer:
    """Safe to use from several threads."""

    def __init__(self, connection: RedisConnection) -> None:
        """Opens nothing yet.

        Raises:
            StoreRefused, PermissionError: as `client_options`.
        """
        client_options(connection)
        self._connection = connection
        self._turn = threading.Lock()
        self._client: redis.Redis | ClusterClient | None = None
        login, _, hosts = urlsplit(connection.url).netloc.rpartition("@")
        self._login = f"{login}@" if login else ""
        self._named = hosts.split(",")
        self._hosts = list(self._named)

    @contextmanager
    def client(self) -> Iterator["redis.Redis"]:
        """The client; what the block raises becomes one of `ray_fraud.stores.errors`.

        That of a cluster has the same commands, as far as they concern one key or share a hash tag.
        """
        used: redis.Redis | ClusterClient | None = None
        try:
            used = self._opened()
            yield cast("redis.Redis", used)
        except (redis.RedisError, RedisClusterException) as error:
            if next_step(error) is Next.NEW_CLIENT:
                self._drop(used)
            raise meaning_of(error) from error

    @contextmanager
    def masters(self) -> Iterator[list["redis.Redis"]]:
        """A client for each server that is written to: those of a cluster's masters, or the one."""
        with self.client() as client:
            yield client.primaries() if isinstance(client, ClusterClient) else [client]

    def check_writes(self) -> None:
        """Writes a key that expires, on every master.

        Raises:
            StoreError: one of them takes no writes.
        """
        with self.client() as client:
            for key in _health_keys(client):
                try:
                    client.set(key, "1", ex=HEALTH_SECONDS)
                except NoPermissionError:
                    # A user for cuts alone may write hashes; such a key stays, as small as it is.
                    client.hset(f"{key}:fields", "written", "1")

    def close(self) -> None:
        """Ends the connections; the next use opens new ones."""
        with self._turn:
            used, self._client = self._client, None
        if used is not None:
            used.close()

    def _opened(self) -> "redis.Redis | ClusterClient":
        with self._turn:
            if self._client is None:
                self._client = self._found()
            return self._client

    def _drop(self, used: "redis.Redis | ClusterClient | None") -> None:
        """Unless another thread did; connections that others are using are closed when they come back."""
        with self._turn:
            if used is None or used is not self._client:
                return
            self._client = None
            if isinstance(used, ClusterClient):
                self._remember(used.host_names())
        clients = used.primaries() if isinstance(used, ClusterClient) else [used]
        for client in clients:
            client.connection_pool.disconnect(inuse_connections=False)

    def _remember(self, nodes: list[str]) -> None:
        """Nodes of a cluster lead to it, too, when those that the URL names are gone."""
        known = [host for host in self._hosts if host in self._named or host in nodes]
        self._hosts = [*known, *(node for node in nodes if node not in known)]

    def _found(self) -> "redis.Redis | ClusterClient":
        """Looks at the hosts in order; one that does not answer is the last to be asked next time."""
        seen: dict[str, str] = {}
        for host in list(self._hosts):
            client = connect_redis(self._at(host))
            try:
                info: Any = client.info("cluster")
                if info.get("cluster_enabled"):
                    client.close()
                    return connect_cluster(self._at(host), list(self._hosts))
                if self._named == [host] or (host in self._named and _role(client) == "master"):
                    return client
                seen[host] = "no master"
            except (redis.RedisError, RedisClusterException) as error:
                if next_step(error) is Next.NEVER or self._hosts == [host]:
                    client.close()
                    raise
                seen[host] = type(error).__name__
                self._hosts.remove(host)
                self._hosts.append(host)
            client.close()
        raise StoreUnavailable(
            "redis", f"no server to write to: {', '.join(f'{h} {w}' for h, w in seen.items())}"
        )

    def _at(self, host: str) -> RedisConnection:
        parts = urlsplit(self._connection.url)._replace(netloc=f"{self._login}{host}")
        return msgspec.structs.replace(self._connection, url=urlunsplit(parts))


def _role(client: "redis.Redis") -> str:
    info: Any = client.info("replication")
    return str(info["role"])


def _health_keys(client: "redis.Redis | ClusterClient") -> list[str]:
    """One key for each master that owns slots; their hash tags are numbered until each has one."""
    if not isinstance(client, ClusterClient):
        return [HEALTH_KEY % 0]
    manager = client.nodes_manager
    wanted = {nodes[0].name for nodes in list(manager.slots_cache.values())}
    keys: dict[str, str] = {}
    for number in range(SLOTS):
        if len(keys) == len(wanted):
            break
        key = HEALTH_KEY % number
        nodes = manager.slots_cache.get(client.keyslot(key))  # type: ignore[no-untyped-call]
        if nodes:
            keys.setdefault(nodes[0].name, key)
    return list(keys.values())
