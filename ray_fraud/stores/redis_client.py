"""How a client of one Redis connects and sends.

Never: a password in a URL, a log line or an error; a retry (the caller knows whether and when).
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ray_fraud.stores.connections import RedisConnection, read_secret
from ray_fraud.stores.errors import StoreRefused

CONNECT_TIMEOUT = timedelta(seconds=2)
REPLY_TIMEOUT = timedelta(seconds=5)
"""Longer than a stall of one second for the append-only file, shorter than anyone wants to wait."""


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


def no_retries() -> Retry:
    """The caller knows whether and when."""
    return Retry(NoBackoff(), 0)


def client_options(connection: RedisConnection) -> dict[str, Any]:
    """Log-in, TLS and time limits, for a client of one server and for that of a cluster.

    Raises:
        StoreRefused: the URL holds a password.
        PermissionError: the password file may be read by others.
    """
    if urlsplit(connection.url).password is not None:
        raise StoreRefused("redis", "url: holds a password, which ends up in logs; name a password_file")
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT.total_seconds(),
        "socket_timeout": REPLY_TIMEOUT.total_seconds(),
        "socket_keepalive": True,
        "protocol": 2,
    }
    if connection.username is not None:
        options["username"] = connection.username
    if connection.password_file is not None:
        options["password"] = read_secret(connection.password_file)
    if connection.ca_file is not None:
        options["ssl_ca_certs"] = str(connection.ca_file)
    return options


def connect_redis(connection: RedisConnection) -> "redis.Redis":
    """A client of one server that opens its connections when first used.

    Raises:
        StoreRefused, PermissionError: as `client_options`.
    """
    return redis.Redis.from_url(
        connection.url, retry=no_retries(), command_packer=OneWritePacker(), **client_options(connection)
    )
