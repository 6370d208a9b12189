"""Rolling a split out beside the supervising loop: never two at once, and proposed when it is over."""

import threading
from collections.abc import Iterator

import pytest

from actors.split_roll_out import SplitRollOut
from ray_fraud.domain.split import RULES_ONLY, Split
from ray_fraud.stores.ledger.memory import Fault
from ray_fraud.stores.ledger.memory_registry import MemoryRegistry
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Share

PATIENCE_SECONDS = 30.0


class SlowServe:
    """A deployment that lasts until the test lets it end, well or not."""

    def __init__(self) -> None:
        self.begun: list[Split] = []
        self.most_at_once = 0
        self.failure: Exception | None = None
        self._at_once = 0
        self._lock = threading.Lock()
        self._may_end = threading.Semaphore(0)

    def deploy(self, split: Split) -> None:
        with self._lock:
            self.begun.append(split)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        # Less than the test's own limit: a caller that waits for this is to be seen, not to hang.
        ended = self._may_end.acquire(timeout=PATIENCE_SECONDS)
        with self._lock:
            self._at_once -= 1
        assert ended, "nobody let the deployment end"
        if self.failure is not None:
            raise self.failure

    def end_one(self) -> None:
        self._may_end.release()

    def end_all(self) -> None:
        self._may_end.release(1_000)


@pytest.fixture
def serve() -> Iterator[SlowServe]:
    slow = SlowServe()
    yield slow
    slow.end_all()


@pytest.fixture
def registry() -> MemoryRegistry:
    """One production model, which is all of the split."""
    registry = MemoryRegistry()
    registry.register(NewModel("one", "one.onnx", "d1", 0.9, {}))
    return registry


def promote(registry: MemoryRegistry, salt: str) -> Split:
    """Another split: the same model, another draw of the users."""
    return registry.set_split([Share(1, ModelStatus.PRODUCTION, 10_000)], salt=salt)


def test_whoever_looks_goes_on_while_serve_is_updated(registry: MemoryRegistry, serve: SlowServe) -> None:
    first = promote(registry, "a")
    roll_out = SplitRollOut(registry, serve.deploy)
    roll_out.look()
    for _ in range(3):
        assert roll_out.finished() is None
        roll_out.look()
    assert roll_out.under_way
    assert not roll_out.known, "owners must not start before the first split"
    assert roll_out.split == RULES_ONLY
    serve.end_one()
    assert roll_out.finished(PATIENCE_SECONDS) == first
    assert roll_out.known
    assert not roll_out.under_way
    assert roll_out.split == first
    assert serve.begun == [first]


def test_an_end_is_told_once_and_nothing_new_is_not_deployed(
    registry: MemoryRegistry, serve: SlowServe
) -> None:
    promote(registry, "a")
    roll_out = SplitRollOut(registry, serve.deploy)
    assert roll_out.finished() is None, "nothing was begun"
    serve.end_all()
    roll_out.look()
    assert roll_out.finished(PATIENCE_SECONDS) is not None
    roll_out.look()
    assert not roll_out.under_way
    assert roll_out.finished() is None


def test_a_change_meanwhile_is_deployed_next_and_never_beside(
    registry: MemoryRegistry, serve: SlowServe
) -> None:
    first = promote(registry, "a")
    roll_out = SplitRollOut(registry, serve.deploy)
    roll_out.look()
    promote(registry, "b")
    roll_out.look()
    newest = promote(registry, "c")
    roll_out.look()
    serve.end_one()
    assert roll_out.finished(PATIENCE_SECONDS) == first
    roll_out.look()
    assert roll_out.finished() is None, "proposed before it was deployed"
    assert roll_out.split == first
    serve.end_one()
    assert roll_out.finished(PATIENCE_SECONDS) == newest
    assert serve.begun == [first, newest]
    assert serve.most_at_once == 1


def test_what_broke_unexpectedly_is_told_and_tried_again(registry: MemoryRegistry, serve: SlowServe) -> None:
    first = promote(registry, "a")
    roll_out = SplitRollOut(registry, serve.deploy)
    serve.failure = ValueError("a bug")
    serve.end_one()
    roll_out.look()
    with pytest.raises(ValueError, match="a bug"):
        roll_out.finished(PATIENCE_SECONDS)
    assert not roll_out.known
    assert not roll_out.under_way
    serve.failure = None
    serve.end_one()
    roll_out.look()
    assert roll_out.finished(PATIENCE_SECONDS) == first


def test_a_registry_that_is_away_is_asked_again(registry: MemoryRegistry, serve: SlowServe) -> None:
    first = promote(registry, "a")
    registry.database.queue.append(Fault.FAIL_BEFORE)
    roll_out = SplitRollOut(registry, serve.deploy)
    roll_out.look()
    assert not roll_out.under_way
    serve.end_one()
    roll_out.look()
    assert roll_out.finished(PATIENCE_SECONDS) == first
