"""What is remembered of a stack in its data folder: the addresses with which the last start ended.

Never: a secret (connections name files).
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from cluster.local.failures import NoStackError
from cluster.local.paths import StackPaths
from cluster.local.ray_address import RayAddress
from cluster.local.secret_files import write_private
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
    from_json,
    to_json,
)

FEWEST_PARTITIONS = 2
"""Also on one core: what happens only between partitions should happen on a laptop, too."""


class ExternalServers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Servers of the user's own; None: the embedded one (for the lake: a folder of the data folder)."""

    kafka: KafkaConnection | None = None
    redis: RedisConnection | None = None
    postgres: PostgresConnection | None = None
    lake: LakeLocation | None = None
    topics: Topics | None = None
    """None: see `unnamed_topics`."""
    card_key_file: Path | None = None
    user_key_file: Path | None = None


class StackRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema_version: int = 1
    external: ExternalServers = ExternalServers()
    connections: Connections | None = None
    ray: RayAddress | None = None


def unnamed_topics(record: StackRecord, external: ExternalServers, cores: int) -> Topics:
    """The topics of a stack for which none are named.

    Those that an earlier start made in the same Kafka; in a Kafka of the user's own the usual ones. In a new
    embedded one they have no more partitions than there are cores: an actor more costs more than it brings
    (2 cores, 500 transactions/s: two partitions take 1.4 cores, three 1.5 to 1.6).
    """
    if record.connections is not None and record.external.kafka == external.kafka:
        return record.connections.topics
    usual = Topics()
    if external.kafka is not None:
        return usual
    return msgspec.structs.replace(usual, partitions=max(FEWEST_PARTITIONS, min(usual.partitions, cores)))


def where_partitions_are_set(paths: StackPaths, external: ExternalServers) -> str:
    """For people: where the number of the input's partitions comes from, and how to set another."""
    source = (
        "that number comes from `topics.partitions` of the connections file, which is remembered in "
        if external.topics is not None
        else "no file names that number: it is the one of the first start, remembered in "
    )
    return (
        f"{source}{paths.state}; to go on with another, set `topics.partitions` in a TOML or JSON file and "
        "start with `ray-fraud up --connections FILE`"
    )


class Health(StrEnum):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """It runs (as far as we can know) and does not answer."""
    DOWN = "down"


class ServiceState(msgspec.Struct, frozen=True):
    address: str
    """Empty if it was never started."""
    health: Health
    external: bool
    pid: int | None
    """None: external, or not running."""


def read_record(paths: StackPaths) -> StackRecord:
    """The record; an empty one if nothing was started yet.

    Raises:
        NoStackError: the file is not a record.
    """
    try:
        return from_json(paths.state.read_bytes(), StackRecord)
    except FileNotFoundError:
        return StackRecord()
    except msgspec.MsgspecError as error:
        raise NoStackError(f"{paths.state}: not readable ({error}); start the stack again") from error


def write_record(paths: StackPaths, record: StackRecord) -> None:
    write_private(paths.state, msgspec.json.format(to_json(record)).decode() + "\n")


def load_connections(data_dir: Path) -> Connections:
    """How to reach the servers of the stack in `data_dir`, whether it runs or not.

    Raises:
        NoStackError: nothing was ever started there.
    """
    connections = read_record(StackPaths(data_dir)).connections
    if connections is None:
        raise NoStackError(f"{data_dir}: no stack here; start one with `ray-fraud up --data-dir {data_dir}`")
    return connections


def load_ray(data_dir: Path) -> RayAddress:
    """How to reach the Ray of the stack in `data_dir`, whether it runs or not.

    Raises:
        NoStackError: nothing was ever started there.
    """
    address = read_record(StackPaths(data_dir)).ray
    if address is None:
        raise NoStackError(f"{data_dir}: no Ray here; start one with `ray-fraud up --data-dir {data_dir}`")
    return address
