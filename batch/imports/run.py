"""The import with its real outside: the file, worker processes, the lake.

    read chunks (here) → judge, stage (workers) → side file, in order (here)
                       → files by date of what is staged (workers) → commit (here)

Never: Ray; a row in more processes than one at a time; more chunks in memory than two per worker.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from batch.imports.column_map import ImportRefused
from batch.imports.part import Judge, Part, make_part
from batch.imports.rows import Chunk
from batch.imports.sources import Source
from batch.imports.stage import Piece, Stage, cut_days, pieces_of, rows_in
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.workers import begin_worker
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import LakeLocation, from_json, read_secret, to_json
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import DataFile, TransactionTable

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
    hash_user: bool = False


def default_workers() -> int:
    """One per core."""
    return min(MAX_WORKERS, os.cpu_count() or 1)


def judge_of(config: WorkerConfig) -> Judge:
    """The judge with this deployment's card key. Raises as `decoder_of`."""
    return Judge(
        config.partition,
        decoder_of(config.card_key_file),
        config.settings,
        config.began_ms,
        user_ids_of(config.card_key_file, hash_user=config.hash_user),
    )


def user_ids_of(card_key_file: Path | None, *, hash_user: bool) -> UserIds:
    """What user ids are.

    Raises:
        ImportRefused: they are to be hashed, and there is no key that can be used.
    """
    if not hash_user:
        return PLAIN_IDS
    if card_key_file is None:
        raise ImportRefused("user ids are hashed with the card key, and there is none; add --card-key-file")
    return UserIds(_key_in(card_key_file))


def decoder_of(card_key_file: Path | None) -> Decoder:
    """The decoder with this card key; None: rows with a card number are refused.

    Raises:
        ImportRefused: the key file cannot be read, may be read by others, or holds no key.
    """
    return Decoder(None if card_key_file is None else _key_in(card_key_file))


def _key_in(card_key_file: Path) -> bytes:
    try:
        key = bytes.fromhex(read_secret(card_key_file))
        Decoder(key)  # Refuses keys of another length.
    except OSError as error:
        raise ImportRefused(f"card key: {error}") from error
    except ValueError:
        # The error's own text could hold a part of the key.
        raise ImportRefused(f"card key: {card_key_file} does not hold 16 to 64 bytes as hex digits") from None
    return key


class ImportWorkers:
    """Processes that judge chunks and write files: the work of one import. Close it.

    Parts come in order; the processes judge ahead of whoever takes them.
    """

    def __init__(
        self,
        source: Source,
        config: WorkerConfig,
        workers: int,
        stage: Stage,
        read: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`read` is told how much of the file was judged."""
        self._source = source
        self._workers = workers
        self._stage = stage
        self._read = read
        told = to_json(config), str(stage.folder)
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=told)

    def parts(self, position: int) -> Iterator[Part]:
        """See `Work`."""
        waiting: deque[Future[Part]] = deque()
        with _alive():
            for chunk in self._source.chunks(position):
                waiting.append(self._pool.submit(_judge, chunk))
                if len(waiting) == 2 * self._workers:
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)

    def _next(self, waiting: "deque[Future[Part]]") -> Part:
        part = waiting.popleft().result()
        self._read(part.reached)
        return part

    def write(self, parts: Sequence[Part]) -> list[DataFile]:
        """See `Work`."""
        staged = [part.staged for part in parts]
        with _alive():
            tasks = [self._pool.submit(_write, pieces_of(staged, days)) for days in cut_days(staged)]
            return [file for task in tasks for file in task.result()]

    def written(self, parts: Sequence[Part]) -> None:
        """See `Work`."""
        self._stage.drop([part.staged for part in parts])

    def close(self) -> None:
        """Ends the processes; returns once they are gone."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise ImportRefused(
            "a worker process ended before its time (out of memory?); run the same command again, it "
            "goes on from the last commit"
        ) from error


_worker: dict[str, Any] = {}
"""A worker process's own judge, stage and table."""


def _begin(packed: bytes, stage: str) -> None:
    begin_worker(NICENESS)
    config = from_json(packed, WorkerConfig)
    _worker["judge"], _worker["table"] = judge_of(config), DeltaTransactions(config.lake)
    _worker["stage"] = Stage(Path(stage))


def _judge(chunk: Chunk) -> Part:
    return make_part(_worker["judge"], _worker["stage"], chunk)


def _write(pieces: Sequence[Piece]) -> list[DataFile]:
    table: TransactionTable = _worker["table"]
    return table.write_files(rows_in(pieces))
