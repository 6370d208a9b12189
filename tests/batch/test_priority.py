"""How batch processes start."""

import os
import shutil
import subprocess

import pytest

from batch.priority import VARIABLE, low_priority_env


def test_a_process_begins_with_the_niceness_that_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "7")
    mine = os.nice(0)
    started = f"{low_priority_env()['py_executable']} -c 'import os; print(os.nice(0))'"
    done = subprocess.run(["sh", "-c", started], capture_output=True, text=True, timeout=30, check=True)
    assert int(done.stdout) == min(19, mine + 7)


def test_without_a_wish_it_is_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, since nobody without rights comes back from there."""
    monkeypatch.delenv(VARIABLE, raising=False)
    program = "import os, sys; print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_IDLE, sys.argv[1:])"
    started = f'{low_priority_env()["py_executable"]} -c "{program}" "two words"'
    done = subprocess.run(["sh", "-c", started], capture_output=True, text=True, timeout=30, check=True)
    idle = shutil.which("chrt") and not subprocess.run(["chrt", "--idle", "0", "true"], timeout=30).returncode
    assert done.stdout == f"19 {bool(idle)} ['two words']\n"


def test_another_niceness_is_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "18")
    started = f"{low_priority_env()['py_executable']} -c 'import os; print(os.sched_getscheduler(0))'"
    done = subprocess.run(["sh", "-c", started], capture_output=True, text=True, timeout=30, check=True)
    assert int(done.stdout) == os.sched_getscheduler(0)


def test_with_zero_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    assert low_priority_env() == {}


@pytest.mark.parametrize("text", ["-1", "20", "low", ""])
def test_what_is_no_niceness_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=VARIABLE):
        low_priority_env()
