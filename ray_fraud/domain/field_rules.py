"""The contract field by field, for the second reading: each rule names the value, the rule and the field.

Never: a card number in a message; parsing.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ray_fraud.domain import contract
from ray_fraud.domain.card import is_card_number
from ray_fraud.domain.document import Constant, HugeInteger, Members
from ray_fraud.domain.masking import mask_text
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.text_users import number_spelled

SHOWN_CHARACTERS = 40
"""Longer values are cut in messages, which travel in headers and log lines."""

FULL_CIRCLE = 360
"""Beyond it, such as 999, a coordinate stands for "unknown"."""
UNKNOWN_PLACE = "leave the location out if it is not known"

Rule = Callable[[str, Any], Rejection | None]


class Field(NamedTuple):
    """One field of an object: its key, its dotted path, whether it must be there, and its rule."""

    name: str
    path: str
    required: bool
    rule: Rule


def fields_fault(members: Members, fields: tuple[Field, ...]) -> Rejection | None:
    """The first fault of an object's contract fields, in their order. An optional null counts as absent."""
    for field in fields:
        if field.name not in members:
            if field.required:
                return _refuse(RejectionCode.MISSING_FIELD, field.path, "is missing; it is required")
            continue
        value = members[field.name]
        if value is None and not field.required:
            continue
        fault = field.rule(field.path, value)
        if fault is not None:
            return fault
    return None


def card_fault(value: Any, *, card_key_set: bool) -> Rejection | None:
    """What is wrong with a `card_number`, told without a digit of it."""
    if value is None:
        return None
    if isinstance(value, Constant):
        return _refuse(RejectionCode.NOT_FINITE, "card_number", f"is {value.name}; JSON has no such value")
    if not isinstance(value, str):
        problem = f"is {_kind(value)}; it must be text (value not shown)"
    elif not is_card_number(value):
        problem = (
            f"is not text of {contract.MIN_CARD_DIGITS} to {contract.MAX_CARD_DIGITS} digits, "
            "single spaces or dashes between them (value not shown)"
        )
    elif not card_key_set:
        problem = "is given but no card key is set; set the card key, or send transactions without this field"
    else:
        return None
    return _refuse(RejectionCode.BAD_CARD_NUMBER, "card_number", problem)


def show(value: Any) -> str:
    """A value for a message: ASCII, at most `SHOWN_CHARACTERS` long, anything like a card number masked."""
    if isinstance(value, str):
        shown = ascii(mask_text(value))
    else:
        number = ascii(value)
        if isinstance(value, float) and "e" in number:
            number = f"{value:.6g}"  # its digits without the exponent could be read as a card's
        # No issuer's number starts with 0 or 1, and every timestamp in milliseconds does.
        shown = number if number[0] in "01" else mask_text(number)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 1] + "…"


def _refuse(code: RejectionCode, path: str, problem: str) -> Rejection:
    return Rejection(code, path, f"{path}: {problem}")


