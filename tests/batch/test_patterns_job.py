"""A search over the lake: patterns become findings, each once, and their members are records of the log."""

import uuid
from functools import partial

import pyarrow as pa
import pytest

from batch.ingest.columns import rows_of
from batch.ingest.manifest import write_rows
from batch.patterns.config import PatternConfig
from batch.patterns.job import Memory, PatternReport, search
from batch.patterns.look import look_in_process
from batch.patterns.rows import PLACE, first_of_each, without_duplicates
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.findings.memory import MemoryFindings
from ray_fraud.stores.ledger.memory import Fault, MemoryDatabase
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from ray_fraud.stores.tables.port import Append, ReadRange
from tests.domain.samples import decoder, record, transaction

PARTITION = PartitionId("cluster", "topic-id", 0)
CONFIG = PatternConfig()


class Lake:
    """A table that grows by batches, and what was found in it."""

    def __init__(self) -> None:
        self.contents = TableContents()
        self.table = MemoryTransactions(self.contents)
        self.database = MemoryDatabase()
        self.store = MemoryFindings(self.database)
        self.memory = Memory()
        self.end = 0

    def add(self, *records: Record) -> None:
        numbered = [Record(self.end + n, r.timestamp_ms, r.key, r.value) for n, r in enumerate(records)]
        until = self.end + len(numbered)
        rows = rows_of(numbered, PARTITION, self.end, until, decoder(), DetectionSettings())
        files = [file for written in write_rows(self.table, rows) for file in written.files]
        read = ReadRange(PARTITION, "transactions", self.end, until, len(numbered), {}, 0)
        self.table.append(Append(uuid.uuid4().hex, [read], files))
        self.end = until

    def search(self, config: PatternConfig = CONFIG, fresh: int = 0) -> PatternReport:
        look_at = partial(look_in_process, self.table, config)
        return search(look_at, self.store, PARTITION.cluster_id, config, self.memory, fresh=fresh)


@pytest.fixture
def lake() -> Lake:
    made = Lake()
    made.add(
        *(
            record(
                0,
                transaction(
                    f"usual-{user}", user_id=user, amount=55.0, location=None, merchant_id=f"other-{user}"
                ),
            )
            for user in range(20, 60)
        )
    )
    return made


def ring(first: int, count: int) -> list[Record]:
    return [
        record(
            0,
            transaction(
                f"ring-{n}",
                user_id=1000 + n,
                amount=400.0 + n % 5,
                seconds=30.0 * n + 1.0,
                location=None,
                merchant_id="shop",
            ),
        )
        for n in range(first, first + count)
    ]


def test_a_quiet_lake_has_no_findings(lake: Lake) -> None:
    report = lake.search()
    assert 0.0 < report.look_seconds < report.seconds
    assert (report.rows, report.found, report.new) == (40, {}, {})


def test_an_empty_lake_has_no_findings() -> None:
    assert Lake().search().rows == 0


def test_a_ring_becomes_one_finding_whose_members_are_records(lake: Lake) -> None:
    lake.add(*ring(0, 16))
    report = lake.search()
    assert report.new["coordinated"] == 1
    found = next(known for known in lake.store.known(9) if known.rule == "coordinated")
    assert [(place.partition, place.offset) for place, _, _ in found.members] == [
        (0, 40 + n) for n in range(16)
    ]
    assert [user for _, _, user in found.members] == [1000 + n for n in range(16)]


def test_a_second_look_finds_nothing_new(lake: Lake) -> None:
    lake.add(*ring(0, 16))
    lake.search()
    again = lake.search()
    assert (again.new, again.grown) == ({}, 0)
    assert again.found["coordinated"] == 1


def test_a_ring_that_two_batches_share_is_one_finding(lake: Lake) -> None:
    lake.add(*ring(0, 15))
    lake.search()
    lake.add(*ring(15, 6))
    report = lake.search()
    assert (report.new, report.grown > 0) == ({}, True)
    rings = [known for known in lake.store.known(9) if known.rule == "coordinated"]
    assert [len(known.members) for known in rings] == [21]


def test_a_record_that_was_sent_twice_counts_once(lake: Lake) -> None:
    members = ring(0, 7)
    lake.add(*members, *members)
    report = lake.search()
    assert (report.duplicates, report.found) == (7, {})


