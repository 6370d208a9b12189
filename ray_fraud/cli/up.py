"""`ray-fraud up`: the whole platform in the background.

Never: a password on the command line; a change of a stack that runs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Group

from cluster.local.stack_record import ExternalServers, read_record
from ray_fraud.cli.external_servers import read_external, with_addresses
from ray_fraud.cli.output import (
    Output,
    data_dir_option,
    fail,
    output_option,
    progress,
    quiet_libraries,
    show,
)
from ray_fraud.cli.ranges import FiniteRange
from ray_fraud.cli.settings_file import BATCH, DETECTION
from ray_fraud.cli.stack import platform_data, services_table, warning_lines
from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.settings import DetectionSettings

if TYPE_CHECKING:
    from cluster.local.platform_state import PlatformState
    from cluster.local.running import Running
    from cluster.local.stack import LocalStack

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.5


@click.command()
@click.option("--kafka", metavar="HOST:PORT", help="Use this broker instead of an embedded one.")
@click.option("--redis", metavar="URL", help="redis://host:port/0 or rediss://…, instead of an embedded one.")
@click.option("--postgres", metavar="URL", help="postgresql://user@host:port/db, instead of an embedded one.")
@click.option("--lake", metavar="URL", help="file:///folder or s3://bucket/prefix, instead of a folder here.")
@click.option(
    "--connections",
    "connections_file",
    type=FILE,
    help="JSON or TOML file that names servers with TLS, SASL, AUTH or sslmode.",
)
@click.option("--settings", "settings_file", type=FILE, help="TOML file of detection settings; remembered.")
@click.option(
    "--batch-settings",
    "batch_settings_file",
    type=FILE,
    help="TOML file of the cold path's settings; remembered.",
)
@click.option(
    "--batch-minutes",
    type=FiniteRange(0.1, 10_080),
    help="From one run of the cold path to the next, this time; else as the settings say (5).",
)
@click.option(
    "--stall-seconds",
    type=FiniteRange(5, 3_600),
    help="A partition with lag that settles nothing for this long is unhealthy and gets another owner "
    "(30); remembered.",
)
@data_dir_option
@output_option
def up(
    kafka: str | None,
    redis: str | None,
    postgres: str | None,
    lake: str | None,
    connections_file: Path | None,
    settings_file: Path | None,
    batch_settings_file: Path | None,
    batch_minutes: float | None,
    stall_seconds: float | None,
    data_dir: Path,
    output: Output,
) -> None:
    """Start the platform in the background and wait until it is healthy.

    Servers that are not named are started here, with their data in the data folder. The servers and settings
    of the last start are remembered: a later `up` needs no options. On a running stack nothing is changed.
    """
    from cluster.local.running import bring_up, find_running, refuse_other_servers
    from cluster.local.stack import LocalStack

    quiet_libraries()
    addresses = {"kafka": kafka, "redis": redis, "postgres": postgres, "lake": lake}
    external = _external(data_dir, connections_file, addresses)
    stack = LocalStack(data_dir, external=external, progress=progress.print)
    settings = DETECTION.holding(stack.paths, settings_file)
    batch = BATCH.holding(stack.paths, batch_settings_file)
    if batch_minutes is not None:
        batch = msgspec.structs.replace(batch, interval_minutes=batch_minutes)
    refuse_other_servers(stack)
    running = find_running(stack)
    if running is None:
        try:
            bring_up(stack, progress.print, settings=settings, batch=batch, stall_seconds=stall_seconds)
        except KeyboardInterrupt:
            fail("interrupted; what did start goes on: `ray-fraud up` continues, `ray-fraud down` ends it")
        if settings_file is not None:
            DETECTION.remember(stack.paths, settings_file)
        if batch_settings_file is not None:
            BATCH.remember(stack.paths, batch_settings_file)
    else:
        asked = batch_settings_file is not None or batch_minutes is not None
        known = running.config
        _refuse_other_settings(
            running, settings, batch if asked else known.batch, stall_seconds or known.stall_seconds
        )
        progress.print("it runs already; nothing was changed")
    _show(stack, running is not None, output)


def _external(
    data_dir: Path, connections_file: Path | None, addresses: dict[str, str | None]
) -> ExternalServers:
    """What is given, on top of the connections file, else of what the last start was told."""
    from cluster.local.stack import LocalStack

    if connections_file is not None:
        known = read_external(connections_file)
    else:
        known = read_record(LocalStack(data_dir).paths).external
    return with_addresses(known, **addresses)


def _refuse_other_settings(
    running: Running, settings: DetectionSettings, batch: BatchSettings, stall_seconds: float
) -> None:
    from cluster.local.running import OtherConfigurationError

    known = running.config
    if (known.settings.digest, known.batch, known.stall_seconds) != (settings.digest, batch, stall_seconds):
        raise OtherConfigurationError(
            "the stack runs with other settings than the given ones; stop it first with `ray-fraud down`"
        )


def _show(stack: LocalStack, already_running: bool, output: Output) -> None:
    state = _healthy_state(stack)
    data = {"already_running": already_running, **platform_data(stack, state)}
    show(
        "up",
        data,
        output,
        lambda: Group(services_table(state), *warning_lines(state)),
        "ok" if state.healthy else "failed",
    )
    if not state.healthy:
        # The answer is given: not a second one.
        progress.print("the platform came up and something stopped answering since; see `ray-fraud status`")
        sys.exit(1)


def _healthy_state(stack: LocalStack) -> PlatformState:
    """The state once every service answers; a busy machine may take several questions."""
    from cluster.local.platform_state import platform_state

    deadline = time.monotonic() + ANSWER_SECONDS
    while not (state := platform_state(stack)).healthy and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return state
