"""An import that is killed, loses replies or meets another one, at any step: each row, each refusal once."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from batch.imports.column_map import ImportRefused
from batch.imports.job import Grouping, Import, ImportReport
from batch.imports.part import Judge, Refused
from batch.imports.rejected_file import RejectedFile
from batch.imports.run import FileState
from batch.imports.sources import FileFormat, open_source
from batch.ingest.plan import plan_ingest
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from ray_fraud.stores.tables.port import Append, ReadRange, TableMoved
from tests.batch.import_samples import PARTITION, WorkHere, as_json, write_lines
from tests.domain.samples import NOW_MS, NOW_S, decoder
from tests.stores.table_samples import rows as log_rows

T = TypeVar("T")

ROWS = 40
"""Every fourth is refused, every tenth line is blank; two commits of six parts and one more."""
CHUNK_ROWS, COMMIT_ROWS = 3, 18
AMOUNTS = (2, -1, 2, 2)


class FaultyFile:
    """The real side file; each call is a step of a plan."""

    def __init__(self, file: RejectedFile, plan: FaultPlan) -> None:
        self._file = file
        self._plan = plan

    def keep_below(self, position: int) -> None:
        self._plan.step("file", "keep below", lambda: self._file.keep_below(position))

    def add(self, refused: Iterable[Refused]) -> None:
        self._plan.step("file", "add", lambda: self._file.add(refused))

    def flush(self) -> None:
        self._plan.step("file", "flush", self._file.flush)


class World:
    """A file, a table and a side file; imports come and go."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            b"" if row % 10 == 9 else as_json(
                {"transaction_id": f"t{row}", "user_id": 7, "amount": AMOUNTS[row % 4], "timestamp": NOW_S}
            )
            for row in range(ROWS)
        ]  # fmt: skip
        self.file = write_lines(folder / "past.jsonl", lines)
        self.side = folder / "rejected.jsonl"
        self.contents = TableContents()

    def run(
        self,
        faults: FaultPlan | None = None,
        *,
        side: Path | None = None,
        mapping: dict[str, str] | None = None,
        between: Callable[[], object] = lambda: None,
    ) -> ImportReport:
        """One process that imports the file; all of its I/O follows one plan.

        `between` is called once all parts are made, before the last commit.
        """
        plan = faults or FaultPlan()
        table = MemoryTransactions(self.contents, plan)
        source = open_source(self.file, FileFormat.JSONL, mapping or {}, CHUNK_ROWS)
        judge = Judge(PARTITION, decoder(), DetectionSettings(), NOW_MS)

        work = WorkHere(source, judge, table, self.file.parent / "stage", between=between)
        file = RejectedFile(side or self.side, PARTITION.topic_id)
        try:
            return Import(
                PARTITION, mapping or {}, table, FaultyFile(file, plan), work,
                grouping=Grouping(COMMIT_ROWS, 1), now=lambda: 0.0, sleep=lambda _: None,
                check_file=FileState(self.file).check,
            ).run()  # fmt: skip
        finally:
            file.close()

    def stored(self) -> list[int]:
        return sorted(self.contents.rows()["offset"].to_pylist())

    def refused(self, side: Path | None = None) -> list[int]:
        path = side or self.side
        return [json.loads(line)["row"] for line in path.read_bytes().splitlines()] if path.exists() else []


