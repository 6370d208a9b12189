"""One `/metrics` endpoint for the whole platform: the hub adds up the snapshots of every process.

A role that starts again (a new incarnation) keeps what earlier incarnations counted, so counters
never go back while the hub lives. Gauges are what a process says now: one that is silent has none.

Never: recording; a label that is not in the catalogue.
"""

import time
from collections.abc import Callable, Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from ray_fraud.domain.metric import Metric, MetricKind
from ray_fraud.domain.metrics import CATALOGUE
from ray_fraud.telemetry.meter import HistogramState, Snapshot

SILENT_SECONDS = 15.0
"""A process that has not answered for this long is as good as gone; a busy one misses a round or two."""


class SnapshotCollector(Collector):
    """The newest snapshot of every role, as Prometheus families."""

    def __init__(
        self, catalogue: Iterable[Metric] = CATALOGUE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalogue = tuple(catalogue)
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._newest: dict[str, Snapshot] = {}
        self._past: dict[str, Snapshot] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Replaces the role's snapshot; an earlier incarnation's counts are kept."""
        known = self._newest.get(snapshot.source)
        if known is not None and known.incarnation != snapshot.incarnation:
            past = self._past.get(snapshot.source)
            self._past[snapshot.source] = known if past is None else _added(past, known)
        self._newest[snapshot.source] = snapshot
        self._heard[snapshot.source] = self._clock()

    def gone(self, source: str) -> None:
        """The role has no process now: its gauges go at once, what it counted stays."""
        self._heard.pop(source, None)

    def collect(self) -> Iterable[Family]:
        """All metrics of the catalogue, also those without a value yet."""
        snapshots = [*self._past.values(), *self._newest.values()]
        for metric in self._catalogue:
            match metric.kind:
                case MetricKind.COUNTER:
                    yield self._counter(metric, snapshots)
                case MetricKind.GAUGE:
                    yield self._gauge(metric)
                case MetricKind.HISTOGRAM:
                    yield self._histogram(metric, snapshots)

    def _counter(self, metric: Metric, snapshots: list[Snapshot]) -> Family:
        family = CounterMetricFamily(
            metric.name.removesuffix("_total"), metric.help, labels=list(metric.labels)
        )
        totals: dict[tuple[str, ...], float] = {}
        for snapshot in snapshots:
            for (name, labels), value in snapshot.counters.items():
                if name == metric.name:
                    totals[labels] = totals.get(labels, 0) + value
        if not metric.labels:
            totals.setdefault((), 0)
        for labels, value in sorted(totals.items()):
            family.add_metric(labels, value)
        return family

    def _gauge(self, metric: Metric) -> Family:
        family = GaugeMetricFamily(metric.name, metric.help, labels=list(metric.labels))
        heard_since = self._clock() - SILENT_SECONDS
        for source, snapshot in self._newest.items():
            if self._heard.get(source, float("-inf")) < heard_since:
                continue
            for (name, labels), value in snapshot.gauges.items():
                if name == metric.name:
                    family.add_metric(labels, value)
        return family

    def _histogram(self, metric: Metric, snapshots: list[Snapshot]) -> Family:
        nothing = HistogramState([0] * (len(metric.buckets) + 1))
        totals: dict[tuple[str, ...], HistogramState] = {} if metric.labels else {(): nothing}
        for snapshot in snapshots:
            for (name, labels), state in snapshot.histograms.items():
                if name == metric.name:
                    totals[labels] = _added_histogram(totals.get(labels, nothing), state)
        family = HistogramMetricFamily(metric.name, metric.help, labels=list(metric.labels))
        for labels, total in sorted(totals.items(), key=lambda each: each[0]):
            family.add_metric(labels, _cumulative(metric, total), total.total)
        return family


def _cumulative(metric: Metric, state: HistogramState) -> list[tuple[str, float]]:
    running = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*(str(float(b)) for b in metric.buckets), "+Inf"), state.counts, strict=True):
        running += count
        buckets.append((bound, running))
    return buckets


def _added_histogram(one: HistogramState, other: HistogramState) -> HistogramState:
    counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
    return HistogramState(counts, one.total + other.total)


def _added(one: Snapshot, other: Snapshot) -> Snapshot:
    counters = dict(one.counters)
    for series, value in other.counters.items():
        counters[series] = counters.get(series, 0) + value
    histograms = dict(one.histograms)
    for series, state in other.histograms.items():
        known = histograms.get(series)
        histograms[series] = state if known is None else _added_histogram(known, state)
    return Snapshot(one.source, other.incarnation, counters, {}, histograms)
