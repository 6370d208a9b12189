"""Cuts carry the control events since their base, each of them once."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from ray_fraud.domain.timeline import ControlEvent, features_event
from ray_fraud.stores.connections import RedisConnection
from ray_fraud.stores.cuts.encoding import decode_header, header_arguments
from ray_fraud.stores.cuts.memory import MemoryCutStore
from ray_fraud.stores.cuts.port import Cut, CutDamaged, CutOutcome, CutStore
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from tests.stores.cut_samples import EVENTS, PARTITION, USERS, cut_of


def refresh(seq: int) -> ControlEvent:
    return features_event(seq, seq * 10, f"{seq:064x}")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
def cuts(request: pytest.FixtureRequest) -> Iterator[CutStore]:
    if request.param == "memory":
        yield MemoryCutStore()
        return
    connection: RedisConnection = request.getfixturevalue("fresh_redis")
    store = RedisCutStore(connection)
    store.check_configuration()
    yield store
    store.close()


def written(cuts: CutStore, *steps: Cut) -> tuple[int, list[int]]:
    """Number of the base's last event, and those in the header after a generation and further cuts."""
    first, *others = steps
    assert cuts.write_generation(PARTITION, first, USERS.items()) is CutOutcome.WRITTEN
    for cut in others:
        assert cuts.write(PARTITION, cut) is CutOutcome.WRITTEN
    header = cuts.header(PARTITION)
    assert header is not None
    assert header.last_seq == (header.events[-1].seq if header.events else header.base_seq)
    return header.base_seq, [event.seq for event in header.events]


def cut(end: int, events: tuple[ControlEvent, ...], base_seq: int, last_seq: int) -> Cut:
    made = cut_of(USERS, previous_offset=end - 10, next_offset=end)
    return replace(made, events=events, base_seq=base_seq, last_seq=last_seq)


def test_a_cut_without_new_events_keeps_those_before(cuts: CutStore) -> None:
    steps = (cut(100, EVENTS, 0, 2), cut(110, (), 0, 2), cut(120, (refresh(3),), 0, 3), cut(130, (), 0, 3))
    assert written(cuts, *steps) == (0, [1, 2, 3])


def test_what_a_new_base_has_is_taken_out(cuts: CutStore) -> None:
    steps = (cut(100, (*EVENTS, refresh(3)), 0, 3), cut(110, (refresh(4),), 2, 4), cut(120, (), 4, 4))
    assert written(cuts, *steps[:2]) == (2, [3, 4])
    assert cuts.write(PARTITION, steps[2]) is CutOutcome.WRITTEN
    header = cuts.header(PARTITION)
    assert header is not None
    assert (header.base_seq, header.events) == (4, ())


def test_more_events_than_one_call_of_redis_takes(cuts: CutStore) -> None:
    events = tuple(refresh(seq) for seq in range(1, 9_001))
    assert written(cuts, cut(100, events, 0, 9_000)) == (0, list(range(1, 9_001)))
    assert cuts.write(PARTITION, cut(110, (), 8_999, 9_000)) is CutOutcome.WRITTEN
    header = cuts.header(PARTITION)
    assert header is not None
    assert header.events == (refresh(9_000),)


def fields(made: Cut) -> dict[bytes, bytes]:
    flat = header_arguments(made.header("1.0"))
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_the_header_of_an_older_release_is_read_even_over_the_fields_of_a_newer_one() -> None:
    newer = fields(cut(100, (refresh(3),), 2, 3))
    names = (b"leader_epoch", b"events_of", b"base_seq", b"last_seq", b"event:3")
    old = {name: value for name, value in newer.items() if name not in names}
    event = b'{"seq":1,"from_offset":0,"kind":"gap","digest":"d","reference":"r"}'
    old |= {b"events": b"[" + event + b"]", b"writer_epoch": b"2"}
    for stored in (old, newer | old):
        header = decode_header(stored)
        assert header is not None
        assert (header.base_seq, header.last_seq, [each.seq for each in header.events]) == (0, 1, [1])


def test_a_missing_event_is_damage() -> None:
    stored = fields(cut(100, EVENTS, 0, 2))
    del stored[b"event:1"]
    with pytest.raises(CutDamaged):
        decode_header(stored)


def test_a_days_refreshes_cost_a_cut_nothing() -> None:
    a_day = tuple(refresh(seq) for seq in range(1, 8_641))
    whole = sum(map(len, header_arguments(cut(100, a_day, 0, 8_640).header("1.0"))))
    usual = sum(map(len, header_arguments(cut(110, (), 8_280, 8_640).header("1.0"), 8_640)))
    assert whole > 1_500_000
    assert usual < 500
