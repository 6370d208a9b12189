"""The live versions with what they alerted, what analysts said of it, and how they score.

Never: a version that is not live; alerts of another rule, which a version did not decide.
"""

from collections.abc import Mapping, Sequence

from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.live_comparison import (
    LiveFigures,
    LiveVersion,
    ModelAlerts,
    ModelScores,
    Role,
    live_comparison,
)
from ray_fraud.stores.ledger.queries import AlertFilter, AlertQueries
from ray_fraud.stores.ledger.registry import LIVE, ModelStatus, ModelVersion


def own_alerts(alerts: AlertQueries, row: ModelVersion) -> ModelAlerts:
    """What the version alerted by its own score since it went live; nothing if it is not."""
    nothing = ModelAlerts(row.label, 0, 0, 0)
    if row.status not in LIVE:
        return nothing
    own = AlertFilter(source=Source.HOT, rule_name=RuleName.ML_ANOMALY, since_ms=row.deployed_at_ms)
    return alerts.count_by_model(own).get(row.label, nothing)


def live_figures(
    versions: Sequence[ModelVersion], alerts: AlertQueries, scores: Mapping[str, ModelScores]
) -> list[LiveFigures]:
    """The live ones among the versions, production first, then by label."""
    live = [row for row in versions if row.status in LIVE]
    live.sort(key=lambda row: (row.status is not ModelStatus.PRODUCTION, row.model_name, row.version))
    compared = [LiveVersion(row.label, Role(row.status.value), row.share_bp) for row in live]
    return live_comparison(compared, {row.label: own_alerts(alerts, row) for row in live}, scores)
