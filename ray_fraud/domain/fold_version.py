"""The version of everything that computes state and features, and what it makes of a fixed log.

Never: other bytes of states, features or alerts under the same version.
"""

from typing import Final

FOLD_VERSION: Final[int] = 3
"""A change of what the fold computes needs a new one: stored states say which fold made them, a replay would
not give what was decided. `docs/upgrades.md` says what else belongs to it."""

FOLD_DIGESTS: Final = {
    "states": "ac0cc3f27b711cb032489c574ff960d580cf2de9cff68bb2c1b2bef1d2366287",
    "features": "cbda7a4bd013eaaf9fbe9b0318734518497aa6fe007dd6b895214e52aea12693",
    "alerts": "98354f2d3327cc50a6d9114fc0a83927ba7fa25f8f72482fff6f9e3c74c7a916",
}
"""SHA-256 of what this version makes of the fixed log in `tests/golden`, which a test computes anew."""
