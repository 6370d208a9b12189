"""Sizes that the reader, the writer, the topics and the memory log agree on.

Never: limits of the contract of a transaction (the decoder has its own).
"""

from collections.abc import Callable

from ray_fraud.domain.dead_letter import SMALLEST_LIMIT_BYTES
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.errors import StoreRefused

MAX_RECORD_BYTES = 1_048_588
"""Kafka's default `max.message.bytes`: 1 MiB and the overhead of a batch."""

DEAD_LETTER_HEADROOM_BYTES = 65_536
"""What a dead letter's headers may add to the largest input."""

LARGEST_ALERT_BYTES = 16_384
"""More than any alert of the contract's longest texts takes."""

LARGEST_REQUEST_BYTES = 16_777_216
"""What the writer may send at once: above any usual topic's limit, so a broker judges by the topic's."""
LARGEST_BATCH_BYTES = LARGEST_REQUEST_BYTES - 1_024
"""The client estimates a record's overhead, a little above the truth."""

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


def check_limits(topics: Topics, largest_batch_bytes: Callable[[str], int]) -> None:
    """Raises StoreRefused if a topic could not take what the platform has to write into it."""
    smallest = {topics.dead_letters: SMALLEST_LIMIT_BYTES, topics.alerts: LARGEST_ALERT_BYTES}
    for topic, needed in smallest.items():
        found = largest_batch_bytes(topic)
        if found < needed:
            raise StoreRefused(
                "kafka",
                f"topic {topic!r} takes batches of {found} bytes only: set its max.message.bytes to {needed} "
                "or more",
            )
