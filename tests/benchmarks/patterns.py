"""Recall and precision of the pattern rules against the generator's ground truth, and their cost.

    python -m tests.benchmarks.patterns --users 2000 --days 30
    python -m tests.benchmarks.patterns --rows 10000000

Generates a history with all kinds of fraud, runs every rule over it with its default parameters, and compares
the members of findings with the labels. *Recall* of a rule for a kind of fraud: the share of that kind's
transactions that are members of one of the rule's findings. *Precision*: the share of the rule's members that
are frauds of any kind. The hot rules without a model are counted by incident. With `--rows` the history is
repeated under new users, a period later each time, up to that many rows, and only time and memory count.

Never: a rule whose parameters were fitted to the seed that is measured; the default seed is another one.
"""

import itertools
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import click
import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.table import Table

from batch.patterns.columns_of import pattern_columns, with_cells
from batch.patterns.rules import totals_of_joins, totals_of_users
from ray_fraud.cli.output import Output, output_option, progress, show
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.patterns.coordinated import coordinated
from ray_fraud.domain.patterns.finding import Finding, Ints
from ray_fraud.domain.patterns.frequency import frequency
from ray_fraud.domain.patterns.geographic import geographic_clusters
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.patterns.temporal import temporal
from ray_fraud.domain.record import Record
from ray_fraud.generator.encode import encode_transaction
from ray_fraud.generator.population import NATURAL_TRANSACTIONS_PER_DAY
from ray_fraud.generator.stream import StreamSettings, transactions

START = 1_788_220_800.0
CHUNK = 5_000
INCIDENT_MS = 3_600_000
DAY = 86_400.0


class Quality(msgspec.Struct, frozen=True):
    rule: str
    findings: int
    members: int
    precision: float
    recall: dict[str, float]
    """By kind of fraud; kinds of which it finds nothing are left out."""


class Measured(msgspec.Struct, frozen=True):
    rows: int
    frauds: dict[str, int]
    quality: list[Quality]
    seconds: dict[str, float]
    peak_mb: float


def stream_of(users: int, days: float, seed: int, fraud_share: float) -> StreamSettings:
    rate_hz = users * NATURAL_TRANSACTIONS_PER_DAY / DAY
    return StreamSettings(
        START, seed=seed, users=users, rate_hz=rate_hz, fraud_share=fraud_share, span_seconds=days * DAY
    )


def hot_quality(settings: StreamSettings, labels: list[str | None]) -> list[Quality]:
    """The hot rules without a model over the same history, folded as the batch folds the lake.

    They judge single transactions, so recall counts incidents: frauds of one kind and user, an hour apart at
    most, of which one transaction is found. A journey has two ends, and a hit is right if either is a fraud.
    """
    state = PartitionState(0, Decoder(None))
    at: dict[tuple[int, int], int] = {}
    """The last transaction of a user at a moment."""
    incidents: list[int] = []
    open_incidents: dict[tuple[int, str], tuple[int, int]] = {}
    ends: dict[str, list[tuple[int, int]]] = defaultdict(list)
    stream = enumerate(transactions(settings))
    while chunk := list(itertools.islice(stream, CHUNK)):
        records = [
            Record(offset, round(made.event_time * 1000), None, encode_transaction(made.transaction))
            for offset, made in chunk
        ]
        for offset, made in chunk:
            user, event_ms = made.transaction.user_id, made.transaction.event_ms
            at[user, event_ms] = offset
            key = (user, labels[offset] or "")
            last, incident = open_incidents.get(key, (-INCIDENT_MS, -1))
            incident = incident if event_ms - last < INCIDENT_MS else offset
            open_incidents[key] = event_ms, incident
            incidents.append(incident)
        for row in state.observe(records).rows:
            for hit in row.hits:
                other = None if hit.neighbour is None else hit.neighbour.event_ms
                user = row.transaction.user_id
                ends[hit.rule].append((row.offset, at.get((user, other or 0), row.offset)))
    return [
        _of_incidents(rule, np.array(found), labels, np.array(incidents))
        for rule, found in sorted(ends.items())
    ]


def _of_incidents(rule: str, ends: Ints, labels: list[str | None], incidents: Ints) -> Quality:
    scenario = np.array([label or "" for label in labels])
    right = (scenario[ends] != "").any(axis=1)
    found = np.unique(ends.reshape(-1)[scenario[ends.reshape(-1)] != ""])
    recall = {}
    for kind in np.unique(scenario[found]):
        every = np.unique(incidents[scenario == kind])
        of_kind = np.unique(incidents[found[scenario[found] == kind]])
        recall[str(kind)] = len(of_kind) / len(every)
    return Quality(rule, len(ends), len(ends), float(right.mean()), recall)


