"""What a metric of the catalogue is.

Never: a metric (see `ray_fraud.domain.metrics`).
"""

from enum import StrEnum

import msgspec


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """One metric; `labels` maps each label to its closed set, None for a number: of a partition, or of a
    model's version."""

    name: str
    kind: MetricKind
    unit: str
    help: str
    """What it tells and what an operator does about it."""
    labels: dict[str, tuple[str, ...] | None] = {}
    buckets: tuple[float, ...] = ()
