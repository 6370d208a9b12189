"""Card numbers: the keyed token that replaces one behind the decoder.

Never: a card number in an exception, a log line or a repr; a hash without a key (with first 6 and last 4
known, a million guesses reverse it).
"""

import re
from hashlib import blake2b

from ray_fraud.domain.contract import MAX_CARD_DIGITS, MIN_CARD_DIGITS
from ray_fraud.domain.transaction import CardToken

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 64
TOKEN_BYTES = 16

CARD_NUMBER_PATTERN = rf"[0-9](?:[ -]?[0-9]){{{MIN_CARD_DIGITS - 1},{MAX_CARD_DIGITS - 1}}}"
"""12–19 digits, single spaces or dashes allowed between them. Luhn is not asked for: test cards of
acquirers fail it, and a number that is tokenised need not be right to be secret."""

_is_card_number = re.compile(CARD_NUMBER_PATTERN).fullmatch
_WITHOUT_SEPARATORS = str.maketrans("", "", " -")


class CardTokenizer:
    """Turns card numbers into tokens under one key."""

    def __init__(self, key: bytes) -> None:
        """`key`: 16 to 64 secret bytes. Raises ValueError (which names lengths only) for another size."""
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(
                f"card key has {len(key)} bytes; it must have {MIN_KEY_BYTES} to {MAX_KEY_BYTES}: "
                "make one with `openssl rand 32`"
            )
        self._keyed = blake2b(key=key, digest_size=TOKEN_BYTES)

    def token(self, card_number: str) -> CardToken | None:
        """The token of a number with or without separators (both give the same), or None if it is none."""
        if _is_card_number(card_number) is None:
            return None
        digits = card_number.translate(_WITHOUT_SEPARATORS)
        keyed = self._keyed.copy()
        keyed.update(digits.encode("ascii"))
        return CardToken(keyed.hexdigest(), digits[:6], digits[-4:])


def is_card_number(text: str) -> bool:
    """Whether the text has the form of the contract's `card_number`."""
    return _is_card_number(text) is not None
