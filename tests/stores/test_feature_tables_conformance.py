"""What every store of feature tables promises, and that a file's tables are the ones that went into it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.feature_tables import NO_TABLES, FeatureTables
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.feature_tables.cached import CachedFeatureTables
from ray_fraud.stores.feature_tables.encoding import TableFacts, decode_tables, encode_tables
from ray_fraud.stores.feature_tables.lake import FOLDER, LakeFeatureTables
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.memory import MemoryFeatureRefreshes, MemoryFeatureTables
from ray_fraud.stores.feature_tables.port import FeatureRefreshes, FeatureTableFiles, TablesMissing
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import local_folder
from tests.oracle.tables import plain_tables, product_tables

DRAWN = product_tables(plain_tables("some"))
FACTS = TableFacts(until_day=20_000, newest_verdict=17)
CONTENT = encode_tables(DRAWN, FACTS)


def lake(folder: Path) -> LakeFeatureTables:
    return LakeFeatureTables(*local_folder(folder))


MAKERS: dict[str, Callable[[Path], FeatureTableFiles]] = {
    "memory": lambda _: MemoryFeatureTables(),
    "lake": lambda path: lake(path / "lake"),
    "cached": lambda path: CachedFeatureTables(lake(path / "lake"), lake(path / "node")),
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
    far, near = MemoryFeatureTables(), lake(tmp_path)
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


def same(one: FeatureTables, other: FeatureTables) -> None:
    for a, b in ((one.merchants, other.merchants), (one.profiles, other.profiles)):
        for name in a.__dataclass_fields__:
            assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("tables", [DRAWN, NO_TABLES], ids=["drawn", "none"])
def test_tables_come_back_as_they_were(tables: FeatureTables) -> None:
    content = encode_tables(tables, FACTS)
    for form in (content, memoryview(content), np.frombuffer(content, np.uint8)):
        decoded = decode_tables(form)
        assert decoded.facts == FACTS
        same(decoded.tables, tables)


def test_numbers_are_views_of_the_content() -> None:
    shared = np.frombuffer(CONTENT, np.uint8)
    profiles = decode_tables(shared).tables.profiles
    for array in (profiles.user_ids, profiles.means, profiles.hours):
        assert np.shares_memory(array, shared)


@pytest.mark.parametrize("content", [b"", b"no arrow", CONTENT[:400], CONTENT[: len(CONTENT) // 2]])
def test_something_else_is_damaged(content: bytes) -> None:
    with pytest.raises(StoreDamaged, match="feature tables"):
        decode_tables(content)


def test_a_replay_reads_tables_when_it_meets_them() -> None:
    files = MemoryFeatureTables()
    digest = files.put(CONTENT)
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
