"""What `ray-fraud demo --learn` shows in the end.

Never: work.
"""

from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cluster.local.learning import Judged, LearningResult


def learning_view(result: LearningResult) -> Group:
    """The loop, step by step, and the promoted model beside the first one against the ground truth."""
    head = Table(title="The loop", box=None, show_header=False, title_justify="left")
    given = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in result.verdicts.items())
    head.add_row("verdicts", given)
    head.add_row("labelled rows of the training", f"{result.training.get('rows', 0):,}")
    if result.training.get("not_enough"):
        head.add_row("nothing trained", result.training["not_enough"])
    head.add_row("seconds", f"{result.seconds:.0f}")
    steps = Table(
        "time", "action", "why", box=None, header_style="bold", title="Model versions", title_justify="left"
    )
    for event in result.events:
        at = datetime.fromtimestamp(event.at_ms / 1000, UTC).strftime("%H:%M:%S")
        steps.add_row(at, event.action.value, Text(event.reason))
    return Group(head, Text(), steps, Text(), _compared(result))


def _compared(result: LearningResult) -> Table:
    table = Table(
        title="Against the ground truth, on the last days",
        box=None,
        header_style="bold",
        title_justify="left",
    )
    for column in ("model", "precision", "recall", "F1", "AP", "AUC", "alerts/day"):
        table.add_column(column, justify="left" if column == "model" else "right")
    _add(table, result.first, "first")
    if result.promoted is None:
        table.add_row(Text("no candidate was promoted", "yellow"))
    else:
        _add(table, result.promoted, "promoted")
    return table


def _add(table: Table, judged: Judged, what: str) -> None:
    found = judged.evaluation
    table.add_row(
        f"{judged.model} ({what})",
        f"{found.precision:.3f}",
        f"{found.recall:.3f}",
        f"{found.f1:.3f}",
        "–" if found.average_precision is None else f"{found.average_precision:.3f}",
        "–" if found.auc_roc is None else f"{found.auc_roc:.3f}",
        f"{found.alerts_per_day:,.1f}",
    )
