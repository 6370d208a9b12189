"""Where the outside systems are and how to log in to them.

Passwords are named by file, never held here, so that this value may be printed, logged and sent to
another process.

Never: opening a connection (each store does), a password in clear.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class KafkaSecurity(StrEnum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SslMode(StrEnum):
    """libpq's names."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class KafkaConnection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bootstrap: str
    """`host:port[,host:port]`."""
    security: KafkaSecurity = KafkaSecurity.PLAINTEXT
    sasl_mechanism: str | None = None
    """SCRAM-SHA-256 or SCRAM-SHA-512; PLAIN is accepted over TLS only."""
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """PEM of the authority that signed the broker's certificate; None: the system's."""
    client_cert_file: Path | None = None
    client_key_file: Path | None = None


class RedisConnection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    """`redis://host:port[,host:port]/db` or `rediss://…`; without a password.

    Of several hosts the master is chosen; nodes of a Redis Cluster lead to all of the cluster."""
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None


class PostgresConnection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    """`postgresql://user@host:port[,host:port]/database`; without a password.

    Of several hosts one that takes writes is chosen (libpq's `target_session_attrs=read-write`)."""
    password_file: Path | None = None
    sslmode: SslMode = SslMode.PREFER
    ca_file: Path | None = None


class LakeLocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    """`file:///folder` or `s3://bucket/prefix`."""
    options: dict[str, str] = {}
    """Object-store options that are no secrets (endpoint, region)."""
    credentials_file: Path | None = None
    """JSON object with the secret options (access key id, secret access key)."""


class Topics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    transactions: str = "transactions"
    dead_letters: str = "transactions.dlq"
    alerts: str = "fraud_alerts"
    labels: str = "transaction_labels"
    partitions: int = 3
    rekey_from: str | None = None
    """A topic with records in any partition, from which `transactions`, then a topic of the platform's own,
    is filled by user (docs/producers.md); None: producers send to `transactions` themselves."""

    @property
    def input(self) -> str:
        """Where producers send."""
        return self.rekey_from or self.transactions

    @property
    def rekey_progress(self) -> str:
        """How far `rekey_from` is in `transactions`; a partition for each of its partitions."""
        return f"{self.transactions}.progress"


class Connections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kafka: KafkaConnection
    redis: RedisConnection
    postgres: PostgresConnection
    lake: LakeLocation
    topics: Topics = Topics()
    card_key_file: Path | None = None
    """32 random bytes, hex: the key of card tokens. None: a card number is refused."""
    user_key_file: Path | None = None
    """32 random bytes, hex: the key of the numbers of user ids that are text. None: such ids are refused.

    Another key would make each such user a new one, so it is refused once numbers are on record."""


def to_json(value: msgspec.Struct) -> bytes:
    """A configuration as JSON; paths as text."""
    return msgspec.json.encode(value, enc_hook=str)


def from_json(content: bytes, kind: type[T]) -> T:
    """The inverse of `to_json`.

    Raises:
        msgspec.ValidationError: the content is something else; the message names the field.
    """
    return msgspec.json.decode(content, type=kind, dec_hook=_path)


def _path(wanted: type, value: Any) -> Any:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(wanted)


def read_secret(path: Path) -> str:
    """The content of a secret file without the final newline.

    Raises:
        PermissionError: the file may be read by others than its owner.
    """
    mode = path.stat().st_mode & 0o077
    if mode:
        raise PermissionError(f"{path}: mode lets others in (…{mode:03o}); run: chmod 600 {path}")
    return path.read_text().rstrip("\n")
