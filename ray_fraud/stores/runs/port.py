"""What is remembered of the runs of the cold path.

Never: what a run did to the lake; the table's own commits say that.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from ray_fraud.domain.metrics import RunStatus


class RunKind(StrEnum):
    """Each kind has its own scheduler."""

    BATCH = "batch"
    TRAINING = "training"


class Run(msgspec.Struct, frozen=True):
    run_id: UUID
    started: float
    """Unix seconds."""
    cause: str
    """`schedule`, `request`, `catch-up` or `verdicts`."""
    status: RunStatus
    ended: float | None = None
    report: dict[str, Any] | None = None
    """What it did, as plain data."""
    error: str | None = None


class BatchRuns(Protocol):
    """Runs of one kind; those of another are never touched."""

    def save(self, run: Run) -> None:
        """Insert or replace by run id; repeating it is harmless.

        Raises:
            StoreUnavailable: the result is unknown; repeat it.
        """

    def last(self, count: int) -> Sequence[Run]:
        """The newest runs, newest first."""

    def last_good(self) -> float | None:
        """When the newest run that is done ended, unix seconds; None: there is none."""

    def fail_unfinished(self, ended: float, error: str) -> int:
        """Close every run that is still `running`; how many. For the only scheduler, at its start."""

    def close(self) -> None:
        """Repeating it is harmless."""
