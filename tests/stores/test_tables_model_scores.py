"""Figures of table `scores`, against the same rows counted in Python."""

from pathlib import Path

import numpy as np

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.model_scores import model_scores
from tests.batch.scoring_world import folded_lake


def test_without_scores_there_are_no_figures(tmp_path: Path) -> None:
    assert model_scores(LakeLocation(tmp_path.as_uri()), 0) == {}


def test_figures_are_those_of_the_last_rows_by_event_time(tmp_path: Path) -> None:
    """The rows are months old: what time it is now says nothing."""
    made = folded_lake(tmp_path, 1_500)
    rows = made.scores.read([])
    times = np.sort(rows["event_time"].to_numpy().astype("datetime64[ms]").astype(np.int64))
    for since_ms in (0, int(times[len(times) // 2]), int(times[-1])):
        found = model_scores(LakeLocation(tmp_path.as_uri()), int(times[-1]) + 1 - since_ms)
        event_ms = rows["event_time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
        models = np.array(rows["model"].to_pylist())
        expected = set(models[event_ms >= since_ms].tolist())
        assert set(found) == expected
        for model in expected:
            mine = (models == model) & (event_ms >= since_ms)
            scores = rows["score"].to_numpy()[mine]
            figures = found[model]
            assert figures.rows == len(scores)
            assert figures.live_rows == int(rows["live"].to_numpy()[mine].sum())
            assert figures.anomalies == int(rows["anomaly"].to_numpy()[mine].sum())
            assert abs(figures.mean - scores.mean()) < 1e-9
            assert figures.histogram == tuple(np.histogram(scores, bins=20, range=(0.0, 1.0))[0].tolist())
            assert figures.quantiles["p50"] in scores
