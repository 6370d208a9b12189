"""A killed owner: nothing lost, nothing doubled, and its neighbours do not notice."""

import logging
import time

from tests.actors.platform import ALERT_SHARE, Platform, eventually

logger = logging.getLogger(__name__)

KILLS = (0, 1, 2, 0, 1)
RECOVERY_LIMIT_SECONDS = 30.0


def test_five_kills_in_a_row_lose_and_double_nothing(platform: Platform) -> None:
    recoveries = []
    with platform.load() as report:
        for partition in KILLS:
            before = platform.epochs()
            counted = platform.scrape().counters()
            began = time.monotonic()
            killed = platform.kill(partition)
            owner = platform.await_owner_after(killed, partition, RECOVERY_LIMIT_SECONDS)
            recoveries.append(time.monotonic() - began)
            assert owner["barrier"] > owner["start_offset"], "the kill met a partition without work"
            others = platform.epochs()
            assert others.pop(partition) == killed + 1
            assert others.items() < before.items(), "another partition changed its owner, too"
            now = platform.scrape().counters()
            assert all(now[series] >= value for series, value in counted.items())
    audit = platform.assert_exact()
    assert audit.by_rule["high_amount"] > 0.5 * ALERT_SHARE * report.acknowledged
    logger.info("recovery after SIGKILL: %s s", ", ".join(f"{seconds:.1f}" for seconds in recoveries))


def test_counters_go_on_after_a_kill(platform: Platform) -> None:
    name = "fraud_detection_transactions_total"
    with platform.load():
        before = platform.scrape().total(name, status="processed")
        killed = platform.kill(2)
        platform.await_owner_after(killed, 2, RECOVERY_LIMIT_SECONDS)
        eventually(
            "the counter grows", lambda: platform.scrape().total(name, status="processed") > before + 300, 30
        )
