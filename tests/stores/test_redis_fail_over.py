"""Redis after a fail-over: behind its name, or among its hosts, open connections lead to the old master."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from cluster.local.health import redis_answers
from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK
from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.cuts.port import CutOutcome
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import SlowDown, StoreError, StoreRefused, StoreUnavailable
from ray_fraud.stores.redis_server import RedisServer
from tests.stores.cut_samples import PARTITION, USERS, cut_of
from tests.stores.tcp_proxy import TcpProxy
from tests.stores.valkey_nodes import ValkeyNode, ValkeyNodes, until, valkey_nodes

FAIL = """#!lua name=fail
redis.register_function('fail', function(keys, args) return redis.error_reply(args[1]) end)
"""


@pytest.fixture
def nodes(server_paths: StackPaths) -> Iterator[ValkeyNodes]:
    with valkey_nodes(server_paths) as started:
        yield started


class Pair:
    """A master with a replica, and one name that leads to whichever is the master."""

    def __init__(self, nodes: ValkeyNodes, proxy: TcpProxy, master: ValkeyNode, replica: ValkeyNode) -> None:
        self.master = master
        self.replica = replica
        self._proxy = proxy
        self.by_name = RedisConnection(
            url=f"redis://{LOOPBACK}:{proxy.port}/0", password_file=nodes.password_file
        )
        self.by_hosts = RedisConnection(
            url=f"redis://{replica.host},{master.host}/0", password_file=nodes.password_file
        )

    def fail_over(self) -> None:
        """Promotes the replica, and moves the name; open connections stay where they are."""
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.master.ask("REPLICAOF", LOOPBACK, self.replica.port)
        self._proxy.lead_to(self.replica.port)


@pytest.fixture
def pair(nodes: ValkeyNodes) -> Iterator[Pair]:
    master, replica = nodes.add(), nodes.add()
    replica.ask("REPLICAOF", LOOPBACK, master.port)
    until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"), "the replica follows")
    with TcpProxy(LOOPBACK, master.port) as proxy:
        yield Pair(nodes, proxy, master, replica)


def filled(where: RedisConnection) -> RedisCutStore:
    store = RedisCutStore(where)
    store.check_configuration()
    store.raise_epoch(PARTITION, 1, "owner-1")
    assert store.write_generation(PARTITION, cut_of(USERS), USERS.items()) is CutOutcome.WRITTEN
    return store


def in_step(pair: Pair) -> None:
    assert pair.master.ask("WAIT", 1, 5000) >= 0
    until(lambda: pair.replica.ask("EXISTS", f"fraud:{{{PARTITION}}}:cut") == 1, "the cut is replicated")


@pytest.mark.parametrize("by", ["by_name", "by_hosts"])
def test_a_cut_after_a_fail_over_costs_one_refusal(pair: Pair, by: str) -> None:
    with closing(filled(getattr(pair, by))) as store:
        in_step(pair)
        pair.fail_over()
        following = cut_of(USERS, previous_offset=100, next_offset=130)
        with pytest.raises(StoreUnavailable, match="ReadOnlyError"):
            store.write(PARTITION, following)
        assert store.write(PARTITION, following) is CutOutcome.WRITTEN
        header = store.header(PARTITION)
        assert header is not None
        assert header.next_offset == 130
    assert pair.replica.ask("HGET", f"fraud:{{{PARTITION}}}:cut", "next_offset") == b"130"


def test_of_several_hosts_the_living_master_is_taken(pair: Pair) -> None:
    with closing(filled(pair.by_hosts)) as store:
        in_step(pair)
        pair.master.stop()
        with pytest.raises(StoreUnavailable):
            store.epoch(PARTITION)
        with pytest.raises(StoreUnavailable, match="no server to write to"):
            store.epoch(PARTITION)
        pair.replica.ask("REPLICAOF", "NO", "ONE")
        assert store.epoch(PARTITION) == 1


def test_health_is_that_of_writes(pair: Pair) -> None:
    assert redis_answers(pair.by_name)
    assert not redis_answers(pair.replica.where)
    pair.master.ask("CONFIG", "SET", "min-replicas-to-write", "2")
    assert not redis_answers(pair.by_name)


def test_a_full_server_is_not_healthy(nodes: ValkeyNodes) -> None:
    node = nodes.add()
    assert redis_answers(node.where)
    node.ask("CONFIG", "SET", "maxmemory", "1")
    assert not redis_answers(node.where)


def test_a_replica_without_its_master_is_left(pair: Pair) -> None:
    pair.replica.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    pair.master.stop()
    with closing(RedisCutStore(pair.replica.where)) as store:
        until(lambda: b"link_status:down" in pair.replica.ask("INFO", "replication"), "the link is down")
        with pytest.raises(StoreUnavailable, match="MasterDownError"):
            store.header(PARTITION)
        pair.replica.ask("REPLICAOF", "NO", "ONE")
        assert store.header(PARTITION) is None


def test_a_server_that_loads_its_data_is_waited_for(nodes: ValkeyNodes) -> None:
    node = nodes.add()
    with closing(node.client()) as client:
        for number in range(400):
            client.set(f"key-{number}", "x" * 2_000)
    node.ask("SAVE")
    node.stop()
    slowly = ("appendonly no", "key-load-delay 5000", "loading-process-events-interval-bytes 1024")
    node.start(*slowly, wait=False)
    with closing(RedisCutStore(node.where)) as store:
        seen: list[StoreError] = []

        def answers() -> bool:
            try:
                return store.header(PARTITION) is None
            except StoreUnavailable as error:
                seen.append(error)
                return False

        until(answers, "it has loaded")
        assert "BusyLoadingError" in {str(error).split(": ")[1] for error in seen}


NEW_CLIENT = (
    *("READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "MISCONF", "UNBLOCKED", "CLUSTERDOWN"),
    *("MOVED 12 127.0.0.1:1", "ASK 12 127.0.0.1:1"),
)
SAME_CLIENT = ("TRYAGAIN", "BUSY")
NEVER = ("NOPERM", "WRONGTYPE", "NOAUTH", "CROSSSLOT", "ERR", "EXECABORT", "NOSCRIPT")


@pytest.fixture
def server(fresh_redis: RedisConnection) -> Iterator[RedisServer]:
    with closing(RedisServer(fresh_redis)) as opened:
        with opened.client() as client:
            client.function_load(FAIL, replace=True)
        yield opened


def fail(server: RedisServer, reply: str) -> None:
    words = reply if " " in reply else f"{reply} so it says"
    with server.client() as client:
        client.execute_command("FCALL", "fail", 1, "key", words)  # type: ignore[no-untyped-call]


def client_id(server: RedisServer) -> Any:
    with server.client() as client:
        return client.client_id()


@pytest.mark.parametrize("reply", NEW_CLIENT)
def test_an_error_that_another_server_may_not_have_ends_the_connection(
    server: RedisServer, reply: str
) -> None:
    before = client_id(server)
    with pytest.raises(StoreUnavailable):
        fail(server, reply)
    assert client_id(server) != before


@pytest.mark.parametrize("reply", SAME_CLIENT)
def test_a_passing_error_keeps_the_connection(server: RedisServer, reply: str) -> None:
    before = client_id(server)
    with pytest.raises(StoreUnavailable):
        fail(server, reply)
    assert client_id(server) == before


@pytest.mark.parametrize("reply", NEVER)
def test_an_error_that_stays_is_a_refusal(server: RedisServer, reply: str) -> None:
    with pytest.raises(StoreRefused):
        fail(server, reply)


def test_a_full_server_asks_for_less(server: RedisServer) -> None:
    with pytest.raises(SlowDown):
        fail(server, "OOM")
