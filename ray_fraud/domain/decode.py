"""From the bytes of a record to a transaction or a refusal: the gate of the contract.

The good path is one parse into a struct, whose types hold ranges and lengths, and a few scans that show
that nothing is left to check. Whatever they cannot show is looked at again by `refusal.find_fault`, which
reads the value a second time, slowly, and names the fault. A value is refused only by that second reading,
so every refusal has a code, a field and a sentence.

Never: an exception, whatever the input; a card number in anything it returns.
"""

import re

import msgspec

from ray_fraud.domain.card import CardTokenizer
from ray_fraud.domain.contract import (
    FIRST_TEXT_USER,
    MAX_DEPTH,
    MAX_USER_ID,
    MAX_VALUE_BYTES,
    Amount,
    Channel,
    Currency,
    Identifier,
    Timestamp,
    UserId,
    forbidden_in_identifier,
    forbidden_in_name,
    has_visible_text,
)
from ray_fraud.domain.field_rules import show
from ray_fraud.domain.refusal import find_fault
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.text_users import TextUsers, number_spelled
from ray_fraud.domain.transaction import Location, Transaction


class _Wire(msgspec.Struct, gc=False):
    """The value as it is written; the only type that ever holds a card number."""

    transaction_id: Identifier
    user_id: UserId | Identifier
    amount: Amount
    timestamp: Timestamp
    location: Location | None = None
    merchant_id: Identifier | None = None
    device_id: Identifier | None = None
    currency: Currency | None = None
    channel: Channel | None = None
    card_number: str | None = None


_KEYS_WITHOUT_LOCATION = len(_Wire.__struct_fields__) - 1
_KEYS_WITH_LOCATION = _KEYS_WITHOUT_LOCATION + 1 + len(Location.__struct_fields__)
_BACKSLASH, _DELETE = b"\\\x7f"

_contract_keys = re.compile(
    rb'"(%s)"[ \t\r\n]*:' % "|".join(_Wire.__struct_fields__ + Location.__struct_fields__).encode()
).findall
_escape_in_key = re.compile(rb"\\u00[2-7]").search
"""The escape that could spell a character of a contract field's name another way."""

_TAKEN = (
    "user_id: {}: its number is that of another text, so its records cannot be told from that user's; "
    "have the user given another id"
)
_UNEXPLAINED = Rejection(
    RejectionCode.NOT_JSON, "", "value: the parser refuses it; check it against the JSON Schema"
)
"""No known input leads here, and a property test looks for one; if there is one, it stops no partition."""


