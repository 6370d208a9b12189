"""Cuts in a Redis Cluster of six real processes: a slot that moves, a new master, a master that dies."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from redis.crc import key_slot

from cluster.local.health import redis_answers
from cluster.local.paths import StackPaths
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.cuts.layout import cut_key
from ray_fraud.stores.cuts.port import CutOutcome
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from tests.stores.cut_samples import USERS, cut_of
from tests.stores.valkey_nodes import NODE_TIMEOUT_MS, ValkeyCluster, until, valkey_nodes

PARTITIONS = [PartitionId("cluster", "topic-id", number) for number in range(12)]
FAIL_OVER_SECONDS = 30.0
"""A cluster needs about two node timeouts; the rest is for a busy machine."""


@pytest.fixture
def own_cluster(server_paths: StackPaths) -> Iterator[ValkeyCluster]:
    """One that a test may change."""
    with valkey_nodes(server_paths) as nodes:
        yield ValkeyCluster(nodes)


@pytest.fixture
def own_store(own_cluster: ValkeyCluster) -> Iterator[RedisCutStore]:
    with closing(RedisCutStore(own_cluster.where)) as store:
        store.check_configuration()
        for partition in PARTITIONS:
            fill(store, partition)
        yield store


def fill(store: RedisCutStore, partition: PartitionId) -> None:
    store.raise_epoch(partition, 1, "owner-1")
    assert store.write_generation(partition, cut_of(USERS), USERS.items()) is CutOutcome.WRITTEN


def slot_of(partition: PartitionId) -> int:
    return int(key_slot(cut_key(partition).encode()))


class Owner:
    """Writes cut after cut as an owner does: once per call, whatever comes of it."""

    def __init__(self, store: RedisCutStore, partition: PartitionId) -> None:
        self._store = store
        self.partition = partition
        self.users = dict(USERS)
        self.stored = 100
        self.refused = 0

    def write(self) -> bool:
        """Whether the cut is written; a store that lost the one before it gets all of them anew."""
        users = {**self.users, self.stored % 5_000: b"state at %d" % self.stored}
        cut = cut_of(users, changed=users, previous_offset=self.stored, next_offset=self.stored + 10)
        try:
            outcome = self._store.write(self.partition, cut)
            if outcome is CutOutcome.DIVERGED:
                outcome = self._store.write_generation(self.partition, cut, users.items())
        except StoreUnavailable:
            self.refused += 1
            return False
        assert outcome in (CutOutcome.WRITTEN, CutOutcome.ALREADY_WRITTEN)
        self.users, self.stored = users, cut.next_offset
        return True

    def check(self) -> None:
        header = self._store.header(self.partition)
        assert header is not None
        assert header.next_offset == self.stored
        assert dict(self._store.read_users(self.partition, header)) == self.users
        assert self._store.read_user(self.partition, 64) == self.users[64]


def test_every_partition_has_its_cut_wherever_its_slot_lies(
    valkey_cluster: ValkeyCluster,
) -> None:
    assert len({valkey_cluster.master_of(slot_of(partition)).port for partition in PARTITIONS}) == 3
    with closing(RedisCutStore(valkey_cluster.where)) as store:
        store.check_configuration()
        for partition in PARTITIONS:
            fill(store, partition)
            owner = Owner(store, partition)
            assert owner.write()
            owner.check()


def test_the_policy_of_every_master_is_checked(valkey_cluster: ValkeyCluster) -> None:
    third = valkey_cluster.nodes[2]
    with closing(RedisCutStore(valkey_cluster.where)) as store:
        third.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(StoreRefused, match=f"port {third.port}: .*noeviction"):
                store.check_configuration()
        finally:
            third.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.check_configuration()


def test_another_database_than_the_first_is_refused(valkey_cluster: ValkeyCluster) -> None:
    where = msgspec.structs.replace(valkey_cluster.where, url=f"{valkey_cluster.where.url}/3")
    with closing(RedisCutStore(where)) as store, pytest.raises(StoreRefused, match="database 0 only"):
        store.check_configuration()


def test_any_node_that_answers_leads_to_the_cluster(valkey_cluster: ValkeyCluster) -> None:
    replica = valkey_cluster.by(valkey_cluster.nodes[5])
    gone = msgspec.structs.replace(replica, url=replica.url.replace("redis://", "redis://127.0.0.1:1,"))
    for where in (replica, gone):
        with closing(RedisCutStore(where)) as store:
            store.check_configuration()
            assert {store.epoch(partition) for partition in PARTITIONS} <= {0, 1}
        assert redis_answers(where)


def test_a_user_for_cuts_alone_writes_them_in_a_cluster(
    valkey_cluster: ValkeyCluster, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("only-cuts")
    password.chmod(0o600)
    commands = ["+@hash", "+unlink", "+fcall", "+info", "+hello", "+client|setinfo"]
    for node in valkey_cluster.nodes:
        rights = ["on", ">only-cuts", "~fraud:*", *commands, "+cluster|slots", "+command", "+asking"]
        node.ask("ACL", "SETUSER", "detector", "reset", *rights)
    with closing(RedisCutStore(valkey_cluster.where)) as administrator:
        administrator.check_configuration()
    narrow = msgspec.structs.replace(valkey_cluster.where, username="detector", password_file=password)
    with closing(RedisCutStore(narrow)) as store:
        store.check_configuration()
        fill(store, PARTITIONS[0])
        store.check_writes()
    assert redis_answers(narrow)


def test_cuts_go_on_while_a_slot_moves_to_another_master(
    own_cluster: ValkeyCluster, own_store: RedisCutStore
) -> None:
    owner = Owner(own_store, PARTITIONS[0])
    slot = slot_of(owner.partition)
    other = next(node for node in own_cluster.nodes[:3] if node is not own_cluster.master_of(slot))
    own_cluster.move(slot, other, midway=owner.write)
    assert owner.write()
    assert owner.refused <= 1
    owner.check()


def test_cuts_go_on_when_a_slot_moves_to_a_master_that_joined(
    own_cluster: ValkeyCluster, own_store: RedisCutStore
) -> None:
    """It owns no slot before, so nobody's layout names it; and it has no functions."""
    owner = Owner(own_store, PARTITIONS[0])
    joined = own_cluster.join()
    own_cluster.move(slot_of(owner.partition), joined, midway=owner.write)
    assert joined.ask("FUNCTION", "LIST") == []
    assert owner.write()
    owner.check()
    later = next(each for each in PARTITIONS if slot_of(each) != slot_of(owner.partition))
    own_cluster.move(slot_of(later), joined)
    second = Owner(own_store, later)
    assert second.write()
    second.check()


