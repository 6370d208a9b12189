"""The benchmark's own arithmetic: what it makes of samples."""

import pytest

from cluster.local.bench.memory import bytes_per_user
from cluster.local.bench.observer import Seen, seen
from cluster.local.bench.plan import Latency, Report
from cluster.local.bench.run import after_warm_up, rate_of
from ray_fraud.domain.alert import Source
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.memory import MemoryDatabase, MemoryLedger
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from tests.stores.ledger_world import example_alert


def test_the_rate_counts_from_the_first_progress() -> None:
    samples = [(0.0, 0), (5.0, 0), (10.0, 1_000), (12.0, 3_000), (14.0, 5_000)]
    assert rate_of(samples) == 1_000.0


@pytest.mark.parametrize("samples", [[], [(1.0, 0), (2.0, 0)], [(1.0, 0), (2.0, 10)]])
def test_no_rate_without_two_moving_samples(samples: list[tuple[float, int]]) -> None:
    assert rate_of(samples) == 0.0


def test_alerts_of_the_warm_up_are_left_out_by_their_send_time() -> None:
    reports = [Seen([50.0, 20.0], [1_000, 2_000], {}), Seen([30.0], [1_999], {})]
    assert after_warm_up(reports, 2_000) == [20.0]


def test_latencies_are_those_of_the_hot_path_whatever_a_batch_finds_meanwhile() -> None:
    database = MemoryDatabase()
    ledger = MemoryLedger(database)
    partition = PartitionId("cluster-1", "topic-1", 0)
    with ledger.take_over(partition) as turn:
        held = turn.confirm(1, "token", 0)
    hot, cold = (
        example_alert(offset, source=source) for offset, source in enumerate((Source.HOT, Source.COLD))
    )
    ledger.insert_hot_alerts(held, [hot, cold])
    queries = MemoryAlertQueries(database)
    ids = [row.alert_id for row in queries.by_ids([1, 2])]
    noticed = hot.record_timestamp_ms + 60_000.0
    report = seen(queries, [(number, noticed) for number in ids])
    assert len(ids) == 2
    assert report == Seen([60_000.0], [hot.record_timestamp_ms], {"high_amount": 1})


def test_ratios_compare_equal_rates() -> None:
    report = Report(machine={}, ceiling_tps=1_000.0, sustained_tps=400.0, drain_tps=700.0)
    report.latency = [
        Latency(500, "serve", 9, 1.0, 2.0, 30.0, 500.0),
        Latency(500, "local", 9, 1.0, 2.0, 20.0, 500.0),
        Latency(5_000, "serve", 9, 1.0, 2.0, 50.0, 5_000.0),
    ]
    report.derive_ratios()
    assert report.ratios == {
        "p99_serve_to_local_500": 1.5,
        "sustained_to_ceiling": 0.4,
        "drain_to_ceiling": 0.7,
    }


def test_a_user_with_forty_transactions_a_day_fits_the_budget() -> None:
    assert bytes_per_user(40) <= 2_400
    assert bytes_per_user(40, earlier_days=29) <= 2_500
