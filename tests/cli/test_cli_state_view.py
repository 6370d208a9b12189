"""What `state show` tells of a state, held against the features that the fold computes."""

import json
import random

import pytest

from cluster.local.user_lookup import FoundState, StateSource
from ray_fraud.cli.state import state_data, windows
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.user_state import decode_state
from ray_fraud.domain.windows import DAY_MS

NOW_MS = 1_700_000_000_000
FEATURES = {"1h": (5, 6), "24h": (7, 8), "7d": (9, 10), "30d": (11, 12)}


def _record(offset: int, event_ms: int, amount: float) -> Record:
    value = {
        "transaction_id": f"t{offset}",
        "user_id": 7,
        "amount": amount,
        "timestamp": event_ms / 1000,
        "location": {"lat": 48.1, "lon": 11.5, "city": "München", "country": "DE"},
    }
    return Record(offset, event_ms, b"7", json.dumps(value).encode())


@pytest.mark.parametrize(("count", "span_ms"), [(1, 1), (40, DAY_MS), (400, 2 * DAY_MS), (90, 40 * DAY_MS)])
def test_windows_are_those_of_the_newest_transaction(count: int, span_ms: int) -> None:
    chance = random.Random(count)
    times = sorted(NOW_MS + chance.randrange(span_ms) for _ in range(count))
    state = PartitionState(0, Decoder(None))
    records = [_record(n, at, chance.randrange(1, 9_000) / 4) for n, at in enumerate(times)]
    features = state.observe(records).features[-1]
    shown = windows(decode_state(state.users[7]))
    for name, (count_at, amount_at) in FEATURES.items():
        assert shown[name]["count"] == features[count_at]
        assert shown[name]["amount"] == pytest.approx(features[amount_at], rel=1e-6)


def test_the_envelope_s_data_holds_the_whole_state() -> None:
    state = PartitionState(0, Decoder(None))
    state.observe([_record(n, NOW_MS + n * 1000, 10.0 + n) for n in range(100)])
    packed = state.users[7]
    view = decode_state(packed)
    found = FoundState(7, PartitionId("cluster", "topic", 0), 100, StateSource.REPLAY, packed)
    data = state_data(found, packed, view)
    assert (data["offset"], data["source"], data["bytes"]) == (100, "replay", len(packed))
    assert sum(bucket["count"] for bucket in data["buckets"]) + len(data["events"]) == 100
    assert data["lifetime"] == {
        "count": 100,
        "amount": sum(10.0 + n for n in range(100)),
        "high": 0.0,
        "last_high": None,
    }
    assert data["events"][-1] == {
        "time": NOW_MS / 1000 + 99,
        "amount": 109.0,
        "lat": 48.1,
        "lon": 11.5,
        "payload_digest": view.events[-1].digest.hex(),
    }
