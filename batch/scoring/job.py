"""One job: all rows of a period by all of its versions, and one commit.

    done before? → files and count of one version → pieces (tasks) → shown to be complete → commit

The position `score:<job>` moves in the same commit as the files, from nothing to the fingerprint of the
parameters: so a job's rows are in the table once, whatever ends a run of it, and a finished one is known.

Never: a commit of rows that were not all seen; rows of the table in this process.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from batch.scoring.counts import ModelSummary, by_model, summary
from batch.scoring.plan import PIECE_ROWS, Piece, ScoreRefused, ScoreRequest, described, pieces_of
from batch.scoring.score import PieceReport
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.tables.period import StoredFile
from ray_fraud.stores.tables.port import DataFile, TableMoved
from ray_fraud.stores.tables.positioned import Move
from ray_fraud.stores.tables.retry import repeated

logger = logging.getLogger(__name__)

JOB = "ray_fraud.score_job"
PARAMETERS = "ray_fraud.score_parameters"
REPORT = "ray_fraud.score_report"
"""Keys of a commit's metadata; the latter two are JSON."""


class ScoreReport(msgspec.Struct):
    """What one job did, or had done before."""

    job: str
    since_ms: int
    until_ms: int
    source_version: int | None = None
    """Version of `ml_features` that was read; None if that is not known any more."""
    rows: int = 0
    """Rows of the period, each scored by every version."""
    without_features: int = 0
    """Imported rows of the period that have no features, as of now, and so no scores."""
    models: list[ModelSummary] = []
    files: int = 0
    version: int | None = None
    """Of `batch_scores` after the commit; None if nothing was committed."""
    scored_at_ms: int = 0
    finished_before: bool = False
    """An earlier run of the same job committed it, and this one wrote nothing."""
    seconds: float = 0.0


class ScoreProgress(msgspec.Struct, frozen=True):
    rows: int
    """Scored so far."""
    to_score: int


class PeriodFiles(Protocol):
    """The period in one version of `ml_features`, see `ray_fraud.stores.tables.period`."""

    version: int

    def files(self) -> list[StoredFile]: ...

    def count(self) -> int: ...


class ScoreTable(Protocol):
    """The table `batch_scores`, see `ray_fraud.stores.tables.positioned`."""

    name: str

    def create(self) -> None: ...

    def position(self, name: str) -> int | None: ...

    def commit_with(self, key: str, value: str) -> Mapping[str, str] | None: ...

    def commit(
        self, run_id: str, moves: Sequence[Move], files: Sequence[DataFile], facts: Mapping[str, str]
    ) -> int: ...


ScoreAll = Callable[[int, int, list[Piece]], Iterable[PieceReport]]
"""By the version of `ml_features`, the time of scoring (unix milliseconds) and the pieces."""
Progress = Callable[[ScoreProgress], None]


class ScoreJob:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        table: ScoreTable,
        period: Callable[[], PeriodFiles],
        score_all: ScoreAll,
        *,
        piece_rows: int = PIECE_ROWS,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        progress: Progress = lambda _: None,
        without_features: Callable[[], int] = lambda: 0,
    ) -> None:
        """`without_features`: imported rows of the period that `ml_features` does not have."""
        self._without_features = without_features
        self._table = table
        self._period = period
        self._score_all = score_all
        self._piece_rows = piece_rows
        self._now = now
        self._sleep = sleep
        self._progress = progress

    def run(self, request: ScoreRequest) -> ScoreReport:
        """Scores the period, unless an earlier run of the job did. Without rows nothing is committed.

        Raises:
            ScoreRefused: a job of this name was finished with other parameters.
            StoreDamaged: a row was not seen, or twice; nothing was committed.
            StoreError: nothing was committed, or it is not known; the same job again finds out.
        """
        began = self._now()
        self._table.create()
        before = self._finished(request)
        if before is not None:
            before.without_features = self._without_features()
            return before
        period = self._period()
        pieces, expected = pieces_of(period.files(), self._piece_rows), period.count()
        report = ScoreReport(request.job, request.since_ms, request.until_ms, period.version)
        report.scored_at_ms = round(began * 1000)
        parts: list[PieceReport] = []
        self._progress(ScoreProgress(0, expected))
        if expected:
            for part in self._score_all(period.version, report.scored_at_ms, pieces):
                parts.append(part)
                report.rows += sum(part.rows_by_path.values())
                self._progress(ScoreProgress(report.rows, expected))
            report.models = _complete(request, pieces, parts, expected)
            report = self._commit(request, report, [file for part in parts for file in part.files], began)
        # Of now, not of the job: behind the commit, whose metadata is for ever.
        report.without_features = self._without_features()
        report.seconds = self._now() - began
        return report

    def _finished(self, request: ScoreRequest) -> ScoreReport | None:
        """What an earlier run of the job did; None if none finished."""
        position = self._table.position(request.position)
        if position is None:
            return None
        commit = self._table.commit_with(JOB, request.job) or {}
        if position != request.fingerprint:
            known = described(commit[PARAMETERS]) if PARAMETERS in commit else "which are not known any more"
            raise ScoreRefused(
                f"job {request.job} is finished with other parameters, {known}, "
                f"not {described(request.parameters)}; take another name"
            )
        report = ScoreReport(request.job, request.since_ms, request.until_ms)
        try:
            report = msgspec.json.decode(commit[REPORT], type=ScoreReport)
            report.version = int(commit["version"])
        except (KeyError, msgspec.MsgspecError) as error:
            logger.warning("job %s: what it found is not known any more: %r", request.job, error)
        report.finished_before = True
        return report

    def _commit(
        self, request: ScoreRequest, report: ScoreReport, files: Sequence[DataFile], began: float
    ) -> ScoreReport:
        run_id = uuid.uuid4().hex
        report.files = len(files)
        report.seconds = self._now() - began
        facts = {
            JOB: request.job,
            PARAMETERS: request.parameters,
            REPORT: msgspec.json.encode(report).decode(),
        }
        moves = [Move(request.position, None, request.fingerprint)]
        try:
            report.version = repeated(
                self._table.name,
                lambda: self._table.commit(run_id, moves, files, facts),
                self._sleep,
            )
        except TableMoved:
            # Another run of the same job was first: its rows stand, and these files mean nothing.
            other = self._finished(request)
            if other is None:
                raise
            return other
        return report


def _complete(
    request: ScoreRequest, pieces: Sequence[Piece], parts: Sequence[PieceReport], expected: int
) -> list[ModelSummary]:
    """The summaries, once it is shown that each row of the period was scored once by each version.

    Raises:
        StoreDamaged: it was not; nothing may be committed.
    """
    planned = Counter(path for piece in pieces for path in piece.paths)
    seen = Counter(path for part in parts for path in part.rows_by_path)
    rows = sum(sum(part.rows_by_path.values()) for part in parts)
    written = sum(file.rows for part in parts for file in part.files)
    counts = by_model(each for part in parts for each in part.models)
    by_label = {
        version.label: counts[version.label].rows for version in request.versions if version.label in counts
    }
    wanted = {version.label: expected for version in request.versions}
    if seen != planned or rows != expected or by_label != wanted or written != sum(wanted.values()):
        raise StoreDamaged(
            "lake",
            f"job {request.job}: {rows} rows of {seen.total()} files, scored {by_label}, {written} written; "
            f"the period has {expected} rows in {planned.total()} files; nothing was committed",
        )
    return [summary(counts[version.label], version.digest, version.threshold) for version in request.versions]
