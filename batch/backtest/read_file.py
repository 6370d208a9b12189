"""A labelled file as a history: judged by the import's own decoder, in several processes.

    read chunks (here) → judge, read labels (workers) → accepted rows with labels, refused ones counted

Never: a row that the hot path would refuse; a label that is guessed.
"""

import secrets
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
from batch.backtest.labels import Words, labelled_columns
from batch.imports.column_map import FRAUD_FIELD, ImportRefused, printable
from batch.imports.form import PLAIN, Form
from batch.imports.layout import Layout
from batch.imports.look import prepare
from batch.imports.part import CLUSTER, Judge, Refused
from batch.imports.rows import Chunk
from batch.imports.run import NICENESS, decoder_of
from batch.imports.sources import FileFormat, column_names
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.ingest.columns import OUTCOME
from batch.workers import begin_worker
from ray_fraud.domain.feature_tables import Bools
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings

LABEL_UNKNOWN = "label_unknown"
SHOWN_REFUSALS = 3
MORE_WORDS = "name others as fraud_words or legitimate_words in a mapping's file (--map FILE.toml)"
USUAL_WORDS = Words()

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
    form: Form = PLAIN
    """How cells are written."""


def read_file(request: FileRequest, workers: int, tell: Tell = lambda _done, _all: None) -> ReadHistory:
    """The history in a file.

    Raises:
        ImportRefused: file, mapping or labels cannot be used.
    """
    decoder_of(request.card_key_file)  # A key that cannot be used is told now, not by a worker.
    names = column_names(request.file, request.file_format, request.form)
    columns = labelled_columns(request.mapping, request.fraud, names)
    layout = Layout(columns.mapping, request.form)
    source = prepare(request.file, request.file_format, layout, also=(columns.label,)).source
    parts: list[_Judged] = []
    for reached, judged in _judged(source.chunks(0), request, columns.label, workers):
        parts.append(judged)
        tell(reached, source.size)
    refused = [each for part in parts for each in part.refused]
    codes = Counter(each.code for each in refused)
    shown = [f"row {each.row}: {printable(each.reason)}" for each in refused[:SHOWN_REFUSALS]]
    if not any(len(part.fraud) for part in parts):
        told = ", ".join(f"{code} {count:,}" for code, count in sorted(codes.items())) or "it has none"
        raise ImportRefused(
            "\n".join([f"{request.file}: no row of it is a transaction with a label: {told}", *shown])
        )
    history = history_of(
        pa.concat_tables([part.rows for part in parts]), np.concatenate([part.fraud for part in parts])
    )
    return ReadHistory(history, Refusals(dict(sorted(codes.items())), shown), len(history) + len(refused))


def _judged(
    chunks: Iterator[Chunk], request: FileRequest, label: str, workers: int
) -> Iterator[tuple[int, _Judged]]:
    """Each chunk in order, and how much of the file lies before its end."""
    began_ms = round(time.time() * 1000)
    # A backtest keeps no user ids, so a key for it alone will do.
    user_key = secrets.token_bytes(32) if request.form.hash_user else None
    told = request.settings, began_ms, request.card_key_file, label, request.form, user_key
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


def _begin(
    settings: DetectionSettings,
    began_ms: int,
    card_key_file: Path | None,
    label: str,
    form: Form,
    user_key: bytes | None,
) -> None:
    begin_worker(NICENESS)
    partition = PartitionId(CLUSTER, "backtest", 0)
    user_ids = PLAIN_IDS if user_key is None else UserIds(user_key)
    _worker["judge"] = Judge(partition, decoder_of(card_key_file), settings, began_ms, user_ids)
    _worker["label"], _worker["words"] = label, Words(form)


def _work(chunk: Chunk) -> _Judged:
    return judge_labelled(_worker["judge"], chunk, _worker["label"], _worker["words"])


def judge_labelled(judge: Judge, chunk: Chunk, label: str, words: Words = USUAL_WORDS) -> _Judged:
    """The accepted rows of a chunk with their labels; a row whose label says nothing known is refused."""
    table, refused = judge.judge(chunk)
    cells = chunk.rows.cells(label)
    labels = [words.of(cell) for cell in cells]
    accepted = table.filter(table[OUTCOME].is_null())
    said = [labels[offset - chunk.first_row] for offset in accepted["offset"].to_pylist()]
    understood = np.array([each is not None for each in said], np.bool_)
    for row in accepted.filter(pa.array(~understood))["offset"].to_pylist():
        cell = cells[row - chunk.first_row]
        shown = printable(repr(cell))
        reason = f"{FRAUD_FIELD}: {shown} in column {label} is none of {words.accepted}; {MORE_WORDS}"
        refused.append(Refused(judge.partition.topic_id, row, LABEL_UNKNOWN, FRAUD_FIELD, reason, ""))
    rows = accepted.filter(pa.array(understood)).select(list(READ))
    return _Judged(rows, np.array([each for each in said if each is not None], np.bool_), refused)
