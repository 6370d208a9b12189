"""How the platform uses Ray Data: few tasks, at the lowest priority, without its progress bars.

Where a piece needs tables of every piece before, tasks of Ray are given them as arguments: what a function of
Ray Data refers to may stay in the object store for good once blocks were made by it. What must not wait for a
free core is tasks of Ray, too.

Never: a dataset whose rows pass the driver (tasks write files and tell about them, or keep blocks in Ray's
object store).
"""

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import ray.data
from ray.data import DataContext, TaskPoolStrategy
from ray.exceptions import RayError, RayTaskError
from ray.util.annotations import RayDeprecationWarning

from batch.priority import low_priority_env
from ray_fraud.stores.errors import StoreError, StoreUnavailable

Piece = TypeVar("Piece")
RETRIES = 3
"""Of a piece whose worker process died."""
EXCHANGE_SECONDS = 1_800.0
"""For one piece of an exchange, the waiting for a free core included."""
_PIECE, _ANSWER = "piece", "answer"


def _quiet() -> None:
    """Our own progress is enough; Ray Data's goes to its log files."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _few_tasks(tasks: int, blocks: int) -> dict[str, Any]:
    """Options of a dataset's step: at most `tasks` of its `blocks` at a time."""
    # Ray Data warns of more tasks than there are blocks.
    compute = TaskPoolStrategy(min(tasks, max(1, blocks)))
    return {"num_cpus": 1, "runtime_env": low_priority_env(), "compute": compute}


class Blocks(NamedTuple):
    """Tables in Ray's object store, in any order; they stay there as long as this is referred to."""

    refs: list[Any]
    rows: int

    def tables(self) -> Iterator[pa.Table]:
        """For tasks of Ray Data, which give no tables: one of another node is copied to theirs."""
        for ref in self.refs:
            yield ray.get(ref)


def blocks_of(work: Callable[[Piece], pa.Table], pieces: Sequence[Piece], tasks: int) -> Blocks:
    """What `work` makes of each piece, one task and one table each. Needs a connection to Ray.

    Raises:
        StoreError: a task's own, or `StoreUnavailable` if tasks died however often they were repeated.
    """
    with _own_errors():
        made = _dataset(work, pieces, tasks).materialize()
        bundles = list(made.iter_internal_ref_bundles())
        blocks = Blocks([ref for bundle in bundles for ref in bundle.block_refs], made.count())
        del made, bundles
        _collect()
        return blocks


def exchanged(
    work: Callable[[int, Sequence[pa.Table]], pa.Table], pieces: int, given: Blocks, tasks: int
) -> Blocks:
    """What `work` makes of each piece, by number, and all tables that are given; see `blocks_of`."""
    run = _exchange.options(num_cpus=1, runtime_env=low_priority_env(), max_retries=RETRIES, num_returns=2)
    refs: list[Any] = []
    counts: list[Any] = []
    with _own_errors():
        for number in range(pieces):
            if number >= tasks:
                ray.wait(counts, num_returns=number - tasks + 1, timeout=EXCHANGE_SECONDS)
            table, rows = run.remote(work, number, *given.refs)
            refs.append(table)
            counts.append(rows)
        return Blocks(refs, sum(ray.get(counts, timeout=EXCHANGE_SECONDS)))


@ray.remote
def _exchange(
    work: Callable[[int, Sequence[pa.Table]], pa.Table], number: int, *given: pa.Table
) -> tuple[pa.Table, int]:
    table = work(number, given)
    return table, table.num_rows


def answers_of(work: Callable[[Piece], bytes], pieces: Sequence[Piece], tasks: int) -> Iterator[bytes]:
    """What `work` says of each piece, as it comes, in any order; see `blocks_of`."""
    with _own_errors():
        for row in _dataset(partial(_answer, work=work), pieces, tasks).iter_rows():
            yield row[_ANSWER]
        _collect()


def answers_of_tasks(
    work: Callable[[Piece], bytes], pieces: Sequence[Piece], tasks: int, seconds: float
) -> Iterator[bytes]:
    """What `work` says of each piece, as it comes, in any order; by tasks that wait for no free core.

    What still runs when this ends early, by an error or by its caller, is killed.

    Raises:
        StoreError: as `blocks_of`; also `StoreUnavailable` if for so many `seconds` no piece is ready.
    """
    task: Any = _say.options(num_cpus=0, runtime_env=low_priority_env(), max_retries=RETRIES)
    waiting = list(pieces)
    running: list[Any] = []
    with _own_errors():
        try:
            while waiting or running:
                while waiting and len(running) < tasks:
                    running.append(task.remote(work, waiting.pop(0)))
                ready, _ = ray.wait(running, timeout=seconds)
                if not ready:
                    raise StoreUnavailable("ray", f"for {seconds:.0f} s none of {len(running)} tasks ended")
                running.remove(ready[0])
                yield ray.get(ready[0])
        finally:
            for left in running:
                ray.cancel(left, force=True)


@ray.remote
def _say(work: Callable[[Piece], bytes], piece: Piece) -> bytes:
    return work(piece)


def _collect() -> None:
    """A dataset refers to itself, and so keeps its blocks until the collector comes along."""
    gc.collect()


def _answer(piece: Piece, work: Callable[[Piece], bytes]) -> pa.Table:
    return pa.table({_ANSWER: pa.array([work(piece)], pa.large_binary())})


def _dataset(work: Callable[[Piece], pa.Table], pieces: Sequence[Piece], tasks: int) -> Any:
    _quiet()
    numbers = [pa.table({_PIECE: [number]}) for number in range(len(pieces))]
    # The dataset keeps a copy of the context.
    context = _context(target_max_block_size=None, raise_original_map_exception=True)
    with context, warnings.catch_warnings():
        # Of its own accord Ray Data begins again for ever; until 2.64 this way of telling it is there.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.from_arrow(numbers).map_batches(
            partial(_table_of, work=work, pieces=pieces),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            **_few_tasks(tasks, len(pieces)),
            max_retries=RETRIES,
        )


@contextmanager
def _context(**changes: Any) -> Iterator[None]:
    """A piece's table is one block, however large, and its error is told as it is."""
    context = DataContext.get_current()
    usual = {name: getattr(context, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in usual.items():
            setattr(context, name, value)


def _table_of(number: pa.Table, work: Callable[[Piece], pa.Table], pieces: Sequence[Piece]) -> pa.Table:
    (piece,) = number[_PIECE].to_pylist()
    return work(pieces[piece])


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        cause: BaseException | None = error.cause
        if isinstance(cause, StoreError):
            raise cause from error
        raise
    except RayError as error:
        raise StoreUnavailable("ray", f"a task was lost: {type(error).__name__}: {error}") from error
