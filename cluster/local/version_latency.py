"""What each model version costs to score, as the platform's metrics have counted it since they began.

Never: an exception because nothing runs; a wait for a platform that does not answer.
"""

import urllib.request
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from actors.config import HotPathConfig
from cluster.local.paths import StackPaths
from ray_fraud.domain.version_metrics import VERSION_ROWS, VERSION_SECONDS
from ray_fraud.stores.connections import from_json

PATIENCE = timedelta(seconds=3)
USUAL = 0.99
"""The share of calls that the slow end is told for."""


class VersionLatency(msgspec.Struct, frozen=True):
    """Of one version, in calls of the scorer that had rows of it."""

    model: str
    """`name:version`."""
    calls: int
    rows: int
    call_ms: float
    """Mean time for a call's rows."""
    row_us: float
    """Mean time per row, in microseconds: a call's fixed cost is in it, so few rows a call are dear."""
    p99_ms: float | None
    """99 of 100 calls took at most this: the upper bound of a bucket; None: longer than any bound."""


def version_latencies(data_dir: Path) -> dict[str, VersionLatency]:
    """By `name:version`; empty if the platform in that folder does not run or has scored nothing."""
    try:
        port = from_json(StackPaths(data_dir).hot_path.read_bytes(), HotPathConfig).metrics_port
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE.total_seconds()) as answer:
            return latencies_of(answer.read().decode())
    except (OSError, msgspec.MsgspecError):
        return {}


def latencies_of(page: str) -> dict[str, VersionLatency]:
    """The same from a page of metrics.

    Raises:
        ValueError: it is no such page.
    """
    names = {VERSION_SECONDS.name, VERSION_ROWS.name.removesuffix("_total")}
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(page):
        if family.name not in names:
            continue
        for sample in family.samples:
            labels = sample.labels
            series = found.setdefault(f"{labels['model']}:{labels['version']}", {})
            series[sample.name + labels.get("le", "")] = sample.value
    return {
        label: latency
        for label, series in sorted(found.items())
        if (latency := _latency(label, series)) is not None
    }


def _latency(label: str, series: Mapping[str, float]) -> VersionLatency | None:
    name = VERSION_SECONDS.name
    calls, rows = series.get(f"{name}_count", 0.0), series.get(VERSION_ROWS.name, 0.0)
    if not calls or not rows:
        return None
    seconds = series[f"{name}_sum"]
    within = (bound for bound in VERSION_SECONDS.buckets if series[f"{name}_bucket{bound}"] >= USUAL * calls)
    bound = next(within, None)
    return VersionLatency(
        label,
        int(calls),
        int(rows),
        1e3 * seconds / calls,
        1e6 * seconds / rows,
        None if bound is None else 1e3 * bound,
    )


def latency_rows(found: Sequence[VersionLatency | None]) -> list[tuple[str, ...]]:
    """Lines of a table: what it is, then one cell per version."""

    def cells(form: str, name: str) -> list[str]:
        values: list[Any] = [None if each is None else getattr(each, name) for each in found]
        return ["–" if value is None else form.format(value) for value in values]

    return [
        ("scored rows, since up", *cells("{:,}", "rows")),
        ("scoring, ms a call", *cells("{:.3f}", "call_ms")),
        ("p99 at most, ms", *cells("{:g}", "p99_ms")),
        ("scoring, µs a row", *cells("{:.1f}", "row_us")),
    ]
