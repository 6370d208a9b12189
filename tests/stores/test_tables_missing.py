"""A table that no batch has made yet is told in words, whatever opens it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.feature_columns import ML_FEATURES
from ray_fraud.stores.tables.period import PeriodRows, newest_event_ms, newest_rows

OPENED: dict[str, Callable[[LakeLocation], object]] = {
    "a period": lambda lake: PeriodRows(lake, ML_FEATURES, 0, 1),
    "the newest event": lambda lake: newest_event_ms(lake, ML_FEATURES),
    "the newest rows": lambda lake: newest_rows(lake, ML_FEATURES, 1),
}


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
def test_a_table_that_no_batch_has_made_is_told_in_words(
    tmp_path: Path, opened: Callable[[LakeLocation], object]
) -> None:
    with pytest.raises(StoreRefused, match=r"no batches yet.*ml_features.*ray-fraud batch run"):
        opened(LakeLocation(tmp_path.as_uri()))
