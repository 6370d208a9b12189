"""The Ray actor that owns one partition: a shell around `engine.Pipeline`.

Its life is one ownership. It ends when it is drained, when a newer owner exists, or when something
breaks that repeating cannot mend; the supervisor then starts another one. Ray itself restarts nothing.

Never: a decision about a transaction; a Ray call per record.
"""

import logging
import os
import secrets
import time
import uuid
from datetime import timedelta

import msgspec
import numpy as np
import psutil
import tenacity
from numpy.typing import NDArray

from actors.build import BuiltPorts, build_ports
from actors.config import HotPathConfig, partition_source
from actors.engine.owner import PartitionOwner
from actors.engine.pipeline import Pace, Pipeline
from actors.engine.rehearsal import prepare_split, rehearse
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import Fenced, SlowDown, StoreUnavailable
from ray_fraud.telemetry.meter import Meter
from serve.latency import prepare_process

logger = logging.getLogger(__name__)

TAKE_OVER_PATIENCE = timedelta(seconds=60)


class PartitionStatus(msgspec.Struct, frozen=True):
    """What `ray-fraud status` shows of one partition."""

    partition: int
    topic_id: str
    pid: int
    epoch: int
    barrier: int
    start_offset: int
    next_offset: int
    settled_offset: int
    cut_offset: int
    log_end: int | None
    users: int
    timeline_events: int
    replaying: bool
    recovery_seconds: float | None
    resident_bytes: int
    arm_counts: dict[str, int]
    dead_letter_alarm: bool
    """The share of refused records is above its limit: look at the producers, or at our last release."""
    misrouted: int
    """Accepted records of users of other partitions since this owner began."""
    misrouted_alarm: bool
    """Such records came within the last minutes: a producer uses another key or partitioner."""
    unreadable: int
    """Offsets of the log that cannot be read and were passed over, in all its life."""
    unreadable_last: str
    """The last of them, and why."""
    waits: dict[str, str]
    """The outside systems for which a step waits at the moment, and why."""


class PartitionEnd(msgspec.Struct, frozen=True):
    """Why an actor ended by itself."""

    reason: str
    fenced_by: str | None = None
    """The store that refused a write because of a newer owner."""


class PartitionActor:
    """One owner of one partition. Methods run in threads beside the pipeline's."""

    def __init__(self, config: bytes, partition: int, split: bytes, tables: str | None = None) -> None:
        """Takes the partition over and starts.

        `tables`: digest of the feature tables that were published last.

        Raises:
            StoreUnavailable: PostgreSQL or Kafka did not answer for a minute.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        began = time.monotonic()
        self._config = from_json(config, HotPathConfig)
        self._meter = Meter(partition_source(partition), uuid.uuid4().hex)
        self._built: BuiltPorts = build_ports(self._config, partition, self._meter)
        desired = Desired(self._config.settings, msgspec.json.decode(split, type=Split), tables)
        self._owner = self._take_over(desired)
        rehearse(self._built.ports, self._owner.own, desired)
        pace = Pace(
            linger=timedelta(milliseconds=self._config.linger_ms),
            rest_share=self._config.rest_share,
            snapshot_interval=timedelta(seconds=self._config.snapshot_interval_seconds),
        )
        self._pipeline = Pipeline(self._owner, self._meter, pace, began)
        prepare_process()
        self._pipeline.start()

    def _take_over(self, desired: Desired) -> PartitionOwner:
        token = secrets.token_hex(16)
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=3),
            stop=tenacity.stop_after_delay(TAKE_OVER_PATIENCE.total_seconds()),
            before_sleep=lambda state: logger.warning("take-over, again soon: %s", state.outcome),
            reraise=True,
        ):
            with attempt:
                return PartitionOwner(
                    self._built.ports, self._built.partition, token, desired, time.monotonic
                )
        raise AssertionError("tenacity ended without a result")

    def propose(self, split: bytes, settings: bytes | None = None) -> None:
        """Asks for a new split (and settings); they hold from an offset that the timeline records.

        Models are made ready here, so that the thread that reads finds them so and does not wait.
        """
        wanted = msgspec.json.decode(split, type=Split)
        prepare_split(self._built.ports.scorer, wanted)
        self._owner.desire(
            split=wanted,
            settings=None if settings is None else msgspec.json.decode(settings, type=DetectionSettings),
        )

    def refresh(self, digest: str, *contents: "NDArray[np.uint8]") -> None:
        """Asks for other feature tables; they hold from an offset that the timeline records.

        `contents`: the bytes of their files, which this node then keeps; none: they are in the lake.
        """
        for content in contents:
            self._built.feature_tables.keep(content.tobytes())
        self._owner.desire(tables=digest)

    def ended(self, timeout_seconds: float) -> PartitionEnd | None:
        """Waits for the end; None if the actor still runs after the timeout."""
        if not self._pipeline.wait(timedelta(seconds=timeout_seconds)):
            return None
        failure = self._pipeline.failure
        if failure is None:
            return PartitionEnd("drained")
        fenced_by = failure.store if isinstance(failure, Fenced) else None
        return PartitionEnd(f"{type(failure).__name__}: {failure}", fenced_by)

    def drain(self) -> None:
        """Stops reading, settles what was read, writes the closing cut, closes everything."""
        try:
            self._pipeline.drain()
        finally:
            self._built.close()

    def abandon(self) -> None:
        """Stops at once without a closing cut; the next owner replays."""
        self._pipeline.abandon()

    def status(self) -> bytes:
        """`PartitionStatus` as JSON."""
        owner = self._owner
        unreadable = owner.unreadable
        return msgspec.json.encode(
            PartitionStatus(
                partition=owner.own.partition.partition,
                topic_id=owner.own.partition.topic_id,
                pid=os.getpid(),
                epoch=owner.own.epoch,
                barrier=owner.own.barrier,
                start_offset=owner.base.next_offset,
                next_offset=owner.state.next_offset,
                settled_offset=owner.cuts.next_offset,
                cut_offset=owner.cuts.written_offset,
                log_end=owner.log_end(),
                users=len(owner.state.users),
                timeline_events=owner.timeline_length,
                replaying=owner.replaying,
                recovery_seconds=self._pipeline.recovery_seconds,
                resident_bytes=_resident_bytes(),
                arm_counts=dict(self._pipeline.arm_counts),
                dead_letter_alarm=self._pipeline.dead_letter_alarm,
                misrouted=self._pipeline.misrouted,
                misrouted_alarm=self._pipeline.misrouted_alarm,
                unreadable=sum(each.end - each.offset for each in unreadable),
                unreadable_last="".join(f"{u.offset} to {u.end - 1}: {u.cause}" for u in unreadable[-1:]),
                waits=self._pipeline.waits,
            )
        )

    def write_snapshot(self) -> str:
        """Writes a snapshot to the lake now; its name."""
        return self._owner.write_snapshot()

    def metrics(self) -> bytes:
        return self._meter.snapshot()


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)
