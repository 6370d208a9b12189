"""`ray-fraud models promote | rollback | split | retire`: one step each, on record, without a restart.

Never: a change that was made from an older state of the registry; a rule (see `stores.ledger.model_changes`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click
import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.cli.lake_place import caller
from ray_fraud.cli.models_place import LabelType, Place, opened
from ray_fraud.cli.output import Output, data_dir_option, output_option, show
from ray_fraud.cli.ranges import FiniteRange
from ray_fraud.domain.split import Split
from ray_fraud.stores.ledger import model_changes as changes
from ray_fraud.stores.ledger.model_events import Cause, EventAction
from ray_fraud.stores.ledger.registry import LIVE, ModelVersion, Share

if TYPE_CHECKING:
    from cluster.local.split_in_force import InForce

P = ParamSpec("P")
Wanted = Callable[[Place, list[ModelVersion]], list[Share]]


def _change_options(command: Callable[P, None]) -> Callable[P, None]:
    """`--why`, `--by`, `--timeout`, `--data-dir` and `--output`."""
    options: tuple[Callable[[Callable[P, None]], Callable[P, None]], ...] = (
        click.option("--why", default="", metavar="TEXT", help="The reason, for the record."),
        click.option("--by", metavar="NAME", help="Who decides.  [default: user@host]"),
        click.option(
            "--timeout",
            type=FiniteRange(min=0),
            default=90.0,
            show_default=True,
            metavar="SECONDS",
            help="For the platform to decide by it; the change stands in any case.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return data_dir_option(output_option(command))


@click.command()
@click.argument("label", type=LabelType(), metavar="NAME:VERSION")
@_change_options
def promote(label: str, why: str, by: str | None, timeout: float, data_dir: Path, output: Output) -> None:
    """Put a version into production, with the users it tests and those of the former one, which is retired.

    Other versions under test keep their users.
    """
    cause = Cause(by or caller(), why, EventAction.PROMOTED)
    _change("promote", data_dir, output, timeout, cause, lambda _, rows: changes.promotion(rows, label))


@click.command()
@_change_options
def rollback(why: str, by: str | None, timeout: float, data_dir: Path, output: Output) -> None:
    """Bring the version back that was in production before the present one, which is retired."""
    cause = Cause(by or caller(), why, EventAction.ROLLED_BACK)
    _change(
        "rollback",
        data_dir,
        output,
        timeout,
        cause,
        lambda place, rows: changes.rollback(rows, place.registry.history()),
    )


class ShareType(click.ParamType[tuple[str, int]]):
    """`NAME:VERSION=PERCENT`."""

    name = "name:version=percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        label, sign, percent = value.partition("=")
        if not sign:
            self.fail(f"{value!r} is not NAME:VERSION=PERCENT, for example isolation_forest:2=10", param, ctx)
        try:
            return LabelType().convert(label, param, ctx), changes.basis_points(percent)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("shares", type=ShareType(), metavar="NAME:VERSION=PERCENT", nargs=-1, required=True)
@click.option("--salt", metavar="TEXT", help="Draws the users of each version anew.")
@_change_options
def split(
    shares: tuple[tuple[str, int], ...],
    salt: str | None,
    why: str,
    by: str | None,
    timeout: float,
    data_dir: Path,
    output: Output,
) -> None:
    """Share the users out among versions; 0 is a shadow, which scores and never alerts.

    Versions that are not named are retired. Production stays it: `ray-fraud models promote` changes it.
    """
    wanted = dict(shares)
    if len(wanted) != len(shares):
        raise click.UsageError("a version is named twice")
    if salt == "":
        raise click.UsageError("--salt must not be empty")
    cause = Cause(by or caller(), why)
    _change(
        "split",
        data_dir,
        output,
        timeout,
        cause,
        lambda _, rows: changes.shares_by_label(rows, wanted),
        salt,
    )


@click.command()
@click.argument("label", type=LabelType(), metavar="NAME:VERSION")
@_change_options
def retire(label: str, why: str, by: str | None, timeout: float, data_dir: Path, output: Output) -> None:
    """Take a version out of its test; production takes its users. One that was never live is put aside."""
    cause = Cause(by or caller(), why, EventAction.RETIRED)
    with opened(data_dir) as place:
        row = changes.version_of(place.registry.versions(), label)
        if row.status not in LIVE:
            place.registry.withdraw(row.id, cause=cause)
            _show("retire", place, place.registry.current_split(), [], None, output)
            return
    _change("retire", data_dir, output, timeout, cause, lambda _, rows: changes.retirement(rows, label))


def _change(
    command: str,
    data_dir: Path,
    output: Output,
    timeout: float,
    cause: Cause,
    wanted: Wanted,
    salt: str | None = None,
) -> None:
    from cluster.local.split_in_force import ray_runs, wait_in_force

    with opened(data_dir) as place:
        fingerprint, rows = place.registry.fingerprint(), place.registry.versions()
        shares = wanted(place, rows)
        made = place.registry.set_split(shares, salt=salt, expected_fingerprint=fingerprint, cause=cause)
        began = time.monotonic()
        if not ray_runs(data_dir):
            _show(command, place, made, [], None, output)
            return
        found = wait_in_force(place.ledger, made.digest, timeout)
        _show(command, place, made, found, time.monotonic() - began, output)


def _show(
    command: str, place: Place, made: Split, found: list[InForce], seconds: float | None, output: Output
) -> None:
    rows = [row for row in place.registry.versions() if row.status in LIVE]
    pending = [each.partition for each in found if each.from_offset is None]
    data = {
        "split": {"digest": made.digest, "salt": made.salt, "arms": msgspec.to_builtins(made.arms)},
        "in_force": [msgspec.to_builtins(each) for each in found],
        "running": seconds is not None,
        "seconds": seconds,
    }
    status = "pending" if pending else "ok"
    show(f"models {command}", data, output, lambda: _text(rows, found, seconds), status)


def _text(rows: list[ModelVersion], found: list[InForce], seconds: float | None) -> Group:
    table = Table("live now", "status", "share", box=None, header_style="bold")
    for row in rows:
        table.add_row(Text(row.label), row.status, f"{row.share_bp / 100:g} %")
    if seconds is None:
        said = ["no platform runs here; it holds from the next start on"]
    else:
        said = [
            f"partition {each.partition}: "
            + ("not yet" if each.from_offset is None else f"from offset {each.from_offset:,} on")
            for each in found
        ]
        said.append(f"after {seconds:.1f} s")
    return Group(table, Text(), Text("\n".join(said)))
