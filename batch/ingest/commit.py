"""One commit to the table `transactions`, repeated while the lake is unavailable: its files are written.

Never: another append in the place of one whose reply was lost.
"""

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from batch.ingest.manifest import Written
from ray_fraud.stores.tables.port import Append, TransactionTable
from ray_fraud.stores.tables.retry import repeated

logger = logging.getLogger(__name__)


def quarantine(
    table: TransactionTable,
    blocks: Sequence[Written],
    noticed_ms: int,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Puts the unwritable records of what was read into quarantine, before the commit goes past them.

    How many were new there. Raises: StoreError, as `commit`; repeating it writes none twice.
    """
    rows = [
        msgspec.structs.replace(row, noticed_ms=noticed_ms) for block in blocks for row in block.quarantined
    ]
    if not rows:
        return 0
    new = repeated("lake: quarantine", lambda: table.quarantine(rows), sleep)
    logger.error(
        "ingest: %d accepted records cannot be rows of the lake and are in its table quarantine, from %s on",
        len(new),
        f"{rows[0].partition} offset {rows[0].offset}: {rows[0].reason}",
    )
    return len(new)


def commit(table: TransactionTable, append: Append, sleep: Callable[[float], None] = time.sleep) -> int:
    """The new version.

    Raises:
        TableMoved: another one committed these offsets first.
        StoreError: the lake did not take it in time; whether it did at last is not known.
    """
    return repeated(f"lake: commit of run {append.run_id}", lambda: table.append(append), sleep)
