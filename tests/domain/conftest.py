"""Property tests of the domain have no deadline per example: on a shared machine it measures the neighbours.

The time limit per test stays.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("domain", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("domain")
