"""What keeps a Delta table quick and small: fewer and sorted files, no files that nothing names, a short log.

Each rewrite is one commit that changes no row: an ingest that commits meanwhile is not hindered, and a
rewrite that lost against a correction or a deletion changed nothing and may be repeated.

Two things must outlive all of it. Application transactions (how far the log was read, which gaps are known)
are in every checkpoint. The positions of all partitions are only in commits, so every commit of care carries
them on, and the log is not cleaned while the newest that has them is old enough to go with it.

Never: a file younger than the retention that no commit names (an ingest may be about to commit it); a row.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.columns import PARTITION_COLUMN, TRANSACTIONS
from ray_fraud.stores.tables.delta import RUN
from ray_fraud.stores.tables.evolution import NO_HOOKS
from ray_fraud.stores.tables.lake_tables import commit_time, open_table
from ray_fraud.stores.tables.positions import carried_on, last_positions

CARE_NOTE = "ray_fraud.care"
"""Key of the metadata of a commit of care: what it did."""
SORT_COLUMN = "user_id"
TARGET_BYTES = 100 * 1024 * 1024
ROW_GROUP_ROWS = 65_536
"""An engine that looks for one user skips whole row groups; delta-rs would put a million rows into one."""
GROWN = 1.1
"""A sorted date is sorted again once late records have made it a tenth larger."""
LEAST_RETENTION = timedelta(hours=24)
"""Files of an ingest lie there without a commit for as long as it reads; nothing reads for a day."""
DEFAULT_RETENTION = timedelta(days=7)
LOG, TOMBSTONES = "delta.logRetentionDuration", "delta.deletedFileRetentionDuration"
"""Properties of a table: how long its commits are kept, and its knowledge of removed files."""
LOG_RETENTION = timedelta(days=30)
"""Delta's default; that of removed files is a week."""
POSITIONS_MARGIN = timedelta(days=1)

_DURATION = re.compile(r"interval\s+(\d+)\s+(second|minute|hour|day|week)s?", re.IGNORECASE)


class Action(StrEnum):
    COMPACT = "compact"
    SORT = "z-order"


class Rewrite(msgspec.Struct, frozen=True):
    """Files that belong together and are written anew, in one commit."""

    action: Action
    date: str | None
    """The event date; None: the table is not partitioned."""
    files: int
    bytes: int
    rows: int


class TableFacts(msgspec.Struct, frozen=True):
    version: int
    files: int
    bytes: int
    rows: int


class Vacuumed(msgspec.Struct, frozen=True):
    files: int
    bytes: int | None
    """None: they were not removed, only counted."""


