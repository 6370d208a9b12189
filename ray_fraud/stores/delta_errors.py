"""Errors of delta-rs and of the file system as the platform's own.

Never: an error swallowed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError, TableNotFoundError

from ray_fraud.stores.errors import StoreRefused, StoreUnavailable


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
        raise StoreRefused("lake", f"{what}: {error}") from error
    except (DeltaError, OSError) as error:
        raise StoreUnavailable("lake", f"{what}: {error}") from error
