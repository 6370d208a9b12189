"""Two owners of one partition: every store refuses the older one, and the supervisor replaces it."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import msgspec
import pytest

from actors.build import build_ports
from actors.config import Scoring
from actors.engine.owner import PartitionOwner
from actors.engine.ports import Ports
from actors.engine.publisher import Publisher
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.partition import Effects
from ray_fraud.stores.errors import Fenced
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.telemetry.meter import Meter
from tests.actors.platform import Platform, eventually

PARTITION = 0
FENCED_WRITES = "fraud_detection_fenced_writes_total"


@contextmanager
def second_owner(platform: Platform) -> Iterator[tuple[PartitionOwner, Ports]]:
    """An owner in this process, which takes the partition from the running actor; and its ports."""
    config = msgspec.structs.replace(platform.config, scoring=Scoring.LOCAL)
    registry = PostgresRegistry(config.connections.postgres)
    built = build_ports(config, PARTITION, Meter("second-owner", "test"))
    try:
        desired = Desired(config.settings, registry.current_split())
        owner = PartitionOwner(built.ports, built.partition, secrets.token_hex(16), desired, time.monotonic)
        yield owner, built.ports
    finally:
        registry.close()
        built.close()


def next_effects(owner: PartitionOwner) -> list[Effects]:
    """Reads and decides what has come, without making anything durable."""
    owner.reconcile()
    batches = owner.observe(owner.read(500, timedelta(milliseconds=200)))
    return [owner.decide(batch, scores) for batch in batches for scores in owner.score([batch])[0]]


def test_the_older_of_two_owners_is_refused_everywhere(platform: Platform) -> None:
    before = platform.epochs()
    with platform.load(), second_owner(platform) as (second, ports):
        assert second.own.epoch == before[PARTITION] + 1
        next_effects(second)
        third = platform.await_owner_after(second.own.epoch, PARTITION, 60)
        assert third["last_end"].startswith("Fenced")

        def alerts_beyond_the_barrier() -> list[Effects] | None:
            effects = next_effects(second)
            alerts = [alert for one in effects for alert in one.alerts]
            return effects if any(alert.offset >= third["barrier"] for alert in alerts) else None

        late = eventually("the replaced owner decides too much", alerts_beyond_the_barrier, 30)
        with pytest.raises(Fenced, match="postgres"):
            second.publish(late)
        # An owner that is past what may have killed its predecessor tells nobody before it publishes: the
        # topic takes its alerts, and the sink has to refuse them.
        with pytest.raises(Fenced, match="postgres"):
            Publisher(ports, second.own, time.monotonic).publish([a for one in late for a in one.alerts], [])
        ports.writer.flush(timedelta(seconds=10))
        with pytest.raises(Fenced, match="postgres"):
            second.record_progress()
        with pytest.raises(Fenced, match="redis"):
            second.write_cut(drained=True)
        after = platform.epochs()
    platform.assert_exact()
    assert after.pop(PARTITION) > second.own.epoch
    assert after.items() < before.items()

    def counted() -> bool:
        scrape = platform.scrape()
        of = {name: scrape.total(FENCED_WRITES, component=name) for name in ("postgres", "redis", "kafka")}
        return of["kafka"] > 0 and of["postgres"] + of["redis"] > 0

    eventually("the fenced actor and the alerts that the sink refused are counted", counted, 30)
