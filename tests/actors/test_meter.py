"""Recording and adding up: what one process records, and what the endpoint shows of several."""

from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from actors.metrics_hub import SILENT_SECONDS, SnapshotCollector
from ray_fraud.domain import metrics, progress_metrics
from ray_fraud.domain.version_metrics import VERSION_SECONDS
from ray_fraud.telemetry.meter import Meter, read_snapshot


def scrape(*meters: Meter, hub: SnapshotCollector | None = None) -> dict[tuple[str, tuple[str, ...]], float]:
    """All samples by (name, label values) as a scraper sees them."""
    hub = hub or SnapshotCollector()
    for meter in meters:
        hub.add(read_snapshot(meter.snapshot()))
    registry = CollectorRegistry()
    registry.register(hub)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_of_several_processes_add_up() -> None:
    one, two = Meter("partition-0", "a"), Meter("partition-1", "a")
    one.count(metrics.TRANSACTIONS, 3, status="processed")
    two.count(metrics.TRANSACTIONS, 4, status="processed")
    assert scrape(one, two)["fraud_detection_transactions_total", ("processed",)] == 7


def test_a_new_incarnation_keeps_what_the_earlier_counted() -> None:
    hub = SnapshotCollector()
    before, after = Meter("partition-0", "a"), Meter("partition-0", "b")
    before.count(metrics.DEGRADED_SCORES, 5)
    before.observe(metrics.BATCH_SIZE, [1])
    scrape(before, hub=hub)
    after.count(metrics.DEGRADED_SCORES, 2)
    after.observe(metrics.BATCH_SIZE, [1, 2])
    samples = scrape(after, hub=hub)
    assert samples["fraud_detection_degraded_scores_total", ()] == 7
    assert samples["fraud_detection_batch_size_count", ()] == 3


def test_the_newest_snapshot_of_one_incarnation_replaces_the_older() -> None:
    hub, meter = SnapshotCollector(), Meter("partition-0", "a")
    meter.count(metrics.DEGRADED_SCORES, 5)
    scrape(meter, hub=hub)
    assert scrape(meter, hub=hub)["fraud_detection_degraded_scores_total", ()] == 5


def test_histogram_buckets_are_cumulative_and_include_their_bound() -> None:
    meter = Meter("partition-0", "a")
    meter.observe(metrics.BATCH_SIZE, [1, 2, 2, 10_000])
    samples = scrape(meter)
    bucket = "fraud_detection_batch_size_bucket"
    assert samples[bucket, ("1.0",)] == 1
    assert samples[bucket, ("2.0",)] == 3
    assert samples[bucket, ("5000.0",)] == 3
    assert samples[bucket, ("+Inf",)] == 4
    assert samples["fraud_detection_batch_size_sum", ()] == 10_005


def test_histograms_with_labels_add_up_by_their_labels() -> None:
    hub = SnapshotCollector()
    before, after, other = Meter("partition-0", "a"), Meter("partition-0", "b"), Meter("partition-1", "a")
    one, two = {"model": "random_forest", "version": "1"}, {"model": "random_forest", "version": "2"}
    for meter in (before, other):
        meter.observe(VERSION_SECONDS, [0.0002, 5.0], **one)
    scrape(before, other, hub=hub)
    after.observe(VERSION_SECONDS, [0.0002], **two)
    samples = scrape(after, hub=hub)
    name = VERSION_SECONDS.name
    assert samples[f"{name}_count", ("random_forest", "1")] == 4
    assert samples[f"{name}_sum", ("random_forest", "1")] == pytest.approx(10.0004)
    assert samples[f"{name}_bucket", ("0.00025", "random_forest", "1")] == 2
    assert samples[f"{name}_bucket", ("+Inf", "random_forest", "2")] == 1
    with pytest.raises(ValueError, match="labels"):
        after.observe(VERSION_SECONDS, [0.1], model="random_forest")
    assert (f"{name}_count", ()) not in samples


def test_gauges_of_a_dead_incarnation_disappear() -> None:
    hub = SnapshotCollector()
    before, after = Meter("partition-0", "a"), Meter("partition-0", "b")
    before.set(progress_metrics.LAG, 9, partition="0")
    scrape(before, hub=hub)
    assert ("fraud_detection_lag_records", ("0",)) not in scrape(after, hub=hub)


def test_gauges_of_a_process_that_is_gone_disappear_and_its_counts_stay() -> None:
    hub = SnapshotCollector()
    owner, other = Meter("partition-0", "a"), Meter("partition-1", "a")
    for number, meter in enumerate((owner, other)):
        meter.set(progress_metrics.LAG, 9, partition=str(number))
        meter.count(metrics.DEGRADED_SCORES, 5)
    scrape(owner, other, hub=hub)
    hub.gone("partition-0")
    samples = scrape(hub=hub)
    assert ("fraud_detection_lag_records", ("0",)) not in samples
    assert samples["fraud_detection_lag_records", ("1",)] == 9
    assert samples["fraud_detection_degraded_scores_total", ()] == 10
    next_owner = Meter("partition-0", "b")
    next_owner.count(metrics.DEGRADED_SCORES, 1)
    assert scrape(next_owner, hub=hub)["fraud_detection_degraded_scores_total", ()] == 11
    hub.gone("nobody")


def test_gauges_of_a_process_that_says_nothing_any_more_disappear() -> None:
    now = [100.0]
    hub = SnapshotCollector(clock=lambda: now[0])
    meter = Meter("partition-0", "a")
    meter.set(progress_metrics.LAG, 9, partition="0")
    meter.count(metrics.DEGRADED_SCORES, 5)
    scrape(meter, hub=hub)
    now[0] += SILENT_SECONDS
    assert scrape(hub=hub)["fraud_detection_lag_records", ("0",)] == 9
    now[0] += 0.1
    samples = scrape(hub=hub)
    assert ("fraud_detection_lag_records", ("0",)) not in samples
    assert samples["fraud_detection_degraded_scores_total", ()] == 5
    assert scrape(meter, hub=hub)["fraud_detection_lag_records", ("0",)] == 9


def test_a_gauge_that_is_forgotten_disappears_with_all_its_series() -> None:
    meter = Meter("partition-0", "a")
    for partition in ("0", "1"):
        meter.set(progress_metrics.LAG, 9, partition=partition)
        meter.set(metrics.EPOCH, 1, partition=partition)
    meter.forget(progress_metrics.LAG)
    names = {name for name, _ in scrape(meter)}
    assert "fraud_detection_lag_records" not in names
    assert "fraud_detection_epoch" in names
    with pytest.raises(TypeError, match="is a counter, recorded as a gauge"):
        meter.forget(metrics.TRANSACTIONS)


@pytest.mark.parametrize("labels", [{}, {"status": "invented"}, {"status": "processed", "user": "7"}])
def test_what_the_catalogue_does_not_know_is_refused(labels: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="fraud_detection_transactions_total"):
        Meter("partition-0", "a").count(metrics.TRANSACTIONS, **labels)


def test_a_metric_recorded_as_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="is a gauge, recorded as a counter"):
        Meter("partition-0", "a").count(progress_metrics.LAG, partition="0")
