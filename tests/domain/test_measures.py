"""Measures against scikit-learn, and against plain definitions; intervals against copied cards."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from ray_fraud.domain.bootstrap import paired_differences
from ray_fraud.domain.measures import (
    at_threshold,
    auc_roc,
    average_precision,
    card_precision_at,
    card_share,
    wilson_interval,
)


class HoldOut(NamedTuple):
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]
    cards: NDArray[np.int64]
    days: NDArray[np.int64]


def hold_out(rows: list[tuple[bool, int, int, int]]) -> HoldOut:
    labels, scores, cards, days = zip(*rows, strict=True)
    return HoldOut(np.array(labels), np.array(scores) / 7.0, np.array(cards), np.array(days))


# Few distinct scores, cards and days: ties are the rule.
hold_outs = st.lists(
    st.tuples(st.booleans(), st.integers(0, 8), st.integers(0, 6), st.integers(0, 4)),
    min_size=1,
    max_size=60,
).map(hold_out)


def two_models(seed: int, cards: int = 300, days: int = 5) -> tuple[HoldOut, NDArray[np.float64]]:
    """A hold-out scored by a good model, and the scores of one that guesses."""
    random = np.random.default_rng(seed)
    count = cards * days * 2
    card = random.integers(0, cards, count)
    day = random.integers(0, days, count)
    labels = (card % 25 == 0) & (random.random(count) < 0.7)
    good = labels * 0.5 + random.random(count)
    return HoldOut(labels, good, card, day), random.random(count)


def plain_card_precision(rows: HoldOut, k: int) -> float:
    """The definition, word by word."""
    found: set[int] = set()
    per_day = []
    for day in sorted(set(rows.days.tolist())):
        best: dict[int, tuple[float, bool]] = {}
        for label, score, card, its_day in zip(*(column.tolist() for column in rows), strict=True):
            if its_day == day and card not in found:
                known = best.get(card, (-np.inf, False))
                best[card] = (max(known[0], score), known[1] or label)
        looked_at = sorted(best.items(), key=lambda each: (-each[1][0], each[0]))[:k]
        hits = {card for card, (_, fraud) in looked_at if fraud}
        found |= hits
        per_day.append(len(hits) / k)
    return sum(per_day) / len(per_day)


@given(hold_outs)
def test_average_precision_is_that_of_scikit_learn_with_ties(rows: HoldOut) -> None:
    assume(rows.labels.any())
    expected = average_precision_score(rows.labels, rows.scores)
    assert average_precision(rows.labels, rows.scores) == pytest.approx(expected, abs=1e-12)


@given(hold_outs)
def test_auc_is_that_of_scikit_learn_with_ties(rows: HoldOut) -> None:
    assume(rows.labels.any() and not rows.labels.all())
    expected = roc_auc_score(rows.labels, rows.scores)
    assert auc_roc(rows.labels, rows.scores) == pytest.approx(expected, abs=1e-12)


@given(hold_outs, st.integers(-1, 9))
def test_precision_recall_and_f1_are_those_of_scikit_learn(rows: HoldOut, step: int) -> None:
    threshold = step / 7.0
    counted = at_threshold(rows.labels, rows.scores, threshold)
    expected = precision_recall_fscore_support(
        rows.labels, rows.scores > threshold, average="binary", zero_division=0
    )
    assert (counted.precision, counted.recall, counted.f1) == pytest.approx(expected[:3])
    assert counted.true_alerts + counted.false_alerts + counted.missed + counted.quiet == len(rows.labels)


@given(hold_outs, st.integers(1, 4))
def test_card_precision_is_its_definition(rows: HoldOut, k: int) -> None:
    assert card_precision_at(*rows, k) == pytest.approx(plain_card_precision(rows, k))


@given(hold_outs, st.randoms(use_true_random=False), st.integers(1, 4))
def test_no_measure_depends_on_the_order_of_rows(rows: HoldOut, random: object, k: int) -> None:
    assume(rows.labels.any())
    order = np.arange(len(rows.labels))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    other = HoldOut(rows.labels[order], rows.scores[order], rows.cards[order], rows.days[order])
    assert average_precision(*other[:2]) == pytest.approx(average_precision(*rows[:2]))
    assert card_precision_at(*other, k) == card_precision_at(*rows, k)


def test_a_found_card_is_dropped_on_later_days_and_few_cards_still_divide_by_k() -> None:
    rows = hold_out([(True, 8, 1, 0), (False, 7, 2, 0), (True, 8, 1, 1), (True, 1, 3, 1), (False, 0, 2, 1)])
    # Day 0: card 1 of {1, 2}; day 1: card 1 is gone, card 3 of {3, 2}.
    assert card_precision_at(*rows, 2) == 0.5
    assert card_precision_at(*rows, 10) == 0.1


def test_a_better_model_is_seen_and_equal_ones_are_not_told_apart() -> None:
    rows, guesses = two_models(seed=3)
    better = paired_differences(rows.labels, rows.scores, guesses, rows.cards, rows.days, k=10)
    assert better.average_precision.low > 0.1
    assert better.card_precision.low > 0.0
    worse = paired_differences(rows.labels, guesses, rows.scores, rows.cards, rows.days, k=10)
    assert worse.average_precision.high < 0.0
    equal = paired_differences(rows.labels, guesses, guesses, rows.cards, rows.days, k=10)
    assert (equal.average_precision.low, equal.average_precision.high) == (0.0, 0.0)
    assert (equal.card_precision.low, equal.card_precision.high) == (0.0, 0.0)


def test_the_same_seed_gives_the_same_interval_and_another_one_a_near_one() -> None:
    rows, guesses = two_models(seed=4)
    one, same, other = (
        paired_differences(rows.labels, rows.scores, guesses, rows.cards, rows.days, k=10, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other
    assert one.average_precision.low == pytest.approx(other.average_precision.low, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_resamples_are_measured_as_if_their_cards_were_copied(seed: int) -> None:
    """One resample drawn by hand with the documented draw, its rows copied, against the interval of one."""
    rows, guesses = two_models(seed=seed, cards=40, days=3)
    known = np.unique(rows.cards)
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, len(known), size=(1, len(known)))[0]
    # A copy of a card is a card of its own, next to the first in order.
    picked = [
        (copy, index)
        for copy, card in enumerate(np.sort(drawn))
        for index in np.flatnonzero(rows.cards == known[card])
    ]
    at = np.array([index for _, index in picked])
    copies = np.array([copy for copy, _ in picked])
    assert rows.labels[at].any()

    one = paired_differences(
        rows.labels, rows.scores, guesses, rows.cards, rows.days, k=5, resamples=1, seed=seed
    )
    labels, days = rows.labels[at], rows.days[at]
    assert one.average_precision.low == pytest.approx(
        average_precision(labels, rows.scores[at]) - average_precision(labels, guesses[at])
    )
    assert one.card_precision.low == pytest.approx(
        card_precision_at(labels, rows.scores[at], copies, days, 5)
        - card_precision_at(labels, guesses[at], copies, days, 5)
    )


def test_wilson_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson_interval(hits, trials)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    nothing = wilson_interval(0, 0)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_interval_holds_the_share(hits: int, misses: int) -> None:
    interval = wilson_interval(hits, hits + misses)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


def test_what_cannot_be_measured_is_refused_with_field_and_rule() -> None:
    yes, no = np.array([True, True]), np.array([False, False])
    scores, cards = np.array([0.5, 0.5]), np.array([1, 2])
    with pytest.raises(ValueError, match="labels: no fraud, average precision needs at least 1"):
        average_precision(no, scores)
    with pytest.raises(ValueError, match="labels: 2 frauds and 0 honest rows"):
        auc_roc(yes, scores)
    with pytest.raises(ValueError, match="scores: nan in row 1, must be finite"):
        at_threshold(yes, np.array([0.1, np.nan]), 0.5)
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        average_precision(yes, np.array([0.5]))
    with pytest.raises(ValueError, match="k: 0, must be at least 1"):
        card_precision_at(yes, scores, cards, cards, 0)
    with pytest.raises(ValueError, match="cards: 1, a bootstrap over cards needs at least 2"):
        paired_differences(yes, scores, scores, np.array([1, 1]), cards, k=1)
    with pytest.raises(ValueError, match="hits: 3 of 2 trials"):
        wilson_interval(3, 2)


def test_a_share_of_cards_is_as_sure_as_its_cards_are_many() -> None:
    alone = np.arange(400)
    hits = alone % 4 != 0
    assert card_share(hits, alone).low == pytest.approx(wilson_interval(300, 400).low, abs=1e-4)
    together = np.repeat(np.arange(40), 10)
    same = np.repeat(np.arange(40) % 4 != 0, 10)
    found, expected = card_share(same, together), wilson_interval(30, 40)
    assert found.value == expected.value
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)
    assert card_share(np.ones(50, np.bool_), together[:50]) == wilson_interval(5, 5)
    assert card_share(np.zeros(0, np.bool_), together[:0]) == wilson_interval(0, 0)
    with pytest.raises(ValueError, match="hits, cards"):
        card_share(hits, together[:5])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_cards_never_make_a_share_surer_than_as_many_transactions(rows: list[tuple[bool, int]]) -> None:
    hits, cards = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found, single = card_share(hits, cards), wilson_interval(int(hits.sum()), len(hits))
    assert found.low <= found.value <= found.high
    assert found.high - found.low >= single.high - single.low - 1e-12
