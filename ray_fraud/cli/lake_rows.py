"""`ray-fraud lake correct | delete-user`: the two ways in which rows of the lake change.

Never: a change without a reason on record.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cluster.local.stack_record import load_connections
from ray_fraud.cli.lake_care import care_of, platforms_own
from ray_fraud.cli.lake_place import FILE, caller, lake_options
from ray_fraud.cli.lake_settings import held_settings
from ray_fraud.cli.output import Output, fail, output_option, show
from ray_fraud.cli.ranges import WholeRange
from ray_fraud.stores.connections import LakeLocation

if TYPE_CHECKING:
    from batch.care.correction import CorrectionReport
    from batch.care.deletion import DeletionReport
    from batch.care.erasure import Erasure

SHOWN_UNKNOWN = 20

reason_option = click.option(
    "--reason", required=True, metavar="TEXT", help="Why; it is kept with the change."
)


@click.command()
@click.argument("file", type=FILE)
@reason_option
@click.option("--partial", is_flag=True, help="Correct the rows that exist although others do not.")
@output_option
@lake_options
def correct(file: Path, reason: str, partial: bool, location: LakeLocation, output: Output) -> None:
    """Correct rows of `transactions`, found by their place in the log.

    FILE has one JSON object a line: topic_id, partition and offset of the record, and the columns to change
    with their new values. One line without a row means that nothing is done, unless with --partial. A
    corrected row must be one that the hot path would have accepted under the settings of its time.
    """
    from batch.care.correction import correct as correct_rows
    from batch.care.correction import read_corrections

    options = click.get_current_context().params
    report = correct_rows(
        location,
        read_corrections(file),
        caller(),
        _said("--reason", reason),
        held_settings(options["data_dir"], own_lake=platforms_own(options)),
        partial=partial,
    )
    good = not report.unknown or (partial and report.corrected > 0)
    data = msgspec.to_builtins(report) | {"unknown": [place._asdict() for place in report.unknown]}
    show("lake correct", data, output, lambda: _correction(report), "ok" if good else "failed")
    if not good:
        sys.exit(1)


@click.command("delete-user")
@click.argument("user_id", metavar="USER", type=WholeRange(0, 2**63 - 1))
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Remove the files now; no earlier version can be read then.")
@output_option
@lake_options
def delete_user(
    user_id: int, reason: str, yes: bool, purge: bool, location: LakeLocation, output: Output
) -> None:
    """Delete all rows of USER from the lake's tables; it is put on record who did it, when and why.

    The newest features in PostgreSQL go, too. The answer lists what remains where and until when; exit code
    1 if PostgreSQL did not answer. Rows that reach the lake later are not deleted. An interrupted deletion is
    finished by asking again.
    """
    from batch.care.deletion import delete_user as delete_rows_of
    from batch.care.erasure import erase_outside, outside_of

    reason = _said("--reason", reason)
    if not yes and not click.confirm(f"Delete all rows of user {user_id} in {location.url}?", err=True):
        fail("nothing was deleted")
    # Of the platform's daily care, which is the one that removes the bytes.
    options = click.get_current_context().params
    retention = care_of(options).retention
    outside = outside_of(load_connections(options["data_dir"])) if platforms_own(options) else None
    report = delete_rows_of(location, user_id, caller(), reason, retention, purge=purge)
    erasure = erase_outside(outside, user_id, datetime.now(UTC))
    data = msgspec.to_builtins(report) | msgspec.to_builtins(erasure)
    status = "failed" if erasure.failed else "ok"
    show("lake delete-user", data, output, lambda: Group(_deletion(report), _outside(erasure)), status)
    if erasure.failed:
        sys.exit(1)


def _said(option: str, text: str) -> str:
    if not text.strip():
        raise click.BadParameter("say why", param_hint=option)
    return text.strip()


def _correction(report: CorrectionReport) -> Group:
    lines = [Text(f"no row: topic {topic}, partition {partition}, offset {offset}", "red")
             for topic, partition, offset in report.unknown[:SHOWN_UNKNOWN]]  # fmt: skip
    if len(report.unknown) > SHOWN_UNKNOWN:
        lines.append(Text(f"… and {len(report.unknown) - SHOWN_UNKNOWN:,} more without a row"))
    if report.version is None:
        lines.append(Text("nothing was corrected"))
    else:
        lines.append(Text(f"{report.corrected:,} rows corrected in version {report.version}"))
    return Group(*lines)


def _outside(erasure: Erasure) -> Group:
    lines = [Text(f"{place}: {rows:,} rows deleted") for place, rows in erasure.deleted.items()]
    lines += [Text(f"not done, ask again: {failure}", "red") for failure in erasure.failed]
    table = Table("remains", "rows", "until (UTC)", "why", box=None, header_style="bold")
    for one in erasure.remains:
        until = "–" if one.until is None else one.until.strftime("%Y-%m-%d %H:%M")
        table.add_row(Text(one.where), "–" if one.rows is None else f"{one.rows:,}", until, Text(one.why))
    return Group(*lines, table)


def _deletion(report: DeletionReport) -> Group:
    table = Table("table", "rows deleted", box=None, header_style="bold")
    for name, rows in report.rows.items():
        table.add_row(name, f"{rows:,}")
    lines = [Text(f"on record as {report.deletion_id} in lake_deletions")]
    if report.resumed:
        lines.append(Text("it went on with a request that was left open, under that one's reason"))
    if report.bytes_until is not None:
        until = report.bytes_until.strftime("%Y-%m-%d %H:%M")
        kept = f"earlier versions keep the bytes until the first care after {until} UTC; see --purge"
        lines.append(Text(kept))
    else:
        gone = f"{report.purged_files:,} files removed; earlier versions cannot be read any more"
        lines.append(Text(gone))
    return Group(table, *lines)
