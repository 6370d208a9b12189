"""Everything that decides whether an alert exists and is neither transaction nor model.

One file (`settings.toml`) holds the operator's values; a partition sees them only through an
event of its control timeline, so a replay uses the values of that time.

Never: addresses, secrets, anything about where the platform runs.
"""

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Meta

from ray_fraud.domain.alert import Severity
from ray_fraud.domain.canonical import canonical_json, content_digest

Positive = Annotated[float, Meta(gt=0)]


class StateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The declared horizon and size of one user's state."""

    max_events: Annotated[int, Meta(ge=2, le=1024)] = 64
    """Events of the last 24 h kept exactly; older ones become five-minute buckets."""
    idle_hours: Annotated[int, Meta(ge=24)] = 31 * 24
    """A user unseen for longer than this, by the log's own time, is forgotten."""


class HighAmountSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Positive = 2000.0
    """Base currency; an alert needs an amount above it."""
    severity: Severity = Severity.MEDIUM


class GeoVelocitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit_kmh: Positive = 800.0
    """Roughly the cruising speed of an airliner."""
    min_distance_km: Positive = 50.0
    """Nearer places are jitter of positioning, whatever the speed."""
    severity: Severity = Severity.HIGH


class MlAnomalySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    severity: Severity = Severity.MEDIUM


class Added(NamedTuple):
    """A rule or a field that came after the first version of the rules."""

    version: int
    """The version of the rules that it came with."""
    before: Any
    """What the code before it did, in the file's own values: None for a rule, which was off."""


class DetectionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The values of all rules; a rule that may be off (`… | None`) is off if it is None."""

    rules_version: ClassVar[int] = 1
    """Of the fields below; one more with every rule or field that comes, which `added` then names."""
    added: ClassVar[Mapping[str, Added]] = MappingProxyType({})
    """By path (`rule` or `rule.field`). Events that were recorded before read by this, never by a default."""

    max_future_skew_seconds: Positive = 300.0
    """A transaction dated later than its Kafka timestamp plus this is refused."""
    state: StateSettings = StateSettings()
    high_amount: HighAmountSettings = HighAmountSettings()
    geo_velocity: GeoVelocitySettings = GeoVelocitySettings()
    ml_anomaly: MlAnomalySettings = MlAnomalySettings()

    def canonical(self) -> bytes:
        """The bytes that the control timeline refers to: all values, and the version of the rules."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return canonical_json({**values, "rules_version": self.rules_version})

    @cached_property
    def digest(self) -> str:
        return content_digest(self.canonical())
