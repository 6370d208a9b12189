"""The ingest against plain consumption of the same topic: `python -m tests.benchmarks.ingest`.

Starts Kafka and Ray of its own in a temporary folder, fills the topic with prepared records, and in each
round reads all of it with a plain kafka-python consumer (one process, nothing done with the records), then
ingests it into a table of its own. The same run gives both, because machines differ; the ratio is the result.

The ingest's clock runs from the call to the last commit. In the first round it pays for Ray Data's worker
processes, which later ones find ready, as the batches of a schedule do.

Never: a verdict; rates of two runs side by side.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
import msgspec
import ray
from kafka import KafkaConsumer, TopicPartition
from rich.table import Table

from batch.ingest.config import IngestConfig
from batch.ingest.run import run_ingest
from cluster.local.failures import LocalStackError
from cluster.local.ray_node import RayOptions
from cluster.local.stack import LocalStack
from ray_fraud.cli.output import Output, expects, output_option, progress, quiet_libraries, show
from ray_fraud.generator.prepared import prepare
from ray_fraud.stores.connections import Connections, LakeLocation, to_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_client import client_settings

USERS = 100_000
PREPARED = 200_000
LOAD_TIMEOUT_SECONDS = 600.0


class Round(msgspec.Struct, frozen=True):
    plain_tps: float
    ingest_tps: float

    @property
    def ratio(self) -> float:
        return self.ingest_tps / self.plain_tps


class Measured(msgspec.Struct, frozen=True):
    records: int
    rounds: list[Round]
    ratio: float
    """Ingest ÷ plain consumption, median of the rounds."""


def fill(folder: Path, connections: Connections, records: int) -> None:
    """Writes the records."""
    with closing(KafkaLogAdmin(connections.kafka)) as admin:
        admin.ensure_topics(connections.topics)
    file, prepared = folder / "connections.json", folder / "prepared.jsonl"
    file.write_bytes(to_json(connections))
    with prepared.open("wb") as stream:
        prepare(stream, seed=1, users=USERS, count=min(records, PREPARED), alert_share=0.01)
    command = [sys.executable, "-m", "ray_fraud.generator.load", "--connections-file", str(file)]
    options = ["--prepared", str(prepared), "--tps", "0", "--count", str(records)]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, timeout=LOAD_TIMEOUT_SECONDS)


def plain(connections: Connections, records: int) -> float:
    """Records per second of a consumer that does nothing with them."""
    topics = connections.topics
    consumer = KafkaConsumer(
        group_id=None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=10_000,
        metrics_enabled=False,
        **client_settings(connections.kafka),
    )
    with closing(consumer):
        consumer.assign([TopicPartition(topics.transactions, number) for number in range(topics.partitions)])
        consumer.seek_to_beginning()
        seen, began = 0, time.perf_counter()
        while seen < records:
            seen += sum(map(len, consumer.poll(timeout_ms=1_000).values()))
        return records / (time.perf_counter() - began)


def ingested(connections: Connections, lake: Path, records: int) -> float:
    """Records per second into a new table."""
    config = IngestConfig(connections=msgspec.structs.replace(connections, lake=LakeLocation(lake.as_uri())))
    began = time.perf_counter()
    report = run_ingest(config)
    seconds = time.perf_counter() - began
    if report.accepted != records:
        raise RuntimeError(f"{report.accepted} of {records} records are in the table")
    return records / seconds


@click.command(help=__doc__)
@click.option("--records", type=click.IntRange(min=1), default=600_000, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@output_option
@expects(LocalStackError, StoreError)
def main(records: int, rounds: int, output: Output) -> None:
    quiet_libraries()
    folder = Path(tempfile.mkdtemp(prefix="ray-fraud-ingest-"))
    stack = LocalStack(folder, ray=RayOptions(dashboard=False), progress=progress.print)
    try:
        connections = stack.start_servers()
        stack.start_ray()
        stack.connect(log_to_driver=False)
        progress.print(f"writing {records:,} records")
        fill(folder, connections, records)
        measured = []
        for number in range(rounds):
            one = Round(
                plain(connections, records), ingested(connections, folder / f"lake-{number}", records)
            )
            rates = f"plain {one.plain_tps:,.0f}/s, ingest {one.ingest_tps:,.0f}/s"
            progress.print(f"round {number + 1}: {rates} = {one.ratio:.2f}")
            measured.append(one)
    finally:
        # A driver that is connected when Ray ends would end its own process.
        ray.shutdown()
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    result = Measured(records, measured, statistics.median(one.ratio for one in measured))
    show("benchmark ingest", msgspec.to_builtins(result), output, lambda: _table(result))


def _table(result: Measured) -> Table:
    table = Table("round", "plain/s", "ingest/s", "ratio", title=f"{result.records:,} records")
    for number, one in enumerate(result.rounds, 1):
        table.add_row(str(number), f"{one.plain_tps:,.0f}", f"{one.ingest_tps:,.0f}", f"{one.ratio:.2f}")
    table.add_row("median", "", "", f"{result.ratio:.2f}")
    return table


if __name__ == "__main__":
    main()
