"""A scoring job that is killed, loses replies or meets itself, at any step: its rows are there once."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from batch.scoring.plan import Piece, ScoreRefused
from batch.scoring.score import PieceReport
from ray_fraud.stores.errors import StoreDamaged, StoreError
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from tests.batch.scoring_world import VERSIONS, ScoringWorld, folded_lake, request

T = TypeVar("T")

RECORDS = 240


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    folded_lake(folder, RECORDS)
    return folder


@pytest.fixture
def world(lake: Path, tmp_path: Path) -> ScoringWorld:
    return ScoringWorld(lake, tmp_path)


class Noting(FaultPlan):
    """No faults; the names of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        self.names.append(name)
        return super().step(store, name, action)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.OK])
def test_whatever_ends_a_job_at_any_step_its_rows_are_there_once(
    lake: Path, tmp_path: Path, fault: Fault
) -> None:
    wanted = request()
    whole, noting = ScoringWorld(lake, tmp_path / "whole"), Noting()
    whole.job(wanted, noting).run(wanted)
    expected = whole.places()
    assert {"create", "position", "open", "read", "write_files", "commit"} == set(noting.names)
    assert len(noting.names) > 8
    ended = 0
    for step in range(len(noting.names)):
        world = ScoringWorld(lake, tmp_path / str(step))
        try:
            world.job(wanted, FaultPlan([*[Fault.OK] * step, fault])).run(wanted)
        except (Crashed, StoreError):
            ended += 1
            world.table.create()
            assert world.places() in ([], expected), step
        world.job(wanted).run(wanted)
        assert world.places() == expected, step
    assert ended >= len(noting.names) - 1


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.SLOW_DOWN])
def test_a_commit_that_fails_or_loses_its_reply_is_repeated(world: ScoringWorld, fault: Fault) -> None:
    wanted, noting = request(), Noting()
    other = request("other")
    world.job(other, noting).run(other)
    before = noting.names.index("commit")
    report = world.job(wanted, FaultPlan([*[Fault.OK] * before, fault])).run(wanted)
    assert not report.finished_before
    assert len(world.places()) == report.rows * len(VERSIONS) > RECORDS


def test_a_finished_job_says_what_it_found_and_writes_nothing(world: ScoringWorld) -> None:
    wanted = request()
    first = world.job(wanted).run(wanted)
    pieces = world.scored_pieces
    again = world.job(wanted).run(wanted)
    assert world.scored_pieces == pieces
    assert again == msgspec.structs.replace(first, finished_before=True, seconds=again.seconds)
    assert first.version == again.version is not None
    assert len(world.places()) == first.rows * len(VERSIONS)


def test_a_finished_job_with_other_parameters_is_refused(world: ScoringWorld) -> None:
    wanted = request()
    report = world.job(wanted).run(wanted)
    others = [
        request(since_ms=1),
        request(until_ms=5),
        msgspec.structs.replace(wanted, versions=VERSIONS[:1]),
        msgspec.structs.replace(
            wanted, versions=(msgspec.structs.replace(VERSIONS[0], threshold=0.1), VERSIONS[1])
        ),
    ]
    for other in others:
        with pytest.raises(
            ScoreRefused, match=r"other parameters, \[events from 1970-01-01 00:00:00\+00:00 .*one:7"
        ):
            world.job(other).run(other)
    assert len(world.places()) == report.rows * len(VERSIONS)


def test_of_two_runs_of_a_job_at_once_one_commits(world: ScoringWorld) -> None:
    wanted = request()

    def overtake(progress: object) -> None:
        if not world.scored_pieces:
            world.scored_pieces += 1
            world.job(wanted).run(wanted)

    report = world.job(wanted, progress=overtake).run(wanted)
    assert report.finished_before
    assert len(world.places()) == report.rows * len(VERSIONS)


def test_two_jobs_have_rows_of_their_own(world: ScoringWorld) -> None:
    for name in ("one", "two"):
        world.job(request(name)).run(request(name))
    assert world.places("one") == world.places("two") != []


def without_first(reports: Iterable[PieceReport]) -> list[PieceReport]:
    return list(reports)[1:]


def first_twice(reports: Iterable[PieceReport]) -> list[PieceReport]:
    found = list(reports)
    return [found[0], *found]


def one_model_short(reports: Iterable[PieceReport]) -> list[PieceReport]:
    first, *rest = reports
    return [msgspec.structs.replace(first, models=first.models[:1]), *rest]


def without_files(reports: Iterable[PieceReport]) -> list[PieceReport]:
    first, *rest = reports
    return [msgspec.structs.replace(first, files=[]), *rest]


@pytest.mark.parametrize("spoil", [without_first, first_twice, one_model_short, without_files])
def test_rows_that_were_not_seen_once_are_not_committed(
    world: ScoringWorld, spoil: Callable[[Iterable[PieceReport]], list[PieceReport]]
) -> None:
    wanted = request()
    job = world.job(wanted)
    inner = job._score_all

    def spoiled(version: int, scored_at_ms: int, pieces: list[Piece]) -> list[PieceReport]:
        assert len(pieces) > 1
        return spoil(inner(version, scored_at_ms, pieces))

    job._score_all = spoiled
    with pytest.raises(StoreDamaged, match="nothing was committed"):
        job.run(wanted)
    assert world.places() == []
    assert world.table.position(wanted.position) is None


def test_a_period_without_rows_is_no_commit_and_may_be_asked_for_again(world: ScoringWorld) -> None:
    wanted = request(until_ms=1_000)
    report = world.job(wanted).run(wanted)
    assert (report.rows, report.models, report.version, report.finished_before) == (0, [], None, False)
    assert world.table.position(wanted.position) is None
