"""What every store of feature tables promises, and that a file's tables are the ones that went into it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.feature_tables import NO_TABLES, FeatureTables
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.feature_tables.cached import IN_USE, KEPT_COPIES, CachedFeatureTables
from ray_fraud.stores.feature_tables.encoding import (
    TableFacts,
    decode_profiles,
    decode_risks,
    encode_profiles,
    encode_risks,
)
from ray_fraud.stores.feature_tables.lake import FOLDER, LakeFeatureTables, NodeFeatureTables
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.memory import MemoryFeatureRefreshes, MemoryFeatureTables
from ray_fraud.stores.feature_tables.parts import TableReader, put_tables
from ray_fraud.stores.feature_tables.port import FeatureRefreshes, FeatureTableFiles, TablesMissing
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import local_folder
from tests.oracle.tables import plain_tables, product_tables

DRAWN = product_tables(plain_tables("some"))
FACTS = TableFacts(until_day=20_000, verdicts=17, as_of_ms=5)
CONTENT = encode_risks(DRAWN.merchants, DRAWN.users, FACTS)
PROFILES = encode_profiles(DRAWN.profiles)


def lake(folder: Path) -> LakeFeatureTables:
    return LakeFeatureTables(*local_folder(folder))


MAKERS: dict[str, Callable[[Path], FeatureTableFiles]] = {
    "memory": lambda _: MemoryFeatureTables(now=time.time),
    "lake": lambda path: lake(path / "lake"),
    "node": lambda path: NodeFeatureTables(path / "node"),
    "cached": lambda path: CachedFeatureTables(lake(path / "lake"), NodeFeatureTables(path / "node")),
}


@pytest.fixture(params=MAKERS)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FeatureTableFiles:
    return MAKERS[request.param](tmp_path)


def test_what_was_put_is_found_by_its_digest(files: FeatureTableFiles) -> None:
    digest = files.put(CONTENT)
    assert digest == files.put(CONTENT) == content_digest(CONTENT)
    assert files.load(digest) == CONTENT
    with pytest.raises(TablesMissing, match="0000"):
        files.load("0" * 64)


def test_what_is_there_is_listed_with_its_time_until_it_is_removed(files: FeatureTableFiles) -> None:
    assert files.digests() == {}
    files.remove("0" * 64)
    files.remove("../secret")
    first, second = files.put(CONTENT), files.put(b"second")
    listed = files.digests()
    assert listed.keys() == {first, second}
    assert all(abs(written - time.time()) < 60 for written in listed.values())
    files.remove(first)
    files.remove(first)
    assert files.digests() == {second: listed[second]}
    with pytest.raises(TablesMissing):
        files.load(first)
    assert files.load(second) == b"second"
    assert files.put(CONTENT) == first
    assert files.load(first) == CONTENT


def test_storing_again_makes_nothing_younger(files: FeatureTableFiles) -> None:
    digest = files.put(CONTENT)
    listed = files.digests()
    assert files.put(CONTENT) == digest
    assert files.digests() == listed


def test_other_files_of_the_folder_are_none_of_its_business(tmp_path: Path) -> None:
    files = lake(tmp_path)
    digest = files.put(CONTENT)
    for name in ("notes.arrow", f"{digest}.arrow.0011.part", "README"):
        (tmp_path / FOLDER / name).write_bytes(b"x")
    assert list(files.digests()) == [digest]


def test_a_damaged_file_is_refused_and_replaced_by_the_next_put(tmp_path: Path) -> None:
    files = lake(tmp_path)
    digest = files.put(CONTENT)
    (tmp_path / FOLDER / f"{digest}.arrow").write_bytes(CONTENT[:-1])
    with pytest.raises(StoreDamaged, match=digest):
        files.load(digest)
    files.put(CONTENT)
    assert files.load(digest) == CONTENT


def test_a_digest_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "secret.arrow").write_bytes(b"x")
    with pytest.raises(TablesMissing):
        lake(tmp_path).load("../secret")


def test_a_node_keeps_what_it_has_read(tmp_path: Path) -> None:
    far, near = MemoryFeatureTables(), NodeFeatureTables(tmp_path)
    cached = CachedFeatureTables(far, near)
    digest = far.put(CONTENT)
    assert cached.load(digest) == CONTENT
    far.contents.clear()
    assert cached.load(digest) == CONTENT
    (tmp_path / FOLDER / f"{digest}.arrow").write_bytes(b"damaged")
    with pytest.raises(TablesMissing):
        cached.load(digest)
    far.put(CONTENT)
    assert cached.load(digest) == near.load(digest) == CONTENT


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("kind", ["memory", "node"])
def test_a_node_keeps_the_copies_that_were_used_last(tmp_path: Path, kind: str) -> None:
    clock = Clock()
    far = MemoryFeatureTables()
    near = MemoryFeatureTables(now=clock) if kind == "memory" else TimedFolder(tmp_path, clock)
    cached = CachedFeatureTables(far, near, clock)
    first = cached.put(b"0")
    far.contents.clear()
    others = []
    for number in range(1, KEPT_COPIES + 4):
        clock.now += IN_USE.total_seconds() * 0.6
        others.append(cached.put(b"%d" % number))
        assert cached.load(first) == b"0"
    # Whatever was loaded a moment ago stays; of the others the last ones.
    assert set(near.digests()) == {first, *others[-(KEPT_COPIES - 1) :]}
    assert list(far.digests()) == others
    assert cached.load(others[0]) == b"1"


def test_a_recovery_that_reads_many_tables_keeps_all_of_them(tmp_path: Path) -> None:
    clock = Clock()
    far = MemoryFeatureTables()
    near = TimedFolder(tmp_path, clock)
    cached = CachedFeatureTables(far, near, clock)
    old = cached.put(b"of long ago")
    clock.now += 2 * IN_USE.total_seconds()
    needed = [far.put(b"%d" % number) for number in range(3 * KEPT_COPIES)]
    for digest in needed:
        clock.now += 1
        cached.load(digest)
    assert set(near.digests()) == set(needed)
    assert far.digests().keys() == {old, *needed}


class TimedFolder(NodeFeatureTables):
    """Copies in a folder, by a clock of the test."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder)
        self._tables = folder / FOLDER
        self._clock = clock

    def touch(self, digest: str) -> None:
        super().touch(digest)
        os.utime(self._tables / f"{digest}.arrow", (self._clock.now, self._clock.now))


