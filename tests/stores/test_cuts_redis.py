"""What only a real server can show: settings, lost functions, leftovers, damage, errors."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.cuts.layout import BUCKETS, bucket_keys, cut_key, next_generation
from ray_fraud.stores.cuts.port import CutDamaged, CutOutcome
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.redis_client import OneWritePacker, connect_redis
from tests.stores.cut_samples import PARTITION, USERS, cut_of


@pytest.fixture
def server(fresh_redis: RedisConnection) -> Iterator["redis.Redis"]:
    with closing(connect_redis(fresh_redis)) as client:
        yield client


@pytest.fixture
def store(fresh_redis: RedisConnection) -> Iterator[RedisCutStore]:
    with closing(RedisCutStore(fresh_redis)) as real:
        real.check_configuration()
        yield real


@pytest.fixture
def filled(store: RedisCutStore) -> RedisCutStore:
    store.raise_epoch(PARTITION, 1, "owner-1")
    assert store.write_generation(PARTITION, cut_of(USERS), USERS.items()) is CutOutcome.WRITTEN
    return store


@contextmanager
def setting(server: "redis.Redis", name: str, value: str) -> Iterator[None]:
    before: Any = server.config_get(name)
    server.config_set(name, value)
    try:
        yield
    finally:
        server.config_set(name, next(iter(before.values())))


def keys_of(server: "redis.Redis") -> set[str]:
    return {key.decode() for key in server.scan_iter(match="fraud:*")}


def expected_keys(generation: str) -> set[str]:
    keys = bucket_keys(PARTITION, generation)
    return {cut_key(PARTITION), *(keys[user_id % BUCKETS] for user_id in USERS)}


def test_a_server_that_evicts_is_refused_and_told_what_to_set(
    store: RedisCutStore, server: "redis.Redis"
) -> None:
    with (
        setting(server, "maxmemory-policy", "allkeys-lru"),
        pytest.raises(StoreRefused, match="CONFIG SET maxmemory-policy noeviction"),
    ):
        store.check_configuration()
    store.check_configuration()


def test_a_server_that_forgets_is_warned_about_once(
    store: RedisCutStore, server: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    with setting(server, "appendonly", "no"), caplog.at_level(logging.WARNING):
        store.check_configuration()
        store.check_configuration()
    assert [record.message for record in caplog.records if "CONFIG SET appendonly yes" in record.message]
    assert len(caplog.records) == 1


def test_the_functions_are_loaded_once(store: RedisCutStore, server: "redis.Redis") -> None:
    server.config_resetstat()
    store.check_configuration()
    statistics: Any = server.info("commandstats")
    assert not [name for name in statistics if "function" in name and "load" in name]


def test_lost_functions_are_loaded_again(filled: RedisCutStore, server: "redis.Redis") -> None:
    server.function_flush("SYNC")
    cut = cut_of(USERS, previous_offset=100, next_offset=130)
    assert filled.write(PARTITION, cut) is CutOutcome.WRITTEN


def test_a_user_without_the_right_to_load_functions_can_write_cuts(
    filled: RedisCutStore, server: "redis.Redis", fresh_redis: RedisConnection, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("only-cuts")
    password.chmod(0o600)
    server.acl_setuser(
        "detector",
        enabled=True,
        reset=True,
        passwords=["+only-cuts"],
        keys=["fraud:*"],
        commands=["+@hash", "+unlink", "+fcall", "+info", "+ping", "+hello", "+client|setinfo"],
    )
    try:
        narrow = msgspec.structs.replace(fresh_redis, username="detector", password_file=password)
        with closing(RedisCutStore(narrow)) as restricted:
            restricted.check_configuration()
            cut = cut_of(USERS, previous_offset=100, next_offset=130)
            assert restricted.write(PARTITION, cut) is CutOutcome.WRITTEN
            assert restricted.write_generation(PARTITION, cut, USERS.items()) is CutOutcome.WRITTEN
            server.function_flush("SYNC")
            with pytest.raises(StoreRefused, match="NoPermission"):
                restricted.raise_epoch(PARTITION, 9, "owner-9")
    finally:
        server.acl_deluser("detector")


def test_only_the_cut_and_its_users_are_stored(filled: RedisCutStore, server: "redis.Redis") -> None:
    assert keys_of(server) == expected_keys("1.0")
    filled.write_generation(PARTITION, cut_of(USERS), USERS.items())
    assert keys_of(server) == expected_keys("1.1")


@pytest.mark.parametrize("next_step", ["write it again", "take over"])
def test_leftovers_of_a_broken_generation_are_removed(
    filled: RedisCutStore, server: "redis.Redis", next_step: str
) -> None:
    many = dict.fromkeys(range(3_000), b"x")

    def dying() -> Iterator[tuple[int, bytes]]:
        yield from list(many.items())[:2_500]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        filled.write_generation(PARTITION, cut_of(many), dying())
    assert len(keys_of(server)) > len(expected_keys("1.0"))
    if next_step == "take over":
        header = filled.raise_epoch(PARTITION, 2, "owner-2")
        assert header is not None
        assert dict(filled.read_users(PARTITION, header)) == USERS
        assert keys_of(server) == expected_keys("1.0")
    else:
        filled.write_generation(PARTITION, cut_of(USERS), USERS.items())
        assert keys_of(server) == expected_keys("1.2")


def test_a_fenced_writer_of_a_generation_leaves_nothing(
    filled: RedisCutStore, fresh_redis: RedisConnection, server: "redis.Redis"
) -> None:
    many = dict.fromkeys(range(3_000), b"x")

    def overtaken() -> Iterator[tuple[int, bytes]]:
        for number, user in enumerate(many.items()):
            if number == 2_500:
                with closing(RedisCutStore(fresh_redis)) as other:
                    other.raise_epoch(PARTITION, 2, "owner-2")
            yield user

    assert filled.write_generation(PARTITION, cut_of(many), overtaken()) is CutOutcome.FENCED
    assert keys_of(server) == expected_keys("1.0")


def test_a_server_that_loses_the_generation_being_written_asks_for_it_again(
    filled: RedisCutStore, server: "redis.Redis"
) -> None:
    def losing() -> Iterator[tuple[int, bytes]]:
        yield from USERS.items()
        server.flushdb()

    with pytest.raises(StoreUnavailable, match="write it again"):
        filled.write_generation(PARTITION, cut_of(USERS), losing())
    assert filled.write_generation(PARTITION, cut_of(USERS), USERS.items()) is CutOutcome.WRITTEN


def test_another_clients_generation_is_followed(filled: RedisCutStore, fresh_redis: RedisConnection) -> None:
    with closing(RedisCutStore(fresh_redis)) as other:
        other.write_generation(PARTITION, cut_of(USERS), USERS.items())
    after = {**USERS, 7: b"7"}
    cut = cut_of(after, changed={7: b"7"}, previous_offset=100, next_offset=130)
    assert filled.write(PARTITION, cut) is CutOutcome.WRITTEN
    header = filled.header(PARTITION)
    assert header == cut.header("1.1")
    assert dict(filled.read_users(PARTITION, header)) == after


@pytest.mark.parametrize(
    "damage", ["user gone", "bucket gone", "byte changed", "user added", "users swapped"]
)
def test_every_partial_loss_is_noticed(filled: RedisCutStore, server: "redis.Redis", damage: str) -> None:
    keys = bucket_keys(PARTITION, "1.0")
    if damage == "user gone":
        server.hdel(keys[1], "65")
    elif damage == "bucket gone":
        server.delete(keys[63])
    elif damage == "byte changed":
        server.hset(keys[1], "65", USERS[65][:-1] + b"!")
    elif damage == "user added":
        server.hset(keys[2], "2", b"nobody")
    else:
        server.hset(keys[1], mapping={"1": USERS[65], "65": USERS[1]})
    header = filled.header(PARTITION)
    assert header is not None
    with pytest.raises(CutDamaged):
        list(filled.read_users(PARTITION, header))


@pytest.mark.parametrize(("field", "value"), [("next_offset", "many"), ("events", "{"), ("digest", None)])
def test_an_unreadable_header_is_damaged(
    filled: RedisCutStore, server: "redis.Redis", field: str, value: str | None
) -> None:
    if value is None:
        server.hdel(cut_key(PARTITION), field)
    else:
        server.hset(cut_key(PARTITION), field, value)
    with pytest.raises(CutDamaged):
        filled.header(PARTITION)
    with pytest.raises(CutDamaged):
        filled.raise_epoch(PARTITION, 2, "owner-2")


def test_a_full_server_asks_to_slow_down_and_keeps_the_cut(
    filled: RedisCutStore, server: "redis.Redis"
) -> None:
    cut = cut_of(USERS, previous_offset=100, next_offset=130)
    with setting(server, "maxmemory", "1mb"), pytest.raises(SlowDown, match="maxmemory"):
        filled.write(PARTITION, cut)
    assert filled.write(PARTITION, cut) is CutOutcome.WRITTEN


def test_nobody_listening_means_try_again() -> None:
    with closing(RedisCutStore(RedisConnection(url="redis://127.0.0.1:1/0"))) as store:
        with pytest.raises(StoreUnavailable):
            store.check_configuration()
        with pytest.raises(StoreUnavailable):
            store.write(PARTITION, cut_of(USERS))


def test_a_wrong_password_is_refused(fresh_redis: RedisConnection, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    with (
        closing(RedisCutStore(msgspec.structs.replace(fresh_redis, password_file=wrong))) as store,
        pytest.raises(StoreRefused, match="password_file"),
    ):
        store.epoch(PARTITION)


def test_a_password_in_the_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(StoreRefused, match="password_file") as refusal:
        RedisCutStore(RedisConnection(url="redis://user:hunter2@localhost/0"))
    assert "hunter2" not in str(refusal.value)


def test_all_keys_of_a_partition_share_a_slot_and_partitions_do_not() -> None:
    slots = {key_slot(key.encode()) for key in [cut_key(PARTITION), *bucket_keys(PARTITION, "7.1")]}
    assert len(slots) == 1
    assert slots != {key_slot(cut_key(PARTITION._replace(partition=3)).encode())}


def test_generations_are_numbered_per_epoch() -> None:
    assert next_generation(3, "", "") == "3.0"
    assert next_generation(3, "2.7", "3.0") == "3.1"
    assert next_generation(3, "3.10", "3.9") == "3.11"
    assert next_generation(1, "11.4", "") == "1.0"


@given(st.lists(st.binary(max_size=9_000) | st.text(max_size=20) | st.integers(), max_size=8))
def test_commands_are_packed_as_redis_py_packs_them(arguments: list[bytes | str | int]) -> None:
    expected = redis.Connection().pack_command("FUNCTION LIST", *arguments)  # type: ignore[no-untyped-call]
    assert b"".join(OneWritePacker().pack("FUNCTION LIST", *arguments)) == b"".join(expected)
