"""An alert, its identity and its closed sets of names.

Never: a clock, a random id: a replay makes the same alert under the same uid.
"""

import uuid
from enum import StrEnum
from typing import Any

import msgspec

ALERT_NAMESPACE = uuid.UUID("5f0f3a3e-8a51-5c0c-9c1e-2f1d6b7a9e10")
"""Namespace of alert uids; changing it would give every alert a second identity."""


class RuleName(StrEnum):
    """The hot rules, in the order in which one transaction's alerts are listed, then the cold ones."""

    HIGH_AMOUNT = "high_amount"
    GEO_VELOCITY = "geo_velocity"
    ML_ANOMALY = "ml_anomaly"
    FREQUENCY = "frequency"
    SMALL_AMOUNTS = "small_amounts"
    GEOGRAPHIC_CLUSTER = "geographic_cluster"
    UNUSUAL_HOURS = "unusual_hours"
    BURST = "burst"
    ROBOT = "robot"
    COORDINATED = "coordinated"


HOT_RULES = (RuleName.HIGH_AMOUNT, RuleName.GEO_VELOCITY, RuleName.ML_ANOMALY)
"""What one transaction can break; only their alerts go to the topic."""


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Source(StrEnum):
    HOT = "hot"
    COLD = "cold"


def alert_uid(transaction_id: str, user_id: int, rule_name: str, payload_digest: bytes) -> uuid.UUID:
    """UUIDv5 of (transaction id, user id, rule, payload digest); no clock, no model version.

    The free text comes last, so no choice of transaction id can imitate another alert's name.
    """
    name = f"{user_id}:{rule_name}:{payload_digest.hex()}:{transaction_id}"
    return uuid.uuid5(ALERT_NAMESPACE, name)


class Alert(msgspec.Struct, frozen=True):
    """One alert, as the topic `fraud_alerts` carries it and PostgreSQL stores it."""

    alert_uid: uuid.UUID
    transaction_id: str
    user_id: int
    rule_name: RuleName
    severity: Severity
    reason: str
    """A sentence with the numbers in it."""
    event_time: float
    """Unix seconds, from the transaction."""
    record_timestamp_ms: int
    """Kafka timestamp of the transaction's record: latency is measured from it."""
    partition: int
    offset: int
    lat: float | None
    lon: float | None
    score: float | None
    """The model's score, where a model scored the transaction."""
    model_version: str | None
    """`name:version` of the model that gave the score."""
    source: Source
    details: dict[str, Any]
    """The transaction, the compared neighbour, the features, the user's last transactions, and for a model's
    alert the explanation, see `ray_fraud.domain.explanation`."""
    schema_version: int = 1
