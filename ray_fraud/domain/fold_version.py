"""The version of everything that computes state and features, and what it makes of a fixed log.

Never: other bytes of states, features or alerts under the same version.
"""

from typing import Final

FOLD_VERSION: Final[int] = 4
"""A change of what the fold computes needs a new one: stored states say which fold made them, a replay would
not give what was decided. `docs/upgrades.md` says what else belongs to it."""

FOLD_DIGESTS: Final = {
    "states": "7dcbc92934d8f205d5381aa7be85c8fa236fbad494a6399d3bc581db3347c005",
    "features": "41d557adca3f743bad33d85ebaf223a4d05f5dc589c28e3b0edaa907eb68c8f4",
    "alerts": "338286daada81a362701b55382d9687900806c6b0aa611ddb2d8ae30b0823893",
}
"""SHA-256 of what this version makes of the fixed log in `tests/golden`, which a test computes anew."""
