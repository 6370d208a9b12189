"""Seeded synthetic logs of one partition, with everything awkward that a real log holds.

`make_stream(options)` gives records, a control timeline, and what was injected at which offset.

Never: a clock or an unseeded random source; a stream is a function of its options.
"""

import bisect
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ray_fraud.domain.record import Record
from ray_fraud.domain.timeline import ControlEvent
from tests.oracle.controls import DEFAULT_CHANGES, Changes, control_events
from tests.oracle.poison import POISON

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
START_MS = 1_767_225_600_000 + 17 * HOUR_MS  # 2026-01-01 17:00 UTC
YEAR_2099_MS = 4_070_908_800_000
SKEW_MS = 300_000
HOMES = [(52.52, 13.405), (-33.8688, 151.2093), (64.1466, -21.9426), (-16.8, 179.95), (1.3521, 103.8198)]
FAR = [(90.0, 0.0), (-90.0, 77.0), (-16.8, -179.97), (0.0, 0.0), (40.7128, -74.006), (-52.5, -166.6)]
BOUNDARY_AMOUNTS: list[float | int] = [2000, 2000.00005, 2000.0000000000002, 1999.999, 0, -0.0, 0.0, 1e-3, 5]


@dataclass(frozen=True)
class Mix:
    """Shares of records of each kind; what is left over is an ordinary transaction."""

    late: float = 0.10
    very_late: float = 0.01
    equal_time: float = 0.03
    on_a_window_edge: float = 0.04
    duplicate: float = 0.05
    old_duplicate: float = 0.01
    reused_id: float = 0.01
    poison: float = 0.01
    far_future: float = 0.004
    slight_future: float = 0.02
    milliseconds: float = 0.004


EVERYTHING = Mix()
ORDINARY = Mix(*[0.0] * 11)


@dataclass(frozen=True)
class StreamOptions:
    seed: int
    records: int = 5_000
    users: int = 150
    mean_step_ms: int = 20_000
    quiet_periods: float = 0.001
    """Chance per record that the log stands still for days, or for just as long as users are remembered."""
    holes: float = 0.002
    """Chance per record that the offset after it is missing, as markers and compaction leave it."""
    history_shift_ms: int = 0
    """How far event times lie before the records' timestamps: replayed history."""
    mix: Mix = EVERYTHING
    changes: Changes = DEFAULT_CHANGES


@dataclass
class Stream:
    options: StreamOptions
    records: list[Record] = field(default_factory=list)
    timeline: list[ControlEvent] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    """Offset to what the record there was meant to be."""

    @property
    def injected(self) -> Counter[str]:
        return Counter(self.kinds.values())


@dataclass
class Sent:
    """A transaction already in the log."""

    fields: dict[str, Any]
    user_id: int
    event_ms: int
    sent_ms: int


