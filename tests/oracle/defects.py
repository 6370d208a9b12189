"""Seeded defects done to a run of the product: to its result, or to what it is given.

Each stands for a fault that the platform must not have: an alert lost between fold and database, a
state written for the wrong user, a control event that did not arrive.

Never: changing a result in place; two defects at once.
"""

import copy
import random
from collections.abc import Callable

import numpy as np

from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings, HighAmountSettings
from ray_fraud.domain.timeline import ControlEvent, EventKind, inline_event
from tests.oracle.oracle import OracleResult
from tests.oracle.values import alert_uid

Damage = Callable[[OracleResult, random.Random], None]
Log = tuple[list[Record], list[ControlEvent]]
Misfeed = Callable[[list[Record], list[ControlEvent], random.Random], Log]


def drop_an_alert(result: OracleResult, rng: random.Random) -> None:
    del result.alerts[rng.randrange(len(result.alerts))]


def duplicate_an_alert(result: OracleResult, rng: random.Random) -> None:
    position = rng.randrange(len(result.alerts))
    result.alerts.insert(position, result.alerts[position])


def alert_for_the_wrong_user(result: OracleResult, rng: random.Random) -> None:
    """The alert's own uid stays consistent with the wrong user, as a mix-up of rows would have it."""
    alert = rng.choice(result.alerts)
    alert["user_id"] += 1
    alert["alert_uid"] = alert_uid(alert["transaction_id"], alert["user_id"], alert["rule_name"], b"\0" * 16)


def alert_at_the_wrong_offset(result: OracleResult, rng: random.Random) -> None:
    rng.choice(result.alerts)["offset"] += 1


def score_of_another_row(result: OracleResult, rng: random.Random) -> None:
    rng.choice([alert for alert in result.alerts if alert["score"] is not None])["score"] *= 0.5


def model_of_the_other_arm(result: OracleResult, rng: random.Random) -> None:
    rng.choice([alert for alert in result.alerts if alert["score"] is not None])["model_version"] = "other:1"


def alerts_in_another_order(result: OracleResult, rng: random.Random) -> None:
    result.alerts.reverse()


def swap_the_states_of_two_users(result: OracleResult, rng: random.Random) -> None:
    one, other = rng.sample(sorted(result.users), 2)
    result.users[one], result.users[other] = result.users[other], result.users[one]


def stale_state(result: OracleResult, rng: random.Random) -> None:
    """The user's last transaction never reached the state."""
    state = result.users[rng.choice(sorted(result.users))]
    state["exact"] = state["exact"][:-1]


def lose_a_user(result: OracleResult, rng: random.Random) -> None:
    del result.users[rng.choice(sorted(result.users))]


def one_cent_in_a_day(result: OracleResult, rng: random.Random) -> None:
    days = result.users[rng.choice(sorted(result.users))]["days"]
    number = rng.choice(sorted(days))
    days[number] = (days[number][0], days[number][1] + 0.01)


def zero_for_a_missing_feature(result: OracleResult, rng: random.Random) -> None:
    offset = rng.choice([offset for offset, row in result.features.items() if np.isnan(row).any()])
    result.features[offset] = np.nan_to_num(result.features[offset])


def lose_a_row(result: OracleResult, rng: random.Random) -> None:
    del result.features[rng.choice(sorted(result.features))]


def lose_a_dead_letter(result: OracleResult, rng: random.Random) -> None:
    del result.rejected[rng.choice(sorted(result.rejected))]


def miscount(result: OracleResult, rng: random.Random) -> None:
    result.counts["duplicate"] -= 1


DAMAGES: list[Damage] = [
    drop_an_alert,
    duplicate_an_alert,
    alert_for_the_wrong_user,
    alert_at_the_wrong_offset,
    score_of_another_row,
    model_of_the_other_arm,
    alerts_in_another_order,
    swap_the_states_of_two_users,
    stale_state,
    lose_a_user,
    one_cent_in_a_day,
    zero_for_a_missing_feature,
    lose_a_row,
    lose_a_dead_letter,
    miscount,
]


def damaged(result: OracleResult, damage: Damage, seed: int) -> OracleResult:
    """A copy of the result with one defect."""
    other = copy.deepcopy(result)
    damage(other, random.Random(seed))
    return other


def without_an_event(records: list[Record], timeline: list[ControlEvent], rng: random.Random) -> Log:
    lost = [event for event in timeline if event.kind is EventKind.SPLIT][1]
    return records, renumbered([event for event in timeline if event is not lost])


def events_one_offset_late(records: list[Record], timeline: list[ControlEvent], rng: random.Random) -> Log:
    return records, renumbered(timeline, offsets_later=1)


def another_threshold(records: list[Record], timeline: list[ControlEvent], rng: random.Random) -> Log:
    content = DetectionSettings(high_amount=HighAmountSettings(limit=2000.1)).canonical()
    return records, [
        inline_event(event.seq, event.from_offset, event.kind, content)
        if event.kind is EventKind.SETTINGS
        else event
        for event in timeline
    ]


def lose_a_record(records: list[Record], timeline: list[ControlEvent], rng: random.Random) -> Log:
    """Another record in its place keeps the offsets whole."""
    position = rng.randrange(1, len(records))
    lost = Record(records[position].offset, records[position].timestamp_ms, None, b"")
    return [*records[:position], lost, *records[position + 1 :]], timeline


def swap_two_records(records: list[Record], timeline: list[ControlEvent], rng: random.Random) -> Log:
    position = rng.randrange(1, len(records) - 1)
    one, other = records[position], records[position + 1]
    swapped = [
        Record(one.offset, other.timestamp_ms, None, other.value),
        Record(other.offset, one.timestamp_ms, None, one.value),
    ]
    return [*records[:position], *swapped, *records[position + 2 :]], timeline


def receive_times_instead_of_sent(
    records: list[Record], timeline: list[ControlEvent], rng: random.Random
) -> Log:
    return [Record(r.offset, r.timestamp_ms + 60_000, None, r.value) for r in records], timeline


def renumbered(timeline: list[ControlEvent], offsets_later: int = 0) -> list[ControlEvent]:
    """The events as an owner would have numbered them."""
    return [
        inline_event(seq, event.from_offset + offsets_later, event.kind, event.reference.encode())
        for seq, event in enumerate(timeline, start=1)
    ]


MISFEEDS: list[Misfeed] = [
    without_an_event,
    events_one_offset_late,
    another_threshold,
    lose_a_record,
    swap_two_records,
    receive_times_instead_of_sent,
]
