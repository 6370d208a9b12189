"""Verdicts of analysts, chargebacks and simulated analysts, on transactions with and without an alert.

Never: a change of a verdict (another one follows it); one that is known later than it is stored.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import STORE
from ray_fraud.stores.ledger.validity import MAX_BIGINT, MAX_SECONDS

MAX_TRANSACTION_ID = 64


class NewVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict on a transaction, whether or not it alerted."""

    transaction_id: str
    user_id: int
    fraud: bool | None
    """None: what was said before is taken back."""
    origin: Origin = Origin.CHARGEBACK
    merchant_id: str | None = None
    """None: that of its alert, if there is one; so for the next."""
    event_ms: int | None = None
    known_ms: int | None = None
    """Since when it is known, unix milliseconds; None: since it is stored."""
    reviewer: str = "import"
    note: str = ""

    @property
    def import_key(self) -> UUID:
        """Its identity: 128 bits of a SHA-256 over transaction, origin, verdict and known_ms."""
        named = (self.transaction_id, self.user_id, self.origin, self.fraud, self.known_ms)
        return UUID(bytes=hashlib.sha256(msgspec.json.encode(named)).digest()[:16])


class Verdicts(Protocol):
    """Calls block on I/O. All raise StoreUnavailable if PostgreSQL does not answer: repeat them."""

    def give(
        self,
        alert_id: int,
        fraud: bool | None,
        reviewer: str,
        note: str = "",
        *,
        origin: Origin = Origin.ANALYST,
    ) -> int:
        """Say what an alert is; its number. What was said last is not said twice: then that one's number.

        Raises:
            StoreRefused: there is no such alert.
        """

    def add(self, rows: Sequence[NewVerdict]) -> int:
        """Store those whose `import_key` is not there yet, all or none; how many were new.

        Each holds for all alerts of its transaction, also for one that comes later.

        Raises:
            StoreRefused: one of them cannot be stored; the message names its field and rule.
        """

    def since(self, number: int, limit: int) -> Sequence[Verdict]:
        """Those above this number, by number. None is left out that is stored later with a lower one.

        A verdict on a pattern's alert is about a group and not among them; so for `known`.
        """

    def known(self, from_ms: int, until_ms: int, *, newest: int | None = None) -> Sequence[Verdict]:
        """Those known in `[from_ms, until_ms)`, in the order in which they became known.

        Args:
            newest: only the last so many.
        """

    def close(self) -> None:
        """Repeating it is harmless."""


def why_refused(row: NewVerdict, now_ms: int) -> str | None:
    """The reason, naming field and rule, or None if the row can be stored."""
    length = len(row.transaction_id)
    if not 1 <= length <= MAX_TRANSACTION_ID:
        return f"transaction_id: {length} characters, must be 1 … {MAX_TRANSACTION_ID}"
    if not 0 <= row.user_id <= MAX_BIGINT:
        return f"user_id: {row.user_id} is not in 0 … {MAX_BIGINT}"
    for name, at_ms in (("event_ms", row.event_ms), ("known_ms", row.known_ms)):
        if at_ms is not None and not 0 <= at_ms < MAX_SECONDS * 1000:
            return f"{name}: {at_ms} is not in 0 … {MAX_SECONDS * 1000 - 1}"
    if row.known_ms is not None and row.known_ms > now_ms:
        return f"known_ms: {row.known_ms} is later than now"
    for name in ("transaction_id", "merchant_id", "reviewer", "note"):
        reason = _bad_text(getattr(row, name) or "")
        if reason is not None:
            return f"{name}: {reason}"
    return None


def check(rows: Sequence[NewVerdict], now_ms: int) -> None:
    """Raises `StoreRefused` for the first row that cannot be stored."""
    for row in rows:
        reason = why_refused(row, now_ms)
        if reason is not None:
            raise StoreRefused(STORE, f"add verdicts: {reason}")


def _bad_text(text: str) -> str | None:
    if "\0" in text:
        return "holds the character NUL, which PostgreSQL cannot store"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is no UTF-8"
    return None
