"""A lake on a real S3 server that loses replies, cuts requests or falls silent: each commit counts once.

What delta-rs does by itself is part of it: after a lost reply it repeats its conditional put, meets its own
commit, and takes it for somebody else's.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.lake_limits import LakeLimits
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append, TableMoved
from tests.s3_server import S3Server
from tests.stores.cut_samples import PARTITION, USERS
from tests.stores.http_proxy import Accident, FaultyProxy, faulty_proxy
from tests.stores.table_samples import FIRST, SECOND, gap, read_range, rows
from tests.stores.test_snapshots_conformance import header_of

COMMIT = r"/transactions/_delta_log/\d+\.json"
GAPS = r"/log_gaps/_delta_log/\d+\.json"
PART = r"\.parquet\?.*partNumber="
COMPLETE = r"\.parquet\?.*uploadId="
ALWAYS = 1_000
SECOND_LONG = timedelta(seconds=1)
SHORT = LakeLimits(
    connect=SECOND_LONG, silence=SECOND_LONG, attempts=2, request=SECOND_LONG, retry=SECOND_LONG
)


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.port) as running:
        yield running


class Lake:
    """A lake that is reached through the proxy, and directly to look what it holds."""

    def __init__(self, server: S3Server, proxy: FaultyProxy) -> None:
        prefix = uuid.uuid4().hex
        self.through: LakeLocation = server.lake(prefix, proxy.port)
        self.table = DeltaTransactions(self.through, SHORT)
        self._direct = DeltaTransactions(server.lake(prefix))
        self._direct.create()

    def files_and_commit(self, partition: PartitionId = FIRST) -> Append:
        """Three rows, written and not committed."""
        files = self.table.write_files(rows(partition, 0, 3))
        return Append(uuid.uuid4().hex, [read_range(partition, 0, 3)], files)

    def stored(self) -> tuple[int, int]:
        """Commits since the table was made, and rows."""
        return self._direct.view().version, self._direct.recent(["offset"], 1).num_rows

    def gaps(self) -> int:
        return len(self._direct.gaps())


@pytest.fixture
def lake(s3_server: S3Server, proxy: FaultyProxy) -> Lake:
    proxy.pass_all()
    return Lake(s3_server, proxy)


@pytest.mark.parametrize("count", [1, 3])
def test_a_commit_whose_reply_is_lost_is_found_and_counts_once(
    lake: Lake, proxy: FaultyProxy, count: int
) -> None:
    wanted = lake.files_and_commit()
    proxy.next(Accident.REPLY_LOST, "PUT", COMMIT, count=count)
    assert lake.table.append(wanted) == 1
    assert proxy.pass_all() == count
    assert lake.stored() == (1, 3)


@pytest.mark.parametrize("accident", [Accident.REPLY_LOST, Accident.CUT, Accident.SILENCE])
def test_a_commit_that_never_gets_through_is_found_or_made_by_its_repetition(
    lake: Lake, proxy: FaultyProxy, accident: Accident
) -> None:
    """As an ingest does it: what is unavailable is repeated."""
    wanted = lake.files_and_commit()
    proxy.next(accident, "PUT", COMMIT, count=ALWAYS)
    try:
        lake.table.append(wanted)
    except StoreUnavailable:
        assert lake.stored() == (0, 0)
    assert proxy.pass_all() >= 1
    assert lake.table.append(wanted) == 1
    assert lake.stored() == (1, 3)


def test_a_commit_whose_reply_is_lost_is_not_mistaken_for_another_ones(
    lake: Lake, proxy: FaultyProxy
) -> None:
    """The position moved, and this time it was somebody else."""
    ours, theirs = lake.files_and_commit(), lake.files_and_commit()
    lake.table.append(theirs)
    proxy.next(Accident.REPLY_LOST, "PUT", COMMIT)
    with pytest.raises(TableMoved):
        lake.table.append(ours)
    assert lake.stored() == (1, 3)


def test_lost_replies_do_not_hinder_another_partition(lake: Lake, proxy: FaultyProxy) -> None:
    first, second = lake.files_and_commit(), lake.files_and_commit(SECOND)
    proxy.next(Accident.REPLY_LOST, "PUT", COMMIT, count=2)
    lake.table.append(first)
    lake.table.append(second)
    assert proxy.pass_all() == 2
    assert lake.stored() == (2, 6)


@pytest.mark.parametrize("accident", [Accident.REPLY_LOST, Accident.CUT])
@pytest.mark.parametrize(("method", "request_of_file"), [("PUT", PART), ("POST", COMPLETE)])
def test_a_data_file_that_stumbles_once_is_written(
    lake: Lake, proxy: FaultyProxy, accident: Accident, method: str, request_of_file: str
) -> None:
    proxy.next(accident, method, request_of_file)
    wanted = lake.files_and_commit()
    assert proxy.pass_all() == 1
    lake.table.append(wanted)
    assert lake.stored() == (1, 3)


@pytest.mark.parametrize("accident", [Accident.CUT, Accident.SILENCE])
def test_a_data_file_that_does_not_get_through_leaves_no_row_and_may_be_repeated(
    lake: Lake, proxy: FaultyProxy, accident: Accident
) -> None:
    proxy.next(accident, "PUT", PART, count=ALWAYS)
    with pytest.raises(StoreUnavailable, match="write data files"):
        lake.files_and_commit()
    assert proxy.pass_all() > 1
    assert lake.stored() == (0, 0)
    lake.table.append(lake.files_and_commit())
    assert lake.stored() == (1, 3)


def test_a_gap_whose_reply_is_lost_is_told_as_new(lake: Lake, proxy: FaultyProxy) -> None:
    """Else it would be in the table, and in nobody's report."""
    proxy.next(Accident.REPLY_LOST, "PUT", GAPS)
    assert lake.table.record_gaps([gap(FIRST, 5, 9)]) == [gap(FIRST, 5, 9)]
    assert proxy.pass_all() == 1
    assert lake.table.record_gaps([gap(FIRST, 5, 9)]) == []
    assert lake.gaps() == 1


def test_a_snapshot_that_breaks_off_is_none_and_may_be_written_again(lake: Lake, proxy: FaultyProxy) -> None:
    store = LakeSnapshotStore(*lake_filesystem(lake.through, SHORT))
    proxy.next(Accident.CUT, "PUT", PART, count=ALWAYS)
    with pytest.raises(StoreUnavailable):
        store.write(PARTITION, header_of(USERS), USERS.items())
    assert proxy.pass_all() > 1
    assert store.newest_valid(PARTITION, lambda _: True) is None
    store.write(PARTITION, header_of(USERS), USERS.items())
    found = store.newest_valid(PARTITION, lambda _: True)
    assert found is not None
    assert dict(store.read_users(found)) == USERS
