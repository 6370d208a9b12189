"""One commit to the table `transactions`, repeated while the lake is unavailable: its files are written.

Never: another append in the place of one whose reply was lost.
"""

import time
from collections.abc import Callable

from ray_fraud.stores.tables.port import Append, TransactionTable
from ray_fraud.stores.tables.retry import repeated


def commit(table: TransactionTable, append: Append, sleep: Callable[[float], None] = time.sleep) -> int:
    """The new version.

    Raises:
        TableMoved: another one committed these offsets first.
        StoreError: the lake did not take it in time; whether it did at last is not known.
    """
    return repeated(f"lake: commit of run {append.run_id}", lambda: table.append(append), sleep)
