"""The side file: refused rows as JSON lines, in step with what is committed.

Lines of a chunk are written before the commit that covers it, and a run begins with dropping those at or
above the committed position: so after a kill no row is missing and none is there twice. Several imports may
share a file, one after the other.

Never: two runs in one file at once; a line of another import that is touched.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from batch.imports.column_map import ImportRefused
from batch.imports.part import Refused

MOST_BYTES = 256 << 20
"""Of the whole file: a wrong mapping must not fill the disk. What is beyond is only counted."""
LINE_BYTES = 1_000_000
"""More than any line of ours has."""
_BEGIN = b'{"import_id":'


class _Place(msgspec.Struct):
    """Whose line it is."""

    import_id: str
    row: int


class RejectedFile:
    """The file at `path`, held by this process until `close`."""

    def __init__(self, path: Path, import_id: str, most_bytes: int = MOST_BYTES) -> None:
        """Makes the file if there is none.

        Raises:
            ImportRefused: it cannot be written, or another import writes it now.
        """
        self._path = path
        self._import_id = import_id
        self._most_bytes = most_bytes
        self.left_out = 0
        """Lines of this run that found no room."""
        self._file = _held(path)

    def keep_below(self, position: int) -> None:
        """Drops this import's lines from row `position` on, and a line that a kill cut short.

        Raises:
            ImportRefused: the file is no side file.
        """
        self._file.seek(0)
        if all(self._stays(line, position) for line in self._lines()):
            self._file.seek(0, os.SEEK_END)
            return
        fresh_path = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh = fresh_path.open("w+b")
        fcntl.flock(fresh, fcntl.LOCK_EX)
        self._file.seek(0)
        fresh.writelines(line for line in self._lines() if self._stays(line, position))
        _to_disk(fresh)
        fresh_path.replace(self._path)
        self._file.close()
        self._file = fresh

    def add(self, refused: Iterable[Refused]) -> None:
        """Appends lines, as long as there is room; `flush` makes them permanent."""
        room = self._most_bytes - self._file.seek(0, os.SEEK_END)
        for each in refused:
            line = msgspec.json.encode(each) + b"\n"
            if len(line) <= room and not self.left_out:
                self._file.write(line)
                room -= len(line)
            else:
                self.left_out += 1

    def flush(self) -> None:
        """Returns once all lines are on disk."""
        _to_disk(self._file)

    def close(self) -> bool:
        """Lets the file go, and removes it if it is empty; whether there is one. It may be repeated."""
        if self._file.closed:
            return self._path.exists()
        self._file.flush()
        there = self._file.seek(0, os.SEEK_END) > 0
        if not there:
            self._path.unlink(missing_ok=True)
        self._file.close()
        return there

    def _lines(self) -> Iterator[bytes]:
        return iter(lambda: self._file.readline(LINE_BYTES), b"")

    def _stays(self, line: bytes, position: int) -> bool:
        try:
            place = msgspec.json.decode(line, type=_Place)
        except msgspec.MsgspecError:
            if not line.endswith(b"\n") and line[: len(_BEGIN)] == _BEGIN[: len(line)]:
                return False
            raise ImportRefused(
                f"{self._path}: it holds something else than refused rows; name another with --rejected"
            ) from None
        return line.endswith(b"\n") and (place.import_id != self._import_id or place.row < position)


def _held(path: Path) -> BinaryIO:
    while True:
        try:
            file = path.open("a+b")
        except OSError as error:
            raise ImportRefused(
                f"{path}: {error.strerror}; name another side file with --rejected"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ImportRefused(
                f"{path}: another import writes it now; wait for its end or name another with --rejected"
            ) from None
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
        # It was replaced or removed between opening and locking.
        file.close()


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
