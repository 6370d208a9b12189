"""How every command answers: data is never markup, nothing is cut in a pipe, an error is a sentence."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ray_fraud.cli import AnsweringGroup, main
from ray_fraud.cli.output import Output, output_option, show, table_output_option
from ray_fraud.stores.errors import StoreRefused

LONG = "x" * 300
HOSTILE = ("[/]", "[a-z]", "[red]no[/red]", ":smile:", "[link=http://a.b]c[/link]")


def answered(*arguments: str, **raising: Exception) -> Result:
    """What a program of one command `ask` says, which shows a hostile table or raises."""

    @click.group(cls=AnsweringGroup)
    def program() -> None:
        pass

    @program.command()
    @table_output_option
    @click.option("--limit", type=click.IntRange(1, 9))
    def ask(output: Output, limit: int | None) -> None:
        if raising:
            raise next(iter(raising.values()))
        table = Table(*HOSTILE, "long", title="[/]", box=None)
        table.add_row(*HOSTILE, LONG)
        rows: list[dict[str, Any]] = [
            {"name": "a,b", "what": {"x": 1}, "none": None},
            {"name": 'say "[/]"', "later": True},
        ]
        show("ask", {"rows": rows}, output, lambda: Group(table, Text("\x1b]0;t\x07\u202e")), rows=rows)

    return CliRunner().invoke(program, ["ask", *arguments])


def test_no_text_from_data_is_markup() -> None:
    result = answered()
    assert result.exit_code == 0, result.stderr
    for text in HOSTILE:
        assert result.stdout.count(text) >= 2


def test_a_pipe_gets_the_full_width_and_no_control_characters() -> None:
    said = answered().stdout
    assert LONG in said
    assert "…" not in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert all(line == line.rstrip() for line in said.splitlines())


def test_tables_come_as_csv() -> None:
    result = answered("--output", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert rows == [
        {"name": "a,b", "what": '{"x":1}', "none": "", "later": ""},
        {"name": 'say "[/]"', "what": "", "none": "", "later": "true"},
    ]


def failed(result: Result) -> dict[str, Any]:
    assert result.stdout.count("\n") == 1, result.stdout
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["status"] == "failed"
    assert set(answer) == {"schema_version", "command", "status", "data", "error"}
    return answer


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (StoreRefused("lake", "there is no such table"), "lake: there is no such table"),
        (FileNotFoundError(2, "No such file or directory", "a/b"), "a/b: No such file or directory"),
        (OSError("no space"), "no space"),
        (MemoryError(), "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (KeyError("boom"), "a fault of ray-fraud: KeyError: 'boom'"),
        (ValueError("\x1b[2Jfoo"), "a fault of ray-fraud: ValueError: \ufffd[2Jfoo"),
        (click.ClickException("[/] is odd"), "[/] is odd"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "UnicodeEncodeError"),
    ],
)
def test_every_error_is_a_sentence_on_stderr_and_in_the_envelope(error: Exception, sentence: str) -> None:
    for arguments in ((), ("--output", "json"), ("--output=json",)):
        result = answered(*arguments, error=error)
        assert result.exit_code == 1
        assert sentence in result.stderr
        if arguments:
            answer = failed(result)
            assert (answer["command"], answer["data"]) == ("ask", None)
            assert sentence in answer["error"]
        else:
            assert result.stdout == ""


def test_a_wrong_command_line_is_in_the_envelope_too() -> None:
    result = answered("--output", "json", "--limit", "10")
    assert result.exit_code == 2
    assert "--limit" in failed(result)["error"]
    assert "Usage:" in result.stderr
    result = CliRunner().invoke(main, ["alerts", "shwo", "--output", "json"])
    assert result.exit_code == 2
    assert failed(result)["command"] == "alerts"


def test_the_trace_of_a_fault_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in ("", "1"):
        monkeypatch.setenv("RAY_FRAUD_TRACEBACK", wanted)
        result = answered(error=KeyError("boom"))
        assert ("Traceback" in result.stderr) is bool(wanted)
        assert "RAY_FRAUD_TRACEBACK=1" in result.stderr


def test_the_cause_of_a_wrapped_error_is_told() -> None:
    class Wrapped(Exception):
        cause = StoreRefused("lake", "there is no such table")

    assert "Error: lake: there is no such table" in answered(error=Wrapped("a trace of thirty lines")).stderr


def test_words_of_the_operating_system_are_not_those_of_a_library() -> None:
    class Raw(Exception):
        pass

    Raw.__module__ = "deltalake.exceptions"
    raw = Raw('Generic error: Os { code: 2, kind: NotFound, message: "No such file or directory" }')
    told = answered(error=raw).stderr
    assert "deltalake: Generic error: No such file or directory" in told
    assert "Os {" not in told


def test_text_only_commands_take_no_csv() -> None:
    @click.command()
    @output_option
    def ask(output: Output) -> None:
        del output

    assert CliRunner().invoke(ask, ["--output", "csv"]).exit_code == 2


def test_a_reader_who_leaves_is_no_error(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import click\n"
        "from ray_fraud.cli import AnsweringGroup\n"
        "from ray_fraud.cli.output import Output, show\n"
        "@click.group(cls=AnsweringGroup)\n"
        "def main(): pass\n"
        "@main.command()\n"
        "def ask():\n"
        "    show('ask', {}, Output.TEXT, lambda: 'a line')\n"
        "main()\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, str(program), "ask"], stdout=writing, stderr=subprocess.PIPE
    ) as running:
        os.close(writing)
        told = running.communicate(timeout=60)[1].decode()
    assert told == ""
    assert running.returncode == 1


def test_a_stream_of_another_encoding_gets_escapes(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "ray_fraud.cli", "status", "--data-dir", str(tmp_path / "没有")],
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert rb"\u2013" in done.stdout
