"""The catalogue holds the names that dashboards were promised, and only closed label sets."""

from batch.training.settings import Algorithm
from ray_fraud.domain.metric import MetricKind
from ray_fraud.domain.metrics import CATALOGUE
from ray_fraud.domain.split import Arm
from ray_fraud.domain.version_metrics import NAMES, OTHER, version_labels

PROMISED = {
    "fraud_detection_transactions_total": {"status"},
    "fraud_detection_alerts_total": {"rule_name", "severity"},
    "fraud_detection_processing_latency_seconds": set(),
    "fraud_detection_event_lag_seconds": set(),
    "fraud_detection_batch_size": set(),
    "fraud_detection_ml_predictions_total": {"prediction"},
    "fraud_detection_ml_inference_latency_seconds": set(),
    "fraud_detection_model_score": set(),
    "fraud_detection_system_health": {"component"},
}


def test_promised_names_and_labels_are_there() -> None:
    found = {metric.name: set(metric.labels) for metric in CATALOGUE}
    assert PROMISED.items() <= found.items()


def test_names_are_unique_and_say_their_kind() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(names) == len(set(names))
    for metric in CATALOGUE:
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER), metric.name
        assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name


def test_open_label_sets_are_numbers_of_partitions_and_versions_only() -> None:
    for metric in CATALOGUE:
        for label, values in metric.labels.items():
            assert values or label in ("partition", "version"), f"{metric.name}.{label}"


def test_every_algorithm_has_a_name_of_its_own() -> None:
    assert set(NAMES) == {*(each.value for each in Algorithm), OTHER}
    known, unknown = (Arm(name, 7, "d", 0.5, 10_000) for name in ("random_forest", "somebody's"))
    assert version_labels(known) == {"model": "random_forest", "version": "7"}
    assert version_labels(unknown) == {"model": OTHER, "version": "7"}
