"""The items of one JSON array, one after the other, as lines of a JSON-lines file would be.

Never: the whole array in memory; a verdict on an item.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from batch.imports.column_map import ImportRefused

READ_BYTES = 1 << 20
MOST_ITEM_BYTES = 16 << 20
_token = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},"]', re.DOTALL)


class ArrayItems:
    """Items as they are written; `read` counts bytes."""

    def __init__(self, file: BinaryIO) -> None:
        """The file's first byte that is no space is the array's bracket."""
        self._file = file
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raises ImportRefused where the array is broken: nothing behind that can be told apart."""
        held, at, begin, depth = b"", 0, 0, 0
        while True:
            piece = self._file.read(READ_BYTES)
            self.read += len(piece)
            held = held[begin:] + piece
            at, begin = at - begin, 0
            for found in _token.finditer(held, at):
                mark = held[found.start() : found.start() + 1]
                if mark == b'"':
                    if found.end() == found.start() + 1:
                        break  # A text whose end is not read yet.
                    at = found.end()
                    continue
                at = found.end()
                if mark in b"[{":
                    depth += 1
                    begin = at if depth == 1 else begin
                elif mark == b"," and depth == 1:
                    yield held[begin : found.start()].strip()
                    begin = at
                elif mark in b"]}":
                    depth -= 1
                    if depth == 0:
                        last = held[begin : found.start()].strip()
                        if last:
                            yield last
                        self._nothing_behind(held[at:])
                        return
            if not piece:
                raise ImportRefused("the JSON array has no end; is the file complete?")
            if len(held) - begin > MOST_ITEM_BYTES:
                raise ImportRefused(
                    f"an item of the JSON array has more than {MOST_ITEM_BYTES >> 20} MiB; "
                    "is a quote not closed?"
                )

    def _nothing_behind(self, rest: bytes) -> None:
        if (rest + self._file.read(READ_BYTES)).strip():
            raise ImportRefused("something lies behind the JSON array; give one array, or one object a line")
