"""Verdicts in memory, on the ledger's own database.

Never: a difference to the real one that their common tests do not allow.
"""

from collections.abc import Iterable, Sequence

from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.queries import Feedback
from ray_fraud.stores.ledger.queries import Verdict as Word
from ray_fraud.stores.verdicts.port import NewVerdict, check


class MemoryVerdicts:
    """See `Verdicts`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._alerts = MemoryAlertQueries(database)

    def give(
        self,
        alert_id: int,
        fraud: bool | None,
        reviewer: str,
        note: str = "",
        *,
        origin: Origin = Origin.ANALYST,
    ) -> int:
        return self._alerts.add_feedback(alert_id, Word.of(fraud), reviewer, note, origin=origin).feedback_id

    def add(self, rows: Sequence[NewVerdict]) -> int:
        with self._database.call("add_verdicts"):
            check(rows, self._database.now_ms())
            before = len(self._database.feedback)
            for row in rows:
                if row.import_key not in self._database.import_keys:
                    self._database.import_keys.add(row.import_key)
                    self._database.give(
                        Word.of(row.fraud),
                        row.reviewer,
                        row.note,
                        origin=row.origin,
                        transaction=(row.transaction_id, row.user_id),
                        merchant_id=row.merchant_id,
                        event_ms=row.event_ms,
                        known_ms=row.known_ms,
                    )
            return len(self._database.feedback) - before

    def since(self, number: int, limit: int) -> Sequence[Verdict]:
        with self._database.call("verdicts_since"):
            return _verdicts(row for row in self._database.feedback if row.feedback_id > number)[:limit]

    def known(self, from_ms: int, until_ms: int, *, newest: int | None = None) -> Sequence[Verdict]:
        with self._database.call("known_verdicts"):
            rows = [row for row in self._database.feedback if from_ms <= row.known_at_ms < until_ms]
            found = _verdicts(sorted(rows, key=lambda row: (row.known_at_ms, row.feedback_id)))
            return found if newest is None else found[max(0, len(found) - newest) :]

    def close(self) -> None:
        """Nothing is open."""


def _verdicts(rows: Iterable[Feedback]) -> list[Verdict]:
    return [
        Verdict(
            row.feedback_id,
            *row.transaction,
            row.merchant_id,
            row.event_ms,
            None if row.verdict is None else row.verdict is Word.TRUE_FRAUD,
            row.known_at_ms,
            row.origin,
        )
        for row in rows
        if row.transaction is not None
    ]
