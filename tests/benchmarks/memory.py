"""Measures the resident memory of a partition actor: `python -m tests.benchmarks.memory --events 10`.

Brings up a hot path of its own with one partition, sends every user the same number of transactions, and
reads the memory of the actor's process before the first record, at the largest sample on the way, and once
all records have settled. One JSON object on stdout; megabytes are 1e6 bytes.

Never: counting the memory of other processes; a shared library counts whole, although others map it too.
"""

import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import click
import msgspec

from ray_fraud.generator.channel import KafkaBatchChannel
from ray_fraud.generator.load_run import LoadPlan, run_load
from ray_fraud.generator.pace import SteadyClock
from ray_fraud.generator.prepared import Template, prepare, read_templates
from ray_fraud.stores.connections import Topics
from tests.actors.platform import Platform, open_platform

PATTERNS = 10_000
SAMPLE_SECONDS = 0.5
LIMIT_SECONDS = 900.0
_USER_ID = re.compile(rb'"user_id":\d+')


class Memory(msgspec.Struct):
    users: int
    events_per_user: int
    seconds: float
    empty_mb: float
    peak_mb: float
    settled_mb: float


def one_each(users: int) -> list[Template]:
    """A template per user, so that each of them is active."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.jsonl"
        with path.open("wb") as file:
            prepare(file, seed=1, users=PATTERNS, count=PATTERNS, alert_share=0.0)
        patterns = read_templates(path)
    return [
        Template(b"%d" % user, _USER_ID.sub(b'"user_id":%d' % user, patterns[user % PATTERNS].tail))
        for user in range(users)
    ]


def measure(platform: Platform, users: int, events: int) -> Memory:
    """Sends `users * events` records and watches the one actor until it has settled them."""
    templates, count = one_each(users), users * events
    connections = platform.config.connections

    def send() -> None:
        channel = KafkaBatchChannel(connections.kafka, connections.topics.transactions)
        run_load(templates, channel, SteadyClock(), LoadPlan(tps=0, seconds=None, count=count))
        channel.close()

    def status() -> dict[str, Any]:
        return platform.status()[0]

    empty, began, peak = status()["resident_bytes"], time.monotonic(), 0
    sender = Thread(target=send, name="load")
    sender.start()
    while (seen := status())["settled_offset"] < count:
        peak = max(peak, seen["resident_bytes"])
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TimeoutError(
                f"{seen['settled_offset']:,} of {count:,} records settled in {LIMIT_SECONDS:.0f} s"
            )
        time.sleep(SAMPLE_SECONDS)
    sender.join()
    seconds = time.monotonic() - began
    seen = status()
    sizes = (bytes_ / 1e6 for bytes_ in (empty, max(peak, seen["resident_bytes"]), seen["resident_bytes"]))
    return Memory(seen["users"], events, round(seconds, 1), *(round(size, 1) for size in sizes))


@click.command(help=__doc__)
@click.option("--users", type=click.IntRange(min=1), default=100_000, show_default=True)
@click.option("--events", type=click.IntRange(min=1), default=10, show_default=True, help="Of each user.")
def main(users: int, events: int) -> None:
    platform = open_platform(Topics(partitions=1))
    try:
        memory = measure(platform, users, events)
    finally:
        platform.close()
    sys.stdout.write(msgspec.json.encode(memory).decode() + "\n")


if __name__ == "__main__":
    main()
