"""How every command answers: results on stdout, progress on stderr, one JSON envelope, exit codes.

Exit codes: 0 it worked, 1 it did not (the message says what to do), 2 the command line was wrong.

Never: a stack trace for a mistake of the caller or an absent server.
"""

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from cluster.local.paths import default_data_dir
from ray_fraud.cli.plain_text import plain

SCHEMA_VERSION = 1

P = ParamSpec("P")
R = TypeVar("R")

progress = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
"""Where progress goes; a plain stream when there is no terminal."""

WIDE = 1_000_000
"""Columns where there is no terminal: nothing is cut or wrapped in a pipe."""


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    """Of commands whose answer is a table."""


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


def _output_option(*forms: Output) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(
        "--output",
        type=click.Choice(forms, case_sensitive=False),
        default=Output.TEXT,
        help="How the result is printed on stdout.",
    )


def output_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--output text|json`."""
    return _output_option(Output.TEXT, Output.JSON)(command)


def table_output_option(command: Callable[P, R]) -> Callable[P, R]:
    """`--output text|json|csv`, for a command that gives `show` its rows."""
    return _output_option(Output.TEXT, Output.JSON, Output.CSV)(command)


def envelope(command: str, data: Any, status: str = "ok") -> bytes:
    """The JSON object that `--output json` prints."""
    return msgspec.json.encode(
        {"schema_version": SCHEMA_VERSION, "command": command, "status": status, "data": data}
    )


def failure_envelope(command: str, sentence: str) -> bytes:
    """The JSON object of a command that raised."""
    return msgspec.json.encode(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "status": "failed",
            "data": None,
            "error": sentence,
        }
    )


def show(
    command: str,
    data: Any,
    output: Output,
    text: Callable[[], RenderableType],
    status: str = "ok",
    *,
    rows: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Prints the result: the envelope, `rows` as CSV, or what `text` returns."""
    if output is Output.JSON:
        _write(envelope(command, data, status).decode() + "\n")
    elif output is Output.CSV:
        from ray_fraud.cli.table_csv import as_csv

        _write(as_csv(rows))
    else:
        _print(text())


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print(content: RenderableType) -> None:
    """On a terminal in its width; elsewhere nothing is cut, wrapped or padded."""
    terminal = sys.stdout.isatty()
    console = Console(
        highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if terminal else WIDE
    )
    if terminal:
        console.print(Plain(content))
        return
    with console.capture() as captured:
        console.print(Plain(content))
    _write("\n".join(line.rstrip() for line in captured.get().split("\n")))


class Plain:
    """Anything that rich can print, without the control characters of its data."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._content, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


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
