"""Metrics of locations that say nothing about where a card was.

Never: a location.
"""

from ray_fraud.domain.metric import Metric, MetricKind

PLACEHOLDER_LOCATIONS = Metric(
    "fraud_detection_placeholder_locations_total",
    MetricKind.COUNTER,
    "transactions",
    "Location lat = lon = 0, which means unknown: taken as none. Many: a producer should leave it out.",
)
SHARED_PLACE_ROWS = Metric(
    "fraud_detection_shared_place_rows",
    MetricKind.GAUGE,
    "rows",
    "Of the last ingest, at coordinates shared by unusually many users, cities or merchants: perhaps a "
    "country's middle. `ray-fraud batch status` shows them.",
)

PLACE_METRICS: tuple[Metric, ...] = (PLACEHOLDER_LOCATIONS, SHARED_PLACE_ROWS)
