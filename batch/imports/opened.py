"""A file of text as bytes of UTF-8, whatever it is packed or encoded in.

Never: a character that is replaced; a packed file that ends in the middle and is taken for whole.
"""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

import pyarrow as pa

from batch.imports.column_map import ImportRefused
from batch.imports.form import Encoding

BUFFER_BYTES = 1 << 20
PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BOMS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_LOOKED_AT = 4_096


class Opened:
    """What is read, and how far in the file it is."""

    def __init__(
        self, content: BinaryIO, file: IO[bytes] | pa.NativeFile, encoding: str, *, packed: bool
    ) -> None:
        self.content = content
        self.encoding = encoding
        self.packed = packed
        self._file = file

    @property
    def reached(self) -> int:
        """Bytes of the file that were read; of a plain one a buffer more than was taken."""
        return int(self._file.tell())


@contextmanager
def opened_text(file: Path, encoding: Encoding | None = None) -> Iterator[Opened]:
    """The file's text as UTF-8.

    Raises:
        OSError: it cannot be read, or not on.
        ImportRefused: it is not in this encoding.
    """
    with file.open("rb") as plain:
        begin = plain.read(max(map(len, _PACKED)))
        plain.seek(0)
        packed = next((kind for magic, kind in _PACKED.items() if begin.startswith(magic)), None)
        if packed is None:
            yield _decoded(plain, plain, encoding, packed=False)
            return
    with pa.OSFile(str(file)) as source, pa.CompressedInputStream(source, packed) as unpacked:
        content = cast("BinaryIO", io.BufferedReader(_Unpacked(unpacked), BUFFER_BYTES))
        yield _decoded(content, source, encoding, packed=True)


class _Unpacked(io.RawIOBase):
    """Arrow's stream as one of Python's; Arrow raises where a packed file ends in the middle."""

    def __init__(self, stream: pa.NativeFile) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the protocol's own type
        content: bytes = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _decoded(
    content: BinaryIO, file: IO[bytes] | pa.NativeFile, encoding: Encoding | None, *, packed: bool
) -> Opened:
    begin = content.read(_LOOKED_AT)
    rest = cast("BinaryIO", io.BufferedReader(_Again(begin, content), BUFFER_BYTES))
    if encoding in (None, Encoding.UTF_16):
        found = _BOMS.get(begin[:2]) or _utf16_without_bom(begin)
        if found is None and encoding is Encoding.UTF_16:
            found = "utf-16-le"
        if found is not None:
            text = _Transcoded(rest, found)
            return Opened(
                cast("BinaryIO", io.BufferedReader(text, BUFFER_BYTES)), file, "utf-16", packed=packed
            )
    if encoding in (Encoding.LATIN_1, Encoding.WINDOWS_1252):
        text = _Transcoded(rest, encoding)
        return Opened(cast("BinaryIO", io.BufferedReader(text, BUFFER_BYTES)), file, encoding, packed=packed)
    return Opened(rest, file, Encoding.UTF_8, packed=packed)


def _utf16_without_bom(begin: bytes) -> str | None:
    """By the zeros that ASCII has in it."""
    pairs = len(begin) // 2
    if pairs < 2:
        return None
    if begin[1 : 2 * pairs : 2].count(0) > 0.8 * pairs and begin[0 : 2 * pairs : 2].count(0) < 0.1 * pairs:
        return "utf-16-le"
    if begin[0 : 2 * pairs : 2].count(0) > 0.8 * pairs and begin[1 : 2 * pairs : 2].count(0) < 0.1 * pairs:
        return "utf-16-be"
    return None


class _Again(io.RawIOBase):
    """What was looked at, then the rest."""

    def __init__(self, begin: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._begin = begin
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the protocol's own type
        if self._begin:
            part, self._begin = self._begin[: len(buffer)], self._begin[len(buffer) :]
        else:
            part = self._rest.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


class _Transcoded(io.RawIOBase):
    """Another encoding's bytes as UTF-8. Lone surrogates stay, as bytes that are none: they are refused."""

    def __init__(self, content: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._content = content
        self._encoding = encoding
        errors = "surrogatepass" if encoding.startswith("utf-16") else "strict"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._waiting = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the protocol's own type
        while not self._waiting and not self._ended:
            read = self._content.read(BUFFER_BYTES)
            self._ended = not read
            try:
                text = self._decoder.decode(read, self._ended)
            except UnicodeDecodeError as error:
                raise ImportRefused(
                    f"it is not in {self._encoding}: {error.reason}; name another by --encoding"
                ) from error
            self._waiting = text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
        part, self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
