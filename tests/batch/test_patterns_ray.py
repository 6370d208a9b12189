"""A look by a real Ray Data at a real lake finds what a look in one process finds; what fails stores nothing.

Never: the lowest priority (see the fixture).
"""

import os
import random
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
import ray
import tenacity
from ray._private.internal_api import memory_summary

from batch import ray_data
from batch.patterns.config import PatternConfig
from batch.patterns.dataset import look_by_ray
from batch.patterns.job import Memory, patterns_of, search
from batch.patterns.look import Look, look_in_process
from batch.ray_data import Blocks, answers_of, blocks_of, exchanged
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError, StoreUnavailable
from ray_fraud.stores.findings.memory import MemoryFindings
from ray_fraud.stores.findings.port import Pattern
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.tables.delta import DeltaTransactions
from tests.batch.pattern_rows import EAGER, Tx, append_to_lake, profiles, rows_of_transactions

CONFIG = PatternConfig(settings=EAGER)
ROWS = 600


def transactions(seed: int, count: int = ROWS) -> list[Tx]:
    rng = random.Random(seed)
    return [
        Tx(
            rng.randint(1, 40),
            rng.randint(0, 8 * 3600) // 20 * 20,
            rng.choice([5.0, 5.2, 40.0, 41.0, 900.0]),
            rng.choice([None, "a", "b", "c"]),
            rng.choice([None, "x", "y", "z"]),
            rng.choice([None, 0, 1, 2]),
            rng.choice([None, None, None, None, "one"]),
        )
        for _ in range(count)
    ]


@pytest.fixture
def lake(tmp_path: Path) -> LakeLocation:
    location = LakeLocation(tmp_path.as_uri())
    append_to_lake(location, rows_of_transactions(transactions(1)), commits=5)
    return location


def patterns(look: Look) -> list[Pattern]:
    return patterns_of(look.findings, look.members, "cluster")


def figures(look: Look) -> tuple[object, ...]:
    return look.rows, look.left_out, look.duplicates, look.seen, look.reach_ms


@pytest.mark.cluster
@pytest.mark.timeout(240, func_only=True)
def test_ray_data_finds_what_one_process_finds(lake: LakeLocation, local_ray: None) -> None:
    table = DeltaTransactions(lake)
    first = look_in_process(table, CONFIG, profiles=profiles)
    # What comes later, so that only some users are looked at again.
    later = [Tx(user, 8 * 3600 + user * 20, 5.0, "a", place=0) for user in range(1, 9)]
    append_to_lake(lake, rows_of_transactions(later, ROWS), commits=1)
    everything = look_in_process(table, CONFIG, profiles=profiles)
    assert everything.duplicates > 0
    rules = {pattern.rule.value for pattern in patterns(everything)}
    assert rules >= {"coordinated", "robot", "burst", "unusual_hours"}
    cases = (
        (CONFIG, None),
        (msgspec.structs.replace(CONFIG, shard_rows=90), None),
        (msgspec.structs.replace(CONFIG, shard_rows=150, max_rows=333), None),
        (msgspec.structs.replace(CONFIG, max_rows=333), None),
        (msgspec.structs.replace(CONFIG, shard_rows=150), first.seen),
    )
    for config, since in cases:
        expected = look_in_process(table, config, since, profiles=profiles)
        look = look_by_ray(lake, config, since, profiles=profiles)
        assert figures(look) == figures(expected)
        assert patterns(look) == patterns(expected)
    assert len(patterns(look)) < len(patterns(everything))


@pytest.mark.cluster
@pytest.mark.timeout(240, func_only=True)
def test_a_search_leaves_nothing_in_the_object_store(tmp_path: Path, local_ray: None) -> None:
    """A batch actor searches for months."""
    location = LakeLocation(tmp_path.as_uri())
    append_to_lake(location, rows_of_transactions(transactions(2, 60_000)), commits=2)
    config = PatternConfig(shard_rows=20_000)
    for _ in range(2):
        assert look_by_ray(location, config).rows > config.shard_rows
    # What is referred to no longer goes a little later.
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda mebibytes: mebibytes >= 2),
        stop=tenacity.stop_after_delay(30),
        wait=tenacity.wait_fixed(0.2),
    )(stored_mebibytes)


def stored_mebibytes() -> int:
    """By Ray's own account; the rows of one search take 4 and, by user, 3."""
    address = ray.get_runtime_context().gcs_address
    summary = memory_summary(address, stats_only=True)  # type: ignore[no-untyped-call]
    (size,) = re.findall(r"Plasma memory usage (\d+) MiB", summary)
    return int(size)


@pytest.mark.cluster
@pytest.mark.timeout(240, func_only=True)
def test_what_fails_stores_nothing_and_is_looked_at_again(
    lake: LakeLocation, tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, memory = MemoryFindings(MemoryDatabase()), Memory()
    look_at = partial(look_by_ray, lake, CONFIG)
    file = next(tmp_path.glob("transactions/event_date=*/*.parquet"))
    away = file.rename(tmp_path / "away")
    with pytest.raises(StoreError):
        search(look_at, store, "cluster", CONFIG, memory)
    assert store.known(9) == []
    assert memory.since(CONFIG) is None
    away.rename(file)
    report = search(look_at, store, "cluster", CONFIG, memory)
    assert (report.whole, report.rows > 0, bool(report.new)) == (True, True, True)
    again = search(look_at, store, "cluster", CONFIG, memory)
    assert (again.whole, again.new, again.grown) == (False, {}, 0)

    # Whoever dies is replaced; who always dies ends the search. Each death costs the start of a process.
    monkeypatch.setattr(ray_data, "RETRIES", 1)
    assert sorted(answers_of(partial(_dies_once, mark=tmp_path / "died"), [1, 2], 2)) == [b"1", b"2"]
    assert (tmp_path / "died").exists()
    with pytest.raises(StoreUnavailable, match="a task was lost"):
        blocks_of(_dies, [1], 1)
    with pytest.raises(StoreUnavailable, match="a task was lost"):
        exchanged(_dies_with, 1, Blocks([], 0), 1)


def _dies_once(piece: int, mark: Path) -> bytes:
    if piece == 1 and not mark.exists():
        mark.touch()
        os._exit(1)
    return str(piece).encode()


def _dies(_: int) -> pa.Table:
    os._exit(1)


def _dies_with(_: int, __: Sequence[pa.Table]) -> pa.Table:
    os._exit(1)


def test_an_empty_lake_gives_an_empty_look(tmp_path: Path) -> None:
    location = LakeLocation(tmp_path.as_uri())
    DeltaTransactions(location).create()
    look = look_by_ray(location, CONFIG)
    assert (look.rows, look.findings) == (0, [])
