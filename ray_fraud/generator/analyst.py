"""A simulated analyst: from alerts and the ground truth to verdicts, with the delays and limits of people.

Each UTC day it reviews the most severe open alerts, as many as it can, each some time after it saw it. A
fraud that nobody has judged when its chargeback delay is over comes as a chargeback.

Never: I/O, a clock (time comes in), a draw that depends on the order of calls; a transaction judged twice.
"""

import hashlib
from collections import Counter

import msgspec

from ray_fraud.domain.alert import Severity

DAY_MS = 86_400_000
_RANKS = {severity: rank for rank, severity in enumerate(Severity)}

Key = tuple[str, int]
"""Transaction id and user id."""


class Habits(msgspec.Struct, frozen=True):
    """How the analyst works."""

    delay_ms: int
    """From seeing an alert to its verdict, at least."""
    capacity_per_day: int
    """Reviews per UTC day; all alerts of a transaction are one."""
    chargeback_delay_ms: int
    """From a fraud to its chargeback."""
    error_rate: float = 0.0
    """Share of wrong verdicts on alerts; chargebacks are right."""
    seed: int = 0
    """Decides which ones are wrong."""

    def __post_init__(self) -> None:
        for name in ("delay_ms", "capacity_per_day", "chargeback_delay_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be at least 0")
        if not 0 <= self.error_rate <= 1:
            raise ValueError(f"error_rate: {self.error_rate} must lie between 0 and 1")


class Case(msgspec.Struct, frozen=True):
    """What one review is about."""

    transactions: tuple[Key, ...]
    """One, or those of a pattern's alert."""
    severity: Severity
    score: float | None
    seen_ms: int
    alert_id: int | None = None
    """Of a pattern's alert, which is judged as a whole; None: the transaction is judged."""

    @property
    def subject(self) -> Key | int:
        """What is judged: the transaction, or the pattern's alert."""
        return self.transactions[0] if self.alert_id is None else self.alert_id


class Judgement(msgspec.Struct, frozen=True):
    """One verdict."""

    subject: Key | int
    fraud: bool
    at_ms: int
    reviewed: bool
    """False: a chargeback."""


class SimulatedAnalyst:
    """Told what is seen, asked what is due; times are unix milliseconds of one clock, whichever it is."""

    def __init__(self, habits: Habits, start_ms: int) -> None:
        """Nothing is judged before `start_ms`, and the capacity of days before it is lost."""
        self._habits = habits
        self._now_ms = start_ms
        self._cases: dict[Key | int, Case] = {}
        self._frauds: dict[Key, int] = {}
        self._waiting: dict[Key, int] = {}
        """Frauds without a verdict, and when they come as chargebacks."""
        self._judged: set[Key | int] = set()
        self._reviews: Counter[int] = Counter()

    @property
    def open_cases(self) -> int:
        return len(self._cases)

    @property
    def open_frauds(self) -> int:
        """Frauds that nobody has judged."""
        return len(self._waiting)

    def see(self, case: Case) -> None:
        """An alert. A second one of a transaction makes its case as severe as the severer of both."""
        if case.subject in self._judged:
            return
        known = self._cases.get(case.subject)
        if known is not None:
            first = min(known, case, key=lambda one: one.seen_ms)
            worst = max(known, case, key=_severity)
            case = msgspec.structs.replace(worst, seen_ms=first.seen_ms)
        self._cases[case.subject] = case

    def learn_fraud(self, key: Key, at_ms: int) -> None:
        """The ground truth of a fraud; what is never told is none."""
        if key not in self._frauds:
            self._frauds[key] = at_ms
            if key not in self._judged:
                self._waiting[key] = at_ms + self._habits.chargeback_delay_ms

    def hear(self, subject: Key | int, at_ms: int, *, reviewed: bool) -> None:
        """A verdict that is on record already; `reviewed` if it was a part of this analyst's day."""
        if subject in self._judged:
            return
        self._judged.add(subject)
        self._cases.pop(subject, None)
        if isinstance(subject, tuple):
            self._waiting.pop(subject, None)
        if reviewed:
            self._reviews[at_ms // DAY_MS] += 1

    def due(self, now_ms: int) -> list[Judgement]:
        """The verdicts given since the last call, day by day; within a day reviews come before chargebacks.

        They count as given: what is asked for twice is not told twice.
        """
        given: list[Judgement] = []
        while self._cases or self._waiting:
            ready = [case.seen_ms + self._habits.delay_ms for case in self._cases.values()]
            first = max(self._now_ms, min([*ready, *self._waiting.values()]))
            if first > now_ms:
                break
            day = first // DAY_MS
            until_ms = min((day + 1) * DAY_MS - 1, now_ms)
            given += self._day(day, first, until_ms)
            if until_ms == now_ms:
                break
            self._now_ms = until_ms + 1
        self._now_ms = max(self._now_ms, now_ms)
        return given

    def _day(self, day: int, from_ms: int, until_ms: int) -> list[Judgement]:
        left = max(0, self._habits.capacity_per_day - self._reviews[day])
        ready = [case for case in self._cases.values() if case.seen_ms + self._habits.delay_ms <= until_ms]
        ready.sort(key=lambda case: (_severity(case), -case.seen_ms, str(case.subject)), reverse=True)
        given = [
            Judgement(
                case.subject,
                self._says(case),
                max(from_ms, case.seen_ms + self._habits.delay_ms),
                reviewed=True,
            )
            for case in ready[:left]
        ]
        for each in given:
            self.hear(each.subject, each.at_ms, reviewed=True)
        overdue = sorted((at_ms, key) for key, at_ms in self._waiting.items() if at_ms <= until_ms)
        for at_ms, key in overdue:
            given.append(Judgement(key, fraud=True, at_ms=max(from_ms, at_ms), reviewed=False))
            self.hear(key, at_ms, reviewed=False)
        return given

    def _says(self, case: Case) -> bool:
        """The truth, a pattern's by half of its transactions, or its opposite."""
        frauds = sum(key in self._frauds for key in case.transactions)
        is_fraud = 2 * frauds >= len(case.transactions)
        drawn = hashlib.sha256(f"{self._habits.seed}:{case.subject}".encode()).digest()[:8]
        is_wrong = int.from_bytes(drawn, "big") < self._habits.error_rate * 2**64
        return is_fraud != is_wrong


def _severity(case: Case) -> tuple[int, float]:
    return _RANKS[case.severity], float("-inf") if case.score is None else case.score
