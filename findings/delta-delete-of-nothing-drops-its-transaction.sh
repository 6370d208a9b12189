#!/usr/bin/env bash
# Guess:   DeltaTable.delete with CommitProperties(app_transactions=[...]) records the application's transaction,
#          however many rows the predicate matches: the caller asked for rows to be gone *and* for a position.
# Happens: a predicate that matches no row makes no commit at all, without an error, and the transaction is not
#          recorded. An empty transaction (create_write_transaction without files) is committed and keeps it.
# Seen:    deltalake 1.6.6, pyarrow 26.0.1, Python 3.11.
# Hurts:   whoever takes a position back together with the rows above it: with no row above it the position stays
#          where it was, and what should be read again is passed over.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import deltalake
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake


def position(version: int) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction("reader", version)])


def state() -> tuple[int, int | None]:
    table = DeltaTable("table")
    return table.version(), table.transaction_version("reader")


print("deltalake", deltalake.__version__)
write_deltalake("table", pa.table({"place": [1, 2]}), commit_properties=position(7))
seen = [state()]
for predicate in ("place > 5", "place > 1"):
    deleted = DeltaTable("table").delete(predicate, commit_properties=position(4))["num_deleted_rows"]
    seen.append(state())
    print(f"delete where {predicate}: {deleted} row(s), table version %d, transaction %s" % seen[-1])
table = DeltaTable("table")
table.create_write_transaction([], mode="append", schema=table.schema(), commit_properties=position(3))
seen.append(state())
print("empty transaction: table version %d, transaction %s" % seen[-1])
assert seen == [(0, 7), (0, 7), (1, 4), (2, 3)], seen
print("as described: a delete of nothing keeps nothing")
PY
