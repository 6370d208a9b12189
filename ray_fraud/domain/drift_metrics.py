"""The part of the catalogue that tells whether models still know what comes in, and learn of it.

Never: recording anything; a value that is set here and not in the catalogue.
"""

from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.live_comparison import Role
from ray_fraud.domain.metric import Metric, MetricKind

FEATURE_DRIFT = Metric(
    "fraud_detection_feature_drift",
    MetricKind.GAUGE,
    "psi",
    "Stability index of a feature of the production model: the last day against its training. Above 0.25: "
    "look where it comes from (`ray-fraud models show`), then train.",
    {"feature": FEATURE_NAMES},
)
SCORE_DRIFT = Metric(
    "fraud_detection_score_drift",
    MetricKind.GAUGE,
    "psi",
    "The same of the scores of live versions; of several of one role the biggest.",
    {"role": tuple(Role)},
)
DRIFT_ALARMS = Metric(
    "fraud_detection_drift_alarms",
    MetricKind.GAUGE,
    "values",
    "Features and scores whose drift is above the bound of the settings; the batch's log names them.",
)
VERDICTS_MISSING = Metric(
    "fraud_detection_verdicts_missing_ratio",
    MetricKind.GAUGE,
    "ratio",
    "Alerts that have waited a week (a setting) and have no verdict. Rising: analysts fall behind, and "
    "models learn from fewer of them.",
)
VERDICTS_LATE = Metric(
    "fraud_detection_verdicts_late_ratio",
    MetricKind.GAUGE,
    "ratio",
    "Judged transactions whose first verdict took longer than that: trainings had them as legitimate.",
)

DRIFT_METRICS: tuple[Metric, ...] = (
    FEATURE_DRIFT,
    SCORE_DRIFT,
    DRIFT_ALARMS,
    VERDICTS_MISSING,
    VERDICTS_LATE,
)
