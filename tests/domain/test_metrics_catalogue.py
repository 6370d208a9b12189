"""The catalogue holds the names that dashboards were promised, and only closed label sets."""

from ray_fraud.domain.metric import MetricKind
from ray_fraud.domain.metrics import CATALOGUE

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


def test_open_label_sets_are_partition_numbers_only() -> None:
    for metric in CATALOGUE:
        for label, values in metric.labels.items():
            assert values or label == "partition", f"{metric.name}.{label}"
