"""A look by Ray Data: the lake is read once, into shards that stay in Ray's object store.

Rows of one shard are looked at by one task, which reads them, too. Of more, each step is a dataset of a few
pieces, one task each, which gives one block; from files to users, and from
users to what joins, each task takes its rows from all blocks before it. A node's tasks share them; on several
nodes each of them gets a copy. Only totals, findings and the rows of their members, read again of the files,
come to the driver.

Never: the rows of the look-back in the driver.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from batch.patterns import shards
from batch.patterns.config import PatternConfig
from batch.patterns.look import Look, Profiles, look_at_rows
from batch.patterns.plan import Plan, plan_of
from batch.patterns.rows import READ, SEARCHED, TOLD, Seen
from batch.ray_data import Blocks, answers_of, blocks_of, exchanged
from ray_fraud.domain.feature_tables import ProfileTable
from ray_fraud.domain.patterns.finding import Finding, Ints, moved
from ray_fraud.domain.patterns.totals import Totals
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.tables.columns import SCHEMA, TRANSACTIONS
from ray_fraud.stores.tables.period import PeriodRows

READ_BATCH_ROWS = 100_000
USERS, JOINS = "users", "joins"


class _Shard(NamedTuple):
    """One shard of one kind, as a task gets it."""

    kind: str
    block: Blocks

    @property
    def rows(self) -> pa.Table:
        (table,) = self.block.tables()
        return table


def look_by_ray(
    lake: LakeLocation,
    config: PatternConfig,
    since: Seen | None = None,
    *,
    profiles: Profiles = ProfileTable,
) -> Look:
    """Looks once; what it finds is what `look_in_process` finds. Needs a connection to Ray.

    Raises:
        StoreError: the lake does not answer, a task was lost for good, or a row was not seen.
    """
    plan = plan_of(lake, config)
    if plan is None:
        return Look(0, 0, 0, [], pa.table({}), Seen(), 0)
    if plan.shards == 1:
        return _look_in_one_task(lake, plan, config, since, profiles)
    both = _shards_of(lake, plan, config, since)
    known = _totals(both, config)
    rules = partial(_findings, config=config, totals=known.totals, profiles=profiles)
    said = answers_of(rules, both, config.tasks)
    parts = [msgspec.json.decode(answer, type=shards.ShardFindings) for answer in said]
    places = _places(both, shards.numbers_in(parts), config)
    del both
    members = _members(lake, plan, places, config)
    findings, rows = shards.put_together(members, parts, config.settings)
    duplicates = plan.rows - known.totals.users.rows
    reach_ms = known.totals.events.length_ms
    return Look(plan.rows + plan.left_out, plan.left_out, duplicates, findings, rows, known.seen, reach_ms)


class _Answer(msgspec.Struct, frozen=True):
    """What a task that looked by itself found; `members` is the Arrow stream of just the findings' rows."""

    duplicates: int
    findings: list[Finding]
    members: bytes
    seen: Seen
    reach_ms: int


def _look_in_one_task(
    lake: LakeLocation, plan: Plan, config: PatternConfig, since: Seen | None, profiles: Profiles
) -> Look:
    """Each further task costs some tenths of a second, which is what a rule takes for these rows."""
    work = partial(_look_here, lake=lake, config=config, since=since, profiles=profiles)
    (said,) = answers_of(work, [plan], 1)
    answer = msgspec.msgpack.decode(said, type=_Answer)
    members = _table_in(answer.members)
    read = plan.rows + plan.left_out
    return Look(
        read, plan.left_out, answer.duplicates, answer.findings, members, answer.seen, answer.reach_ms
    )


def _look_here(
    plan: Plan, lake: LakeLocation, config: PatternConfig, since: Seen | None, profiles: Profiles
) -> bytes:
    """In a worker process."""
    parts = [_rows_of(paths, lake, plan, READ) for paths in plan.pieces]
    rows = pa.concat_tables(parts).combine_chunks()
    _check_count(rows.num_rows, plan)
    look = look_at_rows(rows, config, since, profiles())
    chosen = np.unique([row for finding in look.findings for row in finding.rows]).astype(np.int64)
    position = np.zeros(look.members.num_rows, np.int64)
    position[chosen] = np.arange(len(chosen))
    members = _bytes_of(look.members.take(chosen))
    return msgspec.msgpack.encode(
        _Answer(look.duplicates, moved(look.findings, position), members, look.seen, look.reach_ms)
    )


