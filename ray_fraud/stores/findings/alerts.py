"""The alert that stands for a finding.

It is the finding's first member as far as a transaction is asked for, since that stays the same when the
pattern grows; the details hold the others. They grow with it until an analyst has judged the alert: a verdict
stays with what it was given for.

Never: a second identity: the alert's uid is the finding's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ray_fraud.domain.alert import Alert, Source
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.findings.port import Member, Pattern
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.validity import why_invalid

SHOWN_MEMBERS = 100


def check_alert(alert: Alert) -> None:
    """Raises `StoreRefused` for an alert that PostgreSQL cannot hold; the message names field and rule."""
    reason = why_invalid(alert)
    if reason is not None:
        raise StoreRefused(STORE, f"finding of {alert.rule_name}: {reason}")


def alert_of(pattern: Pattern, members: tuple[Member, ...]) -> Alert:
    """The alert of a new finding with these members."""
    first = members[0]
    return Alert(
        alert_uid=pattern.uid,
        transaction_id=first.transaction_id,
        user_id=first.user_id,
        rule_name=pattern.rule,
        severity=pattern.severity,
        reason=pattern.reason,
        event_time=first.event_ms / 1000,
        record_timestamp_ms=first.record_ms,
        partition=first.place.partition,
        offset=first.place.offset,
        lat=first.lat,
        lon=first.lon,
        score=None,
        model_version=None,
        source=Source.COLD,
        details={"subject": pattern.subject, **details_of(members)},
    )


def details_of(members: Sequence[Member]) -> dict[str, Any]:
    """What an alert's details tell of members."""
    return {
        "users": sorted({member.user_id for member in members}),
        "transactions": [
            {
                "transaction_id": member.transaction_id,
                "user_id": member.user_id,
                "event_time": member.event_ms / 1000,
                "amount": member.amount,
            }
            for member in members[:SHOWN_MEMBERS]
        ],
        "members": len(members),
    }


def grown(details: Mapping[str, Any], members: Sequence[Member]) -> dict[str, Any]:
    """An alert's details with these members more; `_GROW_ALERTS` of `postgres.py` does the same."""
    more = details_of(members)
    return {
        **details,
        "users": sorted({*details["users"], *more["users"]}),
        "transactions": [*details["transactions"], *more["transactions"]][:SHOWN_MEMBERS],
        "members": details["members"] + more["members"],
    }
