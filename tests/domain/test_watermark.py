"""No producer's clock is believed alone: what a partition does about timestamps from far away."""

import random
from collections.abc import Iterable

import pytest

from ray_fraud.domain.observed import Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings, StateSettings
from ray_fraud.domain.timeline import settings_event
from ray_fraud.domain.user_state import last_seen_ms
from ray_fraud.domain.watermark import FIRST, MOST, STEP_MS, Votes, Watermark
from ray_fraud.domain.windows import DAY_MS, HOUR_MS
from tests.domain.samples import NOW_MS, decoder, record, transaction

FAR_MS = 200 * DAY_MS
IDLE_HOURS = 744


class Log:
    """A partition and what is sent to it; `now_ms` is what right clocks show."""

    def __init__(self, idle_hours: int = IDLE_HOURS) -> None:
        settings = DetectionSettings(state=StateSettings(idle_hours=idle_hours))
        self.state = PartitionState(0, decoder(), timeline=[settings_event(1, 0, settings)])
        self.now_ms = NOW_MS
        self.forgotten = 0

    def send(self, sent: Iterable[tuple[int, int]]) -> Observed:
        """(Kafka timestamp, user) of each record; all events are of long ago."""
        first = self.state.next_offset
        records = [self._record(first + index, *each) for index, each in enumerate(sent)]
        observed = self.state.observe(records)
        assert observed.counts.processed == len(records)
        self.forgotten += observed.counts.expired_users
        return observed

    def _record(self, offset: int, timestamp_ms: int, user_id: int) -> Record:
        tx = transaction(f"t{offset}", user_id=user_id, seconds=offset - 2e8)
        return record(offset, tx, timestamp_ms=timestamp_ms)

    def right(self, count: int, *, users: int = 20, step_ms: int = 10_000) -> Observed:
        sent = []
        for index in range(count):
            self.now_ms += step_ms
            sent.append((self.now_ms, index % users))
        return self.send(sent)

    @property
    def ahead_ms(self) -> int:
        """How far the watermark is ahead of right clocks."""
        return self.state.watermark_ms - self.now_ms


@pytest.mark.parametrize("far_ms", [STEP_MS + 1, DAY_MS, FAR_MS, 10**14 - 1 - NOW_MS - DAY_MS])
def test_one_record_from_far_ahead_moves_nothing_and_forgets_nobody(far_ms: int) -> None:
    log = Log()
    log.right(50)
    known = set(log.state.users)
    log.send([(log.now_ms + far_ms, 1)])
    log.right(50)
    assert (log.ahead_ms, log.forgotten) == (0, 0)
    assert set(log.state.users) == known


def test_its_own_user_is_kept_for_twice_as_long_at_most() -> None:
    log = Log(idle_hours=24)
    log.right(10)
    log.send([(log.now_ms + FAR_MS, 99)])
    log.right(47, users=1, step_ms=HOUR_MS)
    assert 99 in log.state.users
    log.right(3, users=1, step_ms=HOUR_MS)
    assert set(log.state.users) == {0}


def test_a_broken_first_record_is_outvoted() -> None:
    log = Log()
    log.send([(NOW_MS + FAR_MS, 99)])
    log.right(FIRST - 1)
    assert log.ahead_ms > DAY_MS
    log.right(1)
    assert log.ahead_ms == 0
    log.right(800, step_ms=HOUR_MS)
    assert set(log.state.users) == set(range(20)), "the first record's user is forgotten like any other"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("known", [0, 2_000])
def test_a_minority_moves_the_watermark_nowhere(share: float, known: int) -> None:
    log, rng = Log(), random.Random(5)
    log.right(max(1, known))
    highest = 0
    for _ in range(60):
        sent = []
        for index in range(100):
            log.now_ms += 10_000
            is_broken = rng.random() < share
            sent.append((log.now_ms + is_broken * FAR_MS, 1_000 + index if is_broken else index))
        log.send(sent)
        highest = max(highest, log.ahead_ms)
    assert highest == 0
    assert log.forgotten == 0


def test_a_run_of_one_producer_moves_nothing_if_others_are_known() -> None:
    log = Log()
    log.right(2_000)
    log.send([(log.now_ms + FAR_MS, 1_000 + index) for index in range(MOST - 1)])
    assert log.ahead_ms == 0
    log.right(1)
    assert log.ahead_ms == 0


