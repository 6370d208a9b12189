"""Every command of the command line, found by walking it: a new one is covered by itself."""

from collections.abc import Iterator

import click

from ray_fraud.cli import main


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Names and command, of every command that does something."""
    yield from _below(main, ())


def _below(group: click.Group, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _below(command, (*names, name))
        else:
            yield (*names, name), command
