"""Reading alerts and recording verdicts in memory, on the same `MemoryDatabase` as the ledger.

Never: waiting: a feed without news answers at once.
"""

import statistics
from collections.abc import Iterator, Sequence
from uuid import UUID

from ray_fraud.domain.live_comparison import ModelAlerts
from ray_fraud.domain.verdicts import Origin, VerdictRates
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.queries import AlertFilter, Feedback, StoredAlert, Verdict


class MemoryAlertFeed:
    """See `queries.AlertFeed`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._news: list[int] = []
        database.feeds.append(self._news)

    def poll(self, _timeout_seconds: float) -> list[int]:
        with self._database.call("poll"):
            news = list(self._news)
            self._news.clear()
            return news

    def close(self) -> None:
        self._database.feeds[:] = [feed for feed in self._database.feeds if feed is not self._news]


class MemoryAlertQueries:
    """See `queries.AlertQueries`."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.database = database if database is not None else MemoryDatabase()

    def list(
        self, where: AlertFilter | None = None, *, limit: int = 50, before_id: int | None = None
    ) -> Sequence[StoredAlert]:
        with self.database.call("list"):
            rows = [row for row in self._matching(where) if before_id is None or row.alert_id < before_id]
            return sorted(rows, key=lambda row: -row.alert_id)[:limit]

    def get(self, key: int | UUID) -> StoredAlert | None:
        with self.database.call("get"):
            return self.database.alerts.get(key) if isinstance(key, UUID) else self._by_id(key)

    def by_ids(self, alert_ids: Sequence[int]) -> Sequence[StoredAlert]:
        with self.database.call("by_ids"):
            wanted = set(alert_ids)
            return [row for row in self.database.alerts.values() if row.alert_id in wanted]

    def count(self, where: AlertFilter | None = None) -> int:
        with self.database.call("count"):
            return len(self._matching(where))

    def count_by_rule(self, where: AlertFilter | None = None) -> dict[str, int]:
        with self.database.call("count_by_rule"):
            counts: dict[str, int] = {}
            for row in self._matching(where):
                counts[row.alert.rule_name] = counts.get(row.alert.rule_name, 0) + 1
            return counts

    def count_by_model(self, where: AlertFilter | None = None) -> dict[str, ModelAlerts]:
        with self.database.call("count_by_model"):
            rows = [row for row in self._matching(where) if row.alert.model_version is not None]
            models = {row.alert.model_version or "" for row in rows}
            return {
                model: ModelAlerts(
                    model,
                    sum(row.alert.model_version == model for row in rows),
                    _judged(rows, model, Verdict.TRUE_FRAUD),
                    _judged(rows, model, Verdict.FALSE_POSITIVE),
                )
                for model in models
            }

    def verdict_rates(self, now_ms: int, *, late_ms: int, period_ms: int) -> VerdictRates:
        with self.database.call("verdict_rates"):
            until = now_ms - late_ms
            waited = self._matching(AlertFilter(since_ms=until - period_ms, until_ms=until))
            first: dict[tuple[str, int], Feedback] = {}
            for row in sorted(self.database.feedback, key=lambda row: (row.known_at_ms, row.feedback_id)):
                if row.transaction is not None and row.verdict is not None:
                    first.setdefault(row.transaction, row)
            delays = [
                row.known_at_ms - row.event_ms
                for row in first.values()
                if row.event_ms is not None and now_ms - period_ms <= row.known_at_ms < now_ms
            ]
            return VerdictRates(
                alerts=len(waited),
                without=sum(row.feedback is None for row in waited),
                judged=len(delays),
                late=sum(delay > late_ms for delay in delays),
                median_delay_seconds=statistics.median(delays) / 1000 if delays else None,
            )

    def uids(self, where: AlertFilter | None = None) -> set[UUID]:
        with self.database.call("uids"):
            return {row.alert.alert_uid for row in self._matching(where)}

    def feed(self) -> MemoryAlertFeed:
        return MemoryAlertFeed(self.database)

    def tail(self, idle_seconds: float = 1.0) -> Iterator[Sequence[StoredAlert]]:
        return self._tail(self.feed(), idle_seconds)

    def add_feedback(
        self,
        alert_id: int,
        verdict: Verdict | None,
        reviewer: str,
        note: str = "",
        *,
        origin: Origin = Origin.ANALYST,
    ) -> Feedback:
        with self.database.call("add_feedback"):
            row = self._by_id(alert_id)
            if row is None:
                raise StoreRefused(STORE, f"there is no alert {alert_id}")
            given = self._feedback_of(alert_id)
            if given and (given[-1].verdict, given[-1].reviewer, given[-1].note) == (verdict, reviewer, note):
                return given[-1]
            return self.database.give(verdict, reviewer, note, origin=origin, on=row)

    def feedback_of(self, alert_id: int) -> Sequence[Feedback]:
        with self.database.call("feedback_of"):
            return self._feedback_of(alert_id)

    def close(self) -> None:
        """Nothing to end."""

    def _tail(self, feed: MemoryAlertFeed, idle_seconds: float) -> Iterator[Sequence[StoredAlert]]:
        try:
            while True:
                yield self.by_ids(feed.poll(idle_seconds))
        finally:
            feed.close()

    def _feedback_of(self, alert_id: int) -> Sequence[Feedback]:
        row = self._by_id(alert_id)
        return [] if row is None else self.database.feedback_of(row)

    def _by_id(self, alert_id: int) -> StoredAlert | None:
        return next((row for row in self.database.alerts.values() if row.alert_id == alert_id), None)

    def _matching(self, where: AlertFilter | None) -> Sequence[StoredAlert]:
        rows = self.database.alerts.values()
        return [row for row in rows if where is None or _matches(row, where)]


def _judged(rows: Sequence[StoredAlert], model: str, verdict: Verdict) -> int:
    return sum(row.alert.model_version == model and row.feedback is verdict for row in rows)


def _matches(row: StoredAlert, where: AlertFilter) -> bool:
    alert = row.alert
    wanted = (
        (where.source, alert.source),
        (where.rule_name, alert.rule_name),
        (where.user_id, alert.user_id),
        (where.transaction_id, alert.transaction_id),
        (where.partition, row.partition_id),
        (where.feedback, row.feedback),
    )
    at = alert.record_timestamp_ms
    return (
        all(want is None or want == have for want, have in wanted)
        and (where.from_offset is None or alert.offset >= where.from_offset)
        and (where.since_ms is None or at >= where.since_ms)
        and (where.until_ms is None or at < where.until_ms)
        and (where.stored_since_ms is None or row.stored_at_ms >= where.stored_since_ms)
        and (where.event_until_ms is None or round(alert.event_time * 1000) < where.event_until_ms)
    )
