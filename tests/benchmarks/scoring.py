"""Milliseconds per scored micro-batch and row by kind of model: `python -m tests.benchmarks.scoring`.

Each model is trained with an algorithm's default parameters on drawn rows of the whole catalogue. A batch
goes through the class that the Serve deployment runs, on the bytes that a call brings; the single row goes
through the model. Figures are processor time of one thread, the fastest and the median of many.

Never: a check of anything; the tests do that. A call of Serve: `ray-fraud bench` measures those.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from batch.training.fit import fit
from batch.training.labelled import LabelledRows
from batch.training.settings import Algorithm, TrainingSettings
from batch.training.trained_model import TrainedModel
from ray_fraud.domain.explanation import explanation
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.split import BASIS_POINTS, Arm, Split
from ray_fraud.scoring.model import Model
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.models.lake import LakeModelFiles
from serve.answer import ScoreBytes
from serve.config import ScorerConfig
from serve.scorer import Scorer

HISTORY = 60_000
SEED = 1
BATCH_BUDGET_MS, ROW_BUDGET_MS, EXPLAIN_BUDGET_MS = 8.0, 0.2, 2.0


def history() -> LabelledRows:
    """Rows of the catalogue whose frauds depend on several columns."""
    random = np.random.default_rng(SEED)
    rows = random.lognormal(3, 1.2, size=(HISTORY, FEATURE_COUNT)).astype(np.float32)
    fraud = (rows[:, 0] * random.random(HISTORY) > 60) & (rows[:, 1] > 20) | (rows[:, 13] > 400)
    event_ms = np.arange(HISTORY, dtype=np.int64) * 40_000
    return LabelledRows(rows, fraud ^ (random.random(HISTORY) < 0.01), np.arange(HISTORY), event_ms)


def timed(call: Callable[[], object], times: int) -> tuple[float, float]:
    """Fastest and median, milliseconds of this thread's processor time."""
    took = []
    for _ in range(times):
        began = time.thread_time()
        call()
        took.append(1000 * (time.thread_time() - began))
    return min(took), median(took)


def deployed(
    trained: TrainedModel, folder: Path, rows: NDArray[np.float32], times: int
) -> tuple[float, float]:
    """One call after the other of the deployment's own class."""
    lake = LakeLocation(folder.as_uri())
    digest = LakeModelFiles(*lake_filesystem(lake)).put(*trained)
    manifest = trained.manifest
    split = Split((Arm(manifest.model_name, manifest.version, digest, 0.5, BASIS_POINTS),), "benchmark")
    scorer = Scorer(ScorerConfig(lake, folder / "cache"))
    users, features = np.arange(len(rows), dtype=np.int64).tobytes(), rows.tobytes()

    async def calls() -> tuple[float, float]:
        await scorer.reconfigure({"splits": [split.canonical()]})
        took = []
        for _ in range(times):
            began = time.thread_time()
            answer = await scorer.score(split.digest, users, features)
            took.append(1000 * (time.thread_time() - began))
            if not isinstance(answer, ScoreBytes):
                raise RuntimeError("the split was not loaded")
        return min(took), median(took)

    return asyncio.run(calls())


def measure(algorithm: Algorithm, rows: LabelledRows, batch: int, times: int) -> str:
    """One line of the table."""
    fitted = fit(rows, TrainingSettings().candidates(algorithm)[0], version=1, seed=SEED)
    trained = TrainedModel(fitted.candidate.draft(), fitted.candidate.onnx, fitted.candidate.explain)
    model = Model(*trained)
    with tempfile.TemporaryDirectory() as folder:
        of_batch = deployed(trained, Path(folder), rows.features[:batch], times)
    one = rows.features[:1]
    of_row = timed(lambda: model.score(one), 10 * times)

    def explained() -> None:
        pushes = model.explain(one[0])
        if pushes is not None:
            explanation(pushes, one[0])

    of_alert = timed(explained, times)
    figures = [value for pair in (of_batch, of_row, of_alert) for value in pair]
    within = (
        of_batch[1] <= BATCH_BUDGET_MS and of_row[1] <= ROW_BUDGET_MS and of_alert[1] <= EXPLAIN_BUDGET_MS
    )
    return (
        f"{algorithm.value:<20}"
        + "".join(f"{value:>10.3f}" for value in figures)
        + f"{'yes' if within else 'no':>8}"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000, help="rows of a batch")
    parser.add_argument("--times", type=int, default=200, help="calls per figure")
    chosen = parser.parse_args(arguments)
    rows = history()
    sys.stdout.write(
        f"{'ms':<20}{f'{chosen.rows:,} rows':>20}{'one row':>20}{'one explanation':>20}{'goals':>8}\n"
    )
    sys.stdout.write(f"{'':<20}" + f"{'fastest':>10}{'median':>10}" * 3 + "\n")
    for algorithm in Algorithm:
        sys.stdout.write(measure(algorithm, rows, chosen.rows, chosen.times) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
