"""The digests that stand beside the fold version, and the packages of the versions that there were."""

from pathlib import Path

import pytest

from ray_fraud.domain.fold_version import FOLD_DIGESTS, FOLD_VERSION
from ray_fraud.domain.observed import Counts
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.user_state import decode_state, users_digest
from tests.golden import golden
from tests.golden.package import PARTITION, drained_state, package_of, packages

RAISE_IT = (
    "what the fold makes of the fixed log has changed: stored states are of another version. "
    "Raise FOLD_VERSION, keep the package of the version before, and register a converter (docs/upgrades.md)"
)


def test_what_the_fold_makes_of_the_fixed_log_is_what_stands_beside_its_version() -> None:
    made = golden.fold_log(golden.fresh_state(), golden.log()).digests()
    assert made == FOLD_DIGESTS, RAISE_IT


def test_the_fixed_log_has_what_moves_states() -> None:
    state = golden.fresh_state()
    counts = Counts()
    bucketed, days, high = 0, 0, 0
    for observed in in_batches(state.observe, golden.log(), 50):
        counts.add(observed.counts)
        views = [decode_state(packed) for packed in observed.changed.values() if packed is not None]
        bucketed += sum(bool(view.buckets) for view in views)
        days = max(days, *(len(view.days) for view in views), 0)
        high += sum(view.lifetime.high > 0 for view in views)
    assert min(getattr(counts, name) for name in Counts.__slots__) > 0
    assert bucketed >= 4
    assert days > 25
    assert high > 100


def test_another_batch_size_makes_no_difference() -> None:
    assert golden.fold_log(golden.fresh_state(), golden.log(), 7).digests() == FOLD_DIGESTS


def test_every_fold_version_from_the_third_on_left_a_package() -> None:
    """A version without one could not be upgraded from by a test."""
    assert packages() in (list(range(3, FOLD_VERSION)), list(range(3, FOLD_VERSION + 1)))


@pytest.mark.parametrize("version", packages())
def test_a_package_is_whole_and_the_present_release_reads_it(version: int) -> None:
    package = package_of(version)
    header = package.header()
    assert (header.next_offset, header.drained, header.fold_version) == (golden.CUT_AT, True, version)
    assert (len(package.users), users_digest(package.users.items())) == (header.user_count, header.digest)
    assert sum(bool(decode_state(packed).buckets) for packed in package.users.values()) > 0


@pytest.mark.parametrize("version", packages())
def test_the_snapshot_of_a_package_has_the_same_users(version: int, tmp_path: Path) -> None:
    package = package_of(version)
    store = package.snapshot_into(tmp_path)
    header = store.newest_valid(PARTITION, lambda _: True)
    assert header is not None
    assert dict(store.read_users(header)) == package.users
    assert (header.fold_version, header.next_offset) == (version, golden.CUT_AT)


def test_the_package_of_the_present_version_is_what_the_present_fold_leaves_behind() -> None:
    if FOLD_VERSION not in packages():
        pytest.skip("the package is taken when the next version is begun")
    package, state = package_of(FOLD_VERSION), drained_state()
    assert package.digests == FOLD_DIGESTS
    assert (package.users, package.header().watermark_ms) == (state.users, state.watermark_ms)
