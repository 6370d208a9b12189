"""What `ray-fraud backtest` shows: its JSON, and tables for people.

Never: a figure that the report does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.cli.moments import shown_moment
from ray_fraud.domain.features import FEATURE_NAMES

if TYPE_CHECKING:
    from batch.backtest.history import Delays
    from batch.backtest.job import BacktestReport
    from batch.backtest.read_file import Refusals
    from batch.training.labelled import Period

_MEASURES = ("auc_roc", "average_precision", "card_precision_at_k", "precision", "recall", "f1")
_MONEY = ("money_caught", "money_missed")


def report_data(report: BacktestReport, delays: Delays, refusals: Refusals, seconds: float) -> dict[str, Any]:
    """The `data` of the JSON; times are unix seconds."""
    periods = report.periods
    return {
        "models": [_flat(msgspec.to_builtins(each)) for each in report.models],
        "rules": msgspec.to_builtins(report.rules),
        "periods": {
            "train": None if periods.train is None else _seconds(periods.train),
            "test": _seconds(periods.test),
            "known_from": periods.known_from_ms / 1000,
        },
        "delays_seconds": {
            name.removesuffix("_ms"): getattr(delays, name) / 1000 for name in delays.__struct_fields__
        },
        "rows": {
            "history": report.rows,
            "duplicates": report.duplicates,
            "test": report.test_rows,
            "test_frauds": report.test_frauds,
            "excluded": report.excluded,
        },
        "refused": refusals.by_code,
        "first_refused": refusals.first,
        "features": list(FEATURE_NAMES),
        "seconds": report.seconds | {"all": round(seconds, 3)},
    }


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    evaluation = result.pop("evaluation")
    first = {"model": result.pop("model"), "version": result.pop("version")}
    return {**first, **evaluation, **result}


def _seconds(period: Period) -> dict[str, float]:
    return {"start": period.from_ms / 1000, "end": period.until_ms / 1000}


def report_view(data: dict[str, Any]) -> Group:
    """For people: what was judged, the models, the rules."""
    parts: list[Any] = [_judged(data)]
    if data["models"]:
        parts += [Text(), _models(data["models"])]
    if data["rules"]:
        parts += [Text(), _rules(data["rules"])]
    return Group(*parts)


def _judged(data: dict[str, Any]) -> Table:
    table = Table(title="Backtest", box=None, show_header=False, title_justify="left")
    for name in ("train", "test"):
        period = data["periods"][name]
        if period is not None:
            table.add_row(
                name, f"{shown_moment(period['start'] * 1000)} up to {shown_moment(period['end'] * 1000)}"
            )
    rows = data["rows"]
    table.add_row("rows", f"{rows['history']:,}, {rows['duplicates']:,} of them duplicates")
    table.add_row("judged", f"{rows['test']:,}, {rows['test_frauds']:,} of them frauds")
    if rows["excluded"]:
        table.add_row("left out as known", f"{rows['excluded']:,}")
    refused = ", ".join(f"{code} {count:,}" for code, count in data["refused"].items())
    table.add_row("refused", refused or "none")
    for line in data["first_refused"]:
        table.add_row("", line)
    seconds = ", ".join(f"{step} {took:.1f}" for step, took in data["seconds"].items())
    table.add_row("seconds", seconds)
    return table


def _models(models: list[dict[str, Any]]) -> Table:
    """A column per model, so that it fits a terminal of 80."""
    table = Table(box=None, header_style="bold")
    table.add_column("model")
    for each in models:
        table.add_column(f"{each['model']}:{each['version']}", justify="right")
    for name in _MEASURES:
        shown = name.replace("_at_k", f"@{models[0]['k']}").replace("_", " ")
        table.add_row(shown, *(_share(each[name]) for each in models))
    table.add_row("alerts per day", *(f"{each['alerts_per_day']:,.1f}" for each in models))
    for name in _MONEY:
        table.add_row(name.replace("_", " "), *(f"{each[name]:,.0f}" for each in models))
    return table


def _rules(rules: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("rule")
    for name in ("alerts", "per day", "precision", "recall", "F1", "caught", "missed"):
        table.add_column(name, justify="right")
    for each in rules:
        table.add_row(
            each["rule"] if each["model"] is None else f"{each['rule']} {each['model']}",
            f"{each['alerts']:,}",
            f"{each['alerts_per_day']:,.1f}",
            *(_share(each[name]) for name in ("precision", "recall", "f1")),
            *(f"{each[name]:,.0f}" for name in _MONEY),
        )
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
