"""What care is told.

Never: a secret.
"""

from datetime import timedelta

import msgspec

from ray_fraud.stores.tables.care import DEFAULT_RETENTION


class CareConfig(msgspec.Struct, frozen=True, kw_only=True):
    retention: timedelta = DEFAULT_RETENTION
    """How long files stay that the newest version does not name: as far back as one can look."""
    feature_tables_retention: timedelta = DEFAULT_RETENTION
    """How long feature tables stay, at least, that no replay needs any more."""
    sort: bool = True
    """Dates that are over are sorted by user."""
    interval: timedelta = timedelta(hours=24)
    """From the end of one complete care to the next."""
    retry: timedelta = timedelta(hours=1)
    """After one that was not complete."""
