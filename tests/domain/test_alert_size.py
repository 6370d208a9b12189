"""No alert is too large for its topic: every text of it has a limit."""

import json
from typing import Any

import msgspec
import numpy as np

from ray_fraud.domain import contract
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.record_size import batch_bytes
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.timeline import settings_event, split_event
from ray_fraud.stores.log.limits import LARGEST_ALERT_BYTES

RECORDS = 40
WIDEST = "\U0001f4b3"
"""Four bytes of UTF-8."""
START_MS = 1_767_225_600_000


def largest_transaction(number: int) -> dict[str, Any]:
    """Every text at its limit, each character as wide as can be; numbers with all their digits."""
    return {
        "transaction_id": f"{number:02}" + WIDEST * (contract.MAX_ID_LENGTH - 2),
        "user_id": contract.MAX_USER_ID,
        "amount": 999_999_999_999.0123,
        "timestamp": START_MS / 1000 + number * 60 + 0.123456,
        "location": {
            "lat": -89.123456789012345 if number % 2 else 89.123456789012345,
            "lon": -179.12345678901234,
            "city": '"' * contract.MAX_CITY_LENGTH if number % 3 else WIDEST * contract.MAX_CITY_LENGTH,
            "country": WIDEST * contract.MAX_COUNTRY_LENGTH,
        },
        "merchant_id": WIDEST * contract.MAX_ID_LENGTH,
        "device_id": WIDEST * contract.MAX_ID_LENGTH,
        "currency": WIDEST * contract.MAX_CURRENCY_LENGTH,
        "channel": WIDEST * contract.MAX_CHANNEL_LENGTH,
        "card_number": "4111 1111 1111 1111 111"[: contract.MAX_CARD_DIGITS],
    }


def test_the_largest_alert_fits_with_room_to_spare() -> None:
    split = Split(arms=(Arm("m" * 200, 999_999, "d" * 64, 0.1, 10_000),), salt="s")
    state = PartitionState(
        0,
        Decoder(b"k" * 32),
        timeline=[settings_event(1, 0, DetectionSettings()), split_event(2, 0, split)],
    )
    records = [
        Record(
            2**62 + number, START_MS + number * 60_000, b"k", json.dumps(largest_transaction(number)).encode()
        )
        for number in range(RECORDS)
    ]
    observed = state.observe(records)
    assert observed.counts.processed == RECORDS
    scores = Scores(np.full(RECORDS, 0.987654321987654), np.zeros(RECORDS, np.uint8))
    pushes = np.linspace(-1.0, 1.0, FEATURE_COUNT) / 3
    alerts = state.decide(observed, scores, lambda *_: pushes).alerts
    assert {alert.rule_name for alert in alerts} == {"high_amount", "geo_velocity", "ml_anomaly"}
    headers = (("epoch", b"9" * 10), ("partition", b"9" * 10), ("offset", b"9" * 19), ("topic_id", b"i" * 22))
    largest = max(batch_bytes(b"9" * 19, msgspec.json.encode(alert), headers) for alert in alerts)
    assert LARGEST_ALERT_BYTES / 4 < largest < LARGEST_ALERT_BYTES * 3 / 4
