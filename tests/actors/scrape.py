"""What a scraper sees at `/metrics`.

Never: the meters themselves; only the endpoint counts, and a process's own snapshots where each unit does.
"""

import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from ray_fraud.domain.metric import Metric
from ray_fraud.telemetry.meter import Snapshot

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scrape:
    """One answer of the endpoint."""

    kinds: dict[str, str]
    """Kind by family, without `_total`."""
    samples: dict[tuple[str, Labels], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with those labels."""
        wanted = labels.items()
        return sum(
            value
            for (own_name, own), value in self.samples.items()
            if own_name == name and wanted <= dict(own).items()
        )

    def counters(self) -> dict[tuple[str, Labels], float]:
        """All that must never go back: counters, and the counts of histograms."""
        suffixes = ("_total", "_count", "_sum", "_bucket")
        return {series: value for series, value in self.samples.items() if series[0].endswith(suffixes)}


def counted(metric: Metric, before: Snapshot, after: Snapshot) -> dict[tuple[str, ...], float]:
    """What one process counted between two of its snapshots, by labels; without what stood still."""
    counts = {
        labels: value - before.counters.get((name, labels), 0)
        for (name, labels), value in after.counters.items()
        if name == metric.name
    }
    return {labels: count for labels, count in counts.items() if count}


def scrape(port: int) -> Scrape:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = list(text_string_to_metric_families(text))
    return Scrape(
        {family.name: family.type for family in families},
        {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        },
    )
