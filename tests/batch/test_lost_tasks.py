"""A task whose process dies each time ends its batch, and the next batch does what it left, by a real Ray.

Never: the lowest priority (see the fixture).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from batch import ray_data
from batch.ingest.dataset import one_slice, written_by
from batch.ingest.job import Ingest
from batch.ingest.plan import Slice
from batch.ingest.run import log_bounds, run_ingest
from batch.scoring.config import ScoreConfig
from batch.scoring.dataset import batch_scores_of, reports_by
from batch.scoring.job import ScoreJob
from batch.scoring.plan import Piece, ScoredVersion, ScoreRequest
from batch.scoring.run import run_score
from batch.scoring.score import PieceReport
from ray_fraud.stores.connections import KafkaConnection, LakeLocation, Topics, to_json
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from serve.config import ScorerConfig
from tests.batch.scoring_world import YEAR_3000_MS, folded_lake
from tests.batch.test_ingest_kills import RECORDS, config_for, fill, offsets
from tests.scoring.sample_models import trained

RETRIES = 1
"""Each costs the start of a process."""
LOST = "ray: a task was lost"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240, func_only=True)]


@dataclass(frozen=True)
class Deaths:
    """Tasks that die, and how often it happened."""

    file: Path

    def one(self) -> None:
        """In a worker process."""
        with self.file.open("a") as opened:
            opened.write("x")
        os._exit(1)

    @property
    def count(self) -> int:
        return self.file.stat().st_size


@pytest.fixture
def deaths(tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch) -> Deaths:
    monkeypatch.setattr(ray_data, "RETRIES", RETRIES)
    return Deaths(tmp_path / "deaths")


def dying_slice(piece: Slice, packed: bytes, deaths: Deaths) -> bytes:
    if (piece.partition.partition, piece.from_offset) == (1, 0):
        deaths.one()
    return one_slice(piece, packed)


def test_an_ingest_ends_and_the_next_one_reads_what_it_left(
    kafka_server: KafkaConnection, deaths: Deaths, tmp_path: Path
) -> None:
    topics = Topics("lost-transactions", "lost-dlq", "lost-alerts", "lost-labels", partitions=2)
    lake = tmp_path / "lake"
    config = config_for(fill(kafka_server, topics), LakeLocation(lake.as_uri()), topics)
    work = partial(dying_slice, packed=to_json(config), deaths=deaths)
    with pytest.raises(StoreUnavailable, match=LOST):
        Ingest(
            config,
            DeltaTransactions(config.connections.lake),
            lambda: log_bounds(config),
            lambda slices: written_by(work, slices, config.tasks),
        ).run()
    assert deaths.count == RETRIES + 1
    assert offsets(lake) == []
    report = run_ingest(config)
    assert report.complete
    assert report.accepted == len(set(offsets(lake))) == len(offsets(lake)) == 2 * RECORDS + 1


def dying_piece(_: Piece, deaths: Deaths) -> bytes:
    deaths.one()
    return b""


def test_a_scoring_job_ends_and_the_same_job_asked_again_writes_its_rows_once(
    deaths: Deaths, tmp_path: Path
) -> None:
    lake = LakeLocation(tmp_path.as_uri())
    rows = folded_lake(tmp_path, 200).features.read([]).num_rows
    config = ScoreConfig(lake=lake, model_cache=tmp_path / "cache")
    manifest = trained(1).manifest
    ScorerConfig(lake=lake, cache_folder=config.model_cache).model_files().put(*trained(1))
    version = ScoredVersion(f"{manifest.model_name}:1", manifest.digest, manifest.threshold)
    request = ScoreRequest("job", 0, YEAR_3000_MS, (version,))

    def score_all(_version: int, _at_ms: int, pieces: list[Piece]) -> Iterator[PieceReport]:
        return reports_by(partial(dying_piece, deaths=deaths), pieces, config.tasks)

    job = ScoreJob(batch_scores_of(lake), lambda: PeriodRows(lake, ML_FEATURES, 0, YEAR_3000_MS), score_all)
    with pytest.raises(StoreUnavailable, match=LOST):
        job.run(request)
    assert deaths.count == RETRIES + 1
    table = batch_scores_of(lake)
    assert table.read([]).num_rows == 0
    report = run_score(config, request)
    assert not report.finished_before
    assert report.rows == table.read([]).num_rows == rows
