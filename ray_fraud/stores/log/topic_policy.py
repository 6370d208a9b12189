"""What a broker does to the records of a topic: how long it keeps them, and whose clock their timestamps are.

Never: a call; the admin asks, this judges.
"""

from datetime import timedelta

import msgspec

SHORTEST_BEFORE = timedelta(days=1)
"""A producer that was cut off for a day still delivers what it kept meanwhile."""
LONGEST_AFTER = timedelta(hours=1)
"""The default of brokers from 3.6 on, and the watermark's step."""


class TopicPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one topic that decide what becomes of its records."""

    log_append_time: bool = False
    """Timestamps are the broker's, not the producers'."""
    before_max: timedelta | None = None
    """Older timestamps are refused; None: none is too old."""
    after_max: timedelta | None = None
    """Timestamps further ahead are refused; None: none is too far."""
    deletes: bool = True
    compacts: bool = False
    retention: timedelta | None = None
    """None: time deletes nothing."""
    retention_bytes: int | None = None
    """Per partition; None: size deletes nothing."""
    compaction_lag: timedelta = timedelta()
    """So long a record is safe from compaction."""

    @property
    def kept(self) -> timedelta | None:
        """How long every record is kept at least, but for the size; None: for ever."""
        limits = [self.compaction_lag] if self.compacts else []
        if self.deletes and self.retention is not None:
            limits.append(self.retention)
        return min(limits, default=None)


def policy_warnings(topic: str, policy: TopicPolicy, needed: timedelta) -> list[str]:
    """What an operator should change, each with what happens otherwise and what to set.

    `needed`: for so long a recovery may have to read a record again.
    """
    found = (*_kept_too_shortly(policy, needed), *_clocks(policy))
    return [f"topic {topic!r}: {warning}" for warning in found]


def _kept_too_shortly(policy: TopicPolicy, needed: timedelta) -> list[str]:
    found = []
    if policy.compacts:
        found.append(
            "compaction removes all but the newest record of a user, so a recovery, an audit or a late batch "
            "misses the others: set cleanup.policy=delete"
        )
    if policy.deletes and policy.retention is not None and policy.retention < needed:
        found.append(
            f"retention {policy.retention} is shorter than snapshot age + lateness {needed}: "
            "raise retention.ms"
        )
    if policy.deletes and policy.retention_bytes is not None:
        found.append(
            f"a partition keeps {policy.retention_bytes:,} bytes, whatever their age: make sure that "
            f"{needed} of records fit in, or set retention.bytes=-1"
        )
    return found


def _clocks(policy: TopicPolicy) -> list[str]:
    if policy.log_append_time:
        return []
    found = []
    if policy.after_max is None or policy.after_max > LONGEST_AFTER:
        allowed = "however far" if policy.after_max is None else f"{policy.after_max}"
        found.append(
            f"timestamps may lie {allowed} ahead (message.timestamp.type=CreateTime), which only a "
            "majority of other records outvotes: set message.timestamp.after.max.ms=3600000, or "
            "message.timestamp.type=LogAppendTime"
        )
    if policy.before_max is not None and policy.before_max < SHORTEST_BEFORE:
        found.append(
            f"records older than {policy.before_max} are refused by the broker, and lost if the producer "
            "gives up: raise message.timestamp.before.max.ms, or set message.timestamp.type=LogAppendTime"
        )
    return found
