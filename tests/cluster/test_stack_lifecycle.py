"""`ray-fraud up … down` as a user runs it, with a kill -9 of everything in between."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from actors.config import HotPathConfig
from cluster.local.jars import kafka_jars
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.processes import end
from ray_fraud.cli import main
from ray_fraud.stores.connections import from_json

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

RECORDS = 500
SETTLE_SECONDS = 60
OWN_SERVERS = ("kafka", "redis", "postgres", "ray")
ACTOR_TITLE = re.compile(r"ray::(?!IDLE)[A-Z]")
"""Ray names a process after its actor's class, or after the function of a task, or IDLE."""
LEAST_ACTORS = 7
PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
SERVICES = {"kafka", "redis", "postgres", "lake", "ray", "serve", "hot_path", "sink", "cold_path", "metrics"}


class Command:
    """The command line on one data folder, behind a proxy that takes connections and never answers."""

    def __init__(self, data_dir: Path, proxy_port: int) -> None:
        self.data_dir = data_dir
        proxy = f"http://127.0.0.1:{proxy_port}"
        self._environment = {**os.environ, **dict.fromkeys(PROXY_VARIABLES, proxy)}

    def __call__(self, *arguments: str, code: int | None = 0) -> dict[str, Any]:
        """The envelope of a command in a process of its own that must end with `code` (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "ray_fraud.cli", *self._with_options(arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=self._environment,
        )
        assert code in (None, done.returncode), done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["schema_version"] == 1
        return answer

    def read(self, *arguments: str) -> dict[str, Any]:
        """The data of a command that needs no Ray, run in this process because that is quicker."""
        result = CliRunner().invoke(main, self._with_options(arguments))
        assert result.exit_code == 0, result.output
        data: dict[str, Any] = json.loads(result.stdout)["data"]
        return data

    def _with_options(self, arguments: Sequence[str]) -> list[str]:
        return [*arguments, "--data-dir", str(self.data_dir), "--output", "json"]

    def settled(self) -> dict[str, Any]:
        """The status once every record has been decided and is in a cut."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            data: dict[str, Any] = self("status", code=None)["data"]
            if (
                all(p["lag"] == 0 and p["cut_offset"] == p["settled_offset"] for p in data["partitions"])
                and sum(p["settled_offset"] for p in data["partitions"]) == RECORDS
            ):
                return data
            time.sleep(0.5)
        raise AssertionError(f"not settled after {SETTLE_SECONDS} s: {data}")


@pytest.fixture
def command() -> Iterator[Command]:
    kafka_jars()  # the one thing that needs the network, which the commands do not have
    with (
        tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder,
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as proxy,
    ):
        command = Command(Path(folder), proxy.getsockname()[1])
        try:
            yield command
        finally:
            _print_logs(command.data_dir)
            ledger = Ledger(StackPaths(command.data_dir))
            end(ledger.marked(), patience=timedelta(seconds=10), first=signal.SIGKILL)


def _print_logs(data_dir: Path) -> None:
    """The actors' last words; pytest shows them if the test failed."""
    for log in sorted(data_dir.glob("ray/session_latest/logs/worker-*.err")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if " kafka." not in line]
        sys.stdout.write("\n".join([f"== {log.name}", *lines[-30:], ""]))


def _lasting(ledger: Ledger) -> set[int]:
    """Process ids of the servers, Ray's node and the actors: processes for tasks come and go."""
    recorded = {process.pid for service in OWN_SERVERS for process in ledger.alive(service)}
    assert len(recorded) >= len(OWN_SERVERS)
    actors = set()
    for process in ledger.marked("ray"):
        with contextlib.suppress(psutil.Error):
            if ACTOR_TITLE.match(" ".join(process.cmdline())):
                actors.add(process.pid)
    assert len(actors) >= LEAST_ACTORS
    return recorded | actors


def _audit_agrees(data_dir: Path) -> bool:
    from cluster.local.audit import audit_stack

    config = from_json(StackPaths(data_dir).hot_path.read_bytes(), HotPathConfig)
    audit = audit_stack(config)
    return audit.agrees and audit.records == RECORDS


def test_up_kill_up_down(command: Command) -> None:
    ledger = Ledger(StackPaths(command.data_dir))
    begun = command("up")["data"]
    assert begun["already_running"] is False
    assert set(begun["services"]) >= SERVICES
    assert {service["health"] for service in begun["services"].values()} == {"healthy"}
    processes = _lasting(ledger)

    again = command("up")["data"]
    assert again["already_running"] is True
    assert again["services"] == begun["services"]
    assert processes <= _lasting(ledger)

    command.read("generate", "--count", str(RECORDS), "--tps", "0", "--fraud-share", "0.2", "--seed", "5")
    command.settled()
    alerts = command.read("alerts", "list", "--limit", "1000")
    assert alerts["total"] == len(alerts["alerts"]) > 0
    user = str(alerts["alerts"][0]["user_id"])
    state = command.read("state", "show", user)
    replayed = command.read("state", "show", user, "--at-offset", str(state["offset"]))
    assert replayed == {**state, "source": "replay"}

    end(ledger.marked(), patience=timedelta(seconds=10), first=signal.SIGKILL)
    killed = command("status", code=1)["data"]["services"]
    # The lake is a folder, which cannot be killed.
    assert {name for name, each in killed.items() if each["health"] != "down"} == {"lake"}

    assert command("up")["data"]["services"] != begun["services"]
    command.settled()
    assert command.read("state", "show", user) == state
    assert command.read("alerts", "list", "--limit", "1000") == alerts
    assert _audit_agrees(command.data_dir)

    assert command("down")["data"]["ended_processes"] > 8
    assert ledger.marked() == []
    assert command.read("down")["ended_processes"] == 0
