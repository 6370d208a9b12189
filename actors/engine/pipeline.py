"""Driving one owner from four threads, so that the next batch is read while the last is scored.

    reading   reconcile, read, observe            → scoring queue (bounded in rows: backpressure)
    scoring   all queued batches of one split in one call → publishing queue (bounded)
    publishing  decide, publish, settle
    keeping   cut every 100 ms, progress every second, snapshot every hour

What arrives while a scoring call is out goes into the next call: batches are small when it is quiet
and large when it is behind, without a rule that says so. A reader that is not behind polls only when the
scoring thread has nothing left to do: a poll in between would cost as much and make nothing earlier.

A step that raises `StoreUnavailable` is repeated with growing, jittered pauses until it works or the
pipeline stops: Kafka or PostgreSQL being away only means later. Anything else ends the pipeline.

Never: deciding what is right (the owner does).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from threading import Condition, Event, Thread, current_thread
from typing import Generic, TypeVar

import tenacity

from actors.engine.misrouted import MisroutedFinder
from actors.engine.owner import PartitionOwner
from actors.engine.records import BatchRecorder
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import Component
from ray_fraud.domain.misrouting import Misrouted
from ray_fraud.domain.partition import Effects, Observed
from ray_fraud.domain.scores import Scores
from ray_fraud.stores.errors import SlowDown, StoreError, StoreRefused, StoreUnavailable
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

T = TypeVar("T")

AVERAGE_WEIGHT = 0.1
"""Of the newest call in the moving average: the pace follows a change within about twenty calls."""

ERROR_COMPONENTS: tuple[str, ...] = (*Component, metrics.LAKE)

BYTES_OF_ONE_WEIGHT = 8_192
"""Of dead letters: so many count as one record, so a full queue holds 64 MB of them at most."""
SETTLING_POLL_SECONDS = 0.001
"""How often a reader that has to wait for its batch looks whether it has settled."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the pipeline trades latency against work per call."""

    max_poll_records: int = 2_000
    poll_timeout: timedelta = timedelta(milliseconds=200)
    linger: timedelta = timedelta(milliseconds=8)
    """Shortest pause of a reader that is not behind: what arrives meanwhile shares one poll."""
    longest_linger: timedelta = timedelta(milliseconds=50)
    """… and the longest: while a scoring call is out for longer, more is read and folded beside it."""
    rest_share: float = 1.0
    """After a scoring call a partition rests this share of what its calls take on average: short when the
    machine is quiet, long when calls wait for each other, so that fewer and larger calls relieve it."""
    max_rest: timedelta = timedelta(milliseconds=30)
    max_queued_rows: int = 8_000
    cut_interval: timedelta = timedelta(milliseconds=100)
    progress_interval: timedelta = timedelta(seconds=1)
    snapshot_interval: timedelta = timedelta(hours=1)
    snapshot_retry: timedelta = timedelta(minutes=1)
    drain_timeout: timedelta = timedelta(seconds=20)


@dataclass(slots=True)
class InFlight:
    """One observed batch on its way through the pipeline."""

    observed: Observed
    read_at: float
    records: int
    newest_timestamp_ms: int | None
    """None: no record, only offsets without one."""
    misrouted: Misrouted
    scores: Scores | None = None

    @property
    def weight(self) -> int:
        """Its records; those that become dead letters keep their bytes until they are published."""
        kept = sum(len(dead.record.value or b"") for dead in self.observed.dead_letters)
        return self.records + kept // BYTES_OF_ONE_WEIGHT