class Writer:
    """Writes one stream, record by record."""

    def __init__(self, options: StreamOptions) -> None:
        self.options = options
        self.random = random.Random(options.seed)
        self.now_ms = self.sent_ms = START_MS
        self.offset = 0
        self.ids = itertools.count()
        weights = itertools.accumulate(1 / rank for rank in range(1, options.users + 1))
        self.activity = list(weights)
        self.sent: list[Sent] = []
        self.by_user: dict[int, list[Sent]] = {}
        self.stream = Stream(options)

    def write(self) -> Stream:
        kinds = [*vars(self.options.mix), "ordinary"]
        shares = list(vars(self.options.mix).values())
        for _ in range(self.options.records):
            self.tick()
            kind = self.random.choices(kinds, [*shares, 1 - sum(shares)])[0]
            self.stream.kinds[self.offset] = self.one(kind)
            self.offset += 1 + (self.random.random() < self.options.holes)
        self.stream.timeline = control_events(self.random, self.options.records, self.options.changes)
        return self.stream

    def tick(self) -> None:
        self.now_ms += int(self.random.expovariate(1 / self.options.mean_step_ms))
        if self.random.random() < self.options.quiet_periods:
            idle_ms = self.options.changes.idle_hours * HOUR_MS
            days = int(self.random.uniform(1, 40) * DAY_MS)
            self.now_ms += self.random.choice((days, idle_ms, idle_ms + HOUR_MS))

    def one(self, kind: str) -> str:
        """Appends one record and returns the kind that it really has."""
        self.sent_ms = self.now_ms
        if self.random.random() < (0.3 if kind == "slight_future" else 0.02):
            self.sent_ms -= self.random.randrange(90_000)  # another producer, whose clock is behind
        if kind == "poison":
            self.append(self.random.choice(POISON)[1])
            return kind
        if kind in ("duplicate", "old_duplicate", "reused_id"):
            earlier = self.earlier(old=kind == "old_duplicate")
            if earlier is not None:
                return self.repeat(earlier, kind)
            kind = "ordinary"
        user_id = self.user()
        fields = self.transaction(user_id)
        event_ms = self.event_time(kind, user_id)
        fields["timestamp"] = self.seconds(event_ms)
        if kind == "milliseconds":
            fields["timestamp"] = event_ms
        self.append(self.encode(fields))
        if kind != "milliseconds" and event_ms <= self.sent_ms + SKEW_MS:
            self.remember(Sent(fields, user_id, event_ms, self.now_ms))
        return kind

    def append(self, value: bytes | None) -> None:
        self.stream.records.append(Record(self.offset, self.sent_ms, None, value))

    def remember(self, sent: Sent) -> None:
        self.sent.append(sent)
        self.by_user.setdefault(sent.user_id, []).append(sent)

    def earlier(self, *, old: bool) -> Sent | None:
        """Something sent a moment ago, or more than a day ago."""
        if not old:
            recent = self.sent[-200:]
            return self.random.choice(recent) if recent else None
        end = bisect.bisect_left(self.sent, self.now_ms - 2 * DAY_MS, key=lambda sent: sent.sent_ms)
        return self.sent[self.random.randrange(end)] if end else None

    def repeat(self, earlier: Sent, kind: str) -> str:
        fields = dict(earlier.fields)
        if kind == "reused_id":
            fields["amount"] = round(self.random.uniform(1, 4000), 2) + 0.001
            self.remember(Sent(fields, earlier.user_id, earlier.event_ms, self.now_ms))
        elif self.random.random() < 0.5:  # the same payload in other bytes
            keys = list(fields)
            self.random.shuffle(keys)
            fields = {**{key: fields[key] for key in keys}, "sent_by": "retry"}
        self.append(self.encode(fields))
        return kind

    def user(self) -> int:
        rank = self.random.choices(range(self.options.users), cum_weights=self.activity)[0]
        return 2**63 - 1 if rank == 7 else rank * 7919

    def transaction(self, user_id: int) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "transaction_id": f"t{self.options.seed}-{next(self.ids)}",
            "user_id": user_id,
            "amount": self.amount(),
        }
        if self.random.random() < 0.92:
            lat, lon = self.place(user_id)
            fields["location"] = {"lat": lat, "lon": lon}
            if self.random.random() < 0.7:
                fields["location"].update(city="Zürich ✓", country="CH")
        for name in ("merchant_id", "device_id", "currency", "channel"):
            if self.random.random() < 0.4:
                fields[name] = f"{name[0]}{self.random.randrange(30)}"
        return fields

    def amount(self) -> float | int:
        if self.random.random() < 0.06:
            return self.random.choice(BOUNDARY_AMOUNTS)
        if self.random.random() < 0.02:
            return self.random.uniform(2000, 90_000)
        return round(self.random.lognormvariate(3.7, 1.0), self.random.choice((0, 1, 2, 2, 2, 9)))

    def place(self, user_id: int) -> tuple[float, float]:
        if self.random.random() < 0.015:
            return self.random.choice(FAR)
        lat, lon = HOMES[user_id % len(HOMES)]
        reach = self.random.choices((0.0, 0.02, 0.3, 1.5), (25, 60, 10, 5))[0]
        lat += self.random.uniform(-reach, reach)
        lon += self.random.uniform(-reach, reach)
        return lat, lon if lon <= 180 else lon - 360

    def event_time(self, kind: str, user_id: int) -> int:
        base = self.now_ms - self.options.history_shift_ms
        known = self.by_user.get(user_id, [])
        if kind == "far_future":
            return YEAR_2099_MS + self.random.randrange(DAY_MS)
        if kind == "slight_future":
            skew = self.random.choice((SKEW_MS, 60_000, self.random.randrange(2 * SKEW_MS)))
            return self.sent_ms + skew + self.random.choice((-1, 0, 0, 1))
        if kind == "late":
            return base - self.random.randrange(1_000, 600_000)
        if kind == "very_late":
            return base - DAY_MS - self.random.choice((0, 1, 40)) * self.random.randrange(DAY_MS)
        if kind == "equal_time" and known:
            return known[-1].event_ms
        if kind == "on_a_window_edge":
            return self.window_edge(known, base)
        return base - self.random.randrange(200)

    def window_edge(self, known: list[Sent], base: int) -> int:
        """A time exactly one window after (or a day before) one of the user's events, give or take 1 ms."""
        width = self.random.choice((HOUR_MS, HOUR_MS, DAY_MS, -DAY_MS, 300_000))
        if width < 0:
            edges = [max((sent.event_ms for sent in known), default=base) + width]
        else:
            edges = [s.event_ms + width for s in known if base - HOUR_MS < s.event_ms + width <= base]
        return self.random.choice(edges or [base]) + self.random.choice((-1, 0, 0, 1))

    def seconds(self, event_ms: int) -> float | int:
        if event_ms % 1000 == 0:
            return event_ms // 1000
        if self.random.random() < 0.05:
            return event_ms / 1000 + self.random.choice((0.0002, -0.0002))
        return event_ms / 1000

    def encode(self, fields: dict[str, Any]) -> bytes:
        if self.random.random() < 0.2:
            return json.dumps(fields, indent=1).encode()
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def make_stream(options: StreamOptions) -> Stream:
    """The stream of these options, always the same."""
    return Writer(options).write()
