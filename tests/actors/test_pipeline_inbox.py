"""The queue between two threads of a partition: what its two ends learn of each other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from actors.engine.pipeline import Inbox, InFlight
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.misrouting import Misrouted
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record

NOW_MS = 1_790_000_000_000
AT_ONCE, PATIENCE = timedelta(0), timedelta(seconds=20)


@pytest.fixture
def taker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


def test_nobody_waits_before_the_first_take() -> None:
    assert not Inbox[str](10).wait_for_taker(AT_ONCE)


def test_a_taker_that_finds_nothing_is_seen_waiting(taker: ThreadPoolExecutor) -> None:
    inbox = Inbox[str](10)
    taken = taker.submit(inbox.take)
    assert inbox.wait_for_taker(PATIENCE)
    inbox.put("a", 1)
    assert taken.result(PATIENCE.total_seconds()) == ["a"]


def test_what_was_put_counts_until_its_taker_comes_back(taker: ThreadPoolExecutor) -> None:
    inbox = Inbox[str](10)
    taken = taker.submit(inbox.take)
    assert inbox.wait_for_taker(PATIENCE)
    inbox.put("a", 1)
    # Taken or not: the taker has not asked again.
    assert not inbox.wait_for_taker(AT_ONCE)
    taken.result(PATIENCE.total_seconds())
    assert not inbox.wait_for_taker(AT_ONCE)
    again = taker.submit(inbox.take)
    assert inbox.wait_for_taker(PATIENCE)
    inbox.close()
    assert again.result(PATIENCE.total_seconds()) == []


def test_a_closed_inbox_keeps_nobody_waiting() -> None:
    inbox = Inbox[str](10)
    inbox.put("a", 1)
    inbox.close()
    assert inbox.wait_for_taker(PATIENCE)


def test_large_dead_letters_weigh_what_they_hold() -> None:
    """A thousand megabytes of refused values must not wait in a queue that counts rows."""
    state = PartitionState(0, Decoder(None))
    small = state.observe([Record(offset, NOW_MS, None, b"no json") for offset in range(10)])
    large = state.observe([Record(offset, NOW_MS, None, bytes(1 << 20)) for offset in range(10, 20)])
    weights = [InFlight(observed, 0.0, 10, NOW_MS, Misrouted()).weight for observed in (small, large)]
    assert weights == [10, 10 + 10 * 128]
