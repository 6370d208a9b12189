"""Servers of the user's own, from simple addresses and a connections file.

Never: a password: one inside an address is refused, and never repeated in a message.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec

from cluster.local.stack_record import ExternalServers
from ray_fraud.stores.connections import (
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)

SCHEMES = {
    "redis": ("redis", "rediss"),
    "postgres": ("postgresql", "postgres"),
    "lake": ("file", "s3"),
}
_BOOTSTRAP = re.compile(r"[^\s,:/@]+:\d{1,5}(,[^\s,:/@]+:\d{1,5})*|\[[0-9a-fA-F:]+\]:\d{1,5}")
_USE_A_FILE = (
    "holds a password, which would end up in logs and process lists: write it to a file that only you can "
    "read (chmod 600) and name that file as `password_file` in a file for --connections"
)
_FILE_FIELDS = ("password_file", "ca_file", "client_cert_file", "client_key_file", "credentials_file")


class ExternalServersError(ValueError):
    """An address or a connections file that cannot be used; the message says which and why."""


def read_external(file: Path) -> ExternalServers:
    """The servers in a JSON or TOML file; files that it names are relative to its own folder.

    Raises:
        ExternalServersError: it cannot be read, or a field is unknown, wrong, or holds a password.
    """
    try:
        content = file.read_bytes()
        decode = msgspec.toml.decode if file.suffix == ".toml" else msgspec.json.decode
        servers = msgspec.convert(decode(content), ExternalServers, dec_hook=_path)
    except OSError as error:
        raise ExternalServersError(f"{file}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ExternalServersError(f"{file}: {error}") from error
    try:
        _check(servers)
    except ExternalServersError as error:
        raise ExternalServersError(f"{file}: {error}") from error
    return _with_absolute_files(servers, file.resolve().parent)


def with_addresses(
    servers: ExternalServers,
    *,
    kafka: str | None = None,
    redis: str | None = None,
    postgres: str | None = None,
    lake: str | None = None,
) -> ExternalServers:
    """`servers` with other addresses for those given; log-in and TLS of the same server stay.

    Raises:
        ExternalServersError: an address has another form than it must, or holds a password.
    """
    changes: dict[str, Any] = {}
    if kafka is not None:
        changes["kafka"] = _replaced(servers.kafka, KafkaConnection, bootstrap=kafka)
    if redis is not None:
        changes["redis"] = _replaced(servers.redis, RedisConnection, url=redis)
    if postgres is not None:
        changes["postgres"] = _replaced(servers.postgres, PostgresConnection, url=postgres)
    if lake is not None:
        changes["lake"] = _replaced(servers.lake, LakeLocation, url=lake)
    changed = msgspec.structs.replace(servers, **changes)
    _check(changed)
    return changed


def _replaced(known: msgspec.Struct | None, kind: type[msgspec.Struct], **address: str) -> msgspec.Struct:
    return kind(**address) if known is None else msgspec.structs.replace(known, **address)


def _check(servers: ExternalServers) -> None:
    if servers.kafka is not None and not _BOOTSTRAP.fullmatch(servers.kafka.bootstrap):
        raise ExternalServersError("kafka: the address must be host:port[,host:port]")
    addresses = {"redis": servers.redis, "postgres": servers.postgres, "lake": servers.lake}
    for name, server in addresses.items():
        if server is not None:
            _check_url(name, server.url)


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        hidden = parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True)
        place = parts.path if parts.scheme == "file" else parts.netloc
        usable = parts.scheme in SCHEMES[name] and bool(place)
        if name != "lake":
            _check_ports(parts)
    except ValueError:
        # Not repeated: it may hold a password in a place where none is looked for.
        raise ExternalServersError(f"{name}: the address is no URL") from None
    if hidden:
        raise ExternalServersError(f"{name}: the address {_USE_A_FILE}")
    if not usable:
        raise ExternalServersError(f"{name}: the address must start with {' or '.join(_forms(name))}")


def _check_ports(parts: SplitResult) -> None:
    """Each of several hosts (`user@a:1,b:2`) on its own; raises ValueError for what is no port."""
    login, _, hosts = parts.netloc.rpartition("@")
    for host in hosts.split(","):
        _ = parts._replace(netloc=f"{login}@{host}").port


def _forms(name: str) -> list[str]:
    return [f"{scheme}:///folder" if scheme == "file" else f"{scheme}://" for scheme in SCHEMES[name]]


def _with_absolute_files(servers: ExternalServers, folder: Path) -> ExternalServers:
    """The actors that open them run elsewhere."""
    changes: dict[str, Any] = {}
    for name in ("kafka", "redis", "postgres", "lake"):
        server = getattr(servers, name)
        files = {field: getattr(server, field, None) for field in _FILE_FIELDS}
        named = {
            field: _readable(name, field, _absolute(path, folder))
            for field, path in files.items()
            if path is not None
        }
        if named:
            changes[name] = msgspec.structs.replace(server, **named)
    if servers.card_key_file is not None:
        changes["card_key_file"] = _absolute(servers.card_key_file, folder)
    if servers.user_key_file is not None:
        changes["user_key_file"] = _absolute(servers.user_key_file, folder)
    return msgspec.structs.replace(servers, **changes)


def _readable(server: str, field: str, file: Path) -> Path:
    """Looked at now: later it would be an error of an actor, somewhere."""
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise ExternalServersError(f"{server}.{field}: {file} cannot be read: {error.strerror}") from None


def _absolute(file: Path, folder: Path) -> Path:
    return folder / file.expanduser()


def _path(wanted: type, value: Any) -> Any:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(wanted)
