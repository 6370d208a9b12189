"""The poison corpus through the real topics: each case once in the dead letters, its neighbours processed."""

import time
import uuid
from collections import defaultdict
from datetime import timedelta

from actors.build import partition_id
from actors.engine.audit import read_log
from ray_fraud.domain.masking import mask_card_numbers
from ray_fraud.domain.record import Record
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from ray_fraud.stores.log.port import Pending
from tests.actors.platform import Platform, eventually
from tests.corpus.poison import CARD_NUMBER, POISON, PoisonCase, changed

PARTITION = 1
PATIENCE = timedelta(seconds=30)
ALARM_RECORDS = 600
"""More than 5 % of the 10,000 records that the alarm looks at, whatever came before."""
LARGE_BYTES = 10_000
TOLD = {
    f"dlq.{name}"
    for name in ("topic", "partition", "offset", "timestamp", "app.version", "attempts", "correlation_id")
} | {f"dlq.error.{name}" for name in ("class", "code", "field", "message")}
ALARM = "fraud_detection_dead_letter_alarm"


def cases() -> list[PoisonCase]:
    """Every case once, and the small ones again until the alarm must be raised."""
    small = [case for case in POISON if len(case.value or b"") < LARGE_BYTES]
    return POISON + small * (ALARM_RECORDS // len(small) + 1)


def good() -> bytes:
    return changed(transaction_id=str(uuid.uuid4()), timestamp=time.time(), user_id=7_000_001)


def send(platform: Platform) -> tuple[dict[int, PoisonCase], int]:
    """Poison and good records in turn; the cases by their offset, and the number of good records."""
    connections = platform.config.connections
    writer = KafkaLogWriter(connections.kafka)
    sent: list[tuple[PoisonCase, Pending, Pending]] = []
    try:
        for case in cases():
            pending = [
                writer.send(
                    connections.topics.transactions,
                    key=b"7000001",
                    value=value,
                    headers=(("trace", case.name.encode()),),
                    partition=PARTITION,
                )
                for value in (case.value, good())
            ]
            sent.append((case, pending[0], pending[1]))
        offsets = {}
        for case, poison, neighbour in sent:
            neighbour.wait(PATIENCE)
            try:
                offsets[poison.wait(PATIENCE).offset] = case
            except StoreRefused:
                assert len(case.value or b"") > 1_000_000, case.name
    finally:
        writer.close()
    return offsets, len(sent)


def dead_letters(platform: Platform) -> dict[int, list[Record]]:
    """All dead letters of the partition by the offset of the record that they hold."""
    connections = platform.config.connections
    found: dict[int, list[Record]] = defaultdict(list)
    admin = KafkaLogAdmin(connections.kafka)
    try:
        topic = connections.topics.dead_letters
        for number in range(admin.partition_count(topic)):
            reader = KafkaLogReader(connections.kafka, topic, partition_id(admin, topic, number))
            try:
                for records in read_log(reader, *reader.bounds()):
                    for record in records:
                        headers = {name: value or b"" for name, value in record.headers}
                        if headers["dlq.partition"] == str(PARTITION).encode():
                            found[int(headers["dlq.offset"])].append(record)
            finally:
                reader.close()
    finally:
        admin.close()
    return found


def assert_kept(case: PoisonCase, dead: Record) -> None:
    """The original bytes but for card numbers, its own headers, and why it was refused."""
    headers = dict(dead.headers)
    assert headers.keys() >= TOLD | {"trace"}
    assert headers["trace"] == case.name.encode()
    assert headers["dlq.error.code"] == case.code.value.encode(), case.name
    assert headers["dlq.error.field"] == case.field.encode(), case.name
    assert dead.key == b"7000001"
    if "dlq.value.masked" in headers:
        assert case.value is not None
        assert dead.value == mask_card_numbers(case.value) != case.value
        assert len(dead.value) == len(case.value)
        assert CARD_NUMBER.encode() not in dead.value
    else:
        assert dead.value == case.value, case.name


def test_every_poison_is_dead_lettered_once_and_its_neighbours_processed(platform: Platform) -> None:
    assert len(POISON) >= 80
    before = platform.assert_exact()
    offsets, neighbours = send(platform)
    eventually(
        "the alarm is raised", lambda: platform.scrape().total(ALARM, partition=str(PARTITION)) == 1, 60
    )
    assert platform.status()[PARTITION]["dead_letter_alarm"]
    after = platform.assert_exact()
    assert after.dead_lettered - before.dead_lettered == len(offsets) > ALARM_RECORDS
    assert after.processed - before.processed == neighbours
    found = dead_letters(platform)
    for offset, case in offsets.items():
        assert len(found[offset]) == 1, case.name
        assert_kept(case, found[offset][0])
