"""`ray-fraud lake …`: the table of all transactions.

Never: work of its own; each command has its module.
"""

import click

from ray_fraud.cli.lake_import import import_file


@click.group()
def lake() -> None:
    """The lake: all accepted transactions as a Delta table."""


lake.add_command(import_file)
