"""The label rule against a record of who knew what when: nobody's knowledge of later, everybody's of then."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.known_labels import known_labels
from ray_fraud.domain.verdicts import Origin, Verdict

IDS = "abcd"
records = st.lists(
    st.tuples(st.sampled_from(IDS), st.integers(0, 60), st.sampled_from([True, False, None])), max_size=25
)
"""(transaction, when somebody said it, what was said), in the order of their numbers."""


def verdicts_of(record: list[tuple[str, int, bool | None]]) -> list[Verdict]:
    return [
        Verdict(number, name, 1, None, None, fraud, at, Origin.ANALYST)
        for number, (name, at, fraud) in enumerate(record, 1)
    ]


def said_by(record: list[tuple[str, int, bool | None]], name: str, moment: int) -> bool:
    """What a clerk who keeps one note per transaction reads at that moment."""
    note: bool | None = None
    for _, at, fraud in sorted((row for row in record if row[0] == name), key=lambda row: row[1]):
        if at <= moment:
            note = fraud
    return note is True


@given(
    records,
    st.dictionaries(st.sampled_from(IDS), st.integers(0, 45), min_size=1),
    st.integers(0, 10),
    st.integers(1, 20),
    st.integers(0, 10),
)
def test_each_row_has_the_label_that_a_clerk_would_have_given(
    record: list[tuple[str, int, bool | None]],
    events: dict[str, int],
    maturity: int,
    holdout: int,
    after: int,
) -> None:
    """Of learnt rows at the hold-out's begin, of the hold-out's rows now, of immature ones none."""
    newest = max(events.values())
    now = min(newest + after, newest + maturity)
    labels = known_labels(
        reversed(verdicts_of(record)),
        newest_ms=newest,
        now_ms=now,
        maturity_ms=maturity,
        holdout_ms=holdout,
    )
    begin = newest - maturity + 1 - holdout
    for name, event in events.items():
        moment = begin if event < begin else newest
        has_one = event <= moment - maturity
        assert bool(labels.mature(np.array([event]))[0]) == has_one
        if has_one:
            assert labels.fraud((name, 1), event) == said_by(record, name, begin if event < begin else now)


@given(records, st.integers(0, 40))
def test_what_becomes_known_in_the_hold_out_changes_nothing_that_is_learnt(
    record: list[tuple[str, int, bool | None]], newest: int
) -> None:
    times = {"newest_ms": newest, "now_ms": newest, "maturity_ms": 5, "holdout_ms": 7}
    begin = newest - 5 + 1 - 7
    early = [row for row in record if row[1] <= begin]
    known, without = (known_labels(verdicts_of(rows), **times) for rows in (record, early))
    for name in IDS:
        for event in range(begin - 5 + 1):
            assert known.fraud((name, 1), event) == without.fraud((name, 1), event)


def test_verdicts_that_were_given_after_the_history_count_once_a_row_is_mature() -> None:
    """A replay of an old year, judged today: nothing says when it would have been known."""
    said = verdicts_of([("a", 1_000, True), ("b", 1_000, True), ("c", 1_000, True)])
    labels = known_labels(said, newest_ms=100, now_ms=2_000, maturity_ms=10, holdout_ms=20)
    assert (labels.begin_ms, labels.end_ms) == (71, 91)
    assert labels.fraud(("a", 1), 61)
    assert labels.fraud(("b", 1), 90)
    assert labels.mature(np.array([61, 62, 70, 71, 90, 91])).tolist() == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]


def test_a_verdict_soon_after_the_newest_event_is_no_replay() -> None:
    said = verdicts_of([("a", 105, True)])
    labels = known_labels(said, newest_ms=100, now_ms=2_000, maturity_ms=10, holdout_ms=20)
    assert not labels.fraud(("a", 1), 50), "known after the hold-out began"
    assert labels.fraud(("a", 1), 80)


@pytest.mark.parametrize("late", [0.0, 0.1, 0.4])
def test_the_share_of_late_frauds_is_told_though_the_latest_are_not_known_yet(late: float) -> None:
    random = np.random.default_rng(3)
    event = random.integers(0, 100, 6_000)
    slow = random.random(6_000) < late
    known = event + np.where(slow, random.integers(11, 60, 6_000), random.integers(0, 11, 6_000))
    rows = zip(event.tolist(), known.tolist(), strict=True)
    frauds = [
        Verdict(number, f"t{number}", 1, None, at, True, then, Origin.CHARGEBACK)
        for number, (at, then) in enumerate(rows)
        if then <= 100
    ]
    labels = known_labels(frauds, newest_ms=100, now_ms=100, maturity_ms=10, holdout_ms=20)
    assert labels.late_share == pytest.approx(late, abs=0.03)
