"""Processes of a batch that are started ahead, by a real Ray.

Never: the lowest priority (see the fixture).
"""

import os
import sys
from collections.abc import Callable, Iterator

import pytest
import ray
import tenacity

from batch.ray_data import answers_of
from batch.schedule import warm_up

PROCESSES = 2


def test_without_a_ray_none_is_begun() -> None:
    assert warm_up.warm_up(PROCESSES) == set()
    assert not ray.is_initialized()


@pytest.mark.cluster
@pytest.mark.timeout(120, func_only=True)
def test_processes_that_were_started_ahead_have_imported_what_a_batch_needs(local_ray: None) -> None:
    ready = warm_up.warm_up(PROCESSES)
    assert 1 <= len(ready) <= PROCESSES
    # Others may answer first; Ray chooses.
    asking = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda told: not told), stop=tenacity.stop_after_delay(60)
    )
    told = asking(lambda: {pid: have for pid, have in imported() if pid in ready})
    assert set(told.values()) == {True}


@pytest.mark.cluster
@pytest.mark.timeout(120, func_only=True)
def test_what_fails_in_a_process_is_only_told(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(warm_up, "_get_ready", _fails)
    assert warm_up.warm_up(PROCESSES) == set()
    assert "processes not started ahead" in caplog.text


@pytest.mark.cluster
@pytest.mark.timeout(120, func_only=True)
def test_whatever_fails_here_is_only_told(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(work: Callable[[int], bytes], pieces: range, tasks: int) -> Iterator[bytes]:
        raise ValueError(f"{work}, {pieces}, {tasks}: not here")

    monkeypatch.setattr(warm_up, "answers_of", refused)
    assert warm_up.warm_up(PROCESSES) == set()
    assert "not here" in caplog.text


def imported() -> list[tuple[int, bool]]:
    """Process id, and whether it has everything, of whoever answers."""
    answers = answers_of(_imported, range(PROCESSES), PROCESSES)
    return [(int(pid), have == b"all") for pid, have in (answer.split() for answer in answers)]


def _imported(_: int) -> bytes:
    have = all(name in sys.modules for name in warm_up.NEEDED)
    return f"{os.getpid()} {'all' if have else 'not-all'}".encode()


def _fails(_: int) -> bytes:
    raise RuntimeError("no memory")
