"""What every store of cuts promises: run on the memory one and on a real server."""

from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from ray_fraud.domain.watermark import NO_VOTES
from ray_fraud.stores.cuts.encoding import decode_header, header_arguments
from ray_fraud.stores.cuts.memory import MemoryCutStore
from ray_fraud.stores.cuts.port import CutDamaged, CutHeader, CutOutcome, CutStore
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import Fenced, StoreRefused
from tests.stores.cut_samples import EVENTS, PARTITION, USERS, cut_of


@pytest.fixture(
    params=[
        "memory",
        pytest.param("redis", marks=pytest.mark.servers),
        pytest.param("cluster", marks=pytest.mark.servers),
    ]
)
def store(request: pytest.FixtureRequest) -> Iterator[CutStore]:
    if request.param == "memory":
        yield MemoryCutStore()
        return
    fixture = {"redis": "fresh_redis", "cluster": "fresh_redis_cluster"}[request.param]
    with closing(RedisCutStore(request.getfixturevalue(fixture))) as real:
        real.check_configuration()
        yield real


@pytest.fixture
def filled(store: CutStore) -> CutStore:
    """A store whose partition holds USERS at offset 100, written by epoch 1."""
    store.raise_epoch(PARTITION, 1, "owner-1")
    assert store.write_generation(PARTITION, cut_of(USERS), USERS.items()) is CutOutcome.WRITTEN
    return store


def header_of(store: CutStore) -> CutHeader:
    header = store.header(PARTITION)
    assert header is not None
    return header


def users_of(store: CutStore) -> dict[int, bytes]:
    return dict(store.read_users(PARTITION, header_of(store)))


def test_an_empty_store_has_no_cut_and_no_epoch(store: CutStore) -> None:
    assert store.epoch(PARTITION) == 0
    assert store.header(PARTITION) is None
    assert store.read_user(PARTITION, 1) is None


def test_the_first_epoch_finds_no_cut(store: CutStore) -> None:
    assert store.raise_epoch(PARTITION, 5, "owner-5") is None
    assert store.epoch(PARTITION) == 5
    assert store.header(PARTITION) is None


def test_without_a_cut_a_write_asks_for_a_generation(store: CutStore) -> None:
    store.raise_epoch(PARTITION, 1, "owner-1")
    assert store.write(PARTITION, cut_of(USERS, changed=USERS)) is CutOutcome.DIVERGED
    assert store.header(PARTITION) is None


def test_a_generation_is_read_back_whole(filled: CutStore) -> None:
    assert header_of(filled) == CutHeader(
        epoch=1,
        token="owner-1",
        writer_epoch=1,
        generation="1.0",
        next_offset=100,
        drained=False,
        watermark_ms=1_700_000_000_123,
        base_offset=7,
        events=EVENTS,
        user_count=len(USERS),
        digest=cut_of(USERS).digest,
        fold_version=3,
        votes=cut_of(USERS).votes,
    )
    assert users_of(filled) == USERS
    assert filled.read_user(PARTITION, 64) == USERS[64]
    assert filled.read_user(PARTITION, 128) is None


def test_a_write_changes_adds_and_forgets_users(filled: CutStore) -> None:
    after = {**USERS, 1: b"changed", 7: b""}
    del after[64]
    cut = cut_of(
        after,
        changed={1: b"changed", 7: b"", 64: None, 999: None},
        previous_offset=100,
        next_offset=130,
        drained=True,
    )
    assert filled.write(PARTITION, cut) is CutOutcome.WRITTEN
    assert users_of(filled) == after
    assert header_of(filled) == cut.header("1.0")


def test_a_write_may_leave_the_offset_where_it_is(filled: CutStore) -> None:
    cut = cut_of(USERS, previous_offset=100, next_offset=100, drained=True)
    assert filled.write(PARTITION, cut) is CutOutcome.WRITTEN
    assert header_of(filled).drained


def test_repeating_a_write_whose_reply_was_lost_changes_nothing(filled: CutStore) -> None:
    cut = cut_of(USERS, previous_offset=100, next_offset=130)
    assert filled.write(PARTITION, cut) is CutOutcome.WRITTEN
    assert filled.write(PARTITION, cut) is CutOutcome.ALREADY_WRITTEN
    assert header_of(filled).next_offset == 130


@pytest.mark.parametrize(("previous", "following"), [(99, 130), (101, 130), (0, 99), (130, 160)])
def test_a_write_that_follows_another_offset_diverges(
    filled: CutStore, previous: int, following: int
) -> None:
    after = {**USERS, 1: b"must not appear"}
    cut = cut_of(after, changed={1: after[1]}, previous_offset=previous, next_offset=following)
    assert filled.write(PARTITION, cut) is CutOutcome.DIVERGED
    assert users_of(filled) == USERS
    assert header_of(filled).next_offset == 100


def test_the_same_offset_of_another_writer_is_not_ours(filled: CutStore) -> None:
    filled.raise_epoch(PARTITION, 2, "owner-2")
    cut = cut_of(USERS, previous_offset=50, next_offset=100, epoch=2, token="owner-2")
    assert filled.write(PARTITION, cut) is CutOutcome.DIVERGED


