"""The traffic split of the one scoring slot: which model version scores which user.

Never: model files (see `ray_fraud.scoring`), a random draw: the arm of a user is a hash.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from ray_fraud.domain.canonical import canonical_json, content_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BASIS_POINTS = 10_000


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version and its share of the users."""

    model_name: str
    version: int
    model_digest: str
    """SHA-256 of the model's manifest, which names the ONNX file by its own SHA-256."""
    threshold: float
    """A score above it is an alert."""
    share_bp: Annotated[int, Meta(ge=0, le=BASIS_POINTS)]
    """Share of users in basis points (1/100 %)."""

    @property
    def label(self) -> str:
        return f"{self.model_name}:{self.version}"


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The arms, production first; shares add up to 10,000. No arms at all: rules only."""

    arms: tuple[Arm, ...]
    salt: str

    def __post_init__(self) -> None:
        total = sum(arm.share_bp for arm in self.arms)
        if self.arms and total != BASIS_POINTS:
            raise ValueError(f"arms: shares add up to {total} basis points, must be {BASIS_POINTS}")

    def canonical(self) -> bytes:
        return canonical_json(self)

    @cached_property
    def digest(self) -> str:
        return content_digest(self.canonical())

    def arm_of(self, user_ids: "NDArray[np.int64]") -> "NDArray[np.uint8]":
        """The index into `arms` for each user, shape (n,) to shape (n,).

        A user's point is splitmix64 (Steele, Lea & Flood 2014, the finaliser) of
        (user id + 64 bits of BLAKE2b(salt)), modulo 10,000; arms own consecutive ranges of points.
        """
        # Commands that only name a split do not wait for it.
        import numpy as np

        seed = int.from_bytes(hashlib.blake2b(self.salt.encode(), digest_size=8).digest(), "little")
        x = user_ids.astype(np.uint64) + np.uint64(seed)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        points = x % np.uint64(BASIS_POINTS)
        bounds = np.cumsum([arm.share_bp for arm in self.arms]).astype(np.uint64)
        return np.searchsorted(bounds, points, side="right").astype(np.uint8)


RULES_ONLY = Split(arms=(), salt="")
"""The split of a partition that has no model file at all."""
