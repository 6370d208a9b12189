"""`ray-fraud connect`: a client configuration for producers of the user's own.

Never: a password on the screen.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Group
from rich.text import Text

from cluster.local.clients import Client
from cluster.local.paths import StackPaths
from cluster.local.stack_record import load_connections
from ray_fraud.cli.output import Output, data_dir_option, output_option, show
from ray_fraud.stores.connections import Connections

if TYPE_CHECKING:
    from cluster.local.client_config import ClientConfig

EXAMPLE_AMOUNT = 2500.0
"""Above the default limit of the rule `high_amount`, so that the example is seen as an alert."""
KEY_RULE = (
    "the user id as text, as it stands in the value but without quotes; "
    "partition = (murmur2(key) & 0x7fffffff) % partitions"
)

ANY_KEY = "any, in any partition: the platform brings each record to its user's partition itself"


@click.command()
@click.option(
    "--client",
    type=click.Choice([each.value for each in Client]),
    default=Client.CONSOLE.value,
    show_default=True,
    help="Whose names of settings: Kafka's console producer, any Java client, librdkafka, kafka-python.",
)
@data_dir_option
@output_option
def connect(client: str, data_dir: Path, output: Output) -> None:
    """How your own producer sends transactions to this stack: settings, key, partitioner, an example."""
    from cluster.local.client_config import EXAMPLE_USER, client_config

    connections = load_connections(data_dir)
    value = json.dumps(
        {
            "transaction_id": str(uuid.uuid4()),
            "user_id": EXAMPLE_USER,
            "amount": EXAMPLE_AMOUNT,
            "timestamp": round(time.time(), 3),
        }
    )
    config = client_config(Client(client), connections, StackPaths(data_dir), value)
    show("connect", connect_data(connections, config), output, lambda: _view(connections, config))


def connect_data(connections: Connections, config: ClientConfig) -> dict[str, Any]:
    """What `--output json` tells."""
    from cluster.local.client_config import EXAMPLE_USER
    from ray_fraud.domain.placement import partition_of_user

    topics, kafka = connections.topics, connections.kafka
    return {
        "client": config.client.value,
        "bootstrap": kafka.bootstrap,
        "security": kafka.security.value,
        "password_file": None if kafka.password_file is None else str(kafka.password_file),
        "topics": msgspec.to_builtins(topics),
        "topic": topics.input,
        "key": ANY_KEY if topics.rekey_from else KEY_RULE,
        "partitioner": config.partitioner,
        "file": None if config.file is None else str(config.file),
        "settings": config.settings,
        "example": config.example,
        "example_user": EXAMPLE_USER,
        "example_partition": partition_of_user(EXAMPLE_USER, topics.partitions),
    }


def _view(connections: Connections, config: ClientConfig) -> Group:
    topics = connections.topics
    lines = [
        f"send to      topic {topics.input}"
        + ("" if topics.rekey_from else f" ({topics.partitions} partitions)"),
        f"key          {ANY_KEY if topics.rekey_from else KEY_RULE}",
        f"partitioner  {config.partitioner}",
        f"comes back   alerts in topic {topics.alerts}, refused records in {topics.dead_letters}",
        "",
    ]
    if config.file is not None:
        lines.append(f"settings     {config.file} (it holds secrets: only you can read it)")
        lines += [f"  {name}={value}" for name, value in config.settings.items()]
        lines.append("")
    lines.append("example      sends one transaction; by the default settings it is an alert of high_amount")
    return Group(Text("\n".join(lines)), Text(), Text(config.example), Text("more: docs/producers.md"))
