"""Reading a file of transactions in chunks, in order, from any row on.

Never: a verdict on a row; a whole file in memory.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batch.imports.column_map import ColumnMap, ImportRefused, map_columns, map_keys
from batch.imports.csv_rows import NOT_CSV, CsvRows
from batch.imports.file_format import FileFormat as FileFormat
from batch.imports.form import DELIMITERS, PLAIN, Encoding, Form
from batch.imports.json_array import ArrayItems
from batch.imports.json_rows import JsonRows, keys_of
from batch.imports.opened import PACKED_SUFFIXES, Opened, opened_text
from batch.imports.parquet_rows import ParquetRows
from batch.imports.rows import Chunk, Unreadable

CHUNK_ROWS = 50_000
CHUNK_BYTES = 16 << 20
"""Of text: what comes first ends a chunk."""
LINE_BYTES = 1 << 20
"""Of a longer line the rest is passed over; the contract's limit is far below."""
SAMPLE_LINES = 1_000
"""Of JSON lines, to learn what keys there are."""


_FORMATS = {
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".csv": FileFormat.CSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".json": FileFormat.JSONL,
}


class Source(Protocol):
    """One file."""

    @property
    def size(self) -> int:
        """Rows, or bytes where nobody knows the rows ahead."""

    @property
    def columns(self) -> ColumnMap: ...

    def chunks(self, position: int) -> Iterator[Chunk]:
        """All rows from number `position` on.

        Raises:
            ImportRefused: the file is damaged from here on.
        """


def format_of(file: Path) -> FileFormat:
    """The format that a file's name says.

    Raises:
        ImportRefused: it says none.
    """
    name = file.with_suffix("") if file.suffix.lower() in PACKED_SUFFIXES else file
    found = _FORMATS.get(name.suffix.lower())
    if found is None:
        raise ImportRefused(f"{file}: the name says no format; add --format {' or '.join(FileFormat)}")
    return found


def open_source(
    file: Path,
    file_format: FileFormat,
    mapping: Mapping[str, str],
    chunk_rows: int = CHUNK_ROWS,
    also: Sequence[str] = (),
    form: Form = PLAIN,
) -> Source:
    """The file, once it is shown that it has the columns that are needed.

    `also`: columns whose cells are wanted beside those of the contract (`Rows.cells`).

    Raises:
        ImportRefused: it cannot be read, or columns are missing.
    """
    try:
        if file_format is FileFormat.PARQUET:
            return ParquetSource(file, mapping, chunk_rows, also, form)
        if file_format is FileFormat.CSV:
            return CsvSource(file, mapping, chunk_rows, form)
        return JsonSource(file, mapping, chunk_rows, form)
    except ImportRefused as error:
        raise ImportRefused(f"{file}: {error}") from error
    except OSError as error:
        raise ImportRefused(f"{file}: {error.strerror or error}") from error


def column_names(file: Path, file_format: FileFormat, form: Form = PLAIN) -> list[str]:
    """The names of its columns, whatever they are; of JSON lines the keys of the first ones.

    Raises:
        ImportRefused: it cannot be read.
    """
    try:
        if file_format is FileFormat.PARQUET:
            return list(pq.read_schema(file).names)
        if file_format is FileFormat.CSV:
            return CsvLayout.of(file, form).header
        with _items(file, form) as items:
            return keys_of(list(islice(items, SAMPLE_LINES)))
    except ImportRefused as error:
        raise ImportRefused(f"{file}: {error}") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise ImportRefused(f"{file}: it cannot be read: {error}") from error


def content_digest_of(file: Path) -> str:
    """SHA-256 of the content, hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class ParquetSource:
    """See `Source`; `size` counts rows."""

    def __init__(
        self,
        file: Path,
        mapping: Mapping[str, str],
        chunk_rows: int = CHUNK_ROWS,
        also: Sequence[str] = (),
        form: Form = PLAIN,
    ) -> None:
        self._form = form
        self._file = file
        self._chunk_rows = chunk_rows
        self._also = also
        try:
            with pq.ParquetFile(file) as opened:
                self.size: int = opened.metadata.num_rows
                schema: pa.Schema = opened.schema_arrow
        except pa.ArrowInvalid as error:
            raise ImportRefused(f"it is no Parquet file: {error}") from error
        self.columns = map_columns(
            mapping, schema.names, [field.name for field in schema if pa.types.is_struct(field.type)]
        )

    def chunks(self, position: int) -> Iterator[Chunk]:
        used = list(dict.fromkeys((*self.columns.used, *self._also)))
        try:
            with pq.ParquetFile(self._file) as opened:
                groups, number = _groups_from(opened.metadata, position)
                for batch in opened.iter_batches(self._chunk_rows, groups, used) if groups else ():
                    end = number + batch.num_rows
                    if end > position:
                        begin = max(number, position)
                        rows = ParquetRows(batch.slice(begin - number), self.columns, self._form, begin)
                        yield Chunk(begin, end, end, rows)
                    number = end
        except (pa.ArrowInvalid, OSError) as error:
            raise ImportRefused(f"{self._file}: it cannot be read on: {error}") from error


def _groups_from(metadata: pq.FileMetaData, position: int) -> tuple[list[int], int]:
    """The row groups that hold rows from `position` on, and the number of their first row."""
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if first + rows > position:
            return list(range(group, metadata.num_row_groups)), first
        first += rows
    return [], first


class CsvLayout(msgspec.Struct, frozen=True):
    """What a CSV file's first lines say."""

    header: list[str]
    delimiter: str
    encoding: str

    @classmethod
    def of(cls, file: Path, form: Form) -> "CsvLayout":
        """Raises ImportRefused if there is no header."""
        with opened_text(file, form.encoding) as opened:
            begin = opened.content.read(LINE_BYTES)
            delimiter = form.delimiter or _delimiter_of(begin, form.quote)
            first = next(csv_rows(begin.splitlines(), delimiter, form.quote), [])
            if not first or isinstance(first, Unreadable):
                raise ImportRefused("it has no header: the first line must name the columns")
            return cls(first, delimiter, opened.encoding)


