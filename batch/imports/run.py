"""The import with its real outside: the file, worker processes, the lake.

    read chunks (here) → judge, write files (workers) → side file, commits, in order (here)

Never: Ray; a row in more processes than one at a time; more chunks in memory than two per worker.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from batch.imports.column_map import ImportRefused
from batch.imports.part import Judge, Part
from batch.imports.rows import Chunk
from batch.imports.sources import Source
from batch.ingest.manifest import write_rows
from batch.workers import begin_worker
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import LakeLocation, from_json, read_secret, to_json
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import TransactionTable

NICENESS = 10
"""Of the workers: on few cores a hot path on the same machine goes first."""
MAX_WORKERS = 8
"""Reading the file is one process's work, and keeps no more of them busy."""


class FileState:
    """What a file was at one moment, to notice that somebody writes it while it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._now()

    def _now(self) -> tuple[int, int]:
        status = self._file.stat()
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Raises ImportRefused if the file was written since."""
        if self._now() != self._stamp:
            raise ImportRefused(
                f"{self._file}: it was written while it was read; import it once it is finished"
            )


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker process is told."""

    lake: LakeLocation
    partition: PartitionId
    settings: DetectionSettings
    began_ms: int
    card_key_file: Path | None = None


def default_workers() -> int:
    """One per core."""
    return min(MAX_WORKERS, os.cpu_count() or 1)


def judge_of(config: WorkerConfig) -> Judge:
    """The judge with this deployment's card key. Raises as `decoder_of`."""
    return Judge(config.partition, decoder_of(config.card_key_file), config.settings, config.began_ms)


def decoder_of(card_key_file: Path | None) -> Decoder:
    """The decoder with this card key; None: rows with a card number are refused.

    Raises:
        ImportRefused: the key file cannot be read, may be read by others, or holds no key.
    """
    try:
        return Decoder(None if card_key_file is None else bytes.fromhex(read_secret(card_key_file)))
    except OSError as error:
        raise ImportRefused(f"card key: {error}") from error
    except ValueError:
        # The error's own text could hold a part of the key.
        raise ImportRefused(f"card key: {card_key_file} does not hold 16 to 64 bytes as hex digits") from None


def make_part(judge: Judge, table: TransactionTable, chunk: Chunk) -> Part:
    """Judges a chunk and writes its accepted rows.

    Raises:
        StoreError: the lake did not take a file.
    """
    rows, refused = judge.judge(chunk)
    return Part(chunk.first_row, chunk.to_row, chunk.reached, write_rows(table, rows), refused)


def parts_by_workers(
    source: Source, config: WorkerConfig, workers: int, read: Callable[[int], None] = lambda _: None
) -> Callable[[int], Iterator[Part]]:
    """Parts of the file in order, made by so many processes; `read` is told how much of it was judged."""

    def parts(position: int) -> Iterator[Part]:
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_begin, initargs=(to_json(config),)
        )
        waiting: deque[Future[Part]] = deque()
        try:
            for chunk in source.chunks(position):
                waiting.append(pool.submit(_work, chunk))
                if len(waiting) == 2 * workers:
                    yield _next(waiting, read)
            while waiting:
                yield _next(waiting, read)
        except BrokenProcessPool as error:
            raise ImportRefused(
                "a worker process ended before its time (out of memory?); run the same command again, it "
                "goes on from the last commit"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    return parts


def _next(waiting: "deque[Future[Part]]", read: Callable[[int], None]) -> Part:
    part = waiting.popleft().result()
    read(part.reached)
    return part


_worker: dict[str, Any] = {}
"""A worker process's own judge and table."""


def _begin(packed: bytes) -> None:
    begin_worker(NICENESS)
    config = from_json(packed, WorkerConfig)
    _worker["judge"], _worker["table"] = judge_of(config), DeltaTransactions(config.lake)


def _work(chunk: Chunk) -> Part:
    return make_part(_worker["judge"], _worker["table"], chunk)
