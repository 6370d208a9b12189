"""The users of a snapshot as Parquet: column `user_id` (int64) and column `state` (binary), zstd.

Never: checking contents (the store compares checksum, count and digest).
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [pa.field("user_id", pa.int64(), nullable=False), pa.field("state", pa.binary(), nullable=False)]
)
ROWS_PER_GROUP = 10_000
"""About 10 MB: the memory that writing needs, however many users there are."""


class _Hashing:
    """A stream that passes bytes on and hashes them; only what Parquet's writer uses."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()
        self.closed = False

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        self._stream.write(content)
        return len(content)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The stream behind is closed by who opened it."""
        self.closed = True


def write_users_file(stream: IO[bytes], users: Iterable[tuple[int, bytes]]) -> str:
    """Write all users; returns the SHA-256 of the file, hex."""
    hashing = _Hashing(stream)
    rows = iter(users)
    with pq.ParquetWriter(hashing, SCHEMA, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            user_ids, states = zip(*group, strict=True)
            writer.write_batch(
                pa.record_batch(
                    [pa.array(user_ids, pa.int64()), pa.array(states, pa.binary())], schema=SCHEMA
                )
            )
    return hashing.sha256.hexdigest()


def read_users_file(content: pa.Buffer) -> Iterator[tuple[int, bytes]]:
    """All users of a file whose checksum has been compared."""
    for batch in pq.ParquetFile(pa.BufferReader(content)).iter_batches(ROWS_PER_GROUP):
        yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
