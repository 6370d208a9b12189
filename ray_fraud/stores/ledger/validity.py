"""Which alerts PostgreSQL can hold at all.

Asked before an insert, so that one impossible value is reported for its alert and never stops the others.

Never: a judgement of the alert's content.
"""

import math

import msgspec

from ray_fraud.domain.alert import Alert

MAX_BIGINT = 2**63 - 1
MAX_INTEGER = 2**31 - 1
MAX_SECONDS = 253_402_300_800
"""Year 10,000: later times are stored, but Python cannot read them back."""


def why_invalid(alert: Alert) -> str | None:
    """The reason, naming field and rule, or None if the alert can be stored."""
    return _bad_number(alert) or _bad_text(alert)


def _bad_number(alert: Alert) -> str | None:
    limits = {
        "user_id": (alert.user_id, MAX_BIGINT),
        "offset": (alert.offset, MAX_BIGINT),
        "partition": (alert.partition, MAX_INTEGER),
        "record_timestamp_ms": (alert.record_timestamp_ms, MAX_SECONDS * 1000 - 1),
    }
    for name, (number, limit) in limits.items():
        if not 0 <= number <= limit:
            return f"{name}: {number} is not in 0 … {limit}"
    if not 0 <= alert.event_time < MAX_SECONDS:
        return f"event_time: {alert.event_time} is not in 0 … {MAX_SECONDS}"
    for name, value in (("lat", alert.lat), ("lon", alert.lon), ("score", alert.score)):
        if value is not None and not math.isfinite(value):
            return f"{name}: {value} is not finite"
    return None


def _bad_text(alert: Alert) -> str | None:
    try:
        content = msgspec.json.encode(alert)
        if b"\\u0000" in content and "\0" in _all_text(msgspec.json.decode(content)):
            return "holds the character NUL, which PostgreSQL cannot store"
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError) as error:
        return f"cannot be written as JSON: {type(error).__name__}"
    return None


def _all_text(content: object) -> str:
    if isinstance(content, dict):
        return "".join(key + _all_text(value) for key, value in content.items())
    if isinstance(content, list):
        return "".join(map(_all_text, content))
    return content if isinstance(content, str) else ""
