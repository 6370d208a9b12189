"""Connections as a JSON file: how a process of its own is told where Kafka is.

Never: a secret; connections name the files that hold them.
"""

from pathlib import Path

import msgspec

from ray_fraud.stores.connections import Connections, from_json


class ConnectionsFileError(ValueError):
    """The file's content is no `Connections`; the message names the field."""


def read_connections(file: Path) -> Connections:
    """The connections in the file.

    Raises:
        ConnectionsFileError: the content is something else.
    """

    try:
        return from_json(file.read_bytes(), Connections)
    except (msgspec.DecodeError, TypeError) as error:
        raise ConnectionsFileError(f"{file}: {error}") from error
