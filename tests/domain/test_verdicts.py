"""Labels at a moment: from verdicts in any order, and never from the future."""

from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.verdicts import Origin, Verdict, labels_at


def verdict(
    number: int, known_ms: int, fraud: bool | None, transaction_id: str = "t", user_id: int = 1
) -> Verdict:
    return Verdict(number, transaction_id, user_id, None, None, fraud, known_ms, Origin.ANALYST)


@st.composite
def histories(draw: st.DrawFn) -> list[Verdict]:
    """Numbers are unique; some verdicts are known in one millisecond, some not in the order of numbers."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 20),
                st.sampled_from([True, False, None]),
                st.sampled_from("ab"),
                st.integers(1, 2),
            ),
            max_size=30,
        )
    )
    return [verdict(number, *row) for number, row in enumerate(rows, start=1)]


@given(histories(), st.integers(-1, 21), st.randoms(use_true_random=False))
def test_the_order_they_come_in_changes_nothing(rows: list[Verdict], until_ms: int, chance: object) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis' Random
    assert labels_at(shuffled, until_ms) == labels_at(rows, until_ms)


@given(histories(), st.integers(-1, 21))
def test_nothing_comes_from_the_future(rows: list[Verdict], until_ms: int) -> None:
    known = [row for row in rows if row.known_ms <= until_ms]
    labels = labels_at(rows, until_ms)
    assert labels == labels_at(known, until_ms)
    assert all(label.known_ms <= until_ms for label in labels.values())


@given(histories(), st.integers(-1, 21))
def test_each_label_is_the_transactions_last_word(rows: list[Verdict], until_ms: int) -> None:
    labels = labels_at(rows, until_ms)
    for key in {row.key for row in rows}:
        known = [row for row in rows if row.key == key and row.known_ms <= until_ms]
        last = max(known, key=lambda row: (row.known_ms, row.number), default=None)
        if last is None or last.fraud is None:
            assert key not in labels
        else:
            assert labels[key] == last


@given(histories(), st.integers(0, 20), st.sampled_from([True, False, None]))
def test_a_later_verdict_wins(rows: list[Verdict], until_ms: int, fraud: bool | None) -> None:
    last = verdict(len(rows) + 1, until_ms, fraud, "a", 1)
    labels = labels_at([last, *rows], until_ms)
    assert labels.get(("a", 1)) == (None if fraud is None else last)


def test_a_verdict_that_is_known_earlier_and_stored_later_does_not_win() -> None:
    rows = [verdict(1, 2_000, fraud=False), verdict(2, 1_000, fraud=True)]
    assert labels_at(rows, 1_500) == {("t", 1): rows[1]}
    assert labels_at(rows, 2_000) == {("t", 1): rows[0]}


def test_a_transaction_is_its_id_and_its_user() -> None:
    rows = [verdict(1, 1, fraud=True, user_id=1), verdict(2, 1, fraud=None, user_id=2)]
    assert labels_at(rows, 1) == {("t", 1): rows[0]}
