"""What an operator may set of the cold path, with units.

One file (`batch-settings.toml`) holds the operator's values. Changing one changes what later batches find and
keep, and nothing that was decided.

Never: addresses, secrets; a value that decides whether a hot alert exists (that is `DetectionSettings`).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from ray_fraud.domain.patterns.settings import PatternSettings

MINUTES_PER_HOUR, SECONDS_PER_HOUR = 60.0, 3_600.0
AtLeastADay = Annotated[float, Meta(ge=1, le=36_500)]


class FeatureSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What feature tables are made of."""

    profile_days: Annotated[int, Meta(ge=1, le=3_650)] = 90
    """Completed UTC days, up to the newest event's, that users' profiles are made of; they hold from the next
    refresh on."""
    verdict_delay_seconds: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    """A verdict reaches the features this much later."""
    label_maturity_days: Annotated[float, Meta(ge=0, le=3_650)] = 7.0
    """So old, in event time, is a transaction that counts as legitimate while nobody has called it fraud; for
    the features of merchants and for training."""
    refresh_minutes: Annotated[float, Meta(ge=1, le=10_080)] = 60.0
    """Of event time, after which merchants are looked at again without a new verdict."""


class SearchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the lake each search for patterns looks at."""

    look_back_hours: Annotated[float, Meta(gt=0, le=744)] = 6.0
    """Up to the newest event: a finding shows what lies within."""
    max_rows: Annotated[int, Meta(ge=1, le=10_000_000)] = 2_000_000
    """The newest so many, where there are more; 10 million take about 3 GB of memory."""


class DriftSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When what comes in is told to be unlike what models were trained on."""

    alarm: Annotated[float, Meta(gt=0, le=20)] = 0.25
    """A stability index above it is an alarm; 0.25 by custom (Siddiqi 2006)."""
    max_rows: Annotated[int, Meta(ge=100, le=10_000_000)] = 200_000
    """Of the last day that are counted, an even sample if there are more; four times as many are read."""
    least_rows: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """With fewer nothing is told: chance alone would be an alarm."""
    verdict_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    """A verdict should come within so many days."""

    def __post_init__(self) -> None:
        """Raises: ValueError if a sample could be too small to be told."""
        if 2 * self.least_rows > self.max_rows:
            limit = f"half of drift.max_rows = {self.max_rows}"
            raise ValueError(f"drift.least_rows = {self.least_rows} must be at most {limit}")


class LakeCareSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the lake is looked after."""

    interval_hours: Annotated[float, Meta(ge=1, le=8_784)] = 24.0
    """From the end of one complete care to the next."""
    retry_hours: Annotated[float, Meta(ge=0.1, le=8_784)] = 1.0
    """After one that was not complete."""
    retention_days: AtLeastADay = 7.0
    """How long files stay that the newest version of a table does not name: as far back as one can look."""
    feature_tables_days: AtLeastADay = 7.0
    """How long feature tables stay, at least, that no replay needs any more."""
    sort: bool = True
    """Dates that are over are sorted by user."""


class TrainingPeriods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When models are trained, and on which days (of event time) what is learnt and judged."""

    interval_hours: Annotated[float, Meta(ge=0.05, le=8_784)] = 24.0
    """From the beginning of one training to that of the next."""
    new_verdicts: Annotated[int, Meta(ge=1)] = 500
    """So many since the last training bring the next one forward."""
    holdout_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    """The newest labelled days: they judge, and nothing is learnt or chosen on them."""
    gap_days: Annotated[float, Meta(ge=0, le=365)] = 7.0
    """Between training and what judges it: so late do labels come."""
    train_days: Annotated[float, Meta(gt=0, le=3_650)] = 28.0
    folds: Annotated[int, Meta(ge=1, le=50)] = 3
    """Steps in time, before the hold-out, on which parameters, calibration and threshold are chosen."""
    fold_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    alerts_per_day: Annotated[float, Meta(gt=0)] = 100.0
    """What the team can review."""
    top_k: Annotated[int, Meta(ge=1)] = 100
    """Cards looked at per day, for card precision."""
    seed: int = 1
    max_rows: Annotated[int, Meta(ge=10_000, le=20_000_000)] = 1_000_000
    """Of more labelled rows a sample of all days is taken; a million take about 500 MB of memory."""


class PromotionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How candidates are tested, and what they have to show."""

    test_percent: Annotated[float, Meta(ge=0, le=50)] = 5.0
    """Users of a candidate under test; 0: it is a shadow."""
    min_f1: Annotated[float, Meta(ge=0, le=1)] = 0.7
    min_frauds: Annotated[int, Meta(ge=1)] = 30
    """In the hold-out."""
    min_verdicts: Annotated[int, Meta(ge=0)] = 30
    """On the candidate's own alerts."""
    rollback_verdicts: Annotated[int, Meta(ge=1)] = 50
    """On production's alerts, before it may be rolled back."""
    rollback_share: Annotated[float, Meta(ge=0, le=1)] = 0.7
    """Of the hold-out's precision: live precision has to stay above this part of it."""


class BatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them; each has a default."""

    interval_minutes: Annotated[float, Meta(ge=0.1, le=10_080)] = 5.0
    """From the beginning of one run of the cold path to that of the next."""
    features: FeatureSettings = FeatureSettings()
    search: SearchSettings = SearchSettings()
    patterns: PatternSettings = PatternSettings()
    care: LakeCareSettings = LakeCareSettings()
    training: TrainingPeriods = TrainingPeriods()
    promotion: PromotionSettings = PromotionSettings()
    drift: DriftSettings = DriftSettings()

    def __post_init__(self) -> None:
        """Raises: ValueError if a search looks at too little for a pattern, which would never be found."""
        limit = self.search.look_back_hours
        for name, hours in self._periods().items():
            if hours > limit:
                raise ValueError(
                    f"patterns.{name} = {hours:g} hours must not be longer than "
                    f"search.look_back_hours = {limit:g}"
                )

    def _periods(self) -> dict[str, float]:
        """What each rule has to see, in hours."""
        frequency, geographic = self.patterns.frequency, self.patterns.geographic
        temporal, coordinated = self.patterns.temporal, self.patterns.coordinated
        return {
            "frequency.window_minutes": frequency.window_minutes / MINUTES_PER_HOUR,
            "frequency.small_window_minutes": frequency.small_window_minutes / MINUTES_PER_HOUR,
            "geographic: windows × window_minutes": (
                geographic.windows * geographic.window_minutes / MINUTES_PER_HOUR
            ),
            "temporal.unusual_hours": temporal.unusual_hours,
            "temporal.burst_seconds": temporal.burst_seconds / SECONDS_PER_HOUR,
            "coordinated.window_minutes": coordinated.window_minutes / MINUTES_PER_HOUR,
        }
