"""Kinds of Kafka clients that the stack can tell how to reach it.

Never: an import beyond the standard library.
"""

from enum import StrEnum


class Client(StrEnum):
    """Kinds of clients, each with settings of its own names."""

    CONSOLE = "console"
    JAVA = "java"
    LIBRDKAFKA = "librdkafka"
    KAFKA_PYTHON = "kafka-python"
