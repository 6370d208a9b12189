"""The load generator as a process of its own:

`python -m ray_fraud.generator.load --connections-file F --prepared FILE --tps N --seconds S`

One JSON object on stdout at the end (`LoadReport`); SIGTERM and Ctrl-C end it in order. Exit code 1 if a
record failed.

Never: anything but wiring; see `load_run`.
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from ray_fraud.generator.channel import KafkaBatchChannel
from ray_fraud.generator.connections_file import read_connections
from ray_fraud.generator.load_run import TICK_MS, LoadPlan, run_load
from ray_fraud.generator.pace import SteadyClock
from ray_fraud.generator.prepared import read_templates
from ray_fraud.generator.stopping import stop_on_signals


@click.command()
@click.option("--connections-file", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--prepared", required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--tps", required=True, type=click.FloatRange(min=0), help="0: as fast as the broker takes them."
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True))
@click.option("--count", type=click.IntRange(min=1))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--tick-ms", type=click.IntRange(1, 1000), default=TICK_MS, show_default=True)
def main(connections_file: Path, prepared: Path, **plan: Any) -> None:
    """Send prepared records at an exact rate."""
    connections = read_connections(connections_file)
    templates = read_templates(prepared)
    channel = KafkaBatchChannel(connections.kafka, connections.topics.transactions)
    with closing(channel), stop_on_signals() as stopped:
        report = run_load(templates, channel, SteadyClock(), LoadPlan(**plan), stopped)
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    if report.failed:
        sys.stderr.write(f"{report.failed} of {report.sent} records failed: {channel.first_error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
