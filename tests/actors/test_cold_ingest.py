"""The ingest beside a running hot path: Ray Data, Kafka, a Delta table; every accepted offset once."""

import time
from collections import Counter
from datetime import timedelta

import msgspec
from deltalake import DeltaTable

from batch.ingest.config import IngestConfig
from batch.ingest.run import run_ingest
from cluster.local.cold_path_client import batch_status, run_batch
from ray_fraud.domain import metrics
from ray_fraud.domain.alert import RuleName, Source
from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.loss_metrics import LOG_GAPS
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from ray_fraud.stores.tables.delta import DeltaTransactions
from tests.actors.platform import Platform, eventually
from tests.actors.scrape import counted
from tests.domain.samples import record, transaction
from tests.stores.table_samples import FIRST, SECOND, gap

FIRST_MEMBER = 10_000_000
PATIENCE_SECONDS = 110.0
"""Batches run at the lowest priority: beside other work they take their time."""


def test_the_lake_holds_every_accepted_offset_once_and_then_only_what_is_new(platform: Platform) -> None:
    with platform.load(500):
        first = run_ingest(config := IngestConfig(connections=platform.config.connections, slice_records=500))
    ends = platform.settle()
    second = run_ingest(config)
    third = run_ingest(config)

    assert first.accepted > 0
    assert first.complete
    assert (third.accepted, third.commits, third.version) == (0, 0, None)
    view = DeltaTransactions(platform.config.connections.lake).view()
    assert {number: view.position(place) for number, place in platform.partitions.items()} == ends

    table = DeltaTable(f"{platform.config.connections.lake.url}/transactions")
    rows = table.to_pyarrow_table(columns=["partition", "offset"]).to_pydict()
    places = Counter(zip(*rows.values(), strict=True))
    assert set(places.values()) == {1}
    rejected, holes = Counter(first.rejected), first.holes + second.holes
    rejected.update(second.rejected)
    assert len(places) + rejected.total() + holes == sum(ends.values())
    audit = platform.assert_exact()
    assert (len(places), rejected.total()) == (audit.processed + audit.duplicates, audit.dead_lettered)


def test_a_gap_on_record_is_in_the_metric_behind_the_next_run(platform: Platform) -> None:
    table = DeltaTransactions(platform.config.connections.lake)
    table.create()
    table.record_gaps([gap(FIRST, 5, 9), gap(SECOND, 3, None)])
    assert run_batch(lambda _: None, PATIENCE_SECONDS)["status"] == "done"
    eventually("the gauge has both", lambda: platform.scrape().total(LOG_GAPS.name) == len(table.gaps()), 30)


def findings_of(queries: PostgresAlertQueries) -> dict[RuleName, int]:
    return {
        rule: len(queries.uids(AlertFilter(source=Source.COLD, rule_name=rule)))
        for rule in metrics.COLD_RULES
    }


def test_a_ring_in_the_stream_becomes_one_cold_alert_beside_the_hot_ones(platform: Platform) -> None:
    connections = platform.config.connections
    with platform.load(500):
        # What is usual is known by what is there: alone, a ring is all there is.
        pass
    writer = KafkaLogWriter(connections.kafka)
    began = time.time()
    for number in range(25):
        member = transaction(
            f"ring-{began}-{number}",
            user_id=10_000_000 + number,
            amount=700.0 + number % 7,
            merchant_id="ring-shop",
        )
        at = began + 5.0 * number - 120.0
        sent = record(0, msgspec.structs.replace(member, timestamp=at))
        writer.send(
            connections.topics.transactions, key=sent.key, value=sent.value, timestamp_ms=round(began * 1000)
        ).wait(timedelta(seconds=20))
    writer.send(connections.topics.transactions, key=b"k", value=b"?").wait(timedelta(seconds=20))
    writer.close()
    platform.settle()
    queries = PostgresAlertQueries(connections.postgres)
    before, stored_before = platform.batch_metrics(), findings_of(queries)
    assert run_batch(lambda _: None, PATIENCE_SECONDS)["status"] == "done"
    second = run_batch(lambda _: None, PATIENCE_SECONDS)

    after = platform.batch_metrics()
    stored = {(rule,): number - stored_before[rule] for rule, number in findings_of(queries).items()}
    told = counted(metrics.FINDINGS, before, after)
    assert told == {labels: number for labels, number in stored.items() if number}
    assert told[RuleName.COORDINATED,] >= 1
    assert counted(metrics.BATCH_OFFSETS, before, after)["rejected",] == 1
    assert after.gauges[metrics.BATCH_LAG.name, ()] == 0
    rings = [
        each.alert
        for each in queries.list(AlertFilter(rule_name=RuleName.COORDINATED), limit=50)
        if each.alert.details["subject"] in ("merchant:ring-shop",)
        or 10_000_000 in each.alert.details["users"]
    ]
    queries.close()
    (ring,) = rings
    assert ring.source is Source.COLD
    assert ring.details["users"] == [FIRST_MEMBER + number for number in range(25)]
    assert second["report"]["ingest"]["accepted"] == 0
    state = batch_status(2)
    assert [run["status"] for run in state["runs"]] == ["done", "done"]
    assert msgspec.convert(state["settings"], BatchSettings) == platform.config.batch
    platform.assert_exact()
