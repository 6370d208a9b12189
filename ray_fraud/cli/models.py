"""`ray-fraud models list | show | compare`: looking at model versions; changes are in `models_change`.

Never: a change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from batch.promotion.figures import live_figures
from cluster.local.paths import StackPaths
from ray_fraud.cli.models_change import promote, retire, rollback, split
from ray_fraud.cli.models_drift import drift_of, drift_table
from ray_fraud.cli.models_place import LabelType, opened
from ray_fraud.cli.output import Output, data_dir_option, output_option, show, table_output_option
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.cli.settings_file import BATCH
from ray_fraud.domain.live_comparison import LiveFigures, stability_index
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.ledger.model_changes import version_of
from ray_fraud.stores.ledger.model_events import ModelEvent
from ray_fraud.stores.ledger.registry import ModelVersion

if TYPE_CHECKING:
    from cluster.local.version_latency import VersionLatency
    from ray_fraud.domain.model import Manifest

RATES = ("f1", "precision", "recall", "average_precision", "auc_roc", "card_precision_at_k")
MEASURES = (*RATES, "rows", "frauds")
"""Of a hold-out, as training records them."""


@click.group()
def models() -> None:
    """Model versions: look, compare, promote, roll back, split, retire."""


for command in (promote, rollback, split, retire):
    models.add_command(command)


@models.command("list")
@data_dir_option
@table_output_option
def list_models(data_dir: Path, output: Output) -> None:
    """Every registered version with its status, share and figures."""
    with opened(data_dir) as place:
        rows = place.registry.versions()
        digest = place.registry.current_split().digest
    data: dict[str, Any] = {"models": [_plain(row) for row in rows], "split": digest}
    show("models list", data, output, lambda: _list(rows), rows=data["models"])


@models.command("show")
@click.argument("label", type=LabelType(), metavar="NAME:VERSION")
@data_dir_option
@output_option
def show_model(label: str, data_dir: Path, output: Output) -> None:
    """One version: its manifest, figures, drift, and everything that happened to it.

    Drift is counted now, of the last day of the lake; see docs/models.md.
    """
    from cluster.local.version_latency import version_latencies

    settings = BATCH.holding(StackPaths(data_dir), None).drift
    with opened(data_dir) as place:
        row = version_of(place.registry.versions(), label)
        events = [event for event in place.registry.history() if row.id in event.models]
        manifest, problem = _manifest(place.lake, row)
        drift = drift_of(place.lake, row, manifest, settings)
    cost = version_latencies(data_dir).get(label)
    data = _plain(row) | {
        "manifest": None if manifest is None else msgspec.to_builtins(manifest),
        "problem": problem,
        "scoring": msgspec.to_builtins(cost),
        "drift": msgspec.to_builtins(drift) | {"alarm_above": settings.alarm},
        "events": [msgspec.to_builtins(event) for event in events],
    }
    shown = JSON.from_data(_brief(manifest)) if manifest is not None else Text(problem or "", "red")
    found = drift_table(drift, settings)
    show("models show", data, output, lambda: _one(row, shown, cost, found, events))


@models.command("compare")
@click.argument("one", type=LabelType(), metavar="A")
@click.argument("other", type=LabelType(), metavar="B")
@click.option("--days", type=WholeRange(1, 3650), default=7, show_default=True, help="Of scores.")
@data_dir_option
@output_option
def compare(one: str, other: str, days: int, data_dir: Path, output: Output) -> None:
    """Two versions side by side: on their hold-outs, and on what both see live.

    Alerts and verdicts count since each version went live; its precision is of the mature ones, as that of a
    hold-out. Scores are those of the last days of event time. One call scores the rows of all versions; the
    time of each one's rows counts since the platform came up, and only while it runs.
    """
    from cluster.local.version_latency import version_latencies
    from ray_fraud.stores.tables.delta import DeltaTransactions
    from ray_fraud.stores.tables.model_scores import model_scores

    maturity_days = BATCH.holding(StackPaths(data_dir), None).features.label_maturity_days
    with opened(data_dir) as place:
        versions = place.registry.versions()
        rows = [version_of(versions, label) for label in (one, other)]
        scores = model_scores(place.lake, days * DAY_MS)
        newest_ms = DeltaTransactions(place.lake).newest_ms()
        mature_ms = None if newest_ms is None else newest_ms + 1 - round(maturity_days * DAY_MS)
        live = {each.model: each for each in live_figures(versions, place.alerts, scores, mature_ms)}
    figures = [live.get(row.label) for row in rows]
    latencies = version_latencies(data_dir)
    scoring = [latencies.get(row.label) for row in rows]
    distance = _distance(figures)
    data = {
        "days": days,
        "distance": distance,
        "models": [
            _plain(row) | {"live": msgspec.to_builtins(found), "scoring": msgspec.to_builtins(cost)}
            for row, found, cost in zip(rows, figures, scoring, strict=True)
        ],
    }
    show("models compare", data, output, lambda: comparison(rows, figures, scoring, distance, days))


def _plain(row: ModelVersion) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row)
    return {"model": row.label, "share": row.share_bp / 100} | plain


def _manifest(lake: LakeLocation, row: ModelVersion) -> tuple[Manifest | None, str | None]:
    """The manifest, or why it cannot be read: the registry's own words are of use without it."""
    from ray_fraud.domain.model import ModelRefused
    from ray_fraud.stores.lake import lake_filesystem
    from ray_fraud.stores.models.lake import LakeModelFiles

    try:
        return LakeModelFiles(*lake_filesystem(lake)).load(row.model_digest).manifest, None
    except (StoreError, ModelRefused) as error:
        return None, str(error)


