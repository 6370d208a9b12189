"""What all Kafka clients share: their settings, the meaning of their errors, the text form of a topic id.

Never: a password in a log line or an error, topics that make themselves.
"""

import base64
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from ray_fraud.stores.connections import KafkaConnection, KafkaSecurity, read_secret
from ray_fraud.stores.errors import RecordTooLarge, SlowDown, StoreError, StoreRefused, StoreUnavailable

BOOTSTRAP_TIMEOUT = timedelta(seconds=10)
REQUEST_TIMEOUT = timedelta(seconds=10)
"""Also how long a half-open connection stays unnoticed."""
RECONNECT_PAUSE = timedelta(seconds=1)
"""The longest pause between attempts, jittered by the client; its default of 30 s is a long outage."""

TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
REFUSED = (
    kafka_errors.InvalidTimestampError,
    kafka_errors.InvalidRecordError,
    kafka_errors.InvalidTopicError,
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.UnsupportedVersionError,
    kafka_errors.PolicyViolationError,
    kafka_errors.InvalidConfigurationError,
    kafka_errors.InvalidPartitionsError,
    kafka_errors.InvalidReplicationFactorError,
    kafka_errors.KafkaConfigurationError,
)

# Its debug line holds the whole configuration, password included.
logging.getLogger("kafka.admin.client").setLevel(logging.INFO)


def client_settings(connection: KafkaConnection) -> dict[str, Any]:
    """The settings that consumer, producer and admin client have in common.

    Raises:
        StoreRefused: the connection contradicts itself.
        PermissionError: the password file may be read by others.
    """
    settings: dict[str, Any] = {
        "bootstrap_servers": connection.bootstrap.split(","),
        "client_id": "ray-fraud",
        "security_protocol": connection.security.value,
        "bootstrap_timeout_ms": _ms(BOOTSTRAP_TIMEOUT),
        "request_timeout_ms": _ms(REQUEST_TIMEOUT),
        "reconnect_backoff_max_ms": _ms(RECONNECT_PAUSE),
    }
    if connection.security in (KafkaSecurity.SSL, KafkaSecurity.SASL_SSL):
        settings["ssl_cafile"] = _path(connection.ca_file)
        settings["ssl_certfile"] = _path(connection.client_cert_file)
        settings["ssl_keyfile"] = _path(connection.client_key_file)
    if connection.security in (KafkaSecurity.SASL_PLAINTEXT, KafkaSecurity.SASL_SSL):
        settings |= _sasl_settings(connection)
    return settings


def _sasl_settings(connection: KafkaConnection) -> dict[str, Any]:
    mechanism, username, password_file = (
        connection.sasl_mechanism,
        connection.username,
        connection.password_file,
    )
    if mechanism is None or username is None or password_file is None:
        raise StoreRefused(
            "kafka", f"security {connection.security}: needs sasl_mechanism, username and password_file"
        )
    if mechanism == "PLAIN" and connection.security is KafkaSecurity.SASL_PLAINTEXT:
        raise StoreRefused(
            "kafka", "sasl_mechanism PLAIN sends the password in clear: use it with SASL_SSL only"
        )
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": username,
        "sasl_plain_password": read_secret(password_file),
    }


@contextmanager
def opening(connection: KafkaConnection) -> Iterator[dict[str, Any]]:
    """The settings for one client that is made inside of the block.

    kafka-python leaves the thread of a client behind whose first connection failed; here it is ended.

    Raises:
        StoreUnavailable: no broker answers, or it hung up on a wrong username or password.
        StoreRefused: see `client_settings`.
    """
    made: list[KafkaNetClient] = []

    def make(**configuration: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**configuration))
        return made[-1]

    try:
        yield {**client_settings(connection), "kafka_client": make}
    except kafka_errors.KafkaError as error:
        for client in made:
            client.close()
        hint = (
            "" if connection.username is None else " (some brokers hang up on a wrong username or password)"
        )
        raise StoreUnavailable("kafka", f"{error}{hint}") from error


@contextmanager
def kafka_errors_told_apart() -> Iterator[None]:
    """Turn kafka-python's errors into those of `ray_fraud.stores.errors`."""
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise meaning_of(error) from error


def meaning_of(error: kafka_errors.KafkaError) -> StoreError:
    """What the caller should do about `error`."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, kafka_errors.ThrottlingQuotaExceededError | kafka_errors.QuotaViolationError):
        return SlowDown("kafka", what, timedelta(seconds=1))
    if isinstance(error, TOO_LARGE):
        return RecordTooLarge("kafka", what)
    if isinstance(error, REFUSED):
        return StoreRefused("kafka", what)
    return StoreUnavailable("kafka", what)


def topic_id_text(topic_id: uuid.UUID) -> str:
    """The 22 characters that Kafka's own tools print."""
    return base64.urlsafe_b64encode(topic_id.bytes).decode().rstrip("=")


def topic_uuid(text: str) -> uuid.UUID:
    """The inverse of `topic_id_text`.

    Raises:
        StoreRefused: not such a text.
    """
    try:
        return uuid.UUID(bytes=base64.urlsafe_b64decode(text + "=="))
    except ValueError as error:
        raise StoreRefused("kafka", f"topic id {text!r} is not a UUID as Kafka's tools print it") from error


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _path(path: object) -> str | None:
    return None if path is None else str(path)
