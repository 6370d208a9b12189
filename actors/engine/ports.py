"""What the engine of one partition needs from outside, in one value.

Never: a concrete client; the shell and the simulation each fill in their own.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ray_fraud.domain.conversion import PRESENT, Fold
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.split import Split
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.stores.connections import Topics
from ray_fraud.stores.cuts.port import CutStore
from ray_fraud.stores.feature_tables.port import FeatureTableFiles
from ray_fraud.stores.ledger.port import Ledger
from ray_fraud.stores.log.port import LogReader, LogWriter
from ray_fraud.stores.snapshots.port import SnapshotStore
from ray_fraud.stores.text_users.port import TextUserRegister
from ray_fraud.telemetry.meter import Meter


class Scorer(Protocol):
    """Scores rows under a given split."""

    def prepare(self, split: Split) -> None:
        """Makes every model of the split ready on this node.

        Raises:
            StoreUnavailable: a model file cannot be read now.
            ModelRefused: a file is not what its digest says.
        """
        ...

    def score(self, split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> ScoredBatch:
        """Scores every row, through Serve or locally; shape (n,) and (n, features) to n scores."""
        ...

    def explain(self, split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """What pushed the score of one row, always in this process; see `ray_fraud.domain.explanation`."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside of one partition."""

    ledger: Ledger
    alert_ledger: Ledger
    """The same ledger over a connection of its own: an alert never waits for bookkeeping."""
    cuts: CutStore
    snapshots: SnapshotStore
    reader: LogReader
    writer: LogWriter
    scorer: Scorer
    feature_tables: FeatureTableFiles
    decoder: Decoder
    meter: Meter
    topics: Topics
    text_users: TextUserRegister | None = None
    """Of the decoder's users; None: it takes none, or asks nobody."""
    fold: Fold = PRESENT
    """This release's fold, and from which it takes states over; only tests have another one."""
