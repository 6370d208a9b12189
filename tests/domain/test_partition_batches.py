"""A partition is a function of log and timeline: batches, restarts and pauses change nothing."""

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_fraud.domain.observed import Effects
from ray_fraud.domain.partition import FOLD_VERSION, PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.replay import replay
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.settings import DetectionSettings, HighAmountSettings, StateSettings
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.timeline import (
    fold_version_event,
    gap_event,
    quarantine_event,
    settings_event,
    split_event,
)
from ray_fraud.domain.transaction import Location
from ray_fraud.domain.user_state import users_digest_term
from ray_fraud.domain.watermark import Votes
from tests.domain.samples import BERLIN, NOW_MS, TOKYO, decoder, record, transaction

RECORDS = 700
SMALL = StateSettings(max_events=4, idle_hours=24)
OLD = Split((Arm("forest", 1, "d1", 0.9, 10_000),), "salt")
NEW = Split((Arm("forest", 1, "d1", 0.9, 5_000), Arm("forest", 2, "d2", 0.8, 5_000)), "salt")
TIMELINE = (
    fold_version_event(1, 0, FOLD_VERSION),
    settings_event(2, 0, DetectionSettings(state=SMALL)),
    split_event(3, 0, OLD),
    split_event(4, 211, NEW),
    quarantine_event(5, 300),
    gap_event(6, 350, 360, "lost"),
    settings_event(7, 500, DetectionSettings(state=SMALL, high_amount=HighAmountSettings(limit=500.0))),
)


def make_log(seed: int) -> list[Record]:
    """Few users, so that all limits are met: late, equal times, duplicates, refused values, idle users."""
    rng = random.Random(seed)
    places: list[Location | None] = [None, BERLIN, BERLIN, TOKYO]
    log: list[Record] = []
    offset, now_ms = 0, NOW_MS
    while len(log) < RECORDS:
        offset += rng.choice((1, 1, 1, 1, 2))
        now_ms += rng.choice((0, 0, 500, 60_000, 400_000, 3_600_000 if rng.random() < 0.2 else 1))
        if rng.random() < 0.05:
            log.append(record(offset, rng.choice((b"", b"{", b'{"user_id":1}')), timestamp_ms=now_ms))
        elif log and rng.random() < 0.1:
            again = rng.choice(log[-20:])
            log.append(Record(offset, now_ms, again.key, again.value))
        else:
            late_s = rng.choice((0, 0, 0, 1, 600, 90_000, -301))
            tx = transaction(
                f"t{rng.randrange(400)}",
                user_id=rng.randrange(12),
                amount=round(rng.expovariate(1 / 300), 2),
                seconds=(now_ms - NOW_MS) / 1000 - late_s,
                location=rng.choice(places),
            )
            log.append(record(offset, tx, timestamp_ms=now_ms))
    return log


def score(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores | None:
    """A stand-in model: the fraction of a number made of the row."""
    values = np.nan_to_num(features.astype(np.float64)).sum(axis=1) * 0.61803398875 % 1.0
    return Scores(values, split.arm_of(user_ids)) if split.arms else None


Sizes = Callable[[], int]


def run(
    log: Sequence[Record], state: PartitionState, sizes: Sizes
) -> Iterator[tuple[PartitionState, Effects]]:
    """Drives a partition as the engine does, in batches of the given sizes."""
    rest = list(log)
    while rest:
        batch = rest[: sizes()]
        observed = state.observe(batch)
        yield state, state.decide(observed, score(observed.split, observed.user_ids, observed.features))
        rest = [one for one in rest if one.offset >= observed.next_offset]


Summary = tuple[dict[int, bytes], int, tuple[int, Votes], list[object]]


def summary(state: PartitionState, effects: Sequence[Effects]) -> Summary:
    found: list[object] = [alert for one in effects for alert in one.alerts]
    found += [letter for one in effects for letter in one.dead_letters]
    return state.users, state.next_offset, (state.watermark_ms, state.votes), found


def whole_run(log: Sequence[Record], sizes: Sizes) -> Summary:
    state = PartitionState(0, decoder(), timeline=TIMELINE)
    return summary(state, [effects for _, effects in run(log, state, sizes)])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_size_of_batches_does_not_matter(seed: int) -> None:
    log = make_log(seed)
    rng = random.Random(seed)
    expected = whole_run(log, lambda: 1)
    assert len(expected[3]) > 100
    for sizes in (lambda: 7, lambda: 500, lambda: rng.randint(1, 60)):
        assert whole_run(log, sizes) == expected


@pytest.mark.parametrize("seed", [4, 5])
def test_a_replay_is_the_same_run(seed: int) -> None:
    log = make_log(seed)
    for batch_records in (1, 13, 5000):
        state = PartitionState(0, decoder(), timeline=TIMELINE)
        effects = [each.effects for each in replay(log, state, score, batch_records)]
        assert summary(state, effects) == whole_run(log, lambda: 50)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 3), stop=st.integers(1, RECORDS))
def test_a_restored_partition_goes_on_alike(seed: int, stop: int) -> None:
    log = make_log(seed)
    first = PartitionState(0, decoder(), timeline=TIMELINE)
    effects = [effects for _, effects in run(log[:stop], first, lambda: 50)]
    restored = PartitionState(
        0,
        decoder(),
        next_offset=first.next_offset,
        watermark_ms=first.watermark_ms,
        votes=first.votes,
        users=dict(first.users),
        timeline=TIMELINE,
    )
    rest = [one for one in log if one.offset >= restored.next_offset]
    effects += [effects for _, effects in run(rest, restored, lambda: 33)]
    assert summary(restored, effects) == whole_run(log, lambda: 50)


def test_changes_of_batches_add_up_to_the_digest() -> None:
    state = PartitionState(0, decoder(), timeline=TIMELINE)
    digest = 0
    known: dict[int, bytes] = {}
    rest = make_log(6)
    while rest:
        observed = state.observe(rest[:20])
        for user_id, before in observed.before.items():
            assert known.get(user_id) == before
            digest ^= users_digest_term(user_id, before) if before is not None else 0
        for user_id, after in observed.changed.items():
            digest ^= users_digest_term(user_id, after) if after is not None else 0
        known = dict(state.users)
        rest = [one for one in rest if one.offset >= observed.next_offset]
    whole = 0
    for user_id, packed in state.users.items():
        whole ^= users_digest_term(user_id, packed)
    assert digest == whole


def test_a_change_of_the_timeline_changes_the_effects() -> None:
    """The comparison can fail: without the last settings the run is another one."""
    log = make_log(1)
    state = PartitionState(0, decoder(), timeline=TIMELINE[:-1])
    effects = [effects for _, effects in run(log, state, lambda: 50)]
    assert summary(state, effects) != whole_run(log, lambda: 50)
