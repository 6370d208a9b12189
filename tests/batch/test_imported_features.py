"""Features of imported records: the hot path's numbers, each once, whatever ends a run."""

from pathlib import Path

import numpy as np
import pytest

from batch.backtest.fold_part import Outcome
from batch.backtest.history import History, labelled_past
from batch.backtest.parts import run_here
from batch.imports.column_map import ImportRefused
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.faults import Crashed, Fault, FaultPlan
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows
from tests.batch.imported_world import FOLD, ImportedWorld
from tests.batch.labelled_world import Labelled, history_from, labelled_records

LABELLED = labelled_records(900, days=9)
EARLIER, LATER = LABELLED[:600], LABELLED[600:]


def shuffled(labelled: list[Labelled]) -> list[Labelled]:
    return [labelled[row] for row in np.random.default_rng(3).permutation(len(labelled)).tolist()]


@pytest.fixture(scope="module")
def history() -> History:
    return history_from(LABELLED)


@pytest.fixture(scope="module")
def outcome(history: History) -> Outcome:
    """What the hot path's fold gives for all of them, see test_backtest_fold."""
    return run_here(history, labelled_past(history), FOLD, lambda _done, _all: None)


def expected_bytes(history: History, outcome: Outcome) -> dict[str, bytes]:
    names = history.rows["transaction_id"].to_pylist()
    return {name: row.tobytes() for name, row in zip(names, outcome.features, strict=True)}


def found_bytes(world: ImportedWorld) -> dict[str, bytes]:
    return {name: row.tobytes() for name, row in world.by_transaction().items()}


def test_two_files_in_any_order_have_the_features_of_one_history(
    tmp_path: Path, history: History, outcome: Outcome
) -> None:
    world = ImportedWorld(tmp_path, LABELLED)
    world.imports("later.jsonl", shuffled(LATER))
    world.imports("earlier.jsonl", shuffled(EARLIER))
    report = world.run()
    assert (report.imports, report.rows, report.written, report.folded) == (2, 900, 900, 900)
    assert report.known_frauds == sum(each.fraud for each in LABELLED)
    assert found_bytes(world) == expected_bytes(history, outcome)
    assert world.features.read([])["feature_tables"].null_count == 900


def test_a_later_import_builds_on_earlier_ones_whose_features_stay(
    tmp_path: Path, history: History, outcome: Outcome
) -> None:
    world = ImportedWorld(tmp_path, LABELLED)
    world.imports("earlier.jsonl", EARLIER)
    first = world.run()
    before = found_bytes(world)
    world.imports("later.jsonl", LATER)
    second = world.run()
    assert (first.written, second.written, second.folded) == (600, 300, 900)
    found = found_bytes(world)
    assert found == expected_bytes(history, outcome)
    assert before == {name: found[name] for name in before}
    again = world.run()
    assert (again.imports, again.version) == (0, None)
    assert len(world.rows()) == 900


def test_an_import_that_went_on_has_its_new_rows_folded_behind_the_old_ones(
    tmp_path: Path, history: History, outcome: Outcome
) -> None:
    world = ImportedWorld(tmp_path, LABELLED)
    world.imports("past.jsonl", LABELLED, rows=500)
    assert world.run().written == 500
    world.imports("past.jsonl", LABELLED)
    report = world.run()
    assert (report.imports, report.rows, report.written) == (1, 400, 400)
    assert found_bytes(world) == expected_bytes(history, outcome)


def test_a_record_that_comes_twice_has_features_once(tmp_path: Path) -> None:
    world = ImportedWorld(tmp_path)
    world.imports("one.jsonl", LABELLED[:20])
    assert world.run().written == 20
    world.imports("two.jsonl", [*LABELLED[10:20], *LABELLED[20:25]])
    report = world.run()
    assert (report.rows, report.written, report.duplicates) == (15, 5, 10)
    assert len(world.rows()) == len(world.by_transaction()) == 25


def test_a_lake_without_imports_or_with_nothing_but_refused_rows_is_left_alone(tmp_path: Path) -> None:
    world = ImportedWorld(tmp_path)
    world.transactions.create()
    assert world.run().imports == 0
    refused = [each._replace(record=each.record.__class__(0, 0, None, b"{}")) for each in LABELLED[:3]]
    with pytest.raises(ImportRefused, match="no row was accepted"):
        world.imports("refused.jsonl", refused)
    assert world.run().imports == 0
    assert world.without_features(0, 2**50) == 0


def test_rows_without_features_are_counted_by_event_time(tmp_path: Path) -> None:
    world = ImportedWorld(tmp_path)
    world.imports("past.jsonl", LABELLED)
    world.features.create()
    at_ms = [each.record.timestamp_ms for each in LABELLED]
    assert world.without_features(at_ms[100], at_ms[200]) == 100
    assert world.without_features(0, at_ms[-1] + 1) == 900
    world.run()
    assert world.without_features(0, at_ms[-1] + 1) == 0
    period = PeriodRows(world.location, ML_FEATURES, at_ms[100], at_ms[200])
    assert period.count() == 100, "a scoring job finds them"


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.OK])
def test_whatever_ends_a_run_at_any_step_every_row_is_there_once(tmp_path: Path, fault: Fault) -> None:
    whole, steps = ImportedWorld(tmp_path / "whole"), FaultPlan()
    whole.imports("past.jsonl", LABELLED[:60])
    whole.run(steps, written_rows=25)
    expected = whole.rows()
    assert steps.steps >= 6, "create, position, three times files, commit"
    ended = 0
    for step in range(steps.steps):
        world = ImportedWorld(tmp_path / str(step))
        world.imports("past.jsonl", LABELLED[:60])
        try:
            world.run(FaultPlan([*[Fault.OK] * step, fault]), written_rows=25)
        except (Crashed, StoreError):
            ended += 1
            world.features.create()
            assert world.rows() in ([], expected), step
        world.run(written_rows=25)
        assert world.rows() == expected, step
    assert ended >= steps.steps - 1
