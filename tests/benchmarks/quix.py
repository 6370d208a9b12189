"""The ceiling C against Quix Streams, same topic and same state: `python -m tests.benchmarks.quix`.

Starts servers of its own in a temporary folder, fills a topic of one partition, and lets the two read all
of it in turn, each alone and each round from nothing: `cluster.local.bench.ceiling` (read, decode, fold,
write the cut to Redis) and `quix_application.py` beside this file (read, parse, fold, keep the state in
RocksDB). Both must see the same number of records and of users.

Quix Streams is no dependency of the project, and some of what it needs is not what the project needs. So
the script makes a second virtual environment in the same temporary folder, by `venv` and `pip` of the
Python that runs it, installs `quixstreams` there (which needs a package registry or pip's cache), and
runs the application as a child process of that environment. Nothing of it stays.

One JSON object on stdout (`Comparison`), or a table. What is left out on which side, and so how to read the
ratio: `docs/benchmarks.md`.

Never: a verdict on the machine; rates of two runs side by side. Only the ratio of one run says something.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from cluster.local.bench.ceiling import Ceiling
from cluster.local.bench.plan import FULL
from cluster.local.bench.run import machine
from cluster.local.failures import LocalStackError
from cluster.local.stack import LocalStack
from cluster.local.stack_record import ExternalServers
from ray_fraud.cli.output import Output, expects, output_option, progress, quiet_libraries, show
from ray_fraud.generator.load_run import LoadReport
from ray_fraud.generator.prepared import prepare
from ray_fraud.stores.connections import Topics, to_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin

QUIX_VERSION = "3.28.1"
APPLICATION = Path(__file__).with_name("quix_application.py")
INSTALL_TIMEOUT_SECONDS = 600.0
START_UP_SECONDS = 120.0
"""What a child may take beside its measurement."""


class ComparisonFailed(RuntimeError):
    """A side ended without a result, or the two did not do the same work."""


class Work(msgspec.Struct, frozen=True):
    """What both sides are given."""

    records: int
    users: int
    rounds: int
    limit_seconds: float
    """For one side in one round."""
    commit_seconds: float
    """Between two checkpoints of Quix."""


class QuixRun(msgspec.Struct):
    """What `quix_application.py` prints."""

    records: int
    users: int
    hits: int
    """Of the rules high amount and geo-velocity."""
    seconds: float
    """From the first processed record to the end of the application, the last checkpoint included."""
    closing_seconds: float
    """The part of it after the last record: the last checkpoint, and leaving the consumer group."""

    @property
    def tps(self) -> float:
        return (self.records - 1) / self.seconds if self.seconds else 0.0


class Round(msgspec.Struct, frozen=True):
    """Records per second of both, one after the other."""

    ceiling_tps: float
    quix_tps: float
    ratio: float
    """Ceiling ÷ Quix."""
    quix_closing_seconds: float
    """Of Quix's time: after the last record, mostly the last checkpoint."""
    load_before: tuple[float, float]
    """Processes that were running or waiting before each of the two, over the last minute."""


class Comparison(msgspec.Struct, frozen=True):
    machine: dict[str, object]
    quix_version: str
    work: Work
    users: int
    """Different users among the records; both sides counted the same."""
    rounds: list[Round]
    ceiling_tps: float
    """Median of the rounds."""
    quix_tps: float
    ratio: float
    """Median of the rounds' own ratios, ceiling ÷ Quix."""


def environment_with_quix(folder: Path, version: str) -> Path:
    """The Python of a new virtual environment in `folder` that holds Quix Streams.

    Raises:
        ComparisonFailed: pip could not install it; the message holds pip's last lines.
    """
    progress.print(f"installing quixstreams {version} into an environment of its own")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"quixstreams=={version}")
    child(python, *install, timeout=INSTALL_TIMEOUT_SECONDS)
    return python


