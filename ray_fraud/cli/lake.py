"""`ray-fraud lake …`: the tables of the lake by hand, whether a platform runs or not.

Never: work of its own; each command has a module.
"""

import click

from ray_fraud.cli.lake_care import care, history
from ray_fraud.cli.lake_features import features
from ray_fraud.cli.lake_import import import_file
from ray_fraud.cli.lake_query import query
from ray_fraud.cli.lake_rows import correct, delete_user


@click.group()
def lake() -> None:
    """The lake's tables: import, features, query, history, care, correct, delete-user."""


for command in (import_file, features, query, history, care, correct, delete_user):
    lake.add_command(command)
