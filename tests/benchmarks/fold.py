"""Microseconds per record of the pure core, by step, and bytes per user: `python -m tests.benchmarks.fold`.

Each figure is the fastest of many short rounds, so that a busy machine disturbs it little; a machine of the
same size may still be twice as slow. Compare figures of one run only.

Never: a check of anything; the tests do that.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.fold import fold
from ray_fraud.domain.partition import Observed, PartitionState
from ray_fraud.domain.payload import id_hash, payload_digest
from ray_fraud.domain.record import Record
from ray_fraud.domain.transaction import Location, Transaction
from ray_fraud.domain.user_state import (
    ExactEvent,
    Lifetime,
    Place,
    Tally,
    UserState,
    encode_state,
    users_digest_term,
)

NOW_MS = 1_700_086_000_000
DAY_MS = 86_400_000
SHAPES = ((3, 1), (3, 30), (40, 3), (40, 30), (64, 30))
"""(exact events, days) of a user; with 64 events each new one moves another to a bucket."""
BATCH_RECORDS = 500
KEYED = b"sixteen bytes at least"


def state_of(events: int, days: int, spacing_ms: int) -> bytes:
    """A state whose events end just before `NOW_MS`."""
    exact = [
        ExactEvent(
            NOW_MS - (events - i) * spacing_ms,
            10.25 + i,
            Place(500_000_000 + i * 1000, 100_000_000),
            random.Random(i).randbytes(16),
            random.Random(-i).randbytes(4),
        )
        for i in range(events)
    ]
    today = NOW_MS // DAY_MS
    lifetime = Lifetime(2_000_000.0, 1.75, NOW_MS - 20 * DAY_MS, 2_000)
    tallies = [Tally(today - d, 3, 50.5) for d in range(days)][::-1]
    return encode_state(UserState(NOW_MS, lifetime, exact, [], tallies))


def transaction_of(user_id: int, number: int, rng: random.Random) -> Transaction:
    place = Location(50 + rng.random() / 10, 10 + rng.random() / 10, "Erfurt", "DE")
    amount = 2500.0 if rng.random() < 0.01 else round(rng.uniform(5, 1900), 2)
    identity = f"{rng.getrandbits(128):032x}"
    when = NOW_MS / 1000 + number / 5000
    return Transaction(identity, user_id, amount, when, place, "merchant-17", "device-4", "EUR", "pos")


def log_of(records: int, users: int) -> list[Record]:
    """`records` transactions of `users` users at 5,000 a second, 1 % of them above the limit of amounts."""
    rng = random.Random(1)
    log = []
    for offset in range(records):
        tx = transaction_of(rng.randrange(users), offset, rng)
        content = {name: value for name, value in msgspec.to_builtins(tx).items() if value is not None}
        log.append(Record(offset, NOW_MS + offset // 5, None, msgspec.json.encode(content)))
    return log


def fastest_us(work: Callable[[], object], calls: int, rounds: int = 200) -> float:
    """Microseconds per call of the fastest of `rounds` rounds of `calls` calls."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, time.perf_counter() - start)
    return best / calls * 1e6


def observe_last(log: Sequence[Record], rounds: int = 40) -> tuple[float, PartitionState, Observed]:
    """Microseconds per record of `observe` (decoding included) on the last batch; the state after it."""
    base = PartitionState(0, Decoder(KEYED))
    base.observe(log[:-BATCH_RECORDS])
    best = float("inf")
    for _ in range(rounds):
        state = PartitionState(
            0,
            Decoder(KEYED),
            next_offset=base.next_offset,
            watermark_ms=base.watermark_ms,
            votes=base.votes,
            users=dict(base.users),
        )
        start = time.perf_counter()
        observed = state.observe(log[-BATCH_RECORDS:])
        best = min(best, time.perf_counter() - start)
    return best / BATCH_RECORDS * 1e6, state, observed


def bytes_a_user(users: dict[int, bytes]) -> float:
    """Bytes of the dictionary, its keys and its values, per user."""
    held = sum(sys.getsizeof(user_id) + sys.getsizeof(state) for user_id, state in users.items())
    return (sys.getsizeof(users) + held) / len(users)


def figures(records: int, users: int) -> list[tuple[str, float, str]]:
    log = log_of(records, users)
    value = log[0].value
    decode = Decoder(KEYED).decode
    tx = transaction_of(7, 0, random.Random(2))
    digest, identity = payload_digest(tx), id_hash(tx.transaction_id)
    rows = [
        ("decode", fastest_us(lambda: decode(value), 200), "µs"),
        ("payload digest", fastest_us(lambda: payload_digest(tx), 200), "µs"),
        ("id hash", fastest_us(lambda: id_hash(tx.transaction_id), 200), "µs"),
    ]
    for events, days in SHAPES:
        state = state_of(events, days, DAY_MS // 70)
        step = partial(fold, state, tx, NOW_MS, digest, identity, NOW_MS, 64)
        rows.append((f"fold, {events} events, {days} days", fastest_us(step, 200), "µs"))
        term = partial(users_digest_term, 7, state)
        rows.append((f"digest term of {len(state)} bytes", fastest_us(term, 200), "µs"))
    observe_us, partition, observed = observe_last(log)
    rows.append((f"observe, decoding included, {records / users:.1f} events a user", observe_us, "µs"))
    decide_us = fastest_us(lambda: partition.decide(observed, None), 1, 30) / len(observed.rows)
    rows.append(("decide, 1 % alerts", decide_us, "µs"))
    rows.append(("memory a user after these records", bytes_a_user(partition.users), "bytes"))
    for events, days in SHAPES:
        held = dict.fromkeys(range(2**32, 2**32 + users), state_of(events, days, 1))
        rows.append((f"memory a user, {events} events, {days} days", bytes_a_user(held), "bytes"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--users", type=int, default=20_000)
    arguments = parser.parse_args()
    for name, value, unit in figures(arguments.records, arguments.users):
        sys.stdout.write(f"{name:55s}{value:10.2f} {unit}\n")


if __name__ == "__main__":
    main()
