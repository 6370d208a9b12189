"""What `ray-fraud demo --learn` shows in the end.

Never: work.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.stores.ledger.model_events import EventAction

if TYPE_CHECKING:
    from cluster.local.learning import Judged, LearningResult, LearningStep

ROWS = ("model", "precision", "recall", "F1", "average precision", "AUC ROC", "alerts per day")


def learning_view(result: LearningResult) -> Group:
    """The loop, step by step, and the promoted model beside the first one against the ground truth."""
    head = Table(title="The loop", box=None, show_header=False, title_justify="left")
    given = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in result.verdicts.items())
    head.add_row("verdicts", given)
    head.add_row("labelled rows", f"{result.training.get('rows', 0):,}")
    if result.training.get("not_enough"):
        head.add_row("nothing trained", result.training["not_enough"])
    head.add_row("seconds", f"{result.seconds:.0f}")
    steps = Table(box=None, header_style="bold", title="Model versions", title_justify="left")
    for column in ("time", "action", "model", "why"):
        steps.add_column(column, no_wrap=column != "why")
    for step in result.steps:
        at = datetime.fromtimestamp(step.at_ms / 1000, UTC).strftime("%H:%M:%S")
        steps.add_row(at, step.action.value, Text(", ".join(_about(step))), Text(step.reason))
    return Group(head, Text(), steps, Text(), _compared(result))


def _about(step: LearningStep) -> Sequence[str]:
    """Of a promotion the new production version, else those that are not in production, if there are any."""
    if step.action is EventAction.PROMOTED and step.production is not None:
        return (step.production,)
    return [model for model in step.models if model != step.production] or step.models


def _compared(result: LearningResult) -> Table:
    """A column per model: so both stand beside each other in 80 characters."""
    table = Table(
        title="Against the ground truth, on the last days",
        box=None,
        header_style="bold",
        title_justify="left",
    )
    models = {"first": result.first, "promoted": result.promoted}
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right", no_wrap=True)
    columns = [_column(judged) for judged in models.values()]
    for name, *values in zip(ROWS, *columns, strict=True):
        table.add_row(name, *values)
    return table


def _column(judged: Judged | None) -> tuple[str, ...]:
    if judged is None:
        return ("no candidate was promoted", *("–" for _ in ROWS[1:]))
    found = judged.evaluation
    return (
        judged.model,
        f"{found.precision:.3f}",
        f"{found.recall:.3f}",
        f"{found.f1:.3f}",
        "–" if found.average_precision is None else f"{found.average_precision:.3f}",
        "–" if found.auc_roc is None else f"{found.auc_roc:.3f}",
        f"{found.alerts_per_day:,.1f}",
    )
