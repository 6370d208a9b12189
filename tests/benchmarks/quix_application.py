"""The job of the ceiling, written as a Quix Streams application; `tests.benchmarks.quix` runs it.

    python -I quix_application.py --connections-file F --records N --seconds S --commit-seconds C …

It runs in a virtual environment that holds `quixstreams` and nothing of this project. Per user it keeps
what the ceiling keeps (`docs/semantics.md`): the events of 24 hours, at most 64, and the days of 30 days.
One JSON object on stdout, as `QuixRun` of `quix.py` names it.

Where the two differ, Quix has less to do: changelog topics are off, so its state is on the local disk only;
a record is parsed, not validated; an event beyond the 64th is dropped, not moved to a bucket; an id alone
makes a duplicate, no digest of the payload. The clock runs from the first processed record until the
application has ended, so that the last checkpoint counts: Quix holds changed state in memory until then.

Never: an import of the project; a model, a database, an alert; a password in the arguments.
"""

import argparse
import json
import sys
import time
from bisect import bisect_right
from math import asin, cos, fsum, radians, sin, sqrt
from operator import itemgetter
from pathlib import Path
from typing import Any

from quixstreams import Application, State
from quixstreams.kafka import ConnectionConfig

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAYS_KEPT = 30
MAX_EVENTS = 64
EARTH_RADIUS_KM = 6371.0088
AMOUNT_LIMIT = 2000.0
SPEED_LIMIT_KMH = 800.0
MIN_DISTANCE_KM = 50.0
IDLE_SECONDS = 30.0
"""Without a new record for so long, the run ends; the caller sees that records are missing."""

Event = list[Any]
"""[event_ms, amount, lat, lon, transaction id]; a list, because the state is kept as JSON."""
Days = list[list[float]]
"""[UTC day, count, sum], ascending by day."""
event_time = itemgetter(0)


def haversine_km(a: Event, b: Event) -> float:
    """Great-circle distance of two events' places."""
    lat_a, lat_b = radians(a[2]), radians(b[2])
    sin_lat, sin_lon = sin((lat_b - lat_a) / 2), sin(radians(b[3] - a[3]) / 2)
    square = sin_lat * sin_lat + cos(lat_a) * cos(lat_b) * sin_lon * sin_lon
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, square)))


def neighbour(event: Event, other: Event | None) -> tuple[float, float, float] | None:
    """(seconds, km, km/h) between two events; None if there is no other or a place is missing."""
    if other is None or event[2] is None or other[2] is None:
        return None
    elapsed_ms = max(abs(event[0] - other[0]), 1000)
    km = haversine_km(event, other)
    return elapsed_ms / 1000, km, km / (elapsed_ms / HOUR_MS)


def add_to_day(days: Days, day: int, amount: float) -> None:
    """Counts one amount of the given day."""
    at = bisect_right(days, day, key=event_time)
    if at and days[at - 1][0] == day:
        days[at - 1][1] += 1
        days[at - 1][2] += amount
    else:
        days.insert(at, [day, 1, amount])


def windows(events: list[Event], days: Days, event_ms: int, amount: float) -> dict[str, float | None]:
    """Counts and sums of 1 h, 24 h, 7 d and 30 d up to the event, and the ratio to the mean of the others."""
    amounts = [event[1] for event in events]
    last_hour = amounts[bisect_right(events, event_ms - HOUR_MS, key=event_time) :]
    day = event_ms // DAY_MS
    month = [each for each in days if each[0] <= day]
    week = [each for each in month if each[0] > day - 7]
    count_30d, sum_30d = sum(each[1] for each in month), fsum(each[2] for each in month)
    mean_of_others = (sum_30d - amount) / (count_30d - 1) if count_30d > 1 else 0.0
    return {
        "count_1h": len(last_hour),
        "sum_1h": fsum(last_hour),
        "count_24h": len(amounts),
        "sum_24h": fsum(amounts),
        "count_7d": sum(each[1] for each in week),
        "sum_7d": fsum(each[2] for each in week),
        "count_30d": count_30d,
        "sum_30d": sum_30d,
        "amount_over_mean": amount / mean_of_others if mean_of_others > 0 else None,
    }


