"""Cuts in Redis 7 or newer, Valkey, or a cluster of them: each step is one call of a function in the server.

Never: WATCH/MULTI, a key outside of the partition's hash tag, a retry that nobody asked for.
"""

import logging
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import islice
from typing import Any

import redis

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.checked_users import checked_users
from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.cuts.encoding import decode_header, header_arguments, user_arguments
from ray_fraud.stores.cuts.layout import BUCKETS, bucket_keys, cut_key, next_generation
from ray_fraud.stores.cuts.port import Cut, CutDamaged, CutHeader, CutOutcome
from ray_fraud.stores.errors import Fenced, StoreRefused, StoreUnavailable
from ray_fraud.stores.redis_server import RedisServer

log = logging.getLogger(__name__)

LIBRARY = files(__package__).joinpath("functions.lua")
LIBRARY_NAME = "ray_fraud_cuts_1"
OLDEST_VERSION = (7, 0)
"""The first one with functions."""
USERS_PER_CALL = 1000
"""Of a new generation: about 1 MB, a few milliseconds of the server."""
ATTEMPTS = 5
"""Rounds of a step whose key names were outdated; each needs another writer in between."""

Key = str | bytes
Argument = str | bytes


class RedisCutStore:
    """One owner's client; safe to use from several threads for different partitions."""

    def __init__(self, connection: RedisConnection) -> None:
        self._server = RedisServer(connection)
        self._generations: dict[PartitionId, str] = {}
        self._warned = False

    def check_configuration(self) -> None:
        with self._server.masters() as masters:
            durable = sum(map(_is_durable, masters)) == len(masters)
            try:
                for master in masters:
                    _load_functions(master)
            except redis.exceptions.NoPermissionError:
                log.debug("redis: this user may not load functions, an administrator has to")
        if not durable and not self._warned:
            self._warned = True
            log.warning(
                "redis: appendonly is off, a restart of the server loses the cuts and recovery takes longer; "
                "run CONFIG SET appendonly yes and write it to the server's configuration"
            )

    def check_writes(self) -> None:
        """Raises `StoreError` if the server, or a master of the cluster, takes no writes."""
        self._server.check_writes()

    def epoch(self, partition: PartitionId) -> int:
        return int(self._field(partition, "epoch") or 0)

    def raise_epoch(self, partition: PartitionId, epoch: int, token: str) -> CutHeader | None:
        abandoned = _text(self._field(partition, "pending"))
        found, answer = self._call(
            "raise_epoch", self._keys(partition, abandoned), [str(epoch), token, abandoned]
        )
        if not found:
            raise Fenced("redis", epoch, int(answer))
        header = decode_header(dict(zip(answer[::2], answer[1::2], strict=True)))
        self._remember(partition, header)
        return header

    def write(self, partition: PartitionId, cut: Cut) -> CutOutcome:
        generation = self._generations.get(partition) or _text(self._field(partition, "generation"))
        for _ in range(ATTEMPTS):
            keys, users = user_arguments(cut.changed.items(), bucket_keys(partition, generation))
            header = header_arguments(cut.header(generation), cut.known_seq)
            arguments: list[Argument] = [str(cut.epoch), cut.token, generation]
            arguments += [str(cut.previous_offset), str(cut.next_offset), str(len(header)), *header, *users]
            outcome, answer = self._call("write", [cut_key(partition), *keys], arguments)
            if outcome != b"other_generation":
                self._generations[partition] = generation
                return CutOutcome(outcome.decode())
            generation = answer.decode()
        raise StoreUnavailable("redis", f"generation of {partition} changed again and again during a write")

    def write_generation(
        self, partition: PartitionId, cut: Cut, users: Iterable[tuple[int, bytes]]
    ) -> CutOutcome:
        begun = self._begin(partition, cut)
        if begun is None:
            return CutOutcome.FENCED
        generation, old = begun
        owner = [str(cut.epoch), cut.token, generation]
        keys = bucket_keys(partition, generation)
        checked = checked_users(
            users,
            cut.user_count,
            cut.digest,
            lambda what: StoreRefused("redis", f"the new cut: {what}"),
        )
        while chunk := list(islice(checked, USERS_PER_CALL)):
            touched, arguments = user_arguments(chunk, keys)
            if not self._went_on(self._call("add", [cut_key(partition), *touched], [*owner, *arguments])):
                return CutOutcome.FENCED
        header = header_arguments(cut.header(generation), cut.known_seq)
        if not self._went_on(self._call("swap", self._keys(partition, old), [*owner, old, *header])):
            return CutOutcome.FENCED
        self._generations[partition] = generation
        return CutOutcome.WRITTEN

    def header(self, partition: PartitionId) -> CutHeader | None:
        with self._server.client() as client:
            fields: Any = client.hgetall(cut_key(partition))
        header = decode_header(fields)
        self._remember(partition, header)
        return header

    def read_users(self, partition: PartitionId, header: CutHeader) -> Iterator[tuple[int, bytes]]:
        return checked_users(
            self._stored_users(partition, header),
            header.user_count,
            header.digest,
            lambda what: CutDamaged("redis", f"cut at offset {header.next_offset} of {partition}: {what}"),
        )

    def read_user(self, partition: PartitionId, user_id: int) -> bytes | None:
        for _ in range(ATTEMPTS):
            generation = _text(self._field(partition, "generation"))
            if not generation:
                return None
            key = bucket_keys(partition, generation)[user_id % BUCKETS]
            with self._server.client() as client:
                state: Any = client.hget(key, str(user_id))
            if state is not None or generation == _text(self._field(partition, "generation")):
                return bytes(state) if state is not None else None
        raise StoreUnavailable("redis", f"generation of {partition} changed again and again during a read")

    def close(self) -> None:
        self._server.close()

    def _begin(self, partition: PartitionId, cut: Cut) -> tuple[str, str] | None:
        """Names the new generation and the one it replaces; None if fenced."""
        for _ in range(ATTEMPTS):
            with self._server.client() as client:
                found: Any = client.hmget(cut_key(partition), ["pending", "generation"])
            abandoned, old = _text(found[0]), _text(found[1])
            generation = next_generation(cut.epoch, abandoned, old)
            arguments: list[Argument] = [str(cut.epoch), cut.token, abandoned, generation]
            answer = self._call("begin", self._keys(partition, abandoned), arguments)
            if answer == b"begun":
                return generation, old
            if answer == b"fenced":
                return None
        raise StoreUnavailable("redis", f"another writer began a generation of {partition} again and again")

    def _went_on(self, answer: bytes) -> bool:
        """False if fenced.

        Raises:
            StoreUnavailable: the server lost the generation that we had begun: write it anew.
        """
        if answer == b"changed":
            raise StoreUnavailable(
                "redis", "the generation being written is gone: write it again from its start"
            )
        return answer != b"fenced"

    def _stored_users(self, partition: PartitionId, header: CutHeader) -> Iterator[tuple[int, bytes]]:
        for key in bucket_keys(partition, header.generation):
            with self._server.client() as client:
                users: Any = client.hgetall(key)
            for user_id, state in users.items():
                yield int(user_id), state

    def _field(self, partition: PartitionId, name: str) -> Any:
        with self._server.client() as client:
            return client.hget(cut_key(partition), name)

    def _keys(self, partition: PartitionId, generation: str) -> list[Key]:
        return [cut_key(partition), *(bucket_keys(partition, generation) if generation else ())]

    def _remember(self, partition: PartitionId, header: CutHeader | None) -> None:
        if header is not None:
            self._generations[partition] = header.generation

    def _call(self, name: str, keys: Iterable[Key], arguments: Iterable[Argument]) -> Any:
        """One call of a function; a server without its functions (flushed, replaced, new) gets them."""
        keys = list(keys)
        command = ("FCALL", f"{LIBRARY_NAME}_{name}", len(keys), *keys, *arguments)
        with self._server.client() as client:
            try:
                return client.execute_command(*command)  # type: ignore[no-untyped-call]
            except redis.ResponseError as error:
                if "Function not found" not in str(error):
                    raise
        self._load_where_possible()
        with self._server.client() as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def _load_where_possible(self) -> None:
        """On every master that answers: one that is down has no part in the call that lacked its function."""
        with self._server.masters() as masters:
            for master in masters:
                try:
                    _load_functions(master)
                except (redis.ConnectionError, redis.TimeoutError) as error:
                    if len(masters) == 1:
                        raise
                    log.warning("redis: no functions loaded on a master that does not answer: %s", error)


