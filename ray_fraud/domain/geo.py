"""Distance and speed between two places.

Never: places in anything but WGS 84 degrees, or whole numbers of 1e-7 degree where named `_e7`.
"""

from math import asin, cos, pi, sin, sqrt

EARTH_RADIUS_KM = 6371.0088
"""Mean radius R1 of the Earth (IUGG, GRS 80; Moritz 2000)."""
MIN_TRAVEL_MS = 1000
"""Two events closer in time count as one second apart: clocks of terminals are no better."""
MS_PER_HOUR = 3_600_000
RADIANS = pi / 180
E7 = 1e7
"""States keep places as whole numbers of 1e-7 degree, about 1 cm."""


def haversine_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Great-circle distance in km of two places in degrees (haversine formula, Sinnott 1984)."""
    phi_a, phi_b = lat_a * RADIANS, lat_b * RADIANS
    sin_dphi = sin((phi_b - phi_a) / 2)
    sin_dlambda = sin((lon_b - lon_a) * RADIANS / 2)
    square = sin_dphi * sin_dphi + cos(phi_a) * cos(phi_b) * sin_dlambda * sin_dlambda
    # Rounding may carry the square a hair outside 0…1 for antipodes.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(square)) if square < 1.0 else pi * EARTH_RADIUS_KM


def speed_kmh(km: float, elapsed_ms: int) -> float:
    """Speed in km/h that covers `km` in `elapsed_ms` >= 0, which counts as at least one second."""
    return km / ((elapsed_ms if elapsed_ms > MIN_TRAVEL_MS else MIN_TRAVEL_MS) / MS_PER_HOUR)
