"""Dates, times and durations on the command line.

Never: a local time zone: UTC unless a time says otherwise.
"""

import re
from datetime import UTC, datetime, timedelta

import click

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)")
_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_of(value: str) -> int:
    """A date (its first moment) or a time as unix milliseconds; UTC unless it says otherwise.

    Raises:
        click.BadParameter
    """
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no date or time; write 2026-11-25 or 2026-11-25T13:30:00Z"
        ) from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)


def required_moment(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """The callback of an option that is always there."""
    return moment_of(value)


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    return None if value is None else moment_of(value)


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Milliseconds of `90s`, `15m`, `36h` or `7d`, above 0."""
    if value is None:
        return None
    found = _DURATION.fullmatch(value.strip())
    milliseconds = round(float(found[1]) * _MS[found[2]]) if found else 0
    if milliseconds < 1:
        raise click.BadParameter(f"{value!r} is no duration above 0; write 90s, 15m, 36h or 7d")
    return milliseconds


def shown_moment(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
