"""Seeded logs whose producers' clocks are wrong in every way that a watermark has to withstand.

Event times are two years old, so that no timestamp makes a record one of the future.

Never: a share of wrong clocks that is left to chance where the log's phase is about it.
"""

import json
import random
from collections.abc import Callable

from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings, StateSettings
from ray_fraud.domain.timeline import ControlEvent, settings_event

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_767_225_600_000
FAR_MS = 200 * DAY_MS
IDLE_HOURS = 240
USERS = 60
BROKEN_USERS = range(1_000, 1_020)

FORGETFUL: list[ControlEvent] = [
    settings_event(1, 0, DetectionSettings(state=StateSettings(max_events=4, idle_hours=IDLE_HOURS)))
]


class ClockLog:
    """Writes one log; `now_ms` is what a right clock shows."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = self.racing_ms = START_MS
        self.records: list[Record] = []

    def send(self, timestamp_ms: int, user_id: int | None = None) -> None:
        offset = len(self.records)
        user = self.random.randrange(USERS) if user_id is None else user_id
        event_s = (START_MS - 730 * DAY_MS) // 1000 + offset
        fields = {"transaction_id": f"t{offset}", "user_id": user, "amount": 10, "timestamp": event_s}
        self.records.append(Record(offset, timestamp_ms, None, json.dumps(fields).encode()))

    def steady(self, count: int, step_ms: int = 20_000) -> None:
        """Right clocks, give or take seconds."""
        for _ in range(count):
            self.now_ms += step_ms
            self.send(self.now_ms - self.random.randrange(5_000))

    def mixed(self, count: int, share: float, wrong: Callable[[], int]) -> None:
        """Of every ten records a share has the clock `wrong`."""
        for index in range(count):
            self.now_ms += 20_000
            if index * 7 % 10 < share * 10:
                self.send(wrong(), self.random.choice(BROKEN_USERS))
            else:
                self.send(self.now_ms)

    def broken(self, count: int, wrong: Callable[[], int], user_id: int | None = None) -> None:
        for _ in range(count):
            self.send(wrong(), self.random.choice(BROKEN_USERS) if user_id is None else user_id)

    def pause(self, days: float) -> None:
        self.now_ms += int(days * DAY_MS)

    def far(self) -> int:
        return self.now_ms + FAR_MS + self.random.randrange(DAY_MS)

    def race(self) -> int:
        """A clock that goes 50 minutes ahead with every record."""
        self.racing_ms = max(self.racing_ms, self.now_ms) + 50 * 60_000
        return self.racing_ms

    def behind(self) -> int:
        return self.now_ms - 2 * DAY_MS - self.random.randrange(DAY_MS)


def wrong_clocks(seed: int) -> list[Record]:
    """A log of about 8,000 records with every phase."""
    log = ClockLog(seed)
    log.broken(1, log.far, user_id=5_000)
    log.steady(700)
    log.mixed(300, 0.4, log.far)
    log.broken(150, log.far)
    log.mixed(300, 0.2, log.race)
    log.mixed(200, 0.3, log.behind)
    log.steady(700)
    log.pause(3)
    log.broken(700, lambda: log.now_ms, user_id=7)
    log.steady(700)
    log.pause(35)
    log.mixed(900, 0.2, log.far)
    log.broken(800, log.far)
    log.mixed(300, 0.1, log.far)
    log.steady(700, step_ms=600_000)
    log.broken(120, lambda: log.now_ms - 500 * DAY_MS)
    log.steady(60)
    log.steady(200, step_ms=2_000_000)
    log.steady(400, step_ms=3_500_000)
    log.broken(600, log.behind)
    log.steady(50)
    return log.records


def racing_clock() -> list[Record]:
    """A log that ends while one producer's clock races ahead of the others."""
    log = ClockLog(11)
    log.steady(100)
    log.mixed(100, 0.2, log.race)
    return log.records


def lonely_user() -> list[Record]:
    """A log that ends behind a pause of which only one user says how long it was, and a few far ones."""
    log = ClockLog(12)
    log.steady(100)
    log.pause(30)
    log.broken(200, lambda: log.now_ms, user_id=7)
    log.broken(1, log.far, user_id=7)
    return log.records
