"""The sample of labelled rows: all days, all frauds, bounded, and the same whatever the order of the rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.training.labelled import Ints, LabelledRows, Rows32
from batch.training.sampler import LabelledSample, as_they_come
from ray_fraud.domain.features import FEATURE_COUNT
from ray_fraud.domain.windows import DAY_MS

DAYS = 60


def rows_of(count: int, fraud_share: float, seed: int, days: int = DAYS, users: int = 5_000) -> LabelledRows:
    rng = np.random.default_rng(seed)
    features = np.zeros((count, FEATURE_COUNT), np.float32)
    features[:, 0] = np.arange(count)
    event_ms = np.sort(rng.integers(0, days * DAY_MS, count))
    return LabelledRows(features, rng.random(count) < fraud_share, rng.integers(0, users, count), event_ms)


def sampled(rows: LabelledRows, max_rows: int, order: Ints, parts: int) -> LabelledRows:
    sample = LabelledSample(max_rows, 1)
    for piece in np.array_split(order, parts):

        def features(chosen: Ints, piece: Ints = piece) -> Rows32:
            return rows.features[piece[chosen]]

        sample.offer(rows.fraud[piece], rows.user_ids[piece], rows.event_ms[piece], features)
    return sample.rows()


@given(st.integers(1, 600), st.floats(0, 1), st.integers(2, 300), st.integers(0, 99), st.integers(1, 7))
def test_a_sample_is_bounded_and_does_not_depend_on_the_order(
    count: int, fraud_share: float, max_rows: int, seed: int, parts: int
) -> None:
    rows = rows_of(count, fraud_share, seed, days=5, users=40)
    found = sampled(rows, max_rows, np.arange(count), 1)
    other = sampled(rows, max_rows, np.random.default_rng(seed).permutation(count), parts)
    assert found.features[:, 0].tolist() == other.features[:, 0].tolist()
    assert len(found) <= max_rows
    assert found.fraud.tolist() == rows.fraud[found.features[:, 0].astype(int)].tolist()
    assert found.event_ms.tolist() == rows.event_ms[found.features[:, 0].astype(int)].tolist()
    if count <= max_rows:
        assert found.weights is None
        assert len(found) == count
    frauds = int(rows.fraud.sum())
    assert int(found.fraud.sum()) >= min(frauds, max_rows // 2)
    if found.weights is not None:
        assert (found.weights >= 1).all()


def test_all_frauds_are_kept_and_weights_give_what_each_day_had() -> None:
    rows = rows_of(60_000, 0.01, 2)
    found = sampled(rows, 6_000, np.arange(len(rows)), 20)
    assert int(found.fraud.sum()) == int(rows.fraud.sum())
    assert found.weights is not None
    assert (found.weights[found.fraud] == 1).all()
    assert len(found) > 5_900
    had = np.bincount(rows.days[~rows.fraud], minlength=DAYS)
    told = np.bincount(found.days[~found.fraud], weights=found.weights[~found.fraud], minlength=DAYS)
    assert told == pytest.approx(had)
    assert found.represented == pytest.approx(len(rows))


def test_all_rows_of_a_card_and_day_stay_or_go_together() -> None:
    rows = rows_of(40_000, 0.0, 4, days=10, users=200)  # some 20 a card and day
    found = sampled(rows, 8_000, np.arange(len(rows)), 5)
    had = np.unique(rows.days * 1_000 + rows.user_ids, return_counts=True)
    kept = np.unique(found.days * 1_000 + found.user_ids, return_counts=True)
    whole = dict(zip(had[0].tolist(), had[1].tolist(), strict=True))
    cut = [card for card, count in zip(*map(np.ndarray.tolist, kept), strict=True) if whole[card] != count]
    assert len(cut) <= 1


def test_one_card_with_more_rows_than_fit_is_cut() -> None:
    rows = rows_of(5_000, 0.0, 6, days=1, users=1)
    assert 900 <= len(sampled(rows, 1_000, np.arange(5_000), 10)) <= 1_000


def test_a_thinned_sample_has_the_shares_of_all_rows() -> None:
    rows = rows_of(200_000, 0.05, 3)
    found = sampled(rows, 40_000, np.arange(len(rows)), 10)
    thinned = as_they_come(found, 1)
    assert thinned.fraud.mean() == pytest.approx(rows.fraud.mean(), abs=0.006)
    assert thinned.represented == pytest.approx(len(rows), rel=0.05)
    assert as_they_come(thinned, 9).event_ms.tolist() == thinned.event_ms.tolist()
    assert as_they_come(rows, 1) is rows


def test_figures_of_a_sample_are_those_of_all_rows() -> None:
    rows = rows_of(200_000, 0.02, 5)
    rng = np.random.default_rng(1)
    scores = np.clip(rows.fraud * 0.4 + rng.random(len(rows)) * 0.6, 0, 1)
    rows.features[:, 0] = np.arange(len(rows))
    found = as_they_come(sampled(rows, 40_000, np.arange(len(rows)), 10), 1)
    mine = scores[found.features[:, 0].astype(int)]
    whole = rows.evaluate(scores, 0.55, period_days=DAYS, k=100)
    part = found.evaluate(mine, 0.55, period_days=DAYS, k=100)
    assert part.precision == pytest.approx(whole.precision, abs=0.05)
    assert part.alerts_per_day == pytest.approx(whole.alerts_per_day, rel=0.1)
    assert part.average_precision == pytest.approx(whole.average_precision, abs=0.05)
    assert part.card_precision_at_k == pytest.approx(whole.card_precision_at_k, abs=0.1)


def test_a_rate_of_500_a_second_over_60_days_stays_bounded() -> None:
    """Ten thousandths of the rows and of the room for them, day by day; the benchmark has them all."""
    rng = np.random.default_rng(7)
    sample = LabelledSample(20_000, 1)
    for day in rng.permutation(DAYS).tolist():
        event_ms = day * DAY_MS + rng.integers(0, DAY_MS, 4_320)
        fraud = rng.random(4_320) < 0.002
        users = rng.integers(0, 2**40, 4_320)
        sample.offer(
            fraud, users, event_ms, lambda chosen: np.zeros((len(chosen), FEATURE_COUNT), np.float32)
        )
    rows = sample.rows()
    assert len(np.unique(rows.days)) == DAYS
    assert rows.represented == pytest.approx(DAYS * 4_320)
    assert 19_500 < len(rows) <= 20_000
