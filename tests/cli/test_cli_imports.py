"""What a command loads: help waits for nothing, looking waits for what answers."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "ray", "numpy", "pyarrow", "deltalake", "duckdb", "sklearn", "scipy", "pandas", "onnx", "onnxruntime",
    "h3", "faker", "kafka", "psycopg2", "redis", "prometheus_client", "streamlit", "asyncio", "tenacity",
}  # fmt: skip
"""Each of these costs 50 ms to several seconds."""
FOR_SERVERS = {"kafka", "psycopg2", "redis", "asyncio", "tenacity"}
"""What asks the stack's servers."""


def loaded(code: str) -> set[str]:
    """Those of `HEAVY` that a new interpreter has loaded after `code`."""
    ending = f"\nimport json, sys; print(json.dumps(sorted({HEAVY!r} & set(sys.modules))))"
    done = subprocess.run(
        [sys.executable, "-c", code + ending], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_of_every_command_loads_no_library() -> None:
    code = (
        "from click.testing import CliRunner\n"
        "from ray_fraud.cli import main\n"
        "from tests.cli.command_tree import commands\n"
        "found = list(commands())\n"
        "assert len(found) > 30, found\n"
        "for names, command in found:\n"
        "    result = CliRunner().invoke(main, [*names, '--help'])\n"
        "    assert result.exit_code == 0 and command.help, (names, result.output)\n"
        "    assert '--help' in result.output\n"
    )
    assert loaded(code) == set()


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (("status",), FOR_SERVERS),
        (("alerts", "list"), {"psycopg2"}),
        (("alerts", "show", "1"), {"psycopg2"}),
        (("models", "list"), {"psycopg2"}),
    ],
)
def test_looking_loads_only_what_answers(arguments: tuple[str, ...], needed: set[str]) -> None:
    """In a folder of a stack that does not run any more: everything is loaded that is asked."""
    code = (
        "import tempfile\n"
        "from pathlib import Path\n"
        "from click.testing import CliRunner\n"
        "from cluster.local.paths import StackPaths\n"
        "from cluster.local.stack_record import StackRecord, write_record\n"
        "from ray_fraud.cli import main\n"
        "from ray_fraud.stores.connections import *\n"
        "folder = Path(tempfile.mkdtemp())\n"
        "servers = Connections(KafkaConnection('127.0.0.1:1'), RedisConnection('redis://127.0.0.1:1/0'),\n"
        "    PostgresConnection('postgresql://x@127.0.0.1:1/x'), LakeLocation(f'file://{folder}/lake'))\n"
        "write_record(StackPaths(folder), StackRecord(connections=servers))\n"
        f"result = CliRunner().invoke(main, [*{arguments!r}, '--data-dir', str(folder)])\n"
        "assert result.exit_code == 1, result.output\n"
        "assert 'postgres' in result.output, result.output\n"
    )
    assert loaded(code) <= needed
