"""The Ray actor that re-keys the producers' topic: a thread for each of its partitions.

Never: more than one matters; a second one fences the first, and nothing is doubled.
"""

import logging
import os
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import msgspec
import tenacity

from actors.build import build_rekeyers
from actors.config import HotPathConfig
from actors.engine.rekey import Rekeyer
from ray_fraud.domain import metrics, progress_metrics, rekey_metrics
from ray_fraud.domain.metrics import Component
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import Fenced, SlowDown, StoreError, StoreUnavailable
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.port import TopicReplaced
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

POLL_TIMEOUT = timedelta(milliseconds=200)
START_PATIENCE = timedelta(seconds=60)
LOOK_SECONDS = 20.0
"""How often the actor looks whether the producers' topic has more partitions now."""
DRAIN_SECONDS = 10.0


class RekeyStatus(msgspec.Struct):
    """Of one partition of the producers' topic."""

    partition: int
    records: int = 0
    """Since this actor began."""
    lost: int = 0
    cut_offs: int = 0
    """Times that the topic was found to have lost what had been brought over."""
    lag: int | None = None
    error: str | None = None
    """Why the last attempt failed; None: it worked."""


class RekeyActor:
    """Runs until its process ends; Ray restarts it."""

    def __init__(self, config: bytes) -> None:
        """Raises:
        StoreError: Kafka did not answer for a minute, or re-keying is not set up.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._meter = Meter("rekey", uuid.uuid4().hex)
        self._topics = from_json(config, HotPathConfig).connections.topics
        self._rekeyers, self._admin = _built(from_json(config, HotPathConfig))
        self._statuses = [RekeyStatus(number) for number in range(len(self._rekeyers))]
        self._stopping = threading.Event()
        pairs = zip(self._rekeyers, self._statuses, strict=True)
        bodies = [self._watch, *(partial(self._run, rekeyer, told) for rekeyer, told in pairs)]
        self._threads = [threading.Thread(target=self._guard, args=(body,), daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def status(self) -> bytes:
        """JSON: `topic`, `pid`, and under `partitions` a list of `RekeyStatus`."""
        told = {"topic": self._topics.input, "pid": os.getpid(), "partitions": self._statuses}
        return msgspec.json.encode(told)

    def metrics(self) -> bytes:
        return self._meter.snapshot()

    def drain(self) -> None:
        """Stops after the append that is under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(DRAIN_SECONDS)
        for each in self._rekeyers:
            each.close()
        self._admin.close()

    def _guard(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException:
            logger.exception("re-keying: process ends, Ray starts the next")
            os._exit(1)

    def _run(self, rekeyer: Rekeyer, told: RekeyStatus) -> None:
        label = str(told.partition)
        self._meter.count(rekey_metrics.REKEYED, 0, partition=label)
        while not self._stopping.is_set():
            lost, cut_offs = rekeyer.lost, rekeyer.cut_offs
            brought = self._step(rekeyer, told)
            told.records += brought
            told.lag, told.lost, told.cut_offs = rekeyer.lag, rekeyer.lost, rekeyer.cut_offs
            self._meter.count(rekey_metrics.REKEYED, brought, partition=label)
            self._meter.count(rekey_metrics.REKEY_LOST, rekeyer.lost - lost, partition=label)
            self._meter.count(progress_metrics.TOPIC_CUT_OFFS, rekeyer.cut_offs - cut_offs, topic="producers")
            if told.lag is not None:
                self._meter.set(rekey_metrics.REKEY_LAG, told.lag, partition=label)

    def _step(self, rekeyer: Rekeyer, told: RekeyStatus) -> int:
        """Records brought over; 0 if it has to be tried again.

        Raises:
            Fenced: another actor took over.
            TopicReplaced: the producers' topic was made again; the next process begins with that.
        """
        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(StoreError)
                & tenacity.retry_if_not_exception_type((Fenced, TopicReplaced)),
                wait=tenacity.wait_random_exponential(multiplier=0.1, max=3),
                stop=tenacity.stop_any(
                    tenacity.stop_when_event_set(self._stopping), tenacity.stop_after_attempt(5)
                ),
                sleep=tenacity.sleep_using_event(self._stopping),
                before_sleep=lambda state: self._note(told, state),
                reraise=True,
            ):
                with attempt:
                    brought = rekeyer.step(POLL_TIMEOUT)
        except (Fenced, TopicReplaced):
            raise
        except StoreError as error:
            logger.error("re-keying partition %d: again soon: %s", told.partition, error)  # noqa: TRY400
            return 0
        told.error = None
        return brought

    def _note(self, told: RekeyStatus, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        told.error = str(error)
        self._meter.count(metrics.ERRORS, component=Component.KAFKA)
        logger.warning("re-keying partition %d: %s", told.partition, error)

    def _watch(self) -> None:
        """Ends the process when the producers' topic has grown: the next one brings all its partitions."""
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                found = self._admin.partition_count(self._topics.input)
            except StoreError as error:
                logger.warning("re-keying: partitions of %r: %s", self._topics.input, error)
                continue
            if found != len(self._rekeyers):
                raise RuntimeError(f"{self._topics.input!r} has {found} partitions now: starting anew")


def _built(config: HotPathConfig) -> tuple[list[Rekeyer], KafkaLogAdmin]:
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=3),
        stop=tenacity.stop_after_delay(START_PATIENCE.total_seconds()),
        reraise=True,
    ):
        with attempt:
            return build_rekeyers(config)
    raise AssertionError("tenacity ended without a result")
