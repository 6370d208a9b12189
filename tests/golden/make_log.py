"""Makes the fixed log of the golden digests: once. `python -m tests.golden.make_log`

The files are what counts: this program only says how they came about, and may be unable to make them again
(another random generator, another encoding of tables). Making them anew makes every digest and package anew.

Never: run by a test.
"""

import gzip
import json
import random
from typing import Any

import msgspec
import numpy as np

from ray_fraud.domain.feature_tables import FeatureTables, MerchantTable, ProfileTable, UserRiskTable
from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import (
    DetectionSettings,
    GeoVelocitySettings,
    HighAmountSettings,
    StateSettings,
)
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.timeline import (
    ControlEvent,
    features_event,
    gap_event,
    quarantine_event,
    settings_event,
    split_event,
)
from ray_fraud.stores.feature_tables.encoding import TableFacts
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import put_tables
from tests.golden.golden import CUT_AT, LOG_FILE, TABLES_FILE, TIMELINE_FILE

RECORDS = 1_800
USERS = 24
START_MS = 1_767_225_600_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
PLACES = (
    (52.52, 13.405),
    (48.8566, 2.3522),
    (-33.8688, 151.2093),
    (0.0, 0.0),
    (59.9, -179.9),
    (-41.3, 179.9),
)


class Maker:
    """Appends records; `now_ms` is the Kafka timestamp of the next one."""

    def __init__(self) -> None:
        self.random = random.Random(20_261_130)
        self.records: list[Record] = []
        self.sent: list[dict[str, Any]] = []
        self.now_ms = START_MS

    def add(self, value: dict[str, Any] | bytes, timestamp_ms: int | None = None) -> None:
        """A hole now and then, as transaction markers leave them."""
        offset = self.records[-1].offset + 1 if self.records else 0
        offset += self.random.random() < 0.01
        written = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        self.records.append(
            Record(offset, self.now_ms if timestamp_ms is None else timestamp_ms, None, written)
        )

    def transaction(self, user: int, event_ms: int, **more: Any) -> dict[str, Any]:
        chance = self.random
        fields: dict[str, Any] = {
            "transaction_id": f"golden-{len(self.records)}",
            "user_id": user,
            "amount": round(chance.lognormvariate(3.5, 1.2), 2),
            "timestamp": event_ms / 1000,
            **more,
        }
        if chance.random() < 0.85:
            lat, lon = PLACES[user % 2 if chance.random() < 0.9 else chance.randrange(len(PLACES))]
            if (lat, lon) != (0.0, 0.0):
                lat, lon = lat + chance.uniform(-0.09, 0.09), lon + chance.uniform(-0.09, 0.09)
            fields["location"] = {"lat": lat, "lon": lon, "city": "Zürich"}
        for name in ("merchant_id", "device_id", "currency", "channel"):
            if chance.random() < 0.6:
                fields[name] = f"{name[0]}{chance.randrange(12)}"
        if chance.random() < 0.05:
            fields["amount"] = chance.choice((2000.0, 2000.01, 0, 9_500.5, 500.0, 1e15))
        self.sent.append(fields)
        return fields

    def again(self) -> None:
        """A duplicate, be it old, or an id that is used again for another payload."""
        fields = self.random.choice(self.sent[-40:] if self.random.random() < 0.8 else self.sent)
        if self.random.random() < 0.4:
            fields = {**fields, "amount": fields["amount"] + 1}
        self.add(fields)

    def ordinary(self, user: int) -> None:
        chance = self.random.random()
        event_ms = self.now_ms - self.random.randrange(2_000)
        if chance < 0.12:
            event_ms -= self.random.randrange(6 * HOUR_MS)
        elif chance < 0.17:
            event_ms -= DAY_MS + self.random.randrange(40 * DAY_MS)
        elif chance < 0.20:
            event_ms = self.now_ms + self.random.choice((300_000, 300_001, 60_000, 60_001, 4 * HOUR_MS))
        self.add(self.transaction(user, event_ms))

    def burst(self, user: int) -> None:
        """More events of one day than a state keeps exactly."""
        for _ in range(90):
            self.now_ms += self.random.randrange(4 * MINUTE_MS)
            self.ordinary(user)

    def odd_stamps(self, user: int) -> None:
        for stamp in (-1, 0, self.now_ms // 1000, self.now_ms + 200 * DAY_MS, self.now_ms * 1000):
            self.add(self.transaction(user, self.now_ms), stamp)
            self.now_ms += MINUTE_MS
            self.ordinary(user + 1)

    def damaged(self) -> None:
        good = json.dumps(self.transaction(3, self.now_ms)).encode()
        for value in (b"", b"{", good[:-9], good.replace(b"amount", b"amuont"), b"\xff" + good, b"[1]"):
            self.add(value)

    def write(self) -> list[Record]:
        pause_ms = 38 * DAY_MS // RECORDS
        while len(self.records) < RECORDS:
            position = len(self.records)
            self.now_ms += self.random.randrange(2 * pause_ms)
            # Some users come in the first and last third only: they are forgotten, and known anew.
            away = RECORDS // 3 < position < 2 * RECORDS // 3
            user = self.random.randrange(USERS - 6 if away else USERS)
            if self.random.random() < 0.06 and self.sent:
                self.again()
            else:
                self.ordinary(user)
            if position % 500 < len(self.records) % 500:
                continue
            self.burst(user)
            self.damaged()
        self.odd_stamps(5)
        for _ in range(100):
            self.now_ms += self.random.randrange(2 * pause_ms)
            self.ordinary(self.random.randrange(USERS))
        return self.records


def tables(seed: int) -> FeatureTables:
    chance = np.random.Generator(np.random.PCG64(seed))
    users = np.arange(0, USERS, 2, dtype=np.int64)
    frauds = chance.integers(1, 9, 8)
    times = chance.integers(START_MS - 30 * DAY_MS, START_MS, 8)
    risky = np.arange(0, USERS, 5, dtype=np.int64)
    return FeatureTables(
        MerchantTable(
            [f"m{number}" for number in range(8)],
            frauds * 7 + chance.integers(0, 90, 8),
            frauds // 2,
            frauds,
            frauds // 3,
            times - 99,
            times,
        ),
        UserRiskTable(
            risky, chance.integers(0, 4, len(risky)), chance.integers(START_MS - DAY_MS, START_MS, len(risky))
        ),
        ProfileTable(
            users,
            chance.integers(3, 90, len(users)),
            chance.uniform(5, 90, len(users)),
            chance.uniform(0, 30, len(users)),
            chance.uniform(90, 900, len(users)),
            chance.integers(0, 9, (len(users), 24)).astype(np.int32),
            np.where(users % 4, 52.5, np.nan),
            np.where(users % 4, 13.4, np.nan),
        ),
    )


def timeline(digests: list[str]) -> list[ControlEvent]:
    """All but the fold version, which every release adds as its own first event."""
    small = StateSettings(max_events=16, idle_hours=9 * 24)
    first = DetectionSettings(state=small)
    second = DetectionSettings(
        max_future_skew_seconds=60.0,
        state=StateSettings(max_events=12, idle_hours=10 * 24),
        high_amount=HighAmountSettings(limit=500.0),
        geo_velocity=GeoVelocitySettings(limit_kmh=120.0, min_distance_km=5.0),
    )
    one = Split((Arm("isolation_forest", 1, "1" * 64, 0.95, 10_000),), salt="a")
    two = Split(
        (Arm("isolation_forest", 1, "1" * 64, 0.95, 7_000), Arm("random_forest", 2, "2" * 64, 0.9, 3_000)),
        "b",
    )
    return [
        settings_event(2, 0, first),
        split_event(3, 0, one),
        features_event(4, 150, digests[0]),
        split_event(5, 420, two),
        settings_event(6, 700, second),
        quarantine_event(7, 333),
        gap_event(8, 510, 523, "found again later"),
        features_event(9, CUT_AT - 150, digests[1]),
        settings_event(10, CUT_AT + 250, first),
        features_event(11, CUT_AT + 260, digests[0]),
    ]


def main() -> None:
    """Writes the three files."""
    files = MemoryFeatureTables()
    digests = [put_tables(files, tables(seed), TableFacts()).digest for seed in (1, 2)]
    contents = (
        (LOG_FILE, msgspec.msgpack.encode([(r.offset, r.timestamp_ms, r.value) for r in Maker().write()])),
        (TABLES_FILE, msgspec.msgpack.encode(files.contents)),
        (TIMELINE_FILE, msgspec.json.format(msgspec.json.encode(timeline(digests)))),
    )
    for file, content in contents:
        file.write_bytes(gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)


if __name__ == "__main__":
    main()
