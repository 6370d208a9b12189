"""What people found out about transactions, and the labels that follow from it at a moment.

Never: a verdict that was not known at the moment that is asked about; the ground truth.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Origin(StrEnum):
    """Who says it."""

    ANALYST = "analyst"
    CHARGEBACK = "chargeback"
    SIMULATED = "simulated"
    """By the ground truth, in demonstrations."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """One verdict on one transaction."""

    number: int
    """In the order in which verdicts were stored."""
    transaction_id: str
    user_id: int
    merchant_id: str | None
    """None: the transaction has none, or it is not known here."""
    event_ms: int | None
    """Event time of the transaction, unix milliseconds; None: not known here."""
    fraud: bool | None
    """None: what was said before is taken back."""
    known_ms: int
    """From this moment on it may be used, unix milliseconds."""
    origin: Origin

    @property
    def key(self) -> tuple[str, int]:
        """What names the transaction: its id and its user's."""
        return self.transaction_id, self.user_id


class VerdictRates(msgspec.Struct, frozen=True):
    """Whether verdicts come, and whether they come in time."""

    alerts: int
    """That have waited long enough for a verdict."""
    without: int
    """Of them, those that have none, or one that was taken back."""
    judged: int
    """Transactions whose first verdict became known in the period."""
    late: int
    """Of them, those where it came after the limit: a training may have had them as legitimate."""
    median_delay_seconds: float | None
    """From the transaction to its first verdict; None if none was judged."""

    @property
    def missing_ratio(self) -> float | None:
        """Of the alerts that waited; None if there are none."""
        return self.without / self.alerts if self.alerts else None

    @property
    def late_ratio(self) -> float | None:
        """Of the judged transactions; None if there are none."""
        return self.late / self.judged if self.judged else None


def labels_at(verdicts: Iterable[Verdict], known_until_ms: int) -> dict[tuple[str, int], Verdict]:
    """What counts of each transaction at a moment, by (transaction id, user id).

    Of the verdicts known at or before `known_until_ms` the one known last counts, of those known in the same
    millisecond the one with the highest number, whatever the order they come in. A transaction whose last one
    is taken back has no label.
    """
    newest: dict[tuple[str, int], Verdict] = {}
    for verdict in verdicts:
        if verdict.known_ms > known_until_ms:
            continue
        present = newest.get(verdict.key)
        if present is None or (present.known_ms, present.number) < (verdict.known_ms, verdict.number):
            newest[verdict.key] = verdict
    return {key: verdict for key, verdict in newest.items() if verdict.fraud is not None}
