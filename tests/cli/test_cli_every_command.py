"""Every command with wrong, empty and huge values: exit code 1 or 2, a sentence, one envelope, never a trace.

The commands and their options are found by walking the command line. What was tried: `VALUES` for each option
and argument, the others with a value that fits, in a folder where nothing can be (a file is in its place), so
that no command starts anything.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ray_fraud.cli import main
from ray_fraud.cli.ranges import FiniteRange, WholeRange
from tests.cli.command_tree import commands

VALUES = (
    "", " ", "nan", "-inf", "1e400", "-1", "1e12", "9" * 30, "9" * 5_000, "0x10", "1_0", "²", "[/]", "[red]x",
    "\x1b]0;t\x07", "\u202e", "\udcff", "a" * 10_000, "../..", "x=", "=x", "9999-12-31",
    "0001-01-01..9999-12-31", "2026-11-25T25:00:00", "file://", "s3://", "--output",
)  # fmt: skip
FITTING = {
    "sql": "select 1", "user_id": "7", "key": "1", "verdict": "true_fraud", "label": "forest:1",
    "one": "forest:1", "other": "forest:2", "shares": "forest:1=100", "reason": "asked for",
    "since_ms": "2026-01-01", "until_ms": "2026-01-02", "source": "2026-01-01..2026-01-02",
}  # fmt: skip
PARSED_ONLY = {("demo",), ("bench",)}
"""They start a stack of their own in a folder of their own; what they refuse, they refuse before that."""

ALL = dict(commands())


def cases() -> Iterator[tuple[tuple[str, ...], str]]:
    for names, command in ALL.items():
        for parameter in command.params:
            if takes_a_value(parameter):
                yield names, str(parameter.name)


def takes_a_value(parameter: click.Parameter) -> bool:
    return parameter.name not in ("data_dir", "output") and not getattr(parameter, "is_flag", False)


def arguments(names: tuple[str, ...], tried: str, value: str, folder: Path) -> list[str]:
    """The command line with `value` for one parameter and fitting ones for those that are required."""
    given: list[str] = []
    last: list[str] = []
    for parameter in ALL[names].params:
        if parameter.name != tried and not parameter.required:
            continue
        fits = (
            str(folder / "file.jsonl") if parameter.name == "file" else FITTING.get(str(parameter.name), "1")
        )
        said = value if parameter.name == tried else fits
        if isinstance(parameter, click.Argument):
            last.append(said)
        else:
            given.append(f"{parameter.opts[0]}={said}" if parameter.opts[0].startswith("--") else f"-n{said}")
    return [*names, *given, "--data-dir", str(folder / "taken" / "x"), "--output", "json", "--", *last]


def invoke(line: list[str], names: tuple[str, ...]) -> Result | None:
    if names in PARSED_ONLY:
        try:
            ALL[names].make_context("x", line[len(names) :])
        except click.UsageError:
            return None
        return None
    return CliRunner().invoke(main, line)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "taken").write_text("")
    (tmp_path / "file.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("names", "tried"), list(cases()), ids=lambda each: str(each))
def test_strange_values_are_answered_in_words(folder: Path, names: tuple[str, ...], tried: str) -> None:
    for value in VALUES:
        line = arguments(names, tried, value, folder)
        result = invoke(line, names)
        if result is None:
            continue
        assert result.exit_code in (0, 1, 2), (line, result.output)
        assert "fault of ray-fraud" not in result.stderr, (line, result.stderr)
        assert "Traceback" not in result.stderr, (line, result.stderr)
        assert not {"\x1b", "\x07", "\u202e"} & set(result.stderr), line
        (answer,) = map(json.loads, result.stdout.splitlines())
        assert answer["command"] == " ".join(names)
        if result.exit_code:
            assert answer["status"] == "failed"
            assert answer["error"] or answer["data"]
            assert "Error: " in result.stderr or answer["data"]
        assert sorted(each.name for each in folder.iterdir()) == ["file.jsonl", "taken"], line


@pytest.mark.parametrize("names", list(ALL), ids=str)
def test_every_number_has_an_end(names: tuple[str, ...]) -> None:
    for parameter in ALL[names].params:
        kind = parameter.type
        assert kind not in (click.INT, click.FLOAT), parameter.name
        if isinstance(kind, click.IntRange | click.FloatRange):
            assert isinstance(kind, FiniteRange | WholeRange), parameter.name
