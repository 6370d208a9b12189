"""What an error of Redis, Valkey or a cluster of them means: a new client, the same one later, or never.

Sources: the prefixes of error replies in `src/server.c` and `src/cluster.c` of Valkey 9, "Redis cluster
specification", and redis-py, which takes some prefixes off and keeps them as `status_code`.

Never: a value of a command in a message.
"""

from datetime import timedelta
from enum import Enum

import redis
from redis.exceptions import (
    AuthorizationError,
    ClusterError,
    MaxConnectionsError,
    NoPermissionError,
    RedisClusterException,
)

from ray_fraud.stores.errors import SlowDown, StoreError, StoreRefused, StoreUnavailable


class Next(Enum):
    """What the caller does about an error."""

    NEW_CLIENT = "new_client"
    """Try again on new connections, and look again for the server: this one may not be the right one."""
    SAME_CLIENT = "same_client"
    """Try again as it is."""
    LATER = "later"
    """Try again, but less often."""
    NEVER = "never"
    """It can never work."""


BY_PREFIX = {
    "READONLY": Next.NEW_CLIENT,  # a replica, or one that was the master before a fail-over
    "MASTERDOWN": Next.NEW_CLIENT,  # a replica without its master
    "LOADING": Next.NEW_CLIENT,  # it starts; another may have taken its place
    "NOREPLICAS": Next.NEW_CLIENT,  # a master that lost its replicas: the new one may be among them
    "MISCONF": Next.NEW_CLIENT,  # it cannot write to its disk
    "UNBLOCKED": Next.NEW_CLIENT,  # it became a replica meanwhile
    "CLUSTERDOWN": Next.NEW_CLIENT,
    "MOVED": Next.NEW_CLIENT,  # a cluster is there now, or another layout of it
    "ASK": Next.NEW_CLIENT,
    "TRYAGAIN": Next.SAME_CLIENT,  # a slot is on its way to another node
    "BUSY": Next.SAME_CLIENT,  # a script runs
    "OOM": Next.LATER,
}
"""By the first word of the reply; any other one (NOPERM, WRONGTYPE, CROSSSLOT, ERR, …) is `NEVER`."""


def next_step(error: redis.RedisError | RedisClusterException) -> Next:
    """What the table says; a connection that failed asks for a new client."""
    if isinstance(error, RedisClusterException):
        cause = error.__cause__
        return next_step(cause) if isinstance(cause, redis.RedisError) else Next.NEW_CLIENT
    if isinstance(error, redis.AuthenticationError | AuthorizationError | NoPermissionError):
        return Next.NEVER
    prefix = error.status_code or str(error).split(" ", 1)[0]
    if prefix in BY_PREFIX:
        return BY_PREFIX[prefix]
    if isinstance(error, redis.OutOfMemoryError):
        return Next.LATER
    if isinstance(error, MaxConnectionsError):
        return Next.SAME_CLIENT
    if isinstance(error, ClusterError):
        return Next.SAME_CLIENT  # too many redirections: a slot is on its way
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return Next.NEW_CLIENT
    return Next.NEVER


def meaning_of(error: redis.RedisError | RedisClusterException) -> StoreError:
    """The error of the stores' vocabulary that says what the caller does next."""
    what = f"{type(error).__name__}: {error}"
    match next_step(error):
        case Next.NEW_CLIENT | Next.SAME_CLIENT:
            return StoreUnavailable("redis", what)
        case Next.LATER:
            return SlowDown("redis", f"{what}; raise maxmemory or free memory", timedelta(seconds=5))
    cause = error.__cause__ if isinstance(error, RedisClusterException) else error
    if isinstance(cause, redis.AuthenticationError | AuthorizationError):
        return StoreRefused("redis", f"{what}; check username and password_file")
    if isinstance(cause, NoPermissionError):
        return StoreRefused("redis", f"{what}; let an administrator grant it")
    if "DB index" in what:
        return StoreRefused("redis", f"{what}; a cluster has database 0 only: take the number out of the URL")
    return StoreRefused("redis", what)