def same(one: FeatureTables, other: FeatureTables) -> None:
    for a, b in ((one.merchants, other.merchants), (one.users, other.users), (one.profiles, other.profiles)):
        for name in a.__dataclass_fields__:
            assert_array_equal(getattr(a, name), getattr(b, name))


WEEKS = np.arange(7 * len(DRAWN.profiles.user_ids), dtype=np.int32).reshape(-1, 7)
OF_THIS_RELEASE = replace(DRAWN, profiles=replace(DRAWN.profiles, weekdays=WEEKS))
"""Earlier ones did not tell weekdays."""


@pytest.mark.parametrize("tables", [DRAWN, OF_THIS_RELEASE, NO_TABLES], ids=["drawn", "weekdays", "none"])
def test_tables_come_back_as_they_were(files: FeatureTableFiles, tables: FeatureTables) -> None:
    parts = put_tables(files, tables, FACTS)
    same(TableReader(files).load(parts.digest), tables)
    facts = TableReader(files).risks(parts.digest).facts
    assert msgspec.structs.replace(facts, profiles=None) == FACTS
    assert {content_digest(content) for content in parts.contents.values()} == set(parts.contents)


def test_contents_may_come_as_any_bytes() -> None:
    for form in (CONTENT, memoryview(CONTENT), np.frombuffer(CONTENT, np.uint8)):
        assert decode_risks(form).facts == FACTS


def test_a_verdict_writes_no_profiles_again() -> None:
    files = MemoryFeatureTables()
    first = put_tables(files, DRAWN, FACTS)
    written = len(files.contents)
    second = put_tables(files, DRAWN, msgspec.structs.replace(FACTS, verdicts=18))
    assert len(files.contents) == written + 1
    reader = TableReader(files)
    assert reader.load(first.digest).profiles is reader.load(second.digest).profiles


def test_the_named_profiles_have_to_be_there() -> None:
    files = MemoryFeatureTables()
    parts = put_tables(files, DRAWN, FACTS)
    (profiles,) = parts.contents.keys() - {parts.digest}
    del files.contents[profiles]
    with pytest.raises(TablesMissing, match=profiles):
        TableReader(files).load(parts.digest)


def test_numbers_are_views_of_the_content() -> None:
    shared = np.frombuffer(PROFILES, np.uint8)
    profiles = decode_profiles(shared)
    for array in (profiles.user_ids, profiles.means, profiles.hours):
        assert np.shares_memory(array, shared)


@pytest.mark.parametrize("content", [b"", b"no arrow", CONTENT[:400], CONTENT[: len(CONTENT) // 2]])
def test_something_else_is_damaged(content: bytes) -> None:
    with pytest.raises(StoreDamaged, match="feature tables"):
        decode_risks(content)
    with pytest.raises(StoreDamaged, match="feature tables"):
        decode_profiles(content)


def test_a_replay_reads_tables_when_it_meets_them() -> None:
    files = MemoryFeatureTables()
    digest = put_tables(files, DRAWN, FACTS).digest
    tables = TablesFromFiles(files)
    same(tables[digest], DRAWN)
    assert tables[digest] is tables[digest]
    with pytest.raises(TablesMissing):
        tables["0" * 64]


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def refreshes(request: pytest.FixtureRequest) -> Iterator[FeatureRefreshes]:
    made: FeatureRefreshes
    if request.param == "memory":
        made = MemoryFeatureRefreshes()
    else:
        made = PostgresFeatureRefreshes(request.getfixturevalue("migrated_database"))
    yield made
    made.close()


def test_the_last_published_tables_are_the_newest(refreshes: FeatureRefreshes) -> None:
    assert refreshes.newest() is None
    first, second = "1" * 64, "2" * 64
    for digest in (first, first, second, first):
        refreshes.publish(digest)
        assert refreshes.newest() == digest
