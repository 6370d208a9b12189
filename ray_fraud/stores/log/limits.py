"""Sizes that the reader, the writer, the topics and the memory log agree on.

Never: limits of the contract of a transaction (the decoder has its own).
"""

MAX_RECORD_BYTES = 1_048_588
"""Kafka's default `max.message.bytes`: 1 MiB and the overhead of a batch."""

DEAD_LETTER_HEADROOM_BYTES = 65_536
"""What a dead letter's headers may add to the largest input."""

KEPT_VALUE_BYTES = 1_048_576 + 65_536
"""Of a longer value only so much is read into memory: all that a dead letter could hold by default."""
KEPT_KEY_BYTES = 65_536
KEPT_HEADERS_BYTES = 65_536
"""Names and values together, as they lie in the log."""

KEYED_RECORD_BYTES = KEPT_VALUE_BYTES + KEPT_KEY_BYTES + KEPT_HEADERS_BYTES + 65_536
"""Takes whatever a reader can hold, and the headers that say where a re-keyed record came from."""

MAX_INFLATED_BYTES = 268_435_456
"""What one compressed batch may become: beyond it, it counts as damaged. Gzip makes 1,000 bytes of one."""
POLL_BYTES = 16_777_216
"""One poll returns no more than about this many bytes of records, however many it was asked for."""