def test_cuts_go_on_after_a_master_was_killed(own_cluster: ValkeyCluster, own_store: RedisCutStore) -> None:
    owners = [Owner(own_store, partition) for partition in PARTITIONS]
    killed = own_cluster.nodes[1]
    on_it = {p for p in PARTITIONS if own_cluster.master_of(slot_of(p)) is killed}
    assert on_it
    for owner in owners:
        assert owner.write()
    killed.stop()
    began = time.monotonic()
    first = {owner.partition: owner.write() for owner in owners}
    assert not any(first[partition] for partition in on_it)
    waiting = {owner.partition: owner for owner in owners if owner.partition in on_it}
    while waiting and time.monotonic() - began < FAIL_OVER_SECONDS:
        for owner in owners:
            called = time.monotonic()
            if owner.write():
                waiting.pop(owner.partition, None)
            assert time.monotonic() - called < NODE_TIMEOUT_MS / 1000 + 10
        time.sleep(0.05)
    assert not waiting
    for owner in owners:
        assert owner.write()
        owner.check()


@pytest.mark.parametrize("accident", [signal.SIGKILL, signal.SIGSTOP])
def test_the_loss_of_the_one_named_node_is_that_of_a_master(
    own_cluster: ValkeyCluster, own_store: RedisCutStore, accident: signal.Signals
) -> None:
    """The URL names the first node alone; a frozen one takes connections and never answers."""
    named = own_cluster.nodes[0]
    owners = [Owner(own_store, partition) for partition in PARTITIONS]
    assert {own_cluster.master_of(slot_of(owner.partition)).port for owner in owners} >= {named.port}
    os.kill(named.pid, accident)
    try:
        began = time.monotonic()
        waiting = list(owners)
        while waiting and time.monotonic() - began < 2 * FAIL_OVER_SECONDS:
            waiting = [owner for owner in waiting if not owner.write()]
        assert not waiting
        for owner in owners:
            assert owner.write()
            owner.check()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(named.pid, signal.SIGCONT)


def test_a_cluster_without_slots_is_an_outage(server_paths: StackPaths) -> None:
    with valkey_nodes(server_paths) as nodes:
        node = nodes.add(clustered=True)
        with closing(RedisCutStore(node.where)) as store:
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="no slots yet"):
                    store.check_configuration()
        assert not redis_answers(node.where)


def test_health_is_that_of_every_master(own_cluster: ValkeyCluster) -> None:
    assert redis_answers(own_cluster.where)
    own_cluster.nodes[1].stop()
    assert not redis_answers(own_cluster.where)
    until(lambda: redis_answers(own_cluster.where), "its replica took over", FAIL_OVER_SECONDS)