class Inbox(Generic[T]):
    """A queue between two threads, bounded by weight, whose taker takes all there is at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._items: deque[tuple[T, int]] = deque()
        self._changed = Condition()
        self._closed = False
        self._taker_waits = False

    def put(self, item: T, weight: int) -> bool:
        """Waits for room (an empty inbox takes any weight); False once the inbox is closed."""
        with self._changed:
            while self._items and self._weight + weight > self._limit and not self._closed:
                self._changed.wait(1.0)
            if self._closed:
                return False
            self._items.append((item, weight))
            self._taker_waits = False
            self._weight += weight
            self._changed.notify_all()
            return True

    def take(self) -> list[T]:
        """All items there are, waiting for the first; empty once closed and drained."""
        with self._changed:
            while not self._items and not self._closed:
                self._taker_waits = True
                self._changed.notify_all()
                self._changed.wait(1.0)
            self._taker_waits = False
            items = [item for item, _ in self._items]
            self._items.clear()
            self._weight = 0
            self._changed.notify_all()
            return items

    def wait_for_taker(self, timeout: timedelta) -> bool:
        """Whether, within the timeout, all is taken and the taker waits for more, or the inbox is closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._taker_waits or self._closed, timeout.total_seconds())

    def close(self) -> None:
        """No more puts; takers get what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Rest:
    """How long to pause between calls, from how long calls take lately."""

    def __init__(self, share: float, longest_seconds: float) -> None:
        self._share = share
        self._longest = longest_seconds
        self._average = 0.0

    def after(self, call_seconds: float) -> float:
        """Seconds to rest now: a share of the moving average of the calls."""
        self._average += (call_seconds - self._average) * AVERAGE_WEIGHT
        return min(self._longest, self._share * self._average)


class Pipeline:
    """The four threads of one partition."""

    def __init__(self, owner: PartitionOwner, meter: Meter, pace: Pace, began: float) -> None:
        """`began`: monotonic time at which the take-over began."""
        self._owner = owner
        self._pace = pace
        self._meter = meter
        self._recorder = BatchRecorder(meter, owner, began)
        self._finder = MisroutedFinder(owner.own.partition.partition, owner.partitions)
        self._stop_reading = Event()
        self._abandon = Event()
        self._to_score: Inbox[InFlight] = Inbox(pace.max_queued_rows)
        self._to_publish: Inbox[InFlight] = Inbox(pace.max_queued_rows)
        self._failure: BaseException | None = None
        self._waits: dict[str, tuple[str, str]] = {}
        self._published = Event()
        self._ended = Event()
        self._threads = [
            Thread(target=self._guard, args=(body,), name=name, daemon=True)
            for name, body in (
                ("reading", self._read),
                ("scoring", self._score),
                ("publishing", self._publish),
                ("keeping", self._keep),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def drain(self) -> None:
        """Stops reading, lets everything that was read settle, writes the last cut, ends.

        Raises:
            TimeoutError: a store kept it from settling everything; the next owner replays the rest.
            BaseException: what ended the pipeline, if it failed.
        """
        self._stop_reading.set()
        patience = self._pace.drain_timeout.total_seconds()
        self._threads[3].join(patience)
        self._abandon.set()
        if self._failure is not None:
            raise self._failure
        if not self._ended.is_set():
            raise TimeoutError(f"partition {self._owner.own.partition}: not drained in {patience:.0f} s")

    def abandon(self) -> None:
        """Stops at once; what was not settled is replayed by the next owner."""
        self._abandon.set()
        self._stop_reading.set()
        self._to_score.close()
        self._to_publish.close()

    def wait(self, timeout: timedelta) -> bool:
        """Whether the pipeline has ended, by drain or by failure, within the timeout."""
        return self._ended.wait(timeout.total_seconds())

    @property
    def settled_offset(self) -> int:
        """Below it everything is decided and its effects are acknowledged."""
        return self._owner.cuts.next_offset

    @property
    def waits(self) -> dict[str, str]:
        """The outside systems for which a thread repeats a step at the moment, each with the last error."""
        return dict(self._waits.copy().values())

    @property
    def arm_counts(self) -> Mapping[str, int]:
        """Scored transactions per model version."""
        return self._recorder.arm_counts

    @property
    def dead_letter_alarm(self) -> bool:
        """Whether too large a share of the newest records was refused."""
        return self._recorder.dead_letter_alarm

    @property
    def misrouted(self) -> int:
        """Accepted records of users of other partitions since this owner began."""
        return self._recorder.misrouted

    @property
    def misrouted_alarm(self) -> bool:
        """Whether such records came within the last minutes."""
        return self._recorder.misrouted_alarm

    @property
    def recovery_seconds(self) -> float | None:
        """From the beginning of the take-over to the end of its replay; None before that."""
        return self._recorder.recovery_seconds

    @property
    def failure(self) -> BaseException | None:
        """What ended the pipeline; None while it runs or after a clean drain."""
        return self._failure

    def _guard(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            if self._failure is None and not self._abandon.is_set():
                self._failure = error
                logger.exception("partition %s: pipeline ends", self._owner.own.partition)
            self.abandon()
            self._ended.set()

    def _persist(self, component: str, step: Callable[[], T]) -> T:
        """Repeats a step while its store is unavailable."""
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((StoreUnavailable, SlowDown)),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=3),
            stop=tenacity.stop_when_event_set(self._abandon),
            sleep=tenacity.sleep_using_event(self._abandon),
            before_sleep=lambda state: self._note(component, state),
            reraise=True,
        ):
            with attempt:
                result = step()
                self._waits.pop(current_thread().name, None)
                return result
        raise AssertionError("tenacity ended without a result")

    def _note(self, component: str, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        away = error.store if isinstance(error, StoreError) else component
        self._waits[current_thread().name] = (away, str(error))
        store = error.store if isinstance(error, StoreError) else ""
        # A step may touch several stores: a model file is read from the lake when the scorer is away.
        self._meter.count(metrics.ERRORS, component=store if store in ERROR_COMPONENTS else component)
        logger.warning("partition %s: %s, again soon: %s", self._owner.own.partition, component, error)

    def _read(self) -> None:
        owner, pace = self._owner, self._pace
        linger = pace.linger.total_seconds()
        next_reconcile = next_commit = 0.0
        while not self._stop_reading.is_set():
            if time.monotonic() >= next_commit:
                owner.commit_for_lag_tools()
                next_commit = time.monotonic() + pace.progress_interval.total_seconds()
            if owner.needs_reconciling and time.monotonic() >= next_reconcile:
                self._persist(Component.POSTGRES, owner.reconcile)
                next_reconcile = time.monotonic() + 1.0
            records = self._persist(
                Component.KAFKA, lambda: owner.read(pace.max_poll_records, pace.poll_timeout)
            )
            if not records:
                self._pass_over_holes()
                if owner.awaits_settling:
                    self._stop_reading.wait(SETTLING_POLL_SECONDS)
                continue
            read_at = time.monotonic()
            for observed in self._persist(metrics.LAKE, partial(owner.observe, records)):
                size = observed.next_offset - observed.from_offset
                misrouted = self._finder.find(observed, records)
                batch = InFlight(observed, read_at, size, records[-1].timestamp_ms, misrouted)
                if not self._to_score.put(batch, batch.weight):
                    return
            if len(records) < pace.max_poll_records // 4:
                self._stop_reading.wait(linger)
                self._to_score.wait_for_taker(pace.longest_linger - pace.linger)
        self._to_score.close()

    def _pass_over_holes(self) -> None:
        """Settles offsets without a record like those of one: in their order, through the same queues."""
        for observed in self._owner.observe_holes():
            self._to_score.put(InFlight(observed, time.monotonic(), 0, None, Misrouted()), 0)

    def _score(self) -> None:
        rest = Rest(self._pace.rest_share, self._pace.max_rest.total_seconds())
        while waiting := self._to_score.take():
            began = time.monotonic()
            for batches in _runs_of_one_split(waiting):
                self._score_run(batches)
                for batch in batches:
                    if not self._to_publish.put(batch, batch.weight):
                        return
            if sum(batch.records for batch in waiting) < self._pace.max_queued_rows // 4:
                self._stop_reading.wait(rest.after(time.monotonic() - began))
        self._to_publish.close()

    def _score_run(self, batches: Sequence[InFlight]) -> None:
        observed = [batch.observed for batch in batches]
        scores, answer = self._persist(Component.SERVE, lambda: self._owner.score(observed))
        for batch, part in zip(batches, scores, strict=True):
            batch.scores = part
        if batches[-1].newest_timestamp_ms is None and not any(batch.records for batch in batches):
            return
        self._recorder.scored(batches[0].observed.split, sum(b.records for b in batches), answer)

    def _publish(self) -> None:
        while batches := self._to_publish.take():
            effects = [self._persist(Component.SERVE, partial(self._decide, batch)) for batch in batches]
            alerts = self._persist(Component.KAFKA, partial(self._owner.publish, effects))
            now = time.monotonic()
            for batch in batches:
                self._owner.settle(batch.observed)
                if batch.newest_timestamp_ms is None:
                    self._recorder.passed_over(batch.observed)
                    continue
                self._recorder.settled(
                    batch.observed, batch.misrouted, now - batch.read_at, batch.newest_timestamp_ms
                )
            self._recorder.alerted(alerts)
        self._published.set()

    def _decide(self, batch: InFlight) -> Effects:
        return self._owner.decide(batch.observed, batch.scores)

    def _keep(self) -> None:
        pace = self._pace
        next_progress = next_snapshot = time.monotonic()
        next_snapshot += pace.snapshot_interval.total_seconds()
        while not self._published.wait(pace.cut_interval.total_seconds()):
            if self._abandon.is_set():
                return
            if self._try(Component.REDIS, self._owner.write_cut):
                self._recorder.cut(time.monotonic())
            now = time.monotonic()
            if now >= next_progress:
                self._try(Component.POSTGRES, self._owner.record_progress)
                self._recorder.progress(now)
                next_progress = now + pace.progress_interval.total_seconds()
            if now >= next_snapshot:
                written = self._try(metrics.LAKE, self._owner.write_snapshot)
                pause = pace.snapshot_interval if written else pace.snapshot_retry
                next_snapshot = now + pause.total_seconds()
        if self._abandon.is_set():
            # The queues were closed, not drained: the next owner has to know of an unclean end.
            return
        self._persist(Component.REDIS, lambda: self._owner.write_cut(drained=True))
        self._persist(Component.POSTGRES, self._owner.record_progress)
        self._ended.set()

    def _try(self, component: str, step: Callable[[], object]) -> bool:
        """One attempt at something that the next round repeats anyway."""
        try:
            return bool(step())
        except (StoreUnavailable, SlowDown, StoreRefused) as error:
            # Also what is refused: a changed password or a full disk stops no detection.
            self._meter.count(metrics.ERRORS, component=component)
            logger.warning("partition %s: %s: %s", self._owner.own.partition, component, error)
            return False


def _runs_of_one_split(batches: Sequence[InFlight]) -> list[list[InFlight]]:
    runs: list[list[InFlight]] = []
    for batch in batches:
        if runs and runs[-1][0].observed.split is batch.observed.split:
            runs[-1].append(batch)
        else:
            runs.append([batch])
    return runs
