"""Where generated transactions and labels go: Kafka or a file.

Never: pacing, counting of frauds.
"""

from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from ray_fraud.stores.connections import Topics
from ray_fraud.stores.log.port import LogWriter, Pending

_UNACKNOWLEDGED_LIMIT = 10_000
_ACKNOWLEDGE_TIMEOUT = timedelta(seconds=120)


class Target(Protocol):
    def transaction(self, key: bytes, value: bytes, timestamp_ms: int) -> None: ...

    def label(self, key: bytes, value: bytes, timestamp_ms: int) -> None: ...

    def finish(self) -> None:
        """Block until everything is where it should be."""


class KafkaTarget:
    """Sends to the two topics; blocks while too much is unacknowledged, so memory stays bounded."""

    def __init__(self, writer: LogWriter, topics: Topics) -> None:
        self._writer = writer
        self._topics = topics
        self._pending: deque[Pending] = deque()

    def transaction(self, key: bytes, value: bytes, timestamp_ms: int) -> None:
        """Raises StoreUnavailable or StoreRefused, for this record or for an earlier one."""
        self._send(self._topics.input, key, value, timestamp_ms)

    def label(self, key: bytes, value: bytes, timestamp_ms: int) -> None:
        """Raises StoreUnavailable or StoreRefused, for this record or for an earlier one."""
        self._send(self._topics.labels, key, value, timestamp_ms)

    def finish(self) -> None:
        """Raises StoreUnavailable or StoreRefused if a record was not acknowledged."""
        self._writer.flush(_ACKNOWLEDGE_TIMEOUT)
        while self._pending:
            self._pending.popleft().wait(_ACKNOWLEDGE_TIMEOUT)

    def _send(self, topic: str, key: bytes, value: bytes, timestamp_ms: int) -> None:
        self._pending.append(self._writer.send(topic, key=key, value=value, timestamp_ms=timestamp_ms))
        if len(self._pending) > _UNACKNOWLEDGED_LIMIT:
            self._pending.popleft().wait(_ACKNOWLEDGE_TIMEOUT)


class FileTarget:
    """JSON lines: transactions in FILE.jsonl, labels beside it in FILE.labels.jsonl."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels_path = path.with_suffix(f".labels{path.suffix or '.jsonl'}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._transactions = path.open("wb")
        self._labels = self.labels_path.open("wb")

    def transaction(self, key: bytes, value: bytes, timestamp_ms: int) -> None:  # noqa: ARG002
        self._transactions.write(value + b"\n")

    def label(self, key: bytes, value: bytes, timestamp_ms: int) -> None:  # noqa: ARG002
        self._labels.write(value + b"\n")

    def finish(self) -> None:
        self._transactions.close()
        self._labels.close()
