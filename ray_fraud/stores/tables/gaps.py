"""What of a gap is new: a gap that has grown since it was recorded is told again, by its new part.

Never: I/O; a loss that no row tells.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from ray_fraud.stores.tables.port import LogGapRow


def untold(gaps: Iterable[LogGapRow], told: Iterable[LogGapRow]) -> list[LogGapRow]:
    """What the rows in `told` do not say of these gaps: each from the offset up to which they tell of it."""
    known, new = list(told), []
    for gap in gaps:
        rest = _rest(gap, [row for row in known if row.partition == gap.partition])
        if rest is not None:
            known.append(rest)
            new.append(rest)
    return new


def _rest(gap: LogGapRow, told: Sequence[LogGapRow]) -> LogGapRow | None:
    begin, end = float(gap.from_offset), _end(gap)
    if end < begin:
        # A log that was cut short grows from its new end, and the gap's with it: only a lower one is a loss.
        deepest = min((_end(row) for row in told if row.from_offset == gap.from_offset), default=math.inf)
        return None if deepest <= end else gap
    for row in sorted(told, key=lambda row: row.from_offset):
        if row.from_offset <= begin:
            begin = max(begin, _end(row))
    return None if end <= begin else msgspec.structs.replace(gap, from_offset=int(begin))


def _end(gap: LogGapRow) -> float:
    return math.inf if gap.to_offset is None else gap.to_offset
