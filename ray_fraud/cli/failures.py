"""The one place where an error becomes a sentence, an exit code and, with `--output json`, an envelope.

Never: a stack trace, unless `RAY_FRAUD_TRACEBACK` asks for it; a library that is not loaded already.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import click

from ray_fraud.cli.plain_text import plain

TRACEBACK_VARIABLE = "RAY_FRAUD_TRACEBACK"
OWN_PACKAGES = ("ray_fraud", "actors", "serve", "batch", "cluster")
"""Their exceptions are written for people: the message says what to do."""
LIBRARIES = (
    "psycopg2", "redis", "kafka", "ray", "deltalake", "duckdb", "pyarrow", "onnxruntime", "msgspec",
)  # fmt: skip
MAX_CHARACTERS = 4_000
_RUST_OS_ERROR = re.compile(r'Os \{ code: -?\d+, kind: \w+, message: "([^"]*)" \}')


class Kind(StrEnum):
    WRONG_COMMAND_LINE = "wrong command line"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    FAULT = "fault"
    """Nobody thought of it: a bug."""


class Told(NamedTuple):
    """An error in words."""

    kind: Kind
    sentence: str


class Called(NamedTuple):
    """What the command line asked for, as far as it can be told before it is parsed."""

    command: str
    json: bool


def told(error: BaseException) -> Told:
    """What went wrong, for the person at the terminal; without control characters."""
    kind, sentence = _told(error)
    sentence = plain(_RUST_OS_ERROR.sub(r"\1", sentence)).strip()
    if len(sentence) > MAX_CHARACTERS:
        sentence = f"{sentence[:MAX_CHARACTERS]} … ({len(sentence) - MAX_CHARACTERS:,} more characters)"
    return Told(kind, sentence)


def _told(error: BaseException) -> Told:
    if isinstance(error, click.UsageError):
        return Told(Kind.WRONG_COMMAND_LINE, error.format_message())
    if isinstance(error, click.ClickException):
        return Told(Kind.FAILED, error.format_message())
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Told(Kind.INTERRUPTED, "interrupted")
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception) and cause is not error:
        # Ray's errors repeat the trace of the process that raised; their cause is what it raised.
        return _told(cause)
    package = type(error).__module__.partition(".")[0].lstrip("_")
    if package in OWN_PACKAGES:
        return Told(Kind.FAILED, str(error) or type(error).__name__)
    return _of_others(error, package)


def _of_others(error: BaseException, package: str) -> Told:
    if isinstance(error, MemoryError):
        return Told(Kind.FAILED, "not enough memory for this; ask for less at once")
    if isinstance(error, RecursionError):
        return Told(Kind.FAILED, "nested too deeply; ask for something simpler")
    if isinstance(error, OSError) and package not in LIBRARIES:
        reason = error.strerror or str(error) or type(error).__name__
        return Told(Kind.FAILED, f"{error.filename}: {reason}" if error.filename else reason)
    if package in LIBRARIES:
        return Told(Kind.FAILED, f"{package}: {str(error) or type(error).__name__}")
    return Told(
        Kind.FAULT,
        f"a fault of ray-fraud: {type(error).__name__}: {error}; {TRACEBACK_VARIABLE}=1 shows where, "
        "for a report",
    )


def answer(error: Exception, called: Called) -> int:
    """Tells the error on stderr, with JSON also in the envelope on stdout; returns the exit code."""
    kind, sentence = told(error)
    if called.json:
        from ray_fraud.cli.output import failure_envelope

        sys.stdout.write(failure_envelope(called.command, sentence).decode() + "\n")
        sys.stdout.flush()
    if kind is Kind.FAULT and os.environ.get(TRACEBACK_VARIABLE):
        sys.stderr.write(plain("".join(traceback.format_exception(error))))
    if isinstance(error, click.UsageError) and error.ctx is not None:
        sys.stderr.write(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n\n")
    sys.stderr.write(f"Error: {sentence}\n")
    sys.stderr.flush()
    return 2 if kind is Kind.WRONG_COMMAND_LINE else 1


def called(root: click.Group, arguments: Sequence[str]) -> Called:
    """The command that the arguments name, and whether its answer is to be JSON."""
    context = click.Context(root)
    command: click.Command | None = root
    names: list[str] = []
    for argument in arguments:
        if not isinstance(command, click.Group) or argument not in command.list_commands(context):
            break
        names.append(argument)
        try:
            command = command.get_command(context, argument)
        except Exception:  # noqa: BLE001 - the command line is being told wrong already
            break
    return Called(" ".join(names), _asks_for_json(arguments))


def _asks_for_json(arguments: Sequence[str]) -> bool:
    wanted = False
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        name, sign, value = argument.partition("=")
        if name == "--output":
            value = value if sign else (arguments[place + 1] if place + 1 < len(arguments) else "")
            wanted = value.lower() == "json"
    return wanted
