"""Originals of refused rows, without card numbers.

Never: a digit in the middle of a card number.
"""

import re

from ray_fraud.domain.contract import MAX_CARD_DIGITS, MIN_CARD_DIGITS
from ray_fraud.domain.masking import mask_card_numbers

_long_number = re.compile(rb"[0-9](?:[ -]?[0-9]){%d,}" % (MIN_CARD_DIGITS - 1))
_KEPT_FIRST, _KEPT_LAST = 6, 4


def masked(original: bytes, *, card_anywhere: bool = False) -> bytes:
    """The original with its card numbers masked.

    Args:
        original: JSON, or what was meant to be JSON.
        card_anywhere: the row has a card number and nothing shows where: every long number is hidden.
    """
    return (
        _long_number.sub(_hidden, mask_card_numbers(original))
        if card_anywhere
        else mask_card_numbers(original)
    )


def _hidden(found: re.Match[bytes]) -> bytes:
    digits = found[0].translate(None, b" -")
    if len(digits) > MAX_CARD_DIGITS:
        return b"*" * len(digits)
    return digits[:_KEPT_FIRST] + b"*" * (len(digits) - _KEPT_FIRST - _KEPT_LAST) + digits[-_KEPT_LAST:]
