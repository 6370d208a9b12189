"""Columns for the tests of the pattern rules."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ray_fraud.domain.patterns.columns import NONE, Codes, PatternColumns

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_788_220_800_000
"""Midnight UTC, a Tuesday."""


class Tx(NamedTuple):
    user: int
    at: int
    """Milliseconds after `START`."""
    amount: float = 40.0
    merchant: str | None = None
    device: str | None = None
    cell: str | None = None


def columns_of(rows: Sequence[Tx]) -> PatternColumns:
    return PatternColumns(
        user_id=np.array([row.user for row in rows], np.int64),
        event_ms=np.array([START + row.at for row in rows], np.int64),
        amount=np.array([row.amount for row in rows], np.float64),
        merchant=_codes([row.merchant for row in rows]),
        device=_codes([row.device for row in rows]),
        cell=_codes([row.cell for row in rows]),
    )


def _codes(texts: Sequence[str | None]) -> Codes:
    names = sorted({text for text in texts if text is not None})
    code = {name: number for number, name in enumerate(names)}
    return Codes(np.array([NONE if text is None else code[text] for text in texts], np.int64), names)


def habits(user: int, days: int = 30, hours: Sequence[int] = (9, 13, 18)) -> list[Tx]:
    """Some weeks of a quiet life: the same hours every day, some minutes later each time."""
    return [
        Tx(user, day * DAY + hour * HOUR + (day * 7 + user) % 50 * MINUTE, 30.0 + (day * 13 + hour) % 40)
        for day in range(days)
        for hour in hours
    ]
