"""The part of the catalogue that tells what each model version costs to score.

One call of the scorer scores the rows of all versions, one version after the other; these are their parts.

Never: recording anything; a label for every name that somebody may register.
"""

from ray_fraud.domain.metric import Metric, MetricKind
from ray_fraud.domain.split import Arm

OTHER = "other"
NAMES = ("isolation_forest", "random_forest", "gradient_boosting", OTHER)
"""Names of models, which are those of the algorithms; any other one counts as `other`."""
VERSION: dict[str, tuple[str, ...] | None] = {"model": NAMES, "version": None}

VERSION_SECONDS = Metric(
    "fraud_detection_model_scoring_seconds",
    MetricKind.HISTOGRAM,
    "seconds",
    "Computing one call's scores of one version, without the way to the scorer. A version far above the "
    "others per row (see the rows): `ray-fraud models compare`.",
    VERSION,
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
VERSION_ROWS = Metric(
    "fraud_detection_model_scored_rows_total",
    MetricKind.COUNTER,
    "transactions",
    "Scored by one version in these calls. Few rows a call are cheap by call and dear by row.",
    VERSION,
)

VERSION_METRICS: tuple[Metric, ...] = (VERSION_SECONDS, VERSION_ROWS)


def version_labels(arm: Arm) -> dict[str, str]:
    """The labels of an arm's version."""
    return {"model": arm.model_name if arm.model_name in NAMES else OTHER, "version": str(arm.version)}
