"""Sees alerts become durable in PostgreSQL, in a process of its own.

    python -m cluster.local.bench.observer --connections-file F

The database tells it of each commit (LISTEN/NOTIFY); the moment at which the notice arrives is the
moment of durability. Latency is that moment minus the transaction's Kafka timestamp, which is the time
at which the producer meant to send it: a producer that falls behind makes latencies longer, not fewer
(coordinated omission). One JSON line a second goes to stdout until stdin closes.

Never: polling the table; being the process that inserts; an alert that a batch found, minutes after its
transaction.
"""

import select
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from ray_fraud.domain.alert import Source
from ray_fraud.generator.connections_file import read_connections
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertQueries

REPORT_SECONDS = 1.0


class Seen(msgspec.Struct, frozen=True):
    """The alerts of about one second."""

    latencies_ms: list[float]
    sent_ms: list[int]
    """Kafka timestamps of their transactions."""
    rules: dict[str, int]


def watch(where: PostgresConnection) -> Iterator[Seen]:
    """Reports of about a second each, forever."""
    queries = PostgresAlertQueries(where)
    feed = queries.feed()
    arrived: list[tuple[int, float]] = []
    report_at = time.monotonic() + REPORT_SECONDS
    while True:
        ids = feed.poll(max(0.0, report_at - time.monotonic()))
        now_ms = time.time() * 1000
        arrived.extend((alert_id, now_ms) for alert_id in ids)
        if time.monotonic() >= report_at:
            # The rows are read once a second, after the clock was read for each notice.
            yield seen(queries, arrived)
            arrived.clear()
            report_at += REPORT_SECONDS


def seen(queries: AlertQueries, arrived: list[tuple[int, float]]) -> Seen:
    """The alerts of the hot path among the noticed ones.

    `arrived`: alert id, and unix milliseconds of its notice.
    """
    moments = dict(arrived)
    known = queries.by_ids(list(moments)) if moments else []
    rows = [row for row in known if row.alert.source is Source.HOT]
    sent = [row.alert.record_timestamp_ms for row in rows]
    latencies = [moments[row.alert_id] - at for row, at in zip(rows, sent, strict=True)]
    return Seen(latencies, sent, dict(Counter(row.alert.rule_name.value for row in rows)))


@click.command()
@click.option("--connections-file", type=click.Path(exists=True, path_type=Path), required=True)
def main(connections_file: Path) -> None:
    connections = read_connections(connections_file)
    for seen in watch(connections.postgres):
        sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
        sys.stdout.flush()
        if select.select([sys.stdin], [], [], 0)[0] and not sys.stdin.read(1):
            return


if __name__ == "__main__":
    main()
