"""Who is scored by which arm: exact shares, sticky users, and shadows that nobody is given to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.split import BASIS_POINTS, Arm, Split

USERS = np.arange(200_000, dtype=np.int64)


def split(*shares: int, salt: str = "salt") -> Split:
    return Split(tuple(Arm("m", n + 1, f"d{n + 1}", 0.5, share) for n, share in enumerate(shares)), salt)


shares = st.lists(st.integers(0, BASIS_POINTS), max_size=5).map(
    lambda cuts: [
        high - low for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), BASIS_POINTS], strict=True)
    ]
)


@given(shares, st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50), st.text(max_size=8))
def test_a_shadow_is_given_to_nobody_and_changes_nobodys_arm(
    parts: list[int], ids: list[int], salt: str
) -> None:
    users = np.array(ids, np.int64)
    with_shadows = split(*parts, salt=salt)
    deciding = [arm for arm in with_shadows.arms if arm.share_bp > 0]
    without = Split(tuple(deciding), salt)
    chosen = [with_shadows.arms[arm] for arm in with_shadows.arm_of(users)]
    assert chosen == [without.arms[arm] for arm in without.arm_of(users)]
    assert all(arm.share_bp > 0 for arm in chosen)


@pytest.mark.parametrize("parts", [(9_500, 500), (9_000, 1_000, 0), (0, 10_000), (3_333, 3_333, 3_334)])
def test_shares_are_kept(parts: tuple[int, ...]) -> None:
    counts = np.bincount(split(*parts).arm_of(USERS), minlength=len(parts))
    for count, share in zip(counts, parts, strict=True):
        expected = len(USERS) * share / BASIS_POINTS
        # Five standard deviations of a binomial draw.
        assert abs(count - expected) <= 5 * np.sqrt(expected * (1 - share / BASIS_POINTS))


@given(shares, st.text(max_size=8), st.integers(0, 2**62), st.sampled_from((1, 7, 1_000)))
def test_the_counts_are_those_of_a_binomial_draw(parts: list[int], salt: str, first: int, step: int) -> None:
    """T40: whatever the shares and the draw, and however the platform numbers its users."""
    users = first + step * np.arange(100_000, dtype=np.int64)
    arms = split(*parts, salt=salt).arm_of(users)
    for index, share in enumerate(parts):
        count, part = int((arms == index).sum()), share / BASIS_POINTS
        expected, deviation = len(users) * part, np.sqrt(len(users) * part * (1 - part))
        # Six: of the thousands of counts that a run looks at none should be further away by chance.
        assert abs(count - expected) <= 6 * deviation + 1e-9, (index, share, count)


def test_of_ninety_and_ten_no_share_is_half_a_point_off() -> None:
    for salt in map(str, range(20)):
        arms = split(9_000, 1_000, salt=salt).arm_of(USERS[:100_000])
        assert abs((arms == 1).mean() - 0.1) < 0.005


def test_a_growing_test_takes_users_from_production_and_gives_none_back() -> None:
    small, large = (split(BASIS_POINTS - share, share).arm_of(USERS) == 1 for share in (500, 2_000))
    assert (large[small]).all()
    assert large.sum() > small.sum()


def test_another_salt_is_another_draw() -> None:
    one, other = (split(5_000, 5_000, salt=salt).arm_of(USERS) for salt in ("a", "b"))
    assert 0.48 < (one == other).mean() < 0.52


def test_no_alert_is_made_for_a_shadow() -> None:
    """All that decides is `arm_of`: an index that it never gives has no threshold to pass."""
    arms = split(10_000, 0, 0).arm_of(USERS)
    assert set(arms.tolist()) == {0}
