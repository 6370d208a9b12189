"""How every command answers: results on stdout, progress on stderr, one JSON envelope, exit codes.

Exit codes: 0 it worked, 1 it did not (the message says what to do), 2 the command line was wrong.

Never: a stack trace for a mistake of the caller or an absent server.
"""

import functools
import logging
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console

from cluster.local.paths import default_data_dir

SCHEMA_VERSION = 1

P = ParamSpec("P")
R = TypeVar("R")

progress = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
"""Where progress goes; a plain stream when there is no terminal."""
result = Console(highlight=False, soft_wrap=True)


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


class Failure(click.ClickException):
    """A command that could not do its work; shown without a stack trace, exit code 1."""

    exit_code = 1


def data_dir_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--data-dir`: one stack per folder."""
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_data_dir,
        show_default=str(default_data_dir()),
        envvar="RAY_FRAUD_DATA_DIR",
        help="The stack's folder; one stack per folder.",
    )(command)


def output_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--output text|json`."""
    return click.option(
        "--output",
        type=click.Choice(Output, case_sensitive=False),
        default=Output.TEXT,
        help="How the result is printed on stdout.",
    )(command)


def envelope(command: str, data: Any, status: str = "ok") -> bytes:
    """The JSON object that `--output json` prints."""
    return msgspec.json.encode(
        {"schema_version": SCHEMA_VERSION, "command": command, "status": status, "data": data}
    )


def show(command: str, data: Any, output: Output, text: Callable[[], object], status: str = "ok") -> None:
    """Prints the result: the envelope, or what `text` returns (anything that rich can print)."""
    if output is Output.JSON:
        sys.stdout.write(envelope(command, data, status).decode() + "\n")
        sys.stdout.flush()
    else:
        result.print(text())


def fail(message: str) -> NoReturn:
    """Ends the command with exit code 1 and a message that says what to do."""
    raise Failure(message)


def quiet_libraries() -> None:
    """Libraries log to stderr only what an operator must act on."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    for name in ("kafka", "ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)


def expects(*errors: type[Exception]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Shows these errors as messages; everything else is a bug and keeps its stack trace."""

    def wrap(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except errors as error:
                raise Failure(str(error)) from error

        return run

    return wrap
