"""Hold-outs: the same in memory and in a folder."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ray_fraud.domain.promotion import HoldOut
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.hold_outs.lake import LakeHoldOuts
from ray_fraud.stores.hold_outs.memory import MemoryHoldOuts
from ray_fraud.stores.hold_outs.port import HoldOuts
from ray_fraud.stores.lake import local_folder

ONE, OTHER = "a" * 64, "b" * 64


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> HoldOuts:
    return MemoryHoldOuts() if request.param == "memory" else LakeHoldOuts(*local_folder(tmp_path))


def hold_out(seed: int, rows: int = 50) -> HoldOut:
    random = np.random.default_rng(seed)
    return HoldOut(
        random.random(rows) < 0.2,
        random.integers(0, 2**62, rows),
        random.integers(20_000, 20_007, rows),
        random.random(rows),
        random.random(rows),
        begins=1_800_000_000.125,
        ends=1_800_604_800.5,
    )


def assert_same(found: HoldOut | None, expected: HoldOut) -> None:
    assert found is not None
    for name in ("labels", "cards", "days", "candidate", "production"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.begins, found.ends) == (expected.begins, expected.ends)
    assert found.labels.dtype == np.bool_


def test_a_pair_has_its_own_and_the_newest_counts(store: HoldOuts) -> None:
    assert store.load(ONE, OTHER) is None
    store.put(ONE, OTHER, hold_out(1))
    store.put(OTHER, ONE, hold_out(2))
    assert_same(store.load(ONE, OTHER), hold_out(1))
    store.put(ONE, OTHER, hold_out(3, rows=20))
    assert_same(store.load(ONE, OTHER), hold_out(3, rows=20))
    assert_same(store.load(OTHER, ONE), hold_out(2))


def test_a_name_that_is_no_digest_is_refused(store: HoldOuts) -> None:
    for name in ("", "../x", "a/b", "a" * 65):
        with pytest.raises(StoreRefused, match="is no digest"):
            store.put(name, ONE, hold_out(1))
        with pytest.raises(StoreRefused, match="is no digest"):
            store.load(ONE, name)


def test_a_damaged_file_is_refused_and_no_part_of_one_stays(tmp_path: Path) -> None:
    store = LakeHoldOuts(*local_folder(tmp_path))
    store.put(ONE, OTHER, hold_out(1))
    (file,) = (tmp_path / "hold_outs").rglob("*.*")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreRefused, match="damaged"):
        store.load(ONE, OTHER)
    store.put(ONE, OTHER, hold_out(1))
    assert_same(store.load(ONE, OTHER), hold_out(1))


def test_a_hold_out_of_a_release_that_judged_by_immature_rows_decides_nothing(tmp_path: Path) -> None:
    store = LakeHoldOuts(*local_folder(tmp_path))
    store.put(ONE, OTHER, hold_out(1))
    path = tmp_path / "hold_outs" / ONE / f"{OTHER}.parquet"
    table = pq.read_table(path)
    ((_, period),) = table.schema.metadata.items()
    pq.write_table(table.replace_schema_metadata({b"ray_fraud.hold_out_period": period}), path)
    assert store.load(ONE, OTHER) is None
