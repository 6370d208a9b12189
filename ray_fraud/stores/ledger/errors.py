"""What the ledger and the model registry refuse beyond the errors common to all stores.

Never: a value of a transaction, a password.
"""

from ray_fraud.stores.errors import StoreRefused

STORE = "postgres"
"""The name of this system in every error."""


class TimelineConflict(StoreRefused):
    """Two different events claim one number, or a number before the offered one is missing."""

    code = "timeline_conflict"

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(STORE, f"control event {seq}: {reason}")
        self.args = (seq, reason)
        self.seq = seq
        self.reason = reason


class RegistryConflict(StoreRefused):
    """A split that breaks the registry's rules, or was made from an older state of it."""

    code = "registry_conflict"

    def __init__(self, reason: str) -> None:
        super().__init__(STORE, f"model registry: {reason}")
        self.args = (reason,)
        self.reason = reason
