"""Dead letters on their way into the topic: cut to what it takes now, sent until it has them.

A letter that is refused as too large (the topic's limit was lowered) is cut to the limit looked up again, to
half of that and so on, and at last to the smallest letter.

Never: dropping a letter; a letter sent again that the topic has acknowledged.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta

from ray_fraud.domain.dead_letter import SMALLEST_LIMIT_BYTES, letter_of
from ray_fraud.domain.rejection import DeadLetter
from ray_fraud.stores.errors import RecordTooLarge, SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.log.port import LogWriter, Pending

logger = logging.getLogger(__name__)

ACK_TIMEOUT = timedelta(seconds=10)
NO_WAIT = timedelta()
CUTS = 4
"""Limits tried after a refusal, before the smallest one."""


class DeadLetterSender:
    """Sends the dead letters of one partition; `publish` may be repeated with the same letters."""

    def __init__(
        self, writer: LogWriter, topic: str, source: str, partition: int, ack_timeout: timedelta = ACK_TIMEOUT
    ) -> None:
        """`topic` takes the letters; the records were read in `partition` of topic `source`."""
        self._writer = writer
        self._source = source
        self._topic = topic
        self._partition = partition
        self._ack_timeout = ack_timeout
        self._acknowledged: set[int] = set()

    def publish(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Returns when the topic has acknowledged all of them.

        Raises:
            StoreUnavailable: it has not; call again, only what it does not have is sent then.
            StoreRefused: it takes one of them in no size.
        """
        left = [dead for dead in dead_letters if dead.record.offset not in self._acknowledged]
        if not left:
            return
        limit = self._writer.largest_batch_bytes(self._topic)
        sent = [(dead, self._send(dead, limit)) for dead in left]
        failure: StoreUnavailable | SlowDown | StoreRefused | None = None
        for dead, pending in sent:
            try:
                self._wait(dead, pending, limit, self._ack_timeout if failure is None else NO_WAIT)
                self._acknowledged.add(dead.record.offset)
            except (StoreUnavailable, SlowDown, StoreRefused) as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def forget(self) -> None:
        """The letters' batch has settled."""
        self._acknowledged.clear()

    def _send(self, dead: DeadLetter, limit_bytes: int) -> Pending:
        limit = max(limit_bytes, SMALLEST_LIMIT_BYTES)
        letter = letter_of(dead, self._source, self._partition, limit)
        return self._writer.send(self._topic, key=letter.key, value=letter.value, headers=letter.headers)

    def _wait(self, dead: DeadLetter, pending: Pending, limit: int, timeout: timedelta) -> None:
        try:
            pending.wait(timeout)
        except RecordTooLarge as error:
            logger.warning(
                "%s, partition %d: dead letter of offset %d is cut further: %s",
                self._source,
                self._partition,
                dead.record.offset,
                error,
            )
            self._cut_further(dead, limit)

    def _cut_further(self, dead: DeadLetter, refused: int) -> None:
        """Sends it again, smaller than the limit that it was refused with."""
        limit = self._writer.largest_batch_bytes(self._topic)
        if limit >= refused:
            limit = self._writer.largest_batch_bytes(self._topic, fresh=True)
        for _ in range(CUTS):
            try:
                self._send(dead, limit).wait(self._ack_timeout)
            except RecordTooLarge:
                limit = min(self._writer.largest_batch_bytes(self._topic, fresh=True), limit // 2)
            else:
                return
        self._send(dead, SMALLEST_LIMIT_BYTES).wait(self._ack_timeout)
