"""The oracle: a second, slow and plain implementation of `docs/semantics.md`.

`run_oracle` takes a whole log and its timeline and gives back every alert, the features of every
row, the final state of every user and all counters. O(users) or O(events) a record is fine here.

Never: importing a rule, the state, the features or the decoder of the product; being fast.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tests.oracle.clock import Clock
from tests.oracle.contract import RefusedError, Txn, decode
from tests.oracle.tables import PlainTables, look_up, plain_tables
from tests.oracle.user import HOUR_MS, Moved, Pair, User
from tests.oracle.values import alert_uid

Row = NDArray[np.float32]
Score = Callable[[str, int, Row], tuple[float, int] | None]
"""(split as JSON, user id, float32 features) to (score, index of the arm); None without arms."""

RULES_ONLY = '{"arms":[],"salt":""}'


class RecordLike(Protocol):
    @property
    def offset(self) -> int: ...
    @property
    def timestamp_ms(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class EventLike(Protocol):
    @property
    def seq(self) -> int: ...
    @property
    def from_offset(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def reference(self) -> str: ...


@dataclass(frozen=True)
class Settings:
    """What the fold reads of a settings event; the defaults are the documented ones."""

    max_future_skew_seconds: float = 300.0
    max_events: int = 64
    idle_hours: int = 744
    amount_limit: float = 2000.0
    limit_kmh: float = 800.0
    min_distance_km: float = 50.0
    severities: tuple[str, str, str] = ("medium", "high", "medium")

    @classmethod
    def parse(cls, document: str) -> "Settings":
        content = json.loads(document)
        state, amount = content.get("state", {}), content.get("high_amount", {})
        geo, model = content.get("geo_velocity", {}), content.get("ml_anomaly", {})
        return cls(
            content.get("max_future_skew_seconds", cls.max_future_skew_seconds),
            state.get("max_events", cls.max_events),
            state.get("idle_hours", cls.idle_hours),
            amount.get("limit", cls.amount_limit),
            geo.get("limit_kmh", cls.limit_kmh),
            geo.get("min_distance_km", cls.min_distance_km),
            (amount.get("severity", "medium"), geo.get("severity", "high"), model.get("severity", "medium")),
        )


@dataclass
class OracleResult:
    """All that one partition's log and timeline decide."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    features: dict[int, Row] = field(default_factory=dict)
    """By offset, float32, shape (32,)."""
    users: dict[int, dict[str, Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    rejected: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Offset to (code, field)."""
    watermark_ms: int = 0
    votes: dict[str, Any] = field(default_factory=dict)


class Oracle:
    """The fold of one partition; `new_user` and the small methods can be overridden by mutants."""

    new_user: Callable[[], User] = User
    new_clock: Callable[[], Clock] = Clock

    def __init__(self, timeline: Sequence[EventLike], score: Score) -> None:
        self.pending = sorted(timeline, key=lambda event: (event.from_offset, event.seq))
        self.score = score
        self.settings = Settings()
        self.split = RULES_ONLY
        self.tables: PlainTables | None = None
        self.quarantined: set[int] = set()
        self.gaps: list[range] = []
        self.clock = self.new_clock()
        self.users: dict[int, User] = {}
        self.result = OracleResult()

    def run(self, records: Sequence[RecordLike]) -> OracleResult:
        for record in records:
            self.take(record)
        self.result.users = {user_id: plain_user(user) for user_id, user in self.users.items()}
        self.result.watermark_ms = self.clock.watermark_ms
        self.result.votes = self.clock.votes()
        return self.result

    def take(self, record: RecordLike) -> None:
        """One record, step by step."""
        self.apply_events(record.offset)
        if any(record.offset in gap for gap in self.gaps):
            self.result.counts["in_gap"] += 1
            return
        if record.offset in self.quarantined:
            self.result.counts["quarantined"] += 1
            return
        try:
            txn = decode(record.value)
            self.guard_timestamp(record)
            self.guard_future(txn, record)
        except RefusedError as refusal:
            self.result.counts["rejected"] += 1
            self.result.rejected[record.offset] = (refusal.code, refusal.field)
            return
        self.move_watermark(record.timestamp_ms, txn.user_id)
        user = self.users.setdefault(txn.user_id, self.new_user())
        if user.is_duplicate(txn):
            self.result.counts["duplicate"] += 1
            return
        self.result.counts["processed"] += 1
        self.result.counts["id_reused"] += user.is_reused(txn)
        if txn.lat is not None and txn.place is None:
            self.result.counts["placeholder_locations"] += 1
        user.last_seen_ms = self.seen_ms(record.timestamp_ms, user)
        moved = user.move(txn, self.settings.max_events)
        self.result.counts["late_beyond_state"] += moved.late_beyond_state
        self.decide(record, txn, user, moved)

    def apply_events(self, offset: int) -> None:
        due = [event for event in self.pending if event.from_offset <= offset]
        self.pending = [event for event in self.pending if event.from_offset > offset]
        for event in due:
            if event.kind == "settings":
                self.settings = Settings.parse(event.reference)
            elif event.kind == "split":
                self.split = event.reference
            elif event.kind == "quarantine":
                content = json.loads(event.reference)
                end = content.get("to_offset", content["offset"] + 1)
                self.quarantined.update(range(content["offset"], end))
            elif event.kind == "features":
                self.tables = plain_tables(json.loads(event.reference)["tables"])
            elif event.kind == "gap":
                gap = json.loads(event.reference)
                self.gaps.append(range(gap["from"], gap["to"]))

    def move_watermark(self, timestamp_ms: int, user_id: int) -> None:
        before = self.clock.watermark_ms
        how = self.clock.take(timestamp_ms, user_id)
        if how == "fell":
            self.lower_last_seen()
        elif self.clock.watermark_ms // HOUR_MS > before // HOUR_MS:
            self.forget(before, how)

    def forget(self, before_ms: int, how: str) -> None:
        for user_id, user in list(self.users.items()):
            if not self.is_idle(user, self.clock.watermark_ms // HOUR_MS):
                continue
            if how == "jumped" and user.last_seen_ms > before_ms:
                user.last_seen_ms = self.clock.watermark_ms
            else:
                del self.users[user_id]
                self.result.counts["forgotten"] += 1

    def lower_last_seen(self) -> None:
        limit = self.clock.watermark_ms + (400 * 24 * HOUR_MS if self.clock.established else 0)
        for user in self.users.values():
            user.last_seen_ms = min(user.last_seen_ms, limit)

    def seen_ms(self, timestamp_ms: int, user: User) -> int:
        watermark_ms = self.clock.watermark_ms
        if timestamp_ms <= watermark_ms:
            return watermark_ms
        longest = max(watermark_ms + self.settings.idle_hours * HOUR_MS, user.last_seen_ms)
        return max(watermark_ms, min(timestamp_ms, longest))

    def is_idle(self, user: User, hour: int) -> bool:
        return hour - user.last_seen_ms // HOUR_MS > self.settings.idle_hours

    def guard_timestamp(self, record: RecordLike) -> None:
        if not 10**12 <= record.timestamp_ms < 10**14:
            raise RefusedError("record_timestamp_unusable")

    def guard_future(self, txn: Txn, record: RecordLike) -> None:
        if txn.event_ms > record.timestamp_ms + self.settings.max_future_skew_seconds * 1000:
            raise RefusedError("timestamp_in_future", "timestamp")

    def decide(self, record: RecordLike, txn: Txn, user: User, moved: Moved) -> None:
        """Features, then the rules in their order."""
        looked_up = look_up(self.tables, txn)
        features = np.array([*user.features(txn, moved), *looked_up], dtype=np.float32)
        self.result.features[record.offset] = features
        scored = self.score(self.split, txn.user_id, features)
        hits: list[tuple[str, str, dict[str, Any]]] = []
        if txn.amount > self.settings.amount_limit:
            hits.append(("high_amount", self.settings.severities[0], {}))
        pair = self.fastest(user, moved)
        if pair is not None and pair.kmh > self.settings.limit_kmh:
            hits.append(("geo_velocity", self.settings.severities[1], vars(pair)))
        model = None
        if scored is not None:
            arm = json.loads(self.split)["arms"][scored[1]]
            model = f"{arm['model_name']}:{arm['version']}"
            if scored[0] > arm["threshold"]:
                hits.append(("ml_anomaly", self.settings.severities[2], {}))
        for rule, severity, compared in hits:
            self.result.alerts.append(
                {
                    "alert_uid": alert_uid(txn.transaction_id, txn.user_id, rule, txn.payload_digest),
                    "transaction_id": txn.transaction_id,
                    "user_id": txn.user_id,
                    "rule_name": rule,
                    "severity": severity,
                    "event_time": txn.timestamp,
                    "record_timestamp_ms": record.timestamp_ms,
                    "offset": record.offset,
                    "lat": txn.place[0] if txn.place else None,
                    "lon": txn.place[1] if txn.place else None,
                    "score": None if scored is None else scored[0],
                    "model_version": model,
                    "source": "hot",
                    "compared": compared,
                }
            )

    def fastest(self, user: User, moved: Moved) -> Pair | None:
        """The counting pair with the higher speed; previous on a tie."""
        pairs = [user.previous_pair(moved), user.next_pair(moved)]
        counting = [pair for pair in pairs if pair is not None and pair.km >= self.settings.min_distance_km]
        best: Pair | None = None
        for pair in counting:
            if best is None or pair.kmh > best.kmh:
                best = pair
        return best


def plain_user(user: User) -> dict[str, Any]:
    """The state of one user in plain values, equal for equal states."""
    return {
        "newest_ms": user.newest_ms,
        "last_seen_ms": user.last_seen_ms,
        "exact": [
            (event.event_ms, event.amount, event.place, event.payload_digest, event.id_hash)
            for event in user.exact
        ],
        "buckets": dict(sorted(user.buckets.items())),
        "days": dict(sorted(user.days.items())),
        "lifetime": (
            len(user.amounts),
            user.lifetime_sum(),
            user.high_so_far(),
            user.last_high() if user.highs else 0,
        ),
    }


def run_oracle(records: Sequence[RecordLike], timeline: Sequence[EventLike], score: Score) -> OracleResult:
    """Every decision of the page for one partition.

    Args:
        records: the log, in offset order.
        timeline: the control events, in any order.
        score: a pure function of the split, the user and the float32 row.
    """
    return Oracle(timeline, score).run(records)
