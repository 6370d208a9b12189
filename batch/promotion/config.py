"""How candidates are tested and judged.

Never: a secret.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from ray_fraud.domain.promotion import PromotionRules
from ray_fraud.domain.split import BASIS_POINTS
from ray_fraud.domain.windows import DAY_MS

BasisPoints = Annotated[int, Meta(ge=0, le=BASIS_POINTS)]


class PromotionConfig(msgspec.Struct, frozen=True, kw_only=True):
    rules: PromotionRules = PromotionRules()
    test_share_bp: BasisPoints = 500
    """Users of a candidate under test; they stay the same users while it lasts."""
    least_production_bp: BasisPoints = 5_000
    """A candidate for whom production would have to go below this is tested as a shadow, without users."""
    most_tested: Annotated[int, Meta(ge=1)] = 3
    """Versions under test at once; further candidates wait, because batches score every row by each."""
    label_maturity_days: Annotated[float, Meta(ge=0)] = 7.0
    """So old, in event time, is an alert that tells of the live precision, as in training."""

    @property
    def maturity_ms(self) -> int:
        return round(self.label_maturity_days * DAY_MS)
