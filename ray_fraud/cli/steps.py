"""Progress of work in steps, each of which tells how much of it is done.

Never: a result.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ray_fraud.cli.output import progress

LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


@contextmanager
def steps_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each step, or a line now and then; called with step, done and in all."""
    if not progress.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(step: str, done: int, in_all: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=in_all)
            bar.update(tasks[step], completed=done)

        yield tell


class _Lines:
    """Progress where there is no terminal."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, step: str, done: int, in_all: int) -> None:
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            progress.print(f"{step}: {done / max(1, in_all):.0%}")
