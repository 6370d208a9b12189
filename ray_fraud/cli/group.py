"""The root of the command line: it answers every error, and loads a command only when it is asked for.

Never: a library beyond click.
"""

import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click


class CommandPlace(NamedTuple):
    """Where a command is, and its line in the list of commands."""

    module: str
    attribute: str
    summary: str


class AnsweringGroup(click.Group):
    """Tells every error in a sentence, in an envelope if JSON was asked for, and ends with its exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's; see there."""
        if not standalone_mode:
            return super().main(
                args, prog_name, complete_var, False, windows_expand_args=windows_expand_args, **extra
            )
        given = list(sys.argv[1:] if args is None else args)
        _take_every_character()
        try:
            code = super().main(
                given, prog_name, complete_var, False, windows_expand_args=windows_expand_args, **extra
            )
        except Exception as error:  # noqa: BLE001 - the last one who can tell
            # Not needed, and not loaded, where all goes well.
            from ray_fraud.cli.failures import answer, called

            sys.exit(answer(error, called(self, given)))
        sys.exit(code if isinstance(code, int) else 0)


class LazyGroup(AnsweringGroup):
    """Imports a command's module only when it is run: `ray-fraud --help` must not wait for Ray."""

    def __init__(self, *args: Any, places: dict[str, CommandPlace], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        place = self._places.get(cmd_name)
        if place is None:
            return None
        command = getattr(importlib.import_module(place.module), place.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place.module}.{place.attribute} is no command but {command!r}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in self._places.items()])


def _take_every_character() -> None:
    """A character that the stream's encoding lacks is escaped, and no error amid an answer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
