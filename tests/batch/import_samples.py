"""Files of transactions for the tests of the import, and the naive reading of their rows.

`contract_document` says once more, slowly, what the contract's JSON of a row is.
"""

import csv
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from batch.imports.form import PLAIN, Form
from batch.imports.job import import_partition
from batch.imports.part import REFUND, Judge, Part, Refused, make_part
from batch.imports.sources import FileFormat, Source, open_source
from batch.imports.stage import TASK_ROWS, Stage, cut_days, pieces_of, rows_in
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.ingest.columns import OUTCOME
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.payload import payload_digest
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.tables.port import DataFile, TransactionTable
from tests.domain.samples import decoder

PARTITION = import_partition("0123456789abcdef" * 4)
FAR = 10**14 - 1
"""Unix milliseconds: no row is from after it."""
PLACE = ("lat", "lon", "city", "country")
TEXTS = (
    "transaction_id",
    "merchant_id",
    "device_id",
    "currency",
    "channel",
    "card_number",
    "city",
    "country",
)


class Verdict(NamedTuple):
    """What became of a row: the digest of its payload and its card's token, or code, field and reason."""

    digest: bytes | None = None
    card_token: str | None = None
    refusal: tuple[str, str, str] | None = None


def decoders_verdict(value: bytes | None, by: Decoder | None = None) -> Verdict:
    """What the hot path says of a value."""
    found = (by or decoder()).decode(value)
    if isinstance(found, Rejection):
        return Verdict(refusal=(found.code, found.field, found.message))
    return Verdict(payload_digest(found), None if found.card is None else found.card.token)


_IMPORTS_OWN_WORDS = re.compile(
    r"(?:; the value is |; accepted is |: a refund; |, or say --time-unit |: saved by |; if the file is not )"
    r".*",
    re.DOTALL,
)


def decoders_words(reason: str) -> str:
    """What the decoder says of a refused row, without what the import adds to it."""
    return _IMPORTS_OWN_WORDS.sub("", reason)


class Imported(NamedTuple):
    """A whole file, judged."""

    verdicts: dict[int, Verdict]
    """By row; a blank line has none."""
    refused: list[Refused]
    rows: pa.Table


def judged(
    file: Path,
    file_format: FileFormat,
    mapping: Mapping[str, str] | None = None,
    *,
    began_ms: int = FAR,
    position: int = 0,
    chunk_rows: int = 3,
    form: Form = PLAIN,
    user_ids: UserIds = PLAIN_IDS,
) -> Imported:
    """Reads and judges a file as the import does, without writing."""
    judge = Judge(PARTITION, decoder(), DetectionSettings(), began_ms, user_ids)
    verdicts: dict[int, Verdict] = {}
    refused: list[Refused] = []
    tables = []
    source = open_source(file, file_format, mapping or {}, chunk_rows, form=form)
    for chunk in source.chunks(position):
        rows, others = judge.judge(chunk)
        tables.append(rows)
        for row in rows.filter(pa.compute.is_null(rows[OUTCOME])).to_pylist():
            verdicts[row["offset"]] = Verdict(row["payload_digest"], row["card_token"])
        for each in others:
            code = "out_of_range" if each.code == REFUND else each.code
            verdicts[each.row] = Verdict(refusal=(code, each.field, decoders_words(each.reason)))
        refused += others
    return Imported(verdicts, refused, pa.concat_tables(tables) if tables else pa.table({}))


def contract_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a row of a table; cells that are None are absent."""
    document: dict[str, Any] = {}
    place: dict[str, Any] = {}
    for name, cell in row.items():
        if name == "location" and isinstance(cell, dict):
            place |= {key: value for key, value in cell.items() if value is not None}
        elif cell is not None:
            (place if name in PLACE else document)[name] = contract_value(name, cell)
    return document | ({"location": place} if place else {})


def contract_value(name: str, cell: Any) -> Any:
    """One cell in the contract's form, if it has one."""
    if name in TEXTS:
        return str(cell) if type(cell) is int else cell
    if name == "timestamp" and isinstance(cell, str) and re.match(r"\d{4}-\d\d-\d\d", cell.strip()):
        try:
            cell = datetime.fromisoformat(cell.strip())
        except ValueError:
            return cell
    if isinstance(cell, datetime):
        at = cell if cell.tzinfo else cell.replace(tzinfo=UTC)
        return (at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return cell


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([header, *rows])
    return file


def write_lines(file: Path, lines: Sequence[bytes]) -> Path:
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


class WorkHere:
    """The work of an import, without processes: see `batch.imports.job.Work`."""

    def __init__(
        self,
        source: Source,
        judge: Judge,
        table: TransactionTable,
        stage: Path,
        *,
        rows: int | None = None,
        task_rows: int = TASK_ROWS,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        """`rows`: ends there, as if killed. `between` is called once all parts are made."""
        stage.mkdir(parents=True, exist_ok=True)
        self._source = source
        self._judge = judge
        self._table = table
        self._stage = Stage(Path(tempfile.mkdtemp(dir=stage)))
        self._rows = rows
        self._task_rows = task_rows
        self._between = between

    def parts(self, position: int) -> Iterator[Part]:
        for chunk in self._source.chunks(position):
            if self._rows is None or chunk.to_row <= self._rows:
                yield make_part(self._judge, self._stage, chunk)
        self._between()

    def write(self, parts: Sequence[Part]) -> list[DataFile]:
        staged = [part.staged for part in parts]
        cut = cut_days(staged, self._task_rows)
        return [file for days in cut for file in self._table.write_files(rows_in(pieces_of(staged, days)))]

    def written(self, parts: Sequence[Part]) -> None:
        self._stage.drop([part.staged for part in parts])
