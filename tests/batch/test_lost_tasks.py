"""A task whose process dies each time ends its batch, and the next batch does what it left, by a real Ray.
So does one that hangs.

Never: the lowest priority (see the fixture).
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from batch import ray_data
from batch.features.job import FeatureJob, PartitionFacts, position_name
from batch.features.run import folded_by
from batch.features.stretch import Stretch, fold_stretch
from batch.ingest.dataset import one_slice, written_by
from batch.ingest.plan import Slice
from batch.ray_data import answers_of_tasks
from batch.scoring.config import ScoreConfig
from batch.scoring.dataset import batch_scores_of, reports_by
from batch.scoring.job import ScoreJob
from batch.scoring.plan import Piece, ScoredVersion, ScoreRequest
from batch.scoring.run import run_score
from batch.scoring.score import PieceReport
from ray_fraud.stores.connections import KafkaConnection, LakeLocation, Topics, to_json
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from serve.config import ScorerConfig
from tests.batch.fold_world import PARTITION, PRESENT, FoldWorld
from tests.batch.plain_ingest import plain_ingest
from tests.batch.scoring_world import CHANGES, YEAR_3000_MS, folded_lake
from tests.batch.test_ingest_kills import RECORDS, config_for, fill, offsets
from tests.oracle.streams import StreamOptions, make_stream
from tests.scoring.sample_models import trained

RETRIES = 1
"""Each costs the start of a process."""
LISTENS, HANGS, FAILS = "listens", "hangs", "fails"
PATIENCE_SECONDS = 120.0
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
        plain_ingest(config, lambda slices: written_by(work, slices, config.tasks)).run()
    # Once among all, once by itself.
    assert deaths.count == 2 * (RETRIES + 1)
    others = offsets(lake)
    assert others
    assert {partition for partition, _ in others} == {0}
    report = plain_ingest(config).run()
    assert report.complete
    assert report.accepted + len(others) == len(set(offsets(lake))) == len(offsets(lake)) == 2 * RECORDS + 1


def dying_stretch(packed: bytes, world: FoldWorld, deaths: Deaths) -> bytes:
    """Dies until no more is tried, and folds when it is asked once more."""
    if not deaths.file.exists() or deaths.count <= RETRIES:
        deaths.one()
    return msgspec.msgpack.encode(fold_stretch(world.ports(), msgspec.msgpack.decode(packed, type=Stretch)))


def test_a_fold_ends_and_the_next_one_folds_what_it_left(deaths: Deaths, tmp_path: Path) -> None:
    stream = make_stream(StreamOptions(seed=81, records=200, users=20, changes=CHANGES))
    world = FoldWorld(tmp_path / "lake", stream.records, stream.timeline)
    online = world.decide_online()
    world.ingest(world.end)
    facts = PartitionFacts(tuple(world.timeline), world.end)
    work = partial(dying_stretch, world=world, deaths=deaths)
    job = FeatureJob(
        world.features,
        world.scores,
        lambda _: facts,
        lambda: PRESENT,
        lambda stretches: folded_by(work, stretches, tasks=1),
        stretch_records=world.end,
    )
    with pytest.raises(StoreUnavailable, match=LOST):
        job.run({PARTITION: world.end})
    assert deaths.count == RETRIES + 1
    assert world.features.position(position_name(PARTITION)) is None
    report = job.run({PARTITION: world.end})
    assert report.rows == len(online.features)
    assert sorted(world.features.read([])["offset"].to_pylist()) == sorted(online.features)


def piece_at_the_pipe(piece: str, pipe: Path) -> bytes:
    if piece == LISTENS:
        return pipe.read_bytes()
    if piece == FAILS:
        raise StoreUnavailable("lake", "away")
    pipe.write_text(str(os.getpid()))
    threading.Event().wait()
    return b""


def test_what_still_runs_when_another_task_fails_is_killed(deaths: Deaths, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    work = partial(piece_at_the_pipe, pipe=tmp_path / "pipe")
    answers = answers_of_tasks(work, [LISTENS, HANGS, FAILS], 2, PATIENCE_SECONDS)
    hanging = psutil.Process(int(next(answers)))
    with pytest.raises(StoreUnavailable, match="lake: away"):
        next(answers)
    hanging.wait(PATIENCE_SECONDS)


def test_a_task_that_hangs_ends_its_batch(deaths: Deaths, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    work = partial(piece_at_the_pipe, pipe=tmp_path / "pipe")
    with pytest.raises(StoreUnavailable, match="none of 1 tasks ended"):
        next(answers_of_tasks(work, [HANGS], 1, 0.1))


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
