"""The live versions with what they alerted, what analysts said of it, and how they score.

Never: a version that is not live; alerts of another rule, which a version did not decide.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.live_comparison import (
    LiveFigures,
    LiveVersion,
    MatureAlerts,
    ModelAlerts,
    ModelScores,
    Role,
    live_comparison,
)
from ray_fraud.stores.ledger.queries import AlertFilter, AlertQueries
from ray_fraud.stores.ledger.registry import LIVE, ModelStatus, ModelVersion


def own_alerts(alerts: AlertQueries, row: ModelVersion, mature_ms: int | None) -> ModelAlerts:
    """What the version alerted by its own score since it went live; nothing if it is not.

    When it was stored decides what is since then, whatever the times of records: these may be a replay's.

    Args:
        mature_ms: alerts of earlier transactions (event time, unix milliseconds) are mature; None: none is.
    """
    nothing = ModelAlerts(row.label, 0, 0, 0)
    if row.status not in LIVE:
        return nothing
    own = AlertFilter(source=Source.HOT, rule_name=RuleName.ML_ANOMALY, stored_since_ms=row.deployed_at_ms)
    made = alerts.count_by_model(own).get(row.label, nothing)
    if mature_ms is None or not made.alerts:
        return made
    older = msgspec.structs.replace(own, event_until_ms=mature_ms)
    mature = alerts.count_by_model(older).get(row.label, nothing)
    found = MatureAlerts(mature.alerts, mature.frauds, mature.false_alerts)
    return msgspec.structs.replace(made, mature=found)


def live_figures(
    versions: Sequence[ModelVersion],
    alerts: AlertQueries,
    scores: Mapping[str, ModelScores],
    mature_ms: int | None,
) -> list[LiveFigures]:
    """The live ones among the versions, production first, then by label; `mature_ms`: see `own_alerts`."""
    live = [row for row in versions if row.status in LIVE]
    live.sort(key=lambda row: (row.status is not ModelStatus.PRODUCTION, row.model_name, row.version))
    compared = [LiveVersion(row.label, Role(row.status.value), row.share_bp) for row in live]
    made = {row.label: own_alerts(alerts, row, mature_ms) for row in live}
    return live_comparison(compared, made, scores)
