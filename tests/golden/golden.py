"""The fixed log of the golden digests, and what the present fold makes of it.

The log has what moves states: late and very late records, duplicates, ids used again, more events of a day
than a state keeps, forgotten users, odd Kafka timestamps, a gap, a quarantine, refreshed tables, changed
settings.

Never: a value of its own invention; the files in this folder are the log.
"""

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.feature_tables import FeatureTables
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.observed import Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import ControlEvent, fold_version_event
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import TableReader

FOLDER = Path(__file__).parent
LOG_FILE = FOLDER / "log.msgpack.gz"
TABLES_FILE = FOLDER / "tables.msgpack.gz"
TIMELINE_FILE = FOLDER / "timeline.json"

CUT_AT = 1_170
"""Where packages of a release were taken: its owner drained the partition there."""
LOOK_EVERY = 100
DISTANCES = [15, 16, 31]
"""Features made with sines: their last bits are the C library's, so six digits of them count."""


def log() -> list[Record]:
    """The fixed log."""
    content = gzip.decompress(LOG_FILE.read_bytes())
    kept = msgspec.msgpack.decode(content, type=list[tuple[int, int, bytes]])
    return [Record(offset, timestamp_ms, None, value) for offset, timestamp_ms, value in kept]


@cache
def table_files() -> dict[str, bytes]:
    """The files of the feature tables by digest."""
    return msgspec.msgpack.decode(gzip.decompress(TABLES_FILE.read_bytes()), type=dict[str, bytes])


def tables() -> dict[str, FeatureTables]:
    """The tables that the timeline names."""
    reader = TableReader(MemoryFeatureTables(dict(table_files())))
    named = [json.loads(e.reference).get("tables") for e in events()]
    return {digest: reader.load(digest) for digest in named if digest}


def events() -> list[ControlEvent]:
    """The recorded events, from number 2 on: number 1 is the fold version of the release that folds."""
    return msgspec.json.decode(TIMELINE_FILE.read_bytes(), type=list[ControlEvent])


def timeline(fold_version: int = FOLD_VERSION) -> list[ControlEvent]:
    return [fold_version_event(1, 0, fold_version), *events()]


def score_rows(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores | None:
    """A stand-in model: a number in [0, 1) made of the row's bits and the model's name."""
    if not split.arms:
        return None
    arms = split.arm_of(user_ids)
    rows = _rounded(features)
    values = [_score(row, split.arms[arm].label) for row, arm in zip(rows, arms, strict=True)]
    return Scores(np.array(values, np.float64), arms)


def _score(row: NDArray[np.float32], label: str) -> float:
    digest = hashlib.blake2b(row.tobytes() + label.encode(), digest_size=8).digest()
    return float(int.from_bytes(digest, "little") / 2**64)


def _rounded(features: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = features.astype("<f4")
    for column in DISTANCES:
        rows[:, column] = [float(f"{value:.6g}") for value in rows[:, column].tolist()]
    return rows


@dataclass
class Folded:
    """What a fold made of (a part of) the log: digests as they stand beside the fold version."""

    states: Any
    features: Any
    alerts: Any

    @classmethod
    def nothing(cls) -> "Folded":
        return cls(hashlib.sha256(), hashlib.sha256(), hashlib.sha256())

    def add_states(self, state: PartitionState) -> None:
        self.states.update(b"%d %d;" % (state.next_offset, state.watermark_ms))
        self.states.update(msgspec.json.encode(state.votes))
        for user_id, packed in sorted(state.users.items()):
            self.states.update(b"%d %d " % (user_id, len(packed)) + packed)

    def add(self, state: PartitionState, observed: Observed) -> None:
        scores = score_rows(observed.split, observed.user_ids, observed.features)
        effects = state.decide(observed, scores)
        for row, features in zip(observed.rows, _rounded(observed.features), strict=True):
            self.features.update(b"%d " % row.offset + features.tobytes())
        said = [(alert.offset, _canonical(msgspec.to_builtins(alert))) for alert in effects.alerts]
        for letter in effects.dead_letters:
            refused, offset = letter.rejection, letter.record.offset
            said.append((offset, f"{offset} {refused.code} {refused.field};".encode()))
        self.alerts.update(b"".join(text for _, text in sorted(said, key=lambda each: each[0])))

    def digests(self) -> dict[str, str]:
        return {name: getattr(self, name).hexdigest() for name in ("states", "features", "alerts")}


def _canonical(content: Any) -> bytes:
    """JSON with sorted keys; of a float nine digits count."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [short(inner) for inner in value]
        return float(f"{value:.9g}") if isinstance(value, float) else value

    return json.dumps(short(content), sort_keys=True).encode()


def fold_log(state: PartitionState, records: Sequence[Record], batch_records: int = LOOK_EVERY) -> Folded:
    """Folds the records in; the states are looked at behind every `LOOK_EVERY` of them."""
    folded = Folded.nothing()
    for begin in range(0, len(records), LOOK_EVERY):
        for observed in in_batches(state.observe, records[begin : begin + LOOK_EVERY], batch_records):
            folded.add(state, observed)
        folded.add_states(state)
    return folded


def fresh_state() -> PartitionState:
    """The state before the first record, under the fixed timeline and the present fold."""
    return PartitionState(0, Decoder(None), timeline=timeline(), tables=tables())
