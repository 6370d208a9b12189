"""The product's fold, run over a stream and put into the oracle's form of a result.

Never: correcting or completing what the product says.
"""

import bisect
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.observed import Effects, Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.user_state import decode_state
from ray_fraud.domain.watermark import Votes
from tests.oracle.oracle import OracleResult
from tests.oracle.scores import row_score
from tests.oracle.tables import DRAWN

COUNT_NAMES = {
    "processed": "processed",
    "duplicates": "duplicate",
    "rejected": "rejected",
    "quarantined": "quarantined",
    "id_reused": "id_reused",
    "late_beyond_state": "late_beyond_state",
    "expired_users": "forgotten",
    "placeholder_locations": "placeholder_locations",
}
NEIGHBOUR_NAMES = {"neighbour": "position", "km": "km", "kmh": "kmh"}


def scores_of(observed: Observed) -> Scores | None:
    """The stand-in model's scores, under the product's own choice of arms."""
    arms = observed.split.arms
    if not arms:
        return None
    chosen = observed.split.arm_of(observed.user_ids)
    values = [
        row_score(row, f"{arms[arm].model_name}:{arms[arm].version}")
        for row, arm in zip(observed.features, chosen, strict=True)
    ]
    return Scores(np.array(values, dtype=np.float64), chosen)


def plain_votes(votes: Votes) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(votes)
    return plain | {"voters": list(votes.voters)}


def plain_state(state: bytes) -> dict[str, Any]:
    """A packed state in the oracle's plain values."""
    view = decode_state(state)
    lifetime = view.lifetime
    return {
        "newest_ms": view.newest_ms,
        "last_seen_ms": view.last_seen_ms,
        "exact": [
            (e.event_ms, e.amount, (e.place.lat_e7, e.place.lon_e7) if e.place else None, e.digest, e.id_hash)
            for e in view.events
        ],
        "buckets": {tally.number: (tally.count, tally.amount_sum) for tally in view.buckets},
        "days": {tally.number: (tally.count, tally.amount_sum) for tally in view.days},
        "lifetime": (lifetime.count, lifetime.amount_sum, lifetime.high, lifetime.last_high_ms),
    }


def run_product(
    records: Sequence[Record], timeline: Sequence[ControlEvent], batch_records: int = 500
) -> OracleResult:
    """What the product makes of the log, in micro-batches of at most `batch_records`."""
    state = PartitionState(partition=0, decoder=Decoder(None), timeline=timeline, tables=DRAWN)
    pieces = []
    position = 0
    while position < len(records):
        observed = state.observe(records[position : position + batch_records])
        pieces.append((observed, state.decide(observed, scores_of(observed))))
        before, position = position, position_of(records, observed.next_offset)
        if position == before:
            raise ValueError(f"observe took no record at offset {records[position].offset}")
    return collect_all(state, pieces)


def collect_all(state: PartitionState, pieces: Sequence[tuple[Observed, Effects]]) -> OracleResult:
    """The result of all micro-batches, with the state that the last one left."""
    result = OracleResult(watermark_ms=state.watermark_ms, votes=plain_votes(state.votes))
    for observed, effects in pieces:
        for row, features in zip(observed.rows, observed.features, strict=True):
            result.features[row.offset] = features
        for name, ours in COUNT_NAMES.items():
            result.counts[ours] += getattr(observed.counts, name)
        result.alerts += [plain_alert(alert) for alert in map(msgspec.to_builtins, effects.alerts)]
        for letter in effects.dead_letters:
            result.rejected[letter.record.offset] = (str(letter.rejection.code), letter.rejection.field)
    result.users = {user_id: plain_state(packed) for user_id, packed in state.users.items()}
    return result


def position_of(records: Sequence[Record], next_offset: int) -> int:
    """Where the log goes on; a declared gap may lie in between."""
    return bisect.bisect_left(records, next_offset, key=lambda record: record.offset)


def plain_alert(alert: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in alert.items() if name not in ("reason", "details")}
    other = alert["details"]["neighbour"]
    plain["compared"] = {name: other[key] for name, key in NEIGHBOUR_NAMES.items()} if other else {}
    return plain
