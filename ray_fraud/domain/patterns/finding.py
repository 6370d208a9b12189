"""A finding: which rule, about whom, when, why, and which transactions.

Its identity is UUIDv5 of (rule, subject, start of the grid-aligned window): a batch that sees the same
pattern again, with more of its members perhaps, finds the same finding.

Never: a clock, a random id.
"""

import uuid
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.alert import ALERT_NAMESPACE, RuleName, Severity

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Finding(msgspec.Struct, frozen=True):
    rule: RuleName
    subject: str
    """`user:42`, `cell:8a2a1072b59ffff`, `merchant:…`: what the pattern is about."""
    window_start_ms: int
    """Start of the window on the rule's grid, event time, unix milliseconds."""
    first_ms: int
    last_ms: int
    """Event times of its first and last member."""
    severity: Severity
    reason: str
    """A sentence with the numbers in it."""
    users: tuple[int, ...]
    """Ascending, each once."""
    rows: tuple[int, ...]
    """Positions of the members in the columns that were looked at, in order of event time."""

    @property
    def uid(self) -> uuid.UUID:
        return uuid.uuid5(ALERT_NAMESPACE, f"{self.rule}:{self.window_start_ms}:{self.subject}")


COLD_ORDER = tuple(RuleName)
"""The order of rules in a list of findings."""


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By rule, first event, subject and members: the same order, however the findings were come by."""
    return sorted(findings, key=lambda it: (COLD_ORDER.index(it.rule), it.first_ms, it.subject, it.rows))


def moved(findings: Iterable[Finding], positions: Ints) -> list[Finding]:
    """Findings in other columns, of which the present ones hold the rows at `positions`, shape (n,)."""
    return [
        msgspec.structs.replace(finding, rows=tuple(positions[list(finding.rows)].tolist()))
        for finding in findings
    ]


def grid_start(at_ms: int, window_ms: int) -> int:
    """Start of the window of the grid that the moment lies in."""
    return at_ms // window_ms * window_ms
