"""One partition's place in the supervisor: exactly one live actor, replaced when it ends or hangs.

Two owners may still exist for a moment (an actor that hangs is replaced before it is surely dead);
the epoch fence is what keeps that correct, not this code.

Never: restarting faster than the backoff allows.
"""

import logging
import random
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import ray
from ray.exceptions import RayActorError, RayError

from actors.config import NAMESPACE, HotPathConfig, partition_actor_name
from actors.partition import PartitionActor, PartitionEnd
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import Component
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""Each probe waits this long for the actor's end, then asks again: a sign of life in between."""
HANG_SECONDS = 20.0
"""A probe that takes this much longer than it should means that the process hangs."""
STABLE_SECONDS = 10.0
"""An owner that lived this long had caught up; its end is not held against the next one."""
MAX_BACKOFF_SECONDS = 4.0
CONCURRENT_CALLS = 8


class PartitionSlot:
    """Watches and replaces the actor of one partition. One thread drives it."""

    def __init__(
        self,
        config: HotPathConfig,
        packed_config: bytes,
        partition: int,
        meter: Meter,
        actor: type = PartitionActor,
    ) -> None:
        """`actor`: the class of the owner's process."""
        self._actor = actor
        self._config = config
        self._meter = meter
        self._packed_config = packed_config
        self.partition = partition
        self._handle: Any = None
        self._question: Any = None
        self._status: Mapping[str, Any] | None = None
        self._probe: Any = None
        self._probed_at = 0.0
        self._started_at = 0.0
        self._not_before = 0.0
        self._failures = 0
        self.restarts = 0
        self.last_end: str | None = None

    @property
    def handle(self) -> Any:
        """The actor's handle; None while there is none."""
        return self._handle

    @property
    def probe(self) -> Any:
        """The reference that becomes ready when the actor ends or a probe interval has passed."""
        return self._probe

    def adopt(self) -> bool:
        """Takes over an actor that an earlier supervisor started; whether there is one."""
        try:
            handle = ray.get_actor(partition_actor_name(self.partition), namespace=NAMESPACE)
        except ValueError:
            return False
        self._watch(handle)
        return True

    def step(self, split: bytes, tables: str | None) -> None:
        """Starts, checks or replaces the actor; returns at once. `tables`: digest of the newest ones."""
        now = time.monotonic()
        if self._handle is None:
            if now >= self._not_before:
                self._start(split, tables)
            return
        ready, _ = ray.wait([self._probe], timeout=0)
        if ready:
            self._look(ready[0])
        elif now - self._probed_at > PROBE_SECONDS + HANG_SECONDS + self._grace():
            self._replace("no answer")

    def stop(self, reason: str) -> None:
        """Ends the actor's process without a restart."""
        handle, self._handle, self._probe = self._handle, None, None
        self._question = self._status = None
        self.last_end = reason
        if handle is not None:
            try:
                ray.kill(handle)
            except (RayError, ValueError) as error:
                logger.info("partition %d: already gone: %s", self.partition, error)

    def newest_status(self) -> Mapping[str, Any] | None:
        """What the owner said last, as `PartitionStatus`; asks again, and does not wait for the answer."""
        handle = self._handle
        if handle is None:
            return None
        if self._question is not None and ray.wait([self._question], timeout=0)[0]:
            try:
                self._status = msgspec.json.decode(ray.get(self._question))
            except RayError:
                # It ended, or never began: `step` finds out and says why.
                self._status = None
            self._question = None
        if self._question is None:
            self._question = handle.status.remote()
        return self._status

    def end_stalled(self, reason: str) -> None:
        """Kills the process of an owner that gets on no more, threads that hang included."""
        self._replace(reason)

    def _grace(self) -> float:
        """A starting actor may wait a minute for its stores."""
        return 60.0 if time.monotonic() - self._started_at < 90.0 else 0.0

    def _look(self, reference: Any) -> None:
        try:
            end: PartitionEnd | None = ray.get(reference)
        except RayActorError as error:
            end = PartitionEnd(f"process ended: {_cause(error)}")
        except RayError as error:
            end = PartitionEnd(f"{type(error).__name__}: {error}")
        if end is None:
            self._watch(self._handle)
            return
        if end.fenced_by is not None:
            # Counted here: what an ending actor counts itself is hardly ever gathered.
            self._meter.count(metrics.FENCED_WRITES, component=Component(end.fenced_by))
        self._replace(end.reason)

    def _replace(self, reason: str) -> None:
        lived = time.monotonic() - self._started_at
        self._failures = 0 if lived > STABLE_SECONDS else self._failures + 1
        backoff = 0.0
        if self._failures > 1:
            backoff = min(MAX_BACKOFF_SECONDS, 0.5 * 2**self._failures) * random.uniform(0.5, 1.0)
        logger.error(
            "partition %d: ended after %.1f s (%s); next owner in %.1f s",
            self.partition,
            lived,
            reason,
            backoff,
        )
        self.stop(reason)
        self._not_before = time.monotonic() + backoff
        self.restarts += 1

    def _start(self, split: bytes, tables: str | None) -> None:
        actor: Any = ray.remote(self._actor).options(
            name=partition_actor_name(self.partition),
            namespace=NAMESPACE,
            lifetime="detached",
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=CONCURRENT_CALLS,
            num_cpus=self._config.partition_cpus,
        )
        try:
            handle = actor.remote(self._packed_config, self.partition, split, tables)
        except ValueError as error:
            # The name of an actor that just died is free a moment later.
            logger.info("partition %d: %s", self.partition, error)
            self._not_before = time.monotonic() + 0.2
            return
        self._started_at = time.monotonic()
        self._watch(handle)

    def _watch(self, handle: Any) -> None:
        self._handle = handle
        self._probe = handle.ended.remote(PROBE_SECONDS)
        self._probed_at = time.monotonic()


def _cause(error: RayActorError) -> str:
    """One line: of what ended a constructor the exception itself, which Ray's text has last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1 if error.actor_init_failed else 0] if lines else type(error).__name__
