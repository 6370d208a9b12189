"""Which lake a command means: that of a data folder, or one that is named.

Never: starting anything; a password on the command line.
"""

import functools
import getpass
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cluster.local.stack_record import ExternalServers, load_connections
from ray_fraud.cli.external_servers import read_external, with_addresses
from ray_fraud.cli.output import data_dir_option, fail, quiet_libraries
from ray_fraud.stores.connections import LakeLocation

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def lake_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--data-dir`, `--lake` and `--connections`; the command gets `location`."""

    @functools.wraps(command)
    def run(*args: Any, data_dir: Path, lake: str | None, connections_file: Path | None, **rest: Any) -> None:
        quiet_libraries()
        return command(*args, location=lake_of(data_dir, lake, connections_file), **rest)

    named = click.option(
        "--lake", metavar="URL", help="file:///folder or s3://bucket/prefix, instead of the stack's lake."
    )
    file = click.option(
        "--connections", "connections_file", type=FILE, help="File that names the lake with its credentials."
    )
    return named(file(data_dir_option(run)))


def lake_of(data_dir: Path, lake: str | None, connections_file: Path | None) -> LakeLocation:
    """The lake that is named, else the one that the stack in `data_dir` uses.

    Raises:
        StoreRefused: what is named is no lake; nothing is made there.
        ExternalServersError, NoStackError, StoreUnavailable
    """
    from ray_fraud.stores.tables.lake_tables import existing_lake

    servers = ExternalServers() if connections_file is None else read_external(connections_file)
    named = with_addresses(servers, lake=lake).lake
    if named is None and connections_file is not None:
        fail(f"{connections_file}: names no lake")
    return load_connections(data_dir).lake if named is None else existing_lake(named)


def caller() -> str:
    """Who runs the command, for the lake's records."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
