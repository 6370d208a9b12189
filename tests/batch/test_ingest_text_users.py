"""Rows of users whose id is text: number and text in the table, and the register asked first.

Never: a server; log and register are in memory.
"""

import pyarrow as pa

from batch.ingest.columns import OUTCOME
from batch.ingest.manifest import write_rows
from batch.ingest.plan import Slice
from batch.ingest.read import read_slice
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.placement import partition_of_key
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.text_users import TextUsers
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.tables.memory import MemoryTransactions, TableContents
from ray_fraud.stores.text_users.memory import MemoryTextUsers
from tests.corpus.poison import changed
from tests.domain.samples import NOW_S

KEY = b"the user key of the tests, no other"
NAMES = ["C1231006815", 17, "C77", "17", "C1231006815"]


def ingested(register: MemoryTextUsers) -> pa.Table:
    broker = MemoryBroker()
    broker.create("transactions", 1)
    log = broker.topic("transactions").logs[0]
    for number, name in enumerate(NAMES):
        value = changed(user_id=name, timestamp=NOW_S, transaction_id=f"t-{number}")
        log.append(NOW_S * 1000, None, value, ())
    partition = broker.partition_id("transactions", 0)
    decoder = Decoder(None, users=TextUsers(KEY, must_be_claimed=True))
    piece = Slice(partition, 0, len(NAMES), ())
    reader = broker.reader("transactions", partition)
    return pa.concat_tables(
        read_slice(reader, piece, decoder, DetectionSettings(), register=register)
    ).sort_by("offset")


def test_the_table_has_number_and_text() -> None:
    rows = ingested(MemoryTextUsers())
    first, second = (TextUsers(KEY).digest(text) for text in ("C1231006815", "C77"))
    assert rows["user_text"].to_pylist() == ["C1231006815", None, "C77", None, "C1231006815"]
    assert rows["user_id"].to_pylist() == [first, 17, second, 17, first]


def test_who_asks_for_anothers_number_is_no_row() -> None:
    register = MemoryTextUsers()
    register.claim({"somebody else": TextUsers(KEY).digest("C77")})
    assert ingested(register)[OUTCOME].to_pylist() == [None, None, "user_id_taken", None, None]


def test_misrouted_rows_are_told_by_the_text() -> None:
    rows = ingested(MemoryTextUsers())
    partitions = 3
    for partition in range(partitions):
        there = rows.set_column(1, rows.schema.field(1), pa.array([partition] * len(rows), pa.int32()))
        (written,) = write_rows(MemoryTransactions(TableContents()), there, partitions)
        homes = [partition_of_key(str(name).encode(), partitions) for name in NAMES]
        assert written.misrouted == sum(home != partition for home in homes)
