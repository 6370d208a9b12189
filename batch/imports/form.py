"""How the cells of a file are written: what a mapping says beside the names of columns.

Never: I/O; a cell.
"""

from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from batch.imports.column_map import ImportRefused


class TimeUnit(StrEnum):
    DAYS = "days"
    HOURS = "hours"
    MINUTES = "minutes"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"


class Encoding(StrEnum):
    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    LATIN_1 = "latin-1"
    WINDOWS_1252 = "windows-1252"


class Decimal(StrEnum):
    """What stands before the fraction of an amount; the other one may group thousands."""

    POINT = "."
    COMMA = ","


DELIMITERS = (",", ";", "\t", "|")


class Form(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """None: found by itself, or the contract's own."""

    delimiter: str | None = None
    """Of CSV, one character."""
    quote: str = '"'
    encoding: Encoding | None = None
    decimal: Decimal | None = None
    time_origin: str | None = None
    """ISO 8601: times are numbers that count from here; without it they count from 1970."""
    time_unit: TimeUnit | None = None
    """Of such numbers; None: seconds."""
    time_zone: str | None = None
    """IANA name, of times that name none; None: UTC."""
    time_format: str | None = None
    """As `datetime.strptime` has it, of times that are not ISO 8601."""
    hash_user: bool = False
    """User ids become numbers by a keyed digest: for texts and for card numbers."""
    fraud_words: tuple[str, ...] = ()
    """What the label says of a fraud, beside the usual words."""
    legitimate_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or value in "\r\n\0"):
                raise ImportRefused(f"{name}: {value!r}, must be one character and no end of a line")
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (KeyError, ValueError, OSError):
                raise ImportRefused(
                    f"time_zone: there is no {self.time_zone!r}; give a name like Europe/Berlin"
                ) from None
        for encoding in (self.encoding,):
            if encoding is not None and encoding not in set(Encoding):
                raise ImportRefused(f"encoding: {encoding!r}, must be one of {', '.join(Encoding)}")

    @property
    def is_relative(self) -> bool:
        """Whether times are numbers in a unit or from an origin of their own."""
        return self.time_origin is not None or self.time_unit is not None

    @property
    def is_plain(self) -> bool:
        """Whether a record's own values would be written so, too."""
        return not (self.is_relative or self.time_zone or self.time_format or self.decimal or self.hash_user)

    def said(self) -> list[str]:
        """What differs from the defaults and changes what rows say, as `name=value`."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return [
            f"{name}={told[name]}" for name in sorted(told) if name not in ("fraud_words", "legitimate_words")
        ]


PLAIN = Form()
