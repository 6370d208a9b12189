#!/usr/bin/env bash
# Guess:   a filter over a Parquet file selects the rows that the same filter selects over the same values in
#          memory: `isnan(x)` finds NaN, and `x <> 1` finds NaN, which is not 1.
# Happens: the statistics of a row group leave NaN out (as the format asks), and both readers prune by them:
#          * DuckDB finds the NaN row of [1, 2, NaN] by no predicate at all, `isnan(x)` included;
#          * pyarrow's dataset drops a row group of [1, 1, NaN] for `x != 1`, as its least and largest value are 1.
#          Without statistics in the file both give what they give in memory.
# Seen:    duckdb 2.0.1, pyarrow 26.0.1, Python 3.11.
# Hurts:   checks for damaged figures ("how many NaN are there?" answers 0), and whoever stores a missing feature as
#          NaN instead of null: queries lose exactly those rows, depending on how they fell into row groups.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

print("duckdb", duckdb.__version__, "pyarrow", pa.__version__)
connection = duckdb.connect()


def by_duckdb(predicate, source):
    return connection.execute(f"select count(*) from {source} where {predicate}").fetchone()[0]


def by_pyarrow(source):
    return ds.dataset(source).to_table(filter=ds.field("x") != 1.0).num_rows


memory = pa.table({"x": [1.0, 2.0, float("nan")]})
pq.write_table(memory, "with.parquet")
pq.write_table(memory, "without.parquet", write_statistics=False)
found = {}
for predicate in ("isnan(x)", "x > 2"):
    sources = ("memory", "'without.parquet'", "'with.parquet'")
    found[predicate] = [by_duckdb(predicate, source) for source in sources]
    print(f"duckdb, {predicate}: in memory, file without and with statistics: {found[predicate]}")
assert found == {"isnan(x)": [1, 1, 0], "x > 2": [1, 1, 0]}, found

memory = pa.table({"x": [1.0, 1.0, float("nan")]})
pq.write_table(memory, "same.parquet")
pq.write_table(memory, "same-without.parquet", write_statistics=False)
counts = [by_pyarrow(source) for source in (memory, "same-without.parquet", "same.parquet")]
print(f"pyarrow, x != 1: in memory, file without and with statistics: {counts}")
assert counts == [1, 1, 0], counts
print("as described: rows with NaN are pruned with their row group")
PY
