"""A labelled file as a history: judged by the import's own decoder, in several processes.

    read chunks (here) → judge, read labels (workers) → accepted rows with labels, refused ones counted

Never: a row that the hot path would refuse; a label that is guessed.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from batch.backtest.history import READ, History, history_of
from batch.backtest.labels import FRAUD_FIELD, fraud_of, labelled_columns
from batch.imports.column_map import ImportRefused
from batch.imports.part import CLUSTER, Judge, Refused
from batch.imports.rows import Chunk
from batch.imports.run import NICENESS, decoder_of
from batch.imports.sources import FileFormat, column_names, open_source
from batch.ingest.columns import OUTCOME
from batch.workers import begin_worker
from ray_fraud.domain.feature_tables import Bools
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings

LABEL_UNKNOWN = "label_unknown"
SHOWN_REFUSALS = 3

Tell = Callable[[int, int], None]
"""(how much of the file is judged, how much there is), in the source's units."""


class Refusals(msgspec.Struct):
    """Rows that are in no history."""

    by_code: dict[str, int] = {}
    first: list[str] = []
    """The first few in words."""


class ReadHistory(NamedTuple):
    history: History
    refusals: Refusals
    rows: int
    """Of the file, blank lines left out."""


class _Judged(NamedTuple):
    rows: pa.Table
    fraud: Bools
    refused: list[Refused]


class FileRequest(NamedTuple):
    """A file, and how it is to be understood."""

    file: Path
    file_format: FileFormat
    mapping: Mapping[str, str]
    fraud: str | None
    """The label's column; None: found by its name."""
    settings: DetectionSettings
    card_key_file: Path | None = None
    """None: rows with a card number are refused."""


def read_file(request: FileRequest, workers: int, tell: Tell = lambda _done, _all: None) -> ReadHistory:
    """The history in a file.

    Raises:
        ImportRefused: file, mapping or labels cannot be used.
    """
    decoder_of(request.card_key_file)  # A key that cannot be used is told now, not by a worker.
    names = column_names(request.file, request.file_format)
    columns = labelled_columns(request.mapping, request.fraud, names)
    source = open_source(request.file, request.file_format, columns.mapping, also=(columns.label,))
    parts: list[_Judged] = []
    for reached, judged in _judged(source.chunks(0), request, columns.label, workers):
        parts.append(judged)
        tell(reached, source.size)
    if not any(len(part.fraud) for part in parts):
        raise ImportRefused(f"{request.file}: no row of it is a transaction; look at it with `lake import`")
    history = history_of(
        pa.concat_tables([part.rows for part in parts]), np.concatenate([part.fraud for part in parts])
    )
    refused = [each for part in parts for each in part.refused]
    codes = Counter(each.code for each in refused)
    shown = [f"row {each.row}: {each.reason}" for each in refused[:SHOWN_REFUSALS]]
    return ReadHistory(history, Refusals(dict(sorted(codes.items())), shown), len(history) + len(refused))


def _judged(
    chunks: Iterator[Chunk], request: FileRequest, label: str, workers: int
) -> Iterator[tuple[int, _Judged]]:
    """Each chunk in order, and how much of the file lies before its end."""
    began_ms = round(time.time() * 1000)
    told = request.settings, began_ms, request.card_key_file, label
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=told)
    waiting: deque[tuple[int, Future[_Judged]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk.reached, pool.submit(_work, chunk)))
            if len(waiting) == 2 * workers:
                reached, future = waiting.popleft()
                yield reached, future.result()
        while waiting:
            reached, future = waiting.popleft()
            yield reached, future.result()
    except BrokenProcessPool as error:
        raise ImportRefused("a worker process ended before its time; is the memory enough?") from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}
"""A worker process's own judge."""


def _begin(settings: DetectionSettings, began_ms: int, card_key_file: Path | None, label: str) -> None:
    begin_worker(NICENESS)
    partition = PartitionId(CLUSTER, "backtest", 0)
    _worker["judge"] = Judge(partition, decoder_of(card_key_file), settings, began_ms)
    _worker["label"] = label


def _work(chunk: Chunk) -> _Judged:
    return judge_labelled(_worker["judge"], chunk, _worker["label"])


def judge_labelled(judge: Judge, chunk: Chunk, label: str) -> _Judged:
    """The accepted rows of a chunk with their labels; a row whose label says nothing known is refused."""
    table, refused = judge.judge(chunk)
    cells = chunk.rows.cells(label)
    labels = [fraud_of(cell) for cell in cells]
    accepted = table.filter(table[OUTCOME].is_null())
    said = [labels[offset - chunk.first_row] for offset in accepted["offset"].to_pylist()]
    understood = np.array([each is not None for each in said], np.bool_)
    for row in accepted.filter(pa.array(~understood))["offset"].to_pylist():
        cell = cells[row - chunk.first_row]
        reason = f"{FRAUD_FIELD}: {cell!r} in column {label} is none of 0, 1, true and false"
        refused.append(Refused(judge.partition.topic_id, row, LABEL_UNKNOWN, FRAUD_FIELD, reason, ""))
    rows = accepted.filter(pa.array(understood)).select(list(READ))
    return _Judged(rows, np.array([each for each in said if each is not None], np.bool_), refused)
