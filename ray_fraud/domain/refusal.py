"""The second, thorough reading of a value: what exactly is wrong with it, where, and what would be right.

It runs for refused values and for the few that the fast path cannot judge, so it may take its time; it
is linear in the size of the value all the same.

Never: an exception, whatever the input; a value in clear that could be a card number.
"""

from typing import Any

from ray_fraud.domain.document import Constant, Fault, Members, read_document
from ray_fraud.domain.field_rules import (
    FIELDS_WITH_TEXT_USERS,
    LOCATION_FIELDS,
    TRANSACTION_FIELDS,
    card_fault,
    fields_fault,
)
from ray_fraud.domain.rejection import Rejection, RejectionCode


def find_fault(
    value: bytes | None, max_value_bytes: int, *, card_key_set: bool, user_key_set: bool = False
) -> Rejection | None:
    """The first fault in the order size, bytes, grammar, fields; None if the value keeps the contract."""
    if value is None:
        return _whole(RejectionCode.EMPTY_VALUE, "is null (a tombstone); send a JSON object")
    if len(value) > max_value_bytes:
        return _whole(RejectionCode.TOO_LARGE, f"has {len(value)} bytes; the limit is {max_value_bytes}")
    if not value.strip():
        return _whole(RejectionCode.EMPTY_VALUE, "is empty; send a JSON object")
    document = read_document(value)
    if isinstance(document, Fault):
        return _whole(document.code, document.message)
    if not isinstance(document, Members):
        return _whole(RejectionCode.NOT_AN_OBJECT, "is JSON but not an object; send a JSON object")
    return (
        _repeated_field(document)
        or fields_fault(document, FIELDS_WITH_TEXT_USERS if user_key_set else TRANSACTION_FIELDS)
        or card_fault(document.get("card_number"), card_key_set=card_key_set)
        or _fault_outside_contract(document)
    )


def _whole(code: RejectionCode, message: str) -> Rejection:
    return Rejection(code, "", f"value {message}")


def _repeated_field(document: Members) -> Rejection | None:
    """A field of the contract that is given twice: two readers could see two different transactions."""
    paths = [field.path for field in TRANSACTION_FIELDS if field.name in document.repeated]
    paths += ["card_number"] if "card_number" in document.repeated else []
    location = document.get("location")
    if isinstance(location, Members):
        paths += [field.path for field in LOCATION_FIELDS if field.name in location.repeated]
    if not paths:
        return None
    return Rejection(
        RejectionCode.DUPLICATE_KEY, paths[0], f"{paths[0]}: is given more than once; give it once"
    )


def _fault_outside_contract(document: Members) -> Rejection | None:
    """What no JSON may hold anywhere. Names of unknown fields are not repeated: they could be anything."""
    left: list[Any] = [document]
    while left:
        node = left.pop()
        if isinstance(node, Constant):
            message = f"holds {node.name} in a field outside the contract; JSON has no such value"
            return _whole(RejectionCode.NOT_FINITE, message)
        if isinstance(node, str) and not _is_unicode(node):
            message = "holds half a surrogate pair in a field outside the contract; it is not text"
            return _whole(RejectionCode.FORBIDDEN_CHARACTER, message)
        if isinstance(node, Members):
            left.extend(node)
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