def history(settings: StreamSettings) -> tuple[pa.Table, list[str | None]]:
    """Rows as the lake has them, and each one's scenario."""
    rows: dict[str, list[Any]] = defaultdict(list)
    labels: list[str | None] = []
    for made in transactions(settings):
        tx = made.transaction
        place = tx.location
        rows["user_id"].append(tx.user_id)
        rows["event_time"].append(tx.event_ms * 1000)
        rows["amount"].append(tx.amount)
        rows["lat"].append(None if place is None else place.lat)
        rows["lon"].append(None if place is None else place.lon)
        rows["merchant_id"].append(tx.merchant_id)
        rows["device_id"].append(tx.device_id)
        labels.append(None if made.scenario is None else made.scenario.value)
    table = pa.table(dict(rows))
    at = table.schema.get_field_index("event_time")
    return table.set_column(at, "event_time", table["event_time"].cast(pa.timestamp("us", "UTC"))), labels


def quality(findings: list[Finding], labels: list[str | None]) -> list[Quality]:
    scenario = np.array([label or "" for label in labels])
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_rule[finding.rule].append(finding)
    result = []
    for rule, found in sorted(by_rule.items()):
        members = np.unique(np.fromiter(itertools.chain.from_iterable(f.rows for f in found), np.int64))
        result.append(_quality(rule, len(found), members, scenario))
    return result


def _quality(rule: str, findings: int, members: Ints, scenario: NDArray[np.str_]) -> Quality:
    hit = scenario[members]
    recall = {
        str(kind): float((hit == kind).sum() / (scenario == kind).sum()) for kind in np.unique(hit) if kind
    }
    return Quality(rule, findings, len(members), float((hit != "").mean()), recall)


def repeated(table: pa.Table, rows: int, users: int) -> pa.Table:
    """At least that many rows: the same history again and again under new users."""
    copies = []
    at = table.schema.get_field_index("event_time")
    times = table["event_time"].cast(pa.int64()).to_numpy()
    span = int(times.max() - times.min()) + 1
    for number in range(-(-rows // table.num_rows)):
        copy = table.set_column(0, "user_id", pa.array(table["user_id"].to_numpy() + number * users))
        later = pa.array(times + number * span).cast(pa.timestamp("us", "UTC"))
        copies.append(copy.set_column(at, "event_time", later))
    return pa.concat_tables(copies).slice(0, rows).combine_chunks()


def run(table: pa.Table) -> tuple[list[Finding], dict[str, float]]:
    """All findings, and the seconds of each step."""
    settings = PatternSettings()
    seconds: dict[str, float] = {}
    findings: list[Finding] = []
    began = time.perf_counter()
    columns = pattern_columns(with_cells(table))
    _ = columns.by_user
    seconds["columns"] = time.perf_counter() - began
    began = time.perf_counter()
    totals = totals_of_users(columns, settings) + totals_of_joins(columns, settings)
    seconds["totals"] = time.perf_counter() - began
    rules: dict[str, Callable[[], list[Finding]]] = {
        "frequency": lambda: frequency(columns, settings.frequency, totals),
        "geographic": lambda: geographic_clusters(columns, settings.geographic, totals),
        "temporal": lambda: temporal(columns, settings.temporal, totals),
        "coordinated": lambda: coordinated(columns, settings.coordinated, totals),
    }
    for name, rule in rules.items():
        began = time.perf_counter()
        findings += rule()
        seconds[name] = time.perf_counter() - began
    seconds["all"] = sum(seconds.values())
    return findings, seconds


@click.command(help=__doc__)
@click.option("--users", type=click.IntRange(min=1), default=2_000, show_default=True)
@click.option("--days", type=float, default=30.0, show_default=True)
@click.option("--seed", type=int, default=77, show_default=True)
@click.option("--fraud-share", type=float, default=0.02, show_default=True)
@click.option("--rows", type=int, default=None, help="Repeat the history up to this many rows.")
@output_option
def main(users: int, days: float, seed: int, fraud_share: float, rows: int | None, output: Output) -> None:
    progress.print(f"generating {days:g} days of {users:,} users")
    settings = stream_of(users, days, seed, fraud_share)
    table, labels = history(settings)
    frauds = {kind: labels.count(kind) for kind in sorted({label for label in labels if label is not None})}
    if rows is not None:
        table = repeated(table, rows, users)
    progress.print(f"running the rules over {table.num_rows:,} rows")
    findings, seconds = run(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    judged = [*quality(findings, labels), *hot_quality(settings, labels)] if rows is None else []
    measured = Measured(table.num_rows, frauds, judged, seconds, peak)
    show("benchmark patterns", msgspec.to_builtins(measured), output, lambda: _table(measured))


def _table(measured: Measured) -> Table:
    table = Table(
        "rule", "findings", "members", "precision", "recall by kind of fraud", title=f"{measured.rows:,} rows"
    )
    for one in measured.quality:
        recall = ", ".join(f"{kind} {share:.2f}" for kind, share in one.recall.items())
        table.add_row(one.rule, f"{one.findings:,}", f"{one.members:,}", f"{one.precision:.2f}", recall)
    for name, seconds in measured.seconds.items():
        table.add_row(name, "", "", "", f"{seconds:.2f} s")
    table.add_row("peak memory", "", "", "", f"{measured.peak_mb:,.0f} MB")
    return table


if __name__ == "__main__":
    sys.exit(main())
