"""Chance without memory: uniform numbers that are a pure function of seed, purpose and keys.

A population of millions needs no table this way: whatever is asked about user 4,711 is hashed from
the seed and the id, today and in ten years, in whatever order users are asked for.

Never: hidden state. Draws that need an order come from a `numpy.random.Generator` passed in.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def uniform(seed: int, purpose: int, *keys: Ints) -> Floats:
    """Uniform in (0, 1), shape of the keys; independent for different purposes and keys.

    The finaliser is splitmix64's (Steele, Lea & Flood 2014), applied once per key.
    """
    x: NDArray[np.uint64] = np.asarray(
        (seed * _GOLDEN + (purpose + 1) * 0xD1B54A32D192ED03) & _MASK, dtype=np.uint64
    )
    for key in keys:
        x = _mix(x + key.astype(np.uint64) * np.uint64(_GOLDEN))
    return ((x >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, purpose: int, *keys: Ints) -> Floats:
    """Standard normal by Box & Muller (1958) from two uniforms; uses purposes `purpose` and `purpose + 1`."""
    radius = np.sqrt(-2.0 * np.log(uniform(seed, purpose, *keys)))
    result: Floats = radius * np.cos(2.0 * np.pi * uniform(seed, purpose + 1, *keys))
    return result


def transaction_ids(rng: np.random.Generator, count: int) -> list[str]:
    """`count` texts shaped like UUID version 4 (RFC 9562), drawn from the seeded generator."""
    raw = np.frombuffer(rng.bytes(16 * count), dtype=np.uint8).reshape(count, 16).copy()
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x40
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    text = raw.tobytes().hex()
    return [
        f"{text[i : i + 8]}-{text[i + 8 : i + 12]}-{text[i + 12 : i + 16]}"
        f"-{text[i + 16 : i + 20]}-{text[i + 20 : i + 32]}"
        for i in range(0, 32 * count, 32)
    ]


def generator(seed: int, *path: int) -> np.random.Generator:
    """An independent random stream for each path of numbers under one seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=path)))


def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
