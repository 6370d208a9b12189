"""What a scoring job writes and tells: the fold's scores, honest figures; what it refuses."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from batch.features.rows import feature_matrix
from batch.scoring.actor import Begun, ScoreActor, ScoreEnd
from batch.scoring.config import ScoreConfig
from batch.scoring.counts import BINS, counted, joined, quantile, summary
from batch.scoring.job import Progress, ScoreProgress, ScoreReport
from batch.scoring.plan import Piece, ScoredVersion, ScoreRefused, ScoreRequest, pieces_of, resolve
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.stores.connections import LakeLocation, to_json
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.registry import ModelStatus, ModelVersion
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
from ray_fraud.stores.tables.period import StoredFile
from tests.batch.fold_world import FoldWorld
from tests.batch.scoring_world import NOW, VERSIONS, ScoringWorld, folded_lake, request

RECORDS = 1_500
SHARED = ["topic_id", "partition", "offset", "transaction_id", "user_id", "record_time", "event_time"]
SHARED += ["event_date", "model", "model_digest", "score", "threshold", "anomaly"]


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> FoldWorld:
    return folded_lake(tmp_path_factory.mktemp("lake"), RECORDS)


@pytest.fixture
def world(fold: FoldWorld, tmp_path: Path) -> ScoringWorld:
    return ScoringWorld(fold.folder, tmp_path)


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    return sorted(zip(*table.select(SHARED).to_pydict().values(), strict=True))


def test_every_row_has_the_scores_that_the_fold_gave(fold: FoldWorld, world: ScoringWorld) -> None:
    told: list[ScoreProgress] = []
    wanted = request()
    report = world.job(wanted, progress=told.append).run(wanted)
    written, expected = world.table.read([]), fold.scores.read([])
    assert rows_of(written) == rows_of(expected)
    assert report.rows * len(VERSIONS) == expected.num_rows > RECORDS
    assert report.source_version == world.period(wanted).version > 2
    assert set(written["job_id"].to_pylist()) == {"job"}
    assert {at.timestamp() for at in written["scored_at"].to_pylist()} == {NOW}
    assert [told[0].rows, told[-1].rows] == [0, report.rows]
    assert {each.to_score for each in told} == {report.rows}


def test_the_report_is_what_the_table_says(world: ScoringWorld) -> None:
    wanted = request()
    report = world.job(wanted).run(wanted)
    for each in report.models:
        rows = world.table.read([("model", "=", each.model)])
        scores = rows["score"].to_numpy()
        by_day = rows.group_by("event_date").aggregate([("anomaly", "sum")]).to_pydict()
        days = zip(by_day["event_date"], by_day["anomaly_sum"], strict=True)
        assert each.anomalies_by_day == {str(day): count for day, count in sorted(days)}
        assert (each.rows, each.anomalies) == (len(scores), pc.sum(rows["anomaly"]).as_py())
        assert each.anomalies > 0
        assert (each.least, each.greatest) == (scores.min(), scores.max())
        assert each.mean == pytest.approx(scores.mean())
        for name, share in {"p50": 0.5, "p90": 0.9, "p99": 0.99}.items():
            assert each.quantiles[name] == pytest.approx(np.quantile(scores, share), abs=2 / BINS)


def test_the_period_ends_before_its_end(fold: FoldWorld, world: ScoringWorld) -> None:
    times = np.sort(fold.features.read([], ["event_time"])["event_time"].cast(pa.int64()).to_numpy()) // 1_000
    since, until = int(times[len(times) // 3]), int(times[2 * len(times) // 3])
    parts = [request("a", 0, since), request("b", since, until), request("c", until, int(times[-1]) + 1)]
    counts = [world.job(each).run(each).rows for each in parts]
    assert counts == [
        int((times < since).sum()),
        int(((times >= since) & (times < until)).sum()),
        int((times >= until).sum()),
    ]
    together = [place for each in parts for place in world.places(each.job)]
    assert len(set(together)) == len(together) == len(times) * len(VERSIONS)


def test_rows_that_come_while_a_job_runs_are_none_of_its_own(tmp_path: Path) -> None:
    fold = folded_lake(tmp_path / "lake", 200)
    world = ScoringWorld(fold.folder, tmp_path / "scores")
    wanted = request()
    again = fold.features.read([])

    def more(progress: ScoreProgress) -> None:
        if progress.rows == 0:
            fold.features.commit("more", [], fold.features.write_files(again), {})

    report = world.job(wanted, progress=more).run(wanted)
    assert report.rows == again.num_rows
    assert fold.features.read([]).num_rows == 2 * again.num_rows


def test_files_that_are_compacted_while_a_job_runs_are_read_as_they_were(tmp_path: Path) -> None:
    fold = folded_lake(tmp_path / "lake", 200)
    world = ScoringWorld(fold.folder, tmp_path / "scores")
    wanted = request()
    rows = fold.features.read([]).num_rows

    def compact(progress: ScoreProgress) -> None:
        if progress.rows == 0:
            DeltaTable(f"{fold.folder.as_uri()}/{ML_FEATURES}").optimize.compact()

    report = world.job(wanted, progress=compact).run(wanted)
    after = world.period(wanted)
    assert report.source_version is not None
    assert after.version > report.source_version
    assert report.rows == rows == after.count()
    assert rows_of(world.table.read([])) == rows_of(fold.scores.read([]))
    assert world.job(request("later")).run(request("later")).rows == rows
    assert world.places("later") == world.places()


def test_a_missing_value_is_nan_and_the_others_keep_their_bits() -> None:
    drawn = np.random.default_rng(5).normal(size=(50, len(FEATURE_NAMES))).astype(np.float32)
    drawn[drawn > 1.0] = np.nan
    columns = {name: pa.array(drawn[:, index], from_pandas=True) for index, name in enumerate(FEATURE_NAMES)}
    schema = pa.schema([FEATURE_SCHEMA.field(name) for name in FEATURE_NAMES])
    made = feature_matrix(pa.table(columns, schema=schema))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, drawn)


def test_files_are_grouped_below_the_limit() -> None:
    files = [
        StoredFile(name, "2026-01-01", rows) for name, rows in zip("abcde", (4, 5, 30, 1, 9), strict=True)
    ]
    assert pieces_of(files, 10) == [
        Piece(("a", "b"), 9), Piece(("c",), 30), Piece(("d", "e"), 10)
    ]  # fmt: skip
    assert pieces_of([], 10) == []


def test_joined_counts_are_those_of_all_rows() -> None:
    drawn = np.random.default_rng(6).random(1_000)
    days = np.arange("2026-01-01", "2026-01-05", dtype="datetime64[D]")[np.arange(1_000) % 4]
    whole = counted("one:1", drawn, drawn > 0.9, days)
    parts = [counted("one:1", drawn[a:b], drawn[a:b] > 0.9, days[a:b]) for a, b in ((0, 3), (3, 1_000))]
    assert joined(parts) == msgspec.structs.replace(whole, total=joined(parts).total)
    assert joined(parts).total == pytest.approx(whole.total)
    assert quantile(whole, 1.0) == whole.greatest
    assert summary(whole, "d", 0.9).quantiles["p90"] == pytest.approx(0.9, abs=0.05)


def registered(name: str, version: int, status: ModelStatus) -> ModelVersion:
    return ModelVersion(version, "transaction", name, version, "", f"d{version}", 0.5, {}, status, 0, 0, None)


KNOWN = [
    registered("forest", 1, ModelStatus.RETIRED),
    registered("forest", 2, ModelStatus.PRODUCTION),
    registered("forest", 3, ModelStatus.TESTING),
]


def test_versions_are_named_or_live_and_each_once() -> None:
    assert [each.label for each in resolve(KNOWN, [], live=True)] == ["forest:2", "forest:3"]
    named = resolve(KNOWN, ["forest:1", "forest:2", "forest:1"], live=True)
    assert [each.label for each in named] == ["forest:1", "forest:2", "forest:3"]
    assert resolve(KNOWN, ["forest:1"], live=False) == (ScoredVersion("forest:1", "d1", 0.5),)


def test_an_unknown_version_is_told_with_those_that_exist() -> None:
    with pytest.raises(ScoreRefused) as refused:
        resolve(KNOWN, ["forest:2", "tree:9"], live=False)
    assert str(refused.value) == (
        "no version tree:9 in the model registry; there are: forest:1 (retired), forest:2 (production), "
        "forest:3 (testing)"
    )
    with pytest.raises(ScoreRefused, match="no version is live"):
        resolve(KNOWN[:1], [], live=True)


class Gate:
    """A job that ends when it is told to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.runs = 0
        self.left = threading.Event()

    def run(self, _config: ScoreConfig, wanted: ScoreRequest, _tell: Progress) -> ScoreReport:
        self.runs += 1
        assert self.open.wait(30)
        if wanted.since_ms == 13:
            raise StoreUnavailable("lake", "away")
        return ScoreReport(wanted.job, wanted.since_ms, wanted.until_ms)

    def actor(self) -> ScoreActor:
        where = ScoreConfig(lake=LakeLocation("file:///none"), model_cache=Path("/none"))
        return ScoreActor(to_json(where), self.run, 0.0, self.left.set)


def begun(actor: ScoreActor, wanted: ScoreRequest) -> Begun:
    return msgspec.json.decode(actor.begin(to_json(wanted)), type=Begun)


def ended(actor: ScoreActor, ticket: int) -> ScoreEnd:
    answer = actor.result(ticket, 30)
    assert answer is not None
    return msgspec.json.decode(answer, type=ScoreEnd)


def test_who_asks_for_the_job_that_is_under_way_waits_for_it() -> None:
    gate = Gate()
    actor = gate.actor()
    first, second = begun(actor, request()), begun(actor, request())
    other = begun(actor, request(since_ms=1))
    assert first == second == other == Begun(1, request().parameters)
    assert actor.result(1, 0.0) is None
    gate.open.set()
    assert ended(actor, 1).report is not None
    assert gate.runs == 1
    assert gate.left.wait(30)


def test_a_failed_job_is_run_again_by_who_asks_again() -> None:
    gate = Gate()
    gate.open.set()
    actor = gate.actor()
    failed = ended(actor, begun(actor, request(since_ms=13)).ticket)
    assert failed == ScoreEnd(None, "lake: away")
    again = ended(actor, begun(actor, request()).ticket)
    assert again.report == ScoreReport("job", 0, request().until_ms)
