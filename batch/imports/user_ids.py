"""User ids of a file as the contract's: the one function that every cell of such a column goes through.

Never: an id that is rounded; a key in a message.
"""

import hashlib
import re
from typing import Any

import msgspec

from batch.imports.numbers import exact_whole, number

BITS = 63
_PERSON = b"imported user"
_whole_text = re.compile(r"(-?[0-9]+)\.0+", re.ASCII).fullmatch


class UserIds:
    """What a cell's user id is; travels to worker processes by its parts only."""

    def __init__(self, key: bytes | None = None) -> None:
        """`key`: ids become keyed digests; None: they stay what they are."""
        self._key = key

    @property
    def hashes(self) -> bool:
        return self._key is not None

    def of(self, cell: Any) -> Any:
        """The id: a number if the cell is a whole one, however it is written, else what the cell says."""
        if self._key is not None:
            return self._digest(cell)
        if isinstance(cell, str):
            whole = _whole_text(cell.strip())
            return number(cell if whole is None else whole[1])
        return exact_whole(cell)

    def _digest(self, cell: Any) -> Any:
        """63 bits, so two of ten million users meet with a chance of 5 in a million."""
        plain = exact_whole(cell)
        if isinstance(plain, str):
            whole = _whole_text(plain.strip())
            plain = plain.strip() if whole is None else whole[1]
        elif isinstance(plain, msgspec.Raw):
            plain = bytes(plain).decode()
        elif isinstance(plain, bool) or not isinstance(plain, int):
            return cell
        if not str(plain):
            return None
        text = str(plain).encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(text, digest_size=8, key=self._key or b"", person=_PERSON).digest()
        return int.from_bytes(digest) >> (64 - BITS)


PLAIN_IDS = UserIds()