class TableCare:
    """The care of one table of the lake."""

    def __init__(self, location: LakeLocation, name: str) -> None:
        """Nothing is read yet."""
        self._location = location
        self.name = name

    def facts(self) -> TableFacts:
        """Raises: StoreRefused, StoreUnavailable, as `open_table`."""
        table = self._open()
        files = _files(table)
        return TableFacts(
            table.version(), files.num_rows, sum(_ints(files, "size_bytes")), sum(_ints(files, "num_records"))
        )

    def plan(self, *, sort: bool = True) -> list[Rewrite]:
        """What is worth rewriting, oldest date first.

        A date that is over (a newer one has rows) is sorted by user, once; every other place with two small
        files or more is compacted.
        """
        table = self._open()
        files, by_date = _files(table), PARTITION_COLUMN in table.metadata().partition_columns
        places: dict[str | None, list[tuple[int, int]]] = defaultdict(list)
        dates = files[f"partition.{PARTITION_COLUMN}"].to_pylist() if by_date else [None] * files.num_rows
        sizes, rows = _ints(files, "size_bytes"), _ints(files, "num_records")
        for date, size, count in zip(dates, sizes, rows, strict=True):
            places[None if date is None else date.isoformat()].append((size, count))
        sorts = sort and by_date and SORT_COLUMN in {field.name for field in table.schema().fields}
        newest = max((date for date in places if date is not None), default=None)
        planned = []
        for date, found in sorted(places.items(), key=lambda place: place[0] or ""):
            total = Rewrite(
                Action.COMPACT, date, len(found), sum(size for size, _ in found), sum(n for _, n in found)
            )
            if sorts and date != newest and date is not None and _wants_sort(table, date, total.rows):
                planned.append(msgspec.structs.replace(total, action=Action.SORT))
            elif sum(size < TARGET_BYTES for size, _ in found) > 1:
                planned.append(total)
        return planned

    def rewrite(self, rewrite: Rewrite, run_id: str) -> None:
        """One commit (for a sort also one that remembers it); repeating it is harmless.

        Raises:
            StoreUnavailable: it lost against another commit, or the lake does not answer; repeat it.
        """
        table = self._open()
        where = None if rewrite.date is None else [(PARTITION_COLUMN, "=", rewrite.date)]
        note = {RUN: run_id, CARE_NOTE: f"{rewrite.action} {rewrite.date or 'all'}"} | self._carried(table)
        commit = CommitProperties(custom_metadata=note)
        writer = WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP_ROWS)
        with delta_errors(f"{rewrite.action} {self.name} {rewrite.date or ''}".rstrip()):
            if rewrite.action is Action.COMPACT:
                table.optimize.compact(
                    partition_filters=where,
                    target_size=TARGET_BYTES,
                    max_concurrent_tasks=1,
                    writer_properties=writer,
                    commit_properties=commit,
                    post_commithook_properties=NO_HOOKS,
                )
                return
            table.optimize.z_order(
                [SORT_COLUMN],
                partition_filters=where,
                target_size=TARGET_BYTES,
                max_concurrent_tasks=1,
                writer_properties=writer,
                commit_properties=commit,
                post_commithook_properties=NO_HOOKS,
            )
            self._remember_sort(rewrite, note)

    def _remember_sort(self, rewrite: Rewrite, note: dict[str, str]) -> None:
        """As an application transaction, which outlives the log; `optimize` itself cannot carry one."""
        table = self._open()
        table.create_write_transaction(
            [],
            mode="append",
            schema=table.schema(),
            partition_by=table.metadata().partition_columns,
            commit_properties=CommitProperties(
                custom_metadata=note
                | {CARE_NOTE: f"remember {rewrite.action} {rewrite.date}"}
                | self._carried(table),
                app_transactions=[Transaction(_sort_id(rewrite.date), rewrite.rows)],
            ),
            post_commithook_properties=NO_HOOKS,
        )

    def vacuum(self, retention: timedelta, *, dry_run: bool = False) -> Vacuumed:
        """Removes files that no version younger than `retention` names, and abandoned ones older than that.

        Raises:
            StoreRefused: the retention is shorter than `LEAST_RETENTION`.
        """
        checked_retention(retention)
        if not dry_run:
            self._keep_tombstones(retention)
        return self._vacuum(retention, full=True, dry_run=dry_run)

    def _keep_tombstones(self, retention: timedelta) -> None:
        """A checkpoint forgets which files went when after a week; then a longer retention cannot be kept."""
        table = self._open()
        if retention > _duration(table, TOMBSTONES, DEFAULT_RETENTION):
            hours = math.ceil(retention.total_seconds() / 3600)
            with delta_errors(f"lengthen the retention of {self.name}"):
                table.alter.set_table_properties(
                    {TOMBSTONES: f"interval {hours} hours"},
                    commit_properties=CommitProperties(custom_metadata=self._carried(table)),
                )

    def purge(self) -> Vacuumed:
        """Removes at once what the newest version does not name any more: no earlier version can be read.

        Files that no commit ever named are left, whatever their age: one of them may be an ingest's.
        """
        return self._vacuum(timedelta(0), full=False, dry_run=False)

    def _vacuum(self, retention: timedelta, *, full: bool, dry_run: bool) -> Vacuumed:
        table = self._open()
        hours = round(retention.total_seconds() / 3600)
        with delta_errors(f"vacuum {self.name}"):
            found = len(table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=full))
            if dry_run or not found:
                return Vacuumed(found, None if dry_run else 0)
            gone = table.vacuum(
                hours,
                dry_run=False,
                enforce_retention_duration=False,
                full=full,
                commit_properties=CommitProperties(
                    custom_metadata={CARE_NOTE: "vacuum"} | self._carried(table)
                ),
                post_commithook_properties=NO_HOOKS,
            )
            starts = (c for c in self._open().history(10) if c["operation"] == "VACUUM START")
            metrics = next(starts, {}).get("operationMetrics", {})
            return Vacuumed(len(gone), int(metrics.get("sizeOfDataToDelete", 0)))

    def checkpoint(self) -> None:
        """The table's state at its newest version in one file, so that opening it reads few."""
        with delta_errors(f"checkpoint {self.name}"):
            self._open().create_checkpoint()

    def clean_log(self, now: datetime) -> bool:
        """Removes commits older than the table's log retention; whether that was safe and done."""
        table = self._open()
        with delta_errors(f"clean the log of {self.name}"):
            if self.name == TRANSACTIONS and not _positions_stay(table, now):
                return False
            table.cleanup_metadata()
        return True

    def _carried(self, table: DeltaTable) -> dict[str, str]:
        return carried_on(table) if self.name == TRANSACTIONS else {}

    def _open(self) -> DeltaTable:
        return open_table(self._location, self.name)


def checked_retention(retention: timedelta) -> timedelta:
    """Raises: StoreRefused if it is so short that it could take the files of an ingest that runs."""
    if retention < LEAST_RETENTION:
        days = retention.total_seconds() / 86_400
        raise StoreRefused(
            "lake",
            f"a retention of {days:g} days is too short: at least {LEAST_RETENTION.days} day, as files of "
            "an ingest that runs have no commit yet",
        )
    return retention


def _files(table: DeltaTable) -> pa.Table:
    return pa.table(table.get_add_actions(flatten=True))


def _ints(files: pa.Table, column: str) -> Sequence[int]:
    return [int(value or 0) for value in files[column].to_pylist()]


def _sort_id(date: str | None) -> str:
    return f"care:z-order:{date}"


def _wants_sort(table: DeltaTable, date: str, rows: int) -> bool:
    """Within one row group nothing can be skipped, sorted or not."""
    return rows > ROW_GROUP_ROWS and rows > GROWN * (table.transaction_version(_sort_id(date)) or 0)


def _positions_stay(table: DeltaTable, now: datetime) -> bool:
    named_ms = last_positions(table).named_ms
    if named_ms is None:
        return False
    return now - commit_time(named_ms) < _duration(table, LOG, LOG_RETENTION) - POSITIONS_MARGIN


def _duration(table: DeltaTable, name: str, usual: timedelta) -> timedelta:
    """A property of the table; zero if it cannot be read, which keeps the log."""
    said = table.metadata().configuration.get(name)
    if said is None:
        return usual
    found = _DURATION.fullmatch(said.strip())
    return timedelta(0) if found is None else timedelta(**{f"{found[2].lower()}s": int(found[1])})