ACCEPTED = [row for row in range(ROWS) if row % 4 != 1 and row % 10 != 9]
REFUSED = [row for row in range(ROWS) if row % 4 == 1 and row % 10 != 9]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Noting(FaultPlan):
    """No faults; the names of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def step(self, store: str, name: str, action: Callable[[], T]) -> T:
        self.names.append(name)
        return super().step(store, name, action)


def test_one_import_brings_every_accepted_row_and_tells_of_every_other(world: World) -> None:
    report = world.run()
    assert world.stored() == ACCEPTED
    assert world.refused() == REFUSED
    assert report == ImportReport(
        rows=len(ACCEPTED) + len(REFUSED),
        accepted=len(ACCEPTED),
        rejected={"refund": len(REFUSED)},
        files=report.files,
        commits=3,
        version=3,
    )


def test_the_same_file_again_imports_nothing_and_touches_nothing(world: World) -> None:
    world.run()
    side = world.side.read_bytes()
    assert world.run() == ImportReport(already_there=ROWS)
    assert world.stored() == ACCEPTED
    assert world.side.read_bytes() == side


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.OK])
def test_whatever_ends_an_import_at_any_step_each_row_and_each_refusal_is_there_once(
    tmp_path: Path, fault: Fault
) -> None:
    noting = Noting()
    World(tmp_path / "whole").run(noting)
    ended = 0
    for step in range(noting.steps):
        world = World(tmp_path / str(step))
        try:
            world.run(FaultPlan([*[Fault.OK] * step, fault]))
        except (Crashed, StoreError):
            ended += 1
        stored = world.stored()
        assert len(stored) == len(set(stored)), step
        world.run()
        assert world.stored() == ACCEPTED, step
        assert world.refused() == REFUSED, step
    assert ended > noting.steps // 2


def test_no_row_is_committed_before_its_refusals_are_on_disk(tmp_path: Path) -> None:
    noting = Noting()
    World(tmp_path / "whole").run(noting)
    names = noting.names
    assert [names[at - 1] for at, name in enumerate(names) if name == "commit"] == ["flush"] * 3
    world = World(tmp_path / "crashed")
    with suppress(Crashed):
        world.run(FaultPlan([*[Fault.OK] * names.index("commit"), Fault.CRASH_AFTER]))
    assert world.refused() == [row for row in REFUSED if row < COMMIT_ROWS]


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER, Fault.SLOW_DOWN])
def test_a_commit_that_fails_or_loses_its_reply_is_repeated(tmp_path: Path, fault: Fault) -> None:
    noting = Noting()
    World(tmp_path / "whole").run(noting)
    first_commit = noting.names.index("commit")
    world = World(tmp_path / "repeated")
    world.run(FaultPlan([*[Fault.OK] * first_commit, fault]))
    assert world.stored() == ACCEPTED
    assert world.refused() == REFUSED


def test_of_two_imports_at_once_one_wins_and_the_other_tells_of_nothing_it_did_not_commit(
    world: World, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    with pytest.raises(TableMoved):
        world.run(between=lambda: world.run(side=other))
    assert world.stored() == ACCEPTED
    assert world.refused() + world.refused(other) == REFUSED


def test_two_imports_cannot_share_a_side_file(world: World) -> None:
    with pytest.raises(ImportRefused, match="another import writes it now"):
        world.run(between=world.run)


def test_another_mapping_is_told_and_changes_nothing(world: World) -> None:
    world.run()
    with pytest.raises(ImportRefused, match="40 rows of this file are imported already, by `import`"):
        world.run(mapping={"merchant_id": "transaction_id"})
    assert world.stored() == ACCEPTED


def test_a_file_that_is_written_meanwhile_is_not_committed(world: World) -> None:
    with pytest.raises(ImportRefused, match="written while it was read"):
        world.run(between=lambda: world.file.write_bytes(b""))
    assert max(world.stored()) < 2 * COMMIT_ROWS


# --- the side file ------------------------------------------------------------------------------------------


def refusal(row: int, of: str = "a") -> Refused:
    return Refused(of, row, "not_json", "", "why", "{")


def rows_in(path: Path) -> list[tuple[str, int]]:
    return [(line["import_id"], line["row"]) for line in map(json.loads, path.read_bytes().splitlines())]


def test_lines_of_other_imports_stay_and_a_line_that_was_cut_short_goes(tmp_path: Path) -> None:
    path = tmp_path / "side.jsonl"
    for name in ("a", "b"):
        file = RejectedFile(path, name)
        file.add(refusal(row, name) for row in range(4))
        assert file.close()
    with path.open("ab") as opened:
        opened.write(b'{"import_id":"a","row":3,"code"')
    file = RejectedFile(path, "a")
    file.keep_below(2)
    file.add([refusal(2)])
    file.close()
    assert rows_in(path) == [("a", 0), ("a", 1), *(("b", row) for row in range(4)), ("a", 2)]
    assert [each.name for each in tmp_path.iterdir()] == ["side.jsonl"]


def test_without_refused_rows_there_is_no_file(tmp_path: Path) -> None:
    file = RejectedFile(tmp_path / "side.jsonl", "a")
    file.keep_below(0)
    file.flush()
    assert not file.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b'{"amount": 1}\n', b"no end of a line"])
def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(content)
    file = RejectedFile(path, "a")
    with pytest.raises(ImportRefused, match="something else than refused rows"):
        file.keep_below(0)
    file.close()
    assert path.read_bytes() == content


def test_a_side_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"nowhere/side\.jsonl: No such file"):
        RejectedFile(tmp_path / "nowhere" / "side.jsonl", "a")


# --- beside the log -----------------------------------------------------------------------------------------


def test_an_import_is_no_earlier_life_of_the_topic_and_moves_no_position_of_it(tmp_path: Path) -> None:
    table = DeltaTransactions(LakeLocation((tmp_path / "lake").as_uri()))
    table.create()
    life = PartitionId("cluster", "topic-id", 0)

    def from_the_log(begin: int, end: int) -> None:
        files = table.write_files(log_rows(life, begin, end))
        read = ReadRange(life, "transactions", begin, end, end - begin, {}, 0)
        table.append(Append(f"log {begin}", [read], files))

    def from_a_file() -> ImportReport:
        world = World(tmp_path)
        source = open_source(world.file, FileFormat.JSONL, {}, CHUNK_ROWS)
        judge = Judge(PARTITION, decoder(), DetectionSettings(), NOW_MS)
        file = RejectedFile(world.side, PARTITION.topic_id)
        try:
            work = WorkHere(source, judge, table, tmp_path / "stage")
            return Import(PARTITION, {}, table, file, work).run()
        finally:
            file.close()

    from_the_log(0, 3)
    assert from_a_file().accepted == len(ACCEPTED)
    view = table.view()
    assert sorted(position for _, _, position in view.last_positions()) == [3, ROWS]
    positions = {life: view.position(life) or 0}
    for topic in ("transactions", "import"):
        plan = plan_ingest(topic, {life: LogBounds(0, 5)}, positions, view.last_positions(), noticed_ms=1)
        assert plan.gaps == []
        assert [(read.from_offset, read.to_offset) for read in plan.ranges] == [(3, 5)]
    from_the_log(3, 5)
    again = from_a_file()
    assert (again.rows, again.already_there) == (0, ROWS)
    assert table.rows() == 5 + len(ACCEPTED)


def test_a_gap_is_declared_for_lives_of_the_topic_on_its_own_cluster_only() -> None:
    bounds = {PartitionId("cluster", "new life", number): LogBounds(0, 1) for number in range(3)}
    known = [("transactions", PARTITION, 7), ("transactions", PartitionId("cluster", "old life", 1), 9)]
    plan = plan_ingest("transactions", bounds, {}, known, noticed_ms=1)
    assert [gap.partition.topic_id for gap in plan.gaps] == ["old life"]
    assert len(plan.ranges) == 3
