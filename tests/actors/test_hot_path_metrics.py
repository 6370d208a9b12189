"""The one `/metrics` endpoint of a running platform, against the catalogue."""

import logging

from cluster.local.cold_path_client import run_batch
from ray_fraud.domain.metric import MetricKind
from ray_fraud.domain.metrics import CATALOGUE
from tests.actors.platform import Platform, eventually
from tests.actors.scrape import Scrape

logger = logging.getLogger(__name__)

ALLOWED_BESIDES = {"le"}
"""The bound of a histogram's bucket."""
SILENT = {
    "fraud_detection_state_bytes",
    "fraud_detection_fenced_writes_total",
    "fraud_detection_errors_total",
    "fraud_detection_dead_letters_total",
    "fraud_detection_care_seconds",
    # Of a platform that re-keys.
    "fraud_detection_rekeyed_total",
    "fraud_detection_rekey_lag_records",
    "fraud_detection_rekey_lost_total",
    # Of a day with a thousand rows, of verdicts and of trainings.
    "fraud_detection_feature_drift",
    "fraud_detection_score_drift",
    "fraud_detection_verdicts_missing_ratio",
    "fraud_detection_verdicts_late_ratio",
    "fraud_detection_model_precision",
    "fraud_detection_training_runs_total",
    "fraud_detection_training_seconds",
    "fraud_detection_training_age_seconds",
}
"""Without a sample until there is something to tell."""


def without_samples(scrape: Scrape) -> set[str]:
    """Metrics of the catalogue that should have a sample and have none."""
    names = {name for name, _ in scrape.samples}
    bases = {
        metric.name: metric.name + ("_count" if metric.kind is MetricKind.HISTOGRAM else "")
        for metric in CATALOGUE
    }
    return {name for name, base in bases.items() if base not in names} - SILENT


def test_the_endpoint_shows_exactly_the_catalogue(platform: Platform) -> None:
    with platform.load():
        assert run_batch(lambda _: None, 60)["status"] == "done"
        silent: set[str] = set()

        def all_have_samples() -> bool:
            silent.clear()
            silent.update(without_samples(platform.scrape()))
            logger.info("without a sample: %s", sorted(silent))
            return not silent

        eventually("every metric has a sample", all_have_samples, 30)
        scrape = platform.scrape()
    open_labels = {
        "partition": set(map(str, range(len(platform.partitions)))),
        "version": set(map(str, range(1, 100))),
    }
    expected = {metric.name.removesuffix("_total"): metric.kind.value for metric in CATALOGUE}
    assert scrape.kinds == expected
    for name, labels in scrape.samples:
        # A name may begin with another one.
        metric = max(
            (metric for metric in CATALOGUE if name.startswith(metric.name)), key=lambda each: len(each.name)
        )
        for label, value in labels:
            if label not in ALLOWED_BESIDES:
                assert value in (metric.labels[label] or open_labels[label])
