"""Short random logs around every boundary at once: the product equals the oracle, and a failure shrinks."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings, StateSettings
from ray_fraud.domain.timeline import ControlEvent, EventKind, inline_event, settings_event
from tests.oracle.compare import compare
from tests.oracle.oracle import run_oracle
from tests.oracle.product import run_product
from tests.oracle.scores import score_row
from tests.oracle.streams import DAY_MS, HOUR_MS, START_MS

EDGES = (
    0,
    1,
    999,
    1_000,
    300_000,
    HOUR_MS,
    HOUR_MS,
    DAY_MS,
    DAY_MS,
    7 * DAY_MS,
    29 * DAY_MS,
    30 * DAY_MS,
    31 * DAY_MS,
)
steps = st.builds(
    lambda edge, nudge, sign: sign * (edge + nudge),
    st.sampled_from(EDGES),
    st.sampled_from((-1, 0, 0, 1)),
    st.sampled_from((-1, 1, 1)),
)
places = st.sampled_from(
    [None, (0.0, 0.0), (0.0, 180.0), (0.0, -180.0), (90.0, 0.0), (52.52, 13.405), (1.0, 1.0)]
)
amounts = st.sampled_from([0.0, 0.1, 1.0, 2000.0, 2000.00005, 1e15])
transactions = st.fixed_dictionaries(
    {"step": steps, "place": places, "amount": amounts, "user": st.integers(0, 1), "id": st.integers(0, 5)}
)
waits = st.sampled_from([0, 0, 0, 1_000, HOUR_MS - 1, HOUR_MS, DAY_MS, 25 * HOUR_MS, 32 * DAY_MS])


def log_of(moves: list[tuple[dict[str, Any], int]]) -> list[Record]:
    """Each event time is a step away from the one before; each record is sent after a wait."""
    sent_ms, event_ms, records = START_MS, START_MS, []
    for offset, (move, wait) in enumerate(moves):
        sent_ms += wait
        event_ms += move["step"]
        fields = {
            "transaction_id": str(move["id"]),
            "user_id": move["user"],
            "amount": move["amount"],
            "timestamp": event_ms / 1000,
        }
        if move["place"]:
            fields["location"] = dict(zip(("lat", "lon"), move["place"], strict=True))
        records.append(Record(offset, sent_ms + 40 * DAY_MS, None, json.dumps(fields).encode()))
    return records


def timeline_of(max_events: int) -> list[ControlEvent]:
    split = {
        "arms": [
            {"model_name": "m", "version": v, "model_digest": "0", "threshold": 0.5, "share_bp": 5000}
            for v in (1, 2)
        ],
        "salt": "s",
    }
    return [
        settings_event(1, 0, DetectionSettings(state=StateSettings(max_events=max_events, idle_hours=24))),
        inline_event(2, 1, EventKind.SPLIT, json.dumps(split).encode()),
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(transactions, waits), min_size=3, max_size=14),
    st.integers(2, 4),
    st.sampled_from((1, 3, 500)),
)
def test_short_logs_equal_the_oracle(
    moves: list[tuple[dict[str, Any], int]], max_events: int, batch: int
) -> None:
    records, timeline = log_of(moves), timeline_of(max_events)
    expected = run_oracle(records, timeline, score_row)
    assert str(compare(expected, run_product(records, timeline, batch))) == "no difference"
