"""The project's models beside the published figures of the Fraud Detection Handbook, by its own protocol.

    generated data → (delay of features) → fold once → (test week) → train 30 days, a gap of 7, judge 7 days

Training periods, parameters and thresholds are chosen on earlier weeks; the four test weeks only measure.

Never: a row of a test week in any choice.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from batch.backtest.fold_part import FoldSettings, Outcome
from batch.backtest.history import Delays, History, labelled_past
from batch.backtest.job import ModelResult, backtest
from batch.backtest.parts import in_processes
from batch.backtest.read_file import FileRequest, read_file
from batch.backtest.request import BacktestRequest
from batch.backtest.training import train_in_processes
from batch.imports.run import default_workers
from batch.imports.sources import FileFormat, format_of
from batch.training.labelled import Period
from batch.training.settings import Algorithm, TrainingSettings
from ray_fraud.domain.labelled_past import LabelledPast
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.generator.handbook import START_TIME, handbook_transactions
from ray_fraud.generator.handbook_file import write_handbook

FIRST_TEST_DAY = 129
"""2018-08-08, in days since the data begin; the others follow by weeks."""
WEEKS = 4
GAP_DAYS, TEST_DAYS = 7, 7
FILTER_DAYS = 14
"""Known cards are those of the 7 days that the book trains on and of the test days' own past, whatever is
trained on here: the test rows are the book's."""
PUBLISHED = {
    "book, best after tuning": (0.694, 0.879, 0.305),
    "book, random forest": (0.658, 0.867, 0.287),
}
"""Average precision, AUC ROC, card precision@100; the second of the first week only."""

progress = Console(stderr=True, highlight=False)


def read(file: Path | None, workers: int) -> History:
    """The data of a file, else generated."""
    with TemporaryDirectory() as folder:
        if file is None:
            file = Path(folder) / "handbook.parquet"
            progress.print("making the data")
            write_handbook(handbook_transactions(), file)
        file_format: FileFormat = format_of(file)
        return read_file(FileRequest(file, file_format, {}, None, DetectionSettings()), workers).history


def request_of(
    week: int, train_days: int, feature_days: float, settings: TrainingSettings
) -> BacktestRequest:
    """One test week."""
    test_ms = round(START_TIME * 1000) + (FIRST_TEST_DAY + 7 * week) * DAY_MS
    known_ms = test_ms - GAP_DAYS * DAY_MS
    return BacktestRequest(
        train=Period(known_ms - train_days * DAY_MS, known_ms),
        test=Period(test_ms, test_ms + TEST_DAYS * DAY_MS),
        delays=Delays(round(feature_days * DAY_MS), GAP_DAYS * DAY_MS, GAP_DAYS * DAY_MS),
        training=settings,
        rules=(),
        exclude_compromised=True,
        known_from_ms=test_ms - FILTER_DAYS * DAY_MS,
    )


def folded(history: History, request: BacktestRequest, workers: int) -> Outcome:
    settings = FoldSettings(
        detection=request.detection,
        delay_ms=request.delays.features_ms,
        refresh_ms=request.refresh_ms,
        profile_days=request.profile_days,
    )
    return in_processes(workers)(history, labelled_past(history), settings, lambda *_: None)


def results(history: History, requests: Sequence[BacktestRequest], workers: int) -> list[list[ModelResult]]:
    """The models of each request; features are made once, since all requests have the same."""
    outcome = folded(history, requests[0], workers)

    def known(_history: History, _past: LabelledPast, _settings: FoldSettings, _tell: object) -> Outcome:
        return outcome

    found = []
    for number, request in enumerate(requests):
        began = time.monotonic()
        done = backtest(history, request, (), known, train_in_processes(workers), lambda *_: None)
        found.append(done.report.models)
        progress.print(f"week {number + 1}: {time.monotonic() - began:.0f} s, {summary(done.report.models)}")
    return found


def summary(models: Sequence[ModelResult]) -> str:
    return ", ".join(f"{each.model} {each.evaluation.average_precision:.4f}" for each in models)


def add_rows(table: Table, weeks: Sequence[Sequence[ModelResult]], feature_days: float) -> None:
    """A row per model: the means of the weeks, and the average precision of each."""
    for name in [each.model for each in weeks[0]]:
        of_name = [each.evaluation for models in weeks for each in models if each.model == name]
        measures = [
            (each.average_precision or 0.0, each.auc_roc or 0.0, each.card_precision_at_k or 0.0)
            for each in of_name
        ]
        means = np.mean(measures, axis=0).tolist()
        table.add_row(
            name,
            f"{feature_days:g} d",
            *(f"{value:.3f}" for value in means),
            " ".join(f"{average_precision:.3f}" for average_precision, _, _ in measures),
        )


@click.command()
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead of making it."
)
@click.option("--weeks", type=click.IntRange(1, WEEKS), default=WEEKS, show_default=True)
@click.option("--train-days", type=click.IntRange(1, 90), default=30, show_default=True)
@click.option("--feature-days", type=float, multiple=True, default=(7.0, 1.0), show_default=True)
@click.option("--model", "models", type=click.Choice([each.value for each in Algorithm]), multiple=True)
@click.option("--workers", type=click.IntRange(1, 64), default=default_workers, show_default="one per core")
def main(
    file: Path | None,
    weeks: int,
    train_days: int,
    feature_days: tuple[float, ...],
    models: tuple[str, ...],
    workers: int,
) -> None:
    """Measure the models on the handbook's data, test weeks from 2018-08-08 on."""
    history = read(file, workers)
    settings = TrainingSettings(algorithms=tuple(map(Algorithm, models)) or tuple(Algorithm))
    table = Table(box=None, title="Handbook", title_justify="left")
    for name in ("model", "features' delay", "AP", "AUC ROC", "CP@100", "AP of each week"):
        table.add_column(name)
    for days in feature_days:
        requests = [request_of(week, train_days, days, settings) for week in range(weeks)]
        add_rows(table, results(history, requests, workers), days)
    for name, values in PUBLISHED.items():
        table.add_row(name, "7 d", *(f"{value:.3f}" for value in values), "")
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
