"""The poison corpus: values that the contract refuses, each with the code and field of its refusal.

Never: two faults in one value; a real card number (those here are test numbers of the card schemes).
"""

import json
from typing import Any, NamedTuple

from ray_fraud.domain.rejection import RejectionCode as Code

GOOD: dict[str, Any] = {
    "transaction_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "user_id": 42,
    "amount": 12.5,
    "timestamp": 1_700_000_000.25,
    "location": {"lat": 52.52, "lon": 13.405, "city": "Berlin", "country": "DE"},
    "merchant_id": "m-17",
    "device_id": "d-4",
    "currency": "EUR",
    "channel": "pos",
}
"""A valid transaction with every field but `card_number`."""

CARD_NUMBER = "4111111111111111"


class PoisonCase(NamedTuple):
    """One value that must be refused, and how."""

    name: str
    value: bytes | None
    code: Code
    field: str
    """Dotted path, "" for the whole value."""
    in_schema: bool = True
    """Whether the JSON Schema refuses it, too; it cannot see spelling, size, depth or repeated keys."""


def encoded(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def changed(**fields: Any) -> bytes:
    """The good value with fields replaced or added."""
    return encoded({**GOOD, **fields})


def located(**fields: Any) -> bytes:
    """The good value with fields of its location replaced or added."""
    return changed(location={**GOOD["location"], **fields})


def without(name: str) -> bytes:
    """The good value without one field, dotted for those of the location."""
    head, _, inner = name.partition(".")
    if inner:
        return changed(location={key: value for key, value in GOOD["location"].items() if key != inner})
    return encoded({key: value for key, value in GOOD.items() if key != head})


def spelled(field: str, text: str) -> bytes:
    """The good value with JSON text put in place of one field's value."""
    if field.startswith("location."):
        template = located(**{field.removeprefix("location."): "@@"})
    else:
        template = changed(**{field: "@@"})
    return template.replace(b'"@@"', text.encode())


def _bytes_cases() -> list[PoisonCase]:
    good = encoded(GOOD)
    deep = "[" * 5_000 + "]" * 5_000
    return [
        PoisonCase("tombstone", None, Code.EMPTY_VALUE, "", in_schema=False),
        PoisonCase("no bytes", b"", Code.EMPTY_VALUE, "", in_schema=False),
        PoisonCase("white space", b" \t\r\n ", Code.EMPTY_VALUE, "", in_schema=False),
        PoisonCase(
            "a megabyte in an unknown field", changed(note="x" * 1_048_576), Code.TOO_LARGE, "", False
        ),
        PoisonCase("one byte too many", good + b" " * (65_537 - len(good)), Code.TOO_LARGE, "", False),
        PoisonCase("a megabyte of an id", changed(transaction_id="x" * 1_000_000), Code.TOO_LARGE, "", False),
        PoisonCase("not JSON", b"transaction 7: 12.50 EUR", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("XML", b"<transaction id='7'/>", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("CSV", b"tx-1,42,12.5,1700000000", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("single quotes", good.replace(b'"', b"'"), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("Python repr", repr(GOOD).encode(), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("truncated after a value", good[:60], Code.NOT_JSON, "", in_schema=False),
        PoisonCase("truncated in a text", good[:25], Code.NOT_JSON, "", in_schema=False),
        PoisonCase("truncated at the last byte", good[:-1], Code.NOT_JSON, "", in_schema=False),
        PoisonCase("only the first byte", b"{", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("two documents", good + good, Code.NOT_JSON, "", in_schema=False),
        PoisonCase("trailing bytes", good + b"x", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("trailing NUL", good + b"\0", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("trailing comma", good[:-1] + b",}", Code.NOT_JSON, "", in_schema=False),
        PoisonCase("a comment", b"/* v1 */" + good, Code.NOT_JSON, "", in_schema=False),
        PoisonCase("leading zero", spelled("amount", "012.5"), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("leading plus", spelled("amount", "+12.5"), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("hexadecimal", spelled("user_id", "0x2a"), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("no digit after the point", spelled("amount", "12."), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("Python's True", spelled("amount", "True"), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("unknown escape", spelled("channel", r'"\q"'), Code.NOT_JSON, "", in_schema=False),
        PoisonCase(
            "raw newline in a text", spelled("channel", '"po\ns"'), Code.NOT_JSON, "", in_schema=False
        ),
        PoisonCase("raw NUL in a text", spelled("channel", '"po\0s"'), Code.NOT_JSON, "", in_schema=False),
        PoisonCase("wire format's magic byte", b"\0\0\0\0\x07" + good, Code.NOT_JSON, "", in_schema=False),
        PoisonCase("UTF-8 byte order mark", b"\xef\xbb\xbf" + good, Code.NOT_JSON, "", in_schema=False),
        PoisonCase("UTF-16 with mark", good.decode().encode("utf-16"), Code.NOT_UTF8, "", in_schema=False),
        PoisonCase("UTF-16 LE", good.decode().encode("utf-16-le"), Code.NOT_UTF8, "", in_schema=False),
        PoisonCase("UTF-16 BE", good.decode().encode("utf-16-be"), Code.NOT_UTF8, "", in_schema=False),
        PoisonCase("UTF-32", good.decode().encode("utf-32-be"), Code.NOT_UTF8, "", in_schema=False),
        PoisonCase("Latin-1", located(city="Köln").decode().encode("latin-1"), Code.NOT_UTF8, "", False),
        PoisonCase("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + good, Code.NOT_UTF8, "", in_schema=False),
        PoisonCase("not UTF-8 in an unknown field", good[:-1] + b',"x":"\xff"}', Code.NOT_UTF8, "", False),
        PoisonCase(
            "surrogate in UTF-8", changed(transaction_id="\ud800"), Code.NOT_UTF8, "", in_schema=False
        ),
        PoisonCase("overlong NUL", good.replace(b"pos", b"p\xc0\x80"), Code.NOT_UTF8, "", in_schema=False),
        PoisonCase("nested 33 deep", spelled("x", "[" * 32 + "]" * 32), Code.TOO_DEEP, "", in_schema=False),
        PoisonCase("nested 5,000 deep", spelled("x", deep), Code.TOO_DEEP, "", in_schema=False),
        PoisonCase("nested and never closed", b"[" * 60_000, Code.TOO_DEEP, "", in_schema=False),
        PoisonCase(
            "objects 500 deep", b'{"a":' * 500 + b"1" + b"}" * 500, Code.TOO_DEEP, "", in_schema=False
        ),
        PoisonCase("null", b"null", Code.NOT_AN_OBJECT, ""),
        PoisonCase("an array", b"[" + good + b"]", Code.NOT_AN_OBJECT, ""),
        PoisonCase("a number", b"42", Code.NOT_AN_OBJECT, ""),
        PoisonCase("a text", json.dumps(good.decode()).encode(), Code.NOT_AN_OBJECT, ""),
        PoisonCase("true", b"true", Code.NOT_AN_OBJECT, ""),
        PoisonCase(
            "amount twice", good[:-1] + b',"amount":9000}', Code.DUPLICATE_KEY, "amount", in_schema=False
        ),
        PoisonCase(
            "amount twice, once escaped",
            good[:-1] + rb',"\u0061mount":9000}',
            Code.DUPLICATE_KEY,
            "amount",
            in_schema=False,
        ),
        PoisonCase(
            "location twice",
            good[:-1] + b',"location":null}',
            Code.DUPLICATE_KEY,
            "location",
            in_schema=False,
        ),
        PoisonCase(
            "latitude twice",
            good.replace(b'"lat"', b'"lat": 1, "lat"'),
            Code.DUPLICATE_KEY,
            "location.lat",
            in_schema=False,
        ),
        PoisonCase("not a number in an unknown field", spelled("x", "NaN"), Code.NOT_FINITE, "", False),
        PoisonCase(
            "half a surrogate pair in an unknown field",
            spelled("x", r'"\ud800"'),
            Code.FORBIDDEN_CHARACTER,
            "",
            in_schema=False,
        ),
        PoisonCase(
            "half a surrogate pair in an unknown key",
            good[:-1] + rb',"\udc00":1}',
            Code.FORBIDDEN_CHARACTER,
            "",
            in_schema=False,
        ),
    ]


def _missing_cases() -> list[PoisonCase]:
    required = ("transaction_id", "user_id", "amount", "timestamp", "location.lat", "location.lon")
    cases = [PoisonCase(f"no {path}", without(path), Code.MISSING_FIELD, path) for path in required]
    return [
        *cases,
        PoisonCase("an empty object", b"{}", Code.MISSING_FIELD, "transaction_id"),
        PoisonCase(
            "keys in other case",
            encoded({key.upper(): value for key, value in GOOD.items()}),
            Code.MISSING_FIELD,
            "transaction_id",
        ),
        PoisonCase("an empty location", changed(location={}), Code.MISSING_FIELD, "location.lat"),
    ]


def _type_cases() -> list[PoisonCase]:
    texts = ("transaction_id", "merchant_id", "device_id", "currency", "channel")
    cases = [PoisonCase(f"{path} a number", changed(**{path: 7}), Code.WRONG_TYPE, path) for path in texts]
    cases += [
        PoisonCase(f"{path} null", changed(**{path: None}), Code.WRONG_TYPE, path)
        for path in ("transaction_id", "user_id", "amount", "timestamp")
    ]
    for path in ("user_id", "amount", "timestamp"):
        cases.append(PoisonCase(f"{path} a text", changed(**{path: "7"}), Code.WRONG_TYPE, path))
        cases.append(PoisonCase(f"{path} a boolean", changed(**{path: True}), Code.WRONG_TYPE, path))
        cases.append(PoisonCase(f"{path} an array", changed(**{path: [7]}), Code.WRONG_TYPE, path))
    return [
        *cases,
        PoisonCase("user_id a fraction", changed(user_id=42.5), Code.WRONG_TYPE, "user_id"),
        PoisonCase("user_id 42.0", spelled("user_id", "42.0"), Code.WRONG_TYPE, "user_id", in_schema=False),
        PoisonCase("user_id 4e1", spelled("user_id", "4e1"), Code.WRONG_TYPE, "user_id", in_schema=False),
        PoisonCase(
            "timestamp as ISO 8601", changed(timestamp="2024-01-01T00:00:00Z"), Code.WRONG_TYPE, "timestamp"
        ),
        PoisonCase("location an array", changed(location=[52.52, 13.405]), Code.WRONG_TYPE, "location"),
        PoisonCase("location a text", changed(location="52.52,13.405"), Code.WRONG_TYPE, "location"),
        PoisonCase("latitude a text", located(lat="52.52"), Code.WRONG_TYPE, "location.lat"),
        PoisonCase("longitude null", located(lon=None), Code.WRONG_TYPE, "location.lon"),
        PoisonCase("city an object", located(city={}), Code.WRONG_TYPE, "location.city"),
    ]


def _number_cases() -> list[PoisonCase]:
    huge = "9" * 5_000
    beyond = (1 << 63, 1 << 64, 10**300)
    cases = [
        PoisonCase(f"{path} {word}", spelled(path, word), Code.NOT_FINITE, path, in_schema=word != "NaN")
        for path in ("amount", "timestamp", "location.lat", "location.lon")
        for word in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999")
    ]
    cases += [
        PoisonCase(f"user_id {value:.3g}", changed(user_id=value), Code.OUT_OF_RANGE, "user_id")
        for value in beyond
    ]
    return [
        *cases,
        PoisonCase("user_id NaN", spelled("user_id", "NaN"), Code.NOT_FINITE, "user_id", in_schema=False),
        PoisonCase("amount of 5,000 digits", spelled("amount", huge), Code.NOT_FINITE, "amount", False),
        PoisonCase("user_id of 5,000 digits", spelled("user_id", huge), Code.OUT_OF_RANGE, "user_id", False),
        PoisonCase("user_id negative", changed(user_id=-1), Code.OUT_OF_RANGE, "user_id"),
        PoisonCase("amount negative", changed(amount=-0.01), Code.OUT_OF_RANGE, "amount"),
        PoisonCase("amount a negative denormal", spelled("amount", "-5e-324"), Code.OUT_OF_RANGE, "amount"),
        PoisonCase("amount absurd", changed(amount=1.1e15), Code.OUT_OF_RANGE, "amount"),
        PoisonCase("amount near overflow", changed(amount=1.7e308), Code.OUT_OF_RANGE, "amount"),
        PoisonCase("amount a card number", changed(amount=int(CARD_NUMBER)), Code.OUT_OF_RANGE, "amount"),
        PoisonCase("latitude just above", located(lat=90.0000001), Code.OUT_OF_RANGE, "location.lat"),
        PoisonCase("latitude below", located(lat=-91), Code.OUT_OF_RANGE, "location.lat"),
        PoisonCase("longitude above", located(lon=180.5), Code.OUT_OF_RANGE, "location.lon"),
        PoisonCase("longitude just below", located(lon=-180.0000001), Code.OUT_OF_RANGE, "location.lon"),
        PoisonCase("timestamp 0", changed(timestamp=0), Code.OUT_OF_RANGE, "timestamp"),
        PoisonCase("timestamp negative", changed(timestamp=-1_700_000_000), Code.OUT_OF_RANGE, "timestamp"),
        PoisonCase("timestamp in 1999", changed(timestamp=946_684_799.9), Code.OUT_OF_RANGE, "timestamp"),
        PoisonCase(
            "timestamp in milliseconds",
            changed(timestamp=1_700_000_000_250),
            Code.TIMESTAMP_IN_MILLISECONDS,
            "timestamp",
        ),
        PoisonCase(
            "timestamp in milliseconds of 2000",
            changed(timestamp=946_684_800_000),
            Code.TIMESTAMP_IN_MILLISECONDS,
            "timestamp",
        ),
        PoisonCase(
            "timestamp at the boundary", changed(timestamp=1e11), Code.TIMESTAMP_IN_MILLISECONDS, "timestamp"
        ),
        PoisonCase(
            "timestamp in nanoseconds",
            changed(timestamp=1_700_000_000_250_000_000),
            Code.TIMESTAMP_IN_MILLISECONDS,
            "timestamp",
        ),
    ]


FORBIDDEN_IN_IDENTIFIERS = {
    "NUL": "\0",
    "newline": "\n",
    "escape": "\x1b",
    "delete": "\x7f",
    "C1 control": "\x85",
    "soft hyphen": "\xad",
    "zero-width space": "\u200b",
    "zero-width joiner": "\u200d",
    "right-to-left mark": "\u200f",
    "line separator": "\u2028",
    "right-to-left override": "\u202e",
    "word joiner": "\u2060",
    "isolate": "\u2066",
    "byte order mark": "\ufeff",
    "interlinear annotation": "\ufff9",
    "tag": "\U000e0041",
}


def _text_cases() -> list[PoisonCase]:
    identifiers = ("transaction_id", "merchant_id", "device_id")
    cases: list[PoisonCase] = []
    for path in (*identifiers, "currency", "channel"):
        cases.append(PoisonCase(f"{path} empty", changed(**{path: ""}), Code.EMPTY_TEXT, path))
        cases.append(PoisonCase(f"{path} too long", changed(**{path: "x" * 65}), Code.TOO_LONG, path))
        cases.append(
            PoisonCase(f"{path} with NUL", changed(**{path: "a\0b"}), Code.FORBIDDEN_CHARACTER, path)
        )
    for path in identifiers:
        cases.append(PoisonCase(f"{path} of spaces", changed(**{path: "   "}), Code.EMPTY_TEXT, path))
        cases.append(
            PoisonCase(f"{path} of wide spaces", changed(**{path: "\u3000\u2003"}), Code.EMPTY_TEXT, path)
        )
    for name, character in FORBIDDEN_IN_IDENTIFIERS.items():
        value = changed(transaction_id=f"tx{character}1")
        cases.append(PoisonCase(f"id with {name}", value, Code.FORBIDDEN_CHARACTER, "transaction_id"))
    cases += [
        PoisonCase(f"{path} {half}", spelled(path, half), Code.FORBIDDEN_CHARACTER, path, in_schema=False)
        for path in ("transaction_id", "device_id", "location.city")
        for half in (r'"a\ud800"', r'"\udfffa"')
    ]
    for path, limit in (("city", 128), ("country", 64)):
        field = f"location.{path}"
        cases += [
            PoisonCase(f"{field} empty", located(**{path: ""}), Code.EMPTY_TEXT, field),
            PoisonCase(f"{field} too long", located(**{path: "é" * (limit + 1)}), Code.TOO_LONG, field),
            PoisonCase(f"{field} with NUL", located(**{path: "a\0"}), Code.FORBIDDEN_CHARACTER, field),
            PoisonCase(f"{field} reversed", located(**{path: "\u202eab"}), Code.FORBIDDEN_CHARACTER, field),
        ]
    return cases


def _card_cases() -> list[PoisonCase]:
    bad: dict[str, Any] = {
        "a number": int(CARD_NUMBER),
        "a boolean": True,
        "an array": [CARD_NUMBER],
        "an object": {"number": CARD_NUMBER},
        "empty": "",
        "too short": "41111111111",
        "too long": "4" * 20,
        "letters": CARD_NUMBER + "x",
        "two spaces": "4111  1111 1111 1111",
        "leading space": " " + CARD_NUMBER,
        "trailing newline": CARD_NUMBER + "\n",
        "Arabic digits": "\u0664" * 16,
        "dots": "4111.1111.1111.1111",
    }
    return [
        PoisonCase(f"card_number {name}", changed(card_number=value), Code.BAD_CARD_NUMBER, "card_number")
        for name, value in bad.items()
    ]


POISON: list[PoisonCase] = [
    *_bytes_cases(),
    *_missing_cases(),
    *_type_cases(),
    *_number_cases(),
    *_text_cases(),
    *_card_cases(),
]
"""Every case is refused by a decoder with default size limit, with or without a card key."""
