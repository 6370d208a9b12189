"""Sizes that the writer, the topics and the memory log agree on.

Never: limits of the contract of a transaction (the decoder has its own).
"""

MAX_RECORD_BYTES = 1_048_588
"""Kafka's default `max.message.bytes`: 1 MiB and the overhead of a batch."""

DEAD_LETTER_HEADROOM_BYTES = 65_536
"""What a dead letter's headers may add to the largest input."""
