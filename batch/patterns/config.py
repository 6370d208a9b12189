"""What a search for patterns is told.

Never: a secret.
"""

import msgspec

from ray_fraud.domain.patterns.settings import PatternSettings


class PatternConfig(msgspec.Struct, frozen=True, kw_only=True):
    settings: PatternSettings = PatternSettings()
    look_back_hours: float = 6.0
    """How much of the lake, up to its newest event, each run looks at: a finding shows what lies within."""
    max_rows: int = 2_000_000
    """The newest so many, where there are more: what one run can look at between two."""