def _is_durable(server: "redis.Redis") -> bool:
    """Whether it writes an append-only file; by INFO, since hosted servers refuse CONFIG.

    Raises:
        StoreRefused: it is too old, or may evict keys.
    """
    info: Any = {section: server.info(section) for section in ("server", "memory", "persistence")}
    version = tuple(int(part) for part in str(info["server"]["redis_version"]).split(".")[:2])
    policy = str(info["memory"]["maxmemory_policy"])
    at = f"port {info['server'].get('tcp_port', '?')}: "
    if version < OLDEST_VERSION:
        raise StoreRefused(
            "redis", f"{at}version {'.'.join(map(str, version))} has no functions: use Redis >= 7"
        )
    if policy != "noeviction":
        raise StoreRefused(
            "redis",
            f"{at}maxmemory-policy is {policy!r}, which loses user state silently; run CONFIG SET "
            "maxmemory-policy noeviction (on every node of a cluster) and write it to the configuration",
        )
    return bool(info["persistence"]["aof_enabled"])


def _load_functions(server: "redis.Redis") -> None:
    """Load the library unless this very text is loaded."""
    code = LIBRARY.read_text()
    loaded: Any = server.function_list(library=LIBRARY_NAME, withcode=True)
    if code.encode() not in (item for library in loaded for item in library):
        server.function_load(code, replace=True)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode()
