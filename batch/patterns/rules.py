"""All pattern rules over one table.

Never: a parameter of its own.
"""

from ray_fraud.domain.patterns.columns import PatternColumns
from ray_fraud.domain.patterns.coordinated import coordinated
from ray_fraud.domain.patterns.finding import Finding
from ray_fraud.domain.patterns.frequency import frequency
from ray_fraud.domain.patterns.geographic import geographic_clusters
from ray_fraud.domain.patterns.settings import PatternSettings
from ray_fraud.domain.patterns.temporal import temporal


def find_patterns(columns: PatternColumns, settings: PatternSettings) -> list[Finding]:
    """Findings of every rule."""
    if not len(columns):
        return []
    return [
        *frequency(columns, settings.frequency),
        *geographic_clusters(columns, settings.geographic),
        *temporal(columns, settings.temporal),
        *coordinated(columns, settings.coordinated),
    ]
