"""The stores that commands about models ask, and who asks.

Never: a store that stays open; a password on the command line.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from cluster.local.stack_record import load_connections
from ray_fraud.cli.output import quiet_libraries
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.ledger.port import Ledger
from ray_fraud.stores.ledger.queries import AlertQueries
from ray_fraud.stores.ledger.registry import Registry

NAME = "ray-fraud models"
_LABEL = re.compile(r"[^:=\s]+:[1-9][0-9]*")


class Place(NamedTuple):
    registry: Registry
    ledger: Ledger
    alerts: AlertQueries
    lake: LakeLocation


@contextmanager
def opened(data_dir: Path) -> Iterator[Place]:
    """The stack's stores; closed with the block.

    Raises:
        LocalStackError: there is no stack in the folder.
    """
    from ray_fraud.stores.ledger.postgres import PostgresLedger
    from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
    from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
    from ray_fraud.stores.ledger.postgres_session import PATIENT

    quiet_libraries()
    connections = load_connections(data_dir)
    with ExitStack() as closing:
        registry = PostgresRegistry(connections.postgres, name=NAME, limits=PATIENT)
        closing.callback(registry.close)
        ledger = PostgresLedger(connections.postgres, name=NAME, limits=PATIENT)
        closing.callback(ledger.close)
        alerts = PostgresAlertQueries(connections.postgres, name=NAME, limits=PATIENT)
        closing.callback(alerts.close)
        yield Place(registry, ledger, alerts, connections.lake)


class LabelType(click.ParamType[str]):
    """A version as `name:version`."""

    name = "name:version"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _LABEL.fullmatch(value):
            self.fail(f"{value!r} is not NAME:VERSION, for example isolation_forest:1", param, ctx)
        return value
