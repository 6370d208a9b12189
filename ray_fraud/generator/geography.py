"""Distances and ways on a sphere, for whole arrays at once.

Never: the rule's own distance (the domain's): the generator must not agree with it by construction.
"""

import numpy as np

from ray_fraud.generator.chance import Floats

EARTH_RADIUS_KM = 6371.0088
KM_PER_DEGREE = 111.195


def distance_km(lat1: Floats, lon1: Floats, lat2: Floats, lon2: Floats) -> Floats:
    """Great-circle distance in km by the haversine formula; arguments in degrees, shapes broadcast."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half_phi = (phi2 - phi1) / 2.0
    half_lambda = np.radians(lon2 - lon1) / 2.0
    h = np.sin(half_phi) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_lambda) ** 2
    result: Floats = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))
    return result


def distance_matrix_km(lat: Floats, lon: Floats) -> Floats:
    """Shape (n,) twice to shape (n, n)."""
    return distance_km(lat[:, None], lon[:, None], lat[None, :], lon[None, :])


def along_way(lat1: Floats, lon1: Floats, lat2: Floats, lon2: Floats, share: Floats) -> tuple[Floats, Floats]:
    """The point after `share` (0…1) of the great circle from 1 to 2, in degrees, each of shape (n,).

    Spherical linear interpolation (Shoemake 1985), so equal times are equal distances.
    """
    start, end = _unit_vectors(lat1, lon1), _unit_vectors(lat2, lon2)
    angle = np.arccos(np.clip((start * end).sum(axis=0), -1.0, 1.0))
    sine = np.where(np.sin(angle) < 1e-9, 1.0, np.sin(angle))
    x, y, z = start * (np.sin((1.0 - share) * angle) / sine) + end * (np.sin(share * angle) / sine)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def shifted(
    lat: Floats, lon: Floats, distance_km: Floats, direction_radians: Floats
) -> tuple[Floats, Floats]:
    """The point some km away (small distances, below 70° of latitude), in degrees, each of shape (n,)."""
    north = lat + distance_km * np.cos(direction_radians) / KM_PER_DEGREE
    east = lon + distance_km * np.sin(direction_radians) / (KM_PER_DEGREE * np.cos(np.radians(lat)))
    return north, (east + 540.0) % 360.0 - 180.0


def _unit_vectors(lat: Floats, lon: Floats) -> Floats:
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
