"""What the topics take at most, as their configuration says now.

Never: a limit that is older than `AGE`, or one guessed above what the client itself may send.
"""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from threading import Lock

from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.limits import LARGEST_BATCH_BYTES, MAX_RECORD_BYTES

log = logging.getLogger(__name__)

AGE = timedelta(minutes=1)
"""A limit that was raised is used after this time; one that was lowered shows by a refusal at once."""


class KafkaLimits:
    """Looks limits up with a client of its own, which lives for a moment: limits are needed rarely."""

    def __init__(self, connection: KafkaConnection, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._lock = Lock()
        self._known: dict[str, tuple[int, float]] = {}

    def largest_batch_bytes(self, topic: str, *, fresh: bool) -> int:
        """See `LogWriter.largest_batch_bytes`."""
        with self._lock:
            known = self._known.get(topic)
            if known is not None and not fresh and self._monotonic() - known[1] < AGE.total_seconds():
                return known[0]
            limit = min(self._look_up(topic), LARGEST_BATCH_BYTES)
            self._known[topic] = (limit, self._monotonic())
            return limit

    def _look_up(self, topic: str) -> int:
        try:
            with closing(KafkaLogAdmin(self._connection)) as admin:
                return admin.largest_batch_bytes(topic)
        except StoreRefused as error:
            log.warning(
                "kafka: limit of topic %r unknown, %d bytes assumed (allow DESCRIBE_CONFIGS on it): %s",
                topic,
                MAX_RECORD_BYTES,
                error,
            )
            return MAX_RECORD_BYTES
