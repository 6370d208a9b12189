"""Processes of a batch that are started ahead, by a real Ray.

Never: the lowest priority (see the fixture).
"""

import sys

import pytest
import ray

from batch.ray_data import answers_of
from batch.schedule import warm_up

PROCESSES = 2


def test_without_a_ray_none_is_begun() -> None:
    warm_up.warm_up(PROCESSES)
    assert not ray.is_initialized()


@pytest.mark.cluster
@pytest.mark.timeout(120, func_only=True)
def test_processes_that_were_started_ahead_have_imported_what_a_batch_needs(local_ray: None) -> None:
    warm_up.warm_up(PROCESSES)
    answers = list(answers_of(_imported, range(PROCESSES), PROCESSES))
    assert answers == [b"all"] * PROCESSES


@pytest.mark.cluster
@pytest.mark.timeout(120, func_only=True)
def test_what_cannot_be_started_ahead_is_only_told(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(warm_up, "_get_ready", _fails)
    warm_up.warm_up(PROCESSES)
    assert "processes not started ahead" in caplog.text


def _imported(_: int) -> bytes:
    return b"all" if all(name in sys.modules for name in warm_up.NEEDED) else b"not all"


def _fails(_: int) -> bytes:
    raise RuntimeError("no memory")