def _delimiter_of(begin: bytes, quote: str) -> str:
    """What cuts the header into most columns; of equal ones the first, a comma before all."""
    line = begin.splitlines()[:1]
    return max(DELIMITERS, key=lambda each: len(next(csv_rows(line, each, quote), [])))  # type: ignore[arg-type]


class CsvSource:
    """See `Source`; quotes as RFC 4180 has them, a header line."""

    def __init__(
        self, file: Path, mapping: Mapping[str, str], chunk_rows: int = CHUNK_ROWS, form: Form = PLAIN
    ) -> None:
        self._file = file
        self._chunk_rows = chunk_rows
        self._form = form
        self.size = file.stat().st_size
        self.layout = CsvLayout.of(file, form)
        self.columns = map_columns(mapping, self.layout.header)

    def chunks(self, position: int) -> Iterator[Chunk]:
        with _readable(self._file), opened_text(self._file, self._form.encoding) as opened:
            lines = Lines(opened.content)
            rows = csv_rows(lines, self.layout.delimiter, self._form.quote)
            for _ in islice(rows, 1 + position):
                pass
            number = position
            while gathered := self._gathered(rows, lines):
                end = number + len(gathered)
                made = CsvRows(gathered, self.layout.header, self.columns, self._form, number)
                yield Chunk(number, end, _reached(lines, opened, self.size), made)
                number = end

    def _gathered(
        self, rows: Iterator[list[str] | Unreadable], lines: "Lines"
    ) -> list[list[str] | Unreadable]:
        gathered = []
        began = lines.read
        for row in rows:
            gathered.append(row)
            if len(gathered) == self._chunk_rows or lines.read - began > CHUNK_BYTES:
                break
        return gathered


class JsonSource:
    """See `Source`; one JSON object a line, or one array of objects."""

    def __init__(
        self, file: Path, mapping: Mapping[str, str], chunk_rows: int = CHUNK_ROWS, form: Form = PLAIN
    ) -> None:
        self._file = file
        self._chunk_rows = chunk_rows
        self._form = form
        self.size = file.stat().st_size
        with _items(file, form) as items:
            self.columns = map_keys(mapping, keys_of(list(islice(items, SAMPLE_LINES))))

    def chunks(self, position: int) -> Iterator[Chunk]:
        with _readable(self._file), opened_text(self._file, self._form.encoding) as opened:
            items = _items_of(opened)
            lines = iter(items)
            for _ in islice(lines, position):
                pass
            number, began, gathered = position, items.read, list[bytes]()
            for line in lines:
                gathered.append(line)
                if len(gathered) == self._chunk_rows or items.read - began > CHUNK_BYTES:
                    yield self._chunk(number, gathered, _reached(items, opened, self.size))
                    number, began, gathered = number + len(gathered), items.read, []
            if gathered:
                yield self._chunk(number, gathered, _reached(items, opened, self.size))

    def _chunk(self, number: int, lines: Sequence[bytes], reached: int) -> Chunk:
        rows = JsonRows(lines, self.columns, self._form, number)
        return Chunk(number, number + len(lines), reached, rows)


@contextmanager
def _items(file: Path, form: Form) -> Iterator["Lines | ArrayItems"]:
    with opened_text(file, form.encoding) as opened:
        yield _items_of(opened)


def _items_of(opened: Opened) -> "Lines | ArrayItems":
    begin = opened.content.peek(1).removeprefix(b"\xef\xbb\xbf").lstrip()  # type: ignore[attr-defined]
    if not begin.startswith(b"["):
        return Lines(opened.content)
    while opened.content.peek(1)[:1] != b"[":  # type: ignore[attr-defined]
        opened.content.read(1)
    return ArrayItems(opened.content)


def _reached(read: "Lines | ArrayItems", opened: Opened, size: int) -> int:
    """How much of the file lies before: of a packed or recoded one what its reader has taken."""
    return min(read.read, size) if opened.encoding == Encoding.UTF_8 and not opened.packed else opened.reached


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except ImportRefused as error:
        raise ImportRefused(f"{file}: {error}") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise ImportRefused(f"{file}: it cannot be read on: {error}") from error


class Lines:
    """Lines of a file without their ends, and how many bytes were read for them, in UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self._piece()
        if not line:
            raise StopIteration
        rest = line
        while len(rest) == LINE_BYTES and not rest.endswith(b"\n"):
            rest = self._piece()
        return line.removesuffix(b"\n").removesuffix(b"\r")

    def _piece(self) -> bytes:
        piece = self._file.readline(LINE_BYTES)
        self.read += len(piece)
        return piece


def csv_rows(
    lines: Iterable[bytes], delimiter: str = ",", quote: str = '"'
) -> Iterator[list[str] | Unreadable]:
    """Rows, blank ones as empty lists; bytes that are no UTF-8 stay recognisable (`surrogateescape`)."""
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for number, line in enumerate(lines):
            text = line.decode("utf-8", "surrogateescape")
            taken.append(text.removeprefix("\ufeff") if number == 0 else text)
            # With its end, which within quotes belongs to the cell.
            yield taken[-1] + "\n"

    reader = csv.reader(texts(), delimiter=delimiter, quotechar=quote)
    while True:
        taken.clear()
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            original = "\n".join(taken)[:LINE_BYTES].encode("utf-8", "surrogateescape")
            yield Unreadable(
                NOT_CSV, f"row is not CSV: {error}; look for a quote that is not closed", original
            )
