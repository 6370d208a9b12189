"""Features as rows of the table `ml_features`.

Never: I/O; a value that was computed here.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA


def feature_table(
    places: Mapping[str, pa.Array | pa.ChunkedArray], features: NDArray[np.float32], tables: pa.Array
) -> pa.Table:
    """Rows of `ml_features`.

    Args:
        places: every column of the schema that says which record it is, by name, shape (n,) each.
        features: shape (n, len(FEATURES)), NaN where missing, which becomes null.
        tables: digests of the feature tables they were looked up in, or null; shape (n,).
    """
    columns = {
        name: pa.array(features[:, index], from_pandas=True) for index, name in enumerate(FEATURE_NAMES)
    }
    known = {**places, "feature_tables": tables, **columns}
    return pa.table({name: known[name] for name in FEATURE_SCHEMA.names}, schema=FEATURE_SCHEMA)


def feature_matrix(rows: pa.Table) -> NDArray[np.float32]:
    """Rows of the catalogue as they were scored, shape (n, len(FEATURES)); null is missing, which is NaN."""
    matrix = np.empty((rows.num_rows, len(FEATURE_NAMES)), np.float32)
    for index, name in enumerate(FEATURE_NAMES):
        matrix[:, index] = rows[name].to_numpy()
    return matrix
