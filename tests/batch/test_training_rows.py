"""Labels of the lake's rows: what was said, else legitimate once mature, else none."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch.imports.job import import_partition
from batch.training.lake_rows import labelled_rows
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.known_labels import KnownLabels
from ray_fraud.domain.verdicts import Origin, Verdict

Row = tuple[str, int, int]
"""Transaction, user, event time in seconds."""

rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 2), st.integers(0, 100)), max_size=12
)
said = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 2)), st.booleans(), max_size=5
)


def table(found: list[Row], topic_id: str = "topic") -> pa.Table:
    columns = {
        "topic_id": pa.array([topic_id] * len(found), pa.string()),
        "transaction_id": pa.array([row[0] for row in found], pa.string()),
        "user_id": pa.array([row[1] for row in found], pa.int64()),
        "event_time": pa.array(
            [datetime.fromtimestamp(row[2], UTC) for row in found], pa.timestamp("us", "UTC")
        ),
    }
    features = {
        name: pa.array([float(row[2]) if place else None for row in found], pa.float32())
        for place, name in enumerate(FEATURE_NAMES)
    }
    return pa.table(columns | features)


def verdict(key: tuple[str, int], fraud: bool) -> Verdict:
    return Verdict(1, *key, None, None, fraud, 0, Origin.ANALYST)


def known(said_of: dict[tuple[str, int], bool], begin_ms: int = -1, end_ms: int = 2**40) -> KnownLabels:
    """All of it known before the hold-out, which begins and ends there."""
    verdicts = {key: verdict(key, fraud) for key, fraud in said_of.items()}
    return KnownLabels(begin_ms, end_ms, 0, verdicts, verdicts)


@given(rows, rows, said, st.integers(0, 100))
def test_every_mature_row_has_its_label_and_others_are_left_out_judged_or_not(
    one: list[Row], other: list[Row], labels: dict[tuple[str, int], bool], mature: int
) -> None:
    found = labelled_rows([table(one), table(other)], known(labels, end_ms=mature * 1000 + 1), 100)
    expected = sorted(
        (at, user, labels.get((name, user), False)) for name, user, at in (*one, *other) if at <= mature
    )
    result = zip(found.event_ms.tolist(), found.user_ids.tolist(), found.fraud.tolist(), strict=True)
    assert sorted((at // 1000, user, fraud) for at, user, fraud in result) == expected
    assert np.isnan(found.features[:, 0]).all()
    assert (found.features[:, 1] == found.event_ms / 1000).all()


def test_a_row_has_the_label_of_its_side_of_the_hold_outs_begin() -> None:
    key = ("a", 1)
    labels = KnownLabels(10_000, 20_000, 2_000, {key: verdict(key, False)}, {key: verdict(key, True)})
    found = labelled_rows([table([("a", 1, at) for at in (8, 9, 10, 19, 20)])], labels, 100)
    assert (found.event_ms // 1000).tolist() == [8, 10, 19]
    assert found.fraud.tolist() == [False, True, True]


def test_more_rows_than_fit_are_a_sample_of_all_days() -> None:
    found = labelled_rows([table([("a", 1, at * 86_400) for at in range(40)])], known({}), 20)
    assert 10 <= len(found) <= 20
    assert found.weights is not None
    days = found.event_ms // 86_400_000
    assert days.min() < 10
    assert days.max() >= 30


def test_no_rows_are_no_error() -> None:
    assert len(labelled_rows([], known({}), 5)) == 0
    assert len(labelled_rows([table([])], known({}), 5)) == 0


def test_imported_rows_are_left_out_whatever_was_said_of_them() -> None:
    imported = table([("a", 1, 5), ("b", 1, 6)], import_partition("0" * 64).topic_id)
    labels = known({("a", 1): True})
    found = labelled_rows([imported, table([("c", 1, 7)])], labels, 5)
    assert found.event_ms.tolist() == [7_000]
