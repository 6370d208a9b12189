"""What the platform knows of every partition of the input, from outside of its owner.

    the brokers' ends + what owners say → lag, problems, health, owners to end

It looks at the topic as the brokers have it: a partition that nobody was told of is a problem, too.

Never: waiting for an answer; believing an owner about the log's end.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from actors.engine.progress import ProgressWatch, Settled, Verdict
from actors.log_watch import Sight
from ray_fraud.domain import progress_metrics
from ray_fraud.domain.metrics import Component
from ray_fraud.stores.log.port import TopicEnds
from ray_fraud.telemetry.meter import Meter

logger = logging.getLogger(__name__)

BLIND_SECONDS = 30.0
"""Without an answer of the brokers for longer than this, nobody knows whether partitions get on."""


class Watched(Protocol):
    """One partition's place, as far as its progress is concerned."""

    @property
    def partition(self) -> int: ...

    @property
    def last_end(self) -> str | None: ...

    def newest_status(self) -> Mapping[str, Any] | None:
        """What the owner said last, as `PartitionStatus`; None: there is none, or it has not answered yet."""

    def end_stalled(self, reason: str) -> None:
        """Ends the owner's process; another one takes over."""


class PartitionWatch:
    """Driven by one thread; what it found may be read from any."""

    def __init__(
        self,
        topic: str,
        slots: Sequence[Watched],
        sight: Callable[[], Sight | None],
        meter: Meter,
        limit_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._topic = topic
        self._slots = slots
        self._sight = sight
        self._meter = meter
        self._limit = limit_seconds
        self._clock = clock
        self._began = clock()
        self._watches = {slot.partition: ProgressWatch(limit_seconds) for slot in slots}
        self._topic_id: str | None = None
        self.problems: dict[int | None, str] = {}
        """By partition, what keeps it from detecting fraud; None: what concerns them all."""
        self.ends: Mapping[int, int | None] = {}
        """The log's end of every partition of the topic, as the brokers told last."""
        self.looked = False
        # From the start: a counter that appears with its first event hides it from a rate.
        meter.count(progress_metrics.TOPICS_REPLACED, 0, topic="transactions")
        meter.count(progress_metrics.STALLED_OWNERS, 0)

    @property
    def healthy(self) -> bool:
        """Every partition of the topic has an owner that gets on, as far as is known."""
        return self.looked and not self.problems

    def sentences(self) -> list[str]:
        """All problems, what concerns every partition first."""
        told = sorted(self.problems.items(), key=lambda item: -1 if item[0] is None else item[0])
        return [text if number is None else f"partition {number}: {text}" for number, text in told]

    def look(self, health: Mapping[str, bool]) -> None:
        """One look at everything; `health` by component, as it was checked last."""
        now, sight = self._clock(), self._sight()
        problems: dict[int | None, str] = {}
        blind = self._blind(now, sight)
        if blind is not None:
            problems[None] = blind
        seen = None if sight is None else sight.topic
        if seen is not None:
            self._notice_new_topic(seen)
            self.ends = seen.ends
        for slot in self._slots:
            problem = self._look_at(slot, now, seen, health)
            if problem is not None:
                problems[slot.partition] = problem
        problems |= self._added()
        self._tell(problems)
        # Before the first answer nothing is known to be wrong, nor right.
        self.looked = bool(self.ends)

    def _blind(self, now: float, sight: Sight | None) -> str | None:
        """Why the log's ends are not known, if that lasts."""
        since = self._began if sight is None else sight.at
        if sight is not None and sight.error:
            return f"the end of topic {self._topic!r} is not known: {sight.error}"
        if now - since > BLIND_SECONDS:
            return (
                f"the end of topic {self._topic!r} is not known: no broker answered for {now - since:.0f} s"
            )
        return None

    def _notice_new_topic(self, seen: TopicEnds) -> None:
        if self._topic_id is not None and seen.topic_id != self._topic_id:
            self._meter.count(progress_metrics.TOPICS_REPLACED, topic="transactions")
            logger.error(
                "topic %r was made again: id %s, before %s; users begin anew, and what was not read is lost",
                self._topic,
                seen.topic_id,
                self._topic_id,
            )
            self._watches = {number: ProgressWatch(self._limit) for number in self._watches}
        self._topic_id = seen.topic_id

    def _look_at(
        self, slot: Watched, now: float, seen: TopicEnds | None, health: Mapping[str, bool]
    ) -> str | None:
        status = slot.newest_status()
        owned, label = status is not None, str(slot.partition)
        self._meter.set(progress_metrics.PARTITION_OWNED, float(owned), partition=label)
        stale = status is not None and seen is not None and status["topic_id"] != seen.topic_id
        settled = None if status is None or stale else Settled(status["epoch"], status["settled_offset"])
        waits: Mapping[str, str] = {} if status is None else status["waits"]
        end = None if seen is None else seen.ends.get(slot.partition)
        watch = self._watches[slot.partition]
        verdict = watch.look(now, settled, end, outage=_is_outage(waits, health))
        self._record(slot.partition, verdict)
        if seen is not None and slot.partition not in seen.ends:
            return f"topic {self._topic!r} has no partition {slot.partition}"
        if stale:
            return f"its owner reads an earlier life of topic {self._topic!r}"
        problem = None
        if verdict.stalled_seconds:
            reached = "nothing" if settled is None else f"nothing above offset {settled.offset}"
            problem = (
                f"stalled: {reached} has settled for {verdict.stalled_seconds:.0f} s, "
                f"{verdict.lag} records wait{_because(waits)}"
            )
        if verdict.stuck and problem is not None:
            self._meter.count(progress_metrics.STALLED_OWNERS)
            watch.ended()
            slot.end_stalled(problem)
        elif not owned:
            return f"no owner: {slot.last_end or 'starting'}{f'; {problem}' if problem else ''}"
        return problem

    def _record(self, partition: int, verdict: Verdict) -> None:
        label = str(partition)
        self._meter.set(progress_metrics.STALLED, verdict.stalled_seconds, partition=label)
        if verdict.lag is not None:
            self._meter.set(progress_metrics.LAG, verdict.lag, partition=label)

    def _added(self) -> dict[int | None, str]:
        """Partitions that the topic has and the settings do not name."""
        problems: dict[int | None, str] = {}
        for number, end in self.ends.items():
            if number in self._watches:
                continue
            self._meter.set(progress_metrics.PARTITION_OWNED, 0.0, partition=str(number))
            if end is not None:
                self._meter.set(progress_metrics.LAG, end, partition=str(number))
            problems[number] = (
                f"not checked: topic {self._topic!r} has {len(self.ends)} partitions, the settings say "
                f"{len(self._watches)}; producers send users here whose state is elsewhere"
            )
        return problems

    def _tell(self, problems: dict[int | None, str]) -> None:
        """Logs what is new and what is over; figures that only move are not news."""
        for key, problem in problems.items():
            if _kind(problem) != _kind(self.problems.get(key, "")) and not problem.startswith("no owner"):
                logger.error("%s: %s", _name(key), problem)
        for key in self.problems.keys() - problems.keys():
            logger.info("%s: well again", _name(key))
        self.problems = problems


def _is_outage(waits: Mapping[str, str], health: Mapping[str, bool]) -> bool:
    """A store is away without which a fresh owner would get no further, either.

    Of one whose health nobody checks (the lake) the wait itself tells.
    """
    return health.get(Component.KAFKA) is False or any(not health.get(name) for name in waits)


def _because(waits: Mapping[str, str]) -> str:
    return "".join(f"; it waits for {name}: {error}" for name, error in sorted(waits.items()))


def _kind(problem: str) -> str:
    return problem.partition(":")[0]


def _name(key: int | None) -> str:
    return "partitions" if key is None else f"partition {key}"
