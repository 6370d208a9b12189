"""`ray-fraud` itself: the list of commands, and that asking for it is quick."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ray_fraud.cli import COMMANDS, main


def test_help_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from ray_fraud.cli import main; "
        "print(CliRunner().invoke(main, ['--help']).output); "
        "assert not {'ray', 'kafka', 'psycopg2', 'rich', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", ["up", "status", "down", "generate", "alerts", "verdicts", "state", "lake"])
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help


def test_an_unknown_command_is_a_wrong_command_line() -> None:
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2
