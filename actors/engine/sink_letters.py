"""Dead letters of the sink: what stands in topic `fraud_alerts` and is no alert of ours.

They go to the dead-letter topic of the platform, told apart by their header `dlq.topic`.

Never: returning before the broker has them; giving one up because it is too large.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from actors.engine.publisher import DEAD_LETTER_LIMIT_BYTES
from ray_fraud.domain import metrics
from ray_fraud.domain.dead_letter import DlqValue, dlq_headers, dlq_value
from ray_fraud.domain.masking import mask_card_numbers
from ray_fraud.domain.rejection import DeadLetter
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.log.port import LogWriter, Pending
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

ACK_TIMEOUT = timedelta(seconds=10)
SMALLEST_LIMIT_BYTES = 1_024
"""Of the value of a letter that the broker found too large."""


class SinkLetters:
    """Sends the dead letters of one alert topic."""

    def __init__(self, writer: LogWriter, topics: Topics, meter: Meter) -> None:
        self._writer = writer
        self._topics = topics
        self._meter = meter

    def send(self, dead_letters: Sequence[DeadLetter], partition: int) -> None:
        """Returns when the dead-letter topic has all of them; repeating it sends them again.

        Raises:
            StoreUnavailable: not acknowledged in time.
            StoreRefused: the broker takes not even the smallest form.
        """
        pending = [(dead, self._send(dead, partition, DEAD_LETTER_LIMIT_BYTES)) for dead in dead_letters]
        for dead, one in pending:
            where = f"alert topic {self._topics.alerts!r} partition {partition} offset {dead.record.offset}"
            try:
                one.wait(ACK_TIMEOUT)
            except StoreRefused as error:
                logger.warning("%s: dead letter kept without its headers: %s", where, error)
                smaller = DeadLetter(
                    msgspec.structs.replace(dead.record, headers=(), key=None), dead.rejection
                )
                self._send(smaller, partition, SMALLEST_LIMIT_BYTES).wait(ACK_TIMEOUT)
            self._meter.count(metrics.DEAD_LETTERS, code=dead.rejection.code)
            logger.error("%s: dead letter: %s", where, dead.rejection.message)

    def _send(self, dead: DeadLetter, partition: int, limit_bytes: int) -> Pending:
        record = dead.record
        value = dlq_value(record.value, limit_bytes)
        if value.value is None:
            # Our client refuses to send a record without key and value.
            value = DlqValue(b"", (("dlq.value.null", b"true"),))
        headers = dlq_headers(dead, self._topics.alerts, partition) + value.headers
        return self._writer.send(
            self._topics.dead_letters,
            key=_masked(record.key),
            value=value.value,
            headers=tuple((name, _masked(content)) for name, content in headers),
        )


def _masked(content: bytes | None) -> bytes | None:
    return None if content is None else mask_card_numbers(content)
