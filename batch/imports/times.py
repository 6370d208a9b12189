"""Times as files write them, as unix seconds.

Never: the clock; a zone that is guessed: what names none is in the mapping's, which is UTC unless it says so.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal as Exact
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from batch.imports.column_map import ImportRefused
from batch.imports.form import PLAIN, Form, TimeUnit
from batch.imports.numbers import number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_begins_like_a_date = re.compile(r"\d{4}-\d\d?-\d\d?").match
_slashes = re.compile(r"(\d{4})/(\d\d?)/(\d\d?)(?=\D|$)")
_short = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?=\D|$)")
_zone_at_the_end = re.compile(r"(.*[0-9])\s*(UTC|GMT|[A-Z][A-Za-z_]+/[A-Za-z_/+\-0-9]+)").fullmatch
_number = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII).fullmatch
_US_PER_UNIT = {
    TimeUnit.DAYS: Exact(86_400_000_000),
    TimeUnit.HOURS: Exact(3_600_000_000),
    TimeUnit.MINUTES: Exact(60_000_000),
    TimeUnit.SECONDS: Exact(1_000_000),
    TimeUnit.MILLISECONDS: Exact(1_000),
    TimeUnit.MICROSECONDS: Exact(1),
    TimeUnit.NANOSECONDS: Exact("0.001"),
}
_MOST_US = 10**20


class Times:
    """What a cell's time is, under one form."""

    def __init__(self, form: Form = PLAIN) -> None:
        """Raises ImportRefused if the form's origin is no time."""
        self._zone: tzinfo = UTC if form.time_zone is None else ZoneInfo(form.time_zone)
        self._format = form.time_format
        self._relative = form.is_relative
        self._unit = _US_PER_UNIT[form.time_unit or TimeUnit.SECONDS]
        self._origin_us = 0
        if form.time_origin is not None:
            at = _moment(form.time_origin, self._zone)
            if at is None:
                raise ImportRefused(
                    f"time_origin: {form.time_origin!r} is no date or time; give one like 2018-01-01"
                )
            self._origin_us = (at - _EPOCH) // _US

    @property
    def is_relative(self) -> bool:
        return self._relative

    def of(self, cell: Any) -> Any:
        """Unix seconds, or the cell as it is if it is no time."""
        if not isinstance(cell, str):
            return self._since(cell) if self._relative else cell
        if self._format is not None:
            return self._formatted(cell)
        seconds = iso_seconds(cell, self._zone)
        if seconds is not None:
            return seconds
        return self._since(cell) if self._relative else number(cell)

    def _since(self, cell: Any) -> Any:
        if isinstance(cell, bool) or (isinstance(cell, str) and _number(cell.strip()) is None):
            return cell
        try:
            passed = Exact(cell.strip() if isinstance(cell, str) else repr(cell)) * self._unit
        except ArithmeticError:
            return cell
        if not passed.is_finite() or abs(passed) > _MOST_US:
            return cell
        return (self._origin_us + round(passed)) / 1e6

    def _formatted(self, cell: str) -> Any:
        try:
            at = datetime.strptime(cell.strip(), self._format or "")  # noqa: DTZ007 - the next line gives one
        except ValueError:
            return cell
        return (at.replace(tzinfo=at.tzinfo or self._zone) - _EPOCH).total_seconds()


def joined_time(cells: Sequence[Any]) -> str | None:
    """A date and a time in several cells as one text: year, month, day, the rest; or a date and the rest."""
    if len(cells) == 4 and all(cells[:3]) and isinstance(cells[3], str):
        date = _date_of(*cells[:3])
        if date is not None:
            return f"{date} {_clock(cells[3].strip())}"
    texts = ["" if cell is None else str(cell).strip() for cell in cells]
    if not all(texts[: min(3, len(texts))]):
        return None
    if len(texts) >= 3 and len(texts[0]) == 4 and all(text.isdecimal() for text in texts[:3]):
        date = f"{texts[0]}-{texts[1]:0>2}-{texts[2]:0>2}"
        return " ".join([date, *(_clock(text) for text in texts[3:] if text)])
    return " ".join(text for text in texts if text)


@lru_cache(maxsize=1 << 15)
def _date_of(year: Any, month: Any, day: Any) -> str | None:
    """Cached: a file has far fewer dates than rows."""
    texts = [str(each).strip() for each in (year, month, day)]
    if len(texts[0]) != 4 or not all(text.isdecimal() for text in texts):
        return None
    return f"{texts[0]}-{texts[1]:0>2}-{texts[2]:0>2}"


def _clock(text: str) -> str:
    hours, colon, rest = text.partition(":")
    return f"{hours:0>2}:{rest}" if colon else text


def iso_seconds(text: str, zone: tzinfo = UTC) -> float | None:
    """Unix seconds of an ISO 8601 date or time, to the microsecond; None if it is none.

    Year/month/day, a month or day of one digit, and a zone's name behind the time are understood, too.
    """
    at = _moment(text, zone)
    return None if at is None else (at - _EPOCH).total_seconds()


def _moment(text: str, zone: tzinfo) -> datetime | None:
    stripped = text.strip()
    if not stripped[:4].isdecimal():
        return None
    if stripped[4:5] == "-" and stripped[7:8] == "-":
        try:
            at = datetime.fromisoformat(stripped)
        except ValueError:
            pass  # In another form, or none.
        else:
            return at if at.tzinfo is not None else at.replace(tzinfo=zone)
    if "/" in stripped[:6]:
        stripped = _slashes.sub(_dashes, stripped, count=1)
    if _begins_like_a_date(stripped) is None:
        return None
    named = _zone_at_the_end(stripped)
    if named is not None:
        found = _zone(named[2])
        if found is None:
            return None
        stripped, zone = named[1], found
    try:
        at = datetime.fromisoformat(stripped)
    except ValueError:
        try:
            at = datetime.fromisoformat(_short.sub(_dashes, stripped, count=1))
        except ValueError:
            return None
    if named is not None and at.tzinfo is not None:
        return None
    return at.replace(tzinfo=at.tzinfo or zone)


def _dashes(found: re.Match[str]) -> str:
    return f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}"


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo | None:
    if name in ("UTC", "GMT"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