def _brief(manifest: Manifest) -> dict[str, Any]:
    """Without the references, which are hundreds of numbers; drift is what they are for."""
    told: dict[str, Any] = msgspec.to_builtins(manifest)
    return {name: value for name, value in told.items() if name not in ("references", "score_reference")}


def _measure(row: ModelVersion, name: str) -> Any:
    """A figure of the hold-out, None if training recorded none."""
    found = row.metrics.get("evaluation")
    return found.get(name) if isinstance(found, dict) else None


def _figure(value: Any, decimals: int = 4) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{decimals}f}"


def _time(unix_ms: int | None, form: str = "%Y-%m-%d %H:%M") -> str:
    return "–" if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC).strftime(form)


def _list(rows: Sequence[ModelVersion]) -> Table:
    columns = ("model", "status", "share", "threshold", "created", "deployed", "F1", "AP")
    # Narrow, so that a line fits a terminal of 80.
    table = Table(*columns, box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for row in rows:
        cells = (
            row.label,
            row.status,
            f"{row.share_bp / 100:g} %" if row.deployed_at_ms is not None else "–",
            f"{row.threshold:.4f}",
            _time(row.created_at_ms, "%y-%m-%d"),
            _time(row.deployed_at_ms, "%y-%m-%d"),
            _figure(_measure(row, "f1"), 3),
            _figure(_measure(row, "average_precision"), 3),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _one(
    row: ModelVersion,
    manifest: JSON | Text,
    cost: VersionLatency | None,
    drift: Group,
    events: Sequence[ModelEvent],
) -> Group:
    from cluster.local.version_latency import latency_rows

    table = Table("at", "what", "who", "why", box=None, header_style="bold")
    for event in events:
        table.add_row(*(Text(cell) for cell in (_time(event.at_ms), event.action, event.actor, event.reason)))
    metrics = JSON.from_data(row.metrics)
    scoring = Table("", "", box=None, show_header=False)
    for line in latency_rows([cost]):
        scoring.add_row(*line)
    parts = (_list([row]), metrics, manifest, scoring, drift, table)
    return Group(*(each for part in parts for each in (part, Text())))


def comparison(
    rows: Sequence[ModelVersion],
    figures: Sequence[LiveFigures | None],
    scoring: Sequence[VersionLatency | None],
    distance: float | None,
    days: int,
) -> Group:
    """A column per version, so that it fits a terminal of 80."""
    from cluster.local.version_latency import latency_rows

    table = Table("", *(row.label for row in rows), box=None, header_style="bold")
    table.add_row("status", *(row.status for row in rows))
    table.add_row("share", *(f"{row.share_bp / 100:g} %" for row in rows))
    table.add_row("threshold", *(f"{row.threshold:.4f}" for row in rows))
    for name in MEASURES:
        table.add_row(f"hold-out {name.replace('_', ' ')}", *(_held_out(row, name) for row in rows))
    for name in ("alerts", "frauds", "false_alerts"):
        table.add_row(name.replace("_", " "), *(_live(found, name) for found in figures))
    table.add_row("mature alerts", *(_mature(found) for found in figures))
    table.add_row("precision of these", *(_precision(found) for found in figures))
    scores = [None if found is None else found.scores for found in figures]
    for name in ("rows", "live_rows", "anomalies", "mean"):
        shown = f"{name.replace('_', ' ')}, {days} d" if name == "rows" else name.replace("_", " ")
        table.add_row(shown, *(_figure(None if each is None else getattr(each, name)) for each in scores))
    for name in ("p50", "p90", "p99", "p999"):
        found = (_figure(None if each is None else each.quantiles.get(name)) for each in scores)
        table.add_row(f"score {name}", *found)
    for line in latency_rows(scoring):
        table.add_row(*line)
    said = "not known" if distance is None else f"{distance:.3f}, above 0.25 is another distribution"
    return Group(table, Text(), Text(f"distance of the scores (stability index): {said}"))


def _live(found: LiveFigures | None, name: str) -> str:
    return "not live" if found is None else _figure(getattr(found, name))


def _held_out(row: ModelVersion, name: str) -> str:
    """A figure of the hold-out; the precision with its interval, where it is known."""
    shown = _figure(_measure(row, name))
    bounds = _measure(row, "precision_interval") if name == "precision" else None
    if not isinstance(bounds, dict):
        return shown
    return f"{shown} ({_figure(bounds.get('low'), 3)} to {_figure(bounds.get('high'), 3)})"


def _mature(found: LiveFigures | None) -> str:
    return "not live" if found is None else _figure(found.mature.alerts)


def _precision(found: LiveFigures | None) -> str:
    if found is None or not found.mature.alerts:
        return "–"
    return f"{found.precision.value:.3f} ({found.precision.low:.3f} to {found.precision.high:.3f})"


def _distance(figures: Sequence[LiveFigures | None]) -> float | None:
    scores = [each.scores for each in figures if each is not None and each.scores is not None]
    if len(scores) != 2:
        return None
    return stability_index(scores[0].histogram, scores[1].histogram)
