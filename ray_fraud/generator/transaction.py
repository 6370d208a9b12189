"""What the generator makes: a transaction together with the truth about it.

Never: the truth inside the transaction: detection reads the one and not the other.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from ray_fraud.domain.transaction import Transaction


class Scenario(StrEnum):
    """The frauds of the generated population, as topic `transaction_labels` names them."""

    STOLEN_CARD = "stolen_card"
    IMPOSSIBLE_TRAVEL = "impossible_travel"
    CARD_TESTING = "card_testing"
    ACCOUNT_TAKEOVER = "account_takeover"
    COORDINATED_RING = "coordinated_ring"
    TERMINAL_COMPROMISE = "terminal_compromise"


class HandbookScenario(StrEnum):
    """The frauds of the Fraud Detection Handbook's data set, in the order of its numbers from 1."""

    LARGE_AMOUNT = "handbook_large_amount"
    COMPROMISED_TERMINAL = "handbook_compromised_terminal"
    COMPROMISED_CUSTOMER = "handbook_compromised_customer"


Fraud = Scenario | HandbookScenario
"""What a label may name."""


class Label(msgspec.Struct, frozen=True, gc=False):
    """The truth about one transaction, as topic `transaction_labels` carries it."""

    transaction_id: str
    user_id: int
    is_fraud: bool
    scenario: Fraud | Literal["none"]
    timestamp: float
    """Event time of the transaction, unix seconds."""


class GeneratedTransaction(msgspec.Struct, frozen=True, gc=False):
    transaction: Transaction
    scenario: Fraud | None = None
    """None: a transaction of the user's own."""

    @property
    def event_time(self) -> float:
        """Unix seconds, in whole milliseconds."""
        return self.transaction.timestamp

    @property
    def label(self) -> Label:
        transaction = self.transaction
        return Label(
            transaction.transaction_id,
            transaction.user_id,
            self.scenario is not None,
            self.scenario or "none",
            transaction.timestamp,
        )