def _shards_of(lake: LakeLocation, plan: Plan, config: PatternConfig, since: Seen | None) -> list[_Shard]:
    """Every row in a shard of users, and in those of what it is joined by."""
    read = blocks_of(partial(_read, lake=lake, plan=plan), plan.pieces, config.tasks)
    _check_count(read.rows, plan)
    users = exchanged(partial(_user_shard, count=plan.shards, since=since), plan.shards, read, config.tasks)
    del read
    joins = exchanged(partial(_join_shard, count=plan.shards), plan.shards, users, config.tasks)
    return [
        _Shard(kind, Blocks([ref], 0))
        for kind, blocks in ((USERS, users), (JOINS, joins))
        for ref in blocks.refs
    ]


def _check_count(rows: int, plan: Plan) -> None:
    if rows != plan.rows:
        raise StoreDamaged("lake", f"patterns: {rows} rows were read, version {plan.version} has {plan.rows}")


def _read(paths: tuple[str, ...], lake: LakeLocation, plan: Plan) -> pa.Table:
    """In a worker process: the rows of some files that are looked at."""
    return shards.encoded(_rows_of(paths, lake, plan, SEARCHED))


def _rows_of(paths: tuple[str, ...], lake: LakeLocation, plan: Plan, columns: Sequence[str]) -> pa.Table:
    parts = _parts(paths, lake, plan, columns)
    if plan.cut is not None:
        parts = (part.filter(plan.cut.of(part)) for part in parts)
    return _one_table(parts, columns)


def _parts(
    paths: tuple[str, ...], lake: LakeLocation, plan: Plan, columns: Sequence[str]
) -> Iterator[pa.Table]:
    period = PeriodRows(lake, TRANSACTIONS, plan.since_ms, plan.until_ms, plan.version)
    return (part for _, part in period.read(paths, columns, READ_BATCH_ROWS))


def _one_table(parts: Iterable[pa.Table], columns: Sequence[str]) -> pa.Table:
    schema = pa.schema([SCHEMA.field(name).with_nullable(True) for name in columns])
    return pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in parts)])


def _user_shard(number: int, read: Sequence[pa.Table], count: int, since: Seen | None) -> pa.Table:
    return shards.user_shard(read, number, count, since)


def _join_shard(number: int, users: Sequence[pa.Table], count: int) -> pa.Table:
    return shards.join_shard(users, number, count)


def _totals(both: Sequence[_Shard], config: PatternConfig) -> shards.ShardTotals:
    totals, seen = Totals(), Seen()
    for answer in answers_of(partial(_totals_of, config=config), both, config.tasks):
        part = msgspec.json.decode(answer, type=shards.ShardTotals)
        totals, seen = totals + part.totals, seen + part.seen
    return shards.ShardTotals(totals, seen)


def _totals_of(shard: _Shard, config: PatternConfig) -> bytes:
    of_kind = shards.totals_of_user_shard if shard.kind == USERS else shards.totals_of_join_shard
    return msgspec.json.encode(of_kind(shard.rows, config.settings))


def _findings(shard: _Shard, config: PatternConfig, totals: Totals, profiles: Profiles) -> bytes:
    if shard.kind == USERS:
        found = shards.findings_of_user_shard(shard.rows, config.settings, totals, profiles())
    else:
        found = shards.findings_of_join_shard(shard.rows, config.settings, totals)
    return msgspec.json.encode(found)


def _places(both: Sequence[_Shard], numbers: Ints, config: PatternConfig) -> list[pa.Table]:
    """Where the rows with these numbers lie."""
    if not len(numbers):
        return []
    users = [shard for shard in both if shard.kind == USERS]
    said = answers_of(partial(_places_of_numbers, numbers=numbers), users, config.tasks)
    return [_table_in(answer) for answer in said]


def _places_of_numbers(shard: _Shard, numbers: Ints) -> bytes:
    return _bytes_of(shards.places_of_numbers(shard.rows, numbers))


def _members(lake: LakeLocation, plan: Plan, places: list[pa.Table], config: PatternConfig) -> list[pa.Table]:
    """The rows at these places.

    Raises:
        StoreDamaged: one is no longer there.
    """
    if not places:
        return []
    wanted = pa.concat_tables(places).combine_chunks()
    work = partial(_rows_at, lake=lake, plan=plan, places=wanted)
    members = [_table_in(answer) for answer in answers_of(work, plan.pieces, config.tasks)]
    found = sum(table.num_rows for table in members)
    if found < wanted.num_rows:
        raise StoreDamaged("lake", f"patterns: {found} of {wanted.num_rows} members were read again")
    return members


def _rows_at(paths: tuple[str, ...], lake: LakeLocation, plan: Plan, places: pa.Table) -> bytes:
    parts = (_one_table([part], TOLD) for part in _parts(paths, lake, plan, TOLD))
    found = [shards.rows_at(part, places) for part in (_one_table([], TOLD), *parts)]
    return _bytes_of(pa.concat_tables(found))


def _bytes_of(table: pa.Table) -> bytes:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _table_in(said: bytes) -> pa.Table:
    return pa.ipc.open_stream(said).read_all()