def fold(user: dict[str, Any], event: Event) -> dict[str, Any] | None:
    """Moves one user's state by one event; features and rule hits, None for a duplicate."""
    event_ms, amount = event[0], event[1]
    events: list[Event] = user["events"]
    days: Days = user["days"]
    if any(known[4] == event[4] for known in events):
        return None
    newest_ms = user["newest_ms"] = max(user["newest_ms"], event_ms)
    horizon_ms = newest_ms - DAY_MS
    if events and events[0][0] <= horizon_ms:
        del events[: bisect_right(events, horizon_ms, key=event_time)]
    at = bisect_right(events, event_ms, key=event_time)
    previous = neighbour(event, events[at - 1] if at else None)
    following = neighbour(event, events[at] if at < len(events) else None)
    if event_ms > horizon_ms:
        events.insert(at, event)
    first_day = newest_ms // DAY_MS - DAYS_KEPT + 1
    if days and days[0][0] < first_day:
        del days[: bisect_right(days, first_day - 1, key=event_time)]
    if event_ms // DAY_MS >= first_day:
        add_to_day(days, event_ms // DAY_MS, amount)
    features = windows(events[: at + 1], days, event_ms, amount)
    if len(events) > MAX_EVENTS:
        del events[: len(events) - MAX_EVENTS]
    pairs = [pair for pair in (previous, following) if pair is not None and pair[1] >= MIN_DISTANCE_KM]
    return {
        **features,
        "previous": previous,
        "high_amount": amount > AMOUNT_LIMIT,
        "geo_velocity": any(pair[2] > SPEED_LIMIT_KMH for pair in pairs),
    }


class Run:
    """What a run has seen, and when."""

    def __init__(self) -> None:
        self.records = 0
        self.users = 0
        self.hits = 0
        self.first_at = self.last_at = self.ended_at = 0.0

    def observe(self, value: dict[str, Any], state: State) -> dict[str, Any]:
        """The stateful step: reads, moves and writes the state of the message key's user."""
        user = state.get("user")
        if user is None:
            self.users += 1
            user = {"newest_ms": 0, "events": [], "days": []}
        place = value.get("location") or {}
        event_ms = round(value["timestamp"] * 1000)
        event = [event_ms, value["amount"], place.get("lat"), place.get("lon"), value["transaction_id"]]
        seen = fold(user, event)
        if seen is None:
            return {"duplicate": True}
        state.set("user", user)
        self.hits += seen["high_amount"] + seen["geo_velocity"]
        return seen

    def count(self) -> float:
        """Counts one processed record; seconds since the first."""
        self.last_at = time.perf_counter()
        self.records += 1
        if self.records == 1:
            self.first_at = self.last_at
        return self.last_at - self.first_at

    def result(self) -> dict[str, float]:
        """Records, users, rule hits, and seconds: from the first record, and from the last, to the end."""
        return {
            "records": self.records,
            "users": self.users,
            "hits": self.hits,
            "seconds": self.ended_at - self.first_at,
            "closing_seconds": self.ended_at - self.last_at,
        }


def connection_of(kafka: dict[str, Any]) -> ConnectionConfig:
    """The project's connection in Quix's words."""
    password_file = kafka.get("password_file")
    return ConnectionConfig(
        bootstrap_servers=kafka["bootstrap"],
        security_protocol=kafka["security"],
        sasl_mechanism=kafka["sasl_mechanism"],
        sasl_username=kafka["username"],
        sasl_password=Path(password_file).read_text().rstrip("\n") if password_file else None,
        ssl_ca_location=kafka["ca_file"],
        ssl_certificate_location=kafka["client_cert_file"],
        ssl_key_location=kafka["client_key_file"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Quix Streams on the transactions topic")
    parser.add_argument("--connections-file", type=Path, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--commit-seconds", type=float, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--group", required=True)
    options = parser.parse_args()
    connections = json.loads(options.connections_file.read_text())
    run = Run()

    def processed(_topic: str, _partition: int, _offset: int) -> None:
        if run.count() > options.seconds:
            application.stop()

    application = Application(
        broker_address=connection_of(connections["kafka"]),
        consumer_group=options.group,
        auto_offset_reset="earliest",
        commit_interval=options.commit_seconds,
        state_dir=options.state_dir,
        use_changelog_topics=False,
        auto_create_topics=False,
        on_message_processed=processed,
        loglevel="WARNING",
    )
    topic = application.topic(connections["topics"]["transactions"], value_deserializer="json")
    frame = application.dataframe(topic)
    frame.apply(run.observe, stateful=True)
    application.run(count=options.records, timeout=IDLE_SECONDS, collect=False)
    run.ended_at = time.perf_counter()
    sys.stdout.write(json.dumps(run.result()) + "\n")


if __name__ == "__main__":
    main()
