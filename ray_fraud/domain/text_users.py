"""User ids that are text: the number under which such a user is kept, and whose number it is.

The number is a keyed digest of the text, from the upper half of the 64-bit ids, so that it meets no number
that a deployment with such a key accepts. Two texts can meet: whoever has claimed the number first has it
for ever (`docs/decisions/0028-text-user-ids-as-keyed-numbers.md`).

Never: I/O; a key in an error.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.contract import FIRST_TEXT_USER, MAX_USER_ID

MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 64
KNOWN_TEXTS: Final = 65_536
"""Texts that a decoder remembers: about 12 MB; beyond, it forgets all and asks again."""
_BITS: Final = 62
_PERSON: Final = b"ray-fraud user"

_spells_a_number = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII).fullmatch


class UnclaimedUserError(Exception):
    """A text whose number nobody has claimed yet; nothing was decided about its record."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "the number of a text user id is not claimed yet"


class TextUsers:
    """Numbers of text ids under one key."""

    def __init__(self, key: bytes, *, taken: Iterable[str] = (), must_be_claimed: bool = False) -> None:
        """`taken`: texts whose number belongs to another text.

        `must_be_claimed`: `number` raises for a text that `learn` has not told.

        Raises ValueError (which names lengths only) for a key that has not 16 to 64 bytes.
        """
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(
                f"user key has {len(key)} bytes; it must have {MIN_KEY_BYTES} to {MAX_KEY_BYTES}: "
                "make one with `openssl rand -hex 32`"
            )
        self._keyed = blake2b(key=key, digest_size=8, person=_PERSON)
        self._taken = frozenset(taken)
        self._must_be_claimed = must_be_claimed
        self._known: dict[str, int | None] = {}

    @property
    def fingerprint(self) -> str:
        """Tells one key from another and nothing about it, hex."""
        keyed = self._keyed.copy()
        keyed.update(b"\0fingerprint")
        return keyed.hexdigest()

    def number(self, text: str) -> int | None:
        """The number of a text that is no number's own spelling; None: another text has it.

        Raises:
            UnclaimedUserError: it must be claimed first (see `claim`).
        """
        known = self._known.get(text, 0)
        if known != 0:
            return known
        if self._must_be_claimed:
            raise UnclaimedUserError(text)
        self.make_room(1)
        number = None if text in self._taken else self.digest(text)
        self.learn({text: number})
        return number

    def digest(self, text: str) -> int:
        """The number that the text asks for, whoever has it: a function of text and key alone."""
        keyed = self._keyed.copy()
        keyed.update(text.encode())
        return FIRST_TEXT_USER + (int.from_bytes(keyed.digest()) >> (64 - _BITS))

    def learn(self, numbers: Mapping[str, int | None]) -> None:
        """What the register says of texts: their number, or None where another text has it."""
        self._known.update(numbers)

    def make_room(self, texts: int) -> None:
        """Forgets all if so many new ones would be too many."""
        if len(self._known) + texts > KNOWN_TEXTS:
            self._known.clear()


def number_spelled(text: str) -> int | None:
    """The number that a text spells as `str` would, else None: "17" is user 17, "017" and "1e3" are texts."""
    if _spells_a_number(text) is None:
        return None
    number = int(text)
    return number if number <= MAX_USER_ID else None


def numbers_of(users: TextUsers, texts: Iterable[str]) -> NDArray[np.int64]:
    """A column of ids, shape (n,) to (n,): each text is hashed once, spelled numbers are themselves.

    Raises:
        ValueError: two texts of the column have one number, or one's number is another text's already.
    """
    numbers: dict[str, int] = {}
    owners: dict[int, str] = {}
    column = list(texts)
    for text in dict.fromkeys(column):
        spelled = number_spelled(text)
        number = users.number(text) if spelled is None else spelled
        if number is None or owners.setdefault(number, text) != text:
            raise ValueError(f"user id {text!r}: its number is another text's; it cannot be taken in")
        numbers[text] = number
    return np.array([numbers[text] for text in column], np.int64)
