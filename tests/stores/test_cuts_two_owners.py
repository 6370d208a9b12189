"""Two owners, lost replies, late retries and a server that forgets: no lost update and no stale write.

The model is the single state that should be stored; the machine compares it with the store after every step.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.cuts.memory import CutContents, MemoryCutStore
from ray_fraud.stores.cuts.port import Cut, CutOutcome, CutStore
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import Fenced
from ray_fraud.stores.redis_client import connect_redis
from tests.stores.cut_samples import cut_of

OWNERS = ("a", "b")
owner_names = st.sampled_from(OWNERS)
changes = st.dictionaries(
    st.sampled_from([0, 1, 2, 64, 128]), st.none() | st.binary(max_size=3), min_size=1, max_size=4
)


def reading(users: Mapping[int, bytes], crash: bool) -> Iterator[tuple[int, bytes]]:
    """The users, or half of them and the end of the process."""
    for number, user in enumerate(users.items()):
        if crash and 2 * number >= len(users):
            break
        yield user
    if crash:
        raise InterruptedError


@dataclass
class Owner:
    """What one process believes; `users` and `offset` run ahead of what it knows to be stored."""

    store: CutStore
    epoch: int = 0
    token: str = ""
    users: dict[int, bytes] = field(default_factory=dict)
    offset: int = 0
    written_offset: int = 0
    written_users: dict[int, bytes] = field(default_factory=dict)
    unwritten: dict[int, bytes | None] = field(default_factory=dict)

    def remember_written(self) -> None:
        self.written_offset, self.written_users, self.unwritten = self.offset, dict(self.users), {}


@dataclass
class Sent:
    """A cut as it was sent, with the whole state before and after it."""

    cut: Cut
    before: dict[int, bytes]
    after: dict[int, bytes]


class TwoOwners(RuleBasedStateMachine):
    """`stores` gives each owner a client; `forget` empties the server."""

    def __init__(
        self, stores: Callable[[], CutStore], forget: Callable[[PartitionId], None], case: int
    ) -> None:
        super().__init__()
        self.partition = PartitionId("cluster", f"case-{case}", 0)
        self.forget = forget
        self.owners = {name: Owner(stores()) for name in OWNERS}
        self.fence = (0, "")
        self.stored: tuple[int, dict[int, bytes]] | None = None
        self.next_epoch = 1
        self.sent: list[Sent] = []

    @rule(name=owner_names, lost_reply=st.booleans())
    def take_over(self, name: str, lost_reply: bool) -> None:
        owner = self.owners[name]
        epoch, token = self.next_epoch, f"{name}-{self.next_epoch}"
        self.next_epoch += 1
        if lost_reply:
            owner.store.raise_epoch(self.partition, epoch, token)
        header = owner.store.raise_epoch(self.partition, epoch, token)
        self.fence = (epoch, token)
        assert (header is None) == (self.stored is None)
        users = {} if header is None else dict(owner.store.read_users(self.partition, header))
        offset = 0 if header is None else header.next_offset
        self.owners[name] = Owner(owner.store, epoch, token, users, offset, offset, dict(users))

    @rule(name=owner_names)
    def take_over_with_an_old_epoch(self, name: str) -> None:
        owner = self.owners[name]
        if 0 < owner.epoch <= self.fence[0] and (owner.epoch, owner.token) != self.fence:
            with pytest.raises(Fenced):
                owner.store.raise_epoch(self.partition, owner.epoch, owner.token)

    @rule(name=owner_names, changed=changes, records=st.integers(1, 3))
    def observe(self, name: str, changed: dict[int, bytes | None], records: int) -> None:
        owner = self.owners[name]
        for user_id, state in changed.items():
            if state is None:
                owner.users.pop(user_id, None)
            else:
                owner.users[user_id] = state
        owner.unwritten = {**owner.unwritten, **changed}
        owner.offset += records

    @rule(name=owner_names, fate=st.sampled_from(["arrives", "reply lost", "never sent"]))
    def write(self, name: str, fate: str) -> None:
        owner = self.owners[name]
        if owner.epoch == 0 or owner.offset == owner.written_offset:
            return
        sent = Sent(self._cut(owner), owner.written_users, dict(owner.users))
        self.sent.append(sent)
        if fate == "never sent":
            return
        outcome = self._deliver(owner.store, sent)
        if fate == "arrives" and outcome in (CutOutcome.WRITTEN, CutOutcome.ALREADY_WRITTEN):
            owner.remember_written()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), name=owner_names)
    def an_old_cut_arrives_late(self, data: st.DataObject, name: str) -> None:
        self._deliver(self.owners[name].store, data.draw(st.sampled_from(self.sent[-6:])))

    @rule(name=owner_names, crash=st.booleans())
    def write_generation(self, name: str, crash: bool) -> None:
        owner = self.owners[name]
        if owner.epoch == 0:
            return
        cut = self._cut(owner)
        allowed = self._may_write(cut)
        try:
            outcome = owner.store.write_generation(self.partition, cut, reading(owner.users, crash))
        except InterruptedError:
            assert allowed
            self.fence = (cut.epoch, cut.token)
            return
        assert outcome is (CutOutcome.WRITTEN if allowed else CutOutcome.FENCED)
        if allowed:
            self.fence = (cut.epoch, cut.token)
            self.stored = (owner.offset, dict(owner.users))
            owner.remember_written()

    @rule()
    def the_server_forgets(self) -> None:
        self.forget(self.partition)
        self.fence, self.stored = (0, ""), None

    @invariant()
    def the_store_holds_exactly_the_model(self) -> None:
        for owner in self.owners.values():
            header = owner.store.header(self.partition)
            assert owner.store.epoch(self.partition) == self.fence[0]
            if self.stored is None:
                assert header is None
            else:
                assert header is not None
                assert (header.epoch, header.token) == self.fence
                users = dict(owner.store.read_users(self.partition, header))
                assert (header.next_offset, users) == self.stored

    def teardown(self) -> None:
        for owner in self.owners.values():
            owner.store.close()

    def _cut(self, owner: Owner) -> Cut:
        return cut_of(
            owner.users,
            changed=owner.unwritten,
            previous_offset=owner.written_offset,
            next_offset=owner.offset,
            epoch=owner.epoch,
            token=owner.token,
        )

    def _may_write(self, cut: Cut) -> bool:
        return self.fence[0] < cut.epoch or self.fence == (cut.epoch, cut.token)

    def _deliver(self, store: CutStore, sent: Sent) -> CutOutcome:
        """Send it and judge the answer: only the owner may write, and only on top of what it built upon."""
        outcome = store.write(self.partition, sent.cut)
        assert (outcome is CutOutcome.FENCED) == (not self._may_write(sent.cut))
        if outcome is CutOutcome.WRITTEN:
            assert self.stored == (sent.cut.previous_offset, sent.before), "a lost update"
            assert self.fence == (sent.cut.epoch, sent.cut.token), "a stale write"
            self.stored = (sent.cut.next_offset, sent.after)
        if outcome is CutOutcome.ALREADY_WRITTEN:
            assert self.stored == (sent.cut.next_offset, sent.after)
        return outcome


def run(stores: Callable[[], CutStore], forget: Callable[[PartitionId], None]) -> None:
    cases = count()
    run_state_machine_as_test(
        lambda: TwoOwners(stores, forget, next(cases)),  # type: ignore[arg-type] # a factory is documented
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_owners_on_the_memory_store() -> None:
    contents = CutContents()

    def forget(partition: PartitionId) -> None:
        contents.pop(partition, None)

    run(lambda: MemoryCutStore(contents), forget)


@pytest.mark.servers
def test_two_owners_on_a_real_server(fresh_redis: RedisConnection) -> None:
    with closing(connect_redis(fresh_redis)) as server:

        def forget(partition: PartitionId) -> None:
            for key in server.scan_iter(match=f"fraud:{{{partition}}}:*"):
                server.delete(key)

        run(lambda: RedisCutStore(fresh_redis), forget)
