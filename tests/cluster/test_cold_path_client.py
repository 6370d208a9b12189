"""Asking a cold path that is slow to answer: its processes have the lowest priority of the machine."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from ray.exceptions import GetTimeoutError, RayActorError

from actors.config import BATCH, TRAINING
from cluster.local import cold_path_client
from cluster.local.cold_path_client import (
    NoColdPath,
    batch_status,
    run_batch,
    run_training,
    training_status,
    wait_for_cold_path,
)

RUN = {"status": "done"}


class SlowActor:
    """Answers every call after so many seconds; a run ends at the second look."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.looks = 0

    def answer(self, method: str) -> Any:
        if method == "request":
            return 1
        if method == "status":
            return msgspec.json.encode({"progress": (1, 2)})
        self.looks += 1
        return msgspec.json.encode(RUN) if self.looks > 1 else None


class Ray:
    """As much of Ray as a caller sees, without its processes."""

    def __init__(self, actors: dict[str, SlowActor]) -> None:
        self.actors = actors

    def get_actor(self, name: str, namespace: str) -> Any:
        if name not in self.actors:
            raise ValueError(f"no actor {name} in {namespace}")
        actor = self.actors[name]
        methods = ("request", "result", "status")
        return SimpleNamespace(
            **{method: SimpleNamespace(remote=lambda *_, m=method: (actor, m)) for method in methods}
        )

    def get(self, call: tuple[SlowActor, str], timeout: float) -> Any:
        actor, method = call
        if actor.seconds == float("inf"):
            raise RayActorError
        if timeout < actor.seconds:
            raise GetTimeoutError("not ready")
        return actor.answer(method)


def platform(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    actors = {name: SlowActor(seconds) for name in (BATCH, TRAINING)}
    monkeypatch.setattr(cold_path_client, "ray", Ray(actors))


def test_a_run_is_waited_for_however_slow_each_answer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    platform(monkeypatch, seconds=60.0)
    told: list[Any] = []
    assert run_batch(told.append, timeout_seconds=300.0) == RUN
    assert run_training(lambda done, in_all: told.append((done, in_all)), timeout_seconds=300.0) == RUN
    assert told == [[1, 2], (1, 2)]


def test_no_answer_is_waited_for_longer_than_the_caller_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    platform(monkeypatch, seconds=60.0)
    impatient: tuple[Callable[[], object], ...] = (
        lambda: run_batch(lambda _: None, timeout_seconds=59.0),
        lambda: run_training(lambda _done, _all: None, timeout_seconds=59.0),
        batch_status,
        training_status,
    )
    for ask in impatient:
        with pytest.raises(NoColdPath, match="not ready"):
            ask()
    assert batch_status(0, timeout_seconds=60.0) == training_status(0, timeout_seconds=60.0)


@pytest.mark.parametrize("seconds", [float("inf"), None])
def test_one_that_has_ended_or_was_never_there_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    if seconds is None:
        monkeypatch.setattr(cold_path_client, "ray", Ray({}))
    else:
        platform(monkeypatch, seconds)
    with pytest.raises(NoColdPath, match="does not answer"):
        run_batch(lambda _: None, timeout_seconds=300.0)


def test_the_start_waits_for_an_actor_that_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine its process begins long after it was asked for."""
    looks = Ray({})
    monkeypatch.setattr(cold_path_client, "ray", looks)
    said: list[str] = []

    def pause(_: float) -> None:
        if said and len(pauses) == 3:
            looks.actors[BATCH] = SlowActor(0.0)
        pauses.append(1)

    pauses: list[int] = []
    wait_for_cold_path(said.append, pause=pause)
    assert len(pauses) == 4
    assert said == ["cold path: waiting for its actor"]


def test_an_actor_that_never_comes_is_told_with_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_path_client, "ray", Ray({}))
    with pytest.raises(NoColdPath, match=r"does not answer after 0 s: .*see the log"):
        wait_for_cold_path(lambda _: None, timeout_seconds=0.0)
