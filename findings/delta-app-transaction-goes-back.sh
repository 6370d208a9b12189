#!/usr/bin/env bash
# Guess:   a Delta commit that carries an application transaction (app id, version) is refused, or skipped, when
#          the table already holds that version or a higher one, so that a writer may simply repeat itself.
# Happens: deltalake (delta-rs) accepts the same version again and a lower one too; the rows are appended each
#          time, and the table's recorded version goes *back*. The protocol leaves the check to the writer.
# Seen:    deltalake 1.6.6, pyarrow 26.0.1, Python 3.11.
# Hurts:   whoever writes batches "exactly once" by CommitProperties(app_transactions=[...]) alone: a repeated batch
#          is in the table twice, and after a late writer the next one starts from an offset it has already passed.
#          Read DeltaTable.transaction_version(app id) first and commit on that same handle.
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

print("deltalake", deltalake.__version__)
seen = []
for version in (5, 5, 3):
    write_deltalake(
        "table",
        pa.table({"written_as": [version]}),
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction("ingest", version)]),
    )
    table = DeltaTable("table")
    seen.append((version, table.transaction_version("ingest"), table.to_pyarrow_table().num_rows))
    print("committed as version %d: the table says version %d and holds %d row(s)" % seen[-1])
assert seen == [(5, 5, 1), (5, 5, 2), (3, 3, 3)], seen
print("as described: a repeated and a lower version are both accepted")
PY