def child(python: Path, *arguments: str, timeout: float) -> bytes:
    """Standard output of a process that must end well.

    Raises:
        ComparisonFailed: it did not end in time or ended with an error.
    """
    what = " ".join(arguments[:2])
    try:
        done = subprocess.run([python, *arguments], capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise ComparisonFailed(f"{what}: did not end in {timeout:.0f} s; try fewer --records") from error
    if done.returncode:
        raise ComparisonFailed(f"{what}: exit code {done.returncode}\n{done.stderr.decode()[-2000:]}")
    return done.stdout


class Contest:
    """One broker with one filled topic; each method lets one side read all of it."""

    def __init__(self, folder: Path, quix_python: Path, work: Work) -> None:
        self._folder = folder
        self._quix_python = quix_python
        self._work = work
        self._connections_file = folder / "connections.json"

    def fill(self, stack: LocalStack) -> None:
        """Starts the servers and writes the records.

        Raises:
            LocalStackError, StoreError, ComparisonFailed
        """
        connections = stack.start_servers()
        admin = KafkaLogAdmin(connections.kafka)
        with contextlib.closing(admin):
            admin.ensure_topics(connections.topics)
        self._connections_file.write_bytes(to_json(connections))
        prepared = self._folder / "prepared.jsonl"
        progress.print(
            f"writing {self._work.records:,} records of {self._work.users:,} users to one partition"
        )
        with prepared.open("wb") as file:
            count = min(self._work.records, FULL.prepared_records)
            prepare(file, seed=1, users=self._work.users, count=count, alert_share=FULL.alert_share)
        options = ("--prepared", str(prepared), "--tps", "0", "--count", str(self._work.records))
        sent = msgspec.json.decode(self._own("ray_fraud.generator.load", *options), type=LoadReport)
        if sent.failed or sent.sent != self._work.records:
            raise ComparisonFailed(
                f"the broker took {sent.sent - sent.failed} of {self._work.records} records"
            )

    def ceiling(self) -> Ceiling:
        output = self._own("cluster.local.bench.ceiling", "--seconds", str(self._work.limit_seconds))
        return msgspec.json.decode(output, type=Ceiling)

    def quix(self) -> QuixRun:
        """With a consumer group and a state folder of its own, so that it starts from nothing."""
        group = f"quix-{uuid.uuid4()}"
        state = self._folder / group
        options = {
            "--connections-file": str(self._connections_file),
            "--records": str(self._work.records),
            "--seconds": str(self._work.limit_seconds),
            "--commit-seconds": str(self._work.commit_seconds),
            "--state-dir": str(state),
            "--group": group,
        }
        words = [word for option in options.items() for word in option]
        timeout = self._work.limit_seconds + START_UP_SECONDS
        # Isolated: neither this folder's modules nor the caller's PYTHONPATH are to be seen there.
        output = child(self._quix_python, "-I", str(APPLICATION), *words, timeout=timeout)
        shutil.rmtree(state, ignore_errors=True)
        return msgspec.json.decode(output, type=QuixRun)

    def round(self) -> tuple[Round, int]:
        """Both in turn, and how many users they saw.

        Raises:
            ComparisonFailed: they did not read the same.
        """
        loads = [os.getloadavg()[0]]
        ceiling = self.ceiling()
        loads.append(os.getloadavg()[0])
        quix = self.quix()
        for side, seen in (("the ceiling", ceiling.read), ("Quix", quix.records)):
            if seen != self._work.records:
                raise ComparisonFailed(
                    f"{side} read {seen:,} of {self._work.records:,} records: "
                    "give it longer with --limit-seconds, or fewer --records"
                )
        if ceiling.users != quix.users:
            raise ComparisonFailed(f"the ceiling holds {ceiling.users} users, Quix {quix.users}")
        ratio = ceiling.tps / quix.tps
        return Round(ceiling.tps, quix.tps, ratio, quix.closing_seconds, (loads[0], loads[1])), quix.users

    def _own(self, module: str, *options: str) -> bytes:
        words = ("-m", module, "--connections-file", str(self._connections_file), *options)
        return child(Path(sys.executable), *words, timeout=self._work.limit_seconds + START_UP_SECONDS)


@contextlib.contextmanager
def temporary_stack() -> Iterator[LocalStack]:
    """A stack of one-partition topics, not started; it and its folder are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ray-fraud-quix-"))
    external = ExternalServers(topics=Topics(partitions=1))
    stack = LocalStack(folder, external=external, progress=progress.print)
    try:
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def compare(work: Work, quix_version: str) -> Comparison:
    """Measures both in turn.

    Raises:
        LocalStackError, StoreError, ComparisonFailed: the message says what to do.
    """
    with temporary_stack() as stack:
        folder = stack.paths.data_dir
        quix_python = environment_with_quix(folder / "quix", quix_version)
        contest = Contest(folder, quix_python, work)
        contest.fill(stack)
        measured: list[Round] = []
        for number in range(1, work.rounds + 1):
            result, seen_users = contest.round()
            measured.append(result)
            rates = f"ceiling {result.ceiling_tps:,.0f}/s, Quix {result.quix_tps:,.0f}/s"
            progress.print(f"round {number} of {work.rounds}: {rates}")
    return Comparison(
        machine=machine(),
        quix_version=quix_version,
        work=work,
        users=seen_users,
        rounds=measured,
        ceiling_tps=statistics.median(each.ceiling_tps for each in measured),
        quix_tps=statistics.median(each.quix_tps for each in measured),
        ratio=statistics.median(each.ratio for each in measured),
    )


def table_of(comparison: Comparison) -> Table:
    title = f"{comparison.work.records:,} records of {comparison.users:,} users, records/s"
    quix = f"Quix Streams {comparison.quix_version}"
    table = Table("round", "ceiling C", quix, "C ÷ Quix", "load before each", title=title)
    for number, each in enumerate(comparison.rounds, start=1):
        loads = " / ".join(f"{load:.1f}" for load in each.load_before)
        table.add_row(str(number), *figures(each.ceiling_tps, each.quix_tps, each.ratio), loads)
    table.add_row("median", *figures(comparison.ceiling_tps, comparison.quix_tps, comparison.ratio), "")
    return table


def figures(ceiling_tps: float, quix_tps: float, ratio: float) -> tuple[str, str, str]:
    return f"{ceiling_tps:,.0f}", f"{quix_tps:,.0f}", f"{ratio:.2f}"


@click.command(help=__doc__)
@click.option("--records", type=click.IntRange(min=1000), default=FULL.backlog_records, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=FULL.users, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--limit-seconds", type=click.FloatRange(min=1), default=300.0, show_default=True)
@click.option("--commit-seconds", type=click.FloatRange(min=0), default=5.0, show_default="Quix's own, 5")
@click.option("--quix-version", default=QUIX_VERSION, show_default=True)
@output_option
@expects(LocalStackError, StoreError, ComparisonFailed)
def main(quix_version: str, output: Output, **work: Any) -> None:
    quiet_libraries()
    comparison = compare(Work(**work), quix_version)
    show("quix", msgspec.to_builtins(comparison), output, lambda: table_of(comparison))


if __name__ == "__main__":
    main()
