"""Reading a file of verdicts row by row: CSV, JSON lines, Parquet.

Never: a judgement of a row; a whole file in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batch.imports.column_map import ImportRefused
from batch.imports.csv_rows import WRONG_COLUMN_COUNT
from batch.imports.rows import Unreadable
from batch.imports.sources import FileFormat, Lines, csv_rows
from batch.verdicts.rows import COLUMNS, REQUIRED
from ray_fraud.domain.rejection import RejectionCode

PARQUET_ROWS = 5_000


class SourceRow(NamedTuple):
    number: int
    """0 is the first below a header; in JSON lines, the line."""
    cells: dict[str, Any] | Unreadable
    original: bytes
    """As JSON or as it was read; not masked."""


def rows_of(file: Path, file_format: FileFormat) -> Iterator[SourceRow]:
    """All rows in order, without blank lines.

    Raises:
        ImportRefused: it is no such file, or a column that is needed is missing.
    """
    readers: dict[FileFormat, Callable[[Path], Iterator[SourceRow]]] = {
        FileFormat.PARQUET: _parquet,
        FileFormat.CSV: _csv,
        FileFormat.JSONL: _json_lines,
    }
    return readers[file_format](file)


def _parquet(file: Path) -> Iterator[SourceRow]:
    number = 0
    try:
        with pq.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            _check_columns(file, names)
            used = [name for name in COLUMNS if name in names]
            for batch in opened.iter_batches(PARQUET_ROWS, columns=used):
                for cells in batch.to_pylist():
                    yield SourceRow(number, cells, _json(cells))
                    number += 1
    except pa.ArrowInvalid as error:
        raise ImportRefused(f"{file}: it cannot be read as Parquet: {error}") from error


def _csv(file: Path) -> Iterator[SourceRow]:
    with file.open("rb") as opened:
        rows = csv_rows(Lines(opened))
        header = next(rows, [])
        if isinstance(header, Unreadable):
            raise ImportRefused(f"{file}: {header.reason}")
        _check_columns(file, header)
        for number, row in enumerate(rows):
            if isinstance(row, Unreadable):
                yield SourceRow(number, row, row.original)
            elif len(row) == len(header):
                cells = dict(zip(header, row, strict=True))
                yield SourceRow(number, cells, _json(cells))
            elif row:
                reason = f"row has {len(row)} cells where the header has {len(header)}"
                original = _json(row)
                yield SourceRow(number, Unreadable(WRONG_COLUMN_COUNT, reason, original), original)


def _json_lines(file: Path) -> Iterator[SourceRow]:
    with file.open("rb") as opened:
        for number, line in enumerate(Lines(opened)):
            if line.strip():
                yield SourceRow(number, _object(line), line)


def _object(line: bytes) -> dict[str, Any] | Unreadable:
    try:
        found = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(RejectionCode.NOT_JSON, f"is no JSON: {error}", line)
    if not isinstance(found, dict):
        return Unreadable(RejectionCode.NOT_AN_OBJECT, "is no JSON object", line)
    return found


def _check_columns(file: Path, names: Sequence[str]) -> None:
    if missing := [name for name in REQUIRED if name not in names]:
        found = ", ".join(names) or "none"
        raise ImportRefused(f"{file}: no column {', '.join(missing)}; the columns are {found}")
    if twice := [name for name in COLUMNS if list(names).count(name) > 1]:
        raise ImportRefused(f"{file}: column {twice[0]} is there more than once; name each column once")


def _json(cells: object) -> bytes:
    try:
        return msgspec.json.encode(cells, enc_hook=str)
    except UnicodeEncodeError:
        return repr(cells).encode("utf-8", "backslashreplace")
