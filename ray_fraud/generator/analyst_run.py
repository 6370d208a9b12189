"""The simulated analyst at work: alerts, ground truth and verdicts in, verdicts out.

    alerts (PostgreSQL) + labels (Kafka) + verdicts on record → what is due → verdicts

What is on record is not judged again, so a run goes on where another one ended, and ends at any moment.

Never: a verdict of an origin other than `simulated`; a label that is used before its alert's delay is over.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from ray_fraud.domain.verdicts import Origin
from ray_fraud.generator.analyst import Case, Judgement, Key, SimulatedAnalyst
from ray_fraud.generator.label_log import Truth
from ray_fraud.stores.ledger.queries import AlertFeed, AlertQueries, StoredAlert
from ray_fraud.stores.verdicts.port import NewVerdict, Verdicts

PAGE = 1_000
ANALYST, BANK = "simulated analyst", "simulated bank"


class Labels(Protocol):
    """The ground truth."""

    def to_the_end(self) -> Iterable[Truth]: ...


class AnalystReport(msgspec.Struct):
    """What a run did so far."""

    labels: int = 0
    """Read, of frauds and others."""
    alerts: int = 0
    """Seen, with those that were judged already."""
    true_fraud: int = 0
    false_positive: int = 0
    chargebacks: int = 0
    open_alerts: int = 0
    """Cases that wait for their delay or for capacity."""
    open_frauds: int = 0
    """Frauds without a verdict."""


class AnalystRun:
    """Steps of one run; each may be repeated after an error."""

    def __init__(
        self,
        analyst: SimulatedAnalyst,
        labels: Labels,
        alerts: AlertQueries,
        verdicts: Verdicts,
        *,
        event_time: bool = False,
    ) -> None:
        """`event_time`: alerts are seen when their transaction happened; verdicts are known in that time."""
        self._analyst = analyst
        self._labels = labels
        self._alerts = alerts
        self._verdicts = verdicts
        self._event_time = event_time
        self._feed: AlertFeed | None = None
        self._seen: set[int] = set()
        self._of_alerts: set[Key] = set()
        self._number = 0
        self._newest_event_ms = 0
        self._unsaved: list[Judgement] = []
        self.report = AnalystReport()

    def step(self, now_ms: int) -> AnalystReport:
        """Gives what is due at `now_ms` (with event time: at the newest event); what was done so far.

        Raises:
            StoreError: a store did not answer; the next step does what this one did not.
        """
        # Labels come after `now_ms`, so that those of all alerts that are due have been read.
        self._see_alerts()
        self._read_labels()
        self._hear_verdicts()
        self._unsaved += self._analyst.due(self._newest_event_ms if self._event_time else now_ms)
        self._save(now_ms)
        self.report.open_alerts = self._analyst.open_cases
        self.report.open_frauds = self._analyst.open_frauds
        return self.report

    def close(self) -> None:
        """Repeating it is harmless."""
        if self._feed is not None:
            self._feed.close()
        self._feed = None

    def _see_alerts(self) -> None:
        if self._feed is None:
            # The feed before the list: what becomes durable in between is in one of them.
            feed = self._alerts.feed()
            try:
                self._see_all()
            except BaseException:
                feed.close()
                raise
            self._feed = feed
        try:
            news = self._feed.poll(0.0)
            self._see(self._alerts.by_ids(news) if news else ())
        except BaseException:
            self.close()
            raise

    def _see_all(self) -> None:
        before: int | None = None
        while page := self._alerts.list(limit=PAGE, before_id=before):
            self._see(page)
            before = page[-1].alert_id

    def _see(self, rows: Sequence[StoredAlert]) -> None:
        for row in rows:
            if row.alert_id in self._seen:
                continue
            self._seen.add(row.alert_id)
            self.report.alerts += 1
            case = self._case(row)
            if case.alert_id is None:
                self._of_alerts.add(case.transactions[0])
                self._analyst.see(case)
            elif row.feedback is None:
                self._analyst.see(case)

    def _case(self, row: StoredAlert) -> Case:
        alert, event_ms = row.alert, round(row.alert.event_time * 1000)
        self._newest_event_ms = max(self._newest_event_ms, event_ms)
        seen_ms = event_ms if self._event_time else row.stored_at_ms
        members = alert.details.get("transactions") if "members" in alert.details else None
        if members is None:
            return Case(((alert.transaction_id, alert.user_id),), alert.severity, alert.score, seen_ms)
        keys = tuple((member["transaction_id"], member["user_id"]) for member in members)
        return Case(keys, alert.severity, alert.score, seen_ms, row.alert_id)

    def _read_labels(self) -> None:
        for label in self._labels.to_the_end():
            self.report.labels += 1
            event_ms = round(label.timestamp * 1000)
            self._newest_event_ms = max(self._newest_event_ms, event_ms)
            if label.is_fraud:
                self._analyst.learn_fraud((label.transaction_id, label.user_id), event_ms)

    def _hear_verdicts(self) -> None:
        while rows := self._verdicts.since(self._number, PAGE):
            for row in rows:
                # Which simulated ones were chargebacks is not on record: on alerts, all count as reviews.
                own = row.origin is Origin.SIMULATED and row.key in self._of_alerts
                self._analyst.hear(row.key, row.known_ms, reviewed=own)
            self._number = rows[-1].number

    def _save(self, now_ms: int) -> None:
        """Transactions in one call, then patterns' alerts; the next step saves what an error left."""
        of_transactions = [(each.subject, each) for each in self._unsaved if isinstance(each.subject, tuple)]
        self._verdicts.add([self._new(key, each, now_ms) for key, each in of_transactions])
        self._unsaved = [each for each in self._unsaved if not isinstance(each.subject, tuple)]
        self._count(each for _, each in of_transactions)
        while self._unsaved:
            subject, fraud = self._unsaved[0].subject, self._unsaved[0].fraud
            if not isinstance(subject, tuple):
                self._verdicts.give(subject, fraud, ANALYST, origin=Origin.SIMULATED)
            self._count([self._unsaved.pop(0)])

    def _new(self, key: Key, judged: Judgement, now_ms: int) -> NewVerdict:
        transaction_id, user_id = key
        return NewVerdict(
            transaction_id=transaction_id,
            user_id=user_id,
            fraud=judged.fraud,
            origin=Origin.SIMULATED,
            known_ms=min(judged.at_ms, now_ms) if self._event_time else None,
            reviewer=ANALYST if judged.reviewed else BANK,
            note="review" if judged.reviewed else "chargeback",
        )

    def _count(self, saved: Iterable[Judgement]) -> None:
        for each in saved:
            if not each.reviewed:
                self.report.chargebacks += 1
            elif each.fraud:
                self.report.true_fraud += 1
            else:
                self.report.false_positive += 1