def test_a_raised_epoch_fences_the_older_owner(filled: CutStore) -> None:
    before = header_of(filled)
    header = filled.raise_epoch(PARTITION, 2, "owner-2")
    assert header == msgspec.structs.replace(before, epoch=2, token="owner-2")
    assert header is not None
    assert header.writer_epoch == 1

    stale = cut_of({}, changed=dict.fromkeys(USERS), previous_offset=100, next_offset=130)
    assert filled.write(PARTITION, stale) is CutOutcome.FENCED
    assert filled.write_generation(PARTITION, cut_of({}), ()) is CutOutcome.FENCED
    assert users_of(filled) == USERS
    assert header_of(filled) == header


@pytest.mark.parametrize(("epoch", "token"), [(1, "owner-1"), (2, "owner-2"), (3, "another")])
def test_an_epoch_can_only_be_raised(store: CutStore, epoch: int, token: str) -> None:
    store.raise_epoch(PARTITION, 3, "owner-3")
    with pytest.raises(Fenced) as refusal:
        store.raise_epoch(PARTITION, epoch, token)
    assert (refusal.value.epoch, refusal.value.stored_epoch) == (epoch, 3)


def test_raising_the_same_epoch_again_is_a_lost_reply(filled: CutStore) -> None:
    first = filled.raise_epoch(PARTITION, 2, "owner-2")
    assert filled.raise_epoch(PARTITION, 2, "owner-2") == first


def test_the_same_epoch_under_another_token_is_fenced(filled: CutStore) -> None:
    cut = cut_of(USERS, previous_offset=100, next_offset=130, token="somebody-else")
    assert filled.write(PARTITION, cut) is CutOutcome.FENCED
    assert filled.write_generation(PARTITION, cut, USERS.items()) is CutOutcome.FENCED


def test_a_store_that_lost_our_epoch_diverges_and_a_generation_mends_it(filled: CutStore) -> None:
    cut = cut_of(USERS, previous_offset=100, next_offset=130, epoch=4, token="owner-4")
    assert filled.write(PARTITION, cut) is CutOutcome.DIVERGED
    assert filled.write_generation(PARTITION, cut, USERS.items()) is CutOutcome.WRITTEN
    assert header_of(filled) == cut.header("4.0")
    assert filled.epoch(PARTITION) == 4


def test_a_new_generation_replaces_all_users_and_writes_go_on_from_it(filled: CutStore) -> None:
    fewer = {3: b"three", 64: b"sixty-four"}
    replaced = cut_of(fewer, previous_offset=0, next_offset=50)
    assert filled.write_generation(PARTITION, replaced, fewer.items()) is CutOutcome.WRITTEN
    assert header_of(filled).generation == "1.1"
    assert users_of(filled) == fewer
    assert filled.read_user(PARTITION, 0) is None

    after = {**fewer, 0: b"zero"}
    following = cut_of(after, changed={0: b"zero"}, previous_offset=50, next_offset=60)
    assert filled.write(PARTITION, following) is CutOutcome.WRITTEN
    assert users_of(filled) == after


def test_a_generation_may_be_empty(filled: CutStore) -> None:
    assert filled.write_generation(PARTITION, cut_of({}), ()) is CutOutcome.WRITTEN
    assert users_of(filled) == {}


def test_a_generation_of_many_users(store: CutStore) -> None:
    many = {user_id: b"%d" % user_id for user_id in range(0, 5_000, 2)}
    assert store.write_generation(PARTITION, cut_of(many), many.items()) is CutOutcome.WRITTEN
    assert users_of(store) == many


def test_a_generation_whose_users_do_not_match_its_header_is_refused(filled: CutStore) -> None:
    with pytest.raises(StoreRefused, match="users found"):
        filled.write_generation(PARTITION, cut_of(USERS), list(USERS.items())[1:])
    assert users_of(filled) == USERS


def test_partitions_do_not_share_anything(filled: CutStore) -> None:
    other = PARTITION._replace(partition=3)
    assert filled.epoch(other) == 0
    filled.raise_epoch(other, 9, "owner-9")
    assert filled.epoch(PARTITION) == 1
    assert filled.header(other) is None
    recreated = PARTITION._replace(topic_id="the-topic-made-again")
    assert filled.header(recreated) is None


def test_a_header_of_other_users_is_damaged(filled: CutStore) -> None:
    header = header_of(filled)
    for wrong in (
        msgspec.structs.replace(header, user_count=header.user_count + 1),
        msgspec.structs.replace(header, digest=header.digest ^ 1),
        msgspec.structs.replace(header, generation="1.9"),
    ):
        with pytest.raises(CutDamaged):
            list(filled.read_users(PARTITION, wrong))


def test_a_header_from_before_there_were_votes_is_read() -> None:
    header = cut_of(USERS).header("1.0")
    fields = dict(zip(*[iter(header_arguments(header))] * 2, strict=True))
    assert decode_header(fields) == header
    del fields[b"votes"]
    assert decode_header(fields) == msgspec.structs.replace(header, votes=NO_VOTES)
