"""The Ray actor that runs the sink over every partition of the alert topic.

Never: more than one matters, yet two at once are harmless: every insert is idempotent.
"""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import msgspec
import tenacity

from actors.build import build_alert_topic
from actors.config import HotPathConfig
from actors.engine.sink import Sink
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import LAKE, SYSTEMS, Component
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.log.port import TopicReplaced
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_TIMEOUT = timedelta(milliseconds=100)
ROUND_PAUSE_SECONDS = 1.0
"""The owners insert first; the sink has to be sure, not fast: one transaction for what a second brings."""
FOLLOW_SECONDS = 5.0
"""How often the topic is looked at: for partitions that were added, and for another topic under its name."""


class SinkStatus(msgspec.Struct, frozen=True):
    """What the sink did since its process began."""

    inserted: int
    refused: int
    dead_letters: int
    partitions: int
    """Of the alert topic that are read."""
    failing_seconds: float
    """For how long it has not got through a round; 0 if the last one went well."""
    problem: str
    """What the last round failed with; empty if it went well."""


class SinkActor:
    """Runs until its process ends; Ray restarts it."""

    def __init__(self, config: bytes) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._meter = Meter("sink", uuid.uuid4().hex)
        self._topic, self._close = build_alert_topic(from_json(config, HotPathConfig), self._meter)
        self._stopping = threading.Event()
        self._inserted = 0
        self._refused = 0
        self._next_look = 0.0
        self._failing_since: float | None = None
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="sinking", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._round():
                    self._stopping.wait(ROUND_PAUSE_SECONDS)
        except BaseException:
            logger.exception("sink: process ends, Ray starts the next")
            os._exit(1)

    def _round(self) -> bool:
        """Looks at the topic when that is due, then at each partition; whether more alerts wait."""
        failed: list[StoreError] = []
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + FOLLOW_SECONDS
            self._persist(self._topic.look, failed)
        behind = [self._step(sink, failed) for sink in self._topic.sinks]
        if not failed:
            self._failing_since, self._problem = None, ""
        else:
            self._problem = str(failed[-1])
            if self._failing_since is None:
                self._failing_since = time.monotonic()
        return any(behind)

    def _step(self, sink: Sink, failed: list[StoreError]) -> bool:
        """Stores the next alerts of one partition; whether more of them wait."""
        result = self._persist(lambda: sink.step(POLL_TIMEOUT), failed)
        if result is None:
            return False
        self._inserted += result.inserted
        self._refused += result.refused
        if result.refused:
            self._meter.count(metrics.FENCED_WRITES, result.refused, component=Component.KAFKA)
            logger.warning("sink: %d alerts of a replaced owner refused", result.refused)
        return sink.behind

    def _persist(self, step: Callable[[], T], failed: list[StoreError]) -> T | None:
        """The step's result; None, and the error in `failed`, if it does not work at the moment."""
        try:
            for attempt in tenacity.Retrying(
                # Also what is refused: a database may be restored, a password changed back.
                retry=tenacity.retry_if_exception(_may_pass),
                wait=tenacity.wait_random_exponential(multiplier=0.1, max=3),
                stop=tenacity.stop_any(
                    tenacity.stop_when_event_set(self._stopping), tenacity.stop_after_attempt(5)
                ),
                sleep=tenacity.sleep_using_event(self._stopping),
                reraise=True,
            ):
                with attempt:
                    return step()
        except TopicReplaced as error:
            # Followed by the next look, which is due now.
            logger.warning("sink: %s", error)
            self._next_look = 0.0
            failed.append(error)
        except StoreError as error:
            self._meter.count(metrics.ERRORS, component=_component(error))
            logger.warning("sink: again soon: %s", error)
            failed.append(error)
        return None

    def status(self) -> bytes:
        """`SinkStatus` as JSON."""
        since = self._failing_since
        return msgspec.json.encode(
            SinkStatus(
                inserted=self._inserted,
                refused=self._refused,
                dead_letters=self._topic.dead_letters,
                partitions=len(self._topic.sinks),
                failing_seconds=0.0 if since is None else time.monotonic() - since,
                problem=self._problem,
            )
        )

    def metrics(self) -> bytes:
        return self._meter.snapshot()

    def drain(self) -> None:
        """Stops after the step that is under way."""
        self._stopping.set()
        self._thread.join(10.0)
        self._close()


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, StoreError) and not isinstance(error, TopicReplaced)


def _component(error: StoreError) -> str:
    return error.store if error.store in (*SYSTEMS, LAKE) else Component.POSTGRES
