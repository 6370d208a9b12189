"""How batch processes start."""

import os
import subprocess
import sys

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
    monkeypatch.delenv(VARIABLE, raising=False)
    assert "nice -n 19 " + sys.executable in low_priority_env()["py_executable"]


def test_with_zero_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    assert low_priority_env() == {}


@pytest.mark.parametrize("text", ["-1", "20", "low", ""])
def test_what_is_no_niceness_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=VARIABLE):
        low_priority_env()
