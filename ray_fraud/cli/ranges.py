"""Numbers on the command line, each with an end: no option takes `nan`, `inf`, or more than a store can hold.

Never: a number that only fails when it is used.
"""

import math
from typing import Any

import click

MOST = 1e8
"""Of a figure that names no other end; in seconds three years."""
MOST_WHOLE = 2**63 - 1
"""What PostgreSQL, Kafka and the lake hold."""


class FiniteRange(click.FloatRange):
    """A finite number from `min` to `max`."""

    def __init__(
        self, min: float, max: float = MOST, *, min_open: bool = False, max_open: bool = False
    ) -> None:
        super().__init__(min, max, min_open=min_open, max_open=max_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number", param, ctx)
        return found


class WholeRange(click.IntRange):
    """A whole number from `min` to `max`."""

    def __init__(self, min: int, max: int = MOST_WHOLE) -> None:
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and len(value) > len(str(MOST_WHOLE)) + 1:
            # Python's own limit of digits is another error.
            self.fail(f"{value[:20]}… has {len(value):,} characters; at most {self.max}", param, ctx)
        return super().convert(value, param, ctx)
