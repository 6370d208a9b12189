"""Producer duplicates and re-used ids: counted as injected, nothing twice in state, no alert hidden."""

import json
from functools import cache
from typing import Any

import pytest

from ray_fraud.domain.record import Record
from tests.oracle.compare import compare
from tests.oracle.controls import Changes
from tests.oracle.oracle import OracleResult, run_oracle
from tests.oracle.product import run_product
from tests.oracle.scores import score_row
from tests.oracle.streams import Mix, Stream, StreamOptions, make_stream

NOTHING: dict[str, float] = dict.fromkeys(vars(Mix()), 0.0)
ROOMY = Changes(settings=0, splits=2, quarantines=0, gaps=0, max_events=1024)
RECENT = StreamOptions(
    seed=33,
    records=4_000,
    users=200,
    mean_step_ms=2_000,
    quiet_periods=0.0,
    mix=Mix(**{**NOTHING, "duplicate": 0.05, "reused_id": 0.01}),
    changes=ROOMY,
)
"""Repeats follow within minutes, and every memory has room: each of them is within memory."""
OLD = StreamOptions(
    seed=34,
    records=4_000,
    users=50,
    mean_step_ms=120_000,
    quiet_periods=0.0,
    mix=Mix(**{**NOTHING, "duplicate": 0.02, "old_duplicate": 0.05}),
    changes=ROOMY,
)
"""Five days, with repeats of what is older than two."""


@cache
def both(options: StreamOptions) -> tuple[Stream, OracleResult]:
    """The stream and the product's result, once the oracle agrees with it."""
    stream = make_stream(options)
    expected = run_oracle(stream.records, stream.timeline, score_row)
    actual = run_product(stream.records, stream.timeline)
    assert str(compare(expected, actual)) == "no difference"
    return stream, actual


def fields_of(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(record.value or b"{}")
    return {name: value for name, value in fields.items() if name != "sent_by"}


def high_amounts(stream: Stream) -> set[str]:
    """Every distinct payload above the limit, as text."""
    payloads = map(fields_of, stream.records)
    return {json.dumps(fields, sort_keys=True) for fields in payloads if fields["amount"] > 2000}


def high_amount_uids(result: OracleResult) -> set[str]:
    return {alert["alert_uid"] for alert in result.alerts if alert["rule_name"] == "high_amount"}


def test_repeats_within_memory_are_counted_exactly() -> None:
    stream, result = both(RECENT)
    assert stream.injected["duplicate"] > 150
    assert result.counts["duplicate"] == stream.injected["duplicate"]
    assert result.counts["id_reused"] == stream.injected["reused_id"] > 20
    assert result.counts["processed"] == len(stream.records) - stream.injected["duplicate"]


def test_each_transaction_is_in_state_once() -> None:
    stream, result = both(RECENT)
    kept = [event[3] for user in result.users.values() for event in user["exact"]]
    assert len(kept) == len(set(kept)) == result.counts["processed"]
    assert sum(count for user in result.users.values() for count, _ in user["days"].values()) == len(kept)
    distinct = {json.dumps(fields_of(record), sort_keys=True) for record in stream.records}
    assert len(distinct) == len(kept)


@pytest.mark.parametrize("options", [RECENT, OLD], ids=["recent", "old"])
def test_no_alert_is_hidden_and_none_gets_a_second_identity(options: StreamOptions) -> None:
    stream, result = both(options)
    assert len(high_amount_uids(result)) == len(high_amounts(stream)) > 50


def test_a_repeat_older_than_the_memory_moves_no_exact_event() -> None:
    stream, result = both(OLD)
    old = [offset for offset, kind in stream.kinds.items() if kind == "old_duplicate"]
    assert len(old) > 100
    assert result.counts["late_beyond_state"] > 100
    for user in result.users.values():
        digests = [event[3] for event in user["exact"]]
        assert len(digests) == len(set(digests))
    by_uid = [alert["alert_uid"] for alert in result.alerts]
    assert len(set(by_uid)) < len(by_uid), "an old repeat of an alert comes again under the same identity"