def _kind(value: Any) -> str:
    """What JSON calls the type of a parsed value."""
    kinds = {bool: "a boolean", str: "text", list: "an array", Members: "an object", int: "an integer"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _wrong_type(path: str, value: Any, wanted: str) -> Rejection:
    if isinstance(value, Constant):
        return _refuse(RejectionCode.NOT_FINITE, path, f"is {value.name}; JSON has no such value")
    return _refuse(RejectionCode.WRONG_TYPE, path, f"is {_kind(value)}; it must be {wanted}")


def _text(max_length: int, *, identifier: bool = False, name: bool = False) -> Rule:
    forbidden_in = contract.forbidden_in_name if name else contract.forbidden_in_identifier

    def rule(path: str, value: Any) -> Rejection | None:
        if not isinstance(value, str):
            return _wrong_type(path, value, "text")
        if not value:
            return _refuse(RejectionCode.EMPTY_TEXT, path, "is empty; leave the field out or fill it")
        if len(value) > max_length:
            return _refuse(
                RejectionCode.TOO_LONG, path, f"has {len(value)} characters; the limit is {max_length}"
            )
        forbidden = forbidden_in(value)
        if forbidden is not None:
            problem = f"holds the forbidden character U+{ord(forbidden[0]):04X} at index {forbidden.start()}"
            return _refuse(RejectionCode.FORBIDDEN_CHARACTER, path, problem)
        if identifier and not contract.has_visible_text(value):
            return _refuse(RejectionCode.EMPTY_TEXT, path, f"{show(value)} holds nothing but spaces")
        return None

    return rule


def _number_fault(path: str, value: Any) -> Rejection | None:
    """What keeps a value from being a finite 64-bit float."""
    if isinstance(value, HugeInteger):
        problem = f"is an integer of {value.digits} digits, too large for a 64-bit float"
        return _refuse(RejectionCode.NOT_FINITE, path, problem)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _wrong_type(path, value, "a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    return (
        None if finite else _refuse(RejectionCode.NOT_FINITE, path, "is beyond the range of a 64-bit float")
    )


def _number(low: float, high: float, unit: str) -> Rule:
    def rule(path: str, value: Any) -> Rejection | None:
        fault = _number_fault(path, value)
        if fault is not None:
            return fault
        if value < low:
            return _refuse(RejectionCode.OUT_OF_RANGE, path, f"{show(value)} is below {low:g} {unit}")
        if value > high:
            return _refuse(RejectionCode.OUT_OF_RANGE, path, f"{show(value)} is above {high:g} {unit}")
        return None

    return rule


def _degrees(limit: float) -> Rule:
    within = _number(-limit, limit, "degrees")

    def rule(path: str, value: Any) -> Rejection | None:
        fault = within(path, value)
        if fault is None or fault.code is not RejectionCode.OUT_OF_RANGE or abs(value) <= FULL_CIRCLE:
            return fault
        return Rejection(fault.code, fault.field, f"{fault.message}; {UNKNOWN_PLACE}")

    return rule


def _timestamp(path: str, value: Any) -> Rejection | None:
    fault = _number_fault(path, value)
    if fault is not None:
        return fault
    if value >= contract.MILLISECONDS_FROM:
        problem = f"{show(value)} looks like milliseconds or finer; send unix seconds"
        return _refuse(RejectionCode.TIMESTAMP_IN_MILLISECONDS, path, problem)
    if value < contract.MIN_TIMESTAMP:
        problem = f"{show(value)} is before 2000-01-01 ({contract.MIN_TIMESTAMP}); send unix seconds"
        return _refuse(RejectionCode.OUT_OF_RANGE, path, problem)
    return None


def _user_id(path: str, value: Any) -> Rejection | None:
    if isinstance(value, HugeInteger):
        problem = f"is an integer of {value.digits} digits, above {contract.MAX_USER_ID}"
        return _refuse(RejectionCode.OUT_OF_RANGE, path, problem)
    if isinstance(value, bool) or not isinstance(value, int):
        wanted = "an integer without fraction or exponent"
        if isinstance(value, str):
            wanted += "; for text ids set the user key"
        return _wrong_type(path, value, wanted)
    if value < 0:
        return _refuse(RejectionCode.OUT_OF_RANGE, path, f"{show(value)} is below 0")
    if value > contract.MAX_USER_ID:
        problem = f"{show(value)} is above {contract.MAX_USER_ID}"
        return _refuse(RejectionCode.OUT_OF_RANGE, path, problem)
    return None


def _user_id_or_text(path: str, value: Any) -> Rejection | None:
    if not isinstance(value, str):
        fault = _user_id(path, value)
        if fault is None and value >= contract.FIRST_TEXT_USER:
            problem = f"{show(value)} is 2^62 or more, where the numbers of text ids lie; send it as text"
            return _refuse(RejectionCode.OUT_OF_RANGE, path, f"{problem} with a letter before it")
        return fault
    fault = _text(contract.MAX_ID_LENGTH, identifier=True)(path, value)
    if fault is not None:
        return fault
    spelled = number_spelled(value)
    return None if spelled is None else _user_id_or_text(path, spelled)


def _location(path: str, value: Any) -> Rejection | None:
    if not isinstance(value, Members):
        return _wrong_type(path, value, "an object with lat and lon")
    return fields_fault(value, LOCATION_FIELDS)


def _field(path: str, rule: Rule, *, required: bool = False) -> Field:
    return Field(path.rpartition(".")[2], path, required, rule)


LOCATION_FIELDS = (
    _field("location.lat", _degrees(90), required=True),
    _field("location.lon", _degrees(180), required=True),
    _field("location.city", _text(contract.MAX_CITY_LENGTH, name=True)),
    _field("location.country", _text(contract.MAX_COUNTRY_LENGTH, name=True)),
)
TRANSACTION_FIELDS = (
    _field("transaction_id", _text(contract.MAX_ID_LENGTH, identifier=True), required=True),
    _field("user_id", _user_id, required=True),
    _field("amount", _number(0, contract.MAX_AMOUNT, "in base currency"), required=True),
    _field("timestamp", _timestamp, required=True),
    _field("location", _location),
    _field("merchant_id", _text(contract.MAX_ID_LENGTH, identifier=True)),
    _field("device_id", _text(contract.MAX_ID_LENGTH, identifier=True)),
    _field("currency", _text(contract.MAX_CURRENCY_LENGTH)),
    _field("channel", _text(contract.MAX_CHANNEL_LENGTH)),
)
"""Every field but `card_number`, whose rule depends on the decoder's key (see `card_fault`)."""
FIELDS_WITH_TEXT_USERS = tuple(
    field._replace(rule=_user_id_or_text) if field.name == "user_id" else field
    for field in TRANSACTION_FIELDS
)
"""The same where a user id may be text."""
