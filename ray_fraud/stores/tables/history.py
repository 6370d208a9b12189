"""What was done to a table of the lake, version by version, as its commits say.

Never: a version that is not in the log any more.
"""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.tables.care import CARE_NOTE
from ray_fraud.stores.tables.corrections import CORRECTION_NOTE
from ray_fraud.stores.tables.deletions import DELETION_NOTE
from ray_fraud.stores.tables.delta import RANGES, RUN
from ray_fraud.stores.tables.lake_tables import commit_time, open_table
from ray_fraud.stores.tables.port import ReadRange

_ROWS = ("num_deleted_rows", "num_target_rows_updated", "num_added_rows")
"""Of an operation's own figures: rows that went, were changed, came."""


class Commit(msgspec.Struct):
    """One version of a table."""

    version: int
    time: datetime
    operation: str
    rows: int | None
    """That came, went or were changed; None: the commit does not say, or changed none."""
    run: str | None
    """The ingest, care or deletion it belongs to."""
    note: str
    """What an ingest read and refused, what care did, why rows were corrected or deleted."""
    ranges: list[ReadRange]
    """Of an ingest."""


def history(location: LakeLocation, name: str, count: int) -> list[Commit]:
    """The newest `count` versions, newest first.

    Raises:
        StoreRefused: there is no such table.
        StoreUnavailable: the lake does not answer.
    """
    table = open_table(location, name)
    with delta_errors(f"read the history of {name}"):
        return [_commit(entry) for entry in table.history(count)]


def _commit(entry: dict[str, Any]) -> Commit:
    ranges = msgspec.json.decode(entry[RANGES], type=list[ReadRange]) if RANGES in entry else []
    metrics = entry.get("operationMetrics", {})
    rows = next((int(metrics[name]) for name in _ROWS if name in metrics), None)
    return Commit(
        int(entry["version"]),
        commit_time(entry["timestamp"]),
        str(entry["operation"]),
        sum(read.accepted for read in ranges) if ranges else rows,
        entry.get(RUN),
        _note(entry, ranges),
        ranges,
    )


def _note(entry: dict[str, Any], ranges: list[ReadRange]) -> str:
    for key in (DELETION_NOTE, CORRECTION_NOTE):
        if key in entry:
            said = msgspec.json.decode(entry[key])
            return f"{said['who']}: {said['reason']}"
    if CARE_NOTE in entry:
        return str(entry[CARE_NOTE])
    refused = sum((Counter(read.rejected) for read in ranges), Counter())
    parts = [f"{read.partition.partition}: {read.from_offset}–{read.to_offset}" for read in ranges]
    said = [f"{number} {code}" for code, number in sorted(refused.items())]
    return ", ".join(parts) + (f"; refused {', '.join(said)}" if said else "")
