"""Deleting one user's rows from the lake on request.

    request on record → each table: delete, how many on record → done on record

Whatever ends the process in between leaves an open request; asking again for that user, or the next care,
goes on with it.

Never: a new request while an open one of the same user can be finished.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.care import TableCare
from ray_fraud.stores.tables.deletions import Deletion, LakeDeletions
from ray_fraud.stores.tables.retry import patiently


class DeletionReport(msgspec.Struct):
    """What one deletion did."""

    deletion_id: str
    user_id: int
    resumed: bool
    """It went on with a request that had been left open."""
    rows: dict[str, int] = {}
    """By table."""
    purged_files: int | None = None
    """None: the bytes are still there until vacuum takes them."""
    bytes_until: datetime | None = None
    """The first care after this moment removes the bytes; None: they are gone."""


class UserDeletion:
    """The steps, with their outside given, so that each can be made to fail."""

    def __init__(
        self,
        lake: LakeDeletions,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lake = lake
        self._now = now
        self._sleep = sleep

    def run(self, user_id: int, who: str, reason: str) -> DeletionReport:
        """Deletes all rows that the tables hold now.

        Raises:
            StoreError: what was done stays done, and the request open; ask again.
        """
        opened = [request for request in self._lake.open_requests() if request.user_id == user_id]
        if opened:
            reports = [self.finish(request) for request in opened]
            return reports[-1]
        deletion = self._lake.new(user_id, who, reason, self._moment())
        patiently(lambda: self._lake.request(deletion), self._sleep)
        report = self.finish(deletion)
        report.resumed = False
        return report

    def finish(self, deletion: Deletion) -> DeletionReport:
        """Goes through all tables, from whatever an earlier attempt left."""
        report = DeletionReport(deletion.deletion_id, deletion.user_id, resumed=True)
        for name in self._lake.tables():
            self._delete(name, deletion, report)
        total = sum(report.rows.values())
        patiently(lambda: self._lake.close(deletion, total, self._moment()), self._sleep)
        return report

    def _delete(self, name: str, deletion: Deletion, report: DeletionReport) -> None:
        rows = patiently(lambda: self._lake.delete_rows(name, deletion), self._sleep)
        patiently(lambda: self._lake.record_rows(deletion, name, rows, self._moment()), self._sleep)
        report.rows[name] = rows

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)


def delete_user(
    location: LakeLocation,
    user_id: int,
    who: str,
    reason: str,
    retention: timedelta,
    *,
    purge: bool = False,
) -> DeletionReport:
    """Deletes the user's rows; with `purge` also the files they lay in, and with them every earlier version.

    Raises:
        StoreError: the request stays open; ask again.
    """
    report = UserDeletion(LakeDeletions(location)).run(user_id, who, reason)
    if purge:
        tables = [TableCare(location, name) for name in report.rows]
        report.purged_files = sum(patiently(table.purge).files for table in tables)
    else:
        report.bytes_until = datetime.now(UTC) + retention
    return report


def finish_open(
    location: LakeLocation,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Deletion]:
    """Finishes every request that was left open; those.

    Raises:
        StoreError: the rest stays open.
    """
    lake = LakeDeletions(location)
    work = UserDeletion(lake, now=now, sleep=sleep)
    finished = []
    for request in lake.open_requests():
        work.finish(request)
        finished.append(request)
    return finished
