"""The faults that a simulation injects into the ledger in memory."""

import pytest

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.ledger.memory import Fault, MemoryDatabase, MemoryLedger
from ray_fraud.stores.ledger.port import Ownership
from tests.stores.ledger_world import example_alert


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger(MemoryDatabase(now_ms=lambda: 17))


@pytest.fixture
def held(ledger: MemoryLedger, partition: PartitionId) -> Ownership:
    with ledger.take_over(partition) as turn:
        return turn.confirm(1, "owner", 0)


@pytest.mark.parametrize(("fault", "stored"), [(Fault.FAIL_BEFORE, 0), (Fault.FAIL_AFTER_COMMIT, 1)])
def test_a_failed_insert_did_nothing_or_everything(
    ledger: MemoryLedger, held: Ownership, fault: Fault, stored: int
) -> None:
    ledger.database.queue.append(fault)
    with pytest.raises(StoreUnavailable):
        ledger.insert_hot_alerts(held, [example_alert()])
    assert len(ledger.database.alerts) == stored
    assert ledger.insert_hot_alerts(held, [example_alert()]).inserted == 1 - stored


@pytest.mark.parametrize(("fault", "epoch"), [(Fault.FAIL_BEFORE, 0), (Fault.FAIL_AFTER_COMMIT, 1)])
def test_a_take_over_with_an_unknown_end_can_be_tried_again(
    ledger: MemoryLedger, partition: PartitionId, fault: Fault, epoch: int
) -> None:
    ledger.database.queue.extend([Fault.NONE, fault])
    with pytest.raises(StoreUnavailable), ledger.take_over(partition) as turn:
        turn.confirm(1, "owner", 0)
    with ledger.take_over(partition) as turn:
        assert turn.last_epoch == epoch
        turn.confirm(epoch + 1, "owner", 5)
    assert ledger.epochs(partition)[-1].taken_at_ms == 17


@pytest.mark.parametrize("fault", [Fault.FAIL_BEFORE, Fault.FAIL_AFTER_COMMIT])
def test_a_take_over_that_fails_at_its_start_leaves_no_lock(
    ledger: MemoryLedger, partition: PartitionId, fault: Fault
) -> None:
    ledger.database.queue.append(fault)
    with pytest.raises(StoreUnavailable), ledger.take_over(partition):
        pytest.fail("the take-over must not open")
    with ledger.take_over(partition) as turn:
        turn.confirm(1, "owner", 0)


def test_a_plan_chooses_faults_by_operation(partition: PartitionId) -> None:
    asked: list[str] = []

    def plan(operation: str) -> Fault:
        asked.append(operation)
        return Fault.FAIL_BEFORE if operation == "set_decided_offset" else Fault.NONE

    ledger = MemoryLedger(MemoryDatabase(faults=plan))
    with ledger.take_over(partition) as turn:
        held = turn.confirm(1, "owner", 0)
    with pytest.raises(StoreUnavailable):
        ledger.set_decided_offset(held, 1)
    assert ledger.decided_offset(partition) is None
    assert asked == ["take_over", "confirm", "set_decided_offset", "decided_offset"]