def test_a_clock_that_races_ahead_drags_the_watermark_hours_not_days() -> None:
    log, rng = Log(), random.Random(6)
    log.right(600)
    racing = log.now_ms
    for _ in range(3_000):
        log.now_ms += 10_000
        if rng.random() < 0.2:
            racing += 59 * 60_000
            log.send([(racing, 99)])
        else:
            log.send([(log.now_ms, rng.randrange(20))])
    assert racing - log.now_ms > 20 * DAY_MS
    assert log.ahead_ms <= 12 * HOUR_MS
    assert log.forgotten == 0


@pytest.mark.parametrize("pause_days", [0.4, 5, 35, 100, 400])
def test_behind_a_pause_the_watermark_follows_and_keeps_whom_it_saw_meanwhile(pause_days: float) -> None:
    log = Log()
    log.right(2_000)
    log.send([(log.now_ms, 500)])
    log.now_ms += int(pause_days * DAY_MS)
    log.right(MOST)
    assert -HOUR_MS * 2 <= log.ahead_ms <= 0
    assert set(range(20)) <= set(log.state.users)
    assert (500 in log.state.users) == (pause_days < 31)
    log.right(200)
    assert set(range(20)) <= set(log.state.users)


def test_at_a_pause_s_end_the_most_careful_of_the_clocks_counts() -> None:
    log = Log()
    log.right(2_000)
    log.now_ms += 5 * DAY_MS
    log.send([(log.now_ms + (index % 5 == 0) * FAR_MS, index % 40) for index in range(2 * MOST)])
    assert log.ahead_ms == 0


def test_one_user_alone_makes_nobody_be_forgotten() -> None:
    log = Log()
    log.right(2_000)
    log.now_ms += 40 * DAY_MS
    log.send([(log.now_ms, 7)] * 3_000)
    assert (log.ahead_ms, log.forgotten) == (-40 * DAY_MS, 0)
    log.send([(log.now_ms, 8), (log.now_ms, 9)])
    assert log.ahead_ms == 0
    assert {7, 8, 9} <= set(log.state.users)


def test_a_majority_that_was_wrong_is_outvoted_again() -> None:
    log = Log()
    log.right(2_000)
    log.send([(log.now_ms + FAR_MS, 1_000 + index % 30) for index in range(2_000)])
    assert log.ahead_ms == FAR_MS
    log.right(MOST)
    assert log.ahead_ms == 0
    log.right(1_600, step_ms=HOUR_MS)
    assert -STEP_MS <= log.ahead_ms <= 0


def test_history_sent_again_costs_nobody_their_state() -> None:
    log = Log()
    log.right(2_000)
    before = set(log.state.users)
    past_ms = log.now_ms - 300 * DAY_MS
    log.send([(past_ms + index * HOUR_MS // 2, 2_000 + index % 50) for index in range(6_000)])
    assert log.ahead_ms < -100 * DAY_MS, "a majority for long enough"
    log.right(MOST)
    assert log.ahead_ms >= -2 * STEP_MS
    assert before <= set(log.state.users)


def test_producers_with_slow_clocks_hold_nothing_up() -> None:
    log, rng = Log(), random.Random(8)
    log.right(600)
    for _ in range(2_000):
        log.now_ms += 60_000
        behind = rng.random() < 0.35
        log.send([(log.now_ms - behind * 2 * DAY_MS, rng.randrange(20))])
    assert -3 * HOUR_MS <= log.ahead_ms <= 0


def test_last_seen_is_the_watermark_for_all_but_those_above_it() -> None:
    log = Log()
    log.send([(NOW_MS, 1), (NOW_MS - DAY_MS, 2), (NOW_MS + DAY_MS, 3), (NOW_MS + FAR_MS, 4)])
    seen = {user: last_seen_ms(state) - NOW_MS for user, state in log.state.users.items()}
    assert seen == {1: 0, 2: 0, 3: DAY_MS, 4: IDLE_HOURS * HOUR_MS}


def test_a_watermark_is_all_in_its_time_and_its_votes() -> None:
    rng = random.Random(9)
    one, now_ms = Watermark(), NOW_MS
    for _ in range(3_000):
        now_ms += rng.randrange(60_000)
        at_ms = now_ms + rng.choice((0, 0, 0, FAR_MS, -FAR_MS, 2 * HOUR_MS))
        other = Watermark(one.ms, one.votes)
        assert one.take(at_ms, at_ms % 5) == other.take(at_ms, at_ms % 5)
        assert (one.ms, one.votes) == (other.ms, other.votes)
    assert one.votes != Votes()
