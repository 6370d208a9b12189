"""Bytes of one user's state in memory, as a partition holds it.

Never: a guess; the state is made by the fold.
"""

import sys

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record

USERS = 1_000
EVENTS = 40
DAY_MS = 86_400_000
START_MS = 1_767_225_600_000


def bytes_per_user(events: int = EVENTS, earlier_days: int = 0) -> float:
    """The state, its key and its share of the dictionary, for a user with `events` in the last 24 h.

    Args:
        events: spread over the last 24 h.
        earlier_days: days before with one transaction each.
    """
    step_ms = (DAY_MS - 1) // events
    times = [START_MS - (earlier_days - day) * DAY_MS for day in range(earlier_days)]
    times += [START_MS + step_ms * event for event in range(events)]
    records = (
        Record(0, at, None, _value(user, number, at))
        for number, at in enumerate(times)
        for user in range(USERS)
    )
    state = PartitionState(0, Decoder(None))
    numbered = [Record(offset, r.timestamp_ms, None, r.value) for offset, r in enumerate(records)]
    state.observe(numbered)
    total = sys.getsizeof(state.users)
    for user, packed in state.users.items():
        total += sys.getsizeof(user) + sys.getsizeof(packed)
    return total / len(state.users)


def _value(user: int, number: int, at_ms: int) -> bytes:
    return (
        b'{"transaction_id":"t%d-%d","user_id":%d,"amount":20.5,"timestamp":%d.%03d,'
        b'"location":{"lat":52.5,"lon":13.4}}' % (user, number, user, at_ms // 1000, at_ms % 1000)
    )
