"""The oracle's own reading of a record's value: JSON, then the contract, then a plain dict.

Returns either a transaction (`Txn`) or raises `RefusedError` with the stable code and the field.

Never: importing the product's decoder or its types.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from tests.oracle.values import blake2b, id_hash, message_pack_array

MAX_BYTES = 65_536
MAX_DEPTH = 32
MAX_ID_CHARACTERS = 64
MAX_AMOUNT = 1e15
MIN_SECONDS = 946_684_800  # 2000-01-01
MILLISECONDS_FROM = 1e11
LOCATION_TEXTS = {"city": 128, "country": 64}
TEXTS = {"merchant_id": 64, "device_id": 64, "currency": 16, "channel": 32}

LOCATION_FIELDS = frozenset(("lat", "lon", *LOCATION_TEXTS))
FIELDS = frozenset(("transaction_id", "user_id", "amount", "timestamp", "location", "card_number", *TEXTS))


class RefusedError(Exception):
    """The value breaks the contract."""

    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(code, field)
        self.code = code
        self.field = field


@dataclass(frozen=True)
class Txn:
    """A valid transaction; degrees, base currency, unix seconds."""

    transaction_id: str
    user_id: int
    amount: float
    timestamp: float
    lat: float | None
    lon: float | None
    merchant_id: str | None
    payload_digest: bytes

    @property
    def event_ms(self) -> int:
        return round(self.timestamp * 1000)

    @property
    def place(self) -> tuple[float, float] | None:
        """Where it was; None without a location and for the one that means "unknown"."""
        if self.lat is None or self.lon is None or (self.lat == 0 and self.lon == 0):
            return None
        return self.lat, self.lon

    @property
    def id_hash(self) -> bytes:
        return id_hash(self.transaction_id)


def decode(value: bytes | None) -> Txn:
    """The transaction in a record's value.

    Raises:
        RefusedError: with the code of the first rule that the value breaks.
    """
    fields = parse_object(value)
    refuse_repeated(fields, "")
    for name in ("transaction_id", "user_id", "amount", "timestamp"):
        if name not in fields:
            raise RefusedError("missing_field", name)
    transaction_id = text(fields["transaction_id"], "transaction_id", MAX_ID_CHARACTERS)
    user_id = fields["user_id"]
    if isinstance(user_id, bool) or not isinstance(user_id, int):
        raise RefusedError("wrong_type", "user_id")
    if not 0 <= user_id <= 2**63 - 1:
        raise RefusedError("out_of_range", "user_id")
    amount = number(fields["amount"], "amount")
    if not 0 <= amount <= MAX_AMOUNT:
        raise RefusedError("out_of_range", "amount")
    amount += 0.0  # a negative zero is nothing but a zero
    timestamp = seconds(fields["timestamp"])
    location = fields.get("location")
    lat, lon, places = place(location) if location is not None else (None, None, [None, None])
    texts = [optional_text(fields, name, name, longest) for name, longest in TEXTS.items()]
    merchant = texts[list(TEXTS).index("merchant_id")]
    if fields.get("card_number") is not None:
        raise RefusedError("bad_card_number", "card_number")  # this deployment has no card key
    refuse_hidden(fields)
    digest = blake2b(
        message_pack_array([transaction_id, user_id, amount, timestamp, lat, lon, *places, *texts]), 16
    )
    return Txn(transaction_id, user_id, amount, timestamp, lat, lon, merchant, digest)


class Object(dict[str, Any]):
    """A JSON object that remembers which names it was given more than once."""

    repeated: frozenset[str] = frozenset()


def parse_object(value: bytes | None) -> Object:
    """The JSON object of the value."""
    if not value:
        raise RefusedError("empty_value")
    if len(value) > MAX_BYTES:
        raise RefusedError("too_large")
    try:
        document = value.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise RefusedError("not_utf8") from error
    try:
        content = json.loads(document, object_pairs_hook=object_of)
    except RecursionError as error:
        raise RefusedError("too_deep") from error
    except ValueError as error:
        raise RefusedError("not_json") from error
    if not isinstance(content, Object):
        raise RefusedError("not_an_object")
    if depth(content) > MAX_DEPTH:
        raise RefusedError("too_deep")
    return content


def object_of(pairs: list[tuple[str, Any]]) -> Object:
    names = [name for name, _ in pairs]
    content = Object(pairs)
    content.repeated = frozenset(name for name in names if names.count(name) > 1)
    return content


def refuse_repeated(content: Object, prefix: str) -> None:
    """A field of the contract may be given once; of fields outside it the last one counts."""
    for name in content.repeated & (LOCATION_FIELDS if prefix else FIELDS):
        raise RefusedError("duplicate_key", prefix + name)


def refuse_hidden(content: object) -> None:
    """What may not be even in a field outside the contract: NaN, half a surrogate pair."""
    if isinstance(content, float) and math.isnan(content):
        raise RefusedError("not_finite")
    if isinstance(content, str) and any(0xD800 <= ord(character) <= 0xDFFF for character in content):
        raise RefusedError("forbidden_character")
    if isinstance(content, dict):
        for name, inner in content.items():
            refuse_hidden(name)
            refuse_hidden(inner)
    if isinstance(content, list):
        for inner in content:
            refuse_hidden(inner)


def depth(content: object) -> int:
    if isinstance(content, dict):
        return 1 + max((depth(inner) for inner in content.values()), default=0)
    if isinstance(content, list):
        return 1 + max((depth(inner) for inner in content), default=0)
    return 0


def number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError("wrong_type", field)
    try:
        plain = float(value)
    except OverflowError as error:
        raise RefusedError("not_finite", field) from error
    if not math.isfinite(plain):
        raise RefusedError("not_finite", field)
    return plain


def seconds(value: object) -> float:
    plain = number(value, "timestamp")
    if plain >= MILLISECONDS_FROM:
        raise RefusedError("timestamp_in_milliseconds", "timestamp")
    if plain < MIN_SECONDS:
        raise RefusedError("out_of_range", "timestamp")
    return plain


def text(value: object, field: str, longest: int) -> str:
    if not isinstance(value, str):
        raise RefusedError("wrong_type", field)
    if not value.strip():
        raise RefusedError("empty_text", field)
    if len(value) > longest:
        raise RefusedError("too_long", field)
    if any(character == "\0" or 0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise RefusedError("forbidden_character", field)
    return value


def optional_text(fields: dict[str, Any], name: str, field: str, longest: int) -> str | None:
    value = fields.get(name)
    return None if value is None else text(value, field, longest)


def place(location: object) -> tuple[float, float, list[str | None]]:
    """(lat, lon, [city, country]) of the optional location."""
    if not isinstance(location, Object):
        raise RefusedError("wrong_type", "location")
    refuse_repeated(location, "location.")
    degrees = []
    for name, bound in (("lat", 90.0), ("lon", 180.0)):
        if name not in location:
            raise RefusedError("missing_field", f"location.{name}")
        plain = number(location[name], f"location.{name}")
        if not -bound <= plain <= bound:
            raise RefusedError("out_of_range", f"location.{name}")
        degrees.append(plain)
    texts = [
        optional_text(location, name, f"location.{name}", longest) for name, longest in LOCATION_TEXTS.items()
    ]
    return degrees[0], degrees[1], texts
