"""A release to come: one more rule, and one more field of a rule that there is; for tests of the past.

Never: a rule that the product has.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec
import pytest

from ray_fraud.domain import partition, timeline
from ray_fraud.domain.alert import RuleName, Severity
from ray_fraud.domain.rules import Neighbour, RuleHit, hits_without_model
from ray_fraud.domain.settings import Added, DetectionSettings, HighAmountSettings
from ray_fraud.domain.timeline import EventKind

REASON = "broke the later rule"


class LaterRuleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    above: float = 0.0
    """Nearly everything breaks it."""


class LaterHighAmount(HighAmountSettings, frozen=True, forbid_unknown_fields=True):
    factor: float = 0.001
    """The limit is multiplied with it; the code before had no factor, which is one of 1."""


class LaterSettings(DetectionSettings, frozen=True, forbid_unknown_fields=True, dict=True):
    rules_version: ClassVar[int] = DetectionSettings.rules_version + 1
    added: ClassVar[Mapping[str, Added]] = MappingProxyType(
        {
            **DetectionSettings.added,
            "later": Added(DetectionSettings.rules_version + 1, None),
            "high_amount.factor": Added(DetectionSettings.rules_version + 1, 1.0),
        }
    )
    high_amount: LaterHighAmount = LaterHighAmount()
    later: LaterRuleSettings | None = LaterRuleSettings()


def later_hits(
    amount: float, previous: Neighbour | None, following: Neighbour | None, settings: DetectionSettings
) -> tuple[RuleHit, ...]:
    """What the later release makes of a row."""
    assert isinstance(settings, LaterSettings), "every event is read as this release's settings"
    high = settings.high_amount
    scaled = msgspec.structs.replace(high, limit=high.limit * high.factor)
    hits = hits_without_model(
        amount, previous, following, msgspec.structs.replace(settings, high_amount=scaled)
    )
    if settings.later is not None and amount > settings.later.above:
        hits = (*hits, RuleHit(RuleName.GEO_VELOCITY, Severity.LOW, REASON))
    return hits


def install(patch: pytest.MonkeyPatch) -> None:
    """From here on, everything is of the later release."""
    patch.setitem(timeline.CONTENT_TYPES, EventKind.SETTINGS, LaterSettings)
    patch.setattr(partition, "hits_without_model", later_hits)
