"""The page of metrics, made from the catalogue: `python -m tests.quality.metrics_page` writes it.

Never: a fact that is not in the catalogue.
"""

from pathlib import Path

from ray_fraud.domain.metric import Metric
from ray_fraud.domain.metrics import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
HEAD = """\
# Metrics

One endpoint serves all of them; `ray-fraud status` prints its address. This page is made from
`ray_fraud/domain/metrics.py` by `python -m tests.quality.metrics_page`; do not edit it.

| metric | kind | unit | labels | what it tells, and what to do about it |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page, in Markdown."""
    return HEAD + "".join(_row(metric) for metric in CATALOGUE)


def _row(metric: Metric) -> str:
    labels = "<br>".join(_label(name, values) for name, values in metric.labels.items()) or "–"
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} |\n"


def _label(name: str, values: tuple[str, ...] | None) -> str:
    return f"`{name}`: {'number' if values is None else ', '.join(values)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
