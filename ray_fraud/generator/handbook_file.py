"""The handbook's transactions as a file that `lake import` reads, with the truth in two columns more.

Never: a file under its final name that is not complete.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ray_fraud.generator.handbook import HandbookTransactions

_CHUNK_ROWS = 65_536
_encode_lines = msgspec.json.Encoder().encode_lines


class HandbookFileError(ValueError):
    """The name says no format that can be written."""


def write_handbook(made: HandbookTransactions, file: Path) -> None:
    """Write all rows; the name's ending decides the format.

    Columns: transaction_id, timestamp (unix seconds), user_id, merchant_id, amount, fraud (0 or 1) and
    scenario (0 to 3). In JSON lines the ids of transaction and merchant are text, as in the contract.

    Raises:
        HandbookFileError: another ending than those of `check_name`.
        OSError: the file cannot be written.
    """
    write = check_name(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        write(made, unfinished)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def check_name(file: Path) -> Callable[[HandbookTransactions, Path], None]:
    """What writes a file of this name.

    Raises:
        HandbookFileError: its ending is none of .parquet, .csv, .jsonl and .ndjson.
    """
    write = _WRITERS.get(file.suffix.lower())
    if write is None:
        raise HandbookFileError(f"{file}: the ending must be one of {', '.join(_WRITERS)}")
    return write


def _table(made: HandbookTransactions) -> pa.Table:
    return pa.table(vars(made))


def _parquet(made: HandbookTransactions, file: Path) -> None:
    pa.parquet.write_table(_table(made), file)


def _csv(made: HandbookTransactions, file: Path) -> None:
    pa.csv.write_csv(_table(made), file, pa.csv.WriteOptions(quoting_style="needed"))


def _json_lines(made: HandbookTransactions, file: Path) -> None:
    with file.open("wb") as out:
        for start in range(0, len(made), _CHUNK_ROWS):
            out.write(_encode_lines(list(_objects(made, slice(start, start + _CHUNK_ROWS)))))


def _objects(made: HandbookTransactions, rows: slice) -> Iterator[dict[str, object]]:
    names = list(vars(made))
    for row in zip(*(column[rows].tolist() for column in vars(made).values()), strict=True):
        values = dict(zip(names, row, strict=True))
        yield values | {name: str(values[name]) for name in ("transaction_id", "merchant_id")}


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}
