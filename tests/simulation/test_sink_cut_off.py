"""The sink beside a topic that elections cut off, in any order with restarts and failing stores.

Never: an owner that inserts: what the sink passes over, nobody stores.
"""

import random
from datetime import timedelta

import msgspec
import pytest

from actors.engine.sink import Sink
from actors.engine.sink_letters import SinkLetters
from ray_fraud.domain.alert import Alert
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import SlowDown, StoreUnavailable
from ray_fraud.stores.faults import Crashed, FaultPlan, RefusedByPlan
from ray_fraud.stores.ledger.memory import Fault, MemoryDatabase, MemoryLedger
from ray_fraud.stores.log.memory import MemoryBroker, MemoryLogReader
from ray_fraud.telemetry.meter import Meter
from tests.simulation.test_simulation import random_faults
from tests.stores.ledger_world import example_alert

TOPICS = Topics(partitions=1)
NO_WAIT = timedelta(0)
ACTIONS = {"write": 40, "step": 50, "restart": 8, "cut off": 4, "elect": 4, "foreign": 4}


class Run:
    """One topic and the sink; `seed` chooses what happens."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.broker = MemoryBroker()
        self.broker.admin().ensure_topics(TOPICS)
        self.log = self.broker.topic(TOPICS.alerts).logs[0]
        self.faults = FaultPlan(random_faults(seed, share=0.1))
        self.database = MemoryDatabase(faults=self._ledger_fault)
        self.sink = self._new()
        self.written = 0

    def _ledger_fault(self, _operation: str) -> Fault:
        return self.chance.choices(list(Fault), [18, 1, 1])[0]

    def _new(self) -> Sink:
        reader = self.broker.reader(TOPICS.alerts, self.broker.partition_id(TOPICS.alerts, 0), self.faults)
        meter = Meter("sink", "simulated")
        letters = SinkLetters(self.broker.writer(self.faults), TOPICS, meter)
        return Sink(MemoryLedger(self.database), reader, letters, meter)

    def act(self) -> None:
        match self.chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]:
            case "write":
                for _ in range(self.chance.randint(1, 8)):
                    self._append(msgspec.json.encode(example_alert(self.written)))
            case "foreign":
                self._append(b"no alert")
            case "cut off":
                self.broker.truncate(
                    TOPICS.alerts, 0, self.chance.randint(max(0, self.log.end - 12), self.log.end)
                )
            case "elect":
                self.broker.elect(TOPICS.alerts, 0)
            case "restart":
                self.sink = self._new()
            case _:
                self.step()

    def _append(self, value: bytes) -> None:
        self.written += 1
        headers = {"epoch": b"1", "partition": b"1", "topic_id": b"owners-topic"}
        self.log.append(0, b"7", value, tuple(headers.items()))

    def step(self) -> bool:
        """Whether it went well."""
        try:
            self.sink.step(NO_WAIT)
        except Crashed:
            self.sink = self._new()
            return False
        except (StoreUnavailable, SlowDown, RefusedByPlan):
            return False
        return True

    def finish(self) -> None:
        """Everything the topic holds is stored or a dead letter, and the sink is at its end."""
        self.faults = FaultPlan()
        self.database.faults = self.database.queue
        self.sink = self._new()
        for _ in range(20 + self.log.end):
            self.step()
        assert self.sink.next_offset == self.log.end
        held = [each.value or b"" for each in self.log.records if each.value != b"no alert"]
        alerts = {msgspec.json.decode(value, type=Alert).transaction_id for value in held}
        assert alerts <= {row.alert.transaction_id for row in self.database.alerts.values()}


def run(seed: int) -> Run:
    life = Run(seed)
    for _ in range(80):
        life.act()
    life.finish()
    return life


def test_nothing_that_the_topic_holds_is_passed_over() -> None:
    declared = 0
    for seed in range(60):
        life = run(seed)
        declared += len(life.database.gaps)
    assert declared > 20


def test_a_sink_without_leader_epochs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLogReader, "leader_epoch", lambda _: -1)

    def noticed(seed: int) -> bool:
        try:
            run(seed)
        except AssertionError:
            return True
        return False

    assert any(noticed(seed) for seed in range(60))
