"""The Redis client of all stores: how it connects, what its errors mean, how it sends.

Never: a password in a URL, a log line or an error; a retry (the caller knows whether and when).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ray_fraud.stores.connections import RedisConnection, read_secret
from ray_fraud.stores.errors import SlowDown, StoreError, StoreRefused, StoreUnavailable

CONNECT_TIMEOUT = timedelta(seconds=2)
REPLY_TIMEOUT = timedelta(seconds=5)
"""Longer than a stall of one second for the append-only file, shorter than anyone wants to wait."""

PASSING_REPLIES = (
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MASTERDOWN",
    "MISCONF",
    "READONLY",
    "NOREPLICAS",
)
"""Error replies of a server that is starting, failing over, or cannot write to its disk right now."""


class OneWritePacker:
    """Packs a command into one buffer: redis-py's own joins and sends in pieces of 6 kB."""

    def pack(self, *args: Any) -> list[bytes]:
        first, rest = args[0], args[1:]
        words = first.split() if isinstance(first, str | bytes) else [first]
        parts = [b"*%d\r\n" % (len(words) + len(rest))]
        for argument in (*words, *rest):
            value = argument if type(argument) is bytes else _encode(argument)
            parts.append(b"$%d\r\n%b\r\n" % (len(value), value))
        return [b"".join(parts)]


def _encode(argument: Any) -> bytes:
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, bytes | bytearray | memoryview):
        return bytes(argument)
    if isinstance(argument, int | float) and not isinstance(argument, bool):
        return repr(argument).encode()
    raise TypeError(f"a Redis argument is bytes, text or a number, not {type(argument).__name__}")


def connect_redis(connection: RedisConnection) -> "redis.Redis":
    """A client that opens its connections when first used.

    Raises:
        StoreRefused: the URL holds a password.
        PermissionError: the password file may be read by others.
    """
    if urlsplit(connection.url).password is not None:
        raise StoreRefused("redis", "url: holds a password, which ends up in logs; name a password_file")
    options: dict[str, Any] = {}
    if connection.username is not None:
        options["username"] = connection.username
    if connection.password_file is not None:
        options["password"] = read_secret(connection.password_file)
    if connection.ca_file is not None:
        options["ssl_ca_certs"] = str(connection.ca_file)
    return redis.Redis.from_url(
        connection.url,
        socket_connect_timeout=CONNECT_TIMEOUT.total_seconds(),
        socket_timeout=REPLY_TIMEOUT.total_seconds(),
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        command_packer=OneWritePacker(),
        **options,
    )


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn redis-py's errors into those of `ray_fraud.stores.errors`."""
    try:
        yield
    except redis.RedisError as error:
        raise meaning_of(error) from error


def meaning_of(error: redis.RedisError) -> StoreError:
    """What the caller should do about `error`."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, redis.OutOfMemoryError):
        return SlowDown("redis", f"{what}; raise maxmemory or free memory", timedelta(seconds=5))
    if isinstance(error, redis.AuthenticationError | redis.exceptions.AuthorizationError):
        return StoreRefused("redis", f"{what}; check username and password_file")
    if isinstance(error, redis.exceptions.NoPermissionError):
        return StoreRefused("redis", f"{what}; let an administrator grant it")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.ReadOnlyError):
        return StoreUnavailable("redis", what)
    if str(error).startswith(PASSING_REPLIES):
        return StoreUnavailable("redis", what)
    return StoreRefused("redis", what)
