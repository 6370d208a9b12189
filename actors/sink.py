"""The Ray actor that runs the sink over every partition of the alert topic.

Never: more than one matters, yet two at once are harmless: every insert is idempotent.
"""

import logging
import os
import threading
import uuid
from datetime import timedelta

import tenacity

from actors.build import build_sinks
from actors.config import HotPathConfig
from actors.engine.sink import Sink
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import Component
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

POLL_TIMEOUT = timedelta(milliseconds=100)
ROUND_PAUSE_SECONDS = 1.0
"""The owners insert first; the sink has to be sure, not fast: one transaction for what a second brings."""


class SinkActor:
    """Runs until its process ends; Ray restarts it."""

    def __init__(self, config: bytes) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._meter = Meter("sink", uuid.uuid4().hex)
        self._sinks, self._close = build_sinks(from_json(config, HotPathConfig))
        self._stopping = threading.Event()
        self._inserted = 0
        self._refused = 0
        self._thread = threading.Thread(target=self._run, name="sinking", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                behind = [self._step(sink) for sink in self._sinks]
                if not any(behind):
                    self._stopping.wait(ROUND_PAUSE_SECONDS)
        except BaseException:
            logger.exception("sink: process ends, Ray starts the next")
            os._exit(1)

    def _step(self, sink: Sink) -> bool:
        """Stores the next alerts of one partition; whether more of them wait."""
        try:
            for attempt in tenacity.Retrying(
                # Also what is refused: a database may be restored, a password changed back.
                retry=tenacity.retry_if_exception_type(StoreError),
                wait=tenacity.wait_random_exponential(multiplier=0.1, max=3),
                stop=tenacity.stop_any(
                    tenacity.stop_when_event_set(self._stopping), tenacity.stop_after_attempt(5)
                ),
                sleep=tenacity.sleep_using_event(self._stopping),
                reraise=True,
            ):
                with attempt:
                    result = sink.step(POLL_TIMEOUT)
        except StoreError as error:
            self._meter.count(metrics.ERRORS, component=Component.POSTGRES)
            logger.warning("sink: again soon: %s", error)
            return False
        if result is None:
            return False
        self._inserted += result.inserted
        self._refused += result.refused
        if result.refused:
            self._meter.count(metrics.FENCED_WRITES, result.refused, component=Component.KAFKA)
            logger.warning("sink: %d alerts of a replaced owner refused", result.refused)
        return sink.behind

    def status(self) -> dict[str, int]:
        return {"inserted": self._inserted, "refused": self._refused}

    def metrics(self) -> bytes:
        return self._meter.snapshot()

    def drain(self) -> None:
        """Stops after the step that is under way."""
        self._stopping.set()
        self._thread.join(10.0)
        self._close()
