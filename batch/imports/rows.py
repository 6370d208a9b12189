"""Rows of a file, a few thousand at a time, before anyone judged them.

Never: I/O; a verdict of the contract's (that is the decoder's).
"""

from typing import Any, NamedTuple, Protocol

import msgspec

from batch.imports.user_ids import PLAIN_IDS, UserIds


class Unreadable(msgspec.Struct, frozen=True):
    """A row of which no value can be made, because the file's own form is broken there."""

    code: str
    reason: str
    original: bytes
    """As JSON or as it was read; not masked."""


Value = bytes | Unreadable | None
"""The contract's JSON; None for a blank line, which is a row number without a row."""


class Rows(Protocol):
    """Rows in one of the file formats; travels between processes."""

    def values(self, user_ids: UserIds = PLAIN_IDS) -> list[Value]:
        """One per row, in order; `user_ids` says what each user id is."""

    def cells(self, column: str) -> list[Any]:
        """A column's cells as the file has them, one per row; None where there is none.

        A Parquet file's column has to be asked for when the file is opened.
        """

    def original(self, index: int, value: bytes) -> bytes:
        """What a row was, card numbers masked; `value` is what `values` made of it."""


class Chunk(NamedTuple):
    """Consecutive rows; the first row of a file (below its header) has number 0."""

    first_row: int
    to_row: int
    reached: int
    """How much of the file lies before the end of this chunk, in units of the source's `size`."""
    rows: Rows
