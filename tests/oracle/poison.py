"""Values that break the contract in exactly one way, each with the code of that way.

The long corpus lives with the decoder's tests; this short one keeps the streams self-sufficient.

Never: a value that breaks two rules at once: which one is named first is the decoder's business.
"""

import json
from typing import Any

GOOD: dict[str, Any] = {
    "transaction_id": "poison",
    "user_id": 0,
    "amount": 9000.5,
    "timestamp": 1767290000.25,
}


def changed(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def raw(text: str) -> bytes:
    """The good value with its amount replaced by JSON text."""
    return json.dumps(GOOD).replace("9000.5", text).encode()


POISON: list[tuple[str, bytes | None]] = [
    ("empty_value", None),
    ("empty_value", b""),
    ("not_json", b"not json"),
    ("not_json", changed()[:-5]),
    ("not_finite", raw("NaN")),
    ("not_utf8", b"\xff" + changed()),
    ("too_large", changed(note="x" * 66_000)),
    ("too_deep", raw("1" + ',"x":' + "[" * 32 + "]" * 32)),
    ("duplicate_key", raw('1,"user_id":3')),
    ("bad_card_number", changed(card_number="4111111111111111")),
    ("not_an_object", b"[1,2]"),
    ("missing_field", without("transaction_id")),
    ("missing_field", without("user_id")),
    ("missing_field", without("amount")),
    ("missing_field", without("timestamp")),
    ("missing_field", changed(location={"lat": 1.5})),
    ("wrong_type", changed(amount="12")),
    ("wrong_type", changed(amount=True)),
    ("wrong_type", changed(user_id="7")),
    ("wrong_type", changed(transaction_id=7)),
    ("wrong_type", changed(location=[1, 2])),
    ("not_finite", raw("1e999")),
    ("out_of_range", changed(amount=-0.01)),
    ("out_of_range", changed(user_id=-1)),
    ("out_of_range", changed(user_id=2**63)),
    ("out_of_range", changed(location={"lat": 90.0000001, "lon": 0})),
    ("out_of_range", changed(location={"lat": 0, "lon": -180.5})),
    ("out_of_range", raw("1.0000001e15")),
    ("out_of_range", changed(timestamp=946_684_799.999)),
    ("timestamp_in_milliseconds", changed(timestamp=100_000_000_000)),
    ("empty_text", changed(transaction_id="")),
    ("empty_text", changed(merchant_id="  ")),
    ("too_long", changed(transaction_id="x" * 65)),
    ("forbidden_character", changed(transaction_id="a\0b")),
]
