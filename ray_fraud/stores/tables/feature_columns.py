"""The columns of the Delta tables `ml_features`, `scores` and `batch_scores`: a row per record (and model).

| column | type | content |
|---|---|---|
| topic_id, partition, offset | text … | the record's place in the log; identity, in `scores` with `model`, |
| | | in `batch_scores` with `model` and `job_id` |
| transaction_id, user_id | text, i64 | the transaction |
| record_time, event_time, event_date | timestamps, date | as in `transactions` |
| feature_tables | text | digest of the tables in which features were looked up; null before the first |
| one column per feature | f32 | by the name of the catalogue (`ray_fraud.domain.features`); null is missing |
| model, model_digest | text | `name:version` and the SHA-256 of the manifest |
| score, threshold, anomaly | f64, f64, bool | what the model says; `anomaly` is `score > threshold` |
| live | bool | this model decided for this user in the hot path (`scores`) |
| job_id, scored_at | text, timestamp | the job that wrote the row, and when it began (`batch_scores`) |

The features are the values as they were known at that record's offset, the numbers that the hot path saw.

Never: a value that only became known later.
"""

import pyarrow as pa

from ray_fraud.domain.features import FEATURES
from ray_fraud.stores.tables.columns import PARTITION_COLUMN

ML_FEATURES = "ml_features"
SCORES = "scores"
BATCH_SCORES = "batch_scores"

RECORD_COLUMNS = (
    "topic_id",
    "partition",
    "offset",
    "transaction_id",
    "user_id",
    "record_time",
    "event_time",
    PARTITION_COLUMN,
)
"""What says which record a row is of; columns of `transactions`, too."""

_UTC = pa.timestamp("us", "UTC")
_PLACE = [
    pa.field("topic_id", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("transaction_id", pa.string(), nullable=False),
    pa.field("user_id", pa.int64(), nullable=False),
]
_VERDICT = [
    pa.field("model", pa.string(), nullable=False),
    pa.field("model_digest", pa.string(), nullable=False),
    pa.field("score", pa.float64(), nullable=False),
    pa.field("threshold", pa.float64(), nullable=False),
    pa.field("anomaly", pa.bool_(), nullable=False),
]
_TIMES = [
    pa.field("record_time", _UTC, nullable=False),
    pa.field("event_time", _UTC, nullable=False),
    pa.field(PARTITION_COLUMN, pa.date32(), nullable=False),
]

FEATURE_SCHEMA: pa.Schema = pa.schema(
    [
        *_PLACE,
        pa.field("feature_tables", pa.string()),
        *(pa.field(feature.name, pa.float32()) for feature in FEATURES),
        *_TIMES,
    ]
)
SCORE_SCHEMA: pa.Schema = pa.schema(
    [*_PLACE, *_VERDICT, pa.field("live", pa.bool_(), nullable=False), *_TIMES]
)
BATCH_SCORE_SCHEMA: pa.Schema = pa.schema(
    [
        *_PLACE,
        *_VERDICT,
        pa.field("job_id", pa.string(), nullable=False),
        pa.field("scored_at", _UTC, nullable=False),
        *_TIMES,
    ]
)
