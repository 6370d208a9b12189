"""What becomes of a chunk of rows: rows of the table, and lines of the side file.

Rows are judged by the decoder and turned into columns by the ingest's own builder. A row's number is its
offset.

Never: I/O; a verdict of its own but one: no row is from after the import's start.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from batch.imports.masked import masked
from batch.imports.refused_words import in_words, is_refund
from batch.imports.rows import Chunk, Unreadable
from batch.imports.stage import Stage, Staged
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.ingest.columns import HOLE, NOTE, OUTCOME, UNWRITABLE, rows_of
from batch.ingest.manifest import Written, quarantined_of
from ray_fraud.domain.accept import CHECK_CLOCK, accept, kafka_timestamp
from ray_fraud.domain.contract import MAX_VALUE_BYTES
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.settings import DetectionSettings

CLUSTER = "import"
"""In place of a Kafka cluster's id, so that no import is taken for a life of a topic."""


REFUND = "refund"
"""A row whose only fault is an amount below 0: the contract has payments only. Counted by itself."""


class Refused(msgspec.Struct, frozen=True):
    """One line of the side file."""

    import_id: str
    row: int
    code: str
    field: str
    reason: str
    original: str
    """Without card numbers; cut if it is longer than any value may be."""


class Part(NamedTuple):
    """A chunk that is judged, and whose accepted rows are staged."""

    first_row: int
    to_row: int
    reached: int
    counted: Written
    """What became of its rows; without files."""
    staged: Staged
    refused: list[Refused]


def make_part(judge: "Judge", stage: Stage, chunk: Chunk) -> Part:
    """Judges a chunk and stages its accepted rows.

    Raises:
        ImportRefused: the disk does not take them.
    """
    rows, refused = judge.judge(chunk)
    outcomes = rows[OUTCOME]
    accepted = rows.filter(pc.is_null(outcomes)).drop_columns([OUTCOME, NOTE])
    counted = Written(
        partition=judge.partition.partition,
        first_offset=chunk.first_row,
        last_offset=chunk.to_row - 1,
        offsets=pc.count_distinct(rows["offset"]).as_py(),
        accepted=accepted.num_rows,
        outcomes=dict(Counter(outcomes.drop_null().to_pylist())),
        files=[],
        quarantined=quarantined_of(rows),
    )
    staged = stage.put(chunk.first_row, accepted)
    return Part(chunk.first_row, chunk.to_row, chunk.reached, counted, staged, refused)


class Judge(msgspec.Struct, frozen=True):
    """What decides on a row, the same for all rows of one run."""

    partition: PartitionId
    decoder: Decoder
    settings: DetectionSettings
    began_ms: int
    """When the import began, unix milliseconds: stands for the time at which all rows were sent."""
    user_ids: UserIds = PLAIN_IDS

    def judge(self, chunk: Chunk) -> tuple[pa.Table, list[Refused]]:
        """One row of `columns.ROWS` per row of the file, and the refused ones with their reason."""
        values = chunk.rows.values(self.user_ids)
        unreadable = {
            chunk.first_row + index: value
            for index, value in enumerate(values)
            if isinstance(value, Unreadable)
        }
        records = [
            Record(chunk.first_row + index, self.began_ms, None, value)
            for index, value in enumerate(values)
            if isinstance(value, bytes)
        ]
        table = rows_of(records, self.partition, chunk.first_row, chunk.to_row, self.decoder, self.settings)
        table = _sent_at_their_time(_with_codes(table, {row: each.code for row, each in unreadable.items()}))
        by_row = {record.offset: record.value for record in records}
        refused = self._refused(chunk, table, by_row, unreadable)
        refunds = {each.row: each.code for each in refused if each.code == REFUND}
        return _with_codes(table, refunds), refused

    def _refused(
        self,
        chunk: Chunk,
        table: pa.Table,
        values: Mapping[int, bytes | None],
        unreadable: Mapping[int, Unreadable],
    ) -> list[Refused]:
        others = table.filter(pc.is_valid(table[OUTCOME])).select(["offset", OUTCOME]).to_pydict()
        notes = {row.offset: row for row in quarantined_of(table, chunk.to_row - chunk.first_row)}
        refused = []
        for row, outcome in sorted(zip(others["offset"], others[OUTCOME], strict=True)):
            if outcome == HOLE:
                continue
            if outcome == UNWRITABLE:
                kept = notes[row]
                field, reason, original = "", kept.reason, (kept.original or "").encode()
            elif row in unreadable:
                broken = unreadable[row]
                field, reason, original = "", broken.reason, masked(broken.original)
            else:
                value = values[row] or b""
                rejection = self._rejection(row, value)
                field, reason = rejection.field, in_words(rejection, value)
                outcome = REFUND if is_refund(rejection, value) else outcome
                original = chunk.rows.original(row - chunk.first_row, value)
            text = original[:MAX_VALUE_BYTES].decode("utf-8", "backslashreplace")
            refused.append(Refused(self.partition.topic_id, row, outcome, field, reason, text))
        return refused

    def _rejection(self, row: int, value: bytes) -> Rejection:
        """Why a value was refused; read again, because refused ones are few.

        Raises:
            AssertionError: it is accepted now.
        """
        verdict = accept(Record(row, self.began_ms, None, value), self.decoder.decode, self.settings)
        if not isinstance(verdict, Rejection):
            raise AssertionError(f"row {row}: refused, and accepted when it was read again")
        if verdict.code is not RejectionCode.TIMESTAMP_IN_FUTURE:
            return verdict
        # There is no Kafka timestamp here: say what stood for it.
        message = verdict.message.replace(kafka_timestamp(self.began_ms), "the begin of this import")
        return Rejection(verdict.code, verdict.field, message.replace(CHECK_CLOCK, "check its time zone"))


def _with_codes(table: pa.Table, codes: Mapping[int, str]) -> pa.Table:
    """Unreadable rows have no record, like blank lines; their code tells them apart."""
    if not codes:
        return table
    outcomes = [
        codes.get(row, outcome)
        for row, outcome in zip(table["offset"].to_pylist(), table[OUTCOME].to_pylist(), strict=True)
    ]
    return _with_column(table, OUTCOME, pa.array(outcomes, pa.string()))


def _sent_at_their_time(table: pa.Table) -> pa.Table:
    """Nobody knows any more when a row was sent: its event time stands for it."""
    return _with_column(table, "record_time", table["event_time"])


def _with_column(table: pa.Table, name: str, column: pa.ChunkedArray | pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), column)