def test_only_the_look_back_is_read(lake: Lake) -> None:
    lake.add(*ring(0, 16))
    lake.add(record(0, transaction("later", user_id=5, seconds=8 * 3600.0, location=None)))
    assert lake.search().rows == 1
    assert lake.search(PatternConfig(look_back_hours=9)).new["coordinated"] == 1


def test_more_rows_than_a_run_can_take_are_left_out_and_counted(lake: Lake) -> None:
    lake.add(*ring(0, 16))
    report = lake.search(PatternConfig(max_rows=40))
    assert (report.rows, report.left_out) == (56, 16)
    assert report.found["coordinated"] == 1


def test_rows_that_no_search_will_look_at_are_told(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    lake.add(*ring(0, 16))
    assert lake.search(PatternConfig(max_rows=40), fresh=40).unsearched == 0
    assert caplog.records[-1].levelname == "WARNING"
    assert lake.search(PatternConfig(max_rows=40), fresh=56).unsearched == 16
    assert "16 rows are never looked at" in caplog.text


def test_crowds_that_too_short_a_search_cannot_judge_are_told(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    lake.add(*ring(0, 16))
    report = lake.search(PatternConfig(max_rows=10))
    assert 0 < report.reach_minutes < 60
    assert "crowds in places are judged by 60" in caplog.text
    caplog.clear()
    assert lake.search().left_out == 0
    assert "crowds" not in caplog.text, "a young lake is no fault of the settings"


def spree(user: int) -> list[Record]:
    return [
        record(
            0,
            transaction(
                f"spree-{user}-{n}", user_id=user, amount=5.0, seconds=3600.0 + 4.0 * n, location=None
            ),
        )
        for n in range(15)
    ]


def test_users_without_a_new_row_are_left_out_until_a_whole_search_is_due(lake: Lake) -> None:
    config = PatternConfig(whole_every=3)
    lake.add(*spree(7))
    first = lake.search(config)
    assert (first.whole, first.new["small_amounts"]) == (True, 1)
    lake.add(*spree(8))
    second = lake.search(config)
    assert (second.whole, second.found["small_amounts"], second.new["small_amounts"]) == (False, 1, 1)
    third = lake.search(config)
    assert (third.whole, third.found.get("small_amounts")) == (False, None)
    fourth = lake.search(config)
    assert (fourth.whole, fourth.found["small_amounts"], fourth.new) == (True, 2, {})


def test_a_search_that_stored_nothing_is_no_search(lake: Lake) -> None:
    lake.add(*spree(7))
    lake.database.queue.append(Fault.FAIL_BEFORE)
    with pytest.raises(StoreError):
        lake.search()
    again = lake.search()
    assert (again.whole, again.new["small_amounts"]) == (True, 1)


def test_digests_that_only_begin_alike_are_different_and_equal_ones_are_found_among_them() -> None:
    digests = [b"a" * 8 + bytes(8), b"a" * 8 + b"b" * 8, b"c" * 16, b"a" * 8 + bytes(8), b"a" * 8 + b"b" * 8]
    for offset, others in ((0, digests), (3, [b"x" * 16, *digests, b"x" * 16]), (0, [*digests, b"short"])):
        rows = pa.table(
            {
                "topic_id": ["topic"] * len(others),
                "partition": pa.array([0] * len(others), pa.int32()),
                "offset": [*range(len(others))],
                "payload_digest": pa.array(others, pa.binary()),
            }
        )
        expected = [row for row, digest in enumerate(others) if digest not in others[:row]]
        assert first_of_each(rows).tolist() == expected
        part = rows.slice(offset)
        assert first_of_each(part).tolist() == [
            row for row, digest in enumerate(others[offset:]) if digest not in others[offset : offset + row]
        ]


def test_of_equal_payloads_the_first_record_stays(lake: Lake) -> None:
    one = record(0, transaction("twice"))
    lake.add(one, one)
    rows = lake.table.recent([*PLACE, "payload_digest"], 10**12)
    assert isinstance(rows, pa.Table)
    kept = without_duplicates(rows)["offset"].to_pylist()
    assert kept == list(range(41))
