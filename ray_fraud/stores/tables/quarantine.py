"""The table `quarantine`: accepted records that could not become rows of `transactions`, and why.

It is made with its first record. A record is in it once, by its place in the log.

Never: a card number; a record that is in `transactions`.
"""

import logging
from collections.abc import Sequence

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors, plain
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.lake_limits import PATIENT, LakeLimits
from ray_fraud.stores.tables.evolution import NO_HOOKS, add_missing_columns, create_table
from ray_fraud.stores.tables.port import Quarantined

log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
ATTEMPTS = 5
SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("cluster_id", pa.string(), nullable=False),
        pa.field("topic_id", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("user_id", pa.int64()),
        pa.field("record_ms", pa.int64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("original", pa.string()),
        pa.field("noticed_ms", pa.int64(), nullable=False),
    ]
)


class DeltaQuarantine:
    """On a folder or on S3."""

    def __init__(self, location: LakeLocation, limits: LakeLimits = PATIENT) -> None:
        """Nothing is read yet."""
        self._address, self._options = delta_location(location, QUARANTINE, limits)

    def add(self, rows: Sequence[Quarantined]) -> list[Quarantined]:
        """Writes those that are not there yet; gives them back.

        Raises:
            StoreUnavailable: lost against others, or the lake does not answer; repeat it.
        """
        with delta_errors("create quarantine"):
            create_table(self._address, SCHEMA, [], self._options)
            add_missing_columns(self._address, SCHEMA, self._options)
        tried: list[Quarantined] = []
        for _ in range(ATTEMPTS):
            with delta_errors("read quarantine"):
                table = DeltaTable(self._address, storage_options=self._options)
                known = {(row.partition, row.offset) for row in _rows(table)}
            new = [row for row in rows if (row.partition, row.offset) not in known]
            if not new:
                return tried  # the reply of what was tried was lost, or another writer has them
            try:
                _write(table, new)
            except (DeltaError, OSError) as error:
                log.warning("lake: quarantine not written, looking again: %s", plain(error))
                tried = new
                continue
            return new
        raise StoreUnavailable("lake", f"{len(rows)} rows of quarantine not written in {ATTEMPTS} attempts")

    def rows(self) -> list[Quarantined]:
        """All of them, in order of the log; none if there is no table yet."""
        with delta_errors("read quarantine"):
            if not DeltaTable.is_deltatable(self._address, self._options):
                return []
            found = _rows(DeltaTable(self._address, storage_options=self._options))
        return sorted(found, key=lambda row: (row.partition, row.offset))


def _write(table: DeltaTable, rows: Sequence[Quarantined]) -> None:
    content = [{**msgspec.structs.asdict(row), **row.partition._asdict()} for row in rows]
    write_deltalake(
        table,
        pa.Table.from_pylist(content, schema=SCHEMA),
        mode="append",
        commit_properties=CommitProperties(
            # Of two at once that write of one partition the second has to look again.
            app_transactions=[Transaction(f"{QUARANTINE}:{each}", 1) for each in {r.partition for r in rows}],
        ),
        post_commithook_properties=NO_HOOKS,
    )


def _rows(table: DeltaTable) -> list[Quarantined]:
    return [
        Quarantined(
            PartitionId(row.pop("cluster_id"), row.pop("topic_id"), row.pop("partition")),
            **{name: row[name] for name in row if name in Quarantined.__struct_fields__},
        )
        for row in table.to_pyarrow_table().to_pylist()
    ]
