"""Hypothesis strategies of documents on topic `transactions`: valid ones, and valid ones with a few changes.

Never: knowledge of the decoder; the limits are written out once more, from the published schema.
"""

from typing import Any

from hypothesis import strategies as st

Document = dict[str, Any]

_AWKWARD_CHARACTERS = (
    ' \u00a0\u3000\u0000\n\x7f\x85\xad\u200b\u200d\u200f\u2028\u202e\u2060\ufeff\U000e0041éß東😀\\"/:{'
)


def identifiers(limit: int) -> st.SearchStrategy[str]:
    """Texts without controls, marks or blanks, which every field accepts."""
    return st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=limit)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


numbers = st.integers(0, 10**15) | st.floats(0, 1e15)
timestamps = st.integers(946_684_800, 99_999_999_999) | st.floats(946_684_800, 99_999_999_999)
locations = st.fixed_dictionaries(
    {"lat": st.floats(-90, 90) | st.integers(-90, 90), "lon": st.floats(-180, 180) | st.integers(-180, 180)},
    optional={"city": optional(identifiers(128)), "country": optional(identifiers(64))},
)
card_numbers = st.from_regex(r"[0-9](?:[ -]?[0-9]){11,18}", fullmatch=True)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
unknown_fields = st.dictionaries(
    st.sampled_from(["terminal", "card", "note", "Amount", "lat", ":", "é", ""]), json_values, max_size=3
)

transactions: st.SearchStrategy[Document] = st.builds(
    lambda contract, extra: {**contract, **extra},
    st.fixed_dictionaries(
        {
            "transaction_id": identifiers(64),
            "user_id": st.integers(0, 2**63 - 1),
            "amount": numbers,
            "timestamp": timestamps,
        },
        optional={
            "location": optional(locations),
            "merchant_id": optional(identifiers(64)),
            "device_id": optional(identifiers(64)),
            "currency": optional(identifiers(16)),
            "channel": optional(identifiers(32)),
            "card_number": optional(card_numbers),
        },
    ),
    unknown_fields,
)
"""Documents that version 1 of the contract accepts."""

# fmt: off
_edge_numbers = st.sampled_from([
    -0.0, -5e-324, 5e-324, -1, 0, 0.5, 90, 90.0000001, -90.0000001, 180, 180.0000001, 42.0,
    946_684_799, 946_684_799.999, 946_684_800, 99_999_999_999.9, 1e11, 1e15, 1.0000001e15, 10**15 + 1,
    2**63 - 1, 2**63, 2**64, 10**308, 10**400, 1e308,
])
# fmt: on
_edge_texts = st.text(
    st.sampled_from(_AWKWARD_CHARACTERS) | st.characters(codec="utf-8"), max_size=6
) | st.builds(
    lambda character, count: character * count,
    st.sampled_from("xé😀 "),
    st.sampled_from([15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129]),
)
_card_like = st.text("0123456789 -", max_size=24)
replacements = json_values | _edge_numbers | _edge_texts | _card_like

_TOP = ["transaction_id", "user_id", "amount", "timestamp", "location"]
_TOP += ["merchant_id", "device_id", "currency", "channel", "card_number", "unknown"]
_INNER = ["lat", "lon", "city", "country", "unknown"]


@st.composite
def changed_transactions(draw: st.DrawFn) -> Document:
    """A valid document in which one to three fields were replaced or removed; it may well still be valid."""
    document = dict(draw(transactions))
    for _ in range(draw(st.integers(1, 3))):
        location = document.get("location")
        inside = isinstance(location, dict) and draw(st.booleans())
        target: Document = dict(location) if inside and isinstance(location, dict) else document
        name = draw(st.sampled_from(_INNER if inside else _TOP))
        if draw(st.integers(0, 4)) == 0:
            target.pop(name, None)
        else:
            target[name] = draw(replacements)
        if inside:
            document["location"] = target
    return document
