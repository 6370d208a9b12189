"""Time and memory of the sample that a training takes of a long history.

    python -m tests.benchmarks.training_sample [--share 0.1]

Batches of rows are generated as the lake gives them, 500 a second for 60 days, 2 in 1,000 of them fraud.
Printed: rows, seconds of the sampling alone, rows kept, and the peak of the process's memory.
"""

import argparse
import resource
import time

import numpy as np

from batch.training.labelled import Ints, Rows32
from batch.training.sampler import LabelledSample
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.windows import DAY_MS

PER_SECOND, DAYS, BATCH_ROWS, MAX_ROWS = 500, 60, 50_000, 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows; fewer are quicker")
    share = parser.parse_args().share
    rng = np.random.default_rng(1)
    fraud_draws = rng.random(BATCH_ROWS * 7) < 0.002
    batches = round(share * PER_SECOND * DAYS * 86_400 / BATCH_ROWS)
    span_ms = DAYS * DAY_MS // batches
    sample = LabelledSample(MAX_ROWS, 1)

    def features(chosen: Ints) -> Rows32:
        return np.ones((len(chosen), FEATURE_COUNT), np.float32)

    seconds = 0.0
    for batch in range(batches):
        event_ms = batch * span_ms + np.sort(rng.integers(0, span_ms, BATCH_ROWS))
        users = rng.integers(0, 10_000_000, BATCH_ROWS)
        fraud = np.roll(fraud_draws, batch * 13)[:BATCH_ROWS]
        began = time.perf_counter()
        sample.offer(fraud, users, event_ms, features)
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    rows = sample.rows()
    seconds += time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # noqa: T201
        f"{batches * BATCH_ROWS:,} rows in {seconds:.1f} s: {len(rows):,} kept, "
        f"{int(rows.fraud.sum()):,} frauds, "
        f"of {len(np.unique(rows.days))} days, stand for {rows.represented:,.0f}; peak {peak_mb:,.0f} MB"
    )


if __name__ == "__main__":
    main()
