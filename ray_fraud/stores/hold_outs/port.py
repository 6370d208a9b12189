"""The same later transactions scored by a candidate and by the production version that it wants to follow.

Training writes one, the rules of promotion read it. It is of a pair: under another production version the
comparison is another one.

Never: a model; a row of a training.
"""

import re
from typing import Protocol

from ray_fraud.domain.promotion import HoldOut
from ray_fraud.stores.errors import StoreRefused

_DIGEST = re.compile(r"[0-9A-Za-z_-]{1,64}")


class HoldOuts(Protocol):
    """Calls block on I/O."""

    def put(self, candidate: str, production: str, hold_out: HoldOut) -> None:
        """Store it durably under the digests of both models; a newer one takes an older one's place.

        Raises:
            StoreUnavailable: try again; nothing half-written is ever read.
        """

    def load(self, candidate: str, production: str) -> HoldOut | None:
        """None: this pair was never compared, or by an earlier release on rows whose labels had not matured.

        Raises:
            StoreUnavailable: try again.
            StoreRefused: the file is damaged; write it again.
        """


def check_digest(digest: str) -> str:
    """The digest of a model, which becomes a part of a path; raises `StoreRefused` for anything else."""
    if not _DIGEST.fullmatch(digest):
        raise StoreRefused("hold-outs", f"{digest!r} is no digest of a model")
    return digest
