"""SQL over the lake's tables, as of now or of an earlier version, by DuckDB.

Each table that the statement names is a view of that version's files; DuckDB reads of them what the statement
needs. The database is in memory and may neither read nor write anything else: no files, no network, no
extensions, no variables of this process.

Never: a change of a table; more than one statement.
"""

import re
from collections.abc import Sequence
from typing import Any

import duckdb
import msgspec

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.tables.dataset import table_dataset
from ray_fraud.stores.tables.lake_tables import AsOf, open_table, present_tables
from ray_fraud.stores.tables.plain_values import plain_rows

_CONFIG: dict[str, Any] = {"python_enable_replacements": False}
_LOCK = "SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true"
_SHOW = re.compile(r"\s*show\b", re.IGNORECASE)
_PIVOT = re.compile(r"\bpivot(_wider)?\b", re.IGNORECASE)
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class QueryRefused(StoreRefused):
    """The statement is wrong, or asks for what a query may not do."""

    code = "query_refused"


class QueryResult(msgspec.Struct):
    columns: list[str]
    rows: list[list[Any]]
    more: bool
    """There are rows beyond the limit."""
    versions: dict[str, int]
    """Of the tables that were read."""


def query(location: LakeLocation, sql: str, as_of: AsOf | None, limit: int) -> QueryResult:
    """The first `limit` rows of the statement's result.

    `as_of`: a version number, if the statement names one table (each has numbers of its own), or a moment.

    Raises:
        QueryRefused: bad SQL, or no such version or time of a table.
        StoreError: the lake does not answer, or the files of that version were vacuumed.
    """
    present = present_tables(location)
    named = [name for name in present if re.search(rf"\b{name}\b", sql, re.IGNORECASE)]
    names = named or (list(present) if _SHOW.match(sql) else [])
    if isinstance(as_of, int) and len(names) != 1:
        said = f"this statement names {', '.join(names) or 'none'}"
        raise QueryRefused("lake", f"a version number is of one table; {said}: give a time")
    tables = {name: open_table(location, name, as_of) for name in names}
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        try:
            for name, table in tables.items():
                connection.register(name, table_dataset(location, name, table))
            connection.execute(_LOCK)
            found = connection.sql(_one_statement(connection, sql)).limit(limit + 1).to_arrow_table()
        except duckdb.Error as error:
            raise _explained(error, as_of, present) from error
    rows = plain_rows(found)
    versions = {name: table.version() for name, table in tables.items()}
    return QueryResult(found.column_names, rows[:limit], len(rows) > limit, versions)


def _one_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryRefused("lake", f"one statement at a time; these are {len(statements)}")
    kind = statements[0].type
    # A PIVOT is several statements in one: the first looks for its columns.
    pivot = kind == duckdb.StatementType.MULTI and _PIVOT.search(sql) is not None
    if kind not in _READING and not pivot:
        raise QueryRefused("lake", f"only SELECT; this is {kind.name}")
    return sql


def _explained(error: duckdb.Error, as_of: AsOf | None, present: Sequence[str]) -> StoreRefused:
    text = str(error).strip()
    if unknown := _NO_TABLE.search(text):
        there = ", ".join(present) or "none yet: nothing was written to this lake"
        return QueryRefused("lake", f"there is no table {unknown[1]!r}; its tables are {there}")
    if as_of is not None and "No such file" in text:
        return StoreRefused("lake", f"the files of that version are vacuumed: {text}")
    return QueryRefused("lake", text)
