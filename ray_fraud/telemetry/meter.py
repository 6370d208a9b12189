"""Recording metrics of the catalogue in one process, and handing them over as plain data.

A process records; the hub asks for snapshots and adds the processes up. Recording takes no lock
longer than one addition and makes no call.

Never: a metric or a label value that is not in the catalogue.
"""

from bisect import bisect_left
from collections.abc import Iterable
from threading import Lock

import msgspec

from ray_fraud.domain.metric import Metric, MetricKind

LabelValues = tuple[str, ...]
Series = tuple[str, LabelValues]


class HistogramState(msgspec.Struct):
    """Counts per bucket (not cumulative; the last is above all bounds), and the sum."""

    counts: list[int]
    total: float = 0.0


class Snapshot(msgspec.Struct):
    """All that one process has recorded since it started."""

    source: str
    """Stable name of the process's role, such as `partition-0`."""
    incarnation: str
    """Differs for each start of the role."""
    counters: dict[Series, float]
    gauges: dict[Series, float]
    histograms: dict[Series, HistogramState]


class Meter:
    """The metrics of one process. Thread-safe."""

    def __init__(self, source: str, incarnation: str) -> None:
        self._lock = Lock()
        self._snapshot = Snapshot(source, incarnation, {}, {}, {})

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Adds to a counter; an amount of 0 makes the series visible."""
        key = _series(metric, MetricKind.COUNTER, labels)
        with self._lock:
            counters = self._snapshot.counters
            counters[key] = counters.get(key, 0) + amount

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        key = _series(metric, MetricKind.GAUGE, labels)
        with self._lock:
            self._snapshot.gauges[key] = value

    def forget(self, metric: Metric) -> None:
        """Drops all series of a gauge: what is no longer known must not stand there as if it were."""
        if metric.kind is not MetricKind.GAUGE:
            raise TypeError(f"{metric.name} is a {metric.kind}, recorded as a {MetricKind.GAUGE}")
        with self._lock:
            gauges = self._snapshot.gauges
            self._snapshot.gauges = {key: value for key, value in gauges.items() if key[0] != metric.name}

    def observe(self, metric: Metric, values: Iterable[float], **labels: str) -> None:
        """Adds values to a histogram."""
        key = _series(metric, MetricKind.HISTOGRAM, labels)
        with self._lock:
            state = self._snapshot.histograms.get(key)
            if state is None:
                state = HistogramState([0] * (len(metric.buckets) + 1))
                self._snapshot.histograms[key] = state
            for value in values:
                state.counts[bisect_left(metric.buckets, value)] += 1
                state.total += value

    def snapshot(self) -> bytes:
        """The state now, as MessagePack; read it with `read_snapshot`."""
        with self._lock:
            return _ENCODER.encode(
                (
                    self._snapshot.source,
                    self._snapshot.incarnation,
                    list(self._snapshot.counters.items()),
                    list(self._snapshot.gauges.items()),
                    list(self._snapshot.histograms.items()),
                )
            )


def read_snapshot(packed: bytes) -> Snapshot:
    source, incarnation, counters, gauges, histograms = _DECODER.decode(packed)
    return Snapshot(source, incarnation, dict(counters), dict(gauges), dict(histograms))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(
    tuple[
        str,
        str,
        list[tuple[Series, float]],
        list[tuple[Series, float]],
        list[tuple[Series, HistogramState]],
    ]
)


def _series(metric: Metric, kind: MetricKind, labels: dict[str, str]) -> Series:
    if metric.kind is not kind:
        raise TypeError(f"{metric.name} is a {metric.kind}, recorded as a {kind}")
    if labels.keys() != metric.labels.keys():
        raise ValueError(f"{metric.name}: labels {sorted(labels)}, catalogue says {sorted(metric.labels)}")
    for label, value in labels.items():
        allowed = metric.labels[label]
        if not (value in allowed if allowed is not None else value.isdecimal()):
            raise ValueError(f"{metric.name}: label {label}={value!r} is not in the catalogue")
    return metric.name, tuple(labels[label] for label in metric.labels)
