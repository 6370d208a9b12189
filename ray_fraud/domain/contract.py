"""The limits of the published contract, in one place: numbers, lengths and characters.

The fast decoder, the thorough reading of refused values and the JSON Schema files state the same
limits; tests hold the three together.

Never: parsing, a limit that depends on the deployment.
"""

import re
from typing import Annotated, Final

from msgspec import Meta

MAX_VALUE_BYTES: Final = 65_536
"""Default size limit of one value. A full transaction has 300–600 bytes; a legitimate producer with
many fields of its own stays far below, and parsing a hostile value stays under a millisecond."""
MAX_DEPTH: Final = 32
"""Nested objects and arrays, the outermost included. The contract itself needs two."""
MAX_USER_ID: Final = 2**63 - 1
"""The largest BIGINT."""
FIRST_TEXT_USER: Final = 2**62
"""From here on lie the numbers of users whose id is text; where texts are accepted, numbers lie below."""
MAX_AMOUNT: Final = 1e15
"""Base currency. Far above any card payment in any currency, and small enough that neither a window's
sum nor a float32 feature can overflow, whatever a user sends."""
MIN_TIMESTAMP: Final = 946_684_800
"""2000-01-01T00:00:00Z in unix seconds; anything earlier is a unit or default-value mistake."""
MILLISECONDS_FROM: Final = 100_000_000_000
"""1e11. As seconds it is the year 5138, as milliseconds it is March 1973: every millisecond timestamp
after 2000 lies above it and every second timestamp before 5138 below it."""

MAX_ID_LENGTH: Final = 64
MAX_CURRENCY_LENGTH: Final = 16
MAX_CHANNEL_LENGTH: Final = 32
MAX_COUNTRY_LENGTH: Final = 64
MAX_CITY_LENGTH: Final = 128

MIN_CARD_DIGITS: Final = 12
MAX_CARD_DIGITS: Final = 19

Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
UserId = Annotated[int, Meta(ge=0, le=MAX_USER_ID)]
Amount = Annotated[float, Meta(ge=0, le=MAX_AMOUNT)]
Timestamp = Annotated[float, Meta(ge=MIN_TIMESTAMP, lt=MILLISECONDS_FROM)]
Currency = Annotated[str, Meta(min_length=1, max_length=MAX_CURRENCY_LENGTH)]
Channel = Annotated[str, Meta(min_length=1, max_length=MAX_CHANNEL_LENGTH)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
City = Annotated[str, Meta(min_length=1, max_length=MAX_CITY_LENGTH)]
Country = Annotated[str, Meta(min_length=1, max_length=MAX_COUNTRY_LENGTH)]

NAME_FORBIDDEN: Final = (
    r"[\u0000-\u001f\u007f-\u009f\u180e\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    r"\U000e0001\U000e0020-\U000e007f]"
)
"""In `city` and `country`: controls, line separators, bidirectional overrides, invisible operators, lone
surrogates, tags. PostgreSQL cannot store the first of them and people are misled by the rest."""
IDENTIFIER_FORBIDDEN: Final = NAME_FORBIDDEN.replace("]", r"\u00ad\u061c\u200c-\u200f]")
"""In every other text also soft hyphens, joiners and direction marks: names in Persian or Hebrew need
them, in an identifier they only make two different texts look the same."""
NOT_BLANK: Final = r"[^ \u00a0\u00ad\u061c\u1680\u2000-\u200f\u202f\u205f\u3000]"
"""A text needs at least one such character; one of spaces and invisible marks only counts as empty."""

# Every forbidden character is non-printable for `str.isprintable` in every version of Unicode, so a
# printable text needs no search; the classes alone decide, hence a replay under another Python agrees.
forbidden_in_name = re.compile(NAME_FORBIDDEN).search
forbidden_in_identifier = re.compile(IDENTIFIER_FORBIDDEN).search
has_visible_text = re.compile(NOT_BLANK).search
