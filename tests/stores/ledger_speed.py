"""Measures inserts on a real server: `python -m tests.stores.ledger_speed` (not part of the tests)."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from cluster.local.ledger import Ledger as ProcessLedger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports
from cluster.local.postgres import EmbeddedPostgres
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.port import SinkProgress, TopicAlert
from ray_fraud.stores.ledger.postgres import PostgresLedger
from tests.stores.ledger_world import example_alert

SIZES = ((1, 300), (10, 200), (100, 40), (1000, 12))
"""(alerts per call, calls)."""


def main() -> None:
    partition = PartitionId("cluster", "topic", 1)
    with tempfile.TemporaryDirectory(prefix="ray-fraud-speed-") as folder:
        paths = StackPaths(Path(folder))
        paths.prepare()
        server = EmbeddedPostgres(paths, ProcessLedger(paths), Ports(paths))
        try:
            where = server.start()
            migrate(where)
            ledger = PostgresLedger(where)
            with ledger.take_over(partition) as turn:
                own = turn.confirm(1, "owner", 0)
            offset = 0
            details = {"features": [0.5] * 17, "last": [{"amount": 12.5, "lat": 52.5, "lon": 13.4}] * 10}
            for size, calls in SIZES:
                took = {"owner": [0.0] * 0, "repeat": [0.0] * 0, "sink": [0.0] * 0}
                for _ in range(calls):
                    alerts = [example_alert(offset + number, details=details) for number in range(2 * size)]
                    offset += 2 * size
                    topic = [TopicAlert(alert, partition, 1) for alert in alerts[size:]]
                    for what, call in (
                        ("owner", lambda part=alerts[:size]: ledger.insert_hot_alerts(own, part)),
                        ("repeat", lambda part=alerts[:size]: ledger.insert_hot_alerts(own, part)),
                        (
                            "sink",
                            lambda part=topic: ledger.insert_from_topic(part, SinkProgress(partition, 1)),
                        ),
                    ):
                        began = time.perf_counter()
                        call()
                        took[what].append((time.perf_counter() - began) * 1000)
                for what, times_ms in took.items():
                    p50, p99 = statistics.median(times_ms), sorted(times_ms)[int(len(times_ms) * 0.99) - 1]
                    sys.stdout.write(f"{what:>7} {size:>5} alerts: p50 {p50:7.2f} ms  p99 {p99:7.2f} ms\n")
            ledger.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
