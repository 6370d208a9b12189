"""Atomic appends to the log in memory.

Never: a part of an append; an append of a writer that was replaced.
"""

from collections.abc import Sequence

from ray_fraud.stores.errors import Fenced, StoreRefused
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.log.memory import MemoryBroker
from ray_fraud.stores.log.port import Append


class MemoryAtomicWriter:
    """Each call is an I/O step of `faults`; FAIL_AFTER is a lost reply to an append that is there."""

    def __init__(self, broker: MemoryBroker, name: str, faults: FaultPlan | None = None) -> None:
        self._broker = broker
        self._name = name
        self._faults = FaultPlan() if faults is None else faults
        self._life = 0

    def take_over(self) -> None:
        def action() -> None:
            self._life = self._broker.writer_lives.get(self._name, 0) + 1
            self._broker.writer_lives[self._name] = self._life

        self._faults.step("kafka", "take_over", action)

    def append(self, records: Sequence[Append]) -> None:
        def begin() -> None:
            self._check()
            # What an aborted transaction leaves of itself are offsets without a record.
            for topic, partition in {(record.topic, record.partition) for record in records}:
                self._broker.add_hole(topic, partition)

        def commit() -> None:
            self._check()
            for record in records:
                log = self._broker.topic(record.topic).logs[record.partition]
                stamp = self._broker.now_ms() if record.timestamp_ms is None else record.timestamp_ms
                headers = tuple((name, value or b"") for name, value in record.headers)
                log.append(stamp, record.key, record.value, headers)

        self._faults.step("kafka", "begin", begin)
        self._faults.step("kafka", "commit", commit)

    def close(self) -> None:
        return

    def _check(self) -> None:
        newest = self._broker.writer_lives.get(self._name, 0)
        if not self._life:
            raise StoreRefused("kafka", f"writer {self._name!r} has not taken over")
        if newest != self._life:
            raise Fenced("kafka", self._life, newest)
