"""Promotions in mid-stream: each holds from a recorded offset on, and no request fails."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from ray import serve
from ray.serve.schema import ApplicationStatus

from ray_fraud.domain.timeline import ControlEvent, EventKind
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.registry import ModelStatus, Share
from serve.config import APPLICATION
from serve.deploy import scorer_state
from tests.actors.platform import Platform, eventually

DEGRADED = "fraud_detection_degraded_scores_total"
SCORED = "fraud_detection_ml_predictions_total"
ROWS = 900
"""Enough that a share of 80 % is told from 50 % beyond doubt."""


@contextmanager
def registry_of(platform: Platform) -> Iterator[PostgresRegistry]:
    registry = PostgresRegistry(platform.config.connections.postgres)
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def scorer_that_hangs() -> Iterator[None]:
    """A replica that answers nothing, and takes no other splits, while the block runs."""
    pid = scorer_state(timeout=timedelta(seconds=10)).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def being_deployed() -> bool:
    return serve.status().applications[APPLICATION].status is ApplicationStatus.DEPLOYING


def splits(platform: Platform, partition: int) -> list[ControlEvent]:
    events = platform.ledger.events(platform.partitions[partition])
    return [event for event in events if event.kind is EventKind.SPLIT]


def scored_by_arm(platform: Platform) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in platform.status().values():
        for label, rows in entry["arm_counts"].items():
            total[label] = total.get(label, 0) + rows
    return total


def test_promotions_hold_from_a_recorded_offset(platform: Platform) -> None:
    partitions = sorted(platform.partitions)
    known = {number: len(splits(platform, number)) for number in partitions}
    with platform.load(), registry_of(platform) as registry:
        degraded = platform.scrape().total(DEGRADED)
        ends = platform.log_ends()
        # Those that the platform began with, whatever a batch has decided about them meanwhile.
        one, two = sorted(registry.versions(), key=lambda version: version.id)[:2]
        for production, testing, share_bp in ((one, two, 5_000), (two, one, 8_000)):
            wanted = registry.set_split(
                [
                    Share(production.id, ModelStatus.PRODUCTION, share_bp),
                    Share(testing.id, ModelStatus.TESTING, 10_000 - share_bp),
                ]
            )
            eventually(
                "every partition recorded the split",
                lambda: all(splits(platform, number)[-1].digest == wanted.digest for number in partitions),  # noqa: B023
                60,
            )
        before = scored_by_arm(platform)

        def scored() -> dict[str, int] | None:
            rows = {label: count - before.get(label, 0) for label, count in scored_by_arm(platform).items()}
            return rows if sum(rows.values()) >= ROWS else None

        rows = eventually("enough is scored under the last split", scored, 30)
        seen = platform.scrape().total(SCORED)
        eventually("the counters have caught up", lambda: platform.scrape().total(SCORED) > seen, 15)
        assert platform.scrape().total(DEGRADED) == degraded, "a promotion cost a scoring call"
        killed = platform.kill(1)
        platform.await_owner_after(killed, 1, 30)
    assert abs(rows[two.label] / sum(rows.values()) - 0.8) < 0.1
    for number in partitions:
        new = splits(platform, number)[known[number] :]
        assert len(new) == 2
        assert ends[number] - 500 <= new[0].from_offset < new[1].from_offset
    audit = platform.assert_exact()
    assert audit.ab_share[two.label] > 0.1


def test_a_dead_owner_is_replaced_while_serve_takes_its_time(platform: Platform) -> None:
    partitions = sorted(platform.partitions)
    platform.epochs()
    with platform.load(), registry_of(platform) as registry:
        arms = registry.current_split().arms
        live = [version for version in registry.versions() if version.status is ModelStatus.PRODUCTION]
        with scorer_that_hangs():
            wanted = registry.set_split([Share(live[0].id, ModelStatus.PRODUCTION, 10_000)])
            assert wanted.arms != arms
            eventually("the split is being deployed", being_deployed, 20)
            killed = platform.kill(1)
            platform.await_owner_after(killed, 1, 30)
            assert splits(platform, 0)[-1].digest != wanted.digest, "proposed before it was deployed"
        eventually(
            "every partition recorded the split",
            lambda: all(splits(platform, number)[-1].digest == wanted.digest for number in partitions),
            60,
        )
    platform.assert_exact()
