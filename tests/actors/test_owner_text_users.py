"""An owner whose topic has users with text ids: claimed before they are folded, never two in one state.

Never: a server; the stores are those of the simulation.
"""

import time
from dataclasses import replace
from datetime import timedelta

import pytest

from actors.engine.owner import PartitionOwner
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.rejection import RejectionCode
from ray_fraud.domain.text_users import TextUsers
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.text_users.memory import MemoryTextUsers
from tests.corpus.poison import changed
from tests.domain.samples import NOW_S
from tests.simulation.world import FIRST, SETTINGS, World

KEY = b"the user key of the tests, no other"
NAMES = ["C1231006815", "C77", 17, "17", "C1231006815", "C9"]


class CountingRegister(MemoryTextUsers):
    """Counts the claims; down while it is told to be."""

    claims = 0
    down = False

    def claim(self, numbers: "dict[str, int]") -> dict[str, int | None]:  # type: ignore[override]
        if self.down:
            raise StoreUnavailable("memory", "told to be down")
        self.claims += 1
        return super().claim(numbers)


def log() -> list[Record]:
    return [
        Record(n, NOW_S * 1000, None, changed(user_id=name, timestamp=NOW_S, transaction_id=f"t-{n}"))
        for n, name in enumerate(NAMES)
    ]


def owner_of(register: MemoryTextUsers) -> PartitionOwner:
    world = World()
    world.send(log())
    users = TextUsers(KEY, must_be_claimed=True)
    ports = replace(world.ports(), decoder=Decoder(None, users=users), text_users=register)
    return PartitionOwner(ports, world.partition, "first", Desired(SETTINGS, FIRST), time.monotonic)


def test_all_new_users_of_a_poll_are_claimed_at_once_and_the_state_is_that_of_a_replay() -> None:
    register = CountingRegister()
    owner = owner_of(register)
    owner.reconcile()
    owner.observe(owner.read(100, timedelta()))
    assert register.claims == 1
    replayed = PartitionState(0, Decoder(None, users=TextUsers(KEY)))
    replayed.observe(log())
    assert owner.state.users == replayed.users
    assert len(replayed.users) == 4


def test_who_asks_for_anothers_number_is_a_dead_letter_here_and_in_a_replay() -> None:
    register = MemoryTextUsers()
    number = TextUsers(KEY).digest("C77")
    register.claim({"somebody else": number})
    owner = owner_of(register)
    owner.reconcile()
    batches = owner.observe(owner.read(100, timedelta()))
    letters = [letter.rejection for batch in batches for letter in batch.dead_letters]
    assert [letter.code for letter in letters] == [RejectionCode.USER_ID_TAKEN]
    assert number not in owner.state.users
    replayed = PartitionState(0, Decoder(None, users=TextUsers(KEY, taken=register.taken())))
    replayed.observe(log())
    assert owner.state.users == replayed.users


def test_while_the_register_is_away_nothing_is_folded_and_then_all_is() -> None:
    register = CountingRegister()
    register.down = True
    owner = owner_of(register)
    owner.reconcile()
    records = owner.read(100, timedelta())
    with pytest.raises(StoreUnavailable):
        owner.observe(records)
    assert not owner.state.users
    register.down = False
    owner.observe(records)
    assert len(owner.state.users) == 4
