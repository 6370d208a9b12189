"""The errors of the stores: told apart by what to do next, and whole after a journey between processes."""

import pickle
from datetime import timedelta

import pytest

from ray_fraud.stores.cuts.port import CutDamaged
from ray_fraud.stores.errors import (
    Fenced,
    SlowDown,
    StoreDamaged,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ray_fraud.stores.log.port import LogGap, TopicReplaced, WrongPartitionCount
from ray_fraud.stores.snapshots.port import SnapshotDamaged

EXAMPLES: list[StoreError] = [
    StoreError("kafka", "m"),
    StoreUnavailable("kafka", "timed out"),
    SlowDown("redis", "full", timedelta(seconds=5)),
    StoreRefused("redis", "wrong policy"),
    StoreDamaged("lake", "m"),
    CutDamaged("redis", "3 users found"),
    SnapshotDamaged("lake", "m"),
    Fenced("redis", 3, 4),
    LogGap(10, 20),
    TopicReplaced("transactions", "old", "new"),
    WrongPartitionCount("transactions", 5, 2),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_keeps_all_its_fields_between_processes(error: StoreError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, as Ray would send them
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert (str(copy), copy.code) == (str(error), error.code)


def test_codes_tell_the_errors_apart() -> None:
    codes = [error.code for error in EXAMPLES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_what_to_do_next_is_never_two_things(error: StoreError) -> None:
    kinds = [kind for kind in (StoreUnavailable, SlowDown, StoreRefused, Fenced) if isinstance(error, kind)]
    assert len(kinds) <= 1
