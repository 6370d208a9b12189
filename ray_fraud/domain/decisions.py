"""From rows and scores to alerts.

Never: state; deciding the same batch twice gives equal alerts.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.alert import Alert, RuleName, Source, alert_uid
from ray_fraud.domain.explanation import Explain, explanation
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.geo import E7
from ray_fraud.domain.observed import Effects, Observed, Row
from ray_fraud.domain.rules import RuleHit, ml_anomaly
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Arm
from ray_fraud.domain.transaction import Transaction
from ray_fraud.domain.user_state import ExactEvent, decode_state

LAST_TRANSACTIONS = 5
"""How many of the user's earlier transactions an alert shows."""


class ScoresMismatchError(Exception):
    """Scores that do not fit the rows they are meant for; a defect of the scorer, never of the data."""


def decide(
    partition: int, observed: Observed, scores: Scores | None, explain: Explain | None = None
) -> Effects:
    """The effects of one batch: alerts in the order of offset and rule, and its dead letters.

    `explain` is asked for each alert of a model, and for nothing else; None: alerts carry no explanation.

    Raises:
        ScoresMismatchError: no scores although the split has arms, another number of scores than rows, or
            an arm that the split does not have.
    """
    anomalous = _anomalous_rows(observed, scores)
    alerts: list[Alert] = []
    for index, row in enumerate(observed.rows):
        if not row.hits and index not in anomalous:
            continue
        score: float | None = None
        arm: Arm | None = None
        hits = row.hits
        explained: dict[RuleName, dict[str, Any]] = {}
        if scores is not None and observed.split.arms:
            score = float(scores.values[index])
            arm = observed.split.arms[scores.arms[index]]
            if index in anomalous:
                hits = (*hits, ml_anomaly(score, arm, observed.settings.ml_anomaly))
                explained[RuleName.ML_ANOMALY] = _explained(observed, index, int(scores.arms[index]), explain)
        details = _details(row, observed.features[index])
        alerts += [
            _alert(partition, row, hit, score, arm, details | explained.get(hit.rule, {})) for hit in hits
        ]
    return Effects(alerts, observed.dead_letters, observed.next_offset)


def _anomalous_rows(observed: Observed, scores: Scores | None) -> frozenset[int]:
    """Indexes of the rows whose score is above the threshold of their arm."""
    arms = observed.split.arms
    if not arms:
        return frozenset()
    if scores is None or len(scores) != len(observed.rows):
        raise ScoresMismatchError(
            f"offsets {observed.from_offset} to {observed.next_offset}: {len(observed.rows)} rows under "
            f"{len(arms)} models, {'no' if scores is None else len(scores)} scores"
        )
    if not len(scores):
        return frozenset()
    if scores.arms.max() >= len(arms):
        raise ScoresMismatchError(f"arm {scores.arms.max()} was scored, the split has {len(arms)}")
    thresholds = np.array([arm.threshold for arm in arms])
    return frozenset(np.flatnonzero(scores.values > thresholds[scores.arms]).tolist())


def _explained(observed: Observed, index: int, arm: int, explain: Explain | None) -> dict[str, Any]:
    """The detail `explanation` of a row that a model found anomalous; none if the model cannot say."""
    features = observed.features[index]
    pushes = None if explain is None else explain(observed.split, arm, features)
    return {} if pushes is None else {"explanation": explanation(pushes, features)}


def _alert(
    partition: int, row: Row, hit: RuleHit, score: float | None, arm: Arm | None, details: dict[str, Any]
) -> Alert:
    transaction = row.transaction
    place = transaction.place
    return Alert(
        alert_uid=alert_uid(transaction.transaction_id, transaction.user_id, hit.rule, row.digest),
        transaction_id=transaction.transaction_id,
        user_id=transaction.user_id,
        rule_name=hit.rule,
        severity=hit.severity,
        reason=hit.reason,
        event_time=transaction.timestamp,
        record_timestamp_ms=row.timestamp_ms,
        partition=partition,
        offset=row.offset,
        lat=place.lat if place else None,
        lon=place.lon if place else None,
        score=score,
        model_version=arm.label if arm else None,
        source=Source.HOT,
        details=details | {"neighbour": msgspec.structs.asdict(hit.neighbour) if hit.neighbour else None},
    )


def _details(row: Row, features: NDArray[np.float32]) -> dict[str, Any]:
    """What an analyst needs beside the alert itself; the neighbour is added per rule."""
    return {
        "transaction": _shown(row.transaction),
        "features": {
            # The shortest decimal of a float32: 4812.1, not 4812.10009765625.
            name: None if np.isnan(value) else float(str(value))
            for name, value in zip(FEATURE_NAMES, features, strict=True)
        },
        "last_transactions": [_remembered(event) for event in _before(row)],
    }


def _shown(transaction: Transaction) -> dict[str, Any]:
    """All fields; of the card only the masked number for display."""
    shown: dict[str, Any] = msgspec.to_builtins(transaction)
    if transaction.user_text is None:
        del shown["user_text"]
    card = transaction.card
    return shown | {"card": f"{card.first6}******{card.last4}" if card else None}


def _before(row: Row) -> list[ExactEvent]:
    """The user's last transactions before this one in event time, as far as they are remembered exactly."""
    events = decode_state(row.state).events
    at = next((index for index, event in enumerate(events) if event.digest == row.digest), 0)
    return events[max(0, at - LAST_TRANSACTIONS) : at]


def _remembered(event: ExactEvent) -> dict[str, float | None]:
    place = event.place
    return {
        "event_time": event.event_ms / 1000,
        "amount": event.amount,
        "lat": place.lat_e7 / E7 if place else None,
        "lon": place.lon_e7 / E7 if place else None,
    }
