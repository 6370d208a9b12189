"""The record of runs in memory, for tests.

Never: a clock.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.runs.port import Run


class MemoryBatchRuns:
    """See `BatchRuns`."""

    def __init__(self) -> None:
        self._runs: dict[UUID, Run] = {}

    def save(self, run: Run) -> None:
        self._runs[run.run_id] = run

    def last(self, count: int) -> Sequence[Run]:
        return sorted(self._runs.values(), key=lambda run: run.started, reverse=True)[:count]

    def last_good(self) -> float | None:
        return next((run.ended for run in self.last(len(self._runs)) if run.status is RunStatus.DONE), None)

    def fail_unfinished(self, ended: float, error: str) -> int:
        open_runs = [run for run in self._runs.values() if run.status is RunStatus.RUNNING]
        for run in open_runs:
            self.save(msgspec.structs.replace(run, status=RunStatus.FAILED, ended=ended, error=error))
        return len(open_runs)

    def close(self) -> None:
        return
