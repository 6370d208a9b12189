"""Processes that outlive their starter, and the ledger that finds exactly the stack's own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from cluster.local.failures import ServerStartError
from cluster.local.ledger import Ledger, ProcessRecord
from cluster.local.paths import StackPaths
from cluster.local.processes import end, is_alive, server_environment, start_detached, wait_until_ready

Start = Callable[..., int]
SHORT = timedelta(seconds=5)


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    paths = StackPaths(tmp_path / "stack")
    paths.prepare()
    return paths


@pytest.fixture
def ledger(paths: StackPaths) -> Ledger:
    return Ledger(paths)


@pytest.fixture
def start(paths: StackPaths, ledger: Ledger) -> Iterator[Start]:
    """Starts a shell command detached; what is left of them ends with the test."""
    started: list[psutil.Process] = []

    def start(script: str, *, service: str = "test", marked: bool = True) -> int:
        mark = ledger.environment(service) if marked else {}
        pid = start_detached(
            ["/bin/sh", "-c", script],
            log=paths.log(service),
            cwd=paths.data_dir,
            environment=server_environment(mark),
        )
        started.append(psutil.Process(pid))
        return pid

    yield start
    end([*started, *ledger.marked()], patience=timedelta(0))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in 10 s"
        time.sleep(0.01)


def test_a_detached_process_has_a_session_and_a_log_of_its_own(paths: StackPaths, start: Start) -> None:
    pid = start("echo hello; exec sleep 60")
    assert os.getsid(pid) == pid
    _until(lambda: paths.log("test").read_text() == "hello\n")


def test_a_detached_process_outlives_its_starter(paths: StackPaths, ledger: Ledger) -> None:
    code = (
        "import sys; from pathlib import Path; from cluster.local.processes import start_detached; "
        "print(start_detached(['sleep', '60'], log=Path(sys.argv[1]), cwd=Path('/'), environment={}))"
    )
    log = paths.log("sleep")
    pid = int(subprocess.run([sys.executable, "-c", code, log], capture_output=True, check=True).stdout)
    assert is_alive(pid)
    end([psutil.Process(pid)], patience=SHORT)
    assert not is_alive(pid)


def test_the_environment_of_a_server_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    assert "SOME_TOKEN" not in server_environment({})
    assert server_environment({"A": "b"})["A"] == "b"


def test_a_server_that_ends_is_reported_with_the_end_of_its_log(paths: StackPaths, start: Start) -> None:
    pid = start("echo the disk is full; exit 1")
    with pytest.raises(ServerStartError, match=r"the process ended.*test\.log\n    the disk is full"):
        wait_until_ready("test", pid, lambda: False, timeout=SHORT, log=paths.log("test"))


def test_a_server_that_is_never_ready_is_reported_in_time(paths: StackPaths, start: Start) -> None:
    pid = start("exec sleep 60")
    brief = timedelta(seconds=0.1)
    with pytest.raises(ServerStartError, match="not ready after 0 s"):
        wait_until_ready("test", pid, lambda: False, timeout=brief, log=paths.log("test"))


def test_who_does_not_end_when_asked_is_killed(paths: StackPaths, start: Start) -> None:
    pid = start("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    _until(lambda: paths.log("test").read_text() == "ready\n")
    killed = end([psutil.Process(pid)], patience=timedelta(seconds=0.2))
    assert [process.pid for process in killed] == [pid]
    assert not is_alive(pid)


def test_the_ledger_finds_a_recorded_process(paths: StackPaths, ledger: Ledger, start: Start) -> None:
    pid = start("exec sleep 60")
    ledger.add("test", pid)
    found = Ledger(paths).find("test")
    assert found is not None
    assert found.pid == pid
    ledger.remove("test")
    assert ledger.find("test") is None


def test_a_pid_that_was_given_to_another_program_is_not_ours(ledger: Ledger, start: Start) -> None:
    pid = start("exec sleep 60", marked=False)
    began = psutil.Process(pid).create_time()
    ledger.replace("test", [ProcessRecord("test", pid, began - 3600)])
    assert ledger.find("test") is None
    assert ledger.members("test") == []


def test_a_copy_of_the_folder_owns_nothing(
    paths: StackPaths, ledger: Ledger, start: Start, tmp_path: Path
) -> None:
    ledger.add("test", start("exec sleep 60"))
    shutil.copytree(paths.data_dir, tmp_path / "copy")
    copy = Ledger(StackPaths(tmp_path / "copy"))
    assert copy.members("test") == []
    assert copy.stack_id != ledger.stack_id


def test_an_orphan_is_found_by_its_mark(ledger: Ledger, start: Start) -> None:
    ledger.add("test", start("sleep 60 & wait"))
    parent = ledger.find("test")
    assert parent is not None
    _until(lambda: bool(parent.children()))
    (orphan,) = parent.children()
    end([parent], patience=SHORT, first=signal.SIGKILL)
    assert [process.pid for process in ledger.members("test")] == [orphan.pid]
    assert ledger.marked("other") == []


def test_what_another_stack_started_is_not_ours(ledger: Ledger, start: Start, tmp_path: Path) -> None:
    start("exec sleep 60")
    other = StackPaths(tmp_path / "other")
    other.prepare()
    assert Ledger(other).marked() == []
    assert len(ledger.marked()) == 1


def test_a_command_inside_of_the_stack_spares_itself(ledger: Ledger, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cluster.local.ledger import Ledger; "
        "from cluster.local.paths import StackPaths; "
        "print(len(Ledger(StackPaths(Path(sys.argv[1]))).marked()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "stack")]
    environment = {**os.environ, **ledger.environment("ray")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_folder_without_a_stack_owns_nothing(tmp_path: Path) -> None:
    ledger = Ledger(StackPaths(tmp_path / "nothing"))
    assert ledger.marked() == []
    assert ledger.members("kafka") == []
    assert not (tmp_path / "nothing").exists()
