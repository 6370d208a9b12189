"""Drift of one version, as `ray-fraud models show` shows it.

Never: waiting for a batch; it counts the rows of the lake itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.domain.batch_settings import DriftSettings
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.ledger.registry import ModelVersion

if TYPE_CHECKING:
    from batch.drift.measure import ModelDrift
    from ray_fraud.domain.model import Manifest


def drift_of(
    lake: LakeLocation, row: ModelVersion, manifest: Manifest | None, settings: DriftSettings
) -> ModelDrift:
    """The last day against the version's training; what cannot be told has its problem said."""
    from batch.drift.measure import Subject, measure_drift

    if manifest is None:
        return _unknown(row, "its manifest cannot be read")
    subject = Subject(row.label, row.model_digest, manifest, with_features=True)
    try:
        return measure_drift(lake, [subject], settings)[0]
    except StoreError as error:
        return _unknown(row, str(error))


def drift_table(found: ModelDrift, settings: DriftSettings) -> Group:
    """The biggest first, alarms marked."""
    parts: list[Table | Text] = []
    if found.from_ms is not None and found.until_ms is not None:
        day = f"{_time(found.from_ms)} to {_time(found.until_ms)} UTC"
        parts.append(Text(f"drift from training to {day}, {found.rows:,} rows:"))
    values = [*(() if found.score is None else (found.score,)), *found.features]
    if values:
        table = Table("value", "PSI", "", box=None, header_style="bold")
        for each in values:
            mark = Text(f"above {settings.alarm:g}", "red") if each.alarm else Text()
            table.add_row(Text(each.name), f"{each.psi:.3f}", mark)
        parts.append(table)
    if found.problem is not None:
        parts.append(Text(f"drift is not all known: {found.problem}"))
    return Group(*parts)


def _unknown(row: ModelVersion, problem: str) -> ModelDrift:
    from batch.drift.measure import ModelDrift

    return ModelDrift(row.label, None, None, 0, (), 0, None, problem)


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
