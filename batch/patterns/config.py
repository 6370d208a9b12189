"""What a search for patterns is told.

Never: a secret.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from ray_fraud.domain.patterns.settings import PatternSettings

AtLeastOne = Annotated[int, Meta(ge=1)]


class PatternConfig(msgspec.Struct, frozen=True, kw_only=True):
    settings: PatternSettings = PatternSettings()
    look_back_hours: float = 6.0
    """How much of the lake, up to its newest event, each run looks at: a finding shows what lies within."""
    max_rows: AtLeastOne = 2_000_000
    """The newest so many, where there are more: what one run can look at between two."""
    shard_rows: AtLeastOne = 1_000_000
    """Rows of a shard, about, and of a task that reads. Up to twice as many are looked at by one task, which
    takes seconds; among more, each step has a task per shard."""
    tasks: AtLeastOne = 2
    """Shards that are looked at at the same time."""
    whole_every: AtLeastOne = 12
    """Each so many searches all users and cells are looked at, not only those with new rows."""