class Decoder:
    """Decodes values of topic `transactions`; one instance serves any number of records."""

    def __init__(
        self,
        card_key: bytes | None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        users: TextUsers | None = None,
    ) -> None:
        """`card_key`: secret of the card tokens (16–64 bytes); None refuses records with a card number.

        `users`: numbers of user ids that are text; None refuses such ids.

        Raises ValueError if the key has another size or the limit is not positive.
        """
        if max_value_bytes < 1:
            raise ValueError(f"max_value_bytes is {max_value_bytes}; it must be at least 1")
        self._tokenizer = None if card_key is None else CardTokenizer(card_key)
        self._max_value_bytes = max_value_bytes
        self.users = users
        self._largest_number = MAX_USER_ID if users is None else FIRST_TEXT_USER - 1
        self._parse = msgspec.json.Decoder(_Wire).decode

    def decode(self, value: bytes | None) -> Transaction | Rejection:
        """The transaction, or why the value is none.

        Unknown fields are ignored; null for an optional field means absent; an amount of -0.0 reads as 0.0.
        Raises UnclaimedUserError if the decoder's `users` want the user to be claimed first; nothing else.
        """
        if not value or len(value) > self._max_value_bytes:
            return self._refusal(value)
        try:
            wire = self._parse(value)
        except (ValueError, RecursionError):
            return self._refusal(value)

        location, user_id, user_text = wire.location, wire.user_id, None
        merchant_id, device_id, card_number = wire.merchant_id, wire.device_id, wire.card_number
        others = (merchant_id, device_id, wire.currency, wire.channel, card_number)
        if location is None:
            keys = _KEYS_WITHOUT_LOCATION - others.count(None)
        else:
            keys = _KEYS_WITH_LOCATION - others.count(None) - (location.city, location.country).count(None)
        # As many colons as fields read: none is given twice, null, or unknown to the contract.
        proven = value.count(b":") == keys or _extras_harmless(value)
        # Plain ASCII without escapes holds no forbidden character, and text from "!" on is not blank.
        if not (
            value.isascii()
            and _BACKSLASH not in value
            and _DELETE not in value
            and wire.transaction_id >= "!"
            and (merchant_id is None or merchant_id >= "!")
            and (device_id is None or device_id >= "!")
        ):
            proven = proven and _texts_allowed(wire)
        if not proven:
            rejection = self._find_fault(value)
            if rejection is not None:
                return rejection

        if user_id.__class__ is str or user_id > self._largest_number:  # type: ignore[operator]
            user = self._user_of(user_id, value)
            if isinstance(user, Rejection):
                return user
            user_id, user_text = user
        card = None
        if card_number is not None:
            card = self._tokenizer.token(card_number) if self._tokenizer else None
            if card is None:
                return self._refusal(value)
        return Transaction(
            wire.transaction_id,
            user_id,  # type: ignore[arg-type]  # a text has become its number
            wire.amount + 0.0,
            wire.timestamp,
            location,
            merchant_id,
            device_id,
            wire.currency,
            wire.channel,
            card,
            user_text,
        )

    def _user_of(self, user_id: int | str, value: bytes) -> tuple[int, str | None] | Rejection:
        """Number and text of a user whose id is text or too large, or why there is none."""
        if self.users is None or isinstance(user_id, int):
            return self._refusal(value)
        spelled = number_spelled(user_id)
        if spelled is not None:
            return self._refusal(value) if spelled > self._largest_number else (spelled, None)
        if not (_is_clean(user_id) and has_visible_text(user_id)):
            return self._refusal(value)
        number = self.users.number(user_id)
        if number is None:
            return Rejection(RejectionCode.USER_ID_TAKEN, "user_id", _TAKEN.format(show(user_id)))
        return number, user_id

    def _find_fault(self, value: bytes | None) -> Rejection | None:
        return find_fault(
            value,
            self._max_value_bytes,
            card_key_set=self._tokenizer is not None,
            user_key_set=self.users is not None,
        )

    def _refusal(self, value: bytes | None) -> Rejection:
        """The refusal of a value that the parser did not take."""
        return self._find_fault(value) or _UNEXPLAINED


def _extras_harmless(value: bytes) -> bool:
    """Whether unknown fields, nulls or colons in texts are shown to hide no fault; False means "look closer".

    The parser has checked the grammar of everything, but in what it skips neither UTF-8 nor depth, and of a
    field given twice it keeps the last.
    """
    if not value.isascii() and not _is_utf8(value):
        return False
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH:
        return False
    if _BACKSLASH in value and _escape_in_key(value):
        return False
    keys = _contract_keys(value)
    return len(keys) == len(set(keys))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _texts_allowed(wire: _Wire) -> bool:
    """Whether no text holds a forbidden character and every identifier has something to see."""
    for text in (wire.transaction_id, wire.merchant_id, wire.device_id):
        if text is not None and not (_is_clean(text) and has_visible_text(text)):
            return False
    if not all(text is None or _is_clean(text) for text in (wire.currency, wire.channel)):
        return False
    location = wire.location
    names = () if location is None else (location.city, location.country)
    return all(name is None or name.isprintable() or forbidden_in_name(name) is None for name in names)


def _is_clean(text: str) -> bool:
    return text.isprintable() or forbidden_in_identifier(text) is None
