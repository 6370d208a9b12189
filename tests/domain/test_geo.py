"""Distances on the sphere."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.domain.geo import EARTH_RADIUS_KM, haversine_km, speed_kmh

lats, lons = st.floats(-90, 90), st.floats(-180, 180)


@pytest.mark.parametrize(
    ("place_a", "place_b", "km"),
    [
        ((52.52, 13.405), (35.6762, 139.6503), 8918),
        ((51.4700, -0.4543), (40.6413, -73.7781), 5540),
        ((0, 0), (0, 1), 2 * math.pi * EARTH_RADIUS_KM / 360),
        ((90, 0), (-90, 0), math.pi * EARTH_RADIUS_KM),
        ((0, 0), (0, 180), math.pi * EARTH_RADIUS_KM),
        ((10, 180), (10, -180), 0),
    ],
    ids=["Berlin-Tokyo", "Heathrow-JFK", "one degree of the equator", "the poles", "half round", "date line"],
)
def test_known_distances(place_a: tuple[float, float], place_b: tuple[float, float], km: float) -> None:
    assert haversine_km(*place_a, *place_b) == pytest.approx(km, rel=1e-3, abs=1e-6)


@settings(deadline=None)
@given(lats, lons, lats, lons)
def test_a_distance_is_symmetric_and_at_most_half_round(a: float, b: float, c: float, d: float) -> None:
    km = haversine_km(a, b, c, d)
    assert 0 <= km <= math.pi * EARTH_RADIUS_KM
    assert km == pytest.approx(haversine_km(c, d, a, b), rel=1e-9, abs=1e-6)


@settings(deadline=None)
@given(lats, lons)
def test_a_place_and_its_antipode(lat: float, lon: float) -> None:
    assert haversine_km(lat, lon, lat, lon) == 0
    opposite = haversine_km(lat, lon, -lat, lon + 180)
    assert opposite == pytest.approx(math.pi * EARTH_RADIUS_KM, rel=1e-6)


def test_speed_counts_at_least_one_second() -> None:
    assert speed_kmh(100, 3_600_000) == 100
    assert speed_kmh(1, 1000) == speed_kmh(1, 0) == 3600
