"""The lake's rows of a log give the states, features and effects of the log itself."""

import pytest

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.payload import payload_digest
from ray_fraud.domain.record import DecodedRecord, Record
from ray_fraud.domain.rejection import Rejection
from tests.oracle.compare import compare
from tests.oracle.controls import Changes
from tests.oracle.oracle import OracleResult
from tests.oracle.product import collect_all, run_product, scores_of
from tests.oracle.streams import SKEW_MS, Stream, StreamOptions, make_stream
from tests.oracle.tables import DRAWN

FORGETFUL = Changes(settings=0, splits=6, quarantines=20, gaps=4, refreshes=5, max_events=8, idle_hours=24)


def accepted(records: list[Record]) -> list[DecodedRecord]:
    """What an ingest would have kept."""
    decoder, kept = Decoder(None), []
    for record in records:
        transaction = decoder.decode(record.value)
        if isinstance(transaction, Rejection) or transaction.event_ms > record.timestamp_ms + SKEW_MS:
            continue
        digest = payload_digest(transaction)
        sent_ms, event_ms = record.timestamp_ms, transaction.event_ms
        kept.append(DecodedRecord(record.offset, sent_ms, transaction, digest, event_ms))
    return kept


def run_decoded(stream: Stream, batch_records: int) -> OracleResult:
    state = PartitionState(0, Decoder(None), timeline=stream.timeline, tables=DRAWN)
    pieces = []
    rest = accepted(stream.records)
    while rest:
        observed = state.observe_decoded(rest[:batch_records])
        pieces.append((observed, state.decide(observed, scores_of(observed))))
        rest = [record for record in rest if record.offset >= observed.next_offset]
    return collect_all(state, pieces)


@pytest.mark.parametrize("batch_records", [1, 90, 5_000])
def test_rows_of_the_lake_fold_like_the_log(batch_records: int) -> None:
    options = StreamOptions(seed=61, records=1_500, users=40, quiet_periods=0.004, changes=FORGETFUL)
    stream = make_stream(options)
    expected = run_product(stream.records, stream.timeline)
    assert expected.counts["rejected"] > 20
    assert expected.counts["forgotten"] > 0
    actual = run_decoded(stream, batch_records)
    # What was refused is not in the lake, quarantined or not; all else is counted alike.
    expected.rejected.clear()
    for name in ("rejected", "quarantined"):
        expected.counts[name] = actual.counts[name] = 0
    assert str(compare(expected, actual)) == "no difference"
