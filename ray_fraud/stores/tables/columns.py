"""The columns of the Delta table `transactions`: one row per accepted record of the log.

| column | type | content |
|---|---|---|
| topic_id, partition, offset | text, i32, i64 | the record's place in the log; together the row's identity |
| record_time | timestamp | Kafka timestamp: the producer's intended send time |
| event_time | timestamp | event time to the millisecond, by which every window is judged |
| transaction_id … channel | as the contract says | the transaction; absent fields are null |
| timestamp | f64 | event time as it was sent, unix seconds |
| card_token, card_first6, card_last4 | text | all that remains of a card number |
| payload_digest | 16 bytes | identifies the payload (`ray_fraud.domain.payload`) |
| user_text | text | the user id as it was sent, if it is text; user_id is its number then |
| event_date | date | UTC day of event_time; the table's partitions |

Times are UTC, in microseconds, which is Delta's unit. A new optional field is a new column at the end, null
in older rows.

Never: a refused record; a card number.
"""

import pyarrow as pa

TRANSACTIONS = "transactions"
"""The table's folder in the lake."""
PARTITION_COLUMN = "event_date"
IMPORTED = "import:"
"""How the topic id of imported rows begins; Kafka's ids have no colon."""

_UTC = pa.timestamp("us", "UTC")

SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("topic_id", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("record_time", _UTC, nullable=False),
        pa.field("event_time", _UTC, nullable=False),
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("timestamp", pa.float64(), nullable=False),
        pa.field("lat", pa.float64()),
        pa.field("lon", pa.float64()),
        pa.field("city", pa.string()),
        pa.field("country", pa.string()),
        pa.field("merchant_id", pa.string()),
        pa.field("device_id", pa.string()),
        pa.field("currency", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("card_token", pa.string()),
        pa.field("card_first6", pa.string()),
        pa.field("card_last4", pa.string()),
        pa.field("payload_digest", pa.binary(), nullable=False),
        pa.field(PARTITION_COLUMN, pa.date32(), nullable=False),
        pa.field("user_text", pa.string()),
    ]
)
