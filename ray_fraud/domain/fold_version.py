"""The version of everything that computes state and features, and what it makes of a fixed log.

Never: other bytes of states, features or alerts under the same version.
"""

from typing import Final

FOLD_VERSION: Final[int] = 3
"""A change of what the fold computes needs a new one: stored states say which fold made them, a replay would
not give what was decided. `docs/upgrades.md` says what else belongs to it."""

FOLD_DIGESTS: Final = {
    "states": "5868e2b8912ed84e3a51bbbd88a14875297248c6497ba63491d169de4a57439f",
    "features": "8d1b6352111b8aab10398ec8ce6f17c25e533346afb7d63bb55c5aa9a05f345b",
    "alerts": "4fcd3c00498898a9f34abf865f776a987ef7e367a667d44c8d66eeabe671c2f1",
}
"""SHA-256 of what this version makes of the fixed log in `tests/golden`, which a test computes anew."""
