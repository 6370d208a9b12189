"""Errors of delta-rs and of the file system as the platform's own.

Never: an error swallowed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError, TableNotFoundError

from ray_fraud.stores.errors import StoreRefused, StoreUnavailable

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def delta_errors(what: str) -> Iterator[None]:
    """`what` was tried, for the message.

    Raises:
        StoreRefused: there is no such table.
        StoreUnavailable: everything else, a commit lost against another one included: open the table again
            and repeat.
    """
    try:
        yield
    except TableNotFoundError as error:
        raise StoreRefused("lake", missing(what)) from error
    except (DeltaError, OSError) as error:
        raise StoreUnavailable("lake", f"{what}: {plain(error)}") from error


def missing(what: str) -> str:
    """What to say of a table that is not there; delta-rs says "no log files"."""
    return f"no batches yet: {what}: there is no such table; the first batch makes it (ray-fraud batch run)"


def plain(error: Exception) -> str:
    """On one line: delta-rs draws a tree in colours."""
    return " ".join(_COLOUR.sub("", str(error)).replace("↳", "").split())
