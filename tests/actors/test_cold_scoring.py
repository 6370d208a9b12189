"""A period of the lake scored beside a running hot path: the scores that the fold gave, each row once."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from batch.features.run import feature_tables_of
from batch.scoring.dataset import batch_scores_of
from batch.scoring.plan import ScoreRequest, resolve
from cluster.local.cold_path_client import NoColdPath, batch_status, run_batch
from cluster.local.scoring_client import run_scoring
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from tests.actors.platform import Platform, eventually

PATIENCE_SECONDS = 280.0
"""Batches run at the lowest priority: beside other work they take their time."""
YEAR_3000_MS = 32_503_680_000_000


def scored(platform: Platform, request: ScoreRequest) -> dict[str, Any]:
    end = run_scoring(platform.config, request, lambda _: None, PATIENCE_SECONDS)
    assert end["report"] is not None, end["error"]
    return dict(end["report"])


def cold_path_answers() -> bool:
    try:
        batch_status(0)
    except NoColdPath:
        return False
    return True


def rows_of(table: pa.Table, columns: Sequence[str]) -> list[tuple[object, ...]]:
    return sorted(zip(*table.select(list(columns)).to_pydict().values(), strict=True))


@pytest.mark.timeout(600, func_only=True)
def test_a_period_scored_again_has_the_scores_of_the_fold(platform: Platform) -> None:
    with platform.load(300):
        pass
    platform.settle()
    eventually("the cold path answers", cold_path_answers, PATIENCE_SECONDS)
    assert run_batch(lambda _: None, PATIENCE_SECONDS)["status"] == "done"
    lake = platform.config.connections.lake
    fold = feature_tables_of(lake).scores.read([])
    with closing(PostgresRegistry(platform.config.connections.postgres)) as registry:
        versions = resolve(registry.versions(), sorted(set(fold["model"].to_pylist())), live=True)
    middle_ms = int(pc.quantile(fold["event_time"].cast(pa.int64()), 0.5)[0].as_py()) // 1_000
    whole = ScoreRequest("whole", 0, YEAR_3000_MS, versions)

    with pytest.raises(TimeoutError, match="goes on"):
        run_scoring(platform.config, whole, lambda _: None, 0.001)
    report = scored(platform, whole)
    table = batch_scores_of(lake)
    written = table.read([("job_id", "=", "whole")])
    columns = ["topic_id", "partition", "offset", "model", "model_digest", "score", "threshold", "anomaly"]
    columns += ["transaction_id", "user_id", "record_time", "event_time", "event_date"]
    # Scores are compared as numbers with all of their bits.
    by_version = fold.filter(pc.is_in(fold["model"], pa.array([each.label for each in versions])))
    assert rows_of(written, columns) == rows_of(by_version, columns)
    assert len(versions) == 2
    assert written.num_rows == 2 * report["rows"] > 0
    for each in report["models"]:
        of_model = written.filter(pc.equal(written["model"], each["model"]))
        assert each["anomalies"] == pc.sum(of_model["anomaly"]).as_py()
        assert each["mean"] == pytest.approx(pc.mean(of_model["score"]).as_py())

    again = scored(platform, whole)
    assert again["finished_before"]
    assert (again["rows"], again["models"]) == (report["rows"], report["models"])
    part = ScoreRequest("part", 0, middle_ms, versions[:1])
    half = scored(platform, part)
    assert 0 < half["rows"] < report["rows"]
    wanted = fold.filter(pc.equal(fold["model"], versions[0].label))
    earlier = pc.sum(pc.less(wanted["event_time"].cast(pa.int64()), middle_ms * 1_000)).as_py()
    assert table.read([("job_id", "=", "part")]).num_rows == half["rows"] == earlier
    assert table.read([]).num_rows == written.num_rows + half["rows"]
    other = run_scoring(
        platform.config, ScoreRequest("part", 1, middle_ms, versions[:1]), lambda _: None, PATIENCE_SECONDS
    )
    assert other["report"] is None
    assert "other parameters" in other["error"]
    platform.assert_exact()
