"""Deleting a user's rows from the tables of the lake, on record before the first one goes.

The record is the table `lake_deletions`: events `requested`, then `deleted` of each table, then `done`. What
is requested and not done is open, and whoever goes on with it does no harm: rows are deleted by a predicate,
and how many there were stands in the commits themselves.

Never: a deletion that is not on record; a record deleted.
"""

import uuid
from datetime import datetime
from typing import Any

import msgspec
from deltalake import CommitProperties, WriterProperties

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.tables.columns import TRANSACTIONS
from ray_fraud.stores.tables.delta import RUN, SEARCHED_COMMITS
from ray_fraud.stores.tables.evolution import NO_HOOKS
from ray_fraud.stores.tables.lake_tables import DELETIONS, open_table, present_tables
from ray_fraud.stores.tables.positions import carried_on
from ray_fraud.stores.tables.records import RecordTable

DELETION_NOTE = "ray_fraud.deletion"
"""Key of a deleting commit's metadata: the request, JSON."""
USER_COLUMN = "user_id"
REQUESTED, DELETED, DONE = "requested", "deleted", "done"


class Deletion(msgspec.Struct, frozen=True):
    """A request."""

    deletion_id: str
    user_id: int
    who: str
    reason: str
    requested: datetime


class LakeDeletions:
    """Each method is one step; all may be repeated."""

    def __init__(self, location: LakeLocation) -> None:
        """Nothing is read yet."""
        self._location = location
        self._record = RecordTable(location, DELETIONS)

    def open_requests(self) -> list[Deletion]:
        """Requested and not done, oldest first.

        Raises:
            StoreUnavailable: the lake does not answer.
        """
        rows = self._record.rows()
        done = {row["deletion_id"] for row in rows if row["event"] == DONE}
        asked = [row for row in rows if row["event"] == REQUESTED and row["deletion_id"] not in done]
        found = [
            Deletion(row["deletion_id"], row[USER_COLUMN], row["who"], row["reason"], row["at"])
            for row in asked
        ]
        return sorted(found, key=lambda deletion: deletion.requested)

    def new(self, user_id: int, who: str, reason: str, at: datetime) -> Deletion:
        """A request with an id of its own, not yet on record."""
        return Deletion(uuid.uuid4().hex, user_id, who, reason, at)

    def request(self, deletion: Deletion) -> None:
        """Puts it on record. Raises: StoreUnavailable, repeat it."""
        self._add(deletion, REQUESTED, deletion.requested)

    def tables(self) -> list[str]:
        """The tables that have rows of users; the record of deletions keeps its own."""
        return [
            name
            for name in present_tables(self._location)
            if name != DELETIONS
            and USER_COLUMN in {field.name for field in open_table(self._location, name).schema().fields}
        ]

    def delete_rows(self, name: str, deletion: Deletion) -> int:
        """Deletes the user's rows of one table; how many went, earlier attempts of this request included.

        Raises:
            StoreUnavailable: lost against another commit, or the result is unknown; repeat it.
        """
        note = {RUN: deletion.deletion_id, DELETION_NOTE: msgspec.json.encode(deletion).decode()}
        table = open_table(self._location, name)
        if name == TRANSACTIONS:
            note |= carried_on(table)
        with delta_errors(f"delete rows of {name}"):
            table.delete(
                f"{USER_COLUMN} = {int(deletion.user_id)}",
                writer_properties=WriterProperties(compression="ZSTD"),
                commit_properties=CommitProperties(custom_metadata=note),
                post_commithook_properties=NO_HOOKS,
            )
            commits = open_table(self._location, name).history(SEARCHED_COMMITS)
        return sum(_deleted(commit) for commit in commits if commit.get(RUN) == deletion.deletion_id)

    def record_rows(self, deletion: Deletion, name: str, rows: int, at: datetime) -> None:
        """How many rows of a table went. Raises: StoreUnavailable, repeat it."""
        self._add(deletion, DELETED, at, table_name=name, rows=rows)

    def close(self, deletion: Deletion, rows: int, at: datetime) -> None:
        """All tables are through. Raises: StoreUnavailable, repeat it."""
        self._add(deletion, DONE, at, rows=rows)

    def _add(
        self,
        deletion: Deletion,
        event: str,
        at: datetime,
        table_name: str | None = None,
        rows: int | None = None,
    ) -> None:
        row = {
            "deletion_id": deletion.deletion_id,
            "event": event,
            "at": at,
            USER_COLUMN: deletion.user_id,
            "who": deletion.who,
            "reason": deletion.reason,
            "table_name": table_name,
            "rows": rows,
        }
        self._record.add(f"{deletion.deletion_id}:{event}:{table_name or ''}", row)


def _deleted(commit: dict[str, Any]) -> int:
    return int(commit.get("operationMetrics", {}).get("num_deleted_rows", 0))
